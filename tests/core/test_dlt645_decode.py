"""Goal: every reply decodes to the published integers or to a named refusal, nothing else.

Method: the published frames; then values of all FF, bad digits and wrong sizes made from them;
random bytes under every identifier the device knows, with `out` guarded behind its end.
"""

from array import array

from dlt645 import clock, di, fast
from dlt645.bcd import decode, encode
from dlt645.frame import Receiver
from dlt645.table import TABLE
from harness import check, equal, heap_locked
from ticks import TICKS_MASK, ticks_add, ticks_diff
from vectors_dlt645 import FRAMES

ENERGY_COMBINED = 0x0000FF00
DAY_FREEZE_TIME = di.FREEZES + 0x060001


def new_out(count: int) -> "array[int]":
    """Return an array for `count` values."""
    return array("i", bytes(4 * count))


def test_vectors() -> None:
    receiver = Receiver()
    out = new_out(9)
    known = 0
    for name, frame, _, control, identifier, values in FRAMES:
        if not values:
            continue
        known += 1
        receiver.feed(frame, len(frame))
        offset = 2 if control == 0x81 else 4
        with heap_locked():
            count = di.decode(identifier, receiver.data, offset, receiver.data_size, out)
        equal(tuple(out[:count]), values, name)
        receiver.release()
    equal(known, 74)


def test_table_and_names_agree() -> None:
    sizes = (
        (ENERGY_COMBINED, 20),
        (di.ENERGY_FORWARD, 20),
        (di.ENERGY_FORWARD + 12, 20),
        (di.MONEY, 4),
        (di.DATE, 4),
        (di.TIME, 3),
        (di.DATE_TIME, 7),
        (di.STATUS_3, 2),
        (DAY_FREEZE_TIME, 5),
        (di.FREEZES + 0x06013E, 20),
        (di.FREEZES + 0x0401FE, 4),
        (di.FREEZES + 0x050102, 20),
        (di.FREEZES + 0x070001, 5),
        (di.ENERGY_1997, 4),
        (di.ENERGY_BLOCK_1997, 21),
        (di.DATE_1997, 4),
        (di.TIME_1997, 3),
    )
    for identifier, size in sizes:
        check(fast.find_row(identifier) >= 0, hex(identifier))
        equal(di.reply_size(identifier), size, hex(identifier))
    for identifier in (0x0001FF0D, 0x05060100, 0x0506013F, 0x04000508, 0x1D000002, 0x9011):
        check(fast.find_row(identifier) < 0, hex(identifier))
        equal(di.reply_size(identifier), 200)


def test_all_ff_is_no_value() -> None:
    out = new_out(9)
    blank = bytearray(b"\xff" * 24)
    for identifier in (di.DATE, di.TIME, di.DATE_TIME, di.STATUS_3, DAY_FREEZE_TIME, di.MONEY):
        size = di.reply_size(identifier)
        equal(di.decode(identifier, blank, 4, 4 + size, out), 1, hex(identifier))
        equal(out[0], di.NO_VALUE, hex(identifier))
    for identifier in (di.ENERGY_FORWARD, ENERGY_COMBINED):
        blank[4:8] = b"\x81\x05\x41\x00"
        equal(di.decode(identifier, blank, 4, 24, out), 5)
        equal(tuple(out[:5]), (4105810,) + (di.NO_VALUE,) * 4)


def test_signs() -> None:
    out = new_out(2)
    data = bytearray(b"\x23\x01\x00\x80\x99\x99\x99\x99")
    equal(di.decode(0x00000000, data, 0, 4, out), 1)
    equal(out[0], -1230)
    # Without a sign bit the same byte is the digit 8; the largest register is below 2**30.
    equal(di.decode(0x00010000, data, 0, 4, out), 1)
    equal(out[0], 800001230)
    equal(di.decode(0x00010000, data, 4, 8, out), 1)
    equal(out[0], 999999990)
    equal(di.decode(di.MONEY, data, 4, 8, out), 1)
    equal(out[0], 99999999)
    data[3] = 0x80
    data[0] = data[1] = 0
    equal(di.decode(0x00000000, data, 0, 4, out), 1)
    equal(out[0], 0, "minus nothing")


def test_numbers() -> None:
    out = new_out(4)
    cases = (
        (0x0201FF00, b"\x56\x22\xff\xff\x00\x00", (2256, di.NO_VALUE, 0)),
        (0x02010100, b"\x99\x99", (9999,)),
        (0x0202FF00, b"\x00\x15\x80\xff\xff\xff\x40\x00\x03", (-1500, di.NO_VALUE, 30040)),
        (0x02030000, b"\x45\x23\x81", (-12345,)),
        (0x02060000, b"\x00\x90", (-1000,)),
        (0x02800002, b"\x03\x50", (5003,)),
        (0x02800020, b"\x83\x52\x00\x00", (5283,)),
        (0x03330201, b"\x07\x00", (7,)),
        (0x03300D00, b"\x99\x99\x99", (999999,)),
        (0xB630, b"\x20\x02\x00", (220,)),
        (0x0201FF00, b"\x5a\x22", di.BAD_VALUE),
        (0x0201FF00, b"\xff\x22", di.BAD_VALUE),
        (0x02030000, b"\x45\x23\xff", di.BAD_VALUE),
        (0x0201FF00, b"\x56\x22\x00", di.BAD_SIZE),
        (0x03330201, b"", di.BAD_SIZE),
    )
    for identifier, data, expected in cases:
        count = di.decode(identifier, bytearray(data), 0, len(data), out)
        equal(tuple(out[:count]) if count > 0 else count, expected, hex(identifier))


def test_bad_digits() -> None:
    out = new_out(9)
    data = bytearray(b"\x81\x05\x41\x00" * 5)
    for index in range(20):
        for wrong in (0x0A, 0xA0, 0xFF):
            kept = data[index]
            data[index] = wrong
            equal(di.decode(di.ENERGY_FORWARD, data, 0, 20, out), di.BAD_VALUE, (index, wrong))
            data[index] = kept
    for index in range(4):
        data[0:4] = b"\xff\xff\xff\xff"
        data[index] = 0
        equal(di.decode(di.ENERGY_FORWARD, data, 0, 20, out), di.BAD_VALUE, index)


def test_sizes() -> None:
    out = new_out(3)
    data = bytearray(40)
    for size in range(24):
        count = di.decode(di.ENERGY_FORWARD, data, 0, size, out)
        good = size >= 4 and size % 4 == 0
        equal(count, min(size // 4, 3) if good else di.BAD_SIZE, size)
    for identifier in (di.DATE, di.TIME, di.DATE_TIME, di.STATUS_3, DAY_FREEZE_TIME):
        for size in range(12):
            if size != di.reply_size(identifier):
                equal(di.decode(identifier, data, 0, size, out), di.BAD_SIZE, (identifier, size))
    equal(di.decode(di.MONEY, data, 4, 3, out), di.BAD_SIZE, "size below offset")
    equal(di.decode(0x02010400, data, 0, 4, out), di.UNKNOWN_DI)


def test_1997_block_ends_with_aa() -> None:
    out = new_out(9)
    data = bytearray(b"\x10\x00\x00\x00\x20\x00\x00\x00\xaa")
    equal(di.decode(di.ENERGY_BLOCK_1997, data, 0, 9, out), 2)
    equal(tuple(out[:2]), (100, 200))
    data[8] = 0xAB
    equal(di.decode(di.ENERGY_BLOCK_1997, data, 0, 9, out), di.BAD_SIZE)


def test_status_word() -> None:
    out = new_out(1)
    equal(di.decode(di.STATUS_3, bytearray(b"\x50\x12"), 0, 2, out), 1)
    equal(out[0], 0x1250)


def test_first_second() -> None:
    out = new_out(1)
    midnight = bytearray(b"\x00\x00\x00\x06\x01\x01\x00")
    equal(di.decode(di.TIME, midnight, 0, 3, out), 1)
    equal(out[0], 0)
    out[0] = 1
    equal(di.decode(di.DATE_TIME, midnight, 0, 7, out), 1)
    equal(out[0], 0)


def test_impossible_times() -> None:
    out = new_out(1)
    cases = (
        b"\x60\x00\x00\x05\x01\x01\x25",
        b"\x00\x60\x00\x05\x01\x01\x25",
        b"\x00\x00\x24\x05\x01\x01\x25",
        b"\x00\x00\x00\x05\x00\x01\x25",
        b"\x00\x00\x00\x05\x29\x02\x25",
        b"\x00\x00\x00\x05\x31\x04\x25",
        b"\x00\x00\x00\x05\x01\x13\x25",
        b"\x00\x00\x00\x05\x01\x00\x25",
        b"\x00\x00\x00\x05\x01\x01\xa5",
        b"\x0a\x00\x00\x05\x01\x01\x25",
        b"\x00\x00\x00\x05\x19\x01\x68",
        b"\x00\x00\x00\x05\x31\x12\x99",
    )
    for case in cases:
        equal(di.decode(di.DATE_TIME, bytearray(case), 0, 7, out), di.BAD_VALUE, case)
    leap = bytearray(b"\x00\x00\x00\x04\x29\x02\x24")
    equal(di.decode(di.DATE_TIME, leap, 0, 7, out), 1)


def test_random_replies() -> None:
    out = new_out(15)
    data = bytearray(40)
    seed = 0xD17
    for row in range(0, len(TABLE), 7):
        identifier = TABLE[row] | TABLE[row + 1] << 8 | TABLE[row + 2] << 16 | TABLE[row + 3] << 24
        for size in range(30):
            for _ in range(3):
                for index in range(40):
                    seed = (seed * 1103 + 12345) & 0xFFFFFF
                    data[index] = (seed >> 9 & 0x77) | (seed >> 20 & 0x88 & seed)
                out[14] = 0x1234567
                result = di.decode(identifier, data, 4, 4 + size, out)
                check(di.UNKNOWN_DI < result <= 15 and result != 0, (identifier, size, result))
                if result < 15:
                    equal(out[14], 0x1234567, identifier)


def test_clock_both_ways() -> None:
    buf = bytearray(7)
    # 365 is prime to the months' lengths, so every month and year is met.
    for day in range(0, 36525, 17):
        t2000 = day * 86400 + day * 37 % 86400
        clock.encode_into(buf, 1, t2000)
        back = clock.decode_date(buf, 4) * 86400 + clock.decode_time(buf, 1)
        equal(back, t2000, day)
    clock.encode_into(buf, 0, 815227754)
    equal(bytes(buf[:6]), b"\x14\x09\x12\x31\x10\x25")
    for year in (0, 23, 24, 99):
        for month in range(1, 13):
            last = clock.month_days(year, month)
            end = bytearray((encode(last), encode(month), encode(year)))
            start = bytearray((1, encode(month % 12 + 1), encode((year + month // 12) % 100)))
            if (year, month) != (99, 12):
                equal(clock.decode_date(end, 0) + 1, clock.decode_date(start, 0), (year, month))


def test_bcd() -> None:
    for value in range(100):
        equal(decode(encode(value)), value)
    for byte in range(256):
        good = byte >> 4 < 10 and byte & 15 < 10
        equal(decode(byte), (byte >> 4) * 10 + (byte & 15) if good else -1, byte)


def test_ticks_wrap() -> None:
    for start in (0, 5, 0x0FFFFFFF, 0x10000000, TICKS_MASK - 5, TICKS_MASK):
        for delta_ms in (0, 1, 500, 86400000, -1, -86400000):
            moved = ticks_add(start, delta_ms)
            check(0 <= moved <= TICKS_MASK)
            equal(ticks_diff(moved, start), delta_ms, (start, delta_ms))


def test_the_identifier_asked_most_is_known_without_a_search() -> None:
    equal(fast.find_row(di.ENERGY_FORWARD), 0x114)
