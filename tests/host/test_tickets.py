"""Goal: an alarm becomes one ticket, and how the ticket ends decides about the alarm.

Method: the functions of tickets on a village with open findings, and the pages of a station.
"""

import csv
import io
import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import openpyxl
import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import alarms, complaints, due_work, registry, tickets
from host.headend.complaints import Said
from host.headend.due_work import Wanted
from host.headend.errors import StoreError
from host.headend.store import Store
from host.headend.tickets import Work
from tests.host.page_station import ACCOUNT, served, signed_in, village_made
from tests.host.uplink_world import account_name, meter_address

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
    assert (alarms.alarms(store)[0]["households"], is_open(store, key)) == (1, True)
    number = tickets.open_ticket(store, "relay", key, 0, "Chen", "Li")
    assert tickets.open_ticket(store, "relay", key, 1, "Wu", "Li") == number, "one is enough"
    assert key not in [one["key"] for one in alarms.alarms(store) if one["kind"] == "relay"]
    (row,) = tickets.open_tickets(store)
    assert (row["priority"], row["due_at"] - row["opened_at"]) == (2, tickets.WITHIN_S[2])
    tickets.assign(store, number, "Wu", tickets.URGENT, "Li")
    assert tickets.open_tickets(store, "Chen") == []
    assert [one["priority"] for one in tickets.open_tickets(store, "Wu")] == [1]

    tickets.finish(store, number, Work("no spare meter", "", alarms.NOT_MENDED), "Wu")
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
    number = tickets.open_ticket(store, alarms.COMPLAINT, key, 0, "Wu", "Li")
    tickets.finish(store, number, Work("no ladder", "", alarms.NOT_MENDED), "Wu")
    again = tickets.open_ticket(store, alarms.COMPLAINT, key, 0, "Wu", "Li")
    tickets.finish(store, again, WORK, "Wu")
    assert complaints.complaints(store, open_only=True) == []


def test_where_most_money_is_owed_comes_first(store: Store) -> None:
    poor = account_name(1)
    store.database.run(
        "UPDATE accounts SET debit_fen = credit_fen + 900 WHERE account = ?", (poor,)
    )
    found(store, poor)
    found(store)
    first = alarms.alarms(store)[0]
    assert (first["account"], first["owed_fen"]) == (poor, 900)
    store.database.run("UPDATE concentrators SET seen_at = 0")
    silent = [one for one in alarms.alarms(store) if one["kind"] == alarms.SILENT]
    assert [(one["households"], one["owed_fen"]) for one in silent] == [(4, 900)]


def run(store: Store, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["headend", "tickets", *words, "--db", str(store.address)])
    return result.exit_code, result.output


def test_every_kind_of_alarm_can_be_a_ticket(store: Store) -> None:
    with store.writing() as database:
        gap = (("concentrator", "first_seq", "last_seq"), [(7, 500, 600)])
        database.insert_new("gaps", *gap)
        job = (7, "firmware 1.4", 5, "stopped", "silent 7")
        database.insert_new("jobs", ("job", "name", "given_at", "state", "why"), [job])
        database.run(
            'INSERT INTO top_ups (concentrator, seq, t2000, account, "order", amount_fen) '
            "VALUES (7, 9999, 5, ?, ?, ?)",
            (ACCOUNT, 9, 500),
        )
    kinds = {one["kind"]: one for one in alarms.alarms(store)}
    assert {"gap", "job", "order"} <= set(kinds)
    for kind in ("gap", "job", "order"):
        key = kinds[kind]["key"]
        number = tickets.open_ticket(store, kind, key, 0, "", "Li")
        assert key not in [one["key"] for one in alarms.alarms(store) if one["kind"] == kind]
        tickets.finish(store, number, Work("looked", "", tickets.NO_FAULT), "Wu")
    left = {one["kind"] for one in alarms.alarms(store)}
    assert left & {"gap", "job", "order"} == {"order"}, "the books still differ"
    store.database.run("UPDATE jobs SET why = 'back 7'")
    assert "job" in {one["kind"] for one in alarms.alarms(store)}, "it stopped again"


def test_the_command_does_what_the_page_does(store: Store, tmp_path: Path) -> None:
    key = found(store)
    code, said = run(store, "open", "relay", key, "--by", "Li", "--who", "Chen")
    assert (code, said) == (0, "ticket 1 is open\n")
    assert run(store, "take", "1", "--who", "Wu", "--priority", "1", "--by", "Li")[0] == 0
    (row,) = json.loads(run(store, "list", "--json")[1])["tickets"]
    assert (row["who"], row["priority"], row["households"]) == ("Wu", 1, 1)
    done = ("done", "1", "--said", "exchanged", "--outcome", "mended", "--by", "Wu")
    assert run(store, *done)[0] == 0
    assert not is_open(store, key)
    code, said = run(store, "open", "relay", key, "--by", "Li")
    assert (code, "this alarm is over" in said) == (1, True)
    out = tmp_path / "t.xlsx"
    assert run(store, "list", "--closed", "30", "--xlsx", str(out))[0] == 0
    head, line = openpyxl.load_workbook(out).active.iter_rows(values_only=True)
    told = dict(zip(head, line, strict=True))
    assert (told["ticket"], told["done"], told["outcome"]) == (1, "exchanged", "mended")


DUE = ("2026-01-01", "2026-02-01", "2026-03-01")


def test_results_of_a_batch_are_taken_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    for row, day in enumerate(DUE):
        store.database.run(
            "UPDATE devices SET due = ?, exchange_due = ? WHERE address = ?",
            (day, day if row == 0 else "", meter_address(row)),
        )
    until = Wanted(registry.VERIFICATION, date(2026, 2, 28))
    assert due_work.plan(store, "February", until, "Wu", "Li") == 2
    with pytest.raises(StoreError, match="each device has its ticket"):
        due_work.plan(store, "again", until, "Wu", "Li")
    assert [one["still_open"] for one in due_work.batches(store)] == [2]
    listed = run(store, "work-list", "February", "--csv")[1]
    rows = [*csv.DictReader(io.StringIO(listed))]
    filled = [("2026-02-10", "passed", "2034-02-10"), ("2026-02-11", "failed", "")]
    for row, (on, result, after) in zip(rows, filled, strict=True):
        row.update(done_on=on, result=result, next_due=after)

    def imported(*words: str) -> tuple[int, str]:
        path = tmp_path / "results.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return run(store, "results", str(path), "--by", "Li", *words)

    def dates() -> list[tuple[str, ...]]:
        query = "SELECT verified, due, exchange_due FROM devices ORDER BY address"
        return store.database.all(query)[:2]

    before = dates()
    rows[1]["result"] = "well"
    assert imported("--take")[0] == 1
    rows[1].update(result="exchanged")
    code, said = imported("--take")
    assert (code, "line 3" in said, dates() == before) == (1, True, True), "nothing half taken"
    rows[1].update(result="failed")
    code, said = imported()
    assert (code, "nothing is taken without --take" in said, dates() == before) == (0, True, True)
    assert imported("--take")[0] == 0
    assert dates() == [("2026-02-10", "2034-02-10", DUE[0]), ("", DUE[1], "2026-02-11")]
    assert [one["still_open"] for one in due_work.batches(store)] == [0]
    code, said = imported("--take")
    assert (code, "ticket 1 is closed" in said) == (1, True)


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


def test_a_batch_is_made_and_its_results_taken_on_a_page(tmp_path: Path) -> None:
    with served(tmp_path, "sqlite") as station:
        with Store(station.database) as store, store.database.writing():
            store.database.run("UPDATE devices SET due = '2026-01-01'")
        chief, clerk = signed_in(station, "engineer"), signed_in(station, "cashier")
        page = chief.get("/devices?until=2026-06-30")
        told = {**page.fields, "step": "plan", "batch": "June", "what": "verification"}
        assert chief.post("/batches", {**told, "most": "3"}).url == "/batches"
        token = clerk.get("/sell").fields
        assert clerk.post("/batches", {**token, "step": "plan"}).status == 403
        work = chief.get("/batches?batch=June&form=csv").text.lstrip("\ufeff").splitlines()
        assert len(work) == 4
        filled = [line[:-3] + "2026-05-05,passed,2034-05-05," for line in work[1:3]]
        body = "\n".join((work[0], *filled, work[3])).encode()
        seen = chief.upload("/batches", "results.csv", body)
        assert (seen.status, "2 results: nothing is taken yet" in seen.text) == (200, True)
        fields = {**seen.fields, "step": "take"}
        assert chief.post("/batches", fields).url == "/batches?taken=2"
        assert chief.post("/batches", fields).url == "/batches?taken=2", "once"
        with Store(station.database, read_only=True) as store:
            assert store.value("SELECT count(*) FROM devices WHERE due = '2034-05-05'") == 2
        bad = body.replace(b"passed", b"perfect")
        wrong = chief.upload("/batches", "results.csv", bad)
        assert (wrong.status, "line 2" in wrong.text) == (400, True)
        listed = chief.get("/tickets?form=csv")
        assert (listed.headers["Content-Type"][:8], listed.text.count("\n")) == ("text/csv", 4)
