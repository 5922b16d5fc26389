"""Shed load by groups in turn: who is in which, when they are cut and restored, what it saved.

A shedding is a cut of groups of a district for a span, as a job, and a job that restores them at
its end. Both are given by the serving head-end when their time has come, and a cut that has not
reached its concentrator by the end of the span never takes effect. Each cut is one by order, with
all that the law asks for. Who is protected, was not told, or has no supply anyway is left alone.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from host.headend import audit, commands, cuts, load, notices
from host.headend.commands import Given, Target
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.load import SLOT_S, Curve, Loads
from host.headend.outcomes import DONE, NOT_DONE, REFUSED
from host.headend.store import Store, zone_of
from host.units import DAY_S, HOUR_S, t2000_of_unix, to_datetime
from host.words import _, marked

PLANNED, SHED, RESTORED = marked("planned"), marked("shed"), marked("restored")
CALLED_OFF, MISSED = marked("called off"), marked("missed")
GUARDED, NOT_TOLD = marked("protected"), marked("no notice has arrived")
NO_SUPPLY, IN_DOUBT = marked("without supply anyway"), marked("in doubt or not read")
GROUPS_LIMIT = 50
_SHORTEST_S, _LONGEST_S = 15 * 60, 6 * HOUR_S
_TURNS_LIMIT = 24
_AHEAD_S = 31 * DAY_S
_RESTORE_WITHIN_S = 72 * HOUR_S
_PAST_DAYS = 4  # of which the same hours say what would have been used

_MEMBERS = """
    SELECT accounts.account, accounts.concentrator, guard, stopped, doubt, relay, relay_wanted
    FROM load_groups JOIN accounts ON accounts.account = load_groups.account
    JOIN contracts ON contracts.account = accounts.account
    WHERE load_groups.district = ? AND "group" = ? AND closed_at IS NULL
    AND accounts.account NOT IN (SELECT account FROM supply_meters)
    ORDER BY accounts.account
"""
_OPEN = f"SELECT 1 FROM sheddings WHERE state IN ('{PLANNED}', '{SHED}') LIMIT 1"
_TO_RESTORE = f"""
    SELECT account, concentrator FROM commands AS cut WHERE job = ?
    AND state NOT IN ('{REFUSED}', '{NOT_DONE}') AND NOT EXISTS (
        SELECT 1 FROM commands AS later WHERE later.account = cut.account
        AND later.concentrator = cut.concentrator AND later.number > cut.number
        AND later.text LIKE 'supply %')
    ORDER BY account
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be shed; `notice_t2000` is when the households were told, 0: each by a notice.

    groups  those of the first turn, (): the `each` that gave least so far
    turns   one behind the other, each `length_s` long
    """

    district: str
    groups: tuple[int, ...]
    each: int
    since_at: int
    length_s: int
    turns: int
    notice_t2000: int
    reason: str


@dataclass(frozen=True, slots=True)
class Saved:
    """What a shedding saved; the first three in W, of the span, -1: not known.

    peak_w       the district's highest load as its meters measured it
    without_w    what it would have been, by the same hours of the days before
    saved_wh     what those who were cut did not use
    after_wh     what they used above that in the hour behind, below 0: less
    cut, seen    households that were cut, and those of which the saving is known
    """

    peak_w: int
    without_w: int
    lowered_w: int
    saved_wh: int
    after_wh: int
    cut: int
    seen: int


# --- groups -------------------------------------------------------------------------------------


@at_desk
def divide_load(store: Store, district: str, count: int, by: str) -> int:
    """Divide the households of a district into groups of like load; return how many there are.

    Each phase is dealt out by its own, so that what is shed leaves the phases as they were.
    """
    if not 2 <= count <= GROUPS_LIMIT:
        raise StoreError(_("a district has 2 to {limit} groups").format(limit=GROUPS_LIMIT))
    yesterday = t2000_of_unix(int(time.time()), store.zone()) // DAY_S - 1
    found = load.loads(store, district, yesterday * DAY_S, (yesterday + 1) * DAY_S)
    if not found.households:
        raise StoreError(_("district {name} has no household with a meter").format(name=district))
    ordered = sorted(
        found.households, key=lambda one: (one.phase, -_mean(one.power_w), one.account)
    )
    rounds = [*range(1, count + 1), *range(count, 0, -1)]
    rows = [(one.account, district, rounds[at % len(rounds)]) for at, one in enumerate(ordered)]
    with store.writing() as database:
        database.run("DELETE FROM load_groups WHERE district = ?", (district,))
        for row in rows:
            database.run("DELETE FROM load_groups WHERE account = ?", row[:1])
        database.insert_new("load_groups", ("account", "district", "group"), rows)
        audit.note(database, "load groups", district=district, count=count, by=by)
    return len(rows)


def _mean(curve: Curve) -> int:
    known = [one for one in curve if one is not None]
    return sum(known) // len(known) if known else 0


def groups(store: Store, district: str = "") -> list[dict[str, Any]]:
    """Return each group with its households, those protected, and the hours it gave so far."""
    rows = store.rows(
        'SELECT load_groups.district, "group", count(*) AS households, '
        "sum(CASE WHEN guard = 1 THEN 1 ELSE 0 END) AS guarded "
        "FROM load_groups JOIN accounts ON accounts.account = load_groups.account "
        "WHERE load_groups.district = ? OR ? = '' "
        'GROUP BY load_groups.district, "group" ORDER BY load_groups.district, "group"',
        (district, district),
    )
    given = {name: _given_s(store.database, name) for name in {row["district"] for row in rows}}
    return [{**row, "minutes": given[row["district"]][row["group"]][0] // 60} for row in rows]


def _given_s(database: Database, district: str) -> dict[int, tuple[int, int]]:
    """Return for each group of a district how long it was or will be shed, and until when."""
    numbers = database.all(
        'SELECT DISTINCT "group" FROM load_groups WHERE district = ? ORDER BY 1', (district,)
    )
    given = {int(number): (0, 0) for (number,) in numbers}
    rows = database.all(
        "SELECT groups, since_at, until_at FROM sheddings WHERE district = ? AND state NOT IN "
        f"('{CALLED_OFF}', '{MISSED}')",
        (district,),
    )
    for text, since_at, until_at in rows:
        for number in map(int, text.split(",")):
            if number in given:
                spent, last = given[number]
                given[number] = (spent + until_at - since_at, max(last, until_at))
    return given


# --- giving -------------------------------------------------------------------------------------


@at_desk
def plan_shedding(store: Store, wanted: Wanted, by: str) -> list[int]:
    """Plan the turns of a shedding; return their numbers. StoreError."""
    now = int(time.time())
    _check(wanted, now)
    numbers = []
    with store.writing() as database:
        known = _given_s(database, wanted.district)
        if not known:
            text = _(
                "district {name} has no groups: `dianka headend load groups {name} --count 5`"
            )
            raise StoreError(text.format(name=wanted.district))
        if unknown := sorted(set(wanted.groups) - set(known)):
            raise StoreError(
                _("district {name} has no group {group}").format(
                    name=wanted.district, group=unknown[0]
                )
            )
        if not wanted.groups and not 0 < wanted.each < len(known):
            raise StoreError(
                _("of {count} groups at least one is shed, and at least one is not").format(
                    count=len(known)
                )
            )
        for turn in range(wanted.turns):
            since_at = wanted.since_at + turn * wanted.length_s
            chosen = sorted(set(wanted.groups)) if wanted.groups else _next(database, wanted)
            numbers.append(_plan_turn(database, wanted, chosen, since_at, now, by))
    return numbers


def _check(wanted: Wanted, now: int) -> None:
    if not _SHORTEST_S <= wanted.length_s <= _LONGEST_S:
        raise StoreError(_("groups are shed for 15 minutes to 6 hours"))
    if not 1 <= wanted.turns <= _TURNS_LIMIT or (wanted.groups and wanted.turns > 1):
        raise StoreError(_("the same groups are shed in one turn; in several, others follow"))
    if not now - 60 <= wanted.since_at < now + _AHEAD_S:
        raise StoreError(_("a shedding begins now or within 31 days"))
    if not wanted.reason.strip():
        raise StoreError(_("a shedding needs a reason"))


def _next(database: Database, wanted: Wanted) -> list[int]:
    """Return the groups that gave least so far; of equals those whose turn is longest ago."""
    given = _given_s(database, wanted.district)
    return sorted(sorted(given, key=lambda one: (*given[one], one))[: wanted.each])


def _plan_turn(
    database: Database, wanted: Wanted, chosen: Sequence[int], since_at: int, now: int, by: str
) -> int:
    number = int(database.value("SELECT max(shedding) FROM sheddings") or 0) + 1
    text = ",".join(map(str, chosen))
    until_at = since_at + wanted.length_s
    columns = ("shedding", "district", "groups", "since_at", "until_at", "notice_t2000", "state")
    row = (number, wanted.district, text, since_at, until_at, wanted.notice_t2000, PLANNED)
    given = (now, by, wanted.reason)
    database.insert_new(
        "sheddings", (*columns, "given_at", "given_by", "reason"), [(*row, *given)]
    )
    told = {"district": wanted.district, "groups": text, "since_at": since_at}
    audit.note(database, "shed", number=number, until_at=until_at, **told, by=by)
    return number


@at_desk
def end_shedding(store: Store, number: int, by: str) -> str:
    """End a shedding before its time: restore, or call it off; return which. StoreError."""
    now = int(time.time())
    with store.writing() as database:
        state = database.value("SELECT state FROM sheddings WHERE shedding = ?", (number,))
        if state not in (PLANNED, SHED):
            text = _("no shedding {number} is open: `dianka headend load list` lists them")
            raise StoreError(text.format(number=number))
        then = CALLED_OFF if state == PLANNED else RESTORED
        if state == PLANNED:
            database.run("UPDATE sheddings SET state = ? WHERE shedding = ?", (CALLED_OFF, number))
        else:
            database.run("UPDATE sheddings SET until_at = ? WHERE shedding = ?", (now, number))
        audit.note(database, "shed end", number=number, state=then, by=by)
    look(store.database, now)
    return then


# --- in time ------------------------------------------------------------------------------------


def look(database: Database, now: int) -> None:
    """Give the jobs of which the time has come. StoreError."""
    if not database.value(_OPEN):
        return
    columns = "SELECT * FROM sheddings WHERE state = ? AND"
    for row in database.rows(f"{columns} since_at <= ? ORDER BY shedding", (PLANNED, now)):
        _begin(database, row, now)
    for row in database.rows(f"{columns} until_at <= ? ORDER BY shedding", (SHED, now)):
        _end(database, row, now)


def _moved(database: Database, row: dict[str, Any], state: str) -> bool:
    """Give a shedding another state; return false where another process has done that."""
    query = "UPDATE sheddings SET state = ? WHERE shedding = ? AND state = ?"
    return bool(database.run(query, (state, row["shedding"], row["state"])).rowcount == 1)


def _begin(database: Database, row: dict[str, Any], now: int) -> None:
    with database.writing():
        is_over = row["until_at"] <= now
        if not _moved(database, row, MISSED if is_over else SHED) or is_over:
            return
        given = Given(row["given_by"], row["reason"], row["until_at"], now)
        alone: Counter[str] = Counter()
        targets = []
        for number in row["groups"].split(","):
            for one in database.rows(_MEMBERS, (row["district"], int(number))):
                target = _target(database, row, one, given, alone)
                if target is not None:
                    targets.append(target)
        job = 0
        if targets:
            name = f"shed {row['shedding']}"
            job = commands.give_job_within(database, name, targets, given)
        database.run(
            "UPDATE sheddings SET cut_job = ?, left_alone = ? WHERE shedding = ?",
            (job, json.dumps(alone), row["shedding"]),
        )


def _target(
    database: Database,
    row: dict[str, Any],
    one: dict[str, Any],
    given: Given,
    alone: Counter[str],
) -> Target | None:
    """Return the cut of an account, None: it keeps its supply, and `alone` counts why."""
    account = one["account"]
    if one["guard"]:
        alone[GUARDED] += 1
        return None
    if not one["concentrator"] or one["stopped"] or one["doubt"] or one["relay"] is None:
        alone[IN_DOUBT] += 1
        return None
    if one["relay"] or one["relay_wanted"]:
        alone[NO_SUPPLY] += 1
        return None
    notice_t2000 = row["notice_t2000"]
    if not notice_t2000:
        ended_at, _state = notices.proof_of(database, account)
        notice_t2000 = t2000_of_unix(ended_at, zone_of(database)) if ended_at else 0
    text = cuts.lawful_cut(account, to_datetime(notice_t2000))
    try:
        cuts.expiry_of(database, text, given.reason, given.at, given.expires_at)
    except StoreError:
        alone[NOT_TOLD] += 1
        return None
    return Target(one["concentrator"], text, account)


def _end(database: Database, row: dict[str, Any], now: int) -> None:
    with database.writing():
        if not _moved(database, row, RESTORED):
            return
        given = Given(row["given_by"], row["reason"], now + _RESTORE_WITHIN_S, now)
        targets = [
            Target(concentrator, f"supply {account} restore", account)
            for account, concentrator in database.all(_TO_RESTORE, (row["cut_job"],))
        ]
        job = 0
        if row["cut_job"] and targets:
            name = f"shed {row['shedding']} end"
            job = commands.give_job_within(database, name, targets, given)
        database.run(
            "UPDATE sheddings SET restore_job = ? WHERE shedding = ?", (job, row["shedding"])
        )


# --- looking ------------------------------------------------------------------------------------


def sheddings(store: Store, limit: int = 100) -> list[dict[str, Any]]:
    """Return the newest sheddings, each with how many were cut and restored."""
    rows = store.rows(
        "SELECT * FROM sheddings ORDER BY since_at DESC, shedding DESC LIMIT ?", (limit,)
    )
    for row in rows:
        row["number"] = row.pop("shedding")
        row["left_alone"] = json.loads(row["left_alone"])
        for name in ("cut", "restore"):
            row[name] = store.value(
                "SELECT count(*) FROM commands WHERE job = ? AND job > 0 AND state = ?",
                (row[f"{name}_job"], DONE),
            )
    return rows


def saved(store: Store, number: int) -> Saved:
    """Return what a shedding saved, by the readings that are here. StoreError."""
    rows = store.rows("SELECT * FROM sheddings WHERE shedding = ?", (number,))
    if not rows or not rows[0]["cut_job"]:
        text = _("no shedding {number} has cut anybody: `dianka headend load list` lists them")
        raise StoreError(text.format(number=number))
    row, zone = rows[0], store.zone()
    with store.database.looking():
        cut = {
            account
            for (account,) in store.database.all(
                "SELECT account FROM commands WHERE job = ? AND state = ?",
                (row["cut_job"], DONE),
            )
        }
    since = t2000_of_unix(row["since_at"], zone) // SLOT_S * SLOT_S
    until = -(-t2000_of_unix(row["until_at"], zone) // SLOT_S) * SLOT_S
    behind = until + HOUR_S
    now = load.loads(store, row["district"], since, behind)
    past = [
        load.loads(store, row["district"], since - back * DAY_S, behind - back * DAY_S)
        for back in range(1, _PAST_DAYS + 1)
    ]
    return _compare(now, past, cut, (until - since) // SLOT_S)


def _compare(now: Loads, past: Sequence[Loads], cut: set[str], slots: int) -> Saved:
    usual = _usual(past, cut)
    more: list[int] = [0] * (slots + HOUR_S // SLOT_S)  # than was measured, slot by slot
    seen = 0
    for one in now.households:
        known = usual.get(one.account)
        if known is None or None in known[:slots] or None in one.power_w[:slots]:
            continue
        seen += 1
        for at, (then, measured) in enumerate(zip(known, one.power_w, strict=True)):
            if then is not None and measured is not None:
                more[at] += then - measured
    is_supplied = now.supplied_w and None not in now.supplied_w[:slots]
    measured_w = (now.supplied_w if is_supplied else now.sum_w())[:slots]
    peak_w, _at = load.peak_of(measured_w, 0)
    without: Curve = [None if one is None else one + more[at] for at, one in enumerate(measured_w)]
    without_w, _at = load.peak_of(without, 0)
    return Saved(
        peak_w,
        without_w,
        without_w - peak_w if peak_w >= 0 else -1,
        sum(more[:slots]) * SLOT_S // HOUR_S,
        -sum(more[slots:]) * SLOT_S // HOUR_S,
        len(cut),
        seen,
    )


def _usual(past: Sequence[Loads], cut: set[str]) -> dict[str, Curve]:
    """Return the mean of the days before for each slot, of those who were cut."""
    curves: dict[str, list[Curve]] = {}
    for day in past:
        for one in day.households:
            if one.account in cut:
                curves.setdefault(one.account, []).append(one.power_w)
    found: dict[str, Curve] = {}
    for account, listed in curves.items():
        slots = [[one for one in slot if one is not None] for slot in zip(*listed, strict=True)]
        found[account] = [sum(slot) // len(slot) if slot else None for slot in slots]
    return found
