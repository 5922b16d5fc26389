"""Write docs/IDENTIFIERS.md, the catalogue for people.

    .venv/bin/python -m tools.identifiers > docs/IDENTIFIERS.md

A test holds the file to what this writes.
"""

import sys
from collections.abc import Iterable, Iterator

from host.frames import catalogue
from host.frames.catalogue import Pattern, Row

_CLASSES = {
    "00": "Energy",
    "01": "Maximum demand",
    "02": "Variables",
    "03": "Events",
    "04": "Parameters",
    "05": "Freezes",
    "06": "Load records",
    "07": "Security",
    "08": "Vendor",
    "1": "Event records by item",
    "2": "Event records by item",
    "A": "Vendor",
}

_INTRODUCTION = """\
# Identifiers

Every data identifier `dianka decode` knows, {identifiers:,} of them in {rows:,} rows. This file is
made from `host/frames/identifiers.csv` by `python -m tools.identifiers > docs/IDENTIFIERS.md`.

- A row names one identifier or, in brackets, a family: `0001[01-3F]00` has two digits from 01 to
  3F, of which `{{1}}` in a name is the number.
- *Access*: r is read, w is written, rw both.
- *Format*: `NNN.N` is BCD with its decimals, `s` before it a sign in the highest bit; `H6`, `B6`
  and `A6` are bytes as digits, as digits in the order sent, and as text; `U4.2` is binary with two
  decimals; `N*` is as many as the data holds; `;` parts the fields of a record, ` / ` the layouts
  it may have, ` -> ` what is asked from what is answered; `@name` is a layout of its own, below.
- *Profile*: the kinds of meters that mean it so where meters disagree (`dianka decode --profile`);
  a row without one is the standard's, or State Grid's where the standard leaves it open.

A new identifier is a new line in the file.
"""


def render() -> str:
    """Return the text of docs/IDENTIFIERS.md."""
    rows = catalogue.rows()
    layouts = [row for row in rows if row.pattern[0] == "@"]
    functions = [row for row in rows if ":" in row.pattern]
    plain = [row for row in rows if row not in layouts and row not in functions]
    count = sum(1 for row in plain for _ in Pattern(row).expand())
    lines = [_INTRODUCTION.format(identifiers=count, rows=len(plain))]
    longer = [row for row in plain if Pattern(row).digits == 8]
    titles = dict.fromkeys(_title(row) for row in longer)
    for title in titles:
        lines += _section(f"DL/T 645-2007: {title}", [r for r in longer if _title(r) == title])
    lines += _section("DL/T 645-1997", [row for row in plain if row not in longer])
    lines += _section("Functions", functions)
    lines += _section("Layouts", layouts)
    return "\n".join(lines)


def _title(row: Row) -> str:
    return next(title for start, title in _CLASSES.items() if row.pattern.startswith(start))


def _section(title: str, rows: Iterable[Row]) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield "| Identifier | Access | Format | Unit | Name | 名称 | Profile |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        cells = (
            f"`{row.pattern}`",
            row.access,
            f"`{row.layout}`" if row.layout.strip() else "",
            row.unit,
            row.name_en,
            row.name_zh,
            row.profile,
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(render() + "\n")
