"""Goal: a key server is authenticated to a meter's security module, the module's MACs show whether
it has the keys, and what stands between them on the line is found out.

Method: the program of a simulated key server is started as any other would be, and asked for a
simulated meter on a port in memory, on which a box can answer for the meter.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli.meter import session as sessions
from host.cli.meter.commands import command
from host.device.line import DirectLine
from host.frames import dlt645, orders
from host.frames.catalogue import STATE_GRID
from host.link import key_server, security
from host.link.key_server import KeyServer, KeyServerError
from host.link.meters import AskError
from host.sim.esam import Utility
from host.sim.meter import Meter
from host.sim.profile import PROFILES
from host.sim.responder import Responder
from host.units import to_datetime
from tests.sim.meter_world import ADDRESS, NOON_T2000, Master
from tests.sim.test_meter_security import AUTH, CUSTOMER, OPEN, secure

SERVER = f"{sys.executable} -m host.sim.key_server"
PURSE_NAME = bytes.fromhex("FF028107")
Box = Callable[[dlt645.Frame, bytes | None], bytes | None]


class Wire:
    """A port to a meter, with a box on the line that may change its answers."""

    def __init__(self, meter: Meter, box: Box | None = None) -> None:
        self.meter = meter
        self._responder = Responder(meter)
        self._box = box
        self._waits = b""

    def write(self, data: bytes) -> None:
        request = dlt645.parse(data.lstrip(b"\xfe"))
        reply = self._responder.answer(request, NOON_T2000)
        if self._box is not None:
            reply = self._box(request, reply)
        self._waits = reply or b""

    def read(self, timeout_s: float) -> bytes:
        heard, self._waits = self._waits, b""
        return heard

    def set_baud(self, baud: int) -> None:
        raise AssertionError("no speed is changed")


def meter_with_money(profile: str = "state-grid") -> Meter:
    """Return a meter with 100.00 yuan, bought as count 1, and no authentication."""
    meter = Meter(ADDRESS, profile=PROFILES[profile])
    master = Master(meter)
    utility = Utility(ADDRESS, whole=meter.profile.whole_reversed)
    utility.on_reply(secure(master, AUTH, utility.authentication()))
    secure(master, OPEN, utility.money(10_000, 1, CUSTOMER))
    meter.authenticated_until_t2000 = -1
    return meter


def proven(wire: Wire, words: str = SERVER) -> security.Purse:
    line = DirectLine(wire, reply_s=0.05, attempts=1)
    with KeyServer(words) as server:
        entered = security.authenticate(line, ADDRESS, server)
        return security.read_purse(line, ADDRESS, server, entered)


def with_other_money(request: dlt645.Frame, reply: bytes | None) -> bytes | None:
    """Return a purse of 999.99 yuan in place of what the module tells, with its MACs."""
    if reply is None or request.data[:4] != PURSE_NAME:
        return reply
    told = dlt645.parse(reply)
    data = told.data[:4] + (99_999).to_bytes(4, "little") + told.data[8:]
    return dlt645.build(told.address, told.control, data)


def without_a_module(request: dlt645.Frame, _reply: bytes | None) -> bytes | None:
    """Answer everything of function 03H as a box without any key would."""
    data = request.data[:4] + (bytes(26) if request.data[:4] == PURSE_NAME else bytes(12))
    return dlt645.build(ADDRESS, request.control | dlt645.FROM_METER, data)


@pytest.mark.parametrize("profile", ["state-grid", "southern-grid"])
def test_a_module_proves_the_money_that_it_holds(profile: str) -> None:
    purse = proven(Wire(meter_with_money(profile)))

    assert (purse.amount_fen, purse.count, purse.customer) == (10_000, 1, CUSTOMER)
    assert purse.is_proven


@pytest.mark.parametrize("box", [with_other_money, without_a_module])
def test_a_box_on_the_line_proves_nothing(box: Box) -> None:
    assert not proven(Wire(meter_with_money(), box)).is_proven


def test_a_recorded_answer_proves_what_was_so_then() -> None:
    """Not kept: the random number under the MACs is the meter's own, and who records has it."""
    recorded: dict[bytes, bytes | None] = {}

    def box(request: dlt645.Frame, reply: bytes | None) -> bytes | None:
        return recorded.setdefault(request.data[:4], reply)

    wire = Wire(meter_with_money(), box)
    assert proven(wire).amount_fen == 10_000
    wire.meter.authenticated_until_t2000 = -1
    wire.meter.wallet.credit_fen = 0
    later = proven(wire)
    assert (later.amount_fen, later.is_proven) == (10_000, True)


def test_a_key_server_with_other_keys_is_refused_by_name() -> None:
    with pytest.raises(AskError, match="refuses: ESAM check failed"):
        proven(Wire(meter_with_money()), f"{SERVER} another")


@contextmanager
def on(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have `dianka meter --port` reach this wire."""

    @contextmanager
    def port(*_words: Any) -> Iterator[Wire]:
        yield wire

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "Port", port)
        yield


def said(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, ["--port", "made-up", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_keys_are_shown_and_what_they_prove(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(meter_with_money())
    with on(wire, monkeypatch):
        status, shown = said("security", "17")
        assert (status, "key status word" in shown, "proven" in shown) == (0, True, False)
        status, shown = said("security", "17", "--key-server", SERVER)
    assert status == 0
    assert "its module 0011223344556677 has let the key server in" in shown
    assert "last update of a key: keys for tests, on the spot, key 0, version 0" in shown
    assert "proven by the module: 100.00 yuan after 1 purchases" in shown
    assert not wire.meter.authenticated


def test_a_meter_without_a_module_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it refuses is named by what was asked for: a refusal says no identifier."""
    with on(Wire(Meter(ADDRESS, profile=PROFILES["plain"])), monkeypatch):
        status, shown = said("security", "17")
        told = json.loads(said("--json", "security", "17")[1])
        read = said("--json", "read", "17", "04000508")
    assert status == 0
    row = next(line for line in shown.splitlines() if "04000508" in line)
    assert "key status word" in row
    assert "tells no status of keys, as one without a security module does" in shown
    refusals = told["answers"][0], json.loads(read[1])
    assert [(one["di"], one["name_en"], one["error"]["code"]) for one in refusals] == [
        ("04000508", "key status word", "02")
    ] * 2
    assert read[0] == 1


def test_a_box_is_told_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(meter_with_money(), with_other_money)
    with on(wire, monkeypatch):
        status, shown = said("--json", "security", "17", "--key-server", SERVER)
    assert status == 1
    assert '"proven": false' in shown
    assert "something else has answered for its security module" in shown
    assert not wire.meter.authenticated


def test_an_authentication_that_could_not_be_ended_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def box(request: dlt645.Frame, reply: bytes | None) -> bytes | None:
        return None if request.data[:4] == bytes.fromhex("FF020007") else reply

    with on(Wire(meter_with_money(), box), monkeypatch):
        status, shown = said("--timeout", "0.05", "security", "17", "--key-server", SERVER)
    assert status == 0
    assert "the authentication stays open until its time is over" in shown


@pytest.mark.parametrize("profile", ["state-grid", "southern-grid"])
def test_a_relay_moves_by_a_sealed_order_alone(
    monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    wire = Wire(meter_with_money(profile))
    monkeypatch.setenv(sessions.PASSWORD_VARIABLE, "02000000")
    moment = to_datetime(NOON_T2000)
    monkeypatch.setattr("host.cli.meter.order._now", lambda zone: moment)
    with on(wire, monkeypatch):
        status, shown = said("relay", "17", "trip", "--yes")
        assert (status, wire.meter.relay.open) == (1, False), shown
        words = ["--profile", profile] if profile != STATE_GRID else []
        status, shown = said(*words, "relay", "17", "trip", "--yes", "--key-server", SERVER)
    assert (status, wire.meter.relay.open) == (0, True), shown
    assert not wire.meter.authenticated


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("/nowhere/at-all", "cannot start the key server's program"),
        ("'", "cannot start the key server's program"),
        ("true", "has ended without an answer"),
        ("cat", "answers .identity., which is no answer to that"),
        ("sh -c 'read x; printf \"error \\033[2J no\\n\"; cat'", "refuses: .\\[2J no"),
        ("sleep 60", "gives no answer within 0.2 s"),
    ],
)
def test_a_program_that_is_no_key_server_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, words: str, why: str
) -> None:
    monkeypatch.setattr(key_server, "_WAIT_S", 0.2)
    wire = Wire(meter_with_money())
    with pytest.raises(KeyServerError, match=why):
        proven(wire, words)
    with on(wire, monkeypatch):
        status, shown = said("security", "17", "--key-server", words)
    assert (status, "Traceback" in shown, "\033" in shown) == (1, False, False)
    assert not wire.meter.authenticated


def test_a_meter_of_1997_has_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    with on(Wire(meter_with_money()), monkeypatch):
        status, shown = said("--standard", "1997", "security", "17")
    assert (status, "1997 has no order to security" in shown) == (2, True)


def test_a_meter_without_a_module_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with on(Wire(Meter(ADDRESS)), monkeypatch):
        status, shown = said("--timeout", "0.05", "security", "17", "--key-server", SERVER)
    assert (status, "refused: no such data" in shown, "no answer" in shown) == (1, True, True)
    assert orders.STATUS_3 in shown
