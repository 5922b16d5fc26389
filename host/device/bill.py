"""A bill by the device's own core, the ledger and the tariff image of the firmware.

The fractions of host.billing read the same registers; a digit that differs is an error.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from prepay.ledger import CHARGED, FIRST, OUTCOME_NAMES, Ledger
from prepay.tariff import NO_LIMIT, Tariff

from host.billing.pricing import Account, Calendar, HouseholdError, Line
from host.frames.tariff import build
from host.frames.tariff_terms import TariffFile
from host.units import EPOCH, to_datetime, to_t2000
from host.words import _

# More than any household draws: what is asked for is priced, not doubted.
_NO_POWER_LIMIT_W = 10**15
_STEP_LIMIT_WH = 400_000_000
_REGISTER_MODULUS_WH = 10**9


class BillError(Exception):
    """The core refused, or both engines differ; the text says why."""


@dataclass(frozen=True)
class Cell:
    """Energy in one tier (from 1 on; 0 costs nothing) at one rate.

    `service` is the part of the price that is a service fee.
    """

    tier: int
    rate: str
    kwh: Decimal
    price: Decimal
    yuan: Decimal
    service: Decimal = Decimal(0)


class DeviceBill:
    """One account of a fresh ledger, charged by readings of its registers.

    used_wh may be known before the account begins.
    """

    def __init__(
        self, tariff: TariffFile, household: int, start: datetime, used_wh: int = 0
    ) -> None:
        self.file = tariff
        self.tariff = _loaded(tariff)
        self.ledger = Ledger(1, 8)
        self.ledger.power_limit_w = _NO_POWER_LIMIT_W
        self.ledger.describe(0, household)
        self.ledger.used_wh[0] = used_wh
        self.registers_wh = array("i", [0] * self.tariff.registers)
        self.t2000 = to_t2000(start)
        self.other = Account(tariff, household)
        self.other.used_wh = used_wh
        self._turns = 0
        self._one_rate: dict[int, tuple[Tariff, Calendar]] = {}
        self._begin()

    def go_to(self, moment: datetime, used_wh: int) -> None:
        """Begin again at a later time, with energy already used in its tier period."""
        self.t2000 = to_t2000(moment)
        self.ledger.start_anew(0)
        self._begin()
        ledger = self.ledger
        ledger.set_used(0, used_wh, ledger.period_t2000[0], ledger.quota[0], ledger.free[0])
        self.other.used_wh = used_wh

    def change_household(self, household: int) -> None:
        """Make it another kind of household now; BillError where the device refuses."""
        ledger = self.ledger
        quota = ledger.quota_after(0, self.tariff, household, self.t2000)
        try:
            self.other.change_household(household, to_datetime(self.t2000))
        except HouseholdError as error:
            raise BillError(str(error)) from error
        ledger.describe(0, household)
        ledger.set_used(0, ledger.used_wh[0], ledger.period_t2000[0], quota, ledger.free[0])

    def move_in(self) -> None:
        """Have another household move in now."""
        ledger = self.ledger
        quota = ledger.quota_moved_in(self.tariff, self.t2000)
        period_t2000 = self.tariff.period_at(self.t2000)
        ledger.set_used(0, 0, period_t2000, quota, ledger.free[0])
        self.other.move_in(to_datetime(self.t2000))

    def use(self, rate: int, wh: int) -> list[Line]:
        """Charge `wh` more at a rate, read a second later."""
        if self.ledger.used_wh[0] + wh > NO_LIMIT - 1:
            raise BillError(
                _("more than {limit} kWh in one tier period").format(limit=NO_LIMIT // 1000)
            )
        register = rate
        if self.file.clock_tells_rate:
            register = 0
            self._tell_rate(rate)
        used_wh = [0] * self.tariff.registers
        lines = []
        while wh:
            used_wh[register] = min(wh, _STEP_LIMIT_WH)
            lines += self.read(used_wh, self.t2000 + 1)
            wh -= used_wh[register]
        return lines

    def read(self, used_wh: Sequence[int], t2000: int) -> list[Line]:
        """Charge a reading at `t2000`, after `used_wh` more on each register."""
        for register, wh in enumerate(used_wh):
            self.registers_wh[register] = (self.registers_wh[register] + wh) % _REGISTER_MODULUS_WH
        self.t2000 = t2000
        self._charge(CHARGED)
        lines = self.other.read(to_datetime(t2000), list(self.registers_wh))
        if Fraction(self.exact_yuan) != self.other.charged_yuan:
            raise BillError(
                _("{name}: the device charges {exact_yuan} yuan, fractions {fractions}").format(
                    name=self.file.name,
                    exact_yuan=self.exact_yuan,
                    fractions=float(self.other.charged_yuan),
                )
            )
        return lines

    def _begin(self) -> None:
        self._charge(FIRST)
        self.other.start(to_datetime(self.t2000), list(self.registers_wh))

    def _charge(self, expected: int) -> None:
        outcome = self.ledger.prepare(0, self.tariff, self.registers_wh, self.t2000)
        if outcome != expected:
            raise BillError(
                _("the device does not charge this: {outcome}").format(
                    outcome=OUTCOME_NAMES[outcome]
                )
            )
        before_fen = self.ledger.debit_fen[0]
        self.ledger.commit(0)
        # What is charged is paid at once, so that only one step can be too much money.
        self.ledger.credit_fen[0] = self.ledger.debit_fen[0]
        self._turns += self.ledger.debit_fen[0] < before_fen

    def _tell_rate(self, rate: int) -> None:
        """Have the clock tell this rate at all hours."""
        if rate not in self._one_rate:
            schedule = self.file.schedule
            if schedule is None:
                raise BillError(_("the tariff has no day tables"))
            whole_day = [("00:00", self.file.rates[rate])]
            tables = dict.fromkeys(schedule.tables, whole_day)
            always = schedule.model_copy(update={"tables": tables})
            file = self.file.model_copy(update={"schedule": always})
            self._one_rate[rate] = _loaded(file), Calendar(file)
        self.tariff, self.other.calendar = self._one_rate[rate]

    @property
    def exact_yuan(self) -> Decimal:
        """Return everything charged, exactly."""
        ledger = self.ledger
        return (
            Decimal((self._turns << 32) + ledger.debit_fen[0]).scaleb(-2)
            + Decimal(ledger.residue_e7[0]).scaleb(-7)
            + Decimal(ledger.residue_e11[0]).scaleb(-11)
        )


def settled(tariff: TariffFile, household: int, moment: datetime) -> DeviceBill:
    """Return an account at `moment` that was open when its tier period began: it has all quota."""
    period = Calendar(tariff).period_at(moment)
    if period is None:
        return DeviceBill(tariff, household, moment)
    bill = DeviceBill(tariff, household, max(period.start, EPOCH + timedelta(seconds=1)))
    bill.go_to(moment, 0)
    return bill


def size_on_device(tariff: TariffFile) -> int:
    """Return bytes of the image; BillError where the device refuses it."""
    _loaded(tariff)
    return len(build(tariff))


def cells_of(tariff: TariffFile, lines: Iterable[Line]) -> list[Cell]:
    """Return what lines used, by tier, rate and price."""
    cells_wh: dict[tuple[int, int, Fraction, Fraction], int] = {}
    for line in lines:
        if line.rate is None:
            continue
        number = line.tier if tariff.has_free_tier else line.tier + 1
        key = (0 if line.free else number, line.rate, line.price, line.service)
        cells_wh[key] = cells_wh.get(key, 0) + line.wh
    found = []
    for (tier, rate, price, service), wh in sorted(cells_wh.items()):
        kwh = Decimal(wh).scaleb(-3)
        each = _decimal(price)
        found.append(Cell(tier, tariff.rates[rate], kwh, each, kwh * each, _decimal(service)))
    return found


def _decimal(value: Fraction) -> Decimal:
    """Return a price, which has at most eight decimals."""
    return Decimal(value.numerator) / Decimal(value.denominator)


def _loaded(file: TariffFile) -> Tariff:
    image = build(file)
    tariff = Tariff()
    trouble = tariff.load(image, len(image))
    if trouble:
        raise BillError(_("the device refuses the tariff: {trouble}").format(trouble=trouble))
    return tariff
