"""Name the parts of a block: which tariff, which phase, which settlement day a value is of.

The name of a block in the catalogue says what stands in it, and in which order; a block of a
settlement day has the parts of the present one.
"""

import re
from functools import lru_cache
from typing import Any

from host.frames import catalogue
from host.words import _, marked

_TARIFFS = re.compile(r"block: .*\btotal \+ tariffs")
_PHASES = re.compile(r"block: (?:(total,)?A,B,C\b|phase voltages$)")
_DAYS = re.compile(r"block: .*\bpresent \+ (\d+) settlement days")
_SETTLED = re.compile(r"block, settlement day")
_TOTAL, _RATE = marked("total"), marked("rate")
_PRESENT, _DAY = marked("present"), marked("settlement day")
_EACH_PHASE = (marked("phase A"), marked("phase B"), marked("phase C"))
_NUMBERED = re.compile(r"(.+) (\d+)")


def name_parts(said: dict[str, Any]) -> dict[str, Any]:
    """Give each item of a described block the name of its `part`, and return the description.

    Where the catalogue does not say the order, or other values stand there, nothing is named.
    """
    items = said["items"]
    if said["error"] or said["more"] or "note" in said or len(items) < 2:
        return said
    fields = len({item.get("name", "") for item in items})
    count, rest = divmod(len(items), fields)
    names = () if rest else _names(said["di"], said["name_en"], count)
    for at, name in enumerate(names):
        for item in items[at * fields : (at + 1) * fields]:
            item["part"] = name
    return said


@lru_cache(maxsize=256)
def _names(di: str, name_en: str, count: int) -> tuple[str, ...]:
    """Return the names of so many parts of a block, or none."""
    if _SETTLED.match(name_en):
        present = catalogue.load().find(f"{di[:-2]}00")
        name_en = present.name_en if present else ""
    if _TARIFFS.match(name_en):
        return (_TOTAL, *(f"{_RATE} {number}" for number in range(1, count)))
    if days := _DAYS.match(name_en):
        named: tuple[str, ...] = (
            _PRESENT,
            *(f"{_DAY} {number}" for number in range(1, int(days[1]) + 1)),
        )
    elif found := _PHASES.match(name_en):
        named = (_TOTAL, *_EACH_PHASE) if found[1] else _EACH_PHASE
    else:
        return ()
    return named if len(named) == count else ()


def label_of(item: dict[str, Any]) -> str:
    """Return what an item is, in the language spoken: its part of the block, and its own name."""
    part = item.get("part", "")
    numbered = _NUMBERED.fullmatch(part)
    told = f"{_(numbered[1])} {numbered[2]}" if numbered else _(part) if part else ""
    own = _(item["name"]) if "name" in item else ""
    return f"{told} {own}".strip()
