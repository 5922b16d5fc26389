"""Goal: the head-end has all data with which a concentrator continues, and sells no order twice.

Method: records are brought in as devices write them; the firmware's own books take the standing
that follows from them; some databases are older than their devices.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.frames import batch, record
from host.frames.link import Kind, LinkReader
from host.frames.packing import Gap, Reason
from host.frames.record import RecordKind
from host.headend import orders
from host.headend.ingest import Ingest
from host.headend.orders import find_order
from host.headend.reconcile import reconcile
from host.headend.standing import standings
from host.headend.store import Store
from tests.host.uplink_world import (
    JOURNAL,
    KEY,
    KEYS,
    START_T2000,
    Village,
    account_name,
    deliver,
    frame,
    hello,
    meter_address,
    village_of,
)

NAME = account_name(0)
MAC = "1122334455667788"
UNTOLD_MAC = "FF" * 8
START_MARK, UNTOLD_MARK = 1, 2
WEEK = START_T2000 // 604800


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as opened:
        yield opened


def bring(store: Store, village: Village, number: int = 1) -> None:
    assert deliver(Ingest(store, KEYS), village, number) == village.durable_seq


def account(store: Store) -> dict[str, object]:
    (row,) = store.rows("SELECT * FROM accounts WHERE account = ?", (NAME,))
    return row


def lived() -> Village:
    """Make a household with everything that a standing contains."""
    village = Village()
    village.meter(0)
    terms = {"household": 2, "grade": 1, "multiplier": 30, "guard": 1, "debt_fen": 5000}
    village.write(RecordKind.ACCOUNT, {**terms, "power_limit_w": 66000})
    village.write(RecordKind.QUOTA, {"used_wh": 0, "period": 77, "quota": 0x3C, "free": 9})
    village.reading(0, 0)
    village.top_up(
        *(0, 10000),
        repaid_fen=300,
        debt_fen=4700,
        header_mac=MAC,
        debt_week=WEEK,
        debt_week_fen=300,
        balance_fen=9700,
    )
    village.debit_fen[0] += 300
    fields = {"old_period": 77, "new_period": 81, "used_wh": 5, "debit_fen": 300}
    village.write(RecordKind.ROLLOVER, fields)
    village.reading(0, 9500)
    village.write(RecordKind.POLICY, {"new": 6, "old": 0, "reason": 3, "balance_fen": 200})
    village.relay(0, 1, 1)
    village.write(RecordKind.POLICY, {"new": 6, "old": 6, "reason": 3, "balance_fen": 200})
    village.write(RecordKind.FAULT, {"reason": 6, "stopped": 1, "value": 0, "limit": 0})
    return village


def test_a_standing_is_all_that_the_records_said(store: Store) -> None:
    village = lived()
    bring(store, village)
    (one,) = standings(store, 7)
    read, since = village.records[-5], village.records[-4]
    assert one.fields == {
        RecordKind.STANDING: {
            "order": 1,
            "header_mac": MAC,
            "credit_fen": 10000,
            "debit_fen": 9800,
            "residue_e7": 12345,
            "residue_e11": 678,
            "household": 2,
            "grade": 1,
            "multiplier": 30,
            "marks": 3,
            "source": 1,
            "debt_fen": 4700,
            "debt_week_fen": 300,
            "since_t2000": since.t2000,
            "state": 6,
            "relay": 1,
            "tariff": 1,
        },
        RecordKind.STANDING_REGISTERS: {
            "registers_wh": [9800 * 15, 9800 * 5, 0, 0, 0, 0, 0, 0],
            "read_t2000": read.t2000,
            "power_limit_w": 66000,
            "debt_week": WEEK,
        },
        RecordKind.QUOTA: {"used_wh": 196000, "period": 81, "quota": 0x3C, "free": 9},
    }
    assert (one.account, one.meter, one.order) == (NAME, meter_address(0), 1)


def test_what_a_standing_says_becomes_the_account(store: Store, tmp_path: Path) -> None:
    """One concentrator reports an account, another takes it over, and nothing is lost."""
    bring(store, lived())
    (one,) = standings(store, 7)
    village = Village(first_seq=100)
    village.meter(0)
    village.write(RecordKind.STANDING, one.fields[RecordKind.STANDING])
    village.write(RecordKind.STANDING_REGISTERS, one.fields[RecordKind.STANDING_REGISTERS])
    village.write(RecordKind.QUOTA, one.fields[RecordKind.QUOTA])
    with Store(tmp_path / "other.db", create=True) as other:
        with other.writing() as database:
            database.run("INSERT INTO concentrators (concentrator, acked_seq) VALUES (7, 99)")
        bring(other, village)
        (again,) = standings(other, 7)
        assert again.fields == one.fields
        (row,) = other.rows("SELECT * FROM standings")
        assert (row["order"], row["header_mac"], row["source"]) == (1, MAC, 1)
        assert orders.sell(other, NAME, 100) == 2


def test_counts_go_on_past_their_turn(store: Store) -> None:
    """Devices count fen modulo 2**32; the head-end's books count on."""
    bring(store, lived())
    (one,) = standings(store, 7)
    turned = {**one.fields[RecordKind.STANDING], "credit_fen": 2**32 - 5, "debit_fen": 2**32 - 9}
    village = Village(first_seq=len(lived().records) + 1)
    village.write(RecordKind.STANDING, turned)
    village.write(RecordKind.STANDING, {**turned, "credit_fen": 3, "debit_fen": 0, "order": 2})
    with store.writing() as connection:
        connection.run("UPDATE accounts SET credit_fen = 4e9, debit_fen = 4e9")
    bring(store, village, 2)
    is_so = account(store)
    assert (is_so["credit_fen"], is_so["debit_fen"]) == (2**32 + 3, 2**32)
    (one,) = standings(store, 7)
    assert bytes.fromhex(one.told(""))[12:20] == (3).to_bytes(4, "little") + bytes(4)


def test_another_meter_is_told_so(store: Store) -> None:
    bring(store, lived())
    (one,) = standings(store, 7)
    told = bytes.fromhex(one.told(meter_address(0)))
    assert len(told) == 106
    assert told[36:40] == (300).to_bytes(4, "little")
    assert told[48:52] == (9800 * 15).to_bytes(4, "little")
    assert told[88:90] == WEEK.to_bytes(2, "little")
    other = bytes.fromhex(one.told(meter_address(1)))
    assert other[48:88] == bytes(36) + (66000).to_bytes(4, "little")
    assert (other[:48], other[88:]) == (told[:48], told[88:])


def test_a_concentrator_that_was_not_told_changes_no_books(store: Store) -> None:
    """A replaced board charges from its own first reading; the head-end's books stay."""
    orders.sell(store, NAME, 10000)
    bring(store, lived())
    before = account(store)
    known = store.value("SELECT acked_seq FROM concentrators")
    village = Village(first_seq=known + 1)
    meter = village.meter(0)
    village.records.pop()
    village.write(RecordKind.METER, {**meter.fields, "marks": START_MARK | UNTOLD_MARK})
    village.reading(0, 5)
    village.write(RecordKind.FAULT, {"reason": 0, "stopped": 0, "value": 0, "limit": 0})
    fields = {"old_period": 0, "new_period": 1, "used_wh": 0, "debit_fen": 0}
    village.write(RecordKind.ROLLOVER, fields)
    village.write(RecordKind.QUOTA, {"used_wh": 0, "period": 1, "quota": 0, "free": 0})
    village.write(RecordKind.ACCOUNT, {**dict.fromkeys(("grade", "guard", "debt_fen"), 0),
                                       "household": 0, "multiplier": 1})  # fmt: skip
    bring(store, village, 2)
    changed = {name: value for name, value in account(store).items() if value != before[name]}
    assert changed.keys() == {"untold", "readings", "last_t2000"}
    (found,) = reconcile(store).differences
    assert "billing stopped" in found
    (one,) = standings(store, 7)
    for kind, of_kind in one.fields.items():
        village.write(kind, of_kind)
    bring(store, village, 3)
    assert standings(store, 7) == [one]
    assert account(store)["untold"] == 0


def test_whoever_was_told_nothing_and_is_asked_changes_no_books(
    store: Store, tmp_path: Path
) -> None:
    bring(store, lived())
    before = account(store)
    (one,) = standings(store, 7)
    village = Village(first_seq=len(lived().records) + 1)
    of_standing = one.fields[RecordKind.STANDING]
    for kind, fields in one.fields.items():
        values = {name: 0 if isinstance(value, int) else value for name, value in fields.items()}
        if kind == RecordKind.STANDING:
            values |= {"header_mac": UNTOLD_MAC, "source": 3, "multiplier": 1}
        village.write(kind, values)
    bring(store, village, 2)
    assert account(store) == {**before, "untold": 1}
    assert reconcile(store).differences == reconcile_of(tmp_path / "alone.db", lived())
    village.write(RecordKind.STANDING, {**of_standing, "source": 3})
    bring(store, village, 3)
    assert account(store) == before


def reconcile_of(path: Path, village: Village) -> list[str]:
    """Return the differences of one village."""
    with Store(path, create=True) as store:
        bring(store, village)
        return reconcile(store).differences


OTHERS, UNREADABLE, READINGS = Reason.OTHERS, Reason.UNREADABLE, Reason.READINGS


def wants(ingest: Ingest, kind: Kind, number: int, payload: bytes) -> bool:
    """Return whether the answer asks for the standing of every account."""
    (one,) = LinkReader().feed(ingest.answer(frame(kind, number, payload), "test"))
    told = batch.open_down(one.kind, one.body, JOURNAL, 1, KEY).payload
    return told[-1] != 0


@pytest.mark.parametrize(
    ("reasons", "wanted"),
    [(READINGS, False), (READINGS | OTHERS, True), (UNREADABLE, True), (Reason(0), True)],
)
def test_standings_are_wanted_for_what_is_missing(
    store: Store, reasons: Reason, wanted: bool
) -> None:
    """They are wanted until a later EVENT says that all were sent; readings replace each other."""
    told = {"what": 4, "state": 0, "value": 0}
    early = record.make(1, START_T2000, RecordKind.EVENT, told, index=0xFFFF)
    late = record.make(5, START_T2000, RecordKind.EVENT, told, index=0xFFFF)
    first = batch.build_batch([early, Gap(2, 3, reasons)])
    ingest = Ingest(store, KEYS)
    assert wants(ingest, Kind.BATCH, 1, first) is wanted
    assert wants(ingest, Kind.HELLO, 2, hello(1, 5)) is wanted, "until it has told"
    assert not wants(ingest, Kind.BATCH, 3, batch.build_batch([late]))
    assert not wants(ingest, Kind.HELLO, 4, hello(1, 6))
    assert not wants(ingest, Kind.BATCH, 5, first), "what is known already changes nothing"


def test_standings_are_wanted_of_what_a_greeting_says_is_gone(store: Store) -> None:
    ingest = Ingest(store, KEYS)
    assert wants(ingest, Kind.HELLO, 1, hello(4, 4))
    assert wants(Ingest(store, KEYS), Kind.HELLO, 2, hello(4, 4))
    behind = batch.build_batch([record.make(9, START_T2000, RecordKind.EVENT, NOTHING)])
    assert wants(ingest, Kind.BATCH, 3, behind), "also behind a batch that does not follow"
    assert ingest.counters["gap"] == 1


NOTHING = {"what": 0, "state": 0, "value": 0}


def test_a_meter_that_was_exchanged_has_no_registers_yet(store: Store) -> None:
    village = lived()
    meter = village.meter(0)
    village.records.pop()
    village.write(RecordKind.METER, {**meter.fields, "marks": START_MARK, "relay": 0x14})
    bring(store, village)
    is_so = account(store)
    assert (is_so["registers_wh"], is_so["read_t2000"], is_so["relay_wanted"]) == ([], 0, 1)
    assert is_so["debit_fen"] == 9800


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"order": 0, "header_mac": "00" * 8}, "goes back from 1 to 0 orders"),
        ({"credit_fen": 9999}, "has a credit of 9999 fen, 10000 are here"),
        ({"source": 2, "order": 0}, "is said to be new, its newest order was 1"),
    ],
)
def test_a_standing_that_differs_is_a_finding(
    store: Store, changes: dict[str, object], said: str
) -> None:
    orders.sell(store, NAME, 10000)
    village = village_of(1, 1)
    village.records = village.records[:3]
    bring(store, village)
    (one,) = standings(store, 7)
    village.write(RecordKind.STANDING, {**one.fields[RecordKind.STANDING], **changes})
    bring(store, village, 2)
    found = reconcile(store).differences
    assert any(said in line for line in found) if said else found == []


def test_orders_are_numbered_above_all_that_devices_know(tmp_path: Path) -> None:
    """A database from before order 5 is restored; the concentrator sends the records it kept."""
    village = Village()
    village.meter(0)
    village.reading(0, 0)
    with Store(tmp_path / "village.db", create=True) as store:
        for _ in range(4):
            orders.sell(store, NAME, 1000)
    shutil.copy(tmp_path / "village.db", tmp_path / "backup.db")
    with Store(tmp_path / "backup.db") as store, store.writing(adopting=True):
        pass  # nobody has said that it was restored
    with Store(tmp_path / "village.db", create=True) as store:
        assert orders.sell(store, NAME, 7000) == 5
    for _ in range(4):
        village.top_up(0, 1000)
    village.top_up(0, 7000)
    with Store(tmp_path / "backup.db", create=True) as store:
        bring(store, village)
        assert any("5 of account" in line for line in reconcile(store).differences)
        assert find_order(store, NAME) is None, "all of them were redeemed"
        assert orders.sell(store, NAME, 2000) == 6
        sold = find_order(store, NAME)
        assert sold is not None
        assert (sold.order, sold.amount_fen) == (6, 2000)


def test_what_was_lost_of_an_account_is_made_good_by_its_standing(tmp_path: Path) -> None:
    """Records 4 to 6 are lost on both sides; the concentrator has reported their effect."""
    village = village_of(1, 0)
    with Store(tmp_path / "village.db", create=True) as store:
        for order in (1, 2):
            assert orders.sell(store, NAME, 10000) == order
        bring(store, village)
        (one,) = standings(store, 7)
        with store.writing() as database:
            gap = "INSERT INTO gaps (concentrator, first_seq, last_seq) VALUES (7, 4, 6)"
            database.run(gap)
            database.run("UPDATE concentrators SET acked_seq = 6")
        after = Village(first_seq=7, orders={0: 2}, credit_fen={0: 20000}, debit_fen={0: 70})
        fields = {"order": 2, "credit_fen": 20000, "debit_fen": 70, "source": 3}
        after.write(RecordKind.STANDING, {**one.fields[RecordKind.STANDING], **fields})
        after.reading(0, 5)
        bring(store, after, 2)
        found = reconcile(store)
        assert found.differences == ["concentrator 7: records 4 to 6 are lost"]
        (home,) = found.households
        assert (home.balance_fen, home.unredeemed_fen) == (20000 - 75, 0)
        assert orders.sell(store, NAME, 100) == 3


def test_orders_are_numbered_above_a_standing_whose_records_are_lost(store: Store) -> None:
    orders.sell(store, NAME, 1000)
    village = Village()
    village.meter(0)
    fields = dict.fromkeys(("credit_fen", "debit_fen", "residue_e7", "residue_e11"), 0)
    fields |= dict.fromkeys(("household", "grade", "marks", "debt_fen", "debt_week_fen"), 0)
    fields |= dict.fromkeys(("since_t2000", "state", "relay", "tariff"), 0)
    village.write(
        RecordKind.STANDING,
        {**fields, "order": 8, "header_mac": MAC, "multiplier": 1, "source": 3},
    )
    bring(store, village)
    assert find_order(store, NAME) is None, "order 1 was redeemed, or never will be"
    assert orders.sell(store, NAME, 2000) == 9
    village.write(
        RecordKind.STANDING,
        {**fields, "order": 0, "header_mac": UNTOLD_MAC, "multiplier": 1, "source": 3},
    )
    bring(store, village, 2)
    assert account(store)["untold"] == 1
    assert orders.sell(store, NAME, 2000) == 10
