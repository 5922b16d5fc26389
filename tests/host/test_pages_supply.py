"""Goal: the pages of read success, voltage and outages show what is so, and each alarm is two
clicks from its record, on both engines.

Method: a village with midnights, voltages and silences of one day; a browser without a screen
follows links as a person does.
"""

import html
import json
import re
from collections.abc import Iterator

import pytest

from host.frames import record
from host.frames.record import RecordKind
from host.headend import noting
from host.headend.store import Store
from host.units import DAY_S, HOUR_S
from tests.host.page_station import ENGINES, served, signed_in
from tests.host.paging import Browser
from tests.host.serving import HeadEnd
from tests.host.uplink_world import CONCENTRATOR, START_T2000, account_name, meter_address

pytestmark = pytest.mark.slow

DAY = START_T2000 // DAY_S + 40  # 2026-02-03
ON = "2026-02-03"
NOON = DAY * DAY_S + 12 * HOUR_S
_FREEZE = ("day", "meter", "t2000", "concentrator", "seq", "account", "registers_wh")
_RECORD = ("concentrator", "seq", "t2000", "kind", "flags", "row", "payload", "received_at")
_ITEM = ("day", "meter", "t2000", "identifier", "concentrator", "seq", "account", "values")
_ALARM = ("concentrator", "seq", "t2000", "kind", "account", "detail")


@pytest.fixture(scope="module", params=ENGINES)
def station(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HeadEnd]:
    with served(tmp_path_factory.mktemp("station"), request.param) as running:
        # No new midnight of meter 3; 0 has used far too much, 1 has too little voltage.
        for row in range(3):
            for day in range(DAY - 28, DAY + 2):
                more_wh = 300_000 if day > DAY and row == 0 else 0
                frozen(running, row, day, 10_000 * (day - DAY + 28) + more_wh)
        yield running


def insert(
    station: HeadEnd, table: str, columns: tuple[str, ...], *rows: tuple[object, ...]
) -> None:
    with Store(station.database, read_only=False) as store, store.database.writing():
        assert store.database.insert_new(table, columns, rows) == len(rows)


def frozen(station: HeadEnd, row: int, day: int, total_wh: int) -> None:
    """Store a midnight with the record that it is from."""
    seq = 5000 + 100 * row + day % 100
    fields = {"frozen_t2000": day * DAY_S, "registers_wh": [total_wh, *[0] * 7]}
    one = record.make(seq, day * DAY_S + 60, RecordKind.FREEZE, fields, index=row)
    told = (CONCENTRATOR, seq, one.t2000, int(one.kind), 0, row, one.payload, 1)
    insert(station, "records", _RECORD, told)
    where = (day, meter_address(row), day * DAY_S, CONCENTRATOR, seq, account_name(row))
    insert(station, "freezes", _FREEZE, (*where, f"[{total_wh}]"))


@pytest.fixture
def person(station: HeadEnd) -> Browser:
    return signed_in(station, "engineer")


def links(text: str, pattern: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(f'href="({pattern})"', text)]


def test_a_suspect_reading_is_two_clicks_from_its_record(person: Browser) -> None:
    page = person.get(f"/quality?day={ON}")
    assert "far more than in the past" in page.text
    assert "75.00" in page.text, "three of four are read"
    (alarm, *_rest) = links(page.text, f'/quality/{account_name(0)}[^"]*')
    opened = person.get(alarm)
    assert "310.00 kWh" in opened.text
    record_page = person.get(links(opened.text, "/records/7/[0-9]+")[0])
    assert record_page.status == 200
    assert "FREEZE" in record_page.text
    assert "frozen_t2000" in record_page.text


def test_a_meter_that_is_missing_says_why_and_is_estimated(person: Browser) -> None:
    page = person.get(f"/quality?day={ON}")
    assert "1 missing" in page.text
    opened = person.get(f"/quality/{account_name(3)}?day={ON}")
    assert "no midnight" in opened.text
    told = person.get(f"/quality/{account_name(3)}?day=2025-12-25")
    assert "No money is made of it." in told.text


def test_low_voltage_is_listed_with_its_hours(station: HeadEnd, person: Browser) -> None:
    assert "No voltage was sampled" in person.get(f"/voltage?day={ON}").text
    rows = [
        (DAY, meter_address(row), NOON, "0201FF00", CONCENTRATOR, 1, account_name(row), f"[{dv}]")
        for row, dv in ((1, 1871), (2, 2201))
    ]
    insert(station, "items", _ITEM, *rows)
    page = person.get(f"/voltage?day={ON}")
    assert "187.1" in page.text
    assert '<td class="low">187</td>' in page.text
    assert '<td class="cool3">220</td>' in page.text
    assert "50.00" in page.text
    opened = person.get(links(page.text, f'/quality/{account_name(1)}[^"]*')[0])
    assert links(opened.text, "/records/7/1") == ["/records/7/1"]


def test_an_outage_names_its_households(station: HeadEnd, person: Browser) -> None:
    assert "No outage is known" in person.get(f"/outages?day={ON}").text
    silent = json.dumps({"state": 1, "failures": 9, "ahead_s": 0})
    rows = [
        (CONCENTRATOR, 9000 + row, NOON + row, "LINE", account_name(row), silent)
        for row in range(3)
    ]
    insert(station, "alarms", _ALARM, *rows)
    page = person.get(f"/outages?day={ON}")
    assert "not over" in page.text
    assert "likely" in page.text
    assert len(links(page.text, '/quality/0[^"]*')) == 3


def test_what_is_noted_leads_from_the_first_page_to_the_meter(
    station: HeadEnd, person: Browser
) -> None:
    with Store(station.database) as store:
        noting.note_day(store, DAY, "Li")
    page = person.get("/")
    assert links(page.text, f"/quality/{account_name(0)}\\?day={ON}")
    assert "read success" in page.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/quality?day=yesterday", 400),
        ("/quality?day=1999-12-31", 400),
        ("/voltage?day=9999-12-31", 400),
        ("/outages?district=D99", 404),
        ("/records/7/999999", 404),
        ("/quality/000000009999", 404),
    ],
)
def test_a_wrong_address_ends_in_one_sentence(person: Browser, path: str, status: int) -> None:
    answer = person.get(path)
    assert answer.status == status
    assert answer.said


def test_in_chinese_no_english_is_left(station: HeadEnd) -> None:
    browser = Browser(station.url, "zh")
    browser.sign_in("viewer", "correct horse")
    text = browser.get(f"/quality?day={ON}").text
    assert "采集成功率" in text
    assert "read success" not in text
