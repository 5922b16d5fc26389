"""Goal: the simulated meter carries out each function of DL/T 645-1997.

Method: requests are frames, replies are parsed back; published frames of real meters are replayed
where there are any; other expectations are the bytes of the standard's layouts.
"""

from random import Random

import pytest

from host.frames import catalogue, describe, dlt645
from host.sim.load import Load
from host.sim.meter import Meter
from host.sim.profile import PROFILES
from host.sim.responder import Responder
from host.sim.values import bcd, write_date, write_moment, write_time
from host.units import DAY_S, HOUR_S
from tests.sim.meter_world import ADDRESS, NOON_T2000, PASSWORD, Master, Refused, master_of

EVERYBODY = dlt645.BROADCAST
ANY = dlt645.WILDCARD
WRONG = bytes.fromhex("02999999")
STEADY = Load(watts_by_hour=(1000,) * 24)


def read(master: Master, di: int, address: str | None = None) -> bytes:
    """Return the value of a 2-byte identifier, with the data that follow."""
    name = di.to_bytes(2, "little")
    frame = master.send(0x01, name, address)
    assert frame is not None
    value = b""
    while True:
        if frame.abnormal:
            raise Refused(frame.data)
        assert frame.data[:2] == name
        value += frame.data[2:]
        if not frame.more:
            return value
        frame = master.send(0x02, name)
        assert frame is not None


def write(master: Master, di: int, value: bytes, password: bytes = PASSWORD) -> None:
    assert master.ask(0x04, di.to_bytes(2, "little") + password + value) == b""


def meter_1997(**settings: object) -> Master:
    return master_of("relay-1997", **settings)


def test_a_published_request_is_answered_as_published() -> None:
    """d003 asks for 9010, and d017 is such an answer: 0.01 kWh."""
    meter = Meter(
        "138000130754",
        load=Load(percent=0),
        start_wh=(10, 0, 0, 0),
        preamble=0,
        profile=PROFILES["plain-1997"],
    )
    request = dlt645.build(meter.address, 0x01, bytes.fromhex("1090"), 2)
    reply = Responder(meter).answer(dlt645.parse(request), NOON_T2000)
    assert reply == bytes.fromhex("6854071300801368810643C3343333332B16")


def test_energy_by_rate_and_month_and_blocks_end_with_aa() -> None:
    master = meter_1997(load=STEADY)
    master.t2000 += 60 * DAY_S
    block = read(master, 0x901F)
    assert len(block) == 21
    assert block[-1] == 0xAA
    assert [read(master, 0x9010 + rate) for rate in range(5)] == [
        block[at : at + 4] for at in range(0, 20, 4)
    ]
    now, last, before = (int(read(master, di)[::-1].hex()) for di in (0x9010, 0x9410, 0x9810))
    assert 0 < before < last < now
    assert read(master, 0x902F) == read(master, 0x911F) == bytes(20) + b"\xaa"
    for di in (0x9015, 0x9210, 0x9C10, 0x9030):
        with pytest.raises(Refused, match="02"):
            read(master, di)


def test_demand_and_its_time() -> None:
    master = meter_1997(load=STEADY)
    assert any(read(master, 0xA010))
    assert len(read(master, 0xB010)) == 4
    assert read(master, 0xA01F)[:3] == read(master, 0xA010)
    assert (len(read(master, 0xA01F)), len(read(master, 0xB01F))) == (16, 21)
    assert master.ask(0x10, PASSWORD) == b""
    assert read(master, 0xA010) == bytes(3)
    assert read(master, 0xB213) == bcd(1, 2)
    with pytest.raises(Refused, match="04"):
        master.ask(0x10, WRONG)


def test_instant_values_clock_and_number() -> None:
    master = meter_1997(load=STEADY)
    assert read(master, 0xB611) == bcd(220, 2)
    power_w = master.meter.load.power_w(NOON_T2000 // DAY_S, 12)
    assert read(master, 0xB630) == bcd(power_w * 10, 3)
    assert read(master, 0xC010) == write_date(NOON_T2000)
    assert read(master, 0xC011) == write_time(NOON_T2000)
    assert read(master, 0xC032) == bytes.fromhex(ADDRESS)[::-1]


def test_everything_it_sends_reads_as_the_catalogue_says() -> None:
    master = meter_1997(load=STEADY)
    wrong, seen = [], 0
    for pattern in catalogue.load().patterns:
        if pattern.digits != 4:
            continue
        for di in pattern.expand():
            value = master.responder.value_of(di)
            if value is None:
                continue
            seen += 1
            reply = dlt645.build(ADDRESS, 0x81, di.to_bytes(2, "little") + value)
            items = describe.describe_bytes(reply, "1997")["items"]
            if not items or any(item["unit"] == "raw" for item in items):
                wrong.append((f"{di:04X}", value.hex(), items))
    assert wrong == []
    assert seen > 60


def test_wildcards_and_99_are_answered() -> None:
    master = meter_1997()
    for address in (EVERYBODY, ANY, "AAAAAAAAAA17"):
        frame = master.send(0x01, bytes.fromhex("1090"), address)
        assert frame is not None
        assert frame.address == ADDRESS
    assert master.send(0x0C, b"\x08", EVERYBODY) is None
    assert master.send(0x01, bytes.fromhex("1090"), "AAAAAAAAAA18") is None


@pytest.mark.parametrize("data", ["", "10", "109000", "0001", "0000"])
def test_a_bad_identifier_is_refused_with_c1(data: str) -> None:
    with pytest.raises(Refused, match="02"):
        meter_1997().ask(0x01, bytes.fromhex(data))


@pytest.mark.parametrize("control", [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x1C, 0x05, 0x81])
def test_functions_of_2007_meet_silence(control: int) -> None:
    assert meter_1997().send(control, bytes.fromhex("00000100")) is None
    assert meter_1997().send(control, b"", ANY) is None


def test_a_long_value_is_followed_up_and_sent_again() -> None:
    long = bytes(number & 0xFF for number in range(500))
    master = meter_1997(records={0xD000: long})
    assert read(master, 0xD000) == long
    name = bytes.fromhex("00D0")
    first = master.send(0x01, name)
    again = master.send(0x03, b"")
    named = master.send(0x03, name)
    assert first is not None
    assert again is not None
    assert named is not None
    assert (first.control, again.control) == (0xA1, 0xA3)
    assert first.data == again.data == named.data
    second = master.send(0x02, name)
    assert second is not None
    assert (second.control, second.data[2:]) == (0xA2, long[198:396])
    with pytest.raises(Refused, match="02"):
        master.ask(0x02, bytes.fromhex("1090"))
    with pytest.raises(Refused, match="02"):
        meter_1997().ask(0x03, b"")


def test_parameters_clock_and_number_are_written_with_a_password() -> None:
    master = meter_1997()
    write(master, 0xC111, bcd(30, 1))
    assert read(master, 0xC111) == bcd(30, 1)
    write(master, 0xC011, bytes.fromhex("000009"))
    write(master, 0xC010, write_date(NOON_T2000 + DAY_S))
    assert master.meter.clock_t2000 == NOON_T2000 + DAY_S - 3 * HOUR_S
    assert read(master, 0xB212) == bcd(3, 2)
    write(master, 0xC032, bytes.fromhex("180000000000"))
    assert master.meter.address == "000000000018"


@pytest.mark.parametrize(
    ("di", "value", "password", "word"),
    [
        (0xC111, bcd(30, 1), WRONG, "04"),
        (0xC111, bcd(30, 2), PASSWORD, "01"),
        (0x9010, bytes(4), PASSWORD, "02"),
        (0xC011, bytes.fromhex("006000"), PASSWORD, "01"),
        (0xC010, bytes.fromhex("00320126"), PASSWORD, "01"),
        (0xC032, bytes.fromhex("0000000000FF"), PASSWORD, "01"),
        (0xC028, bytes.fromhex("3355"), PASSWORD, "01"),
        (0xC111, b"", PASSWORD, "01"),
    ],
)
def test_a_write_is_refused_with_c4(di: int, value: bytes, password: bytes, word: str) -> None:
    with pytest.raises(Refused, match=word):
        write(meter_1997(), di, value, password)


def test_the_vendors_relay() -> None:
    """d014 closes with 9966: on the wire 66 99."""
    master = meter_1997()
    write(master, 0xC028, bytes.fromhex("5533"))
    assert master.meter.relay.open
    assert read(master, 0xC029) == b"\x01"
    write(master, 0xC028, bytes.fromhex("6699"))
    assert not master.meter.relay.open
    with pytest.raises(Refused, match="02"):
        write(master_of("plain-1997"), 0xC028, bytes.fromhex("5533"))


def test_time_by_broadcast_follows_the_same_rules() -> None:
    master = meter_1997()
    assert master.send(0x08, write_moment(NOON_T2000 + 301), EVERYBODY) is None
    assert master.meter.clock_offset_s == 0
    assert master.send(0x08, write_moment(NOON_T2000 + 100), EVERYBODY) is None
    assert master.send(0x08, write_moment(NOON_T2000 + 50), EVERYBODY) is None
    assert master.meter.clock_offset_s == 100


def test_address_speed_and_password_are_changed() -> None:
    master = meter_1997()
    assert master.ask(0x0A, bytes.fromhex("214365000000"), EVERYBODY) == b""
    assert master.meter.address == "000000654321"
    assert master.send(0x0A, bytes.fromhex("214365000000")) is None
    assert master.ask(0x0C, b"\x04") == b"\x04"
    assert master.meter.baud == 1200
    with pytest.raises(Refused, match="01"):
        master.ask(0x0C, b"\x05")
    new = bytes.fromhex("02AABBCC")
    assert master.ask(0x0F, PASSWORD + new) == new
    write(master, 0xC111, bcd(30, 1), new)
    with pytest.raises(Refused, match="04"):
        master.ask(0x0F, PASSWORD + new)
    with pytest.raises(Refused, match="04"):
        master.ask(0x0F, new + bytes.fromhex("01AABBCC"))
    with pytest.raises(Refused, match="01"):
        master.ask(0x0F, new)


def test_no_request_of_any_bytes_ends_in_a_traceback() -> None:
    random = Random(7)
    master = meter_1997()
    for control in range(0x20):
        for size in range(40):
            master.send(control, random.randbytes(size))
        for di in ("10C0", "11C0", "28C0", "32C0", "11C1"):
            master.send(control, bytes.fromhex(di) + PASSWORD + random.randbytes(6))
