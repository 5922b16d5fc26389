"""Goal: what a technician pastes is decoded: a whole capture, a vendor tool's log, bytes with 0x.

Method: frames that are built here stand among noise and among words.
"""

import json

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames import dlt645

ASK = dlt645.build("AAAAAAAAAAAA", 0x13).hex().upper()
TELL = dlt645.build("000000000017", 0x93, bytes.fromhex("170000000000")).hex().upper()


def decode(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["decode", "--json", *words], input=typed)


def told(result: Result) -> list[str]:
    """Return the functions of the frames that were shown."""
    lines = [line for line in result.output.splitlines() if line.startswith("{")]
    return [json.loads(line).get("direction", "none") for line in lines]


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        (ASK + TELL, 0),
        (f"{ASK}FDBBDD{TELL}", 3),
        (f"D8B04CBDD147{ASK}{TELL}", 6),
        (f"10:00:00.123 TX: {ASK} | RX: {TELL}", 3),
        (", ".join(f"0x{octet:02X}" for octet in bytes.fromhex(ASK + TELL)), 0),
        (bytes.fromhex(ASK + TELL).hex("-"), 0),
    ],
)
def test_all_frames_of_a_capture_are_shown_and_the_rest_is_counted(text: str, beside: int) -> None:
    for result in (decode(text), decode("-", typed=f"{text}\n")):
        assert (result.exit_code, told(result)) == (0, ["request", "response"])
        counted = f"{beside} bytes belong to no frame"
        assert (counted in result.output) == bool(beside)


def test_a_log_of_many_lines() -> None:
    result = decode("-", typed=f"[1] send {ASK}\n\n[2] recv {TELL}\n")
    assert (result.exit_code, told(result)) == (0, ["request", "response"])


@pytest.mark.parametrize("text", [TELL[:-4] + "0016", "no bytes at all", "68", f"0x{ASK[:-2]}"])
def test_a_line_without_a_frame_ends_with_status_1(text: str) -> None:
    result = decode("-", typed=f"{text}\n{ASK}\n")
    assert result.exit_code == 1
    assert '"ok": false' in result.output
    assert told(result)[-1] == "request"


@pytest.mark.parametrize(
    ("digits", "value", "unit"),
    [
        ("000000000000", None, ""),
        ("FFFFFFFFFFFF", None, ""),
        ("996125451326", "261345256199", "raw"),
        ("000000300226", "260230000000", "raw"),
        ("000000290224", "2024-02-29 00:00:00", ""),
        ("595923311226", "2026-12-31 23:59:59", ""),
        ("999999999999", "999999999999", "raw"),
    ],
)
def test_a_date_that_cannot_be_is_not_shown_as_one(
    digits: str, value: str | None, unit: str
) -> None:
    """The time of the last freeze, 05000001 without its seconds, and of the last programming."""
    data = bytes.fromhex("01003003") + bytes.fromhex(digits)
    frame = dlt645.build("000000000017", 0x91, data + bytes(4 + 40))
    said = json.loads(decode(frame.hex()).output)
    assert (said["items"][0]["value"], said["items"][0]["unit"]) == (value, unit)
