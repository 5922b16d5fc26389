"""Explain ITEM records: the integers that a device decoded from a meter's reply.

An integer counts the lowest digits of its BCD number, energy is in Wh, flags are a word. Names,
decimals and units come from the catalogue; other values stay unchanged, with the unit `raw`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from host.frames import catalogue
from host.frames.catalogue import Identifier
from host.frames.values import RAW, Field, Item

_WH_DECIMALS = 3
_DIGITS_1997 = 4


@dataclass(frozen=True, slots=True)
class Told:
    """One identifier with its values: `value` and `unit`, `flags` where it is a status word."""

    di: str
    name_en: str
    name_zh: str
    items: list[Item]


def tell(di: str, values: Sequence[int | None]) -> Told:
    """Explain the values of the identifier `di`, 8 digits, those of 1997 behind 0000."""
    found = catalogue.load().find(di)
    if found is None and di.startswith("0000"):
        found = catalogue.load().find(di[-_DIGITS_1997:])
    if found is None:
        return Told(di, "unknown", "未知", [_raw(value) for value in values])
    fields = _fields(found, len(values))
    items = [_item(one, value) for one, value in zip(fields, values, strict=True)]
    return Told(found.di, found.name_en, found.name_zh, items)


def _fields(found: Identifier, count: int) -> list[Field | None]:
    """Return the fields of `count` values; None for values that the layout lacks."""
    layout = found.reply
    first = layout.fields(layout.size) or ()
    each = first[0].size if first else 0
    fields = list(layout.fields(count * each) or first)[:count]
    return [*fields, *[None] * (count - len(fields))]


def _item(field: Field | None, value: int | None) -> Item:
    if value is None:
        return {"value": None, "unit": field.number.unit if field and field.number else RAW}
    if field is None:
        return _raw(value)
    if field.number is not None:
        unit = field.number.unit
        decimals = _WH_DECIMALS if unit == "kWh" else field.number.decimals
        number = Decimal(value).scaleb(-decimals)
        return {"value": f"{number:.{field.number.decimals}f}", "unit": unit}
    if not 0 <= value < 1 << 8 * field.size:
        return _raw(value)
    item = field.decode(value.to_bytes(field.size, "little"))
    return item if "flags" in item else _raw(value)


def _raw(value: int | None) -> Item:
    return {"value": None if value is None else str(value), "unit": RAW}
