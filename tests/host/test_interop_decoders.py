"""Goal: the results of other decoders on frames of real meters are those of docs/INTEROP.md.

Method: both libraries, each in a virtual environment of its own, decode the published readings
(91H of `dlt645-frames.jsonl`); the right ones are counted and the bytes that they misread are
listed. Our decoder reads all of them right (test_decode_vectors.py).
"""

import json
from pathlib import Path

import pytest

from tests.host.interop import library, run
from tools.libraries import DLT645, PYTHON_DLT645

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("interop")]

VECTORS = Path(__file__).parents[1] / "vectors" / "dlt645-frames.jsonl"
READINGS = [
    row
    for row in map(json.loads, VECTORS.read_text(encoding="utf-8").splitlines())
    if row["control"] == "91"
]


def told_by(requirement: str, script: str, folder: Path) -> dict[str, str]:
    """Return the library's results by the id of the row."""
    frames = folder / "frames"
    frames.write_text("\n".join(row["hex"] for row in READINGS), encoding="utf-8")
    told = run(library(requirement), script, str(frames))
    return {row["id"]: told[row["hex"]] for row in READINGS}


def is_right(row: dict[str, str], said: str) -> bool:
    """Return whether a plain number was read as published."""
    try:
        return float(said) == float(row["decoded"])
    except ValueError:
        return False


def test_dlt645_reads_single_numbers_only(tmp_path: Path) -> None:
    told = told_by(DLT645, "dlt645_decoder.py", tmp_path)

    blocks = [row["id"] for row in READINGS if "/" in row["decoded"] and row["id"] != "d073"]
    right = [row["id"] for row in READINGS if is_right(row, told[row["id"]].strip("'[]"))]
    assert len(blocks) == 33
    assert {told[name] for name in blocks if name not in ("d086", "d089")} == {"None"}
    assert len(right) == 27
    # It reads four bytes in place of two as volts, no value as digits of 15, and text, flags and
    # other bytes that are not BCD as BCD.
    assert told["d077"] == "334.4"
    assert "1515151515151515" in told["d086"]
    assert told["d073"] == "386121312.32"
    assert told["d101"] == "'44445105931383821351000'"
    assert told["d102"] == "'00012'"
    # It does not know a date with time, the status block or the freeze.
    assert {told[name] for name in ("d093", "d105", "d107", "d088")} == {"None"}


def test_python_dlt645_gives_digits(tmp_path: Path) -> None:
    """It returns data and identifier as one text; a byte below 33H or a 16H within stops it."""
    told = told_by(PYTHON_DLT645, "python_dlt645_decoder.py", tmp_path)
    wire = {row["id"]: bytes.fromhex(row["hex"]).lstrip(b"\xfe") for row in READINGS}

    assert told["d060"] == "0012345600010000"
    low = {name for name, octets in wire.items() if min(octets[10:-2]) < 0x33}
    ended = {name for name, octets in wire.items() if 0x16 in octets[:-1]}
    assert low - ended == {"d057", "d067", "d068", "d071", "d073", "d079", "d086"}
    assert ended == {"d105", "d106"}
    assert {name for name, said in told.items() if "Error" in said} == low | ended
    assert told["d057"].startswith("ValueError")
    assert told["d106"].startswith("FrameChecksumError")
