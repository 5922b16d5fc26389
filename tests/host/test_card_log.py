"""Goal: the log of cards cannot lose its newest lines unseen, and `card show` says what is proved.

Method: cards are issued with a database, and the log is cut, written anew or held against orders.
"""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cards import keystore
from host.cli import cli
from host.frames import card as frames
from host.frames.card_keys import wrap_key
from host.headend import card_log, orders
from host.headend.findings import findings
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.card_desk import served
from tests.host.test_card_cli import ACCOUNT, METER, desk_for, issue, run, shop
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

__all__ = ["shop"]
LOG = Path("card-log.jsonl")


@pytest.fixture
def town(shop: Path) -> Path:
    """Make a database with an order for each of three accounts."""
    with Store("village.db", create=True) as store:
        for row in range(3):
            orders.sell(store, account_name(row), 1000)
        deliver(Ingest(store, KEYS), village_of(3, 5))
    return shop


def sell_and_issue(row: int) -> str:
    with Store("village.db") as store:
        order = orders.sell(store, account_name(row), 5000)
    file = f"{row}-{order}.bin"
    done = run("issue", "--file", file, "--account", account_name(row), "--db", "village.db")
    assert done.exit_code == 0, done.output
    return done.output


def of_logs() -> list[str]:
    with Store("village.db", read_only=True) as store:
        return [row["what"] for row in findings(store, kind=card_log.KIND)]


def test_the_head_is_on_receipts_and_at_the_head_end(town: Path) -> None:
    said = sell_and_issue(0)
    assert "head of the log: 2:" in said
    head = said.rsplit(" ", 1)[1].strip()
    assert f"head {head}" in run("log").output
    assert json.loads(issue(1, "--json").output)["log_head"].startswith("4:")
    sell_and_issue(1)
    assert of_logs() == [], "nothing is wrong"
    with Store("village.db", read_only=True) as store:
        (row,) = findings(store, closed=True, kind=card_log.KIND)
    assert "has 6 lines" in row["what"]


def test_a_receipt_of_a_sale_bears_the_heads_that_the_head_end_knows(town: Path) -> None:
    words = ["headend", "sell", "--db", "village.db", "--account", account_name(2)]
    assert "head of the log" not in CliRunner().invoke(cli, [*words, "--amount", "1"]).output
    head = sell_and_issue(0).rsplit(" ", 1)[1].strip()
    said = CliRunner().invoke(cli, [*words, "--amount", "1"]).output
    assert f":{head}\n" in said.partition("head of the log of cards: ")[2]
    told = json.loads(CliRunner().invoke(cli, [*words, "--amount", "1", "--json"]).output)
    assert [one.partition(":")[2] for one in told["log_heads"]] == [head]


def test_the_newest_lines_taken_off_are_noticed(town: Path) -> None:
    """The chain alone does not tell: what is left is whole."""
    sell_and_issue(0)
    first_lines = LOG.read_bytes()
    sell_and_issue(1)
    LOG.write_bytes(first_lines)
    assert "2 lines, none of them changed" in run("log").output
    done = run("log", "--db", "village.db")
    assert (done.exit_code, "was told of 4 lines" in done.output) == (1, True)
    assert "warning: card-log.jsonl had 4 lines" in sell_and_issue(2)
    (what,) = of_logs()
    assert "had 4 lines with the head" in what


def test_the_log_is_held_against_the_orders(town: Path) -> None:
    sell_and_issue(0)
    done = run("log", "--db", "village.db")
    assert done.exit_code == 0, done.output
    assert "1 orders on cards by this log, 0 more by others" in done.output
    assert issue(7, amount="99.00").exit_code == 0
    done = run("log", "--db", "village.db")
    assert done.exit_code == 1
    assert f"order 7 of account {ACCOUNT}, 99.00 yuan, is on card" in done.output
    run("issue", "--file", "x.bin", "--account", account_name(1), "--db", "village.db")
    LOG.write_bytes(b"")
    assert (
        "0 orders on cards by this log, 1 more by others"
        in run("log", "--db", "village.db").output
    )


def shown(file: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(run("show", "--file", file, "--json").output)
    return found


def test_show_says_what_the_mark_proves(shop: Path) -> None:
    assert issue(1).exit_code == 0
    assert shown("card.bin")["the mark proves"].startswith("nothing: no concentrator has written")
    with served(desk_for(shop)) as port:
        assert run("redeem", "--file", "card.bin", "--port", port).exit_code == 0
    assert "or a thief of one. Pay out against" in shown("card.bin")["the mark proves"]
    marked = Path("card.bin").read_bytes()
    # A refund's header beside the mark of the purchase, and the mark on another account's card.
    key = keystore.load(Path("card-keys.toml"), lambda: "").key_of(4711, 1)
    header = frames.parse(marked, key).header
    assert header is not None
    at = frames.IMAGE_OFFSET + frames.WRITE_BACK_OFFSET
    other = frames.build(
        frames.Header(**{**{n: getattr(header, n) for n in header.__slots__}, "amount_fen": 9}),
        key,
    )
    Path("copied.bin").write_bytes(marked[: frames.IMAGE_OFFSET] + other + marked[at:])
    assert "another order or amount of this account" in shown("copied.bin")["the mark proves"]
    broken = bytearray(marked)
    broken[at + 5] ^= 1
    Path("broken.bin").write_bytes(broken)
    assert shown("broken.bin")["the mark proves"].startswith("nothing: the mark is forged")
    words = ("--account", ACCOUNT, "--meter", METER, "--order", 2, "--amount", "1")
    assert run("issue", "--file", "card.bin", *words).exit_code == 0
    assert "another order or amount of this account" in shown("card.bin")["the mark proves"]


def test_show_says_what_a_serial_number_is_worth(shop: Path) -> None:
    assert issue(1).exit_code == 0
    assert "another memory card can be given the same" in shown("card.bin")["serial number"]


def test_a_clone_of_a_memory_card_brings_no_second_money(shop: Path) -> None:
    """Its serial number stands in the memory, so a thief's blank card can be given the same."""
    assert issue(1).exit_code == 0
    Path("clone.bin").write_bytes(Path("card.bin").read_bytes())
    desk = desk_for(shop)
    with served(desk) as port:
        assert run("redeem", "--file", "clone.bin", "--port", port).exit_code == 0
        done = run("redeem", "--file", "card.bin", "--port", port)
        assert "no new money" in done.output
    assert len(desk.books.credits) == 1


def test_one_order_on_cards_of_two_logs_counts_once(shop: Path) -> None:
    """That no order is issued twice holds within a log: another folder has another."""
    assert issue(1).exit_code == 0
    assert issue(1, "--log", "other.jsonl", file="second.bin").exit_code == 0
    desk = desk_for(shop)
    with served(desk) as port:
        for file in ("card.bin", "second.bin"):
            run("redeem", "--file", file, "--port", port)
    assert len(desk.books.credits) == 1


def test_one_key_card_tells_nothing_of_the_next(shop: Path) -> None:
    """Two of one serial number and number: who knows key 2 does not find key 3 from the images."""
    held = keystore.load(Path("card-keys.toml"), lambda: "")
    keys = [held.key_of(4711, version) for version in (1, 2, 3)]
    images = [wrap_key(keys[0], keys[version - 1], "AB" * 8, 5, version) for version in (2, 3)]
    told = bytes(a ^ b ^ c for a, b, c in zip(images[0], images[1], keys[1], strict=True))
    assert told != keys[2]


def test_the_log_is_listed_in_every_form(town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("log", "--db", "village.db")
    assert "the log has no card" in run("log").output
    sell_and_issue(0)
    told = json.loads(run(*words, "--json").stdout)["log"]
    assert [(one["stage"], one["kind"], one["amount_fen"]) for one in told] == [
        ("begun", "purchase", 5000),
        ("done", "purchase", 5000),
    ]
    (head, *rows) = csv.reader(io.StringIO(run(*words, "--csv").stdout))
    assert dict(zip(head, rows[0], strict=True))["account"] == account_name(0)
    table = run("log", COLUMNS="20").stdout
    assert all(one in table for one in (account_name(0), told[0]["uid"], told[0]["at"], "50.00"))
    assert run(*words, "--csv", "--json").exit_code == 2
    LOG.write_bytes(LOG.read_bytes().replace(b"5000", b"5001"))
    done = run(*words, "--json")
    assert (done.exit_code, len(json.loads(done.stdout)["log"])) == (1, 2)
    assert "was changed at or before line 1" in done.stderr
