"""Run the byte loops: as machine code (viper) on MicroPython, as plain Python on CPython.

Viper checks no bounds and wraps modulo 2**32, so each caller checks the sizes that it passes, and
all numbers stay below 2**30. Nothing allocates, and no byte on the line raises.

A receiver is two arrays instead of an object, because calls and attributes cost more time than the
loops themselves. `words` is an array('i') of which this module owns the first eight words:

    0 start     first byte not yet judged      4 noise      bytes skipped, preamble excepted
    1 end       first free byte                5 refused    candidates with a wrong sum or end
    2 need      `end` at which to look again   6 dropped    bytes that found no room
    3 found     0, or the frame held           7 unread     bytes that were never judged

    found = control | L << 8 | verdict << 16 | 1 << 18

The receiver holds a frame that it found, with address and data in the box, until `receive` is
called with NEXT or LAST. When a candidate fails, only its first byte is skipped. The parameter
`ring` is the box. If no older bytes are kept, a chunk is searched where it is, and only its unused
rest is copied.

`box` is a bytearray:

    0   asked address 6                        16  address of the frame held 6
    6   size of the asked identifier           24  its data, less 33H: 255
    7   asked identifier 4, low byte first     280 received bytes 512
"""

import sys

import micropython
from micropython import const

from dlt645.clock import decode_moment
from dlt645.table import TABLE, TABLE_SIZE

BOX_SIZE = const(792)
_ASKED = const(0)
_ASKED_DI = const(7)
ADDRESS = const(16)
DATA = const(24)

RECEIVED_SIZE = const(512)

WORDS_SIZE = const(8)
FOUND = const(3)
NOISE = const(4)
REFUSED = const(5)
DROPPED = const(6)
_UNREAD = const(7)

# Modes of `receive`: append bytes; search behind the frame held; search behind it, and give up
# half a frame because no more bytes will come.
FEED = const(0)
NEXT = const(1)
LAST = const(2)

# The verdict compares the frame with the request.
SAME = const(0)
OTHER_ADDRESS = const(1)
OTHER_DI = const(2)

NO_VALUE = const(-0x40000000)
BAD_VALUE = const(-1)
BAD_SIZE = const(-2)
UNKNOWN_DI = const(-3)

# A global name of this module is found sooner than a builtin.
_len = len

_ASKED_SIZE = const(6)
_RING = const(280)


TYPE_CHECKING = const(False)
if TYPE_CHECKING:

    class ptr8(bytearray):
        """A pointer to bytes, a type of viper."""

        def __init__(self, buf: object) -> None: ...

    class ptr32(ptr8):
        """A pointer to 32-bit words."""

elif sys.implementation.name != "micropython":

    class _Pointer:
        """On CPython, `ptr8` and `ptr32` are the buffer itself."""

        def __new__(cls, buf: bytearray) -> bytearray:
            return buf

    ptr8 = ptr32 = _Pointer


@micropython.viper
def clear(state: ptr32) -> int:
    """Forget all bytes received; return how many were never judged. The counters stay."""
    unread = state[1] - state[0]
    state[7] += unread
    state[0] = _RING
    state[1] = _RING
    state[2] = _RING
    state[3] = 0
    return unread


@micropython.viper
def put_di(request: ptr8, di: int, size: int) -> int:
    """Write `size` bytes of `di`, low byte first; return `size`."""
    for index in range(size):
        request[index] = di & 0xFF
        di >>= 8
    return size


@micropython.viper
def ask(box: ptr8, address: ptr8, data: ptr8, size: int) -> int:
    """Note the request: `address`, and the `size` bytes of `data` that a reply repeats.

    AA in the address stands for any digits. Six times 99 is noted as six times AA, because some
    meters of 1997 answer it with their own address. Return 1 for six times 99, else 0.
    """
    nines = 0
    for index in range(6):
        box[_ASKED + index] = address[index]
        if address[index] == 0x99:
            nines += 1
    everyone = 0
    if nines == 6:
        everyone = 1
        for index in range(6):
            box[_ASKED + index] = 0xAA
    box[_ASKED_SIZE] = size
    for index in range(size):
        box[_ASKED_DI + index] = data[index]
    return everyone


@micropython.viper
def make_room(ring: ptr8, size: int, state: ptr32) -> int:
    """Move the bytes down for `size` more, at most RECEIVED_SIZE; return the bytes lost."""
    start = state[0]
    end = state[1]
    lost = end - start + size - RECEIVED_SIZE
    if lost < 0:
        lost = 0
    state[6] += lost
    start += lost
    for index in range(end - start):
        ring[_RING + index] = ring[start + index]
    state[0] = _RING
    state[1] = _RING + end - start
    state[2] = _RING
    return lost


@micropython.viper
def _keep(ring: ptr8, chunk: ptr8, start: int, end: int, state: ptr32) -> int:
    """Copy the unjudged rest of a chunk that was searched where it is."""
    for index in range(end - start):
        ring[_RING + index] = chunk[start + index]
    state[1] = _RING + end - start
    return _RING


@micropython.viper
def _append(ring: ptr8, chunk: ptr8, size: int, state: ptr32) -> int:
    """Append a chunk to the bytes that are kept; return 1 when a search is due."""
    end = state[1]
    state[1] = end + size
    while size:
        size -= 1
        ring[end + size] = chunk[size]
    if state[3] or state[1] < state[2]:
        return 0
    return 1


@micropython.viper
def receive(ring: ptr8, chunk: ptr8, size: int, state: ptr32, mode: int) -> int:
    """Append `size` bytes of `chunk`, search for a frame; return `found`, -1: make_room first."""
    start = state[0]
    end = state[1]
    in_place = 0
    if mode == 0 and start == end and state[3] == 0 and size <= RECEIVED_SIZE:
        in_place = 1
        start = 0
        end = size
    elif mode == 0:
        if end + size > BOX_SIZE:
            return -1
        if int(_append(ring, chunk, size, state)) == 0:
            return state[3]
        end = state[1]
        chunk = ring
    state[3] = 0
    need = 12
    while start < end:
        if chunk[start] == 0x68 and (end - start < 8 or chunk[start + 7] == 0x68):
            size = 12
            if end - start > 9:
                size += chunk[start + 9]
            stop = start + size
            if stop <= end:
                # Loops count down to 0, which needs no comparison.
                size -= 12
                total = 0xD0 + chunk[start + 8] + size
                found = 0x40000 | chunk[start + 8] | size << 8
                place = start + 10
                while size:
                    size -= 1
                    byte = chunk[place + size]
                    ring[DATA + size] = (byte - 0x33) & 0xFF
                    total += byte
                size = 6
                while size:
                    byte = chunk[start + size]
                    total += byte
                    size -= 1
                    ring[ADDRESS + size] = byte
                    if ring[_ASKED + size] != byte and ring[_ASKED + size] != 0xAA:
                        found |= 0x10000
                if (total & 0xFF) == chunk[stop - 2] and chunk[stop - 1] == 0x16:
                    if found < 0x50000:
                        size = ring[_ASKED_SIZE]
                        if chunk[start + 9] < size:
                            found |= 0x20000
                        while size:
                            size -= 1
                            if ring[_ASKED_DI + size] != ring[DATA + size]:
                                found |= 0x20000
                    state[3] = found
                    start = stop
                    need = 0
                    break
                state[5] += 1
            elif mode != 2:
                need = size
                break
        if chunk[start] != 0xFE:
            state[4] += 1
        start += 1
    if start == end:
        start = state[1] = _RING
    elif in_place:
        start = int(_keep(ring, chunk, start, end, state))
    state[0] = start
    state[2] = start + need
    return state[3]


@micropython.viper
def encode_frame(buf: object, address: object, control: int, data: object, size: int) -> int:
    """Write FE FE FE FE and the frame with `size` bytes of `data`; return the bytes written."""
    target = ptr8(buf)
    source = ptr8(address)
    for index in range(4):
        target[index] = 0xFE
    target[4] = 0x68
    target[11] = 0x68
    target[12] = control
    target[13] = size
    total = 0x68 + 0x68 + control + size
    for index in range(6):
        byte = source[index]
        target[5 + index] = byte
        total += byte
    source = ptr8(data)
    for index in range(size):
        byte = (source[index] + 0x33) & 0xFF
        target[14 + index] = byte
        total += byte
    target[14 + size] = total & 0xFF
    target[15 + size] = 0x16
    return 16 + size


@micropython.viper
def find_row(di: int) -> int:
    """Return format << 8 | reply size of `di` from the table, or -1."""
    rows = ptr8(TABLE)
    end = int(TABLE_SIZE)
    low = di & 0xFF
    row = 0
    while row < end:
        if (
            rows[row + 1] == (di >> 8 & 0xFF)
            and rows[row + 2] == (di >> 16 & 0xFF)
            and rows[row + 3] == (di >> 24 & 0xFF)
            and rows[row] <= low
            and rows[row + 4] >= low
        ):
            return rows[row + 5] << 8 | rows[row + 6]
        row += 7
    return -1


@micropython.viper
def _decode_field(form: int, data: object, offset: int, size: int, out: object) -> int:
    """Decode the only value of a status word, a date or a time."""
    source = ptr8(data)
    target = ptr32(out)
    if size - offset != (form & 0xFF):
        return -2
    blank = 0xFF
    for index in range(offset, size):
        blank &= source[index]
    value = source[offset] | source[offset + 1] << 8
    if blank == 0xFF:
        value = 0 - 0x40000000
    elif form > 0x4FF:
        moment = decode_moment(form >> 8, data, offset)  # type: ignore[arg-type]  # a buffer
        value = int(moment)
        if value < 0:
            return -1
    target[0] = value
    return 1


@micropython.viper
def decode(di: int, data: object, offset: int, size: int, out: object) -> int:
    """Decode data[offset:size] of `di` into the array('i') `out`; return the count or a refusal.

    energy      total_wh, then one _wh for each rate, as many as `out` holds
    money       _fen
    numbers     one for each phase, in units of the lowest digit
    status      the 16 bits
    date, date and time, freeze time    _t2000
    time        second of the day
    A value with all bytes FF is NO_VALUE. The refusals are UNKNOWN_DI, BAD_SIZE and BAD_VALUE;
    `out` is undefined after them.
    """
    source = ptr8(data)
    target = ptr32(out)
    form = 0x114  # of the commonest identifier: finding its row costs as much as decoding it
    if di != 0x0001FF00:
        form = int(find_row(di))
    if form < 0:
        return -3
    left = size - offset
    item = 4
    if form > 0xFFF:
        item = (form >> 8) & 0x0F
    elif form > 0x3FF:
        return int(_decode_field(form, data, offset, size, out))
    elif (left & 3) == 1 and source[size - 1] == 0xAA:
        left -= 1  # a 1997 block ends with AA
    count = 0
    while left >= item:
        left -= item
        count += 1
    if left or count == 0:
        return -2
    room = int(_len(out))  # type: ignore[arg-type]  # viper has an object here
    if count > room:
        count = room
    scale = 1
    if form < 0x300:
        scale = 10
    for index in range(count):
        place = offset + item - 1
        byte = source[place]
        value = 0
        negative = 0
        if byte & 0x80 and (form > 0x1FFF or (form > 0x1FF and form < 0x300)):
            negative = 1
            byte -= 0x80
        rest = item
        while True:
            if ((byte + 0x66) ^ byte) & 0x110:
                blank = 0xFF
                for place in range(offset, offset + item):
                    blank &= source[place]
                if blank != 0xFF:
                    return -1
                value = 0 - 0x40000000
                negative = 0
                break
            value = value * 100 + byte - 6 * (byte >> 4)
            rest -= 1
            if rest == 0:
                value *= scale
                break
            place -= 1
            byte = source[place]
        if negative:
            value = 0 - value
        target[index] = value
        offset += item
    return count
