"""Goal: every meter of a line is found, once, however their answers collide.

Method: small meters on a line in virtual time, whose overlapping answers arrive as the bits of
both; a meter that answers another standard, refuses, or shares its address. The search of 64
random addresses, on the byte-accurate line, is tests/sim/test_discovery.py.
"""

from dlt645 import master
from dlt645.discovery import Discovery
from dlt645_line import Bus, FakeMeter
from harness import equal
from ticks import TICKS_MASK

TOTAL = b"\x00\x00\x01\x00"


def meter(number: int, delay_ms: int = 60) -> FakeMeter:
    """Return the meter with that number."""
    digits = bytes([int(str(number // 100**at % 100), 16) for at in range(6)])
    return FakeMeter(digits, delay_ms)


def search(meters: "list[FakeMeter]", control: int = 0x11, limit: int = 8) -> Discovery:
    """Return a finished search of the line of `meters`."""
    bus = Bus(meters, TICKS_MASK - 5000)
    job = Discovery(bus.master, limit)
    request = TOTAL if control == 0x11 else b"\x10\x90"
    size = 0 if control == 0x13 else len(request)
    job.start(control, request, size, bus.ticks)
    equal(bus.run(job), master.OK)
    equal(job.questions, bus.requests)
    return job


def found(job: Discovery) -> "list[bytes]":
    """Return the addresses found, in order."""
    addresses = [bytes(job.addresses[at * 6 : at * 6 + 6]) for at in range(job.count)]
    return sorted(addresses)


def test_nobody_and_one() -> None:
    job = search([])
    equal((job.count, job.questions), (0, 1))
    one = meter(202501234567)
    for control in (0x11, 0x01):
        job = search([one], control)
        equal((found(job), job.questions), ([one.address], 1))


def test_meters_that_give_back_the_address_they_were_asked_with() -> None:
    meters = [meter(17), meter(42), meter(202501234567)]
    meters[0].gives_back = meters[1].gives_back = True
    for some in (meters[:1], meters[:2], meters):
        job = search(some, 0x01, 8)
        equal(found(job), sorted(one.address for one in some))
        equal(job.conflicts, 0)


def test_answers_that_collide() -> None:
    meters = [meter(100000000001), meter(202501234507), meter(999999999999)]
    job = search(meters)
    equal(found(job), sorted(one.address for one in meters))
    # All meters are asked twice, then each value of the last two digits is asked.
    equal(job.questions, 102)
    # Four digits are the same: three levels.
    meters = [meter(112233445566), meter(112233995566), meter(5)]
    job = search(meters)
    equal(found(job), sorted(one.address for one in meters))
    equal((job.questions, job.conflicts), (2 + 101 + 101 + 100, 0))


def test_answers_one_after_the_other_need_one_question() -> None:
    meters = [meter(1, 20), meter(2, 180), meter(3, 330)]
    job = search(meters)
    equal((found(job), job.questions), (sorted(one.address for one in meters), 1))


def test_a_late_answer_in_the_garbage_of_two() -> None:
    meters = [meter(11), meter(12), meter(13, 300)]
    job = search(meters)
    equal(found(job), sorted(one.address for one in meters))


class Refuser(FakeMeter):
    """This meter knows no total."""

    def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
        return control | 0xC0, b"\x02"


def test_a_refusal_is_an_answer() -> None:
    refuser = Refuser(meter(77).address)
    job = search([refuser, meter(78)])
    equal(found(job), sorted((refuser.address, meter(78).address)))


def test_two_with_one_address_are_reported() -> None:
    meters = [meter(42), meter(42)]
    meters[1].delay_ms = 70
    job = search(meters)
    # Nothing was found below ten digits: that part of the line is in doubt.
    equal((found(job), job.conflicts), ([b"\x42\x00\x00\x00\x00\xaa"], 1))


def test_more_than_there_is_room_for() -> None:
    job = search([meter(1, 20), meter(2, 180), meter(3, 330)], limit=2)
    equal((job.count, job.dropped), (2, 1))


class Noise(FakeMeter):
    """This is no meter: it spoils the answers to the requests with the given numbers."""

    def __init__(self, delay_ms: int, numbers: "tuple[int, ...]") -> None:
        super().__init__(b"\xfa" * 6, delay_ms)
        self.numbers = numbers
        self.heard = 0

    def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
        self.heard += 1
        return (0x91, bytes(4)) if self.heard in self.numbers else None


def noisy(others: "list[FakeMeter]", delay_ms: int, *numbers: int) -> Discovery:
    """Return a search among noise that hears every question of all wildcards."""
    meters = list(others)
    meters.append(Noise(delay_ms, numbers))
    return search(meters)


def test_noise_once_is_no_collision() -> None:
    one = meter(31)
    job = noisy([one], 70, 1)
    equal((found(job), job.questions), ([one.address], 3))
    job = noisy([one], 70, 1, 2)
    equal((found(job), job.questions), ([one.address], 102))
    job = noisy([one], 70, 1, 3)
    equal((found(job), job.questions), ([one.address], 103))
