"""What the concentrators of a village record of a day: one of each district, one of each feeder.

The times are those of a concentrator that reads households a few times a day and its supply meter
each hour, asks for the freezes at ten past midnight and for the items at one and at eight in the
evening.
"""

from collections import defaultdict
from typing import Any

import numpy as np

from host.frames.record import RecordKind
from host.sim.village import kinds, trouble
from host.sim.village.district import NEVER_DAYS, Day, District
from host.sim.village.trouble import NO_ACCOUNT, Outage, Trouble
from host.units import DAY_S, HOUR_S
from host.village.journal import FEN_E7, Journal

Array = Any

UNIT_WH = 10
PRICED, FREE = 1, 2  # numbers of the tariffs
_REDEEMED_HOUR = 9
_READ_S, _FREEZE_S, _ITEMS_S, _EVENING_S = 60, 600, HOUR_S + 600, 20 * HOUR_S + 600
_SILENT_S, _BACK_S = 45 * 60, 600
_STATUS_OPEN = 0x10
_STATUS_1, _STATUS_7 = 0x04000501, 0x04000507
_COVERS, _TERMINALS, _MAGNETS, _REVERSE = 0x03300D00, 0x03300E00, 0x03350000, 0x00020000
_FAILS, _LAST_FAIL = 0x03110000, 0x03110001
_VOLTS, _AMPS, _NEUTRAL, _POWER = 0x0201FF00, 0x0202FF00, 0x02800001, 0x02030000
_COVER_BIT, _TERMINAL_BIT = 1 << 9, 1 << 10
_COMPLIANCE = 0x03100001  # of the month that has ended
_BACK, _RESUMED = 6, 1  # reasons of FAULT
_BY_ORDER, _FOUND_OTHERWISE = 1, 16  # reasons of RELAY


class Metered:
    """The registers of one meter, as its concentrator reads and charges them."""

    def __init__(self, multiplier: int, price_e7: int) -> None:
        self.multiplier, self._price_e7 = multiplier, price_e7
        self.used_wh = self._read_wh = 0
        self._is_first = True

    def shown(self, line_wh: int) -> int:
        """Return what the meter shows of so much energy of the line's side."""
        return line_wh // self.multiplier // UNIT_WH * UNIT_WH

    def read(self, total_wh: int) -> int:
        """Charge what was used since the last reading; return the step, below 0: it went back."""
        step_wh = 0 if self._is_first else total_wh - self._read_wh
        self._is_first = False
        self._read_wh = total_wh
        self.used_wh += max(0, step_wh) * self.multiplier
        return step_wh

    @property
    def debit_e7(self) -> int:
        """Return all that was charged, in 1e-7 yuan: the price is of 1e-4 yuan a kWh."""
        return self.used_wh * self._price_e7


class FeederStation:
    """The concentrator of a feeder's gate meter, its row 0."""

    def __init__(self, journal: Journal, account: str, address: str, ct: int, pt: int) -> None:
        self.journal, self.account, self.address = journal, account, address
        self.ct, self.pt = ct, pt
        self._meter = Metered(ct * pt, 0)
        self.total_wh = 1_000_000 * ct * pt

    def begin(self, t2000: int) -> None:
        """Register the meter."""
        _tell_supply(self.journal, t2000, 0, self.address, self.account, self.ct * self.pt)

    def record(self, midnight_t2000: int, hours_wh: Array) -> None:
        """Record a day in which so much energy passed in each hour."""
        total_wh = self.total_wh
        for hour, wh in enumerate(hours_wh.tolist()):
            if hour == 0:
                shown_wh = self._meter.shown(total_wh)
                self.journal.freeze(midnight_t2000 + _FREEZE_S, 0, midnight_t2000, shown_wh)
            _read_at(self.journal, 0, midnight_t2000, hour, self._meter, total_wh, wh, 0)
            total_wh += wh
        self.total_wh = total_wh


def _read_at(
    journal: Journal,
    row: int,
    midnight_t2000: int,
    hour: int,
    meter: Metered,
    start_wh: int,
    hour_wh: int,
    status: int,
) -> int:
    """Record a reading in an hour; return its step."""
    after_s = _READ_S + row
    total_wh = meter.shown(start_wh + hour_wh * after_s // HOUR_S)
    step_wh = meter.read(total_wh)
    t2000 = midnight_t2000 + hour * HOUR_S + after_s
    journal.reading(t2000, row, total_wh, meter.debit_e7, meter.used_wh, status)
    return step_wh


def _tell_supply(
    journal: Journal, t2000: int, row: int, address: str, account: str, multiplier: int
) -> None:
    told = {"tariff": FREE, "line": 0, "standard": 0, "active": 1}
    journal.add(RecordKind.METER, t2000, row, address=address, account=account, **told)
    _tell_terms(journal, t2000, row, multiplier, guard=1)


def _tell_terms(journal: Journal, t2000: int, row: int, multiplier: int, guard: int = 0) -> None:
    terms = {"household": 0, "grade": 0, "guard": guard, "debt_fen": 0}
    journal.add(RecordKind.ACCOUNT, t2000, row, multiplier=multiplier, **terms)


class DistrictStation:
    """The concentrator of a district: its households in rows from 0 on, then the sum meter."""

    def __init__(
        self,
        district: District,
        journal: Journal,
        accounts: list[tuple[str, str]],
        supply: tuple[str, str],
        price_e7: int,
        readings_a_day: int,
    ) -> None:
        """`accounts` and `supply` are an account and its meter's address."""
        self.district, self.journal = district, journal
        self.accounts, self.supply = accounts, supply
        self.meters = [Metered(int(m), price_e7) for m in district.multiplier]
        self._sum = Metered(district.ct, 0)
        self._sum_row = len(accounts)
        self._hours = set(range(0, 24, -(-24 // readings_a_day)))
        self._late: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self._cut: set[int] = set()
        # Order, amount and credit of who redeems a card today.
        self.purchases: dict[int, tuple[int, int, int]] = {}
        self.credits_fen: dict[int, int] = {}  # of what was redeemed
        self._month_minutes = np.zeros((3, district.count), int)
        self._extremes = np.array([[0] * district.count, [1 << 20] * district.count])

    def begin(self, t2000: int) -> None:
        """Register the meters."""
        for row, (account, address) in enumerate(self.accounts):
            told = {"tariff": PRICED, "line": 0, "standard": 0, "active": 1}
            self.journal.add(
                RecordKind.METER, t2000, row, address=address, account=account, **told
            )
            if self.meters[row].multiplier > 1:
                _tell_terms(self.journal, t2000, row, self.meters[row].multiplier)
        ratio = self.district.ct
        _tell_supply(self.journal, t2000, self._sum_row, self.supply[1], self.supply[0], ratio)

    def record(self, midnight_t2000: int, day: Day) -> None:
        """Record a day; what happens in the same second stands in the order of the rows."""
        self._freezes(midnight_t2000, day)
        self._readings(midnight_t2000, day)
        self._items(midnight_t2000, day)
        self._evening(midnight_t2000, day)
        self._voltages(midnight_t2000, day)
        self._line(midnight_t2000, day)
        self._outages(midnight_t2000, day)

    # --- registers -----------------------------------------------------------------------------

    def _freezes(self, midnight_t2000: int, day: Day) -> None:
        """Record this midnight's freezes, and late ones of the days before."""
        at_t2000 = midnight_t2000 + _FREEZE_S
        for row, frozen_t2000, total_wh in self._late.pop(day.number, ()):
            self.journal.freeze(at_t2000 + row, row, frozen_t2000, total_wh)
        totals = day.start_wh - self._ahead(day)
        for row, (total, delay) in enumerate(
            zip(totals.tolist(), day.late_days.tolist(), strict=True)
        ):
            shown_wh = self.meters[row].shown(total)
            if delay == 0:
                self.journal.freeze(at_t2000 + row, row, midnight_t2000, shown_wh)
            elif delay != NEVER_DAYS:
                self._late[day.number + delay].append((row, midnight_t2000, shown_wh))
        shown_wh = self._sum.shown(day.supply_start_wh)
        if day.supply_late_days == 0:
            self.journal.freeze(at_t2000, self._sum_row, midnight_t2000, shown_wh)
        elif day.supply_late_days != NEVER_DAYS:
            self._late[day.number + day.supply_late_days].append(
                (self._sum_row, midnight_t2000, shown_wh)
            )

    def _ahead(self, day: Day) -> Array:
        """Return what a clock's error adds to the freeze: its midnight is another one."""
        # A clock ahead freezes before midnight; one behind after it.
        mean_wh = day.counted_wh.sum(axis=1) // 24
        return mean_wh * day.offset_s // HOUR_S

    def _readings(self, midnight_t2000: int, day: Day) -> None:
        starts = day.start_wh.copy()
        is_dark = day.volts <= 0
        supply_wh = day.supply_start_wh
        for hour in range(24):
            hour_wh = day.counted_wh[:, hour]
            if hour == _REDEEMED_HOUR:
                self._redeem(midnight_t2000)
            if hour in self._hours:
                deaf = (is_dark[:, hour] | day.silent[:, hour]).tolist()
                rows = zip(starts.tolist(), hour_wh.tolist(), deaf, strict=True)
                for row, (start, wh, is_deaf) in enumerate(rows):
                    if not is_deaf:
                        self._read(midnight_t2000, hour, row, start, wh, bool(day.is_cut[row]))
            starts += hour_wh
            wh = int(day.supply_wh[hour])
            if wh:
                _read_at(
                    self.journal, self._sum_row, midnight_t2000, hour, self._sum, supply_wh, wh, 0
                )
            supply_wh += wh

    def _read(
        self, midnight_t2000: int, hour: int, row: int, start_wh: int, wh: int, is_cut: bool
    ) -> None:
        meter = self.meters[row]
        t2000 = midnight_t2000 + hour * HOUR_S + _READ_S + row
        status = _STATUS_OPEN if is_cut and row % 2 else 0
        if is_cut and row not in self._cut:
            self._cut.add(row)
            self._relay(t2000 - HOUR_S, row, 1, _BY_ORDER, 0)
            self._relay(t2000 - HOUR_S + 20, row, 2, _BY_ORDER, _STATUS_OPEN)
        elif is_cut and not status and hour == 0:
            self._relay(t2000 + 1, row, 1, _FOUND_OTHERWISE, 0)
        step_wh = _read_at(self.journal, row, midnight_t2000, hour, meter, start_wh, wh, status)
        if step_wh < 0:
            told = {"stopped": 0, "value": max(0, meter.shown(start_wh)), "limit": 0}
            self.journal.add(RecordKind.FAULT, t2000 + 1, row, reason=_BACK, **told)
            self.journal.add(RecordKind.FAULT, t2000 + 9, row, reason=_RESUMED, **told)

    def _redeem(self, midnight_t2000: int) -> None:
        for row, (order, amount_fen, credit_fen) in self.purchases.items():
            self.credits_fen[row] = credit_fen
            self.journal.add(
                RecordKind.TOP_UP,
                midnight_t2000 + _REDEEMED_HOUR * HOUR_S + row,
                row,
                order=order,
                amount_fen=amount_fen,
                credit_fen=credit_fen,
                balance_fen=credit_fen - self.meters[row].debit_e7 // FEN_E7,
                uid=f"04{row:06X}{self.journal.concentrator:08X}",
                source=1,
                key_version=1,
                repaid_fen=0,
            )
        self.purchases.clear()

    def _relay(self, t2000: int, row: int, stage: int, reason: int, status: int) -> None:
        told = {"desired": 1, "stage": stage, "reason": reason, "status": status}
        self.journal.add(RecordKind.RELAY, t2000, row, balance_fen=-1000, **told)

    # --- items ---------------------------------------------------------------------------------

    def _items(self, midnight_t2000: int, day: Day) -> None:
        """Record what is asked in the morning, as `concentrator.line.items` lists it."""
        is_weekly = day.number % 7 == 0
        opened = _opened(day)
        deaf = (day.silent[:, 1] | (day.volts[:, 1] <= 0)).tolist()
        columns = (day.covers, day.terminals, day.magnets, day.reverse_wh, day.fails, opened)
        for row, values in enumerate(zip(*(one.tolist() for one in columns), strict=True)):
            if deaf[row]:
                continue
            covers, terminals, magnets, reverse_wh, fails, bits = values
            at = midnight_t2000 + _ITEMS_S + row * 8
            item = self.journal.item
            item(at, row, _STATUS_1, (0,))
            item(at + 1, row, _STATUS_7, (bits,))
            item(at + 2, row, _COVERS, (covers,))
            item(at + 3, row, _TERMINALS, (terminals,))
            item(at + 4, row, _MAGNETS, (magnets,))
            reverse_wh = reverse_wh // self.meters[row].multiplier // UNIT_WH * UNIT_WH
            item(at + 5, row, _REVERSE, (reverse_wh,))
            if is_weekly:
                item(at + 6, row, _FAILS, (fails,))

    def _evening(self, midnight_t2000: int, day: Day) -> None:
        """Record the voltages, currents and power of eight in the evening."""
        deaf = (day.silent[:, 20] | (day.volts[:, 20] <= 0)).tolist()
        volts = np.rint(day.volts[:, 20] * 10).astype(int).tolist()
        three = np.rint(day.three_volts[:, :, 20] * 10).astype(int).tolist()
        ratios = self.district.multiplier
        amps = (day.phase_ma // ratios).tolist()
        neutrals = (day.neutral_ma // ratios).tolist()
        is_three = self.district.line.is_three.tolist()
        for row, is_deaf in enumerate(deaf):
            if is_deaf:
                continue
            at = midnight_t2000 + _EVENING_S + row * 5
            item = self.journal.item
            if is_three[row]:
                each = [0 if v < 1000 else amps[row] for v in three[row]]
                item(at, row, _VOLTS, three[row])
                item(at + 1, row, _AMPS, each)
            else:
                each = [amps[row]]
                item(at, row, _VOLTS, (volts[row], None, None))
                item(at + 1, row, _AMPS, (amps[row], None, None))
                item(at + 2, row, _NEUTRAL, (neutrals[row],))
            seen = three[row] if is_three[row] else [volts[row]]
            power = sum(ma * v for ma, v in zip(each, seen, strict=True))
            item(at + 3, row, _POWER, (power * 95 // 100_000,))

    def _voltages(self, midnight_t2000: int, day: Day) -> None:
        """Record the hourly voltages of the chosen meters and of the sum meter."""
        heads = np.rint(day.head_v * 10).astype(int)
        for hour in range(24):
            at = midnight_t2000 + hour * HOUR_S + 1800
            for place in self.district.volt_points.tolist():
                volts = round(float(day.volts[place, hour]) * 10)
                if volts <= 0 or day.silent[place, hour]:
                    continue
                values: list[int | None] = [volts, None, None]
                if self.district.line.is_three[place]:
                    values = [round(float(v) * 10) for v in day.three_volts[place, :, hour]]
                self.journal.item(at + place % 1200, place, _VOLTS, values)
            if day.supply_wh[hour]:
                self.journal.item(at, self._sum_row, _VOLTS, heads[:, hour].tolist())
        self._count_minutes(midnight_t2000, day)

    def _count_minutes(self, midnight_t2000: int, day: Day) -> None:
        """Count the minutes of the month as meters do, and record them when it has ended."""
        lit = (day.volts > 0).sum(axis=1) * 60
        self._month_minutes += np.stack((lit, day.truth.high_minutes, day.truth.low_minutes))
        tenths = np.rint(day.volts * 10).astype(int)
        self._extremes[0] = np.maximum(self._extremes[0], tenths.max(axis=1))
        lit_tenths = np.where(tenths > 0, tenths, 1 << 20)
        self._extremes[1] = np.minimum(self._extremes[1], lit_tenths.min(axis=1))
        tomorrow = self.district.date(day.number + 1)
        if tomorrow.day != 1:
            return
        at = midnight_t2000 + DAY_S + _ITEMS_S
        for row, (seen, over, under) in enumerate(self._month_minutes.T.tolist()):
            if seen and not self.district.line.is_three[row]:
                good_e4 = (seen - over - under) * 10_000 // seen
                highest, lowest = self._extremes[:, row].tolist()
                values = (seen, good_e4, 10_000 - good_e4, over, under)
                self.journal.item(
                    at + row * 8 + 7, row, _COMPLIANCE, (*values, highest, 0, lowest, 0)
                )
        self._month_minutes[:] = 0
        self._extremes[0], self._extremes[1] = 0, 1 << 20

    # --- the line ------------------------------------------------------------------------------

    def _line(self, midnight_t2000: int, day: Day) -> None:
        """Record which meters fell silent, which answer again, and clocks that are wrong."""
        for one in self.district.troubles:
            if one.place == NO_ACCOUNT:
                continue
            if one.kind == kinds.NEUTRAL and day.silent[one.place].any():
                first, behind = kinds.THEFTS[kinds.NEUTRAL].hours
                start_s, end_s = first * HOUR_S, behind * HOUR_S
                self._silence(midnight_t2000, one.place, start_s, end_s)
            elif one.kind == kinds.SILENT:
                self._went_silent(midnight_t2000, one, day.number)
            elif one.kind == kinds.CLOCK_OFF and one.lasts(day.number):
                ahead_s = int(day.offset_s[one.place])
                told = {"state": 3, "failures": 0, "ahead_s": ahead_s}
                self.journal.add(RecordKind.LINE, midnight_t2000 + _ITEMS_S, one.place, **told)

    def _went_silent(self, midnight_t2000: int, one: Trouble, number: int) -> None:
        if number == one.since_day:
            at = midnight_t2000 + _SILENT_S
            self.journal.add(RecordKind.LINE, at, one.place, state=1, failures=3)
        elif number == one.until_day:
            at = midnight_t2000 + _BACK_S
            self.journal.add(RecordKind.LINE, at, one.place, state=2, failures=200)

    def _silence(self, midnight_t2000: int, place: int, start_s: int, end_s: int) -> None:
        if end_s - start_s <= _SILENT_S:
            return
        at = midnight_t2000 + start_s + _SILENT_S
        self.journal.add(RecordKind.LINE, at, place, state=1, failures=3)
        failures = (end_s - start_s) // 900 + 1
        at = midnight_t2000 + end_s + _BACK_S
        self.journal.add(RecordKind.LINE, at, place, state=2, failures=failures)

    def _outages(self, midnight_t2000: int, day: Day) -> None:
        """Record what the concentrator sees of outages that begin on this day."""
        line, count = self.district.line, self.district.count
        for one in day.outages:
            start_s = one.start_s - day.number * DAY_S
            length_s = one.end_s - one.start_s
            hit = trouble.hit(one, line.phase[:count], line.is_three[:count])
            if one.place is None and one.phase is None:
                self._dark(midnight_t2000 + start_s, length_s)
            for place in np.flatnonzero(hit).tolist():
                if one.place is not None or one.phase is not None:
                    self._silence(midnight_t2000, place, start_s, start_s + length_s)
                self._note_failure(midnight_t2000 + start_s, length_s, place, one)

    def _dark(self, t2000: int, length_s: int) -> None:
        """Record that the concentrator's own supply failed, and that it came back."""
        add, row = self.journal.add, self._sum_row
        add(RecordKind.EVENT, t2000, row, what=2, state=1, value=0)
        add(RecordKind.EVENT, t2000 + length_s, row, what=2, state=0, value=0)

    def _note_failure(self, t2000: int, length_s: int, place: int, _one: Outage) -> None:
        """Record the failure that the meter has kept, which is asked for after it."""
        end_t2000 = t2000 + length_s
        at = end_t2000 + _BACK_S + place * 2
        self.journal.item(at, place, _LAST_FAIL, (t2000, end_t2000))


def _opened(day: Day) -> Array:
    """Return status word 7: covers that were opened today."""
    bits = np.zeros(len(day.covers), int)
    bits |= np.where(day.opened[0], _COVER_BIT, 0)
    return bits | np.where(day.opened[1], _TERMINAL_BIT, 0)
