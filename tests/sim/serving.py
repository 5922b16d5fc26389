"""Run `dianka sim meters` as its own process, and send requests over an open file."""

import os
import select
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from host.frames import dlt645
from host.frames.dlt645 import Frame, Reader

LIMIT_S = 30


@contextmanager
def served(*options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Run the command; yield it and the name of its port."""
    code = "from host.cli import main; main()"
    words = [sys.executable, "-c", code, "sim", "meters", "--baud", "19200", *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving "), line + process.stdout.read()
        yield line.split(" on ")[1].strip(), process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def ask(handle: int, address: str, control: int, data: bytes) -> Frame:
    """Send a request over an open file and wait for the frame that answers it."""
    os.write(handle, dlt645.build(address, control, data))
    reader = Reader()
    while select.select([handle], [], [], LIMIT_S)[0]:
        frames = reader.feed(os.read(handle, 4096))
        if frames:
            return frames[0]
    raise AssertionError("no reply")


@contextmanager
def opened(path: str) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(handle)
        yield handle
    finally:
        os.close(handle)
