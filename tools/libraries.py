"""Other people's libraries, each in an environment of its own under .cache/libraries.

They share module names (`dlt645` both) and want their own dependencies, so none of them ever
enters our .venv. An environment is made once and kept; an interrupted one is made again.
"""

import fcntl
import subprocess
from pathlib import Path

from tools.bootstrap import ROOT, SetupError, make_venv

DLT645 = "dlt645==3.2.0"
PYTHON_DLT645 = "python-dlt645==0.1.4"
UV = "uv==0.13.9"
ATHERIS = "atheris==3.0.0"

_FOLDER = ROOT / ".cache" / "libraries"


def python_with(requirement: str) -> Path:
    """Return the Python of an environment with `requirement` (name==version) and nothing of ours.

    Raises SetupError when it cannot be had.
    """
    _FOLDER.mkdir(parents=True, exist_ok=True)
    venv = _FOLDER / requirement.replace("==", "-")
    done = venv / "installed"
    with (_FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return venv / "bin" / "python"
        python = make_venv(venv)
        command = [str(python), "-m", "pip", "install", "--quiet", requirement]
        installed = subprocess.run(command, capture_output=True, text=True, check=False)
        if installed.returncode:
            last = (installed.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise SetupError(f"could not install {requirement}: {last}")
        done.touch()
    return python
