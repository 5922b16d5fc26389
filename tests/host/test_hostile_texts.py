"""Goal: no text from outside reaches a terminal, a table or a spreadsheet as more than text, and
none ends a command with a traceback.

Method: the test walks through every command of `dianka` and gives each of its arguments and
options in turn hostile words, hostile files of each form that commands read, and a file whose
name is hostile. Then every command that shows a database runs on one whose texts are hostile.
"""

import json
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import orders
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

HOSTILE = "=1+1\x1b]52;c;x\x07b\x9b2Jc\u202e[red][/x]"
HARMFUL = frozenset("\x1b\x07\x9b\u202e\r\x00\x08")
# They serve until they are stopped, play for a minute, or wait for a card: they are given a wrong
# option as well, so that they never start.
TARIFFS = Path(__file__).resolve().parents[2] / "tariffs"
LONG = {("demo",), ("sim", "run"), ("sim", "meters"), ("headend", "serve")}
FILES = {
    "text": HOSTILE.encode(),
    "json": b'{"name": "\\u001b]0;x\\u0007[/x]", "\\u001b[2J": "\\u202e", "prices": ["\\u001b"]}',
    "toml": b'[card]\ndistrict = "\\u001b[2J"\n[uplink]\n"\\u001b[2J" = "[/x]"\n',
    "yaml": b'- {address: "\\e[2J", "\\u202e": 1}\nmeters: [{account: "\\e]0;x\\a"}]\n',
    "csv": f"account,amount,reference\n{HOSTILE},1,x\n1,{HOSTILE},{HOSTILE}\n".encode(),
    "bytes": bytes(range(256)) * 4,
    "empty": b"",
}


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that name it."""

    def below(words: tuple[str, ...], one: click.Command) -> Any:
        if not isinstance(one, click.Group):
            yield words, one
            return
        context = click.Context(one)
        for name in one.list_commands(context):
            child = one.get_command(context, name)
            assert child is not None
            yield from below((*words, name), child)

    yield from below((), cli)


ALL = dict(commands())


def values_for(param: click.Parameter, folder: Path) -> list[str]:
    """Return hostile values for a parameter; a file's where it may be one."""
    paths = [str(path) for path in sorted(folder.iterdir()) if path.is_file()]
    if isinstance(param.type, click.Path | click.File):
        return paths
    return [HOSTILE, *paths] if param.type is click.STRING else [HOSTILE]


def lines_for(command: click.Command, folder: Path) -> Iterator[list[str]]:
    """Yield command lines in which one parameter in turn has each of its hostile values."""
    needed = {
        param.name: values_for(param, folder)[0]
        for param in command.params
        if param.required or isinstance(param, click.Argument)
    }
    for chosen in command.params:
        if isinstance(chosen, click.Option) and (chosen.is_flag or "--pcsc" in chosen.opts):
            continue
        for value in values_for(chosen, folder):
            line: list[str] = []
            for param in command.params:
                given = value if param is chosen else needed.get(param.name)
                if given is not None and isinstance(param, click.Option):
                    line += [f"{param.opts[0]}={given}"]
                elif given is not None:
                    line.append(given)
            yield line


def assert_harmless(words: list[str], result: Result) -> None:
    """Check that a command ended by itself and said nothing that could harm."""
    ended = result.exception is None or isinstance(result.exception, SystemExit)
    trace = "" if ended else "".join(traceback.format_exception(*result.exc_info or ()))
    assert ended, f"{words}\n{trace}"
    assert not HARMFUL & set(result.output), (words, result.output)
    assert "Traceback" not in result.output, words


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder of hostile files, and work beside it."""
    made = tmp_path / "files"
    made.mkdir()
    for name, content in FILES.items():
        (made / f"{name}.x").write_bytes(content)
    (made / "\x1b[2J[x]\u202e").write_bytes(b"{}")
    monkeypatch.chdir(tmp_path)
    return made


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_whatever_a_command_is_given_ends_with_a_harmless_sentence(
    words: tuple[str, ...], folder: Path
) -> None:
    for line in lines_for(ALL[words], folder):
        said = [*words, *line]
        if words in LONG:
            said.append("--\x1b[2J")
        result = CliRunner().invoke(cli, said, input="")
        assert_harmless(said, result)


# Lists of figures, and what a test of its own is about.
NO_TEXTS = {"zone", "registers_wh", "values"}


@pytest.fixture
def hostile_db(tmp_path: Path) -> Path:
    """Make the database of a village in which every free text is hostile."""
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        for row in range(3):
            orders.sell(store, account_name(row), 10000)
        deliver(Ingest(store, KEYS), village_of(3, 5))
    sell = ["headend", "sell", "--db", str(path), "--account", "1", "--amount", "5"]
    assert CliRunner().invoke(cli, [*sell, "--reference", "R-1"]).exit_code == 0
    poison(path, HOSTILE)
    return path


# What the head-end has written as JSON, in which any text may be.
JSON = {"detail", "what"}


def as_json(hostile: str) -> str:
    """Return JSON with a hostile text as its sentence and as its name."""
    return json.dumps({"text": hostile, hostile: hostile})


def poison(path: Path, hostile: str) -> None:
    """Put a hostile text wherever a database has any text."""
    with sqlite3.connect(path) as base:
        guards = base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (guard,) in guards:
            base.execute(f"DROP TRIGGER {guard}")
        tables = base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table.startswith(("django", "sqlite", "auth")):
                continue
            for column in base.execute(f"PRAGMA table_info({table})").fetchall():
                name, kind = column[1], column[2].upper()
                if name not in NO_TEXTS and ("CHAR" in kind or "TEXT" in kind):
                    base.execute(
                        f'UPDATE OR IGNORE {table} SET "{name}" = ? '
                        f'WHERE "{name}" IS NULL OR "{name}" GLOB \'*[^0-9A-F]*\' '
                        f"OR \"{name}\" = ''",
                        (as_json(hostile) if name in JSON else hostile,),
                    )


# What each command that uses a database is told besides, by the name of the parameter.
TOLD = {
    "account": account_name(0),
    "customer": "Li",
    "journal": "village.db",
    "by": "Li",
    "cashier": "Li",
    "uid": "0011223344556677",
    "last": "1.00",
    "register": "2.00",
    "meter": "18",
    "from_day": "2026-12-01",
    "persons": "3",
    "name": "Li",
    "paper": "1",
    "amount_fen": "5",
    "approval": "1",
    "number": "1",
    "out": "out.pdf",
    "concentrator": "7",
    "reason": "a test",
    "days": "30",
    "counted_fen": "5",
    "order": "1",
    "notice": "2026-07-01 09:00",
    "path": "list.csv",
    "text": "status",
    "kind": "1",
    "key": "1",
    "due_by": "2026-07-31",
    "which": "2026-07",
    "said": "exchanged",
    "laptop": "0f1e2d3c4b5a6978",
    "first": "1",
    "count": "1",
    "job": "1",
    "digits": "070000FF00",
    "items": "00010000",
    "settings_told": "interval_s=300",
    "lease": "1",
    "log": "lease.jsonl",
    "counter": "Li",
    "quota_fen": "5",
    "tariff_path": "tariff.json",
    "reference": "R-9",
    "role": "admin",
    "words": "no power",
    "where": "district",
    "tenancy": "1",
    "serials": "000001-00007",
    "to": "shop-3",
    "sale_fen": "5",
    "day_fen": "5",
    "provider": "Li",
    "day": "2026-07-01",
    "until": "2026-12-24 10:00",
    "out_path": "out.pdf",
    "batch": "1",
    "since_t2000": "2026-07-01",
    "day_t2000": "2026-07-01",
    "district": "R4",
    "feeder": "F1",
    "place": "D-1",
    "since": "2026-12-24 08:00",
    "what": "dark since noon",
    "answer": "the fuse was replaced",
}
_CARD = ["--file", "card.bin"]
_THERE = ["--concentrator", "7"]
# What more these want, of which no single parameter is needed.
MORE = {
    "card issue": ["--account", account_name(0), *_CARD],
    "card topup": _CARD,
    "card replace": _CARD,
    "card serial": _CARD,
    "headend quote": ["--amount", "5"],
    "headend notices tell": ["--account", account_name(0)],
    "headend household-page set": ["--phone", "0571-8888"],
    **dict.fromkeys(("headend job ask", "headend job give"), _THERE),
    **dict.fromkeys(("headend job journal", "headend job set"), _THERE),
    "headend job tariff": _THERE,
    **dict.fromkeys(("headend job clock", "headend job text"), _THERE),
    "headend channel limit": ["--sale", "5"],
    "headend job no-cut": [*_THERE, "--days", "sun"],
    **{
        key: ["--account", account_name(0)]
        for key in (
            "headend job cut",
            "headend job guard",
            "headend job read",
            "headend job restore",
        )
    },
    "headend restore": ["--port", "/dev/null"],
    "headend user change": ["--password"],
    "headend sell": ["--account", account_name(0), "--amount", "5"],
    "headend job firmware": [*_THERE, "--unsigned"],
    "headend drawer move": ["--in", "5"],
    **{
        f"headend person {verb}": ["--account", account_name(0)]
        for verb in ("show", "export", "erase")
    },
    "headend losses": ["--day", "2026-07-01"],
    "headend clues": ["--day", "2026-07-01"],
    "headend supply add": ["--district", "R4"],
}
SHOWING = [
    words
    for words, command in ALL.items()
    if words not in LONG
    and (words == ("explain",) or any("--db" in param.opts for param in command.params))
]


def told_to(words: tuple[str, ...], db: Path) -> list[str]:
    """Return the words and options that a command with a database needs."""
    said = [*words]
    for param in ALL[words].params:
        name = param.name or ""
        if "--db" in param.opts:
            said += ["--db", str(db)]
        elif param.required or isinstance(param, click.Argument):
            is_choice = isinstance(param.type, click.Choice)
            value = str(param.type.choices[0]) if is_choice else TOLD[name]
            said += [value] if isinstance(param, click.Argument) else [param.opts[0], value]
    return said + MORE.get(" ".join(words), [])


@pytest.mark.parametrize("words", SHOWING, ids=" ".join)
@pytest.mark.parametrize("form", ["", "--json", "--csv"])
def test_what_a_database_says_is_text_and_no_more(
    words: tuple[str, ...], form: str, hostile_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ALL[words]
    forms = [
        opt for param in command.params if getattr(param, "is_flag", False) for opt in param.opts
    ]
    if form and form not in forms:
        return
    monkeypatch.chdir(hostile_db.parent)
    Path("list.csv").write_text(f"account,name\n{account_name(0)},Li\n")
    Path("lease.jsonl").write_text("{}\n")
    Path("tariff.json").write_bytes((TARIFFS / "zhejiang-tou.json").read_bytes())
    said = [*told_to(words, hostile_db), *([form] if form else [])]
    result = CliRunner().invoke(cli, said, input="")
    assert_harmless(said, result)
    assert result.exit_code != 2, (said, result.output)
    if form == "--csv":
        for line in result.output.splitlines():
            assert "=1+1" not in [cell.strip('"')[:4] for cell in line.split(",")], line


@pytest.mark.parametrize("zone", [HOSTILE, "Asia", "../../etc/passwd", ""])
@pytest.mark.parametrize("words", [("concentrators",), ("day",), ("findings",)], ids=" ".join)
def test_a_time_zone_that_is_not_known_is_said_so(
    hostile_db: Path, words: tuple[str, ...], zone: str
) -> None:
    with sqlite3.connect(hostile_db) as base:
        base.execute("UPDATE station SET zone = ?", (zone,))
    result = CliRunner().invoke(cli, ["headend", *words, "--db", str(hostile_db)])
    assert_harmless(list(words), result)
    assert (result.exit_code, "which is not known here" in result.output) == (1, True)
