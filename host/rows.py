"""A table that is taken whole or not at all: every row that is wrong is named with its column.

It is a CSV file, or the first sheet of an XLSX file.

The first line names the columns; others than those wanted are passed over.
"""

import csv
import io
import itertools
import zipfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from xml.etree.ElementTree import ParseError

from host.frames.card import AMOUNT_LIMIT_FEN
from host.texts import NotTextError, read_text
from host.units import fen_of, full_number
from host.words import _, system_reason

TROUBLES_SHOWN = 10
_ROWS_LIMIT, _COLUMNS_LIMIT = 200_000, 100

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
    called: str = "",
) -> dict[int, Row]:
    """Return the rows by line. `parse` makes one of its cells, ValueError: why it cannot.

    A column that is `optional` and is not there has empty cells. `aliases` are other names of
    columns, such as Chinese ones. `called` is what people call the file, "": its path.

    `key` names what no two rows may share. RowsError names every line that is wrong.
    """
    wanted = (*columns, *optional)
    shown = called or str(path)
    names, lines = _sheet(path, shown) if path.suffix == ".xlsx" else _csv(path, shown)
    names = [aliases.get(name, name) for name in names]
    missing = [name for name in columns if name not in names]
    twice = [name for name in names if name in wanted and names.count(name) > 1]
    if missing or twice:
        text = _("{path} has no column {missing}: its first line is {wanted}")
        if not missing:
            text = _("{path} has the column {missing} twice: its first line is {wanted}")
        raise RowsError(
            text.format(path=shown, missing=(missing or twice)[0], wanted=",".join(columns))
        )
    if not lines:
        raise RowsError(_("{path} has no rows below its first line").format(path=shown))
    return _checked(shown, names, lines, wanted, parse, key)


def _csv(path: Path, shown: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns, and the cells of each row with its line."""
    try:
        reader = csv.reader(io.StringIO(decoded(path, shown), newline=""), strict=True)
        names = [name.strip() for name in next(reader, [])]
        return names, [*_numbered(reader)]
    except csv.Error as error:
        raise RowsError(
            _("{path} line {line} is no CSV: {error}").format(
                path=shown, line=reader.line_num, error=error
            )
        ) from error


def _sheet(path: Path, shown: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the same of the first sheet of an XLSX file."""
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    broken = (zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, OSError)
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        rows = book.worksheets[0].iter_rows(values_only=True, max_col=_COLUMNS_LIMIT)
        found = [[_cell(one) for one in row] for row in itertools.islice(rows, _ROWS_LIMIT + 1)]
        book.close()
    except (*broken, IndexError, TypeError, EOFError) as error:
        raise RowsError(
            _("{path} is no XLSX file that can be read: save it as CSV UTF-8").format(path=shown)
        ) from error
    if len(found) > _ROWS_LIMIT:
        text = _("{path} has more than {most} rows: divide it")
        raise RowsError(text.format(path=shown, most=_ROWS_LIMIT))
    names = [name.strip() for name in found[0]] if found else []
    while names and not names[-1]:
        names.pop()
    cells = [(line, row[: len(names)]) for line, row in enumerate(found[1:], 2) if any(row)]
    return names, cells


def _cell(value: Any) -> str:
    """Return the text of a cell of a sheet: a whole number has no decimal point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)


def decoded(path: Path, shown: str = "") -> str:
    """Return the text of a file as programs write tables: UTF-8, UTF-16 or GB18030; RowsError."""
    shown = shown or str(path)
    try:
        return read_text(path)
    except OSError as error:
        raise RowsError(
            _("cannot read {path}: {strerror}").format(path=shown, strerror=system_reason(error))
        ) from error
    except NotTextError as error:
        raise RowsError(
            _("{path} is no text in UTF-8 or GB18030: save it as CSV UTF-8").format(path=shown)
        ) from error


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, each with the number of its first line."""
    line = reader.line_num
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line + 1, cells
        line = reader.line_num


def _checked(
    shown: str,
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
        raise RowsError(tell_troubles(shown, troubles))
    return rows


def tell_troubles(path: Path | str, troubles: dict[int, str]) -> str:
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
