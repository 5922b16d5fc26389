"""One account after the durable records, with the cost of its energy in fractions."""

from copy import copy
from dataclasses import dataclass, field
from fractions import Fraction

from host.billing.pricing import Account as Pricing
from host.billing.pricing import continues
from host.frames.record import Record
from host.frames.tariff_terms import TariffFile
from host.units import to_datetime, to_t2000

CLOSED, OPEN = 0, 1
NORMAL, ALARM_1, ALARM_2, ZERO, EMERGENCY, HELD, CUT, OVERLOAD, REMOTE = range(9)
FEN_E11 = 1_000_000_000
_YUAN_E11 = 100 * FEN_E11
# A correction goes back over this many readings.
_READINGS_BACK = 5


class Violation(Exception):
    """An invariant does not hold. `invariant` is its name in the list of `checkers`."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what


@dataclass(frozen=True)
class Order:
    """A sale of the counter: the order `number` of an account, on any of the cards `uids`.

    `macs` name it where it goes to the concentrator without a card.
    """

    number: int
    amount_fen: int
    uids: set[str]
    macs: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Before:
    """The state of an account after one of its last readings, each with its own pricing."""

    registers_wh: list[int]
    charge_e11: int
    pricing: Pricing


@dataclass
class Account:
    """Money, energy and supply of one account.

    fresh           the next reading begins again and charges nothing
    false_first     its first reading was a lie below the truth, and nobody has typed another one
    limited         its power limit is lower than what its meter can draw
    told            the next reading has the registers that a technician typed
    correction      of the reading that follows, which is charged again from an earlier one
    jumps           how often its meter's registers have jumped
    meddled         its meter's registers have jumped since the last new beginning
    corrected_fen   charged too much and put back
    power_w         mean power of the newest reading
    """

    address: str = ""
    tariff: int = 0
    active: bool = False
    household: int = 0
    grade: int = 0
    multiplier: int = 1
    guard: bool = False

    pricing: Pricing | None = None
    fresh: bool = True
    told: bool = False
    false_first: bool = False
    limited: bool = False
    correction: Record | None = None
    before: list[Before] = field(default_factory=list)
    corrected_fen: int = 0
    meddled: bool = False
    jumps: int = 0
    charge_e11: int = 0
    power_w: Fraction = Fraction(0)
    credit_fen: int = 0
    order: int = 0
    debt_fen: int = 0
    repaid_fen: int = 0
    repaid_by_week: dict[int, int] = field(default_factory=dict)

    state: int = NORMAL
    left_state: int = NORMAL  # the one before
    stopped: bool = False
    held_t2000: int = 0  # since when the cut is due and held back
    desired: int = CLOSED
    stage: int = 0
    warned: bool = False  # cut as a warning, until the household asks for supply
    open_until_us: int = -1  # an open command may act until then
    cut_due_us: int = -1  # since when a cut is due
    close_due_us: int = -1
    overload_us: int = -1  # since when it is cut for too much power
    mismatches: int = 0  # readings in a row that found the relay otherwise than wanted

    def change_tariff(self, tariff: TariffFile) -> None:
        """Charge by another tariff from now on; what was used in the tier period stays."""
        if self.pricing is not None:
            self.pricing = _under(tariff, self.pricing)

    @property
    def debit_e11(self) -> int:
        """Return the money charged, and repaid of the debt, in 1e-11 yuan."""
        return self.charge_e11 + self.repaid_fen * FEN_E11

    @property
    def balance_fen(self) -> int:
        """Return the money paid in, less the whole fen debited."""
        return self.credit_fen - self.debit_e11 // FEN_E11

    @property
    def used_wh(self) -> int:
        """Return energy in the tier period."""
        return self.pricing.used_wh if self.pricing else 0

    @property
    def period_t2000(self) -> int:
        """Return the tier period as records name it, 0 without one."""
        period = self.pricing.period if self.pricing else None
        return period.t2000 if period else 0

    @property
    def read_t2000(self) -> int:
        """Return when the last reading was, 0: the next one begins again."""
        moment = self.pricing.moment if self.pricing else None
        return to_t2000(moment) if moment and not self.fresh else 0

    @property
    def registers_wh(self) -> list[int]:
        """Return the registers of the last reading."""
        return self.pricing.registers_wh if self.pricing else []

    def read(self, tariff: TariffFile, one: Record, registers_wh: list[int]) -> None:
        """Charge a reading by the tariff file; the first one only begins."""
        pricing = self.pricing
        if pricing is None:
            pricing = self.pricing = Pricing(tariff)
        pricing.household, pricing.multiplier = self.household, self.multiplier
        moment = to_datetime(one.t2000)
        if self.fresh:
            pricing.start(moment, registers_wh)
            self.fresh = False
            self.before = []
            self._keep()
            return
        if self.told:
            self.told = False
            pricing.registers_wh = list(registers_wh)
            pricing.moment = max(pricing.moment, moment) if pricing.moment else moment
            self.before = []
            self._keep()
            return
        if self.correction is not None:
            # A clock that was set back does not move the account's own time.
            moment = max(moment, pricing.moment or moment)
            pricing = self._go_back(tariff, one, registers_wh)
        start_t2000 = self.read_t2000
        lines = pricing.read(moment, registers_wh)
        charge_e11 = sum((line.yuan for line in lines), Fraction(0)) * _YUAN_E11
        if charge_e11.denominator != 1:
            raise Violation("money", f"record {one.seq}: {charge_e11} e-11 yuan is not whole")
        self.charge_e11 += charge_e11.numerator
        self._keep()
        elapsed_s = self.read_t2000 - start_t2000
        energy_wh = sum(line.wh for line in lines)
        self.power_w = Fraction(3600 * energy_wh, elapsed_s) if elapsed_s else Fraction(0)

    def _keep(self) -> None:
        """Note the state of the account after a reading."""
        if self.pricing is not None:
            kept = copy(self.pricing)
            kept.spans = list(kept.spans)
            one = Before(list(self.registers_wh), self.charge_e11, kept)
            self.before = [*self.before[1 - _READINGS_BACK :], one]

    def _go_back(self, tariff: TariffFile, one: Record, registers_wh: list[int]) -> Pricing:
        """Return the account's prices and tiers as before registers that were too high."""
        fits = [one for one in self.before[:-1] if continues(registers_wh, one.registers_wh)]
        if not fits or self.correction is None:
            raise Violation("money", f"record {one.seq} corrects to before all that was charged")
        self.before = []
        # The debit does not fall: the money put back is credit.
        self.charge_e11 = fits[-1].charge_e11 + self.correction.fields["amount_fen"] * FEN_E11
        self.correction = None
        self.pricing = _under(tariff, fits[-1].pricing)
        return self.pricing


def _under(tariff: TariffFile, before: Pricing) -> Pricing:
    """Return an account as it was, charged by a tariff."""
    pricing = copy(before)
    if before.calendar.tariff is not tariff:
        pricing = Pricing(tariff, before.household, before.multiplier)
        pricing.go_on_from(before)
        pricing.registers_wh = list(before.registers_wh)
    return pricing
