"""Goal: from a district's page a clue opens to its readings, and to the record, in two clicks.

Method: a concentrator's records come in as they do from a device; one household opens its
terminal cover and uses less from then on. Debian's Chromium follows the clue.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from host.frames.record import RecordKind
from host.headend import registry, topology, users
from host.headend.ingest import Ingest
from host.headend.registry import Entry
from host.headend.store import Store
from host.units import DAY_S
from tests.host.serving import HeadEnd
from tests.host.test_pages_browser import CHROMIUM, PASSWORD, judge
from tests.host.uplink_world import (
    KEYS,
    START_T2000,
    Village,
    account_name,
    deliver,
    meter_address,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs: apt install chromium"),
]

TODAY = START_T2000 // DAY_S
THIEF, SUM_METER = 1, 3


def village_made(store: Store) -> None:
    """Bring in the records of three households and their sum meter."""
    village = Village()
    for row in range(4):
        village.meter(row, "990000000001" if row == SUM_METER else None)
        total = 0
        for day in range(TODAY - 12, TODAY + 2):
            registers = [total, *[0] * 7]
            told = {"frozen_t2000": day * DAY_S, "registers_wh": registers}
            village.write(RecordKind.FREEZE, told, row)
            stolen = 7000 if day >= TODAY - 2 else 0
            total += 25_000 if row == SUM_METER else 8000 - (stolen if row == THIEF else 0)
    for count in (0, 1):
        told = {"identifier": "03300E00", "count": 1, "values": [count]}
        village.write(RecordKind.ITEM, told, THIEF)
    low = {"identifier": "0201FF00", "count": 1, "values": [1913]}
    village.write(RecordKind.ITEM, low, THIEF)
    deliver(Ingest(store, KEYS), village)
    entries = [
        Entry(account_name(row), f"C-{row}", "Li", district="R4", meter=meter_address(row))
        for row in range(3)
    ]
    registry.take(store, entries)
    topology.add_supply(store, "990000000001", topology.DISTRICT, "R4", (1, 1), 0)
    users.add(store, "li", "manager", users.hashed(PASSWORD))


@pytest.fixture
def station(tmp_path: Path) -> Iterator[HeadEnd]:
    with Store(tmp_path / "village.db", create=True) as store:
        village_made(store)
    running = HeadEnd(tmp_path, "--page", "127.0.0.1:0")
    yield running
    running.end(signal.SIGKILL)


def test_a_clue_opens_to_its_record_in_two_clicks(station: HeadEnd) -> None:
    with sync_playwright() as client:
        browser = client.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(locale="en").new_page()
        page.goto(f"{station.url}/districts")
        page.fill("[name=name]", "li")
        page.fill("[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("main >> text=R4")
        page.goto(station.url)
        assert page.inner_text(".figure:has-text('line loss')").split()[2:4] == ["32.0", "%"]
        page.click("a:has-text('line loss')")
        page.click("main >> text=R4")
        page.wait_for_selector("h1:has-text('R4')")
        judge(page)
        said = page.inner_text("main")
        assert "terminal cover opened" in said
        assert "loss rose as use fell" in said
        assert "191" in page.inner_text(".heat .low")
        page.click("a[href*='/clues/']:has-text('0000 0000 0002')")
        page.wait_for_selector("h1:has-text('0000 0000 0002')")
        judge(page)
        page.click("tr[aria-current=true] a")
        page.wait_for_selector("h2:has-text('ITEM')")
        assert "03300E00" in page.inner_text("main")
