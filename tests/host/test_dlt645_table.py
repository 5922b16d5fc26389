"""Goal: the device's table of identifiers says what the host's catalogue says.

Method: for every row, at both ends of its range, both sides decode replies of the size the row
expects: digits, signs, all FF, bytes that are no digits. Where the host reads a value, the device
has the same in its integers; where the host finds none, the device finds none.
"""

import re
from array import array
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from dlt645 import di
from dlt645.table import TABLE
from hypothesis import example, given, settings
from hypothesis import strategies as st

from host.frames import dlt645
from host.frames.describe import describe
from host.units import to_t2000

ROWS = [TABLE[at : at + 7] for at in range(0, len(TABLE), 7)]
KNOWN = sorted(
    {
        (int.from_bytes(bytes((low,)) + row[1:4], "little"), row[5], row[6])
        for row in ROWS
        for low in (row[0], row[4])
    }
)
WEEKDAY_AT = {5: 0, 7: 3}
# The sizes of the row are those of four rates and three phases, and the octets are arbitrary.
OCTETS = st.one_of(
    st.integers(0, 99).map(lambda number: number // 10 << 4 | number % 10),
    st.sampled_from((0xFF, 0x80, 0x01, 0x12, 0x0A)),
)


def host_items(identifier: int, data: bytes) -> list[dict[str, Any]]:
    """Return the items the host reads in a reply."""
    old = 0x9000 <= identifier < 0xF000
    head = identifier.to_bytes(2 if old else 4, "little")
    frame = dlt645.parse(dlt645.build("1", 0x81 if old else 0x91, head + data))
    said = describe(frame)
    assert said["name_en"], f"{identifier:08X} is not in the catalogue"
    items: list[dict[str, Any]] = said["items"]
    return items


def device_value(form: int, value: str | None) -> int:
    """Return the device's integer for the text of the host."""
    if value is None:
        return di.NO_VALUE
    if form == 4:
        return int(value, 16)
    if form == 6:
        value = f"2000-01-01 {value}"
    if form in (5, 6, 7, 8):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return di.BAD_VALUE
        t2000 = to_t2000(moment)
        return t2000 if t2000 < 2**31 - 86400 else di.BAD_VALUE
    if form <= 3:
        return int(Decimal(value) * (100 if form == 3 else 1000))
    # A settlement day and its hour, "01 12:00", are DDhh.
    return int(re.sub(r"\.| |:00$", "", value))


@pytest.mark.parametrize(("identifier", "form", "size"), KNOWN, ids=lambda value: f"{value:X}")
def test_device_and_host_read_the_same(identifier: int, form: int, size: int) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(OCTETS, min_size=size, max_size=size).map(bytes))
    @example(bytes(size))
    @example(b"\xff" * size)
    def compare(data: bytes) -> None:
        # A 1997 block ends with AA; the device skips weekdays.
        data = data[:-1] + b"\xaa" if identifier == 0x901F else data
        if form in WEEKDAY_AT and data != b"\xff" * size:
            at = WEEKDAY_AT[form]
            data = data[:at] + bytes((data[at] % 7,)) + data[at + 1 :]
        out = array("i", bytes(4 * 40))
        items = host_items(identifier, data)
        if form in (5, 7, 8) and not any(data):
            # The host takes zeros for an event that never was, the device for no time.
            assert [item["value"] for item in items] == [None]
            items = [{"value": "0", "unit": "raw"}]
        elif form == 18:
            # A settlement day that cannot be, or is not used, is no time; the device has digits.
            number = int(data[::-1].hex()) if data[::-1].hex().isdecimal() else None
            for item in items:
                if number is not None and (item["unit"] == "raw" or item["value"] is None):
                    item.update(value=f"{number:04d}", unit="")
        count = di.decode(identifier, bytearray(data), 0, size, out)
        if any(item["unit"] == "raw" for item in items):
            assert count == di.BAD_VALUE
        elif form == 4 and data == b"\xff\xff":
            assert out[0] == di.NO_VALUE
        else:
            expected = [device_value(form, item["value"]) for item in items]
            assert ([count] if count < 0 else list(out[:count])) == expected

    compare()


def test_no_identifier_stands_in_two_rows() -> None:
    seen: set[int] = set()
    for row in ROWS:
        for low in range(row[0], row[4] + 1):
            identifier = int.from_bytes(bytes((low,)) + row[1:4], "little")
            assert identifier not in seen, f"{identifier:08X}"
            seen.add(identifier)
