"""Units and numbers of the host, said once: time, money, energy, numbers of accounts and meters.

`t2000` is seconds since 2000-01-01 in the meters' local standard time.
"""

import re
import time
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal

from host.words import _

EPOCH = datetime(2000, 1, 1)
# The zone of a station that nothing else is known of, whatever the zone of this computer is.
CHINA = timezone(timedelta(hours=8))
DAY_S = 86_400
HOUR_S = 3_600


def to_t2000(moment: datetime) -> int:
    """Return the moment as seconds since 2000, without its fraction of a second."""
    return int((moment - EPOCH).total_seconds())


def t2000_of_unix(at: int, zone: tzinfo) -> int:
    """Return seconds since 1970, UTC, as standard time of a zone, in seconds since 2000."""
    moment = datetime.fromtimestamp(at, zone)
    return to_t2000(moment.replace(tzinfo=None) - (moment.dst() or timedelta(0)))


def unix_of_t2000(t2000: int, zone: tzinfo) -> int:
    """Return seconds since 2000 on the clock of a zone as seconds since 1970, UTC."""
    return int(to_datetime(t2000).replace(tzinfo=zone).timestamp())


def now_t2000(zone: tzinfo) -> int:
    """Return the time in standard time of a station's zone, as its concentrators keep it."""
    return t2000_of_unix(int(time.time()), zone)


def to_datetime(t2000: int) -> datetime:
    """Return seconds since 2000 as a date and time."""
    return EPOCH + timedelta(seconds=t2000)


def yuan(fen: int) -> str:
    """Return money as people write it, in yuan with two decimals."""
    return f"{Decimal(fen).scaleb(-2):.2f}"


def fen_of(text: str) -> int:
    """Return money written in yuan, like 50 or 49.95, in fen; ValueError where it is not."""
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,2})?", text):
        raise ValueError(
            _("{text!r} is not yuan like 50 or 49.95, with at most two decimals").format(text=text)
        )
    return int(Decimal(text).scaleb(2))


def full_number(text: str) -> str:
    """Return the number of an account or a meter with its 12 digits; ValueError.

    A shorter one is filled with zeros in front, as on a meter's label.
    """
    if not re.fullmatch("[0-9]{1,12}", text):
        raise ValueError(_("{text!r} is no number: up to 12 digits are needed").format(text=text))
    return text.zfill(12)


def register_wh(text: str) -> int:
    """Return a register as a meter shows it in kWh, like 1234.56, in Wh; ValueError."""
    if not re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,3})?", text):
        raise ValueError(_("{text!r} is no register in kWh like 1234.56").format(text=text))
    return int(Decimal(text).scaleb(3))


def kwh(energy_wh: int, decimals: int = 3) -> str:
    """Return energy as people write it, in kWh; a register of a meter shows two decimals."""
    return f"{Decimal(energy_wh).scaleb(-3):.{decimals}f}"


def unwrapped_fen(told_fen: int, near_fen: int) -> int:
    """Return the count of fen nearest `near_fen` that is `told_fen` modulo 2**32."""
    turn = 1 << 32
    return near_fen + (told_fen - near_fen + turn // 2) % turn - turn // 2
