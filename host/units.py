"""Units of the host, said once: seconds since 2000, fen and yuan, watt-hours and kilowatt-hours.

`t2000` is seconds since 2000-01-01 in the meters' local standard time.
"""

from datetime import datetime, timedelta
from decimal import Decimal

EPOCH = datetime(2000, 1, 1)
DAY_S = 86_400
HOUR_S = 3_600


def to_t2000(moment: datetime) -> int:
    """Return the moment as seconds since 2000, without its fraction of a second."""
    return int((moment - EPOCH).total_seconds())


def to_datetime(t2000: int) -> datetime:
    """Return seconds since 2000 as a date and time."""
    return EPOCH + timedelta(seconds=t2000)


def yuan(fen: int) -> str:
    """Return money as people write it, in yuan with two decimals."""
    return f"{Decimal(fen).scaleb(-2):.2f}"


def kwh(energy_wh: int, decimals: int = 3) -> str:
    """Return energy as people write it, in kWh; a register of a meter shows two decimals."""
    return f"{Decimal(energy_wh).scaleb(-3):.{decimals}f}"


def unwrapped_fen(told_fen: int, near_fen: int) -> int:
    """The whole count of fen that a device tells modulo 2**32, of which the nearest is meant."""
    turn = 1 << 32
    return near_fen + (told_fen - near_fen + turn // 2) % turn - turn // 2
