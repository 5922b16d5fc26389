"""Read and set RTC chips on I2C, whose battery keeps the time while the board has no power.

A chip is a row of the table: its address, the first of its seven bytes of time, whether the day
comes before the weekday, and the register and bit that show that its oscillator has stopped. The
bytes are BCD: seconds, minutes, hours, weekday, day, month, year; bits that are no digits are
masked. The time is unknown if the chip has lost it, was never set or does not answer.

Spec: Maxim DS1307, DS1338, DS3231, NXP PCF8563, their register maps.
"""

from dlt645 import clock
from dlt645.bcd import encode
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.at24 import I2c


# Name, address, first register, 1 if the day comes before the weekday, register and bit of a stop.
CHIPS = (
    ("ds1307", 0x68, 0, 0, 0x00, 0x80),
    ("ds1338", 0x68, 0, 0, 0x07, 0x20),
    ("ds3231", 0x68, 0, 0, 0x0F, 0x80),
    ("pcf8563", 0x51, 2, 1, 0x02, 0x80),
)

_SIZE = const(7)
_WEEKDAY = const(3)
_DAY = const(4)
# A chip that was set shows a time after this, because the product is newer.
_LEAST_T2000 = const(789004800)
_DAY_S = const(86400)
# The bits of seconds, minutes, hours, weekday, day, month and year that are digits.
_DIGITS = b"\x7f\x7f\x3f\x07\x3f\x1f\xff"
_TWELVE_HOURS = const(0x40)


class Rtc:
    """The chip called `name` on the I2C `bus`."""

    def __init__(self, bus: "I2c", name: str) -> None:
        self._bus = bus
        for row in CHIPS:
            if row[0] == name:
                _, self._address, self._first, self._day_first, self._flag, self._stopped = row
        self._place = bytearray(1)
        self._value = bytearray(1)
        self._time = bytearray(_SIZE)

    def now_t2000(self) -> int:
        """Return local standard time in seconds since 2000, -1 if the chip has none."""
        time = self._time
        try:
            self._read(self._flag, self._value)
            self._read(self._first, time)
        except OSError:
            return -1
        # `set_t2000` uses 24 hours: a chip with 12 was set by another program, or never.
        if self._value[0] & self._stopped or (not self._day_first and time[2] & _TWELVE_HOURS):
            return -1
        if self._day_first:
            time[_WEEKDAY], time[_DAY] = time[_DAY], time[_WEEKDAY]
        for place in range(_SIZE):
            time[place] &= _DIGITS[place]
        second = clock.decode_time(time, 0)
        days = clock.decode_date(time, _DAY)
        if second < 0 or days * _DAY_S + second < _LEAST_T2000:
            return -1
        return days * _DAY_S + second

    def set_t2000(self, t2000: int) -> None:
        """Set the chip and clear its stop bit; do nothing if it does not answer."""
        moment = bytearray(_SIZE)
        clock.encode_into(moment, 1, t2000)
        moment[0] = self._first
        # The weekday is added to ss mm hh DD MM YY; Sunday is 0, or 1 for some chips.
        weekday = encode((t2000 // _DAY_S + 6) % 7 + (0 if self._day_first else 1))
        at = 5 if self._day_first else 4
        buf = moment[:at] + bytes((weekday,)) + moment[at:]
        try:
            self._bus.writeto(self._address, buf)
            self._read(self._flag, self._value)
            if self._value[0] & self._stopped:
                kept = self._value[0] ^ self._stopped
                self._bus.writeto(self._address, bytearray((self._flag, kept)))
        except OSError:
            return

    def _read(self, register: int, buf: bytearray) -> None:
        self._place[0] = register
        self._bus.writeto(self._address, self._place)
        self._bus.readfrom_into(self._address, buf)
