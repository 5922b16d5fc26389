"""Goal: `dianka bill` prints every published and computed bill to the last digit, and its messages
say what is wrong with a file or a step.

Method: all rows of bills.jsonl run through the command as a user types it, each tariff once from
our files and once from a file made from tariffs.jsonl; bad files and steps follow one by one.
"""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from host.cli import cli

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"
TARIFFS = ROOT / "tariffs"

# The file, and the options that choose the row's season and household.
OURS = {
    "ZJ-Y-TOU": ("zhejiang-tou", []),
    "BJ-M": ("beijing-month", []),
    "BJ-Y": ("beijing", []),
    "GZ-M-S": ("guangzhou", ["--on", "2026-05-01"]),
    "GZ-M-S-TOU": ("guangzhou-tou", ["--on", "2026-10-31"]),
    "GZ-M-S-BIG": ("guangzhou", ["--on", "2026-07-15", "--household", "large"]),
    "SZ-M-S": ("shenzhen", ["--on", "2026-07-15"]),
    "SD-Y-BIG": ("shandong", ["--household", "large"]),
    "JS-M": ("jiangsu-month", []),
    "JS-M-TOU": ("jiangsu-month-tou", []),
    "HA-Y": ("henan", []),
    "PTA-M": ("exercise", []),
}


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (VECTORS / name).read_text("utf-8").splitlines()]


BILLS = rows("bills.jsonl")
PUBLISHED = {row["id"]: row for row in rows("tariffs.jsonl")}


def run(*words: object) -> Result:
    """Run `dianka bill WORDS`."""
    return CliRunner().invoke(cli, ["bill", *map(str, words)], env={"COLUMNS": "120"})


def steps_of(bill: dict[str, str]) -> list[str]:
    """Return the options that say what was used, in order."""
    named = re.findall(r"(peak|flat|valley)=([0-9.]+)", bill["case"])
    if named:
        return [f"{rate}={kwh}" for rate, kwh in named]
    crossing = re.fullmatch(r".*: ([0-9.]+) kWh peak then ([0-9.]+) kWh valley.*", bill["case"])
    if crossing:
        return [f"peak={crossing[1]}", f"valley={crossing[2]}"]
    return [str(Decimal(bill["to_kWh_cum"]) - Decimal(bill["from_kWh_cum"]))]


def written_out(row: dict[str, str]) -> dict[str, Any]:
    """Write the tariff file of a row of tariffs.jsonl."""
    limits = row["tier_limits_kWh (inclusive upper)"].split("|")
    columns = {"flat": row["tier_prices_yuan_per_kWh"]}
    if row["tou_prices (tier1|tier2|tier3)"]:
        pairs = row["tou_prices (tier1|tier2|tier3)"].split("; ")
        columns = dict(pair.split("=", 1) for pair in pairs)
    prices = list(zip(*(column.split("|") for column in columns.values()), strict=True))
    tiers: list[dict[str, Any]] = [{"prices": list(price)} for price in prices]
    for tier, limit in zip(tiers, limits, strict=False):
        tier["upto_kwh"] = limit
    period = "year" if row["tier_basis"].startswith("year") else "month"
    resets = ["01-01 00"]
    names = list(columns)
    return {
        "name": row["id"],
        "tier_period": period,
        "tier_reset": resets,
        "rates": names,
        "tiers": tiers,
    }


@pytest.mark.parametrize("bill", BILLS, ids=lambda bill: f"{bill['tariff_id']} {bill['case']}")
def test_every_bill(bill: dict[str, str], tmp_path: Path) -> None:
    name, options = OURS[bill["tariff_id"]]
    other = tmp_path / "tariff.json"
    other.write_text(json.dumps(written_out(PUBLISHED[bill["tariff_id"]])))
    for words in ([TARIFFS / f"{name}.json", *options], [other]):
        result = run(*words, "--used-before", bill["from_kWh_cum"], *steps_of(bill), "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.output)
        assert Decimal(found["exact_yuan"]) == Decimal(bill["exact_yuan"])
        assert found["yuan"] == bill["yuan_half_up_fen"]
        energy = Decimal(bill["to_kWh_cum"]) - max(Decimal(0), Decimal(bill["from_kWh_cum"]))
        assert Decimal(found["kwh"]) == energy
        assert sum(Decimal(cell["kwh"]) for cell in found["cells"]) == energy
        assert sum(Decimal(cell["yuan"]) for cell in found["cells"]) == Decimal(
            found["exact_yuan"]
        )


@pytest.mark.parametrize("line", range(36))
def test_bills_of_tariffs_of_2021_to_2026(line: int) -> None:
    bill: dict[str, Any] = dict(rows("bills-2026.jsonl")[line])
    options = ("--on", bill["on"], "--used-before", bill["used_before_kwh"], "--json")
    result = run(TARIFFS / f"{bill['tariff']}.json", *options, *bill["steps"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["exact_yuan"] == bill["exact_yuan"]


def test_every_published_tariff_has_a_file_that_names_its_source() -> None:
    assert set(OURS) == set(PUBLISHED)
    later = {bill["tariff"] for bill in rows("bills-2026.jsonl")}
    assert {path.stem for path in TARIFFS.glob("*.json")} == later | {
        name for name, _ in OURS.values()
    }
    for path in TARIFFS.glob("*.json"):
        assert json.loads(path.read_text("utf-8"))["source"], path


def test_the_example() -> None:
    words = ("--used-before", "2730", "peak=50", "valley=40")
    result = run(TARIFFS / "zhejiang-tou.json", *words, "--json")
    found = json.loads(result.output)
    assert found["exact_yuan"] == found["yuan"] == "42.92"
    assert found["cells"] == [
        {"tier": 1, "rate": "peak", "kwh": "30", "price": "0.568", "yuan": "17.04"},
        {"tier": 2, "rate": "peak", "kwh": "20", "price": "0.618", "yuan": "12.36"},
        {"tier": 2, "rate": "valley", "kwh": "40", "price": "0.338", "yuan": "13.52"},
    ]
    result = run(TARIFFS / "zhejiang-tou.json", *words)
    assert result.exit_code == 0
    assert "13.52" in result.output
    assert result.output.endswith("42.92 yuan, rounded 42.92\n")


def test_shandong_costs_the_same_in_any_steps() -> None:
    for count in (1, 3, 50, 2000):
        steps = [str(Decimal(5000) / count)] * count if count != 3 else ["1000", "1.5", "3998.5"]
        result = run(TARIFFS / "shandong.json", *steps, "--json")
        assert json.loads(result.output)["exact_yuan"] == "2908.5", count


def test_all_that_a_register_can_show() -> None:
    result = run(TARIFFS / "shandong.json", "999999.99", "--json")
    exact = Decimal("999999.99") * Decimal("0.8469") - Decimal(2520) * Decimal("0.3")
    exact -= Decimal(2280) * Decimal("0.25")
    assert Decimal(json.loads(result.output)["exact_yuan"]) == exact
    result = run(TARIFFS / "shandong.json", "999999.99", "999999.99")
    assert result.exit_code == 1
    assert "more than 1073741 kWh in one tier period" in result.output


def test_energy_paid_for_before_costs_nothing() -> None:
    result = run(TARIFFS / "exercise.json", "--used-before", "-10", "4", "9", "47", "3", "--json")
    found = json.loads(result.output)
    assert (found["exact_yuan"], found["kwh"]) == ("28.24", "53")


def test_nothing_used_costs_nothing() -> None:
    found = json.loads(run(TARIFFS / "shandong.json", "0", "--json").output)
    assert (found["exact_yuan"], found["yuan"], found["cells"]) == ("0", "0.00", [])


def test_free_energy_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "free.json"
    path.write_text(
        json.dumps(
            {
                "name": "free",
                "tier_period": "month",
                "tiers": [{"upto_kwh": "100", "prices": ["0.5"]}, {"prices": ["0.8"]}],
                "households": {"low income": {"free_kwh": "15"}},
            }
        )
    )
    result = run(path, "--household", "low income", "110", "--json")
    assert [(cell["tier"], cell["kwh"]) for cell in json.loads(result.output)["cells"]] == [
        (0, "15"),
        (1, "85"),
        (2, "10"),
    ]
    assert json.loads(result.output)["exact_yuan"] == "50.5"
    assert json.loads(run(path, "110", "--json").output)["exact_yuan"] == "58"
    assert "free" in run(path, "--household", "low income", "110").output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["zhejiang-tou", "50"], "STEP 50: say at which rate, such as peak=50"),
        (["zhejiang-tou", "night=50"], "STEP night=50: the rates are peak, valley"),
        (["zhejiang-tou", "peak=-1"], "STEP peak '-1' is not kWh like"),
        (["zhejiang-tou", "peak=1,5"], "STEP peak '1,5' is not kWh like"),
        (["shandong", "1.0001"], "'1.0001' is not kWh like"),
        (["shandong", "nan"], "'nan' is not kWh like"),
        (["shandong", "1000000"], "is not kWh like 50 or 49.125, below 1000000"),
        (["shandong", "--used-before", "x", "1"], "--used-before 'x' is not kWh like"),
        (["shandong", "--household", "small", "1"], "the tariff has ordinary, large"),
        (["guangzhou", "1"], "prices differ within the year: add --on YYYY-MM-DD"),
        (["guangzhou", "--on", "July", "1"], "--on July: write a day as YYYY-MM-DD"),
        (["guangzhou", "--on", "1999-01-01", "1"], "a day of 2000 to 2099"),
        (["nowhere", "1"], "cannot be read"),
    ],
)
def test_a_mistake_ends_with_one_line(words: list[str], complaint: str) -> None:
    result = run(TARIFFS / f"{words[0]}.json", "--json", "--", *words[1:])
    if words[1].startswith("--"):
        result = run(TARIFFS / f"{words[0]}.json", *words[1:])
    assert result.exit_code == 1
    assert complaint in result.output
    assert result.output.count("\n") == 1
    assert "Traceback" not in result.output


def test_steps_must_be_given() -> None:
    result = run(TARIFFS / "shandong.json")
    assert result.exit_code == 2
    assert "STEP" in result.output


def test_help_shows_examples() -> None:
    for words in (["-h"], ["price", "-h"], ["compare", "-h"]):
        result = run(*words)
        assert result.exit_code == 0
        assert "dianka bill" in result.output


def test_compare(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text(
        'name = "test"\nyear = 2026\nmonth_kwh = ["300.001"'
        + ', "100"' * 11
        + "]\nhour_weights = ["
        + ", ".join("1" for _ in range(24))
        + "]\n"
    )
    names = ["guangzhou-tou", "shandong"]
    paths = [TARIFFS / f"{name}.json" for name in names]
    plot = tmp_path / "year.png"
    result = run("compare", *paths, "--profile", profile, "--plot", plot, "--json")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("{")]
    years = {json.loads(line)["tariff"].split(" ")[0]: json.loads(line) for line in lines}
    shandong = years["山东"]
    assert Decimal(shandong["exact_yuan"]) == Decimal("1400.001") * Decimal("0.5469")
    assert shandong["tier_kwh"] == ["1400.001"]
    assert shandong["month_yuan"][1] == "54.69"
    guangzhou = years["广州"]
    assert guangzhou["tier_kwh"] == ["1300", "100.001"]
    assert sum(Decimal(kwh) for kwh in guangzhou["rate_kwh"].values()) == Decimal("1400.001")
    assert plot.read_bytes().startswith(b"\x89PNG")
    result = run("compare", paths[1], "--profile", profile)
    assert result.exit_code == 0
    assert "765.66" in result.output
    assert "█" in result.output


def test_a_wrong_profile_is_named(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    for text, complaint in (
        ("name = 'x'\nyear = 2026\nmonth_kwh = []\nhour_weights = []", "month_kwh"),
        ("name =", "cannot be read"),
        (
            f"name = 'x'\nyear = 2026\nmonth_kwh = {['0'] * 12}\nhour_weights = {[1] * 24}",
            "nothing is used in that year",
        ),
    ):
        profile.write_text(text)
        result = run("compare", TARIFFS / "shandong.json", "--profile", profile)
        assert result.exit_code == 1
        assert complaint in result.output
