"""Numbers and moments of time as a meter sends them: BCD, low byte first, years 2000 to 2099.

date       WW DD MM YY        time       ss mm hh        moment     ss mm hh DD MM YY
"""

from datetime import datetime
from functools import lru_cache

from host.units import EPOCH, to_datetime, to_t2000


@lru_cache(4096)
def bcd(value: int, size: int) -> bytes:
    """Return `value` as `size` bytes of BCD, low byte first."""
    digits = f"{value:0{2 * size}d}"
    if value < 0 or len(digits) > 2 * size:
        raise ValueError(f"{value} does not fit {size} bytes of BCD")
    return bytes.fromhex(digits)[::-1]


def unbcd(data: bytes) -> int | None:
    """Return the value of BCD bytes, low byte first; None where a nibble is no digit."""
    digits = data[::-1].hex()
    return int(digits) if digits.isdecimal() else None


def write_date(t2000: int) -> bytes:
    """Return WW DD MM YY; the weekday is 0 on Sunday."""
    moment = to_datetime(t2000)
    fields = (moment.isoweekday() % 7, moment.day, moment.month, moment.year - EPOCH.year)
    return b"".join(bcd(value, 1) for value in fields)


def write_time(t2000: int) -> bytes:
    """Return ss mm hh."""
    moment = to_datetime(t2000)
    return b"".join(bcd(value, 1) for value in (moment.second, moment.minute, moment.hour))


def write_moment(t2000: int) -> bytes:
    """Return ss mm hh DD MM YY."""
    return write_time(t2000) + write_date(t2000)[1:]


def read_date(data: bytes) -> int | None:
    """Return `t2000` of midnight of DD MM YY; None where there is no such day."""
    return read_moment(bytes(3) + data)


def read_moment(data: bytes) -> int | None:
    """Return `t2000` of ss mm hh DD MM YY; None where there is no such moment."""
    values = [unbcd(data[index : index + 1]) for index in range(6)]
    if None in values or len(data) != 6:
        return None
    second, minute, hour, day, month, year = (value or 0 for value in values)
    try:
        return to_t2000(datetime(EPOCH.year + year, month, day, hour, minute, second))
    except ValueError:
        return None


def signed_bcd(value: int, size: int) -> bytes:
    """Return `value` as BCD whose highest bit is the sign."""
    data = bytearray(bcd(abs(value), size))
    if value < 0:
        data[-1] |= 0x80
    return bytes(data)


def text(characters: str, size: int) -> bytes:
    """Return ASCII, last character first, behind zeros."""
    return characters.encode("ascii").ljust(size, b"\0")[::-1]
