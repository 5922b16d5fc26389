"""Goal: what comes back each hour and each morning is done once, whoever is started again, and one
work that fails holds up no other.

Method: rounds at told times over a village with readings, missing midnights and a low voltage; and
one head-end as a process, which has the routine beside it.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.frames.record import RecordKind
from host.headend import asking, noting, retention, routine
from host.headend.findings import findings
from host.headend.ingest import Ingest
from host.headend.routine import Routine
from host.headend.store import Store
from host.units import DAY_S, HOUR_S, unix_of_t2000
from tests.host.serving import PATIENCE_S, HeadEnd
from tests.host.uplink_world import (
    KEYS,
    START_T2000,
    account_name,
    deliver,
    village_of,
)

pytestmark = pytest.mark.slow

DAY = START_T2000 // DAY_S + 9
MORNING = 6


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as store:
        village = village_of(3, 1)
        for day in (DAY - 9, DAY - 1):
            fields = {"frozen_t2000": day * DAY_S, "registers_wh": [1000] + [0] * 7}
            village.write(RecordKind.FREEZE, fields, 0)
        deliver(Ingest(store, KEYS), village)
        yield store


def at(store: Store, hour: int, day: int = DAY) -> int:
    return unix_of_t2000(day * DAY_S + hour * HOUR_S + 120, store.zone())


def done_all(store: Store) -> None:
    with store.writing() as database:
        database.run("UPDATE commands SET state = 'done'")


def test_each_work_is_done_once_in_its_time(store: Store) -> None:
    works = Routine(store, MORNING)
    assert works.go(at(store, 5)) == ["voltage"]
    assert works.go(at(store, 5) + 60) == [] == Routine(store, MORNING).go(at(store, 5) + 90)
    done_all(store)
    assert works.go(at(store, 6)) == ["voltage", "freezes", "findings"]
    assert Routine(store, MORNING).go(at(store, 6) + 60) == [], "it was started again"
    done_all(store)
    assert works.go(at(store, 7)) == ["voltage"]
    done_all(store)
    assert works.go(at(store, 23)) == ["voltage"]
    done_all(store)
    assert works.go(at(store, 0, DAY + 1)) == ["voltage"]
    done_all(store)
    assert works.go(at(store, 6, DAY + 1)) == ["voltage", "freezes", "findings"]
    texts = store.rows("SELECT text, expires_at - given_at AS lasts, given_by FROM commands")
    assert {(one["lasts"], one["given_by"]) for one in texts} == {
        (HOUR_S, routine.BY),
        (DAY_S, routine.BY),
    }
    assert any(one["text"].startswith(f"freezes {account_name(0)} 2025-12-2") for one in texts)
    assert noting.noted_last(store) == "2026-01-03"


def test_what_a_person_had_done_is_not_done_again(store: Store) -> None:
    noting.note_day(store, DAY - 1, "Li")
    assert "findings" not in Routine(store, MORNING).go(at(store, 8))


def test_a_finding_that_was_closed_stays_closed(store: Store) -> None:
    with store.writing() as database:
        told = ((DAY - 1) * DAY_S, "[1700]")
        database.run(
            "INSERT INTO items (day, meter, t2000, identifier, concentrator, seq, account, "
            f"\"values\") SELECT {DAY - 1}, address, ?, '0201FF00', concentrator, 1, account, ? "
            "FROM meters WHERE account = '000000000001'",
            told,
        )
    assert "findings" in Routine(store, MORNING).go(at(store, 8))
    assert "voltage" in [one["kind"] for one in findings(store)]
    with store.writing() as database:
        database.run("UPDATE findings SET resolved_at = 1")
    assert "findings" not in Routine(store, MORNING).go(at(store, 9))
    assert "voltage" not in [one["kind"] for one in findings(store)]


def test_one_that_fails_holds_up_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_told: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(asking, "due", fails)
    works = Routine(store, MORNING)
    assert works.go(at(store, 6)) == ["freezes", "findings"]
    assert works.go(at(store, 6) + 60) == [], "nor is it tried in each round"
    assert caplog.text.count("voltage has failed") == 1


def test_what_is_kept_no_longer_is_erased_each_morning(store: Store) -> None:
    retention.set_retention(store, retention.READINGS, 30, "Li", "it is enough")
    works = Routine(store, MORNING)
    assert "retention" not in works.go(at(store, 6, DAY + 20))
    assert "retention" not in works.go(at(store, 5, DAY + 60)), "it is not morning yet"
    assert "retention" in works.go(at(store, 6, DAY + 60))
    assert "retention" not in works.go(at(store, 6, DAY + 61)), "nothing is old"


def test_a_head_end_has_it_beside_it(store: Store, tmp_path: Path) -> None:
    with store.writing() as database:
        database.run("UPDATE station SET zone = 'UTC'")
    store.close()
    served = HeadEnd(tmp_path, "--routine", "0")
    until = time.monotonic() + PATIENCE_S
    noted = ""
    while not noted and time.monotonic() < until:
        with Store(served.db, read_only=True) as looking:
            noted = noting.noted_last(looking)
            jobs = looking.rows("SELECT name, given_by FROM jobs")
        time.sleep(0.1)
    assert served.end(signal.SIGTERM) is not None
    assert noted, served.log.read_text()
    assert {one["name"]: one["given_by"] for one in jobs}.get("voltage") == routine.BY
    with Store(served.db, read_only=True) as looking:
        (entry,) = looking.rows("SELECT door, person, detail FROM audit WHERE action = 'finding'")
    assert (entry["door"], entry["detail"]["by"]) == ("routine", "routine")
