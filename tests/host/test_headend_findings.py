"""Goal: what a concentrator reports that a person has to look at becomes a finding, which is open
until the concentrator says that it is over or a person says who has looked and why it is well.

Method: the firmware's books and card reader write the records of doubts, relays, cards and clocks;
their journal goes to the head-end as it is. What no device does is written by hand. The commands
run as a clerk types them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames.link import Kind
from host.headend import findings as found_here
from host.headend import orders
from host.headend.ingest import Ingest
from host.headend.reconcile import reconcile
from host.headend.store import Store
from tests.host.real_station import RealStation
from tests.host.uplink_world import KEYS, account_name, deliver, frame, village_of

NAME = account_name(0)
DB = ("--db", "village.db")


def run(*words: object) -> Result:
    """Run `dianka headend WORDS`."""
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "120"})


class Village:
    """A station of the firmware and the head-end that its records go to."""

    def __init__(self) -> None:
        made = CliRunner().invoke(cli, ["card", "keys", "new", "--district", "4711", "--unsealed"])
        assert made.exit_code == 0, made.output
        self.store = Store("village.db", create=True)
        self.station = RealStation(Path("card-keys.toml"))
        self.ingest = Ingest(self.store, KEYS)
        orders.sell(self.store, NAME, 10000)
        self.station.read(0, 0)
        self.issue("card.bin")
        assert self.station.redeem(Path("card.bin")) == "OK"
        self.tell()

    def issue(self, name: str) -> None:
        """Write the account's next order on a card."""
        words = ["card", "issue", "--file", name, "--account", NAME, "--db", "village.db"]
        words += ["--meter", "000000983764"]
        made = CliRunner().invoke(cli, words)
        assert made.exit_code == 0, made.output

    def tell(self) -> None:
        self.station.tell(self.ingest)

    def findings(self, **which: Any) -> list[dict[str, Any]]:
        """Return the findings that are open, but for what is kept of logs of cards."""
        found = found_here.findings(self.store, **which)
        return [one for one in found if one["kind"] != "log"]

    def kinds(self) -> list[str]:
        return [row["kind"] for row in self.findings()]


@pytest.fixture
def village(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Village]:
    monkeypatch.chdir(tmp_path)
    one = Village()
    yield one
    one.store.close()


def reconciled(code: int, **sums: object) -> list[str]:
    """Reconcile; the status is `code`. Return the differences."""
    done = run("reconcile", *DB, "--json")
    assert done.exit_code == code, done.output
    told = json.loads(done.output)
    assert {name: told[name] for name in sums} == sums
    return [str(one) for one in told["differences"]]


def resolved(number: str, code: int = 0) -> str:
    words = ("--resolve", number, "--by", "Li", "--reason", "looked at")
    done = run("findings", *DB, *words)
    assert done.exit_code == code, done.output
    return done.output


def test_a_doubt_is_open_until_a_reading_is_believed(village: Village) -> None:
    station = village.station
    for _ in range(2):
        station.read(0, 10**6)
    village.tell()
    (one,) = village.findings()
    assert (one["kind"], one["account"]) == ("doubt", NAME)
    assert "readings in doubt, more energy than can be" in one["what"]
    (line,) = reconciled(1)
    assert "readings in doubt" in line
    station.read(0, 700 - 2 * 10**6)
    village.tell()
    assert village.findings() == []
    reconciled(0)
    (told,) = village.findings(closed=True)
    assert (told["resolved_by"], told["resolution"]) == ("concentrator 7", "billing goes on")


def test_billing_that_stopped_is_open_until_it_is_resumed_or_a_person_looked(
    village: Village,
) -> None:
    station = village.station
    for wh in (10**6, 10**6, 0, 0):
        station.read(0, wh)
    village.tell()
    (one,) = village.findings()
    assert "billing stopped" in one["what"], "the doubt before it is closed"
    assert [row["resolution"] for row in village.findings(closed=True)] == ["told again", ""]
    reconciled(1)
    assert resolved(one["number"]) == f"finding {one['number']} is closed\n"
    reconciled(0)
    station.read(0, 0)
    assert station.books.resume(0, station.values[0])
    station.read(0, 10)
    village.tell()
    assert village.findings() == []


def test_a_relay_that_does_not_move_is_open_until_it_does(village: Village) -> None:
    station = village.station
    station.books.relay_done(0, 3, 0xFFFF)
    village.tell()
    (one,) = village.findings()
    assert (one["kind"], "could not be closed" in one["what"]) == ("relay", True)
    assert reconciled(0, notices=1) == []
    station.books.relay_done(0, 2, 0)
    village.tell()
    assert village.findings() == []


def test_a_supply_that_is_off_and_should_be_on_is_told_after_two_readings(
    village: Village,
) -> None:
    station = village.station
    station.read(0, 10, status=0x10)
    village.tell()
    assert village.findings() == [], "a command may be under way"
    station.read(0, 10, status=0x10)
    station.read(0, 10, status=0x10)
    village.tell()
    (one,) = village.findings()
    assert one["what"] == f"the relay of account {NAME} is open and should be closed"
    village.ingest = Ingest(village.store, KEYS)  # the head-end starts again
    station.read(0, 10, status=0)
    village.tell()
    assert village.findings() == []


def test_a_card_that_was_refused_is_a_notice_for_the_counter(village: Village) -> None:
    assert village.station.redeem(Path("card.bin")) == "USED"
    assert village.station.redeem(Path("card.bin")) == "USED"
    village.tell()
    (one,) = village.findings()
    assert (one["kind"], one["account"]) == ("card", NAME)
    assert "Err-34.18 the card was used already" in one["what"]
    assert reconciled(0, notices=1) == []
    resolved(one["number"])
    assert village.findings() == []
    assert "no finding" in resolved(one["number"], code=1)


def test_a_card_of_another_district_names_the_account_on_it(village: Village) -> None:
    memory = bytearray(Path("card.bin").read_bytes())
    memory[32 + 40] ^= 1
    Path("card.bin").write_bytes(memory)
    assert village.station.redeem(Path("card.bin")) == "MAC"
    village.tell()
    (one,) = village.findings()
    assert "Err-32.10" in one["what"]


def test_a_step_of_a_clock_is_a_notice_and_a_small_correction_is_none(village: Village) -> None:
    books = village.station.books
    for step_s in (30, -59, 7200):
        new_t2000 = books.t2000 + step_s
        books.set_clock(new_t2000, 0)
        books.t2000 = new_t2000
    village.tell()
    (one,) = village.findings()
    assert one["kind"] == "clock"
    assert "the clock of concentrator 7 was set from 2026-03-02" in one["what"]
    assert reconciled(0, notices=1) == []


def test_a_conflict_is_open_until_somebody_looked(village: Village) -> None:
    other = village_of(1, 9)
    village.ingest.answer(frame(Kind.BATCH, 9, other.batch()), "test")
    village.ingest.answer(frame(Kind.BATCH, 10, other.batch()), "test")
    (one,) = village.findings()
    assert one["kind"] == "conflict"
    assert "record 1 differs from the one that is stored" in one["what"]
    reconciled(1)
    resolved(one["number"])
    reconciled(0)


def test_a_gap_a_foreign_record_and_a_mismatch(village: Village) -> None:
    store = Store("other.db", create=True)
    told = village_of(1, 3)
    orders.sell(store, NAME, 10000)
    told.reading(0, -1)
    told.reading(5)
    ingest = Ingest(store, KEYS)
    deliver(ingest, told)
    rows = found_here.findings(store)
    assert sorted(row["kind"] for row in rows) == ["foreign", "mismatch"]
    for row in rows:
        done = run(
            *("findings", "--db", "other.db", "--resolve", row["number"]),
            *("--by", "Wang", "--reason", "meter exchanged"),
        )
        assert done.exit_code == 0
    done = run("reconcile", "--db", "other.db", "--json")
    assert (done.exit_code, json.loads(done.output)["settled"]) == (0, 2), done.output
    store.close()


def test_money_that_was_never_sold_is_resolved_for_this_amount_alone(village: Village) -> None:
    with village.store.writing() as database:
        database.run("DELETE FROM orders")
    (one,) = village.findings()
    assert (one["kind"], one["number"][:5]) == ("order", "books")
    assert "100.00 yuan redeemed, never sold" in one["what"]
    reconciled(1)
    resolved(one["number"])
    reconciled(0, settled=1)
    assert village.findings() == []
    (closed,) = village.findings(closed=True)
    assert (closed["resolved_by"], closed["kind"]) == ("Li", "order")
    with village.store.writing() as database:
        database.run("UPDATE top_ups SET amount_fen = amount_fen + 1")
    again = [row for row in village.findings() if row["kind"] == "order"]
    assert [row["number"] == one["number"] for row in again] == [False]
    assert again[0]["what"] in reconcile(village.store).differences
