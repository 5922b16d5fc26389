"""Check that all texts for users are marked, collected and compiled, in both languages."""

import ast
import gettext
import re
import string
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from host import words as spoken
from host.cli import COMMANDS, cli
from host.demo.devices import program
from host.demo.story import START_T2000
from host.demo.village import Village
from host.words import _
from tools import words

ROOT = Path(words.__file__).resolve().parent.parent
HINT = "run `make words`, and translate what is new in host/locale/*/LC_MESSAGES/dianka.po"
# Functions that show their first argument to users, and exceptions that do.
SINKS = {"echo", "secho", "Column", "prompt", "confirm", "pause", "styled", "_say", "_wait"}
# Functions that show their second argument.
SECOND_SINKS = {"sure", "show"}
# Functions that mark a text, and types that hold one in both languages or in English for JSON.
MARKS = {"_", "marked", "Word", "ngettext", "Outcome"}
# Exceptions that only a log, a check of ours or a program that misuses the function can see.
NOT_FOR_PEOPLE = {"Refused"}
# Folders and files with texts that no user reads, or not in a sentence, and the reason.
EXEMPT = {
    "world": "findings of seeded worlds are for those who mend the code",
    "shim": "stands in for MicroPython's modules",
    "frames/batch.py": "the head-end's log",
    "frames/packing.py": "the head-end's log",
    "frames/record.py": "the head-end's log",
    "headend/gate.py": "the head-end's log",
    "headend/ingest.py": "the head-end's log",
    "headend/metrics.py": "programs read it",
    "headend/pages.py": "programs read it",
    "flash/names.py": "names in the code, never shown",
    "headend/unpack.py": "the head-end's log",
    "headend/server.py": "the head-end's log",
    "frames/dlt645.py": "the reasons are values of `dianka decode`'s JSON",
    "frames/describe.py": "the notes are values of `dianka decode`'s JSON",
    "frames/layouts.py": "mistakes in our own catalogue",
    "frames/values.py": "mistakes in our own catalogue",
    "frames/faults.py": "each reason stands there in both languages",
    "billing/meaning.py": "each sentence stands there in both languages",
    "demo/plot.py": "the fonts of the picture have no Chinese",
    "sim/card.py": "misuse by our own code",
    "sim/clock.py": "misuse by our own code",
    "sim/headend.py": "the simulated head-end has no user",
    "sim/storage.py": "misuse by our own code",
    "sim/values.py": "misuse by our own code",
}
# Single texts not for users: a device's answer, a command, a value in JSON, a picture.
EXEMPT_TEXTS = {
    *("no key is set", "pip install 'dianka[pcsc]'", "would be credited"),
    *("a record's number was taken by another program",),
    *("yuan since January", ": the same year", "plain top up"),
    "record  differs from the one stored",
    # What apprise notes of a connection.
    *("Max retries exceeded", "Connection refused", "Name or service not known"),
    *("No address associated", "Network is unreachable", "No route to host"),
    *("Temporary failure in name resolution", "nodename nor servname", "Socket Exception"),
    "ready ",
    # A command to a concentrator.
    "account set  grade ",
    # Patterns of the catalogue's English names.
    *(r"block: .*\bpresent \+ (\d+) settlement days", "block, settlement day"),
}
# Programs for boards, output of boards, formats of a log.
_SQL = "SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|UNION|JOIN"
_CODE = re.compile(rf"\s*((import|from|try|open|print)\b|({_SQL}) )|dianka[: ]|%\(")
_WORDS = re.compile(r"(?:^|(?<=[\s(]))[A-Za-z]?[a-z']+(?=$|[\s,;:).?!])")


@pytest.fixture(autouse=True)
def english_again():
    """Restore the language after the test."""
    yield
    spoken.speak("en")


def _ids(catalogue):
    return {message.id for message in catalogue if message.id}


def test_the_template_holds_the_texts_of_the_code():
    assert _ids(words.read(words.TEMPLATE)) == _ids(words.collected()), HINT


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_a_catalogue_has_all_texts_and_is_compiled(language):
    catalogue = words.read(words.po_path(language))
    assert _ids(catalogue) == _ids(words.read(words.TEMPLATE)), HINT
    with words.po_path(language).with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in catalogue:
        if message.id and isinstance(message.id, str):
            assert compiled.gettext(message.id) == (message.string or message.id), HINT


def _fields(text):
    return {name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_a_translation_fills_in_what_the_text_fills_in(language):
    for message in words.read(words.po_path(language)):
        if not message.id or not message.string or "${" in str(message.id):
            continue
        ids = (message.id,) if isinstance(message.id, str) else message.id
        told = (message.string,) if isinstance(message.string, str) else message.string
        fields = set().union(*map(_fields, ids))
        assert set().union(*map(_fields, told)) <= fields, message.id
        if isinstance(message.id, str):
            assert _fields(message.string) == fields, message.id


def _name_of(call):
    return getattr(call.func, "id", None) or getattr(call.func, "attr", "")


def _shown(call):
    """Return the arguments of a call that people read."""
    name = _name_of(call)
    titles = [keyword.value for keyword in call.keywords if keyword.arg == "title"]
    shown = titles if name == "print_table" else []
    if getattr(getattr(call.func, "value", None), "id", "") == "sa" or name in NOT_FOR_PEOPLE:
        return []
    if name in SINKS or name.endswith(("Error", "ClickException", "BadParameter")):
        shown += call.args[:1]
    elif name in SECOND_SINKS:
        shown += call.args[1:2]
    return shown


def _literals(node):
    """Yield the strings in an expression that reach users unchanged."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(one.value for one in node.values if isinstance(one, ast.Constant))
    elif isinstance(node, ast.IfExp):
        yield from (*_literals(node.body), *_literals(node.orelse))
    elif isinstance(node, ast.BinOp):
        yield from (*_literals(node.left), *_literals(node.right))
    elif isinstance(node, ast.BoolOp):
        for one in node.values:
            yield from _literals(one)


def _not_read(tree):
    """Return the nodes of docstrings, help, marked texts, logs and parts of a longer text."""
    found = set()
    for node in ast.walk(tree):
        parts = []
        if isinstance(node, ast.Call):
            name, told = _name_of(node), getattr(getattr(node.func, "value", None), "id", "")
            if name in MARKS | NOT_FOR_PEOPLE or name.endswith("_option") or told == "log":
                parts = [node]
            parts += [one.value for one in node.keywords if one.arg in ("help", "epilog")]
        elif isinstance(node, ast.FunctionDef) and node.name.endswith("_option"):
            parts = [node]
        elif isinstance(node, ast.JoinedStr):
            parts = node.values
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docs = (one for one in node.body[:1] if isinstance(one, ast.Expr))
            parts += [one for one in docs if isinstance(one.value, ast.Constant)]
        found.update(id(one) for part in parts for one in ast.walk(part))
    return found


def _unmarked(text):
    """Yield texts that are shown or raised, and sentences anywhere, that are not marked."""
    tree = ast.parse(text)
    not_read = _not_read(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for literal in (one for shown in _shown(node) for one in _literals(shown)):
                if re.search("[A-Za-z]{2}", literal):
                    yield literal
        if id(node) not in not_read and isinstance(node, ast.Constant | ast.JoinedStr):
            for literal in _literals(node):
                if len(_WORDS.findall(literal)) >= 3 and not _CODE.match(literal):
                    yield literal


@pytest.mark.parametrize(
    "line",
    [
        'echo("nothing set")',
        'echo(f"{one} orders")',
        'raise click.UsageError("give one" if one else _("give two"))',
        'raise BoardError(f"no {one}")',
        'raise ValueError("the meter is too far away")',
        'raise ValueError(f"{one!r} is out of range")',
        'def why(one):\n    return f"{one} is known to no concentrator"',
        'differences.append("what was sold was not redeemed")',
        'hint = "look at the cable and try again"',
        'print_table(columns, rows, title="Households")',
        'Column("meter", right=True)',
    ],
)
def test_an_unmarked_text_is_found(line):
    assert list(_unmarked(line))


@pytest.mark.parametrize(
    "line",
    [
        'echo(_("{one} orders").format(one=one))',
        'echo(f"{one}: {two}")',
        'raise ValueError(_("the meter is too far away"))',
        'log.warning("concentrator %d: it comes back from far away", one)',
        'def one():\n    """Return what is the same in all of them."""',
    ],
)
def test_a_marked_text_is_left_alone(line):
    assert not list(_unmarked(line))


def _is_exempt(path):
    return str(path) in EXEMPT or path.parts[0] in EXEMPT


def test_no_room_shows_a_text_that_is_not_marked():
    host = ROOT / "host"
    helps = {*words.help_texts(cli), *(summary for _name, summary in COMMANDS.values())}
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in host.rglob("*.py")
        if not _is_exempt(path.relative_to(host))
        for text in _unmarked(path.read_text())
        if text not in EXEMPT_TEXTS | helps and not text.startswith("\b")
    }
    assert not found, "put them into _()"


def test_what_is_exempt_is_there():
    assert all((ROOT / "host" / path).exists() for path in EXEMPT)


def test_help_is_shown_in_chinese_and_in_english_again():
    chinese = CliRunner().invoke(cli, ["--lang", "zh", "headend", "--help"]).output
    assert "接收、保存并确认集中器上送的数据" in chinese
    assert "示例" in chinese
    assert "显示本帮助并退出" in chinese
    english = CliRunner().invoke(cli, ["headend", "--help"]).output
    assert "Receive, store and acknowledge what concentrators send" in english
    assert "Show this message and exit." in english


# Three English words in a row that are no options, paths, dotted names or words in capitals.
_ENGLISH = re.compile(r"(?:(?<![\w./<{-])[A-Za-z][a-z']+[,;:]? +){2,}[a-z][a-z']+(?![\w./-])")
# Examples: commands, and lines of files.
_EXAMPLE = re.compile(r" +(dianka|grep|cat|\\?-|\w+ = |\w+: |- )|用法")


def _verbs(command, path=()):
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from _verbs(command.get_command(context, name), (*path, name))


def test_no_help_has_an_english_sentence_in_chinese(monkeypatch):
    for name in ("DIANKA_LANG", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    found, paths = [], list(_verbs(cli))
    for path in paths:
        said = CliRunner().invoke(cli, [*path, "--help"])
        assert said.exit_code == 0, said.output
        lines = (line for line in said.output.splitlines() if not _EXAMPLE.match(line))
        found += [(path, line) for line in lines if _ENGLISH.search(line)]
    assert len(paths) > 40
    assert not found


def test_every_verb_explains_itself_and_its_options_and_has_an_example():
    for path in _verbs(cli):
        command = cli
        for name in path:
            command = command.get_command(click.Context(command), name)
        assert command.help, path
        assert "Example" in (command.epilog or ""), path
        options = (one for one in command.params if isinstance(one, click.Option))
        assert [one.opts for one in options if not one.help] == [], path


def test_an_english_sentence_in_help_would_be_found():
    assert _ENGLISH.search("  alone   no head-end at all, and a small flash")
    assert not _ENGLISH.search("  --keys FILE  密钥文件；取自 DIANKA_CARD_KEYS")


def test_a_mistake_is_told_in_chinese(monkeypatch):
    monkeypatch.setenv("DIANKA_LANG", "zh")
    monkeypatch.setattr("host.link.ports.found", list)
    said = CliRunner().invoke(cli, ["meter", "read", "983764", "voltage"])
    assert said.exit_code == 2
    assert "没有插入这种设备：请插入，或给出 --port" in said.output


def test_the_demonstration_hears_its_head_end_in_chinese_too(monkeypatch, tmp_path):
    monkeypatch.setenv("DIANKA_LANG", "zh")
    village = Village(tmp_path, program("true"), START_T2000, 60)
    try:
        assert village.start_headend(f'[uplink]\n7 = "{"00" * 32}"\n')
    finally:
        village.close()


def test_lines_of_chinese_help_fit_a_terminal():
    from rich.cells import cell_len

    said = CliRunner().invoke(cli, ["--lang", "zh", "headend", "refund", "--help"]).output
    assert max(map(cell_len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({"DIANKA_LANG": "zh", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_is_the_systems_unless_another_is_asked_for(monkeypatch, variables, language):
    for name in ("DIANKA_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert spoken.language_wanted() == language


def test_a_text_without_translation_stays_as_it_is():
    spoken.speak("zh")
    assert _("no such text {at} all") == "no such text {at} all"
