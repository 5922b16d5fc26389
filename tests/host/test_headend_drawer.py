"""Goal: a cashier's day and a counter without a network work from the command line, and mistakes
end in one sentence.

Method: the commands run one after another on a database with two accounts.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import audit, drawer, figures, offline, orders, shifts
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.orders import Till
from host.headend.store import Store
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

NAME, OTHER = account_name(0), account_name(1)


@pytest.fixture(autouse=True)
def _laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "laptop"))


def take_words(store: Store, *accounts: str) -> tuple[object, ...]:
    """Return the words that lease accounts to this computer."""
    laptop = said("lease", "code").strip()
    words = ("lease", "take", "--db", store.address, "--counter", "laptop", "--laptop", laptop)
    return (*words, "--by", "Li", *(word for one in accounts for word in ("--account", one)))


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "160"})


def said(*words: object, code: int = 0) -> str:
    done = run(*words)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as one:
        for name in (NAME, OTHER):
            orders.sell(one, name, 10000)
        deliver(Ingest(one, KEYS), village_of(2, 3))
        yield one


def test_a_day_is_opened_counted_and_handed_over(store: Store) -> None:
    db = ("--db", store.address)
    li = (*db, "--cashier", "Li")
    assert "open with 200.00" in said("drawer", "open", *li, "--cash", 200)
    assert "open already" in said("drawer", "open", *li, code=1)
    said("sell", *li, "--account", NAME, "--amount", 50)
    said("sell", *li, "--account", NAME, "--amount", 7)
    said("void", *li, "--account", NAME, "--order", 3, "--reason", "typo")
    said("sell", *li, "--account", OTHER, "--amount", 9, "--channel", "scan")
    assert "150.00 yuan are" in said("drawer", "move", *li, "--out", 100, "--reason", "bank")
    assert "give --in or --out" in said("drawer", "move", *li, "--reason", "x", code=2)
    assert "so much cash" in said("drawer", "move", *li, "--out", 151, "--reason", "x", code=1)
    assert "count again" in said("drawer", "close", *li, "--counted", 149, code=1)
    told = said("drawer", "close", *li, "--counted", 149, "--reason", "lost", "--hand-to", "Chen")
    assert "difference -1.00 yuan" in told
    digest = told.split()[-1]
    assert audit.has_digest(store, digest)
    assert "is not open" in said("drawer", "close", *li, "--counted", 0, code=1)
    rows = json.loads(said("drawer", "list", *db, "--json"))["shifts"]
    assert [(one["cashier"], one["expected_fen"]) for one in rows] == [
        *(("Li", 15000), ("Chen", 14900))
    ]
    assert "void" in said("drawer", "list", *db, "--shift", 1)


def test_a_refund_is_paid_out_once_and_only_when_it_is_taken_off(store: Store) -> None:
    words = ("drawer", "pay-out", NAME, "--db", store.address, "--cashier", "Li", "--order")
    order = orders.refund(store, NAME, 300, Till("Li"))
    assert "is not open" in said(*words, order, code=1)
    shifts.open_shift(store, "Li", 200)
    assert "is not redeemed" in said(*words, order, code=1)
    assert "is no refund" in said(*words, 1, code=1)
    with store.writing() as database:
        database.run('UPDATE accounts SET "order" = ? WHERE account = ?', (order, NAME))
    assert "so much cash" in said(*words, order, code=1)
    shifts.move_cash(store, "Li", 200, "change")
    assert "pay out 3.00" in said(*words, order)
    shifts.move_cash(store, "Li", 900, "change")
    assert "paid out before" in said(*words, order, code=1)


def test_a_laptop_sells_what_it_leased_and_brings_it_back(store: Store, tmp_path: Path) -> None:
    db, log = ("--db", store.address), tmp_path / "one.lease"
    take = take_words(store, NAME)
    said(*take, "--quota", 100, "--numbers", 3, "--out", log)
    assert "is leased to laptop" in said("sell", *db, "--account", NAME, "--amount", 5, code=1)
    more = ("--quota", 1, "--out", tmp_path / "two.lease")
    assert "is leased to laptop" in said(*take, *more, code=1)
    assert not (tmp_path / "two.lease").exists()
    sell = ("lease", "sell", log)
    assert "order 2" in said(*sell, NAME, "--amount", 60)
    assert "the lease is for 100.00" in said(*sell, NAME, "--amount", 41, code=1)
    assert "not in this lease" in said(*sell, OTHER, "--amount", 1, code=1)
    assert "order 3" in said(*sell, NAME, "--amount", 40)
    said("lease", "void", log, NAME, "--order", 3, "--reason", "typo")
    again = said("lease", "void", log, NAME, "--order", 3, "--reason", "typo", code=1)
    assert "only the newest" in again
    sold = json.loads(said(*sell, NAME, "--amount", 30, "--json"))
    assert (sold["order"], sold["supersedes"]) == (4, 3)
    assert "used up" in said(*sell, NAME, "--amount", 1, code=1)
    shutil.copy(log, tmp_path / "copy.lease")
    copied = said("lease", "sell", tmp_path / "copy.lease", NAME, "--amount", 1, code=1)
    assert "is a copy" in copied
    assert "60.00" in said("lease", "show", log)
    back = ("lease", "return", log, *db, "--by", "Li", "--counted")
    assert "is not open" in said(*back, 90, code=1)
    assert "count again" in said(*back, 89, code=1)
    shifts.open_shift(store, "Li", 1000)
    assert "3 orders are taken over: 90.00 yuan sold, 89.50" in said(
        *back, 89.5, "--reason", "lost"
    )
    assert "is not out" in said(*back, 90, code=1)
    assert audit.entries(store, action="lease back")[0]["amount_fen"] == 8950
    assert '"expected_fen": 9950' in said("drawer", "list", *db, "--json")
    said("void", *db, "--cashier", "Li", "--account", NAME, "--order", 4, "--reason", "typo")
    with store.database.looking():
        shift = drawer.open_shift_of(store.database, "Li")
        assert drawer.cash_within(store.database, shift) == 1000 + 8950 - 3000
    rows = json.loads(said("orders", NAME, *db, "--json"))["orders"]
    assert [(one["order"], one["channel"], one["supersedes"]) for one in rows[1:]] == [
        *((2, "offline", 0), (3, "offline", 0), (4, "offline", 3), (5, "counter", 3))
    ]
    assert "back" in said("lease", "list", *db)
    said("sell", *db, "--account", NAME, "--amount", 5)


def test_a_lease_sells_on_its_laptop_alone_and_from_one_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, copy = tmp_path / "one.lease", tmp_path / "copy.lease"
    said(*take_words(store, NAME), "--quota", 100, "--out", log)
    shutil.copy(log, copy)  # before anything was sold from it
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    sell = ("lease", "sell", copy, NAME, "--amount", 1)
    assert "this lease is for laptop" in said(*sell, code=1)
    shutil.copytree(tmp_path / "laptop", tmp_path / "other", dirs_exist_ok=True)
    monkeypatch.setattr(offline, "_machine", lambda: "another computer")
    assert "this lease is for laptop" in said(*sell, code=1), "its secret was copied too"
    monkeypatch.undo()
    monkeypatch.setenv("DIANKA_LANG", "en")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "laptop"))
    assert "order 2" in said("lease", "sell", log, NAME, "--amount", 1)
    assert "is a copy" in said(*sell, code=1)
    before = log.read_bytes()
    assert "order 3" in said("lease", "sell", log, NAME, "--amount", 1)
    log.write_bytes(before)  # in the same place
    assert "older than what was sold" in said("lease", "sell", log, NAME, "--amount", 1, code=1)
    (tmp_path / "laptop" / "dianka" / "laptop.key").write_bytes(b"short")
    assert "is damaged" in said("lease", "code", code=1)
    assert "is no code" in said(
        *("lease", "take", "--db", store.address, "--counter", "a", "--laptop", "x"),
        *("--account", NAME, "--by", "Li", "--quota", 1, "--out", copy),
        code=2,
    )


def test_the_log_of_a_lease_shows_each_change(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "one.lease"
    said(*take_words(store, NAME), "--quota", 100, "--out", log)
    for fen in (100, 200):
        offline.sell(log, NAME, fen, "Li")
    text = log.read_text()
    lines = text.splitlines()
    changed = (
        text.replace('"amount_fen": 100', '"amount_fen": 900'),
        text.replace('"quota_fen": 10000', '"quota_fen": 99999'),
        "\n".join(lines[:2] + lines[3:]) + "\n",
        "\n".join([*lines, lines[-1]]) + "\n",
        "nonsense\n",
        "",
    )
    for one in changed:
        with pytest.raises(StoreError, match="is not whole"):
            offline.parse(one.splitlines())
    log.write_text(text + '{"kind": "sa')  # the power went within a line
    assert offline.sell(log, NAME, 300, "Li").order == 4


def test_a_laptop_that_never_comes_back_is_given_up(store: Store, tmp_path: Path) -> None:
    db, log = ("--db", store.address), tmp_path / "one.lease"
    said(*take_words(store, NAME), "--quota", 100, "--numbers", 5, "--out", log)
    offline.sell(log, NAME, 100, "Li")
    said("lease", "give-up", 1, *db, "--by", "Chen", "--reason", "stolen")
    assert "is not out" in said("lease", "return", log, *db, "--by", "Li", "--counted", 1, code=1)
    told = json.loads(said("sell", *db, "--account", NAME, "--amount", 5, "--json"))
    assert told["order"] == 7, "above all that the laptop may have sold"
    sold = orders.find_order(store, NAME)
    assert sold is not None
    assert sold.supersedes == 2


def test_figures_name_who_owes_who_runs_low_and_where_sums_are_off(store: Store) -> None:
    db = ("--db", store.address)
    for what in ("districts", "collection", "arrears", "low", "not-bought", "doubt", "sums"):
        said("figures", what, *db)
    with store.writing() as database:
        database.run(
            "UPDATE accounts SET debit_fen = credit_fen + 250, stopped = 1 WHERE account = ?",
            (NAME,),
        )
    ((owed, days),) = ((one["owed_fen"], one["days"]) for one in figures.arrears(store))
    assert (owed, days) == (250, None)
    rates = figures.collection(store)
    assert rates["owed_fen"] == 250
    assert rates["rate_e4"] < 10_000
    assert [one["account"] for one in figures.in_doubt(store)] == [NAME]
    assert figures.not_bought(store, 1) == []
    assert "2.50" in said("figures", "arrears", *db)
    with store.writing() as database:
        database.run("UPDATE top_ups SET amount_fen = amount_fen + 1 WHERE account = ?", (OTHER,))
    assert OTHER in said("figures", "sums", *db, code=1)


def test_all_that_was_due_and_paid_is_a_hundred_per_cent(store: Store) -> None:
    # The year of a power company: 1,271,978.82 yuan due and collected.
    with store.writing() as database:
        database.run("UPDATE accounts SET credit_fen = 0, debit_fen = 0")
        for name, fen in ((NAME, 100_000_000), (OTHER, 27_197_882)):
            database.run(
                "UPDATE accounts SET credit_fen = ?, debit_fen = ? WHERE account = ?",
                (fen, fen, name),
            )
    told = figures.collection(store)
    assert told == {"charged_fen": 127_197_882, "owed_fen": 0, "rate_e4": 10_000}
    with store.writing() as database:
        database.run("UPDATE accounts SET credit_fen = credit_fen - 1 WHERE account = ?", (NAME,))
    assert figures.collection(store)["rate_e4"] == 9_999, "one fen is missing"
