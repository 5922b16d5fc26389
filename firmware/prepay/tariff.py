"""A tariff: what a kilowatt-hour costs, by tier, rate, season and kind of household.

Image, little-endian, at most 4096 bytes; host/frames/tariff.py builds it from a tariff file:

    0   "DT"           2
    2   format         1   1
    3   number         1   1..255
    4   rates          1   1..8, time-of-use; tiers 1, 1..8; households 1, 1..4
    7   ladders        1   1..16; sets 1, 1..4; day tables 1, 0..16; holidays 1, 0..64; 0
    12  ladders x households x
          tiers - 1 x  upper limit_wh 4, inclusive
          tiers x rates x (price_e4 4, price_e8_low 2)
    ..  sets x
          start t2000 4 (the first: 0), standing_e7 4 a day
          period 1 (0 none, 1 month, 2 year), settlements 1, seasons 1, rest days 1 (bit 0 Sunday)
          settlements x (month 1, day 1, hour 1)
          seasons x (month 1, day 1, ladder 1, day table 1, day table of rest days 1)
    ..  day tables x (count 1, count x (minute 2, rate 1))
    ..  holidays x (day since 2000-01-01 2, day table 1)

Whoever stores or names an image does so by its CRC-32, and has checked it before it comes here.
A day table 0 means that the meter's own registers tell the rates. Day tables are numbered from 1;
with them the meter has one register and the clock tells the rate.

Money is in two limbs: `wh * price_e4` is in 1e-7 yuan, `wh * price_e8_low` in 1e-11 yuan.
"""

from array import array

from civil import DAY_S, day_number, month_of, weekday_of, year_of
from micropython import const

_IMAGE_LIMIT = const(4096)
RATES_LIMIT = const(8)
_TIERS_LIMIT = const(8)
# Above every energy, and every time before 2034: the limit of the last tier, the end of all sets.
NO_LIMIT = const(0x3FFFFFFF)
_END_T2000 = const(0xFFFFFFFF)
FROM_REGISTERS = const(-1)

_FORMAT = const(1)
_HEADER = const(12)
_HOUSEHOLDS_LIMIT = const(4)
_LADDERS_LIMIT = const(16)
_SETS_LIMIT = const(4)
_TABLES_LIMIT = const(16)
_HOLIDAYS_LIMIT = const(64)
_SETTLEMENTS_LIMIT = const(6)
_SETTLEMENT = const(3)
_SEASON = const(5)
_HOLIDAY = const(3)
_SLOT = const(3)

_NONE = const(0)
_MONTH = const(1)
_YEAR = const(2)


class Refused(Exception):
    """The image is not a tariff that can be honoured; the text says why."""


class Tariff:
    """One tariff, and the span of time that was last asked for.

    number, rates, tiers, households, ladders   as in the image
    cells           tiers x rates
    registers       of the meter that are read: one for each rate, or 1 with day tables
    limits_wh       [row + household x tiers + tier], of the last NO_LIMIT
    prices_e4, prices_e8_low   [that x rates + rate]

    `seek` sets, for the time asked for:

    from_t2000, until_t2000   within which all below stays the same
    row, standing_e7
    period_t2000    settlement that began the tier period, 0 without a period
    rate            of all energy, or FROM_REGISTERS
    plain_from_t2000    like from_t2000, but never when the clock tells the rate or days cost
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
        self.from_t2000 = 0
        self.until_t2000 = 0
        self.row = 0
        self.standing_e7 = 0
        self.period_t2000 = 0
        self.rate = FROM_REGISTERS
        self.plain_from_t2000 = NO_LIMIT
        self._image = b""
        self._sets = array("H")
        self._tables = array("H")
        self._holidays = 0
        self._holiday_count = 0
        self._since_t2000 = 0
        self._next_t2000 = 0

    def load(self, image: "bytes | bytearray | memoryview", size: int) -> str:
        """Become the tariff of the first `size` bytes, copied; "" or why it is refused.

        Once: who holds a tariff may rely on its rates and tiers.
        """
        if self.number:
            return "it is loaded"
        if not _HEADER < size <= min(len(image), _IMAGE_LIMIT):
            return "no tariff has that size"
        self._image = bytes(image[:size])
        if self._image[:3] != b"DT\x01":
            return "no tariff of format 1"
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
        self.rates = _within(image[4], 1, RATES_LIMIT, "rates")
        self.tiers = _within(image[5], 1, _TIERS_LIMIT, "tiers")
        self.households = _within(image[6], 1, _HOUSEHOLDS_LIMIT, "kinds of household")
        ladders = _within(image[7], 1, _LADDERS_LIMIT, "ladders")
        self.cells = self.tiers * self.rates
        at = self._parse_ladders(_HEADER, ladders * self.households)
        sets = _within(image[8], 1, _SETS_LIMIT, "sets")
        tables = _within(image[9], 0, _TABLES_LIMIT, "day tables")
        self._sets = array("H")
        start_t2000 = -1
        for _ in range(sets):
            self._sets.append(at)
            if _u32(image, at) <= start_t2000 or (start_t2000 < 0 and _u32(image, at)):
                raise Refused("sets do not start one after the other")
            start_t2000 = _u32(image, at)
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
        _within(_u32(image, at + 4), 0, NO_LIMIT, "standing charge")
        period = _within(image[at + 8], _NONE, _YEAR, "tier period")
        settlements = image[at + 9]
        seasons = _within(image[at + 10], 1, _LADDERS_LIMIT, "seasons")
        least, greatest = ((0, 0), (1, 1), (1, _SETTLEMENTS_LIMIT))[period]
        _within(settlements, least, greatest, "settlements")
        at += 12
        for _ in range(settlements):
            _within(image[at], 1 if period == _YEAR else 0, 12, "month of a settlement")
            _within(image[at + 1], 1, 28, "day of a settlement")
            _within(image[at + 2], 0, 23, "hour of a settlement")
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
            at += _SEASON
        self.registers = 1 if tables else self.rates
        return at

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
        """The settlement that began the tier period `t2000` lies in; 0 without a period."""
        if not self.from_t2000 <= t2000 < self.until_t2000:
            self.seek(t2000)
        return self.period_t2000

    def change_after(self, t2000: int) -> int:
        """The next time when prices, season, tier period or rate may change."""
        if not self.from_t2000 <= t2000 < self.until_t2000:
            self.seek(t2000)
        return self.until_t2000

    def seek(self, t2000: int) -> None:
        """Find what holds at `t2000`."""
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
        self._seek_period(position, at, t2000)
        season = at + 12 + image[at + 9] * _SETTLEMENT
        if image[at + 10] > 1:
            season += self._bracket(season, _SEASON, image[at + 10], t2000) * _SEASON
            self._narrow(self._since_t2000, self._next_t2000)
        self.row = image[season + 2] * self.households * self.tiers
        self.rate = FROM_REGISTERS
        if len(self._tables):
            self._seek_slot(season, image[at + 11], t2000)
        self.plain_from_t2000 = self.from_t2000
        if self.standing_e7 or self.rate != FROM_REGISTERS:
            self.plain_from_t2000 = self.until_t2000

    def _narrow(self, from_t2000: int, until_t2000: int) -> None:
        """Keep what lies within both spans."""
        if from_t2000 > self.from_t2000:
            self.from_t2000 = from_t2000
        if until_t2000 < self.until_t2000:
            self.until_t2000 = until_t2000

    def _seek_period(self, position: int, at: int, t2000: int) -> None:
        image = self._image
        self.period_t2000 = 0
        if image[at + 8] == _NONE:
            return
        if image[at + 8] == _YEAR:
            self._bracket(at + 12, _SETTLEMENT, image[at + 9], t2000)
        else:
            self._bracket_month(image[at + 13], image[at + 14], t2000)
        self._narrow(self._since_t2000, self._next_t2000)
        # Before the first settlement after 1999 a period has no time of its own.
        self.period_t2000 = max(1, self._since_t2000)
        # The first of the sets that settle alike: where it began, it settled.
        while position and not self._settles_otherwise(at, self._sets[position - 1]):
            position -= 1
        start_t2000 = _u32(image, self._sets[position])
        if start_t2000 > self.period_t2000:
            self.period_t2000 = start_t2000

    def _settles_otherwise(self, at: int, before: int) -> bool:
        """Whether two sets differ in their periods: then the later one's start settles."""
        image = self._image
        size = image[at + 9] * _SETTLEMENT
        if image[at + 8] != image[before + 8] or image[at + 9] != image[before + 9]:
            return True
        return image[at + 12 : at + 12 + size] != image[before + 12 : before + 12 + size]

    def _bracket_month(self, day: int, hour: int, t2000: int) -> None:
        """Set the times of the settlements of a month around `t2000`."""
        days = t2000 // DAY_S
        year = year_of(days)
        month = month_of(year, days)
        if day_number(year, month, day) * DAY_S + hour * 3600 > t2000:
            month -= 1
        self._since_t2000 = day_number(year, month, day) * DAY_S + hour * 3600
        self._next_t2000 = day_number(year, month + 1, day) * DAY_S + hour * 3600

    def _bracket(self, at: int, stride: int, count: int, t2000: int) -> int:
        """Set the times of the yearly rows (month, day[, hour]) around `t2000`.

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
        """Find the rate by the clock."""
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


def _u16(image: bytes, at: int) -> int:
    return image[at] | image[at + 1] << 8


def _u32(image: bytes, at: int) -> int:
    return image[at] | image[at + 1] << 8 | image[at + 2] << 16 | image[at + 3] << 24
