"""Layouts of DL/T 645 values: a short text in, a decoder of plain data bytes out.

    layout   = variant {" / " variant}     the first variant of the right size is taken
    variant  = term {";" term}             in wire order
    term     = [count "*"] [name "="] format [" " unit]
             | [count "*"] "(" variant ")"
             | [name " "] "@" layout named elsewhere ["[" number of one term "]"]
    count    = a number, or N for as many as the data holds

Formats, each sent low byte first:

    NNN.NNN  BCD with its decimals; s before it: the top bit of the highest byte is the sign
    YYMMDDhhmmss and its parts, WW weekday (0 Sunday), NN table number
    H4 B4    four bytes as digits, in reading order or as sent; H* B* all that is left
    A4       four characters
    U4.2     binary, two decimals
    bits16:  flags by bit number;  codes8:  one of some values;  freeze  the pattern of a freeze

Bytes all FF are no value. What is not of its format is given as digits with the unit `raw`,
never guessed at.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]
Decoder = Callable[[bytes], Item]

RAW = "raw"
_NUMBER = re.compile(r"(s?)(N+)(?:\.(N+))?")
_BYTES = re.compile(r"([HBA])(\d+)")
_BINARY = re.compile(r"U(\d)(?:\.(\d))?")
_TERM = re.compile(r"(?:(\d+|N)\*)?(?:(\(.*\))|(?:([^=@]*)=)?(.*))", re.DOTALL)
_REFERENCE = re.compile(r"(?:(.*) )?(@\w+)(?:\[(\d+)\])?")
_TIMES = {
    "YYMMDDhhmmss": "20{0}-{1}-{2} {3}:{4}:{5}",
    "YYMMDDhhmm": "20{0}-{1}-{2} {3}:{4}",
    "YYMMDDWWhhmmss": "20{0}-{1}-{2} {4}:{5}:{6}",
    "YYMMDDWW": "20{0}-{1}-{2}",
    "YYMMDDNN": "20{0}-{1}-{2} {3}",
    "MMDDhhmm": "{0}-{1} {2}:{3}",
    "MMDDNN": "{0}-{1} {2}",
    "hhmmss": "{0}:{1}:{2}",
    "hhmmNN": "{0}:{1} {2}",
    "hhmm": "{0}:{1}",
    "DDhh": "{0} {1}:00",
}


class LayoutError(ValueError):
    """A layout text that means nothing; it names the text."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value of `size` bytes and what makes an item of them."""

    size: int
    decode: Decoder


@dataclass(frozen=True, slots=True)
class _Group:
    fields: tuple[Field, ...]
    repeated: bool

    @property
    def size(self) -> int:
        return sum(field.size for field in self.fields)


class Layout:
    """Variants of fields; `fields` finds those of a given size."""

    def __init__(self, variants: list[list[_Group]], rest: list[Decoder | None]) -> None:
        self._variants = variants
        self._rest = rest
        self._known: dict[int, tuple[Field, ...] | None] = {}

    def fields(self, size: int) -> tuple[Field, ...] | None:
        """The fields of `size` data bytes, or None where no variant has that size."""
        if size not in self._known:
            self._known[size] = self._find(size)
        return self._known[size]

    def _find(self, size: int) -> tuple[Field, ...] | None:
        for groups, rest in zip(self._variants, self._rest, strict=True):
            fixed = sum(group.size for group in groups if not group.repeated)
            each = sum(group.size for group in groups if group.repeated)
            left = size - fixed
            if left < 0 or (each and (left < each or left % each)):
                continue
            if left and not each and rest is None:
                continue
            repeat = left // each if each else 1
            found = [
                field
                for group in groups
                for field in group.fields * (repeat if group.repeated else 1)
            ]
            if left and rest is not None:
                found.append(Field(left, rest))
            return tuple(found)
        return None

    def decode(self, data: bytes) -> list[Item] | None:
        """The items of `data`, or None where no variant has its size."""
        fields = self.fields(len(data))
        if fields is None:
            return None
        items = []
        at = 0
        for field in fields:
            end = at + field.size
            items.append(field.decode(data[at:end]))
            at = end
        return items

    @property
    def size(self) -> int:
        """The smallest size of the first variant."""
        return sum(group.size for group in self._variants[0])

    def term(self, number: int) -> "Layout":
        """Only the term `number`, from 1, of the first variant."""
        fields = [field for group in self._variants[0] for field in group.fields]
        if not 1 <= number <= len(fields):
            raise LayoutError(f"term {number} of a layout of {len(fields)}")
        return Layout([[_Group((fields[number - 1],), False)]], [None])


def raw(data: bytes, name: str = "") -> Item:
    """`data` as digits in reading order, for what has no format or is not of it."""
    item: Item = {"name": name} if name else {}
    item["value"] = data[::-1].hex().upper()
    item["unit"] = RAW
    return item


def compile_layout(text: str, unit: str, named: Mapping[str, str]) -> Layout:
    """Compile `text`; `unit` is that of numbers without one, `named` the texts behind @names."""
    variants: list[list[_Group]] = []
    rests: list[Decoder | None] = []
    for variant in text.split(" / "):
        compiler = _Compiler(unit, named)
        compiler.add(variant.strip(), "", False)
        variants.append(compiler.groups)
        rests.append(compiler.rest)
    return Layout(variants, rests)


class _Compiler:
    """Collects the groups of one variant."""

    def __init__(self, unit: str, named: Mapping[str, str]) -> None:
        self.groups: list[_Group] = []
        self.rest: Decoder | None = None
        self._unit = unit
        self._named = named

    def add(self, text: str, prefix: str, inside: bool) -> None:
        """Add the terms of `text`, their names behind `prefix`."""
        for term in _split(text):
            if self.rest is not None:
                raise LayoutError(f"{term!r} after what takes all")
            match = _TERM.fullmatch(term)
            if match is None:
                raise LayoutError(f"term {term!r}")
            count, group, name, body = match.groups()
            name = f"{prefix} {name or ''}".strip()
            before = len(self.groups)
            if group:
                self.add(group[1:-1], prefix, True)
            else:
                self._add_one(body.strip(), name)
            self._repeat(before, count)

    def _repeat(self, before: int, count: str | None) -> None:
        if count is None:
            return
        fields = tuple(field for group in self.groups[before:] for field in group.fields)
        times = 1 if count == "N" else int(count)
        self.groups[before:] = [_Group(fields * times, count == "N")]

    def _add_one(self, body: str, name: str) -> None:
        reference = _REFERENCE.fullmatch(body)
        if reference:
            prefix, target, number = reference.groups()
            text = self._named.get(target)
            if text is None:
                raise LayoutError(f"no layout {target}")
            if number:
                whole = compile_layout(text, self._unit, self._named)
                chosen = whole.term(int(number))
                self.groups.append(_Group(chosen.fields(chosen.size) or (), False))
            elif text.startswith(("bits", "codes")):
                self._add_field(text, name)
            else:
                self.add(text, f"{name} {prefix or ''}".strip(), False)
        else:
            self._add_field(body, name)

    def _add_field(self, body: str, name: str) -> None:
        form, _, unit = (
            (body, "", "") if body.startswith(("bits", "codes")) else body.partition(" ")
        )
        if form in ("H*", "B*"):
            self.rest = _DECODERS[form[0]](name)
            return
        size, decode = _field(form, unit or self._unit, name)
        self.groups.append(_Group((Field(size, decode),), False))


def _split(text: str) -> Iterator[str]:
    """The terms of `text`: split at each `;` outside parentheses."""
    depth = start = 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == ";" and not depth:
            yield text[start:at]
            start = at + 1
    if text[start:]:
        yield text[start:]


def _field(form: str, unit: str, name: str) -> tuple[int, Decoder]:
    if match := _NUMBER.fullmatch(form):
        signed, whole, part = match.groups()
        decimals = len(part or "")
        return _number(bool(signed), len(whole) + decimals, decimals, unit, name)
    if form in _TIMES:
        return len(form) // 2, _time(form, name)
    if match := _BYTES.fullmatch(form):
        return int(match[2]), _DECODERS[match[1]](name)
    if match := _BINARY.fullmatch(form):
        return int(match[1]), _binary(int(match[2] or 0), unit, name)
    if form == "freeze":
        return 4, _freeze(name)
    if form.startswith(("bits", "codes")):
        return _coded(form, name)
    raise LayoutError(f"format {form!r}")


def _item(name: str, value: str | None, unit: str = "") -> Item:
    if name:
        return {"name": name, "value": value, "unit": unit}
    return {"value": value, "unit": unit}


def _number(signed: bool, digits: int, decimals: int, unit: str, name: str) -> tuple[int, Decoder]:
    size = (digits + 1) // 2
    none = "f" * (2 * size)
    odd = digits % 2
    whole = 2 * size - decimals

    def decode(data: bytes) -> Item:
        text = data[::-1].hex()
        sign = ""
        if signed and text[0] > "7" and text != none:
            text = f"{int(text[0], 16) - 8}{text[1:]}"
            sign = "-" if text.strip("0") else ""
        if not text.isdecimal():
            return _item(name, None, unit) if text == none else raw(data, name)
        if odd and text[0] != "0":
            return raw(data, name)
        value = text[:whole].lstrip("0") or "0"
        if decimals:
            value = f"{sign}{value}.{text[whole:]}"
        elif sign:
            value = sign + value
        if name:
            return {"name": name, "value": value, "unit": unit}
        return {"value": value, "unit": unit}

    return size, decode


def _time(form: str, name: str) -> Decoder:
    shape = _TIMES[form]
    weekday = form.find("WW")

    def decode(data: bytes) -> Item:
        text = data[::-1].hex()
        if not text.isdecimal():
            return _item(name, None) if not text.strip("f") else raw(data, name)
        item = _item(name, shape.format(*(text[at : at + 2] for at in range(0, len(text), 2))))
        if weekday >= 0:
            item["weekday"] = int(text[weekday : weekday + 2])
        return item

    return decode


def _digits(name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        text = data[::-1].hex().upper()
        return _item(name, text if text.strip("F") else None)

    return decode


def _wire(name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        return _item(name, data.hex().upper() if data.strip(b"\xff") else None)

    return decode


def _text(name: str) -> Decoder:
    def decode(data: bytes) -> Item:
        octets = data[::-1].strip(b"\0")
        if not octets.strip(b"\xff"):
            return _item(name, None if data.strip(b"\0") else "")
        if octets.isascii() and octets.decode("ascii").isprintable():
            return _item(name, octets.decode("ascii"))
        return raw(data, name)

    return decode


_DECODERS = {"H": _digits, "B": _wire, "A": _text}


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
        kinds = {1: "monthly", 2: "daily", 3: "hourly", 4: "instant"}
        if wild == sorted(wild, reverse=True) and sum(wild) in kinds:
            item["text"] = kinds[sum(wild)]
        return item

    return decode


def _coded(form: str, name: str) -> tuple[int, Decoder]:
    """`bits16:0 name|3 name` or `codes8:1A name|1B name`."""
    head, _, tail = form.partition(":")
    entries = [entry.split(" ", 1) for entry in tail.split("|")]
    size = int(head.lstrip("bitscode")) // 8
    if head.startswith("codes"):
        texts = dict(entries)

        def decode_code(data: bytes) -> Item:
            value = data[::-1].hex().upper()
            item = _item(name, value)
            if value in texts:
                item["text"] = texts[value]
            return item

        return size, decode_code
    flags = {int(bit): text for bit, text in entries}

    def decode_bits(data: bytes) -> Item:
        word = int.from_bytes(data, "little")
        item = _item(name, f"{word:0{2 * size}X}")
        item["flags"] = flag_names(flags, word)
        return item

    return size, decode_bits


def flag_names(flags: Mapping[int, str], word: int) -> list[str]:
    """The names of the bits set in `word`, lowest first; one without a name is `bit 11`."""
    return [flags.get(bit, f"bit {bit}") for bit in range(word.bit_length()) if word >> bit & 1]
