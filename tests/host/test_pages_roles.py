"""Goal: each address of the pages is open to the roles that may, and to no other.

Method: a table says for each address which roles may have it. The test goes through all addresses
of the pages by every role; an address without a row in the table fails.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.headend import users
from tests.host.page_station import ACCOUNT, served, signed_in
from tests.host.paging import Browser
from tests.host.serving import HeadEnd

pytestmark = pytest.mark.slow

LOOK, SELL = frozenset(users.ROLES), frozenset(("cashier", "manager", "admin"))
SWITCH = frozenset(("engineer", "manager", "admin"))
KEEP, AUDIT = frozenset(("manager", "admin")), frozenset(("manager", "auditor", "admin"))
EVERYBODY: frozenset[str] = frozenset()  # one who has not signed in, too
OF_HOUSEHOLD = "households/<str:account>"
MAY = {
    "": LOOK,
    "sign-in": EVERYBODY,
    "sign-out": EVERYBODY,
    "language/<str:language>": EVERYBODY,
    "static/<str:name>": EVERYBODY,
    "households": LOOK,
    OF_HOUSEHOLD: LOOK,
    f"{OF_HOUSEHOLD}/use/<str:by>": LOOK,
    f"{OF_HOUSEHOLD}/days/<str:on>": LOOK,
    f"{OF_HOUSEHOLD}/commands": LOOK,
    f"{OF_HOUSEHOLD}/exchange": SWITCH,
    f"{OF_HOUSEHOLD}/switch/<str:what>": SWITCH,
    f"{OF_HOUSEHOLD}/card": SELL,
    f"{OF_HOUSEHOLD}/ask/<str:what>": SELL,
    f"{OF_HOUSEHOLD}/household": KEEP,
    f"{OF_HOUSEHOLD}/transfer": KEEP,
    f"{OF_HOUSEHOLD}/close": KEEP,
    f"{OF_HOUSEHOLD}/class": KEEP,
    f"{OF_HOUSEHOLD}/undo/<int:number>": KEEP,
    "notices": LOOK,
    "notices/<int:number>": KEEP,
    "approvals": LOOK,
    "approvals/<int:number>": LOOK,
    "drawer": SELL,
    "drawer/close": SELL,
    "drawer/move": SELL,
    "drawer/pay/<str:account>/<int:order>": SELL,
    "quality": LOOK,
    "quality/<str:account>": LOOK,
    "voltage": LOOK,
    "load": LOOK,
    "outages": LOOK,
    "records/<int:concentrator>/<int:seq>": LOOK,
    "audit": AUDIT,
    "personal-data": LOOK,
    "arrears": LOOK,
    "districts": LOOK,
    "districts/<str:name>": LOOK,
    "districts/<str:name>/clues/<str:account>": LOOK,
    "planned-outages": LOOK,
    "complaints": LOOK,
    "imports": KEEP,
    "imports/lines": KEEP,
    "imports/export.csv": KEEP,
    "devices": LOOK,
    "batches": LOOK,
    "month": LOOK,
    "month/<str:which>": LOOK,
    "tickets": LOOK,
    "tickets/new": SWITCH,
    "tickets/<int:number>": LOOK,
    "open": SELL,
    "day": LOOK,
    "sell": SELL,
    "receipts/<str:account>/<int:order>": LOOK,
    "receipts/<str:account>/<int:order>/card": SELL,
    "held": SELL,
    "void/<str:account>/<int:order>": SELL,
    "refund/<str:account>": KEEP,
    "rooms": SELL,
    "rooms/<int:tenancy>/bill.pdf": SELL,
}
URLS = Path(__file__).resolve().parents[2] / "host" / "headend" / "web" / "urls.py"
VALUES = {
    "account": ACCOUNT,
    "order": "1",
    "number": "1",
    "by": "day",
    "on": "2026-07-01",
    "what": "cut",
    "tenancy": "1",
    "concentrator": "7",
    "seq": "1",
    "language": "en",
    "name": "pages.css",
    "which": "2026-07",
}


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadEnd]:
    with served(tmp_path_factory.mktemp("station"), "sqlite") as running:
        yield running


def test_each_address_has_its_roles() -> None:
    # What is below api/ is not for people: each call is signed (`test_channels`). What is below h
    # is for households, by links of their own (`test_own_page`).
    pages = re.findall(r'path\("([^"]*)"', URLS.read_text())
    own = {"h", "h/code", "h/kept", "h/<str:token>", "h/<str:token>/<str:on>"}
    assert own <= {*pages}
    assert sorted(one for one in pages if one not in own and one[:4] != "api/") == sorted(MAY)


@pytest.mark.parametrize("role", [*users.ROLES, "nobody"])
def test_each_role_has_its_addresses_and_no_other(station: HeadEnd, role: str) -> None:
    browser = Browser(station.url) if role == "nobody" else signed_in(station, role)
    for address, roles in MAY.items():
        path = "/" + re.sub("<[a-z]+:([a-z]+)>", lambda found: VALUES[found[1]], address)
        told = browser.get(path)
        if roles == EVERYBODY:
            assert told.status == 200, path
        elif role == "nobody":
            assert told.url.startswith("/sign-in?next="), path
        elif role in roles:
            assert told.status != 403, path
        else:
            said = f"your role {role} may not do this: ask a manager"
            assert (told.status, told.said) == (403, said), path
            token = browser.get("/").text.partition('csrfmiddlewaretoken" value="')[2]
            fields = {"csrfmiddlewaretoken": token.partition('"')[0], "step": "do"}
            posted = browser.post(path, fields)
            assert (posted.status, posted.said) == (403, said), path
