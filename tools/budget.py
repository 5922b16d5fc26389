"""What the firmware costs on a 32-bit board, held against tools/budget.csv.

    .venv/bin/python -m tools.budget [--json] [--note]

Figures are exact and the same on every machine: bytes of the frozen image by the linker's table
(the sum without the drivers that only some board.json name, see host/flash/wiring.py),
bytes of heap and instructions on the emulated Cortex-M3, one instruction a nanosecond, and what a
life of 256 meters costs a flash, on a real MicroPython (tests/flash/life.py says which life).
With --note the figures are written into the table as the ones known; a budget is changed by hand,
in the commit that explains why.
"""

import argparse
import ast
import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from host.flash import wiring
from host.link.emulator import BoardError
from tools import micropython, stubs
from tools.debian import FetchError
from tools.image import ImageError, build_emulated
from tools.qemu import MeasuringEmulator

TABLE = Path(__file__).with_suffix(".csv")
FIRMWARE = Path(__file__).resolve().parent.parent / "firmware"

# Imported in this order, each takes what it and nothing before it needs.
_IMPORTS = """\
import gc
def _cost(name):
    gc.collect()
    before = gc.mem_free()
    __import__(name)
    gc.collect()
    return before - gc.mem_free()
print([(name, _cost(name)) for name in {names!r}])
"""

# The village's own modules are none of the product's, and what they take is added.
_FREE = """\
import gc
import boards.qemu, concentrator.run, main
import concentrator.app, concentrator.console.commands
gc.collect()
free = gc.mem_free()
import village
gc.collect()
tests = free - gc.mem_free()
v = village.Village({count})
for _ in range(3):
    v.round()
gc.collect()
print(gc.mem_free() + tests)
"""

_MEASURE = """\
import gc
from parts import cost
print(cost({name!r}))
"""

# Bytes that an hour of readings takes and does not give back at once, those of the village's own
# meters left out; the heap is not collected meanwhile.
_CHURN = """\
import gc
import village
v = village.Village(16)
meters = v.board.meters
own = [0]
def weigh(name):
    function = getattr(meters, name)
    def weighed(buf):
        before = gc.mem_alloc()
        size = function(buf)
        own[0] += gc.mem_alloc() - before
        return size
    setattr(meters, name, weighed)
weigh("write")
weigh("read_into")
for _ in range(3):
    v.round()
gc.collect()
gc.disable()
own[0] = 0
before = gc.mem_alloc()
v.round()
print((gc.mem_alloc() - before - own[0]) // 16)
gc.enable()
"""

# The parts of tests/emulated/parts.py of which the instructions are counted.
_PARTS = (
    *("reading", "charge", "redemption", "judgement", "login"),
    *("pack", "seal", "unseal", "idle_step"),
)

# Lives in tests/emulated/longest.py and longest_desk.py, in order: meters and blocks of flash.
_LONGEST = (
    ("longest.live", 256, 96),
    ("longest.start", 256, 96),
    ("longest.save", 512, 160),
    ("longest_desk.desk", 256, 96),
)

# What a module may grow by, beyond the half of its size, before its budget is too small.
_ROOM = 512

# The functions of tests/emulated/made_up.py that run on the unix port.
_MADE_UP_NAMES = ("direction", "network", "log")
_MADE_UP = "import made_up\nmade_up.{name}()"

_WEAR_BLOCKS = 384
_WEAR_DAYS = 5
_ERASURES = 100_000

_SYMBOL = re.compile(r"^[0-9a-f]+ (?P<size>[0-9a-f]+) \w (?P<name>[\w.]+)$")
_KIND = r"(?:fun_data|const_\w+_table_data|const_obj|proto_fun|children|frozen_module)_"


class BudgetError(Exception):
    """A figure cannot be taken; the text says why."""


@dataclass(frozen=True)
class Row:
    """One line of the table. A `floor` is a budget that the figure must not fall below."""

    name: str
    budget: int
    known: int
    floor: bool


def read_table(path: Path = TABLE) -> list[Row]:
    """Return the rows of the table."""
    with path.open(newline="") as file:
        return [
            Row(row["name"], int(row["budget"]), int(row["known"]), row["limit"] == "floor")
            for row in csv.DictReader(file)
        ]


def write_table(figures: dict[str, int], path: Path = TABLE) -> None:
    """Note the figures as known; a new one gets a budget with room to grow."""
    rows = {row.name: row for row in read_table(path)}
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "budget", "known", "limit"))
        for name, figure in figures.items():
            row = rows.get(name, Row(name, figure + figure // 2 + _ROOM, figure, False))
            writer.writerow((name, row.budget, figure, "floor" if row.floor else "ceiling"))


def passed(rows: list[Row], figures: dict[str, int]) -> list[str]:
    """Return what is wrong: figures beyond their budget."""
    wrong = []
    for row in rows:
        figure = figures.get(row.name)
        if figure is None:
            continue
        if row.floor and figure < row.budget:
            wrong.append(f"{row.name} is {figure}, below its floor of {row.budget}")
        elif not row.floor and figure > row.budget:
            wrong.append(f"{row.name} is {figure}, over its budget of {row.budget}")
    return wrong


def measure() -> dict[str, int]:
    """Return every figure, by name."""
    figures = {}
    by_module = frozen_bytes(build_emulated().with_name("frozen_content.o"))
    optional = {name.removesuffix(".py").replace("/", ".") for name in wiring.DRIVERS}
    figures["frozen_bytes"] = sum(size for name, size in by_module.items() if name not in optional)
    image = build_emulated(tests=True)
    with MeasuringEmulator(image) as board:
        # Frozen as well, but of other boards, is what this one cannot import.
        here = {_module(path) for path in stubs.sources("qemu")}
        imports, figures["import_heap_bytes"] = import_heap(board, here & by_module.keys())
        for count in (256, 512):
            board.soft_reset()
            free = int(board.run(_FREE.format(count=count), 600.0))
            figures[f"free_heap_{count}_meters_bytes"] = free
        board.soft_reset()
        figures["heap_churn_bytes_a_reading"] = int(board.run(_CHURN, 60.0))
    with MeasuringEmulator(image, counting=True) as board:
        for name in _PARTS:
            board.soft_reset()
            figures[f"instructions_{name}"] = int(board.run(_MEASURE.format(name=name), 600.0))
        figures["longest_step_instructions"] = longest_step(board)
        board.soft_reset()
        figures |= _figures(board.run("import made_up\nmade_up.clock()", 60.0))
    figures |= made_up_figures()
    figures |= flash_figures()
    for name, size in sorted(by_module.items()):
        figures[f"frozen_bytes {name or '(shared)'}"] = size
    for name, size in imports.items():
        figures[f"import_heap_bytes {name}"] = size
    return figures


def longest_step(board: MeasuringEmulator) -> int:
    """Return the instructions of the longest step of a life on a full flash, with its start."""
    most = 0
    for part, count, blocks in _LONGEST:
        board.soft_reset()
        module = part.split(".")[0]
        printed = board.run(f"import {module}\n{part}({count}, {blocks})", 1800.0)
        most = max(most, *(int(figure) for figure in re.findall(r": (\d+)", printed)))
    return most


def flash_figures() -> dict[str, int]:
    """Return what 256 meters, read every 15 minutes, cost the flash, from tests/flash/life.py.

    Wear is that of some days on 1.5 MiB with a head-end. The years are those until the hottest
    block of these days has been erased 1e5 times, as if it stayed the hottest for ever. An outage
    lasts until the first record has to go; all of it is lived.
    """
    programmed, erased, readings, hottest = _live("wear", _WEAR_BLOCKS, _WEAR_DAYS)
    packed, packed_readings = _live("packed", _WEAR_BLOCKS)
    return {
        "flash_bytes_a_reading": -(-packed // packed_readings),
        "flash_programmed_bytes_a_reading": -(-programmed // readings),
        "flash_erased_bytes_a_reading": -(-erased // readings),
        "hottest_block_years_1e5": _ERASURES * _WEAR_DAYS // hottest // 365,
        "outage_hours_1mib_256_meters": _live("outage", 256)[0] // 3600,
        "outage_hours_4mib_256_meters": _live("outage", 1024)[0] // 3600,
    }


def made_up_figures() -> dict[str, int]:
    """Return what tests/emulated/made_up.py prints: how boards behave on made-up ports.

    The direction pin falls so many us after the last bit with steps of 1 ms to 5 s, above 9600 bps
    less one character. A turn waits so many ms for a network in trouble. The log costs the flash
    so many bytes in an hour with more lines than it takes.
    """
    printed = "".join(_on_micropython(_MADE_UP.format(name=name)) for name in _MADE_UP_NAMES)
    return _figures(printed)


def _figures(printed: str) -> dict[str, int]:
    """Return the figures that were printed as lines `name figure`."""
    return {name: int(figure) for name, figure in map(str.split, printed.splitlines())}


def _on_micropython(code: str) -> str:
    """Return what the code prints on the unix port; the firmware and its tests are on its path."""
    command = [str(micropython.ensure()), "-X", "heapsize=2M", "-c", code]
    path = "firmware:tests/core:tests/emulated:.frozen"
    environment = {**os.environ, "MICROPYPATH": path}
    try:
        return subprocess.run(
            command,
            cwd=FIRMWARE.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BudgetError(f"{code}: {error}") from error


def _live(*arguments: str | int) -> list[int]:
    """Return the figures that tests/flash/life.py prints."""
    command = (micropython.ensure(), "-X", "heapsize=2M", "tests/flash/life.py", *arguments)
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=FIRMWARE.parent,
            env={**os.environ, "MICROPYPATH": "firmware:tests/core:.frozen"},
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise BudgetError(f"{command}: {error}") from error
    return [int(word) for word in done.stdout.split()]


def frozen_bytes(content: Path) -> dict[str, int]:
    """Return the bytes of frozen code of each module, "" for the names and strings they share.

    `content` is what MicroPython's build made of all frozen modules.
    """
    modules = dict(_modules())
    longest_first = "|".join(sorted(modules, key=len, reverse=True))
    marks = re.compile(f"{_KIND}(?P<mark>{longest_first})(?:_|$)")
    sizes: Counter[str] = Counter()
    for line in _printed("arm-none-eabi-nm", "--print-size", str(content)).splitlines():
        symbol = _SYMBOL.match(line)
        match = symbol and marks.match(symbol["name"])
        if symbol and match:
            sizes[modules[match["mark"]]] += int(symbol["size"], 16)
    text, data = _printed("arm-none-eabi-size", str(content)).splitlines()[1].split()[:2]
    sizes[""] = int(text) + int(data) - sum(sizes.values())
    return dict(sizes)


def _printed(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BudgetError(f"{' '.join(command)}: {error}") from error


def _modules() -> Iterator[tuple[str, str]]:
    """Yield how the linker's table names each module of the product, and its own name."""
    for path in sorted(FIRMWARE.rglob("*.py")):
        yield "_".join(path.relative_to(FIRMWARE).with_suffix("").parts), _module(path)


def _module(path: Path) -> str:
    """Return the name that a file of the firmware is imported by."""
    return ".".join(path.relative_to(FIRMWARE).with_suffix("").parts).removesuffix(".__init__")


def import_heap(board: MeasuringEmulator, modules: set[str]) -> tuple[dict[str, int], int]:
    """Return the bytes of heap that importing each module takes, and the most a board takes.

    A board loads the driver of one card chip. What only chips need is measured chip by chip,
    behind everything else; a module that several need has the figure of the last.
    """
    chips = modules_of_chips()
    others = sorted(modules.difference(*chips.values()))
    figures = {}
    most = 0
    for needed in chips.values():
        board.soft_reset()
        names = others + sorted(needed & modules)
        printed = board.run(_IMPORTS.format(names=names))
        pairs = re.findall(r"\('([\w.]+)', (\d+)\)", printed)
        taken = {name: int(size) for name, size in pairs}
        most = max(most, sum(taken.values()))
        figures.update(taken)
    return dict(sorted(figures.items())), most


def modules_of_chips(source: Path = FIRMWARE / "boards" / "card_reader.py") -> dict[str, set[str]]:
    """Return what each card chip makes a board load, as boards/card_reader.py imports it."""
    tree = ast.parse(source.read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_CHIPS":
            table = ast.unparse(node.value)
            found = {
                chip: _imported(name, functions)
                for chip, name in re.findall(r"'(\w+)': (\w+)", table)
            }
    return found


def _imported(name: str, functions: dict[str, ast.FunctionDef]) -> set[str]:
    """Return the modules of chips that the function, or one that it names, imports."""
    found = set()
    for node in ast.walk(functions[name]):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("card."):
            found.add(node.module)
        elif isinstance(node, ast.Name) and node.id in functions and node.id != name:
            found |= _imported(node.id, functions)
    return found


def show(rows: list[Row], figures: dict[str, int]) -> str:
    """Return the table: figure, budget, room, and how the figure differs from the one known."""
    known = {row.name: row for row in rows}
    lines = [f"{'':44}{'figure':>9}{'budget':>9}{'known':>9}{'change':>8}"]
    for name, figure in figures.items():
        row = known.get(name)
        if row is None:
            lines.append(f"{name:44}{figure:9}{'none':>9}")
            continue
        mark = "  OVER" if passed([row], {name: figure}) else ""
        change = figure - row.known
        lines.append(f"{name:44}{figure:9}{row.budget:9}{row.known:9}{change:+8}{mark}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the command line; 1 when a figure is beyond its budget."""
    parser = argparse.ArgumentParser(prog="tools.budget", description="What the firmware costs.")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--note", action="store_true", help="write the figures into the table")
    options = parser.parse_args(arguments)
    try:
        figures = measure()
    except (BudgetError, BoardError, FetchError, ImageError) as error:
        print(f"budget: {error}", file=sys.stderr)
        return 1
    rows = read_table()
    if options.note:
        write_table(figures)
    if options.json:
        print(json.dumps({name: figure for name, figure in figures.items() if " " not in name}))
        return 0
    print(show(rows, figures))
    wrong = passed(rows, figures)
    for line in wrong:
        print(f"budget: {line}", file=sys.stderr)
    return 1 if wrong and not options.note else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
