"""Goal: the lean path returns the values of `describe`, and refuses what `parse` refuses.

Method: all published frames run through both, twice, because the second time uses the cache; every
bit of a reading is flipped.
"""

import json
from pathlib import Path

import pytest

from host.frames.describe import describe_bytes
from host.frames.dlt645 import FrameError, build
from host.frames.lean import read_value

VECTORS = Path(__file__).parents[1] / "vectors"


def frames(name: str) -> list[bytes]:
    """Return the frames of one vector file."""
    rows = map(json.loads, (VECTORS / name).read_text(encoding="utf-8").splitlines())
    return [bytes.fromhex(row["hex"]) for row in rows]


def reading(di: str, data: str) -> bytes:
    """Return a meter's answer to a read of `di`."""
    return build("000000000001", 0x91, bytes.fromhex(di)[::-1] + bytes.fromhex(data))


def test_lean_path_agrees_with_describe() -> None:
    numbers = 0
    for octets in (*frames("dlt645-frames.jsonl"), *frames("dlt645-constructed.jsonl")) * 2:
        said = describe_bytes(octets)
        address, value = read_value(octets)
        first = said["items"][0]["value"] if said["items"] else None
        assert address == said["address"]
        if isinstance(value, int):
            numbers += 1
            assert value == int(first.replace(".", ""))
        else:
            assert value == first
    assert numbers > 100


@pytest.mark.parametrize(
    ("di", "data", "value"),
    [
        ("00010000", "56341200", 123456),
        ("00000000", "23010080", -123),
        ("02030000", "452381", -12345),
        ("02010100", "FFFF", None),
        ("02010100", "443322", "223344"),  # not the width of its format
        ("00010000", "0000000A", "0A000000"),  # not BCD
        ("0400010C", "59241502260116", "2016-01-26 15:24:59"),
        ("0F0F0F0F", "0102", "0201"),  # not in the catalogue
        ("00010000", "", None),
    ],
)
def test_values(di: str, data: str, value: object) -> None:
    for _ in range(2):
        assert read_value(reading(di, data)) == ("000000000001", value)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("5634120078563412AA", 123456),  # a block of 1997 may end so
        ("5634120078563412", 123456),
        ("AA", "AA"),
    ],
)
def test_end_of_a_block_of_1997(data: str, value: object) -> None:
    octets = build("000000000001", 0x81, b"\x1f\x90" + bytes.fromhex(data))
    items = describe_bytes(octets)["items"]
    for _ in range(2):
        assert read_value(octets) == ("000000000001", value)
    assert items[0]["value"] == (value if value == "AA" else "1234.56")


def test_no_flipped_bit_is_read() -> None:
    octets = reading("00010000", "56341200")[4:]
    assert read_value(octets) == ("000000000001", 123456)
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            read_value(bytes(changed))


def test_bad_frames_are_refused() -> None:
    for octets in frames("dlt645-bad.jsonl"):
        with pytest.raises(FrameError):
            read_value(octets)
