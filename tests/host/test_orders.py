"""Goal: a technician's requests are the bytes that the standard defines for them.

Method: the expected bytes are made by hand from the standard's tables; the simulated meter, which
was written from the same text, carries the requests out.
"""

from datetime import datetime

import pytest

from host.frames import orders
from host.frames.orders import FREEZES, RELAY_ACTIONS, Request
from host.sim.history import Schedule
from host.sim.values import read_moment
from host.units import to_datetime
from tests.sim.meter_world import NOON_T2000, PASSWORD, master_of

MOMENT = datetime(2026, 7, 5, 8, 9, 10)  # a Sunday


def hexed(request: Request) -> tuple[int, str]:
    return request.control, request.data.hex().upper()


@pytest.mark.parametrize(
    ("request_", "control", "data"),
    [
        (orders.read("2007", "0201FF00"), 0x11, "00FF0102"),
        (orders.read("1997", "B630"), 0x01, "30B6"),
        (
            orders.write("2007", "04001001", PASSWORD, b"\x01\x02"),
            0x14,
            "0110000402123456000000000102",
        ),
        (orders.write("1997", "C010", PASSWORD, b"\x01"), 0x04, "10C00212345601"),
        (orders.broadcast_time(MOMENT), 0x08, "100908050726"),
        (orders.freeze("instant", MOMENT), 0x16, "99999999"),
        (orders.freeze("hourly", MOMENT), 0x16, "09999999"),
        (orders.freeze("daily", MOMENT), 0x16, "09089999"),
        (orders.freeze("monthly", MOMENT), 0x16, "09080599"),
        (
            orders.switch("trip", PASSWORD, MOMENT),
            0x1C,
            "02123456000000001A00100908050726",
        ),
        (orders.clear("2007", "demand", PASSWORD), 0x19, "0212345600000000"),
        (orders.clear("2007", "meter", PASSWORD), 0x1A, "0212345600000000"),
        (orders.clear("2007", "events", PASSWORD), 0x1B, "0212345600000000FFFFFFFF"),
        (
            orders.change_password("2007", 2, PASSWORD, b"\x02\x11\x22\x33"),
            0x18,
            "030C00040212345602112233",
        ),
    ],
)
def test_the_bytes_of_a_request(request_: Request, control: int, data: str) -> None:
    assert hexed(request_) == (control, data)


def test_date_and_time_are_written_one_after_the_other() -> None:
    day, time = orders.set_clock("2007", MOMENT, PASSWORD)
    assert hexed(day) == (0x14, "01010004021234560000000000050726")
    assert hexed(time) == (0x14, "020100040212345600000000100908")
    assert [one.data.hex() for one in orders.read_clock("2007")] == ["01010004", "02010004"]
    assert [one.data.hex() for one in orders.read_clock("1997")] == ["10c0", "11c0"]


@pytest.mark.parametrize("standard", ["2007", "1997"])
def test_a_meter_takes_its_time(standard: str) -> None:
    profile = "plain" if standard == "2007" else "plain-1997"
    master = master_of(profile)
    moment = to_datetime(NOON_T2000 + 7200)
    for request in orders.set_clock(standard, moment, PASSWORD):
        master.ask(*request)
    assert to_datetime(master.meter.clock_t2000) == moment


def test_a_meter_obeys_each_action_of_the_relay() -> None:
    master = master_of()
    for action in RELAY_ACTIONS:
        expiry = to_datetime(NOON_T2000 + 3600)
        assert master.ask(*orders.switch(action, PASSWORD, expiry)) == b""
    assert not master.meter.relay.open
    assert not master.meter.relay.guard


def test_a_meter_takes_every_kind_of_freeze() -> None:
    master = master_of()
    for kind in FREEZES:
        assert master.ask(*orders.freeze(kind, MOMENT)) == b""
    assert master.meter.history.schedule == Schedule(day=5, hour=8, minute=9)


def test_all_meters_take_the_time_that_is_broadcast() -> None:
    master = master_of()
    late = to_datetime(NOON_T2000 + 60)
    request = orders.broadcast_time(late)
    assert read_moment(request.data) == NOON_T2000 + 60
    assert master.send(*request, address="999999999999") is None
    assert to_datetime(master.meter.clock_t2000) == late
