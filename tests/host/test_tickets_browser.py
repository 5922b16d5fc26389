"""Goal: from a relay that does not obey to a closed ticket, at the desk and on a phone.

Method: a household's relay stays closed where it should be open, which its concentrator reports.
Debian's Chromium makes the ticket at a desk and closes it on a phone, first without a connection.
"""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from host.headend.store import Store
from tests.host.page_station import ACCOUNT, PASSWORD, village_made
from tests.host.serving import HeadEnd
from tests.host.test_pages_browser import CHROMIUM, judge

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs: apt install chromium"),
]

STUCK = "the relay of account {account} is closed and should be open"
PHONE = {"width": 390, "height": 844}
HOURS = 2


@pytest.fixture
def station(tmp_path: Path) -> Iterator[HeadEnd]:
    with Store(tmp_path / "village.db", create=True) as store:
        village_made(store)
        what = json.dumps({"text": STUCK, "account": ACCOUNT})
        row = (7, 900, "relay", ACCOUNT, what, int(time.time()))
        columns = ("concentrator", "seq", "kind", "account", "what", "found_at")
        with store.writing() as database:
            database.insert_new("findings", columns, [row])
    running = HeadEnd(tmp_path, "--page", "127.0.0.1:0")
    yield running
    running.end(signal.SIGKILL)


def signed_in(page: Page, url: str, path: str) -> None:
    page.goto(f"{url}{path}")
    page.fill("[name=name]", "engineer")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("main h1")


def test_from_a_stuck_relay_to_a_closed_ticket(station: HeadEnd) -> None:
    with sync_playwright() as client:
        browser = client.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        desk = browser.new_context(locale="en").new_page()
        signed_in(desk, station.url, "/tickets")
        judge(desk)
        assert "0 mended in 30 days" in desk.inner_text("main")
        desk.click("tr:has-text('should be open') >> text=make a ticket")
        desk.fill("[name=who]", "engineer")
        desk.keyboard.press("Enter")
        desk.wait_for_selector("h1:has-text('relay')")
        number = int(desk.url.rpartition("/")[2])
        with Store(station.database) as store, store.database.writing():
            query = "UPDATE tickets SET opened_at = opened_at - ? WHERE ticket = ?"
            store.database.run(query, (HOURS * 3600, number))

        away = browser.new_context(locale="en", viewport=PHONE, has_touch=True, is_mobile=True)
        phone = away.new_page()
        signed_in(phone, station.url, f"/tickets/{number}")
        judge(phone)
        said = phone.inner_text("main")
        assert "dianka meter" in said
        assert "exchange the meter" in said
        away.set_offline(True)
        phone.fill("[name=said]", "contacts cleaned")
        phone.check("[name=outcome][value=mended]", force=True)
        phone.click("main button.main")
        phone.wait_for_selector("[data-kept]:visible")
        assert _outcome(station, number) == "", "it has not arrived"
        away.set_offline(False)
        phone.wait_for_selector("h2:has-text('done') .chip.ok")
        assert _outcome(station, number) == "mended"

        desk.goto(f"{station.url}/tickets")
        said = desk.inner_text("main")
        assert "1 mended in 30 days, 1 of them in time" in said
        assert f"{HOURS}:0" in said, "the mean repair time"
        assert "should be open" not in said, "the alarm is over"


def _outcome(station: HeadEnd, number: int) -> str:
    with Store(station.database, read_only=True) as store:
        return str(store.value("SELECT outcome FROM tickets WHERE ticket = ?", (number,)))
