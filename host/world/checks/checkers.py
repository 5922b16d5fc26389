"""The invariants of every simulated world, under all faults.

    money       paid in less debited is the balance, to 1e-11 yuan, at every record (`money`)
    once        no order is credited twice or unsold; every card that was taken has its money
    supply      no supply is cut with money left, under protection or on doubtful data; one
                without money is cut; one that is paid for is switched on again (`supply`)
    commands    each from above takes effect once or never, as it was told (`commands`)
    journal     a sequence number never stands for two records, nothing durable is lost
    head-end    it holds what the journal holds, without gap, and nothing is deleted before
    restore     a board that was replaced has each account as it was, to the last digit
    trace       energy is charged, or it is told why not, within a stated time (`trace`)
    room        no reading is refused for long because the flash is full
    recovery    after a restart the tables are what the durable records say

Everything is computed from the records as the host parses them off the simulated flash. Nothing
here changes the world.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from host.frames import record
from host.frames.record import Record, RecordKind
from host.world.checks.account import FEN_E11, OPEN, Account, Order, Violation
from host.world.checks.commands import Commands
from host.world.checks.flash import Follower, records_of
from host.world.checks.headend import Above
from host.world.checks.money import Money
from host.world.checks.supply import Supply
from host.world.checks.trace import Traces
from host.world.terms import Terms

if TYPE_CHECKING:
    from concentrator.app import App

    from host.sim.meter import Meter
    from host.sim.storage import Storage

STOPPED_FLAG = 1
_SOURCE_HERE = 3  # of a STANDING: written for the head-end
GUARD_FLAG = 2
_DESIRED_OPEN = 0x10
_US = 1_000_000
# Within this time a flash that works has made room for readings.
ROOM_LIMIT_S = 3 * 3600
# The tier period of a reading that was replayed while its tariff could not be read.
UNKNOWN_PERIOD = 3


class Checkers:
    """The checkers of one concentrator, from its first record on.

    sold        the orders that the counter sold, by account index and order number
    raw         every durable record so far, by sequence number
    rotten      numbers of those whose bytes on the flash were spoilt
    tariffs_spoilt  whether an image of a tariff was
    above       compares the head-end with it
    counters    counts of records by kind, trips, closes, refused cards
    show        is called with each record and its account behind it, None: nobody looks
    """

    def __init__(
        self, terms: Terms, meters: "list[Meter]", above: Above, sold: "dict[Any, Order]"
    ) -> None:
        self.terms = terms
        self.accounts: dict[int, Account] = {}
        self.raw: dict[int, bytes] = {}
        self.seq = 0
        self.counters: Counter[str] = Counter()
        self.money = Money(terms, meters, sold, self.counters)
        self._supply = Supply(terms, self.counters)
        self._traces = Traces(terms["interval_s"])
        self.commands = Commands(self.counters, 60 * terms["notice_minutes"])
        self.rotten: set[int] = set()
        self.tariffs_spoilt = False
        self.above = above
        self.show: Callable[[Record, Account | None], None] | None = None
        self._sold = sold
        self._healthy_since_us = 0
        self._able_since_us = 0  # since it has a clock and room, when it was looked last
        self._refused = 0  # readings, then
        self._now_us = 0
        self._touched: set[int] = set()
        self._readings = 0  # since the start, when it was looked last
        self._room_us = 0  # when one was written
        self._no_room = 0  # readings without room since the start, when it was looked last
        self._no_room_us = 0  # when there was one more
        self._follower = Follower()
        self._is_away = False
        self._away_seq = self._gathered_seq = 0
        self._kept: dict[int, Account] = {}
        self._told_seq = 0  # a board that was restored has others under numbers up to here
        self._appliers = {
            RecordKind.METER: self.money.apply_meter,
            RecordKind.ACCOUNT: self._apply_terms,
            RecordKind.READING: self._apply_reading,
            RecordKind.TOP_UP: self._apply_top_up,
            RecordKind.REFUND: self.money.apply_refund,
            RecordKind.POLICY: self._apply_policy,
            RecordKind.RELAY: self._apply_relay,
            RecordKind.FAULT: self.money.apply_fault,
            RecordKind.CORRECTION: self.money.apply_correction,
        }

    # --- events of the world ---------------------------------------------------------------------

    def look(self, app: "App", storage: "Storage", now_us: int, healthy: bool) -> None:
        """Read the records that became durable in a step, and check them.

        A concentrator that is not healthy cannot do its work, which is then no error.
        """
        if self._is_away:
            self._gather(app, storage.content)
            return
        self._now_us = now_us
        if not healthy:
            self._healthy_since_us = now_us
        journal = app.journal
        if journal.durable_seq != self.seq:
            self._absorb(storage.content, journal.durable_seq)
        self.above.look(journal.first_seq)
        if self._touched and journal.count == 0:
            self._compare(app, sorted(self._touched), "money")
            self._touched.clear()

    def restarted(self, app: "App", content: Mapping[str, bytes], now_us: int) -> None:
        """Check a recovery: no durable record is lost, and the tables agree with the records."""
        if self._is_away:
            return
        self._now_us = self._healthy_since_us = now_us
        durable_seq = app.journal.durable_seq
        if durable_seq < self.seq:
            raise Violation(
                "journal", f"record {self.seq} was durable, after a restart {durable_seq} is last"
            )
        for seq, one in records_of(content).items():
            if self._told_seq < seq <= self.seq and self.raw[seq] != record.build(one):
                raise Violation("journal", f"record {seq} is another one after a restart")
        self._absorb(content, durable_seq)
        self._compare(app, sorted(self.accounts), "recovery")
        self._touched.clear()

    def tick(self, app: "App", now_us: int) -> None:
        """Check at times that no verdict is overdue, and that the head-end's books agree."""
        if self._is_away:
            return
        self.above.compare(app, self.accounts)
        self._check_room(app, now_us)
        unable = app.books.t2000 < 0 or app.journal.is_short or any(app.tariffs.troubles)
        if unable or app.books.refused != self._refused:
            self._able_since_us = now_us
            self._refused = app.books.refused
        able_us = max(self._able_since_us, self._healthy_since_us)
        for index, account in self.accounts.items():
            self._supply.tick(index, account, now_us, self._healthy_since_us)
            self._traces.tick(index, account, now_us, able_us)

    def look_away_from_lost(self) -> None:
        """Continue with an empty flash: its journal begins with 1."""
        self.seq = 0
        self.raw.clear()
        self.rotten.clear()
        self.above.acked_seq = 0
        self.look_away(0, {})

    def look_away(self, kept_seq: int, kept: "dict[int, Account]") -> None:
        """Continue with a flash that has replaced another and ends with `kept_seq`."""
        self._is_away = True
        self._away_seq = self._gathered_seq = kept_seq
        self._gathered: dict[int, Record] = {}
        self._kept = kept
        self._done_away: list[tuple[int, int, str]] = []

    def _gather(self, app: "App", content: Mapping[str, bytes]) -> None:
        """Keep the records of a board that is not restored yet: later some of them may be lost."""
        if app.journal.durable_seq != self._gathered_seq:
            self._gathered_seq = app.journal.durable_seq
            found = records_of(content).items()
            self._gathered |= {seq: one for seq, one in found if seq > self._away_seq}

    def look_again(self, app: "App", content: Mapping[str, bytes], now_us: int) -> None:
        """Check that restored accounts are as before, and check their records since."""
        self._is_away = False
        self._now_us = self._healthy_since_us = now_us
        self._gather(app, content)
        here = [one for _, one in sorted(self._gathered.items())]
        told_seq = {
            one.index: one.seq
            for one in here
            if one.kind == RecordKind.STANDING and one.fields["source"] != _SOURCE_HERE
        }
        for index, kept in self._kept.items():
            if index not in told_seq:
                # The board knows as much itself, and has continued; it knows no jump since.
                now = self.accounts[index]
                kept.meddled |= now.jumps > kept.jumps
                kept.jumps = now.jumps
                self.accounts[index] = kept
        for one in here:
            self._traces.note(one, now_us)
            account = self.accounts.get(one.index)
            if one.seq > max(self.seq, app.journal.floor_seq - 1):
                self.raw[one.seq] = record.build(one)
            if account is None or one.seq < told_seq.get(one.index, 0):
                continue
            if one.kind == RecordKind.STANDING:
                self._check_standing(account, one)
            apply = self._appliers.get(RecordKind(one.kind))
            if apply is not None:
                apply(account, one)
        for done in self._done_away:
            self.card_done(*done)
        self._told_seq = max(self.seq, app.journal.floor_seq - 1)
        self.seq = app.journal.durable_seq
        self._follower = Follower()
        self.above.begin_anew()
        if app.journal.count == 0:
            self._compare(app, sorted(self.accounts), "restore")

    def _check_standing(self, account: Account, one: Record) -> None:
        fields = one.fields
        told_e11 = fields["debit_fen"] * FEN_E11 + fields["residue_e7"] * 10_000
        told = (fields["order"], fields["credit_fen"], told_e11 + fields["residue_e11"])
        right = (account.order, account.credit_fen, account.debit_e11)
        if told != right:
            raise Violation(
                "restore",
                f"order, credit and debit of account {one.index} are {told}, not {right}",
            )

    def _check_room(self, app: "App", now_us: int) -> None:
        """Check that no reading is refused for long while the flash works."""
        books = app.books
        if books.refused > self._no_room:
            self._no_room_us = now_us
        if books.readings != self._readings:
            self._room_us = now_us
        self._readings, self._no_room = books.readings, books.refused
        is_refused = now_us - self._no_room_us <= 2 * self.terms["interval_s"] * _US
        since_us = max(self._room_us, self._healthy_since_us)
        if is_refused and now_us - since_us > ROOM_LIMIT_S * _US:
            raise Violation(
                "room", f"{books.refused} readings found no room, blocks {app.journal.room}"
            )

    def relay_moved(self, index: int, is_open: bool, now_us: int) -> None:
        """Note that the relay of the account's meter has moved."""
        if self._is_away:
            return
        self._supply.relay_moved(index, self.accounts.get(index), is_open, now_us)

    def registers_jumped(self, index: int) -> None:
        """Note that the registers of the account's meter changed as if by an accident."""
        account = self.accounts.get(index)
        if account is not None:
            account.meddled = True
            account.jumps += 1

    def card_done(self, index: int, order: int, told: str) -> None:
        """Check the money of a card that the concentrator said it has taken."""
        if self._is_away:
            self._done_away.append((index, order, told))
            return
        account = self.accounts.get(index)
        if account is None or account.order < order:
            raise Violation("once", f"account {index} was told {told}, order {order} is not there")

    # --- the records -----------------------------------------------------------------------------

    def _absorb(self, content: Mapping[str, bytes], durable_seq: int) -> None:
        for one in self._follower.read(content, self.seq + 1, durable_seq):
            self.seq = one.seq
            self.raw[one.seq] = record.build(one)
            self.counters[f"records {one.kind_name}"] += 1
            self.above.note(one)
            self._traces.note(one, self._now_us)
            if one.kind == RecordKind.CLOCK:
                self._supply.apply_clock(self.accounts, one, self._now_us)
            if one.kind == RecordKind.TARIFF:
                self.money.apply_tariff(self.accounts, one)
            apply = self._appliers.get(RecordKind(one.kind))
            if apply is not None:
                self._touched.add(one.index)
                apply(self.accounts.setdefault(one.index, Account()), one)
            if self.show is not None:
                self.show(one, self.accounts.get(one.index))
            self.commands.note(one, self.accounts)
        if self.seq != durable_seq:
            raise Violation("journal", f"{durable_seq} is durable, the flash ends at {self.seq}")

    def _apply_reading(self, account: Account, one: Record) -> None:
        self.money.apply_reading(account, one)
        self._supply.apply_reading(account, one, self._now_us)

    def _apply_top_up(self, account: Account, one: Record) -> None:
        self.money.apply_top_up(account, one)
        self._supply.apply_top_up(account, self._now_us)

    def _apply_terms(self, account: Account, one: Record) -> None:
        self.money.apply_terms(account, one)
        self._supply.apply_terms(account)

    def _apply_policy(self, account: Account, one: Record) -> None:
        self._supply.apply_policy(account, one, self._now_us)

    def _apply_relay(self, account: Account, one: Record) -> None:
        self._supply.apply_relay(account, one, self._now_us)

    # --- the tables ------------------------------------------------------------------------------

    def _compare(self, app: "App", indexes: list[int], invariant: str) -> None:
        for number, told in self.commands.tariffs.items():
            found = app.tariffs.name(number).hex()
            if found != told:
                raise Violation(
                    invariant,
                    f"after record {self.seq} tariff {number} is {found}, the records say {told}",
                )
        for index in indexes:
            account = self.accounts[index]
            for name, (is_so, right) in _table_rows(app, index, account).items():
                if name == "period" and is_so == UNKNOWN_PERIOD and self.tariffs_spoilt:
                    continue  # replayed without its tariff; the next charge finds it
                if is_so != right:
                    raise Violation(
                        invariant,
                        f"after record {self.seq} {name} of account {index} is {is_so}, "
                        f"the records say {right}",
                    )

    # --- the end ---------------------------------------------------------------------------------

    def finish(self, app: "App") -> None:
        """Check at the end, when nothing fails any more, that every account is in order."""
        for index, account in self.accounts.items():
            self.money.finish(index, account)
            self._supply.finish(index, account, self.money.meters[account.address])
        self.above.finish(app, self.raw, self.rotten)
        self.above.finish_money(self.accounts, self._sold)
        self.money.finish_orders(self.accounts)


def _table_rows(app: "App", index: int, account: Account) -> dict[str, tuple[object, object]]:
    """Return the values of the tables, and those of the records, by name."""
    ledger = app.ledger
    relay = app.registry.relay[index]
    flags = ledger.flags[index]
    debit_e11 = ledger.debit_fen[index] * FEN_E11 + ledger.residue_e7[index] * 10_000
    rows: dict[str, tuple[object, object]] = {
        "debit": (debit_e11 + ledger.residue_e11[index], account.debit_e11),
        "credit": (ledger.credit_fen[index], account.credit_fen),
        "debt": (ledger.debt_fen[index], account.debt_fen),
        "order": (ledger.order[index], account.order),
        "grade": (ledger.grade[index], account.grade),
        "used_wh": (ledger.used_wh[index], account.used_wh),
        "period": (ledger.period_t2000[index], account.period_t2000),
        "read_t2000": (ledger.read_t2000[index], account.read_t2000),
        "state": (ledger.state[index], account.state),
        "stopped": (bool(flags & STOPPED_FLAG), account.stopped),
        "guard": (bool(flags & GUARD_FLAG), account.guard),
        "relay wanted": (bool(relay & _DESIRED_OPEN), account.desired == OPEN),
        "active": (bool(app.registry.active[index]), account.active),
        "address": (app.registry.address_text(index), account.address),
    }
    if account.read_t2000:
        at = index * ledger.rates_limit
        registers_wh = account.registers_wh
        rows["registers"] = (list(ledger.registers_wh[at : at + len(registers_wh)]), registers_wh)
    return rows
