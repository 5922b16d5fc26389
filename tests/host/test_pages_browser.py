"""Goal: a new clerk finds a household, sells 50 yuan, puts it on a card, sells a mistake and takes
it back, with the keyboard alone; every page is fit for people who see little or use no mouse.

Method: Debian's Chromium, driven by Playwright's client, opens the pages of a head-end that runs
as a process. axe-core judges each page it comes to, light and dark, wide and on a phone.
"""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, sync_playwright

from host.cli import cli
from host.headend import orders, users
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.serving import HeadEnd
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

ACCOUNT = account_name(1)
PASSWORD = "correct horse"
CHROMIUM = shutil.which("chromium")
# What axe asks of one page at a time; the rest of its rules are of taste.
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs: apt install chromium"),
]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadEnd]:
    """Serve a village and its pages, with one cashier."""
    folder = tmp_path_factory.mktemp("station")
    with Store(folder / "village.db", create=True) as store:
        for row in range(3):
            orders.sell(store, account_name(row), 10000)
        deliver(Ingest(store, KEYS), village_of(3, 60))
        users.add(store, "li", "manager", users.hashed(PASSWORD))
    running = HeadEnd(folder, "--page", "127.0.0.1:0")
    yield running
    running.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as client:
        running = client.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


def judge(page: Page) -> None:
    """Hold that axe finds nothing against a page."""
    found = Axe().run(page, options=_RULES)
    assert not found.violations_count, f"{page.url}\n{found.generate_report()}"


def open_an_account(page: Page) -> None:
    """Open an account from the desk, with the keyboard."""
    page.focus("main >> text=open an account")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('open an account')")
    judge(page)
    for told in ("31", "张三丰", "13800000000", "东街 9 号", "4", "T-1"):
        page.keyboard.type(told)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sell?account=000000000031")


def put_on_a_card(station: HeadEnd) -> None:
    """Write the order on a card at the reader of the counter."""
    for words in (
        "card keys new --keys keys.json --district 1",
        f"card issue --file card.bin --account {ACCOUNT} --db {station.db} --keys keys.json",
    ):
        done = CliRunner().invoke(cli, words.split())
        assert done.exit_code == 0, done.output


def test_a_new_clerk_sells_puts_on_a_card_and_takes_back_with_the_keyboard_alone(
    station: HeadEnd, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIANKA_CARD_PASSPHRASE", PASSWORD)
    monkeypatch.chdir(tmp_path)
    context = browser.new_context(locale="en")
    page = context.new_page()
    keys = page.keyboard
    troubles: list[str] = []
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(f"{station.url}/sell")
    judge(page)
    keys.type("li")
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    page.wait_for_selector("h1:has-text('sell electricity')")
    judge(page)
    open_an_account(page)
    page.goto(f"{station.url}/sell")
    keys.type("98 3765")  # by the number of its meter
    keys.press("Enter")
    page.wait_for_url(f"**/sell?account={ACCOUNT}")
    judge(page)
    keys.type("50")
    keys.press("Enter")
    page.wait_for_selector("text=confirm the sale")
    judge(page)
    keys.press("Enter")
    page.wait_for_url("**/receipts/**")
    assert "¥ 50.00" in page.inner_text("#receipt")
    judge(page)

    put_on_a_card(station)
    page.reload()
    assert "on a card" in page.inner_text("#receipt")

    page.goto(f"{station.url}/sell?account={ACCOUNT}")
    keys.type("500")
    keys.press("Enter")
    page.wait_for_selector("text=confirm the sale")
    page.dblclick("button[value=sell]")
    page.wait_for_url("**/receipts/**")
    assert "¥ 500.00" in page.inner_text("#receipt")
    page.go_back()
    page.wait_for_selector("text=nothing was sold a second time")
    page.focus("text=take it back")
    keys.press("Enter")
    page.wait_for_url("**/void/**")
    judge(page)
    keys.type("50, not 500")
    keys.press("Enter")
    page.wait_for_url("**/receipts/**")
    assert "taken back" in page.inner_text("#receipt")
    with Store(station.db, read_only=True) as store:
        sold = [
            (row["order"], row["amount_fen"])
            for row in orders.orders_of(store, ACCOUNT)
            if row["voided_at"] is None and row["amount_fen"]
        ]
    assert sold == [(1, 10000), (2, 5000)]
    assert not troubles
    context.close()


def test_every_page_is_fit_for_all_people_and_screens(station: HeadEnd, browser: Browser) -> None:
    for scheme, width in (("light", 1280), ("dark", 390)):
        context = browser.new_context(
            locale="zh-CN", color_scheme=scheme, viewport={"width": width, "height": 800}
        )
        page = context.new_page()
        page.goto(f"{station.url}/sign-in")
        page.fill("[name=name]", "li")
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_selector("h1:has-text('今日')")
        for path in ("/", "/households", f"/households/{ACCOUNT}", f"/refund/{ACCOUNT}", "/day"):
            page.goto(station.url + path)
            if path.endswith(f"households/{ACCOUNT}"):
                page.click("a:has-text('抄表扣费') >> nth=0")
                page.wait_for_selector(".day")
            judge(page)
            too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not too_wide, path
        context.close()
