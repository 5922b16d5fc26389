"""Goal: input from outside reaches a terminal only as text, and no table cuts off a figure.

Method: hostile characters pass through each function; tables are printed to a pipe, to a terminal
that is too narrow and to one that is wide enough.
"""

import json
import logging
import sys

import click
import pytest
from click.testing import CliRunner

from host.cli.output import Column, echo, print_json, print_table, styled
from host.harmless import csv_cell, harmless, harmless_lines
from host.headend.logs import TextFormatter

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


@pytest.mark.parametrize("text", ["=1+1", " @SUM(A1)", "-1+1", "\uff1d1+1", "\uff0b1", "\uff20x"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert csv_cell(text).startswith("'")
    assert csv_cell(f"x{text}").startswith("x")


@pytest.mark.parametrize("text", ["-12.50", "+1", "1=1", "电表", ""])
def test_figures_and_words_stay_as_they_are(text: str) -> None:
    assert csv_cell(text) == text


def test_a_line_of_the_log_is_one_harmless_line() -> None:
    form = TextFormatter("%(asctime)s %(levelname)s %(message)s")
    try:
        raise ValueError("a\x1b]0;x\x07")
    except ValueError:
        trouble = sys.exc_info()
    told = logging.LogRecord("x", logging.ERROR, "", 0, "from %s", (HOSTILE,), None)
    assert harmless(line := form.format(told)) == line
    assert line.endswith(f"ERROR from {harmless(HOSTILE)}")
    told.exc_info = trouble
    assert harmless_lines(lines := form.format(told)) == lines
    assert len(lines.splitlines()) > 3
