"""Pack records into groups for segments on flash and batches on the uplink, and unpack them.

    size 2 | count 1 | first_seq 4 | base t2000 4 | check 1 | items .. | CRC-32 4

A group has at most GROUP_LIMIT bytes. `check` is the sum of the eleven bytes before it plus A5H:
it distinguishes a group whose end is missing from one whose bytes have changed. An item is a
record or a gap, and a gap is a span of numbers whose records have been deleted.

    record   kind, flags, unit 1 | index | t2000 | fields
    gap      00 | reasons 1 | count

Index and t2000 are differences to the record before in the group. All fields are absolute, so a
reader needs no earlier record. Numbers are varints: seven bits a byte, lowest first.

The byte loops are machine code (viper), which checks no bounds and wraps modulo 2**32, so a 32-bit
number is handled as its low 24 and its high 8 bits. Packing allocates nothing until `finish`.

Spec: docs/SPEC.md, Packed records.
"""

import sys
from binascii import crc32
from struct import pack_into

import micropython
from micropython import const

from uplink.record import FREEZE, ITEM, PAYLOAD, READING, RECORD_SIZE, u32_at

GROUP_LIMIT = const(512)
HEAD_SIZE = const(12)
CRC_SIZE = const(4)
COUNT_LIMIT = const(255)
# The longest item: a reading with all its fields.
ITEM_LIMIT = const(70)
# The shortest record: it limits the count of records in a rotten stretch of bytes.
ITEM_SHORTEST = const(4)
GROUP_SHORTEST = const(19)

# Reasons of a gap.
LET_GO_READINGS = const(0x01)
LET_GO_FREEZES = const(0x02)
LET_GO_ITEMS = const(0x04)
LET_GO_OTHERS = const(0x40)
UNREADABLE = const(0x80)

# `Unpacker.open` returns these instead of the size of a group.
TORN = const(0)
ROTTEN = const(-1)
# `Unpacker.next` returns these instead of the kind of a record.
GAP = const(0)
END = const(-1)
MALFORMED = const(-2)

_CHECK = const(11)
_CHECK_BASE = const(0xA5)
_KIND_BITS = const(0x1F)
_FLAG_BITS = const(0x03)
_TENS = const(0x80)
_U32 = const(0xFFFFFFFF)

# The first byte of a reading: its count of registers, and flags of its other fields.
_COUNT_BITS = const(0x0F)
_HAS_RESIDUE_E11 = const(0x10)
_HAS_STATUS = const(0x20)
_HAS_USED_WH = const(0x40)
_STATUS_LEFT_OUT = const(0x80)
_REGISTERS_LIMIT = const(8)
_VALUES_LIMIT = const(10)

# Places in the 64 bytes of a record.
_DEBIT_FEN = const(12)
_RESIDUE_E11 = const(20)
_STATUS = const(22)
_USED_WH = const(24)
_READING_REGISTERS = const(28)
_FREEZE_REGISTERS = const(16)
_ITEM_COUNT = const(16)
_ITEM_VALUES = const(20)
_END = const(60)

# The parameter `what` of packed words: first place, place behind the last << 8, flags.
_LAST_SHIFT = const(8)
_IN_TENS = const(0x10000)
_SIGNED = const(0x20000)


TYPE_CHECKING = const(False)
if TYPE_CHECKING:

    class ptr8(bytearray):
        """A pointer to bytes, a type of viper."""

        def __init__(self, buf: object) -> None: ...

elif sys.implementation.name != "micropython":

    class ptr8:
        """On CPython, `ptr8` is the buffer itself."""

        def __new__(cls, buf: bytearray) -> bytearray:
            return buf


@micropython.viper
def _put_number(out: ptr8, at: int, low: int, high: int) -> int:
    """Write low + high * 2**24 as a varint; return the place behind it."""
    while high:
        out[at] = low & 0x7F | 0x80
        low = low >> 7 | (high & 0x7F) << 17
        high >>= 7
        at += 1
    while low > 0x7F:
        out[at] = low & 0x7F | 0x80
        low >>= 7
        at += 1
    out[at] = low
    return at + 1


@micropython.viper
def _put_words(out: ptr8, at: int, record: ptr8, what: int) -> int:
    """Write words of the record as varints; return the place behind them."""
    place = what & 0xFF
    last = what >> 8 & 0xFF
    while place < last:
        low = record[place] | record[place + 1] << 8 | record[place + 2] << 16
        high = record[place + 3]
        if what & 0x10000:
            rest = high % 10
            high = high // 10
            low = (rest << 24 | low) // 10
        if what & 0x20000:
            negative = high >> 7
            high = (high << 1 | low >> 23) & 0xFF
            low = low << 1 & 0xFFFFFF
            if negative:
                high ^= 0xFF
                low ^= 0xFFFFFF
        while high:
            out[at] = low & 0x7F | 0x80
            low = low >> 7 | (high & 0x7F) << 17
            high >>= 7
            at += 1
        while low > 0x7F:
            out[at] = low & 0x7F | 0x80
            low >>= 7
            at += 1
        out[at] = low
        at += 1
        place += 4
    return at


@micropython.viper
def _get_words(buf: ptr8, at: int, end: int, record: ptr8, what: int) -> int:
    """Read varints into words of the record; return the place behind them, -1: malformed."""
    place = what & 0xFF
    last = what >> 8 & 0xFF
    while place < last:
        low = 0
        high = 0
        shift = 0
        while True:
            if at >= end or shift > 28:
                return -1
            part = buf[at]
            at += 1
            if shift < 21:
                low |= (part & 0x7F) << shift
            elif shift == 21:
                low |= (part & 0x07) << 21
                high = (part & 0x7F) >> 3
            else:
                high |= (part & 0x1F) << 4
            shift += 7
            if part < 0x80:
                break
        if what & 0x20000:
            negative = low & 1
            low = low >> 1 | (high & 1) << 23
            high >>= 1
            if negative:
                low ^= 0xFFFFFF
                high ^= 0xFF
        if what & 0x10000:
            low *= 10
            high = high * 10 + (low >> 24)
        record[place] = low & 0xFF
        record[place + 1] = low >> 8 & 0xFF
        record[place + 2] = low >> 16 & 0xFF
        record[place + 3] = high & 0xFF
        place += 4
    return at


@micropython.viper
def _put_head(out: ptr8, at: int, record: ptr8, before: ptr8) -> int:
    """Write index and t2000 as differences to the 12 bytes `before`, and copy them there.

    Return the place behind them.
    """
    index = record[10] | record[11] << 8
    if index == 0xFFFF:
        index = -1
    last = before[10] | before[11] << 8
    if last == 0xFFFF:
        last = -1
    index = (index - last) << 1
    if index < 0:
        index = -1 - index
    while index > 0x7F:
        out[at] = index & 0x7F | 0x80
        index >>= 7
        at += 1
    out[at] = index
    at += 1
    low = record[4] | record[5] << 8 | record[6] << 16
    low -= before[4] | before[5] << 8 | before[6] << 16
    high = record[7] - before[7]
    if low < 0:
        low += 1 << 24
        high -= 1
    negative = high < 0
    high = high << 1 | low >> 23
    low = low << 1 & 0xFFFFFF
    if negative:
        high = -1 - high
        low ^= 0xFFFFFF
    for place in range(4, 12):
        before[place] = record[place]
    return int(_put_number(out, at, low, high))


@micropython.viper
def _get_head(buf: ptr8, at: int, end: int, before: ptr8) -> int:
    """Add a record's head to the 12 bytes `before`; return the place behind it, -1: malformed.

    The differences are in the 8 bytes behind these.
    """
    if at + 3 > end:
        return -1
    before[8] = buf[at] & 0x1F
    before[9] = buf[at] >> 5 & 3
    at += 1
    at = int(_get_words(buf, at, end, before, 12 | 20 << 8 | 0x20000))
    low = before[12] | before[13] << 8
    low += before[10] | before[11] << 8
    before[10] = low & 0xFF
    before[11] = low >> 8 & 0xFF
    low = before[16] | before[17] << 8 | before[18] << 16
    low += before[4] | before[5] << 8 | before[6] << 16
    high = before[19] + before[7] + (low >> 24)
    before[4] = low & 0xFF
    before[5] = low >> 8 & 0xFF
    before[6] = low >> 16 & 0xFF
    before[7] = high & 0xFF
    return at


@micropython.viper
def _pass(buf: ptr8, at: int, end: int, kind: int) -> int:
    """Return the place behind the fields that begin at `at`, -1: malformed."""
    if at >= end:
        return -1
    first = buf[at]
    at += 1
    if kind == 16:  # ITEM
        at += 4
        if at > end:
            return -1
        first = buf[at - 1]
    elif kind == 14:  # FREEZE
        first += 1
    elif kind == 2:  # READING
        if first & 0x20:
            left = 2 + (first >> 4 & 1)
            while left:
                while at < end and buf[at] >= 0x80:
                    at += 1
                at += 1
                left -= 1
            at += 2
            first = (first & 0x0F) + (first >> 6 & 1)
        else:
            first = (first & 0x0F) + 2 + (first >> 4 & 1) + (first >> 6 & 1)
    else:
        at += first
        first = 0
    while first:
        while at < end and buf[at] >= 0x80:
            at += 1
        at += 1
        first -= 1
    if at > end:
        return -1
    return at


@micropython.viper
def _put_reading(out: ptr8, at: int, record: ptr8) -> int:
    """Write a reading's fields; return the place behind them, plus 2**16 if in units of 10 Wh."""
    flags = 8
    place = 56
    while flags:
        if record[place] | record[place + 1] | record[place + 2] | record[place + 3]:
            break
        flags -= 1
        place -= 4
    last = place + 4
    tens = 0x10000
    place = 24
    while place < last:
        low = record[place] | record[place + 1] << 8 | record[place + 2] << 16
        if (low + record[place + 3] * 6) % 10:
            tens = 0
            break
        place += 4
    place = 24
    if record[24] | record[25] | record[26] | record[27]:
        flags |= 0x40
    else:
        place = 28
    status = record[22] | record[23] << 8
    if status == 0xFFFF:
        flags |= 0x80
    elif status:
        flags |= 0x20
    e11 = record[20] | record[21] << 8
    if e11:
        flags |= 0x10
    out[at] = flags
    at = int(_put_words(out, at + 1, record, 12 | 20 << 8))
    if e11:
        at = int(_put_number(out, at, e11, 0))
    if flags & 0x20:
        out[at] = status & 0xFF
        out[at + 1] = status >> 8
        at += 2
    return int(_put_words(out, at, record, place | last << 8 | tens)) | tens


@micropython.viper
def _copy(out: ptr8, at: int, source: ptr8, place: int, size: int) -> int:
    """Copy `size` bytes; return the place behind them."""
    for index in range(size):
        out[at + index] = source[place + index]
    return at + size


class Packer:
    """Packs groups into `buf`: call `begin`, `add`.., `finish`.

    start       the place of the group in `buf`
    end         the place behind its last item
    count       the count of its items
    first_seq   the number of its first item
    """

    def __init__(self, buf: bytearray) -> None:
        self.start = 0
        self.end = 0
        self.count = 0
        self.first_seq = 0
        # The t2000 and the index of the record that was added last.
        self.before = bytearray(PAYLOAD)
        self.base_t2000 = 0
        self._limit = 0
        self._buf = buf
        self._view = memoryview(buf)

    def begin(self, start: int, limit: int, first_seq: int) -> None:
        """Open a group at `start` with at most `limit` bytes and the first number `first_seq`."""
        self.start = start
        self.end = start + HEAD_SIZE
        self._limit = start + min(limit, GROUP_LIMIT) - CRC_SIZE
        self.first_seq = first_seq
        self.count = 0
        self.base_t2000 = 0
        for place in range(4, PAYLOAD):
            self.before[place] = 0

    @property
    def room(self) -> int:
        """The count of records that fit whatever their size."""
        return min((self._limit - self.end) // ITEM_LIMIT, COUNT_LIMIT - self.count)

    def add(self, record: bytearray) -> bool:
        """Pack the 64-byte `record`; return false if it may not fit. Does not allocate."""
        end = self.end
        if self._limit - end < ITEM_LIMIT or self.count == COUNT_LIMIT:
            return False
        buf = self._buf
        before = self.before
        if self.count == 0:
            for place in range(4, 8):
                before[place] = record[place]
            self.base_t2000 = u32_at(record, 4)
        self.count += 1
        kind = record[8]
        at = _put_head(buf, end + 1, record, before)
        tens = 0
        if kind == READING:
            at = _put_reading(buf, at, record)
            tens = at & _IN_TENS
            at &= _IN_TENS - 1
        elif kind == FREEZE:
            at = self._put_freeze(at, record)
            tens = at & _IN_TENS
            at &= _IN_TENS - 1
        elif kind == ITEM:
            last = _ITEM_VALUES + 4 * min(record[_ITEM_COUNT], _VALUES_LIMIT)
            at = _copy(buf, at, record, PAYLOAD, 5)
            at = _put_words(buf, at, record, _ITEM_VALUES | last << _LAST_SHIFT | _SIGNED)
        else:
            last = _END
            while last > PAYLOAD and record[last - 1] == 0:
                last -= 1
            buf[at] = last - PAYLOAD
            at = _copy(buf, at + 1, record, PAYLOAD, last - PAYLOAD)
        buf[end] = kind & _KIND_BITS | (record[9] & _FLAG_BITS) << 5 | (_TENS if tens else 0)
        self.end = at
        return True

    def _put_freeze(self, at: int, record: bytearray) -> int:
        """Write a freeze's fields; return the place as `_put_reading` does."""
        buf = self._buf
        last = _END
        while last > _FREEZE_REGISTERS and not u32_at(record, last - 4):
            last -= 4
        last = min(last, _FREEZE_REGISTERS + 4 * _REGISTERS_LIMIT)
        tens = _IN_TENS
        for place in range(_FREEZE_REGISTERS, last, 4):
            if u32_at(record, place) % 10:
                tens = 0
        buf[at] = (last - _FREEZE_REGISTERS) >> 2
        change = u32_at(record, PAYLOAD) - u32_at(record, 4)
        number = change << 1 if change >= 0 else ~(change << 1)
        at = _put_number(buf, at + 1, number & 0xFFFFFF, number >> 24)
        return _put_words(buf, at, record, _FREEZE_REGISTERS | last << _LAST_SHIFT | tens) | tens

    def add_gap(self, reasons: int, count: int) -> bool:
        """Pack a gap of `count` numbers; return false when there is no room."""
        at = self.end
        if self._limit - at < ITEM_LIMIT or self.count == COUNT_LIMIT:
            return False
        buf = self._buf
        buf[at] = GAP
        buf[at + 1] = reasons
        self.end = _put_number(buf, at + 2, count & 0xFFFFFF, count >> 24)
        self.count += 1
        return True

    def resume(self, reader: "Unpacker", count: int, limit: int) -> None:
        """Reopen the group in `buf` after its first `count` items, which `reader` has read."""
        self.begin(reader.start, limit, reader.first_seq)
        self.end = reader.end
        self.count = count
        self.base_t2000 = u32_at(self._buf, reader.start + 7)
        for place in range(PAYLOAD):
            self.before[place] = reader.head[place]

    def move(self, size: int) -> None:
        """Adjust the places after the group was moved by `size` bytes within the buffer."""
        self.start += size
        self.end += size
        self._limit += size

    def finish(self) -> int:
        """Complete the group; return the place behind it. It allocates windows and the CRC."""
        start = self.start
        end = self.end
        view = self._view
        size = end + CRC_SIZE - start
        pack_into("<HBII", self._buf, start, size, self.count, self.first_seq, self.base_t2000)
        self._buf[start + _CHECK] = sum(view[start : start + _CHECK], _CHECK_BASE) & 0xFF
        pack_into("<I", self._buf, end, crc32(view[start:end]))
        return end + CRC_SIZE


class Unpacker:
    """Reads a group of `buf` item by item: call `open`, then `look` and `read_into`, or `next`.

    first_seq   the number of the group's first item
    start, end  the place of the group, and the place behind the current item
    seq         the number of the current item
    kind        the result of `look`: the kind of the current record, GAP, END or MALFORMED
    next_seq    the number behind the current item; after the last one, that of the next group
    reasons     the reasons of the current gap
    head        the first 12 bytes of the current record, without `seq`, and 8 bytes more
    """

    def __init__(self, buf: bytearray) -> None:
        self.first_seq = 0
        self.seq = 0
        self.next_seq = 0
        self.kind = END
        self.reasons = 0
        self.head = bytearray(PAYLOAD + 8)
        self._buf = buf
        self._view = memoryview(buf)
        self.start = 0
        self._fields = 0
        self.end = 0
        self._end = 0
        self._left = 0
        self._number = 0
        self._unit = 0

    def open(self, start: int, end: int) -> int:
        """Open the group at `start` of bytes that end at `end`; return its size.

        TORN: the bytes end before the group does. ROTTEN: they are not a group.
        """
        view = self._view
        if end - start < HEAD_SIZE:
            return TORN
        buf = self._buf
        if buf[start + _CHECK] != sum(view[start : start + _CHECK], _CHECK_BASE) & 0xFF:
            return ROTTEN
        size = buf[start] | buf[start + 1] << 8
        first_seq = u32_at(buf, start + 3)
        if not GROUP_SHORTEST <= size <= GROUP_LIMIT or first_seq == 0 or buf[start + 2] == 0:
            return ROTTEN
        if size > end - start:
            return TORN
        self._end = start + size - CRC_SIZE
        if crc32(view[start : self._end]) != u32_at(buf, self._end):
            return ROTTEN
        self.first_seq = first_seq
        self.start = start
        self.rewind()
        return size

    def rewind(self) -> None:
        """Go back to the first item of the group."""
        self.seq = self.next_seq = self.first_seq
        self.kind = END
        start = self.start
        self.end = start + HEAD_SIZE
        self._left = self._buf[start + 2]
        head = self.head
        for place in range(4):
            head[4 + place] = self._buf[start + 7 + place]
        head[10] = head[11] = 0

    def next(self, record: bytearray) -> int:
        """Go to the next item as `look` does, and write a record into `record`, without CRC."""
        kind = self.look()
        return kind if kind <= GAP or self.read_into(record) else MALFORMED

    def look(self) -> int:
        """Go to the next item; return a record's kind, GAP or END. Does not allocate.

        MALFORMED: the bytes are no item though the CRC is right, and nothing more is read.
        """
        if self._left == 0:
            self.kind = END if self.end == self._end else MALFORMED
            return self.kind
        self._left -= 1
        buf = self._buf
        at = self.end
        end = self._end
        head = buf[at] if at < end else 0
        kind = head & _KIND_BITS
        self.seq = self.next_seq
        if head == GAP:
            self.end = self._get_gap(at + 1)
        else:
            self.next_seq += 1
            self._unit = _IN_TENS if head & _TENS else 0
            self._fields = _get_head(buf, at, end, self.head)
            at = _pass(buf, self._fields, end, kind) if self._fields > 0 and kind else -1
            self.end = at
        if self.end < 0:
            self._left = 0
            kind = MALFORMED
        self.kind = kind
        return kind

    def is_of(self, index: int) -> bool:
        """Return whether the current item is a record of the account `index`."""
        head = self.head
        return self.kind > GAP and head[10] | head[11] << 8 == index

    def read_into(self, record: bytearray) -> bool:
        """Write the current record into `record`, without CRC; return false if malformed."""
        head = self.head
        for place in range(RECORD_SIZE):
            record[place] = head[place] if place < PAYLOAD else 0
        pack_into("<I", record, 0, self.seq)
        if self._get_fields(self._fields, record, head[8]) == self.end:
            return True
        self.end = -1
        self._left = 0
        return False

    def _get_gap(self, at: int) -> int:
        if at + 1 >= self._end:
            return -1
        self.reasons = self._buf[at]
        at = self._get_number(at + 1)
        self.next_seq += self._number
        return at if self._number and self.next_seq <= _U32 + 1 else -1

    def _get_fields(self, at: int, record: bytearray, kind: int) -> int:
        buf = self._buf
        end = self._end
        if kind == READING:
            return self._get_reading(at, record)
        if kind == FREEZE:
            count = buf[at]
            at = self._get_number(at + 1)
            if count > _REGISTERS_LIMIT or at < 0:
                return -1
            number = self._number
            change = ~(number >> 1) if number & 1 else number >> 1
            pack_into("<I", record, PAYLOAD, (u32_at(record, 4) + change) & _U32)
            last = _FREEZE_REGISTERS + 4 * count
            what = _FREEZE_REGISTERS | last << _LAST_SHIFT | self._unit
            return _get_words(buf, at, end, record, what)
        if kind == ITEM:
            if buf[at + 4] > _VALUES_LIMIT:
                return -1
            _copy(record, PAYLOAD, buf, at, 5)
            last = _ITEM_VALUES + 4 * buf[at + 4]
            what = _ITEM_VALUES | last << _LAST_SHIFT | _SIGNED
            return _get_words(buf, at + 5, end, record, what)
        size = buf[at]
        if size > _END - PAYLOAD:
            return -1
        return _copy(record, PAYLOAD, buf, at + 1, size) - PAYLOAD + at + 1

    def _get_reading(self, at: int, record: bytearray) -> int:
        buf = self._buf
        end = self._end
        flags = buf[at]
        if flags & _COUNT_BITS > _REGISTERS_LIMIT:
            return -1
        what = _DEBIT_FEN | _RESIDUE_E11 << _LAST_SHIFT
        at = _get_words(buf, at + 1, end, record, what)
        if at > 0 and flags & _HAS_RESIDUE_E11:
            at = self._get_number(at)
            record[_RESIDUE_E11] = self._number & 0xFF
            record[_RESIDUE_E11 + 1] = self._number >> 8 & 0xFF
        if at < 0:
            return -1
        if flags & _HAS_STATUS:
            record[_STATUS] = buf[at]
            record[_STATUS + 1] = buf[at + 1]
            at += 2
        elif flags & _STATUS_LEFT_OUT:
            record[_STATUS] = record[_STATUS + 1] = 0xFF
        place = _USED_WH if flags & _HAS_USED_WH else _READING_REGISTERS
        last = _READING_REGISTERS + 4 * (flags & _COUNT_BITS)
        return _get_words(buf, at, end, record, place | last << _LAST_SHIFT | self._unit)

    def _get_number(self, at: int) -> int:
        """Read a varint into `_number`; return the place behind it, -1: malformed."""
        buf = self._buf
        self._number = 0
        shift = 0
        while 0 <= at < self._end and shift < 35:
            part = buf[at]
            at += 1
            self._number |= (part & 0x7F) << shift
            if part < 0x80:
                return at
            shift += 7
        return -1
