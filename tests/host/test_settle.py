"""Goal: whatever the line loses, a technician is told what became of an order: it is done, it is
refused, it is not done, or it is not known, and never one for another.

Method: a simulated meter on a line that loses the answer to an order, or the order itself, or
everything. What the words say is held against the meter's own state.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from host.frames import dlt645, orders
from host.frames.dlt645 import Frame
from host.link import settle
from host.link.meters import AskError
from host.link.settle import DONE, NOT_DONE, NOT_KNOWN, REFUSED, Settled
from host.sim.meter import DEFAULT_START_T2000, Meter
from host.sim.responder import Responder

ADDRESS = "000000000017"
PASSWORD, WRONG, NEW = (bytes.fromhex(text) for text in ("02000000", "02999999", "02123456"))
READS = (0x11, 0x01)
EXPIRY = datetime(2000, 1, 1) + timedelta(seconds=DEFAULT_START_T2000 + 3600)


class LossyLine:
    """A line to one meter. `way` is what it loses: nothing, answer, order or all."""

    def __init__(self, meter: Meter, way: str) -> None:
        self.meter = meter
        self.way = way
        self.orders = 0
        self._responder = Responder(meter)

    def ask(self, address: str, control: int, data: bytes = b"") -> Frame:
        is_read = control in READS
        is_first = not is_read and not self.orders
        self.orders += not is_read
        if self.way == "all" or (self.way == "order" and is_first):
            raise AskError("no answer")
        request = dlt645.parse(dlt645.build(address, control, data))
        reply = self._responder.answer(request, DEFAULT_START_T2000)
        if reply is None or (self.way == "answer" and is_first):
            raise AskError("no answer")
        return dlt645.parse(reply)

    def read(self, address: str, control: int, data: bytes) -> Frame:
        return self.ask(address, control, data)

    def search(self, standard: str, progress: Callable[[int, list[str]], None]) -> list[str]:
        raise AssertionError("nothing is searched")


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for a relay that will not move."""
    monkeypatch.setattr(settle, "_LOOK_AGAIN_S", 0)


def trip(line: LossyLine, password: bytes = PASSWORD) -> Settled:
    """Open the relay of the meter."""
    request = orders.switch("trip", password, EXPIRY)
    look = settle.relay_look(line, ADDRESS, "trip")
    return settle.carry_out(line, ADDRESS, request, look)


def write(line: LossyLine, password: bytes = PASSWORD) -> Settled:
    """Set the alarm amount of the meter."""
    octets = bytes.fromhex("00310000")
    look = settle.write_look(line, ADDRESS, "2007", "04001001", octets)
    request = orders.write("2007", "04001001", password, octets)
    return settle.carry_out(line, ADDRESS, request, look)


def clear(line: LossyLine, password: bytes = PASSWORD) -> Settled:
    """Clear the demand of the meter."""
    look = settle.clear_look(line, ADDRESS, "2007", "demand")
    return settle.carry_out(line, ADDRESS, orders.clear("2007", "demand", password), look)


def change(line: LossyLine, password: bytes = PASSWORD) -> Settled:
    """Change the password of level 2."""
    look = settle.password_look(line, ADDRESS, "2007", 2, NEW)
    request = orders.change_password("2007", 2, password, NEW)
    return settle.carry_out(line, ADDRESS, request, look)


ORDERS = (trip, write, clear, change)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("way", "outcome"),
    [("nothing", DONE), ("answer", DONE), ("order", NOT_DONE), ("all", NOT_KNOWN)],
)
def test_what_became_of_an_order_is_told(
    order: Callable[[LossyLine], Settled], way: str, outcome: str
) -> None:
    settled = order(LossyLine(Meter(ADDRESS), way))
    assert settled.outcome == outcome
    assert (settled.answer is None) == (way != "nothing")
    assert bool(settled.why) == (way != "nothing")


@pytest.mark.parametrize("order", ORDERS)
def test_a_wrong_password_is_a_refusal(order: Callable[[LossyLine, bytes], Settled]) -> None:
    line = LossyLine(Meter(ADDRESS), "nothing")
    settled = order(line, WRONG)
    assert settled.outcome == REFUSED
    assert line.orders == 1, "nothing is tried again with a password that was refused"


@pytest.mark.parametrize("way", ["nothing", "answer", "order"])
def test_the_word_agrees_with_the_meter(way: str) -> None:
    meter = Meter(ADDRESS)
    settled = trip(LossyLine(meter, way))
    assert meter.relay.open == (settled.outcome == DONE)


def test_a_new_address_is_looked_for_under_itself() -> None:
    for way in ("nothing", "answer"):
        meter = Meter(ADDRESS)
        line = LossyLine(meter, way)
        octets = bytes.fromhex("000000000042")[::-1]
        look = settle.write_look(line, ADDRESS, "2007", "04000401", octets)
        request = orders.write("2007", "04000401", PASSWORD, octets)
        assert settle.carry_out(line, ADDRESS, request, look).outcome == DONE
        assert meter.address == "000000000042"


def test_the_only_meter_of_a_line_gets_an_address() -> None:
    meter = Meter(ADDRESS)
    for programming, outcome in ((False, NOT_KNOWN), (True, DONE)):
        meter.programming = programming
        line = LossyLine(meter, "nothing")
        look = settle.address_look(line, "2007", "000000000042")
        request = orders.write_address("2007", "000000000042")
        settled = settle.carry_out(line, dlt645.WILDCARD, request, look)
        assert settled.outcome == outcome
