"""Simulate a CPU card: its files and keys, its contacts (T=0) and ISO-DEP.

At the contacts it simulates reset and answer, character times at 9600 8E2, guard and turn-round
times, one wire on which all that is sent comes back, PPS, procedure bytes in every allowed manner,
GET RESPONSE. Spec: ISO/IEC 7816-3, 8 to 10; ISO/IEC 7816-4, 5.1 and 7.
"""

import hashlib

from silicon import Time

ATR = b"\x3b\x69\x00\x00DKSERIAL9"
CHARACTER_US = 1250  # 12 bits
TURN_US = 1600  # 16 bits from the start of the last character of the other side


def respond(key: bytes, challenge: bytes) -> bytes:
    """Return the proof that one side holds `key`."""
    return hashlib.sha256(key + bytes(challenge)).digest()[:8]


class Card:
    """This is the card behind contacts or ISO-DEP.

    file        the binary file, selected by DF name b"DIANKA" and then 0001
    guarded     writing needs external authentication
    prove       the answer that the card expects under its key, as `respond`
    tries       of external authentication
    log         status words given
    """

    def __init__(self, size: int = 256, key: bytes = b"card key") -> None:
        self.file = bytearray(size)
        self.key = key
        self.guarded = True
        self.prove = respond
        self.tries = 3
        self.log: list[int] = []
        self.torn = -1  # the next write ends the card after this many bytes
        self.dead = False
        self.uid = b"\x04\x0a\x0b\x0c\x0d\x0e\x0f"
        self.field_off()

    def field_off(self) -> None:
        """Note that power is gone or reset is low."""
        self._application = False
        self._selected = False
        self._allowed = False
        self._challenge = b""
        self._draws = 0

    def listing(self) -> bytes:
        """Return SENS_RES, SEL_RES, UID and ATS, for a PN532."""
        return b"\x00\x04\x20" + bytes((len(self.uid),)) + self.uid + b"\x06\x75\x77\x81\x02\x80"

    def exchange(self, data: bytes) -> "bytes | None":
        """Answer one APDU over ISO-DEP, with the PN532's status before it."""
        if self.dead:
            return None
        lc = data[4] if len(data) > 5 else 0
        le = data[5 + lc] if len(data) > 5 + lc else (data[4] if len(data) == 5 else 0)
        reply, status = self.obey(data[:4], data[5 : 5 + lc], le)
        if self.dead:
            return None
        return b"\x00" + reply + bytes((status >> 8, status & 0xFF))

    def obey(self, head: bytes, data: bytes, le: int) -> "tuple[bytes, int]":
        """Return data and status for a command."""
        reply, status = self._obey(head[1], head[2], head[3], data, le)
        self.log.append(status)
        return reply, status

    def _obey(self, code: int, p1: int, p2: int, data: bytes, le: int) -> "tuple[bytes, int]":
        if code == 0xA4:
            return self._select(p1, data)
        if code in (0xB0, 0xD6) and not self._selected:
            return b"", 0x6986
        at = p1 << 8 | p2
        if code == 0xB0:
            if at >= len(self.file):
                return b"", 0x6B00
            left = len(self.file) - at
            if le > left:
                return b"", 0x6C00 | left
            return bytes(self.file[at : at + le]), 0x9000
        if code == 0xD6:
            if self.guarded and not self._allowed:
                return b"", 0x6982
            if at + len(data) > len(self.file):
                return b"", 0x6A84
            count = len(data) if self.torn < 0 else self.torn
            self.file[at : at + count] = data[:count]
            self.dead = self.torn >= 0
            return b"", 0x9000
        if code == 0x84:
            self._draws += 1
            self._challenge = hashlib.sha256(bytes((self._draws,))).digest()[:le]
            return self._challenge, 0x9000
        if code == 0x82:
            return b"", self._authenticate(data)
        return b"", 0x6D00

    def _select(self, p1: int, data: bytes) -> "tuple[bytes, int]":
        if p1 == 4 and data == b"DIANKA":
            self._application = True
            return b"\x6f\x08\x84\x06DIANKA", 0x9000
        if p1 == 0 and data == b"\x00\x01" and self._application:
            self._selected = True
            return b"\x6f\x00", 0x9000
        return b"", 0x6A82

    def _authenticate(self, data: bytes) -> int:
        if self.tries == 0:
            return 0x6983
        if self._challenge and data == self.prove(self.key, self._challenge):
            self._challenge = b""
            self._allowed = True
            self.tries = 3
            return 0x9000
        self._challenge = b""
        self.tries -= 1
        return 0x63C0 | self.tries


# These commands bring data; the others fetch it.
_INCOMING = (0xA4, 0xD6, 0x82)

_OFF = 0
_HEAD = 1
_DATA = 2
_PPS = 3


class Socket:
    """These are the card's contacts and the UART on its line: `read_into`, `write` and three pins.

    atr         what the card answers to reset
    early       bytes that came before the line had turned round, or within the guard time
    nulls       requests for time before each procedure byte; -1: without end
    single      bytes of data are taken and given one at a time
    spoil       called with each chunk the card sends (bytes); returns what is sent instead
    slow_us     before each answer of the card
    collide     another device pulls the line low while the driver sends
    mute        the card says nothing after its ATR
    takes       bytes the UART takes at once
    pps         what the card answers to a PPS, b"" if nothing
    """

    def __init__(self, time: Time, card: Card, atr: bytes = ATR, echo: bool = True) -> None:
        self.time = time
        self.card = card
        self.atr = atr
        self.echo = echo
        self.inserted = 1
        self.early = 0
        self.guard_us = 0
        self.nulls = 0
        self.single = False
        self.spoil = None
        self.slow_us = 0
        self.collide = False
        self.mute = False
        self.takes = 256
        self.pps: bytes | None = b""
        self.resets = 0
        self._state = _OFF
        self._powered = 0
        self._level = 0
        self._wire: list[tuple[int, int]] = []  # (when, byte) for the driver's UART
        self._free_us = 0  # the moment at which the last character on the wire ends
        self._from_card = False
        self._got = bytearray()
        self._stored = b""
        self._wanted = 0

    # --- pins ---

    def detect(self, value: int = 0) -> int:
        """Read the switch of the socket."""
        return self.inserted

    def power(self, value: int = 0) -> int:
        """Switch supply and clock."""
        self._powered = value
        if not value:
            self._lose_power()
        return value

    def reset(self, value: int = 0) -> int:
        """Set the reset line; 0 resets."""
        if value and not self._level and self._powered and self.inserted:
            self._lose_power()
            self.resets += 1
            self._state = _HEAD
            self._free_us = self.time.now_us + 5000
            self._say(self.atr, True)
        elif not value:
            self._lose_power()
        self._level = value
        return value

    def pull(self) -> None:
        """Take the card out."""
        self.inserted = 0
        self._lose_power()

    def _lose_power(self) -> None:
        self.card.field_off()
        self._state = _OFF
        self._wire = []
        self._taken = 0
        self._got = bytearray()
        self._stored = b""

    # --- the UART ---

    def read_into(self, buf: bytearray) -> int:
        """Take the bytes heard until now."""
        count = 0
        while self._wire and count < len(buf):
            begun_us, data = self._wire[0]
            if self._taken == len(data):
                self._wire.pop(0)
                self._taken = 0
            elif begun_us + (self._taken + 1) * CHARACTER_US > self.time.now_us:
                break
            else:
                buf[count] = data[self._taken]
                self._taken += 1
                count += 1
        return count

    def write(self, buf: "bytes | memoryview") -> int:
        """Send bytes, which are heard as an echo."""
        data = bytes(buf)[: self.takes]
        now_us = self.time.now_us
        gap_us = TURN_US - CHARACTER_US if self._from_card else self.guard_us
        if now_us < self._free_us + gap_us:
            self.early += 1
        self._from_card = False
        at_us = max(now_us, self._free_us)
        if self.echo and data:
            back = data[:-1] + bytes((data[-1] & 0xF8,)) if self.collide else data
            self._wire.append((at_us, back))
        self._free_us = at_us + len(data) * CHARACTER_US
        if self._state != _OFF and not self.mute and not self.card.dead:
            for byte in data:
                self._hear(byte)
        return len(data)

    def _say(self, data: bytes, first: bool = False) -> None:
        """Send bytes of the card."""
        if self.spoil and not first:
            data = self.spoil(data)
        at_us = max(self.time.now_us, self._free_us) + TURN_US + self.slow_us
        self._wire.append((at_us, data))
        self._free_us = at_us + len(data) * CHARACTER_US
        self._from_card = True

    # --- the card ---

    def _hear(self, byte: int) -> None:
        self._got.append(byte)
        if self._state == _HEAD and len(self._got) == 1 and byte == 0xFF:
            self._state = _PPS
        elif self._state == _PPS and len(self._got) == 3:
            if self.pps != b"":
                self._say(bytes(self._got) if self.pps is None else self.pps)
            self._next()
        elif self._state == _HEAD and len(self._got) == 5:
            self._begin()
        elif self._state == _DATA:
            if len(self._got) == 5 + self._got[4]:
                self._finish()
            elif self.single:
                self._say(self._nulls() + bytes((self._got[1] ^ 0xFF,)))

    def _next(self) -> None:
        self._state = _HEAD
        self._got = bytearray()

    def _nulls(self) -> bytes:
        return b"\x60" * (self.nulls if self.nulls >= 0 else 3000)

    def _begin(self) -> None:
        """Take a header."""
        code, size = self._got[1], self._got[4]
        if code in _INCOMING and size:
            self._state = _DATA
            self._say(self._nulls() + bytes((code ^ 0xFF if self.single else code,)))
            return
        self._finish()

    def _finish(self) -> None:
        """Carry out a command after header and data have come."""
        head = bytes(self._got[:5])
        data = bytes(self._got[5:])
        self._next()
        if head[1] == 0xC0:
            reply, status = self._fetch(head[4])
        else:
            reply, status = self.card.obey(head[:4], data, 0 if data else head[4])
            if data and reply:
                self._stored = reply
                reply, status = b"", 0x6100 | len(self._stored)
        if self.card.dead:
            return
        out = self._nulls()
        if reply and self.single:
            for byte in reply:
                out += bytes((head[1] ^ 0xFF, byte))
        elif reply:
            out += bytes((head[1],)) + reply
        self._say(out + bytes((status >> 8, status & 0xFF)))

    def _fetch(self, size: int) -> "tuple[bytes, int]":
        """Answer GET RESPONSE."""
        if not self._stored:
            return b"", 0x6F00
        if size > len(self._stored):
            return b"", 0x6C00 | len(self._stored)
        reply = self._stored[:size]
        self._stored = self._stored[size:]
        return reply, 0x6100 | len(self._stored) if self._stored else 0x9000
