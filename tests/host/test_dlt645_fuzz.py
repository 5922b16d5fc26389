"""Goal: in any bytes, cut into any pieces, the device finds the frames that the host finds and no
others, and a good frame behind them is always among them.

Method: hypothesis makes streams of published frames, changed frames and garbage; the firmware's
receiver and `host.frames`, written independently, read the same stream, each in other pieces.
"""

import json
from array import array
from pathlib import Path

from dlt645 import di
from dlt645.frame import Receiver
from dlt645.table import TABLE
from hypothesis import given, settings
from hypothesis import strategies as st

from host.frames import dlt645

VECTORS = Path(__file__).parents[1] / "vectors"
PUBLISHED = [
    bytes.fromhex(json.loads(line)["hex"])
    for name in ("dlt645-frames.jsonl", "dlt645-constructed.jsonl")
    for line in (VECTORS / name).read_text("utf-8").splitlines()
]
GOOD = dlt645.build("202501234567", 0x91, bytes.fromhex("0000010078563412"), 0)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """Draw a published frame with some bytes changed, lost or doubled."""
    frame = bytearray(draw(st.sampled_from(PUBLISHED)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(frame) - 1))
        kind = draw(st.integers(0, 2))
        if kind == 0:
            frame[at] = draw(st.sampled_from((0x68, 0x16, 0xFE, 0x00, 0x33, 0xFF, 0x91)))
        elif kind == 1 and len(frame) > 1:
            del frame[at]
        else:
            frame.insert(at, frame[at])
    return bytes(frame)


PIECES = st.one_of(
    st.sampled_from(PUBLISHED),
    changed(),
    st.binary(max_size=20),
    st.lists(st.sampled_from((0x68, 0x16, 0xFE, 0x0C)), max_size=20).map(bytes),
)
STREAMS = st.lists(PIECES, max_size=6).map(b"".join)


def device_frames(stream: bytes, step: int) -> list[bytes]:
    """Return the frames the firmware finds, each as address, control and data."""
    receiver = Receiver()
    found = []

    def take() -> None:
        data = bytes(receiver.data[: receiver.data_size])
        found.append(bytes(receiver.address) + bytes((receiver.control,)) + data)
        receiver.release()

    for at in range(0, len(stream), step):
        piece = stream[at : at + step]
        receiver.feed(piece, len(piece))
        while receiver.poll():
            take()
    while receiver.expire():
        take()
    assert receiver.dropped == 0
    return found


def host_frames(stream: bytes, step: int) -> list[bytes]:
    """Return the frames the host finds, in the same form."""
    reader = dlt645.Reader()
    frames = []
    for at in range(0, len(stream), step):
        frames += reader.feed(stream[at : at + step])
    frames += reader.silence()
    return [frame.raw[1:7] + bytes((frame.control,)) + frame.data for frame in frames]


@settings(max_examples=300, deadline=None)
@given(STREAMS, st.integers(1, 250), st.integers(1, 250))
def test_device_and_host_find_the_same_frames(
    stream: bytes, device_step: int, host_step: int
) -> None:
    assert device_frames(stream, device_step) == host_frames(stream, host_step)


@settings(max_examples=200, deadline=None)
@given(STREAMS, st.integers(1, 250))
def test_a_good_frame_behind_anything_is_found(stream: bytes, step: int) -> None:
    good = GOOD[1:7] + b"\x91" + bytes.fromhex("0000010078563412")

    # The good frame is sent twice: garbage that ends as a frame begins may consume the first.
    assert device_frames(stream + GOOD + GOOD, step)[-1] == good


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TABLE) // 7 - 1), st.binary(max_size=60))
def test_data_is_a_value_or_a_refusal(row: int, data: bytes) -> None:
    identifier = int.from_bytes(TABLE[row * 7 : row * 7 + 4], "little")
    out = array("i", [0x1234567] * 40)

    count = di.decode(identifier, bytearray(data), 0, len(data), out)

    if count > 0:
        assert all(value == 0x1234567 for value in out[count:])
        assert all(value == di.NO_VALUE or abs(value) < 2**30 for value in out[:count])
    else:
        assert count in (di.BAD_VALUE, di.BAD_SIZE)
