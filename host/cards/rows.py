"""A CSV file that is taken whole or not at all: every row that is wrong is named with its column.

The first line names the columns; others than those wanted are passed over.
"""

import csv
import io
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from host.frames.card import AMOUNT_LIMIT_FEN
from host.texts import NotTextError, read_text
from host.units import fen_of, full_number
from host.words import _, system_reason

TROUBLES_SHOWN = 10

Row = TypeVar("Row")


class RowsError(Exception):
    """The file cannot be taken; the message names the lines."""


def read_rows(
    path: Path,
    columns: Sequence[str],
    parse: Callable[[dict[str, str]], Row],
    key: tuple[str, Callable[[Row], Hashable]],
    optional: Sequence[str] = (),
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> dict[int, Row]:
    """Return the rows by line. `parse` makes one of its cells, ValueError: why it cannot.

    A column that is `optional` and is not there has empty cells. `aliases` are other names of
    columns, such as Chinese ones.

    `key` names what no two rows may share. RowsError names every line that is wrong.
    """
    wanted = (*columns, *optional)
    try:
        reader = csv.reader(io.StringIO(decoded(path), newline=""), strict=True)
        names = [name.strip() for name in next(reader, [])]
        names = [aliases.get(name, name) for name in names]
        lines = [*_numbered(reader)]
    except csv.Error as error:
        raise RowsError(
            _("{path} line {line} is no CSV: {error}").format(
                path=path, line=reader.line_num, error=error
            )
        ) from error
    missing = [name for name in columns if name not in names]
    twice = [name for name in names if name in wanted and names.count(name) > 1]
    if missing or twice:
        text = _("{path} has no column {missing}: its first line is {wanted}")
        if not missing:
            text = _("{path} has the column {missing} twice: its first line is {wanted}")
        raise RowsError(
            text.format(path=path, missing=(missing or twice)[0], wanted=",".join(columns))
        )
    if not lines:
        raise RowsError(_("{path} has no rows below its first line").format(path=path))
    return _checked(path, names, lines, wanted, parse, key)


def decoded(path: Path) -> str:
    """Return the text of a file as programs write tables: UTF-8, UTF-16 or GB18030; RowsError."""
    try:
        return read_text(path)
    except OSError as error:
        raise RowsError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except NotTextError as error:
        raise RowsError(
            _("{path} is no text in UTF-8 or GB18030: save it as CSV UTF-8").format(path=path)
        ) from error


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, each with the number of its first line."""
    line = reader.line_num
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line + 1, cells
        line = reader.line_num


def _checked(
    path: Path,
    names: list[str],
    lines: list[tuple[int, list[str]]],
    wanted: Sequence[str],
    parse: Callable[[dict[str, str]], Row],
    key: tuple[str, Callable[[Row], Hashable]],
) -> dict[int, Row]:
    what, key_of = key
    rows: dict[int, Row] = {}
    troubles: dict[int, str] = {}
    seen: dict[Hashable, int] = {}
    for line, cells in lines:
        try:
            if len(cells) != len(names):
                raise ValueError(
                    _("{cells} cells, the first line has {columns}").format(
                        cells=len(cells), columns=len(names)
                    )
                )
            held = dict(zip(names, cells, strict=True))
            row = parse({name: held.get(name, "").strip() for name in wanted})
        except ValueError as error:
            troubles[line] = str(error)
            continue
        first = seen.setdefault(key_of(row), line)
        if first != line:
            troubles[line] = _("the same {what} as in line {first}").format(
                what=_(what), first=first
            )
        rows[line] = row
    if troubles:
        raise RowsError(tell_troubles(path, troubles))
    return rows


def tell_troubles(path: Path, troubles: dict[int, str]) -> str:
    """Return what is wrong with a file, by line."""
    shown = [
        _("line {line}: {trouble}").format(line=line, trouble=trouble)
        for line, trouble in sorted(troubles.items())
    ]
    more = len(shown) - TROUBLES_SHOWN
    if more > 0:
        shown[TROUBLES_SHOWN:] = [_("and {more} more").format(more=more)]
    first = _("{path}: nothing was taken, mend these lines and start again").format(path=path)
    return "\n  ".join([first, *shown])


def digits(row: dict[str, str], column: str) -> str:
    """Return the number of an account or a meter in that column; ValueError."""
    try:
        return full_number(row[column])
    except ValueError as error:
        raise ValueError(f"{column} {error}") from error


def amount_fen(row: dict[str, str]) -> int:
    """Return the yuan in column `amount`, in fen; ValueError."""
    amount = row["amount"]
    try:
        fen = fen_of(amount)
    except ValueError as error:
        raise ValueError(_("amount {error}").format(error=error)) from error
    if not 0 < fen <= AMOUNT_LIMIT_FEN:
        raise ValueError(_("amount {amount!r} is out of range").format(amount=amount))
    return fen
