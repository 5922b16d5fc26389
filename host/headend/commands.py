"""Commands for concentrators: lines of the console's language, given here and carried out there.

A command waits until its concentrator is connected, and is repeated until its RESULT is there.
Those of one concentrator are sent one at a time, in the order of their numbers. A job is a group
of commands that were given together.

Every function that writes takes a `Store` and is one transaction. While a head-end serves, they
run in its process (`host.headend.desk`).
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from host.frames.batch import ORDER_TEXT_LIMIT, Order
from host.headend import audit, cuts, orders
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.orders import Till
from host.headend.outcomes import (
    DONE,
    EXPIRED,
    NOT_DONE,
    NOT_KNOWN,
    REFUSED,
    SENT,
    STATES,
    STOPPED,
    UNDER_WAY,
    WAITING,
    is_lost,
    settle,
)
from host.headend.samples import keep_answer
from host.headend.store import Store, zone_of
from host.headend.talks import talk_of
from host.units import t2000_of_unix
from host.words import _, marked

# A command in one of these states may be given again: one that was carried out does nothing more.
_RETRIED = (REFUSED, NOT_DONE, NOT_KNOWN, EXPIRED, STOPPED)
SOME_ARE_OPEN = f"SELECT 1 FROM commands WHERE state IN {UNDER_WAY} LIMIT 1"

# A talk goes as several commands: two digits for each of the 200 bytes that a meter takes.
_TALK_LIMIT = 480
_OF_1997 = 1  # a meter's standard
RUNNING = marked("running")
PAUSED = marked("paused")

_DUE = f"""
    SELECT one.concentrator, one.number, expires_at, text, image, package
    FROM commands AS one JOIN (
        SELECT concentrator, min(number) AS number FROM commands
        WHERE state = '{SENT}' OR state = '{WAITING}'
        AND job NOT IN (SELECT job FROM jobs WHERE state = '{PAUSED}')
        AND stage <= coalesce((SELECT stage FROM jobs WHERE jobs.job = commands.job), 0)
        GROUP BY concentrator
    ) AS next ON one.concentrator = next.concentrator AND one.number = next.number
"""


@dataclass(frozen=True, slots=True)
class Given:
    """Who gave a command, why, until when it may take effect, and when it was given (`_at`)."""

    by: str = ""
    reason: str = ""
    expires_at: int = 0
    at: int = field(default_factory=lambda: int(time.time()))


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command goes: a concentrator, and the account that it is about, "": none.

    `image` is that of the tariff which the command puts in force, as hexadecimal digits;
    `package` is the name of the product that it puts on trial, and `stage` that of its job.
    """

    concentrator: int
    text: str
    account: str = ""
    order: int = 0
    image: str = ""
    package: str = ""
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """The command that a concentrator gets next, and what has to be there before.

    That is the image of a tariff, or a package of which this is the name.
    """

    order: Order
    image: bytes
    package: str = ""


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """A sale that goes to its household without a card; `number` is that of the command."""

    order: int
    concentrator: int
    number: int
    before: bool


# --- giving -------------------------------------------------------------------------------------


@at_desk
def give(store: Store, name: str, targets: Sequence[Target], given: Given) -> int:
    """Note a job of commands, all or none; return its number. StoreError."""
    with store.writing() as database:
        return give_job_within(database, name, targets, given)


def give_in_stages(
    store: Store,
    name: str,
    targets: Sequence[Target],
    given: Given,
    reach: Sequence[int],
    patience_s: int,
) -> int:
    """Note a job whose commands are sent in stages, each of which reaches so many per cent."""
    # The first stage reaches one concentrator at least.
    ends = [max(1, -(-len(targets) * one // 100)) for one in reach[:-1]]
    staged = [
        replace(target, stage=sum(end <= at for end in ends)) for at, target in enumerate(targets)
    ]
    with store.writing() as database:
        job = give_job_within(database, name, staged, given)
        database.run(
            "UPDATE jobs SET stages = ?, patience_s = ? WHERE job = ?",
            (",".join(map(str, reach)), patience_s, job),
        )
    return job


def give_job_within(database: Database, name: str, targets: Sequence[Target], given: Given) -> int:
    """Note a job of commands within a transaction; return its number. StoreError."""
    for target in targets:
        _check_text(target.text)
    _check_concentrators(database, {target.concentrator for target in targets})
    columns = ("name", "given_at", "given_by", "reason", "state")
    number = (database.value("SELECT max(job) FROM jobs") or 0) + 1
    row = (name, given.at, given.by, given.reason, RUNNING)
    if database.insert_new("jobs", ("job", *columns), [(number, *row)]) != 1:
        raise StoreError(_("another job was given at the same moment: try again"))
    for target in targets:
        _give(database, target, given, number)
    return int(number)


@at_desk
def top_up(
    store: Store, account: str, amount_fen: int, reference: str, till: Till, expires_at: int
) -> ToppedUp:
    """Sell to an account without a card, once under a reference. StoreError.

    Older orders that wait on cards go with it: a card of one of them is refused afterwards.
    """
    concentrator = concentrator_of(store, account)
    sold = orders.sell_once(store, account, amount_fen, reference, till)
    given = Given(till.cashier, reference, expires_at)
    with store.writing() as database:
        number = credit_within(database, account, sold.order, concentrator, given)
    return ToppedUp(sold.order, concentrator, number, sold.before)


def credit_within(
    database: Database, account: str, order: int, concentrator: int, given: Given
) -> int:
    """Send an order to its concentrator, within a transaction; return the command's number.

    Older orders that wait go with it.
    """
    number = 0
    for waiting in _unsent(database, account, order):
        text = _credit(account, waiting)
        target = Target(concentrator, text, account, waiting["order"])
        number = _give(database, target, given, 0)
    number = number or database.value(
        'SELECT max(number) FROM commands WHERE account = ? AND "order" = ?', (account, order)
    )
    return int(number or 0)


def concentrator_of(store: Store, account: str) -> int:
    """Return the concentrator that has the account. StoreError."""
    concentrator = store.value("SELECT concentrator FROM accounts WHERE account = ?", (account,))
    if not concentrator:
        raise StoreError(
            _("no concentrator has account {account}: check the number").format(account=account)
        )
    return int(concentrator)


def meter_of(store: Store, account: str) -> tuple[int, int, str, str]:
    """Return concentrator, line, address and standard of an account's meter. StoreError."""
    concentrator = concentrator_of(store, account)
    rows = store.rows(
        "SELECT line, address, standard FROM meters WHERE concentrator = ? AND account = ? "
        "AND active = 1",
        (concentrator, account),
    )
    if not rows:
        raise StoreError(
            _("account {account} has no meter: its concentrator has told of none").format(
                account=account
            )
        )
    standard = "1997" if rows[0]["standard"] == _OF_1997 else "2007"
    return concentrator, rows[0]["line"], rows[0]["address"], standard


def _unsent(database: Database, account: str, last: int) -> list[dict[str, Any]]:
    """Return the orders up to `last` that are neither redeemed nor on their way."""
    return database.rows(
        f"""SELECT "order", amount_fen, supersedes FROM orders
        WHERE account = ? AND voided_at IS NULL AND "order" <= ? AND "order" > ?
        AND NOT EXISTS (
            SELECT 1 FROM commands WHERE commands.account = orders.account
            AND commands."order" = orders."order" AND (state IN {UNDER_WAY} OR state = '{DONE}')
        ) ORDER BY "order" """,
        (account, last, orders.told_order(database, account)),
    )


def _credit(account: str, order: Mapping[str, Any]) -> str:
    """Return the command that credits an order, under a name that no other order has."""
    words = ["credit", account, str(order["order"]), str(order["amount_fen"])]
    words.append(secrets.token_hex(8))
    if order["supersedes"]:
        words.append(str(order["supersedes"]))
    return " ".join(words)


def _check_text(text: str) -> None:
    limit = _TALK_LIMIT if talk_of(text) else ORDER_TEXT_LIMIT
    if len(text.encode()) > limit or not text.isprintable() or not text.strip():
        raise StoreError(
            _("a command is one line of at most {limit} bytes: {text!r}").format(
                limit=limit, text=text[:40]
            )
        )


def _check_concentrators(database: Database, wanted: set[int]) -> None:
    known = {number for (number,) in database.all("SELECT concentrator FROM concentrators")}
    if missing := sorted(wanted - known):
        raise StoreError(
            _("concentrator {concentrator} has never called: check the number").format(
                concentrator=missing[0]
            )
        )


def _give(database: Database, target: Target, given: Given, job: int) -> int:
    """Note one command; return its number, which is above all that its concentrator has seen."""
    expires_at = cuts.expiry_of(database, target.text, given.reason, given.at, given.expires_at)
    number = _next_number(database, target.concentrator, given.at)
    columns = (
        *("concentrator", "number", "account", "order", "text", "job", "state"),
        *("given_at", "given_by", "reason", "expires_at", "image", "package", "stage"),
    )
    row = (
        *(target.concentrator, number, target.account, target.order, target.text, job, WAITING),
        *(given.at, given.by, given.reason, expires_at),
        *(target.image, target.package, target.stage),
    )
    if database.insert_new("commands", columns, [row]) != 1:
        raise StoreError(_("another command was given at the same moment: try again"))
    told: dict[str, Any] = {
        "concentrator": target.concentrator,
        "number": number,
        "text": target.text,
    }
    audit.note(database, "command", target.account, **told, by=given.by, reason=given.reason)
    return number


def _next_number(database: Database, concentrator: int, now: int) -> int:
    newest = database.value(
        "SELECT max(number) FROM commands WHERE concentrator = ?", (concentrator,)
    )
    # A restored database has forgotten the newest numbers: the time is above them all the same.
    return int(max(t2000_of_unix(now, zone_of(database)), (newest or 0) + 1))


def give_within(database: Database, target: Target, given: Given) -> int:
    """Note one command of no job within a transaction; return its number. StoreError."""
    _check_text(target.text)
    return _give(database, target, given, 0)


@at_desk
def set_job(store: Store, job: int, state: str, at: int | None = None) -> None:
    """Pause a job, let it go on, or stop it: what was not sent is given up. StoreError.

    Commands that have waited through a pause get new numbers, as later ones may have been sent.
    `at` is when that is, None: now.
    """
    now = int(time.time()) if at is None else at
    with store.writing() as database:
        sql = "UPDATE jobs SET state = ?, why = '' WHERE job = ?"
        if not database.run(sql, (state, job)).rowcount:
            raise _no_job(job)
        if state == RUNNING:
            _number_anew(database, job, now)
        audit.note(database, "job", job=job, state=state)
        if state == STOPPED:
            stop(database, job, now)


def stop(database: Database, job: int, now: int, why: str = "") -> None:
    """Give up the commands of a job that were not sent."""
    database.run("UPDATE jobs SET state = ?, why = ? WHERE job = ?", (STOPPED, why, job))
    database.run(
        f"UPDATE commands SET state = '{STOPPED}', ended_at = ? "
        f"WHERE job = ? AND state = '{WAITING}'",
        (now, job),
    )


def _number_anew(database: Database, job: int, now: int) -> None:
    for number, concentrator in database.all(
        f"SELECT id, concentrator FROM commands WHERE job = ? AND state = '{WAITING}' ORDER BY id",
        (job,),
    ):
        new = _next_number(database, concentrator, now)
        database.run("UPDATE commands SET number = ? WHERE id = ?", (new, number))


@at_desk
def retry(store: Store, job: int, given: Given) -> int:
    """Give those commands of a job again that are not known to be done; return how many."""
    with store.writing() as database:
        sql = "UPDATE jobs SET state = ?, why = '' WHERE job = ?"
        if not database.run(sql, (RUNNING, job)).rowcount:
            raise _no_job(job)
        marks = ", ".join("?" * len(_RETRIED))
        rows = database.rows(
            f"SELECT * FROM commands WHERE job = ? AND again = 0 AND state IN ({marks}) "
            "ORDER BY id",
            (job, *_RETRIED),
        )
        for row in rows:
            names = ("concentrator", "text", "account", "order", "image", "package", "stage")
            _give(database, Target(*(row[name] for name in names)), given, job)
            database.run("UPDATE commands SET again = 1 WHERE id = ?", (row["id"],))
    return len(rows)


def _no_job(job: int) -> StoreError:
    return StoreError(
        _("there is no job {job}: `dianka headend job list` shows them").format(job=job)
    )


# --- sending: what the head-end that serves uses ------------------------------------------------


def due(database: Database, now: int) -> dict[int, Due]:
    """Return the command that each concentrator gets next; those that are too late end here.

    One that was sent is repeated also behind its time and through a pause of its job, as it may
    have taken effect.
    """
    for number, concentrator, command, given_at in database.all(
        "SELECT id, concentrator, number, given_at FROM commands "
        f"WHERE state = '{WAITING}' AND expires_at < ?",
        (now,),
    ):
        query = f"UPDATE commands SET state = '{EXPIRED}', ended_at = ? WHERE id = ?"
        database.run(query, (now, number))
        # It may have been sent just before this head-end was killed, or its database restored.
        settle(database, concentrator, command, given_at)
    _let_others_pass(database, now)
    found: dict[int, Due] = {}
    zone = zone_of(database)
    for concentrator, number, expires_at, text, image, package in database.all(_DUE):
        order = Order(number, t2000_of_unix(expires_at, zone), text)
        found[concentrator] = Due(order, bytes.fromhex(image), package)
    return found


def _let_others_pass(database: Database, now: int) -> None:
    """Number products behind what was given after them: they take days, and others do not wait."""
    for row, concentrator in database.all(
        f"SELECT id, concentrator FROM commands WHERE state = '{WAITING}' AND package <> '' "
        "AND EXISTS (SELECT 1 FROM commands AS other "
        "WHERE other.concentrator = commands.concentrator AND other.number > commands.number "
        f"AND other.package = '' AND other.state IN {UNDER_WAY})"
    ):
        number = _next_number(database, concentrator, now)
        database.run("UPDATE commands SET number = ? WHERE id = ?", (number, row))


def note_restored(database: Database, now: int) -> None:
    """Note that a copy takes the place of a database, and take what waits in it for sent.

    It may have been, behind the copy; so it is asked for until its concentrator says what became
    of it. What was paused stays so, and a product comes in its stage.
    """
    database.run("UPDATE station SET restored_at = ?", (now,))
    database.run(
        f"UPDATE commands SET state = '{SENT}' WHERE state = '{WAITING}' AND package = '' "
        f"AND job NOT IN (SELECT job FROM jobs WHERE state = '{PAUSED}')"
    )


def note_sent(database: Database, sent: Sequence[tuple[int, int]], now: int) -> None:
    """Note that commands, each a concentrator and a number, are on their way."""
    database.many(
        f"UPDATE commands SET state = '{SENT}', sent_at = ? "
        f"WHERE concentrator = ? AND number = ? AND state = '{WAITING}'",
        [(now, *one) for one in sent],
    )


def note_result(
    database: Database, concentrator: int, number: int, outcome: int, text: str, now: int
) -> bool:
    """Note the outcome of a command; return false if no such command is under way."""
    state = STATES.get(outcome)
    if state is None:
        return False
    rows = database.all(
        "SELECT id, given_at, account, text FROM commands WHERE concentrator = ? "
        f"AND number = ? AND state IN {UNDER_WAY}",
        (concentrator, number),
    )
    for row, given_at, account, asked in rows:
        query = "UPDATE commands SET state = ?, answer = ?, ended_at = ? WHERE id = ?"
        database.run(query, (state, text, now, row))
        if state == DONE:
            at_t2000 = t2000_of_unix(now, zone_of(database))
            keep_answer(database, (concentrator, number, account), asked, text, at_t2000)
        else:
            settle(database, concentrator, number, given_at)
            if is_lost(database, concentrator, given_at):
                query = "UPDATE commands SET state = ? WHERE id = ? AND state = ?"
                database.run(query, (NOT_KNOWN, row, REFUSED))
    return bool(rows)


# --- looking ------------------------------------------------------------------------------------


def commands_of(
    store: Store,
    *,
    job: int | None = None,
    account: str | None = None,
    concentrator: int | None = None,
    number: int | None = None,
) -> list[dict[str, Any]]:
    """Return commands by their order in time, all or some."""
    told = {"job": job, "account": account, "concentrator": concentrator, "number": number}
    wanted = {name: value for name, value in told.items() if value is not None}
    conditions = "".join(f" AND {name} = ?" for name in wanted)
    rows = store.rows(
        f"SELECT * FROM commands WHERE 1 = 1{conditions} ORDER BY id", (*wanted.values(),)
    )
    for row in rows:
        del row["id"], row["again"], row["image"], row["package"]
    return rows


def jobs(store: Store, job: int | None = None) -> list[dict[str, Any]]:
    """Return jobs, newest last, with the count of their commands in each state. StoreError."""
    rows = store.rows("SELECT * FROM jobs WHERE job = ? OR ? IS NULL ORDER BY job", (job, job))
    if job is not None and not rows:
        raise _no_job(job)
    for row in rows:
        row["progress"] = dict(_progress(store, row["job"]))
    return rows


def _progress(store: Store, job: int) -> Iterator[tuple[str, int]]:
    for row in store.rows(
        "SELECT state, count(*) AS number FROM commands WHERE job = ? AND again = 0 "
        "GROUP BY state ORDER BY state",
        (job,),
    ):
        yield row["state"], row["number"]
