"""Goal: frames are built and parsed as their stated layout says, and found in any stream.

Method: hypothesis makes frames, changes and streams; the results are compared with `FRAME`, the
layout in construct. A decoder returns a value or a named refusal and nothing else.
"""

import construct as c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.frames.dlt645 import FRAME, Frame, FrameError, Reader, build, parse

ADDRESSES = st.from_regex(r"(AA|[0-9]{2}){6}", fullmatch=True)
DATA = st.binary(max_size=255)
CONTROLS = st.integers(0, 255)
FRAMES = st.builds(build, ADDRESSES, CONTROLS, DATA, st.integers(0, 7))


def parse_by_layout(octets: bytes) -> Frame | None:
    """Return what construct reads from `octets`, None where it refuses."""
    raw = octets.lstrip(b"\xfe")
    try:
        parsed = c.Struct("frame" / FRAME, c.Terminated).parse(raw).frame.covered.value
    except c.ConstructError:
        return None
    return Frame(parsed.address, parsed.control, parsed.data, raw)


@given(ADDRESSES, CONTROLS, DATA, st.integers(0, 7))
def test_build_is_the_layout(address: str, control: int, data: bytes, preamble: int) -> None:
    octets = build(address, control, data, preamble)
    fields = {"address": address, "control": control, "data": data}

    assert octets == b"\xfe" * preamble + FRAME.build({"covered": {"value": fields}})
    assert parse(octets)[:3] == (address, control, data)


@given(FRAMES, st.data())
def test_parse_agrees_with_the_layout_on_changed_frames(
    octets: bytes, draw: st.DataObject
) -> None:
    changed = bytearray(octets)
    for _ in range(draw.draw(st.integers(0, 2))):
        at = draw.draw(st.integers(0, len(changed)))
        changed[at : at + draw.draw(st.integers(0, 2))] = draw.draw(st.binary(max_size=2))
    expected = parse_by_layout(bytes(changed))
    if expected is None:
        with pytest.raises(FrameError):
            parse(bytes(changed))
    else:
        assert parse(bytes(changed)) == expected


@given(st.lists(st.one_of(st.binary(max_size=20), FRAMES), max_size=4), FRAMES)
def test_a_frame_is_found_behind_any_garbage_and_in_any_pieces(
    parts: list[bytes], last: bytes
) -> None:
    stream = b"".join((*parts, last))
    whole, pieces = Reader(), Reader()
    found = [*whole.feed(stream), *whole.silence()]
    one_by_one = [frame for at in range(len(stream)) for frame in pieces.feed(stream[at : at + 1])]
    one_by_one += pieces.silence()

    assert one_by_one == found
    assert (pieces.frames, pieces.refused, pieces.skipped) == (
        whole.frames,
        whole.refused,
        whole.skipped,
    )
    assert all(parse(frame.raw) == frame for frame in found)
    # The frame is found by itself, or at the end of a longer one that happens to verify.
    assert found[-1].raw.endswith(parse(last).raw)


@pytest.mark.parametrize("address", ["1234567890123", "12345G", "-1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not up to 12 digits"):
        build(address, 0x11)


def test_too_much_data_is_refused() -> None:
    with pytest.raises(ValueError, match="256 data bytes"):
        build("1", 0x11, bytes(256))


def test_short_addresses_are_padded() -> None:
    assert parse(build("3640", 0x13)).address == "000000003640"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "no bytes but wake-up bytes"),
        ("FEFE", "no bytes but wake-up bytes"),
        ("00", "starts with 00, not 68"),
        ("68000000000000", "a frame has at least 12 bytes, 7 present"),
        ("6800000000000000", "00 after the address, not 68"),
        ("68000000000000681104333333", "length 4 needs 16 bytes, 13 present"),
        ("6800000000000068130000", "length 0 needs 12 bytes, 11 present"),
        ("68000000000000681300E317", "ends with 17, not 16"),
        ("68000000000000681300E316FF", "1 bytes after the end: FF"),
        ("68000000000000681300E416", "checksum E4, computed E3"),
    ],
)
def test_reasons_of_refusal(octets: str, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        parse(bytes.fromhex(octets))
    assert str(caught.value) == reason
