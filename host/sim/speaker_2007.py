"""What a meter of DL/T 645-2007 answers, function by function.

    03 security          08 broadcast time     11 read            12 read what follows
    13 read address      14 write              15 write address   16 freeze
    17 change speed      18 change password    19 clear demand    1A clear meter
    1B clear events      1C control relay      1D terminal output

A command that changes something carries PA P0 P1 P2 and the operator C0..C3. PA is the level of
the password, or says that the data is sealed by the security module.
Spec: DL/T 645-2007 chapter 7 and annex A.
"""

from collections.abc import Callable

from host.frames import dlt645
from host.frames.dlt645 import BROADCAST, Frame
from host.sim.history import Schedule
from host.sim.items_2007 import Items
from host.sim.meter import Meter
from host.sim.security import Security
from host.sim.speaker import ERR_OTHER, Refusal, Silent, Speaker
from host.sim.values import bcd, read_moment, unbcd, write_moment

# The error word of D1H.. replies, with ERR_OTHER.
ERR_NO_DATA = 0x02
ERR_PASSWORD = 0x04
ERR_BAUD = 0x08

# N1 of the relay control 1CH.
TRIP, PERMIT_CLOSE, CLOSE = 0x1A, 0x1B, 0x1C
ALARM_ON, ALARM_OFF, GUARD_ON, GUARD_OFF = 0x2A, 0x2B, 0x3A, 0x3B
_ACTIONS = (TRIP, PERMIT_CLOSE, CLOSE, ALARM_ON, ALARM_OFF, GUARD_ON, GUARD_OFF)

# Event records by the first six digits of their identifier.
PROGRAMMED, METER_CLEARED, DEMAND_CLEARED = 0x033000, 0x033001, 0x033002
EVENTS_CLEARED, CLOCK_SET = 0x033003, 0x033004
TRIPPED, CLOSED = 0x1D00FF, 0x1E00FF

DATA_LIMIT = 200  # of one reply, identifier included
_NEVER_WILD = frozenset((0x03, 0x14, 0x16, 0x1A, 0x1B, 0x1C, 0x1D))  # not with AA in the address
_BROADCAST = (0x08, 0x16)
_FIXED_SIZES = {0x04000101: 4, 0x04000102: 3, 0x0400010C: 7, 0x04000401: 6, 0x04000402: 6}
_ANY = 0x99


class Speaker2007(Speaker):
    """Answers for one meter of the 2007 standard."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter)
        self.items = Items(meter)
        self.security = Security(meter)
        self._follow_up: tuple[int, list[bytes]] = (0, [])
        self._functions: dict[int, Callable[[Frame], bytes]] = {
            0x03: self._secure,
            0x08: self.set_time_by_broadcast,
            0x11: self._read,
            0x12: self._read_follow_up,
            0x13: self._read_address,
            0x14: self._write,
            0x15: self._write_address,
            0x16: self._freeze,
            0x17: lambda frame: self.change_baud(frame.data, ERR_BAUD),
            0x18: self._change_password,
            0x19: self._clear_demand,
            0x1A: self._clear_meter,
            0x1B: self._clear_events,
            0x1C: self._control_relay,
            0x1D: self._set_terminal,
        }

    def value_of(self, di: int) -> bytes | None:
        """Return the data bytes of an identifier, None where this meter has none."""
        return self.items.value_of(di)

    def perform(self, frame: Frame) -> bytes:
        """Do what is asked; return the data of the reply. Raises Refusal or Silent."""
        function = self._functions.get(frame.control)
        if function is None:
            raise Silent
        if frame.address == BROADCAST and frame.control not in _BROADCAST:
            raise Silent
        if "AA" in frame.address and frame.control in _NEVER_WILD:
            raise Silent
        return function(frame)

    # --- reading -------------------------------------------------------------------------------

    def _read(self, frame: Frame) -> bytes:
        data = frame.data
        if len(data) < 4:
            raise Refusal(ERR_OTHER)
        di = _di_of(data)
        value = self.items.load_records(di, data[4:]) if len(data) > 4 else self.value_of(di)
        if value is None:
            raise Refusal(ERR_NO_DATA)
        first_size = DATA_LIMIT - 4
        size = first_size - 1  # the follow-up number
        rest = value[first_size:]
        parts = [rest[at : at + size] for at in range(0, len(rest), size)]
        self._follow_up = (di, parts)
        self.more = bool(parts)
        return data[:4] + value[:first_size]

    def _read_follow_up(self, frame: Frame) -> bytes:
        """Return the part of number SEQ, from 1; the same number gives the same part again."""
        if len(frame.data) != 5:
            raise Refusal(ERR_OTHER)
        di, parts = self._follow_up
        sequence = frame.data[4]
        if _di_of(frame.data) != di or not 1 <= sequence <= len(parts):
            raise Refusal(ERR_NO_DATA)
        self.more = sequence < len(parts)
        return frame.data[:4] + parts[sequence - 1] + bytes((sequence,))

    def _read_address(self, frame: Frame) -> bytes:
        return bytes.fromhex(self.meter.address)[::-1]

    # --- authority -----------------------------------------------------------------------------

    def _check_password(self, data: bytes, level_limit: int = 9) -> None:
        """Check PA P0 P1 P2: a level as high as need be (0 is the highest), its password."""
        level = data[0]
        if level > level_limit or self.meter.passwords.get(level) != data[1:4]:
            raise Refusal(ERR_PASSWORD)

    def _authorised(self, authority: bytes, body: bytes) -> bytes:
        """Return `body` in plain, when `authority` (PA P0 P1 P2) allows it."""
        signed = authority[0] == self.meter.profile.mac_level
        ciphered = self._is_sealed(authority[0])
        if not self.meter.profile.security_actions or not (signed or ciphered):
            self._check_password(authority)
            return body
        plain = self.security.opened(body, ciphered=ciphered)
        if plain is None:
            raise Refusal(ERR_PASSWORD)
        return plain

    def _is_sealed(self, level: int) -> bool:
        profile = self.meter.profile
        return bool(profile.security_actions) and level == profile.cipher_level

    def _note_programming(self, operator: bytes, di: int) -> None:
        moment = write_moment(self.meter.clock_t2000)
        self.meter.note(PROGRAMMED, moment + operator + di.to_bytes(4, "little") + b"\xff" * 36)

    # --- writing -------------------------------------------------------------------------------

    def _write(self, frame: Frame) -> bytes:
        meter = self.meter
        data = frame.data
        if not 13 <= len(data) <= meter.profile.write_limit:
            raise Refusal(ERR_OTHER)
        di = _di_of(data)
        value = self._authorised(data[4:8], data[12:])
        if self._is_sealed(data[4]):
            value = self._unfilled(di, value)
        if di and di == meter.profile.top_up_di:
            self._top_up_in_plain(value)
        elif di in _FIXED_SIZES and len(value) != _FIXED_SIZES[di]:
            raise Refusal(ERR_OTHER)
        elif di in (0x04000101, 0x04000102, 0x0400010C):
            self.set_clock(value, data[8:12])
        elif di in (0x04000401, 0x04000402):
            self.set_address(value)
        elif di in meter.parameters:
            if len(value) != len(meter.parameters[di]):
                raise Refusal(ERR_OTHER)
            meter.parameters[di] = value
        else:
            known = self.value_of(di) is not None
            raise Refusal(ERR_PASSWORD if known else ERR_NO_DATA)
        self._note_programming(data[8:12], di)
        return b""

    def _unfilled(self, di: int, value: bytes) -> bytes:
        """Return a sealed value, in reading order and filled up with zeros, as on the wire."""
        size = _FIXED_SIZES.get(di, len(self.meter.parameters.get(di, b"")))
        if any(value[size:]):
            raise Refusal(ERR_OTHER)
        return value[:size][::-1]

    def _top_up_in_plain(self, value: bytes) -> None:
        """Count and amount, BCD: the whole is sent low byte first, the amount is its head."""
        if self.security.top_up_in_plain(value):
            raise Refusal(ERR_OTHER)

    def note_clock(self, operator: bytes, t2000: int) -> None:
        """Keep the event of a clock being set."""
        before = write_moment(self.meter.clock_t2000)
        self.meter.note(CLOCK_SET, operator + before + write_moment(t2000))

    def _write_address(self, frame: Frame) -> bytes:
        new = frame.data[::-1].hex()
        allowed = frame.address == dlt645.WILDCARD and self.meter.programming
        if not allowed or len(new) != 12 or not new.isdecimal():
            raise Silent
        self.meter.address = new
        return b""

    def _freeze(self, frame: Frame) -> bytes:
        """Freeze as mm hh DD MM says: 99 is any; the month must be any, and all four mean now."""
        if len(frame.data) != 4:
            raise Refusal(ERR_OTHER)
        if frame.data == bytes((_ANY,)) * 4:
            self.meter.history.keep_instant(self.meter.snapshot())
            return b""
        minute, hour, day = (_read_or_any(frame.data[at : at + 1]) for at in range(3))
        right_order = day is None or hour is not None
        if frame.data[3] != _ANY or minute is None or not right_order:
            raise Refusal(ERR_OTHER)
        if minute > 59 or (hour or 0) > 23 or not 1 <= (1 if day is None else day) <= 28:
            raise Refusal(ERR_OTHER)
        self.meter.history.schedule = Schedule(day, hour, minute)
        return b""

    def _change_password(self, frame: Frame) -> bytes:
        """Change 04000C0x, the password of level x - 1, by that level or a higher one."""
        data = frame.data
        if len(data) != 12 or data[1:4] != b"\x0c\x00\x04" or not 1 <= data[0] <= 10:
            raise Refusal(ERR_OTHER)
        level = data[0] - 1
        if data[8] != level:
            raise Refusal(ERR_PASSWORD)
        self._check_password(data[4:8], level)
        self.meter.passwords[level] = data[9:12]
        return data[8:12]

    # --- clearing ------------------------------------------------------------------------------

    def _clearing(self, data: bytes, code: int) -> bytes:
        """Check a clearing command; return its operator, zeros where it has none."""
        profile = self.meter.profile
        if profile.clear_by_di and len(data) == 8:
            self._check_password(data[4:8])
            return bytes(4)
        if len(data) < 8:
            raise Refusal(ERR_OTHER)
        plain = self._authorised(data[:4], data[8:])
        # Sealed: the code of the function, 00 and the moment.
        if plain[:1] != (bytes((code,)) if self._is_sealed(data[0]) else b""):
            raise Refusal(ERR_OTHER)
        return data[4:8]

    def _clear_demand(self, frame: Frame) -> bytes:
        operator = self._clearing(frame.data, frame.control)
        meter = self.meter
        kept = self.items.demand(0) + bytes(8 * 23)
        meter.note(DEMAND_CLEARED, write_moment(meter.clock_t2000) + operator + kept)
        meter.demand = type(meter.demand)()
        return b""

    def _clear_meter(self, frame: Frame) -> bytes:
        operator = self._clearing(frame.data, frame.control)
        meter = self.meter
        kept = bcd(meter.total_wh // 10 % 10**8, 4) + bytes(4 * 23)
        meter.history.clear()
        meter.events.clear()
        meter.demand = type(meter.demand)()
        balance_fen = meter.balance_fen
        meter.registers.clear()
        meter.wallet.credit_fen = balance_fen
        meter.wallet.base_wh = 0
        meter.note(METER_CLEARED, write_moment(meter.clock_t2000) + operator + kept)
        return b""

    def _clear_events(self, frame: Frame) -> bytes:
        """Clear all events but clearings (FFFFFFFF), or one kind (DI3 DI2 DI1 FF)."""
        data = frame.data
        if len(data) != 12:
            raise Refusal(ERR_OTHER)
        self._check_password(data)
        what = _di_of(data[8:])
        meter = self.meter
        if what == 0xFFFFFFFF:
            kept = (METER_CLEARED, EVENTS_CLEARED)
            meter.events = {group: meter.events.get(group, []) for group in kept}
            meter.records.clear()
        elif what & 0xFF == 0xFF:
            meter.events.pop(what >> 8, None)
        else:
            raise Refusal(ERR_OTHER)
        moment = write_moment(meter.clock_t2000)
        meter.note(EVENTS_CLEARED, moment + data[4:8] + what.to_bytes(4, "little"))
        return b""

    # --- relay and the rest --------------------------------------------------------------------

    def _control_relay(self, frame: Frame) -> bytes:
        data = frame.data
        profile = self.meter.profile
        if len(data) < 9:
            raise Refusal(ERR_OTHER)
        ciphered = self._is_sealed(data[0])
        if not ciphered and not profile.plain_relay:
            raise Refusal(ERR_PASSWORD)
        plain = self._authorised(data[:4], data[8:])
        if ciphered:
            # Sealed in reading order: N1 N2 YY MM DD hh mm ss.
            plain = plain[:2] + plain[2:8][::-1]
        if len(plain) == 1 and profile.short_relay:
            plain = plain + bytes(7)
        if len(plain) != 8:
            raise Refusal(ERR_OTHER)
        self._check_expiry(plain[2:])
        self._act(plain[0], data[4:8])
        return b""

    def _check_expiry(self, expiry: bytes) -> None:
        meter = self.meter
        if expiry == bytes(6) and (meter.zero_expiry or meter.profile.zero_expiry):
            return
        expiry_t2000 = read_moment(expiry)
        if expiry_t2000 is None or expiry_t2000 < meter.clock_t2000:
            raise Refusal(ERR_OTHER)

    def _act(self, action: int, operator: bytes) -> None:
        meter = self.meter
        relay = meter.relay
        if action not in _ACTIONS:
            raise Refusal(ERR_OTHER)
        if action == TRIP:
            if relay.guard:
                raise Refusal(ERR_PASSWORD)
            self._switch(True, operator)
        elif action == PERMIT_CLOSE and meter.button:
            relay.commanded_open = False
            relay.permitted = True
        elif action in (PERMIT_CLOSE, CLOSE):
            self._switch(False, operator)
        elif action in (ALARM_ON, ALARM_OFF):
            relay.alarm = action == ALARM_ON
        else:
            relay.guard = action == GUARD_ON
            if relay.guard:
                self._switch(False, operator)

    def _switch(self, is_open: bool, operator: bytes) -> None:
        meter = self.meter
        if meter.switch(is_open):
            energy = bcd(meter.total_wh // 10 % 10**8, 4)
            record = write_moment(meter.clock_t2000) + operator + energy + bytes(4 * 5)
            meter.note(TRIPPED if is_open else CLOSED, record)

    def _set_terminal(self, frame: Frame) -> bytes:
        if len(frame.data) != 1 or frame.data[0] > 2:
            raise Refusal(ERR_OTHER)
        self.meter.terminal_output = frame.data[0]
        return frame.data

    def _secure(self, frame: Frame) -> bytes:
        if not self.meter.profile.security_actions:
            raise Silent
        return self.security.perform(frame.data)


def _di_of(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


def _read_or_any(octet: bytes) -> int | None:
    """Return a BCD number, None for 99; what is no number is refused."""
    if octet[0] == _ANY:
        return None
    number = unbcd(octet)
    if number is None:
        raise Refusal(ERR_OTHER)
    return number
