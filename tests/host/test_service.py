"""Goal: planned outages and complaints are entered with place and time, told, and closed.

Method: functions and commands on a village of two districts, one of them of a feeder; what cannot
be is refused in one sentence.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import audit, complaints, planned_outages, registry, topology
from host.headend.complaints import Said
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.planned_outages import CALLED_OFF, DONE, Planned
from host.headend.registry import Entry
from host.headend.store import Store
from host.units import DAY_S, t2000_of_unix
from tests.host.page_station import served, signed_in
from tests.host.paging import Answer, Browser
from tests.host.uplink_world import CONCENTRATOR, KEYS, account_name, deliver, village_of

pytestmark = pytest.mark.slow

ONE, OTHER = account_name(0), account_name(1)
NOW = int(time.time())
HOUR_S = 3600


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as one:
        deliver(Ingest(one, KEYS), village_of(4, 8))
        names = ("D-1", "D-1", "D-2", "")
        registry.take(
            one,
            [
                Entry(account_name(row), f"C-{row}", "Wang", "138", district=name)
                for row, name in enumerate(names)
            ],
        )
        for district in ("D-1", "D-2"):
            topology.feed(one, district, "F-1", 0)
        yield one


def planned(level: str = "district", place: str = "D-1") -> Planned:
    return Planned(level, place, NOW + HOUR_S, NOW + 2 * HOUR_S, "new transformer")


def run(store: Store, *words: object) -> Result:
    told = ["headend", *map(str, words), "--db", store.address]
    return CliRunner().invoke(cli, told, env={"COLUMNS": "250"})


# --- outages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "place", "count"),
    [
        ("district", "D-1", 2),
        ("feeder", "F-1", 3),
        ("concentrator", str(CONCENTRATOR), 4),
        ("station", "", 4),
    ],
)
def test_an_outage_is_of_the_households_at_its_place(
    store: Store, level: str, place: str, count: int
) -> None:
    number = planned_outages.plan_outage(store, planned(level, place), "Li")
    (one,) = planned_outages.outages(store, open_only=True)
    assert (one["number"], one["told"], one["state"]) == (number, count, "planned")


def test_who_is_on_another_line_by_then_is_not_told(store: Store) -> None:
    begins_at = (NOW // DAY_S + 2) * DAY_S
    wanted = Planned("district", "D-1", begins_at, begins_at + HOUR_S, "new transformer")
    day = t2000_of_unix(begins_at, store.zone()) // DAY_S
    for account, since, count in ((ONE, day + 1, 2), (OTHER, day, 1)):
        topology.connect(store, account, "D-2", since)
        number = planned_outages.plan_outage(store, wanted, "Li")
        assert planned_outages.outages(store)[number - 1]["told"] == count
    topology.feed(store, "D-1", "F-2", day)
    fed = replace(wanted, level="feeder", place="F-1")
    number = planned_outages.plan_outage(store, fed, "Li")
    assert planned_outages.outages(store)[number - 1]["told"] == 2


def test_an_outage_is_changed_and_closed(store: Store) -> None:
    number = planned_outages.plan_outage(store, planned(), "Li")
    planned_outages.change_outage(store, number, NOW + DAY_S, NOW + DAY_S + HOUR_S, "rain", "Li")
    (one,) = planned_outages.outages(store)
    assert (one["changed"], one["told"], one["reason"]) == (1, 4, "rain")
    planned_outages.end_outage(store, number, DONE, "Li", "the line is back")
    assert planned_outages.outages(store, open_only=True) == []
    for again in (
        lambda: planned_outages.end_outage(store, number, CALLED_OFF, "Li", "no"),
        lambda: planned_outages.change_outage(store, number, NOW, NOW + HOUR_S, "no", "Li"),
        lambda: planned_outages.end_outage(store, 99, DONE, "Li", "no"),
    ):
        with pytest.raises(StoreError, match="is open"):
            again()
    assert len(audit.entries(store, action="outage")) == 3


def test_those_concerned_are_told_of_an_outage_its_change_and_its_end_once_each(
    store: Store,
) -> None:
    number = planned_outages.plan_outage(store, planned(), "Li")
    planned_outages.change_outage(store, number, NOW + DAY_S, NOW + DAY_S + HOUR_S, "rain", "Li")
    planned_outages.end_outage(store, number, CALLED_OFF, "Li", "the rain goes on")
    of_one = store.database.all(
        "SELECT kind, event FROM notices WHERE account = ? ORDER BY id", (ONE,)
    )
    assert of_one == [
        ("planned outage", "outage 1"),
        ("planned outage", "outage 1 change 1"),
        ("outage off", "outage 1 off"),
    ]
    assert store.database.value("SELECT count(*) FROM notices") == 6


def test_a_household_is_told_how_its_complaint_was_answered(store: Store) -> None:
    number = complaints.enter_complaint(store, Said("bill", "too much", "", ONE), "Li")
    complaints.close_complaint(store, number, "Chen", "the reading was right")
    complaints.reopen_complaint(store, number, "Chen", "still too much")
    complaints.close_complaint(store, number, "Chen", "the meter was exchanged")
    told = store.database.all("SELECT account, kind, event, told FROM notices ORDER BY id")
    assert [row[:3] for row in told] == [
        (ONE, "complaint", "complaint 1 closed 0"),
        (ONE, "complaint", "complaint 1 closed 1"),
    ]
    assert "the meter was exchanged" in told[1][3]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (planned(place="D-9"), "has no household"),
        (planned("concentrator", "99"), "has no household"),
        (planned("station", "x"), "has no household"),
        (planned("village"), "is of one of these"),
        (Planned("district", "D-1", NOW + 9, NOW + 9, "no"), "ends after it begins"),
        (Planned("district", "D-1", NOW, NOW + 32 * DAY_S, "no"), "within 31 days"),
        (Planned("district", "D-1", NOW - 9, NOW - 5, "no"), "before its end"),
        (Planned("district", "D-1", NOW + 400 * DAY_S, NOW + 401 * DAY_S, "no"), "a year ahead"),
    ],
)
def test_an_outage_that_cannot_be_is_refused(store: Store, wanted: Planned, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        planned_outages.plan_outage(store, wanted, "Li")
    assert planned_outages.outages(store) == []


def test_outages_are_kept_by_commands(store: Store) -> None:
    year = time.localtime().tm_year + 1
    since, until = f"{year}-01-02 08:00", f"{year}-01-02 12:00"
    span = ("--since", since, "--until", until, "--reason", "new transformer", "--by", "Li")
    assert "2 households" in run(store, "planned-outage", "plan", "district", "D-1", *span).output
    assert "is changed" in run(store, "planned-outage", "change", 1, *span).output
    assert "new transformer" in run(store, "planned-outage", "list").output
    assert next(iter(planned_outages.places(store))) == ("district", "D-1")
    done = run(store, "planned-outage", "end", 1, "--called-off", "--reason", "rain", "--by", "Li")
    assert done.output == "outage 1: called off\n"
    assert run(store, "planned-outage", "list", "--open").output == "there is none\n"
    (row,) = json.loads(run(store, "planned-outage", "list", "--json").output)["outages"]
    assert (row["since_at"][:16].replace("T", " "), row["state"]) == (since, "called off")


# --- complaints ---------------------------------------------------------------------------------


def test_a_complaint_is_answered_by_its_time(store: Store) -> None:
    supply = complaints.enter_complaint(store, Said("supply", "dark since noon", "lane 3"), "Li")
    bill = complaints.enter_complaint(store, Said("bill", "too much", "", ONE, "Wang, 138"), "Li")
    rows = complaints.complaints(store, open_only=True, now=NOW + 2 * DAY_S)
    assert [(row["number"], row["is_late"]) for row in rows] == [(supply, True), (bill, False)]
    complaints.close_complaint(store, supply, "Chen", "the fuse was replaced")
    with pytest.raises(StoreError, match="closed already"):
        complaints.close_complaint(store, supply, "Chen", "again")
    complaints.reopen_complaint(store, supply, "Chen", "dark again")
    with pytest.raises(StoreError, match="is open"):
        complaints.reopen_complaint(store, supply, "Chen", "again")
    assert [one["reopened"] for one in complaints.complaints(store)] == [1, 0]
    assert [one["number"] for one in complaints.complaints(store, account=ONE)] == [bill]
    told = str(audit.entries(store, action="complaint"))
    assert "Wang" not in told
    assert "too much" not in told


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (Said("noise", "what is it", "lane"), "one of these kinds"),
        (Said("bill", "  x ", "lane"), "in a few words"),
        (Said("bill", "too much"), "a household or a place"),
        (Said("bill", "too much", "", "999999999999"), "there is no account"),
        (Said("bill", "too much", "lane", due_at=5), "from now on"),
    ],
)
def test_a_complaint_that_says_nothing_is_refused(store: Store, said: Said, text: str) -> None:
    with pytest.raises(StoreError, match=text):
        complaints.enter_complaint(store, said, "Li")
    assert complaints.complaints(store) == []


def test_complaints_are_kept_by_commands(store: Store) -> None:
    told = ("complaint", "enter", "--kind", "meter", "--what", "it runs fast", "--by", "Li")
    done = run(store, *told, "--account", int(OTHER), "--contact", "Wang", "--due", "2099-01-01")
    assert "within a year" in done.output
    assert run(store, *told, "--account", int(OTHER)).output == "complaint 1 is entered\n"
    assert "up to 12 digits" in run(store, *told, "--account", "x").output
    assert "it runs fast" in run(store, "complaint", "list").output
    answer = ("--by", "Li", "--answer", "the meter was tested")
    assert "is closed" in run(store, "complaint", "close", 1, *answer).output
    assert (
        "is open again" in run(store, "complaint", "reopen", 1, "--by=Li", "--reason=fast").output
    )
    assert "no complaint 9" in run(store, "complaint", "close", 9, *answer).output


# --- pages --------------------------------------------------------------------------------------


def submitted(browser: Browser, path: str, fields: dict[str, str]) -> Answer:
    """Send a form with the mark that the page gave to this browser."""
    token = browser.get(path).text.partition('csrfmiddlewaretoken" value="')[2].partition('"')[0]
    return browser.post(path, {"csrfmiddlewaretoken": token, **fields})


def test_a_person_works_at_the_pages(tmp_path: Path) -> None:
    with served(tmp_path, "sqlite") as station:
        browser = signed_in(station, "engineer")
        wanted = {
            "place": f"concentrator:{CONCENTRATOR}",
            "since": time.strftime("%Y-%m-%dT%H:%M", time.gmtime(NOW + DAY_S)),
            "until": time.strftime("%Y-%m-%dT%H:%M", time.gmtime(NOW + DAY_S + 2 * HOUR_S)),
            "reason": "new transformer",
        }
        told = submitted(browser, "/planned-outages", {**wanted, "step": "plan"})
        assert "outage 1 is noted" in told.text
        assert "new transformer" in told.text
        wrong = submitted(
            browser, "/planned-outages", {**wanted, "until": wanted["since"], "step": "plan"}
        )
        assert (wrong.status, "ends after it begins" in wrong.text) == (409, True)
        told = submitted(
            browser, "/planned-outages", {"number": "1", "reason": "rain came", "step": "off"}
        )
        assert "called off" in told.text
        cashier = signed_in(station, "cashier")
        said = {"kind": "bill", "what": "<b>too much", "place": "lane 3", "step": "enter"}
        told = submitted(cashier, "/complaints", said)
        assert "&lt;b&gt;too much" in told.text
        wrong = submitted(cashier, "/complaints", {**said, "place": ""})
        assert (wrong.status, "a household or a place" in wrong.text) == (409, True)
        answer = {"number": "1", "reason": "explained", "step": "close"}
        assert "explained" in submitted(cashier, "/complaints", answer).text
        assert "closed already" in submitted(cashier, "/complaints", answer).text
        viewer = signed_in(station, "viewer")
        assert submitted(viewer, "/complaints", answer).status == 403
        assert submitted(viewer, "/planned-outages", {"step": "plan"}).status == 403
