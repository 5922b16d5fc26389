"""What must hold in every simulated world, whatever goes wrong in it.

    money       paid in less charged is the balance, to 1e-11 yuan, at every record, recomputed
                from the registers and the tariff file
    once        no order is credited twice or unsold; every card that was taken has its money
    supply      nobody is cut who has money, or on doubtful data; who has none is cut; who pays is
                switched on again
    journal     a sequence number never stands for two records, nothing durable is lost
    head-end    it holds what the journal holds, without gap, and nothing is deleted before
    recovery    after a restart the tables are what the durable records say

Everything is computed from the records as the host parses them off the simulated flash. Nothing
here changes the world.
"""

import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from host.frames import record
from host.frames.record import RECORD_SIZE, Record, RecordError, RecordKind
from host.rig.charges import FEN_E11, Bill
from host.rig.charges import Meter as Charges

if TYPE_CHECKING:
    from concentrator.app import App

    from host.sim.headend import HeadEnd
    from host.sim.meter import Meter

CLOSED, OPEN = 0, 1
INTENT, CONFIRMED, FAILED = 1, 2, 3
NORMAL, CUT = 0, 6
WARNING = 2  # reason of POLICY and RELAY
CLOCK_BACK = 5  # reason of FAULT, the only one that a world gives cause for
STOPPED_FLAG = 1
_JOINED = 1
_STATUS_OPEN = 0x10
_STATUS_UNKNOWN = 0xFFFF
_DESIRED_OPEN = 0x10
_STAGE_MASK = 0x0F
_US = 1_000_000
# A verdict that a storage failure or a power cut swallowed comes again within this time.
VERDICT_LIMIT_S = 900
# Relay commands fail on a bad line; each reading that tells is followed by another attempt.
MISMATCHES_LIMIT = 12
# An intent may have changed while the command that it replaces was on the line.
LATE_COMMAND_S = 30


class Violation(Exception):
    """An invariant does not hold. `invariant` is its name in the module's list."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what


@dataclass(frozen=True)
class Order:
    """What a counter sold: the order `number` of an account, on the card `uids` of them."""

    number: int
    amount_fen: int
    uids: set[str]


@dataclass
class Account:
    """One account as the durable records leave it."""

    address: str = ""
    tariff: int = 0
    active: bool = False
    charges: Charges = field(default_factory=Charges)
    credit_fen: int = 0
    order: int = 0
    state: int = NORMAL
    stopped: bool = False
    desired: int = CLOSED
    stage: int = 0
    open_until_us: int = -1  # an open command may act until then
    cut_due_us: int = -1  # since when a cut is due
    close_due_us: int = -1
    mismatches: int = 0  # readings in a row that found the relay otherwise than wanted

    @property
    def debit_fen(self) -> int:
        """Whole fen charged."""
        return self.charges.charge_e11 // FEN_E11

    @property
    def balance_fen(self) -> int:
        """Paid in less charged."""
        return self.credit_fen - self.debit_fen


@dataclass(frozen=True)
class Terms:
    """What was set in the concentrator, as far as it decides about the supply."""

    bills: Mapping[int, Bill]
    overdraft_fen: int = 0
    close_fen: int = 0
    no_cut_hours: tuple[int, int] = (0, 0)
    interval_s: int = 900
    held_s: int = 0  # how long a cut may be held back

    def may_cut_at(self, t2000: int) -> bool:
        """Whether it is an hour for cuts."""
        first, end = self.no_cut_hours
        hour = t2000 // 3600 % 24
        quiet = first <= hour < end if first <= end else hour >= first or hour < end
        return first == end or not quiet


class Checkers:
    """Follow one concentrator from its first record on.

    sold        what the counter sold, by account index and order number
    raw         every durable record so far, by sequence number
    counters    what was seen: records by kind, trips, closes, refused cards
    """

    def __init__(
        self, terms: Terms, meters: "list[Meter]", headend: "HeadEnd", sold: "dict[Any, Order]"
    ) -> None:
        self.terms = terms
        self.accounts: dict[int, Account] = {}
        self.raw: dict[int, bytes] = {}
        self.seq = 0
        self.counters: Counter[str] = Counter()
        self._meters = {meter.address: meter for meter in meters}
        self._headend = headend
        self._sold = sold
        self._healthy_since_us = 0
        self._now_us = 0
        self._touched: set[int] = set()
        self._appliers = {
            RecordKind.METER: self._apply_meter,
            RecordKind.READING: self._apply_reading,
            RecordKind.TOP_UP: self._apply_top_up,
            RecordKind.POLICY: self._apply_policy,
            RecordKind.RELAY: self._apply_relay,
            RecordKind.FAULT: self._apply_fault,
        }

    # --- what the world tells --------------------------------------------------------------------

    def look(self, app: "App", content: Mapping[str, bytes], now_us: int, healthy: bool) -> None:
        """After a step: take what became durable, and compare. Unhealthy: it cannot do its duty.

        `content` is the flash.
        """
        self._now_us = now_us
        if not healthy:
            self._healthy_since_us = now_us
        journal = app.journal
        if journal.durable_seq != self.seq:
            self._absorb(content, journal.durable_seq)
        if journal.first_seq > self._headend.acked_seq + 1:
            raise Violation(
                "head-end",
                f"the journal begins at {journal.first_seq}, "
                f"the head-end has {self._headend.acked_seq}",
            )
        if self._touched and journal.count == 0:
            self._compare(app, sorted(self._touched), "money")
            self._touched.clear()

    def restarted(self, app: "App", content: Mapping[str, bytes], now_us: int) -> None:
        """After a recovery: nothing durable is lost, and the tables are what the records say."""
        self._now_us = self._healthy_since_us = now_us
        durable_seq = app.journal.durable_seq
        if durable_seq < self.seq:
            raise Violation(
                "journal", f"record {self.seq} was durable, after a restart {durable_seq} is last"
            )
        for seq, raw in records_of(content).items():
            if seq <= self.seq and self.raw[seq] != raw:
                raise Violation("journal", f"record {seq} is another one after a restart")
        self._absorb(content, durable_seq)
        self._compare(app, sorted(self.accounts), "recovery")
        self._touched.clear()

    def tick(self, now_us: int) -> None:
        """Every now and then: no verdict is overdue."""
        limit_us = (2 * self.terms.interval_s + VERDICT_LIMIT_S) * _US
        since_us = self._healthy_since_us
        for index, account in self.accounts.items():
            if (
                account.close_due_us >= 0
                and now_us - max(since_us, account.close_due_us) > VERDICT_LIMIT_S * _US
            ):
                raise Violation("supply", f"account {index} has paid and is not switched on")
            held_us = limit_us + self.terms.held_s * _US
            if (
                account.cut_due_us >= 0
                and now_us - max(since_us, account.cut_due_us) > held_us
                and not account.stopped
            ):
                raise Violation("supply", f"account {index} has no money and is not cut")

    def relay_moved(self, index: int, is_open: bool, now_us: int) -> None:
        """The relay of the account's meter has moved."""
        account = self.accounts.get(index)
        self.counters["relays opened" if is_open else "relays closed"] += 1
        if is_open and (account is None or account.open_until_us < now_us):
            raise Violation("supply", f"the relay of account {index} opened without an order")

    def card_done(self, index: int, order: int, told: str) -> None:
        """The concentrator told a customer that his card was taken: the money must be there."""
        account = self.accounts.get(index)
        if account is None or account.order < order:
            raise Violation("once", f"account {index} was told {told}, order {order} is not there")

    # --- the records -----------------------------------------------------------------------------

    def _absorb(self, content: Mapping[str, bytes], durable_seq: int) -> None:
        for raw in read_from(content, self.seq + 1, durable_seq):
            try:
                one = record.parse(raw)
            except RecordError as error:
                raise Violation("journal", f"record {self.seq + 1}: {error}") from error
            if one.seq != self.seq + 1:
                raise Violation("journal", f"record {one.seq} stands for {self.seq + 1}")
            self.seq = one.seq
            self.raw[one.seq] = raw
            self.counters[f"records {one.kind_name}"] += 1
            apply = self._appliers.get(RecordKind(one.kind))
            if apply is not None:
                self._touched.add(one.index)
                apply(self.accounts.setdefault(one.index, Account()), one)
        if self.seq != durable_seq:
            raise Violation("journal", f"{durable_seq} is durable, the flash ends at {self.seq}")

    def _apply_meter(self, account: Account, one: Record) -> None:
        fields = one.fields
        if account.address != fields["address"]:
            account.charges.forget()
            account.stopped = False
        account.address = fields["address"]
        account.tariff = fields["tariff"]
        account.active = bool(fields["active"])

    def _apply_reading(self, account: Account, one: Record) -> None:
        fields = one.fields
        bill = self.terms.bills[account.tariff]
        shown_wh = self._meters[account.address].rates_wh
        registers = fields["rates_wh"][: bill.rates]
        true_wh = [sum(shown_wh)] if bill.rates == 1 else list(shown_wh[: bill.rates])
        before = account.charges.registers_wh if account.charges.read_t2000 else [0] * bill.rates
        read_wh = zip(before, registers, true_wh, strict=True)
        if not all(old <= new <= true for old, new, true in read_wh):
            raise Violation(
                "money", f"record {one.seq} reads {registers}, before {before}, true {true_wh}"
            )
        if account.stopped:
            raise Violation("money", f"record {one.seq} charges a stopped account")
        account.charges.read(bill, registers, one.t2000)
        told_e11 = fields["debit_fen"] * FEN_E11 + fields["residue_e7"] * 10_000
        told_e11 += fields["residue_e11"]
        if (told_e11, fields["used_wh"]) != (account.charges.charge_e11, account.charges.used_wh):
            raise Violation(
                "money",
                f"record {one.seq} charges account {one.index} {told_e11} e-11 yuan in all, "
                f"{account.charges.charge_e11} is right; tier period {fields['used_wh']} Wh, "
                f"{account.charges.used_wh} is right",
            )
        used_up = -account.balance_fen >= self.terms.overdraft_fen and account.balance_fen <= 0
        if not used_up or account.order == 0 or account.desired == OPEN:
            account.cut_due_us = -1
        elif account.cut_due_us < 0:
            account.cut_due_us = self._now_us
        if fields["status"] != _STATUS_UNKNOWN:
            self._check_relay(account, one)

    def _check_relay(self, account: Account, one: Record) -> None:
        """A relay that the meter tells to be otherwise than wanted is soon put right."""
        is_open = bool(one.fields["status"] & _STATUS_OPEN)
        if is_open == (account.desired == OPEN):
            account.mismatches = 0
            return
        account.mismatches += 1
        if account.mismatches > MISMATCHES_LIMIT:
            raise Violation(
                "supply",
                f"account {one.index} should be {'cut' if account.desired == OPEN else 'supplied'}"
                f", {account.mismatches} readings say it is not",
            )

    def _apply_top_up(self, account: Account, one: Record) -> None:
        fields = one.fields
        order = fields["order"]
        sold = self._sold.get((one.index, order))
        if sold is None or sold.amount_fen != fields["amount_fen"]:
            raise Violation("once", f"record {one.seq} credits {fields}, sold was {sold}")
        if fields["uid"] not in sold.uids:
            raise Violation("once", f"record {one.seq} credits card {fields['uid']}, not {sold}")
        if order != account.order + 1:
            raise Violation("once", f"record {one.seq} credits {order} after {account.order}")
        account.order = order
        account.credit_fen += sold.amount_fen
        self._check_balance(account, one)
        if fields["credit_fen"] != account.credit_fen:
            raise Violation("money", f"record {one.seq} has {fields}, not {account.credit_fen}")
        if account.state == CUT and account.balance_fen > self.terms.close_fen:
            account.close_due_us = self._now_us

    def _apply_policy(self, account: Account, one: Record) -> None:
        self._check_balance(account, one)
        if one.fields["old"] != account.state:
            raise Violation("supply", f"record {one.seq} leaves a state that was not: {one}")
        account.state = one.fields["new"]

    def _apply_relay(self, account: Account, one: Record) -> None:
        fields = one.fields
        desired, stage = fields["desired"], fields["stage"]
        if stage != INTENT:
            if desired != account.desired:
                raise Violation("supply", f"record {one.seq} ends what nobody wanted: {fields}")
            account.stage = 0 if stage == CONFIRMED else 4
            if stage == FAILED:
                self.counters["relay commands failed"] += 1
            return
        account.stage = 1
        self._check_balance(account, one)
        again = desired == account.desired
        account.desired = desired
        if desired == CLOSED:
            account.close_due_us = -1
            account.open_until_us = min(account.open_until_us, self._now_us + LATE_COMMAND_S * _US)
            return
        account.open_until_us = 1 << 62
        account.cut_due_us = -1
        if again:
            return
        # Who begins to live on the overdraft is cut once, as a warning.
        warns = fields["reason"] == WARNING
        limit_fen = 0 if warns else -self.terms.overdraft_fen
        if account.balance_fen > limit_fen:
            raise Violation(
                "supply", f"record {one.seq} cuts account {one.index} with {account.balance_fen}"
            )
        if account.stopped or not self.terms.may_cut_at(one.t2000):
            raise Violation("supply", f"record {one.seq} cuts on doubtful data or at a wrong hour")

    def _apply_fault(self, account: Account, one: Record) -> None:
        if one.fields["stopped"]:
            if one.fields["reason"] != CLOCK_BACK:
                raise Violation("money", f"record {one.seq} doubts a meter that is right: {one}")
            account.stopped = True
            account.cut_due_us = -1
        else:
            account.stopped = False
            account.charges.forget()

    def _check_balance(self, account: Account, one: Record) -> None:
        if one.fields["balance_fen"] != account.balance_fen:
            raise Violation(
                "money",
                f"record {one.seq} says {one.fields['balance_fen']} fen, "
                f"{account.balance_fen} are right",
            )

    # --- the tables ------------------------------------------------------------------------------

    def _compare(self, app: "App", indexes: list[int], invariant: str) -> None:
        for index in indexes:
            account = self.accounts[index]
            for name, (is_so, right) in _table_rows(app, index, account, self.terms).items():
                if is_so != right:
                    raise Violation(
                        invariant,
                        f"after record {self.seq} {name} of account {index} is {is_so}, "
                        f"the records say {right}",
                    )

    # --- the end ---------------------------------------------------------------------------------

    def finish(self, app: "App", names: Mapping[int, str]) -> None:
        """All is quiet and nothing fails any more: everybody must have what is his."""
        for index, account in self.accounts.items():
            self._finish_account(index, account, names[index])
        for (index, number), order in self._sold.items():
            if self.accounts[index].order < number:
                raise Violation(
                    "once",
                    f"order {number} of account {index} was paid and never credited: {order}",
                )
        durable_seq = app.journal.durable_seq
        headend = self._headend
        if (headend.acked_seq, headend.lost) != (durable_seq, 0):
            raise Violation(
                "head-end",
                f"it has {headend.acked_seq} of {durable_seq} records, {headend.lost} told lost",
            )
        for seq, raw in self.raw.items():
            if seq not in headend.records or record.build(headend.records[seq]) != raw:
                raise Violation("head-end", f"its record {seq} is not the journal's")

    def _finish_account(self, index: int, account: Account, address: str) -> None:
        bill = self.terms.bills[account.tariff]
        meter = self._meters[address]
        true_wh = [meter.total_wh] if bill.rates == 1 else list(meter.rates_wh[: bill.rates])
        behind_wh = [
            true - read for true, read in zip(true_wh, account.charges.registers_wh, strict=True)
        ]
        if not all(0 <= wh <= 10_000 for wh in behind_wh):
            raise Violation("money", f"account {index} is {behind_wh} Wh behind its meter")
        used_up = -account.balance_fen >= self.terms.overdraft_fen and account.balance_fen <= 0
        if not used_up and meter.relay.open and account.balance_fen > self.terms.close_fen:
            raise Violation("supply", f"account {index} is cut with {account.balance_fen} fen")
        cut_now = used_up and account.order and not account.stopped and not self.terms.held_s
        if cut_now and not meter.relay.open:
            raise Violation("supply", f"account {index} has no money and is supplied")


def _table_rows(
    app: "App", index: int, account: Account, terms: Terms
) -> dict[str, tuple[object, object]]:
    """What stands in the tables, and what the records say, by name."""
    ledger = app.ledger
    charges = account.charges
    relay = app.registry.relay[index]
    charge_e11 = ledger.debit_fen[index] * FEN_E11 + ledger.residue_e7[index] * 10_000
    rows: dict[str, tuple[object, object]] = {
        "charge": (charge_e11 + ledger.residue_e11[index], charges.charge_e11),
        "credit": (ledger.credit_fen[index], account.credit_fen),
        "order": (ledger.order[index], account.order),
        "used_wh": (ledger.used_wh[index], charges.used_wh),
        "period": (ledger.period_t2000[index], charges.period_t2000),
        "read_t2000": (ledger.read_t2000[index], charges.read_t2000),
        "state": (ledger.state[index], account.state),
        "stopped": (bool(ledger.flags[index] & STOPPED_FLAG), account.stopped),
        "relay wanted": (bool(relay & _DESIRED_OPEN), account.desired == OPEN),
        "active": (bool(app.registry.active[index]), account.active),
        "address": (app.registry.address_text(index), account.address),
    }
    if charges.read_t2000:
        rates = terms.bills[account.tariff].rates
        at = index * ledger.rates_limit
        rows["registers"] = (list(ledger.registers_wh[at : at + rates]), charges.registers_wh)
    return rows


def records_of(content: Mapping[str, bytes]) -> dict[int, bytes]:
    """All records on the flash, by sequence number, as docs/SPEC.md defines what counts."""
    names = sorted(name for name in content if name.startswith("j"))
    found: dict[int, bytes] = {}
    for at, name in enumerate(names):
        first_seq = int(name[1:], 16)
        end_seq = int(names[at + 1][1:], 16) if at + 1 < len(names) else 1 << 32
        whole = content[name]
        for seq in range(first_seq, min(end_seq, first_seq + len(whole) // RECORD_SIZE)):
            offset = (seq - first_seq) * RECORD_SIZE
            raw = whole[offset : offset + RECORD_SIZE]
            covered, crc = raw[:-4], raw[-4:]
            if zlib.crc32(covered) != int.from_bytes(crc, "little"):
                break
            if int.from_bytes(raw[:4], "little") != seq:
                break
            found[seq] = raw
    return found


def read_from(content: Mapping[str, bytes], seq: int, last_seq: int) -> list[bytes]:
    """The 64 bytes of each record from `seq` to `last_seq`, unverified."""
    if seq > last_seq:
        return []
    names = sorted(name for name in content if name.startswith("j"))
    firsts = [int(name[1:], 16) for name in names]
    found = []
    for one in range(seq, last_seq + 1):
        at = bisect_right(firsts, one) - 1
        if at < 0:
            break
        offset = (one - firsts[at]) * RECORD_SIZE
        found.append(content[names[at]][offset : offset + RECORD_SIZE])
    return found
