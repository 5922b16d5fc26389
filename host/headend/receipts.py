"""Receipts of sales as PDF, on paper of 58 mm, 80 mm and A4, in Chinese and English."""

import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from host.headend import audit, household_links
from host.headend.errors import StoreError
from host.headend.store import Store, zone_of
from host.units import kwh, yuan
from host.words import _

PAPERS = {"58": 58, "80": 80, "a4": 210}  # width in mm
_A4_HEIGHT_MM = 297
FONT = "STSong-Light"  # every reader of PDF has it or one like it, and it has Latin letters too
_MARGIN_MM = 4
_A4_MARGIN_MM = 20


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says; `energy_wh`: what the amount buys now, None: not known.

    balance_fen     what the concentrator has told last
    url             address of the household's page, "": the receipt has no QR code
    audit_digest    head of the audit log, by which it is known later that nothing was cut off
    """

    station: str
    account: str
    name: str
    meter: str
    order: int
    amount_fen: int
    energy_wh: int | None
    balance_fen: int | None
    reference: str
    sold_at: str
    cashier: str
    channel: str
    is_void: bool
    url: str
    audit_digest: str


def receipt_of(
    store: Store, account: str, order: int, energy_wh: int | None = None, url: str = ""
) -> Receipt:
    """Return the receipt of an order; StoreError: there is none.

    `url` "": that of the household's own page, if the station has such pages.
    """
    url = url or household_links.link_of(store, account)
    with store.database.looking():
        database = store.database
        rows = database.rows(
            'SELECT * FROM orders WHERE account = ? AND "order" = ? ORDER BY id DESC LIMIT 1',
            (account, order),
        )
        if not rows:
            raise StoreError(
                _("there is no {what}").format(
                    what=_("order {order} of account {account}").format(
                        order=order, account=account
                    )
                )
            )
        one = rows[0]
        known: list[Any] = database.all(
            "SELECT meter, credit_fen - debit_fen FROM accounts WHERE account = ?", (account,)
        )
        names = database.all(
            "SELECT customers.name, districts.station FROM contracts "
            "JOIN customers ON customers.customer = contracts.customer "
            "LEFT JOIN districts ON districts.district = contracts.district "
            "WHERE contracts.account = ?",
            (account,),
        )
        name, station = names[0] if names else ("", "")
        meter, balance_fen = known[0] if known else ("", None)
        moment = datetime.fromtimestamp(one["sold_at"], zone_of(database))
        return Receipt(
            station=station or "",
            account=account,
            name=name,
            meter=meter,
            order=order,
            amount_fen=one["amount_fen"],
            energy_wh=energy_wh,
            balance_fen=balance_fen,
            reference=one["reference"] or "",
            sold_at=f"{moment:%Y-%m-%d %H:%M:%S}",
            cashier=one["cashier"],
            channel=one["channel"],
            is_void=one["voided_at"] is not None,
            url=url,
            audit_digest=audit.head(database),
        )


def lines_of(one: Receipt) -> list[tuple[str, str]]:
    """Return the lines of a receipt in the language spoken: what, and its value."""
    told = [
        (_("account"), one.account),
        (_("customer"), one.name),
        (_("meter"), one.meter),
        (_("order"), str(one.order)),
        (_("amount"), _("{amount} yuan").format(amount=yuan(one.amount_fen))),
    ]
    if one.energy_wh is not None:
        told.append((_("buys now about"), f"{kwh(one.energy_wh, 2)} kWh"))
    if one.balance_fen is not None:
        text = _("{amount} yuan").format(amount=yuan(one.balance_fen))
        told.append((_("balance before"), text))
    told += [
        (_("sold"), one.sold_at),
        (_("cashier"), one.cashier),
        (_("channel"), _(one.channel)),
        (_("reference"), one.reference),
        (_("audit"), one.audit_digest[: audit.SHOWN_DIGITS]),
    ]
    return [(what, value) for what, value in told if value]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is drawn: a head and a title, "" for none, lines of what and its value, a QR code."""

    head: str
    title: str
    lines: list[tuple[str, str]]
    url: str = ""


def pdf(one: Receipt, paper: str) -> bytes:
    """Return a receipt as PDF. StoreError: the package that draws it is not there."""
    title = _("taken back") if one.is_void else _("receipt for electricity")
    return draw(Sheet(one.station, title, lines_of(one), one.url), paper)


def draw(sheet: Sheet, paper: str) -> bytes:
    """Return a sheet as PDF. StoreError: the package that draws it is not there."""
    try:
        from reportlab.lib.units import mm
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.cidfonts import UnicodeCIDFont
        from reportlab.pdfgen.canvas import Canvas
    except ImportError as error:
        raise StoreError(
            _("receipts need one more package: pip install 'dianka[station]'")
        ) from error
    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    is_a4 = paper == "a4"
    width_mm, margin_mm = PAPERS[paper], _A4_MARGIN_MM if is_a4 else _MARGIN_MM
    size = 11 if is_a4 else 8
    qr_mm = 30 if sheet.url else 0
    rows = len(sheet.lines)
    height_mm = _A4_HEIGHT_MM if is_a4 else 2 * margin_mm + 14 + 5 * rows + qr_mm
    content = io.BytesIO()
    canvas = Canvas(content, pagesize=(width_mm * mm, height_mm * mm), invariant=True)
    canvas.setTitle(sheet.title)
    right, at_mm = (width_mm - margin_mm) * mm, height_mm - margin_mm - 5
    canvas.setFont(FONT, size + 4)
    canvas.drawCentredString(width_mm / 2 * mm, at_mm * mm, sheet.head or sheet.title)
    canvas.setFont(FONT, size)
    if sheet.head:
        at_mm -= 5
        canvas.drawCentredString(width_mm / 2 * mm, at_mm * mm, sheet.title)
    for what, value in sheet.lines:
        at_mm -= 7 if is_a4 else 5
        canvas.drawString(margin_mm * mm, at_mm * mm, what)
        room = right - margin_mm * mm - canvas.stringWidth(what, FONT, size) - 2 * mm
        while canvas.stringWidth(value, FONT, size) > room and len(value) > 1:
            value = value[:-1]
        canvas.drawRightString(right, at_mm * mm, value)
    if sheet.url:
        _draw_qr(canvas, sheet.url, margin_mm * mm, (at_mm - qr_mm) * mm, qr_mm * mm)
    canvas.save()
    return content.getvalue()


def _draw_qr(canvas: Any, text: str, left: float, bottom: float, size: float) -> None:
    from reportlab.graphics import renderPDF
    from reportlab.graphics.barcode.qr import QrCodeWidget
    from reportlab.graphics.shapes import Drawing

    drawing = Drawing(size, size)
    drawing.add(QrCodeWidget(text, barWidth=size, barHeight=size))
    renderPDF.draw(drawing, canvas, left, bottom)


def qr_path(text: str) -> tuple[int, str]:
    """Return the size of a QR code in modules, and its dark ones as a path of SVG."""
    from reportlab.graphics.barcode.qr import QrCodeWidget

    code = QrCodeWidget(text).qr
    code.make()
    size = code.getModuleCount()
    dark = [(x, y) for y in range(size) for x in range(size) if code.isDark(y, x)]
    return size, "".join(f"M{x} {y}h1v1h-1z" for x, y in dark)


def write(path: Path, content: bytes) -> None:
    """Write a receipt to a file. StoreError: it cannot be written."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StoreError(
            _("cannot write {path}: {strerror}").format(path=path, strerror=error.strerror)
        ) from error
