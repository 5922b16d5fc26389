"""Goal: `dianka bill` prices every feature of a tariff file, and `dianka bill check` says in both
languages what a file means, what it leaves out, and when its holidays run out.

Method: each file is made for one feature and its bill is computed by hand; features that cannot
be honoured are refused by name.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from host.cli import cli

ROOT = Path(__file__).resolve().parents[2]
TARIFFS = ROOT / "tariffs"
SHANDONG: dict[str, Any] = {
    "name": "山东",
    "tier_period": "year",
    "tiers": [
        {"upto_kwh": "2520", "prices": ["0.5469"]},
        {"upto_kwh": "4800", "prices": ["0.5969"]},
        {"prices": ["0.8469"]},
    ],
    "households": {"large": {"extra_kwh": ["1200", "0"]}},
    "part_year": {"opened": "this_month", "moved_in": "this_month", "household": "this_month"},
}
HOURS: dict[str, Any] = {
    "name": "hours",
    "tier_period": "none",
    "rates": ["peak", "valley"],
    "tiers": [{"prices": ["1", "0.5"]}],
    "schedule": {
        "tables": {
            "winter": [["00:00", "valley"], ["08:00", "peak"]],
            "summer": [["00:00", "valley"], ["10:00", "peak"]],
        },
        "table": "winter",
        "holidays": {"2026-10-01": "summer", "2026-10-02": "summer"},
    },
    "next": [
        {
            "from": "2026-07-01 00",
            "tiers": [{"prices": ["0.6", "0.3"]}],
            "seasons": [{"from": "01-01", "table": "summer"}],
        }
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Write a tariff file."""

    def write(fields: dict[str, Any]) -> Path:
        path = tmp_path / "tariff.json"
        path.write_text(json.dumps(fields), "utf-8")
        return path

    return write


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["bill", *map(str, words)])


def exact(*words: object) -> str:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return str(json.loads(result.output)["exact_yuan"])


@pytest.mark.parametrize("in_meter", [False, True])
def test_a_set_of_next_whose_seasons_name_day_tables(file: Any, in_meter: bool) -> None:
    schedule = {**HOURS["schedule"], "in_meter": in_meter}
    path = file({**HOURS, "schedule": schedule})
    assert exact(path, "--on", "2026-07-02", "peak=10") == "6"
    assert exact(path, "--on", "2026-06-30", "peak=10", "valley=3") == "11.5"


def test_quotas_of_a_part_of_a_year(file: Any) -> None:
    path = file(SHANDONG)
    # Three months: 630 kWh in tier 1, 570 in tier 2.
    opened = ("--opened", "2026-10-15", "2000")
    assert exact(path, *opened) == "1362.3"
    assert exact(path, "--moved-in", "2026-10-15", "2000") == "1362.3"
    assert exact(path, "--on", "2026-10-15", "2000") == "1093.8"
    assert exact(path, "--opened", "2026-10-15", "--on", "2027-01-01", "2000") == "1093.8"
    grown = ("--household", "large", "--changed", "2026-07-01", "--used-before", "3000", "500")
    assert exact(path, *grown) == "292.45"
    # Back to the ordinary kind after half a year: six months of 100 kWh each.
    back = ("--household-before", "large", "--changed", "2026-07-01", "--used-before", "3000")
    assert exact(path, *back, "500") == "292.45"
    for words, complaint in (
        (("--opened", "2026-13-01", "5"), "--opened 2026-13-01: write a day as YYYY-MM-DD"),
        (("--opened", "2026-05-01", "--on", "2026-04-01", "5"), "--on 2026-04-01: before"),
        (("--opened", "2026-05-01", "--changed", "2026-04-01", "5"), "--opened 2026-05-01: after"),
        (("--household-before", "large", "5"), "--household-before: say since when"),
    ):
        result = run(path, *words)
        assert result.exit_code == 1
        assert complaint in result.output


def test_free_energy_with_a_month_of_its_own(file: Any) -> None:
    path = file(
        {
            **SHANDONG,
            "households": {"low income": {"free_kwh": "15"}},
            "free_period": "month",
        }
    )
    bill = run(path, "--household", "low income", "--used-before", "2510", "40", "--json")
    found = json.loads(bill.output)
    assert [cell["tier"] for cell in found["cells"]] == [0, 2]
    # The first 15 are free and fill the tiers, so none of the other 25 is left for tier 1.
    assert found["exact_yuan"] == str(25 * Decimal("0.5969")).rstrip("0")


def test_a_service_fee_is_shown_apart(file: Any) -> None:
    path = file({**HOURS, "service_yuan_per_kwh": ["0.4", "0.25"], "next": []})
    found = json.loads(run(path, "peak=10", "valley=4", "--json").output)
    assert (found["exact_yuan"], found["energy_yuan"], found["service_yuan"]) == ("17", "12", "5")
    assert found["cells"][0]["price"] == "1.4"
    assert found["cells"][0]["service_yuan"] == "4"
    assert "energy 12, service fee 5 yuan" in run(path, "peak=10", "valley=4").output
    one = file({**HOURS, "service_yuan_per_kwh": ["0.4"], "next": []})
    assert exact(one, "valley=10") == "9"


def test_a_quota_that_one_rate_fills(file: Any) -> None:
    tiers = [{"upto_kwh": "100", "prices": ["0.5", "0.3"]}, {"prices": ["0.8", "0.3"]}]
    fields = {**HOURS, "tiers": tiers, "tier_rates": ["peak"], "next": []}
    assert exact(file(fields), "valley=500", "peak=150") == "240"
    fields["tiers"] = [tiers[0], {"prices": ["0.8", "0.4"]}]
    result = run(file(fields), "peak=1")
    assert "'valley' is not in tier_rates, so it must cost the same in all tiers" in result.output


def test_twenty_four_prices_a_day(file: Any) -> None:
    names = [f"{hour:02}" for hour in range(24)]
    fields = {
        "name": "spot",
        "tier_period": "none",
        "rates": names,
        "tiers": [{"prices": [f"0.{hour:02}{hour:02}" for hour in range(24)]}],
        "schedule": {
            "tables": {"day": [[f"{name}:00", name] for name in names]},
            "table": "day",
        },
    }
    assert exact(file(fields), "23=10", "01=100") == "3.333"
    fields["schedule"] = {**fields["schedule"], "in_meter": True}
    assert "24 rates; meters have at most 8 registers" in run(file(fields), "23=10").output


def test_a_kind_of_household_with_prices_of_its_own(file: Any) -> None:
    shared = (TARIFFS / "sichuan-2026.json", "--household", "shared meter", "--on", "2026-07-01")
    assert exact(*shared, "normal=1000", "valley=1000") == "1092.8"
    kinds = {f"persons {count}": {"extra_kwh": [str(100 * count), "0"]} for count in range(5, 20)}
    path = file({**SHANDONG, "households": kinds})
    assert exact(path, "--household", "persons 19", "4420") == "2417.298"


def test_prices_of_each_month_of_a_year(file: Any) -> None:
    following = [
        {"from": f"2026-{month:02}-01 00", "tiers": [{"prices": [f"0.{month:02}", "0.2"]}]}
        for month in range(2, 13)
    ]
    path = file({**HOURS, "next": following})
    for month in range(2, 13):
        assert exact(path, "--on", f"2026-{month:02}-15", "peak=100") == str(month)


def test_a_file_says_what_it_means(file: Any) -> None:
    fields = {
        **SHANDONG,
        "households": {
            "large": {"extra_kwh": ["1200", "0"]},
            "low income": {"free_kwh": "15"},
            "school": {"tiers": [{"prices": ["0.55"]}]},
        },
        "free_period": "month",
        "standing_yuan_per_month": "20",
        "standing_yuan_per_day": "0.1",
        "service_yuan_per_kwh": ["0.1"],
    }
    result = run("check", file(fields))
    zh, en = result.stdout.splitlines()
    for words in (
        "2520 千瓦时及以下每千瓦时 0.6469 (电费 0.5469 + 服务费 0.1) 元",
        "每年 01-01 00 时清零",
        "每月免费 15 千瓦时",
        "年中开户的账户自当月起按剩余月数计算阶梯电量",
        "容量电费",
        "力调电费",
    ):
        assert words in zh
    for words in (
        "0.6469 (energy 0.5469 + service 0.1) yuan up to 2520 kWh",
        "Each month costs 20 yuan",
        "Each day costs 0.1 yuan",
        "Household large has limits higher by 1200, 0 kWh.",
        "Household school has prices of its own: 0.55.",
        "An account opened within the year has the quota of the months left",
        "power-factor adjustment",
    ):
        assert words in en
    assert result.stderr == ""


def test_holidays_that_run_out(file: Any) -> None:
    path = file(HOURS)
    assert run("check", path, "--on", "2026-08-01").stderr == ""
    result = run("check", path, "--on", "2026-09-10")
    assert (result.exit_code, "the holidays run out on 2026-10-02" in result.stderr) == (0, True)
    found = json.loads(run("check", path, "--on", "2027-01-01", "--json").stdout)
    assert "ran out on 2026-10-02" in found["warnings"][0]
    assert found["image_bytes"] > 0


def test_every_shipped_file_says_what_it_means() -> None:
    paths = sorted(TARIFFS.glob("*.json"))
    result = run("check", *paths, "--on", "2026-01-01")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2 * len(paths)


@pytest.mark.parametrize("name", ["capacity_yuan_per_kva", "demand_fee", "power_factor", "力调"])
def test_what_stays_outside_is_named(file: Any, name: str) -> None:
    result = run("check", file({**SHANDONG, name: "1"}))
    assert result.exit_code == 1
    assert "power-factor adjustment (力调电费) are not charged by the device" in result.output
