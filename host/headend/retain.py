"""Roll up what is old: raw records are deleted, and where told readings and freezes as well.

Each call is a short piece of the work, so that a head-end answers concentrators between two.
"""

from host.frames.record import RecordKind
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.store import Store

DAYS = 62
_PIECE = 20_000  # rows
# What waits for a person may still be posted.
_WAITS = """SELECT 1 FROM quarantine WHERE quarantine.concentrator = records.concentrator
    AND quarantine."row" = records."row" AND quarantine.resolved_at IS NULL
    AND records.seq BETWEEN quarantine.first_seq AND quarantine.last_seq"""


def concentrators(store: Store) -> list[int]:
    """Return the numbers of all concentrators."""
    rows = store.rows("SELECT concentrator FROM concentrators ORDER BY concentrator")
    return [row["concentrator"] for row in rows]


@at_desk
def retain(store: Store, concentrator: int, before_at: int) -> int:
    """Delete a concentrator's raw records received before a moment, but those that wait.

    Return how many were deleted.
    """
    old = f"concentrator = ? AND received_at < ? AND NOT EXISTS ({_WAITS})"
    with store.writing() as database:
        ((records, readings),) = database.all(
            "SELECT count(*), CAST(coalesce(sum(CASE WHEN kind = ? THEN 1 ELSE 0 END), 0) "
            f"AS bigint) FROM records WHERE {old}",
            (int(RecordKind.READING), concentrator, before_at),
        )
        if records:
            database.run(
                "UPDATE concentrators SET rolled_records = rolled_records + ?, "
                "rolled_readings = rolled_readings + ? WHERE concentrator = ?",
                (records, readings, concentrator),
            )
            database.run(f"DELETE FROM records WHERE {old}", (concentrator, before_at))
        return int(records)


@at_desk
def drop_readings(store: Store, before_day: int) -> int:
    """Delete the first readings and items of meters before a day since 2000; return their count.

    There are no more of them where it returns 0.
    """
    with store.writing() as database:
        return _drop(database, "readings", before_day) + _drop(database, "items", before_day)


@at_desk
def drop_freezes(store: Store, before_day: int) -> int:
    """Delete the first freezes before a day since 2000; return their count, 0: there are none."""
    with store.writing() as database:
        return _drop(database, "freezes", before_day)


def _drop(database: Database, table: str, before_day: int) -> int:
    where, values = "day < ?", [before_day]
    ordered = f"SELECT day, meter FROM {table} WHERE day < ? ORDER BY day, meter"
    for day, meter in database.all(f"{ordered} LIMIT 1 OFFSET {_PIECE}", (before_day,)):
        where, values = "(day, meter) <= (?, ?)", [day, meter]
    counts = database.all(
        f"SELECT count(*), concentrator FROM {table} WHERE {where} GROUP BY concentrator",
        values,
    )
    if table == "readings":
        database.many(
            "UPDATE concentrators SET rolled_readings = rolled_readings - ? "
            "WHERE concentrator = ?",
            counts,
        )
    database.run(f"DELETE FROM {table} WHERE {where}", values)
    return int(sum(count for count, _ in counts))
