"""Prepare a checkout: .venv with the product and its tools, type stubs, and a MicroPython.

    python3 tools/bootstrap.py

Needs Python 3.11 and nothing else; `make setup` runs it. What is already there is kept, so that
running it again is cheap and an interrupted run is simply run again.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import debian, micropython, requirements, stubs  # noqa: E402 - needs the path above

MINIMUM = (3, 11)

VENV = ROOT / ".venv"
_PCSC_PACKAGE = "pyscard"
_PCSC_HEADER = Path("/usr/include/PCSC/winscard.h")


class SetupError(Exception):
    """The checkout cannot be prepared; the text says what to install."""


def make_venv(venv: Path = VENV) -> Path:
    """Return the Python of `venv`, which is made, with pip, if it is not there yet."""
    python = venv / "bin" / "python"
    if python.exists() and _has_pip(python):
        return python
    shutil.rmtree(venv, ignore_errors=True)
    with_pip = importlib.util.find_spec("ensurepip") is not None
    options = [] if with_pip else ["--without-pip"]
    _run([sys.executable, "-m", "venv", *options, str(venv)], "could not make .venv")
    if not with_pip:
        _add_pip(python)
    return python


def _has_pip(python: Path) -> bool:
    command = [str(python), "-c", "import pip"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _add_pip(python: Path) -> None:
    """Install pip into the environment of `python` from Debian's wheel of it.

    Debian's Python comes without ensurepip unless python3-venv is installed, which needs root.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            apt = debian.PrivateApt(folder / "apt")
            apt.update()
            [package] = apt.download(["python3-pip-whl"], folder / "packages")
            debian.unpack(package, folder / "root")
        except debian.FetchError as error:
            shutil.rmtree(python.parent.parent, ignore_errors=True)
            raise SetupError(
                f"{sys.executable} has no ensurepip: install python3-venv ({error})"
            ) from error
        wheel = next(folder.glob("root/usr/share/python-wheels/pip-*.whl"))
        _run(
            [str(python), f"{wheel}/pip", "install", "-qq", "--no-index", str(wheel)],
            "could not install pip into .venv",
        )


def _can_build_pcsc() -> bool:
    """Return whether the headers are there that the package of PC/SC readers is compiled with."""
    return bool(shutil.which("swig") and shutil.which("gcc")) and _PCSC_HEADER.exists()


def install_packages(python: Path) -> None:
    """Install what requirements.lock names into the environment of `python`, then the product.

    Every file has to have its hash of the lock file. What has to be compiled or built is so with
    the tools that are locked too.
    """
    entries = requirements.read(requirements.PRODUCT)
    pcsc = entries.pop(_PCSC_PACKAGE)
    done = requirements.install(python, list(entries.values()))
    if done and _can_build_pcsc():
        done = requirements.install(python, [pcsc], "--no-build-isolation")
    if not done:
        raise SetupError("could not install the packages of requirements.lock: see above")
    install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "-e", "."]
    _run([str(python), *install, *options], "could not install the product")


def _run(command: list[str], failure: str) -> None:
    """Run a command that prints its own errors; SetupError with `failure` if it fails."""
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        raise SetupError(f"{failure}: {' '.join(command)}")


def main() -> int:
    """Run the command line."""
    if sys.version_info < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        sys.stderr.write(
            f"setup: {sys.executable} is Python {sys.version.split()[0]}; install Python "
            f"{wanted} or later, or name it: make setup PYTHON=python{wanted}\n"
        )
        return 1
    try:
        python = make_venv()
        print("setup: installing the product and its development tools into .venv", flush=True)
        install_packages(python)
        stubs.ensure(python)
        print(f"setup: MicroPython is {micropython.ensure()}")
    except (SetupError, stubs.StubsError, debian.FetchError) as error:
        print(f"setup: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
