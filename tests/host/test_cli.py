"""Goal: the command line is one: help everywhere, one way to print, one meaning of an option.

Method: a walk through the whole tree of commands, a look at the sources, and hostile words of
devices, files and tariffs through the commands that show them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import host.cli
from host.cli import cli

SOURCES = sorted(Path(host.cli.__file__).parent.rglob("*.py"))


def walk(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that lead to it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, *path, name)


TREE = dict(walk(cli))


@pytest.mark.parametrize("words", TREE, ids=lambda words: " ".join(words) or "dianka")
def test_help_needs_nothing_else(words: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        result = CliRunner().invoke(cli, [*words, option])
        assert result.exit_code == 0, result.output
        assert result.output.startswith("Usage: ")
        assert TREE[words].help


# What these mean in every command that has them; another meaning would be another name.
SHARED = ("account", "meter", "amount", "order", "db", "json", "yes", "log", "district")


def test_an_option_means_the_same_everywhere() -> None:
    kinds: dict[str, set[str]] = {}
    for words, command in TREE.items():
        names = [parameter.name for parameter in command.params]
        assert len(set(names)) == len(names), f"{words}: two parameters share a name"
        for parameter in command.params:
            long = parameter.opts[0].removeprefix("--")
            if isinstance(parameter, click.Option) and long in SHARED:
                kind = parameter.type
                named = f"{parameter.name} {type(kind).__name__} {kind.name} {parameter.is_flag}"
                kinds.setdefault(long, set()).add(named)
    assert set(kinds) == set(SHARED)
    # A refund may be of nothing, a purchase may not.
    amounts = kinds.pop("amount")
    assert amounts == {"amount_fen FuncParamType yuan False"}
    for name, found in kinds.items():
        assert len(found) == 1, name


def test_the_line_of_a_meter_may_be_named_before_the_verb_or_behind_it() -> None:
    for words in (
        ["--port", "/nowhere/tty", "read", "1", "00010000"],
        ["read", "1", "00010000", "--port", "/nowhere/tty"],
        ["--port", "/nowhere/other", "read", "1", "00010000", "--port", "/nowhere/tty"],
    ):
        result = CliRunner().invoke(cli, ["meter", *words])
        assert result.exit_code == 1
        assert "/nowhere/tty" in result.output
        assert "other" not in result.output
    result = CliRunner().invoke(cli, ["meter", "read", "1", "00010000"])
    assert result.exit_code == 2
    assert "give --port for a line, or --console" in result.output


def test_only_one_module_prints() -> None:
    prints = re.compile(r"click\.s?echo|\bsecho\(|json\.dumps|Table\(|\.print\(")
    for path in SOURCES:
        if path.name != "output.py":
            found = [line for line in path.read_text("utf-8").splitlines() if prints.search(line)]
            assert not found, path


def test_what_a_file_says_reaches_no_terminal(tmp_path: Path) -> None:
    hostile = tmp_path / "standing.json"
    text = '{"name": "\\u001b]0;x\\u0007[/x][red]", "tier_period": "none", "tiers": [%s]}'
    hostile.write_text(text % '{"prices": ["0.5"]}', "utf-8")
    result = CliRunner().invoke(cli, ["bill", str(hostile), "100"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "[/x][red]" in result.output
    assert not set("\x1b\x07") & set(result.output)
    result = CliRunner().invoke(cli, ["bill", str(hostile), "--household", "\x1b[2J", "100"])
    assert result.exit_code != 0
    assert "\x1b" not in result.output
