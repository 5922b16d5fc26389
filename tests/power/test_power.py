"""Goal: no power cut at any operation of the flash loses a reported record or leaves half a
record.

Method: the modules `cuts_*.py` beside this file run on the real MicroPython, whose littlefs is
that of the boards; the docstring of each names its method. They run on plain memory and on a model
of NOR flash (host/sim/nor.py), there a fixed share of the cuts; `make soak` makes all of them.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tools import micropython

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("cuts_*.py"))

PROGRAM = """\
import sys
sys.path[:0] = ["firmware", "tests/core", "tests/power"]
sys.path.append("host/sim")
from harness import run_module
passed, failed = run_module("{module}")
print("power:", passed, "passed,", failed, "failed")
"""


# These modules are swept on NOR as well; the others choose their flash themselves.
ON_NOR = ("cuts_card", "cuts_journal", "cuts_life", "cuts_slots", "cuts_storage")
# CI cuts at every nth operation there, `make soak` at each.
NOR_SHARE = os.getenv("DIANKA_SHARE", "5")


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_power_cuts(module: str) -> None:
    run(module, {})


@pytest.mark.slow
@pytest.mark.parametrize("module", ON_NOR)
def test_power_cuts_on_nor(module: str) -> None:
    run(module, {"DIANKA_FLASH": "nor", "DIANKA_SHARE": NOR_SHARE})


def run(module: str, environment: dict[str, str]) -> None:
    """Run a module of sweeps on MicroPython; fail when the module fails."""
    done = subprocess.run(
        [str(micropython.ensure()), "-X", "heapsize=8m", "-c", PROGRAM.format(module=module)],
        cwd=ROOT,
        env={**os.environ, "DIANKA_SHARE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^power: [1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout
