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
from host.frames.dlt645 import FROM_METER, WILDCARD, Frame
from host.link.meters import ENERGY, AskError, Progress, answer, check_room, trials
from host.words import _

SEARCH_LIMIT = 1024
# The longest reply delay of the standard, and how often a read is sent.
REPLY_S = 0.5
ATTEMPTS = 3
_STEP_S = 0.002
_LINE_BUFFER_SIZE = 256
_CHANGE_SPEED = {"2007": 0x17, "1997": 0x0C}
# Bytes of a block in all its parts: 255 follow-ups of a load profile have fewer.
_ADDRESS_SIZE = 6
_ADDRESS_1997 = "C032"
_READS_1997 = (0x01, 0x02)
_READ_ADDRESS = orders.Request(0x13, b"")
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

    def __init__(
        self,
        port: Bytes,
        baud: int = 2400,
        reply_s: float = REPLY_S,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Wait `reply_s` until a reply begins, and send a read at most `attempts` times."""
        self._port = port
        self._baud = baud
        self._reply_ms = round(reply_s * 1000)
        self._heard = False
        self._master = Master(baud, attempts, reply_ms=self._reply_ms)

    def ask(self, address: str, control: int, data: bytes = b"") -> Frame:
        """Return the answer to one question."""
        master = self._master
        master.start(_wire(address), control, data, len(data), _now_ticks())
        name = self._outcome(master)
        read, error, more = bytes(master.data[: master.data_size]), master.error, master.more
        who = self._speaker(address, control) if name in ("ok", "abnormal") else address
        return answer(who, control, read, name, error, more)

    def _speaker(self, asked: str, control: int) -> str:
        """Return the address of the meter that answered.

        Some give back the address they were asked with, AA and all: these are asked for their own.
        """
        master = self._master
        who = bytes(master.address)[::-1].hex().upper()
        if who.isdecimal():
            return who
        request = orders.read("1997", _ADDRESS_1997) if control in _READS_1997 else _READ_ADDRESS
        master.start(_wire(asked), *request, len(request.data), _now_ticks())
        if self._outcome(master) == "ok":
            end = master.data_size
            who = bytes(master.data[end - _ADDRESS_SIZE : end])[::-1].hex()
        return who if who.isdecimal() else asked

    def read(self, address: str, control: int, data: bytes) -> Frame:
        """Return the answer to a read, in one frame however many parts it came in."""
        master = self._master
        job = LongRead(master, _BLOCK_LIMIT)
        job.start(_wire(address), control, data, len(data), _now_ticks())
        name = self._outcome(job)
        if name != "ok":
            return answer(address, control, b"", name, master.error, False)
        di = bytes(master.data[: master.data_offset])
        whole = bytes(job.data[: job.size])
        return Frame(self._speaker(address, control), control | FROM_METER, di + whole, b"")

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
        """Return addresses of all meters of a standard, and parts of the line in doubt.

        The whole line is in doubt when meters that were found do not answer each question.
        """
        request = orders.read(standard, ENERGY[standard])
        longest_ms = self._heard_within_ms(request)
        if longest_ms is None:
            progress(1, [])
            return []
        # No meter is slower than the standard lets it be; what is above that is the way to it.
        reply_ms = min(self._reply_ms, longest_ms + round(REPLY_S * 1000))
        self._master = Master(self._baud, reply_ms=max(reply_ms, round(REPLY_S * 1000)))
        search = Discovery(self._master, SEARCH_LIMIT)
        search.start(*request, len(request.data), _now_ticks())
        for _moment in self._run(search):
            progress(search.questions, _addresses(search))
        check_room(search.dropped)
        found = sorted(_addresses(search))
        return [*found, WILDCARD] if self._loses(request, found) else found

    def _loses(self, request: orders.Request, found: list[str]) -> bool:
        """Return whether a question to a meter that was found stays without its answer."""
        self._master = master = Master(self._baud, 1, reply_ms=self._reply_ms)
        for address in trials(found):
            master.start(_wire(address), *request, len(request.data), _now_ticks())
            if self._outcome(master) not in ("ok", "abnormal"):
                return True
        return False

    def _heard_within_ms(self, request: orders.Request) -> int | None:
        """Ask all meters; return after how many ms the first byte came, None: none came.

        Each question may be lost, so that silence counts only after several of them.
        """
        master = self._master
        for _attempt in range(ATTEMPTS):
            master.start_listening(_wire(WILDCARD), *request, len(request.data), _now_ticks())
            sent_s = first_s = 0.0
            while master.busy:
                for _moment in self._run(master):
                    if not sent_s and not master.tx_size:
                        sent_s = time.monotonic()
                    if not first_s and self._heard:
                        first_s = time.monotonic()
            if first_s:
                return round((first_s - sent_s) * 1000)
        return None

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
            self._heard = bool(heard)
            for at in range(0, len(heard), _LINE_BUFFER_SIZE):
                chunk = heard[at : at + _LINE_BUFFER_SIZE]
                master.feed(chunk, len(chunk), _now_ticks())
            outcome = job.poll(_now_ticks())
            yield outcome


def _addresses(search: Discovery) -> list[str]:
    """Return the addresses that a search has found so far, in the order of finding."""
    size = search.count * _ADDRESS_SIZE
    found = (search.addresses[at : at + _ADDRESS_SIZE] for at in range(0, size, _ADDRESS_SIZE))
    return [bytes(one)[::-1].hex().upper() for one in found]


def _wire(address: str) -> bytes:
    return bytes.fromhex(address)[::-1]


def _now_ticks() -> int:
    return time.monotonic_ns() // 1_000_000 & ticks.TICKS_MASK
