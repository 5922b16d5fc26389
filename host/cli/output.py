"""What commands print: text from outside made harmless, tables that cut no figure, JSON.

`echo`, the tables, CSV and JSON printed here make each text `harmless` by themselves, and none of
them reads markup.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from host.harmless import HARMFUL, csv_cell, harmless

# Columns of text that may be broken into lines get no narrower than this.
_WRAPPED_SIZE = 16
# A frame takes a millisecond a row to draw.
_FRAMED_LIMIT = 200


def styled(text: str, style: str = "") -> Text:
    """Return harmless text for a cell of a table in a style of `rich`, such as "red" or "bold"."""
    return Text(harmless(text), style)


def echo(text: str, *, err: bool = False, color: str | None = None, bold: bool = False) -> None:
    """Print one line that may hold text from outside."""
    click.secho(harmless(text), err=err, fg=color, bold=bold or None)


def json_line(value: Any) -> str:
    """Return a value as JSON in one line, for a cell of a table."""
    return json.dumps(value, ensure_ascii=False)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print JSON in UTF-8; what could harm a terminal stands as an escape."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    lines = text.split("\n") if indent else [text]
    click.echo("\n".join(HARMFUL.sub(_escaped, line) for line in lines))


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def print_csv(
    names: Sequence[str], rows: Iterable[Sequence[object]], *, file: TextIO | None = None
) -> None:
    """Print a line of names and a line for each row, or write them; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([csv_cell(one) if isinstance(one, str) else one for one in row])
    click.echo(text.getvalue(), file, nl=False)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. What it holds is never cut; only with `wraps` it may be broken."""

    name: str
    right: bool = False
    wraps: bool = False


class _Screen(Console):
    """Where tables appear."""

    def on_broken_pipe(self) -> None:
        """Tell the command that its reader has gone away; rich would end it with status 1."""
        raise BrokenPipeError


def print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str | Text]],
    *,
    title: str = "",
    headed: bool = True,
    err: bool = False,
) -> None:
    """Print rows of cells. Only a terminal limits the width, and never to less than the figures.

    Cells are text as it is, or `styled`; there is no markup. Many rows are printed without frames.
    """
    rows = list(rows)
    if len(rows) > _FRAMED_LIMIT:
        _print_plainly(columns, rows, title, err)
        return
    cells = [
        [one if isinstance(one, Text) else Text(harmless(one)) for one in row] for row in rows
    ]
    table = Table(title=Text(harmless(title)) if title else None, show_header=headed)
    most = least = 3 * len(columns) + 1
    for at, column in enumerate(columns):
        size = max([cell_len(column.name) if headed else 1, *(row[at].cell_len for row in cells)])
        kept = min(size, _WRAPPED_SIZE) if column.wraps else size
        most, least = most + size, least + kept
        table.add_column(
            Text(column.name),
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            min_width=kept,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*row)
    console = _Screen(stderr=err)
    width = max(console.width, least) if console.is_terminal else most
    _Screen(stderr=err, width=width).print(table, crop=False)


def _print_plainly(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], title: str, err: bool
) -> None:
    """Print rows of cells one beside the other, however wide that is."""
    cells = [
        [one.plain if isinstance(one, Text) else harmless(one) for one in row] for row in rows
    ]
    table = [[column.name for column in columns], *cells]
    sizes = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    lines = [harmless(title)] if title else []
    for row in table:
        parts = []
        for text, size, column in zip(row, sizes, columns, strict=True):
            blanks = " " * (size - cell_len(text))
            parts.append(blanks + text if column.right else text + blanks)
        lines.append("  ".join(parts).rstrip())
    click.echo("\n".join(lines), err=err)
