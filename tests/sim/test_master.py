"""Goal: the firmware's master and its jobs change simulated meters as their outcomes say, on a
line that loses, delays, spoils and adds bytes.

Method: the device's code asks meters written independently of it, on the byte-accurate line; the
faults come from seeds, and the state of the meter afterwards is compared with the outcome.
"""

from random import Random

import pytest
import ticks
from dlt645 import clock as bcd_clock
from dlt645 import master
from dlt645.long_read import LongRead
from dlt645.probe import BAUDS, Probe
from dlt645.recharge import NOT_TOLD, Recharge
from dlt645.speed import SpeedChange, code_of

from host.sim.clock import VirtualClock
from host.sim.esam import Utility
from host.sim.line import Line, LineFaults
from host.sim.meter import Meter
from host.sim.profile import PROFILES
from host.world.wire import Wire

ADDRESS = "202501234567"
OCTETS = bytes.fromhex(ADDRESS)[::-1]
OPERATOR = bytes.fromhex("78563412")
PASSWORD = bytes.fromhex("02000000")
CUSTOMER = "000000123456"
AUTHENTICATE, SET_VALIDITY, OPEN, TOP_UP = 0x070000FF, 0x070001FF, 0x070101FF, 0x070102FF
QUIET = LineFaults()
BAD = LineFaults(
    drop_byte=0.002,
    flip_bit=0.002,
    lost_request=0.1,
    lost_reply=0.1,
    late_reply=0.05,
    foreign_reply=0.05,
    stale_reply=0.05,
    cut_reply=0.05,
    doubled_start=0.1,
    noise=0.1,
    jitter_ms=200,
)


class World:
    """One meter on a line without faults at first, and the objects that a job needs."""

    def __init__(self, profile: str = "plain", seed: int = 0, baud: int = 2400) -> None:
        clock = VirtualClock()
        self.meter = Meter(ADDRESS, profile=PROFILES[profile], baud=baud)
        self.line = Line(clock, [self.meter], QUIET, Random(seed))
        self.wire = Wire(self.line, clock, 5, ticks.TICKS_MASK - 2000)
        self.link = self.wire.master

    def ask(self, control: int, data: bytes, address: bytes = OCTETS) -> int:
        self.link.start(address, control, data, len(data), self.wire.now_ticks)
        return self.wire.run(self.link)

    def read(self, di: int) -> bytes:
        assert self.ask(0x11, di.to_bytes(4, "little")) == master.OK
        return self.data()

    def data(self) -> bytes:
        return bytes(self.link.data[self.link.data_offset : self.link.data_size])

    def secure(self, di: int, blocks: bytes) -> bytes:
        assert self.ask(0x03, di.to_bytes(4, "little") + OPERATOR + blocks) == master.OK
        return self.data()


# --- functions --------------------------------------------------------------------------------


def write(di: int, value: bytes) -> bytes:
    return di.to_bytes(4, "little") + PASSWORD + OPERATOR + value


def test_the_functions_of_2007_do_what_they_are_for() -> None:
    world = World()
    meter = world.meter
    ok = master.OK
    assert world.ask(0x14, write(0x04000103, b"\x30")) == ok
    assert meter.parameters[0x04000103] == b"\x30"
    assert world.ask(0x14, write(0x04000103, b"\x30\x00")) == master.ABNORMAL
    assert world.ask(0x16, b"\x99\x99\x99\x99") == ok
    assert len(meter.history.instants) == 1
    assert world.ask(0x18, b"\x03\x0c\x00\x04" + PASSWORD + b"\x02\x33\x22\x11") == ok
    assert world.ask(0x19, PASSWORD + OPERATOR) == master.ABNORMAL
    assert world.link.error == 0x04
    new = b"\x02\x33\x22\x11"
    for control, data in (
        (0x19, new + OPERATOR),
        (0x1A, new + OPERATOR),
        (0x1B, new + OPERATOR + b"\xff" * 4),
        (0x1D, b"\x02"),
    ):
        assert world.ask(control, data) == ok, f"{control:02X}"
    assert meter.terminal_output == 2
    assert meter.total_wh == 0
    anyone = b"\xaa" * 6
    assert world.ask(0x13, b"", anyone) == ok
    assert bytes(world.link.data[:6]) == OCTETS
    assert world.ask(0x15, bytes.fromhex("214365000000"), anyone) == ok
    assert meter.address == "000000654321"


def test_a_broadcast_time_is_taken_and_not_answered() -> None:
    world = World()
    meter = world.meter
    meter.clock_offset_s = 12 * 3600 - 40
    world.read(0x0400010C)
    wanted = meter.clock_t2000 + 40
    data = bytearray(6)
    bcd_clock.encode_into(data, 0, wanted)
    assert world.ask(0x08, bytes(data), b"\x99" * 6) == master.OK
    world.read(0x0400010C)
    assert abs(meter.clock_offset_s - 12 * 3600) <= 1


def test_the_relay_and_its_guard() -> None:
    world = World()
    relay = world.meter.relay
    t2000 = world.meter.start_t2000 + 3600

    def command(action: int) -> int:
        link = world.link
        link.start_relay(
            bytearray(OCTETS),
            action,
            bytearray(PASSWORD),
            bytearray(OPERATOR),
            t2000,
            world.wire.now_ticks,
        )
        return world.wire.run(link)

    assert command(0x1A) == master.OK
    assert relay.open
    assert command(0x3A) == master.OK
    assert (relay.open, relay.guard) == (False, True)
    assert (command(0x1A), world.link.error) == (master.ABNORMAL, 0x04)
    t2000 = world.meter.start_t2000 - 60
    assert command(0x3B) == master.ABNORMAL


def test_the_functions_of_1997_do_what_they_are_for() -> None:
    world = World("relay-1997")
    meter = world.meter
    assert world.ask(0x01, b"\x1f\x90") == master.OK
    assert world.data()[-1:] == b"\xaa"
    assert world.ask(0x03, b"") == master.OK
    assert world.data()[-1:] == b"\xaa"
    assert world.ask(0x04, b"\x28\xc0" + PASSWORD + b"\x55\x33") == master.OK
    assert meter.relay.open
    assert world.ask(0x04, b"\x28\xc0" + b"\x02\x09\x09\x09" + b"\x66\x99") == master.ABNORMAL
    assert world.ask(0x0F, PASSWORD + b"\x02\x33\x22\x11") == master.OK
    assert world.ask(0x10, b"\x02\x33\x22\x11") == master.OK
    assert world.ask(0x01, b"\x10\x90", b"\x99" * 6) == master.OK
    assert world.ask(0x0A, bytes.fromhex("214365000000"), b"\xaa" * 6) == master.OK
    assert meter.address == "000000654321"


@pytest.mark.parametrize("baud", [600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200])
@pytest.mark.parametrize("echo", [False, True])
def test_any_speed_with_and_without_our_echo(baud: int, echo: bool) -> None:
    world = World(baud=baud)
    world.line.baud = baud
    world.line.echo = echo
    world.link.set_baud(baud)
    for di in (0x0001FF00, 0x04000503, 0x0400010C):
        world.read(di)
    link = world.link
    assert link.count("retries") == link.count("noise") == link.count("stale") == 0
    assert link.count("echoes") == (3 if echo else 0)


# --- jobs -------------------------------------------------------------------------------------


def prepaid(profile: str, seed: int) -> tuple[World, Utility]:
    """Make a meter with 100.00 yuan, bought as count 1, authenticated for a long time."""
    world = World(profile, seed)
    utility = Utility(ADDRESS, whole=world.meter.profile.whole_reversed)
    utility.on_reply(world.secure(AUTHENTICATE, utility.authentication()))
    world.secure(SET_VALIDITY, utility.with_mac(bytes.fromhex("9999")))
    world.secure(OPEN, utility.money(10_000, 1, CUSTOMER))
    return world, utility


def pay(world: World, control: int, command: bytes, order: int) -> tuple[int, Recharge]:
    job = Recharge(world.link)
    job.start(OCTETS, control, command, len(command), order, world.wire.now_ticks)
    return world.wire.run(job), job


@pytest.mark.parametrize("profile", ["state-grid", "southern-grid"])
@pytest.mark.parametrize("seed", range(12))
def test_a_payment_arrives_once(profile: str, seed: int) -> None:
    world, utility = prepaid(profile, seed)
    world.line.faults = BAD
    for order in range(2, 6):
        blocks = utility.money(5_000, order, CUSTOMER)
        command = TOP_UP.to_bytes(4, "little") + OPERATOR + blocks
        for _ in range(20):
            outcome, job = pay(world, 0x03, command, order)
            booked = world.meter.wallet.count == order
            if outcome == master.OK:
                break
            assert outcome != master.ABNORMAL, job.error
            assert outcome != master.BAD_REPLY, job.count
        assert outcome == master.OK
        assert booked
        assert world.meter.wallet.credit_fen == 10_000 + 5_000 * (order - 1)
        assert job.balance_fen in (world.meter.balance_fen, NOT_TOLD)


@pytest.mark.parametrize("seed", range(12))
def test_plain_money_arrives_once(seed: int) -> None:
    world = World("private", seed)
    world.line.faults = BAD
    for order in range(1, 5):
        # 04900000: amount and count in reading order, BCD, sent low byte first.
        value = bytes.fromhex(f"{5_000:08d}{order:08d}")[::-1]
        command = write(0x04900000, value)
        for _ in range(20):
            outcome, job = pay(world, 0x14, command, order)
            if outcome == master.OK:
                break
            assert outcome != master.ABNORMAL, job.error
        assert outcome == master.OK
        assert (world.meter.wallet.count, world.meter.wallet.credit_fen) == (order, 5_000 * order)


def test_a_payment_that_the_meter_refuses() -> None:
    world, utility = prepaid("state-grid", 0)
    command = TOP_UP.to_bytes(4, "little") + OPERATOR
    outcome, job = pay(world, 0x03, command + utility.money(5_000, 2, "000000000099"), 2)
    assert (outcome, job.error) == (master.ABNORMAL, 0x10)
    outcome, job = pay(world, 0x03, command + utility.money(5_000, 4, CUSTOMER), 4)
    assert (outcome, job.sends, job.count) == (master.BAD_REPLY, 0, 1)
    assert world.meter.wallet.credit_fen == 10_000


@pytest.mark.parametrize(("profile", "control"), [("plain", 0x11), ("plain-1997", 0x01)])
@pytest.mark.parametrize("seed", range(6))
def test_a_long_reading_is_whole_or_fails(profile: str, control: int, seed: int) -> None:
    world = World(profile, seed)
    content = bytes(value % 251 for value in range(700))
    request = b"\x01\x04\x30\x03" if control == 0x11 else b"\x1f\xe0"
    world.meter.records[int.from_bytes(request, "little")] = content
    world.line.faults = LineFaults(lost_request=0.05, lost_reply=0.05, flip_bit=0.0005, noise=0.1)
    job = LongRead(world.link, 1000)
    for _ in range(20):
        job.start(OCTETS, control, request, len(request), world.wire.now_ticks)
        outcome = world.wire.run(job)
        if outcome == master.OK:
            break
    assert outcome == master.OK
    assert bytes(job.data[: job.size]) == content


@pytest.mark.parametrize("seed", range(10))
def test_a_meter_is_never_lost_by_a_change_of_its_speed(seed: int) -> None:
    world = World("plain", seed)
    world.line.faults = LineFaults(lost_request=0.15, lost_reply=0.15)
    random = Random(seed)
    for _ in range(8):
        before = world.link.baud
        baud = random.choice((1200, 2400, 4800, 9600))
        job = SpeedChange(world.link)
        job.start(OCTETS, 0x17, code_of(baud), baud, world.wire.now_ticks)
        outcome = world.wire.run(job)
        if outcome == master.OK:
            assert world.link.baud == world.meter.baud == baud
        elif outcome == master.BAD_REPLY:
            assert world.link.baud == world.meter.baud == before
        else:
            # The outcome is unknown: a probe finds out when the meter answers again.
            probe = Probe(world.link)
            for _ in range(20):
                probe.start(OCTETS, BAUDS, world.wire.now_ticks)
                if world.wire.run(probe) == master.OK:
                    break
            assert probe.standard == 2007
            assert world.link.baud == world.meter.baud


@pytest.mark.parametrize("baud", BAUDS)
@pytest.mark.parametrize("profile", ["plain", "plain-1997"])
def test_a_meter_is_found_at_its_speed(baud: int, profile: str) -> None:
    for asked in (OCTETS, b"\xaa" * 6):
        world = World(profile, baud=baud)
        job = Probe(world.link)
        job.start(asked, BAUDS, world.wire.now_ticks)
        assert world.wire.run(job) == master.OK
        assert job.standard == world.meter.profile.standard
        assert (bytes(job.address), world.link.baud) == (OCTETS, baud)
