"""Goal: every record is stored, the accounts follow from them, and every difference is reported.

Method: a small village is written by a device's rules; then one error at a time is made in orders,
money, records or readings, and reconciliation must name it.
"""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from host.frames import settings
from host.frames.batch import Refusal, build_batch
from host.frames.card import AMOUNT_LIMIT_FEN
from host.frames.link import Kind
from host.frames.packing import Gap, Reason
from host.frames.record import Record, RecordKind
from host.headend import orders
from host.headend.errors import StoreError
from host.headend.findings import findings
from host.headend.ingest import Ingest
from host.headend.reconcile import reconcile
from host.headend.store import Store
from host.units import yuan
from tests.host.uplink_world import (
    KEYS,
    START_T2000,
    Village,
    account_name,
    acked,
    deliver,
    frame,
    meter_address,
    refused,
    village_of,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "test.db", create=True) as opened:
        yield opened


def ingest_all(store: Store, village: Village, number: int = 1) -> None:
    """Bring the village's records in at once."""
    assert deliver(Ingest(store, KEYS), village, number) == village.durable_seq


def bring(ingest: Ingest, number: int, payload: bytes) -> int:
    """Bring a batch in; return what is acknowledged."""
    return acked(ingest.answer(frame(Kind.BATCH, number, payload), "test"), number)


def sold_village(store: Store) -> Village:
    """Make two households with orders sold here; their records are not brought in yet."""
    village = village_of(2, 5)
    for row in range(2):
        assert orders.sell(store, account_name(row), 10000) == 1
    return village


def differences(store: Store) -> list[str]:
    """Return the differences that reconciliation finds."""
    return reconcile(store).differences


def test_a_village_that_agrees(store: Store) -> None:
    village = sold_village(store)
    assert orders.sell(store, account_name(1), 2500) == 2
    ingest_all(store, village)
    result = reconcile(store)
    assert result.differences == []
    assert result.ok
    assert (result.total("sold_fen"), result.total("redeemed_fen")) == (22500, 20000)
    assert (result.total("charged_fen"), result.total("unredeemed_fen")) == (35, 2500)
    assert result.total("balance_fen") == 20000 - 35
    assert (result.readings_taken, result.readings_stored, result.duplicates) == (12, 12, 0)
    assert (result.orders_sold, result.orders_redeemed) == (3, 2)
    assert (result.records, result.records_lost) == (16, 0)
    first = result.households[0]
    assert (first.account, first.meter) == (account_name(0), meter_address(0))
    assert (first.readings, first.used_wh, first.relay) == (6, 300, 0)
    assert first.last_t2000 == START_T2000 + 60 * 15
    assert result.to_dict()["ok"] is True


def test_durability_settings(store: Store) -> None:
    assert store.value("PRAGMA journal_mode") == "wal"
    assert store.value("PRAGMA synchronous") == 2


def test_readings_are_kept_by_day_meter_and_time(store: Store) -> None:
    ingest_all(store, sold_village(store))
    columns = [row["name"] for row in store.rows("PRAGMA table_info(readings)") if row["pk"]]
    assert columns == ["day", "meter", "t2000", "concentrator"]
    (row, *_) = store.rows("SELECT * FROM readings ORDER BY seq")
    assert row["day"] == row["t2000"] // 86400
    assert (row["meter"], row["seq"], row["registers_wh"]) == (meter_address(0), 3, [])
    last = store.rows("SELECT * FROM readings ORDER BY seq")[-1]
    assert (last["debit_fen"], last["registers_wh"]) == (20, [300, 100])


def test_records_come_back_as_they_were(store: Store) -> None:
    village = sold_village(store)
    ingest_all(store, village)
    for row, one in zip(store.rows("SELECT * FROM records"), village.records, strict=True):
        assert (row["seq"], row["t2000"], row["kind"]) == (one.seq, one.t2000, one.kind)
        assert (row["flags"], row["row"]) == (one.flags, one.index)
        assert row["payload"].ljust(48, b"\0") == one.payload


def test_relay_and_policy_states(store: Store) -> None:
    village = sold_village(store)
    village.relay(0, 1, stage=1)
    policy = {"new": 3, "old": 1, "reason": 2, "balance_fen": -5}
    village.write(RecordKind.POLICY, policy, 1)
    ingest_all(store, village)
    relays = [one.relay for one in reconcile(store).households]
    assert relays == [0, 0], "an intent is not yet a state"
    assert [one.policy for one in reconcile(store).households] == [None, 3]
    village.relay(0, 1)
    village.relay(1, 1, stage=3)
    ingest_all(store, village, 2)
    assert [one.relay for one in reconcile(store).households] == [1, 0]
    village.reading(0, 0, status=0x0000)
    village.reading(1, 0, status=0x0010)
    ingest_all(store, village, 3)
    assert [one.relay for one in reconcile(store).households] == [0, 1]
    village.reading(1, 0, status=0xFFFF)
    ingest_all(store, village, 4)
    assert [one.relay for one in reconcile(store).households] == [0, 1], "FFFF: not known"
    assert len(store.rows("SELECT * FROM relays")) == 3
    assert store.rows("SELECT * FROM policies")[0]["account"] == account_name(1)


def test_alarms_keep_their_detail(store: Store) -> None:
    village = sold_village(store)
    card = {"code": 4, "order": 1, "amount_fen": 5, "uid": "0" * 16, "account": "999999999999"}
    village.write(RecordKind.CARD, card, 0xFFFF)
    village.write(RecordKind.LINE, {"state": 1, "failures": 9}, 1)
    ingest_all(store, village)
    first, second = store.rows("SELECT * FROM alarms")
    assert (first["kind"], first["account"], first["detail"]["code"]) == (
        "CARD",
        card["account"],
        4,
    )
    assert (second["kind"], second["account"]) == ("LINE", account_name(1))
    assert second["detail"] == {"state": 1, "failures": 9, "ahead_s": 0}
    assert differences(store) == []


def test_an_open_door_and_a_failing_supply_are_findings(store: Store) -> None:
    village = sold_village(store)
    for what, state in ((1, 1), (1, 0), (2, 1), (2, 0)):
        village.write(RecordKind.EVENT, {"what": what, "state": state, "value": 0}, 0xFFFF)
    ingest_all(store, village)
    found = [(one["kind"], one["what"]) for one in findings(store)]
    assert found == [
        ("cabinet", "the door of concentrator 7 was opened"),
        ("cabinet", "the supply of concentrator 7 has failed"),
    ]
    assert len(store.rows("SELECT * FROM alarms WHERE kind = 'EVENT'")) == 4


def test_who_raised_limits_and_changed_keys_is_a_finding(store: Store) -> None:
    """Proof: a forged preset card raised everybody's overdraft, and no command showed it."""
    village = sold_village(store)
    number = {name: number for number, name in settings.NAMES.items()}

    def change(name: str, form: int, old: int, new: int, uid: str = "00" * 8) -> None:
        source = 1 if uid == "00" * 8 else 4
        told = {"source": source, "number": number[name], "form": form, "uid": uid}
        told |= {"old": old.to_bytes(8, "little").hex(), "new": new.to_bytes(8, "little").hex()}
        village.write(RecordKind.SETTING, told, 0xFFFF)

    change("overdraft_fen", 1, 0, 99999999, "0123456789ABCDEF")
    change("overdraft_fen", 1, 99999999, 0)
    change("interval_s", 1, 900, 600)
    change("console_key", 2, 1, 2)
    ingest_all(store, village)

    found = [one["what"] for one in findings(store, kind="setting")]
    assert found == [
        "overdraft_fen was raised from 0 to 99999999 (operator's card, card 0123456789ABCDEF)",
        "console_key was changed (console, card 0000000000000000)",
    ]
    assert len(store.rows("SELECT * FROM alarms WHERE kind = 'SETTING'")) == 4


def test_other_firmware_is_a_finding(store: Store) -> None:
    """Proof: somebody put an older product on a concentrator, and no command showed it."""
    village = sold_village(store)
    for stage, counter, version in (
        (1, 11, "1.0"),
        (2, 12, "1.1\x1b"),
        (3, 12, "1.1"),
        (4, 11, "1.0"),
    ):
        told = {"stage": stage, "slot": 1, "counter": counter, "sha256": "00" * 8}
        village.write(RecordKind.FIRMWARE, {**told, "version": version}, 0xFFFF)
    ingest_all(store, village)
    assert [one["what"] for one in findings(store, kind="firmware")] == [
        "concentrator 7 was given other firmware: 1.0, number 11",
        "concentrator 7 was given other firmware: 1.1\x1b, number 12",
        "concentrator 7 is back at older firmware: 1.0, number 11",
    ]


def test_one_batch_may_do_everything(store: Store) -> None:
    """A meter is reported, read and moved to another account within one transaction."""
    village = Village()
    village.meter(0)
    village.reading(0, 5)
    village.meter(0, account="000000000099")
    village.debit_fen[0] = 0
    village.reading(0, 7)
    ingest_all(store, village)
    rows = {one.account: one for one in reconcile(store).households}
    assert rows[account_name(0)].charged_fen == 5
    assert rows["000000000099"].charged_fen == 7


def test_order_numbers_grow_for_each_account(store: Store) -> None:
    assert [orders.sell(store, "000000000001", 100) for _ in range(3)] == [1, 2, 3]
    assert orders.sell(store, "000000000002", 100) == 1
    with Store(store.address) as other:
        assert orders.sell(other, "000000000001", 100) == 4
    assert orders.sell(store, "000000000001", 10_000_000) == 5


def test_two_tills_at_once(store: Store) -> None:
    path = store.address

    def till(_: int) -> list[int]:
        with Store(path, create=True) as own:
            return [orders.sell(own, "000000000001", 100) for _ in range(40)]

    with ThreadPoolExecutor(4) as pool:
        sold = list(pool.map(till, range(4)))
    assert sorted(order for orders in sold for order in orders) == list(range(1, 161))
    assert all(orders == sorted(orders) for orders in sold)


@pytest.mark.parametrize("amount_fen", [0, -1, AMOUNT_LIMIT_FEN + 1])
def test_amounts_that_cannot_be_sold(store: Store, amount_fen: int) -> None:
    with pytest.raises(StoreError, match="cannot be sold"):
        orders.sell(store, "000000000001", amount_fen)


def test_duplicates_are_compared_and_not_stored_again(store: Store) -> None:
    village = sold_village(store)
    ingest_all(store, village)
    ingest = Ingest(store, KEYS)
    assert bring(ingest, 2, village.batch(5, 9)) == 16
    assert +ingest.counters == {"batches": 1, "duplicates": 5}
    village.reading(0)
    assert bring(ingest, 3, village.batch(12)) == 17
    assert +ingest.counters == {"batches": 2, "duplicates": 10, "records": 1}
    assert differences(store) == []


def test_conflict_and_replay_store_nothing(store: Store) -> None:
    village = sold_village(store)
    ingest_all(store, village, 10)
    village.reading(0)
    other = village_of(2, 5)
    other.debit_fen[0] += 96
    other.records.pop()
    other.reading(0)
    other.reading(0)
    ingest = Ingest(store, KEYS)
    answer = ingest.answer(frame(Kind.BATCH, 11, other.batch()), "test")
    assert refused(answer, 11) == Refusal.CONFLICT
    answer = ingest.answer(frame(Kind.BATCH, 0, village.batch()), "test")
    assert refused(answer, 0) == Refusal.STALE
    assert ingest.counters == {"conflict": 1, "stale": 1}
    assert reconcile(store).records == 16


def test_sold_to_nobody_and_redeemed_unsold(store: Store) -> None:
    village = village_of(1, 2)
    ingest_all(store, village)
    found = differences(store)
    assert found == [f"order 1 of account {account_name(0)}: 100.00 yuan redeemed, never sold"]


def test_redeemed_for_another_amount(store: Store) -> None:
    village = village_of(1, 2)
    orders.sell(store, account_name(0), 9999)
    ingest_all(store, village)
    assert any("99.99 yuan sold, 100.00 redeemed" in line for line in differences(store))


def test_redeemed_twice(store: Store) -> None:
    village = sold_village(store)
    village.orders[0] = 0
    village.top_up(0, 10000)
    ingest_all(store, village)
    assert any("redeemed more than once" in line for line in differences(store))


def test_balance_that_does_not_follow(store: Store) -> None:
    village = sold_village(store)
    orders.sell(store, account_name(0), 500)
    balance_fen = village.credit_fen[0] + 500 - village.debit_fen[0]
    village.top_up(0, 500, balance_fen=balance_fen + 1)
    ingest_all(store, village)
    (line,) = differences(store)
    told, here = yuan(balance_fen + 1), yuan(balance_fen)
    assert f"balance {told} yuan after order 2, the books say {here}" in line


def test_credit_that_jumps(store: Store) -> None:
    village = sold_village(store)
    orders.sell(store, account_name(0), 500)
    village.credit_fen[0] += 7
    village.top_up(0, 500)
    ingest_all(store, village)
    found = differences(store)
    assert any("credit of account" in line for line in found)
    assert any("charged, balance and unredeemed" in line for line in found)


def test_debit_that_goes_back(store: Store) -> None:
    village = sold_village(store)
    village.reading(0, -1)
    ingest_all(store, village)
    assert any("went back from 15 to 14 fen" in line for line in differences(store))


def test_two_readings_in_one_second(store: Store) -> None:
    village = sold_village(store)
    ingest_all(store, village)
    extra = village.reading(0)
    village.records[-1] = type(extra)(
        extra.seq, extra.t2000 - 120, extra.kind, 0, 0, extra.payload, extra.fields
    )
    ingest_all(store, village, 2)
    (found,) = differences(store)
    assert "at the same second" in found


def test_a_reading_that_is_taken_again_in_its_second(store: Store) -> None:
    """As before a cut, on a fast line: it says the same, and is no difference."""
    village = sold_village(store)
    one = village.reading(0)
    place = (one.seq + 1, one.t2000, one.kind, one.flags, one.index)
    village.records.append(type(one)(*place, one.payload, one.fields))
    ingest_all(store, village)
    assert differences(store) == []


def test_slot_without_a_meter(store: Store) -> None:
    village = sold_village(store)
    village.reading(5)
    village.top_up(6, 100)
    ingest_all(store, village)
    found = differences(store)
    assert any("READING of row 5, no meter known there" in line for line in found)
    assert any("TOP_UP of row 6, no meter known there" in line for line in found)
    assert any("order 1 of account (unknown)" in line for line in found)


def test_account_at_two_places(store: Store) -> None:
    village = sold_village(store)
    village.meter(1, account=account_name(0))
    ingest_all(store, village)
    assert any("moved here from concentrator 7 row 0" in line for line in differences(store))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "DELETE FROM records WHERE seq = 9",
            "16 records acknowledged, 15 stored, 0 lost, 0 let go",
        ),
        ("DELETE FROM readings WHERE seq = 9", "12 readings taken, 11 stored, 0 of them twice"),
        ("DELETE FROM top_ups WHERE seq = 4", "100.00 yuan sold"),
        ("DELETE FROM orders WHERE account = '000000000001'", "never sold"),
        ("UPDATE accounts SET credit_fen = credit_fen + 1", "100.00 yuan sold"),
        (
            "INSERT INTO readings SELECT day + 1, meter, t2000, concentrator, seq, account,"
            " debit_fen, residue_e7, residue_e11, status, used_wh, registers_wh FROM readings"
            " WHERE seq = 9",
            "12 readings taken, 13 stored, 1 of them twice",
        ),
    ],
)
def test_rows_altered_behind_our_back(store: Store, statement: str, expected: str) -> None:
    ingest_all(store, sold_village(store))
    assert differences(store) == []
    with store.writing() as connection:
        connection.run(statement)
    assert any(expected in line for line in differences(store)), differences(store)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="cannot use"):
        Store(path, create=True)


def test_looking_does_not_wait_for_a_writer(store: Store) -> None:
    other = sqlite3.connect(store.address, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert reconcile(store).ok
    other.execute("COMMIT")
    other.close()
    assert orders.sell(store, "000000000001", 1) == 1


def test_an_account_whose_money_counts_past_its_end(store: Store) -> None:
    """Devices count fen modulo 2**32; the head-end's books count on."""
    village = Village()
    village.meter(0)
    total_fen = 0
    for _ in range(60):
        total_fen += 10**8
        village.credit_fen[0] = (total_fen - 10**8) % 2**32
        balance = {"credit_fen": total_fen % 2**32, "balance_fen": 10**8}
        village.top_up(0, 10**8, **balance)
        fields = {"residue_e7": 0, "residue_e11": 0, "status": 0, "used_wh": 5}
        registers = {"debit_fen": total_fen % 2**32, "registers_wh": [0] * 8}
        village.write(RecordKind.READING, {**fields, **registers}, 0)
    ingest_all(store, village)
    (row,) = store.rows("SELECT * FROM accounts")
    assert (row["credit_fen"], row["debit_fen"]) == (6 * 10**9, 6 * 10**9)
    assert store.rows("SELECT * FROM findings") == []


def test_what_had_to_make_room_is_known_and_not_lost(store: Store) -> None:
    village = village_of(1, 3)
    items: list[Record | Gap] = list(village.records)
    items[3:5] = [Gap(4, 2, Reason.READINGS | Reason.ITEMS)]
    payload = build_batch([*items, Gap(items[-1].seq + 1, 1000, Reason.FREEZES)])
    ingest = Ingest(store, KEYS)
    assert bring(ingest, 1, payload) == village.durable_seq + 1000
    told = {"batches": 1, "records": village.durable_seq - 2, "let_go": 1002}
    assert ingest.counters == told
    gaps = store.rows("SELECT * FROM gaps")
    assert [(row["first_seq"], row["reasons"]) for row in gaps] == [(4, 5), (items[-1].seq + 1, 2)]
    again = Ingest(store, KEYS)
    assert bring(again, 2, payload) == village.durable_seq + 1000
    assert again.counters["let_go"] == 0, "told again, and noted once"
    assert len(store.rows("SELECT * FROM gaps")) == 2
    result = reconcile(store)
    assert (result.records_let_go, result.records_lost) == (1002, 0)
    assert not [one for one in result.differences if "lost" in one]


def test_what_cannot_be_read_any_more_is_lost(store: Store) -> None:
    village = village_of(1, 3)
    items: list[Record | Gap] = list(village.records)
    items[3:4] = [Gap(4, 1, Reason.UNREADABLE)]
    bring(Ingest(store, KEYS), 1, build_batch(items))
    assert "concentrator 7: records 4 to 4 are lost" in differences(store)
