"""A bill by the device's own core: the ledger and the tariff image of the firmware."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from prepay.ledger import CHARGED, FIRST, HOUSEHOLD, MONEY_LIMIT_FEN, OUTCOME_NAMES, Ledger
from prepay.tariff import NO_LIMIT, Tariff

from host.frames.tariff import build
from host.frames.tariff_terms import TariffFile
from host.units import to_t2000, yuan

# More than any household draws: what is asked for is priced, not doubted.
_NO_POWER_LIMIT_W = 10**15
_STEP_LIMIT_WH = 400_000_000
_REGISTER_MODULUS_WH = 10**9


class BillError(Exception):
    """The core refused; the text says why."""


@dataclass(frozen=True)
class Cell:
    """Energy in one tier (from 1 on; 0 costs nothing) at one rate."""

    tier: int
    rate: str
    kwh: Decimal
    price: Decimal
    yuan: Decimal


class DeviceBill:
    """One account of a fresh ledger, charged by readings of its registers."""

    def __init__(self, tariff: TariffFile, household: int, start: datetime, used_wh: int) -> None:
        image = build(tariff)
        self.tariff = Tariff()
        trouble = self.tariff.load(image, len(image))
        if trouble:
            raise BillError(f"the device refuses the tariff: {trouble}")
        self.ledger = Ledger(1, 8)
        self.ledger.power_limit_w = _NO_POWER_LIMIT_W
        self.ledger.describe(0, household)
        self.ledger.used_wh[0] = used_wh
        self.registers_wh = array("i", [0] * self.tariff.registers)
        self.t2000 = to_t2000(start)
        self._free = tariff.has_free_tier
        self._rates = tariff.rates
        self._cells_wh: Counter[tuple[int, int]] = Counter()
        self._take(FIRST)

    def use(self, register: int, wh: int) -> None:
        """Charge `wh` more on a register, read a second later."""
        if self.ledger.used_wh[0] + wh > NO_LIMIT - 1:
            raise BillError(f"more than {NO_LIMIT // 1000} kWh in one tier period")
        self._count(register, wh)
        used_wh = [0] * self.tariff.registers
        while wh:
            used_wh[register] = min(wh, _STEP_LIMIT_WH)
            self.read(used_wh, self.t2000 + 1)
            wh -= used_wh[register]

    def read(self, used_wh: Sequence[int], t2000: int) -> None:
        """Charge a reading at `t2000`, after `used_wh` more on each register."""
        for register, wh in enumerate(used_wh):
            self.registers_wh[register] = (self.registers_wh[register] + wh) % _REGISTER_MODULUS_WH
        self.t2000 = t2000
        self._take(CHARGED)

    def _count(self, register: int, wh: int) -> None:
        """Note into which tiers the energy falls."""
        used_wh = self.ledger.used_wh[0]
        tier = self.ledger.tier_of(0, self.tariff)
        row = self.tariff.row + (self.ledger.flags[0] >> HOUSEHOLD) * self.tariff.tiers
        while wh:
            step_wh = min(wh, self.tariff.limits_wh[row + tier] - used_wh)
            self._cells_wh[tier, register] += step_wh
            used_wh += step_wh
            wh -= step_wh
            tier += 1

    def _take(self, expected: int) -> None:
        outcome = self.ledger.prepare(0, self.tariff, self.registers_wh, self.t2000)
        if outcome != expected:
            limit = f", at most {yuan(MONEY_LIMIT_FEN)} yuan" if expected == CHARGED else ""
            raise BillError(f"the device does not charge this: {OUTCOME_NAMES[outcome]}{limit}")
        self.ledger.commit(0)

    @property
    def exact_yuan(self) -> Decimal:
        """Everything charged, exactly."""
        ledger = self.ledger
        return (
            Decimal(ledger.debit_fen[0]).scaleb(-2)
            + Decimal(ledger.residue_e7[0]).scaleb(-7)
            + Decimal(ledger.residue_e11[0]).scaleb(-11)
        )

    def cells(self, prices: Sequence[Sequence[Decimal]]) -> list[Cell]:
        """What the present tier period used, with the prices of its ladder."""
        found = []
        for tier, row in enumerate(prices):
            for rate, price in enumerate(row):
                kwh = Decimal(self._cells_wh[tier, rate]).scaleb(-3)
                if kwh:
                    number = tier if self._free else tier + 1
                    found.append(Cell(number, self._rates[rate], kwh, price, kwh * price))
        return found
