"""The month's report as PDF and XLSX, in the language spoken."""

import io
from collections.abc import Sequence
from decimal import Decimal

from host.headend.errors import StoreError
from host.headend.month import COLUMNS, ENERGY, HOUSE_COLUMNS, MONEY, SHARE, SPAN, Report, rows_of
from host.headend.receipts import FONT
from host.sheets import sheet
from host.words import _

_PER = {SHARE: ("%", 100), MONEY: ("CNY", 100), ENERGY: ("kWh", 1000)}


def pdf(one: Report) -> bytes:
    """Return a report as one page of PDF. StoreError: the package that draws it is not there."""
    title = _("the month {month}").format(month=one.month)
    return table_pdf(title, [_(name) for name in COLUMNS], rows_of(one))


def house_pdf(month: str, rows: Sequence[Sequence[str]]) -> bytes:
    """Return a landlord's month as PDF. StoreError."""
    title = _("the month {month}").format(month=month)
    return table_pdf(title, [_(name) for name in HOUSE_COLUMNS], rows)


def table_pdf(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """Return a table with its title as PDF; a long one goes on on further pages. StoreError."""
    try:
        from reportlab.lib import colors
        from reportlab.lib.pagesizes import A4
        from reportlab.lib.styles import ParagraphStyle
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.cidfonts import UnicodeCIDFont
        from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table
    except ImportError as error:
        raise StoreError(
            _("receipts need one more package: pip install 'dianka[station]'")
        ) from error
    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    style = [
        ("FONT", (0, 0), (-1, -1), FONT, 10),
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, colors.lightgrey),
        ("LINEBELOW", (0, 0), (-1, 0), 1, colors.black),
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
    ]
    content = io.BytesIO()
    head = Paragraph(title, ParagraphStyle("head", fontName=FONT, fontSize=16))
    table = Table([list(names), *map(list, rows)], repeatRows=1, style=style)
    paper = SimpleDocTemplate(content, pagesize=A4, title=title, author="Dianka")
    paper.build([head, Spacer(1, 18), table])
    return content.getvalue()


def xlsx(one: Report) -> bytes:
    """Return a report as XLSX; figures are numbers there, with their unit beside them."""
    rows = []
    for line in one.lines:
        unit, per = _PER.get(line.unit, ("s" if line.unit == SPAN else "", 1))
        values = [line.value, line.target, line.last, line.year]
        cells = [
            "" if each is None else each if per == 1 else _decimal(each, per) for each in values
        ]
        rows.append([_(line.title), unit, *cells])
    names = [_(COLUMNS[0]), _("unit"), *(_(name) for name in COLUMNS[1:])]
    return sheet(one.month, names, rows)


def _decimal(value: int, per: int) -> Decimal:
    return Decimal(value) / per


def house_xlsx(month: str, rows: Sequence[Sequence[str]]) -> bytes:
    """Return a landlord's month as XLSX."""
    return sheet(month, [_(name) for name in HOUSE_COLUMNS], rows)
