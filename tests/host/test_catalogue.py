"""Goal: the catalogue covers the identifiers of both standards, and its layouts read right.

Method: every row is expanded and looked up; layouts are decoded from made data; the lists of the
documents are generated again. test_dlt645_table.py compares the device's table.
"""

import csv
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from host.frames import catalogue
from host.frames.layouts import compile_layout
from host.frames.values import FormatError
from tools import identifiers

FOUND = catalogue.load()


def every() -> list[tuple[str, catalogue.Row]]:
    """Yield each identifier of the standard with its row."""
    return [
        (f"{di:0{pattern.digits}X}", pattern.row)
        for pattern in FOUND.patterns
        for di in pattern.expand()
    ]


def test_every_identifier_is_found_with_both_names() -> None:
    count = 0
    for di, _ in every():
        found = FOUND.find(di)
        assert found is not None, di
        assert found.di == di
        assert found.name_en, di
        assert found.name_zh, di
        assert not set("{}") & set(found.name_en + found.name_zh), di
        assert found.access in ("r", "w", "rw"), di
        count += 1
    assert count > 24_000


def test_rows_do_not_claim_the_same_identifier_with_the_same_rank() -> None:
    """An exact row may lie inside a family; two rows of one rank may not overlap."""
    claims = Counter((di, catalogue.Pattern(row).rank) for di, row in every())
    assert [claim for claim, count in claims.items() if count > 1] == []


def test_english_names_are_unique_within_a_standard() -> None:
    found = [FOUND.find(di) for di, _ in every()]
    names = Counter((len(one.di), one.name_en) for one in found if one)
    assert [name for name, count in names.items() if count > 1] == []


def test_file_has_one_line_of_seven_cells_a_row() -> None:
    text = resources.files("host.frames").joinpath(catalogue.FILE).read_text(encoding="utf-8")
    lines = text.splitlines()
    for number, cells in enumerate(csv.reader(lines), 1):
        assert len(cells) == 7, f"line {number}"
    assert all(len(line) < 1000 for line in lines)


@pytest.mark.parametrize(
    ("layout", "data", "values"),
    [
        ("sNN.NNNN", "452381", ["-1.2345"]),
        ("sNNN.NNN", "000080", ["0.000"]),
        ("sNN.NNNN", "FFFFFF", [None]),
        ("NNNNNN.NN", "00000080", ["800000.00"]),
        ("NNNNNN.NN", "26060220", ["200206.26"]),
        ("NNNN", "0000", ["0"]),
        ("NNN", "0001", ["100"]),
        ("N*NN.NN", "0100FFFF9999", ["0.01", None, "99.99"]),
        ("YYMMDDhhmmss", "592415260116", ["2016-01-26 15:24:59"]),
        ("YYMMDDhhmmss", "FFFFFFFFFFFF", [None]),
        ("YYMMDDWW", "FF110116", ["2016-01-11"]),
        ("A6", "005A2D383831", ["188-Z"]),
        ("A4", "00000000", [""]),
        ("H4", "78563412", ["12345678"]),
        ("B3", "123456", ["123456"]),
        ("U4.2", "10270000", ["100.00"]),
        ("U4.2", "05000000", ["0.05"]),
        ("a=NN;b=YYMMDDhhmm / a=NN", "15", ["15"]),
    ],
)
def test_formats(layout: str, data: str, values: list[str | None]) -> None:
    items = compile_layout(layout, "u", {}).decode(bytes.fromhex(data))

    assert items is not None
    assert [item["value"] for item in items] == values


@pytest.mark.parametrize(
    ("layout", "data"),
    [
        ("YYMMDDWW", "0111011F"),
        ("NNNNNN.NN", "0000000A"),
        ("NNN", "0010"),
        ("hhmmss", "5A0000"),
        ("A4", "80414141"),
    ],
)
def test_what_is_not_of_its_format_is_raw(layout: str, data: str) -> None:
    octets = bytes.fromhex(data)
    items = compile_layout(layout, "u", {}).decode(octets)

    assert items == [{"value": octets[::-1].hex().upper(), "unit": "raw"}]


@pytest.mark.parametrize("size", [0, 1, 3, 5, 9])
def test_a_wrong_width_has_no_items(size: int) -> None:
    assert compile_layout("N*NNNNNN.NN", "kWh", {}).decode(bytes(size)) is None


@pytest.mark.parametrize("layout", ["NN.Y", "@nowhere", "H*;NN", "YYDDMM"])
def test_a_layout_that_means_nothing_names_itself(layout: str) -> None:
    with pytest.raises(FormatError):
        compile_layout(layout, "", {})


def test_record_layouts_have_the_published_sizes() -> None:
    sizes = {
        "03010101": 131,
        "030B0101": 115,
        "03070001": 76,
        "03090001": 78,
        "03300101": 106,
        "03300201": 202,
        "03300D01": 60,
        "03360001": 29,
        "1001FF01": 195,
        "1801FF01": 179,
        "1400FF01": 140,
        "1600FF01": 143,
        "1D00FF01": 34,
        "1F00FF01": 44,
    }
    for di, size in sizes.items():
        found = FOUND.find(di)
        assert found is not None
        assert found.reply.fields(size), di


def test_items_of_a_long_record_are_those_of_its_block() -> None:
    """1001nn01 is term nn of the block 1001FF01: 37 is the end, 10 the voltage of phase A."""
    end, voltage = FOUND.find("10012501"), FOUND.find("10010A01")
    assert end is not None
    assert voltage is not None

    (item,) = end.reply.decode(bytes.fromhex("592415260116")) or [{}]
    assert item == {"name": "end", "value": "2016-01-26 15:24:59", "unit": ""}
    (item,) = voltage.reply.decode(bytes.fromhex("9921")) or [{}]
    assert item == {"name": "A voltage", "value": "219.9", "unit": "V"}


def test_a_profile_goes_before_the_standard() -> None:
    private = catalogue.load("private")
    plain, other = FOUND.find("03300601"), private.find("03300601")
    assert plain is not None
    assert other is not None
    assert plain.name_en == "season table programming record 1"
    assert other.reply.decode(bytes(4)) == [{"value": "0.00", "unit": ""}]
    assert private.find("03300602") is not None
    assert private.find("ABABAB01") is not None
    assert FOUND.find("ABABAB01") is None


def test_a_name_no_row_has_is_the_standard() -> None:
    plain = catalogue.load("plain")
    assert [one.row for one in plain.patterns] == [one.row for one in FOUND.patterns]


def test_every_profile_can_be_looked_up() -> None:
    """Each row of a profile counts in its catalogue."""
    for name in catalogue.profiles():
        own = catalogue.load(name)
        for row in catalogue.rows():
            if name not in row.profile.split():
                continue
            if row.pattern[0] == "@":
                assert own.named[row.pattern] == row.layout
            elif ":" in row.pattern:
                assert own.functions[row.pattern].name_en == row.name_en
            else:
                di = next(catalogue.Pattern(row).expand())
                found = own.find(f"{di:0{catalogue.Pattern(row).digits}X}")
                assert found is not None
                assert found.unit == row.unit


def load_record(*classes: str) -> bytes:
    """Return a load record of 2016-01-26 15:24 with the classes given in hexadecimal."""
    body = bytes.fromhex("2415260116" + "".join(one + "AA" for one in classes))
    record = b"\xa0\xa0" + bytes((len(body),)) + body
    return record + bytes((sum(record) & 0xFF,)) + b"\xe5"


def test_load_records_have_the_classes_they_carry() -> None:
    found = FOUND.find("06010000")
    assert found is not None
    first = load_record("9921FFFFFFFF" + "040003" + "FF" * 6 + "0350", *[""] * 5)
    last = load_record("", "", "", "", "", "000181" + "000000")

    items = found.reply.decode(first + last)

    assert items is not None
    assert [(item["name"], item["value"]) for item in items] == [
        ("time", "2016-01-26 15:24"),
        ("voltage A", "219.9"),
        ("voltage B", None),
        ("voltage C", None),
        ("current A", "30.004"),
        ("current B", None),
        ("current C", None),
        ("frequency", "50.03"),
        ("time", "2016-01-26 15:24"),
        ("active demand", "-1.0100"),
        ("reactive demand", "0.0000"),
    ]


@pytest.mark.parametrize(
    "change", [{0: 0xA1}, {2: 0xFF}, {2: 0}, {9: 0xAB}, {-1: 0x16}, {-2: 0x00}, {8: 0x99}]
)
def test_a_broken_load_record_is_refused(change: dict[int, int]) -> None:
    found = FOUND.find("06000002")
    assert found is not None
    record = bytearray(load_record(*[""] * 6))
    assert found.reply.decode(bytes(record))
    for at, value in change.items():
        record[at] = value
    assert found.reply.decode(bytes(record)) is None
    assert found.reply.decode(b"") is None


def test_the_listing_for_people_is_the_catalogue() -> None:
    listing = Path(__file__).parents[2] / "docs" / "IDENTIFIERS.md"
    wanted = f"{identifiers.render()}\n"

    assert listing.read_text(encoding="utf-8") == wanted, "make it again: see tools/identifiers.py"
