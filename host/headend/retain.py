"""Roll up old raw records: they are deleted, while readings, freezes and money stay."""

from host.frames.record import RecordKind
from host.headend.desk import at_desk
from host.headend.store import Store

DAYS = 62
# What waits for a person may still be posted.
_WAITS = """SELECT 1 FROM quarantine WHERE quarantine.concentrator = records.concentrator
    AND quarantine."row" = records."row" AND quarantine.resolved_at IS NULL
    AND records.seq BETWEEN quarantine.first_seq AND quarantine.last_seq"""


@at_desk
def retain(store: Store, before_at: int) -> int:
    """Delete raw records received before a moment, but those that wait; return their count."""
    with store.writing() as database:
        counts = database.all(
            "SELECT concentrator, count(*), "
            "CAST(sum(CASE WHEN kind = ? THEN 1 ELSE 0 END) AS bigint) "
            f"FROM records WHERE received_at < ? AND NOT EXISTS ({_WAITS}) GROUP BY concentrator",
            (int(RecordKind.READING), before_at),
        )
        database.many(
            "UPDATE concentrators SET rolled_records = rolled_records + ?, "
            "rolled_readings = rolled_readings + ? WHERE concentrator = ?",
            [(records, readings, concentrator) for concentrator, records, readings in counts],
        )
        database.run(
            f"DELETE FROM records WHERE received_at < ? AND NOT EXISTS ({_WAITS})", (before_at,)
        )
        return sum(records for _, records, _ in counts)
