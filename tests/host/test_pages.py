"""Goal: the station's pages show what is so, to whom may see it, and sell nothing twice.

Method: `dianka headend serve --page` runs as a process on a small village's database; a browser
without a screen signs in, looks, sells, and does all that clerks and attackers do by mistake or on
purpose. Each bad input ends in one sentence.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import orders, users
from host.headend.store import Store
from tests.host.page_station import ACCOUNT, ENGINES, PASSWORD, served, signed_in
from tests.host.paging import Answer, Browser
from tests.host.serving import HeadEnd
from tests.host.uplink_world import account_name, meter_address

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=ENGINES)
def station(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HeadEnd]:
    """Serve the village and its pages from each engine."""
    with served(tmp_path_factory.mktemp("station"), request.param) as running:
        yield running


@pytest.fixture
def clerk(station: HeadEnd) -> Browser:
    return signed_in(station, "cashier")


def sold(station: HeadEnd, account: str = ACCOUNT) -> list[tuple[int, int]]:
    """Return number and amount of each order of an account that counts."""
    with Store(station.database, read_only=True) as store:
        rows = orders.orders_of(store, account)
    return [(row["order"], row["amount_fen"]) for row in rows if row["voided_at"] is None]


# --- the door -----------------------------------------------------------------------------------


def test_nobody_sees_anything_before_signing_in(station: HeadEnd) -> None:
    for path in ("/", "/households", f"/households/{ACCOUNT}", "/sell", f"/receipts/{ACCOUNT}/1"):
        answer = Browser(station.url).get(path)
        assert answer.url.startswith("/sign-in?next="), path
        assert "王小明" not in answer.text


def test_who_signs_in_comes_where_they_wanted(station: HeadEnd) -> None:
    browser = Browser(station.url)
    asked = browser.get(f"/households/{ACCOUNT}")
    fields = {**asked.fields, "name": "viewer", "password": PASSWORD}
    assert browser.post("/sign-in", fields).url == f"/households/{ACCOUNT}"
    (cookie,) = (one for one in browser.jar if one.name == "dianka_session")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    assert browser.get("/sign-in?next=//evil.example/").url == "/", "no other site"
    left = browser.post("/sign-out", {"csrfmiddlewaretoken": _token(browser.get("/"))})
    assert left.url == "/sign-in"
    assert browser.get("/").url.startswith("/sign-in")


def _token(page: Answer) -> str:
    return page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]


def test_guessing_a_password_becomes_slow(station: HeadEnd) -> None:
    with Store(station.database) as store:
        users.add(store, "guessed", "viewer", users.hashed(PASSWORD))
    browser = Browser(station.url)
    told = [browser.sign_in("guessed", f"wrong {at}").said for at in range(6)]
    assert told[:5] == ["name or password is wrong"] * 5
    assert told[5].startswith("too many attempts have failed: try again in ")
    assert browser.sign_in("guessed", PASSWORD).said.startswith("too many"), "the right one too"
    with Store(station.database) as store, store.turn() as line:
        assert (line is None) == station.database.startswith("postgres")
    with Store(station.database) as store:
        users.change(store, "guessed", "", users.hashed(PASSWORD))
        users.open_session(store, "guessed", "127.0.0.1", "0" * 64)
    assert browser.sign_in("guessed", PASSWORD).status == 200


def test_a_name_that_is_closed_is_put_out(station: HeadEnd) -> None:
    with Store(station.database) as store:
        users.add(store, "leaver", "viewer", users.hashed(PASSWORD))
    browser = signed_in(station, "leaver")
    assert browser.get("/").url == "/"
    done = CliRunner().invoke(
        cli, ["headend", "user", "close", "leaver", "--db", station.database]
    )
    assert done.output == "leaver may not sign in any more\n"
    assert browser.get("/").url.startswith("/sign-in")


def test_every_answer_forbids_foreign_scripts_and_frames(clerk: Browser) -> None:
    for path in ("/", "/nowhere", f"/households/{ACCOUNT}"):
        headers = clerk.get(path).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert (headers["X-Frame-Options"], headers["Cache-Control"]) == ("DENY", "no-store")


def test_another_host_is_not_answered(station: HeadEnd) -> None:
    assert Browser(station.url).get("/sign-in", Host="evil.example").status == 400


# --- looking ------------------------------------------------------------------------------------


def test_today_and_a_household_are_shown_in_both_languages(station: HeadEnd) -> None:
    for language, today, balance in (("en", "today", "balance"), ("zh-CN", "今日", "余额")):
        browser = Browser(station.url, language)
        browser.sign_in("viewer", PASSWORD)
        assert f"<h1>{today}</h1>" in browser.get("/").text
        shown = browser.get(f"/households/{ACCOUNT}").text
        assert f"<h2>{balance}" in shown
        assert "¥ 98.80" in shown
        assert "0000 0000 0001" in shown
    browser.get("/language/en")
    assert "<h1>today</h1>" in browser.get("/").text


@pytest.mark.parametrize("text", ["小明", ACCOUNT, "1", meter_address(0), "0000 0000 0001"])
def test_a_household_is_found(clerk: Browser, text: str) -> None:
    found = clerk.found(text).text
    assert f'href="/households/{ACCOUNT}"' in found
    if text != "1":
        assert clerk.found(text, go="1").url == f"/households/{ACCOUNT}"


def test_what_is_looked_for_is_in_no_address(clerk: Browser) -> None:
    for path in ("/", "/households", "/sell"):
        forms = re.findall("<form[^>]*>(?:(?!</form>).)*", clerk.get(path).text, re.DOTALL)
        searches = [one for one in forms if 'name="q"' in one]
        assert searches, path
        assert [one for one in searches if 'method="post"' not in one] == []
    everything = clerk.get("/households").text.count('<th scope="row">')
    assert clerk.get("/households?q=nobody").text.count('<th scope="row">') == everything


def test_a_search_means_nothing_but_its_text(clerk: Browser) -> None:
    for text in ("%", "_", "!", "' OR 1=1 --", "%'); DROP TABLE users;--"):
        rows = clerk.found(text).text.count('<th scope="row">')
        assert rows == ("O'Brien %_!".count(text) > 0), text
    assert clerk.get("/").status == 200


@pytest.mark.parametrize("text", ["x" * 101, "\0"])
def test_a_search_that_is_none_ends_in_one_sentence(clerk: Browser, text: str) -> None:
    answer = clerk.found(text)
    said = "the field q has more than 100 characters or a zero byte"
    assert (answer.status, answer.said) == (400, said)


def test_names_are_shown_and_never_run(clerk: Browser) -> None:
    pages = [clerk.get(path) for path in ("/households", f"/households/{account_name(1)}")]
    for shown in (one.text for one in (*pages, clerk.found("script"))):
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert(1)" in shown


def test_use_and_charges_open(clerk: Browser) -> None:
    page = f"/households/{ACCOUNT}"
    for by in ("hour", "day", "month"):
        assert "kWh" in clerk.get(f"{page}/use/{by}", **{"HX-Request": "true"}).text
    day = clerk.get(page).text.partition(f"{page}/days/")[2][:10]
    opened = clerk.get(f"{page}/days/{day}").text
    assert "charge, yuan" in opened
    assert "-0.03" in opened


# --- selling ------------------------------------------------------------------------------------


def test_a_sale_is_asked_about_made_once_and_taken_back(station: HeadEnd, clerk: Browser) -> None:
    before = sold(station)
    page = clerk.asked(ACCOUNT, "50")
    assert "¥ 50.00" in page.text
    assert sold(station) == before, "nothing is sold before it is confirmed"
    receipt = clerk.confirm(page)
    order = before[-1][0] + 1
    assert receipt.url == f"/receipts/{ACCOUNT}/{order}"
    assert sold(station) == [*before, (order, 5000)]
    again = clerk.confirm(page)
    assert again.said == "this form had been sold already: nothing was sold a second time"
    assert again.url.startswith(receipt.url)
    assert sold(station) == [*before, (order, 5000)]
    assert clerk.get(f"/receipts/{ACCOUNT}/{order}").text.count("cashier") >= 1
    void = clerk.get(f"/void/{ACCOUNT}/{order}")
    refused = clerk.post(void.url, {**void.fields, "reason": "x"})
    assert refused.said == "give the reason in a few words, for an auditor"
    gone = clerk.post(void.url, {**void.fields, "reason": "50, not 500"})
    assert "taken back" in gone.text
    assert clerk.post(void.url, {**void.fields, "reason": "50, not 500"}).status == 200
    assert sold(station) == before


def test_two_cashiers_and_an_old_page_sell_nothing_unseen(
    station: HeadEnd, clerk: Browser
) -> None:
    account = account_name(2)
    other = signed_in(station, "second")
    first, second = clerk.asked(account, "20"), other.asked(account, "20")
    assert clerk.confirm(first).status == 200
    refused = other.confirm(second)
    assert refused.status == 409
    assert refused.said == (
        "order 2 over 20.00 yuan was made by cashier after this page was shown: nothing more was "
        "done, look again"
    )
    assert sold(station, account) == [(1, 10000), (2, 2000)]
    assert other.confirm(other.asked(account, "20")).status == 200, "seen, it is another sale"
    assert sold(station, account) == [(1, 10000), (2, 2000), (3, 2000)]


def test_a_lost_session_sells_nothing_and_says_so(station: HeadEnd) -> None:
    account = account_name(3)
    browser = Browser(station.url)
    browser.sign_in("cashier", PASSWORD)
    page = browser.asked(account, "30")
    browser.jar.clear(domain="127.0.0.1", path="/", name="dianka_session")
    lost = browser.post("/sell", page.fields, Referer=station.url + page.url)
    assert lost.said.startswith("you were signed out meanwhile: nothing was sold")
    back = browser.post("/sign-in", {**lost.fields, "name": "cashier", "password": PASSWORD})
    assert back.url == page.url, "the same sale is asked about again"
    assert sold(station, account) == [(1, 10000)]


def test_a_form_of_another_site_does_nothing(station: HeadEnd, clerk: Browser) -> None:
    before = sold(station)
    page = clerk.asked(ACCOUNT, "50")
    fields = page.fields
    del fields["csrfmiddlewaretoken"]
    refused = clerk.post("/sell", fields)
    assert (refused.status, refused.said) == (
        403,
        "this form is not valid any more, nothing was done: open the page again",
    )
    assert sold(station) == before


def test_a_large_sale_needs_a_word_more(station: HeadEnd) -> None:
    clerk = signed_in(station, "second")
    page = clerk.asked(account_name(1), "1000.01")
    assert clerk.confirm(page).said == "this is a large amount: say so before it is sold"
    page = clerk.asked(account_name(1), "1000.01")
    done = clerk.post("/sell", {**page.fields, "large": "1"})
    assert done.url.startswith("/receipts/")
    refused = clerk.asked(account_name(1), "100000.01")
    assert "are sold at once" in refused.said


def test_a_manager_refunds_once(station: HeadEnd) -> None:
    account = account_name(3)
    manager = signed_in(station, "manager")
    page = manager.get(f"/refund/{account}")
    asked = manager.post(page.url, {**page.fields, "amount": "5", "step": "ask"})
    done = manager.post(asked.url, {**asked.fields, "step": "refund"})
    assert done.url == f"/receipts/{account}/2"
    again = manager.post(asked.url, {**asked.fields, "step": "refund"})
    assert again.status == 409
    assert sold(station, account) == [(1, 10000), (2, -500)]


# --- accounts and days --------------------------------------------------------------------------


def test_an_account_is_opened_once_and_sold_to(station: HeadEnd, clerk: Browser) -> None:
    page = clerk.get("/open")
    fields = {**page.fields, "account": "4711", "name": "李四", "persons": "4", "meter": "998877"}
    first = clerk.post("/open", fields)
    assert first.url == "/sell?account=000000004711"
    assert "李四" in first.text
    again = clerk.post("/open", fields)
    assert (again.status, again.said) == (409, "account 000000004711 is open already")
    taken = clerk.post("/open", {**fields, "account": "4712"})
    assert taken.said == "meter 000000998877 is at account 000000004711"
    assert clerk.confirm(clerk.asked("4711", "20")).url == "/receipts/000000004711/1"
    for changes, said in (
        ({"name": ""}, "give the name of the customer"),
        ({"name": "=HYPERLINK(1)"}, "write it without signs of a formula and without line ends"),
        ({"persons": "many"}, "'many' persons: give a number up to 99"),
        ({"account": "12a"}, "'12a' is no number: up to 12 digits are needed"),
    ):
        refused = clerk.post("/open", {**fields, "account": "4713", **changes})
        assert (refused.status, said in refused.said) == (400, True), refused.said


def test_a_day_lists_what_each_cashier_took(station: HeadEnd, clerk: Browser) -> None:
    account = account_name(1)
    receipt = clerk.confirm(clerk.asked(account, "12.34"))
    void = receipt.url.replace("receipts", "void")
    clerk.post(void, {**clerk.get(void).fields, "reason": "=1+1 typed"})
    day = clerk.get("/day").text
    assert "+12.34" in day
    assert "=1+1 typed" in day
    listed = clerk.get("/day?form=csv")
    assert listed.headers["Content-Type"].startswith("text/csv")
    assert "'=1+1 typed" in listed.text
    assert ",12.34," in listed.text
    assert "Nothing was sold on that day." in clerk.get("/day?on=2020-01-01").text
    assert clerk.get("/day?on=yesterday").said == "yesterday: give a day as YYYY-MM-DD"


# --- bad input ----------------------------------------------------------------------------------

_NOT_YUAN = "is not yuan like 50 or 49.95, with at most two decimals"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount": ""}, "give an amount or choose one, or give an energy"),
        ({"amount": "0"}, "the amount is 0: give what is to be sold"),
        ({"amount": "-5"}, _NOT_YUAN),
        ({"amount": "50.001"}, _NOT_YUAN),
        ({"amount": "=1+1"}, _NOT_YUAN),
        ({"amount": "1e3"}, _NOT_YUAN),
        ({"amount": "５０"}, _NOT_YUAN),
        ({"amount": "<b>5</b>"}, _NOT_YUAN),
        ({"amount": "5" * 21}, "the field amount has more than 20 characters or a zero byte"),
        ({"way": "pigeon"}, "this form is not one of ours: open the page again"),
        ({"channel": "'; DROP TABLE orders"}, "this form is not one of ours: open the page again"),
        ({"reference": "../../etc/passwd"}, "this form is not one of ours: open the page again"),
        ({"seen": "now"}, "this form is not one of ours: open the page again"),
    ],
)
def test_a_bad_form_ends_in_one_sentence(
    station: HeadEnd, clerk: Browser, changes: dict[str, str], said: str
) -> None:
    before = sold(station)
    fields = dict(changes)
    answer = clerk.asked(ACCOUNT, fields.pop("amount", "50"), **fields)
    assert (answer.status, said in answer.said) == (400, True), answer.said
    assert sold(station) == before


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (
            "/households/77",
            404,
            "there is no account 000000000077: search for it by name or meter",
        ),
        ("/households/77x", 404, "'77x' is no number: up to 12 digits are needed"),
        ("/households/..%2f..%2fetc", 404, "there is no such page: begin at the first one"),
        ("/households/1/use/century", 404, "there is no such page: begin at the first one"),
        ("/households/1/days/yesterday", 400, "yesterday: give a day as YYYY-MM-DD"),
        ("/households/1?before=2026-13-01", 400, "2026-13-01: give a day as YYYY-MM-DD"),
        ("/households?page=0", 400, "there is no such page of the list: begin at the first one"),
        ("/households?page=9e9", 400, "there is no such page of the list: begin at the first one"),
        ("/receipts/1/99", 404, "account 000000000001 has no order 99: see its page"),
        ("/nowhere", 404, "there is no such page: begin at the first one"),
    ],
)
def test_a_bad_address_ends_in_one_sentence(
    clerk: Browser, path: str, status: int, said: str
) -> None:
    answer = clerk.get(path)
    assert (answer.status, answer.said) == (status, said)


def test_files_are_only_those_of_the_pages(station: HeadEnd) -> None:
    browser = Browser(station.url)
    assert browser.get("/static/pages.css").status == 200
    for path in ("/static/..%2fdoor.py", "/static/%2e%2e/door.py", "/static//etc/passwd"):
        assert browser.get(path).status == 404


@pytest.mark.parametrize("role", ["viewer", "engineer", "auditor"])
def test_who_may_not_sell_is_told_so(station: HeadEnd, role: str) -> None:
    before = sold(station)
    browser = signed_in(station, role)
    for path in (f"/sell?account={ACCOUNT}", f"/void/{ACCOUNT}/1", f"/refund/{ACCOUNT}"):
        answer = browser.get(path)
        assert (answer.status, answer.said) == (
            403,
            f"your role {role} may not do this: ask a manager",
        )
    assert "/sell" not in browser.get("/").text
    assert sold(station) == before


def test_the_pages_are_not_for_a_network_without_tls(tmp_path: Path) -> None:
    words = ["headend", "serve", "--db", str(tmp_path / "a.db"), "--keys", str(tmp_path / "k")]
    for options, said in (
        (["--page", "0.0.0.0:8080"], "without TLS the pages are for this computer alone"),
        (["--page", "8080"], "8080: write an address and a port, as 127.0.0.1:8080"),
        (["--simple"], "give --page as well"),
        (["--page", "127.0.0.1:0", "--simple", "--page-https"], "--page-https, not both"),
    ):
        result = CliRunner().invoke(cli, [*words, *options])
        assert (result.exit_code, said in result.output) == (2, True), result.output


def test_people_are_kept_by_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = str(tmp_path / "a.db")
    Store(db, create=True).close()
    monkeypatch.setenv("DIANKA_PASSWORD", PASSWORD)

    def run(*words: str) -> str:
        return CliRunner().invoke(cli, ["headend", "user", *words, "--db", db]).output

    assert run("add", "Li", "--role", "cashier") == "Li may sign in as cashier\n"
    assert "there is a user Li" in run("add", "Li", "--role", "cashier")
    assert "no blanks around" in run("add", " Li", "--role", "cashier")
    assert run("change", "Li", "--role", "manager").startswith("Li is changed")
    assert "give --role, --password or both" in run("change", "Li")
    assert '"role": "manager"' in run("list", "--json")
    assert "there is no user Wang" in run("close", "Wang")
    monkeypatch.setenv("DIANKA_PASSWORD", "short")
    assert "a password has 8 to 200 characters" in run("add", "Wang", "--role", "viewer")
