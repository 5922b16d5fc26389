"""Goal: what became of a command is what its concentrator's journal says, whatever was heard."""

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from host.frames.batch import Outcome, Result
from host.frames.record import RecordKind
from host.headend import backup, commands
from host.headend.commands import Given, Target
from host.headend.downlink import Downlink
from host.headend.ingest import Ingest
from host.headend.outcomes import (
    DONE,
    EXPIRED,
    NOT_DONE,
    NOT_KNOWN,
    REFUSED,
    SENT,
    STOPPED,
    WAITING,
)
from host.headend.store import Store
from tests.host.uplink_world import KEYS, Village, deliver, village_of

ACCOUNT = "000000000001"
MAC = "00112233445566aa"
LATER = int(time.time()) + 86_400
INTENT, OUTCOME = 1, 2


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "village.db", create=True) as store:
        deliver(Ingest(store, KEYS), village_of(1, 1))
        yield store


def given(store: Store, text: str, expires_at: int = LATER) -> int:
    """Give a command to concentrator 7, NOTICE three days ago in it; return its number."""
    notice = datetime.now() - timedelta(days=3)
    text = text.replace("NOTICE", f"{notice:%Y-%m-%d %H:%M:%S}")
    why = Given(reason="arrears, notice by letter", expires_at=expires_at)
    commands.give(store, "x", [Target(7, text)], why)
    return int(commands.commands_of(store)[-1]["number"])


def village() -> Village:
    """Return a village with the records that the store has."""
    return village_of(1, 1)


def journalled(village: Village, number: int, stage: int, outcome: int = 0) -> None:
    fields = {"number": number, "stage": stage, "outcome": outcome, "expires_t2000": 0}
    fields |= {"name": "00" * 8, "text": "x"}
    village.write(RecordKind.COMMAND, fields, 0xFFFF)


def brought(store: Store, village: Village) -> None:
    deliver(Ingest(store, KEYS), village, 2)


def told(store: Store, number: int, outcome: Outcome, text: bytes = b"") -> None:
    with store.writing() as database:
        Downlink(database).note(7, Result(number, outcome, 0, text), int(time.time()))


def states(store: Store) -> list[str]:
    return [row["state"] for row in commands.commands_of(store)]


def test_a_command_refused_as_old_was_done_when_the_journal_says_so(store: Store) -> None:
    number = given(store, "set interval_s 600")
    one = village()
    journalled(one, number, INTENT)
    journalled(one, number, OUTCOME, Outcome.DONE)
    brought(store, one)
    told(store, number, Outcome.REFUSED, b"it is older than command 9\n")
    assert states(store) == [DONE]


def test_the_journal_may_come_behind_the_answer(store: Store) -> None:
    number = given(store, "set interval_s 600")
    told(store, number, Outcome.REFUSED, b"it is older than command 9\n")
    assert states(store) == [REFUSED]
    one = village()
    journalled(one, number, INTENT)
    journalled(one, number, OUTCOME, Outcome.DONE)
    brought(store, one)
    assert states(store) == [DONE]


def test_a_command_that_expired_here_was_done_when_the_journal_says_so(store: Store) -> None:
    """A head-end that is killed behind a sending does not know that it has sent."""
    number = given(store, "set interval_s 600", int(time.time()) - 1)
    one = village()
    journalled(one, number, INTENT)
    journalled(one, number, OUTCOME, Outcome.DONE)
    brought(store, one)
    Downlink(store.database).look()
    assert states(store) == [DONE]
    given(store, "set interval_s 700", int(time.time()) - 1)
    Downlink(store.database).look()
    assert states(store) == [DONE, EXPIRED]


def test_what_waits_in_a_restored_copy_may_have_been_sent(store: Store) -> None:
    number = given(store, "set interval_s 600", int(time.time()) - 1)
    paused = given(store, "set interval_s 700")
    commands.set_job(store, commands.jobs(store)[1]["job"], commands.PAUSED)
    backup.mark(store)
    Downlink(store.database).look()
    assert states(store) == [SENT, WAITING]
    told(store, number, Outcome.REFUSED, b"it has expired\n")
    told(store, paused, Outcome.DONE)
    assert states(store) == [REFUSED, DONE]


def test_what_a_restored_copy_cannot_know_any_more_is_not_known(store: Store) -> None:
    """The concentrator lets go of what was acknowledged, before the copy was taken into use."""
    number = given(store, "set interval_s 600")
    backup.mark(store)
    with store.writing() as database:
        columns = ("concentrator", "first_seq", "last_seq", "reasons")
        database.insert_new("gaps", columns, [(7, 900, 950, 0)])
    told(store, number, Outcome.REFUSED, b"it is older than command 9\n")
    assert states(store) == [NOT_KNOWN]


def credited(village: Village) -> None:
    village.top_up(0, 3000, header_mac=MAC.upper(), source=3)


def cut(village: Village) -> None:
    fields = {"new": 8, "old": 0, "reason": 9, "balance_fen": 0}
    village.write(RecordKind.POLICY, fields, 0)


def guarded(village: Village) -> None:
    fields = {"household": 0, "grade": 0, "multiplier": 1, "guard": 1, "debt_fen": 0}
    village.write(RecordKind.ACCOUNT, fields, 0)


def set_here(village: Village) -> None:
    fields = {"source": 2, "number": 8, "form": 1, "old": "00" * 8, "new": "00" * 8}
    village.write(RecordKind.SETTING, {**fields, "uid": "00" * 8}, 0xFFFF)


def nothing(village: Village) -> None:
    pass


@pytest.mark.parametrize(
    ("text", "effect", "state"),
    [
        (f"credit {ACCOUNT} 2 3000 {MAC}", credited, DONE),
        (f"credit {ACCOUNT} 2 3000 {MAC}", nothing, NOT_DONE),
        (f"credit {ACCOUNT} 2 3000 ffffffffffffffff", credited, NOT_DONE),
        (f"supply {ACCOUNT} cut NOTICE", cut, DONE),
        (f"supply {ACCOUNT} restore", cut, NOT_DONE),
        (f"account set {ACCOUNT} guard 1", guarded, DONE),
        (f"account set {ACCOUNT} guard 0", guarded, NOT_DONE),
        ("set interval_s 600", nothing, NOT_DONE),
        # A setting is journalled before it is stored: whether it is in force has to be asked.
        ("set interval_s 600", set_here, NOT_KNOWN),
    ],
)
def test_what_the_concentrator_does_not_know_its_records_tell(
    store: Store, text: str, effect: Any, state: str
) -> None:
    number = given(store, text)
    told(store, number, Outcome.NOT_KNOWN)
    assert states(store) == [NOT_KNOWN]
    one = village()
    journalled(one, number, INTENT)
    one.reading(0)
    effect(one)
    one.reading(0)
    journalled(one, number, OUTCOME, Outcome.NOT_KNOWN)
    brought(store, one)
    assert states(store) == [state]


def test_a_command_that_is_not_known_may_be_given_again(store: Store) -> None:
    number = given(store, "set interval_s 600")
    told(store, number, Outcome.NOT_KNOWN)
    job = commands.jobs(store)[0]["job"]
    assert commands.retry(store, job, Given(expires_at=LATER)) == 1
    assert states(store) == [NOT_KNOWN, "waiting"]


def test_what_was_sent_is_asked_for_through_a_pause(store: Store) -> None:
    """Otherwise it would be older than the next one, and refused although it was done."""
    number = given(store, "set interval_s 600")
    downlink = Downlink(store.database)
    downlink.look()
    assert downlink.order_for(7) is not None
    downlink.look()
    commands.set_job(store, 1, commands.PAUSED)
    given(store, "set interval_s 700")
    downlink.look()
    downlink._sent_at.clear()
    order = downlink.order_for(7)
    assert order is not None
    assert order.number == number


def test_commands_that_waited_through_a_pause_are_newer_than_those_sent_meanwhile(
    store: Store,
) -> None:
    given(store, "set interval_s 600")
    commands.set_job(store, 1, commands.PAUSED)
    given(store, "set interval_s 700")
    commands.set_job(store, 1, commands.RUNNING)
    first, second = commands.commands_of(store)
    assert first["number"] > second["number"]
    commands.set_job(store, 1, STOPPED)
    assert states(store) == [STOPPED, "waiting"]
