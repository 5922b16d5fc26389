"""Compute local civil dates: days since 2000-01-01, years 0..99 after 2000. Nothing allocates."""

from micropython import const

DAY_S = const(86400)
_CYCLE_DAYS = const(1461)


def day_number(year: int, month: int, day: int) -> int:
    """Return days since 2000-01-01; month 0 is December before, 13 is January after the year."""
    if month == 0:
        year -= 1
        month = 12
    elif month == 13:
        year += 1
        month = 1
    days = year * 365 + ((year + 3) >> 2) + (367 * month - 362) // 12 + day - 1
    if month > 2:
        days -= 2 if year & 3 else 1
    return days


def year_of(days: int) -> int:
    """Return the year, 0..99 after 2000, in which the day lies."""
    year = days // _CYCLE_DAYS * 4
    days %= _CYCLE_DAYS
    return year + (days - 1) // 365 if days > 365 else year


def month_of(year: int, days: int) -> int:
    """Return the month 1..12 of `year` in which the day lies."""
    month = 12
    while day_number(year, month, 1) > days:
        month -= 1
    return month


def mmdd_of(year: int, days: int) -> int:
    """Return month * 100 + day of a day that lies in `year`: 1103 is November 3rd."""
    month = month_of(year, days)
    return month * 100 + days - day_number(year, month, 1) + 1


def weekday_of(days: int) -> int:
    """Return the weekday as meters count it: 0 is Sunday, 6 is Saturday."""
    return (days + 6) % 7
