"""Goal: a sale counts once, can be taken back in time, and can be found; backups are whole.

Method: the commands run as a clerk and an operator type them, on a small village's database.
"""

import csv
import io
import json
import shutil
import sqlite3
import stat
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames import batch
from host.frames.link import Kind
from host.frames.record import RecordKind
from host.headend import orders
from host.headend.ingest import Ingest
from host.headend.reconcile import reconcile
from host.headend.standing import standings
from host.headend.store import Store
from tests.host.uplink_world import (
    CONCENTRATOR,
    KEYS,
    Village,
    account_name,
    deliver,
    frame,
    hello,
    opened,
    village_of,
)

NAME = account_name(0)
EVENT_TOLD = {"what": 4, "state": 0, "value": 0}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Make two households without differences."""
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        for row in range(2):
            orders.sell(store, account_name(row), 10000)
        deliver(Ingest(store, KEYS), village_of(2, 5))
    return path


def run(*words: object, typed: str = "") -> Result:
    """Run `dianka headend WORDS`."""
    runner = CliRunner()
    return runner.invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "120"}, input=typed)


def sell(db: Path, amount: str, *words: str, typed: str = "") -> Result:
    return run("sell", "--db", db, "--account", NAME, "--amount", amount, *words, typed=typed)


def test_a_sale_under_a_reference_counts_once(db: Path) -> None:
    first = sell(db, "33", "--reference", "pos-7")
    assert first.output == f"order 2 of account {NAME}: 33.00 yuan\n"
    again = sell(db, "33", "--reference", "pos-7")
    assert again.output == f"order 2 of account {NAME}: 33.00 yuan, it was sold before\n"
    told = json.loads(sell(db, "33", "--reference", "pos-7", "--json").output)
    assert (told["order"], told["sold_before"]) == (2, True)
    other = sell(db, "34", "--reference", "pos-7")
    assert (other.exit_code, "amount differs" in other.output) == (1, True)
    assert sell(db, "33").output.startswith("order 3"), "without one it is another sale"
    assert sell(db, "1", "--reference", "").exit_code == 2


def test_much_money_is_asked_about_and_too_much_refused(db: Path) -> None:
    assert sell(db, "1000").exit_code == 0
    asked = sell(db, "1000.01", typed="n\n")
    assert (asked.exit_code, "nothing is sold" in asked.output) == (1, True)
    assert sell(db, "5000", typed="y\n").exit_code == 0
    assert sell(db, "5000", "--yes").exit_code == 0
    refused = sell(db, "100000.01", "--yes")
    assert (refused.exit_code, "are sold at once" in refused.output) == (1, True)
    with Store(db) as store:
        assert store.value("SELECT count(*) FROM orders") == 2 + 3


def void(db: Path, order: int, *words: str) -> Result:
    return run("void", "--db", db, "--account", NAME, "--order", order, "--reason", "typo", *words)


def test_a_mistyped_sale_is_taken_back_and_its_number_is_never_used_again(db: Path) -> None:
    sell(db, "5000", "--yes", "--cashier", "Li")
    sell(db, "1")
    refused = void(db, 2)
    assert (refused.exit_code, "take back order 3 first" in refused.output) == (1, True)
    assert void(db, 3).exit_code == void(db, 2, "--cashier", "Wang").exit_code == 0
    assert "order 4 of account" in sell(db, "50", "--reference", "r-1").output
    told = listed(db)
    assert [(one["order"], one["amount_fen"], one["voided_by"]) for one in told] == [
        (1, 10000, ""),
        (2, 500000, "Wang"),
        (3, 100, ""),
        (4, 5000, ""),
    ]
    assert [one["supersedes"] for one in told] == [0, 0, 0, 2]
    assert told[0]["redeemed_fen"] == 10000
    assert told[1]["void_reason"] == "typo"
    with Store(db) as store:
        assert reconcile(store).differences == []
        assert reconcile(store).total("unredeemed_fen") == 5000


def listed(db: Path) -> list[dict[str, Any]]:
    """Return the orders of the first household."""
    found: list[dict[str, Any]] = json.loads(run("orders", "1", "--db", db, "--json").output)[
        "orders"
    ]
    return found


@pytest.mark.parametrize(("order", "said"), [(1, "is redeemed"), (7, "there is no order 7")])
def test_what_cannot_be_taken_back(db: Path, order: int, said: str) -> None:
    result = void(db, order)
    assert (result.exit_code, said in result.output) == (1, True), result.output


def carded(db: Path, order: int) -> None:
    """Note that an order of the first household is on a card."""
    with Store(db) as store:
        orders.set_carded(store, NAME, order)


def test_a_sale_on_a_card_is_superseded_until_the_next_one_takes_its_place(db: Path) -> None:
    sell(db, "5000", "--yes")
    carded(db, 2)
    gone = void(db, 2)
    assert (gone.exit_code, "until order 3 has been inserted" in gone.output) == (0, True)
    assert [(one["order"], one["amount_fen"]) for one in listed(db)][2:] == [(3, 0)]
    with Store(db) as store:
        found = orders.find_order(store, NAME)
        assert found is not None
        assert (found.order, found.amount_fen, found.supersedes) == (3, 0, 2)
    refused = void(db, 3)
    assert (refused.exit_code, "has no money to take back" in refused.output) == (1, True)
    carded(db, 3)
    assert "order 4 of account" in sell(db, "50").output
    with Store(db) as store:
        found = orders.find_order(store, NAME)
        assert found is not None
        assert (found.order, found.amount_fen, found.supersedes) == (4, 5000, 2)
        assert reconcile(store).differences == []
    told = json.loads(void(db, 4, "--json").output)
    assert told == {"account": NAME, "order": 4, "voided_fen": 5000, "superseded_by": 5}


def test_a_card_that_came_back_needs_no_order_in_its_place(db: Path) -> None:
    sell(db, "60")
    carded(db, 2)
    gone = void(db, 2, "--card-returned")
    assert gone.output == f"order 2 of account {NAME} over 60.00 yuan is taken back\n"
    assert "order 3 of account" in sell(db, "50").output


def test_the_limits_of_the_station_are_set_and_kept(db: Path) -> None:
    told = json.loads(run("limits", "--db", db, "--json").output)
    assert told == {"question_fen": 100000, "limit_fen": 10000000, "day_limit_fen": 20000000}
    done = run("limits", "--db", db, "--question", "40", "--sale", "100", "--day", "150")
    assert done.output == (
        "asked about above 40.00, one sale at most 100.00, a day of an account 150.00\n"
    )
    assert run("limits", "--db", db, "--sale", "151").exit_code == 1
    assert sell(db, "40.01", typed="n\n").exit_code == 1
    assert sell(db, "100.01", "--yes").exit_code == 1
    with Store(db) as store, store.writing() as database:
        database.run("UPDATE orders SET sold_at = sold_at - 86400")
    assert sell(db, "100", "--yes").exit_code == 0
    refused = sell(db, "50.01", "--yes")
    assert (refused.exit_code, "bought 100.00 yuan today" in refused.output) == (1, True)
    assert sell(db, "50", "--yes").exit_code == 0
    path = db.with_name("sales.csv")
    path.write_text("account,amount,reference\n2,10,a\n2,100.01,b\n", encoding="utf-8")
    refused = run("sell", "--db", db, "--file", path, typed="y\n")
    assert (refused.exit_code, "sold at once" in refused.output) == (1, True)
    path.write_text("account,amount,reference\n2,10,a\n2,99,b\n", encoding="utf-8")
    asked = run("sell", "--db", db, "--file", path, typed="n\n")
    assert (asked.exit_code, "1 of 2 sales are above 40.00 yuan" in asked.output) == (1, True)
    assert run("sell", "--db", db, "--file", path, typed="y\n").exit_code == 0


def test_a_reference_that_was_taken_back_is_not_sold_again_unseen(db: Path) -> None:
    sell(db, "60", "--reference", "r-9")
    void(db, 2)
    again = sell(db, "60", "--reference", "r-9")
    assert (again.exit_code, "was taken back" in again.output) == (1, True)


def test_a_day_is_the_stations_day(db: Path) -> None:
    with Store(db) as store, store.writing() as database:
        at = datetime(2026, 7, 1, 0, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
        database.run("UPDATE orders SET sold_at = ?", (int(at.timestamp()),))
    sell(db, "5", "--cashier", "Li", "--channel", "pos")
    listed = json.loads(run("day", "--db", db, "--date", "2026-07-01", "--json").output)["day"]
    assert [(one["cashier"], one["channel"], one["sales"], one["sold_fen"]) for one in listed] == [
        ("", "counter", 2, 20000)
    ]
    assert "nothing was sold" in run("day", "--db", db, "--date", "2026-06-30").output
    assert "Li" in run("day", "--db", db).output
    assert "2026-07-01 00:30:00" in run("orders", NAME, "--db", db).output


def test_lists_have_whole_figures_in_every_form(db: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("show", "--db", db, "--csv").output)))
    assert [(row["account"], row["balance_fen"]) for row in rows] == [
        (NAME, "9985"),
        (account_name(1), "9980"),
    ]
    one = json.loads(run("show", "--db", db, "--account", "2", "--json").output)["households"]
    assert [row["account"] for row in one] == [account_name(1)]
    assert json.loads(run("show", "--db", db, "--concentrator", "8", "--json").output) == {
        "households": []
    }
    assert run("show", "--db", db, "--csv", "--json").exit_code == 2


def test_who_is_there_is_told(db: Path) -> None:
    with Store(db) as store:
        ingest = Ingest(store, KEYS)
        ingest.answer(frame(Kind.HELLO, 9, hello(1, 31)), "10.1.2.3:4000")
        ingest.answer(frame(Kind.BATCH, 3, village_of(2, 5).batch()), "10.1.2.3:4000")
    (one,) = json.loads(run("concentrators", "--db", db, "--json").output)["concentrators"]
    assert (one["concentrator"], one["behind"], one["address"]) == (7, 14, "10.1.2.3:4000")
    assert one["refused"] == "message 3 of epoch 1 after 9 of epoch 1"
    assert one["seen_at"][:2] == "20"
    assert "message 3 of epoch 1 after 9 of epoch 1" in run("concentrators", "--db", db).output


def test_findings_are_open_until_somebody_says_why_they_are_well(db: Path) -> None:
    village = village_of(2, 5)
    village.reading(0, -2)
    with Store(db) as store:
        payload = village.batch(village.durable_seq)
        Ingest(store, KEYS).answer(frame(Kind.BATCH, 2, payload), "test")
        greeting = hello(21, 21)
        Ingest(store, KEYS).answer(frame(Kind.HELLO, 3, greeting), "test")
    assert run("reconcile", "--db", db).exit_code == 1
    result = run("findings", "--db", db, "--json")
    found = json.loads(result.output)["findings"]
    assert (result.exit_code, [one["kind"] for one in found]) == (1, ["mismatch", "gap"])
    assert f"debit of account {NAME} went back" in found[0]["what"]
    assert run("findings", "--db", db, "--kind", "gap", "--account", NAME).exit_code == 0
    for one in found:
        words = ("--resolve", one["number"], "--by", "Li", "--reason", "meter exchanged")
        assert run("findings", "--db", db, *words[:2]).exit_code == 2
        assert run("findings", "--db", db, *words).exit_code == 0
        assert run("findings", "--db", db, *words).exit_code == 1, "it is closed already"
    assert run("findings", "--db", db).exit_code == 0
    closed = json.loads(run("findings", "--db", db, "--all", "--json").output)["findings"]
    who = {(one["resolved_by"], one["resolution"]) for one in closed}
    assert who == {("Li", "meter exchanged")}
    assert "went back" not in run("reconcile", "--db", db).output


def test_nothing_to_compare_is_no_agreement(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    run("init", "--db", path)
    result = run("reconcile", "--db", path)
    assert result.exit_code == 2
    assert "nothing was compared" in result.output
    assert "agrees" not in result.output


# --- backups -------------------------------------------------------------------------------------


def test_a_backup_is_whole_while_the_database_is_used(db: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with Store(db) as store:
        order = orders.sell(store, NAME, 7000)
        shutil.copy(db, tmp_path / "plain.db")
        assert run("backup", "--db", db, "--out", copy).exit_code == 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with Store(copy, read_only=True) as store:
        assert orders.find_order(store, NAME) is not None
        assert store.value('SELECT max("order") FROM orders') == order
    told = json.loads(run("verify", "--db", copy, "--json").output)
    assert (told["records"], told["orders"]) == (16, 3)
    again = run("backup", "--db", db, "--out", copy)
    assert (again.exit_code, "is there already" in again.output) == (1, True)
    assert run("backup", "--db", db, "--out", tmp_path / "no" / "copy.db").exit_code == 1


def test_a_damaged_copy_is_told(db: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    run("backup", "--db", db, "--out", copy)
    content = bytearray(copy.read_bytes())
    with closing(sqlite3.connect(copy)) as file:
        (page,) = file.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'orders'"
        ).fetchone()
    content[(page - 1) * 4096 : (page - 1) * 4096 + 200] = bytes(200)
    copy.write_bytes(content)
    assert run("verify", "--db", copy).exit_code == 1
    result = run("restore-db", "--db", tmp_path / "new.db", "--from", copy)
    assert result.exit_code == 1
    assert not (tmp_path / "new.db").exists()


def test_nothing_is_sold_after_a_restore_until_the_standing_is_told(
    db: Path, tmp_path: Path
) -> None:
    """Only the concentrator knows the order that was sold after the copy."""
    copy, new = tmp_path / "copy.db", tmp_path / "new.db"
    run("backup", "--db", db, "--out", copy)
    assert run("restore-db", "--db", new, "--from", copy).exit_code == 0
    for account in (NAME, account_name(7)):
        result = run("sell", "--db", new, "--account", account, "--amount", "5", "--new")
        assert (result.exit_code, "may have bought since" in result.output) == (1, True)
    with Store(new) as store:
        ingest = Ingest(store, KEYS)
        greeting = frame(Kind.HELLO, 2, hello(1, 17))
        one = batch.parse_welcome(opened(ingest.answer(greeting, "test"), 2))
        assert one.wants, "it is asked as soon as it calls"
        told = standings(store, CONCENTRATOR)
        village = Village(first_seq=17)
        for row, known in enumerate(told):
            fields = {**known.fields[RecordKind.STANDING], "order": 2, "source": 3}
            village.write(RecordKind.STANDING, fields, row)
        village.write(RecordKind.EVENT, EVENT_TOLD, 0xFFFF)
        told_all = frame(Kind.BATCH, 3, village.batch(17))
        one = batch.parse_ack(opened(ingest.answer(told_all, "test"), 3))
        assert not one.wants
    result = run("sell", "--db", new, "--account", NAME, "--amount", "5")
    assert result.output == f"order 3 of account {NAME}: 5.00 yuan\n"
    result = run("sell", "--db", new, "--account", account_name(7), "--amount", "5", "--new")
    assert result.exit_code == 0, "whoever is known to no concentrator bought nothing"


def test_old_records_are_rolled_up_and_the_books_still_agree(db: Path) -> None:
    with Store(db) as store, store.writing() as database:
        database.run("UPDATE records SET received_at = received_at - 100 * 86400 WHERE seq <= 9")
    result = run("retain", "--db", db, "--days", "62")
    assert result.output == "9 records are rolled up\n"
    with Store(db) as store:
        found = reconcile(store)
        assert (found.differences, found.records, found.readings_taken) == ([], 16, 12)
        assert store.value("SELECT count(*) FROM records") == 7
        deliver(Ingest(store, KEYS), village_of(2, 5), 2)
        assert reconcile(store).differences == []


def test_old_readings_are_kept_for_ever_or_as_told(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> list[int]:
        with Store(db) as store:
            assert reconcile(store).differences == []
            tables = ("records", "readings", "items", "freezes", "orders")
            return [store.value(f"SELECT count(*) FROM {table}") for table in tables]

    with Store(db) as store, store.writing() as database:
        for table, more in (("items", '"values", identifier'), ("freezes", "registers_wh")):
            names = f"day, meter, t2000, concentrator, seq, account, {more}"
            told = "'[1]', 'ABCDEF01'" if table == "items" else "'[1]'"
            database.run(
                f"INSERT INTO {table} ({names}) "
                f"SELECT day, meter, t2000, concentrator, seq, account, {told} FROM readings"
            )
    assert kept() == [16, 12, 12, 12, 2]
    assert run("retain", "--db", db).output == "0 records are rolled up\n"
    assert kept() == [16, 12, 12, 12, 2]
    monkeypatch.setattr("host.headend.retain._PIECE", 5)
    result = run("retain", "--db", db, "--readings-days", "1")
    assert "24 answers of meters are deleted" in result.output
    assert kept() == [16, 0, 0, 12, 2]
    result = run("retain", "--db", db, "--freezes-days", "1")
    assert "12 midnights of meters are deleted" in result.output
    with Store(db) as store, store.writing() as database:
        database.run("UPDATE records SET received_at = received_at - 100 * 86400")
    assert "16 records are rolled up" in run("retain", "--db", db).output
    assert kept() == [0, 0, 0, 0, 2]
