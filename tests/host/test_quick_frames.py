"""Goal: a parser that `quick` derives from a construct layout parses every byte as construct does.

Method: construct gives the expected values, for records of every kind with random payloads, and
for small layouts of each part, also those that `quick` leaves to construct.
"""

from typing import Any

import construct as c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.frames import record
from host.frames.quick import quick


@pytest.mark.parametrize("kind", list(record.RecordKind), ids=lambda kind: kind.name)
@given(st.binary(min_size=record.PAYLOAD_SIZE, max_size=record.PAYLOAD_SIZE))
def test_every_kind_parses_as_construct_does(kind: record.RecordKind, payload: bytes) -> None:
    parsed = record._PAYLOADS[kind].parse(payload)
    wanted = {name: value for name, value in parsed.items() if not name.startswith("_")}

    assert record.parse_payload(kind, payload) == wanted


@given(st.binary(min_size=12, max_size=12))
def test_the_header_parses_as_construct_does(data: bytes) -> None:
    parsed = record._HEADER.parse(data)

    assert record._QUICK_HEADER(data) == {n: v for n, v in parsed.items() if n[0] != "_"}


_DIGITS = c.ExprAdapter(c.Bytes(2), lambda b, _: b.hex(), lambda d, _: bytes.fromhex(d))


@pytest.mark.parametrize(
    "part",
    [
        c.Int8ul,
        c.Int16ul,
        c.Int32ul,
        c.Int32sl,
        c.Int16ub,
        c.Bytes(5),
        c.Array(3, c.Int16ul),
        c.Array(2, _DIGITS),
        _DIGITS,
        c.Default(c.Int8ul, 0),
        c.Struct("inner" / c.Int8ul),
        c.Bytes(lambda this: this.first),
    ],
)
def test_each_part_parses_as_construct_does(part: Any) -> None:
    layout = c.Struct("first" / c.Int8ul, c.Padding(2), "part" / part, "last" / c.Int8ul)
    data = bytes((2, *range(100, 120)))

    assert quick(layout)(data) == {n: v for n, v in layout.parse(data).items() if n[0] != "_"}
