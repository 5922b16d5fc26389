"""Goal: the link delivers every good frame, never a bad one, and recovers after garbage.

Method: frames written out byte for byte, each whole, byte by byte, behind and before junk, with
every bit flipped and cut at every length; bursts behind a held frame; bodies at the limit. The
receive path and the encoder run with the heap locked.
"""

from harness import check, equal, heap_locked
from uplink import link
from uplink.link import LinkReceiver, encode_into

# CRC-16/X.25 of "123456789" is 906E: kind '1', seq '2', body the rest.
KNOWN = b"\x7e123456789\x6e\x90\x7e"
ESCAPED = b"\x7e\x21\x7d\x5e\x7d\x5d\x7d\x5e\x00\xff"  # its head: 21 7E, body 7D 7E 00 FF
LIMIT = 32


def encode(kind: int, seq: int, body: bytes) -> bytes:
    """Return the frame as bytes."""
    buf = bytearray(2 * len(body) + 12)
    return bytes(buf[: encode_into(buf, kind, seq, body, len(body))])


def frames_in(receiver: LinkReceiver) -> "list[tuple[int, int, bytes]]":
    """Return all frames that the receiver has, released one after another."""
    found = []
    while receiver.poll():
        found.append((receiver.kind, receiver.seq, bytes(receiver.body[: receiver.body_size])))
        receiver.release()
    return found


def receive(data: bytes) -> "list[tuple[int, int, bytes]]":
    """Return the frames that a fresh receiver finds in `data`, fed byte by byte."""
    receiver = LinkReceiver(LIMIT)
    found = []
    for index in range(len(data)):
        receiver.feed(data[index : index + 1], 1)
        found += frames_in(receiver)
    return found


def test_known_frame_both_ways() -> None:
    equal(encode(0x31, 0x32, b"3456789"), KNOWN)
    equal(receive(KNOWN), [(0x31, 0x32, b"3456789")])


def test_escapes_both_ways() -> None:
    body = b"\x7d\x7e\x00\xff"
    frame = encode(0x21, 0x7E, body)
    equal(frame[: len(ESCAPED)], ESCAPED)
    equal(receive(frame), [(0x21, 0x7E, body)])


def test_escaped_checksum() -> None:
    escaped = 0
    for seq in range(256):
        frame = encode(1, seq, b"")
        if len(frame) > 6:
            escaped += 1
        equal(receive(frame), [(1, seq, b"")], seq)
    check(escaped > 2, "some checksum holds a byte to escape")


def test_whole_with_junk_around() -> None:
    receiver = LinkReceiver(LIMIT)
    for junk in (b"", b"\x00\xff junk", b"\x7d", b"\x7e", b"\x7e\x7e\x7e", KNOWN[:-2], KNOWN[3:]):
        data = junk + KNOWN + junk + KNOWN + junk
        receiver.reset()
        receiver.feed(data, len(data))
        found = frames_in(receiver)
        equal(found.count((0x31, 0x32, b"3456789")), 2, junk)
        equal([frame for frame in found if frame[0] != 0x31], [], junk)


def test_one_flag_between_frames() -> None:
    receiver = LinkReceiver(LIMIT)
    data = KNOWN[:-1] + KNOWN[:-1] + KNOWN
    receiver.feed(data, len(data))
    equal(len(frames_in(receiver)), 3)


def test_nothing_before_the_first_flag() -> None:
    equal(receive(KNOWN[1:]), [])


def test_every_flipped_bit_is_refused() -> None:
    for index in range(len(KNOWN)):
        for bit in range(8):
            broken = bytearray(KNOWN)
            broken[index] ^= 1 << bit
            receiver = LinkReceiver(LIMIT)
            receiver.feed(broken, len(broken))
            equal(frames_in(receiver), [], (index, bit))
            receiver.feed(b"\x7e", 1)
            receiver.feed(KNOWN, len(KNOWN))
            equal(len(frames_in(receiver)), 1, (index, bit))


def test_every_truncation_is_refused() -> None:
    # This takes all but the last flag: the next frame's first flag would complete it.
    for size in range(len(KNOWN) - 1):
        receiver = LinkReceiver(LIMIT)
        receiver.feed(KNOWN, size)
        equal(frames_in(receiver), [], size)
        receiver.feed(KNOWN, len(KNOWN))
        equal(len(frames_in(receiver)), 1, size)
        equal(receiver.refused, 1 if size > 1 else 0, size)


def test_escape_before_flag_is_refused() -> None:
    receiver = LinkReceiver(LIMIT)
    data = KNOWN[:-1] + b"\x7d\x7e"
    receiver.feed(data, len(data))
    equal(frames_in(receiver), [])
    equal(receiver.refused, 1)


def test_body_at_and_over_the_limit() -> None:
    receiver = LinkReceiver(LIMIT)
    for size in (0, LIMIT - 1, LIMIT):
        data = encode(1, 2, b"\x7e" * size)
        receiver.feed(data, len(data))
        equal(frames_in(receiver), [(1, 2, b"\x7e" * size)])
    equal(receiver.overlong, 0)
    data = encode(1, 2, bytes(LIMIT + 1)) + encode(1, 2, bytes(1000)) + KNOWN
    receiver.feed(data, len(data))
    equal(frames_in(receiver), [(0x31, 0x32, b"3456789")])
    equal(receiver.overlong, 2)


def test_burst_behind_a_held_frame() -> None:
    receiver = LinkReceiver(LIMIT, 3 * len(KNOWN))
    data = KNOWN * 4
    receiver.feed(data, len(data))
    equal(len(frames_in(receiver)), 4)
    equal(receiver.dropped, 0)
    data = KNOWN * 6
    receiver.feed(data, len(data))
    equal(len(frames_in(receiver)), 4)
    equal(receiver.dropped, 2 * len(KNOWN))
    receiver.feed(KNOWN, len(KNOWN))
    equal(len(frames_in(receiver)), 1)


def test_endless_garbage() -> None:
    receiver = LinkReceiver(LIMIT)
    chunk = bytearray(50)
    state = 7
    for _ in range(400):
        for index in range(len(chunk)):
            state = (state * 1103 + 12345) & 0xFFFFFF
            chunk[index] = state >> 9 & 0xFF
        receiver.feed(chunk, len(chunk))
        equal(frames_in(receiver), [])
    receiver.feed(b"\x7e", 1)
    receiver.feed(KNOWN, len(KNOWN))
    equal(len(frames_in(receiver)), 1)


def test_no_room_is_said() -> None:
    body = b"\x7e\x7d\x01\x02"
    size = len(encode(1, 2, body))
    for room in range(size):
        equal(encode_into(bytearray(room), 1, 2, body, len(body)), 0, room)
    equal(encode_into(bytearray(size + 2), 1, 2, body, len(body)), size)


def test_no_allocation() -> None:
    receiver = LinkReceiver(LIMIT)
    data = KNOWN * 3 + KNOWN[:5]
    size = len(data)
    buf = bytearray(2 * LIMIT + 12)
    body = b"\x7e" * LIMIT
    count = 0
    with heap_locked():
        receiver.feed(data, size)
        while receiver.poll():
            count += 1
            receiver.release()
        size = encode_into(buf, link.ACK, 3, body, LIMIT)
        receiver.feed(buf, size)
        while receiver.poll():
            count += 1
            receiver.release()
    equal(count, 4)
    equal(receiver.refused, 1)
    equal(receiver.dropped, 0)
