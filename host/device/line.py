"""The firmware's own master on a line of this PC: its deadlines, retries and searches."""

import time
from collections.abc import Iterator
from typing import Protocol

import ticks
from dlt645.discovery import Discovery
from dlt645.master import BUSY, OUTCOME_NAMES, Master

from host.frames import orders
from host.frames.dlt645 import Frame
from host.link.meters import Progress, answer

SEARCH_LIMIT = 1024
_STEP_S = 0.002
_CHUNK_SIZE = 256
# What every meter of a standard can be asked: its energy in all.
_ENERGY = {"2007": "00010000", "1997": "9010"}


class Bytes(Protocol):
    """An open port."""

    def write(self, data: bytes) -> None: ...

    def read(self, timeout_s: float) -> bytes: ...


class _Polled(Protocol):
    def poll(self, now_ticks: int) -> int: ...


class DirectLine:
    """The meters on a port of this machine, or behind a TCP converter."""

    def __init__(self, port: Bytes, baud: int = 2400) -> None:
        self._port = port
        self._master = Master(baud)

    def ask(self, address: str, control: int, data: bytes = b"") -> Frame:
        """The answer to one question."""
        master = self._master
        wire = bytes.fromhex(address)[::-1]
        master.start(wire, control, data, len(data), _now_ticks())
        name = OUTCOME_NAMES[list(self._run(master))[-1]]
        who = bytes(master.address)[::-1].hex() if name in ("ok", "abnormal") else address
        read = bytes(master.data[: master.data_size])
        return answer(who.upper(), control, read, name, master.error, master.more)

    def search(self, standard: str, progress: Progress) -> list[str]:
        """Addresses of all meters of a standard."""
        search = Discovery(self._master, SEARCH_LIMIT)
        control, data = orders.read(standard, _ENERGY[standard])
        search.start(control, data, len(data), _now_ticks())
        for _ in self._run(search):
            progress(search.questions, search.count)
        found = (search.addresses[at : at + 6] for at in range(0, search.count * 6, 6))
        return sorted(bytes(one)[::-1].hex().upper() for one in found)

    def _run(self, job: _Polled) -> Iterator[int]:
        """Serve the port until `job` is done; the last outcome comes last."""
        master = self._master
        outcome = BUSY
        while outcome == BUSY:
            if master.tx_size:
                self._port.write(bytes(master.tx[: master.tx_size]))
                master.sent(_now_ticks())
            heard = self._port.read(_STEP_S)
            for at in range(0, len(heard), _CHUNK_SIZE):
                chunk = heard[at : at + _CHUNK_SIZE]
                master.feed(chunk, len(chunk), _now_ticks())
            outcome = job.poll(_now_ticks())
            yield outcome


def _now_ticks() -> int:
    return time.monotonic_ns() // 1_000_000 & ticks.TICKS_MASK
