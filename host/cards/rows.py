"""A CSV file that is taken whole or not at all: every row that is wrong is named with its column.

The first line names the columns; others than those wanted are passed over.
"""

import csv
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TypeVar

from host.frames.card import AMOUNT_LIMIT_FEN
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
) -> dict[int, Row]:
    """Return the rows by line. `parse` makes one of its cells, ValueError: why it cannot.

    `key` names what no two rows may share. RowsError names every line that is wrong.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                wanted = ",".join(columns)
                raise RowsError(
                    _("{path} has no column {missing}: its first line is {wanted}").format(
                        path=path, missing=missing[0], wanted=wanted
                    )
                )
            lines = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise RowsError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RowsError(
            _("{path} is no CSV file in UTF-8: {error}").format(path=path, error=error)
        ) from error
    if not lines:
        raise RowsError(_("{path} has no orders").format(path=path))
    return _checked(path, lines, columns, parse, key)


def _checked(
    path: Path,
    lines: list[tuple[int, dict[str, str]]],
    columns: Sequence[str],
    parse: Callable[[dict[str, str]], Row],
    key: tuple[str, Callable[[Row], Hashable]],
) -> dict[int, Row]:
    what, key_of = key
    rows: dict[int, Row] = {}
    troubles: dict[int, str] = {}
    seen: dict[Hashable, int] = {}
    for line, cells in lines:
        try:
            if None in cells:
                raise ValueError(_("more cells than columns"))
            row = parse({name: (cells[name] or "").strip() for name in columns})
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
