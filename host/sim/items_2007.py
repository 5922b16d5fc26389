"""What can be read from a meter of DL/T 645-2007: the data bytes of each identifier.

    00 energy     01 demand     02 voltage, current, power     03 1D 1E events
    04 parameters     05 freezes     06 load records

Phases B and C of a single-phase meter have no value, which is FF. Only forward active energy is
drawn; the other registers are there and stand at zero.
Spec: DL/T 645-2007 annex A.
"""

from collections.abc import Callable, Sequence

from host.frames import catalogue
from host.sim.history import Freeze
from host.sim.meter import Meter
from host.sim.values import bcd, read_moment, signed_bcd, write_date, write_moment, write_time

VOLTAGE_V = 220
_PHASES = 3
_NONE = b"\xff"
# Size of the records whose events this meter keeps, by the identifier's first six digits.
EVENT_SIZES = {0x033000: 50, 0x033001: 106, 0x033002: 202, 0x033003: 14, 0x033004: 16}
_SWITCHINGS = {0x1D: 0x1D00FF, 0x1E: 0x1E00FF}
_SWITCHING_PARTS = (6, 4, 4, 4, 4, 4, 4, 4)  # time, operator, six registers
_LOAD_LIMIT = 24  # records in one reply
_START, _END, _SEPARATOR = b"\xa0\xa0", b"\xe5", b"\xaa"


class Items:
    """The values of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._groups: dict[int, Callable[[int], bytes | None]] = {
            0x00: self._energy_or_money,
            0x01: self._demand,
            0x02: self._instant,
            0x03: self._event,
            0x04: self._status_or_clock,
            0x05: self._freeze,
            0x1D: self._switching,
            0x1E: self._switching,
        }

    def value_of(self, di: int) -> bytes | None:
        """Return the data bytes of an identifier, None where this meter has none."""
        meter = self._meter
        for table in (meter.parameters, meter.records):
            if di in table:
                return table[di]
        group = self._groups.get(di >> 24)
        value = None if group is None else group(di)
        if value is None and meter.complete:
            return _nothing(di)
        return value

    # --- energy, money and demand --------------------------------------------------------------

    def _energy_or_money(self, di: int) -> bytes | None:
        if di >> 16 == 0x0090:
            return self._money(di)
        kind, rate, month = di >> 16 & 0xFF, di >> 8 & 0xFF, di & 0xFF
        if month == 0:
            registers_wh = self._meter.registers_wh
        elif month <= len(self._meter.history.settlements):
            registers_wh = self._meter.history.settlements[month - 1].registers_wh
        else:
            return None
        if kind > 0x08:
            return None
        block = energy_block(registers_wh if kind <= 1 else (0,) * len(registers_wh), rate)
        return b"\xff" * len(block) if block and self._meter.blank else block

    def _money(self, di: int) -> bytes | None:
        balance_fen = self._meter.balance_fen
        if not self._meter.profile.prepay:
            return None
        if di == 0x00900200:
            return bcd(max(0, balance_fen), 4)
        return bcd(max(0, -balance_fen), 4) if di == 0x00900201 else None

    def demand(self, month: int) -> bytes:
        """Return power and moment of the highest demand, of this month or as it was cleared."""
        kept = self._meter.demand
        if month or not kept.t2000:
            return bytes(8)
        return bcd(kept.power_w * 10, 3) + write_moment(kept.t2000)[1:]

    def _demand(self, di: int) -> bytes | None:
        kind, rate, month = di >> 16 & 0xFF, di >> 8 & 0xFF, di & 0xFF
        rates = len(self._meter.registers_wh)
        if not 1 <= kind <= 8 or month > 12:
            return None
        total = self.demand(month) if kind == 1 else bytes(8)
        if rate == 0xFF:
            return total + bytes(8 * rates)
        return (total if rate == 0 else bytes(8)) if rate <= rates else None

    # --- now -----------------------------------------------------------------------------------

    def _instant(self, di: int) -> bytes | None:
        if di >> 16 == 0x0280:
            return self._special(di & 0xFFFF)
        kind, phase = di >> 16 & 0xFF, di >> 8 & 0xFF
        if di & 0xFF or phase not in (*range(_PHASES + 1), 0xFF):
            return None
        total = self._of_power(kind, self._meter.power_w, True)
        count = self._meter.profile.phases
        third_w = self._meter.power_w // count
        shares_w = [self._meter.power_w - third_w * (count - 1), *[third_w] * (count - 1)]
        each = [self._of_power(kind, power_w, False) for power_w in shares_w]
        if each[0] is None:
            return None
        each += [_NONE * len(each[0])] * (_PHASES - count)
        if phase == 0xFF:
            return b"".join(one for one in (total, *each) if one is not None)
        return total if phase == 0 else each[phase - 1]

    def _of_power(self, kind: int, power_w: int, whole: bool) -> bytes | None:
        """Return what the meter shows of a phase, or of all, that draws so much power."""
        tables: dict[int, tuple[bytes | None, bytes]] = {
            # all phases, one phase
            0x01: (None, bcd(VOLTAGE_V * 10, 2)),
            0x02: (None, signed_bcd(power_w * 1000 // VOLTAGE_V, 3)),
            0x03: (signed_bcd(power_w * 10, 3), signed_bcd(power_w * 10, 3)),
            0x04: (bytes(3), bytes(3)),
            0x05: (bcd(power_w * 10, 3), bcd(power_w * 10, 3)),
            0x06: (bcd(1000, 2), bcd(1000, 2)),
            0x07: (None, bcd(0, 2)),
        }
        return tables[kind][0 if whole else 1] if kind in tables else None

    def _special(self, number: int) -> bytes | None:
        power = signed_bcd(self._meter.power_w * 10, 3)
        amperes = signed_bcd(self._meter.power_w * 1000 // VOLTAGE_V, 3)
        price = bcd(self._meter.wallet.price_e4, 4)
        return {
            0x0001: amperes,
            0x0002: bcd(5000, 2),
            0x0003: power,
            0x0004: power,
            0x0005: bytes(3),
            0x0006: power,
            0x0007: bcd(251, 2),
            0x0008: bcd(360, 2),
            0x0009: bcd(600, 2),
            0x000A: bcd(0, 4),
            0x000B: price,
            0x0020: price,
            0x0021: price,
        }.get(number)

    # --- events --------------------------------------------------------------------------------

    def _event(self, di: int) -> bytes | None:
        group, number = di >> 8, di & 0xFF
        if group >> 8 == 0x0333:
            return self._purchase(group & 0xFF, number)
        if group not in EVENT_SIZES:
            return None
        kept = self._meter.events.get(group, [])
        if number == 0:
            return bcd(len(kept), 3)
        if number > 10:
            return None
        return kept[number - 1] if number <= len(kept) else bytes(EVENT_SIZES[group])

    def _purchase(self, item: int, number: int) -> bytes | None:
        """Return 0333xx01.., the last purchases; 0333xx00 is the newest one too."""
        wallet = self._meter.wallet
        if not self._meter.profile.prepay or not 1 <= item <= 6 or number > 10:
            return None
        index = max(0, number - 1)
        if index >= len(wallet.purchases):
            return bytes((5, 2, 4, 4, 4, 4)[item - 1])
        kept = wallet.purchases[index]
        return (
            write_moment(kept.t2000)[1:],
            bcd(kept.count, 2),
            bcd(kept.amount_fen, 4),
            bcd(max(0, kept.before_fen), 4),
            bcd(max(0, kept.after_fen), 4),
            bcd(kept.total_fen, 4),
        )[item - 1]

    def _switching(self, di: int) -> bytes | None:
        """Return trips (1D) or closings (1E).

        xx000001 is their count, xx00yynn part yy of the nn-th, FF all parts.
        """
        kept = self._meter.events.get(_SWITCHINGS[di >> 24], [])
        part, number = di >> 8 & 0xFFFF, di & 0xFF
        if part == 0 and number == 1:
            return bcd(len(kept), 3)
        if not 1 <= number <= 10 or (part > 8 and part != 0xFF) or not part:
            return None
        record = kept[number - 1] if number <= len(kept) else bytes(sum(_SWITCHING_PARTS))
        if part == 0xFF:
            return record
        start = sum(_SWITCHING_PARTS[: part - 1])
        return record[start : start + _SWITCHING_PARTS[part - 1]]

    # --- parameters that are not just kept -----------------------------------------------------

    def _status_or_clock(self, di: int) -> bytes | None:
        meter = self._meter
        clock_t2000 = meter.clock_t2000
        status_3 = meter.status_3.to_bytes(2, "little")
        if di == 0x04000508:
            return meter.key_info[::-1] if meter.profile.security_actions else None
        if di == 0x040501FF:
            return b"".join(meter.parameters[0x04050101 + rate] for rate in range(4))
        if di == 0x04000101:
            return write_date(clock_t2000)
        if di == 0x04000102:
            return write_time(clock_t2000)
        if di == 0x0400010C:
            return write_time(clock_t2000) + write_date(clock_t2000)
        if di in (0x04000401, 0x04000402):
            return bytes.fromhex(meter.address)[::-1]
        return {
            0x04000409: bcd(1200, 3),
            0x0400040A: bcd(1200, 3),
            0x04000501: bytes(2),
            0x04000502: bytes(2),
            0x04000503: status_3,
            0x04000504: bytes(2),
            0x04000505: bytes(2),
            0x04000506: bytes(2),
            0x04000507: bytes(2),
            0x040005FF: bytes(4) + status_3 + bytes(8),
        }.get(di)

    # --- freezes and load ----------------------------------------------------------------------

    def _freeze(self, di: int) -> bytes | None:
        """Return 05ttkknn: kind kk of the nn-th freeze of type tt before now."""
        history = self._meter.history
        kinds = {0x00: history.timed, 0x01: history.instants, 0x04: history.hours}
        kept = {**kinds, 0x06: history.days}.get(di >> 16 & 0xFF)
        kind, number = di >> 8 & 0xFF, di & 0xFF
        if kept is None or not 1 <= number <= len(kept):
            return None
        return _frozen(kept[number - 1], kind)

    def load_records(self, di: int, asked: bytes) -> bytes | None:
        """Return 06cc00tt: N records of class cc (00: all).

        tt is 0 for the oldest, 1 for those from a time on, 2 for the newest.

        Records stand at whole hours: A0 A0 | size | mm hh DD MM YY | classes, AA behind each | sum
        | E5.
        """
        kind, which = di >> 16 & 0xFF, di & 0xFFFF
        if di >> 24 != 0x06 or kind > 6 or len(asked) != (6 if which == 1 else 1):
            return None
        count = min(asked[0], _LOAD_LIMIT)
        oldest_first = self._meter.history.hours[::-1]
        if which == 1:
            from_t2000 = read_moment(b"\0" + asked[1:])
            if from_t2000 is None:
                return None
            chosen = [kept for kept in oldest_first if kept.t2000 >= from_t2000][:count]
        elif which == 0:
            chosen = oldest_first[:count]
        else:
            chosen = oldest_first[-count:] if which == 2 and count else []
        return b"".join(load_record(kept, kind) for kept in chosen) or None


def _frozen(kept: Freeze, kind: int) -> bytes | None:
    rates = len(kept.registers_wh)
    if kind == 0x00:
        return write_moment(kept.t2000)[1:]
    if kind == 0x01:
        return energy_block(kept.registers_wh, 0xFF)
    if kind <= 0x08:
        return bytes(4 * (1 + rates))
    if kind <= 0x0A:
        return bytes(8 * (1 + rates))
    powers = signed_bcd(kept.power_w * 10, 3) * 2 + _NONE * 6 + bytes(6) + _NONE * 6
    if kind == 0x10:
        return powers
    if kind == 0xFF:
        parts = [_frozen(kept, one) for one in (*range(0x0B), 0x10)]
        return b"".join(part for part in parts if part is not None)
    return None


def load_record(kept: Freeze, kind: int) -> bytes:
    """Return one load record with class `kind` of data, 0: all six."""
    power = bcd(kept.power_w * 10, 3)
    amperes = bcd(kept.power_w * 1000 // VOLTAGE_V, 3)
    total = bcd(sum(kept.registers_wh) // 10 % 10**8, 4)
    classes = (
        bcd(VOLTAGE_V * 10, 2) + _NONE * 4 + amperes + _NONE * 6 + bcd(5000, 2),
        power * 2 + _NONE * 6 + bytes(6) + _NONE * 6,
        bcd(1000, 2) * 2 + _NONE * 4,
        total + bytes(12),
        bytes(16),
        power + bytes(3),
    )
    shown = [one if kind in (0, at) else b"" for at, one in enumerate(classes, 1)]
    body = write_moment(kept.t2000)[1:] + b"".join(one + _SEPARATOR for one in shown)
    record = _START + bytes((len(body),)) + body
    return record + bytes((sum(record) & 0xFF,)) + _END


def energy_block(registers_wh: Sequence[int], rate: int) -> bytes | None:
    """Return registers as on the wire, 0.01 kWh: total (0), one rate (1..) or all of them (FF)."""
    values = [sum(registers_wh), *registers_wh]
    if rate == 0xFF:
        return b"".join(bcd(wh // 10 % 10**8, 4) for wh in values)
    return bcd(values[rate] // 10 % 10**8, 4) if rate < len(values) else None


def _nothing(di: int) -> bytes | None:
    """Return zeros for what the catalogue lets anyone read."""
    known = catalogue.load().find(f"{di:08X}")
    if known is None or "r" not in known.access:
        return None
    return bytes(known.reply.size)
