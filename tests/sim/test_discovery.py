"""Goal: the search finds every meter of a line, also 64 with random addresses, and reports its
number of requests; noise costs requests, not meters.

Method: the firmware's search runs on the byte-accurate line, where answers that overlap spoil each
other. The addresses come from seeds; each meter's delay is fixed, or changes with every answer.
"""

from random import Random

import pytest
import ticks
from dlt645 import master
from dlt645.discovery import Discovery

from host.sim.clock import VirtualClock
from host.sim.line import Line, LineFaults
from host.sim.meter import Meter
from host.world.wire import Wire

TOTAL = b"\x00\x00\x01\x00"


def search(meters: list[Meter], faults: LineFaults, seed: int) -> tuple[Discovery, int]:
    """Return a finished search and the seconds it took."""
    clock = VirtualClock()
    line = Line(clock, meters, faults, Random(seed))
    wire = Wire(line, clock, step_ms=5, start_ticks=ticks.TICKS_MASK - 3000)
    job = Discovery(wire.master, 100)
    job.start(0x11, TOTAL, len(TOTAL), wire.now_ticks)
    assert wire.run(job) == master.OK
    return job, clock.now_us() // 1_000_000


def found(job: Discovery) -> list[str]:
    addresses = [bytes(job.addresses[at * 6 : at * 6 + 6]) for at in range(job.count)]
    return sorted(address[::-1].hex() for address in addresses)


def random_meters(seed: int, count: int) -> list[Meter]:
    random = Random(seed)
    numbers = random.sample(range(10**12), count)
    return [
        Meter(f"{number:012d}", reply_delay_ms=random.randrange(20, 500)) for number in numbers
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("jitter_ms", [0, 100])
def test_64_meters_with_random_addresses(seed: int, jitter_ms: int) -> None:
    meters = random_meters(seed, 64)

    job, duration_s = search(meters, LineFaults(jitter_ms=jitter_ms), seed)

    assert found(job) == sorted(meter.address for meter in meters)
    assert (job.conflicts, job.dropped) == (0, 0)
    # About 14 of the hundred pairs of last digits are shared: each opens another hundred.
    assert 100 < job.questions < 3000, job.questions
    assert duration_s < 3000


def test_64_meters_of_one_batch_need_a_hundred_questions() -> None:
    meters = [Meter(f"{202501230000 + at:012d}") for at in range(64)]

    job, duration_s = search(meters, LineFaults(), 0)

    assert found(job) == sorted(meter.address for meter in meters)
    assert job.questions == 102
    assert duration_s < 100


def test_our_own_echo_is_no_answer() -> None:
    clock = VirtualClock()
    line = Line(clock, random_meters(3, 3), echo=True)
    wire = Wire(line, clock, step_ms=5)
    job = Discovery(wire.master, 10)
    job.start(0x11, TOTAL, len(TOTAL), wire.now_ticks)
    assert wire.run(job) == master.OK
    assert found(job) == sorted(meter.address for meter in random_meters(3, 3))
    assert wire.master.count("echoes") == job.questions


def test_noise_costs_questions_not_meters() -> None:
    meters = random_meters(7, 12)

    job, _ = search(meters, LineFaults(noise=0.05, doubled_start=0.05), 7)

    assert found(job) == sorted(meter.address for meter in meters)
    assert job.questions < 1500
