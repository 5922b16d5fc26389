"""Goal: grace follows how a customer has paid, by a rule that is shown; a person may set another
class with a reason, and the concentrator is told.

Method: accounts with made-up histories, by the commands.
"""

import json
import time
from pathlib import Path

from click.testing import CliRunner

from host.cli import cli
from host.headend import audit
from host.headend.ingest import Ingest
from host.headend.store import Store
from host.units import DAY_S, t2000_of_unix
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

LATE = {0: 0, 1: 1, 2: 3, 3: 4}


def said(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["headend", "credit", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def test_grace_follows_the_history_and_a_person_may_set_it(tmp_path: Path) -> None:
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        deliver(Ingest(store, KEYS), village_of(5, 1))
        now = int(time.time())
        t2000 = t2000_of_unix(now, store.zone())
        with store.writing() as database:
            told = [(account_name(row), f"C-{row}", 1) for row in range(4)]
            told.append((account_name(4), "C-4", now))
            columns = ("account", "customer", "opened_at")
            database.insert_new("contracts", columns, told)
            database.insert_new("customers", ("customer",), [(one[1],) for one in told])
            columns = ("concentrator", "seq", "t2000", "account", "balance_fen")
            late = [
                (7, 1000 + row * 10 + at, t2000 - (30 * at + 1) * DAY_S, account_name(row), -1)
                for row, months in LATE.items()
                for at in range(months)
            ]
            database.insert_new("policies", columns, late)
        db = ("--db", path)
        rows = json.loads(said("list", *db, "--json"))["classes"]
        assert [one["credit_class"] for one in rows] == ["A", "B", "C", "D", "D"]
        assert "A: no late month of twelve" in said("list", *db)
        assert "no customer C-9" in said("set", "C-9", "A", *db, *why("x"), code=1)
        told = said("set", "C-3", "B", *db, *why("hospital"))
        assert told == "customer C-3: class B\n1 accounts get another grade\n"
        again = said("set", "C-3", "B", *db, *why("hospital"), code=1)
        assert "has this class already" in again
        assert "give --by and --reason" in said("set", "C-3", "B", *db, *why(" "), code=1)
        assert "4 accounts get another grade" in said("give", *db, "--by", "Chen")
        given = store.rows("SELECT text FROM commands ORDER BY number")
        assert [one["text"] for one in given] == [
            f"account set {account_name(row)} grade {grade}"
            for row, grade in ((3, 2), (0, 3), (1, 2), (2, 1), (3, 2))
        ]
        (entry,) = audit.entries(store, action="credit class")
        assert entry["detail"]["reason"] == "hospital"
        said("set", "C-3", "rule", *db, *why("over"))
        rows = json.loads(said("list", *db, "--json"))["classes"]
        assert (rows[3]["credit_class"], rows[3]["reason"]) == ("D", "")


def why(reason: str) -> tuple[str, ...]:
    return ("--by", "Chen", "--reason", reason)
