"""Goal: the same day gives the same journal on CPython, on MicroPython of 64 bits and on an
emulated Cortex-M3, record for record and byte for byte.

Method: a whole concentrator with its meters runs two days of the same hours on each, with files
in memory (tests/emulated/two_days.py): a tariff, readings, charges, relays of those who have paid
nothing, top-ups, a checkpoint, and a restart between the days. What lies on the three flashes is
compared, the records as host.frames reads them.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from host.frames import packing
from host.frames.record import Record, RecordKind
from tools import image, micropython, qemu

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("emulator")]

ROOT = Path(__file__).resolve().parents[2]
PATHS = ("tests/emulated", "tests/core", "firmware", "", "host/shim")
METERS = 5
DAYS = f"import two_days\ntwo_days.live({METERS})\n"


def on_cpython() -> str:
    code = f"import sys\nsys.path[:0] = {PATHS!r}\n{DAYS}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def on_unix() -> str:
    code = f"import sys\nsys.path[:0] = {PATHS[:3]!r}\n{DAYS}"
    command = [str(micropython.ensure()), "-X", "heapsize=2M", "-c", code]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def on_a_cortex_m3() -> str:
    try:
        image.install_emulator()
    except image.ImageError as error:
        pytest.skip(str(error))
    with qemu.MeasuringEmulator(image.build_emulated(tests=True)) as board:
        return board.run(DAYS, 300.0)


def files_of(printed: str) -> dict[str, bytes]:
    """Return the files that were printed, by name."""
    rows = (line.partition(" ") for line in printed.splitlines())
    return {name: bytes.fromhex(text) for name, _, text in rows}


def records_of(files: dict[str, bytes]) -> list[Record]:
    """Return the records of the journal."""
    found: list[Record] = []
    for name, content in sorted(files.items()):
        if name.startswith("j"):
            found += packing.parse_segment(content, int(name[1:], 16)).records
    return found


def test_the_same_days_give_the_same_records_on_every_machine() -> None:
    there = files_of(on_cpython())
    records = records_of(there)
    kinds = Counter(one.kind for one in records)

    # What waited in memory at the restart was lost.
    assert kinds[RecordKind.READING] > 40 * METERS
    assert kinds[RecordKind.TOP_UP] == 5
    assert {RecordKind.RELAY, RecordKind.TARIFF, RecordKind.START} <= set(kinds)
    for printed in (on_unix(), on_a_cortex_m3()):
        files = files_of(printed)
        assert records_of(files) == records
        assert files == there
