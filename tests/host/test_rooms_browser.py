"""Goal: a landlord lets a tenant in, sells, reads the meter, lets the tenant out with a final bill
as PDF, and the next one in at zero, all in one page.

Method: Debian's Chromium opens the pages of `dianka headend serve --simple`, whose concentrator is
a session over the network. axe-core judges the page in each state.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from host.headend.store import Store
from tests.host.serving import HeadEnd, converse
from tests.host.test_pages_browser import CHROMIUM, judge
from tests.host.uplink_world import Device, Village, account_name

ROOM = account_name(0)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs: apt install chromium"),
]


class House:
    """A house of two rooms with its head-end, and the concentrator that tells of it."""

    def __init__(self, folder: Path) -> None:
        self.running = HeadEnd(folder, "--page", "127.0.0.1:0", "--simple")
        self.village = Village()
        self.epoch = 0
        for row in range(2):
            self.village.meter(row)
            self.village.reading(row, 0)
        self.tell()

    def tell(self) -> None:
        self.epoch += 1
        with self.running.connect() as sock:
            converse(Device(self.village, self.epoch), sock, until_idle=True)

    def redeem(self, order: int, fen: int) -> None:
        self.village.top_up(0, fen, order=order)
        self.tell()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.running.end(signal.SIGKILL)


def let_in(page: Page, name: str, deposit: str, register: str) -> None:
    room = page.locator(f"#room-{ROOM}")
    room.locator("summary:has-text('move in')").click()
    judge(page)
    for field, text in (("name", name), ("deposit", deposit), ("register", register)):
        room.locator(f"[name={field}]").fill(text)
    room.locator("[name=sure]").check()
    room.locator("button[value=in]").click()
    page.wait_for_selector(f"#room-{ROOM} .chip:has-text('{name}')")


def test_a_month_of_a_landlord(house: House) -> None:
    with sync_playwright() as client:
        browser = client.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(locale="en").new_page()
        page.goto(f"{house.running.url}/")
        page.click("nav >> text=rooms")
        room = page.locator(f"#room-{ROOM}")
        let_in(page, "Wang Fang", "500", "0")
        assert "¥ 500.00" in room.inner_text()

        room.locator("text=sell electricity").click()
        page.fill("[name=amount]", "100")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=confirm the sale")
        page.click("button[value=sell]")
        page.wait_for_url("**/receipts/**")
        house.redeem(1, 10000)
        house.village.reading(0, 2500)
        house.tell()

        page.goto(f"{house.running.url}/rooms")
        assert "¥ 75.00" in room.inner_text()
        room.locator("summary:has-text('move out')").click()
        room.locator("[name=register]").fill("40")
        room.locator("[name=sure]").check()
        room.locator("button[value=out]").dblclick()
        page.wait_for_selector("[role=alert]:has-text('the meter shows 40.00 kWh')")
        room.locator("[name=register]").fill("50.00")
        room.locator("[name=sure]").check()
        room.locator("button[value=out]").click()
        page.wait_for_selector("#bill")
        judge(page)
        assert "¥ 500.00" in page.inner_text("#bill")
        bill = page.request.get(f"{house.running.url}/rooms/1/bill.pdf")
        assert bill.body().startswith(b"%PDF")

        assert "on its way" in room.inner_text()
        house.redeem(2, -7500)
        page.goto(f"{house.running.url}/rooms")
        room.locator("text=pay ¥ 75.00 back").click()
        page.wait_for_selector("[role=status]:has-text('75.00')")
        let_in(page, "Li Na", "300", "50")
        assert "¥ 0.00" in room.inner_text()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with Store(house.running.db, read_only=True) as store:
        moves = store.rows("SELECT amount_fen FROM deposit_moves ORDER BY id")
    assert [one["amount_fen"] for one in moves] == [50000, -50000, 30000]
