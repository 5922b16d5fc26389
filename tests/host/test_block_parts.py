"""Goal: a value of a block is named by its tariff, phase or day, and is never named wrongly.

Method: replies of each sort of block are made and described; every block of the catalogue which
names its parts is compared with the identifiers of the parts themselves.
"""

import re
from typing import Any

import pytest

from host import words
from host.frames import catalogue
from host.frames.describe import describe
from host.frames.dlt645 import build, parse
from host.frames.parts import label_of, name_parts


def described(di: str, data: str, control: int = 0x91) -> dict[str, Any]:
    """Return a reply with these data, as they are on the wire, with its parts named."""
    frame = build("983764", control, bytes.fromhex(di)[::-1] + bytes.fromhex(data))
    return name_parts(describe(parse(frame[frame.index(0x68) :])))


RATES = ["total", "rate 1", "rate 2", "rate 3", "rate 4"]
PHASES = ["phase A", "phase B", "phase C"]


@pytest.mark.parametrize(
    ("di", "data", "names"),
    [
        ("0001FF00", "00000000" * 5, RATES),
        ("0001FF0C", "00000000" * 3, RATES[:3]),
        ("000100FF", "00000000" * 13, ["present", *(f"settlement day {n}" for n in range(1, 13))]),
        ("0101FF00", "0000000101010126" * 2, ["total", "total", "rate 1", "rate 1"]),
        ("0201FF00", "0022" * 3, PHASES),
        ("0202FF00", "000000" * 3, PHASES),
        ("0203FF00", "000000" * 4, ["total", *PHASES]),
        ("0206FF00", "0010" * 4, ["total", *PHASES]),
        ("00010000", "00000000", [None]),
        ("020A01FF", "0000" * 3, [None] * 3),
    ],
)
def test_each_value_has_its_part(di: str, data: str, names: list[str]) -> None:
    said = described(di, data)
    assert [item.get("part") for item in said["items"]] == names


def test_what_does_not_fit_is_not_named() -> None:
    """A block of one phase more or less, a refusal, and a part of a longer answer."""
    for said in (
        described("0201FF00", "0022" * 2),
        described("0203FF00", "000000" * 3),
        described("0001FF00", "00000000" * 3, control=0xB1),
    ):
        assert not any("part" in item for item in said["items"])


def test_the_parts_of_1997_are_named() -> None:
    said = described("901F", "00000000" * 5, control=0x81)
    assert [item["part"] for item in said["items"]] == RATES
    said = described("B61F", "2002" * 3, control=0x81)
    assert [item["part"] for item in said["items"]] == PHASES


def test_a_label_has_the_part_and_the_field() -> None:
    items = described("0101FF00", "0000000101010126" * 2)["items"]
    assert [label_of(item) for item in items[2:]] == ["rate 1 demand", "rate 1 time"]
    words.speak("zh")
    try:
        assert label_of(items[0]).startswith("总")
        assert label_of(items[2]).startswith("费率 1")
    finally:
        words.speak("en")


def test_the_order_is_that_of_the_single_identifiers() -> None:
    """Where a phase has an identifier of its own, its number is its place in the block."""
    found = catalogue.load()
    compared = 0
    for number in range(1, 10):
        block = found.find(f"02{number:02X}FF00")
        if block is None or not re.match("block: (total,)?A,B,C", block.name_en):
            continue
        first = 0 if "total" in block.name_en else 1
        for place, letter in enumerate("ABC", 1):
            single = found.find(f"02{number:02X}{place:02X}00")
            assert single is not None
            assert f"phase {letter}" in single.name_en, single
            compared += 1
        assert (found.find(f"02{number:02X}0000") is not None) == (first == 0), block
    assert compared >= 15
