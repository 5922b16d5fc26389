"""Goal: the station says what it keeps of persons, gives it to them, and forgets it in time.

Method: persons with marked names, telephones and words have accounts, notices, complaints, tickets
and papers. An export has all of one person and nothing of who had the account before; behind an
erasure no table of the database has a mark any more, and money is as it was. Pages and commands
are used with marked words, which no log, address or entry of the audit log may have.
"""

import json
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import (
    alarms,
    audit,
    complaints,
    household_links,
    life,
    notices,
    orders,
    persons,
    registry,
    retention,
    rooms,
    tickets,
)
from host.headend.complaints import Said
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.life import Act
from host.headend.registry import Entry
from host.headend.rooms import Tenant
from host.headend.store import Store
from host.units import DAY_S
from tests.host.page_station import served, signed_in
from tests.host.uplink_world import KEYS, account_name, deliver, meter_address, village_of

pytestmark = pytest.mark.slow

ONE, OTHER, FULL = "000000000071", "000000000072", account_name(0)
LI = Act("Li", "asked for")
NOW = int(time.time())
MARKS = ("Zheng Mingli", "13912345678", "9 Osmanthus Lane", "zheng@post.example", "HUMS-LOUDLY")
NAME, PHONE, ADDRESS, EMAIL, WORDS = MARKS
BEFORE = "Qian Xiaoyu"
ZHENG = Entry(ONE, "C-71", NAME, PHONE, ADDRESS, persons=4, credit_class="B")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as one:
        yield one


def run(*words: str) -> Any:
    return CliRunner().invoke(cli, ["headend", *words])


def lived(store: Store) -> None:
    """Let a person take an account over from another one, and everything happen to it."""
    before = Entry(ONE, "C-70", BEFORE, "13800000000", "1 Old Street")
    life.open_account(store, before, [0], LI)
    notices.choose_notices(store, ONE, "qian@post.example", "", [], "asked")
    number = complaints.enter_complaint(store, Said("bill", "QIAN-SAYS", account=ONE), "Li")
    complaints.close_complaint(store, number, "Li", "explained")
    with store.writing() as database:  # all of that was a while ago
        moments = (("papers", "at"), ("complaints", "entered_at"), ("notices", "made_at"))
        for table, moment in moments:
            database.run(f"UPDATE {table} SET {moment} = {moment} - 900")
    life.transfer(store, ZHENG, LI)
    addresses = store.rows("SELECT * FROM notice_choices WHERE email <> ''")
    assert addresses == [], "of who is gone"
    notices.choose_notices(store, ONE, EMAIL, "", [], "asked")
    with store.writing() as database:
        told = {"place": f"{ADDRESS} {WORDS}", "since": "8:00", "until": "9:00"}
        notices.announce(database, notices.OUTAGE, [ONE], "outage 1", told)
        notices.announce(database, notices.OUTAGE_OFF, [ONE], "outage 2", told)
        told_one = database.value("SELECT id FROM notices WHERE event = 'outage 1'")
        sql = "UPDATE notices SET state = 'delivered', title = ?, text = ? WHERE id = ?"
        database.run(sql, (WORDS, NAME, told_one))
        row = (told_one, "sms", NOW, f"sent to {PHONE}")
        database.insert_new("notice_tries", ("notice", "way", "begun_at", "said"), [row])
    said = Said("meter", WORDS, ADDRESS, ONE, f"{NAME} {PHONE}")
    own = complaints.enter_complaint(store, said, "Li")
    said = Said("other", WORDS, ADDRESS, "", f"0086-{PHONE}")
    nobodys = complaints.enter_complaint(store, said, "Li")
    number = tickets.open_ticket(store, alarms.COMPLAINT, str(own), 0, "Chen", "Li")
    work = tickets.Work(f"oiled, {WORDS}", "oil", tickets.MENDED)
    tickets.finish(store, number, work, "Chen")
    complaints.close_complaint(store, nobodys, "Li", f"{NAME} was told")
    registry.stage_entries(store, "half", [ZHENG])


def where(store: Store, *marks: str) -> list[tuple[str, str]]:
    """Return the table and the mark of each text of the database that has one."""
    found = []
    for row in store.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for values in store.database.all(f'SELECT * FROM "{row["name"]}"'):
            text = json.dumps([str(one) for one in values], ensure_ascii=False)
            found += [(row["name"], mark) for mark in marks if mark in text]
    return found


def test_an_export_has_all_of_a_person_and_nothing_of_another(
    store: Store, tmp_path: Path
) -> None:
    lived(store)
    out = tmp_path / "person.json"
    db = ("--db", store.address)
    done = run("person", "export", "--account", ONE, "--out", str(out), *db)
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    text = out.read_text()
    assert [mark for mark in MARKS if mark not in text] == []
    assert [mark for mark in (BEFORE, "QIAN-SAYS", "qian@", "13800000000") if mark in text] == []
    told = json.loads(text)
    assert told["customer"]["persons"] == 4
    assert [one["account"] for one in told["accounts"]] == [ONE]
    names = "notices notice_tries notice_choices complaints tickets papers staged_entries audit"
    assert not {*names.split()} - {*told}
    assert len(told["complaints"]) == 2
    assert run("person", "export", "--account", ONE, "--out", str(out), *db).exit_code == 1
    assert "C-71" in str(audit.entries(store, action=persons.EXPORTED))
    assert run("person", "export", "--account", "5", "--out", "x", *db).exit_code == 1


def test_an_export_has_what_meters_told(store: Store) -> None:
    orders.sell(store, FULL, 10000)
    deliver(Ingest(store, KEYS), village_of(2, 5))
    registry.take(store, [Entry(FULL, "C-1", NAME, meter=meter_address(0))])
    told = persons.export(store, "C-1")
    assert len(told["readings"]) == 6
    assert {row["meter"] for row in told["readings"]} == {meter_address(0)}
    assert (len(told["orders"]), len(told["top_ups"])) == (1, 1)


def test_behind_an_erasure_nothing_has_the_person(store: Store) -> None:
    lived(store)
    with pytest.raises(StoreError, match="account 000000000071 is open"):
        persons.erase(store, "C-71", "Li", "asked for it", anyway=False)
    life.close_account(store, ONE, [0], LI)
    money = store.rows("SELECT * FROM orders")
    entries = len(audit.entries(store))
    db = ("--db", store.address)
    words = ("person", "erase", "--customer", "C-71", "--by", "Li", "--reason", "asked for it")
    done = run(*words, *db)
    assert done.exit_code == 0, done.output
    assert where(store, *MARKS) == []
    assert where(store, "QIAN-SAYS", "13800000000"), "of who had it before all is there"
    assert store.rows("SELECT * FROM orders") == money
    states = [one["state"] for one in store.rows("SELECT state FROM notices ORDER BY id")]
    assert states == [notices.WAITING, notices.DELIVERED, notices.LEFT_OUT, notices.LEFT_OUT]
    (entry,) = audit.entries(store)[entries:]
    assert (entry["action"], entry["detail"]["customer"]) == (persons.ERASED, "C-71")
    assert audit.verify(store).broken_at == 0
    assert run("person", "show", "--customer", "C-71", *db).exit_code == 0
    life.undo(store, max(one["number"] for one in life.papers(store, ONE)), LI)
    assert where(store, *MARKS) == [], "papers that go back bring nothing back"
    persons.erase(store, "C-70", "Li", "asked for it", anyway=False)
    assert where(store, BEFORE, "QIAN-SAYS", "13800000000", "1 Old Street") == []


def test_who_owes_or_is_owed_is_not_erased_unless_told(store: Store) -> None:
    orders.sell(store, FULL, 10000)
    deliver(Ingest(store, KEYS), village_of(1, 3))
    registry.take(store, [Entry(FULL, "C-1", NAME, PHONE, meter=meter_address(0))])
    complaints.enter_complaint(store, Said("bill", WORDS, account=FULL), "Li")
    life.close_account(store, FULL, [9_000], LI)
    household_links.set_station(store, "https://power.example", None, None)
    with pytest.raises(StoreError) as told:
        persons.erase(store, "C-1", "Li", "asked", anyway=False)
    for part in ("holds", "is not redeemed", "complaint 1 is open"):
        assert part in str(told.value)
    assert persons.erase(store, "C-1", "Li", "the court says so", anyway=True)
    assert where(store, NAME, PHONE, WORDS) == []
    with pytest.raises(StoreError, match="give a reason"):
        persons.erase(store, "C-1", "Li", " ", anyway=True)
    with pytest.raises(StoreError, match="no customer fits"):
        persons.erase(store, "C-9", "Li", "asked", anyway=True)


def test_a_tenant_is_a_person_for_the_time_in_the_room(store: Store) -> None:
    deliver(Ingest(store, KEYS), village_of(1, 0))
    with store.writing() as database:
        database.run("UPDATE accounts SET credit_fen = debit_fen")
    orders_before = store.rows("SELECT * FROM orders")
    wh = json.loads(store.value("SELECT registers_wh FROM accounts"))
    rooms.move_in(store, FULL, Tenant(NAME, PHONE, 5000), wh, "Li")
    assert where(store, NAME) != []
    assert [one for one in where(store, NAME, PHONE) if one[0] == "audit"] == []
    assert "a deposit of 50.00 yuan is held" in persons.person(store, f"{FULL}-1").against
    rooms.move_out(store, FULL, wh, "Li")
    persons.erase(store, f"{FULL}-1", "Li", "asked", anyway=True)
    assert where(store, NAME, PHONE) == []
    assert store.rows("SELECT * FROM orders") == orders_before


def test_what_is_too_old_is_erased_by_kind(store: Store) -> None:
    lived(store)
    life.close_account(store, ONE, [0], LI)
    deliver(Ingest(store, KEYS), village_of(1, 3))
    assert not any(retention.run(store, "cron").values()), "nothing is old yet"
    retention.set_retention(store, retention.NOTICES, 30, "Li", "it is enough")
    later = retention.run(store, "cron", NOW + 31 * DAY_S)
    assert (later["notices"], later["lists"], later["customers"]) == (1, 1, 0)
    assert ("notices", NAME) not in where(store, NAME)
    for kind in (retention.COMPLAINTS, retention.TICKETS):
        retention.set_retention(store, kind, 60, "Li", "it is enough")
    late = retention.run(store, "cron", NOW + 61 * DAY_S)
    assert (late["complaints"], late["tickets"], late["customers"]) == (3, 1, 0)
    assert {one[0] for one in where(store, WORDS, "QIAN-SAYS")} == {"notices"}, "one that waits"
    assert retention.run(store, "cron", NOW + 1100 * DAY_S)["customers"] == 2
    assert where(store, *MARKS, BEFORE, "QIAN-SAYS") == []
    assert "readings" not in late
    retention.set_retention(store, retention.READINGS, 100, "Li", "bills are proved")
    assert retention.run(store, "cron", NOW + 40_000 * DAY_S)["readings"] > 0
    assert not any(retention.run(store, "cron", NOW + 40_000 * DAY_S).values())
    assert len(audit.entries(store, action="retention run")) == 4


@pytest.mark.parametrize(
    ("kind", "days", "said"),
    [
        ("money", 30, "cannot be changed"),
        ("salaries", 30, "cannot be changed"),
        ("notices", 0, "1 to 36500"),
        ("notices", 99_999, "1 to 36500"),
    ],
)
def test_a_time_that_cannot_be_is_refused(store: Store, kind: str, days: int, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        retention.set_retention(store, kind, days, "Li", "why not")


def test_what_is_kept_is_listed_by_commands(store: Store) -> None:
    db = ("--db", store.address)
    words = ("keep", "notices", "--days", "180", "--by", "Li", "--reason", "it is enough")
    assert run("person", *words, *db).output == "notices: kept 180 days\n"
    listed = json.loads(run("person", "kept", *db, "--json").output)["kept"]
    assert {one["kind"]: one["days"] for one in listed}["notices"] == 180
    assert all(one["holds"] and one["why"] for one in listed)
    assert "for good" in run("person", "kept", *db).output
    assert "nothing was too old" in run("person", "retain", "--by", "cron", *db).output


@pytest.mark.slow
def test_nothing_personal_is_in_logs_addresses_or_the_audit_log(tmp_path: Path) -> None:
    with Store(tmp_path / "village.db", create=True) as store:
        lived(store)
    with served(tmp_path, "sqlite") as station:
        manager, admin = signed_in(station, "manager"), signed_in(station, "admin")
        addresses = []

        def sent(browser: Any, path: str, **fields: str) -> Any:
            answer = browser.post(path, {**browser.get(path).fields, **fields})
            addresses.append(answer.url)
            return answer

        page = "/personal-data"
        for mark in (NAME, PHONE):
            addresses.append(manager.found(mark).url)
            for path in ("/nowhere", page, "/complaints"):
                sent(manager, path, step=mark, customer=mark, account=mark, name=mark, q=mark)
        said = {"kind": "bill", "what": WORDS, "contact": PHONE, "place": ADDRESS}
        assert WORDS in sent(manager, "/complaints", step="enter", **said).text
        shown = sent(manager, page, step="look", account=ONE)
        assert NAME in shown.text
        assert "against erasing: account 000000000071 is open" in shown.text
        taken = sent(manager, page, step="take", customer="C-71")
        assert taken.headers["Content-Disposition"] == 'attachment; filename="dianka-person.json"'
        assert WORDS in taken.text
        refused = sent(manager, page, step="erase", customer="C-71", reason="asked for it")
        assert (refused.status, "is open" in refused.said) == (409, True)
        cashier = signed_in(station, "cashier")
        assert sent(cashier, page, step="look", account=ONE).status == 403
        assert sent(manager, page, step="set", kind="notices", days="9", reason="no").status == 403
        told = sent(admin, page, step="set", kind="notices", days="99", reason="enough")
        assert told.url == f"{page}?done=set"
        assert 'value="99"' in told.text
        manager.get("/imports/export.csv")
        db = ("--db", str(station.db))
        for words in (("show",), ("export", "--out", str(tmp_path / "one.json"))):
            assert run("person", *words, "--account", ONE, *db).exit_code == 0
            with suppress(FileNotFoundError):
                (tmp_path / "one.json").unlink()
            run("person", *words, "--customer", NAME, *db)
        done = sent(manager, page, step="erase", customer="C-71", reason="asked", anyway="1")
        assert done.url == f"{page}?done=erased"
        kept = manager.get("/h/kept")
        assert "what the station keeps of you" in kept.text
        assert "staff" not in kept.text
        with Store(station.db, read_only=True) as store:
            log = audit.entries(store)
        actions = {one["action"] for one in log}
        wanted = {persons.SEEN, persons.EXPORTED, persons.ERASED, "register taken", "retention"}
        assert wanted <= actions
        entries = json.dumps(log, ensure_ascii=False)
        for mark in MARKS:
            for text in (station.log.read_text(), entries, *addresses):
                assert mark not in text
                assert mark.replace(" ", "%20") not in text
                assert mark.replace(" ", "+") not in text
