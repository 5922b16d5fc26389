"""Goal: the simulated meter carries out each function of DL/T 645-2007.

Method: each request is a frame and each reply is parsed back; the expected replies are the bytes
of the standard's layouts. Every function has a request that is taken, and requests that must be
refused with the right error word or must get no answer.
"""

from dataclasses import replace
from random import Random

import pytest

from host.frames import catalogue, describe, dlt645
from host.sim.clock import DEFAULT_START_T2000
from host.sim.load import Load
from host.sim.values import bcd, write_date, write_moment, write_time
from host.units import DAY_S, HOUR_S
from tests.sim.meter_world import ADDRESS, AUTHORITY, NOON_T2000, OPERATOR, Refused, master_of

BROADCAST = dlt645.BROADCAST
ANY = dlt645.WILDCARD
OTHER, NO_DATA, DENIED, BAD_BAUD = b"\x01", b"\x02", b"\x04", b"\x08"
WRONG = bytes.fromhex("02999999") + OPERATOR
STEADY = Load(watts_by_hour=(1000,) * 24)


# --- energy and time ---------------------------------------------------------------------------


def test_rates_add_up_to_the_total_however_often_it_is_read() -> None:
    often, seldom = master_of(load=STEADY), master_of(load=STEADY)
    for t2000 in range(DEFAULT_START_T2000, NOON_T2000 + DAY_S, 613):
        often.t2000 = t2000
        often.read(0x00010000)
    often.t2000 = seldom.t2000 = NOON_T2000 + DAY_S
    block = often.read(0x0001FF00)
    assert block == seldom.read(0x0001FF00)
    values = [int(block[at : at + 4][::-1].hex()) for at in range(0, 20, 4)]
    assert values[0] == sum(values[1:]) > 2000
    assert [often.read(0x00010000 + (rate << 8)) for rate in range(5)] == [
        block[at : at + 4] for at in range(0, 20, 4)
    ]


def test_nothing_is_drawn_while_the_relay_is_open() -> None:
    master = master_of(load=STEADY)
    master.relay(0x1A)
    before = master.read(0x0001FF00)
    assert master.read(0x02030000) == bytes(3)
    master.t2000 += 5 * HOUR_S
    assert master.read(0x0001FF00) == before
    master.relay(0x1C)
    master.t2000 += HOUR_S
    assert master.number(0x00010000) > int(before[3::-1].hex())


@pytest.mark.parametrize("cuts", [(), (1,), (2, 9, 30)])
def test_what_is_needed_is_drawn_rate_after_rate_whenever_the_supply_was_off(
    cuts: tuple[int, ...],
) -> None:
    master = master_of(load=replace(STEADY, needs_wh=(9_000, 2_500)))
    seen = []
    for hour in range(72):
        master.t2000 += HOUR_S
        if hour in cuts:
            master.relay(0x1A)
        elif hour - 5 in cuts:
            master.relay(0x1C)
        seen.append((master.number(0x00010100), master.number(0x00010200)))
    assert seen[-1] == (900, 250)
    assert all(peak == 900 or valley == 0 for peak, valley in seen)
    assert master.read(0x02030000) == bytes(3)


def test_a_supply_that_was_switched_off_draws_nothing_until_it_is_on() -> None:
    master = master_of(load=STEADY, supply_off=True)
    master.t2000 += 5 * HOUR_S
    assert master.number(0x00010000) == 0
    master.relay(0x1C)
    master.t2000 += HOUR_S
    assert master.number(0x00010000) > 0


def test_a_month_leaves_62_days_and_a_settlement() -> None:
    master = master_of()
    master.t2000 += 90 * DAY_S
    assert master.read(0x05060001) == write_moment(NOON_T2000 + 90 * DAY_S - DAY_S // 2)[1:]
    master.read(0x0506013E)
    with pytest.raises(Refused, match="02"):
        master.read(0x0506013F)
    assert 0 < master.number(0x00010003) < master.number(0x00010002) < master.number(0x00010000)
    with pytest.raises(Refused, match="02"):
        master.read(0x0001FF04)


# --- 08: broadcast time ------------------------------------------------------------------------


def set_time(shift_s: int, at_s: int = DAY_S // 2, profile: str = "plain") -> int:
    """Broadcast a time `shift_s` off at `at_s` of the day; return the error of the clock then."""
    master = master_of(profile)
    master.t2000 = DEFAULT_START_T2000 + DAY_S + at_s
    assert master.send(0x08, write_moment(master.t2000 + shift_s), BROADCAST) is None
    return master.meter.clock_offset_s


def test_a_broadcast_time_is_taken_in_silence() -> None:
    assert set_time(100) == 100
    assert set_time(-300) == -300


def test_a_broadcast_time_is_ignored_when_it_differs_too_much() -> None:
    assert set_time(301) == 0
    assert set_time(500, profile="private") == 500
    assert set_time(601, profile="private") == 0


def test_a_broadcast_time_is_ignored_near_midnight() -> None:
    assert set_time(10, 300) == 0
    assert set_time(10, 301) == 10
    assert set_time(-10, DAY_S - 300) == 0


def test_a_broadcast_time_is_taken_once_a_day() -> None:
    master = master_of()
    for shift_s, expected_s in ((100, 100), (50, 100)):
        master.send(0x08, write_moment(master.t2000 + shift_s), BROADCAST)
        assert master.meter.clock_offset_s == expected_s
    master.t2000 += DAY_S
    master.send(0x08, write_moment(master.t2000 + 50), BROADCAST)
    assert master.meter.clock_offset_s == 50
    assert master.read(0x03300400) == bcd(2, 3)


@pytest.mark.parametrize("data", [b"", bytes(5), bytes.fromhex("000000320126"), b"\xff" * 6])
def test_a_broadcast_of_no_time_is_ignored(data: bytes) -> None:
    master = master_of()
    assert master.send(0x08, data, BROADCAST) is None
    assert master.meter.clock_offset_s == 0


# --- 11, 12: reading ---------------------------------------------------------------------------


def test_a_long_value_is_followed_up_in_order_and_again() -> None:
    long = bytes(number & 0xFF for number in range(600))
    master = master_of(records={0x03300801: long})
    assert master.read(0x03300801) == long
    name = 0x03300801.to_bytes(4, "little")
    first = master.send(0x11, name)
    assert first is not None
    assert (first.control, len(first.data)) == (0xB1, 200)
    second = master.send(0x12, name + b"\x01")
    again = master.send(0x12, name + b"\x01")
    assert second == again
    assert second is not None
    assert (second.control, second.data[-1]) == (0xB2, 1)
    for sequence in (0, 4, 255):
        with pytest.raises(Refused, match="02"):
            master.ask(0x12, name + bytes((sequence,)))
    with pytest.raises(Refused, match="02"):
        master.ask(0x12, bytes(4) + b"\x01")
    with pytest.raises(Refused, match="01"):
        master.ask(0x12, name)


@pytest.mark.parametrize("data", [b"", b"\0\0\0"])
def test_half_an_identifier_is_refused(data: bytes) -> None:
    with pytest.raises(Refused, match="01"):
        master_of().ask(0x11, data)


def test_what_a_meter_has_not_is_no_data() -> None:
    for di in (0x00900200, 0x09000000, 0x00010500, 0x00010001, 0x05060101, 0x02010400):
        with pytest.raises(Refused, match="02"):
            master_of(start_t2000=NOON_T2000).read(di)


def test_the_instant_values_of_a_single_phase() -> None:
    master = master_of(load=STEADY)
    power = bcd(master.meter.load.power_w(NOON_T2000 // DAY_S, 12) * 10, 3)
    assert master.read(0x02030000) == master.read(0x02030100) == power
    assert master.read(0x0203FF00) == power + power + b"\xff" * 6
    assert master.read(0x0201FF00) == bytes.fromhex("0022FFFFFFFF")
    assert master.read(0x02010200) == b"\xff\xff"
    assert master.read(0x02800002) == bcd(5000, 2)


def test_load_records_read_as_the_catalogue_says() -> None:
    master = master_of(load=STEADY)
    for di in (0x06000002, 0x06010002, 0x06020002, 0x06030002, 0x06040002, 0x06060002):
        value = master.read(di, b"\x01")
        told = describe.describe_bytes(
            dlt645.build(ADDRESS, 0x91, di.to_bytes(4, "little") + value)
        )
        assert told["items"][0]["value"] == "2026-01-02 12:00"
        assert "raw" not in [item["unit"] for item in told["items"]]


def test_load_records_from_a_time_on_and_the_newest() -> None:
    master = master_of(load=STEADY)
    from_t2000 = DEFAULT_START_T2000 + 3 * HOUR_S
    records = master.read(0x06000001, b"\x02" + write_moment(from_t2000)[1:])
    size = records[2] + 5
    assert len(records) == 2 * size
    for number, at in enumerate((0, size)):
        one = records[at : at + size]
        assert one[:2] == b"\xa0\xa0"
        assert one[-1:] == b"\xe5"
        assert one[-2] == sum(one[:-2]) & 0xFF
        assert one[3:8] == write_moment(from_t2000 + number * HOUR_S)[1:]
        assert one[3:-2].endswith(b"\xaa")
    newest = master.read(0x06040002, b"\x01")
    assert newest[3:8] == write_moment(NOON_T2000)[1:]
    assert master.read(0x06000000, b"\x01")[3:8] == write_moment(DEFAULT_START_T2000 + HOUR_S)[1:]
    assert len(master.read(0x06000001, b"\x0a" + write_moment(from_t2000)[1:])) == 10 * size


@pytest.mark.parametrize(
    ("di", "asked"),
    [
        (0x06000001, b"\x01"),
        (0x06000000, b"\x01" + bytes(5)),
        (0x06000001, b"\x01" + b"\xff" * 5),
        (0x06070000, b"\x01"),
        (0x06000003, b"\x01"),
        (0x06000002, b"\x00"),
        (0x00010000, b"\x01"),
    ],
)
def test_load_records_asked_for_wrongly_are_no_data(di: int, asked: bytes) -> None:
    with pytest.raises(Refused, match="02"):
        master_of().read(di, asked)


def test_a_complete_meter_answers_every_identifier_of_the_catalogue() -> None:
    """Its answers are read back as values, not as bytes of unknown meaning."""
    master = master_of(profile="state-grid", complete=True)
    seen = 0
    for pattern in catalogue.load().patterns:
        row = pattern.row
        if pattern.digits != 8 or "r" not in row.access or row.profile:
            continue
        di = next(pattern.expand())
        if di >> 24 in (0x06, 0x07) or not catalogue.load().find(f"{di:08X}").reply.size:
            continue
        master.read(di)
        seen += 1
    assert seen > 500


def test_what_it_sends_reads_as_its_catalogue_says() -> None:
    """Every value that the plain meter makes by itself has the identifier's format."""
    master = master_of(load=STEADY)
    wrong = []
    for pattern in catalogue.load().patterns:
        if pattern.digits != 8 or pattern.row.profile:
            continue
        for di in list(pattern.expand())[:3]:
            value = master.responder.value_of(di)
            if value is None or not any(value) or len(value) > 196:
                continue
            request = dlt645.build(ADDRESS, 0x91, di.to_bytes(4, "little") + value)
            told = describe.describe_bytes(request)
            if any(item["unit"] == "raw" for item in told["items"]):
                wrong.append((f"{di:08X}", value.hex()))
    assert wrong == []


# --- 13, 15: address ---------------------------------------------------------------------------


def test_the_address_is_told_and_changed_by_all_aa() -> None:
    master = master_of()
    assert master.ask(0x13, b"", ANY).hex() == "170000000000"
    assert master.ask(0x15, bytes.fromhex("214365000000"), ANY) == b""
    assert master.ask(0x13, b"", ANY).hex() == "214365000000"
    assert master.meter.address == "000000654321"


def test_the_address_is_not_changed_otherwise() -> None:
    master = master_of()
    for data, address in (
        (bytes.fromhex("214365000000"), ADDRESS),
        (bytes.fromhex("2143650000"), ANY),
        (bytes.fromhex("2143650000FF"), ANY),
    ):
        assert master.send(0x15, data, address) is None
    locked = master_of(programming=False)
    assert locked.send(0x15, bytes.fromhex("214365000000"), ANY) is None
    assert master.meter.address == locked.meter.address == ADDRESS


def test_a_wildcard_asks_whom_it_fits() -> None:
    master = master_of()
    name = bytes.fromhex("00000100")
    assert master.ask(0x11, name, "AAAAAAAA0017")[:4] == name
    assert master.send(0x11, name, "AAAAAAAA0018") is None
    assert master.send(0x11, name, BROADCAST) is None
    for control in (0x14, 0x16, 0x1A, 0x1B, 0x1C, 0x1D):
        assert master.send(control, b"\0", ANY) is None


# --- 14: writing -------------------------------------------------------------------------------


def test_a_parameter_is_written_and_the_programming_is_kept() -> None:
    master = master_of()
    master.write(0x04000103, bcd(30, 1))
    assert master.read(0x04000103) == bcd(30, 1)
    assert master.read(0x03300000) == bcd(1, 3)
    record = master.read(0x03300001)
    assert len(record) == 50
    assert record[:14] == write_moment(NOON_T2000) + OPERATOR + bytes.fromhex("03010004")


@pytest.mark.parametrize(
    ("di", "value", "authority", "word"),
    [
        (0x04000103, bcd(30, 1), WRONG, DENIED),
        (0x04000103, bcd(30, 1), bytes.fromhex("01123456") + OPERATOR, DENIED),
        (0x04000103, bcd(30, 1), bytes.fromhex("98123456") + OPERATOR, DENIED),
        (0x04000103, bcd(30, 2), AUTHORITY, OTHER),
        (0x00010000, bytes(4), AUTHORITY, DENIED),
        (0x09000000, bytes(4), AUTHORITY, NO_DATA),
        (0x04000101, bytes.fromhex("05320126"), AUTHORITY, OTHER),
        (0x04000102, bytes.fromhex("006012"), AUTHORITY, OTHER),
        (0x04000401, bytes.fromhex("0000000000FF"), AUTHORITY, OTHER),
        (0x04000103, b"", AUTHORITY, OTHER),
    ],
)
def test_a_write_is_refused(di: int, value: bytes, authority: bytes, word: bytes) -> None:
    master = master_of()
    with pytest.raises(Refused) as refused:
        master.write(di, value, authority)
    assert refused.value.word == word
    assert master.read(0x03300000) == bytes(3)


def test_clock_and_address_are_written() -> None:
    master = master_of()
    t2000 = NOON_T2000 + 3 * DAY_S + 17
    master.write(0x0400010C, write_time(t2000) + write_date(t2000))
    assert master.meter.clock_t2000 == t2000
    master.write(0x04000102, bytes.fromhex("000009"))
    assert master.read(0x04000102) == bytes.fromhex("000009")
    master.write(0x04000101, write_date(NOON_T2000))
    assert master.read(0x0400010C) == bytes.fromhex("000009") + write_date(NOON_T2000)
    assert master.read(0x03300400) == bcd(3, 3)
    master.write(0x04000401, bytes.fromhex("180000000000"))
    assert master.meter.address == "000000000018"


# --- 16: freezes -------------------------------------------------------------------------------


def test_an_instant_freeze_is_one_of_three_and_silent_to_all() -> None:
    master = master_of(load=STEADY)
    for number in range(4):
        master.t2000 = NOON_T2000 + number * HOUR_S
        if number % 2:
            assert master.send(0x16, b"\x99" * 4, BROADCAST) is None
        else:
            assert master.ask(0x16, b"\x99" * 4) == b""
    assert master.read(0x05010001) == write_moment(NOON_T2000 + 3 * HOUR_S)[1:]
    assert master.number(0x05010103) < master.number(0x05010101) == master.number(0x00010000)
    with pytest.raises(Refused, match="02"):
        master.read(0x05010104)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("30999999", ["2026-01-05 12:30", "2026-01-05 11:30", "2026-01-05 10:30"]),
        ("15079999", ["2026-01-05 07:15", "2026-01-04 07:15", "2026-01-03 07:15"]),
        ("00009999", ["2026-01-05 00:00", "2026-01-04 00:00", "2026-01-03 00:00"]),
        ("05230499", ["2026-01-04 23:05"]),
    ],
)
def test_timed_freezes_come_hourly_daily_and_monthly(pattern: str, expected: list[str]) -> None:
    master = master_of()
    assert master.ask(0x16, bytes.fromhex(pattern)) == b""
    master.t2000 = DEFAULT_START_T2000 + 3 * DAY_S + 12 * HOUR_S + 45 * 60
    for number, text in enumerate(expected, 1):
        digits = master.read(0x05000000 + number)[::-1].hex()
        wanted = text.replace("2026", "26")
        assert digits == "".join(character for character in wanted if character.isdigit())
        assert len(master.read(0x05000100 + number)) == 20
    if len(expected) == 1:
        with pytest.raises(Refused, match="02"):
            master.read(0x05000002)


@pytest.mark.parametrize("pattern", ["", "999999", "60999999", "00249999", "00003099", "0000AA99"])
def test_a_freeze_at_no_time_is_refused(pattern: str) -> None:
    with pytest.raises(Refused, match="01"):
        master_of().ask(0x16, bytes.fromhex(pattern))


@pytest.mark.parametrize("pattern", ["00000101", "99009999", "00990199"])
def test_a_freeze_of_no_kind_is_refused(pattern: str) -> None:
    with pytest.raises(Refused, match="01"):
        master_of().ask(0x16, bytes.fromhex(pattern))


def test_a_whole_freeze_block_needs_a_follow_up() -> None:
    master = master_of(load=STEADY)
    master.t2000 += DAY_S
    assert len(master.read(0x0506FF01)) == 5 + 8 * 20 + 2 * 40 + 24


# --- 17, 18: speed and password ----------------------------------------------------------------


@pytest.mark.parametrize(("code", "baud"), [(2, 600), (4, 1200), (8, 2400), (32, 9600)])
def test_the_speed_is_changed(code: int, baud: int) -> None:
    master = master_of()
    assert master.ask(0x17, bytes((code,))) == bytes((code,))
    assert master.meter.baud == baud


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x03", b"\x80", b"\x08\x08"])
def test_a_speed_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(Refused, match="08"):
        master_of().ask(0x17, data)


def test_the_password_is_changed_by_its_own_level_or_a_higher_one() -> None:
    master = master_of()
    new = bytes.fromhex("04AABBCC")
    assert master.ask(0x18, bytes.fromhex("050C0004") + AUTHORITY[:4] + new) == new
    master.write(0x04000103, bcd(20, 1), new + OPERATOR)
    higher = bytes.fromhex("01AABBCC")
    for data in (
        bytes.fromhex("020C0004") + AUTHORITY[:4] + higher,
        bytes.fromhex("050C0004") + WRONG[:4] + new,
        bytes.fromhex("040C0004") + AUTHORITY[:4] + new,
    ):
        with pytest.raises(Refused, match="04"):
            master.ask(0x18, data)
    with pytest.raises(Refused, match="01"):
        master.ask(0x18, bytes.fromhex("050D0004") + AUTHORITY[:4] + new)


# --- 19, 1A, 1B: clearing ----------------------------------------------------------------------


def test_the_demand_is_cleared_and_kept() -> None:
    master = master_of(load=STEADY)
    highest = master.read(0x01010000)
    assert any(highest)
    assert master.ask(0x19, AUTHORITY) == b""
    assert master.read(0x01010000) == bytes(8)
    assert master.read(0x03300200) == bcd(1, 3)
    record = master.read(0x03300201)
    assert len(record) == 202
    assert record[:18] == write_moment(NOON_T2000) + OPERATOR + highest


def test_the_meter_is_cleared_and_the_total_kept() -> None:
    master = master_of(load=STEADY)
    total = master.read(0x00010000)
    with pytest.raises(Refused, match="04"):
        master.ask(0x1A, WRONG)
    with pytest.raises(Refused, match="01"):
        master.ask(0x1A, AUTHORITY + b"\0")
    assert master.read(0x00010000) == total
    assert master.ask(0x1A, AUTHORITY) == b""
    assert master.read(0x0001FF00) == bytes(20)
    assert master.read(0x03300101)[10:14] == total
    with pytest.raises(Refused, match="02"):
        master.read(0x05060101)


def test_events_are_cleared_all_or_one_kind() -> None:
    master = master_of()
    master.write(0x04000103, bcd(30, 1))
    master.relay(0x1A)
    assert master.ask(0x1B, AUTHORITY + bytes.fromhex("FF003003")) == b""
    assert master.read(0x03300000) == bytes(3)
    assert master.read(0x1D000001) == bcd(1, 3)
    assert master.ask(0x1B, AUTHORITY + b"\xff" * 4) == b""
    assert master.read(0x1D000001) == bytes(3)
    assert master.read(0x03300300) == bcd(2, 3)
    assert master.read(0x03300302)[10:] == bytes.fromhex("FF003003")
    with pytest.raises(Refused, match="04"):
        master.ask(0x1B, WRONG + b"\xff" * 4)
    with pytest.raises(Refused, match="01"):
        master.ask(0x1B, AUTHORITY + bytes.fromhex("01003003"))


def test_a_profile_clears_by_identifier_and_password() -> None:
    master = master_of()
    master.meter.profile = replace(master.meter.profile, clear_by_di=True)
    assert master.ask(0x1A, bytes.fromhex("FF000000") + AUTHORITY[:4]) == b""
    with pytest.raises(Refused, match="04"):
        master.ask(0x1A, bytes.fromhex("FF000000") + WRONG[:4])


# --- 1C: the relay -----------------------------------------------------------------------------


def test_the_relay_opens_and_closes_and_the_switchings_are_kept() -> None:
    master = master_of()
    for action, status in ((0x1A, 0x0050), (0x1A, 0x0050), (0x1C, 0x0000), (0x1A, 0x0050)):
        master.relay(action)
        assert master.read(0x04000503) == status.to_bytes(2, "little")
    assert master.meter.relay.operations == 3
    assert master.read(0x1D000001) == bcd(2, 3)
    assert master.read(0x1E000001) == bcd(1, 3)
    block = master.read(0x1D00FF01)
    assert len(block) == 34
    assert block[:10] == write_moment(NOON_T2000) + OPERATOR
    assert master.read(0x1D000101) + master.read(0x1D000201) == block[:10]


def test_closing_may_need_the_button() -> None:
    master = master_of(button=True)
    master.relay(0x1A)
    master.relay(0x1B)
    assert master.read(0x04000503) == b"\x10\x00"
    master.meter.press_button()
    assert master.read(0x04000503) == b"\x00\x00"
    master.meter.press_button()
    assert master.meter.relay.operations == 2


def test_alarm_and_guard_are_seen_in_the_status() -> None:
    master = master_of()
    for action, status in ((0x2A, 0x0080), (0x3A, 0x1080), (0x2B, 0x1000), (0x3B, 0x0000)):
        master.relay(action)
        assert master.read(0x04000503) == status.to_bytes(2, "little")


def test_a_guarded_supply_is_closed_and_not_cut() -> None:
    master = master_of()
    master.relay(0x1A)
    master.relay(0x3A)
    with pytest.raises(Refused, match="04"):
        master.relay(0x1A)
    assert not master.meter.relay.open
    master.relay(0x3B)
    master.relay(0x1A)
    assert master.meter.relay.open


@pytest.mark.parametrize(
    ("action", "expiry", "head", "word"),
    [
        (0x1A, write_moment(NOON_T2000 - 1), AUTHORITY, OTHER),
        (0x1A, bytes(6), AUTHORITY, OTHER),
        (0x1A, b"\x99" * 6, AUTHORITY, OTHER),
        (0x1A, write_moment(NOON_T2000 + 60)[:5], AUTHORITY, OTHER),
        (0x1D, None, AUTHORITY, OTHER),
        (0x1A, None, WRONG, DENIED),
    ],
)
def test_a_relay_command_is_refused(
    action: int, expiry: bytes | None, head: bytes, word: bytes
) -> None:
    master = master_of()
    with pytest.raises(Refused) as refused:
        master.relay(action, expiry, head)
    assert refused.value.word == word
    assert not master.meter.relay.open


def test_a_faulty_relay_says_yes_and_stays() -> None:
    master = master_of(faulty_relay=True)
    master.relay(0x1A)
    assert master.read(0x04000503) == b"\x40\x00"


def test_a_slow_relay_moves_later_and_is_told_of_only_then() -> None:
    """Until it moves, energy is counted; of two commands in that time the last one counts."""
    master = master_of(relay_delay_s=4, load=Load(watts_by_hour=(9000,) * 24))
    meter = master.meter
    master.read(0x04000503)
    before_wh = meter.total_wh
    master.relay(0x1A)
    for after_s, word in (
        (0, b"\x40\x00"),
        (3, b"\x40\x00"),
        (4, b"\x50\x00"),
        (999, b"\x50\x00"),
    ):
        master.t2000 = NOON_T2000 + after_s
        assert master.read(0x04000503) == word
    assert meter.total_wh - before_wh == 9000 * 4 // 3600

    master.relay(0x1C)
    master.t2000 += 2
    master.relay(0x1A)
    master.t2000 += 4
    master.read(0x04000503)
    assert (meter.relay.open, meter.relay.operations) == (True, 3)


def test_private_meters_take_an_expiry_of_zeros_and_none_at_all() -> None:
    master = master_of("private")
    master.relay(0x1A, bytes(6))
    assert master.meter.relay.open
    assert master.ask(0x1C, AUTHORITY + b"\x1c") == b""
    assert not master.meter.relay.open


# --- 1D and what is none -----------------------------------------------------------------------


def test_the_terminal_gives_one_of_three_outputs() -> None:
    master = master_of()
    for output in (b"\x00", b"\x01", b"\x02"):
        assert master.ask(0x1D, output) == output
    for data in (b"", b"\x03", b"\x00\x00"):
        with pytest.raises(Refused, match="01"):
            master.ask(0x1D, data)


@pytest.mark.parametrize("control", [0x00, 0x01, 0x02, 0x03, 0x04, 0x0A, 0x10, 0x1E, 0x1F, 0x91])
def test_other_functions_meet_silence(control: int) -> None:
    assert master_of().send(control, bytes(4)) is None


def test_no_request_of_any_bytes_ends_in_a_traceback() -> None:
    """The meter gets every function, with data of every length and with random bytes."""
    random = Random(7)
    for profile in ("plain", "state-grid", "private"):
        master = master_of(profile)
        for control in range(0x20):
            for size in range(40):
                master.send(control, random.randbytes(size))
            master.send(control, AUTHORITY + random.randbytes(8))
            master.send(control, bytes(4) + AUTHORITY + random.randbytes(6))
