"""Goal: the simulated line has byte-accurate time, speeds, collisions, and each named fault.

Method: meters on a line in virtual time answer frames built by host.frames; the times of the bytes
are compared with times computed by hand, and a reader checks the frames. A fault with chance 1
must happen, with chance 0 must not; the same seed must give the same bytes.
"""

from random import Random

import pytest

from host.frames import dlt645
from host.frames.dlt645 import Reader
from host.sim.clock import VirtualClock
from host.sim.line import Line, LineFaults
from host.sim.meter import Meter

ENERGY = bytes.fromhex("00FF0100")
REQUEST_SIZE = 20  # 4 FE, 12, 4 of the identifier
REPLY_SIZE = 40
BYTE_US = 11 * 1_000_000 / 2400
NONE = LineFaults()


def village(count: int = 2, faults: LineFaults = NONE, seed: int = 0) -> Line:
    meters = [Meter(f"{number:012d}", reply_delay_ms=60) for number in range(1, count + 1)]
    return Line(VirtualClock(), meters, faults, Random(seed))


def clock_of(line: Line) -> VirtualClock:
    assert isinstance(line.clock, VirtualClock)
    return line.clock


def run(line: Line) -> bytes:
    """Run the line until it is quiet; return the bytes that the master receives."""
    heard = b""
    while (next_us := line.next_us()) is not None:
        clock_of(line).advance_us(next_us - line.clock.now_us())
        heard += line.read()
    return heard


def ask(line: Line, address: str, control: int = 0x11, data: bytes = ENERGY) -> bytes:
    line.write(dlt645.build(address, control, data))
    return run(line)


def test_a_reply_comes_after_the_request_the_delay_and_its_own_bytes() -> None:
    line = village()
    heard = ask(line, "000000000002")
    assert dlt645.parse(heard).address == "000000000002"
    expected_us = (REQUEST_SIZE + REPLY_SIZE) * BYTE_US + 60_000
    assert abs(line.clock.now_us() - expected_us) <= 2
    assert line.delay_us == 60_000
    assert abs(line.wire_us - (REQUEST_SIZE + REPLY_SIZE) * BYTE_US) <= 2


def test_bytes_are_heard_one_by_one_when_each_is_over() -> None:
    line = village()
    line.write(dlt645.build("000000000001", 0x11, ENERGY))
    clock = clock_of(line)
    first_us = int(REQUEST_SIZE * BYTE_US) + 60_000
    clock.advance_us(first_us + int(BYTE_US) - 2)
    assert line.read() == b""
    clock.advance_us(4)
    assert line.read() == b"\xfe"
    clock.advance_us(int(4 * BYTE_US))
    assert line.read() == b"\xfe\xfe\xfe\x68"


def test_a_request_in_pieces_is_heard_when_its_last_piece_is_over() -> None:
    line = village()
    request = dlt645.build("000000000001", 0x11, ENERGY)
    line.write(request[:7])
    line.write(request[7:])
    assert dlt645.parse(run(line)).control == 0x91


def test_half_a_request_is_forgotten_after_a_long_gap() -> None:
    line = village()
    request = dlt645.build("000000000001", 0x11, ENERGY)
    line.write(request[:-2])
    run(line)
    clock_of(line).advance_us(600_000)
    line.write(request[-2:])
    assert run(line) == b""
    assert dlt645.parse(ask(line, "000000000001")).control == 0x91


def test_nobody_answers_for_an_address_that_is_not_there() -> None:
    line = village()
    assert ask(line, "000000000009") == b""


def test_replies_that_meet_are_no_frame_and_are_counted() -> None:
    line = village(5)
    # The delays differ, so that the bits of the replies do not coincide.
    for index, meter in enumerate(line.meters):
        meter.reply_delay_ms = 60 + 7 * index
    heard = ask(line, "AAAAAAAAAAAA")
    assert heard
    assert Reader().feed(heard) == []
    assert line.counters["collisions"] > 0


def test_replies_bit_on_bit_are_heard_as_wired_and() -> None:
    line = village()
    heard = ask(line, "AAAAAAAAAAAA", 0x13, b"")
    alone = [dlt645.build(f"{number:012d}", 0x93, bytes((number, *bytes(5)))) for number in (1, 2)]
    assert heard == bytes(one & two for one, two in zip(*alone, strict=True))


def test_bytes_that_meet_never_pass_for_another_frame() -> None:
    """Random bytes have the right checksum once in 256 times; on a line parity would detect it."""
    plain = dlt645.parse(ask(village(), "000000000001")).raw
    faults = LineFaults(stray_noise=1.0, flip_bit=0.01, drop_byte=0.01)
    collisions = 0
    for seed in range(2000):
        line = village(1, faults, seed)
        heard = Reader().feed(ask(line, "000000000001"))
        collisions += line.counters["collisions"]
        assert [frame for frame in heard if frame.raw != plain] == []
    assert collisions > 100


def test_a_late_reply_and_the_next_request_spoil_each_other() -> None:
    line = village()
    line.meters[0].reply_delay_ms = 400
    line.write(dlt645.build("000000000001", 0x11, ENERGY))
    clock_of(line).advance_us(550_000)  # the reply began at 491 ms
    line.write(dlt645.build("000000000002", 0x11, ENERGY))
    assert Reader().feed(run(line)) == []
    assert line.counters["collisions"] == 1


def test_another_speed_is_not_understood_and_comes_back_when_it_fits() -> None:
    line = village()
    line.baud = 9600
    assert ask(line, "000000000001") == b""
    line.baud = 2400
    assert dlt645.parse(ask(line, "000000000001")).control == 0x91


def test_a_new_speed_counts_behind_the_reply_and_is_given_up_when_nobody_uses_it() -> None:
    line = village()
    assert dlt645.parse(ask(line, "000000000001", 0x17, b"\x20")).control == 0x97
    assert ask(line, "000000000001") == b""
    line.baud = 9600
    assert dlt645.parse(ask(line, "000000000001")).control == 0x91
    line.baud = 2400
    clock_of(line).advance_us(61_000_000)
    assert dlt645.parse(ask(line, "000000000001")).control == 0x91


def test_a_reply_at_another_speed_is_anything() -> None:
    line = village()
    line.write(dlt645.build("000000000001", 0x11, ENERGY))
    clock_of(line).advance_us(int(REQUEST_SIZE * BYTE_US) + 10)
    line.read()
    line.baud = 9600
    assert Reader().feed(run(line)) == []
    assert line.counters["wrong_speed"] == REPLY_SIZE


def test_an_echo_comes_before_the_reply() -> None:
    line = village()
    line.echo = True
    request = dlt645.build("000000000001", 0x11, ENERGY)
    line.write(request)
    heard = run(line)
    assert heard.startswith(request)
    assert dlt645.parse(heard[len(request) :]).control == 0x91


def test_without_a_speed_of_its_own_the_line_answers_after_the_delay_alone() -> None:
    line = village()
    line.baud = 0
    line.write(dlt645.build("000000000001", 0x11, ENERGY))
    assert line.read() == b""
    clock_of(line).advance_us(59_999)
    assert line.read() == b""
    clock_of(line).advance_us(1)
    assert dlt645.parse(line.read()).control == 0x91


@pytest.mark.parametrize("fault", ["lost_request", "lost_reply", "silent_meter"])
def test_faults_of_silence(fault: str) -> None:
    line = village(faults=LineFaults(**{fault: 1.0}))
    assert ask(line, "000000000001") == b""
    assert line.counters[fault] == 1


def test_a_lost_reply_was_acted_on_and_a_lost_request_was_not() -> None:
    relay = bytes.fromhex("02000000 00000000 1A00 000000010199".replace(" ", ""))
    for fault, is_open in (("lost_reply", True), ("lost_request", False)):
        line = village(faults=LineFaults(**{fault: 1.0}))
        ask(line, "000000000001", 0x1C, relay)
        meter = line.meters[0]
        assert isinstance(meter, Meter)
        assert meter.relay.open is is_open


def test_a_silent_meter_comes_back() -> None:
    faults = LineFaults(silent_meter=0.5, silent_limit_s=60)
    line = village(faults=faults, seed=3)
    answered = []
    for _ in range(50):
        answered.append(bool(ask(line, "000000000001")))
        clock_of(line).advance_us(20_000_000)
    assert 0 < sum(answered) < 50


@pytest.mark.parametrize(
    "fault", ["drop_byte", "flip_bit", "foreign_reply", "cut_reply", "doubled_start", "noise"]
)
def test_faults_that_change_a_reply(fault: str) -> None:
    """The received bytes differ from the plain reply and are no other reply of that meter."""
    plain = ask(village(), "000000000001")
    chance = 0.1 if fault in ("drop_byte", "flip_bit") else 1.0
    changed = 0
    for seed in range(40):
        line = village(faults=LineFaults(**{fault: chance}), seed=seed)
        heard = ask(line, "000000000001")
        changed += heard != plain and line.counters[fault] > 0
        for frame in Reader().feed(heard):
            assert frame.raw == plain[4:] or frame.address != "000000000001"
    assert changed >= 20


def test_turned_bits_never_pass_for_a_frame() -> None:
    """Many bits turn in few bytes; without parity some frames would pass the checksum."""
    plain = ask(village(), "000000000001")
    deceived = 0
    for seed in range(300):
        line = village(faults=LineFaults(flip_bit=0.06), seed=seed)
        deceived += any(
            frame.raw != plain[4:] for frame in Reader().feed(ask(line, "000000000001"))
        )
    assert deceived == 0


def test_two_turned_bits_pass_where_nobody_looks_at_parity() -> None:
    """The frame is one of the same size, with two characters of wrong parity."""
    plain = ask(village(), "000000000001")
    deceived = 0
    for seed in range(100):
        line = village(faults=LineFaults(unseen_parity=1.0), seed=seed)
        heard = ask(line, "000000000001")
        turned = [one ^ two for one, two in zip(plain, heard, strict=True) if one != two]
        assert (len(turned), len(set(turned))) == (2, 1)
        assert turned[0].bit_count() == 1
        deceived += [frame.raw for frame in Reader().feed(heard)] == [heard[4:]]
    assert deceived > 50


def test_a_stale_reply_is_the_one_before() -> None:
    line = village(faults=LineFaults(stale_reply=1.0))
    before = ask(line, "000000000001")
    assert ask(line, "000000000001", 0x11, bytes.fromhex("03050004")) == before


def test_a_late_reply_keeps_its_bytes() -> None:
    line = village(faults=LineFaults(late_reply=1.0), seed=1)
    assert ask(line, "000000000001") == ask(village(), "000000000001")
    assert line.clock.now_us() > (REQUEST_SIZE + REPLY_SIZE) * BYTE_US + 61_000


def test_babble_comes_behind_the_reply() -> None:
    heard = ask(village(faults=LineFaults(babble=1.0)), "000000000001")
    plain = ask(village(), "000000000001")
    assert heard.startswith(plain)
    assert len(heard) > len(plain)


def test_a_jabber_spoils_replies_and_requests_until_it_ends() -> None:
    line = village(faults=LineFaults(jabber=1.0, jabber_limit_s=5), seed=4)
    line.write(dlt645.build("000000000001", 0x11, ENERGY))
    clock_of(line).advance_us(int(REQUEST_SIZE * BYTE_US) + 1)
    line.read()
    line.faults = NONE
    assert Reader().feed(run(line)) == []
    assert line.counters["collisions"] == 1
    assert line.clock.now_us() > (REQUEST_SIZE + REPLY_SIZE) * BYTE_US + 60_000
    assert dlt645.parse(ask(line, "000000000001")).control == 0x91


def test_stray_noise_comes_by_itself() -> None:
    """All of it is bytes that no request caused; some of it overlaps the reply and spoils it."""
    good = 0
    for seed in range(20):
        heard = ask(village(faults=LineFaults(stray_noise=1.0), seed=seed), "000000000001")
        good += len(Reader().feed(heard))
        assert len(heard) != REPLY_SIZE
    assert 5 < good < 20


def test_one_seed_gives_the_same_bytes_again() -> None:
    faults = LineFaults(drop_byte=0.02, flip_bit=0.02, noise=0.3, late_reply=0.2, jitter_ms=30)

    def day(seed: int) -> list[bytes]:
        line = village(4, faults, seed)
        return [ask(line, f"{number % 4 + 1:012d}") for number in range(40)]

    assert day(5) == day(5)
    assert day(5) != day(6)
