"""Goal: money is where the books say, whatever cashiers and counters without a network do.

Method: five cashiers and two offline counters do random actions on three accounts: sell, void,
refund, redeem also from stale cards, pay out, open, count and close drawers, lease, sell off line
and from copied files, bring back with the cash, give up. After each action the sums are held
against a model of a few counters, and against the audit log. The share in CI is small;
`DIANKA_ACTIONS=20000` does them all (`make soak`).
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from host.headend import audit, drawer, figures, leases, migrate, offline, orders, shifts
from host.headend.errors import StoreError
from host.headend.orders import Till
from host.headend.reconcile import households
from host.headend.settling import settle
from host.headend.store import Store
from tools.cluster import cluster

ACTIONS = int(os.environ.get("DIANKA_ACTIONS", "500"))
STEPS = 50
ACCOUNTS = tuple(f"{number:012d}" for number in (1, 2, 3))
CASHIERS = ("Li", "Wang", "Chen", "Zhao", "Sun")
COUNTERS = ("laptop-1", "laptop-2")
accounts = st.sampled_from(ACCOUNTS)
cashiers = st.sampled_from(CASHIERS)
amounts = st.integers(1, 20_000)


def acts(weight: int, **draws: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Return what makes an action of a method, so often among all actions."""

    def note(function: Any) -> Any:
        DRAWN.extend([(function.__name__, draws)] * weight)
        return function

    return note


# The actions, each as often as it weighs.
DRAWN: list[tuple[str, dict[str, st.SearchStrategy[Any]]]] = []


class Device:
    """An account at its concentrator, which takes orders in sequence; some supersede others."""

    def __init__(self) -> None:
        self.order = self.credit_fen = 0
        self.taken: set[int] = set()
        self.cards: list[tuple[int, int, int]] = []  # order, amount, the first superseded


class Money(RuleBasedStateMachine):
    """The head-end, the devices, the drawers and the files of leases."""

    address = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        place = self.address or str(Path(self.folder.name) / "village.db")
        self.store = Store(place, create=not self.address)
        if self.address:
            empty(self.store)
        self.devices = {name: Device() for name in ACCOUNTS}
        self.cash: dict[str, int] = {}  # of the open drawers
        self.files: dict[str, Path] = {}
        self.leased: dict[str, set[str]] = {}
        self.lost: dict[tuple[str, int], int] = {}  # sold by counters that never came back
        self.count = self.steps = 0
        with self.store.writing() as database:
            database.run("UPDATE station SET limit_fen = 100000000, day_limit_fen = 100000000")
            rows = [(name, 7, f"{at:012d}") for at, name in enumerate(ACCOUNTS)]
            database.insert_new("accounts", ("account", "concentrator", "meter"), rows)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    # --- the counter -----------------------------------------------------------------------------

    @acts(8, account=accounts, cashier=cashiers, fen=amounts, carded=st.booleans())
    def sell(self, account: str, cashier: str, fen: int, carded: bool) -> None:
        if any(account in wanted for wanted in self.leased.values()):
            with pytest.raises(StoreError, match="is leased"):
                orders.sell(self.store, account, fen, Till(cashier))
            return
        order = orders.sell(self.store, account, fen, Till(cashier))
        self.add_cash(cashier, fen)
        if carded:
            self.card(account, order)

    def card(self, account: str, order: int) -> None:
        """Put an order on a card, which may stay in somebody's pocket."""
        sold = orders.find_order(self.store, account, order)
        assert sold is not None
        orders.set_carded(self.store, account, order)
        self.devices[account].cards.append((order, sold.amount_fen, sold.supersedes))

    def add_cash(self, cashier: str, fen: int) -> None:
        if cashier in self.cash:
            self.cash[cashier] += fen

    @acts(4, account=accounts, cashier=cashiers)
    def void(self, account: str, cashier: str) -> None:
        sold = orders.newest_order(self.store, account)
        if sold is None:
            return
        try:
            orders.void(self.store, account, sold.order, "typo", Till(cashier))
        except StoreError:
            return
        if sold.amount_fen > 0:
            self.add_cash(cashier, -sold.amount_fen)

    @acts(3, account=accounts, cashier=cashiers, fen=st.integers(0, 5_000))
    def refund(self, account: str, cashier: str, fen: int) -> None:
        try:
            orders.refund(self.store, account, fen, Till(cashier))
        except StoreError:
            return

    @acts(6, account=accounts)
    def redeem(self, account: str) -> None:
        sold = orders.find_order(self.store, account)
        if sold is not None:
            self.redeem_card(account, sold.order, sold.amount_fen, sold.supersedes)

    @acts(3, account=accounts, which=st.integers(0, 30))
    def redeem_what_is_in_a_pocket(self, account: str, which: int) -> None:
        cards = self.devices[account].cards
        if cards:
            self.redeem_card(account, *cards[which % len(cards)])

    def redeem_card(self, account: str, order: int, fen: int, supersedes: int) -> None:
        """Have the device take a card, as firmware does, and tell of it."""
        device = self.devices[account]
        first = supersedes or order
        if not first - 1 <= device.order < order:
            return
        device.order = order
        device.taken.add(order)
        device.credit_fen += fen
        self.count += 1
        told = {"account": account, "order": order, "concentrator": 7, "seq": self.count}
        row: dict[str, Any] = {**told, "t2000": 1, "amount_fen": fen}
        row |= {"credit_fen": device.credit_fen, "balance_fen": device.credit_fen}
        with self.store.writing() as database:
            database.insert_new("top_ups", tuple(row), [tuple(row.values())])
            database.run(
                'UPDATE accounts SET "order" = ?, credit_fen = ? WHERE account = ?',
                (order, device.credit_fen, account),
            )
            list(settle(database, [row], 1))

    # --- drawers ---------------------------------------------------------------------------------

    @acts(3, cashier=cashiers, fen=amounts)
    def open_drawer(self, cashier: str, fen: int) -> None:
        if cashier in self.cash:
            with pytest.raises(StoreError, match="open already"):
                shifts.open_shift(self.store, cashier, fen)
        else:
            shifts.open_shift(self.store, cashier, fen)
            self.cash[cashier] = fen

    @acts(1, which=st.integers(0, 9), to=cashiers, off=st.sampled_from((0, 0, -100, 50)))
    def close_drawer(self, which: int, to: str, off: int) -> None:
        if not self.cash:
            return
        cashier = sorted(self.cash)[which % len(self.cash)]
        counted = self.cash[cashier] + off
        handed_to = "" if to in self.cash else to
        if off:
            with pytest.raises(StoreError, match="count again"):
                shifts.close_shift(self.store, cashier, counted, "", handed_to)
        done = shifts.close_shift(self.store, cashier, counted, "lost" if off else "", handed_to)
        assert done.difference_fen == off
        assert audit.has_digest(self.store, done.digest)
        del self.cash[cashier]
        if handed_to:
            self.cash[handed_to] = counted

    @acts(2, which=st.integers(0, 9), fen=st.integers(-5_000, 5_000))
    def move_cash(self, which: int, fen: int) -> None:
        if not self.cash:
            return
        cashier = sorted(self.cash)[which % len(self.cash)]
        if self.cash[cashier] + fen < 0:
            with pytest.raises(StoreError, match="not so much cash"):
                shifts.move_cash(self.store, cashier, fen, "bank")
        else:
            self.cash[cashier] += fen
            assert shifts.move_cash(self.store, cashier, fen, "bank") == self.cash[cashier]

    @acts(3, account=accounts, cashier=cashiers)
    def pay_out(self, account: str, cashier: str) -> None:
        refunds = self.store.rows(
            'SELECT "order" FROM orders WHERE account = ? AND amount_fen < 0 '
            "AND voided_at IS NULL",
            (account,),
        )
        for row in refunds:
            try:
                fen = shifts.pay_out(self.store, account, row["order"], cashier)
            except StoreError:
                continue
            assert row["order"] <= self.devices[account].order, "redeemed before"
            self.add_cash(cashier, -fen)
            with pytest.raises(StoreError):
                shifts.pay_out(self.store, account, row["order"], cashier)

    # --- counters without a network --------------------------------------------------------------

    @acts(3, counter=st.sampled_from(COUNTERS), wanted=st.sets(accounts, min_size=1))
    def lease(self, counter: str, wanted: set[str]) -> None:
        if counter in self.files:
            return
        wanted_names = sorted(wanted)
        with self.laptop(counter):
            code = offline.laptop_code()
        try:
            terms = leases.lease(self.store, counter, code, wanted_names, 4, 30_000, 14, "Li")
        except StoreError:
            return
        path = Path(self.folder.name) / f"{counter}-{terms.lease}.lease"
        path.write_text(offline.first_line(terms) + "\n", encoding="utf-8")
        self.files[counter], self.leased[counter] = path, wanted

    def laptop(self, counter: str) -> AbstractContextManager[Any]:
        """Be on the computer of a counter, with what it keeps beside the files of leases."""
        return mock.patch.dict(os.environ, XDG_STATE_HOME=f"{self.folder.name}/{counter}")

    @acts(6, counter=st.sampled_from(COUNTERS), account=accounts, fen=amounts, typo=st.booleans())
    def sell_off_line(self, counter: str, account: str, fen: int, typo: bool) -> None:
        path = self.files.get(counter)
        if path is None:
            return
        try:
            with self.laptop(counter):
                sold = offline.sell(path, account, fen, "Wang")
        except StoreError:
            return
        if typo:
            with self.laptop(counter):
                offline.void(path, account, sold.order, "typo")
        else:
            card = (sold.order, fen, sold.supersedes)
            self.devices[account].cards.append(card)

    @acts(2, counter=st.sampled_from(COUNTERS), at=st.sampled_from(COUNTERS), fen=amounts)
    def sell_from_a_copy(self, counter: str, at: str, fen: int) -> None:
        path = self.files.get(counter)
        if path is None:
            return
        copy = path.with_name(f"{path.name}-copy")
        copy.write_bytes(path.read_bytes())
        account = offline.parse(offline.read(path)).terms.ranges[0].account
        has_sold = len(offline.read(path)) > 1
        if at == counter and not has_sold:
            self.files[counter] = copy  # the first file from which the laptop sells
            path, copy = copy, path
            self.sell_off_line(counter, account, fen, False)
            if len(offline.read(path)) == 1:
                return
        with (
            self.laptop(at),
            pytest.raises(StoreError, match=r"is a copy|is for laptop|has ended"),
        ):
            offline.sell(copy, account, fen, "Wang")

    @acts(2, counter=st.sampled_from(COUNTERS), cashier=cashiers)
    def bring_back(self, counter: str, cashier: str) -> None:
        path = self.files.get(counter)
        if path is None:
            return
        lines = offline.read(path)
        told = offline.parse(lines)
        if told.sold_fen and cashier not in self.cash:
            with pytest.raises(StoreError, match="is not open"):
                leases.take_back(self.store, lines, told.sold_fen, cashier)
            return
        del self.files[counter], self.leased[counter]
        done = leases.take_back(self.store, lines, told.sold_fen, cashier)
        self.add_cash(cashier, told.sold_fen)
        assert done["sold_fen"] == told.sold_fen
        with pytest.raises(StoreError, match="is not out"):
            leases.take_back(self.store, lines, told.sold_fen, cashier)

    @acts(1, which=st.integers(0, 9))
    def give_up(self, which: int) -> None:
        if not self.files:
            return
        counter = sorted(self.files)[which % len(self.files)]
        log = offline.parse(offline.read(self.files.pop(counter)))
        del self.leased[counter]
        leases.give_up(self.store, log.terms.lease, "Chen", "stolen")
        self.lost |= sold_of(log)

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        # Some numbers are drawn more often than others: each action is to come as it weighs.
        self.steps += 1
        seed = data.draw(st.integers(0, 1 << 32))
        name, draws = Random(f"{seed} {self.steps}").choice(DRAWN)
        getattr(self, name)(**{one: data.draw(strategy) for one, strategy in draws.items()})

    # --- what always holds -----------------------------------------------------------------------

    @invariant()
    def drawers_hold_what_came_in(self) -> None:
        with self.store.database.looking():
            for cashier in CASHIERS:
                shift = drawer.open_shift_of(self.store.database, cashier)
                assert bool(shift) == (cashier in self.cash)
                if shift:
                    assert drawer.cash_within(self.store.database, shift) == self.cash[cashier]

    @invariant()
    def no_number_is_sold_twice(self) -> None:
        live = self.store.rows('SELECT account, "order" FROM orders WHERE voided_at IS NULL')
        assert len(live) == len({(one["account"], one["order"]) for one in live})

    @invariant()
    def sold_is_redeemed_and_outstanding(self) -> None:
        unknown = dict(self.lost)
        for path in self.files.values():
            unknown |= sold_of(offline.parse(offline.read(path)))
        early = dict.fromkeys(ACCOUNTS, 0)
        for (name, order), fen in unknown.items():
            # What a counter has sold and not brought may be redeemed already.
            early[name] += fen if order in self.devices[name].taken else 0
        for one in households(self.store):
            device = self.devices[one.account]
            assert one.redeemed_fen == device.credit_fen
            there = one.redeemed_fen + one.unredeemed_fen
            assert one.sold_fen + early[one.account] == there
        off = {one["account"] for one in figures.sums_off(self.store)}
        assert off == {name for name, fen in early.items() if fen}

    @invariant()
    def the_audit_log_has_every_fen(self) -> None:
        assert not audit.verify(self.store).broken_at
        actions = ("sale", "refund", "void", "counts again")
        noted = self.store.value(
            "SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM audit "
            f"WHERE action IN {actions}"
        )
        sold = self.store.value(
            "SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM orders "
            "WHERE voided_at IS NULL"
        )
        assert noted == sold


def sold_of(log: offline.Log) -> dict[tuple[str, int], int]:
    """Return what a log sold and did not take back."""
    return {which: one.amount_fen for which, one in log.orders.items() if not one.voided}


def empty(store: Store) -> None:
    """Take everything out of a database but its schema."""
    with store.writing() as database:
        for table in (
            *("orders", "top_ups", "accounts", "shifts", "cash_moves", "leases"),
            *("leased_orders", "findings", "papers", "approvals"),
        ):
            database.run(f"DELETE FROM {table}")
        database.run("ALTER TABLE audit DISABLE TRIGGER USER")
        database.run("DELETE FROM audit")
        database.run("ALTER TABLE audit ENABLE TRIGGER USER")


def run_actions(machine: type[Money]) -> None:
    run_machine(
        machine,
        settings=settings(
            max_examples=max(1, ACTIONS // STEPS),
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),  # to make a failure shorter takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_money_is_where_the_books_say_on_sqlite() -> None:
    run_actions(Money)


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[str]:
    with cluster() as address:
        migrate.make_postgres(address)
        yield address


@pytest.mark.slow
def test_money_is_where_the_books_say_on_postgresql(server: str) -> None:
    class There(Money):
        address = server

    run_actions(There)
