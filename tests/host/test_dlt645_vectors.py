"""Goal: the frames the device tests use are the published ones.

Method: `tests/core/vectors_dlt645.py` is made from `tests/vectors/*.jsonl`; it is made again here
and compared byte by byte. After a change of the vectors:

    .venv/bin/python tests/host/test_dlt645_vectors.py > tests/core/vectors_dlt645.py
"""

import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from host.units import to_t2000

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
COPY = ROOT / "tests" / "core" / "vectors_dlt645.py"

# Identifiers the device knows, and the kind of their published value.
KINDS = {
    r"000[012](00|FF)0[0-9A-C]|05060[12]..": "energy",
    r"9010|901F": "energy",
    r"0090020[01]": "money",
    r"0400050[1-7]": "bits",
    r"020[123]FF00|020[12]0100|020[36]0000|03110000|03300D00|1D000001": "number",
    r"04000101|C010": "date",
    r"04000102|C011": "time",
    r"0400010C": "date time",
    r"050600..": "minute",
}
NO_VALUE = -0x40000000


def kind_of(di: str) -> str:
    """Return the kind of the identifier's value, "" where the device does not know it."""
    for pattern, kind in KINDS.items():
        if re.fullmatch(pattern, di):
            return kind
    return ""


def expected(kind: str, text: str) -> tuple[int, ...]:
    """Return the integers the device must decode from a reply published as `text`."""
    if kind == "energy":
        parts = re.findall(r"-?\d+\.\d+", text)
        return tuple(int(Decimal(part) * 1000) for part in parts)
    if kind == "money":
        parts = re.findall(r"-?\d+\.\d+", text)
        return tuple(int(Decimal(part) * 100) for part in parts)
    if kind == "number":
        # The published value of a reply of the wrong size is its bytes.
        parts = [] if text.endswith("raw") else re.findall(r"invalid|-?\d+(?:\.\d+)?", text)
        return tuple(NO_VALUE if one == "invalid" else int(one.replace(".", "")) for one in parts)
    if kind == "bits":
        return (int(text, 16),)
    if kind == "time":
        hour, minute, second = (int(part) for part in text.split(":"))
        return (hour * 3600 + minute * 60 + second,)
    form = {"date": "%Y-%m-%d", "minute": "%Y-%m-%d %H:%M", "date time": "%Y-%m-%d %H:%M:%S"}
    moment = datetime.strptime(re.sub(r" wk\d\d", "", text), form[kind])
    return (to_t2000(moment),)


def rows(name: str) -> Iterator[dict[str, str]]:
    """Return the rows of one vector file."""
    with (VECTORS / name).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def literal(data: bytes) -> str:
    """Return `data` as bytes literals of at most 99 columns."""
    lines = []
    for start in range(0, len(data), 22):
        digits = "".join(f"\\x{byte:02x}" for byte in data[start : start + 22])
        lines.append(f'        b"{digits}"')
    return "\n".join(lines)


def frame_lines(row: dict[str, str]) -> str:
    """Return the lines of one row of FRAMES."""
    data = bytes.fromhex(row["hex"])
    address = bytes.fromhex(row["address"])[::-1]
    control = int(row["control"], 16)
    kind = kind_of(row["di"]) if control in (0x81, 0x91) else ""
    values = expected(kind, row.get("decoded", row.get("decoded_value", ""))) if kind else ()
    di = int(row["di"], 16) if values else 0
    head = f"    ({row['id']!r},\n{literal(data)},\n"
    return head + f"        {address!r}, 0x{control:02X}, 0x{di:08X}, {values!r}),"


def make() -> str:
    """Return the text of tests/core/vectors_dlt645.py."""
    lines = [
        '"""Published frames for tests on the device. Made by tests/host/test_dlt645_vectors.py.',
        "",
        "FRAMES: id, bytes, address in wire order, control, identifier and values the device",
        "decodes from it (0 and none where it does not know it). BAD: id, bytes to be refused.",
        '"""',
        "",
        "# fmt: off",
        "FRAMES = (",
    ]
    for name in ("dlt645-frames.jsonl", "dlt645-constructed.jsonl"):
        lines += [frame_lines(row) for row in rows(name)]
    lines += [")", "BAD = ("]
    for row in rows("dlt645-bad.jsonl"):
        lines.append(f"    ({row['id']!r},\n{literal(bytes.fromhex(row['hex']))}),")
    lines += [")", ""]
    return "\n".join(lines)


def test_the_copy_is_the_published_frames() -> None:
    assert COPY.read_text(encoding="utf-8") == make(), f"make {COPY.name} again (see above)"


if __name__ == "__main__":
    sys.stdout.write(make())
