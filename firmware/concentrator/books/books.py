"""Write every effect on money and supply: first a record in the journal, then the tables.

Readings may wait in memory before they are durable, because lost ones are read again from the
meter's registers. Money and relay intents are durable before anything acts on them; if the storage
refuses, nothing has happened. Records that belong together are joined, so recovery applies all of
them or none. `replay` repeats the effects of records on the tables.

Spec: docs/SPEC.md, "Record"; docs/PREPAYMENT.md.
"""

from array import array

from micropython import const
from prepay import policy as rules
from uplink import record
from uplink.record import JOINED

from concentrator.books import registry as meters
from concentrator.books.charging import Charging
from concentrator.books.credit import Credit
from concentrator.books.entries import Entries
from concentrator.books.standing import Standings

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from prepay.ledger import Ledger
    from prepay.policy import Policy
    from prepay.tariff import Tariff

    from concentrator.books.registry import Registry
    from concentrator.books.tariffs import Tariffs
    from concentrator.storage.journal import Journal


class Books(Charging, Credit, Standings):
    """The only writer of all that is kept: meters and tariffs here, money in the base classes."""

    def __init__(
        self,
        journal: "Journal",
        registry: "Registry",
        ledger: "Ledger",
        tariffs: "Tariffs",
        policy: "Policy",
    ) -> None:
        Entries.__init__(self, journal, registry, ledger, tariffs, policy)
        self._registers_wh = array("i", bytes(4 * record.REGISTERS))
        self.illegal = array("H", (0, 0))
        self.standing = array("I", (0, 0))

    def columns(self) -> "tuple[array[int], ...]":
        """Return what belongs to no account, in the order of the checkpoint's columns."""
        return self.illegal, self.standing, self.product, self.commands

    def set_meter(self, index: int, row: bytearray, untold: bool = False) -> bool:
        """Register, change or remove the meter of row `index`; return false if refused.

        `row` has 17 bytes as in a METER record. `untold`: the account's earlier purchases,
        elsewhere or on lost flash, are unknown here.
        """
        offset = self._place()
        if offset < 0:
            return False
        marks = record.METER_UNTOLD if untold else 0
        other = not self.registry.has_address(index, row)
        if other or self._reads_others(index, row[record.METER_TARIFF]):
            marks |= record.METER_START
        relay = self._relay_behind(index, other, row[record.METER_ACTIVE])
        record.put_meter(self.journal.buf, offset, row, marks, relay)
        self.journal.add(self._time(), record.METER, index)
        if not self._settle(1):
            return False
        self._apply_meter(index, row, 0, marks, relay)
        return True

    def _reads_others(self, index: int, number: int) -> bool:
        """Return whether tariff `number` reads other registers than the account's tariff."""
        old = self.tariffs.find(self.registry.tariff[index])
        new = self.tariffs.find(number)
        return old is not None and new is not None and old.registers != new.registers

    def _relay_behind(self, index: int, other: bool, active: int) -> int:
        """Return the registry's value of the relay after the row has changed."""
        relay = self.registry.relay[index]
        if relay != meters.RELAY_IDLE:
            # An order for the supply stays valid for the new meter.
            stage = meters.RELAY_LOOK if active else meters.RELAY_FAILED
            return stage | relay & meters.DESIRED_OPEN
        # The position of another meter's relay is unknown: its first reading corrects it.
        return meters.RELAY_FAILED if other and self.ledger.order[index] else relay

    def _apply_meter(
        self, index: int, payload: bytearray, offset: int, marks: int, relay: int
    ) -> None:
        self.registry.set_row(index, payload, offset)
        self.registry.set_relay(index, relay)
        if marks & record.METER_START:
            self.ledger.start_anew(index)
        if marks & record.METER_UNTOLD:
            self.ledger.forget(index)

    def set_tariff(self, number: int, name: bytes, size: int) -> bool:
        """Put the stored tariff of this name in force; return false if the storage refuses."""
        offset = self._place()
        if offset < 0:
            return False
        record.put_tariff(self.journal.buf, offset, number, name, size)
        self.journal.add(self._time(), record.TARIFF, 0)
        return self._settle(1) and self.tariffs.activate(number, name)

    def tariff_trouble(self, number: int, new: "Tariff") -> str:
        """Return why `new` cannot replace tariff `number`, or ""."""
        registry = self.registry
        old = self.tariffs.find(number)
        for index in range(registry.count):
            used = number in (registry.tariff[index], registry.planned[index])
            if not used or not registry.active[index]:
                continue
            trouble = self.ledger.misfit(index, new)
            if old is not None and old.registers != new.registers:
                trouble = "it reads other registers, give it another number"
            if trouble:
                return "account " + registry.account_text(index) + " is charged by it: " + trouble
        return ""

    def tariff_named(self, index: int, name: bytes) -> int:
        """Return the number of the tariff of this name that may charge the account; 0: none.

        It has to read the same registers as the account's tariff.
        """
        number = self.tariffs.number_of(name)
        new = self.tariffs.find(number)
        old = self.tariffs.find(self.registry.tariff[index])
        if new is None or old is None or new.registers != old.registers:
            return 0
        return 0 if self.ledger.misfit(index, new) else number

    def plan_tariff(self, index: int, number: int, from_t2000: int) -> bool:
        """Charge the account by tariff `number` from `from_t2000` on, 0: from now on.

        Return false if the storage refuses.
        """
        registry = self.registry
        if from_t2000 <= self.t2000:
            from_t2000 = 0
        now = registry.planned[index] if from_t2000 else registry.tariff[index]
        if now == number and registry.planned_t2000[index] == from_t2000:
            return True  # the journal has this plan already
        offset = self._place()
        if offset < 0:
            return False
        record.put_plan(self.journal.buf, offset, number, from_t2000)
        self.journal.add(self._time(), record.PLAN, index)
        if not self._settle(1):
            return False
        self._apply_plan(index, number, from_t2000)
        return True

    def _apply_plan(self, index: int, number: int, from_t2000: int) -> None:
        registry = self.registry
        registry.planned[index] = number if from_t2000 else 0
        registry.planned_t2000[index] = from_t2000
        if not from_t2000:
            registry.tariff[index] = number

    def set_terms(
        self,
        index: int,
        household: int,
        grade: int,
        multiplier: int,
        guard: int,
        debt_fen: int,
        power_limit_w: int = 0,
    ) -> bool:
        """Set the terms of the account; return false if the storage or its quota refuses."""
        offset = self._place()
        if offset < 0:
            return False
        ledger = self.ledger
        quota = self._quota_after(index, household)
        if quota < 0:
            return False
        changed = quota != ledger.quota[index]
        record.put_account(
            self.journal.buf, offset, household, grade, multiplier, guard, debt_fen, power_limit_w
        )
        self.journal.add(self._time(), record.ACCOUNT, index, JOINED if changed else 0)
        used_wh = ledger.used_wh[index]
        period_t2000 = ledger.period_t2000[index]
        free = ledger.free[index]
        if changed:
            offset = self.journal.place()
            time = self._time()
            self._put_quota(offset, index, time, used_wh, period_t2000, quota, free, 0)
        if not self._settle(2 if changed else 1):
            return False
        cause = rules.TIME if ledger.grade[index] == grade else rules.PARAMETERS
        self._apply_terms(index, household, grade, multiplier, guard, debt_fen, power_limit_w)
        ledger.set_used(index, used_wh, period_t2000, quota, free)
        self._judge(index, cause)
        return True

    def _quota_after(self, index: int, household: int) -> int:
        """Return the account's quota as this kind of household, -1: it cannot become one now."""
        tariff = self.tariffs.find(self.registry.tariff[index])
        if tariff is None:
            return self.ledger.quota[index]
        return self.ledger.quota_after(index, tariff, household, self._time())

    def household_trouble(self, index: int, household: int) -> str:
        """Return why the account cannot become this kind of household now, or ""."""
        tariff = self.tariffs.find(self.registry.tariff[index])
        if tariff is not None and household >= tariff.households:
            return "its tariff has " + str(tariff.households) + " kinds of household, from 0"
        if self._quota_after(index, household) >= 0:
            return ""
        return (
            "its quota of the year needs the clock and a reading of this tier period, and a kind "
            "changes at most three times in it: try again after the next reading"
        )

    def _apply_terms(
        self,
        index: int,
        household: int,
        grade: int,
        multiplier: int,
        guard: int,
        debt_fen: int,
        power_limit_w: int,
    ) -> None:
        self._set_terms(index, household, grade, multiplier, guard)
        self.ledger.debt_fen[index] = debt_fen
        self.ledger.set_power(index, power_limit_w)

    def review(self, index: int, cause: int = rules.TIME) -> None:
        """Judge the account again, for `cause`, and change its tariff when that is due."""
        planned = self.registry.planned[index]
        if planned and self.registry.planned_t2000[index] <= self.t2000:
            self.plan_tariff(index, planned, 0)
        self._judge(index, cause)

    # --- recovery -------------------------------------------------------------------------------

    def replay(self, buf: bytearray) -> None:
        """Apply one record of the journal to the tables."""
        kind = record.kind_at(buf, 0)
        index = record.index_at(buf, 0)
        # A CARD may belong to an unknown account, an EVENT and a FIRMWARE belong to none.
        if index < self.registry.limit or kind in _OF_NO_ACCOUNT:
            for one, name in _REPLAYS:
                if one == kind:
                    getattr(Books, name)(self, buf, index)
                    break

    def _replay_meter(self, buf: bytearray, index: int) -> None:
        marks, relay = record.meter_at(buf, 0)
        self._apply_meter(index, buf, record.PAYLOAD, marks, relay)

    def _replay_tariff(self, buf: bytearray, index: int) -> None:
        number, name = record.tariff_at(buf, 0)
        self.tariffs.activate(number, name)

    def _replay_plan(self, buf: bytearray, index: int) -> None:
        number, from_t2000 = record.plan_at(buf, 0)
        self._apply_plan(index, number, from_t2000)

    def _replay_terms(self, buf: bytearray, index: int) -> None:
        self._apply_terms(index, *record.account_at(buf, 0))

    def _replay_policy(self, buf: bytearray, index: int) -> None:
        new, old = record.policy_at(buf, 0)
        self.ledger.state[index] = new
        if new != old:
            # A checkpoint may have the state already, and the clock may have been set since.
            self.ledger.since_t2000[index] = record.t2000_at(buf, 0)

    def _replay_clock(self, buf: bytearray, index: int) -> None:
        old_t2000, new_t2000 = record.clock_at(buf, 0)
        self._apply_clock(old_t2000, new_t2000)


_OF_NO_ACCOUNT = (record.CARD, record.EVENT, record.FIRMWARE, record.COMMAND)
# How each kind of record is applied to the tables, frequent kinds first; the other kinds change no
# table. A tuple of numbers and names takes no heap, as a dict of functions would.
_REPLAYS = (
    (record.READING, "_replay_reading"),
    (record.FREEZE, "_replay_freeze"),
    (record.METER, "_replay_meter"),
    (record.TOP_UP, "_replay_top_up"),
    (record.REFUND, "_replay_top_up"),
    (record.RELAY, "_replay_relay"),
    (record.POLICY, "_replay_policy"),
    (record.ROLLOVER, "_replay_rollover"),
    (record.TARIFF, "_replay_tariff"),
    (record.FAULT, "_replay_fault"),
    (record.CARD, "_replay_card"),
    (record.ACCOUNT, "_replay_terms"),
    (record.PLAN, "_replay_plan"),
    (record.EVENT, "_replay_event"),
    (record.STANDING, "_replay_standing"),
    (record.STANDING_REGISTERS, "_replay_standing_registers"),
    (record.QUOTA, "_replay_quota"),
    (record.CLOCK, "_replay_clock"),
    (record.CORRECTION, "_replay_correction"),
    (record.FIRMWARE, "_replay_firmware"),
    (record.COMMAND, "_replay_command"),
)
