"""Goal: of an order and the one that supersedes it exactly one counts, whichever card comes first,
and the head-end's books agree with the concentrator's to the fen.

Method: the commands run as a clerk types them; the cards that they write are inserted at the
firmware's books and reader, whose records go to the head-end.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.real_station import RealStation
from tests.host.uplink_world import KEYS, account_name

NAME = account_name(0)
WHO = ("--account", NAME, "--db", "village.db")


def run(*words: object, code: int = 0) -> Result:
    """Run `dianka WORDS`, which end with the status `code`."""
    done = CliRunner().invoke(cli, [*map(str, words)], env={"COLUMNS": "120"})
    assert done.exit_code == code, done.output
    return done


class Counter:
    """A counter in its folder, and the station that its cards are for."""

    def __init__(self) -> None:
        run("card", "keys", "new", "--district", 4711, "--unsealed")
        run("headend", "init", "--db", "village.db")
        self.station = RealStation(Path("card-keys.toml"))
        self.station.read(0, 0)
        self.store = Store("village.db")
        self.ingest = Ingest(self.store, KEYS)
        self.station.tell(self.ingest)

    def sell(self, amount: str) -> int:
        """Sell; return the order."""
        told = json.loads(
            run("headend", "sell", *WHO, "--amount", amount, "--yes", "--json").output
        )
        return int(told["order"])

    def void(self, order: int, *words: str) -> None:
        """Take an order back."""
        run("headend", "void", *WHO, "--order", order, "--reason", "typo", *words)

    def issue(self, name: str) -> Path:
        """Write the account's next order on a card; return its file."""
        run("card", "issue", "--file", name, *WHO)
        return Path(name)

    def insert(self, card: Path) -> str:
        """Insert a card; the records go to the head-end. Return the result."""
        result = self.station.redeem(card)
        self.station.tell(self.ingest)
        return result

    @property
    def balance_fen(self) -> int:
        """Return the account's balance at the station."""
        return int(self.station.ledger.balance_fen(0))

    def check(self, differences: int = 0) -> None:
        """Check that the books agree, or how many differences there are."""
        found = json.loads(
            run(
                "headend", "reconcile", "--db", "village.db", "--json", code=min(1, differences)
            ).output
        )
        assert len(found["differences"]) == differences, found["differences"]
        assert found["balance_fen"] == self.balance_fen


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    monkeypatch.chdir(tmp_path)
    return Counter()


def opened(counter: Counter, amount: str = "100") -> None:
    counter.sell(amount)
    assert counter.insert(counter.issue("open.bin")) == "OK"


def test_a_void_before_the_card_costs_nothing(counter: Counter) -> None:
    assert counter.sell("5000") == 1
    counter.void(1)
    assert counter.sell("50") == 2
    card = counter.issue("a.bin")
    assert counter.insert(card) == "OK", "it opens the account, as order 1 would have"
    assert counter.balance_fen == 5000
    counter.check()
    assert counter.sell("20") == 3
    assert counter.insert(counter.issue("a.bin")) == "OK"
    counter.check()


def test_the_new_card_first_and_the_old_one_is_worth_nothing(counter: Counter) -> None:
    opened(counter)
    assert counter.sell("500") == 2
    old = counter.issue("old.bin")
    counter.void(2)
    assert counter.sell("50") == 4
    assert counter.insert(counter.issue("new.bin")) == "OK"
    assert counter.insert(old) == "ORDER_BEHIND"
    assert counter.balance_fen == 15000
    counter.check()


def test_an_order_of_no_money_makes_a_lost_card_worth_nothing(counter: Counter) -> None:
    opened(counter)
    counter.sell("500")
    old = counter.issue("old.bin")
    counter.void(2)
    assert counter.insert(counter.issue("new.bin")) == "OK"
    assert counter.insert(old) == "ORDER_BEHIND"
    assert counter.balance_fen == 10000
    counter.check()
    assert counter.sell("20") == 4
    assert counter.insert(counter.issue("new.bin")) == "OK"
    counter.check()


def test_the_old_card_first_and_the_station_is_told(counter: Counter) -> None:
    opened(counter)
    counter.sell("500")
    old = counter.issue("old.bin")
    counter.void(2)
    assert counter.sell("50") == 4
    new = counter.issue("new.bin")
    assert counter.insert(old) == "OK"
    assert counter.insert(new) == "TOO_LATE"
    assert counter.balance_fen == 60000
    counter.check(differences=1)
    found = json.loads(run("headend", "findings", "--db", "village.db", "--json", code=1).output)
    (one,) = [row for row in found["findings"] if row["kind"] == "void"]
    assert "order 2 of account 000000000001 over 500.00 yuan" in one["what"]
    orders = json.loads(run("headend", "orders", NAME, "--db", "village.db", "--json").output)
    assert [
        (row["order"], row["void_reason"]) for row in orders["orders"] if row["voided_at"]
    ] == [
        (3, "superseded"),
        (4, "superseded too late"),
    ]
    run(
        *("headend", "findings", "--db", "village.db", "--resolve", one["number"], "--by", "Li"),
        *("--reason", "450 yuan were paid at the counter"),
    )
    counter.check()
    assert counter.sell("7") == 5
    assert counter.insert(counter.issue("new.bin")) == "OK"
    counter.check()


def test_a_card_on_which_the_new_order_replaces_the_old_one(counter: Counter) -> None:
    opened(counter)
    counter.sell("500")
    card = counter.issue("card.bin")
    counter.void(2)
    counter.sell("50")
    counter.issue("card.bin")
    assert counter.insert(card) == "OK"
    assert counter.balance_fen == 15000
    counter.check()


def test_a_refund_that_is_changed_counts_once(counter: Counter) -> None:
    opened(counter)
    for amount, order in (("20", 2), ("30", 3)):
        done = run("headend", "refund", *WHO, "--amount", amount, "--json")
        assert json.loads(done.output)["order"] == order
        card = counter.issue(f"{order}.bin")
    assert counter.insert(card) == "OK"
    assert counter.insert(Path("2.bin")) == "ORDER_BEHIND"
    assert counter.balance_fen == 7000
    counter.check()
    run("headend", "refund", *WHO, "--amount", "20")
    old = counter.issue("old.bin")
    run("headend", "refund", *WHO, "--amount", "0")
    new = counter.issue("new.bin")
    assert counter.insert(old) == "OK"
    assert counter.insert(new) == "TOO_LATE"
    assert counter.balance_fen == 5000
    counter.check(differences=1)


def test_a_lost_card_is_replaced_with_what_the_head_end_knows(counter: Counter) -> None:
    opened(counter)
    counter.sell("500")
    old = counter.issue("old.bin")
    counter.void(2)
    counter.sell("50")
    lost = counter.issue("lost.bin")
    run("card", "replace", "--file", "new.bin", *WHO)
    assert counter.insert(Path("new.bin")) == "OK"
    assert counter.insert(lost) == "OTHER_CARD"
    assert counter.insert(old) == "ORDER_BEHIND"
    counter.check()
    run("card", "topup", "--file", "new.bin", "--amount", "9.99", "--db", "village.db")
    assert counter.insert(Path("new.bin")) == "OK"
    assert counter.balance_fen == 15000 + 999
    counter.check()
