"""Goal: both implementations of the link agree on every byte, and neither accepts a bad frame.

Method: the host's reader and builder are tested alone (whole, in pieces, junk, flips, cuts,
limits), then by hypothesis with the firmware's, both ways, in random pieces, after garbage.
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uplink.link import LinkReceiver, encode_into

from host.frames.link import Frame, Kind, LinkReader, build

KNOWN = b"\x7e123456789\x6e\x90\x7e"  # CRC-16/X.25 of "123456789" is 906E.
KNOWN_FRAME = Frame(0x31, 0x32, b"3456789")
LIMIT = 64

octets = st.integers(0, 255)
# Bytes in which flags and escapes are frequent.
sharp = st.lists(st.sampled_from([0x7E, 0x7D, 0x5E, 0x5D, 0x00, 0xFF, 0x41]), max_size=LIMIT)
bodies = st.one_of(sharp.map(bytes), st.binary(max_size=LIMIT))


def encoded(kind: int, seq: int, body: bytes) -> bytes:
    """Return the frame as the firmware makes it."""
    buf = bytearray(2 * len(body) + 12)
    return bytes(buf[: encode_into(buf, kind, seq, body, len(body))])


def received(pieces: list[bytes], limit: int = LIMIT) -> list[Frame]:
    """Return the frames the firmware finds in `pieces`."""
    receiver = LinkReceiver(limit, 4096)
    frames = []
    for piece in pieces:
        receiver.feed(piece, len(piece))
        while receiver.poll():
            body = bytes(receiver.body[: receiver.body_size])
            frames.append(Frame(receiver.kind, receiver.seq, body))
            receiver.release()
    return frames


def read(pieces: list[bytes], limit: int = LIMIT) -> list[Frame]:
    """Return the frames the host finds in `pieces`."""
    reader = LinkReader(limit)
    return [frame for piece in pieces for frame in reader.feed(piece)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return `data` in pieces, cut at `places`."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def test_known_frame() -> None:
    assert build(0x31, 0x32, b"3456789") == KNOWN
    assert read([KNOWN]) == [KNOWN_FRAME]
    assert read([KNOWN[i : i + 1] for i in range(len(KNOWN))]) == [KNOWN_FRAME]


@pytest.mark.parametrize("junk", [b"", b"\0junk", b"\x7d", b"\x7e\x7e", KNOWN[:-3], KNOWN[4:-1]])
def test_junk_before_between_and_after(junk: bytes) -> None:
    data = junk + KNOWN + junk + KNOWN + junk
    assert read([data]) == [KNOWN_FRAME, KNOWN_FRAME]


@pytest.mark.parametrize("bit", range(8 * len(KNOWN)))
def test_flipped_bit(bit: int) -> None:
    broken = bytearray(KNOWN)
    broken[bit // 8] ^= 1 << bit % 8
    assert read([bytes(broken)]) == received([bytes(broken)]) == []
    assert read([bytes(broken), b"\x7e", KNOWN]) == [KNOWN_FRAME]


def test_counters_name_what_was_given_up() -> None:
    reader = LinkReader(8)
    reader.feed(build(1, 2, bytes(9)) + build(1, 2, bytes(100)) + KNOWN[:-3] + b"\x7e")
    assert (reader.overlong, reader.refused) == (2, 1)
    reader.feed(b"\x7eab\x7d\x7e")
    assert (reader.overlong, reader.refused) == (2, 2)


def test_memory_is_bounded_by_endless_junk() -> None:
    reader = LinkReader(8)
    reader.feed(b"\x7e")
    for _ in range(1000):
        reader.feed(bytes(1000))
    assert reader.overlong == 1
    assert reader.feed(b"\x7e" + build(1, 2)) == [Frame(1, 2, b"")]


@given(octets, octets, bodies, st.lists(st.integers(0, 1000), max_size=6))
@settings(deadline=None)
def test_both_build_and_take_the_same(kind: int, seq: int, body: bytes, places: list[int]) -> None:
    data = build(kind, seq, body)
    assert data == encoded(kind, seq, body)
    pieces = cut(data, places)
    assert read(pieces) == received(pieces) == [Frame(kind, seq, body)]


noise = st.one_of(
    bodies,
    st.just(b"\x7e"),
    st.just(b"\x7d\x7e"),
    bodies.map(lambda body: build(1, 2, body)),
    bodies.map(lambda body: build(1, 2, body)[:-2]),
)


@given(st.lists(noise, max_size=8), st.lists(st.integers(0, 1000), max_size=6))
@settings(deadline=None)
def test_both_find_the_same_in_anything(noises: list[bytes], places: list[int]) -> None:
    data = b"".join(noises)
    assert read(cut(data, places), 20) == received(cut(data, places), 20)
    assert read([data, b"\x7e", KNOWN], 20)[-1] == KNOWN_FRAME


def test_kinds_are_the_firmware_s() -> None:
    from uplink import link

    for kind in Kind:
        assert getattr(link, kind.name) == kind
