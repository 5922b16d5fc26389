"""Goal: the receiver delivers every good frame, never a bad one, and cannot be made deaf.

Method: 221 published and constructed frames, each whole, byte by byte, behind preambles and
garbage, twice in a row and with every bit flipped; random garbage from fixed seeds. The receive
path runs with the heap locked.
"""

from array import array

from dlt645 import fast
from dlt645.errors import LocalError
from dlt645.frame import Receiver, encode_into
from harness import check, equal, heap_locked, raises
from vectors_dlt645 import BAD, FRAMES

# This short reply has ordinary data and checksum; its address and data contain 68, 16 and FE.
GOOD = b"\x68\x68\x16\xfe\x68\x16\x68\x68\x91\x06\x33\x33\x34\x33\x68\x16"
GOOD += bytes((sum(GOOD) & 0xFF, 0x16))


def start_of(frame: bytes) -> int:
    """Return the offset of the 68 that begins the frame in `frame`."""
    offset = 0
    while frame[offset] == 0xFE:
        offset += 1
    return offset


def expect_frame(receiver: Receiver, frame: bytes, what: object) -> None:
    """Check that the receiver has the frame with the bytes `frame`; release it."""
    start = start_of(frame)
    check(receiver.poll(), what)
    equal(receiver.control, frame[start + 8], what)
    equal(receiver.data_size, frame[start + 9], what)
    equal(bytes(receiver.address), frame[start + 1 : start + 7], what)
    data = bytes(receiver.data[: receiver.data_size])
    wire = bytes((byte + 0x33) & 0xFF for byte in data)
    equal(wire, frame[start + 10 : -2], what)
    receiver.release()


def lcg(seed: int) -> int:
    """Return the next number of a small generator, the same on every port and width."""
    return (seed * 1103 + 12345) & 0xFFFFFF


def test_vectors_whole() -> None:
    receiver = Receiver()
    for name, frame, address, control, _, _ in FRAMES:
        receiver.feed(frame, len(frame))
        equal(bytes(receiver.address), address, name)
        equal(receiver.control, control, name)
        expect_frame(receiver, frame, name)
        check(not receiver.poll(), name)
    equal(receiver.noise, 0)
    equal(receiver.refused, 0)


def test_vectors_byte_by_byte() -> None:
    receiver = Receiver()
    for name, frame, _, _, _, _ in FRAMES:
        for index in range(len(frame)):
            check(not receiver.poll(), name)
            receiver.feed(frame[index : index + 1], 1)
        expect_frame(receiver, frame, name)
    equal(receiver.noise, 0)


def test_bad_vectors_are_refused() -> None:
    for name, frame in BAD:
        receiver = Receiver()
        receiver.feed(frame, len(frame))
        check(not receiver.poll(), name)
        check(not receiver.expire(), name)
        check(receiver.noise > 0, name)
        receiver.feed(GOOD, len(GOOD))
        expect_frame(receiver, GOOD, name)


def test_any_preamble() -> None:
    receiver = Receiver()
    for count in range(8):
        chunk = b"\xfe" * count + GOOD
        receiver.feed(chunk, len(chunk))
        expect_frame(receiver, GOOD, count)
    equal(receiver.noise, 0)


def test_every_bit_flipped() -> None:
    receiver = Receiver()
    for name, frame, _, _, _, _ in FRAMES:
        if len(frame) > 130:
            continue
        start = start_of(frame)
        wrong = bytearray(frame)
        for index in range(len(frame)):
            for bit in range(8):
                wrong[index] ^= 1 << bit
                receiver.reset()
                receiver.feed(wrong, len(wrong))
                if index < start:
                    expect_frame(receiver, frame, name)
                else:
                    check(not receiver.expire(), (name, index, bit))
                wrong[index] ^= 1 << bit


def test_two_frames_at_once() -> None:
    receiver = Receiver()
    for index in range(1, len(FRAMES)):
        first = FRAMES[index - 1][1]
        second = FRAMES[index][1]
        if len(first) + len(second) <= 400:
            receiver.feed(first + second, len(first) + len(second))
            expect_frame(receiver, first, index)
            expect_frame(receiver, second, index)


def test_doubled_start_and_noise() -> None:
    receiver = Receiver()
    for junk in (b"\x68", b"\x68\x68", b"\x16", b"\x00\xff", b"\x68\x12\x34", b"\xfe\x68\xfe"):
        chunk = junk + GOOD + junk
        receiver.feed(chunk, len(chunk))
        check(receiver.expire(), junk)
        expect_frame(receiver, GOOD, junk)
        check(not receiver.expire(), junk)


def test_half_frame_then_frame() -> None:
    receiver = Receiver()
    for size in range(1, len(GOOD)):
        receiver.feed(GOOD[:size], size)
        receiver.feed(GOOD, len(GOOD))
        check(receiver.expire(), size)
        expect_frame(receiver, GOOD, size)
        check(not receiver.expire(), size)


def test_never_deaf() -> None:
    receiver = Receiver()
    seed = 0x5EED
    for round_number in range(300):
        garbage = bytearray(round_number % 97)
        for index in range(len(garbage)):
            seed = lcg(seed)
            # There are few values, so that 68, FE, 16 and plausible lengths are frequent.
            garbage[index] = b"\x68\xfe\x16\x91\x00\x33\xff\x0c"[seed >> 13 & 7]
        receiver.feed(garbage, len(garbage))
        receiver.feed(GOOD, len(GOOD))
        found = False
        while receiver.expire():
            found = bytes(receiver.data[:6]) == b"\x00\x00\x01\x00\x35\xe3"
            receiver.release()
        check(found, round_number)
        equal(receiver.dropped, 0)


def test_whole_and_byte_by_byte_agree() -> None:
    whole = Receiver()
    single = Receiver()
    seed = 0xA9
    for _ in range(150):
        chunk = bytearray(60)
        for index in range(60):
            seed = lcg(seed)
            chunk[index] = b"\x68\xfe\x16\x0c\x00\x01\x68\x68"[seed >> 13 & 7]
        seed = lcg(seed)
        place = seed >> 8 & 31
        chunk[place : place + len(GOOD)] = GOOD
        whole.feed(chunk, 60)
        for index in range(60):
            single.feed(chunk[index : index + 1], 1)
        while whole.expire():
            check(single.expire())
            equal(bytes(whole.data[: whole.data_size]), bytes(single.data[: single.data_size]))
            whole.release()
            single.release()
        check(not single.expire())
    equal(whole.noise, single.noise)


def test_machine_code_and_plain_python_agree() -> None:
    receiver = Receiver()
    out = array("i", bytes(36))
    seed = 0xC0DE
    total = 0
    for _ in range(400):
        chunk = bytearray(40)
        for index in range(40):
            seed = lcg(seed)
            chunk[index] = b"\x68\xfe\x16\x09\x33\x01\x68\x77"[seed >> 13 & 7]
        # Half of the frames verify; their data are random BCD digits.
        for place in (0, 7):
            chunk[place] = 0x68
        chunk[9] = 8 + (seed >> 3 & 16)
        chunk[10:14] = b"\x33\x32\x34\x33"
        end = 10 + chunk[9]
        chunk[end] = sum(chunk[:end]) & 0xFF
        chunk[end + 1] = 0x16 + (seed & 1)
        receiver.feed(chunk, 40)
        while receiver.expire():
            size = receiver.data_size
            count = fast.decode(0x0001FF00, receiver.data, 4, size, out)
            for index in range(9):
                total = (total * 31 + out[index] % 65521 + count + size) & 0xFFFFF
            receiver.release()
        total = (total * 31 + receiver.noise + receiver.refused) & 0xFFFFF
    equal(total, 483472)


def test_held_frame_survives_more_bytes() -> None:
    receiver = Receiver()
    receiver.feed(GOOD, len(GOOD))
    other = FRAMES[55][1]
    receiver.feed(other, len(other))
    expect_frame(receiver, GOOD, "first")
    expect_frame(receiver, other, "second")


def test_endless_garbage_loses_the_oldest() -> None:
    receiver = Receiver()
    receiver.feed(GOOD, len(GOOD))
    block = bytes(200)
    for _ in range(10):
        receiver.feed(block, len(block))
    receiver.feed(GOOD, len(GOOD))
    equal(receiver.dropped, 10 * 200 + len(GOOD) - 512)
    expect_frame(receiver, GOOD, "held")
    expect_frame(receiver, GOOD, "after the garbage")
    raises(LocalError, receiver.feed, bytes(513), 513)


def test_moving_down_loses_nothing() -> None:
    frame = next(row[1] for row in FRAMES if row[0] == "c02")
    receiver = Receiver()
    head = bytes(400) + frame[:14]
    receiver.feed(head, len(head))
    rest = frame[14:]
    receiver.feed(rest, len(rest))
    equal(receiver.dropped, 0)
    expect_frame(receiver, frame, "moved")


def test_full_chunk() -> None:
    receiver = Receiver()
    receiver.feed(GOOD, len(GOOD))
    chunk = bytes(512 - len(GOOD)) + GOOD
    receiver.feed(chunk, 512)
    equal(receiver.dropped, 0)
    expect_frame(receiver, GOOD, "held")
    expect_frame(receiver, GOOD, "at the end")


def test_longest_frame() -> None:
    receiver = Receiver()
    buf = bytearray(271)
    data = bytearray(255)
    for index in range(255):
        data[index] = index
    size = encode_into(buf, bytearray(6), 0x91, data, 255)
    equal(size, 271)
    receiver.feed(b"\x68" + buf, size + 1)
    check(receiver.poll())
    equal(bytes(receiver.data), bytes(data))


def test_encode_vectors() -> None:
    receiver = Receiver()
    buf = bytearray(271)
    for name, frame, _, _, _, _ in FRAMES:
        receiver.feed(frame, len(frame))
        address = bytearray(receiver.address)
        data = bytearray(receiver.data)
        size = encode_into(buf, address, receiver.control, data, receiver.data_size)
        equal(bytes(buf[4:size]), frame[start_of(frame) :], name)
        equal(bytes(buf[:4]), b"\xfe\xfe\xfe\xfe")
        receiver.release()


def test_encode_refuses_what_does_not_fit() -> None:
    raises(LocalError, encode_into, bytearray(19), bytearray(6), 0x11, bytearray(4), 4)
    raises(LocalError, encode_into, bytearray(300), bytearray(6), 0x11, bytearray(256), 256)
    raises(LocalError, encode_into, bytearray(64), bytearray(5), 0x11, bytearray(4), 4)
    raises(LocalError, encode_into, bytearray(64), bytearray(6), 0x11, bytearray(3), 4)


def _feed_locked(receiver: Receiver, chunk: bytearray) -> int:
    """Feed `chunk` with the heap locked; return how many frames were found."""
    count = 0
    with heap_locked():
        receiver.feed(chunk, len(chunk))
        while receiver.poll():
            count += 1
            receiver.release()
        while receiver.expire():
            count += 1
            receiver.release()
    return count


def test_receiving_does_not_allocate() -> None:
    receiver = Receiver()
    reply = FRAMES[55][1]
    equal(_feed_locked(receiver, bytearray(reply)), 1)
    equal(_feed_locked(receiver, bytearray(b"\x00\x68\x68" + reply + GOOD + b"\x68\x01")), 2)
    wrong = bytearray(reply)
    for index in range(4, len(wrong)):
        wrong[index] ^= 0x04
        equal(_feed_locked(receiver, wrong), 0, index)
        wrong[index] ^= 0x04
    block = bytearray(300)
    receiver.feed(reply, len(reply))
    with heap_locked():
        for _ in range(5):
            receiver.feed(block, 300)
    check(receiver.dropped > 0)


def test_short_reply_does_not_borrow_the_last_identifier() -> None:
    receiver = Receiver()
    _, frame, address, _, _, _ = FRAMES[56]
    fast.ask(receiver.box, address, b"\x00\xff\x00\x00", 4)
    receiver.feed(frame, len(frame))
    receiver.release()
    short = bytearray(32)
    size = encode_into(short, bytearray(address), 0x91, bytearray(b"\x00\xff\x00"), 3)
    receiver.feed(short, size)
    equal(receiver.words[fast.FOUND] >> 16 & 3, fast.OTHER_DI)


def test_verdict_compares_with_what_was_asked() -> None:
    receiver = Receiver()
    _, frame, address, _, _, _ = FRAMES[56]  # 0000FF00 of 000000983764
    cases = (
        (address, 0x0000FF00, fast.SAME),
        (b"\xaa" * 6, 0x0000FF00, fast.SAME),
        (b"\x99" * 6, 0x0000FF00, fast.SAME),
        (b"\x64\x37\xaa\xaa\xaa\xaa", 0x0000FF00, fast.SAME),
        (b"\x99" * 5 + b"\x00", 0x0000FF00, fast.OTHER_ADDRESS),
        (b"\x65\x37\x98\x00\x00\x00", 0x0000FF00, fast.OTHER_ADDRESS),
        (address, 0x0001FF00, fast.OTHER_DI),
    )
    request = bytearray(4)
    for asked, di, verdict in cases:
        receiver.reset()
        fast.ask(receiver.box, asked, request, fast.put_di(request, di, 4))
        receiver.feed(frame, len(frame))
        equal(receiver.words[fast.FOUND] >> 16 & 3, verdict, (asked, di))
