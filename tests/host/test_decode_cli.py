"""Goal: `dianka decode` prints one object a frame and ends with the right status.

Method: the command runs in click's runner, on arguments and on standard input.
"""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli.decode import command
from host.frames.dlt645 import build

BLOCK = "6864379800000068911833323333B4387433333333335A5A443333C55A3386B934332C16"
BAD = "6812907856341268910833333433896745335516"
REFUSAL = "6844229400000068D10135D116"


def run(*args: str, text: str = "") -> Result:
    """Run the command."""
    return CliRunner().invoke(command, list(args), input=text)


def test_block_in_the_published_shape() -> None:
    result = run("--json", BLOCK)
    values = ("4105.81", "0.00", "1127.27", "2792.00", "186.53")

    assert result.exit_code == 0
    assert json.loads(result.output) == {
        "ok": True,
        "standard": "2007",
        "direction": "response",
        "address": "000000983764",
        "control": "91",
        "function": "read",
        "di": "0000FF00",
        "name_en": "block: total + tariffs, present, combined active",
        "name_zh": "(当前)组合有功电能数据块",
        "items": [{"value": value, "unit": "kWh"} for value in values],
        "more": False,
        "error": None,
    }


def test_refusal_names_its_flags() -> None:
    said = json.loads(run(REFUSAL).output)

    assert said["error"] == {"code": "02", "flags": ["no such data"]}
    assert said["items"] == []


@pytest.mark.parametrize(
    ("control", "data", "error"),
    [
        (
            0xD1,
            "06",
            {"code": "06", "flags": ["no such data", "password wrong or not authorised"]},
        ),
        (0xD1, "80", {"code": "80", "flags": ["bit 7"]}),
        (0xD1, "", {"code": "", "flags": []}),
        (0xD1, "0102", {"code": "0201", "flags": []}),
        (0xC3, "0200", {"code": "0002", "flags": ["repeated recharge"]}),
        (0xC4, "02", {"code": "02", "flags": ["bad data identifier"]}),
        (0xDF, "02", {"code": "02", "flags": ["no such data"]}),
    ],
)
def test_refusals(control: int, data: str, error: dict[str, object]) -> None:
    frame = build("1", control, bytes.fromhex(data)).hex()

    assert json.loads(run(frame).output)["error"] == error


def test_a_status_word_of_all_ff_is_no_value() -> None:
    frame = build("1", 0x91, bytes.fromhex("03050004FFFF")).hex()
    (item,) = json.loads(run(frame).output)["items"]

    assert item == {"value": None, "unit": "", "flags": []}


def test_bad_frame_ends_with_status_1_after_the_good_ones() -> None:
    result = run("--json", BAD, BLOCK)
    first, second = map(json.loads, result.output.splitlines())

    assert result.exit_code == 1
    assert first == {"ok": False, "reason": "checksum 55, computed 54", "hex": BAD}
    assert second["ok"]


def test_lines_of_standard_input() -> None:
    result = run("--json", "-", text=f"{BLOCK}\n\n  {REFUSAL.lower()} \nzz\n")
    good, refusal, bad = map(json.loads, result.output.splitlines())

    assert result.exit_code == 1
    assert (good["di"], refusal["control"]) == ("0000FF00", "D1")
    assert bad == {"ok": False, "reason": "'z' is no hexadecimal digit", "hex": "zz"}


def test_bytes_that_are_no_text_are_no_frame() -> None:
    result = CliRunner().invoke(command, ["-"], input=b"\xff\x68\n" + BLOCK.encode())
    bad, good = map(json.loads, result.output.splitlines())

    assert result.exit_code == 1
    assert bad["reason"] == "'\ufffd' is no hexadecimal digit"
    assert good["ok"]


def test_bytes_as_separate_arguments_are_one_frame() -> None:
    pairs = [REFUSAL[at : at + 2] for at in range(0, len(REFUSAL), 2)]

    assert json.loads(run(*pairs).output)["control"] == "D1"


def test_standard_by_choice() -> None:
    """C=08 is broadcast time in both standards; only the option can tell them apart."""
    frame = "FEFEFEFE689999999999996808065539456443584616"

    assert json.loads(run(frame).output)["standard"] == "2007"
    said = json.loads(run("--standard", "1997", frame).output)
    assert said["standard"] == "1997"
    assert said["items"] == [{"name": "time", "value": "2025-10-31 12:06:22", "unit": ""}]


@pytest.mark.parametrize(
    ("control", "data", "standard"),
    [
        (0x03, "1090", "1997"),
        (0x03, "FF020107785634120000", "2007"),
        (0x83, "109056341200", "1997"),
        (0x83, "FF028107", "2007"),
        (0x83, "01ABABAB", "2007"),
        (0x83, "0102030405", "2007"),
        (0x83, "", "2007"),
        (0xC3, "02", "1997"),
        (0xC3, "0200", "2007"),
    ],
)
def test_a_security_command_is_told_from_a_repeated_read(
    control: int, data: str, standard: str
) -> None:
    frame = build("1", control, bytes.fromhex(data)).hex()

    assert json.loads(run(frame).output)["standard"] == standard


def test_profile_decides_where_meters_disagree() -> None:
    """The same enciphered relay command is one block, or has cipher and MAC apart."""
    frame = "68111111111111681C1CCB333333AB8967451E64F436A4F5830A0B3DFCB113771D0039DD8EB97D16"
    names = [item["name"] for item in json.loads(run(frame).output)["items"]]
    assert names == ["level", "password", "operator", "cipher"]

    said = json.loads(run("--profile", "southern-grid", frame).output)
    assert [item["name"] for item in said["items"]] == [*names, "MAC"]
    assert said["items"][-1]["value"] == "865BAA06"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no bytes but wake-up bytes"),
        ("686", "3 digits, half a byte"),
        ("6x68", "'x' is no hexadecimal digit"),
        ("六八", "'六' is no hexadecimal digit"),
        ("68" * 3, "a frame has at least 12 bytes, 3 present"),
    ],
)
def test_what_is_no_frame_says_why(text: str, reason: str) -> None:
    result = run(text)

    assert result.exit_code == 1
    assert json.loads(result.output) == {"ok": False, "reason": reason, "hex": text}


@pytest.mark.parametrize("path", ["README.md", "README.zh-CN.md", "host/cli/__init__.py"])
def test_the_example_of_the_documents_decodes(path: str) -> None:
    text = (Path(__file__).parents[2] / path).read_text(encoding="utf-8")
    examples = re.findall(r"dianka decode ([0-9A-F]+)", text)

    assert examples
    for example in examples:
        assert run(example).exit_code == 0, example


def test_no_frame_is_a_mistake_of_use() -> None:
    result = run()

    assert result.exit_code == 2
    assert "HEX" in result.output
