"""Local civil time: days since 2000-01-01, years 0..99 after 2000. Nothing here allocates."""

from micropython import const

DAY_S = const(86400)
_CYCLE_DAYS = const(1461)


def day_number(year: int, month: int, day: int) -> int:
    """Days since 2000-01-01; `month` 1..12, or 0 and 13 for those beside the year."""
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
    """The year after 2000 that the day lies in."""
    year = days // _CYCLE_DAYS * 4
    days %= _CYCLE_DAYS
    return year + (days - 1) // 365 if days > 365 else year


def month_of(year: int, days: int) -> int:
    """The month 1..12 of `year` that the day lies in."""
    month = 12
    while day_number(year, month, 1) > days:
        month -= 1
    return month


def mmdd_of(year: int, days: int) -> int:
    """Month and day of the day, which lies in `year`: 1103 is November 3rd."""
    month = month_of(year, days)
    return month * 100 + days - day_number(year, month, 1) + 1


def weekday_of(days: int) -> int:
    """0 = Sunday, as meters count."""
    return (days + 6) % 7
