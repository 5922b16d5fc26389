"""Products for concentrators: given in stages, judged by what the concentrators say of them.

A product goes into the slot that does not run, part by part, and is then put on trial. The next
stage begins when every concentrator of the one before has reported that it is healthy, or has
refused it. Where one is back at its earlier product, or is silent, no other one gets it.
"""

import time
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

from host.headend import commands
from host.headend.commands import RUNNING, Given, Target
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.outcomes import DONE, NOT_KNOWN, UNDER_WAY
from host.headend.store import Store
from host.words import _, marked

# FIRMWARE.stage of a product that works, and of the earlier one that runs again.
_HEALTHY = 3
_BACK = 4

_OPEN = "open"
_TOLD = {
    "healthy": marked("healthy"),
    "back": marked("back at the earlier one"),
    "silent": marked("silent"),
    _OPEN: marked("not yet told"),
}
_FAILED = {
    "back": marked("concentrator {concentrator} is back at its earlier product"),
    "silent": marked("concentrator {concentrator} has not reported that it is healthy"),
}


@dataclass(frozen=True, slots=True)
class Package:
    """A product: `files` are its list, each file in its order, and the signature, in base64."""

    name: str
    version: str
    counter: int
    files: list[str]


@dataclass(frozen=True, slots=True)
class Stages:
    """Per cent of the concentrators that each stage reaches, and the time to report in, in s."""

    reach: tuple[int, ...]
    patience_s: int


@at_desk
def roll_out(
    store: Store, package: Package, concentrators: Sequence[int], stages: Stages, given: Given
) -> int:
    """Give a product to concentrators in stages; return the number of the job. StoreError."""
    if not concentrators:
        raise StoreError(_("no concentrator has called yet: there is nobody to give it to"))
    with store.writing() as database:
        row = (package.name, package.version, package.counter, "\n".join(package.files))
        database.insert_new("packages", ("name", "version", "counter", "files"), [row])
    text = f"firmware try {package.name}"
    targets = [Target(one, text, package=package.name) for one in concentrators]
    return commands.give_in_stages(
        store, f"firmware {package.version}", targets, given, stages.reach, stages.patience_s
    )


def files_of(database: Database, name: str) -> list[bytes]:
    """Return the list of a package, its files and its signature."""
    text = database.value("SELECT files FROM packages WHERE name = ?", (name,)) or ""
    return [b64decode(one) for one in text.split("\n")]


def look(database: Database, now: int) -> None:
    """Begin the next stage of each job whose stage has ended well; stop those that failed."""
    for job, stages, stage, patience_s in database.all(
        "SELECT job, stages, stage, patience_s FROM jobs "
        f"WHERE stages <> '' AND state = '{RUNNING}' "
        f"AND EXISTS (SELECT 1 FROM commands WHERE job = jobs.job AND state IN {UNDER_WAY})"
    ):
        states = _states(database, job, stage, now - patience_s)
        failed = [one for one, state in states.items() if state in _FAILED]
        if failed:
            commands.stop(database, job, now, f"{states[failed[0]]} {failed[0]}")
        elif _OPEN not in states.values() and stage < stages.count(","):
            database.run("UPDATE jobs SET stage = ? WHERE job = ?", (stage + 1, job))


def told_of(store: Store, job: int) -> dict[int, str]:
    """Return what the concentrators of a job say of its product: a text that is marked, or ""."""
    rows = store.database.all("SELECT stage, patience_s FROM jobs WHERE job = ?", (job,))
    states: dict[int, str] = {}
    for stage, patience_s in rows:
        states = _states(store.database, job, stage, int(time.time()) - patience_s)
    return {concentrator: _TOLD.get(state, "") for concentrator, state in states.items()}


def _states(database: Database, job: int, stage: int, until: int) -> dict[int, str]:
    """Return the state of each concentrator up to a stage of the job, as `_state` names it."""
    return {
        one: _state(database, one, package, state, ended_at, until)
        for one, package, state, ended_at in database.all(
            "SELECT concentrator, package, state, ended_at FROM commands "
            "WHERE job = ? AND stage <= ? AND again = 0 AND package <> ''",
            (job, stage),
        )
    }


def why_text(why: str) -> str:
    """Return in words why a job was stopped by itself, "": it was not."""
    state, _blank, concentrator = why.partition(" ")
    return _(_FAILED[state]).format(concentrator=concentrator) if state in _FAILED else ""


def _state(
    database: Database,
    concentrator: int,
    package: str,
    state: str,
    ended_at: int | None,
    until: int,
) -> str:
    """Return "healthy", "back" or "silent" where it was tried, "over" where not, or "open".

    It is silent where it was tried before `until`.
    """
    if state not in (DONE, NOT_KNOWN):
        return _OPEN if ended_at is None else "over"
    told = database.all(
        "SELECT stage, name, told_at FROM products "
        "WHERE concentrator = ? ORDER BY seq DESC LIMIT 1",
        (concentrator,),
    )
    tried_at = ended_at or 0
    for stage, name, told_at in told:
        if stage == _HEALTHY and name == package:
            return "healthy"
        if stage == _BACK and told_at >= tried_at:
            return "back"
    return "silent" if tried_at < until else _OPEN
