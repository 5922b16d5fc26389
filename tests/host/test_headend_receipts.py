"""Goal: a receipt has all that a buyer and an auditor need, and a quote agrees with the bill.

Method: quotes are held against the second opinion on prices, which bills what was quoted; receipts
are drawn on each paper in both languages, and their text is looked at.
"""

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from host.billing import quotes
from host.billing.pricing import Account
from host.cli import cli
from host.frames.tariff import load
from host.headend import audit, orders, receipts
from host.headend.ingest import Ingest
from host.headend.orders import Till
from host.headend.store import Store
from host.words import speaking
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

TARIFF = load(Path(__file__).parents[2] / "tariffs" / "beijing.json")
NOON = datetime(2026, 7, 15, 12)
NAME = account_name(0)


def billed(used_wh: int, energy_wh: int) -> Fraction:
    """Return what the second opinion charges for energy at noon, in yuan."""
    account = Account(TARIFF)
    account.start(NOON, [0])
    account.used_wh = used_wh
    account.read(NOON, [energy_wh])
    return account.charged_yuan


@given(st.integers(0, 6_000_000), st.integers(1, 5_000_000))
def test_energy_costs_what_it_is_billed(used_wh: int, energy_wh: int) -> None:
    fen = quotes.amount_fen_for(TARIFF, 0, used_wh, NOON, energy_wh)
    assert 0 <= Fraction(fen, 100) - billed(used_wh, energy_wh) < Fraction(1, 100)


@given(st.integers(0, 6_000_000), st.integers(1, 500_000))
def test_an_amount_buys_what_it_pays_for_and_no_less(used_wh: int, fen: int) -> None:
    energy_wh = quotes.energy_wh_for(TARIFF, 0, used_wh, NOON, fen)
    assert billed(used_wh, energy_wh) <= Fraction(fen, 100) < billed(used_wh, energy_wh + 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as one:
        deliver(Ingest(one, KEYS), village_of(1, 2))
        orders.sell_once(one, NAME, 4995, "2026-07-0001", Till("Li", "scan"))
        yield one


def test_a_receipt_has_amount_energy_balance_order_and_reference(store: Store) -> None:
    one = receipts.receipt_of(store, NAME, 2, 99_900)
    told = dict(receipts.lines_of(one))
    assert told["amount"] == "49.95 yuan"
    assert told["buys now about"] == "99.90 kWh"
    assert told["order"] == "2"
    assert told["reference"] == "2026-07-0001"
    assert told["cashier"] == "Li"
    assert "balance before" in told
    assert audit.has_digest(store, one.audit_digest)
    with speaking("zh"):
        assert "金额" in dict(receipts.lines_of(one))


@pytest.mark.parametrize("paper", receipts.PAPERS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_paper_is_drawn_in_each_language(
    store: Store, tmp_path: Path, paper: str, language: str
) -> None:
    out = tmp_path / "r.pdf"
    words = ["headend", "receipt", NAME, "--db", store.address, "--order", "2", "--out", str(out)]
    words += ["--paper", paper, "--language", language, "--url", "http://127.0.0.1/h/1"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    content = out.read_bytes()
    assert content.startswith(b"%PDF-")
    width = receipts.PAPERS[paper] * 72 / 25.4
    assert f"/MediaBox [ 0 0 {width:.4f}"[:20].encode() in content
    missing = CliRunner().invoke(cli, [*words[:6], "9", *words[7:]])
    assert (missing.exit_code, "there is no order 9" in missing.output) == (1, True)


def test_what_was_taken_back_says_so(store: Store) -> None:
    orders.void(store, NAME, 2, "typo", Till("Li"))
    assert receipts.receipt_of(store, NAME, 2).is_void


def test_the_command_quotes_both_ways(store: Store) -> None:
    path = Path(__file__).parents[2] / "tariffs" / "beijing.json"
    words = ["headend", "quote", NAME, "--db", store.address, "--tariff", str(path)]
    done = CliRunner().invoke(cli, [*words, "--energy", "100"])
    assert (done.exit_code, "100.00 kWh" in done.output) == (0, True), done.output
    done = CliRunner().invoke(cli, [*words, "--amount", "50", "--json"])
    assert (done.exit_code, '"amount_fen": 5000' in done.output) == (0, True), done.output
    assert CliRunner().invoke(cli, words).exit_code == 2


def test_energy_is_sold_at_what_it_costs_today_after_what_was_used(store: Store) -> None:
    path = Path(__file__).parents[2] / "tariffs" / "beijing.json"
    with store.writing() as database:
        database.run("UPDATE accounts SET used_wh = 2830000")  # 50 kWh below the second tier
    words = ["headend", "sell", "--db", store.address, "--account", NAME, "--energy", "100"]
    done = CliRunner().invoke(cli, [*words, "--tariff", str(path)])
    assert done.exit_code == 0, done.output
    sold = orders.newest_order(store, NAME)
    assert sold is not None
    expected = quotes.amount_fen_for(TARIFF, 0, 2_830_000, NOON, 100_000)
    assert sold.amount_fen == expected
    assert f"rounded up to a fen\norder {sold.order}" in done.output
    without = CliRunner().invoke(cli, words)
    assert (without.exit_code, "needs --tariff" in without.output) == (2, True)
    both = CliRunner().invoke(cli, [*words, "--amount", "5"])
    assert (both.exit_code, "takes the place" in both.output) == (2, True)
