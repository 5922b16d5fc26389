"""Goal: no text from outside is more than text on a page, and no address of one is an error there.

Method: every text of a station's database is hostile, a person signs in, and every address of
`host/headend/web/urls.py` is looked at, with right words and with hostile ones in its places;
every form that is found is sent with hostile fields.
"""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from host.headend import users
from host.headend.store import Store
from host.headend.web import __file__ as web
from tests.host.page_station import ACCOUNT, PASSWORD, signed_in, village_made
from tests.host.serving import HeadEnd
from tests.host.test_hostile_texts import poison

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)</script>\"'><b onclick=x>\x1b[2J\u202e=1+1"
RAW = ("<script>alert", "<b onclick", "\x1b", "\u202e")
ROUTES = re.findall(r'path\("([^"]*)"', Path(web).with_name("urls.py").read_text("utf-8"))
WORDS = {
    "account": ACCOUNT,
    "on": "2026-12-01",
    "by": "days",
    "language": "zh",
    "name": "style.css",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadEnd]:
    """Serve the pages of a station whose database was poisoned."""
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / "village.db"
    with Store(path, create=True) as store:
        village_made(store)
    poison(path, HOSTILE)
    with Store(path) as store:
        users.add(store, "chief", "admin", users.hashed(PASSWORD))
    running = HeadEnd(folder, "--page", "127.0.0.1:0", database=str(path))
    try:
        yield running
    finally:
        running.end(signal.SIGKILL)


def addresses(route: str) -> Iterator[str]:
    """Yield addresses of a route: with right words, with hostile ones, and with a query."""

    def right(place: re.Match[str]) -> str:
        return "1" if place[1] == "int" else WORDS.get(place[2], "x")

    yield "/" + re.sub(r"<(\w+):(\w+)>", right, route)
    hostile = re.sub(
        r"<(\w+):(\w+)>", lambda place: "9" * 30 if place[1] == "int" else quote(HOSTILE), route
    )
    yield "/" + hostile
    query = "&".join(f"{name}={quote(HOSTILE)}" for name in ("on", "account", "form", "page", "q"))
    yield "/" + re.sub(r"<(\w+):(\w+)>", right, route) + "?" + query


def test_there_are_routes() -> None:
    assert len(ROUTES) > 30


@pytest.mark.parametrize("route", ROUTES)
def test_a_page_shows_text_as_text(hostile: HeadEnd, route: str) -> None:
    if route == "sign-out":
        return
    browser = signed_in(hostile, "chief")
    for address in addresses(route):
        answer = browser.get(address)
        assert answer.status < 500, (address, answer.text[:200])
        is_page = "html" in answer.headers["Content-Type"]
        assert [raw for raw in RAW[0 if is_page else 2 :] if raw in answer.text] == [], address
        if not answer.fields:
            continue
        told = dict.fromkeys(answer.fields, HOSTILE) | {
            name: value for name, value in answer.fields.items() if "csrf" in name
        }
        sent = browser.post(address, told)
        assert sent.status < 500, (address, sent.text[:200])
        assert [raw for raw in RAW if raw in sent.text] == [], address
