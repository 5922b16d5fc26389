"""Events of a meter line out of its bytes and their times: which side says what, and when.

It only listens, so it works on a line between any master and any meters. The time of a byte is
when its last bit arrived; what came in one piece is spread back over the time it took to send.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from host.frames.dlt645 import BROADCAST, WAKE_UP, Frame, Reader

# A gap within a frame is at most 500 ms, and so is a meter's delay before its answer.
# Spec: DL/T 645-2007 5.3.
GAP_LIMIT_S = 0.5
ANSWER_LIMIT_S = 0.5
BITS_PER_BYTE = 11
_KEPT_BYTES = 4096
_WILD = "AA"
_BROADCAST_TIME = 0x08


class Kind(StrEnum):
    """What an event is."""

    REQUEST = "request"
    RESPONSE = "response"
    NO_ANSWER = "no answer"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on the line.

    start_s, end_s  its first and last byte, wake-up bytes included, on the caller's clock
    turnaround_s    of a response: from the end of its request; else None
    preamble        wake-up bytes before the frame
    frame           of a request or response, and of a request that has no answer
    octets          the bytes, without the preamble
    """

    kind: Kind
    start_s: float
    end_s: float
    octets: bytes
    frame: Frame | None = None
    preamble: int = 0
    turnaround_s: float | None = None


@dataclass(slots=True)
class MeterCounts:
    """What one meter was asked and what it answered."""

    requests: int = 0
    responses: int = 0
    refusals: int = 0
    unanswered: int = 0
    turnarounds_s: list[float] = field(default_factory=list)


class Sniffer:
    """`feed` what arrives and `idle` when nothing does; both give the events since the last."""

    def __init__(self, baud: int) -> None:
        self.noise_bytes = 0
        self.meters: dict[str, MeterCounts] = {}
        self._byte_s = BITS_PER_BYTE / baud
        self._reader = Reader()
        self._octets = bytearray()
        self._times_s: list[float] = []
        self._asked: Event | None = None
        self._last_s = self._told_s = -math.inf  # the last byte taken, the last in an event

    def feed(self, octets: bytes, now_s: float) -> list[Event]:
        """Take bytes of which the last arrived at `now_s`."""
        # Through a network bytes may come faster than the line sends them: never before the last.
        start_s = max(now_s - self._byte_s * len(octets), self._last_s)
        byte_s = (now_s - start_s) / max(len(octets), 1)
        self._last_s = now_s
        events = self.idle(start_s)
        for at, octet in enumerate(octets, 1):
            self._octets.append(octet)
            self._times_s.append(start_s + byte_s * at)
            for frame in self._reader.feed(bytes((octet,))):
                events += self._on_frame(frame)
        if len(self._octets) > _KEPT_BYTES:
            events += self._noise(len(self._octets) - self._reader.waiting)
        return events

    def idle(self, now_s: float) -> list[Event]:
        """Return the events that follow from silence until `now_s`."""
        events: list[Event] = []
        if self._times_s and now_s - self._times_s[-1] > GAP_LIMIT_S:
            for frame in self._reader.silence():
                events += self._on_frame(frame)
            events += self._noise(len(self._octets))
        asked = self._asked
        if asked and not self._octets and now_s - asked.end_s > ANSWER_LIMIT_S + GAP_LIMIT_S:
            events += self._give_up(asked)
        return events

    def _on_frame(self, frame: Frame) -> list[Event]:
        """Return the frame, behind what came before it and belongs to none."""
        start = self._octets.find(frame.raw)
        first = start
        while first and self._octets[first - 1] == WAKE_UP:
            first -= 1
        events = self._noise(first)
        preamble = start - first
        size = preamble + len(frame.raw)
        start_s, end_s = self._span(size)
        del self._octets[:size], self._times_s[:size]
        if frame.from_meter:
            events.append(self._answer(frame, start_s, end_s, preamble))
            return events
        if self._asked:
            events += self._give_up(self._asked)
        event = Event(Kind.REQUEST, start_s, end_s, frame.raw, frame, preamble)
        if frame.control != _BROADCAST_TIME:
            self._asked = event
            self._counts(frame.address).requests += 1
        return [*events, event]

    def _answer(self, frame: Frame, start_s: float, end_s: float, preamble: int) -> Event:
        asked, turnaround_s = self._asked, None
        counts = self._counts(frame.address)
        counts.responses += 1
        counts.refusals += frame.abnormal
        if asked and asked.frame and _is_meant(asked.frame.address, frame.address):
            turnaround_s = start_s - asked.end_s
            counts.turnarounds_s.append(turnaround_s)
            self._asked = None
        return Event(Kind.RESPONSE, start_s, end_s, frame.raw, frame, preamble, turnaround_s)

    def _give_up(self, asked: Event) -> list[Event]:
        self._asked = None
        if asked.frame is None or asked.frame.address == BROADCAST:
            return []
        self._counts(asked.frame.address).unanswered += 1
        return [Event(Kind.NO_ANSWER, asked.start_s, asked.end_s, asked.octets, asked.frame)]

    def _noise(self, size: int) -> list[Event]:
        """Return the first `size` bytes as noise; wake-up bytes alone are none."""
        octets = bytes(self._octets[:size])
        if not octets:
            return []
        start_s, end_s = self._span(size)
        del self._octets[:size], self._times_s[:size]
        if not octets.strip(bytes((WAKE_UP,))):
            return []
        self.noise_bytes += len(octets)
        return [Event(Kind.NOISE, start_s, end_s, octets)]

    def _span(self, size: int) -> tuple[float, float]:
        """Return when the first of `size` bytes began and the last ended."""
        start_s = max(self._times_s[0] - self._byte_s, self._told_s)
        self._told_s = self._times_s[size - 1]
        return start_s, self._told_s

    def _counts(self, address: str) -> MeterCounts:
        return self.meters.setdefault(address, MeterCounts())


def _is_meant(asked: str, answered: str) -> bool:
    """Return whether a meter may answer to `asked`: AA stands for any two digits.

    Meters of DL/T 645-1997 also answer a read that is meant for all.
    """
    pairs = zip(_pairs(asked), _pairs(answered), strict=True)
    return asked == BROADCAST or all(want in (_WILD, got) for want, got in pairs)


def _pairs(address: str) -> list[str]:
    return [address[at : at + 2] for at in range(0, len(address), 2)]
