"""What a concentrator has told of accounts of others: it is stored, and waits for a person."""

from typing import Any

from host.frames.record import MONEY_KINDS, RecordKind
from host.headend.database import Database, upsert_sql
from host.headend.unpack import Taken

_KEY = ("concentrator", "row", "first_seq")
_COLUMNS = (
    *_KEY,
    *("account", "meter", "last_seq", "records", "readings", "payments", "found_at"),
)
_UPSERT = upsert_sql("quarantine", _COLUMNS, _KEY)
_OPEN = "SELECT * FROM quarantine WHERE concentrator = ? AND resolved_at IS NULL"


class Quarantine:
    """What waits, by its concentrator, row and account; `write` stores what was noted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[tuple[int, int, str], dict[str, Any]] = {}
        self._changed: set[tuple[int, int, str]] = set()

    def forget(self) -> None:
        """Read everything again when it is needed."""
        self._waiting.clear()
        self._changed.clear()

    def read(self, concentrator: int) -> None:
        """Read what waits of a concentrator."""
        for one in self._database.rows(_OPEN, (concentrator,)):
            self._waiting[concentrator, one["row"], one["account"]] = one

    def note(self, concentrator: int, record: Taken, meter: dict[str, Any], now: int) -> None:
        """Note a record of the account of a row's meter."""
        where = (concentrator, record.row, meter["account"])
        waiting = self._waiting.get(where)
        if waiting is None:
            values = (*where[:2], record.seq, where[2], meter["address"], record.seq, 0, 0, 0, now)
            waiting = self._waiting[where] = dict(zip(_COLUMNS, values, strict=True))
        waiting["last_seq"] = record.seq
        waiting["records"] += 1
        waiting["readings"] += record.kind == RecordKind.READING
        waiting["payments"] += record.kind in MONEY_KINDS
        self._changed.add(where)

    def write(self) -> None:
        """Insert and update what was noted; the caller commits."""
        if self._changed:
            changed = [self._waiting[where] for where in sorted(self._changed)]
            self._database.many(_UPSERT, [[one[name] for name in _COLUMNS] for one in changed])
            self._changed.clear()
