"""Goal: what a concentrator tells of an account of another one changes nothing of it, and waits.

Method: concentrators 7 and 8 tell of one account, by theft, by a typo and because it moved; the
account is compared before and after. `p12`, `p37` and `p41` are cases that were tried on an early
head-end, under their names. On PostgreSQL, from part to part: test_headend_shards.py.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.cli.headend import restore
from host.frames.link import Kind
from host.frames.record import PAYLOAD_SIZE, RecordKind, parse_payload
from host.headend import findings, orders, ownership, retain
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.posting import OF_CONCENTRATOR
from host.headend.reconcile import households, reconcile
from host.headend.registry import compare_lines
from host.headend.standing import standings
from host.headend.store import Store
from host.headend.unpack import stored, unpack
from host.link.console import Console, ConsoleError
from tests.host.uplink_world import (
    CONCENTRATOR,
    Village,
    account_name,
    frame,
    meter_address,
    village_of,
)

OTHER = 8
KEYS = {CONCENTRATOR: bytes(range(32)), OTHER: b"B" * 32}
NAME = account_name(0)
# Tables in which an account has rows.
OF_ACCOUNT = (
    *("accounts", "orders", "top_ups", "readings", "freezes", "items", "relays", "policies"),
    *("standings", "alarms"),
)


def run(*words: object) -> Result:
    """Run `dianka headend WORDS`."""
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "160"})


class Both:
    """A database and two concentrators with keys of their own."""

    def __init__(self, place: Path | str) -> None:
        self.store = Store(place, create=True)
        self.ingest = Ingest(self.store, KEYS)
        self.villages = {one: Village() for one in KEYS}
        self._numbers = dict.fromkeys(KEYS, 0)

    def bring(self, concentrator: int) -> None:
        """Have a concentrator bring all its records."""
        self._numbers[concentrator] += 1
        number = self._numbers[concentrator]
        village, key = self.villages[concentrator], KEYS[concentrator]
        known = self.store.value(
            "SELECT acked_seq FROM concentrators WHERE concentrator = ?", (concentrator,)
        )
        message = frame(
            Kind.BATCH, number, village.batch((known or 0) + 1), key, concentrator=concentrator
        )
        assert self.ingest.answer(message, "test")
        known = self.store.value(
            "SELECT acked_seq FROM concentrators WHERE concentrator = ?", (concentrator,)
        )
        assert known == village.durable_seq

    def of(self, name: str = NAME) -> dict[str, list[dict[str, Any]]]:
        """Return all rows of an account."""
        return {
            table: self.store.rows(f"SELECT * FROM {table} WHERE account = ?", (name,))
            for table in OF_ACCOUNT
        }


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    one = Both(tmp_path / "a.db")
    with one.store:
        yield one


def claim(village: Village, row: int = 0, address: str = "999999999999") -> None:
    """Have a concentrator tell that it has the account of another one."""
    fields = {"address": address, "account": NAME, "tariff": 1, "line": 0, "standard": 0}
    village.write(RecordKind.METER, {**fields, "active": 1}, row)


# --- the cases -----------------------------------------------------------------------------------


def test_p12_a_stolen_key_of_another_concentrator_takes_over_nothing(both: Both) -> None:
    mine, others = both.villages[CONCENTRATOR], both.villages[OTHER]
    orders.sell(both.store, NAME, 5000)
    mine.meter(0)
    mine.top_up(0, 5000)
    both.bring(CONCENTRATOR)
    orders.sell(both.store, NAME, 10000)
    before = both.of()
    claim(others)
    others.orders[0] = 1
    others.top_up(0, 10000, credit_fen=90_000_000, balance_fen=90_000_000)
    both.bring(OTHER)
    assert both.of() == before
    order = orders.find_order(both.store, NAME)
    assert order is not None
    assert (order.order, order.meter) == (2, meter_address(0))
    assert [one.account for one in standings(both.store, CONCENTRATOR)] == [NAME]
    assert standings(both.store, OTHER) == []
    with pytest.raises(StoreError, match="not redeemed yet"):
        orders.refund(both.store, NAME, 80_000_000)
    (said,) = reconcile(both.store).differences
    assert said == (
        f"concentrator 8 row 0 tells of account {NAME}, which belongs to concentrator 7: "
        "2 records wait, 1 of them of money"
    )


def test_p37_a_typo_in_another_village_moves_no_account(both: Both) -> None:
    mine, others = both.villages[CONCENTRATOR], both.villages[OTHER]
    mine.meter(0)
    both.bring(CONCENTRATOR)
    claim(others)
    both.bring(OTHER)
    orders.sell(both.store, NAME, 3000)
    order = orders.find_order(both.store, NAME)
    assert order is not None
    assert order.meter == meter_address(0)
    assert len(standings(both.store, CONCENTRATOR)) == 1
    lines = {(one.account, one.meter, one.there) for one in compare_lines(both.store)}
    assert lines == {(NAME, meter_address(0), str(CONCENTRATOR))}


def test_p41_a_stopped_account_and_refused_cards_are_seen(both: Both) -> None:
    mine = both.villages[CONCENTRATOR]
    mine.meter(0)
    fault = {"reason": 6, "stopped": 1, "value": 100_000, "limit": 120_000}
    mine.write(RecordKind.FAULT, fault)
    for _ in range(5):
        card = {"code": 10, "order": 0, "amount_fen": 0, "uid": "00" * 8, "account": NAME}
        mine.write(RecordKind.CARD, {**card, "illegal": 0, "in_a_row": 0}, 0xFFFF)
    both.bring(CONCENTRATOR)
    (said,) = reconcile(both.store).differences
    assert "billing stopped" in said
    kinds = sorted(row["kind"] for row in findings.findings(both.store))
    assert kinds == ["card", "doubt"]
    shown = run("show", "--db", both.store.address)
    assert (shown.exit_code, "stopped" in shown.output) == (1, True)


# --- every record that concerns an account -------------------------------------------------------


# Each kind of record that concerns an account, and what is not 0 of it.
CONCERNED: dict[RecordKind, dict[str, Any]] = {
    RecordKind.READING: {"debit_fen": 7, "registers_wh": [9, 0, 0, 0, 0, 0, 0, 0]},
    RecordKind.TOP_UP: {"order": 8, "amount_fen": 500, "credit_fen": 500},
    RecordKind.RELAY: {"desired": 1, "stage": 2},
    RecordKind.POLICY: {"new": 2, "old": 1},
    RecordKind.STANDING: {"order": 9, "credit_fen": 77, "tariff": 3, "source": 1},
    RecordKind.REFUND: {"order": 10, "amount_fen": 50, "credit_fen": 27},
    RecordKind.ROLLOVER: {"new_period": 2},
    RecordKind.CORRECTION: {"amount_fen": 5, "credit_fen": 32, "period": 3},
    RecordKind.ACCOUNT: {"household": 5, "multiplier": 80},
    RecordKind.FAULT: {"reason": 6, "stopped": 1},
    RecordKind.FREEZE: {"frozen_t2000": 86_400 * 9_000},
    RecordKind.PLAN: {"tariff": 4},
    RecordKind.ITEM: {"identifier": "0201FF00", "count": 1, "values": [2300]},
    RecordKind.STANDING_REGISTERS: {"read_t2000": 9},
    RecordKind.QUOTA: {"quota": 9},
    RecordKind.LINE: {"state": 3},
    RecordKind.CARD: {"code": 10, "account": NAME},
    RecordKind.OPERATOR_CARD: {},
}


def everything(village: Village, row: int) -> None:
    """Write each kind of record that concerns the account at a row."""
    for kind, told in CONCERNED.items():
        nothing = parse_payload(kind, bytes(PAYLOAD_SIZE))
        village.write(kind, {**nothing, **told}, row)


def test_every_kind_of_record_is_of_an_account_or_of_the_concentrator() -> None:
    assert set(RecordKind) == CONCERNED.keys() | OF_CONCENTRATOR | {RecordKind.METER}


def test_nothing_that_another_concentrator_tells_changes_an_account(both: Both) -> None:
    mine, others = both.villages[CONCENTRATOR], both.villages[OTHER]
    both.villages[CONCENTRATOR] = mine = village_of(1, 5)
    both.bring(CONCENTRATOR)
    before = both.of()
    claim(others, 3, meter_address(0))
    everything(others, 3)
    both.bring(OTHER)
    assert both.of() == before
    assert both.store.value("SELECT tariff FROM meters WHERE concentrator = 8") == 4
    assert [row["kind"] for row in findings.findings(both.store)].count("foreign") == 1
    assert both.ingest.counters["quarantined"] == 1 + len(CONCERNED)
    mine.reading(0, 11)
    both.bring(CONCENTRATOR)
    assert both.store.value("SELECT debit_fen FROM accounts") == mine.debit_fen[0]


def test_records_of_the_concentrator_itself_do_not_wait(both: Both) -> None:
    others = both.villages[OTHER]
    both.villages[CONCENTRATOR].meter(0)
    both.bring(CONCENTRATOR)
    claim(others)
    others.write(RecordKind.START, parse_payload(RecordKind.START, bytes(PAYLOAD_SIZE)), 0)
    both.bring(OTHER)
    assert both.store.value("SELECT count(*) FROM alarms WHERE kind = 'START'") == 1
    assert both.store.value("SELECT records FROM quarantine") == 1


def test_a_meter_of_the_same_address_takes_no_reading_s_place(both: Both) -> None:
    """A thief tells of an account of his own with the meter and the time of another's."""
    mine, others = both.villages[CONCENTRATOR], both.villages[OTHER]
    mine.meter(0)
    others.meter(0, account_name(5))
    others.reading(0, 1)
    mine.reading(0, 20)
    both.bring(OTHER)
    both.bring(CONCENTRATOR)
    rows = both.store.rows("SELECT account, debit_fen FROM readings ORDER BY account")
    assert [tuple(row.values()) for row in rows] == [(NAME, 20), (account_name(5), 1)]
    assert reconcile(both.store).differences == []


# --- move ----------------------------------------------------------------------------------------


def moved_household(both: Both) -> None:
    """Have a household with 100 yuan move from 7 to 8, where it goes on."""
    mine, others = both.villages[CONCENTRATOR], both.villages[OTHER]
    orders.sell(both.store, NAME, 10000)
    orders.sell(both.store, NAME, 2000)
    mine.meter(0)
    mine.top_up(0, 10000)
    mine.reading(0, 300)
    both.bring(CONCENTRATOR)
    others.first_seq = 1
    others.debit_fen[2], others.credit_fen[2], others.orders[2] = 300, 10000, 1
    others.write(RecordKind.LINE, {"state": 1, "failures": 1, "ahead_s": 0}, 0xFFFF)
    claim(others, 2, meter_address(0))
    for _ in range(3):
        others.reading(2, 10)
    others.top_up(2, 2000)
    others.reading(2, 10)


def test_what_waits_is_posted_once_and_in_order_when_the_account_moves(both: Both) -> None:
    moved_household(both)
    both.bring(OTHER)
    assert both.store.value("SELECT debit_fen FROM accounts") == 300
    listed = run("waiting", NAME, "--db", both.store.address)
    assert ("TOP_UP" in listed.output, listed.output.count("READING")) == (True, 4)
    told = json.loads(run("waiting", NAME, "--db", both.store.address, "--json").output)
    assert [one["seq"] for one in told["waiting"]] == [2, 3, 4, 5, 6, 7]
    moved = ownership.move(both.store, NAME, OTHER, "Li", "the house stands there")
    assert (moved.was, moved.taken, moved.told, moved.behind) == (CONCENTRATOR, 6, True, 0)
    (one,) = both.store.rows("SELECT * FROM accounts")
    assert (one["concentrator"], one["row"], one["readings"]) == (OTHER, 2, 5)
    assert (one["credit_fen"], one["debit_fen"], one["order"]) == (12000, 340, 2)
    assert reconcile(both.store).differences == []
    with pytest.raises(StoreError, match="belongs to concentrator 8 already"):
        ownership.move(both.store, NAME, OTHER)
    both.villages[OTHER].reading(2, 10)
    both.bring(OTHER)
    assert both.store.value("SELECT debit_fen FROM accounts") == 350
    assert reconcile(both.store).differences == []


def test_an_account_moved_afterwards_is_as_one_that_moved_before(tmp_path: Path) -> None:
    """The order of the move and of the records makes no difference to the account's rows."""
    found = []
    for first in (True, False):
        one = Both(tmp_path / f"{first}.db")
        with one.store:
            moved_household(one)
            steps: list[Callable[[], object]] = [
                lambda one=one: ownership.move(one.store, NAME, OTHER),
                lambda one=one: one.bring(OTHER),
            ]
            if first:
                one.villages[OTHER].records, rest = [], one.villages[OTHER].records
                one.villages[OTHER].records.append(rest[0])
                one.bring(OTHER)
                one.villages[OTHER].records += rest[1:]
            for step in steps if first else reversed(steps):
                step()
            rows = one.of()
            for table in rows.values():
                for row in table:
                    row.pop("id", None)
                    row.pop("sold_at", None)
            found.append(rows)
    assert found[0] == found[1]


class WithoutAccounts(Console):
    """A console of a concentrator that has none."""

    def __init__(self) -> None:
        pass

    def command(self, text: str) -> list[str]:
        raise ConsoleError("no such account")


def test_a_move_before_the_new_concentrator_tells_is_taken_at_its_word(both: Both) -> None:
    mine, others = both.villages[CONCENTRATOR], both.villages[OTHER]
    mine.meter(0)
    mine.reading(0, 5)
    both.bring(CONCENTRATOR)
    with pytest.raises(StoreError, match="has never called"):
        ownership.move(both.store, NAME, OTHER)
    others.meter(0, account_name(9))
    both.bring(OTHER)
    result = run("move", NAME, "--to", OTHER, "--db", both.store.address)
    assert (result.exit_code, "has not told of it yet" in result.output) == (0, True)
    (one,) = households(both.store, NAME)
    assert (one.concentrator, one.row, one.meter) == (OTHER, None, meter_address(0))
    told = {one.account: (one.meter, one.tariff, one.line) for one in standings(both.store, OTHER)}
    assert told[NAME] == (meter_address(0), 1, -1)
    (one,) = [one for one in standings(both.store, OTHER) if one.account == NAME]
    with pytest.raises(ConsoleError, match="`meter add 000000983764 000000000001 TARIFF LINE`"):
        restore._restore(WithoutAccounts(), one, add_meters=True)
    claim(others, 4, meter_address(0))
    both.bring(OTHER)
    assert reconcile(both.store).differences == []
    assert [one.line for one in standings(both.store, OTHER)] == [0, 0]


def test_what_the_concentrator_before_still_has_waits_and_can_be_posted(both: Both) -> None:
    moved_household(both)
    mine = both.villages[CONCENTRATOR]
    both.bring(OTHER)
    ownership.move(both.store, NAME, OTHER)
    mine.reading(0, 1)
    both.bring(CONCENTRATOR)
    assert len(reconcile(both.store).differences) == 1
    assert both.store.value("SELECT debit_fen FROM accounts") == 340
    ownership.move(both.store, NAME, CONCENTRATOR)
    assert both.store.value("SELECT readings FROM accounts") == 6
    kept = both.store.rows("SELECT what FROM findings WHERE seq = 0 ORDER BY id")
    assert len(kept) == 2, "each move stays on record"


def test_a_row_with_another_account_in_between_gives_only_its_own_records(both: Both) -> None:
    moved_household(both)
    others = both.villages[OTHER]
    others.meter(2, account_name(7))
    others.reading(2, 100)
    claim(others, 2, meter_address(0))
    others.debit_fen[2] = 340
    others.reading(2, 10)
    both.bring(OTHER)
    moved = ownership.move(both.store, NAME, OTHER)
    assert moved.taken == 8
    debits = dict(
        both.store.database.all("SELECT account, debit_fen FROM accounts ORDER BY account")
    )
    assert debits[NAME] == 350
    assert reconcile(both.store).differences == []


# --- dismiss -------------------------------------------------------------------------------------


def test_what_is_dismissed_stays_away_and_what_follows_waits_again(both: Both) -> None:
    moved_household(both)
    others = both.villages[OTHER]
    both.bring(OTHER)
    before = both.of()
    words = ("--db", both.store.address)
    result = run("dismiss", NAME, "--concentrator", 8, "--by", "Li", "--reason", "typo", *words)
    assert (result.exit_code, "6 records" in result.output) == (0, True)
    assert (both.of(), reconcile(both.store).differences) == (before, [])
    result = run("dismiss", NAME, "--concentrator", 8, "--by", "Li", "--reason", "typo", *words)
    assert (result.exit_code, "nothing of concentrator 8 waits" in result.output) == (1, True)
    others.reading(2, 10)
    both.bring(OTHER)
    (said,) = reconcile(both.store).differences
    assert "1 records wait" in said
    assert ownership.move(both.store, NAME, OTHER).taken == 1
    assert both.store.value("SELECT debit_fen FROM accounts") == 350


def test_a_finding_of_what_waits_is_closed_by_its_number(both: Both) -> None:
    moved_household(both)
    both.bring(OTHER)
    (one,) = findings.findings(both.store, kind="foreign", account=NAME)
    assert one["number"] == "quarantine1"
    for number in ("quarantine2", "other1", "quarantine"):
        with pytest.raises(StoreError, match="no finding"):
            findings.resolve(both.store, number, "Li", "typo")
    findings.resolve(both.store, one["number"], "Li", "typo")
    assert reconcile(both.store).differences == []
    (one,) = findings.findings(both.store, closed=True, kind="foreign")
    assert (one["resolved_by"], one["resolution"]) == ("Li", "typo")
    assert "told of account" in one["what"]


def test_records_that_wait_are_not_rolled_up(both: Both) -> None:
    moved_household(both)
    both.bring(OTHER)

    def roll_up() -> None:
        for one in retain.concentrators(both.store):
            retain.retain(both.store, one, int(time.time()) + 10)

    roll_up()
    assert both.store.value("SELECT count(*) FROM records") == 6
    assert reconcile(both.store).differences[1:] == []
    assert ownership.move(both.store, NAME, OTHER).taken == 6
    assert reconcile(both.store).differences == []
    roll_up()
    assert both.store.value("SELECT count(*) FROM records") == 0
    assert reconcile(both.store).differences == []


# --- how it is read back -------------------------------------------------------------------------


def test_a_stored_record_is_read_back_as_it_came() -> None:
    village = village_of(2, 3)
    everything(village, 0)
    for one in unpack(village.batch()).records:
        assert stored(*one[:6]) == one
