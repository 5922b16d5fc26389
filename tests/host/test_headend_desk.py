"""Goal: whoever writes, the state of a serving head-end is never stale and no sale is made twice.

Method: `dianka headend serve` runs as a process; sales, refunds and all else are asked for from
this process, which is another one, while the head-end is killed and started again.
"""

import ast
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import backup, clerk, findings, orders, retain
from host.headend.desk import OPERATIONS
from host.headend.errors import SalesError, StoreError, StoreFailed
from host.headend.ingest import Ingest
from host.headend.orders import Sale, Till
from host.headend.reconcile import reconcile
from host.headend.store import Store
from host.headend.turn import Turn, reach
from host.words import speak
from tests.host.serving import HeadEnd, converse
from tests.host.uplink_world import KEYS, Device, account_name, deliver, village_of

HEAD_END = Path(orders.__file__).parent


@pytest.fixture
def head_end(tmp_path: Path) -> Iterator[HeadEnd]:
    running = HeadEnd(tmp_path)
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def run(*words: object) -> Result:
    """Run `dianka headend WORDS`."""
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "120"})


def test_whatever_writes_is_at_the_desk() -> None:
    assert clerk.Clerk, "its module imports all that have operations"
    writing = set()
    for path in HEAD_END.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and path.name != "store.py":
                source = ast.unparse(function)
                if "store.writing(" in source:
                    writing.add(function.name)
    # These call others: `sell_once` is a list of one for `sell_all`, pages look before they sell.
    inside = {"give_in_stages"}  # of `roll_out`, which is at the desk
    callers = {"sell_once", "sell_seen", "refund_seen", "step_seen"}
    assert writing - inside == set(OPERATIONS) - callers


def test_a_serving_head_end_does_what_others_ask_for(head_end: HeadEnd) -> None:
    device = Device(village_of(3, 4))
    one, other = account_name(0), account_name(1)
    with Store(head_end.db) as store:
        assert orders.sell(store, one, 10000, Till("Li", "counter")) == 1
        assert orders.sell_once(store, other, 10000, "r1").order == 1
        assert orders.sell_once(store, other, 10000, "r1").before
        sold = orders.sell_all(store, [Sale(account_name(2), 10000, "r2")], True)
        assert [(each.order, each.before, each.sale.reference) for each in sold] == [
            (1, False, "r2")
        ]
        with pytest.raises(SalesError) as refused:
            orders.sell_all(store, [Sale("999999999999", 1, "r3")])
        assert "known to no concentrator" in refused.value.troubles[0]
        with pytest.raises(StoreError, match="cannot be sold"):
            orders.sell(store, one, 0)
        with head_end.connect() as sock:
            converse(device, sock, until_idle=True)
        assert orders.refund(store, one, 100) == 2
        orders.set_carded(store, one, 2)
        gone = orders.void(store, one, 2, "typed wrongly", Till("Li"))
        assert (gone.amount_fen, gone.superseded_by) == (-100, 3)
        orders.set_limits(store, replace(orders.limits(store), question_fen=5))
        assert orders.limits(store).question_fen == 5
        assert retain.retain(store, 7, 0) == 0
        with pytest.raises(StoreError, match="no finding 9 is open"):
            findings.resolve(store, "9", "Li", "looked at")
        with pytest.raises(StoreFailed, match="serves"), store.writing():
            pass
        assert reconcile(store).ok
    head_end.end(signal.SIGTERM)
    assert "failed" not in head_end.log.read_text()


def test_refusals_come_in_the_language_of_who_asks(head_end: HeadEnd) -> None:
    speak("zh")
    try:
        with Store(head_end.db) as store, pytest.raises(StoreError, match="分"):
            orders.sell(store, account_name(0), 0)
    finally:
        speak("en")


def test_a_second_head_end_on_one_file_is_refused(head_end: HeadEnd) -> None:
    keys = head_end.keys
    result = run("serve", "--db", head_end.db, "--port", "0", "--keys", keys)
    assert result.exit_code == 1
    assert "another head-end serves" in result.output


def test_a_writer_that_does_not_end_is_named(tmp_path: Path, monkeypatch: object) -> None:
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        turn = Turn(path)
        assert turn.take() is None
        assert isinstance(monkeypatch, pytest.MonkeyPatch)
        monkeypatch.setattr("host.headend.store.BUSY_TIMEOUT_S", 0)
        with pytest.raises(StoreFailed, match="another program is writing"):
            orders.sell(store, account_name(0), 100)
        turn.give_back()
        assert orders.sell(store, account_name(0), 100) == 1
    assert (path.with_name("village.db.lock").stat().st_mode & 0o777) == 0o600
    assert reach("dianka-nobody") is None


def test_killed_while_it_sells_each_reference_is_sold_once(head_end: HeadEnd) -> None:
    """A till that had no answer asks again under the same reference, as people are told to."""
    chance = random.Random(4)
    ended = threading.Event()
    unanswered: list[str] = []
    done: dict[str, int] = {}

    def till(number: int) -> None:
        for at in range(60):
            reference = f"{number}-{at}"
            while reference not in done:
                try:
                    with Store(head_end.db) as store:
                        name = account_name(number)
                        done[reference] = orders.sell_once(store, name, 100, reference).order
                except StoreError as error:
                    unanswered.append(str(error))

    def killer() -> None:
        while not ended.is_set():
            time.sleep(chance.uniform(0.05, 0.3))
            head_end.end(signal.SIGKILL)
            head_end.start()

    tills = [threading.Thread(target=till, args=(number,)) for number in range(2)]
    killing = threading.Thread(target=killer)
    for thread in (*tills, killing):
        thread.start()
    for thread in tills:
        thread.join()
    ended.set()
    killing.join()
    assert all("ended before it answered" in one for one in unanswered)
    with Store(head_end.db) as store:
        rows = store.rows('SELECT account, "order", reference FROM orders ORDER BY id')
    assert len(rows) == 120
    assert {row["reference"]: row["order"] for row in rows} == done
    for number in range(2):
        mine = [row["order"] for row in rows if row["account"] == account_name(number)]
        assert mine == list(range(1, 61))


def test_state_is_read_again_when_another_program_has_written(tmp_path: Path) -> None:
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        ingest = Ingest(store, KEYS)
        village = village_of(1, 2)
        deliver(ingest, village)
        with closing(sqlite3.connect(path)) as other:
            other.execute("UPDATE accounts SET debit_fen = debit_fen - 5, credit_fen = 77")
            other.commit()
        village.reading(0, 3)
        deliver(ingest, village)
        assert store.value("SELECT credit_fen FROM accounts") == 77


def test_a_mark_reaches_the_state_of_the_head_end_that_serves(head_end: HeadEnd) -> None:
    village = village_of(1, 2)
    device = Device(village)
    with head_end.connect() as sock:
        converse(device, sock, until_idle=True)
    with Store(head_end.db) as store:
        backup.mark(store)
        village.reading(0, 3)
        device.session.reset()
        with head_end.connect() as sock:
            converse(device, sock, until_idle=True)
        assert store.value("SELECT standing_due FROM accounts") == 1
        assert store.value("SELECT wanted_seq FROM concentrators") > 0
        with pytest.raises(StoreError, match="this database was restored"):
            orders.sell(store, account_name(0), 100)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_is_not_listened_to(head_end: HeadEnd) -> None:
    address = Turn(head_end.db).take()
    assert address
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            line = reach(address)
            os._exit(0 if line is not None and not line.recv(1) else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
