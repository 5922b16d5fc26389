"""Goal: every module of the device is a valid program for MicroPython, not only for CPython.

Method: the real interpreter imports each one. The boards of other ports import hardware modules
that it does not have: those are compiled only.
"""

import subprocess
from pathlib import Path

from tools import micropython

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"

SCRIPT = """
import sys
sys.path.insert(0, {firmware!r})
for name in {imported!r}:
    __import__(name)
for path in {compiled!r}:
    compile(open(path).read(), path, "exec")
print("good")
"""


def test_every_module_is_a_program_to_micropython() -> None:
    imported, compiled = [], []
    for path in sorted(FIRMWARE.rglob("*.py")):
        place = path.relative_to(FIRMWARE)
        board = place.parts[0] == "boards" and place.stem not in ("__init__", "unix", "littlefs")
        if board or place.stem in ("main", "boot", "manifest"):
            compiled.append(str(path))
        else:
            name = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
            imported.append(name)
    script = SCRIPT.format(firmware=str(FIRMWARE), imported=imported, compiled=compiled)

    done = subprocess.run(
        [str(micropython.ensure()), "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stdout == "good\n", done.stdout + done.stderr
    assert len(imported) > 30
