"""Goal: a new clerk opens the drawer and an account, finds a household, sells 50 yuan, puts it on
a card, has it redeemed, sells a mistake and takes it back, and closes the day: by keyboard alone.
Every page is fit for people who see little or use no mouse.

Method: Debian's Chromium, driven by Playwright's client, opens the pages of a head-end that runs
as a process. The counter's reader holds a card in a file; the books of the firmware redeem it, and
tell the head-end over its port. axe-core judges each page, light and dark, wide and on a phone.
"""

import functools
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, sync_playwright

from host.cards.counter import Counter, Service
from host.cli import cli
from host.cli.card.desk import Desk
from host.cli.card.orders import new_header
from host.headend import approvals, household_links, orders, registry, users
from host.headend.approvals import SALE
from host.headend.ingest import Ingest
from host.headend.registry import Entry
from host.headend.store import Store
from host.link.card import FileCard
from tests.host.real_station import DISTRICT, RealStation
from tests.host.serving import HeadEnd, converse
from tests.host.uplink_world import KEYS, Device, Village, account_name

ACCOUNT = account_name(1)
PASSWORD = "correct horse"
CHROMIUM = shutil.which("chromium")
KEY = "ABCDEF-GHIJKL-MNOPQR-STUVWX"
# What axe asks of one page at a time; the rest of its rules are of taste.
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs: apt install chromium"),
]


class Counting:
    """A station whose households are real books, its pages, and the reader of a counter."""

    def __init__(self, folder: Path) -> None:
        self.card, keys = folder / "card.bin", folder / "card-keys.toml"
        self._words = ["--keys", str(keys), "--log", str(folder / "card-log.jsonl")]
        self._run("card", "keys", "new", "--keys", str(keys), "--district", str(DISTRICT))
        self.books = RealStation(keys, 3)
        db = folder / "village.db"
        with Store(db, create=True) as store:
            ingest = Ingest(store, KEYS)
            self.books.read(1, 0)
            self.books.tell(ingest)
            orders.sell(store, ACCOUNT, 10000)
            self._run(
                *("card", "issue", "--file", str(self.card), "--account", ACCOUNT),
                *("--db", str(db), *self._words),
            )
            assert self.books.redeem(self.card) == "OK"
            for _hour in range(60):
                self.books.read(1, 500, 3600)
            self.books.tell(ingest)
            users.add(store, "li", "manager", users.hashed(PASSWORD))
            registry.take(store, [Entry(ACCOUNT, "C-1", "王小明", "13800138001")])
            household_links.set_station(store, "https://power.example", "0571-8888", "here")
            approvals.ask(store, SALE, ACCOUNT, 2_000_000, "wang", "for the whole year")
            self.own = "/h/" + household_links.visit_token(store, ACCOUNT)
        self.pages = HeadEnd(folder, "--page", "127.0.0.1:0")
        desk = Desk(keys, folder / "card-log.jsonl", None, None)
        self._counter = Counter(
            self._opened, desk.key_for, desk.issuer, functools.partial(new_header, desk)
        )
        self._epoch = 1

    def _run(self, *words: str) -> None:
        unsealed = ("--unsealed",) if "new" in words else ()
        done = CliRunner().invoke(cli, [*words, *unsealed])
        assert done.exit_code == 0, done.output

    @contextmanager
    def _opened(self) -> Iterator[FileCard]:
        yield FileCard(self.card)

    @contextmanager
    def reader(self) -> Iterator[str]:
        """Run the counter's reader; give what is typed into the page."""
        with Service(self._counter, self.pages.url, KEY, 0) as service:
            thread = threading.Thread(target=service.serve_forever)
            thread.start()
            yield f"{service.server_port}-{KEY}"
            service.shutdown()
            thread.join()

    def redeem(self) -> None:
        """Insert the card at the concentrator, which tells the head-end."""
        assert self.books.redeem(self.card) == "OK"
        self._epoch += 1
        device = Device(Village(records=list(self.books.records())), self._epoch)
        with self.pages.connect() as sock:
            converse(device, sock, until_idle=True)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    """Serve the station and its pages, with one manager who sells."""
    running = Counting(tmp_path_factory.mktemp("station"))
    yield running
    running.pages.end(signal.SIGKILL)


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
        page.wait_for_selector(":focus")
        page.keyboard.type(told)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sell?account=000000000031")


def open_the_drawer(page: Page) -> None:
    """Open the drawer with 200 yuan."""
    page.click("nav >> text=drawer")
    page.wait_for_selector("h2:has-text('open the drawer')")
    judge(page)
    page.keyboard.type("200")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=¥ 200.00")


def close_the_day(page: Page) -> None:
    """Count the drawer and close it."""
    page.click("nav >> text=drawer")
    page.wait_for_selector("text=cash by the books")
    assert "¥ 250.00" in page.inner_text("p.balance"), "200 and the 50 that count"
    page.focus("text=count and close")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('count and close the drawer')")
    page.wait_for_selector(":focus")
    page.keyboard.type("250")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=the books say ¥ 250.00.")
    judge(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('open the drawer')")
    assert "¥ 250.00" in page.inner_text("main")


def put_on_a_card(page: Page, typed: str) -> None:
    """Tell the page the key of the reader, and have the order written."""
    page.fill("[data-pair] input", typed)
    page.press("[data-pair] input", "Enter")
    page.wait_for_selector(".held")
    assert "the newest order is not on this card" in page.inner_text(".held")
    judge(page)
    page.focus("[data-write]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#receipt >> text=on a card")


def take_back_a_mistake(page: Page, station: HeadEnd) -> None:
    """Sell 500 yuan by a double click, go back, and take the sale back."""
    keys = page.keyboard
    page.goto(f"{station.url}/sell?account={ACCOUNT}")
    page.wait_for_selector(":focus")
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


def test_a_new_clerk_sells_puts_on_a_card_and_takes_back_with_the_keyboard_alone(
    counting: Counting, browser: Browser
) -> None:
    station = counting.pages
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
    open_the_drawer(page)
    page.goto(f"{station.url}/sell")
    open_an_account(page)
    page.goto(f"{station.url}/sell")
    page.wait_for_selector(":focus")
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

    with counting.reader() as typed:
        put_on_a_card(page, typed)
        counting.redeem()
        page.reload()
        page.wait_for_selector("#receipt >> text=redeemed")
        page.goto(f"{station.url}/sell")
        keys.press("F2")
        page.wait_for_url(f"**/sell?account={ACCOUNT}#card")
        page.wait_for_selector(".held")
        assert "The card is what the books say" in page.inner_text(".held")
        judge(page)

    take_back_a_mistake(page, station)
    with Store(station.db, read_only=True) as store:
        sold = [
            (row["order"], row["amount_fen"])
            for row in orders.orders_of(store, ACCOUNT)
            if row["voided_at"] is None and row["amount_fen"]
        ]
    assert sold == [(1, 10000), (2, 5000)]
    close_the_day(page)
    assert not troubles
    context.close()


def test_every_page_is_fit_for_all_people_and_screens(
    counting: Counting, browser: Browser
) -> None:
    station = counting.pages
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
        for path in (
            *("/", "/households", f"/households/{ACCOUNT}", f"/refund/{ACCOUNT}", "/day"),
            *("/drawer", "/arrears", "/approvals", "/audit?verify=1", "/imports"),
            *("/quality", "/voltage", "/outages", f"/quality/{ACCOUNT}", "/records/7/1"),
            *(f"/households/{ACCOUNT}/exchange", f"/households/{ACCOUNT}/switch/cut"),
            *(f"/households/{ACCOUNT}/use/hour", f"/households/{ACCOUNT}/class"),
            *("/approvals/1", "/devices", "/tickets", "/notices", "/planned-outages"),
            *("/complaints", "/districts", "/h", counting.own),
        ):
            page.goto(station.url + path)
            if path.endswith(f"households/{ACCOUNT}"):
                page.click("a:has-text('抄表扣费') >> nth=0")
                page.wait_for_selector(".day")
            judge(page)
            too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not too_wide, path
        context.close()
