"""Goal: each step of an account, an approval, a drawer, a list and a relay is done by pages once,
by whoever may, after it was said back; whatever is typed wrong ends in one sentence.

Method: as test_pages, a browser without a screen on the pages of a head-end that runs as a
process. Hostile texts go into every field of every form that the pages have.
"""

import io
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from openpyxl import load_workbook

from host.headend import commands, life, orders, registry
from host.headend.orders import Limits
from host.headend.store import Store
from host.headend.web.figures import money
from host.headend.web.switching import answer_text
from host.words import speaking
from tests.host.page_station import ACCOUNT, ENGINES, served, signed_in
from tests.host.paging import Answer, Browser
from tests.host.serving import HeadEnd
from tests.host.uplink_world import account_name

pytestmark = pytest.mark.slow

SECOND = account_name(2)
THIRD = account_name(3)
# Of the day before yesterday: a notice is good for some weeks.
NOTICE = f"{datetime.now() - timedelta(days=2):%Y-%m-%d} 09:00"
WHY = {"reason": "as agreed at the counter"}


@pytest.fixture(scope="module", params=ENGINES)
def station(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HeadEnd]:
    """Serve the village and its pages from each engine."""
    with served(tmp_path_factory.mktemp("station"), request.param) as running:
        yield running


def asked(browser: Browser, path: str, **typed: str) -> Answer:
    """Fill in a form; return the page that says it back, or what is wrong."""
    page = browser.get(path)
    return browser.post(path, {**page.fields, **WHY, **typed, "step": "ask"})


def confirm(browser: Browser, page: Answer) -> Answer:
    """Confirm what a page has said back."""
    return browser.post(page.url, {**page.fields, "step": "do"})


def done(browser: Browser, path: str, **typed: str) -> Answer:
    """Fill in a form and confirm it; return the page after it."""
    return confirm(browser, asked(browser, path, **typed))


def papers(station: HeadEnd, account: str) -> list[str]:
    with Store(station.database, read_only=True) as store:
        return [one["kind"] for one in life.papers(store, account)]


# --- the life of an account ---------------------------------------------------------------------


def test_an_account_is_opened_exchanged_transferred_closed_and_undone(station: HeadEnd) -> None:
    manager = signed_in(station, "manager")
    page = manager.get("/open")
    manager.post("/open", {**page.fields, "account": "4711", "name": "李四", "meter": "998877"})
    url = "/households/000000004711"
    said = asked(manager, f"{url}/exchange", last="12.5 3", meter="998878", first="0.25")
    assert "Meter 0000 0099 8877 leaves with 12.50 / 3.00 kWh." in said.text
    assert papers(station, "000000004711") == ["opened"], "nothing is done before it is confirmed"
    after = confirm(manager, said)
    assert "done: paper " in after.said
    again = confirm(manager, said)
    assert (again.status, "nothing was done, look again" in again.said) == (409, True)
    assert done(manager, f"{url}/transfer", name="Wang Fang").url.startswith(f"{url}?paper=")
    assert "Wang Fang" in manager.get(url).text
    assert done(manager, f"{url}/card", uid="04a1b2c3").url.startswith(f"{url}?paper=")
    assert f'href="{url}"' in manager.found("04A1B2C3").text, "found by its card"
    moved = done(manager, f"{url}/household", persons="5", household="1", **{"from": "2026-07-01"})
    assert moved.url.startswith(f"{url}?paper=")
    assert done(manager, f"{url}/close", last="3.5").url.startswith(f"{url}?paper=")
    kinds = papers(station, "000000004711")
    assert kinds == [
        "opened",
        "meter exchanged",
        "transferred",
        "card replaced",
        "household",
        "closed",
    ]
    undo = manager.get(url).text.rpartition(f'href="{url}/undo/')[2].partition('"')[0]
    back = done(manager, f"{url}/undo/{undo}")
    assert "done: paper " in back.said
    assert papers(station, "000000004711")[-1] == "undone"
    assert "Wang Fang" in manager.get(url).text


def test_a_closed_account_is_paid_back(station: HeadEnd) -> None:
    manager = signed_in(station, "manager")
    said = asked(manager, f"/households/{THIRD}/close", last="5310.2")
    with Store(station.database, read_only=True) as store:
        held_fen = store.value(
            "SELECT credit_fen - debit_fen FROM accounts WHERE account = ?", (THIRD,)
        )
    assert f"{money(held_fen)} is to be paid back." in said.text
    confirm(manager, said)
    with Store(station.database, read_only=True) as store:
        (amount_fen,) = (one["amount_fen"] for one in life.papers(store, THIRD))
    assert amount_fen == -held_fen


def test_grace_follows_a_rule_that_is_shown_unless_a_person_says_why_not(
    station: HeadEnd,
) -> None:
    manager, path = signed_in(station, "manager"), f"/households/{SECOND}"
    assert "credit class D" in manager.get(path).text, "a customer of some seconds"
    shown = manager.get(f"{path}/class").text
    assert "more, in arrears, or less than 90 days a customer, grade 0" in shown
    assert "By it: D, 0 late months of twelve." in shown
    said = asked(manager, f"{path}/class", **{"class": "b"})
    assert "Class B, grade 2, whatever the rule says." in said.text
    assert confirm(manager, said).url == path
    assert f"credit class B ({WHY['reason']})" in manager.get(path).text
    again = confirm(manager, said)
    assert (again.status, "nothing was done" in again.said) == (409, True)
    with Store(station.database, read_only=True) as store:
        given = store.rows("SELECT text FROM commands WHERE account = ?", (SECOND,))
    assert [one["text"] for one in given] == [f"account set {SECOND} grade 2"]
    manager.get(f"{path}/class")
    back = done(manager, f"{path}/class", **{"class": ""})
    assert "credit class D" in back.text


# --- two persons --------------------------------------------------------------------------------


def test_a_sale_above_the_limit_takes_two(station: HeadEnd) -> None:
    clerk, manager = signed_in(station, "cashier"), signed_in(station, "manager")
    with Store(station.database) as store:
        orders.set_limits(store, Limits(100_000, 1_000_000, 1_000_000))
    refused = clerk.asked(SECOND, "20000")
    assert "are sold at once" in refused.said
    assert f'href="/households/{SECOND}/ask/sale?amount=20000"' in refused.text
    page = done(clerk, f"/households/{SECOND}/ask/sale", amount="20000")
    number = page.url.rpartition("/")[2]
    assert 'value="approve"' not in page.text
    denied = clerk.post(page.url, {**page.fields, "step": "approve"})
    assert denied.status == 403
    shown = manager.get(f"/approvals/{number}")
    assert "¥ 20,000.00" in shown.text
    assert manager.post(shown.url, {**shown.fields, "step": "approve"}).status == 200
    assert manager.post(shown.url, {**shown.fields, "step": "refuse"}).status == 409
    ready = clerk.get(f"/approvals/{number}")
    sold = clerk.post(ready.url, {**ready.fields, "step": "use", "channel": "cash"})
    assert sold.url == f"/receipts/{SECOND}/2"
    twice = clerk.post(ready.url, {**ready.fields, "step": "use", "channel": "cash"})
    assert twice.status == 409
    assert "used" in clerk.get("/approvals").text


def test_who_asks_does_not_decide(station: HeadEnd) -> None:
    manager = signed_in(station, "manager")
    page = done(manager, f"/households/{SECOND}/ask/write-off", amount="3")
    denied = manager.post(page.url, {**page.fields, "step": "approve"})
    assert denied.said == "manager has asked for it: another person has to decide"
    admin = signed_in(station, "admin")
    shown = admin.get(page.url)
    assert "refused" in admin.post(page.url, {**shown.fields, "step": "refuse"}).text


# --- the drawer ---------------------------------------------------------------------------------


def test_a_drawer_is_opened_counted_and_handed_over(station: HeadEnd) -> None:
    clerk, second = signed_in(station, "cashier"), signed_in(station, "second")
    assert "your drawer is not open" in clerk.get("/drawer/close").said
    page = clerk.get("/drawer")
    opened = clerk.post("/drawer", {**page.fields, "float": "200"})
    assert "¥ 200.00" in opened.text
    assert clerk.post("/drawer", {**page.fields, "float": "200"}).status == 409
    clerk.confirm(clerk.asked(ACCOUNT, "50"))
    assert "¥ 250.00" in clerk.get("/drawer").text
    assert "¥ 220.00" in done(clerk, "/drawer/move", amount="-30").text
    wrong = clerk.post(
        "/drawer/close", {**clerk.get("/drawer/close").fields, "counted": "219", "step": "ask"}
    )
    assert wrong.said == "give the reason in a few words, for an auditor"
    said = asked(clerk, "/drawer/close", counted="219", to="second")
    assert "The difference is ¥ -1.00." in said.text
    clerk.confirm(clerk.asked(ACCOUNT, "20"))
    assert "has changed since this page was shown" in confirm(clerk, said).said
    closed = done(clerk, "/drawer/close", counted="240", to="second")
    assert closed.url.startswith("/drawer?closed=")
    assert "¥ 240.00" in second.get("/drawer").text
    assert asked(second, "/drawer/close", counted="240", to="nobody").status == 400


# --- relays -------------------------------------------------------------------------------------


def test_a_supply_is_cut_by_a_lawful_order_and_given_once(station: HeadEnd) -> None:
    engineer = signed_in(station, "engineer")
    url = f"/households/{ACCOUNT}"
    said = asked(engineer, f"{url}/switch/cut", notice=NOTICE)
    assert f"its notice was delivered at {NOTICE}" in said.text
    given = confirm(engineer, said)
    assert given.said.startswith("given: what becomes of it is shown below")
    assert confirm(engineer, said).status == 409
    assert done(engineer, f"{url}/switch/read", reason="").status == 200
    assert done(engineer, f"{url}/switch/restore").status == 200
    with Store(station.database, read_only=True) as store:
        texts = [one["text"] for one in commands.commands_of(store, account=ACCOUNT)]
    assert texts[0] == f"supply {ACCOUNT} cut {NOTICE}:00"
    assert [one.split()[0] for one in texts[1:]] == ["line", "line", "supply"]
    shown = engineer.get(f"{url}/commands").text
    assert 'hx-trigger="every 3s"' in shown, "it looks again until the outcome is there"
    early = asked(engineer, f"{url}/switch/cut", notice="2999-07-01 09:00")
    assert early.said.startswith("the notice would be delivered in the future")


def test_the_refusal_of_a_concentrator_is_said_in_the_language_spoken() -> None:
    said = "a cut comes 30 minutes after its notice, and after a set clock"
    assert answer_text(said) == said
    with speaking("zh"):
        assert answer_text(said) == "通知送达、时钟校准满 30 分钟后才可停电"
        assert answer_text("its supply is protected: it is not cut from above") != ""
        assert answer_text("{what} it has not") == "{what} it has not"


# --- lists --------------------------------------------------------------------------------------


def test_a_list_is_previewed_and_taken_whole_or_not_at_all(station: HeadEnd) -> None:
    manager = signed_in(station, "manager")
    text = "户号,户名,表号,电话\n77,赵六,0077,13800000000\n1,王小明,,12345\n"
    shown = manager.upload("/imports", "../../etc/<b>.csv", text.encode("gb18030"))
    assert "1 accounts are new, 3 fields change" in shown.text
    assert "&lt;b&gt;" in shown.text
    with Store(station.database, read_only=True) as store:
        assert all(one.account != "000000000077" for one in registry.entries(store))
    fields = {**shown.fields, "step": "take"}
    assert manager.post("/imports", fields).said == (
        "2 accounts are in the register as the list has them"
    )
    assert manager.post("/imports", fields).url == "/imports?taken=2", "a double click"
    other = signed_in(station, "admin").post("/imports", {**fields, "csrfmiddlewaretoken": ""})
    assert other.status == 403
    bad = manager.upload("/imports", "a.csv", b"account,name,meter\n78,A,1\n79,B,x1\n80,,2\n")
    assert bad.status == 400
    assert "line 3: " in bad.said
    assert "name '' has not" in bad.said
    for content in (b"", b"PK\3\4 no sheet", b"\0\1\2", b"account\n1\n"):
        for name in ("a.csv", "a.xlsx"):
            assert manager.upload("/imports", name, content).status == 400
    same = manager.upload("/imports", "b.csv", b"account,name\n77,Z\n", step="compare")
    assert "another name" in same.text
    assert "赵六" in manager.get("/imports/export.csv").text


def test_devices_that_are_due_are_a_page_and_a_file(station: HeadEnd) -> None:
    manager = signed_in(station, "manager")
    text = (
        "account,name,meter,district,ct,pt,type,due,exchange_due\n"
        "78,=1+1,78,T-1,200/5,2,DTZ,2020-01-01,\n79,Li,79,T-2,,,DDZY,,2020-02-01\n"
    )
    shown = manager.upload("/imports", "devices.csv", text.encode())
    assert manager.post("/imports", {**shown.fields, "step": "take"}).status == 200
    page = signed_in(station, "viewer").get("/devices?district=T-1").text
    assert "2020-01-01 overdue" in page
    assert "CT 200/5 × PT 2 = 80" in page
    assert "0000 0000 0079" not in page
    assert "exchange" in manager.get("/devices?type=DDZY").text
    assert manager.get("/devices?until=x").status == 400
    assert manager.get("/devices?form=pdf").status == 404
    names = "due,what,meter,account,name,district,type,manufacturer,installed,verified,ct,pt,"
    rows = manager.get("/devices?form=csv").text.splitlines()
    assert rows[0].lstrip("\ufeff") == names + "multiplier"
    assert rows[1].endswith("verification,000000000078,000000000078,'=1+1,T-1,DTZ,,,,200/5,2,80")
    for path in ("/devices?form=xlsx", "/imports/export.csv?form=xlsx"):
        sheet = load_workbook(io.BytesIO(manager.get(path).body)).active
        told = [cell for row in sheet.values for cell in row]
        assert ("200/5" in told, "'=1+1" in told) == (True, True), path
    household = manager.get("/households/78").text
    assert "CT 200/5 × PT 2 = 80" in household


def test_arrears_and_the_audit_are_shown(station: HeadEnd) -> None:
    auditor = signed_in(station, "auditor")
    assert "collection rate" in auditor.get("/arrears").text
    verified = auditor.get("/audit?verify=1")
    assert " entries are whole, the digest of the last is " in verified.said
    assert "no entry has the digest" in auditor.get(f"/audit?verify=1&digest={'a' * 64}").said
    assert "sale" in auditor.get(f"/audit?account={ACCOUNT}&action=sale").text


# --- whatever is typed --------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    "'; DROP TABLE accounts;--",
    "=HYPERLINK(1)",
    "../../../etc/passwd",
    "\u202e٤٢\u0000",
    "9" * 300,
    "a\r\nb",
)
_FORMS = {
    f"/households/{SECOND}/exchange": ("last", "meter", "first", "multiplier", "reason"),
    f"/households/{SECOND}/transfer": ("name", "customer", "phone", "persons", "reason"),
    f"/households/{SECOND}/card": ("uid",),
    f"/households/{SECOND}/household": ("from", "persons", "household"),
    f"/households/{SECOND}/close": ("last", "reason"),
    f"/households/{SECOND}/class": ("class",),
    f"/households/{SECOND}/ask/write-off": ("amount",),
    f"/households/{SECOND}/switch/cut": ("notice",),
    "/drawer": ("float",),
    "/audit": ("before",),
}
_RIGHT = {
    "last": "9999",
    "meter": "12",
    "first": "0",
    "multiplier": "1",
    "uid": "04A1B2C3",
    "name": "Li",
    "customer": "",
    "phone": "",
    "persons": "1",
    "household": "0",
    "class": "B",
    "from": "2026-07-01",
    "amount": "5",
    "notice": NOTICE,
    "float": "1",
}


def test_whatever_is_typed_ends_in_one_sentence(station: HeadEnd) -> None:
    manager = signed_in(station, "manager")
    before = papers(station, SECOND)
    for path, fields in _FORMS.items():
        page = manager.get(path)
        assert page.status == 200, path
        for name in fields:
            for text in HOSTILE:
                typed = {**page.fields, **_RIGHT, **WHY, name: text, "step": "ask"}
                answer = manager.post(path, typed)
                if answer.status == 200:  # a text that is one: it is shown and never run
                    assert name in ("reason", "name", "customer", "phone"), (path, name, text)
                else:
                    assert answer.status in (400, 403, 405), (path, name, text, answer.status)
                    assert answer.said or answer.status != 400
                    assert "\n" not in answer.said
                assert "<script>alert" not in answer.text
    assert papers(station, SECOND) == before
