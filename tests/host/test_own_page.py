"""Goal: a household sees its own account by its own link, and nobody sees another one's.

Method: `dianka headend serve --page` runs as a process with households whose words and figures
are known. A browser without scripts and cookies walks tokens, days, numbers and codes; what each
answer has of others is counted, and the log is searched for tokens and numbers.
"""

import re
import secrets
import signal
import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import household_links, life, notices, orders, receipts, registry
from host.headend.ingest import Ingest
from host.headend.life import Act
from host.headend.registry import Entry
from host.headend.store import Store
from host.headend.web import own_page
from tests.host.paging import Answer, Browser
from tests.host.serving import HeadEnd
from tests.host.uplink_world import KEYS, account_name, deliver, meter_address, village_of

pytestmark = pytest.mark.slow

HOUSEHOLDS = 6
ONE, OTHER, MOVED, LEFT, SHY = (account_name(row) for row in range(5))
NAMES = ("王小明", "<b>李华</b>", "张三", "赵六", "孙七", "周八")
PHONES = ("13800138001", "13800138002", "", "", "", "13800138006")


class World:
    """A station with pages for households."""

    def __init__(self, folder: Path) -> None:
        self.db = folder / "village.db"
        with Store(self.db, create=True) as store:
            for row in range(HOUSEHOLDS):
                orders.sell(store, account_name(row), 10000)
            deliver(Ingest(store, KEYS), village_of(HOUSEHOLDS, 40))
            entries = [
                Entry(account_name(row), f"C-{row}", NAMES[row], PHONES[row], f"{row} Well Lane")
                for row in range(HOUSEHOLDS)
            ]
            registry.take(store, entries)
            told = ("https://power.example/", "0571-8888", "at the counter")
            household_links.set_station(store, *told)
            with store.writing() as database:
                for row in range(HOUSEHOLDS):
                    event = {"place": f"place of {row}", "since": "8:00", "until": "9:00"}
                    notices.announce(database, notices.OUTAGE, [account_name(row)], "e", event)
                    database.run(
                        "UPDATE notices SET sent_at = 9999999999, state = 'delivered', text = ? "
                        "WHERE account = ?",
                        (f"text of {row}", account_name(row)),
                    )
        self.head_end = HeadEnd(folder, "--page", "127.0.0.1:0")

    def link(self, account: str) -> str:
        with Store(self.db, read_only=True) as store:
            return household_links.link_of(store, account).removeprefix("https://power.example")

    def get(self, path: str, language: str = "en") -> Answer:
        return Browser(self.head_end.url, language).get(path)


@pytest.fixture(scope="module", name="world")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("own"))
    yield made
    made.head_end.end(signal.SIGKILL)


def test_a_household_sees_its_account(world: World) -> None:
    told = world.get(world.link(ONE))
    assert told.status == 200
    for part in ("¥ 98.80", "0571-8888", "at the counter", "text of 0", "0000 0000 0001", "王*"):
        assert part in told.text, part
    assert NAMES[0] not in told.text
    assert "<script" not in told.text
    assert len(told.text) < 20_000
    chinese = world.get(world.link(ONE), "zh")
    assert "余额" in chinese.text
    assert "余额" in world.get(world.link(ONE) + "?lang=zh").text
    (day,) = {*re.findall(r'href="(/h/[^"]+/\d{4}-\d\d-\d\d)"', told.text)}
    why = world.get(day)
    assert why.status == 200
    assert "kWh" in why.text


def test_what_every_answer_carries(world: World) -> None:
    for path in (world.link(ONE), "/h", "/h/" + "A" * 44, "/h/x", world.link(ONE) + "/2026-01-01"):
        told = world.get(path)
        assert told.headers["Referrer-Policy"] == "no-referrer", path
        assert told.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert "no-store" in told.headers["Cache-Control"]
        assert "script" not in told.headers["Content-Security-Policy"]
        assert "default-src 'none'" in told.headers["Content-Security-Policy"]
        assert "Set-Cookie" not in told.headers
    assert world.get("/sign-in").headers["Referrer-Policy"] == "same-origin"


def test_no_page_has_anything_of_another_household(world: World) -> None:
    for row in range(HOUSEHOLDS):
        link = world.link(account_name(row))
        found = world.get(link).text
        days = set(re.findall(r'href="(/h/[^"]+/\d{4}-\d\d-\d\d)"', found))
        found += "".join(world.get(one).text for one in days)
        for other in range(HOUSEHOLDS):
            if other == row:
                continue
            name, number = NAMES[other], account_name(other)
            grouped = f"{number[:4]} {number[4:8]} {number[8:]}"
            secret = (name, number, grouped, meter_address(other), f"text of {other}", "Lane")
            assert not [one for one in (*secret, world.link(number)) if one in found], row


def test_no_token_but_the_right_one_opens_a_page(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.link(ONE).removeprefix("/h/")
    sealed = bytearray(urlsafe_b64decode(token))
    tried = [secrets.token_urlsafe(33) for _ in range(100)]
    for bit in range(len(sealed) * 8):
        sealed[bit // 8] ^= 1 << bit % 8
        tried.append(urlsafe_b64encode(sealed).decode())
        sealed[bit // 8] ^= 1 << bit % 8
    tried += [token[:-1], token + "A", token.swapcase(), "", ONE, "1", "../" + token, "%00"]
    tried += [token.replace("_", "/"), token + "\n", "é" * 44, "A" * 5000]
    with Store(world.db, read_only=True) as store:
        assert household_links.opened(store, token) is not None
        for one in tried:
            assert one == token or household_links.opened(store, one) is None, one
    for one in (tried[0], token[:-1], ONE, "1"):
        told = world.get(f"/h/{one}")
        assert told.status == 404
        assert "does not open a page" in told.said
        assert world.get(f"/h/{one}/2026-01-01").status == 404
    for on in ("2026-13-01", "x", "1999-01-01", "9999-12-31", "..", ONE):
        assert world.get(f"/h/{token}/{on}").status == 404, on


def test_links_are_unguessable_the_same_and_say_nothing(world: World) -> None:
    links = {world.link(account_name(row)) for row in range(HOUSEHOLDS)}
    assert len(links) == HOUSEHOLDS
    assert world.link(ONE) in links
    for link in links:
        assert re.fullmatch("/h/[A-Za-z0-9_-]{44}", link)
        assert ONE[-6:] not in link


def test_a_link_ends_with_the_holder_and_when_it_is_taken_back(world: World) -> None:
    before = [world.link(one) for one in (MOVED, LEFT, SHY)]
    with Store(world.db) as store:
        life.transfer(store, Entry(MOVED, "C-new", "吴九", "13800138009"), Act("Li", "moved"))
        household_links.revoke_links(store, SHY, "the receipt was lost")
    with closing(sqlite3.connect(world.db, timeout=30)) as database, database:
        database.execute("UPDATE contracts SET closed_at = 5 WHERE account = ?", (LEFT,))
    assert [world.get(one).status for one in before] == [404] * 3
    assert world.link(LEFT) == ""
    moved = world.get(world.link(MOVED))
    assert moved.status == 200
    assert "张" not in moved.text
    assert not re.search(r"/\d{4}-\d\d-\d\d\"", moved.text), "no day of who was there before"
    assert world.get(world.link(MOVED) + "/2025-12-25").status == 404
    assert world.get(world.link(SHY)).status == 200
    done = CliRunner().invoke(
        cli, ["headend", "household-page", "link", LEFT, "--db", str(world.db)]
    )
    assert "there is no page of account" in done.output


def code_of(world: World, account: str) -> str:
    with Store(world.db, read_only=True) as store:
        told = store.value(
            "SELECT told FROM notices WHERE account = ? AND kind = 'code' ORDER BY id DESC",
            (account,),
        )
    found = re.search(r'"code": "(\d{6})"', told or "")
    return found[1] if found else ""


def test_a_code_opens_the_page_once(world: World) -> None:
    browser = Browser(world.head_end.url)
    asked = browser.post("/h", {"account": OTHER})
    assert asked.status == 200
    code = code_of(world, OTHER)
    wrong = "000000" if code != "000000" else "000001"
    assert browser.post("/h/code", {"account": OTHER, "code": wrong}).status == 403
    assert browser.post("/h/code", {"account": ONE, "code": code}).status == 403
    opened = browser.post("/h/code", {"account": OTHER, "code": code})
    assert opened.status == 200
    assert "text of 1" in opened.text
    assert "&lt;*" in opened.text, "a name is text"
    assert opened.url.removeprefix(world.head_end.url) != world.link(OTHER), "it ends soon"
    assert browser.post("/h/code", {"account": OTHER, "code": code}).status == 403


def test_a_link_by_code_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(world.db, read_only=True) as store:
        token = household_links.visit_token(store, ONE)
        assert household_links.opened(store, token) is not None
        now = household_links.time.time()
        monkeypatch.setattr(household_links.time, "time", lambda: now + 1900)
        assert household_links.opened(store, token) is None


def test_nobody_learns_whether_there_is_an_account_or_guesses_a_code(world: World) -> None:
    browser = Browser(world.head_end.url)
    last = account_name(5)
    texts = {
        re.sub(r"\d{12}", "", browser.post("/h", {"account": one}).text)
        for one in (last, "999999999999", SHY)
    }
    assert len(texts) == 1
    code = code_of(world, last)
    for guess in range(6):
        wrong = f"{(int(code) + 1 + guess) % 10**6:06d}"
        assert browser.post("/h/code", {"account": last, "code": wrong}).status == 403
    assert browser.post("/h/code", {"account": last, "code": code}).status == 403, "used up"
    answers = [browser.post("/h", {"account": last}).status for _ in range(8)]
    assert 429 in answers


def test_an_address_that_asks_too_often_waits() -> None:
    pace = own_page._Pace()
    assert sum(not pace.is_over("a") for _ in range(200)) == own_page._A_MINUTE
    assert not pace.is_over("b")


def test_a_receipts_code_leads_to_the_page(world: World, tmp_path: Path) -> None:
    with Store(world.db, read_only=True) as store:
        one = receipts.receipt_of(store, ONE, 1)
        assert one.url == "https://power.example" + world.link(ONE)
        size, path = receipts.qr_path(one.url)
        assert size >= 29
        assert path.count("M") > size * size // 4
    out = tmp_path / "r.pdf"
    words = ["headend", "receipt", "1", "--order", "1", "--out", str(out), "--db", str(world.db)]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert out.read_bytes()[:4] == b"%PDF"


def test_nothing_personal_is_in_the_log(world: World) -> None:
    token = world.link(ONE).removeprefix("/h/")
    for path in (f"/h/{token}x", f"/h/{token}/x", f"/h/{token}/a/b", "/no", f"/h/{token}"):
        world.get(path)
    log = world.head_end.log.read_text()
    assert "/no" in log, "what Django logs is in this log"
    assert token not in log
    assert not re.search(r"\d{12}", log)
    assert not [one for one in (*NAMES, *PHONES) if one and one in log]


def test_addresses_of_pages_are_https(tmp_path: Path) -> None:
    db = str(tmp_path / "village.db")
    Store(db, create=True).close()
    words = ["headend", "household-page", "set", "--db", db]
    for url in (
        "http://power.example",
        "power.example",
        "https://",
        "javascript:x",
        "https://x?a",
    ):
        done = CliRunner().invoke(cli, [*words, "--url", url])
        assert done.exit_code == 1, url
    done = CliRunner().invoke(cli, [*words, "--url", "https://x.example", "--phone", "1\n2"])
    assert done.exit_code == 1
    assert CliRunner().invoke(cli, [*words, "--url", "https://x.example/"]).exit_code == 0
    with Store(db, read_only=True) as store:
        assert household_links.station(store).page_url == "https://x.example"
        assert datetime.now(store.zone())
