"""Find or fetch a real MicroPython for this machine; runs on any Python 3.11, no packages needed.

    python3 tools/micropython.py path

prints one executable. First choice is $MICROPYTHON, then `micropython` on PATH if it is recent
enough and has what the product needs; otherwise the program of Debian's next release is fetched
once into .cache/ and started through its own libraries. Once cached, no network is used.
"""

import argparse
import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.debian import FetchError, PrivateApt, unpack  # noqa: E402 - needs the path above

CACHE = ROOT / ".cache" / "micropython"

MINIMUM = (1, 24)

PACKAGES = ["micropython", "libc6", "libffi8", "libmbedcrypto16", "libmbedtls21", "libmbedx509-7"]

ADVICE = {
    "Linux": "install MicroPython {minimum} or later (Debian 13: apt install micropython), "
    "or build its unix port, and put it on PATH or name it in $MICROPYTHON",
    "Darwin": "install MicroPython {minimum} or later with: brew install micropython",
}

# Prints "ok" and the version only if everything that the product and its tests use is there.
_PROBE = """
import sys
import asyncio, select, socket, termios, hashlib
from vfs import VfsLfs2
hashlib.sha256(b"").digest()
print("ok", *sys.implementation.version[:2])
"""

# Relative to its own place, so that the checkout may be moved.
_WRAPPER = """\
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
exec "$here/{loader}" --library-path "{libraries}" --argv0 micropython \\
    "$here/root/usr/bin/micropython" "$@"
"""


def is_usable(executable: Path) -> bool:
    """Tell whether `executable` is a MicroPython that is new and complete enough."""
    try:
        done = subprocess.run(
            [str(executable), "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    words = done.stdout.split()
    if done.returncode or len(words) != 3 or words[0] != "ok":
        return False
    return (int(words[1]), int(words[2])) >= MINIMUM


def find(cache: Path = CACHE) -> Path | None:
    """Return a usable MicroPython that is already here, or None."""
    named = os.environ.get("MICROPYTHON")
    if named:
        if is_usable(Path(named)):
            return Path(named)
        raise FetchError(f"$MICROPYTHON names {named}, which is no usable MicroPython")
    on_path = shutil.which("micropython")
    if on_path and is_usable(Path(on_path)):
        return Path(on_path)
    cached = cache / "runtime" / "micropython"
    if cached.exists() and is_usable(cached):
        return cached
    return None


def fetch(cache: Path = CACHE) -> Path:
    """Fetch MicroPython into `cache` and return its executable.

    The runtime is prepared in a folder beside its place and renamed when it has been seen to run,
    so an interrupted fetch leaves nothing that a later one could mistake for a runtime.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for leftover in cache.glob("fetch-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        partial = Path(name)
        apt = PrivateApt(partial / "apt")
        apt.update()
        runtime = partial / "runtime"
        for package in apt.download(PACKAGES, partial / "packages"):
            unpack(package, runtime / "root")
        executable = _write_wrapper(runtime)
        if not is_usable(executable):
            raise FetchError("the fetched MicroPython does not run on this machine")
        place = cache / "runtime"
        if place.exists():
            shutil.rmtree(place)
        runtime.rename(place)
    return cache / "runtime" / executable.name


def ensure(cache: Path = CACHE) -> Path:
    """Return a usable MicroPython, fetched if it must be. FetchError says what to install."""
    found = find(cache)
    if found:
        return found
    with _locked(cache):
        found = find(cache)
        if found:
            return found
        try:
            return fetch(cache)
        except FetchError as error:
            advice = ADVICE.get(platform.system(), ADVICE["Linux"])
            minimum = ".".join(map(str, MINIMUM))
            raise FetchError(f"{error}; {advice.format(minimum=minimum)}") from error


def _write_wrapper(runtime: Path) -> Path:
    """Write the script that starts the program through its own loader and libraries."""
    loaders = sorted(runtime.glob("root/usr/lib/*/ld-linux*.so*"))
    if not loaders:
        raise FetchError("the fetched C library has no loader for this machine")
    loader = loaders[0].relative_to(runtime)
    executable = runtime / "micropython"
    libraries = f"$here/{loader.parent}"
    executable.write_text(_WRAPPER.format(loader=loader, libraries=libraries))
    executable.chmod(0o755)
    return executable


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Hold `cache` alone, so that two commands started together fetch once."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Find or fetch a MicroPython for this machine.")
    parser.add_argument("command", choices=["path"], help="print a usable executable's path")
    parser.parse_args()
    try:
        print(ensure())
    except FetchError as error:
        print(f"micropython: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
