"""Decode single DL/T 645 values from plain data bytes, low byte first, to items for users.

    NNN.NNN  BCD with its decimals; s before it: the top bit of the highest byte is the sign
    YYMMDDhhmmss and its parts, WW weekday (0 Sunday), NN table number
    H4 B4    four bytes as digits, in reading order or as sent; H* B* all that is left
    A4       four characters
    U4.2     binary, two decimals
    bits16:  flags by bit number;  codes8:  one of some values;  freeze  the pattern of a freeze

An item has a `value` and a `unit`; a `name` where it is one of several, `flags`, `text` or
`weekday` where its format has them. Bytes all FF are no value: None. Bytes that do not fit the
format, such as a 13th month, are returned as digits with the unit `raw`.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]
Decoder = Callable[[bytes], Item]

RAW = "raw"
_SIGN = 0x80
_NUMBER = re.compile(r"(s?)(N+)(?:\.(N+))?")
_BYTES = re.compile(r"([HBA])(\d+)")
_BINARY = re.compile(r"U(\d)(?:\.(\d))?")
# Times by the digits of their bytes in reading order.
_TIMES: dict[str, Callable[[str], str]] = {
    "YYMMDDhhmmss": lambda t: f"20{t[:2]}-{t[2:4]}-{t[4:6]} {t[6:8]}:{t[8:10]}:{t[10:]}",
    "YYMMDDhhmm": lambda t: f"20{t[:2]}-{t[2:4]}-{t[4:6]} {t[6:8]}:{t[8:]}",
    "YYMMDDWWhhmmss": lambda t: f"20{t[:2]}-{t[2:4]}-{t[4:6]} {t[8:10]}:{t[10:12]}:{t[12:]}",
    "YYMMDDWW": lambda t: f"20{t[:2]}-{t[2:4]}-{t[4:6]}",
    "YYMMDDNN": lambda t: f"20{t[:2]}-{t[2:4]}-{t[4:6]} {t[6:]}",
    "MMDDhhmm": lambda t: f"{t[:2]}-{t[2:4]} {t[4:6]}:{t[6:]}",
    "MMDDNN": lambda t: f"{t[:2]}-{t[2:4]} {t[4:]}",
    "hhmmss": lambda t: f"{t[:2]}:{t[2:4]}:{t[4:]}",
    "hhmmNN": lambda t: f"{t[:2]}:{t[2:4]} {t[4:]}",
    "hhmm": lambda t: f"{t[:2]}:{t[2:]}",
    "DDhh": lambda t: f"{t[:2]} {t[2:]}:00",
}
# The parts of a time with the least and the most that each may be.
_PARTS = (("MM", 1, 12), ("DD", 1, 31), ("hh", 0, 23), ("mm", 0, 59), ("ss", 0, 59))
# A settlement day that a meter does not use.
_UNUSED_DAY = "9999"
_FREEZE_KINDS = {1: "monthly", 2: "daily", 3: "hourly", 4: "instant"}


class FormatError(ValueError):
    """A format or layout text is invalid; the message names it."""


@dataclass(frozen=True, slots=True)
class Number:
    """A BCD number: `size` bytes of which `decimals` digits are behind the point.

    `narrow` where it has an odd number of digits, so that the first one is always 0.
    """

    size: int
    decimals: int
    signed: bool
    narrow: bool
    unit: str
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """One value of `size` bytes; `number` where it is one."""

    size: int
    decode: Decoder
    number: Number | None = None


def raw(data: bytes, name: str = "") -> Item:
    """Return `data` as digits in reading order, for data without a format or not of it."""
    return _item(name, data[::-1].hex().upper(), RAW)


def field(form: str, unit: str, name: str) -> Field:
    """Return the field of one format; `unit` is a number's."""
    if match := _NUMBER.fullmatch(form):
        signed, whole, part = match.groups()
        decimals = len(part or "")
        digits = len(whole) + decimals
        number = Number((digits + 1) // 2, decimals, bool(signed), bool(digits % 2), unit, name)
        return Field(number.size, _number(number), number)
    if form in _TIMES:
        return Field(len(form) // 2, _time(form, name))
    if match := _BYTES.fullmatch(form):
        return Field(int(match[2]), BYTES[match[1]](name))
    if match := _BINARY.fullmatch(form):
        return Field(int(match[1]), _binary(int(match[2] or 0), unit, name))
    if form == "freeze":
        return Field(4, _freeze(name))
    if is_coded(form):
        return _coded(form, name)
    raise FormatError(f"format {form!r}")


def is_coded(form: str) -> bool:
    """Return whether `form` lists flags or codes."""
    return form.startswith(("bits", "codes"))


def numbers(
    number: Number, count: int, one_by_one: Callable[[bytes], list[Item]]
) -> Callable[[bytes], list[Item]]:
    """Return a decoder of `count` equal numbers without a name, the common answer of a meter.

    Where one of them is negative or no number it leaves all of them to `one_by_one`.
    """
    size, unit, signed = number.size, number.unit, number.signed
    # The last item stands first in the reversed digits: start, point and end of each.
    cuts = [
        (at, at + 2 * size - number.decimals, at + 2 * size)
        for at in range(2 * size * (count - 1), -1, -2 * size)
    ]
    point = cuts[0][1]
    # Most registers of most meters were never used.
    zeros = "0" * (2 * size)
    zero = f"0.{zeros[: number.decimals]}"

    def decode_one(data: bytes) -> list[Item]:
        text = data[::-1].hex()
        if not text.isdecimal() or (signed and text > "8"):
            return one_by_one(data)
        return [{"value": f"{text[:point].lstrip('0') or '0'}.{text[point:]}", "unit": unit}]

    def decode(data: bytes) -> list[Item]:
        text = data[::-1].hex()
        if not text.isdecimal() or (signed and max(data[size - 1 :: size]) >= _SIGN):
            return one_by_one(data)
        return [
            {
                "value": zero
                if text[start:end] == zeros
                else f"{text[start:point].lstrip('0') or '0'}.{text[point:end]}",
                "unit": unit,
            }
            for start, point, end in cuts
        ]

    def decode_whole(data: bytes) -> list[Item]:
        text = data[::-1].hex()
        if not text.isdecimal() or (signed and max(data[size - 1 :: size]) >= _SIGN):
            return one_by_one(data)
        return [
            {"value": text[start:end].lstrip("0") or "0", "unit": unit} for start, _, end in cuts
        ]

    if not number.decimals:
        return decode_whole
    return decode_one if count == 1 else decode


def _item(name: str, value: str | None, unit: str = "") -> Item:
    if name:
        return {"name": name, "value": value, "unit": unit}
    return {"value": value, "unit": unit}


def _number(number: Number) -> Decoder:
    name, unit, decimals = number.name, number.unit, number.decimals
    none = "f" * (2 * number.size)

    def decode(data: bytes) -> Item:
        text = data[::-1].hex()
        sign = ""
        if text == none:
            return _item(name, None, unit)
        if number.signed and text[0] > "7":
            text = f"{int(text[0], 16) - 8}{text[1:]}"
            sign = "-" if text.strip("0") else ""
        if not text.isdecimal() or (number.narrow and text[0] != "0"):
            return raw(data, name)
        whole, part = text[: len(text) - decimals], text[len(text) - decimals :]
        point = "." if decimals else ""
        return _item(name, f"{sign}{whole.lstrip('0') or '0'}{point}{part}", unit)

    return decode


def _can_be(text: str, parts: list[tuple[int, int, int]], has_year: bool) -> bool:
    """Return whether the digits of a time can be one: each part, and the day of its month."""
    if any(not least <= int(text[at : at + 2]) <= most for at, least, most in parts):
        return False
    if not has_year:
        return True
    year, month, day = (int(text[at : at + 2]) for at in (0, 2, 4))
    return day <= monthrange(2000 + year, month)[1]


def _time(form: str, name: str) -> Decoder:
    """Return a decoder of a time; an invalid weekday does not spoil the date.

    Zeros in place of a date mean that the event never was. A time that cannot be stays digits.
    """
    write = _TIMES[form]
    at = form.find("WW")
    parts = [(form.index(part), least, most) for part, least, most in _PARTS if part in form]
    if form in ("hhmm", "hhmmNN"):  # of a day table, whose last period ends with the day
        parts[0] = (0, 0, 24)

    def decode(data: bytes) -> Item:
        text = data[::-1].hex()
        weekday = text[at : at + 2] if at >= 0 else ""
        if not text.isdecimal():
            if not text.strip("f"):
                return _item(name, None)
            if not (text[:at] + text[at + 2 :]).isdecimal() or not weekday:
                return raw(data, name)
        if not _can_be(text, parts, has_year=form.startswith("YY")):
            never = "DD" in form and not text.strip("0")
            unused = form == "DDhh" and text == _UNUSED_DAY
            return _item(name, None) if never or unused else raw(data, name)
        item = _item(name, write(text))
        if weekday.isdecimal():
            item["weekday"] = int(weekday)
        return item

    return decode


def _digits(name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        return _item(name, data[::-1].hex().upper() if data.strip(b"\xff") else None)

    return decode


def _wire(name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        return _item(name, data.hex().upper() if data.strip(b"\xff") else None)

    return decode


def _text(name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        if not data.strip(b"\xff"):
            return _item(name, None)
        octets = data[::-1].strip(b"\0")
        text = octets.decode("ascii", "replace")
        if octets and not (octets.isascii() and text.isprintable()):
            return raw(data, name)
        return _item(name, text)

    return decode


BYTES = {"H": _digits, "B": _wire, "A": _text}


def _binary(decimals: int, unit: str, name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        if not data.strip(b"\xff"):
            return _item(name, None, unit)
        text = str(int.from_bytes(data, "little")).zfill(decimals + 1)
        if decimals:
            text = f"{text[:-decimals]}.{text[-decimals:]}"
        return _item(name, text, unit)

    return decode


def _freeze(name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        minute, hour, day, month = (f"{octet:02X}" for octet in data)
        if not (minute + hour + day + month).isdecimal():
            return raw(data, name)
        item = _item(name, f"{month}-{day} {hour}:{minute}")
        wild = [part == "99" for part in (month, day, hour, minute)]
        if wild == sorted(wild, reverse=True) and any(wild):
            item["text"] = _FREEZE_KINDS[sum(wild)]
        return item

    return decode


def _coded(form: str, name: str) -> Field:
    """Return the field of `bits16:0 name|3 name` or `codes8:1A name|1B name`."""
    head, _, tail = form.partition(":")
    entries = [entry.split(" ", 1) for entry in tail.split("|")]
    size = int(head.lstrip("bitscode")) // 8
    if head.startswith("codes"):
        return Field(size, _code(dict(entries), name))
    return Field(size, _bits(size, {int(bit): text for bit, text in entries}, name))


def _code(texts: Mapping[str, str], name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        item = _item(name, data[::-1].hex().upper())
        if item["value"] in texts:
            item["text"] = texts[item["value"]]
        return item

    return decode


def _bits(size: int, flags: Mapping[int, str], name: str) -> Decoder:
    """Return flags by bit number, lowest first; one without a name is `bit 11`."""
    texts = [(1 << bit, flags.get(bit, f"bit {bit}")) for bit in range(8 * size)]

    def decode(data: bytes) -> Item:
        word = int.from_bytes(data, "little")
        known = bool(data.strip(b"\xff"))
        item = _item(name, data[::-1].hex().upper() if known else None)
        item["flags"] = [text for mask, text in texts if word & mask] if word and known else []
        return item

    return decode
