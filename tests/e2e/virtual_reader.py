"""A PC/SC service with a virtual reader for tests: pcscd and vsmartcard's vpcd, from Debian."""

import contextlib
import fcntl
import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host.sim.cpu_card import VPCD_PORT

_DRIVER = Path("/etc/reader.conf.d/vpcd")
_SERVICE = "/run/pcscd/pcscd.comm"
_WAIT_S = 10.0
NEEDED = "needs: apt install pcscd vsmartcard-vpcd, pip install 'dianka[pcsc]'"


def why_not() -> str:
    """Return what is missing for a virtual reader, "" when nothing is."""
    there = shutil.which("pcscd") and _DRIVER.exists() and importlib.util.find_spec("smartcard")
    return "" if there else NEEDED


@contextlib.contextmanager
def pcsc_service(log: Path) -> Iterator[None]:
    """Run pcscd until the end of the block; skip the test where it cannot run."""
    if why_not():
        pytest.skip(why_not())
    # A machine has one virtual reader, which tests of another checkout may be using.
    with _DRIVER.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _running(log):
            yield


@contextlib.contextmanager
def _running(log: Path) -> Iterator[None]:
    _wait_until(lambda: not _listens(), "another pcscd has the reader")
    with log.open("wb") as output:
        process = subprocess.Popen(["pcscd", "--foreground"], stdout=output, stderr=output)
    try:
        _wait_until(
            lambda: process.poll() is not None or (_listens() and _answers()),
            "pcscd offers no reader here",
        )
        if process.poll() is not None:
            pytest.skip(f"pcscd does not run here: {log.read_text(errors='replace')[-300:]}")
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_until(done: Callable[[], bool], why: str) -> None:
    """Wait for `done`; skip the test with a reason where that takes too long."""
    ends_s = time.monotonic() + _WAIT_S
    while not done():
        if time.monotonic() > ends_s:
            pytest.skip(why)
        time.sleep(0.05)


def _listens() -> bool:
    """Return whether the reader waits for a card. The check inserts one and pulls it at once."""
    try:
        socket.create_connection(("127.0.0.1", VPCD_PORT), 1).close()
    except OSError:
        return False
    return True


def _answers() -> bool:
    """Return whether the service takes programs, which it does a moment after its reader."""
    with socket.socket(socket.AF_UNIX) as program:
        return program.connect_ex(_SERVICE) == 0
