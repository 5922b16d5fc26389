"""Goal: input from outside reaches a terminal only as text, and no table cuts off a figure.

Method: hostile characters pass through each function; tables are printed to a pipe, to a terminal
that is too narrow and to one that is wide enough.
"""

import json

import click
import pytest
from click.testing import CliRunner

from host.cli.output import Column, echo, harmless, harmless_lines, print_json, print_table, styled

HOSTILE = "a\x1b]0;owned\x07b\x9b2Jc\u202ed\r\n[red]e[/red][/x]\x7f\ud800"
HARMFUL = "\x1b\x07\x9b\u202e\r\x7f\ud800"


def printed(call: object, **environment: str) -> str:
    """Return what `call` prints."""
    command = click.command()(call)  # type: ignore[call-overload]  # any function will do
    result = CliRunner().invoke(command, env=environment, catch_exceptions=False)
    return str(result.output)


def test_a_hostile_text_becomes_one_plain_line() -> None:
    text = harmless(HOSTILE)
    assert not set(text) & {*HARMFUL, "\n"}
    assert "[red]e[/red][/x]" in text
    assert harmless("电压 230.1 V ±5%") == "电压 230.1 V ±5%"
    assert harmless_lines("a\x1b\nb\x07") == "a\ufffd\nb\ufffd"


def test_echo_and_json_are_harmless() -> None:
    out = printed(lambda: echo(HOSTILE))
    assert out == harmless(HOSTILE) + "\n"
    for indent in (None, 2):
        text = printed(lambda indent=indent: print_json({"said": HOSTILE, "电": 1}, indent=indent))
        assert not set(text) & set(HARMFUL)
        assert json.loads(text) == {"said": HOSTILE, "电": 1}
        assert "电" in text


def test_a_table_reads_no_markup() -> None:
    out = printed(lambda: print_table([Column("[b]x")], [[HOSTILE]], title=HOSTILE))
    assert out.count("[red]e[/red][/x]") == 2
    assert "[b]x" in out
    assert not set(out) & set(HARMFUL)


COLUMNS = [
    Column("account"),
    *(Column(name, right=True) for name in ("bought", "charged", "balance")),
    Column("what happened", wraps=True),
]
FIGURES = ("000000000001", "123456.78", "103.97600000001", "-20.05")
WORDS = "a reading, a top-up and then a long story of what happened on that day " * 2


@pytest.mark.parametrize(
    "environment",
    [{}, {"FORCE_COLOR": "1", "COLUMNS": "40"}, {"FORCE_COLOR": "1", "COLUMNS": "120"}],
)
def test_no_figure_is_cut_however_narrow_it_is(environment: dict[str, str]) -> None:
    rows = [[*FIGURES, WORDS], [styled("sum", "bold"), *FIGURES[1:], ""]]
    out = printed(lambda: print_table(COLUMNS, rows), **environment)
    for figure in FIGURES:
        assert figure in out
    assert "…" not in out
    assert set(WORDS.split()) <= set(out.split())


def test_only_a_terminal_limits_the_width() -> None:
    def show() -> None:
        print_table(COLUMNS, [[*FIGURES, WORDS]])

    assert WORDS.strip() in printed(show)
    narrow = click.unstyle(printed(show, FORCE_COLOR="1", COLUMNS="90"))
    assert WORDS.strip() not in narrow
    assert max(map(len, narrow.splitlines())) <= 90
