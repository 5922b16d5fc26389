"""Tables as XLSX files, in which no text is a formula."""

import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from host.harmless import csv_cell


def sheet(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return an XLSX file of one sheet; numbers are numbers there, all else is text."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    made = book.create_sheet(title[:31])
    for row in (columns, *rows):
        made.append([one if isinstance(one, int | Decimal) else csv_cell(str(one)) for one in row])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()
