"""Goal: each action with money or a relay is in the audit log, and no change of the log is missed.

Method: commands act through the command line, and as a person at a page does; entries are changed,
taken out and cut off with the guards of the engine removed.
"""

import json
import os
import pwd
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import audit, commands, findings, orders
from host.headend.audit import Who
from host.headend.commands import Given, Target
from host.headend.ingest import Ingest
from host.headend.orders import Till
from host.headend.store import Store
from tests.host.uplink_world import CONCENTRATOR, KEYS, account_name, deliver, village_of

NAME = account_name(0)
ME = pwd.getpwuid(os.getuid()).pw_name


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "160"})


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        deliver(Ingest(store, KEYS), village_of(1, 2))
    who = ("--db", path, "--account", NAME)
    assert run("sell", *who, "--amount", "50", "--cashier", "Li").exit_code == 0
    assert run("void", *who, "--order", "2", "--reason", "typo", "--cashier", "Li").exit_code == 0
    assert run("limits", "--db", path, "--sale", "900").exit_code == 0
    with Store(path) as store, audit.acting(Who("page", "wang")):
        orders.sell(store, NAME, 700, Till("wang"))
        orders.set_carded(store, NAME, 3)
        target = Target(CONCENTRATOR, f"supply {NAME} connect", NAME)
        commands.give(store, "connect", [target], Given("wang", "paid"))
        commands.set_job(store, 1, commands.STOPPED)
        findings.settle_books(store, "money", NAME, "{}", "wang", "looked")
    return path


def told(db: Path, *words: str) -> list[dict[str, object]]:
    return list(json.loads(run("audit", "list", "--db", db, "--json", *words).output)["audit"])


def test_each_action_has_its_entry_with_door_and_person(db: Path) -> None:
    rows = told(db)
    found = [(row["action"], row["amount_fen"], row["door"], row["person"]) for row in rows]
    assert found == [
        *(("sale", 5000, "cli", ME), ("void", -5000, "cli", ME), ("limits", 0, "cli", ME)),
        *(("sale", 700, "page", "wang"), ("card", 0, "page", "wang")),
        *(("command", 0, "page", "wang"), ("job", 0, "page", "wang")),
        ("finding", 0, "page", "wang"),
    ]
    assert rows[0]["detail"] == {
        "cashier": "Li",
        "channel": "counter",
        "order": 2,
        "reference": "",
    }
    assert [row["action"] for row in told(db, "--person", "wang", "--account", NAME)] == [
        *("sale", "card", "command", "finding")
    ]
    assert [row["number"] for row in told(db, "--action", "void")] == [2]
    assert told(db, "--until", "2020-01-01") == []
    assert "wang" in run("audit", "list", "--db", db, "--since", "2020-01-01").output


def test_what_fails_leaves_no_entry(db: Path) -> None:
    before = told(db)
    for words in (("sell", "--amount", "901"), ("void", "--order", "9", "--reason", "x")):
        done = run(words[0], "--db", db, "--account", NAME, *words[1:])
        assert done.exit_code == 1
    assert told(db) == before


def test_the_engine_refuses_to_change_the_log(db: Path) -> None:
    with closing(sqlite3.connect(db)) as file:
        for statement in ("DELETE FROM audit", "UPDATE audit SET person = 'x' WHERE number = 1"):
            with pytest.raises(sqlite3.IntegrityError):
                file.execute(statement)


CHANGES = (
    "UPDATE audit SET amount_fen = 4000 WHERE number = 1",
    "UPDATE audit SET person = 'somebody' WHERE number = 4",
    "UPDATE audit SET detail = '{}' WHERE number = 8",
    "DELETE FROM audit WHERE number = 3",
    "UPDATE audit SET number = number + 100 WHERE number > 4",
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_behind_the_engine_is_found(db: Path, change: str) -> None:
    good = run("audit", "verify", "--db", db, "--json")
    assert (good.exit_code, json.loads(good.output)["entries"]) == (0, 8)
    with closing(sqlite3.connect(db)) as file:
        file.execute("DROP TRIGGER audit_unchanged")
        file.execute("DROP TRIGGER audit_kept")
        file.execute(change)
        file.commit()
    done = run("audit", "verify", "--db", db)
    assert (done.exit_code, "is not whole" in done.output) == (1, True)


def test_what_was_cut_off_is_found_by_a_digest_kept_elsewhere(db: Path) -> None:
    digest = json.loads(run("audit", "verify", "--db", db, "--json").output)["digest"]
    assert run("audit", "verify", "--db", db, "--digest", digest).exit_code == 0
    with closing(sqlite3.connect(db)) as file:
        file.execute("DROP TRIGGER audit_kept")
        file.execute("DELETE FROM audit WHERE number = 8")
        file.commit()
    assert run("audit", "verify", "--db", db).exit_code == 0
    done = run("audit", "verify", "--db", db, "--digest", digest)
    assert (done.exit_code, "cut off" in done.output) == (1, True)
