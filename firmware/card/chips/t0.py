"""Drive a CPU card at its contacts: the answer to reset and the transmission protocol T=0.

    device  CLA INS P1 P2 P3
    card    60: wait on | INS: all the data | INS inverted: one byte | SW1 SW2, 6x or 9x: the end

P3 is the size of the data that the device sends or, if it sends none, of the data that it wants.
The line is a UART at 9600 8E2 with both directions on one wire. The card's clock is 3.571 MHz: 372
clocks a bit, which every card has after a reset and keeps unless told otherwise. If a card starts
with another protocol, the device asks it for T=0 (PPS). A card that refuses, or that sends
inverted bits, is unknown.

Spec: ISO/IEC 7816-3, 8 (answer to reset), 9 (PPS), 10 (T=0).
"""

from micropython import const

from card.chips.outcome import (
    ABSENT,
    FLOOD,
    GARBLED,
    OK,
    SILENT,
    STUCK,
    UNKNOWN,
    WRONG_SIZE,
    Inlet,
    pause,
    reached,
    ticks_after,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Stream

    from card.chips.outcome import Pin, Steps

_ATR_LIMIT = const(33)
_COMMAND_LIMIT = const(69)
_REPLY_LIMIT = const(64)
_DIRECT = const(0x3B)
_INVERSE = const(0x03)  # 3F, as a UART receives it
_INVERSE_NAMED = const(0x3F)
_PPS = const(0xFF)
_DEFAULT_RATE = const(0x11)
_SPECIFIC = const(0x100)  # flag of this driver: the ATR has TA2
_BIT_US = const(104)
_NULL = const(0x60)

_BOUNCE_MS = const(60)
_POWER_MS = const(10)  # 400 clocks are enough
_FIRST_MS = const(60)  # 40,000 clocks: 11 ms
_CHARACTER_MS = const(1100)  # 9600 bits
_WAIT_MS = const(100)  # 960 bits, times WI
_REPLY_LIMIT_MS = const(2500)
_TURN_MS = const(2)  # 16 bits between the directions
_ECHO_MS = const(100)
_COMMAND_MS = const(10000)  # the limit even if a card asks for more time
_PROCEDURE_LIMIT = const(400)


class T0:
    """A card in a socket; a Link of card/chips/cpu.py.

    channel     the UART; with `echo` it receives every byte that it sends
    reset       0 resets the card
    detect      1 while a card is in the socket
    power       1 switches supply and clock on
    uid         the last 8 historical bytes, in which card makers put a serial number
    """

    def __init__(
        self, channel: "Stream", reset: "Pin", detect: "Pin", power: "Pin", echo: bool = True
    ) -> None:
        self.command = bytearray(_COMMAND_LIMIT)
        self.reply = bytearray(_REPLY_LIMIT)
        self.reply_size = 0
        self.status = 0
        self.uid = bytearray(8)
        self._channel = channel
        self._reset = reset
        self._detect = detect
        self._power = power
        self._echo = echo
        self._answer = bytearray(_ATR_LIMIT)
        self._rate = _DEFAULT_RATE
        self._mode = self._first = self._offered = 0
        self._back = bytearray(_COMMAND_LIMIT)
        self._view = memoryview(self.command)
        self._inlet = Inlet(channel)
        self._now_ticks = 0
        self._guard_ms = 0
        self._wait_ms = _CHARACTER_MS

    def there(self) -> bool:
        """Return whether the socket holds a card."""
        return self._detect() == 1

    def release(self) -> None:
        """Reset the card and switch the socket off."""
        self._reset(0)
        self._power(0)

    def connect(self) -> "Steps":
        """Wait until the contacts are stable, reset the card and agree on T=0."""
        self.release()
        if not self.there():
            return ABSENT
        yield from pause(_BOUNCE_MS)
        if not self.there():
            return ABSENT
        self._power(1)
        yield from pause(_POWER_MS)
        self._inlet.drain()
        self._guard_ms = 0
        self._wait_ms = _CHARACTER_MS
        self._reset(1)
        outcome = yield from self._read_answer()
        if outcome != OK:
            return outcome
        return (yield from self._judge_answer())

    def transmit(self, data_size: int, reply_limit: int) -> "Steps":
        """Send the command and `data_size` bytes, or receive up to `reply_limit` bytes."""
        command = self.command
        command[4] = data_size or reply_limit
        instruction = command[1]
        sent = got = 0
        outcome = yield from self._send(0, 5)
        end_ticks = ticks_after(self._now_ticks, _COMMAND_MS)
        for _ in range(_PROCEDURE_LIMIT):
            if outcome == OK:
                outcome = yield from self._fill(self._back, 0, 1, self._wait_ms)
            if outcome != OK:
                return outcome
            byte = self._back[0]
            if byte == _NULL:
                if reached(self._now_ticks, end_ticks):
                    break
                continue
            if byte & 0xF0 == 0x60 or byte & 0xF0 == 0x90:
                outcome = yield from self._fill(self._back, 1, 1, self._wait_ms)
                self.status = byte << 8 | self._back[1]
                self.reply_size = got
                return outcome
            if byte != instruction and byte ^ 0xFF != instruction:
                return GARBLED
            left = data_size - sent if data_size else reply_limit - got
            count = left if byte == instruction else 1
            if count > left or left == 0:
                return WRONG_SIZE
            if data_size:
                outcome = yield from self._send(5 + sent, count)
                sent += count
            else:
                outcome = yield from self._fill(self.reply, got, count, self._wait_ms)
                got += count
        return FLOOD

    def _read_answer(self) -> "Steps":
        """Receive the ATR into `_answer` and note speed, times, protocols, uid. Spec: 8.2."""
        answer = self._answer
        outcome = yield from self._fill(answer, 0, 1, _FIRST_MS)
        if outcome != OK:
            return outcome
        if answer[0] != _DIRECT:
            return UNKNOWN if answer[0] in (_INVERSE, _INVERSE_NAMED) else GARBLED
        outcome = yield from self._fill(answer, 1, 1, _CHARACTER_MS)
        self._rate = _DEFAULT_RATE
        self._mode = self._first = self._offered = 0
        size = 2
        level = 1
        follows = answer[1] >> 4
        while outcome == OK:
            # TA, TB, TC, TD: a bit for each that is there.
            count = (follows & 1) + (follows >> 1 & 1) + (follows >> 2 & 1) + (follows >> 3)
            if size + count > _ATR_LIMIT:
                return FLOOD
            outcome = yield from self._fill(answer, size, count, _CHARACTER_MS)
            self._note(level, follows, size)
            size += count
            if not follows & 8:
                break
            protocol = answer[size - 1] & 0x0F
            if level == 1:
                self._first = protocol
            self._offered |= 1 << protocol
            follows = answer[size - 1] >> 4
            level += 1
        if outcome != OK:
            return outcome
        return (yield from self._read_history(size))

    def _read_history(self, size: int) -> "Steps":
        """Receive the rest of the ATR after `size` bytes: history and checksum."""
        answer = self._answer
        count = answer[1] & 0x0F
        end = size + count
        # A card of T=0 alone sends no checksum.
        if self._offered & ~1:
            end += 1
        if end > _ATR_LIMIT:
            return FLOOD
        outcome = yield from self._fill(answer, size, end - size, _CHARACTER_MS)
        if outcome != OK:
            return outcome
        if self._offered & ~1:
            check = 0
            for index in range(1, end):
                check ^= answer[index]
            if check:
                return GARBLED
        size += count
        count = min(count, 8)
        for index in range(8):
            self.uid[index] = answer[size - count + index] if index < count else 0
        return OK

    def _note(self, level: int, follows: int, at: int) -> None:
        """Note TA and TC of interface bytes at `at`, of level 1 or 2. Spec: 8.3."""
        answer = self._answer
        if follows & 1:
            if level == 1:
                self._rate = answer[at]
            elif level == 2:
                self._mode = answer[at] | _SPECIFIC
        if follows & 4:
            value = answer[at + (follows & 1) + (follows >> 1 & 1)]
            if level == 1 and value != 0xFF:
                self._guard_ms = value * _BIT_US // 1000 + _TURN_MS if value else 0
            elif level == 2 and value:
                self._wait_ms = min(_WAIT_MS * (value + 1), _REPLY_LIMIT_MS)

    def _judge_answer(self) -> "Steps":
        """Return OK if card and line agree, after asking for T=0 if needed. Spec: 9."""
        if self._offered and not self._offered & 1:
            return UNKNOWN
        if self._mode:
            # The card is in specific mode: it must use T=0 at the default rate.
            fixed = self._mode & 0x10 or self._rate != _DEFAULT_RATE
            return UNKNOWN if fixed or self._mode & 0x0F else OK
        if self._first == 0:
            return OK
        command = self.command
        command[0] = command[2] = _PPS
        command[1] = 0
        outcome = yield from self._send(0, 3)
        if outcome != OK:
            return outcome
        outcome = yield from self._fill(self._back, 0, 3, _CHARACTER_MS)
        if outcome == SILENT:
            return UNKNOWN
        for index in range(3):
            if outcome == OK and self._back[index] != command[index]:
                return UNKNOWN
        return outcome

    def _send(self, at: int, size: int) -> "Steps":
        """Send command[at:at + size], and check its echo if the line has one."""
        yield from pause(_TURN_MS)
        now_ticks = yield
        deadline_ticks = ticks_after(now_ticks, self._wait_ms)
        while size:
            count = 1 if self._guard_ms else size
            taken = self._channel.write(self._view[at : at + count])
            if not taken:
                now_ticks = yield
                if reached(now_ticks, deadline_ticks):
                    return STUCK
                continue
            if self._echo:
                outcome = yield from self._fill(self._back, 0, taken, _ECHO_MS)
                if outcome != OK:
                    return outcome
                for index in range(taken):
                    if self._back[index] != self.command[at + index]:
                        return GARBLED
            if self._guard_ms:
                yield from pause(self._guard_ms)
            at += taken
            size -= taken
        return OK

    def _fill(self, buf: bytearray, at: int, size: int, wait_ms: int) -> "Steps":
        """Receive buf[at:at + size]; return SILENT if a byte takes longer than `wait_ms`."""
        now_ticks = yield
        deadline_ticks = ticks_after(now_ticks, wait_ms)
        while size:
            byte = self._inlet.next_byte()
            if byte < 0:
                if reached(now_ticks, deadline_ticks):
                    return SILENT
                now_ticks = yield
                continue
            deadline_ticks = ticks_after(now_ticks, wait_ms)
            buf[at] = byte
            at += 1
            size -= 1
        self._now_ticks = now_ticks
        return OK
