"""Write the lock files anew, with the newest versions that pyproject.toml allows.

    .venv/bin/python -m tools.lock              # make lock
    .venv/bin/python -m tools.lock --licences   # make licences

The second form changes nothing: it lists the packages of requirements.lock with the licence that
each of them states.
"""

import argparse
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tools import libraries, requirements, stubs
from tools.bootstrap import SetupError

_OPTIONS = (
    *("pip", "compile", "--quiet", "--upgrade", "--generate-hashes"),
    *("--no-header", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate"),
    *("--universal", "--python-version", "3.11"),
)


def write(lock: Path, *sources: str, given: str = "") -> None:
    """Write `lock` from the files and options in `sources`; `-` among them stands for `given`.

    Raises SetupError when a package cannot be found.
    """
    uv = libraries.python_with(libraries.UV).parent / "uv"
    command = [str(uv), *_OPTIONS, *sources, "--output-file", str(lock)]
    done = subprocess.run(
        command, cwd=requirements.ROOT, input=given, text=True, stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise SetupError(f"could not write {lock.name}: {done.stderr.strip()}")


def write_all() -> None:
    """Write every lock file."""
    extras = [word for name in ("dev", "pcsc", "build") for word in ("--extra", name)]
    write(requirements.PRODUCT, "pyproject.toml", *extras)
    pins = "".join(f"micropython-{name}-stubs=={pin}\n" for name, pin in stubs.PINS.items())
    write(requirements.STUBS, "--no-deps", "-", given=pins)


def licence_of(package: str) -> str:
    """Return the licence that an installed package states, or a word on why there is none."""
    try:
        about = metadata.metadata(package).json
    except metadata.PackageNotFoundError:
        return "not installed here"
    stated = [line for line in about.get("classifier", []) if line.startswith("License ::")]
    if "license_expression" in about or not stated:
        text = about.get("license_expression") or about.get("license") or "not stated"
        return str(text).strip().splitlines()[0]
    return ", ".join(str(line).rpartition(" :: ")[2] for line in stated)


def licences() -> str:
    """Return a line for each locked package: its name, its version and its licence."""
    lines = []
    for name, entry in requirements.read(requirements.PRODUCT).items():
        version = entry.split("==", 1)[1].split(maxsplit=1)[0]
        lines.append(f"{name:<20} {version:<16} {licence_of(name)}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tools.lock", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--licences", action="store_true", help="list licences; write nothing")
    if parser.parse_args(arguments).licences:
        print(licences())
        return 0
    try:
        write_all()
    except SetupError as error:
        print(f"lock: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
