"""Texts for people: all of them marked, collected and compiled; both languages are spoken."""

import ast
import gettext
import re
import string
from pathlib import Path

import pytest
from click.testing import CliRunner

from host import words as spoken
from host.cli import cli
from host.words import _
from tools import words

ROOT = Path(words.__file__).resolve().parent.parent
HINT = "run `make words`, and translate what is new in host/locale/*/LC_MESSAGES/dianka.po"
# What shows its first argument to people, or raises it at them.
SINKS = {"echo", "secho", "Column", "prompt", "confirm", "pause", "styled"}
# They talk with an emulated board, for tests and demos.
TEST_RIG = {"emulator.py"}
# Its second argument.
SECOND_SINKS = {"sure", "show"}


@pytest.fixture(autouse=True)
def english_again():
    """Leave the language as it was."""
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


def _shown(call):
    """Return the arguments of a call that people read."""
    name = getattr(call.func, "id", None) or getattr(call.func, "attr", "")
    titles = [keyword.value for keyword in call.keywords if keyword.arg == "title"]
    shown = titles if name == "print_table" else []
    if name in SINKS or name.endswith(("Error", "ClickException", "BadParameter")):
        shown += call.args[:1]
    elif name in SECOND_SINKS:
        shown += call.args[1:2]
    return shown


def _literals(node):
    """Yield the strings in an expression that reach people as they stand."""
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


def _unmarked(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            for literal in (one for shown in _shown(node) for one in _literals(shown)):
                if re.search("[A-Za-z]{2}", literal):
                    yield literal


@pytest.mark.parametrize(
    "line",
    [
        'echo("nothing set")',
        'echo(f"{one} orders")',
        'raise click.UsageError("give one" if one else _("give two"))',
        'raise BoardError(f"no {one}")',
        'print_table(columns, rows, title="Households")',
        'Column("meter", right=True)',
    ],
)
def test_an_unmarked_text_is_found(line):
    assert list(_unmarked(line))


@pytest.mark.parametrize(
    "line", ['echo(_("{one} orders").format(one=one))', 'echo(f"{one}: {two}")']
)
def test_a_marked_text_is_left_alone(line):
    assert not list(_unmarked(line))


def test_no_room_shows_a_text_that_is_not_marked():
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for room in ("cli", "cards", "link", "flash")
        for path in (ROOT / "host" / room).rglob("*.py")
        if path.name not in TEST_RIG
        for text in _unmarked(path.read_text())
    }
    assert not found, "put them into _()"


def test_help_is_shown_in_chinese_and_in_english_again():
    chinese = CliRunner().invoke(cli, ["--lang", "zh", "headend", "--help"]).output
    assert "接收、保存并确认集中器上送的数据" in chinese
    assert "示例" in chinese
    assert "显示本帮助并退出" in chinese
    english = CliRunner().invoke(cli, ["headend", "--help"]).output
    assert "Receive, store and acknowledge what concentrators send" in english
    assert "Show this message and exit." in english


def test_a_mistake_is_told_in_chinese(monkeypatch):
    monkeypatch.setenv("DIANKA_LANG", "zh")
    said = CliRunner().invoke(cli, ["meter", "read", "983764", "voltage"])
    assert said.exit_code == 2
    assert "请用 --port 给出线路" in said.output


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
