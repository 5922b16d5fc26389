"""Goal: every published frame decodes to its published value; every bad frame is refused by name.

Method: `describe_hex` decodes all rows of `dlt645-frames.jsonl`; the published text and the values
are cut into words, and both must be the same list. Rows published as prose are listed in `PROSE`
with the values that the prose means.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from host.frames.describe import describe_hex

VECTORS = Path(__file__).parents[1] / "vectors"
PROSE = {
    "d014": "00000000 9966",
    "d022": "1600",  # published with its padding
    "d048": "00 395256 00000000 "
    "10001000100055000000550000005500000025000025000025000022002200220001",
    "d050": "02 370602 00000001 1B 00 2099-12-30 00:00:00",
    "d051": "98 000000 12345678 865BAA06CDEA44E07EC90AD8D750C27103C131EB",
    "d052": "02 111111 45415354 1A",
    "d053": "02 111111 45415354 1C",
    "d054": "80541413",
    "d073": "386CDC32 0.00 0.00 0.54 222.10 6.60 000542",  # the last three bytes as well
    "d077": "11223344",  # four bytes where two belong: all of them, raw
    "d138": "",
}
UNITS = {"d022": "imp/kWh", "d054": "raw", "d055": "raw", "d073": "raw", "d077": "raw"}
# Bad rows, each with the reason for which it must be refused.
REASONS = {
    "b01": "length 8 needs 20 bytes, 12 present",
    "b02": "checksum D5, computed D8",
    "b03": "checksum 7F, computed 82",
    "b04": "checksum B4, computed B3",
    "b05": "checksum E1, computed E3",
    "b06": "checksum E0, computed 6F",
    "b07": "checksum 55, computed 54",
}


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of one vector file."""
    with (VECTORS / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def published(row: dict[str, str]) -> list[str]:
    """Return the values of a row, one word each; `null` for no value."""
    text = row["decoded"].replace("invalid(FF)", "null").replace("data(MSB first)=", "")
    text = re.sub(r"\([^)]*\)|hex:|\braw\b", "", text)
    return [
        word.rpartition("=")[2].lstrip("+") for word in re.split(r"[ /]+", text.strip()) if word
    ]


def said_words(said: dict[str, Any]) -> list[str]:
    """Return the values of a decoded frame, one word each."""
    words: list[str] = []
    if said["error"]:
        words.append(said["error"]["code"])
    for item in said["items"]:
        parts = "null" if item["value"] is None else item["value"]
        parts = parts.split(" ")
        if "weekday" in item:
            parts.insert(1, f"wk{item['weekday']:02d}")
        words += parts
    return words


def written(row: dict[str, str]) -> list[str]:
    """Return the published words of a row with the standard's digits written as a date."""
    return ["00000000", "2019-07-06", "wk06"] if row["id"] == "d013" else published(row)


@pytest.mark.parametrize("row", rows("dlt645-frames.jsonl"), ids=lambda row: str(row["id"]))
def test_published_value(row: dict[str, str]) -> None:
    said = describe_hex(row["hex"])

    assert said["ok"]
    for key in ("standard", "direction", "address", "control", "di"):
        assert said[key] == row[key], key
    prose = PROSE.get(row["id"])
    assert said_words(said) == (written(row) if prose is None else prose.split())
    single = re.fullmatch(r"kWh|kvarh|V|A|kW|min|times|imp/kWh", row["unit"])
    unit = UNITS.get(row["id"], row["unit"] if single else "")
    if unit:
        assert unit in {item["unit"] for item in said["items"]}


def test_names_of_a_published_frame() -> None:
    said = describe_hex("684422940000006891063638333733339F16")

    assert (said["name_en"], said["name_zh"]) == ("run status word 3", "电表运行状态字3")
    assert said["items"] == [{"value": "0000", "unit": "", "flags": []}]


@pytest.mark.parametrize("row", rows("dlt645-bad.jsonl"), ids=lambda row: str(row["id"]))
def test_bad_frame_is_refused(row: dict[str, str]) -> None:
    assert describe_hex(row["hex"]) == {
        "ok": False,
        "reason": REASONS[row["id"]],
        "hex": re.sub(" ", "", row["hex"]),
    }


@pytest.mark.parametrize("row", rows("dlt645-constructed.jsonl"), ids=lambda row: str(row["id"]))
def test_constructed_frame_is_understood(row: dict[str, str]) -> None:
    """No data of the layouts' own examples stay raw unless they are enciphered or only a part."""
    said = describe_hex(row["hex"])

    assert (said["ok"], said["standard"]) == (True, "2007")
    if said.get("note") != "a part of a longer answer":
        assert "note" not in said
        left = [item for item in said["items"] if item["unit"] == "raw"]
        assert all(item["name"] in ("cipher", "MAC") for item in left)


CONSTRUCTED_VALUES = {
    "c16": [("99-99 00:00", "daily")],
    "c17": [("99-01 00:00", "monthly")],
    "c18": [("99-99 99:30", "hourly")],
    "c19": [("99-99 99:99", "instant")],
    "c25": [("08", "2400 bps")],
    "c40": [("02", ""), ("000000", ""), ("12345678", ""), ("FFFFFFFF", "all")],
    "c54": [("00", "seconds pulse")],
}


@pytest.mark.parametrize("row_id", CONSTRUCTED_VALUES)
def test_codes_have_texts(row_id: str) -> None:
    row = next(row for row in rows("dlt645-constructed.jsonl") if row["id"] == row_id)
    items = describe_hex(row["hex"])["items"]

    assert [(item["value"], item.get("text", "")) for item in items] == CONSTRUCTED_VALUES[row_id]


def test_recharge_is_exact_money() -> None:
    row = next(row for row in rows("dlt645-constructed.jsonl") if row["id"] == "c68")
    items = {item["name"]: item["value"] for item in describe_hex(row["hex"])["items"]}

    assert items["amount"] == "100.00"
    assert items["purchases"] == "7"
    assert items["customer"] == "000000000001"
    assert (items["MAC 1"], items["MAC 2"]) == ("A1B2C3D4", "D4C3B2A1")
