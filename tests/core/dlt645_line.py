"""Provide lines in virtual time for tests of the master: with prepared replies and with meters."""

from dlt645 import master
from dlt645.frame import Receiver, encode_into
from dlt645.master import Master
from harness import equal
from ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Job(Protocol):
        """A line runs this: the master itself, or a job that works with it."""

        busy: int

        def poll(self, now_ticks: int) -> int: ...


METER = bytearray(b"\x64\x37\x98\x00\x00\x00")
OTHER = bytearray(b"\x65\x37\x98\x00\x00\x00")


def reply(address: "bytearray | bytes", control: int, data: bytes) -> bytes:
    """Return a frame with its preamble."""
    buf = bytearray(16 + len(data))
    encode_into(buf, bytearray(address), control, bytearray(data), len(data))
    return bytes(buf)


class Line:
    """Run a master in steps of 10 ms of virtual time: its requests are kept, and replies come
    late."""

    def __init__(self, ticks: int, echo: bool = False) -> None:
        self.master = Master()
        self.ticks = ticks
        self.echo = echo
        self.sent: list[bytes] = []
        self.replies: list[tuple[int, bytes]] = []

    def answer(self, delay_ms: int, *chunks: bytes) -> None:
        """Answer each further request with one of `chunks`, `delay_ms` after it was sent."""
        for chunk in chunks:
            self.replies.append((delay_ms, chunk))

    def run(self) -> int:
        """Run until the transaction ends; return its outcome, which must come only once."""
        link = self.master
        pending: list[tuple[int, bytes]] = []
        for _ in range(2000):
            if link.tx_size:
                frame = bytes(link.tx[: link.tx_size])
                self.sent.append(frame)
                if self.echo:
                    link.feed(frame, len(frame), self.ticks)
                link.sent(self.ticks)
                if self.replies:
                    delay_ms, chunk = self.replies.pop(0)
                    pending.append((ticks_add(self.ticks, delay_ms), chunk))
            while pending and ticks_diff(self.ticks, pending[0][0]) >= 0:
                chunk = pending.pop(0)[1]
                link.feed(chunk, len(chunk), self.ticks)
            outcome = link.poll(self.ticks)
            if outcome != master.BUSY:
                equal(link.poll(self.ticks), master.IDLE, "the outcome comes once")
                equal(link.busy, 0)
                return outcome
            self.ticks = ticks_add(self.ticks, 10)
        raise AssertionError("the transaction never ends")

    def read(self, identifier: int) -> int:
        """Start a read of METER and run it."""
        self.master.start_read(METER, identifier, self.ticks)
        return self.run()

    def expect(self, **counts: int) -> None:
        """Check that every counter named has its value and that all others are zero."""
        for name in master.COUNTER_NAMES:
            equal(self.master.count(name), counts.get(name, 0), name)


class FakeMeter:
    """A subclass returns its answer, (control, data), or None to stay silent.

    gives_back  it answers with the address that it was asked with
    """

    gives_back = False

    def __init__(self, address: "bytes | bytearray", delay_ms: int = 60, baud: int = 2400) -> None:
        self.address = bytes(address)
        self.delay_ms = delay_ms
        self.baud = baud

    def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
        """Answer any read with four bytes of zeros."""
        return (control | 0x80, data + bytes(4)) if control in (0x01, 0x11) else None


def _is_for(asked: bytes, address: bytes) -> bool:
    if asked == b"\x99" * 6:
        return True
    return all(asked[index] in (0xAA, address[index]) for index in range(6))


class Bus:
    """These meters share a line in virtual time; overlapping replies join as the bits of both."""

    def __init__(self, meters: "list[FakeMeter]", ticks: int = 0) -> None:
        self.master = Master()
        self.meters = meters
        self.ticks = ticks
        self.requests = 0
        self.lost: set[int] = set()  # The replies to these requests, counted from 1, are lost.
        self._receiver = Receiver()
        self._pending: list[tuple[int, int, bytes]] = []  # (start_ms, end_ms, bytes) from now

    def run(self, job: "Job") -> int:
        """Run until `job` is no longer busy; return its last outcome."""
        for _ in range(500000):
            outcome = self.step(job)
            if not job.busy:
                return outcome
        raise AssertionError("it never ends")

    def step(self, job: "Job") -> int:
        """Serve the master, poll `job`, and let 20 ms pass or as much as a reply still takes."""
        link = self.master
        if link.tx_size:
            self._send(bytes(link.tx[: link.tx_size]), 11000 // link.baud + 1)
            link.sent(self.ticks)
        outcome = job.poll(self.ticks)
        step_ms = min(20, self._pending[0][1]) if self._pending else 20
        self.ticks = ticks_add(self.ticks, step_ms)
        pending = self._pending
        self._pending = [(at - step_ms, end - step_ms, chunk) for at, end, chunk in pending]
        while self._pending and self._pending[0][1] <= 0:
            chunk = self._pending.pop(0)[2]
            link.feed(chunk, len(chunk), self.ticks)
        return outcome

    def _send(self, frame: bytes, byte_ms: int) -> None:
        self.requests += 1
        receiver = self._receiver
        receiver.feed(frame, len(frame))
        asked = bytes(receiver.address)
        control = receiver.control
        data = bytes(receiver.data[: receiver.data_size])
        receiver.release()
        baud = self.master.baud
        replies = []
        for meter in self.meters:
            if meter.baud != baud or not _is_for(asked, meter.address):
                continue
            answer = meter.answer(control, data)
            if answer is not None and self.requests not in self.lost:
                address = asked if meter.gives_back else meter.address
                chunk = reply(address, answer[0], answer[1])
                at_ms = len(frame) * byte_ms + meter.delay_ms
                replies.append((at_ms, at_ms + len(chunk) * byte_ms, chunk))
        replies.sort()
        self._pending = _collide(replies, byte_ms)


def _collide(
    replies: "list[tuple[int, int, bytes]]", byte_ms: int
) -> "list[tuple[int, int, bytes]]":
    """Join replies that overlap, sorted by their start, as the bits of both."""
    joined: list[tuple[int, int, bytes]] = []
    for at, end, chunk in replies:
        if not joined or at >= joined[-1][1]:
            joined.append((at, end, chunk))
            continue
        first_at, first_end, first = joined.pop()
        skipped = (at - first_at) // byte_ms
        mixed = bytearray(first)
        for index in range(len(chunk)):
            if skipped + index < len(mixed):
                mixed[skipped + index] &= chunk[index]
            else:
                mixed.append(chunk[index])
        joined.append((first_at, max(first_end, end), bytes(mixed)))
    return joined
