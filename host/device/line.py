"""The firmware's own master on a line of this PC: its deadlines, retries and searches."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import ticks
from dlt645.discovery import Discovery
from dlt645.long_read import LongRead
from dlt645.master import BUSY, OUTCOME_NAMES, Master
from dlt645.recharge import NOT_TOLD, Recharge
from dlt645.speed import SpeedChange, code_of

from host.frames import orders
from host.frames.dlt645 import FROM_METER, Frame
from host.link.meters import AskError, Progress, answer, check_room
from host.words import _

SEARCH_LIMIT = 1024
_STEP_S = 0.002
_LINE_BUFFER_SIZE = 256
# What every meter of a standard can be asked: its energy in all.
_ENERGY = {"2007": "00010000", "1997": "9010"}
_CHANGE_SPEED = {"2007": 0x17, "1997": 0x0C}
# Bytes of a block in all its parts: 255 follow-ups of a load profile have fewer.
_BLOCK_LIMIT = 65_536


class Bytes(Protocol):
    """An open port."""

    def write(self, data: bytes) -> None: ...

    def read(self, timeout_s: float) -> bytes: ...

    def set_baud(self, baud: int) -> None: ...


@dataclass(frozen=True)
class Payment:
    """What became of a payment into a meter.

    outcome         ok: booked, now or before; abnormal: refused; bad reply: the meter's count
                    allows no such order; timeout: not known
    count           of purchases, as the meter told last, None: it does not tell
    balance_fen     the meter's money, the same way
    error           the error word of a refusal
    sends           how often the order was sent
    """

    outcome: str
    count: int | None
    balance_fen: int | None
    error: int
    sends: int


class _Polled(Protocol):
    def poll(self, now_ticks: int) -> int: ...


class DirectLine:
    """The meters on a port of this machine, or behind a TCP converter."""

    def __init__(self, port: Bytes, baud: int = 2400) -> None:
        self._port = port
        self._baud = baud
        self._master = Master(baud)

    def ask(self, address: str, control: int, data: bytes = b"") -> Frame:
        """Return the answer to one question."""
        master = self._master
        master.start(_wire(address), control, data, len(data), _now_ticks())
        name = self._outcome(master)
        who = bytes(master.address)[::-1].hex() if name in ("ok", "abnormal") else address
        read = bytes(master.data[: master.data_size])
        return answer(who.upper(), control, read, name, master.error, master.more)

    def read(self, address: str, control: int, data: bytes) -> Frame:
        """Return the answer to a read, in one frame however many parts it came in."""
        master = self._master
        job = LongRead(master, _BLOCK_LIMIT)
        job.start(_wire(address), control, data, len(data), _now_ticks())
        name = self._outcome(job)
        if name != "ok":
            return answer(address, control, b"", name, master.error, False)
        di = bytes(master.data[: master.data_offset])
        who = bytes(master.address)[::-1].hex().upper()
        return Frame(who, control | FROM_METER, di + bytes(job.data[: job.size]), b"")

    def change_speed(self, address: str, standard: str, baud: int) -> Frame | None:
        """Let a meter speak at `baud` from now on; None when it does, else its refusal.

        AskError: it answers at its old speed still, or at neither.
        """
        control = _CHANGE_SPEED[standard]
        job = SpeedChange(self._master)
        job.start(_wire(address), control, code_of(baud), baud, _now_ticks())
        name = self._outcome(job)
        if name == "ok":
            return None
        if name == "bad reply":
            raise AskError(
                _("meter {address} kept its speed, though it was asked to change").format(
                    address=address
                )
            )
        if name == "timeout":
            raise AskError(
                _(
                    "meter {address} answers at neither speed: check address, wiring and --baud"
                ).format(address=address)
            )
        return answer(address, control, b"", name, self._master.error, False)

    def recharge(self, address: str, control: int, data: bytes, order: int) -> Payment:
        """Pay once by the command `data`, in which the meter's count of purchases is `order`."""
        job = Recharge(self._master)
        job.start(_wire(address), control, data, len(data), order, _now_ticks())
        name = self._outcome(job)
        count, balance_fen = (
            None if told == NOT_TOLD else told for told in (job.count, job.balance_fen)
        )
        return Payment(name, count, balance_fen, job.error, job.sends)

    def search(self, standard: str, progress: Progress) -> list[str]:
        """Return addresses of all meters of a standard."""
        search = Discovery(self._master, SEARCH_LIMIT)
        control, data = orders.read(standard, _ENERGY[standard])
        search.start(control, data, len(data), _now_ticks())
        for _moment in self._run(search):
            progress(search.questions, search.count)
        check_room(search.dropped)
        found = (search.addresses[at : at + 6] for at in range(0, search.count * 6, 6))
        return sorted(bytes(one)[::-1].hex().upper() for one in found)

    def _outcome(self, job: _Polled) -> str:
        """Serve the port until `job` is done; return the name of its outcome."""
        return OUTCOME_NAMES[list(self._run(job))[-1]]

    def _run(self, job: _Polled) -> Iterator[int]:
        """Serve the port until `job` is done; the last outcome comes last."""
        master = self._master
        outcome = BUSY
        while outcome == BUSY:
            if master.tx_size:
                if master.baud != self._baud:
                    self._baud = master.baud
                    self._port.set_baud(master.baud)
                self._port.write(bytes(master.tx[: master.tx_size]))
                master.sent(_now_ticks())
            heard = self._port.read(_STEP_S)
            for at in range(0, len(heard), _LINE_BUFFER_SIZE):
                chunk = heard[at : at + _LINE_BUFFER_SIZE]
                master.feed(chunk, len(chunk), _now_ticks())
            outcome = job.poll(_now_ticks())
            yield outcome


def _wire(address: str) -> bytes:
    return bytes.fromhex(address)[::-1]


def _now_ticks() -> int:
    return time.monotonic_ns() // 1_000_000 & ticks.TICKS_MASK
