"""The packages of an environment, each in one version, with the hashes of its files.

A lock file has the form of pip's requirements files. `make lock` writes them.
"""

import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ROOT / "requirements.lock"
STUBS = ROOT / "tools" / "stubs.lock"

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==")


def read(lock: Path) -> dict[str, str]:
    """Return the entries of a lock file by the name of their package, in its order.

    A package that differs between versions of Python has several entries, which stay together.
    """
    entries: dict[str, str] = {}
    name = ""
    for line in lock.read_text(encoding="utf-8").splitlines(keepends=True):
        if found := _NAME.match(line):
            name = found["name"].lower()
            entries.setdefault(name, "")
        if name and not line.lstrip().startswith("#"):
            entries[name] += line
    return entries


def install(python: Path, entries: list[str], *options: str) -> bool:
    """Install `entries` with the pip of `python`, which refuses any file of another hash.

    Returns whether pip succeeded; it prints its own errors.
    """
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "requirements.txt"
        chosen.write_text("".join(entries), encoding="utf-8")
        command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", *options, "-r", str(chosen)]
        return not subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
