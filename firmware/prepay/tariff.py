"""Read a tariff image: the price of a kilowatt-hour by tier, rate, season and household.

The image is little-endian and at most 4096 bytes; host/frames/tariff.py builds it from a file:

    0   "DT"           2
    2   format         1   2
    3   number         1   1..255
    4   rates          1   1..8, with day tables 1..24; tiers 1, 1..8; households 1, 1..16
    7   ladders        1   1..64; sets 1, 1..32; day tables 1, 0..16; holidays 1, 0..128
    11  rules          1   for a part of a year: bits 0, 1 account opened, 2, 3 moved in,
                           4, 5 household changed; 0 whole quota, 1 from this month on,
                           2 from the next month on
    12  free period    1   0 none, 1 month, 2 year; its settlement: month 1, day 1, hour 1
    16  where there is a free period: households x free_wh 4, 0..1048575
    ..  ladders x households x
          tiers - 1 x  upper limit_wh 4, inclusive
          tiers x rates x (price_e4 4, price_e8_low 2)
    ..  sets x
          start t2000 4 (the first: 0), standing_e7 4 a day, standing_e4 4 a month
          period 1 (0 none, 1 month, 2 year), settlements 1, seasons 1, rest days 1 (bit 0 Sunday)
          settlements x (month 1, day 1, hour 1)
          seasons x (month 1, day 1, ladder 1, day table 1, day table of rest days 1,
                     uncounted rates 3: bit 0 the first; they cost the same in all tiers)
    ..  day tables x (count 1, count x (minute 2, rate 1))
    ..  holidays x (day since 2000-01-01 2, day table 1)

The caller has checked the image against its SHA-256. Day table 0 means that the meter's registers
give the rates. Day tables are numbered from 1; with them, one register of the meter is read and
the clock gives the rate.

Money has two parts: `wh * price_e4` is in 1e-7 yuan, `wh * price_e8_low` in 1e-11 yuan.

Spec: docs/PREPAYMENT.md; docs/SPEC.md, "Tariff image".
"""

from array import array

from civil import DAY_S, day_number, month_of, weekday_of, year_of
from micropython import const

_IMAGE_LIMIT = const(4096)
# Registers of a meter; with day tables the clock may give more rates.
RATES_LIMIT = const(8)
_CLOCK_RATES_LIMIT = const(24)
_TIERS_LIMIT = const(8)
# Greater than every energy in Wh and every t2000 before 2034: the limit of the last tier and the
# end of the last set.
NO_LIMIT = const(0x3FFFFFFF)
_END_T2000 = const(0xFFFFFFFF)
FROM_REGISTERS = const(-1)

_HEADER = const(16)
_RULES = const(11)
_FREE = const(12)
_HOUSEHOLDS_LIMIT = const(16)
_LADDERS_LIMIT = const(64)
_SETS_LIMIT = const(32)
_SEASONS_LIMIT = const(16)
_TABLES_LIMIT = const(16)
_HOLIDAYS_LIMIT = const(128)
_SETTLEMENTS_LIMIT = const(6)
_SET = const(16)
_SETTLEMENT = const(3)
_SEASON = const(8)
FREE_LIMIT_WH = const(0xFFFFF)
_HOLIDAY = const(3)
_SLOT = const(3)

_NONE = const(0)
_MONTH = const(1)
_YEAR = const(2)

# Rules for a part of a year.
_WHOLE = const(0)
_THIS_MONTH = const(1)
_NEXT_MONTH = const(2)


class Refused(Exception):
    """The image is not a valid tariff; the text says why."""


class Tariff:
    """A tariff, and its terms in the span of time that was asked for last.

    number, rates, tiers, households   as in the image
    cells           tiers x rates
    registers       count of the meter's registers: one for each rate, or 1 with day tables
    limits_wh       [row + household x tiers + tier] upper limits, of the last tier NO_LIMIT
    prices_e4, prices_e8_low   [that x rates + rate] prices in two parts
    free_wh         [household] energy that is free in each free period
    unusual_kinds   bits of the kinds of household that the short path of a charge excludes:
                    those with free energy, and those that the tariff does not have

    opened, moved_in, changed   the rules for a part of a year

    `seek` sets these fields for a time:

    from_t2000, until_t2000   the span in which none of them changes
    row             the row of limits_wh
    standing_e7, standing_e4   the standing charge of a day in 1e-7, of a month in 1e-4 yuan
    period_t2000    settlement that began the tier period, plus its kind (1 month, 2 year);
                    0 without a period
    free_month      the month in which the free period began, since December 1999; 0: none
    rate            the rate of all energy, or FROM_REGISTERS
    uncounted       bits of the rates whose energy does not count for the tiers
    plain_from_t2000    from_t2000, or until_t2000 if the clock gives the rate, a day or a month
                    costs, a rate does not count, or every kind has energy free

    `count_months` sets months and months_left of the tier period.
    """

    def __init__(self) -> None:
        self.number = 0
        self.rates = 1
        self.tiers = 1
        self.households = 1
        self.cells = 1
        self.registers = 1
        self.limits_wh = array("I")
        self.prices_e4 = array("I")
        self.prices_e8_low = array("H")
        self.free_wh = array("I")
        self.unusual_kinds = 0
        self.opened = 0
        self.moved_in = 0
        self.changed = 0
        self.from_t2000 = 0
        self.until_t2000 = 0
        self.row = 0
        self.standing_e7 = 0
        self.standing_e4 = 0
        self.period_t2000 = 0
        self.free_month = 0
        self.rate = FROM_REGISTERS
        self.uncounted = 0
        self.months = 1
        self.months_left = 1
        self.plain_from_t2000 = NO_LIMIT
        self._image = b""
        self._sets = array("H")
        self._tables = array("H")
        self._holidays = 0
        self._holiday_count = 0
        self._since_t2000 = 0
        self._next_t2000 = 0
        self._period_end_t2000 = 0

    def load(self, image: "bytes | bytearray | memoryview", size: int) -> str:
        """Load the tariff from a copy of `image[:size]`; return "" or why it is refused.

        It can be called once, so a loaded tariff never changes its rates and tiers.
        """
        if self.number:
            return "it is loaded"
        if not _HEADER < size <= min(len(image), _IMAGE_LIMIT):
            return "no tariff has that size"
        self._image = bytes(image[:size])
        if self._image[:3] != b"DT\x02":
            return "no tariff of format 2"
        try:
            self._parse()
            self.number = self._image[3]
        except Refused as refused:
            return str(refused)
        except IndexError:
            return "the image is cut short"
        return ""

    def _parse(self) -> None:
        image = self._image
        _within(image[3], 1, 255, "number")
        tables = _within(image[9], 0, _TABLES_LIMIT, "day tables")
        limit = _CLOCK_RATES_LIMIT if tables else RATES_LIMIT
        self.rates = _within(image[4], 1, limit, "rates")
        self.tiers = _within(image[5], 1, _TIERS_LIMIT, "tiers")
        self.households = _within(image[6], 1, _HOUSEHOLDS_LIMIT, "kinds of household")
        ladders = _within(image[7], 1, _LADDERS_LIMIT, "ladders")
        self.cells = self.tiers * self.rates
        rules = image[_RULES]
        self.opened = _within(rules & 3, _WHOLE, _THIS_MONTH, "rule of an opened account")
        self.moved_in = _within(rules >> 2 & 3, _WHOLE, _THIS_MONTH, "rule of moving in")
        self.changed = _within(rules >> 4, _WHOLE, _NEXT_MONTH, "rule of a changed household")
        at = self._parse_ladders(self._parse_free(_HEADER), ladders * self.households)
        sets = _within(image[8], 1, _SETS_LIMIT, "sets")
        self._sets = array("H")
        start_t2000 = -1
        for _ in range(sets):
            self._sets.append(at)
            if _u32(image, at) <= start_t2000 or (start_t2000 < 0 and _u32(image, at)):
                raise Refused("sets do not start one after the other")
            start_t2000 = _u32(image, at)
            _within(start_t2000 % 3600, 0, 0, "seconds of the hour in which a set starts")
            at = self._parse_set(at, ladders, tables)
        self._tables = array("H")
        for _ in range(tables):
            self._tables.append(at)
            at = self._parse_table(at)
        self._holidays = at
        self._holiday_count = _within(image[10], 0, _HOLIDAYS_LIMIT, "holidays")
        for _ in range(self._holiday_count):
            _within(image[at + 2], 1, tables, "day table of a holiday")
            at += _HOLIDAY
        if at != len(image):
            raise Refused("bytes are left over")

    def _parse_free(self, at: int) -> int:
        image = self._image
        self.free_wh = array("I")
        # Kinds that the tariff does not have are excluded from the short path.
        self.unusual_kinds = 0xFFFF << self.households & 0xFFFF
        period = _within(image[_FREE], _NONE, _YEAR, "free period")
        if period == _NONE:
            return at
        self._parse_settlement(_FREE + 1, period)
        for household in range(self.households):
            free_wh = _within(_u32(image, at), 0, FREE_LIMIT_WH, "free energy")
            self.free_wh.append(free_wh)
            if free_wh:
                self.unusual_kinds |= 1 << household
            at += 4
        return at

    def _parse_settlement(self, at: int, period: int) -> None:
        image = self._image
        _within(image[at], 1 if period == _YEAR else 0, 12, "month of a settlement")
        _within(image[at + 1], 1, 28, "day of a settlement")
        _within(image[at + 2], 0, 23, "hour of a settlement")

    def _parse_ladders(self, at: int, count: int) -> int:
        image = self._image
        self.limits_wh = array("I")
        self.prices_e4 = array("I")
        self.prices_e8_low = array("H")
        for _ in range(count):
            below_wh = 0
            for _ in range(self.tiers - 1):
                below_wh = _within(_u32(image, at), below_wh, NO_LIMIT - 2, "limit of a tier")
                self.limits_wh.append(below_wh)
                at += 4
            self.limits_wh.append(NO_LIMIT)
            for _ in range(self.cells):
                self.prices_e4.append(_within(_u32(image, at), 0, NO_LIMIT, "price"))
                low = _within(_u16(image, at + 4), 0, 9999, "last four decimals of a price")
                self.prices_e8_low.append(low)
                at += 6
        return at

    def _parse_set(self, at: int, ladders: int, tables: int) -> int:
        image = self._image
        _within(_u32(image, at + 4), 0, NO_LIMIT, "standing charge of a day")
        _within(_u32(image, at + 8), 0, NO_LIMIT, "standing charge of a month")
        period = _within(image[at + 12], _NONE, _YEAR, "tier period")
        settlements = image[at + 13]
        seasons = _within(image[at + 14], 1, _SEASONS_LIMIT, "seasons")
        least, greatest = ((0, 0), (1, 1), (1, _SETTLEMENTS_LIMIT))[period]
        _within(settlements, least, greatest, "settlements")
        at += _SET
        for _ in range(settlements):
            self._parse_settlement(at, period)
            at += _SETTLEMENT
        for _ in range(seasons):
            _within(image[at], 1, 12, "month of a season")
            # A season that began on 02-29 would begin on 03-01 in most years.
            days = day_number(1, image[at] + 1, 1) - day_number(1, image[at], 1)
            _within(image[at + 1], 1, days, "day of a season")
            _within(image[at + 2], 0, ladders - 1, "ladder of a season")
            least = 1 if tables else 0
            _within(image[at + 3], least, tables, "day table of a season")
            _within(image[at + 4], least, tables, "day table of rest days")
            self._parse_uncounted(image[at + 2], _u24(image, at + 5))
            at += _SEASON
        self.registers = 1 if tables else self.rates
        return at

    def _parse_uncounted(self, number: int, uncounted: int) -> None:
        """Check that a rate that does not count for the tiers costs the same in all of them."""
        _within(uncounted >> self.rates, 0, 0, "rates that are not counted beyond the last")
        for rate in range(self.rates):
            if uncounted >> rate & 1:
                for row in range(number * self.households, (number + 1) * self.households):
                    first = row * self.cells + rate
                    for at in range(first, first + self.cells, self.rates):
                        low = self.prices_e8_low[at] - self.prices_e8_low[first]
                        if low or self.prices_e4[at] != self.prices_e4[first]:
                            raise Refused("a rate that is not counted costs more in some tiers")

    def _parse_table(self, at: int) -> int:
        image = self._image
        count = _within(image[at], 1, 48, "slots of a day table")
        least = 0
        for slot in range(count):
            place = at + 1 + slot * _SLOT
            minute = _within(_u16(image, place), least, 1439 if slot else 0, "start of a slot")
            least = minute + 1
            _within(image[place + 2], 0, self.rates - 1, "rate of a slot")
        return at + 1 + count * _SLOT

    def period_at(self, t2000: int) -> int:
        """Return `period_t2000` of the tier period at `t2000`; 0 without a period."""
        if not self.from_t2000 <= t2000 < self.until_t2000:
            self.seek(t2000)
        return self.period_t2000

    def change_after(self, t2000: int) -> int:
        """Return the next t2000 at which prices, season, tier period or rate may change."""
        if not self.from_t2000 <= t2000 < self.until_t2000:
            self.seek(t2000)
        return self.until_t2000

    def seek(self, t2000: int) -> None:
        """Set the fields that depend on time to the terms at `t2000`."""
        image = self._image
        position = len(self._sets) - 1
        while _u32(image, self._sets[position]) > t2000:
            position -= 1
        at = self._sets[position]
        self.from_t2000 = _u32(image, at)
        self.until_t2000 = NO_LIMIT if t2000 < NO_LIMIT else _END_T2000
        if position + 1 < len(self._sets):
            self.until_t2000 = _u32(image, self._sets[position + 1])
        self.standing_e7 = _u32(image, at + 4)
        self.standing_e4 = _u32(image, at + 8)
        self._seek_period(position, at, t2000)
        self._seek_free(t2000)
        season = at + _SET + image[at + 13] * _SETTLEMENT
        if image[at + 14] > 1:
            season += self._bracket(season, _SEASON, image[at + 14], t2000) * _SEASON
            self._narrow(self._since_t2000, self._next_t2000)
        self.row = image[season + 2] * self.households * self.tiers
        self.uncounted = _u24(image, season + 5)
        self.rate = FROM_REGISTERS
        if len(self._tables):
            self._seek_slot(season, image[at + 15], t2000)
        self.plain_from_t2000 = self.from_t2000
        costs = self.standing_e7 or self.standing_e4
        if costs or self.uncounted or self.rate >= 0 or self.unusual_kinds & 1:
            self.plain_from_t2000 = self.until_t2000

    def _narrow(self, from_t2000: int, until_t2000: int) -> None:
        """Reduce the span of the fields to its intersection with this one."""
        if from_t2000 > self.from_t2000:
            self.from_t2000 = from_t2000
        if until_t2000 < self.until_t2000:
            self.until_t2000 = until_t2000

    def _seek_period(self, position: int, at: int, t2000: int) -> None:
        image = self._image
        self.period_t2000 = 0
        if image[at + 12] == _NONE:
            return
        if image[at + 12] == _YEAR:
            self._bracket(at + _SET, _SETTLEMENT, image[at + 13], t2000)
        else:
            self._bracket_month(image[at + _SET + 1], image[at + _SET + 2], t2000)
        self._narrow(self._since_t2000, self._next_t2000)
        self._period_end_t2000 = self._next_t2000
        # The period cannot begin before the first of the sets with the same settlements.
        while position and not self._settles_otherwise(at, self._sets[position - 1]):
            position -= 1
        start_t2000 = max(self._since_t2000, _u32(image, self._sets[position]))
        # Times are whole hours, so their lowest bits can hold the kind of the period.
        self.period_t2000 = start_t2000 + image[at + 12]

    def _seek_free(self, t2000: int) -> None:
        """Set `free_month` for `t2000`."""
        image = self._image
        self.free_month = 0
        if image[_FREE] == _NONE:
            return
        if image[_FREE] == _YEAR:
            self._bracket(_FREE + 1, _SETTLEMENT, 1, t2000)
        else:
            self._bracket_month(image[_FREE + 2], image[_FREE + 3], t2000)
        self._narrow(self._since_t2000, self._next_t2000)
        self.free_month = _month_count(max(0, self._since_t2000) // DAY_S)

    def months_due(self, from_t2000: int, until_t2000: int) -> int:
        """Return the count of months that begin at or after one time and before the other."""
        since = _month_count((from_t2000 + DAY_S - 1) // DAY_S - 1)
        return _month_count((until_t2000 + DAY_S - 1) // DAY_S - 1) - since

    def count_months(self, t2000: int, period_t2000: int = 0) -> None:
        """Set the `months` of the tier period at `t2000`, and `months_left` from its month on.

        `period_t2000` is that of the account, which may be later than the one of a tariff without
        its past sets. A tier period of a month, or none, has one month.
        """
        self.seek(t2000)
        self.months = self.months_left = 1
        if self.period_t2000 & 3 != _YEAR:
            return
        start_t2000 = max(self.period_t2000, period_t2000) - _YEAR
        begun_s = _second_of_month(start_t2000)
        begun = _month_count(start_t2000 // DAY_S)
        months = _month_count(self._period_end_t2000 // DAY_S) - begun
        if _second_of_month(self._period_end_t2000) > begun_s:
            months += 1
        passed = _month_count(t2000 // DAY_S) - begun
        if _second_of_month(t2000) < begun_s:
            passed -= 1
        self.months = months
        self.months_left = months - passed

    def _settles_otherwise(self, at: int, before: int) -> bool:
        """Return whether two sets differ in their periods: then the later one begins a period."""
        image = self._image
        for offset in range(12, 14):
            if image[at + offset] != image[before + offset]:
                return True
        for offset in range(_SET, _SET + image[at + 13] * _SETTLEMENT):
            if image[at + offset] != image[before + offset]:
                return True
        return False

    def _bracket_month(self, day: int, hour: int, t2000: int) -> None:
        """Set the times of the monthly settlements before and after `t2000`."""
        days = t2000 // DAY_S
        year = year_of(days)
        month = month_of(year, days)
        if day_number(year, month, day) * DAY_S + hour * 3600 > t2000:
            month -= 1
        self._since_t2000 = day_number(year, month, day) * DAY_S + hour * 3600
        self._next_t2000 = day_number(year, month + 1, day) * DAY_S + hour * 3600

    def _bracket(self, at: int, stride: int, count: int, t2000: int) -> int:
        """Set the times of the yearly rows (month, day[, hour]) before and after `t2000`.

        Return the row before.
        """
        image = self._image
        year = year_of(t2000 // DAY_S)
        latest = 0
        for row in range(count):
            month = image[at]
            day = image[at + 1]
            second = image[at + 2] * 3600 if stride == _SETTLEMENT else 0
            before_t2000 = after_t2000 = day_number(year, month, day) * DAY_S + second
            if before_t2000 > t2000:
                before_t2000 = day_number(year - 1, month, day) * DAY_S + second
            else:
                after_t2000 = day_number(year + 1, month, day) * DAY_S + second
            if row == 0 or before_t2000 > self._since_t2000:
                latest = row
                self._since_t2000 = before_t2000
            if row == 0 or after_t2000 < self._next_t2000:
                self._next_t2000 = after_t2000
            at += stride
        return latest

    def _seek_slot(self, season: int, rest_days: int, t2000: int) -> None:
        """Set `rate` by the clock, and reduce the span to its slot."""
        image = self._image
        days = t2000 // DAY_S
        table = image[season + 4 if rest_days >> weekday_of(days) & 1 else season + 3]
        for position in range(self._holiday_count):
            if _u16(image, self._holidays + position * _HOLIDAY) == days:
                table = image[self._holidays + position * _HOLIDAY + 2]
        at = self._tables[table - 1]
        second = t2000 % DAY_S
        until_s = DAY_S
        slot = at + 1 + (image[at] - 1) * _SLOT
        while _u16(image, slot) * 60 > second:
            until_s = _u16(image, slot) * 60
            slot -= _SLOT
        self.rate = image[slot + 2]
        self._narrow(days * DAY_S + _u16(image, slot) * 60, days * DAY_S + until_s)


def _within(value: int, least: int, greatest: int, what: str) -> int:
    if not least <= value <= greatest:
        span = str(least) + " to " + str(greatest)
        raise Refused(what + " " + str(value) + ", can be " + span)
    return value


def _month_count(days: int) -> int:
    """Return the month of a day since 2000-01-01, counted from December 1999 on."""
    if days < 0:
        return 0
    year = year_of(days)
    return year * 12 + month_of(year, days)


def _second_of_month(t2000: int) -> int:
    """Return the seconds since the month began, at most those of 28 days."""
    days = t2000 // DAY_S
    year = year_of(days)
    begun_t2000 = day_number(year, month_of(year, days), 1) * DAY_S
    return min(t2000 - begun_t2000, 28 * DAY_S - 1)


def _u16(image: bytes, at: int) -> int:
    return image[at] | image[at + 1] << 8


def _u24(image: bytes, at: int) -> int:
    return image[at] | image[at + 1] << 8 | image[at + 2] << 16


def _u32(image: bytes, at: int) -> int:
    return image[at] | image[at + 1] << 8 | image[at + 2] << 16 | image[at + 3] << 24
