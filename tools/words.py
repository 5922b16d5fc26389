"""Collect the texts for people and keep the catalogues in `host/locale`. `make words` runs it.

    .venv/bin/python -m tools.words

It writes the texts to `dianka.pot`, brings each `dianka.po` up to date and compiles it. What is
not translated yet has an empty `msgstr` there and appears in English; what left the code leaves
the catalogues too.
"""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from host.cli import COMMANDS, cli, shown
from host.frames import catalogue

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "host" / "locale"
TEMPLATE = FOLDER / "dianka.pot"
LANGUAGES = ("zh_CN",)
# The time of a run would make each compiled catalogue another one.
_NO_DATE = datetime(2000, 1, 1, tzinfo=UTC)
_HEADER = """\
msgid ""
msgstr ""
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"""
# What click says by itself; it looks it up in our catalogue. Its names of kinds of values stay
# English: it makes columns of them by counting characters.
_OF_CLICK = (
    *("Usage:", "Options", "Commands", "Aborted!", "Error", "Repeat for confirmation"),
    *("Error: {message}", "Show this message and exit.", "Show the version and exit."),
    *("Try '{command} {option}' for help.", "Missing command.", "No such command {name!r}."),
    *("Invalid value: {message}", "Invalid value for {param_hint}: {message}"),
    *("Missing argument", "Missing option", "Missing parameter", "default: {default}", "required"),
    *("No such option {name!r}.", "No such option: {name}", "env var: {var}"),
    *("{name} {filename!r} does not exist.",),
    *("Error: The two entered values do not match.", "Error: invalid input"),
    *("Press any key to continue...", "{name} {filename!r} is a directory."),
    *("{value!r} is not a valid {number_type}.", "{value} is not in the range {range}."),
    *("Choose from:\n\t{choices}", "Missing parameter: {param_name}"),
)


_OF_CLICK_COUNTED = (
    ("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
    ("Did you mean {possibility}?", "(Did you mean one of: {possibilities}?)"),
    ("{value!r} is not {choice}.", "{value!r} is not one of {choices}."),
    ("Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments."),
)


# What systems say of files, lines and connections that they refuse.
_OF_SYSTEMS = (
    *("No such file or directory", "Permission denied", "File exists", "Is a directory"),
    *("Not a directory", "Operation not permitted", "No space left on device", "Broken pipe"),
    *("Read-only file system", "Input/output error", "Device or resource busy"),
    *("No such device", "Address already in use", "Cannot assign requested address"),
    *("Connection refused", "Connection reset by peer", "No route to host"),
    *("Connection timed out", "Network is unreachable", "Name or service not known"),
    *("Temporary failure in name resolution", "Too many open files", "File name too long"),
)


def po_path(language: str) -> Path:
    """Return where the translations into a language stand."""
    return FOLDER / language / "LC_MESSAGES" / "dianka.po"


# What stands before the names of flags and codes, and before the name of an item, in a layout.
_CODED = re.compile(r"(?:bits|codes)\d+:([^;/)]*)")
_NAMED = re.compile(r"(?:^|[;(/|:*])\s*([A-Za-z][\w -]*)=")


def _texts_of_meters() -> Iterator[str]:
    """Yield what the catalogue of identifiers calls functions, flags, codes and items."""
    for row in catalogue.rows():
        if ":" in row.pattern:
            yield row.name_en
        yield from _names_in(row.layout)


def _names_in(layout: str) -> Iterator[str]:
    for coded in _CODED.findall(layout):
        for entry in coded.split("|"):
            text = entry.partition(" ")[2].strip()
            if re.search("[a-z]{2}", text):
                yield text
    yield from _NAMED.findall(_CODED.sub("", layout))


def collected() -> Catalog:
    """Return every text for people.

    They are the marked ones, the help of all commands, click's own, and what systems and meters
    tell.
    """
    found = Catalog()
    for path, _line, message, comments, _context in extract_from_dir(
        str(ROOT / "host"),
        method_map=[("**.py", "python"), ("**/templates/**.html", "jinja2")],
        keywords={"_": None, "marked": None, "Word": None, "ngettext": (1, 2)},
    ):
        found.add(message, locations=[(f"host/{path}", 0)], auto_comments=comments)
    for text in {
        *help_texts(cli),
        *(summary for _name, summary in COMMANDS.values()),
        *_OF_CLICK,
        *_OF_SYSTEMS,
        *_texts_of_meters(),
    }:
        found.add(text)
    for pair in _OF_CLICK_COUNTED:
        found.add(pair)
    return found


def help_texts(command: click.Command) -> Iterator[str]:
    """Yield the texts in the help of a command and of all commands under it."""
    yield from shown.texts_of(command)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            under = command.get_command(context, name)
            if under is not None:
                yield from help_texts(under)


def read(path: Path) -> Catalog:
    """Return a catalogue as it stands in a .po or .pot file."""
    return read_po(io.BytesIO(path.read_bytes()))


def translated(texts: Catalog, language: str) -> Catalog:
    """Return the texts with the translations there are."""
    before = read(po_path(language)) if po_path(language).exists() else Catalog()
    now = Catalog(locale=language, creation_date=_NO_DATE, revision_date=_NO_DATE)
    for message in texts:
        if message.id:
            known = before.get(message.id)
            told = known.string if known is not None else ""
            now.add(message.id, told, message.locations, flags=message.flags)
    return now


def _write_po(path: Path, catalogue: Catalog, header: str) -> None:
    """Write a catalogue without dates, versions and line numbers, which only make differences."""
    text = io.BytesIO()
    write_po(
        text,
        catalogue,
        width=99,
        omit_header=True,
        sort_output=True,
        include_lineno=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode() + b"\n" + text.getvalue())


def main() -> None:
    """Write the catalogues and tell how much of each is translated."""
    texts = collected()
    _write_po(TEMPLATE, texts, _HEADER)
    for language in LANGUAGES:
        now = translated(texts, language)
        plural = f'"Language: {language}\\n"\n"Plural-Forms: {now.plural_forms}\\n"\n'
        _write_po(po_path(language), now, _HEADER + plural)
        with po_path(language).with_suffix(".mo").open("wb") as file:
            write_mo(file, now)
        done = sum(bool(message.id and message.string) for message in now)
        print(f"{language}: {done} of {len(texts)} texts are translated")


if __name__ == "__main__":
    main()
