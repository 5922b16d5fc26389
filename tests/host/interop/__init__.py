"""Programs that use libraries of other authors, and the functions that run them.

`library` gives the Python of an environment with one release of one library, `run` starts a
script beside this file with it. A script prints one JSON object.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.bootstrap import SetupError
from tools.libraries import python_with

SCRIPTS = Path(__file__).resolve().parent
LIMIT_S = 300


def library(requirement: str) -> Path:
    """Return the Python that has this release; skip the test where it cannot be installed."""
    try:
        return python_with(requirement)
    except SetupError as error:
        pytest.skip(str(error))


def run(python: Path, script: str, *arguments: str) -> dict[str, Any]:
    """Run a script of this folder to its end and return the object that it printed."""
    words = [str(python), str(SCRIPTS / script), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
