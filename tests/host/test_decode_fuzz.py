"""Goal: for any bytes, every decoder returns a value or a named refusal and nothing else.

Method: a fixed part of the cases of `tools/fuzz.py` is run (`make soak` runs ten million), and
mistakes that it must find are planted; hypothesis draws data for the layouts of the catalogue.
"""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.frames import catalogue, dlt645
from host.frames.layouts import compile_layout
from tools import fuzz

FOUND = catalogue.load()
IDENTIFIERS = [
    identifier
    for pattern in FOUND.patterns
    if (identifier := FOUND.find(f"{max(pattern.expand()):0{pattern.digits}X}"))
]


@pytest.mark.parametrize("seed", range(4))
def test_mutated_frames(seed: int) -> None:
    assert fuzz.run_batch(seed, 2500) == ""


def test_a_wrong_checksum_taken_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = bytearray(fuzz.GOOD)
    frame[-2] ^= 1
    assert not fuzz.trouble(bytes(frame))

    lenient = dlt645.parse(fuzz.GOOD)
    monkeypatch.setattr("host.frames.describe.parse", lambda octets: lenient)
    assert fuzz.trouble(bytes(frame)) == "ok is True"


def test_a_deaf_reader_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz.Reader, "silence", lambda reader: [])
    half = dlt645.build("1", 0x11, bytes(200))[:-100]

    assert fuzz.trouble(half) == "Reader lost the good frame behind it"


def test_a_longer_frame_may_take_the_place_of_the_good_one() -> None:
    """Coverage found this case: garbage that verifies together with the frame behind it."""
    octets = bytes.fromhex(
        "68686868E168686868686868686868686868686868256868686868686868686868683868686868686868"
        "85C868166868686868686868686868686885C8681668686868682E686868686868686834366868686868"
        "6801000000683436369F16"
    )
    found = dlt645.Reader().feed(octets + fuzz.GOOD)

    assert [frame.raw for frame in found] == [octets + fuzz.GOOD]
    assert fuzz.trouble(octets) == ""


def test_a_device_that_reads_otherwise_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fuzz.trouble(fuzz.GOOD) == ""

    monkeypatch.setattr(fuzz.di, "decode", lambda di, data, offset, size, out: 1)
    assert fuzz.trouble(fuzz.GOOD) == "the device reads [0], not [1234560]"
    monkeypatch.setattr(fuzz.di, "decode", lambda di, data, offset, size, out: -4)
    assert fuzz.trouble(fuzz.GOOD) == "the device answers -4"


@pytest.mark.parametrize("data", ["", "10", "1090", "109000", "AA"])
@pytest.mark.parametrize("control", [0x91, 0x81, 0x83, 0x92, 0x11, 0x14, 0xD1, 0xC3])
def test_short_data_is_no_identifier(control: int, data: str) -> None:
    """A reply of two bytes in a 2007 frame is not a two-byte identifier of 1997."""
    octets = dlt645.build("1", control, bytes.fromhex(data))
    said = fuzz.describe_bytes(octets)

    assert fuzz.trouble(octets) == ""
    if said["standard"] == "2007":
        assert said["di"] == ""


@given(st.sampled_from(IDENTIFIERS), st.binary(max_size=210))
def test_layouts_take_all_bytes_or_none(identifier: catalogue.Identifier, data: bytes) -> None:
    for layout in (identifier.request, identifier.reply):
        fields = layout.fields(len(data))
        items = layout.decode(data)
        assert (items is None) == (fields is None)
        if fields is not None and items is not None:
            assert sum(field.size for field in fields) == len(data)
            assert len(items) == len(fields)


@given(st.integers(0, 99_999_999), st.integers(0, 6), st.booleans())
def test_numbers_are_exact(value: int, decimals: int, negative: bool) -> None:
    digits = f"{value % 80_000_000:08d}" if negative else f"{value:08d}"
    data = bytearray.fromhex(digits)[::-1]
    data[-1] |= 0x80 * negative
    form = ("s" if negative else "") + "N" * (8 - decimals) + "." * bool(decimals) + "N" * decimals
    items = compile_layout(form, "", {}).decode(bytes(data))

    assert items is not None
    expected = Decimal(int(digits)).scaleb(-decimals) * (-1 if negative else 1)
    assert Decimal(items[0]["value"]) == expected
    whole, _, part = items[0]["value"].lstrip("-").partition(".")
    assert len(part) == decimals
    assert whole == "0" or not whole.startswith("0")
