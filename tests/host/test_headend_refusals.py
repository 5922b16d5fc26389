"""Goal: `headend concentrators` shows who was refused why, also numbers that no key is known of.

Method: frames with a wrong key, of unknown numbers and of another journal come to an ingest and to
a serving head-end; the counts are looked at in its database.
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames import link
from host.frames.link import Kind
from host.headend.ingest import Ingest
from host.headend.refusals import UNKNOWN_LIMIT
from host.headend.store import Store
from tests.host.serving import PATIENCE_S, HeadEnd
from tests.host.uplink_world import CONCENTRATOR, KEYS, deliver, frame, hello, village_of

WRONG_KEY = bytes(32)
STRANGER = 4000


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "village.db"
    Store(path, create=True).close()
    return path


@contextmanager
def ingest_of(db: Path) -> Iterator[Ingest]:
    """Give an ingest, and have what it counted written at the end."""
    with Store(db) as store:
        ingest = Ingest(store, KEYS)
        yield ingest
        ingest.refusals.write()


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "200"})


def told(db: Path, *words: str) -> list[dict[str, Any]]:
    found = json.loads(run("concentrators", "--db", db, "--json", *words).output)
    return list(found["concentrators"])


def test_a_wrong_key_an_unknown_number_and_another_journal_are_told(db: Path) -> None:
    with ingest_of(db) as ingest:
        deliver(ingest, village_of(2, 2))
        for number in (5, 6):
            ingest.answer(frame(Kind.HELLO, number, hello(1, 4), key=WRONG_KEY), "10.0.0.1:5")
        ingest.answer(frame(Kind.HELLO, 1, hello(1, 4), concentrator=STRANGER), "10.0.0.2:5")
        ingest.answer(frame(Kind.HELLO, 7, hello(1, 4), journal=b"another!"), "10.0.0.3:5")
    own, stranger = told(db)
    assert own["concentrator"] == CONCENTRATOR
    counts = {one["reason"]: (one["count"], one["address"]) for one in own["refusals"]}
    assert counts == {"bad_mac": (2, "10.0.0.1:5"), "other_journal": (1, "10.0.0.3:5")}
    assert own["refusals"][0]["last_at"][:2] == "20"
    assert (stranger["concentrator"], stranger["seen_at"]) == (STRANGER, None)
    assert [one["reason"] for one in stranger["refusals"]] == ["unknown_concentrator"]
    table = " ".join(run("concentrators", "--db", db).output.replace("│", " ").split())
    assert "wrong key (2 times, last 20" in table
    assert "no key here (1 times" in table
    csv = run("concentrators", "--db", db, "--csv").output
    assert "other journal (1 times" in csv
    assert [one["concentrator"] for one in told(db, "--concentrator", str(STRANGER))] == [STRANGER]
    with ingest_of(db) as ingest:  # counts go on over a new start
        ingest.answer(frame(Kind.HELLO, 8, hello(1, 4), key=WRONG_KEY), "10.0.0.4:5")
    (one,) = [one for one in told(db)[0]["refusals"] if one["reason"] == "bad_mac"]
    assert (one["count"], one["address"]) == (3, "10.0.0.4:5")


def test_numbers_that_anyone_can_make_up_do_not_fill_the_database(db: Path) -> None:
    with ingest_of(db) as ingest:
        ingest.answer(frame(Kind.HELLO, 1, hello(1, 4), key=WRONG_KEY), "10.0.0.1:5")
        for burst in range(3):
            for number in range(UNKNOWN_LIMIT + 20):
                claimed = STRANGER + 1000 * burst + number
                ingest.answer(
                    frame(Kind.HELLO, 1, hello(1, 4), concentrator=claimed), "10.0.0.2:5"
                )
            ingest.refusals.write()
    rows = told(db)
    assert len(rows) == UNKNOWN_LIMIT + 1
    assert rows[0]["refusals"][0]["reason"] == "bad_mac", "the one that has a key is kept"
    assert min(row["concentrator"] for row in rows[1:]) == STRANGER + 2020


def test_what_is_refused_is_written_while_it_serves(tmp_path: Path) -> None:
    head_end = HeadEnd(tmp_path)
    try:
        one = frame(Kind.HELLO, 1, hello(1, 4), concentrator=STRANGER)
        with head_end.connect() as line:
            line.sendall(link.build(one.kind, one.seq, one.body))
            until = time.monotonic() + PATIENCE_S
            while not (rows := told(head_end.db)) and time.monotonic() < until:
                time.sleep(0.05)
        assert [row["concentrator"] for row in rows] == [STRANGER]
    finally:
        head_end.end(signal.SIGTERM)
