"""States of commands, and what the journal of a concentrator says of a command's outcome.

A RESULT may be lost, or refuse a command as older than another although it was carried out. The
COMMAND records in the journal are the last word: what they say replaces what was heard. Where the
concentrator itself does not know, the records between its intent and its outcome tell, because
each effect is journalled before it is acted on.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from host.frames import settings
from host.frames.batch import Outcome
from host.frames.record import PAYLOAD_SIZE, RecordKind, parse_payload
from host.headend.database import Database
from host.words import marked

WAITING = marked("waiting")
SENT = marked("sent")
EXPIRED = marked("expired")
STOPPED = marked("stopped")
DONE = marked("done")
REFUSED = marked("refused")
NOT_DONE = marked("not done")
NOT_KNOWN = marked("not known")
STATES = {
    int(Outcome.DONE): DONE,
    int(Outcome.REFUSED): REFUSED,
    int(Outcome.NOT_DONE): NOT_DONE,
    int(Outcome.NOT_KNOWN): NOT_KNOWN,
}
UNDER_WAY = f"('{WAITING}', '{SENT}')"

_OUTCOME = 2  # stage of a COMMAND record
_BY_ORDER = 9  # reason of POLICY
_REMOTE = 8  # state of POLICY
_FROM_ABOVE = 2  # source of SETTING
# As many records are looked through at once.
_LOOK = 1000

_COMMAND_OF = (
    "SELECT id, state, text FROM commands WHERE concentrator = ? AND number = ? "
    f"AND state NOT IN ('{WAITING}', '{SENT}', '{DONE}')"
)
_RECORDS = (
    "SELECT seq, kind, payload FROM records WHERE concentrator = ? AND seq > ? AND seq <= ? "
    "ORDER BY seq DESC"
)
_RECEIVED = (
    "SELECT received_at FROM records WHERE concentrator = ? AND seq <= ? ORDER BY seq DESC LIMIT 1"
)
_LOST = (
    "SELECT count(*) FROM gaps WHERE concentrator = ? AND last_seq > ("
    "SELECT coalesce(max(seq), 0) FROM records WHERE concentrator = ? AND received_at < ?)"
)
_NEWEST = "SELECT max(seq) FROM records WHERE concentrator = ?"

Fields = Mapping[str, Any]


def recall_within(database: Database, account: str, order: int) -> bool:
    """Stop the command that brings an order, within a transaction; false: it is on its way."""
    which = (account, order)
    taken = database.value(
        'SELECT count(*) FROM commands WHERE account = ? AND "order" = ? '
        f"AND state IN ('{SENT}', '{DONE}', '{NOT_KNOWN}')",
        which,
    )
    if taken:
        return False
    database.run(
        f"UPDATE commands SET state = '{STOPPED}', ended_at = ? "
        f"WHERE account = ? AND \"order\" = ? AND state = '{WAITING}'",
        (int(time.time()), *which),
    )
    return True


def settle_told(database: Database, concentrator: int, seq: int, told: Fields) -> None:
    """Let a COMMAND record that was stored under `seq` say what became of its command.

    A command that is under way is left to its RESULT, which has an answer as well.
    """
    if told["stage"] != _OUTCOME:
        return
    for number, state, text in database.all(_COMMAND_OF, (concentrator, told["number"])):
        new = STATES.get(told["outcome"], state)
        if new == NOT_KNOWN:
            new = _what_records_say(database, concentrator, seq, told["number"], text)
        if new != state:
            database.run("UPDATE commands SET state = ? WHERE id = ?", (new, number))


def settle(database: Database, concentrator: int, number: int, given_at: int) -> None:
    """Look for the outcome of a command in the journal as far as it is here."""
    top = int(database.value(_NEWEST, (concentrator,)) or 0)
    while top > 0:
        received_at = database.value(_RECEIVED, (concentrator, top))
        if received_at is None or received_at < given_at:
            return
        for seq, kind, payload in database.all(_RECORDS, (concentrator, top - _LOOK, top)):
            if kind != RecordKind.COMMAND:
                continue
            told = _parsed(kind, payload)
            if told["number"] == number:
                settle_told(database, concentrator, seq, told)
            if told["number"] <= number:
                return
        top -= _LOOK


def is_lost(database: Database, concentrator: int, given_at: int) -> bool:
    """Return whether the record of what became of a command may be missing for good.

    A database that was restored lacks what was acknowledged behind its copy, and a concentrator
    lets go of what was acknowledged.
    """
    restored_at = database.value("SELECT restored_at FROM station")
    if restored_at is None or restored_at < given_at:
        return False
    return bool(database.value(_LOST, (concentrator, concentrator, given_at)))


def _what_records_say(
    database: Database, concentrator: int, seq: int, number: int, text: str
) -> str:
    """Return the state of a command whose outcome, the record `seq`, is not known there."""
    after = seq
    while rows := database.all(_RECORDS, (concentrator, after - 1 - _LOOK, after - 1)):
        for found, kind, payload in rows:
            if found != after - 1:
                return NOT_KNOWN  # a record is missing that may have been the effect
            after = found
            fields = _parsed(kind, payload)
            if kind == RecordKind.COMMAND and fields["number"] == number:
                return NOT_DONE  # its intent: nothing has followed
            if _is_effect(text.split(), kind, fields):
                return NOT_KNOWN if text.startswith("set ") else DONE
    return NOT_KNOWN


def _parsed(kind: int, payload: bytes) -> Fields:
    fields: Fields = parse_payload(RecordKind(kind), payload.ljust(PAYLOAD_SIZE, b"\0"))
    return fields


def _is_effect(words: list[str], kind: int, fields: Fields) -> bool:
    """Return whether a record is the effect of a command; the words are its text."""
    for name, (kinds, is_it) in _EFFECTS.items():
        if " ".join(words[: name.count(" ") + 1]) == name:
            return kind in kinds and is_it(words, fields)
    return False


def _terms(words: list[str], fields: Fields) -> bool:
    return str(fields.get(words[3])) == words[4]


def _supply(words: list[str], fields: Fields) -> bool:
    is_cut = fields["new"] == _REMOTE
    return bool(fields["reason"] == _BY_ORDER and is_cut == (words[2] == "cut"))


def _setting(words: list[str], fields: Fields) -> bool:
    return fields["source"] == _FROM_ABOVE and settings.name_of(fields) == words[1]


def _always(words: list[str], fields: Fields) -> bool:
    return True


# The records that a command writes, by its first words.
_EFFECTS: dict[str, tuple[tuple[RecordKind, ...], Callable[[list[str], Fields], bool]]] = {
    "credit": (
        (RecordKind.TOP_UP, RecordKind.REFUND),
        lambda words, fields: bool(fields["header_mac"].lower() == words[4]),
    ),
    "supply": ((RecordKind.POLICY,), _supply),
    "account set": ((RecordKind.ACCOUNT,), _terms),
    "account used": ((RecordKind.QUOTA,), _always),
    "account resume": ((RecordKind.FAULT,), _always),
    "account new": ((RecordKind.STANDING,), _always),
    "account restore": ((RecordKind.STANDING,), _always),
    "set": ((RecordKind.SETTING,), _setting),
    "tariff commit": (
        (RecordKind.TARIFF,),
        lambda words, fields: str(fields["number"]) == words[2],
    ),
    "meter add": ((RecordKind.METER,), _always),
    "meter remove": ((RecordKind.METER,), _always),
}
