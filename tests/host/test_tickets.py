"""Goal: an alarm becomes one ticket, and how the ticket ends decides about the alarm.

Method: the functions of tickets on a village with open findings, and the pages of a station.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.headend import complaints, tickets
from host.headend.complaints import Said
from host.headend.errors import StoreError
from host.headend.store import Store
from host.headend.tickets import Work
from tests.host.page_station import ACCOUNT, served, signed_in, village_made
from tests.host.uplink_world import account_name

pytestmark = pytest.mark.slow

STUCK = "the relay of account {account} is closed and should be open"
WORK = Work("contacts cleaned", "", tickets.MENDED)


def found(store: Store, account: str = ACCOUNT, kind: str = "relay") -> str:
    """Open a finding; return its number."""
    what = json.dumps({"text": STUCK, "account": account})
    now = int(time.time())
    columns = ("concentrator", "seq", "kind", "account", "what", "found_at")
    database = store.database  # a head-end may serve it
    with database.writing():
        newest = int(database.value("SELECT max(id) FROM findings") or 0)
        database.insert_new("findings", columns, [(7, 900 + newest, kind, account, what, now)])
        return str(database.value("SELECT max(id) FROM findings"))


def is_open(store: Store, key: str) -> bool:
    return bool(
        store.value("SELECT 1 FROM findings WHERE id = ? AND resolved_at IS NULL", (int(key),))
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as made:
        village_made(made)
        yield made


def test_how_a_ticket_ends_decides_about_its_alarm(store: Store) -> None:
    key = found(store)
    assert (tickets.alarms(store)[0]["households"], is_open(store, key)) == (1, True)
    number = tickets.open_ticket(store, "relay", key, 0, "Chen", "Li")
    assert tickets.open_ticket(store, "relay", key, 1, "Wu", "Li") == number, "one is enough"
    assert key not in [one["key"] for one in tickets.alarms(store) if one["kind"] == "relay"]
    (row,) = tickets.open_tickets(store)
    assert (row["priority"], row["due_at"] - row["opened_at"]) == (2, tickets.WITHIN_S[2])
    tickets.assign(store, number, "Wu", tickets.URGENT, "Li")
    assert tickets.open_tickets(store, "Chen") == []
    assert [one["priority"] for one in tickets.open_tickets(store, "Wu")] == [1]

    tickets.finish(store, number, Work("no spare meter", "", tickets.NOT_MENDED), "Wu")
    assert (is_open(store, key), tickets.repairs(store, 0, 1 << 40).mended) == (True, 0)
    again = tickets.open_ticket(store, "relay", key, 0, "Wu", "Li")
    store.database.run(
        "UPDATE tickets SET opened_at = opened_at - 3600 WHERE ticket = ?", (again,)
    )
    tickets.finish(store, again, WORK, "Wu")
    assert not is_open(store, key)
    tickets.finish(store, again, WORK, "Wu")  # the phone sends it again
    with pytest.raises(StoreError, match="was closed by Wu meanwhile: mended"):
        tickets.finish(store, again, Work("another", "", tickets.NO_FAULT), "Li")
    assert not is_open(store, key)
    repairs = tickets.repairs(store, 0, 1 << 40)
    assert (repairs.mended, repairs.in_time, 3600 <= repairs.mean_s < 3660) == (1, 1, True)
    with pytest.raises(StoreError, match="this alarm is over"):
        tickets.open_ticket(store, "relay", key, 0, "Wu", "Li")


def test_a_complaint_is_closed_with_its_ticket(store: Store) -> None:
    said = Said(next(iter(complaints.KINDS)), "no light", "east street", ACCOUNT)
    key = str(complaints.enter_complaint(store, said, "Li"))
    number = tickets.open_ticket(store, tickets.COMPLAINT, key, 0, "Wu", "Li")
    tickets.finish(store, number, Work("no ladder", "", tickets.NOT_MENDED), "Wu")
    again = tickets.open_ticket(store, tickets.COMPLAINT, key, 0, "Wu", "Li")
    tickets.finish(store, again, WORK, "Wu")
    assert complaints.complaints(store, open_only=True) == []


def test_where_most_money_is_owed_comes_first(store: Store) -> None:
    poor = account_name(1)
    store.database.run(
        "UPDATE accounts SET debit_fen = credit_fen + 900 WHERE account = ?", (poor,)
    )
    found(store, poor)
    found(store)
    first = tickets.alarms(store)[0]
    assert (first["account"], first["owed_fen"]) == (poor, 900)
    store.database.run("UPDATE concentrators SET seen_at = 0")
    silent = [one for one in tickets.alarms(store) if one["kind"] == tickets.SILENT]
    assert [(one["households"], one["owed_fen"]) for one in silent] == [(4, 900)]


def test_a_technician_closes_a_ticket_on_a_phone(tmp_path: Path) -> None:
    with served(tmp_path, "sqlite") as station:
        with Store(station.database) as store:
            key = found(store)
        chief, clerk = signed_in(station, "engineer"), signed_in(station, "cashier")
        assert f"/tickets/new?kind=relay&amp;key={key}" in chief.get("/tickets").text
        page = chief.get(f"/tickets/new?kind=relay&key={key}")
        made = chief.post("/tickets/new", {**page.fields, "who": "Wu", "priority": "1"})
        assert (made.url, "dianka meter" in made.text) == ("/tickets/1", True)
        told = {**made.fields, "step": "done", "said": "exchanged", "parts": "1 meter"}
        assert chief.post("/tickets/1", told).status == 409, "it does not say how it ended"
        refused = clerk.post("/tickets/1", {**clerk.get("/sell").fields, **told})
        assert refused.status == 403
        closed = chief.post("/tickets/1", {**told, "outcome": "mended"})
        assert (closed.status, "1 meter" in closed.text) == (200, True)
        assert chief.post("/tickets/1", {**told, "outcome": "mended"}).status == 200
        assert "1 mended in 30 days" in chief.get("/tickets").text
        with Store(station.database, read_only=True) as store:
            assert not is_open(store, key)
