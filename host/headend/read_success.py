"""Which meters are read: what share of a day's midnights is here, since when, and why others lack.

Day D is read when the midnight at its end is here; of a meter of 1997, which keeps none, when
there is a reading of that day. It is read *on day 1* when it came within 24 hours of that
midnight, on day 2 and 3 within 48 and 72. Meters are counted from the day on which their
concentrator told of them. An account with a contract of which no concentrator has told is not
registered: it is listed, and no part of the rate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from host.headend.places import OF_DISTRICT, names_of_districts, question_marks
from host.headend.store import Store
from host.units import DAY_S, unix_of_t2000
from host.words import marked

DISTRICT, CONCENTRATOR, STATION = "district", "concentrator", "station"
BY = (STATION, DISTRICT, CONCENTRATOR)
# Why a day is not read.
REFUSED = marked("concentrator refused")
CONCENTRATOR_SILENT = marked("concentrator silent")
RECORDS_LOST = marked("records lost")
FOREIGN = marked("waits: the account is of another concentrator")
METER_SILENT = marked("meter silent")
IN_DOUBT = marked("readings in doubt")
NO_MIDNIGHT = marked("answers, without this midnight")
UNKNOWN = marked("not known")
NEVER_REGISTERED = marked("never registered")

_CHUNK = 500
_DAYS = 3
_SILENT, _ANSWERS = 1, 2  # states of LINE
_LOOK_BACK_DAYS = 62

# The meters that are expected on a day, with what is here of it: those that keep midnights, and
# those of 1997. The values are the number of a day and when it ends.
_EXPECTED = (
    """
    SELECT meters.account, meters.address, meters.concentrator,
    coalesce(contracts.district, '') AS district,
    read.seq AS seq, came.seq AS dated, came.received_at AS received_at
    FROM meters JOIN accounts ON accounts.account = meters.account
    AND accounts.concentrator = meters.concentrator
    LEFT JOIN contracts ON contracts.account = meters.account AND contracts.closed_at IS NULL
    LEFT JOIN records AS told ON told.concentrator = meters.concentrator AND told.seq = meters.seq
    LEFT JOIN freezes AS read ON read.day = ? AND read.meter = meters.address
    AND read.concentrator = meters.concentrator
    LEFT JOIN records AS came ON came.concentrator = read.concentrator AND came.seq = read.seq
    WHERE meters.active = 1 AND meters.standard <> 1 AND (told.t2000 IS NULL OR told.t2000 < ?)
    {only}
    """,
    """
    SELECT meters.account, meters.address, meters.concentrator,
    coalesce(contracts.district, '') AS district,
    read.seq AS seq, came.seq AS dated, came.received_at AS received_at
    FROM meters JOIN accounts ON accounts.account = meters.account
    AND accounts.concentrator = meters.concentrator
    LEFT JOIN contracts ON contracts.account = meters.account AND contracts.closed_at IS NULL
    LEFT JOIN records AS told ON told.concentrator = meters.concentrator AND told.seq = meters.seq
    LEFT JOIN (
        SELECT meter, concentrator, min(seq) AS seq FROM readings WHERE day = ?
        AND meter IN (SELECT address FROM meters WHERE standard = 1 AND active = 1)
        GROUP BY meter, concentrator
    ) AS read ON read.meter = meters.address AND read.concentrator = meters.concentrator
    LEFT JOIN records AS came ON came.concentrator = read.concentrator AND came.seq = read.seq
    WHERE meters.active = 1 AND meters.standard = 1 AND (told.t2000 IS NULL OR told.t2000 < ?)
    {only}
    """,
)
_COUNTS = """
    SELECT concentrator, district, count(*) AS meters, count(seq) AS there, count(dated) AS dated,
    count(CASE WHEN received_at < ? THEN 1 END) AS day1,
    count(CASE WHEN received_at < ? THEN 1 END) AS day2,
    count(CASE WHEN received_at < ? THEN 1 END) AS day3
    FROM ({expected}) AS one GROUP BY concentrator, district
"""
_MISSING = """
    SELECT account, address, concentrator, district FROM ({expected}) AS one
    WHERE seq IS NULL ORDER BY concentrator, account
"""
_UNREGISTERED = """
    SELECT contracts.account, coalesce(devices.address, '') AS address,
    contracts.district FROM contracts
    LEFT JOIN devices ON devices.account = contracts.account
    WHERE contracts.closed_at IS NULL AND contracts.opened_at < ?{where}
    AND contracts.account NOT IN (SELECT account FROM meters WHERE active = 1)
    ORDER BY contracts.account
"""


@dataclass(slots=True)
class Success:
    """How many meters of a group are read, and how many of them came within 1, 2 and 3 days.

    dated   of how many the time of arrival is still known; `retain` deletes it with the records
    """

    name: str
    meters: int = 0
    there: int = 0
    dated: int = 0
    day1: int = 0
    day2: int = 0
    day3: int = 0
    unregistered: int = 0

    @property
    def missing(self) -> int:
        """Return how many are not read."""
        return self.meters - self.there

    def rate_e4(self, count: int | None = None) -> int | None:
        """Return a count, or what is there, in hundredths of a percent; None: there is no meter.

        Rounded down: 100 % is said of all meters only.
        """
        if not self.meters:
            return None
        return 10_000 * (self.there if count is None else count) // self.meters

    def told(self) -> dict[str, Any]:
        """Return the figures by name, for lists and JSON."""
        known = self.dated == self.there
        rates = {
            f"day{on}_e4": self.rate_e4(count) if known else None
            for on, count in enumerate((self.day1, self.day2, self.day3), 1)
        }
        return {
            **asdict(self),
            "missing": self.missing,
            "unregistered": self.unregistered,
            "rate_e4": self.rate_e4(),
            **rates,
        }


@dataclass(slots=True)
class Missing:
    """A meter of which a day is not read, and why; `concentrator` 0: none has told of it."""

    account: str
    meter: str
    concentrator: int
    district: str
    why: str


def read_success(store: Store, day: int, by: str = STATION) -> list[Success]:
    """Return how well a day is read: of the station, or of each district or concentrator."""
    return all_of(store, day).get(by, [])


def all_of(store: Store, day: int) -> dict[str, list[Success]]:
    """Return how well a day is read: of the station, of each district and concentrator."""
    names = names_of_districts(store)
    found: dict[str, dict[Any, Success]] = {STATION: {"": Success("")}}

    def of(row: Mapping[str, Any], by: str) -> Success:
        key = "" if by == STATION else row[by]
        name = names.get(key, key) if by == DISTRICT else str(key)
        return found.setdefault(by, {}).setdefault(key, Success(name))

    for row in _counts(store, day):
        for by in BY:
            one = of(row, by)
            for name in ("meters", "there", "dated", "day1", "day2", "day3"):
                setattr(one, name, getattr(one, name) + row[name])
    for row in _unregistered(store, day, None):
        of(row, STATION).unregistered += 1
        of(row, DISTRICT).unregistered += 1
    return {by: [groups[key] for key in sorted(groups)] for by, groups in found.items()}


def _counts(store: Store, day: int) -> Iterable[dict[str, Any]]:
    ends = (day + 1) * DAY_S
    zone = store.zone()
    arrived = [unix_of_t2000(ends + n * DAY_S, zone) for n in range(1, _DAYS + 1)]
    for expected, on in zip(_EXPECTED, (day + 1, day), strict=True):
        yield from store.rows(
            _COUNTS.format(expected=expected.format(only="")), (*arrived, on, ends)
        )


def _unregistered(store: Store, day: int, district: str | None) -> list[dict[str, Any]]:
    where = "" if district is None else " AND contracts.district = ?"
    values: list[int | str] = [unix_of_t2000((day + 1) * DAY_S, store.zone())]
    values += [] if district is None else [district]
    return store.rows(_UNREGISTERED.format(where=where), values)


# --- why ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Known:
    """What tells why meters of a chunk are not read."""

    silent: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    lines: dict[str, int] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    reading: set[str] = field(default_factory=set)


def missing(store: Store, day: int, district: str | None = None) -> list[Missing]:
    """Return the meters of which a day is not read, of a district or of the station, and why."""
    ends = (day + 1) * DAY_S
    only, values = (
        ("", []) if district is None else (f"AND meters.account IN ({OF_DISTRICT})", [district])
    )
    rows: list[dict[str, Any]] = []
    for expected, on in zip(_EXPECTED, (day + 1, day), strict=True):
        query = _MISSING.format(expected=expected.format(only=only))
        rows += store.rows(query, (on, ends, *values))
    known = _of_concentrators(store, day)
    found = []
    for at in range(0, len(rows), _CHUNK):
        chunk = rows[at : at + _CHUNK]
        _learn(store, day, chunk, known)
        found += [
            Missing(
                row["account"],
                row["address"],
                row["concentrator"],
                row["district"],
                _why(row, known),
            )
            for row in chunk
        ]
    for row in _unregistered(store, day, district):
        told = (row["account"], row["address"], 0, row["district"], NEVER_REGISTERED)
        found.append(Missing(*told))
    return found


def _of_concentrators(store: Store, day: int) -> _Known:
    """Return which concentrators brought nothing of a day, are refused, or have lost records."""
    begins = unix_of_t2000(day * DAY_S, store.zone())
    known = _Known()
    for row in store.rows("SELECT concentrator, seen_at, refused, refused_at FROM concentrators"):
        number = row["concentrator"]
        if row["refused"] and (row["refused_at"] or 0) >= begins:
            known.refused.add(number)
        # It keeps records for weeks: one that was heard since has brought them.
        if (row["seen_at"] or 0) < unix_of_t2000((day + 1) * DAY_S, store.zone()):
            known.silent.add(number)
    gaps = "SELECT DISTINCT concentrator FROM gaps WHERE resolved_at IS NULL AND reasons <> 0"
    known.lost = {row["concentrator"] for row in store.rows(gaps)}
    return known


def _learn(store: Store, day: int, rows: Sequence[dict[str, Any]], known: _Known) -> None:
    """Find out what tells why these meters are not read."""
    accounts = [row["account"] for row in rows]
    marks = question_marks(accounts)
    ends = (day + 1) * DAY_S
    for row in store.rows(
        f"SELECT account, t2000, detail FROM alarms WHERE account IN ({marks}) AND t2000 >= ? "
        "AND t2000 < ? AND kind = 'LINE' ORDER BY t2000, seq",
        (*accounts, ends - _LOOK_BACK_DAYS * DAY_S, ends),
    ):
        state = row["detail"].get("state")
        if state in (_SILENT, _ANSWERS):
            known.lines[row["account"]] = state
    query = f"SELECT account FROM quarantine WHERE account IN ({marks}) AND resolved_at IS NULL"
    known.foreign.update(row["account"] for row in store.rows(query, accounts))
    query = f"SELECT account FROM accounts WHERE account IN ({marks}) AND doubt <> 0"
    known.doubted.update(row["account"] for row in store.rows(query, accounts))
    meters = [row["address"] for row in rows]
    query = f"SELECT DISTINCT meter FROM readings WHERE day = ? AND meter IN ({marks})"
    known.reading.update(row["meter"] for row in store.rows(query, (day, *meters)))


def _why(row: Mapping[str, Any], known: _Known) -> str:
    """Return why a meter is not read: the cause that is nearest to the station comes first."""
    concentrator, account = row["concentrator"], row["account"]
    is_reading = row["address"] in known.reading
    causes = (
        (concentrator in known.refused and not is_reading, REFUSED),
        (concentrator in known.silent, CONCENTRATOR_SILENT),
        (account in known.foreign, FOREIGN),
        (known.lines.get(account) == _SILENT, METER_SILENT),
        (account in known.doubted and not is_reading, IN_DOUBT),
        (is_reading, NO_MIDNIGHT),
        (concentrator in known.lost, RECORDS_LOST),
    )
    return next((why for applies, why in causes if applies), UNKNOWN)


def reasons(found: Iterable[Missing]) -> dict[str, int]:
    """Return how many meters each reason concerns, the most first."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.why] = counts.get(one.why, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
