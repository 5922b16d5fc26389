"""Lists of accounts as people's programs save them, CSV or XLSX, read whole or not at all."""

import re
from pathlib import Path

from host.headend.registry import COLUMNS, Entry
from host.rows import digits, read_rows
from host.units import full_number
from host.words import _, marked

# Columns as lists of power companies call them.
_CHINESE = {
    "户号": "account",
    "客户编号": "customer",
    "户名": "name",
    "电话": "phone",
    "地址": "address",
    "人口": "persons",
    "用电类别": "kind",
    "信用等级": "credit_class",
    "台区": "district",
    "表号": "meter",
    "倍率": "multiplier",
}
_NEEDED = ("account", "name")
_KINDS = {"居民": "resident", "工商业": "business", "农业": "agriculture", "其他": "other"}
KINDS = tuple(_KINDS.values())


def read(path: Path, called: str = "") -> dict[int, Entry]:
    """Return the entries of a list by line; RowsError names what is wrong.

    `called` is what people call the file, "": its path.
    """
    key = (marked("account"), lambda entry: entry.account)
    rest = tuple(name for name in COLUMNS if name not in _NEEDED)
    return read_rows(path, _NEEDED, _entry, key, rest, _CHINESE, called)


def _entry(row: dict[str, str]) -> Entry:
    account = digits(row, "account")
    return Entry(
        account=account,
        customer=_text(row, "customer", 32) or account,
        name=_text(row, "name", 128, needed=True),
        phone=_phone(row["phone"]),
        address=_text(row, "address", 200),
        persons=_number(row, "persons", 0, 99),
        kind=_kind(row["kind"]),
        credit_class=_text(row, "credit_class", 16),
        district=_text(row, "district", 32),
        meter=full_number(row["meter"]) if row["meter"] else "",
        multiplier=_number(row, "multiplier", 1, 65535),
    )


def _text(row: dict[str, str], column: str, most: int, *, needed: bool = False) -> str:
    text = row[column]
    if len(text) > most or not text.isprintable() or (needed and not text):
        raise ValueError(
            _("{column} {text!r} has not {least} to {most} characters").format(
                column=column, text=text[:most], least=int(needed), most=most
            )
        )
    return text


def _phone(text: str) -> str:
    if not re.fullmatch(r"[0-9+() -]{0,32}", text):
        raise ValueError(_("phone {text!r} is no number of a telephone").format(text=text))
    return text


def _number(row: dict[str, str], column: str, least: int, most: int) -> int:
    text = row[column]
    if not text:
        return least
    if not re.fullmatch("[0-9]{1,5}", text) or not least <= int(text) <= most:
        raise ValueError(
            _("{column} {text!r} is no number from {least} to {most}").format(
                column=column, text=text, least=least, most=most
            )
        )
    return int(text)


def _kind(text: str) -> str:
    kind = _KINDS.get(text, text) or "resident"
    if kind not in _KINDS.values():
        raise ValueError(
            _("kind {text!r} is none of {kinds}").format(
                text=text, kinds=", ".join(_KINDS.values())
            )
        )
    return kind
