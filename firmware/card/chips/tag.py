"""Use contactless tags behind a PN532 as memory: NTAG21x and MIFARE Classic.

    NTAG        pages of 4 bytes from page 4 on; page 3 has their count: E1 10 (size / 8) 00
    Classic     blocks of 16 bytes, without the maker's block and the trailers of the sectors:
                1 2 | 4 5 6 | 8 9 10 | ..   47 blocks, 752 bytes; each sector needs the key

The reader chip gets a key of 6 bytes. Crypto-1 is broken and the data of an NTAG is open, so both
only carry an image that its own MAC protects.

Spec: data sheets NTAG213/215/216, 8.5 and 10; MF1S50yyX, 8.6 and 12.
"""

from micropython import const

from card.chips import pn532
from card.chips.outcome import OK, OUT_OF_RANGE, REFUSED, UNKNOWN, WRONG_CODE, WRONG_SIZE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.outcome import Bytes, Steps
    from card.chips.pn532 import Pn532

_READ = const(0x30)
_WRITE_PAGE = const(0xA2)
_WRITE_BLOCK = const(0xA0)
_AUTHENTICATE_A = const(0x60)
_BLOCK = const(16)
_PAGE = const(4)
_FIRST_PAGE = const(4)
_CAPABILITIES_PAGE = const(3)
_CAPABILITIES = const(0xE1)
_CLASSIC_SIZE = const(752)
_NONE = const(-1)
# Errors of the PN532. Spec: UM0701-02, 7.1.
_AUTHENTICATION = const(0x14)


class Tag:
    """The tag that `reader` has found, for Contactless; `key` opens the sectors of a Classic."""

    def __init__(self, reader: "Pn532", key: "Bytes" = b"\xff\xff\xff\xff\xff\xff") -> None:
        self.size = 0
        self._reader = reader
        self._key = key
        self._unit = _PAGE
        self._sector = _NONE
        self._old = bytearray(_BLOCK)

    def open(self) -> "Steps":
        """Use the tag that the reader has just found."""
        self._sector = _NONE
        if self._reader.kind == pn532.CLASSIC:
            self._unit = _BLOCK
            self.size = _CLASSIC_SIZE
            return OK
        if self._reader.kind != pn532.TAG:
            return UNKNOWN
        self._unit = _PAGE
        outcome = yield from self._read(_CAPABILITIES_PAGE)
        if outcome != OK:
            return outcome
        reply = self._reader.reply
        if reply[0] != _CAPABILITIES:
            return UNKNOWN  # the tag is not formatted, so its size is unknown
        self.size = reply[2] * 8
        return OK

    def read(self, offset: int, size: int, buf: bytearray) -> "Steps":
        """Fill buf[:size]."""
        if not 0 <= offset <= offset + size <= self.size:
            return OUT_OF_RANGE
        done = 0
        while done < size:
            within = (offset + done) % self._unit
            outcome = yield from self._read(self._place(offset + done))
            if outcome != OK:
                return outcome
            # An NTAG always sends 4 pages and continues at the first after its last one.
            count = min(_BLOCK - within, size - done)
            for index in range(count):
                buf[done + index] = self._reader.reply[within + index]
            done += count
        return OK

    def write(self, offset: int, size: int, buf: "Bytes") -> "Steps":
        """Write buf[:size] page by page; other bytes of the same pages keep their values."""
        if not 0 <= offset <= offset + size <= self.size:
            return OUT_OF_RANGE
        unit = self._unit
        old = self._old
        done = 0
        while done < size:
            within = (offset + done) % unit
            place = self._place(offset + done)
            count = min(unit - within, size - done)
            outcome = yield from self._read(place)
            if outcome != OK:
                return outcome
            same = True
            for index in range(unit):
                old[index] = self._reader.reply[index]
            for index in range(count):
                same = same and old[within + index] == buf[done + index]
                old[within + index] = buf[done + index]
            if not same:
                outcome = yield from self._write(place)
                if outcome != OK:
                    return outcome
            done += count
        return OK

    def _place(self, at: int) -> int:
        """Return the page or block that holds byte `at`."""
        if self._unit == _PAGE:
            return _FIRST_PAGE + at // _PAGE
        block = at // _BLOCK
        # The first sector has 2 blocks for data, each other has 3.
        return block + 1 if block < 2 else (block + 1) // 3 * 4 + (block + 1) % 3

    def _read(self, place: int) -> "Steps":
        """Read 16 bytes from page or block `place` on into the reader's reply."""
        reader = self._reader
        outcome = yield from self._enter(place)
        if outcome != OK:
            return outcome
        reader.command[0] = _READ
        reader.command[1] = place
        outcome = yield from reader.call_card(2)
        if outcome == OK and reader.reply_size != _BLOCK:
            return WRONG_SIZE
        return outcome

    def _write(self, place: int) -> "Steps":
        """Write the first bytes of `_old` to page or block `place`, whose sector is open."""
        command = self._reader.command
        command[0] = _WRITE_PAGE if self._unit == _PAGE else _WRITE_BLOCK
        command[1] = place
        for index in range(self._unit):
            command[2 + index] = self._old[index]
        return (yield from self._reader.call_card(2 + self._unit))

    def _enter(self, block: int) -> "Steps":
        """Authenticate for the sector of `block`, if it is another than the last one."""
        sector = block // 4
        if self._unit == _PAGE or sector == self._sector:
            return OK
        self._sector = _NONE
        reader = self._reader
        command = reader.command
        command[0] = _AUTHENTICATE_A
        command[1] = block
        for index in range(6):
            command[2 + index] = self._key[index]
        for index in range(4):
            command[8 + index] = reader.uid_end[index]
        outcome = yield from reader.call_card(12)
        if outcome == REFUSED and reader.status == _AUTHENTICATION:
            return WRONG_CODE
        if outcome == OK:
            self._sector = sector
        return outcome
