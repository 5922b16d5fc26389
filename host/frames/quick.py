"""Fast parsing of construct's simple structures, with one `struct.unpack_from` for each.

A `construct.Struct` of plain numbers, bytes, arrays of fixed length, adapters of these and padding
has all data that `struct` needs. `quick` derives the parser from it, so that the layout is written
once; a test compares it with construct's own parser (tests/host/test_quick_frames.py).
"""

from collections.abc import Callable
from struct import Struct
from typing import Any

import construct as c

Parser = Callable[[bytes], dict[str, Any]]


def quick(layout: Any) -> Parser:
    """Return a parser of `layout` that gives the fields by name, as fast as the layout allows.

    A layout whose fields depend on one another is parsed by construct.
    """
    codes = ["<"]
    fields: list[tuple[str, int, Any]] = []  # name, numbers taken (0: one), adapter or None
    for part in layout.subcons:
        found = _code(part)
        if found is None:
            return lambda data: _parsed(layout, data)
        code, count, adapter = found
        codes.append(code)
        if part.name is not None:
            fields.append((part.name, count, adapter))
    return _parser(Struct("".join(codes)), fields)


def _parser(unpacker: Struct, fields: list[tuple[str, int, Any]]) -> Parser:
    names = [name for name, _, _ in fields]
    if all(count == 0 and adapter is None for _, count, adapter in fields):
        return lambda data: dict(zip(names, unpacker.unpack_from(data), strict=True))

    def parse(data: bytes) -> dict[str, Any]:
        values = unpacker.unpack_from(data)
        parsed: dict[str, Any] = {}
        at = 0
        for name, count, adapter in fields:
            if count:
                parsed[name] = list(values[at : at + count])
                at += count
                continue
            value = values[at]
            parsed[name] = value if adapter is None else adapter._decode(value, None, "")
            at += 1
        return parsed

    return parse


def _code(part: Any) -> tuple[str, int, Any] | None:
    """Return `struct`'s code for a part of a layout, its count of numbers, and its adapter."""
    while isinstance(part, c.Renamed | c.Default):
        part = part.subcon
    if isinstance(part, c.FormatField) and part.fmtstr[0] in "<B":
        return part.fmtstr[1:], 0, None
    if isinstance(part, c.Bytes) and isinstance(part.length, int):
        return f"{part.length}s", 0, None
    if isinstance(part, c.Padded) and part.subcon is c.Pass:
        return f"{part.length}x", 0, None
    if isinstance(part, c.Array) and isinstance(part.count, int):
        inner = _code(part.subcon)
        if inner is not None and inner[1:] == (0, None):
            return f"{part.count}{inner[0]}", part.count, None
    if isinstance(part, c.Adapter):
        inner = _code(part.subcon)
        if inner is not None and inner[1:] == (0, None):
            return inner[0], 0, part
    return None


def _parsed(layout: Any, data: bytes) -> dict[str, Any]:
    """Return construct's result as plain dicts and lists."""
    return {
        name: list(value) if isinstance(value, list) else value
        for name, value in layout.parse(data).items()
        if not name.startswith("_")
    }
