"""The data identifiers, functions and flag words of DL/T 645, read from `identifiers.csv`.

A row names one identifier, or a family of them in brackets: `0001[01-3F]00` has two digits from
01 to 3F; `{1}` in a name stands for the number in the first bracket. A row with profiles is used
for meters of these and precedes the one without. Rows that begin with @ name layouts, rows like
`2007:1C` are the functions: `request -> reply`, where DI and DATA stand for the identifier and
the data it defines.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from host.frames.layouts import Layout, compile_layout

FILE = "identifiers.csv"
# The profile of rows without one: the standard, read as State Grid's meters do.
STATE_GRID = "state-grid"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the catalogue as the file has it."""

    pattern: str
    access: str
    layout: str
    unit: str
    name_en: str
    name_zh: str
    profile: str


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier: `access` is r, w or rw; `request` and `reply` lay out its data."""

    di: str
    access: str
    unit: str
    name_en: str
    name_zh: str
    request: Layout
    reply: Layout


@dataclass(frozen=True, slots=True)
class Function:
    """One function: the layouts before and behind the identifier's own data, by direction."""

    name_en: str
    name_zh: str
    request: tuple["Part", ...]
    reply: tuple["Part", ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One variant of a function's data: fields, the identifier, fields, its data, fields."""

    before: Layout
    has_di: bool
    between: Layout
    has_data: bool
    after: Layout

    @property
    def plain(self) -> bool:
        """Return whether it is the identifier and its data, nothing else."""
        around = self.before.size + self.between.size + self.after.size
        return self.has_di and self.has_data and not around


@dataclass(frozen=True, slots=True)
class Bracket:
    """One `[01-3F]`: the digits it stands for end `shift` bits above the lowest."""

    shift: int
    mask: int
    held: range


class Pattern:
    """The identifiers of one row."""

    def __init__(self, row: Row) -> None:
        parts = re.findall(r"\[[^]]*\]|[0-9A-F]", row.pattern)
        self.row = row
        self.digits = sum(_width(part) for part in parts)
        self.brackets: list[Bracket] = []
        self.mask = self.value = 0
        shift = 4 * self.digits
        for part in parts:
            shift -= 4 * _width(part)
            if part[0] == "[":
                low, _, high = part[1:-1].partition("-")
                mask = (1 << 4 * _width(part)) - 1
                held = range(int(low, 16), int(high, 16) + 1)
                self.brackets.append(Bracket(shift, mask, held))
            else:
                self.mask |= 0xF << shift
                self.value |= int(part, 16) << shift

    @property
    def rank(self) -> int:
        """Return how many bits it fixes: patterns with more bits are tried first."""
        return self.mask.bit_count()

    def match(self, di: int) -> tuple[int, ...] | None:
        """Return the numbers of the brackets in `di`, or None where it does not match."""
        found = tuple(di >> bracket.shift & bracket.mask for bracket in self.brackets)
        fits = all(one in bracket.held for one, bracket in zip(found, self.brackets, strict=True))
        return found if fits else None

    def expand(self) -> Iterator[int]:
        """Yield every identifier of the row."""
        found = [self.value]
        for bracket in self.brackets:
            found = [di | one << bracket.shift for di in found for one in bracket.held]
        yield from found


def _width(part: str) -> int:
    """Return the digits of an identifier that a part of a pattern stands for."""
    return part.index("-") - 1 if part[0] == "[" else 1


class Catalogue:
    """The identifiers and functions with their meaning for meters of one profile.

    An identifier that was found before is taken from a table.
    """

    def __init__(self, rows: list[Row], profile: str = STATE_GRID) -> None:
        # A row of the profile replaces the one of the same pattern, or goes before its family.
        chosen = {row.pattern: row for row in rows if not row.profile}
        own = {row.pattern: row for row in rows if profile in row.profile.split()}
        chosen.update(own)
        self.named = {name: row.layout for name, row in chosen.items() if name[0] == "@"}
        self._layouts: dict[tuple[str, str], Layout] = {}
        self.functions = {name: self._function(row) for name, row in chosen.items() if ":" in name}
        self.patterns = [
            Pattern(row) for name, row in chosen.items() if name[0] != "@" and ":" not in name
        ]
        self.patterns.sort(key=lambda one: (one.row.pattern in own, one.rank), reverse=True)
        self._tables: dict[tuple[int, bool, int], dict[int, list[Pattern]]] = {}
        for one in self.patterns:
            table = self._tables.setdefault((one.digits, one.row.pattern in own, one.mask), {})
            table.setdefault(one.value, []).append(one)
        self._found: dict[str, Identifier] = {}
        self._found_wire: dict[bytes, Identifier] = {}

    def find(self, di: str) -> Identifier | None:
        """Return the identifier of 4 or 8 digits; of any other number of digits there is none."""
        found = self._found.get(di)
        if found is None:
            found = self._look_up(di)
            if found is not None:
                self._found[di] = found
        return found

    def find_wire(self, octets: bytes) -> Identifier | None:
        """Return the identifier whose 2 or 4 bytes are `octets`, low byte first."""
        found = self._found_wire.get(octets)
        if found is None:
            found = self.find(octets[::-1].hex().upper())
            if found is not None:
                self._found_wire[octets] = found
        return found

    def layout(self, name: str) -> Layout:
        """Return the layout the catalogue calls @`name`."""
        return self._compile(f"@{name}", "")

    def _look_up(self, di: str) -> Identifier | None:
        for (digits, _, mask), table in self._tables.items():
            if digits != len(di):
                continue
            number = int(di, 16)
            for pattern in table.get(number & mask, ()):
                held = pattern.match(number)
                if held is not None:
                    return self._identifier(di, pattern.row, held)
        return None

    def _identifier(self, di: str, row: Row, held: tuple[int, ...]) -> Identifier:
        numbers = ("", *held)
        request, arrow, reply = row.layout.format(*numbers).partition("->")
        layout = self._compile(request.strip(), row.unit)
        answer = self._compile(reply.strip(), row.unit) if arrow else layout
        return Identifier(
            di,
            row.access,
            row.unit,
            row.name_en.format(*numbers),
            row.name_zh.format(*numbers),
            layout,
            answer,
        )

    def _compile(self, text: str, unit: str) -> Layout:
        layout = self._layouts.get((text, unit))
        if layout is None:
            layout = self._layouts[text, unit] = compile_layout(text, unit, self.named)
        return layout

    def _function(self, row: Row) -> Function:
        request, _, reply = row.layout.partition("->")
        return Function(
            row.name_en, row.name_zh, self._parts(request.strip()), self._parts(reply.strip())
        )

    def _parts(self, text: str) -> tuple[Part, ...]:
        return tuple(self._part(variant.strip()) for variant in text.split(" / "))

    def _part(self, text: str) -> Part:
        terms = text.split(";")
        at_di = terms.index("DI") if "DI" in terms else -1
        at_data = terms.index("DATA") if "DATA" in terms else len(terms)
        pieces = terms[: max(at_di, 0)], terms[at_di + 1 : at_data], terms[at_data + 1 :]
        layouts = [self._compile(";".join(piece), "") for piece in pieces]
        return Part(layouts[0], at_di >= 0, layouts[1], at_data < len(terms), layouts[2])


@lru_cache(maxsize=32)
def load(profile: str = STATE_GRID) -> Catalogue:
    """Return the catalogue for meters of `profile`; an unknown name means the standard's."""
    return Catalogue(rows(), profile)


def rows() -> list[Row]:
    """Return the rows of the installed file."""
    text = resources.files("host.frames").joinpath(FILE).read_text(encoding="utf-8")
    lines = csv.reader(text.splitlines())
    next(lines)
    return [Row(*cells) for cells in lines]


def profiles() -> list[str]:
    """Return all profiles: that of the rows without one, and those that rows name."""
    return [STATE_GRID, *sorted({name for row in rows() for name in row.profile.split()})]
