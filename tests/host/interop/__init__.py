"""Programs that use software nobody here wrote, and what runs them.

`library` gives the Python of a virtual environment with one release of one library, kept under
.cache; `run` starts a script beside this file with it. A script prints one JSON object.
"""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "interop"
LIMIT_S = 300


def library(name: str, version: str) -> Path:
    """The Python that has this release; skips the test where it cannot be installed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"{name}-{version}"
    python = folder / "bin" / "python"
    # Tests run in several processes: one installs, the others wait.
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "ready").exists():
            return python
        venv = [sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)]
        subprocess.run(venv, check=True, capture_output=True, timeout=LIMIT_S)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq"]
        done = subprocess.run(
            [*pip, f"{name}=={version}"], capture_output=True, text=True, timeout=LIMIT_S
        )
        if done.returncode:
            pytest.skip(f"cannot install {name} {version}: {done.stderr.strip()[-200:]}")
        (folder / "ready").touch()
    return python


def run(python: Path, script: str, *arguments: str) -> dict[str, Any]:
    """Run a script of this folder to its end; return what it printed."""
    words = [str(python), str(SCRIPTS / script), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
