"""Convert meter time (BCD, years 2000..2099) to and from `t2000`: local seconds since 2000-01-01.

    wire   ss mm hh [WW] DD MM YY     each byte BCD, low byte first, WW the weekday (0 = Sunday)

Results beyond January 2034 are big integers on a 32-bit board; until then nothing allocates.
Spec: DL/T 645-2007 annex A, 04000101, 04000102, 0400010C.
"""

from civil import day_number
from micropython import const

from dlt645.bcd import decode, encode

BAD_TIME = const(-1)

_DAY_S = const(86400)
_CYCLE_DAYS = const(1461)
_LAST_DAY = const(24854)  # 2068-01-18: t2000 fits 32 bits with a sign

# Formats of dlt645.table; 8, to the minute, is the remaining one.
_FORM_DATE = const(5)
_FORM_TIME = const(6)
_FORM_DATE_TIME = const(7)


def month_days(year: int, month: int) -> int:
    """Return the days in `month` 1..12 of `year` 0..99 after 2000."""
    if month == 2:
        return 28 if year & 3 else 29
    return 30 + ((month + (month >> 3)) & 1)


def decode_date(data: bytearray, offset: int) -> int:
    """Return the days since 2000-01-01 of DD MM YY at `offset`, or BAD_TIME."""
    day = decode(data[offset])
    month = decode(data[offset + 1])
    year = decode(data[offset + 2])
    if year < 0 or month < 1 or month > 12 or day < 1 or day > month_days(year, month):
        return BAD_TIME
    return day_number(year, month, day)


def decode_minute(data: bytearray, offset: int) -> int:
    """Return the second of the day of mm hh at `offset`, or BAD_TIME."""
    minute = decode(data[offset])
    hour = decode(data[offset + 1])
    if minute < 0 or minute > 59 or hour < 0 or hour > 23:
        return BAD_TIME
    return hour * 3600 + minute * 60


def decode_time(data: bytearray, offset: int) -> int:
    """Return the second of the day of ss mm hh at `offset`, or BAD_TIME."""
    second = decode(data[offset])
    rest_s = decode_minute(data, offset + 1)
    if second < 0 or second > 59 or rest_s < 0:
        return BAD_TIME
    return rest_s + second


def encode_into(buf: bytearray, offset: int, t2000: int) -> None:
    """Write ss mm hh DD MM YY of `t2000` (0 .. end of 2099) into six bytes at `offset`."""
    days = t2000 // _DAY_S
    second = t2000 % _DAY_S
    buf[offset] = encode(second % 60)
    buf[offset + 1] = encode(second // 60 % 60)
    buf[offset + 2] = encode(second // 3600)
    year = days // _CYCLE_DAYS * 4
    days %= _CYCLE_DAYS
    if days > 365:
        year += (days - 1) // 365
        days = (days - 1) % 365
    month = 1
    while days >= month_days(year, month):
        days -= month_days(year, month)
        month += 1
    buf[offset + 3] = encode(days + 1)
    buf[offset + 4] = encode(month)
    buf[offset + 5] = encode(year)


def decode_moment(form: int, data: bytearray, offset: int) -> int:
    """Decode a field of the table's `form`: t2000, a second of the day, or BAD_TIME."""
    if form == _FORM_TIME:
        return decode_time(data, offset)
    if form == _FORM_DATE:
        second = 0
        days = decode_date(data, offset + 1)
    elif form == _FORM_DATE_TIME:
        second = decode_time(data, offset)
        days = decode_date(data, offset + 4)
    else:
        second = decode_minute(data, offset)
        days = decode_date(data, offset + 2)
    if second < 0 or days < 0 or days > _LAST_DAY:
        return BAD_TIME
    return days * _DAY_S + second
