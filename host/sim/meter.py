"""A simulated meter of DL/T 645-2007: a load, registers, a relay, a clock, and what it answers.

Time comes with each call, as `t2000` of the world; the meter's own clock differs from it by
`clock_offset_s`. Energy is counted up to that moment before anything is answered, and only while
the relay is closed. Nothing here knows how bytes travel: `answer` takes a verified request.

Spec: DL/T 645-2007 chapter 7 and annex A.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from host.frames import dlt645
from host.frames.dlt645 import ABNORMAL, BROADCAST, FROM_METER, MORE, Frame
from host.sim.clock import DAY_S, DEFAULT_START_T2000, to_datetime
from host.sim.load import RATES, TWO_RATES, Load, Registers, segments
from host.sim.values import bcd, read_date, read_moment, write_date, write_moment, write_time

# The error word of 91H.. replies.
ERR_OTHER = 0x01
ERR_NO_DATA = 0x02
ERR_PASSWORD = 0x04
ERR_BAUD = 0x08

# N1 of the relay control 1CH.
TRIP, PERMIT_CLOSE, CLOSE = 0x1A, 0x1B, 0x1C
ALARM_ON, ALARM_OFF, GUARD_ON, GUARD_OFF = 0x2A, 0x2B, 0x3A, 0x3B

BAUD_CODES = {0x02: 600, 0x04: 1200, 0x08: 2400, 0x10: 4800, 0x20: 9600, 0x40: 19200}

FREEZES_LIMIT = 62
SETTLEMENTS_LIMIT = 12
_DATA_LIMIT = 200  # of one reply, identifier included
_TIME_SET_LIMIT_S = 300
_NEVER_WILD = frozenset((0x14, 0x16, 0x1A, 0x1B, 0x1C, 0x1D))  # not with AA in the address


class Refusal(Exception):
    """The meter says no; `word` is its error word, `size` how many bytes of it are sent."""

    def __init__(self, word: int, size: int = 1) -> None:
        super().__init__(f"refused with {word:02X}")
        self.word = word
        self.size = size


class Silent(Exception):
    """The request is not answered at all."""


@dataclass(frozen=True)
class Freeze:
    """Registers kept at a moment of the meter's own clock."""

    t2000: int
    rates_wh: tuple[int, ...]


@dataclass
class Relay:
    """The switch of the supply and all that decides about it."""

    open: bool = False
    commanded_open: bool = False
    permitted: bool = False  # closing is allowed, by the button
    alarm: bool = False
    guard: bool = False
    operations: int = 0

    def set(self, is_open: bool) -> None:
        """Switch; a second command of the same kind moves nothing."""
        self.commanded_open = is_open
        self.permitted = False
        if self.open != is_open:
            self.open = is_open
            self.operations += 1


@dataclass
class Meter:
    """One meter. `faulty_relay` leaves the relay where it is, whatever is commanded.

    reply_delay_ms    from the end of the request to the first byte of the reply
    button            closing is only permitted by the bus: somebody presses the button
    zero_expiry       a relay command whose expiry is all zero is accepted
    """

    address: str
    load: Load = field(default_factory=Load)
    start_t2000: int = DEFAULT_START_T2000
    start_wh: Sequence[int] = (0,) * RATES
    rate_of_hour: tuple[int, ...] = TWO_RATES
    clock_offset_s: int = 0
    reply_delay_ms: int = 60
    preamble: int = 4
    baud: int = 2400
    password: bytes = b"\x02\x00\x00\x00"
    button: bool = False
    zero_expiry: bool = False
    faulty_relay: bool = False
    relay: Relay = field(default_factory=Relay)
    parameters: dict[int, bytes] = field(default_factory=dict)
    records: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.address) != 12 or not self.address.isdecimal():
            raise ValueError(f"meter address {self.address!r}: 12 digits are needed")
        self.registers = Registers(self.start_wh)
        self.freezes: list[Freeze] = []
        self.settlements: list[Freeze] = []
        self.instants: list[Freeze] = []
        self.time_set_day = -1
        self.terminal_output = 0
        self._advanced_t2000 = self.start_t2000
        self._follow_up: tuple[int, list[bytes]] = (0, [])
        self._functions: dict[int, Callable[[Frame], bytes]] = {
            0x08: self._set_time_by_broadcast,
            0x11: self._read,
            0x12: self._read_follow_up,
            0x13: self._read_address,
            0x14: self._write,
            0x15: self._write_address,
            0x16: self._freeze,
            0x17: self._change_baud,
            0x18: self._change_password,
            0x19: self._clear_demand,
            0x1A: self._clear_meter,
            0x1B: self._clear_events,
            0x1C: self._control_relay,
            0x1D: self._set_terminal,
        }
        self._more = False

    # --- time and energy -----------------------------------------------------------------------

    def advance(self, t2000: int) -> None:
        """Count energy and keep the freezes up to `t2000` of the world; never back."""
        if t2000 <= self._advanced_t2000:
            return
        offset_s = self.clock_offset_s
        for day, hour, duration_s in segments(self._advanced_t2000 + offset_s, t2000 + offset_s):
            if not self.relay.open:
                energy_ws = self.load.power_w(day, hour) * duration_s
                self.registers.add(self.rate_of_hour[hour], energy_ws)
            self._advanced_t2000 += duration_s
            if (self._advanced_t2000 + offset_s) % DAY_S == 0:
                self._keep_day(self._advanced_t2000 + offset_s)

    def _keep_day(self, clock_t2000: int) -> None:
        kept = Freeze(clock_t2000, self.registers.rates_wh)
        self.freezes = [kept, *self.freezes][:FREEZES_LIMIT]
        if to_datetime(clock_t2000).day == 1:
            self.settlements = [kept, *self.settlements][:SETTLEMENTS_LIMIT]

    @property
    def clock_t2000(self) -> int:
        """What the meter's own clock shows, as of the last advance."""
        return self._advanced_t2000 + self.clock_offset_s

    @property
    def rates_wh(self) -> tuple[int, ...]:
        """What the meter shows for each rate, as of the last advance."""
        return self.registers.rates_wh

    def set_clock(self, clock_t2000: int) -> None:
        """Set the meter's own clock."""
        self.clock_offset_s = clock_t2000 - self._advanced_t2000

    def press_button(self) -> None:
        """Somebody presses the button: the relay closes if that is permitted."""
        if self.relay.permitted:
            self._switch(False)

    def _switch(self, is_open: bool) -> None:
        if self.faulty_relay:
            self.relay.commanded_open = is_open
        else:
            self.relay.set(is_open)

    @property
    def status_3(self) -> int:
        """Status word 3, 04000503."""
        relay = self.relay
        return relay.open << 4 | relay.commanded_open << 6 | relay.alarm << 7 | relay.guard << 12

    # --- requests ------------------------------------------------------------------------------

    def answer(self, frame: Frame, t2000: int) -> bytes | None:
        """The bytes of the reply to `frame`, None where the meter stays silent."""
        broadcast = frame.address == BROADCAST
        if not (broadcast or matches(frame.address, self.address)):
            return None
        self.advance(t2000)
        function = self._functions.get(frame.control)
        if function is None:
            return None
        if broadcast and frame.control not in (0x08, 0x16):
            return None
        if "AA" in frame.address and frame.control in _NEVER_WILD:
            return None
        self._more = False
        try:
            data = function(frame)
        except Silent:
            return None
        except Refusal as refusal:
            word = refusal.word.to_bytes(refusal.size, "little")
            control = frame.control | FROM_METER | ABNORMAL
            return None if broadcast else self._build(control, word)
        control = frame.control | FROM_METER | (MORE if self._more else 0)
        return None if broadcast else self._build(control, data)

    def _build(self, control: int, data: bytes) -> bytes:
        return dlt645.build(self.address, control, data, self.preamble)

    def _read(self, frame: Frame) -> bytes:
        if len(frame.data) < 4:
            raise Refusal(ERR_OTHER)
        di = int.from_bytes(frame.data[:4], "little")
        value = self.value_of(di)
        if value is None:
            raise Refusal(ERR_NO_DATA)
        first_size = _DATA_LIMIT - 4
        size = first_size - 1  # the follow-up number
        rest = value[first_size:]
        parts = [rest[at : at + size] for at in range(0, len(rest), size)]
        self._follow_up = (di, parts)
        self._more = bool(parts)
        return frame.data[:4] + value[:first_size]

    def _read_follow_up(self, frame: Frame) -> bytes:
        if len(frame.data) != 5:
            raise Refusal(ERR_OTHER)
        di, parts = self._follow_up
        sequence = frame.data[4]
        asked = int.from_bytes(frame.data[:4], "little")
        if asked != di or not 1 <= sequence <= len(parts):
            raise Refusal(ERR_NO_DATA)
        self._more = sequence < len(parts)
        return frame.data[:4] + parts[sequence - 1] + bytes((sequence,))

    def _read_address(self, frame: Frame) -> bytes:
        return bytes.fromhex(self.address)[::-1]

    def _check_password(self, data: bytes) -> None:
        """PA P0 P1 P2: the level must be as high as ours or higher, the password the same."""
        if data[0] > self.password[0] or data[1:4] != self.password[1:4]:
            raise Refusal(ERR_PASSWORD)

    def _write(self, frame: Frame) -> bytes:
        data = frame.data
        if len(data) < 13:
            raise Refusal(ERR_OTHER)
        self._check_password(data[4:8])
        di = int.from_bytes(data[:4], "little")
        value = data[12:]
        clock_t2000 = self.clock_t2000
        if di == 0x04000101 and len(value) == 4:
            days = read_date(value[1:])
            self._set_clock_or_refuse(days, clock_t2000 % DAY_S)
        elif di == 0x04000102 and len(value) == 3:
            moment = read_moment(value + write_moment(clock_t2000)[3:])
            self._set_clock_or_refuse(moment, 0)
        elif di == 0x0400010C and len(value) == 7:
            self._set_clock_or_refuse(read_moment(value[:3] + value[4:]), 0)
        elif len(self.parameters.get(di, b"")) == len(value):
            self.parameters[di] = value
        else:
            raise Refusal(ERR_NO_DATA)
        return b""

    def _set_clock_or_refuse(self, t2000: int | None, rest_s: int) -> None:
        if t2000 is None:
            raise Refusal(ERR_OTHER)
        self.set_clock(t2000 + rest_s)

    def _write_address(self, frame: Frame) -> bytes:
        new = frame.data[::-1].hex()
        if frame.address != dlt645.WILDCARD or len(new) != 12 or not new.isdecimal():
            raise Silent
        self.address = new
        return b""

    def _set_time_by_broadcast(self, frame: Frame) -> bytes:
        """Taken once a day, within five minutes, and not near midnight; never answered."""
        t2000 = read_moment(frame.data) if len(frame.data) == 6 else None
        day, second = divmod(self.clock_t2000, DAY_S)
        near_midnight = min(second, DAY_S - second) <= _TIME_SET_LIMIT_S
        if t2000 is None or day == self.time_set_day or near_midnight:
            raise Silent
        if abs(t2000 - self.clock_t2000) <= _TIME_SET_LIMIT_S:
            self.set_clock(t2000)
            self.time_set_day = day
        raise Silent

    def _freeze(self, frame: Frame) -> bytes:
        if len(frame.data) != 4:
            raise Refusal(ERR_OTHER)
        if frame.data == b"\x99\x99\x99\x99":
            kept = Freeze(self.clock_t2000, self.rates_wh)
            self.instants = [kept, *self.instants][:3]
        return b""

    def _change_baud(self, frame: Frame) -> bytes:
        baud = BAUD_CODES.get(frame.data[0]) if len(frame.data) == 1 else None
        if baud is None:
            raise Refusal(ERR_BAUD)
        self.baud = baud
        return frame.data

    def _change_password(self, frame: Frame) -> bytes:
        data = frame.data
        if len(data) != 12 or data[1:4] != b"\x0c\x00\x04":
            raise Refusal(ERR_OTHER)
        self._check_password(data[4:8])
        self.password = data[8:12]
        return data[8:12]

    def _clear_demand(self, frame: Frame) -> bytes:
        self._check_command(frame.data, 8)
        return b""

    def _clear_meter(self, frame: Frame) -> bytes:
        self._check_command(frame.data, 8)
        self.registers.clear()
        self.freezes.clear()
        self.settlements.clear()
        return b""

    def _clear_events(self, frame: Frame) -> bytes:
        self._check_command(frame.data, 12)
        self.records.clear()
        return b""

    def _check_command(self, data: bytes, size: int) -> None:
        if len(data) != size:
            raise Refusal(ERR_OTHER)
        self._check_password(data)

    def _control_relay(self, frame: Frame) -> bytes:
        data = frame.data
        self._check_command(data, 16)
        expiry = data[10:]
        if expiry != bytes(6) or not self.zero_expiry:
            expiry_t2000 = read_moment(expiry)
            if expiry_t2000 is None or expiry_t2000 < self.clock_t2000:
                raise Refusal(ERR_OTHER)
        action = data[8]
        relay = self.relay
        if action == TRIP:
            if relay.guard:
                raise Refusal(ERR_PASSWORD)
            self._switch(True)
        elif action == PERMIT_CLOSE and self.button:
            relay.commanded_open = False
            relay.permitted = True
        elif action in (PERMIT_CLOSE, CLOSE):
            self._switch(False)
        elif action in (ALARM_ON, ALARM_OFF):
            relay.alarm = action == ALARM_ON
        elif action in (GUARD_ON, GUARD_OFF):
            relay.guard = action == GUARD_ON
            if relay.guard:
                self._switch(False)
        else:
            raise Refusal(ERR_OTHER)
        return b""

    def _set_terminal(self, frame: Frame) -> bytes:
        if len(frame.data) != 1 or frame.data[0] > 2:
            raise Refusal(ERR_OTHER)
        self.terminal_output = frame.data[0]
        return frame.data

    # --- what can be read ----------------------------------------------------------------------

    def value_of(self, di: int) -> bytes | None:
        """The data bytes of an identifier, None where this meter has none."""
        if di in self.parameters:
            return self.parameters[di]
        if di in self.records:
            return self.records[di]
        group, item = di >> 16, di & 0xFFFF
        if group in (0x0000, 0x0001):
            return self._energy_of(item)
        if group == 0x0506:
            return self._day_freeze_of(item)
        reader = _SINGLE_VALUES.get(di)
        return None if reader is None else reader(self)

    def _energy_of(self, item: int) -> bytes | None:
        """00(00)xxyy: rate xx (FF all) now, or as settled yy months ago."""
        rate, month = item >> 8, item & 0xFF
        if month == 0:
            rates_wh = self.rates_wh
        elif month <= len(self.settlements):
            rates_wh = self.settlements[month - 1].rates_wh
        else:
            return None
        return energy_block(rates_wh, rate)

    def _day_freeze_of(self, item: int) -> bytes | None:
        """0506xxyy: the yy-th freeze before now, its time (00) or forward energy (01)."""
        kind, number = item >> 8, item & 0xFF
        if not 1 <= number <= len(self.freezes) or kind > 1:
            return None
        kept = self.freezes[number - 1]
        if kind == 0:
            return write_moment(kept.t2000)[1:]
        return energy_block(kept.rates_wh, 0xFF)

    def _current_ma(self) -> int:
        return self._power_w() * 1000 // 220

    def _power_w(self) -> int:
        if self.relay.open:
            return 0
        day, second = divmod(self.clock_t2000, DAY_S)
        return self.load.power_w(day, second // 3600)


def matches(pattern: str, address: str) -> bool:
    """Whether a request to `pattern` is meant for `address`: AA stands for any two digits."""
    if pattern == address:
        return True
    if "AA" not in pattern:
        return False
    pairs = zip(range(0, 12, 2), range(2, 14, 2), strict=True)
    return all(pattern[at:end] in ("AA", address[at:end]) for at, end in pairs)


def energy_block(rates_wh: Sequence[int], rate: int) -> bytes | None:
    """Registers as on the wire, 0.01 kWh: total (0), one rate (1..) or all of them (FF)."""
    values = [sum(rates_wh), *rates_wh]
    if rate == 0xFF:
        return b"".join(bcd(wh // 10 % 10**8, 4) for wh in values)
    return bcd(values[rate] // 10 % 10**8, 4) if rate < len(values) else None


_SINGLE_VALUES: dict[int, Callable[[Meter], bytes]] = {
    0x04000101: lambda meter: write_date(meter.clock_t2000),
    0x04000102: lambda meter: write_time(meter.clock_t2000),
    0x0400010C: lambda meter: write_time(meter.clock_t2000) + write_date(meter.clock_t2000),
    0x04000401: lambda meter: bytes.fromhex(meter.address)[::-1],
    0x04000402: lambda meter: bytes.fromhex(meter.address)[::-1],
    0x04000503: lambda meter: meter.status_3.to_bytes(2, "little"),
    0x040005FF: lambda meter: bytes(4) + meter.status_3.to_bytes(2, "little") + bytes(8),
    0x02010100: lambda meter: bcd(2200, 2),
    0x02020100: lambda meter: bcd(meter._current_ma(), 3),
    0x02030000: lambda meter: bcd(meter._power_w() * 10, 3),
    0x02060000: lambda meter: bcd(1000, 2),
}
