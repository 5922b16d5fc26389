"""What a meter of DL/T 645-1997 answers, function by function.

    01 read              02 read what follows    03 send the last reply again    04 write
    08 broadcast time    0A write address        0C change speed                 0F change password
    10 clear demand

Identifiers have two bytes, a write carries the password alone (4 bytes), blocks (..F) end with
AA. A function of 2007 meets silence.
Spec: DL/T 645-1997.
"""

from collections.abc import Callable

from host.frames import dlt645
from host.frames.dlt645 import BROADCAST, Frame
from host.sim.meter import Meter
from host.sim.speaker import ERR_OTHER, Refusal, Silent, Speaker
from host.sim.values import bcd, write_date, write_moment, write_time

ERR_DI = 0x02
ERR_PASSWORD = 0x04

TRIP_1997, CLOSE_1997 = 0x3355, 0x9966
DATA_LIMIT = 200
_VOLTAGE_V = 220
_ANSWERED_BY_ALL = (0x01, 0x02, 0x03, 0x04, 0x0A)
_EVERYBODY = (BROADCAST, dlt645.WILDCARD)


class Speaker1997(Speaker):
    """Answers for one meter of the 1997 standard."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter)
        self._rest: tuple[int, bytes] = (0, b"")
        self._last = b""
        self._functions: dict[int, Callable[[Frame], bytes]] = {
            0x01: self._read,
            0x02: self._read_follow_up,
            0x03: self._read_again,
            0x04: self._write,
            0x08: self.set_time_by_broadcast,
            0x0A: self._write_address,
            0x0C: lambda frame: self.change_baud(frame.data, ERR_OTHER),
            0x0F: self._change_password,
            0x10: self._clear_demand,
        }

    def answers_broadcast(self, control: int) -> bool:
        """Return whether the meter answers 99..99 as AA..AA, as those alone on a line may do."""
        return self.meter.profile.answers_99 and control in _ANSWERED_BY_ALL

    def perform(self, frame: Frame) -> bytes:
        """Do what is asked; return the data of the reply. Raises Refusal or Silent."""
        function = self._functions.get(frame.control)
        to_all = frame.address == BROADCAST
        if function is None or (
            to_all and frame.control != 0x08 and not self.answers_broadcast(frame.control)
        ):
            raise Silent
        return function(frame)

    # --- reading -------------------------------------------------------------------------------

    def _read(self, frame: Frame) -> bytes:
        if len(frame.data) != 2:
            raise Refusal(ERR_DI)
        di = int.from_bytes(frame.data, "little")
        value = self.value_of(di)
        if value is None:
            raise Refusal(ERR_DI)
        return self._send(di, value)

    def _send(self, di: int, value: bytes) -> bytes:
        size = DATA_LIMIT - 2
        self._rest = (di, value[size:])
        self.more = bool(value[size:])
        self._last = di.to_bytes(2, "little") + value[:size]
        return self._last

    def _read_follow_up(self, frame: Frame) -> bytes:
        di, rest = self._rest
        if int.from_bytes(frame.data, "little") != di or not rest:
            raise Refusal(ERR_DI)
        return self._send(di, rest)

    def _read_again(self, frame: Frame) -> bytes:
        if not self._last or frame.data not in (b"", self._last[:2]):
            raise Refusal(ERR_DI)
        self.more = bool(self._rest[1])
        return self._last

    def value_of(self, di: int) -> bytes | None:
        """Return the data bytes of an identifier, None where this meter has none."""
        meter = self.meter
        for table in (meter.parameters, meter.records):
            if di in table:
                return table[di]
        group = di >> 12
        if group == 0x9:
            return self._energy(di)
        if group in (0xA, 0xB) and di >> 8 & 0xF in (0, 4, 8):
            return self._demand(di)
        return self._single(di)

    def _energy(self, di: int) -> bytes | None:
        """Return 9kdr: month and kind k, direction d, rate r (F: all)."""
        kind, direction, rate = di >> 8 & 0xF, di >> 4 & 0xF, di & 0xF
        month, reactive = kind >> 2, kind & 3
        settlements = self.meter.history.settlements
        if reactive > 1 or month > 2 or direction not in (1, 2):
            return None
        if month == 0:
            registers_wh = self.meter.registers_wh
        else:
            registers_wh = (
                settlements[month - 1].registers_wh if month <= len(settlements) else (0,) * 4
            )
        if reactive or direction == 2:
            registers_wh = (0,) * len(registers_wh)
        values = [bcd(wh // 10 % 10**8, 4) for wh in (sum(registers_wh), *registers_wh)]
        if self.meter.blank:
            values = [b"\xff" * 4] * len(values)
        if rate == 0xF:
            return b"".join(values) + self.meter.profile.block_end
        return values[rate] if rate < len(values) else None

    def _demand(self, di: int) -> bytes | None:
        """Return A0d0, the highest demand, or B0d0, when it was; F stands for all rates."""
        is_time = di >> 12 == 0xB
        direction, rate = di >> 4 & 0xF, di & 0xF
        kept = self.meter.demand
        size = 4 if is_time else 3
        if direction not in (1, 2) or 4 < rate < 0xF:
            return None
        total = bytes(size)
        if direction == 1 and di >> 8 & 0xF == 0 and kept.t2000:
            total = write_moment(kept.t2000)[1:5] if is_time else bcd(kept.power_w * 10, 3)
        if rate == 0xF:
            return total + bytes(4 * size) + self.meter.profile.block_end
        return total if rate == 0 else bytes(size)

    def _single(self, di: int) -> bytes | None:
        meter = self.meter
        clock_t2000, power_w = meter.clock_t2000, meter.power_w
        address = bytes.fromhex(meter.address)[::-1]
        power = bcd(power_w * 10, 3)
        programmed = len(meter.events.get(0xB212, []))
        values = {
            0x9000: bcd(meter.total_wh // 10 % 10**8, 4),
            0xB210: bytes(4),
            0xB211: bytes(4),
            0xB212: bcd(programmed, 2),
            0xB213: bcd(len(meter.events.get(0xB213, [])), 2),
            0xB214: bytes(3),
            0xB310: bytes(2),
            0xB611: bcd(_VOLTAGE_V, 2),
            0xB621: bcd(power_w * 100 // _VOLTAGE_V, 2),
            0xB630: power,
            0xB631: power,
            0xB640: bytes(2),
            0xB650: bcd(1000, 2),
            0xB651: bcd(1000, 2),
            0xC010: write_date(clock_t2000),
            0xC011: write_time(clock_t2000),
            0xC020: bytes(1),
            0xC032: address,
        }
        if meter.profile.relay_di:
            values[meter.profile.relay_di + 1] = bytes((meter.relay.open,))
        return values.get(di)

    # --- writing -------------------------------------------------------------------------------

    def _check_password(self, password: bytes) -> None:
        level = password[0]
        if self.meter.passwords.get(level) != password[1:]:
            raise Refusal(ERR_PASSWORD)

    def _write(self, frame: Frame) -> bytes:
        data = frame.data
        if len(data) < 7:
            raise Refusal(ERR_OTHER)
        self._check_password(data[2:6])
        meter = self.meter
        di, value = int.from_bytes(data[:2], "little"), data[6:]
        if di and di == meter.profile.relay_di:
            self._control_relay(value)
        elif (di, len(value)) in ((0xC010, 4), (0xC011, 3)):
            self.set_clock(value)
        elif di == 0xC032:
            self.set_address(value)
        elif di in meter.parameters:
            if len(value) != len(meter.parameters[di]):
                raise Refusal(ERR_OTHER)
            meter.parameters[di] = value
        else:
            raise Refusal(ERR_DI)
        meter.note(0xB212, data)
        return b""

    def _control_relay(self, value: bytes) -> None:
        action = int.from_bytes(value, "little")
        if action not in (TRIP_1997, CLOSE_1997):
            raise Refusal(ERR_OTHER)
        self.meter.switch(action == TRIP_1997)

    def _write_address(self, frame: Frame) -> bytes:
        if frame.address not in _EVERYBODY or not self.meter.programming:
            raise Silent
        self.set_address(frame.data)
        return b""

    def _change_password(self, frame: Frame) -> bytes:
        if len(frame.data) != 8:
            raise Refusal(ERR_OTHER)
        old, new = frame.data[:4], frame.data[4:]
        self._check_password(old)
        if new[0] < old[0]:
            raise Refusal(ERR_PASSWORD)
        self.meter.passwords[new[0]] = new[1:]
        return new

    def _clear_demand(self, frame: Frame) -> bytes:
        if len(frame.data) != 4:
            raise Refusal(ERR_OTHER)
        self._check_password(frame.data)
        self.meter.demand = type(self.meter.demand)()
        self.meter.note(0xB213, b"")
        return b""
