"""Goal: the device charges exactly as a tariff file says, and a file that cannot be honoured
exactly is refused by field and value.

Method: a good file gets one error at a time; every shipped file passes through the builder, the
parser and the device's reader; the terms of random files at random moments must be the same by
the device's calendar and by the host's.
"""

import copy
import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.billing.pricing import Calendar
from host.device.bill import Tariff
from host.frames.tariff import build, load, parse, read
from host.frames.tariff_terms import TariffError, TariffFile, rate_at
from host.units import EPOCH, to_t2000
from tests.host.tariff_strategies import tariff_files

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "tariffs").glob("*.json"))

GOOD: dict[str, Any] = {
    "name": "good",
    "source": "made for this test",
    "tier_period": "year",
    "tier_reset": ["01-01 00"],
    "rates": ["peak", "valley"],
    "tiers": [
        {"upto_kwh": "100", "prices": ["0.5", "0.3"]},
        {"upto_kwh": "200", "prices": ["0.55", "0.35"]},
        {"prices": ["0.8", "0.58866875"]},
    ],
    "standing_yuan_per_day": "0.1",
    "seasons": [
        {"from": "05-01", "table": "night"},
        {
            "from": "11-01",
            "tiers": [
                {"upto_kwh": "90", "prices": ["0.4", "0.2"]},
                {"upto_kwh": "150", "prices": ["0.4", "0.2"]},
                {"prices": ["0.7", "0.5"]},
            ],
        },
    ],
    "households": {"large": {"extra_kwh": ["10", "0"]}, "poor": {"free_kwh": "5"}},
    "schedule": {
        "tables": {
            "day": [["00:00", "valley"], ["08:00", "peak"], ["22:30", "valley"]],
            "night": [["00:00", "valley"]],
        },
        "table": "day",
        "rest_table": "night",
        "rest_days": ["sat", "sun"],
        "holidays": {"2026-10-01": "night"},
    },
    "next": [
        {"from": "2026-07-01 00", "tier_period": "month", "tier_reset": ["15 08"]},
        {"from": "2027-01-01 00", "standing_yuan_per_day": "0"},
    ],
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return GOOD with one value changed; the value ... removes it."""
    fields = copy.deepcopy(GOOD)
    at: Any = fields
    names: list[Any] = [int(name) if name.isdigit() else name for name in path.split("/")]
    for name in names[:-1]:
        at = at[name]
    if value is ...:
        del at[names[-1]]
    else:
        at[names[-1]] = value
    return fields


def on_device(tariff: TariffFile) -> Tariff:
    device = Tariff()
    image = build(tariff, 7)
    assert device.load(image, len(image)) == ""
    return device


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_files_reach_the_device(path: Path) -> None:
    tariff = load(path)
    device = on_device(tariff)
    image = parse(build(tariff, 7))
    assert (device.number, device.rates, device.tiers) == (7, image.rates, image.tiers)
    device.seek(to_t2000(datetime(2026, 1, 15)))
    first = Calendar(tariff).season_at(datetime(2026, 1, 15)).ladders[0].prices[-1][-1]
    last = (device.row + device.tiers) * device.rates - 1
    price = Decimal(device.prices_e4[last]).scaleb(-4)
    assert price + Decimal(device.prices_e8_low[last]).scaleb(-8) == first


def test_a_good_file_with_everything() -> None:
    tariff = read(json.dumps(GOOD))
    device = on_device(tariff)
    assert (device.registers, device.households, device.tiers) == (1, 3, 4)
    assert list(device.limits_wh[:12]) == [
        *(0, 100000, 200000, 0x3FFFFFFF),
        *(0, 110000, 200000, 0x3FFFFFFF),
        *(5000, 100000, 200000, 0x3FFFFFFF),
    ]


def test_an_empty_schedule_and_a_month_named_by_a_day_of_the_year() -> None:
    fields = {**GOOD, "schedule": {}, "seasons": [], "tier_period": "month", "next": []}
    device = on_device(read(json.dumps(fields)))
    assert device.registers == 2
    assert device.period_at(to_t2000(datetime(2026, 3, 5))) == to_t2000(datetime(2026, 3, 1)) + 1


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("name", ..., "name: is missing"),
        ("tiers", ..., "tiers: is missing"),
        ("tiers", [], "tiers: there must be at least one"),
        ("tier_period", "week", "tier_period 'week': must be 'month', 'year' or 'none'"),
        ("colour", "red", "colour 'red': is not known here"),
        ("tiers/0/prices/1", 0.3, "tiers[0].prices[1] 0.3: write a decimal number"),
        ("tiers/0/prices/1", "0,3", "tiers[0].prices[1] '0,3': write a decimal number"),
        ("tiers/0/prices/1", "-0.3", "tiers[0].prices[1] '-0.3': write a decimal number"),
        ("tiers/0/prices/1", "NaN", "tiers[0].prices[1] 'NaN': write a decimal number"),
        (
            "tiers/0/prices/1",
            "0.123456789",
            "tiers[0].prices[1] 0.123456789: more than 8 decimals",
        ),
        ("tiers/0/prices/1", "100000", "tiers[0].prices[1] 100000: must be below 100000"),
        ("tiers/0/prices", ["0.5"], "tiers[0].prices: 1 prices for 2 rates"),
        ("tiers/1/upto_kwh", "99", "tiers[1].upto_kwh 99: limits must be above 0 and not fall"),
        ("tiers/1/upto_kwh", "100.0001", "tiers[1].upto_kwh 100.0001: more than 3 decimals"),
        ("tiers/1/upto_kwh", ..., "tiers[1].upto_kwh None: only the last tier may lack it"),
        ("tiers/2/upto_kwh", "300", "tiers[2].upto_kwh 300: the last tier has no limit"),
        ("tiers/0/upto_kwh", "0", "tiers[0].upto_kwh 0: limits must be above 0"),
        ("rates", [], "rates []: has 0 entries, at least 1"),
        ("rates", ["a"] * 25, "has 25 entries, at most 24"),
        ("rates", ["peak", "peak"], "two have the same name"),
        ("tier_reset", [], "tier_reset []: a year has 1 to 6"),
        ("tier_reset", ["1-1"], "tier_reset[0] '1-1': write MM-DD hh"),
        ("tier_reset", ["13-01 00"], "tier_reset[0] '13-01 00': a month is 01 to 12"),
        ("tier_reset", ["01-29 00"], "tier_reset[0] '01-29 00': a day is 01 to 28"),
        ("tier_reset", ["01-01 24"], "an hour 00 to 23"),
        ("tier_reset", ["01-01 00"] * 2, "all different"),
        ("tier_reset", [f"{month:02}-01 00" for month in range(1, 8)], "a year has 1 to 6"),
        ("tier_period", "none", "nothing is reset with tier_period none"),
        ("standing_yuan_per_day", "0.12345678", "standing_yuan_per_day 0.12345678: more than 7"),
        ("seasons/0/from", "02-29", "seasons[0].from '02-29': write a day of every year"),
        ("seasons/0/from", "11-01", "two begin on the same day"),
        ("seasons/0/table", "dusk", "there is no table 'dusk', only day, night"),
        ("schedule/tables/day/0/0", "24:00", "schedule.tables.day[0] '24:00': write hh:mm"),
        ("schedule/tables/day/0/0", "00:30", "schedule.tables.day: 1 to 48 slots, from 00:00 on"),
        ("schedule/tables/day/0/1", "dusk", "schedule.tables.day[0] 'dusk': no rate of"),
        ("schedule/table", "dusk", "there is no table 'dusk'"),
        ("schedule/rest_days", ["noday"], "schedule.rest_days[0] 'noday'"),
        ("schedule/holidays", {"2026-02-30": "day"}, "schedule.holidays"),
        ("schedule/holidays", {"2026-02-20": "dusk"}, "there is no table 'dusk'"),
        ("schedule", ..., "seasons[0].table: there is no schedule"),
        (
            "households/large/extra_kwh",
            ["10"],
            "households.large.extra_kwh: 1 values for 2 limits",
        ),
        ("households/large/extra_kwh", ["101", "0"], "the limits must not fall"),
        ("households/poor/free_kwh", "101", "households.poor.free_kwh 101: above the first limit"),
        (
            "households",
            {str(at): {} for at in range(16)},
            "17 kinds of households: at most 16",
        ),
        (
            "households/ordinary",
            {},
            "households.ordinary: the tariff's own tiers are of that kind",
        ),
        ("households/poor/extra_kwh", ["1", "2", "3"], "3 values for 2 limits"),
        ("households/large/tiers", [{"prices": ["1", "1"]}], "leave extra_kwh out"),
        ("seasons/0/households", {"rich": {}}, "households.rich: the tariff has only ordinary"),
        ("free_period", "week", "free_period 'week': must be 'month' or 'year'"),
        ("free_reset", "01 00", "free_reset '01 00': there is no free_period"),
        ("tier_rates", ["dusk"], "tier_rates 'dusk': no rate of"),
        ("tier_rates", [], "at least one rate must fill the tiers"),
        ("tier_rates", ["peak"], "'valley' is not in tier_rates, so it must cost the same"),
        ("service_yuan_per_kwh", ["1", "2", "3"], "service_yuan_per_kwh: 3 values for 2 rates"),
        ("service_yuan_per_kwh", ["99999.9"], "with service_yuan_per_kwh 100000.4: must be below"),
        ("standing_yuan_per_month", "1.00001", "standing_yuan_per_month 1.00001: more than 4"),
        ("part_year", {"opened": "next_month"}, "part_year.opened 'next_month': must be"),
        (
            "seasons",
            [{"from": f"{month:02}-{day:02}"} for month in range(1, 13) for day in (1, 15)],
            "seasons: 24, at most 16",
        ),
        ("next/0/from", "soon", "next[0].from 'soon': write YYYY-MM-DD hh"),
        ("next/1/from", "2026-07-01 00", "next[1].from '2026-07-01 00': not after the set before"),
        (
            "next",
            [{"from": f"20{at}-01-01 00"} for at in range(27, 60)],
            "34 sets of terms: at most 32",
        ),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object, complaint: str) -> None:
    with pytest.raises(TariffError) as caught:
        read(json.dumps(changed(path, value)))
    assert complaint in str(caught.value)


def test_a_shorter_ladder_ends_with_its_last_tier() -> None:
    """Yunnan has one price in the rainy season and three tiers in the dry one."""
    fields = {**changed("seasons/1/tiers", GOOD["tiers"][1:]), "households": {}}
    device = on_device(read(json.dumps(fields)))
    device.seek(to_t2000(datetime(2026, 2, 1)))
    first = device.row
    assert list(device.limits_wh[first : first + 3]) == [200000, 0x3FFFFFFD, 0x3FFFFFFF]
    prices = list(device.prices_e4[first * 2 : first * 2 + 6])
    assert prices == [5500, 3500, 8000, 5886, 8000, 5886]


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tariff.json"
    path.write_text("{")
    with pytest.raises(TariffError, match=r"tariff\.json: file: is no JSON"):
        load(path)
    path.write_bytes(b"\x80\xff")
    with pytest.raises(TariffError, match="cannot be read"):
        load(path)


def test_a_cut_image_is_refused() -> None:
    image = build(read(json.dumps(GOOD)))
    for size in range(len(image)):
        with pytest.raises(TariffError):
            parse(image[:size])
    with pytest.raises(TariffError):
        parse(image + b"\0")


@settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(tariff_files(), st.lists(st.integers(0, 800 * 86400), min_size=1, max_size=20))
def test_device_and_host_agree_on_what_holds_when(tariff: TariffFile, after: list[int]) -> None:
    device = on_device(tariff)
    calendar = Calendar(tariff)
    for second in after:
        moment = datetime(2025, 12, 1) + timedelta(seconds=second)
        device.seek(to_t2000(moment))
        season = calendar.season_at(moment)
        for household in range(device.households):
            ladder = season.ladders[household]
            row = device.row + household * device.tiers
            limits = [int(limit * 1000) for limit in ladder.limits_kwh]
            assert list(device.limits_wh[row : row + device.tiers - 1]) == limits
            for at, price in enumerate(price for tier in ladder.prices for price in tier):
                place = row * device.rates + at
                found = Decimal(device.prices_e4[place]).scaleb(-4)
                found += Decimal(device.prices_e8_low[place]).scaleb(-8)
                assert found == price
        period = calendar.period_at(moment)
        assert device.period_t2000 == (period.t2000 if period else 0)
        standing = calendar.terms_at(moment).standing_yuan
        assert Decimal(device.standing_e7).scaleb(-7) == standing
        rate = -1
        if tariff.clock_tells_rate:
            rate = rate_at(tariff, season, moment)
        assert device.rate == rate
        until = EPOCH + timedelta(seconds=device.until_t2000)
        changes = list(calendar.changes(moment, min(until, moment + timedelta(days=40))))
        # Of the host's changes of rate, only those count where the rate differs.
        assert not changes or (tariff.clock_tells_rate and changes[0] == until)
