"""What the two standards share: for which meter a request is, refusals, and the reply's frame."""

from host.frames import dlt645
from host.frames.dlt645 import ABNORMAL, BROADCAST, FROM_METER, MORE, Frame
from host.sim.meter import Meter
from host.sim.values import read_date, read_moment, write_moment
from host.units import DAY_S

# The error word's bit 0 in both standards: data that means nothing.
ERR_OTHER = 0x01
_NEAR_MIDNIGHT_S = 300
# The byte of 17H and 0CH.
BAUD_CODES = {0x02: 600, 0x04: 1200, 0x08: 2400, 0x10: 4800, 0x20: 9600, 0x40: 19200}


class Refusal(Exception):
    """The meter refuses; `word` is its error word, `size` how many bytes of it are sent."""

    def __init__(self, word: int, size: int = 1) -> None:
        super().__init__(f"refused with {word:02X}")
        self.word = word
        self.size = size


class Silent(Exception):
    """The request is not answered at all."""


class Speaker:
    """Builds the replies of one meter; `more` is set when a reply needs follow-up frames."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.more = False

    def answer(self, frame: Frame) -> bytes | None:
        """Return the bytes of the reply to `frame`, None where the meter stays silent."""
        self.more = False
        heard_by_all = frame.address == BROADCAST and not self.answers_broadcast(frame.control)
        try:
            data = self.perform(frame)
        except Silent:
            return None
        except Refusal as refusal:
            word = refusal.word.to_bytes(refusal.size, "little")
            return None if heard_by_all else self._reply(frame.control | ABNORMAL, word)
        control = frame.control | (MORE if self.more else 0)
        return None if heard_by_all else self._reply(control, data)

    def _reply(self, control: int, data: bytes) -> bytes:
        meter = self.meter
        return dlt645.build(meter.address, control | FROM_METER, data, meter.preamble)

    def answers_broadcast(self, control: int) -> bool:
        """Return whether the function is answered although all meters are asked."""
        return False

    def perform(self, frame: Frame) -> bytes:
        """Do what is asked; return the data of the reply. Raises Refusal or Silent."""
        raise NotImplementedError

    def value_of(self, di: int) -> bytes | None:
        """Return the data bytes of an identifier, None where this meter has none."""
        raise NotImplementedError

    def note_clock(self, operator: bytes, t2000: int) -> None:
        """Keep an event, where the standard has one, of a clock about to be set to `t2000`."""

    # --- what both standards do alike ----------------------------------------------------------

    def set_time_by_broadcast(self, frame: Frame) -> bytes:
        """Take the time once a day, when it differs little, and not near midnight."""
        meter = self.meter
        t2000 = read_moment(frame.data) if len(frame.data) == 6 else None
        day, second = divmod(meter.clock_t2000, DAY_S)
        near_midnight = min(second, DAY_S - second) <= _NEAR_MIDNIGHT_S
        if t2000 is None or day == meter.time_set_day or near_midnight:
            raise Silent
        if abs(t2000 - meter.clock_t2000) <= meter.profile.time_limit_s:
            self.note_clock(bytes(4), t2000)
            meter.set_clock(t2000)
            meter.time_set_day = day
        raise Silent

    def set_clock(self, value: bytes, operator: bytes = bytes(4)) -> None:
        """Set date (WW DD MM YY), time (ss mm hh) or both (ss mm hh WW DD MM YY)."""
        clock_t2000 = self.meter.clock_t2000
        t2000 = None
        if len(value) == 4:
            day_t2000 = read_date(value[1:])
            t2000 = None if day_t2000 is None else day_t2000 + clock_t2000 % DAY_S
        elif len(value) == 3:
            t2000 = read_moment(value + write_moment(clock_t2000)[3:])
        elif len(value) == 7:
            t2000 = read_moment(value[:3] + value[4:])
        if t2000 is None:
            raise Refusal(ERR_OTHER)
        self.note_clock(operator, t2000)
        self.meter.set_clock(t2000)

    def set_address(self, value: bytes) -> None:
        """Take another address, low byte first."""
        digits = value[::-1].hex()
        if len(digits) != 12 or not digits.isdecimal():
            raise Refusal(ERR_OTHER)
        self.meter.address = digits

    def change_baud(self, data: bytes, error: int) -> bytes:
        """Take another speed from the next request on; refused with `error`."""
        baud = BAUD_CODES.get(data[0]) if len(data) == 1 else None
        if baud is None:
            raise Refusal(error)
        self.meter.baud = baud
        return data
