"""Goal: no power cut, at whatever operation of the flash, loses what was reported or leaves half.

Method: the modules `cuts_*.py` beside this file run on the real MicroPython, whose littlefs is
that of the boards; each tells its own method.
"""

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
from harness import run_module
passed, failed = run_module("{module}")
print("power:", passed, "passed,", failed, "failed")
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_power_cuts(module: str) -> None:
    done = subprocess.run(
        [str(micropython.ensure()), "-X", "heapsize=8m", "-c", PROGRAM.format(module=module)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^power: [1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout
