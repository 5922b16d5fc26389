"""Goal: what has once fallen stays mended: restored and copied databases, sales that come twice,
locks, full disks, clocks that are off, and numbers that no device has.

Method: each test is one of the cases that were tried on an early head-end, under its name: `he`,
`cpbak`, `e2e1`, `srv` and `sem`. Others are elsewhere: `kill9` in test_headend_server.py and, with
all that there is to kill, in test_headend_kills.py, `p12`, `p37` and `p41` in
test_headend_ownership.py, `robust` in test_headend_server.py, `dns` in test_boards_chip.py,
`alone`, `away` and `gapcharge` as scenarios in tests/sim/test_scenarios.py.
"""

import resource
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames.batch import Refusal
from host.frames.link import Kind, LinkReader
from host.headend import backup, journals, orders, ownership
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.reconcile import reconcile
from host.headend.store import Store
from host.headend.turn import Turn
from tests.host.uplink_world import (
    CONCENTRATOR,
    KEY,
    KEYS,
    Device,
    Village,
    account_name,
    acked,
    deliver,
    frame,
    hello,
    meter_address,
    refused,
    village_of,
)

NAME = account_name(0)


def run(*words: object) -> Result:
    """Run `dianka headend WORDS`."""
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "120"})


# --- he -----------------------------------------------------------------------------------------


def bought_five(folder: Path) -> tuple[Path, Village]:
    """Sell five orders; a copy is made before the fifth, and all are redeemed."""
    path = folder / "a.db"
    village = Village()
    village.meter(0)
    village.reading(0, 0)
    with Store(path, create=True) as store:
        ingest = Ingest(store, KEYS)
        deliver(ingest, village)
        for _ in range(4):
            orders.sell(store, NAME, 1000)
        backup.back_up(str(path), folder / "backup.db")
        assert orders.sell(store, NAME, 7000) == 5
        for amount_fen in (1000, 1000, 1000, 1000, 7000):
            village.top_up(0, amount_fen)
        village.reading(0, 50)
    return folder / "backup.db", village


def test_he_1_an_order_sold_after_the_copy_is_not_sold_again(tmp_path: Path) -> None:
    copy, village = bought_five(tmp_path)
    path = tmp_path / "b.db"
    assert run("restore-db", "--db", path, "--from", copy).exit_code == 0
    result = run("sell", "--db", path, "--account", NAME, "--amount", "20")
    assert (result.exit_code, "may have bought since" in result.output) == (1, True)
    with Store(path) as store:
        assert store.value("SELECT wanted_seq FROM concentrators") > 0
        deliver(Ingest(store, KEYS), village, 2)
        # Its records have come again, and they name an order that this database never sold.
        assert store.value('SELECT max("order") FROM top_ups') == 5
        differences = reconcile(store).differences
    assert any("never sold" in one for one in differences)
    result = run("sell", "--db", path, "--account", NAME, "--amount", "20")
    assert (result.exit_code, "may have bought since" in result.output) == (1, True)


def test_he_2_a_sale_that_is_repeated_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Store(path, create=True).close()
    words = ("sell", "--db", path, "--account", NAME, "--amount", "33", "--new")
    said = [run(*words, "--reference", "2026-1").output for _ in range(2)]
    assert ("order 1" in said[0], "it was sold before" in said[1]) == (True, True)
    with Store(path) as store:
        assert store.value("SELECT count(*) FROM orders") == 1


def test_he_3_a_writer_that_stays_is_named_and_lookers_do_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.headend.store.BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr("host.headend.database.BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "a.db"
    Store(path, create=True).close()
    words = ("sell", "--db", path, "--account", NAME, "--amount", "5", "--new")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = run(*words)
        assert (result.exit_code, result.output) == (1, "Error: database is locked\n")
        assert run("show", "--db", path).exit_code == 0
    turn = Turn(path)
    assert turn.take() is None
    result = run(*words)
    assert (result.exit_code, "another program is writing" in result.output) == (1, True)
    turn.give_back()
    assert run(*words).exit_code == 0


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_he_4_a_list_for_which_there_is_no_room_is_not_sold(tmp_path: Path) -> None:
    path, sales, out = tmp_path / "a.db", tmp_path / "sales.csv", tmp_path / "o.csv"
    with Store(path, create=True) as store:
        deliver(Ingest(store, KEYS), village_of(1, 1))
    lines = (f"{NAME},1.00,r{at}\n" for at in range(3000))
    sales.write_text("account,amount,reference\n" + "".join(lines))
    with disk_of(path.stat().st_size // 2):
        result = run("sell", "--db", path, "--file", sales, "--out", out)
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
    assert not out.exists()
    with Store(path) as store:
        assert store.value("SELECT count(*) FROM orders") == 0
    assert run("sell", "--db", path, "--file", sales, "--out", out).exit_code == 0


# --- cpbak --------------------------------------------------------------------------------------


def test_cpbak_a_plain_copy_does_not_agree_and_a_backup_is_whole(tmp_path: Path) -> None:
    path, plain, whole = (tmp_path / name for name in ("a.db", "plain.db", "whole.db"))
    with Store(path, create=True) as store:
        orders.sell(store, NAME, 10000)
        village = village_of(1, 3)
        deliver(Ingest(store, KEYS), village)
        shutil.copy(path, plain)  # what was written lately stands in a second file
        assert run("backup", "--db", path, "--out", whole).exit_code == 0
    result = run("reconcile", "--db", plain)
    assert (result.exit_code, "nothing was compared" in result.output) == (2, True)
    for one in (plain, whole):
        result = run("sell", "--db", one, "--account", NAME, "--amount", "5", "--new")
        assert (result.exit_code, "is a copy of a database" in result.output) == (1, True)
        assert run("restore-db", "--db", one).exit_code == 0
        result = run("sell", "--db", one, "--account", NAME, "--amount", "5", "--new")
        assert "restored" in result.output or one == plain, "its standing is awaited"
    result = run("reconcile", "--db", whole)
    assert (result.exit_code, "to the fen" in result.output) == (0, True)
    assert run("verify", "--db", whole).exit_code == 0
    for one in (path, whole):
        assert stat.S_IMODE(one.stat().st_mode) == 0o600


def test_cpbak_two_boards_with_one_number_and_key_are_known_apart(tmp_path: Path) -> None:
    first, second = one_meter(), Village()
    second.meter(0, "000000000099")
    for village in (first, second):
        for _ in range(5):
            village.reading(0, 3)
    with Store(tmp_path / "a.db", create=True) as store:
        ingest = Ingest(store, KEYS)
        deliver(ingest, first)
        other = {"journal": b"another!"}
        for kind, payload in ((Kind.HELLO, hello(1, 7)), (Kind.BATCH, second.batch())):
            answer = ingest.answer(frame(kind, 500, payload, **other), "test")
            assert refused(answer, 500, **other) == Refusal.OTHER_JOURNAL
        result = run("concentrators", "--db", tmp_path / "a.db")
        assert "dianka headend replace" in " ".join(result.output.replace("│", " ").split())
        first.reading(0, 3)
        assert deliver(ingest, first, 2) == first.durable_seq
        rows = store.rows("SELECT account, debit_fen FROM accounts")
        assert rows == [{"account": NAME, "debit_fen": 18}]


# --- e2e1 ---------------------------------------------------------------------------------------


def run_device(ingest: Ingest, device: Device, steps: int) -> None:
    """Let a device speak with the head-end until it is idle, at most for so many steps."""
    reader = LinkReader()
    for _ in range(steps):
        for one in reader.feed(device.step()):
            if answer := ingest.answer(one, "test"):
                device.hear(answer)
        if device.idle:
            return


def test_e2e1_what_a_new_board_wrote_waits_and_is_then_brought_to_the_right_accounts(
    tmp_path: Path,
) -> None:
    """Its first records were acknowledged unseen, 50 yuan among them, the rest on others' rows."""
    one, other = account_name(0), account_name(1)
    old, new = village_of(2, 0), Village()
    new.meter(0, other)
    new.meter(1, one)
    new.top_up(1, 5000)
    for at in range(6):
        new.reading(at % 2, 3)
    with Store(tmp_path / "a.db", create=True) as store:
        ingest = Ingest(store, KEYS)
        run_device(ingest, Device(old), 400)
        before = store.rows("SELECT * FROM accounts ORDER BY account")
        device = Device(new, journal=b"another!")
        run_device(ingest, device, 400)
        assert (device.session.reason, device.session.acked_seq) == (Refusal.OTHER_JOURNAL, 0)
        assert store.rows("SELECT * FROM accounts ORDER BY account") == before
        journals.replace(store, CONCENTRATOR)
        run_device(ingest, device, 4000)
        assert (device.idle, device.session.acked_seq) == (True, new.durable_seq)
        rows = store.rows('SELECT account, "row", credit_fen FROM accounts ORDER BY account')
        assert [tuple(row.values()) for row in rows] == [(one, 1, 5000), (other, 0, 10000)]
        kept = store.database.all(
            "SELECT seq > 4294967295, count(*) FROM records GROUP BY seq > 4294967295 ORDER BY 1"
        )
        assert kept == [(0, old.durable_seq), (1, new.durable_seq)]


# --- srv ----------------------------------------------------------------------------------------


def test_srv_a_lock_that_another_process_has_is_outlived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.headend.database.BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "a.db"
    village = village_of(2, 3)
    with Store(path, create=True) as store:
        for row in range(2):
            orders.sell(store, account_name(row), 10000)
        ingest = Ingest(store, KEYS)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ingest.answer(frame(Kind.BATCH, 1, village.batch()), "test")
            assert ingest.counters["store_failed"] == 1
        deliver(ingest, village, 2)
        result = reconcile(store)
        assert (result.differences, result.records) == ([], village.durable_seq)


# --- sem ----------------------------------------------------------------------------------------


def test_sem_1_a_replaced_device_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    one, other = account_name(0), account_name(1)
    old, new = Village(), Village()
    old.meter(0, one)
    old.meter(1, other)
    old.reading(0, 100)
    old.reading(1, 200)
    new.meter(0, other)
    new.meter(1, one)
    new.reading(0, 300)
    new.reading(1, 110)
    with Store(tmp_path / "a.db", create=True) as store:
        ingest = Ingest(store, KEYS)
        deliver(ingest, old)
        later = {"journal": b"another!"}
        greeting = frame(Kind.HELLO, 1, hello(1, new.durable_seq + 1), **later)
        assert refused(ingest.answer(greeting, "test"), 1, **later) == Refusal.OTHER_JOURNAL
        journals.replace(store, CONCENTRATOR)
        ingest.answer(frame(Kind.BATCH, 2, new.batch(), **later), "test")
        rows = store.rows('SELECT account, "row", debit_fen FROM accounts ORDER BY account')
        assert [tuple(row.values()) for row in rows] == [(one, 1, 110), (other, 0, 300)]
        assert reconcile(store).records == old.durable_seq + new.durable_seq


def test_sem_2_an_order_that_was_redeemed_is_not_sold_again_from_a_copy(tmp_path: Path) -> None:
    village = one_meter()
    with Store(tmp_path / "a.db", create=True) as store:
        ingest = Ingest(store, KEYS)
        assert orders.sell(store, NAME, 5000) == 1
        village.top_up(0, 5000)
        deliver(ingest, village)
        backup.back_up(store.address, tmp_path / "copy.db")
        assert orders.sell(store, NAME, 3000) == 2
        village.top_up(0, 3000)
        deliver(ingest, village, 2)
    with Store(tmp_path / "copy.db") as store:
        deliver(Ingest(store, KEYS), village, 50)
        with pytest.raises(StoreError, match="is a copy of a database"):
            orders.sell(store, NAME, 4000)
        with store.writing(adopting=True):  # and nobody has said that it was restored
            pass
        assert orders.sell(store, NAME, 4000) == 3


def test_sem_3_a_mistyped_sale_can_be_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Store(path, create=True) as store:
        deliver(Ingest(store, KEYS), one_meter())
    words = ("--db", path, "--account", NAME)
    assert run("sell", *words, "--amount", "5000", "--yes").exit_code == 0
    assert run("void", *words, "--order", "1", "--reason", "50, not 5000").exit_code == 0
    assert run("sell", *words, "--amount", "50").exit_code == 0
    with Store(path) as store:
        assert store.value("SELECT sum(amount_fen) FROM orders WHERE voided_at IS NULL") == 5000


def one_meter() -> Village:
    village = Village()
    village.meter(0)
    return village


def test_sem_4_an_account_that_moved_is_looked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Store(path, create=True) as store:
        ingest = Ingest(store, {**KEYS, 8: KEY})
        for concentrator in (CONCENTRATOR, 8):
            village = one_meter()
            ingest.answer(frame(Kind.BATCH, 1, village.batch(), concentrator=concentrator), "test")
        assert len(reconcile(store).differences) == 1
        ownership.move(store, NAME, 8, "Li", "the meter hangs there now")
        assert reconcile(store).differences == []
        rows = store.rows("SELECT concentrator, meter FROM accounts")
        assert rows == [{"concentrator": 8, "meter": meter_address(0)}]


def test_sem_5_a_key_reaches_the_accounts_of_its_own_concentrator_alone(tmp_path: Path) -> None:
    """Concentrator 8 claimed an account with a credit of 99999.00, and 7 went on upon it."""
    mine, others = one_meter(), Village()
    mine.reading(0, 4000)
    others.meter(0)
    others.top_up(0, 9_999_900)
    with Store(tmp_path / "a.db", create=True) as store:
        ingest = Ingest(store, {**KEYS, 8: KEY})
        deliver(ingest, mine)
        ingest.answer(frame(Kind.BATCH, 1, others.batch(), concentrator=8), "test")
        mine.reading(0, 100)
        deliver(ingest, mine, 2)
        rows = store.rows("SELECT concentrator, credit_fen, debit_fen, readings FROM accounts")
        assert [tuple(row.values()) for row in rows] == [(CONCENTRATOR, 0, 4100, 2)]
        (said,) = [one for one in reconcile(store).differences if "belongs to" in one]
        assert "2 records wait, 1 of them of money" in said


def test_sem_6_a_greeting_of_impossible_records_changes_nothing(tmp_path: Path) -> None:
    last = (1 << 32) - 1
    with Store(tmp_path / "a.db", create=True) as store:
        ingest = Ingest(store, KEYS)
        answer = ingest.answer(frame(Kind.HELLO, 1, hello(last, last)), "test")
        assert refused(answer, 1) == Refusal.MALFORMED
        assert acked(ingest.answer(frame(Kind.HELLO, 2, hello(1, 50)), "test"), 2) == 0
        assert store.value("SELECT count(*) FROM gaps") == 0


def test_sem_7_clocks_that_are_off_are_stored_and_break_nothing(tmp_path: Path) -> None:
    village = one_meter()
    times = (0, (1 << 32) - 1, (1 << 32) - 1, 800_000_000, 800_000_000)
    for t2000 in times:
        one = village.reading(0, 10)
        place = (one.seq, t2000, one.kind, one.flags, one.index)
        village.records[-1] = type(one)(*place, one.payload, one.fields)
    with Store(tmp_path / "a.db", create=True) as store:
        assert deliver(Ingest(store, KEYS), village) == village.durable_seq
        result = reconcile(store)
        assert store.value("SELECT debit_fen FROM accounts") == 50
        assert store.value("SELECT count(*) FROM readings") == 3
    assert result.readings_taken == 5
    said = [one for one in result.differences if "at the same second" in one]
    assert len(said) == 2, "what came twice for one second is a finding"
