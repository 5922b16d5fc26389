"""Lists of accounts as people's programs save them, CSV or XLSX, read whole or not at all."""

import contextlib
import re
from datetime import date
from pathlib import Path

from host.headend.registry import COLUMNS, Entry, Ratio
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
    "电流互感器变比": "ct",
    "电压互感器变比": "pt",
    "电表类型": "type",
    "生产厂家": "manufacturer",
    "安装日期": "installed",
    "检定日期": "verified",
    "检定有效期至": "due",
    "轮换日期": "exchange_due",
    "电价编号": "tariff",
}
_NEEDED = ("account", "name")
_KINDS = {"居民": "resident", "工商业": "business", "农业": "agriculture", "其他": "other"}
_MULTIPLIER_LIMIT = 65535
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
    ratio = ratio_of(row)
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
        multiplier=ratio.multiplier,
        ct=ratio.ct,
        pt=ratio.pt,
        type=_text(row, "type", 64),
        manufacturer=_text(row, "manufacturer", 64),
        installed=_day(row, "installed"),
        verified=_day(row, "verified"),
        due=_day(row, "due"),
        exchange_due=_day(row, "exchange_due"),
        tariff=_number(row, "tariff", 0, 65535),
    )


def ratio_of(row: dict[str, str]) -> Ratio:
    """Return by what registers are multiplied, from the cells multiplier, ct and pt; ValueError.

    The ratios of both transformers may stand in place of their product, or beside it.
    """
    told = _number(row, "multiplier", 1, _MULTIPLIER_LIMIT)
    if not row["ct"] and not row["pt"]:
        return Ratio(told)
    (ct, first), (pt, second) = _ratio(row, "ct"), _ratio(row, "pt")
    made = first * second
    if made > _MULTIPLIER_LIMIT or (row["multiplier"] and told != made):
        text = _(
            "multiplier {told!r}: ct {ct!r} times pt {pt!r} is {made}, at most {most} is taken"
        )
        told_here = {"ct": row["ct"], "pt": row["pt"], "made": made, "most": _MULTIPLIER_LIMIT}
        raise ValueError(text.format(told=row["multiplier"], **told_here))
    return Ratio(made, ct, pt)


def _ratio(row: dict[str, str], column: str) -> tuple[str, int]:
    """Return the ratio of a transformer as it is kept, like 40 or 200/5, and what it is."""
    over, slash, under = row[column].partition("/")
    if not slash:
        number = _number(row, column, 1, _MULTIPLIER_LIMIT)
        return (str(number) if over else ""), number
    if re.fullmatch("[0-9]{1,6}/[0-9]{1,4}", row[column]):
        first, second = int(over), int(under)
        if second and first >= second and not first % second:
            return f"{first}/{second}", first // second
    text = _("{column} {text!r} is no whole ratio: write it like 40 or 200/5")
    raise ValueError(text.format(column=column, text=row[column][:20]))


def _day(row: dict[str, str], column: str) -> str:
    """Return a day as YYYY-MM-DD, however programs write it; "" where there is none."""
    text = row[column]
    if not text:
        return ""
    parts = re.fullmatch(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?( 0+:00:00)?", text)
    if parts:
        with contextlib.suppress(ValueError):
            year, month, day = (int(part) for part in parts.groups()[:3])
            return date(year, month, day).isoformat()
    raise ValueError(
        _("{column} {text!r} is no day: write it as YYYY-MM-DD").format(
            column=column, text=text[:20]
        )
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
