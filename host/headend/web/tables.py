"""Lists to take away: CSV or XLSX for a spreadsheet, in which no text is a formula."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpResponse

from host.harmless import csv_cell
from host.sheets import sheet

Rows = Iterable[Sequence[Any]]
CSV, XLSX = "csv", "xlsx"
_TYPES = {
    CSV: "text/csv; charset=utf-8",
    XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def table(form: str, name: str, columns: Sequence[str], rows: Rows) -> HttpResponse:
    """Return an answer with a list as a file, in the form CSV or XLSX, called by `name`."""
    content = sheet(name, columns, rows) if form == XLSX else _csv(columns, rows)
    answer = HttpResponse(content, content_type=_TYPES[form])
    answer["Content-Disposition"] = f'attachment; filename="dianka-{name}.{form}"'
    return answer


def _csv(columns: Sequence[str], rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([csv_cell(str(one)) for one in row] for row in rows)
    return "\ufeff" + text.getvalue()
