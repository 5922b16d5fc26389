"""Goal: all commands have help, print in one way, and give an option one meaning.

Method: the tests walk through the whole tree of commands, read the sources, and pass hostile
texts of devices, files and tariffs through the commands that show them.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import click
import pytest
from click.testing import CliRunner

import host.cli
from host.cards import keystore
from host.cli import cli
from host.cli.meter.session import Session
from host.frames import dlt645
from host.frames.dlt645 import Frame
from host.frames.link import CONSOLE_BODY_LIMIT, Kind, LinkReader, build
from host.sim.clock import DEFAULT_START_T2000
from host.sim.meter import Meter
from host.sim.responder import Responder

SOURCES = sorted(Path(host.cli.__file__).parent.rglob("*.py"))


def walk(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that call it."""
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


def test_a_command_by_itself_has_the_same_help_options() -> None:
    for command in TREE.values():
        context = click.Context(command, **command.context_settings)
        assert command.get_help_option_names(context) == ["-h", "--help"]


# These options mean the same in every command; another meaning needs another name.
# The district of a card is a number, that of the station's ledger a name.
SHARED = ("account", "meter", "amount", "order", "db", "json", "yes", "log")


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
    # A refund may be 0, a purchase may not.
    amounts = kinds.pop("amount")
    assert amounts == {"amount_fen FuncParamType yuan False"}
    for name, found in kinds.items():
        assert len(found) == 1, name


def test_the_line_of_a_meter_may_be_named_before_the_verb_or_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for words in (
        ["--port", "/nowhere/tty", "read", "1", "00010000"],
        ["read", "1", "00010000", "--port", "/nowhere/tty"],
        ["--port", "/nowhere/other", "read", "1", "00010000", "--port", "/nowhere/tty"],
    ):
        result = CliRunner().invoke(cli, ["meter", *words])
        assert result.exit_code == 1
        assert "/nowhere/tty" in result.output
        assert "other" not in result.output
    monkeypatch.setattr("host.link.ports.found", list)
    result = CliRunner().invoke(cli, ["meter", "read", "1", "00010000"])
    assert result.exit_code == 2
    assert "plug it in, or give --port" in result.output
    both = ["--port", "a", "--console", "b"]
    result = CliRunner().invoke(cli, ["meter", *both, "read", "1", "00010000"])
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


HOSTILE = "a\x1b]52;c;x\x07b\x9b2Jc\u202e[red][/x]"


class HostileDevice:
    """A port with a console that answers every command with hostile texts."""

    name = "hostile"
    status = 0

    def __init__(self, *_: object) -> None:
        self._frames = LinkReader(CONSOLE_BODY_LIMIT)
        self._sent = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            self._sent += build(Kind.PART, frame.seq, HOSTILE.encode())
            self._sent += build(Kind.REPLY, frame.seq, bytes((self.status,)) + HOSTILE.encode())

    def read(self, timeout_s: float) -> bytes:
        sent, self._sent = self._sent, b""
        return sent


class Refusing(HostileDevice):
    """A port with a console that refuses every command with hostile texts."""

    status = 1


@pytest.mark.parametrize("device", [HostileDevice, Refusing])
def test_what_a_device_says_is_text_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: type[HostileDevice]
) -> None:
    monkeypatch.setattr("host.cli.console.Port", device)
    keys = tmp_path / "keys.toml"
    keystore.save(keys, keystore.new(4711), None)
    for words, typed in ((["status"], None), ([], "status\n"), (["--keys", str(keys), "x"], None)):
        arguments = ["console", "--port", "hostile", *words]
        result = CliRunner().invoke(cli, arguments, input=typed)
        assert not isinstance(result.exception, ValueError)
        assert "[red][/x]" in result.output
        assert not set("\x1b\x07\x9b\u202e") & set(result.output)


def test_what_a_meter_says_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    name = b"[/x][red]".ljust(32, b" ")[::-1]
    meter = Meter("000000000001", parameters={0x04000403: name})

    class Answering:
        """A line with one meter."""

        def read(self, address: str, control: int, data: bytes) -> Frame:
            request = dlt645.parse(dlt645.build(address, control, data))
            reply = Responder(meter).answer(request, DEFAULT_START_T2000)
            assert reply is not None
            return dlt645.parse(reply)

    @contextmanager
    def opened(session: Session) -> Iterator[Answering]:
        yield Answering()

    monkeypatch.setattr(Session, "opened", opened)
    arguments = ["meter", "--port", "/dev/null", "read", "1", "04000403"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "[/x][red]" in result.output
