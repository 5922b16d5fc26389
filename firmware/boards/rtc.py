"""RTC chips on I2C, with a battery of their own: they keep the time while the board has no power.

A chip is a row of the table: its address, where its seven bytes of time begin, whether the day
stands before the weekday, and the register and bit that tell that its oscillator has stood. The
bytes are BCD: seconds, minutes, hours, weekday, day, month, year. Bits that tell something else
are left aside. A chip that has lost its time, that was never set, or that does not answer has
none.

Spec: Maxim DS1307, DS1338, DS3231, NXP PCF8563, their register maps.
"""

from dlt645 import clock
from dlt645.bcd import encode
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.at24 import I2c


# Name, address, first register, 1: the day before the weekday, register and bit of a stop.
CHIPS = (
    ("ds1307", 0x68, 0, 0, 0x00, 0x80),
    ("ds1338", 0x68, 0, 0, 0x07, 0x20),
    ("ds3231", 0x68, 0, 0, 0x0F, 0x80),
    ("pcf8563", 0x51, 2, 1, 0x02, 0x80),
)

_SIZE = const(7)
_WEEKDAY = const(3)
_DAY = const(4)
# A chip that was set stands after this; the product is younger.
_LEAST_T2000 = const(789004800)
_DAY_S = const(86400)
# Bits of seconds, minutes, hours, weekday, day, month and year that are digits.
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
        """Local standard time, -1 where the chip has none."""
        time = self._time
        try:
            self._read(self._flag, self._value)
            self._read(self._first, time)
        except OSError:
            return -1
        # It is set to 24 hours here; a chip with 12 was set by somebody else, or never.
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
        """Set the chip, which forgets that it stood; one that does not answer stays as it is."""
        moment = bytearray(_SIZE)
        clock.encode_into(moment, 1, t2000)
        moment[0] = self._first
        # ss mm hh DD MM YY have no weekday yet; 0 is Sunday, some chips count from 1 on.
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
