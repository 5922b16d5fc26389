"""Layouts of DL/T 645 data: a short text in, a decoder of plain data bytes out.

    layout   = variant {" / " variant}     the first variant of the right size is taken
    variant  = term {";" term}             in wire order
    term     = [count "*"] [name "="] format [" " unit]
             | [count "*"] "(" variant ")"
             | [name " "] "@" layout named elsewhere ["[" number of one term "]"]
    count    = a number, or N for as many as the data holds

The formats are those of `values`. A layout `records:variant|variant|..` is that of load records:

    A0 A0 | size 1 | time 5 | class 1 | AA | class 2 | AA | .. | sum 1 | E5     once or more

where the first variant is the time and each class is as its variant says, or empty. The size
counts from the time to the last AA, the sum is taken from the first A0 to it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from host.frames.values import BYTES, Decoder, Field, FormatError, Item, field, is_coded, numbers

_TERM = re.compile(r"(?:(\d+|N)\*)?(?:(\(.*\))|(?:([^=@]*)=)?(.*))", re.DOTALL)
_REFERENCE = re.compile(r"(?:(.*) )?(@\w+)(?:\[(\d+)\])?")
_REST = ("H*", "B*")
_RECORDS = "records:"
_RECORD_START, _RECORD_END, _SEPARATOR = b"\xa0\xa0", b"\xe5", b"\xaa"
_RECORD_HEAD = 3


@dataclass(frozen=True, slots=True)
class _Group:
    """Fields in wire order, once or as often as the data holds them."""

    fields: tuple[Field, ...]
    repeated: bool

    @property
    def size(self) -> int:
        return sum(one.size for one in self.fields)


@dataclass(frozen=True, slots=True)
class _Variant:
    """Groups in wire order, and the group that takes the remaining bytes."""

    groups: tuple[_Group, ...]
    rest: Decoder | None

    @property
    def size(self) -> int:
        return sum(group.size for group in self.groups)

    def fields(self, size: int) -> tuple[Field, ...] | None:
        """Return the fields of `size` bytes, or None where it cannot have that size."""
        each = sum(group.size for group in self.groups if group.repeated)
        left = size - self.size + each
        if left < each or (each and left % each) or (left and not each and self.rest is None):
            return None
        found: list[Field] = []
        for group in self.groups:
            found += group.fields * (left // each if group.repeated else 1)
        if left and self.rest is not None:
            found.append(Field(left, self.rest))
        return tuple(found)


class Layout:
    """A decoder of data of any size that one of its variants has.

    is_sized    the size of the data tells its fields
    """

    is_sized = True

    def __init__(self, variants: tuple[_Variant, ...]) -> None:
        self._variants = variants
        self._decoders: dict[int, Callable[[bytes], list[Item] | None]] = {}
        self.size = variants[0].size

    def fields(self, size: int) -> tuple[Field, ...] | None:
        """Return None: the size of load records does not tell their fields."""
        found = (variant.fields(size) for variant in self._variants)
        return next((fields for fields in found if fields is not None), None)

    def decode(self, data: bytes) -> list[Item] | None:
        """Return the items of `data`, or None where no variant has its size."""
        decoder = self._decoders.get(len(data))
        if decoder is None:
            decoder = self._decoders[len(data)] = _decoder(self.fields(len(data)))
        return decoder(data)

    def term(self, number: int) -> Field:
        """Return the term `number`, from 1, of the first variant."""
        fields = self.fields(self.size) or ()
        if not 1 <= number <= len(fields):
            raise FormatError(f"term {number} of a layout of {len(fields)}")
        return fields[number - 1]


def _decoder(fields: tuple[Field, ...] | None) -> Callable[[bytes], list[Item] | None]:
    if fields is None:
        return lambda data: None
    starts = [sum(one.size for one in fields[:at]) for at in range(len(fields))]
    steps = [
        (start, start + one.size, one.decode) for start, one in zip(starts, fields, strict=True)
    ]

    def decode(data: bytes) -> list[Item]:
        return [step(data[start:end]) for start, end, step in steps]

    number = fields[0].number if fields else None
    if number is None or number.narrow or number.name:
        return decode
    if any(one.number != number for one in fields):
        return decode
    return numbers(number, len(fields), decode)


class Records(Layout):
    """A decoder of load records; only the data show which classes each record has."""

    is_sized = False

    def __init__(self, classes: list[Layout]) -> None:
        super().__init__((_Variant((), None),))
        self._classes = classes

    def fields(self, size: int) -> tuple[Field, ...] | None:
        """Return None: the size does not determine the fields."""
        return None

    def decode(self, data: bytes) -> list[Item] | None:
        """Return the items of all records one after another, or None where one is broken."""
        items: list[Item] = []
        while data:
            size = _RECORD_HEAD + data[2] if len(data) > _RECORD_HEAD else len(data)
            record, data = data[: size + 2], data[size + 2 :]
            if (record[:2], record[size + 1 :]) != (_RECORD_START, _RECORD_END):
                return None
            found = self._one(record[_RECORD_HEAD:size])
            if found is None or record[size] != sum(record[:size]) & 0xFF:
                return None
            items += found
        return items or None

    def _one(self, body: bytes) -> list[Item] | None:
        time = self._classes[0]
        items = time.decode(body[: time.size])
        at = time.size
        for one in self._classes[1:]:
            if body[at : at + 1] != _SEPARATOR:
                found = one.decode(body[at : at + one.size])
                at += one.size
                if items is None or found is None:
                    return None
                items += found
            if body[at : at + 1] != _SEPARATOR:
                return None
            at += 1
        return items if at == len(body) else None


def compile_layout(text: str, unit: str, named: Mapping[str, str]) -> Layout:
    """Compile `text`; `unit` is that of numbers without one, `named` the texts behind @names.

    Raises FormatError.
    """
    text = named.get(text, text) if named.get(text, "").startswith(_RECORDS) else text
    if text.startswith(_RECORDS):
        classes = text.removeprefix(_RECORDS).split("|")
        return Records([compile_layout(one, unit, named) for one in classes])
    variants = []
    for part in text.split(" / "):
        compiler = _Compiler(unit, named)
        compiler.add(part.strip(), "")
        variants.append(_Variant(tuple(compiler.groups), compiler.rest))
    return Layout(tuple(variants))


class _Compiler:
    """A collector of the groups of one variant."""

    def __init__(self, unit: str, named: Mapping[str, str]) -> None:
        self.groups: list[_Group] = []
        self.rest: Decoder | None = None
        self._unit = unit
        self._named = named

    def add(self, text: str, prefix: str) -> None:
        """Add the terms of `text`, their names behind `prefix`."""
        for term in _split(text):
            if self.rest is not None:
                raise FormatError(f"{term!r} after what takes all")
            match = _TERM.fullmatch(term)
            if match is None:
                raise FormatError(f"term {term!r}")
            count, group, name, body = match.groups()
            before = len(self.groups)
            if group:
                self.add(group[1:-1], prefix)
            else:
                self._add_one(body.strip(), f"{prefix} {name or ''}".strip())
            if count is not None:
                self._repeat(before, count)

    def _repeat(self, before: int, count: str) -> None:
        fields = tuple(one for group in self.groups[before:] for one in group.fields)
        times = 1 if count == "N" else int(count)
        self.groups[before:] = [_Group(fields * times, count == "N")]

    def _add_one(self, body: str, name: str) -> None:
        reference = None if is_coded(body) else _REFERENCE.fullmatch(body)
        if reference is None:
            self._add_field(body, name)
            return
        prefix, target, number = reference.groups()
        text = self._named.get(target)
        if text is None:
            raise FormatError(f"no layout {target}")
        if number:
            chosen = compile_layout(text, self._unit, self._named).term(int(number))
            self.groups.append(_Group((chosen,), False))
        elif is_coded(text):
            self._add_field(text, name)
        else:
            self.add(text, f"{name} {prefix or ''}".strip())

    def _add_field(self, body: str, name: str) -> None:
        form, _, unit = (body, "", "") if is_coded(body) else body.partition(" ")
        if form in _REST:
            self.rest = BYTES[form[0]](name)
        else:
            self.groups.append(_Group((field(form, unit or self._unit, name),), False))


def _split(text: str) -> Iterator[str]:
    """Yield the terms of `text`: split at each `;` outside parentheses."""
    depth = start = 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == ";" and not depth:
            yield text[start:at]
            start = at + 1
    if text[start:]:
        yield text[start:]
