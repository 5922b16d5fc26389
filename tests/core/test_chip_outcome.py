"""Goal: the code that all drivers share keeps time across the wrap and ends on an endless line.

Method: waits at many starts in steps of a tenth of a millisecond; channels that never pause.
"""

from card.chips import outcome
from card.chips.outcome import Inlet, pause, reached, ticks_after
from harness import check, equal
from silicon import TICKS_MASK, Time, run


class Noise:
    """On this channel bytes come as fast as they are taken."""

    def __init__(self) -> None:
        self.count = 0

    def read_into(self, buf: bytearray) -> int:
        """Give three more bytes."""
        for index in range(3):
            buf[index] = (self.count + index) & 0xFF
        self.count += 3
        return 3


def test_each_code_has_its_name() -> None:
    codes = [
        outcome.OK,
        outcome.ABSENT,
        outcome.SILENT,
        outcome.STUCK,
        outcome.GARBLED,
        outcome.FLOOD,
        outcome.WRONG_SIZE,
        outcome.REFUSED,
        outcome.UNKNOWN,
        outcome.WRONG_CODE,
        outcome.LOCKED,
        outcome.MISMATCH,
        outcome.OUT_OF_RANGE,
    ]
    equal(codes, list(range(len(outcome.OUTCOME_NAMES))))
    equal(outcome.OUTCOME_NAMES[outcome.LOCKED], "locked")


def test_deadlines_across_the_wrap() -> None:
    for start in (0, 5, TICKS_MASK - 5, TICKS_MASK):
        deadline = ticks_after(start, 10)
        check(0 <= deadline <= TICKS_MASK)
        check(not reached(start, deadline))
        check(not reached(ticks_after(start, 9), deadline))
        check(reached(deadline, deadline))
        check(reached(ticks_after(start, 1000), deadline))


def test_a_pause_is_never_short() -> None:
    for delay_ms in (1, 2, 10, 200):
        for offset_us in range(0, 1000, 100):
            time = Time()
            time.now_us = offset_us
            equal(run(time, pause(delay_ms), 100), outcome.OK)
            passed_us = time.now_us - offset_us
            check(delay_ms * 1000 <= passed_us < delay_ms * 1000 + 2200, (delay_ms, passed_us))


def test_bytes_one_by_one() -> None:
    noise = Noise()
    inlet = Inlet(noise)
    equal([inlet.next_byte() for _ in range(10)], list(range(10)))
    inlet.drain()
    check(noise.count < 2000)
    noise.read_into = lambda buf: 0
    while inlet.next_byte() >= 0:
        pass
    equal(inlet.next_byte(), -1)
