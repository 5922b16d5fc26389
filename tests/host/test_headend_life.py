"""Goal: each step in the life of an account is whole or not at all, has its paper, and is undone
only by another paper, which puts back exactly what was before.

Method: accounts are opened, taken over, changed, exchanged, transferred, closed and written off,
on a database with records of a concentrator; then each step is undone.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import approvals, life, orders, registry
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.life import Act
from host.headend.orders import Till
from host.headend.registry import Entry, Ratio
from host.headend.store import Store
from tests.host.uplink_world import KEYS, Village, account_name, deliver, meter_address

NAME, OTHER = account_name(0), account_name(1)
LI = Act("Li", "as the form says")
WANG = Entry(NAME, "C-1", "Wang Fang", "13800000000", meter=meter_address(0))
TABLES = ("contracts", "customers", "devices", "installations", "cards", "orders")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give a database whose concentrator knows two accounts: 50 yuan here, a debt of 3 there."""
    village = Village()
    for row in (0, 1):
        village.meter(row)
        village.reading(row, 0)
    village.top_up(0, 5000)
    village.reading(1, 300)
    with Store(tmp_path / "village.db", create=True) as one:
        orders.sell(one, NAME, 5000)
        deliver(Ingest(one, KEYS), village)
        yield one


def rows(store: Store) -> dict[str, list[dict[str, Any]]]:
    return {table: store.rows(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}


def open_it(store: Store) -> int:
    return life.open_account(store, WANG, [12_000], LI)


def test_an_account_is_opened_once_with_its_paper(store: Store) -> None:
    number = open_it(store)
    (entry,) = registry.entries(store)
    assert (entry.name, entry.meter) == ("Wang Fang", meter_address(0))
    (paper,) = life.papers(store, NAME)
    assert (paper["number"], paper["kind"], paper["by"]) == (number, life.OPENED, "Li")
    assert paper["detail"]["before"]["contracts"] == []
    (meter,) = life.meters_of(store, NAME)
    assert (meter["first_wh"], meter["until_at"]) == ([12_000], None)
    with pytest.raises(StoreError, match="open already"):
        open_it(store)
    with pytest.raises(StoreError, match=f"is at account {NAME}"):
        life.open_account(store, Entry(OTHER, "C-2", "Li", meter=meter_address(0)), [0], LI)
    assert store.value("SELECT count(*) FROM contracts") == 1, "all or nothing"


def test_a_balance_and_what_was_used_are_taken_over(store: Store) -> None:
    life.open_account(store, WANG, [0], LI, balance_fen=1234, used_wh=77_000)
    sold = orders.find_order(store, NAME)
    assert sold is not None
    assert sold.amount_fen == 1234
    assert store.value("SELECT channel FROM orders WHERE amount_fen = 1234") == orders.TAKEN_OVER
    (text,) = (row["text"] for row in store.rows("SELECT text FROM commands"))
    assert text == f"account used {NAME} 77"


def test_a_card_can_replace_another(store: Store) -> None:
    open_it(store)
    life.replace_card(store, NAME, "AA", LI)
    life.replace_card(store, NAME, "BB", Act("Li", "lost"))
    cards = {row["uid"]: row["until_at"] is None for row in store.rows("SELECT * FROM cards")}
    assert cards == {"AA": False, "BB": True}


def test_a_meter_is_exchanged_with_its_last_register(store: Store) -> None:
    open_it(store)
    with pytest.raises(StoreError, match="below that of the meter's installation"):
        life.exchange_meter(store, NAME, [11_999], "000000000099", [0], LI)
    life.exchange_meter(store, NAME, [99_000], "000000000099", [500], LI, Ratio(40, "200/5"))
    old, new = life.meters_of(store, NAME)
    assert (old["last_wh"], new["first_wh"], new["multiplier"]) == ([99_000], [500], 40)
    (kept,) = (one.ratio for one in registry.entries(store) if one.account == NAME)
    assert kept == Ratio(40, "200/5")
    assert registry.entries(store)[0].meter == "000000000099"


def test_an_account_goes_to_another_person_with_its_balance(store: Store) -> None:
    open_it(store)
    zhao = Entry(NAME, "C-9", "Zhao")
    life.transfer(store, zhao, LI)
    (entry,) = registry.entries(store)
    assert (entry.customer, entry.name, entry.meter) == ("C-9", "Zhao", meter_address(0))
    with pytest.raises(StoreError, match="already"):
        life.transfer(store, zhao, LI)


def test_closing_pays_the_balance_back_and_frees_the_meter(store: Store) -> None:
    open_it(store)
    order = orders.sell(store, NAME, 100)
    with pytest.raises(StoreError, match="not redeemed"):
        life.close_account(store, NAME, [20_000], LI)
    orders.void(store, NAME, order, "typo", Till("Li"))
    life.close_account(store, NAME, [20_000], LI)
    (*_, paper) = life.papers(store, NAME)
    assert (paper["kind"], paper["amount_fen"]) == (life.CLOSED, -5000)
    refund = orders.find_order(store, NAME)
    assert refund is not None
    assert refund.amount_fen == -5000
    assert registry.entries(store) == []
    with pytest.raises(StoreError, match="is not open"):
        life.close_account(store, NAME, [20_000], LI)
    tenant = Entry(NAME, "C-5", "Sun", meter=meter_address(0))
    life.open_account(store, tenant, [20_000], LI)
    assert registry.entries(store)[0].name == "Sun"


def test_a_debt_is_forgiven_only_by_two(store: Store) -> None:
    life.open_account(store, Entry(OTHER, "C-2", "Qian"), [0], LI)
    with pytest.raises(StoreError, match=r"owes 3\.00 yuan"):
        life.close_account(store, OTHER, [0], LI)
    number = approvals.ask(store, approvals.WRITE_OFF, OTHER, 300, "Li", "died")
    for by, why in (("Li", "another person"), ("", "another person")):
        with pytest.raises(StoreError, match=why):
            approvals.decide(store, number, by, True)
    with pytest.raises(StoreError, match="not given yet"):
        life.write_off(store, OTHER, 300, LI, number)
    approvals.decide(store, number, "Chen", True)
    with pytest.raises(StoreError, match="is not for"):
        life.write_off(store, OTHER, 299, LI, number)
    with pytest.raises(StoreError, match="not more"):
        life.write_off(store, OTHER, 301, LI, number)
    life.write_off(store, OTHER, 300, LI, number)
    with pytest.raises(StoreError, match="used"):
        life.write_off(store, OTHER, 300, LI, number)
    sold = orders.find_order(store, OTHER)
    assert sold is not None
    assert sold.amount_fen == 300


def approved_write_off(store: Store) -> int:
    number = approvals.ask(store, approvals.WRITE_OFF, OTHER, 300, "Li", "died")
    approvals.decide(store, number, "Chen", True)
    return life.write_off(store, OTHER, 300, LI, number)


STEPS: tuple[Callable[[Store], int], ...] = (
    lambda store: life.open_account(store, WANG, [0], LI, balance_fen=10),
    lambda store: life.set_household(store, NAME, "2026-08-01", 5, 2, LI),
    lambda store: life.exchange_meter(store, NAME, [99_000], "000000000099", [0], LI),
    lambda store: life.replace_card(store, NAME, "BB", LI),
    lambda store: life.transfer(store, Entry(NAME, "C-9", "Zhao"), LI),
    lambda store: life.close_account(store, NAME, [99_000], LI),
    approved_write_off,
)


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_each_step_is_undone_by_another_paper_and_only_once(store: Store, step: int) -> None:
    if step:
        open_it(store)
        life.replace_card(store, NAME, "AA", LI)
    before = rows(store)
    number = STEPS[step](store)
    undoing = life.undo(store, number, Act("Li", "a mistake"))
    now = rows(store)
    sold = [one for one in now.pop("orders") if one["voided_at"] is None]
    assert sold == before.pop("orders"), "the money went back"
    # Persons and meters that came stay known, without an account.
    owners = {one["customer"] for one in now["contracts"]}
    now["customers"] = [one for one in now["customers"] if one["customer"] in owners]
    now["devices"] = [one for one in now["devices"] if one["account"]]
    assert now == before
    papers = life.papers(store, OTHER if step == 6 else NAME)
    assert [one["number"] for one in papers][-2:] == [number, undoing]
    assert (papers[-1]["undoes"], papers[-1]["amount_fen"]) == (number, -papers[-2]["amount_fen"])
    with pytest.raises(StoreError, match="is not its newest"):
        life.undo(store, number, LI)


def test_only_the_newest_paper_is_undone_and_what_is_redeemed_stays(store: Store) -> None:
    first = open_it(store)
    life.replace_card(store, NAME, "AA", LI)
    with pytest.raises(StoreError, match="is not its newest"):
        life.undo(store, first, LI)
    closed = life.close_account(store, NAME, [99_000], LI)
    with store.writing() as database:
        database.run('UPDATE accounts SET "order" = 2 WHERE account = ?', (NAME,))
    with pytest.raises(StoreError, match="is redeemed"):
        life.undo(store, closed, LI)
    with pytest.raises(StoreError, match="no paper 99"):
        life.undo(store, 99, LI)
    with pytest.raises(StoreError, match="has a name"):
        life.open_account(store, Entry(OTHER, "C-2", "Qian"), [0], Act(" "))
    assert json.dumps(life.papers(store, NAME))


def run(*words: object) -> str:
    done = CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return done.output


def test_the_commands_lead_an_account_from_its_opening_to_its_close(store: Store) -> None:
    db = ("--db", store.address, "--by", "Li")
    meter = meter_address(0)
    who = ("account", "open", NAME, *db, "--name", "王芳", "--meter", meter, "--register", "12.5")
    assert "paper 1" in run(*who)
    steps = (
        ("household", "--from", "2026-08-01", "--persons", 5, "--kind", 2),
        ("exchange", "--last", "99", "--meter", "99", "--register", "0.25"),
        ("card", "--uid", "04a1"),
        ("transfer", "--customer", "C-9", "--name", "赵"),
        ("close", "--last", "10", "--reason", "moved"),
    )
    for number, (step, *words) in enumerate(steps, 2):
        assert f"paper {number}" in run("account", step, NAME, *db, *words)
    assert "paper 7" in run("account", "undo", 6, *db)
    papers = json.loads(run("account", "papers", NAME, "--db", store.address, "--json"))["papers"]
    assert [one["undoes"] for one in papers] == [0, 0, 0, 0, 0, 0, 6]
    assert "-50.00" in run("account", "papers", NAME, "--db", store.address)
    assert "[12500]" in run("account", "meters", NAME, "--db", store.address)
    large = ("--db", store.address, "--amount", 200_000)
    done = CliRunner().invoke(cli, ["headend", "sell", *map(str, large), "--account", NAME])
    assert (done.exit_code, "approval ask" in done.output) == (1, True)
    asked = run("approval", "ask", NAME, *large, "--for", "sale", "--by", "Li")
    assert "approval 1 waits" in asked
    assert "Li" in run("approval", "list", "--db", store.address, "--waiting")
    assert "approved" in run("approval", "decide", 1, "--db", store.address, "--by", "Chen")
    run("sell", *large, "--account", NAME, "--approval", 1, "--cashier", "Li")
    run("approval", "ask", OTHER, *db, "--for", "write-off", "--amount", 3)
    run("approval", "decide", 2, "--db", store.address, "--by", "Chen")
    run("account", "write-off", OTHER, *db, "--amount", 3, "--approval", 2)
