"""Consistent copies of a database in use, and the mark of one that was restored."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from host.headend import audit, commands
from host.headend.database import Sqlite
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store, is_address
from host.words import _, system_reason

_PAGES_AT_ONCE = 4096


def back_up(db: str, out: Path) -> None:
    """Write a whole copy of a database, readable by its owner alone, and check it; StoreError."""
    if is_address(db):
        raise StoreError(_("PostgreSQL has its own program for this: pg_dump"))
    part = out.with_name(f"{out.name}.part")
    part.unlink(missing_ok=True)
    with Store(db, read_only=True) as store:
        assert isinstance(store.database, Sqlite)
        try:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(sqlite3.connect(part)) as copy:
                store.database.copy_into(copy, _PAGES_AT_ONCE)
                copy.execute("PRAGMA journal_mode = DELETE").close()
            check(str(part))
            os.link(part, out)
        except (OSError, sqlite3.Error) as error:
            said = system_reason(error) if isinstance(error, OSError) else str(error)
            raise StoreError(
                _("cannot make {path}: {strerror}").format(path=out, strerror=said)
            ) from error
        finally:
            part.unlink(missing_ok=True)


def check(db: str) -> dict[str, int]:
    """Return how many rows the tables of money and records have; StoreError: it is damaged."""
    with Store(db, read_only=True) as store:
        if isinstance(store.database, Sqlite):
            said = store.value("PRAGMA integrity_check")
            if said != "ok":
                raise StoreError(
                    _("{path} is damaged: {trouble}").format(
                        path=db, trouble=str(said).split("\n")[0]
                    )
                )
        tables = ("records", "readings", "accounts", "orders", "top_ups")
        return {name: store.value(f"SELECT count(*) FROM {name}") for name in tables}


def put_back(source: Path, db: str) -> None:
    """Restore a copy to `db`, where no file is yet, and mark it as restored; StoreError."""
    check(str(source))
    if Path(db).exists():
        raise StoreError(
            _("{db} is there already: {hint}").format(
                db=db, hint=_("choose another name, or move it away")
            )
        )
    back_up(str(source), Path(db))
    with Store(db) as store:
        mark(store)


@at_desk
def mark(store: Store) -> None:
    """Block sales to each account until its concentrator has reported its standing."""
    with store.writing(adopting=True) as database:
        database.tell_writers()
        commands.note_restored(database, int(time.time()))
        database.run("UPDATE accounts SET standing_due = 1")
        audit.note(database, "restored")
        # The head-end's answers ask the concentrator for it until it has reported.
        database.run(
            "UPDATE concentrators SET wanted_seq = "
            "CASE WHEN acked_seq > wanted_seq THEN acked_seq ELSE wanted_seq END"
        )
        database.run("UPDATE concentrators SET wanted_seq = 1 WHERE wanted_seq = 0")
