"""Store messages: one commit for many of them, then the answers.

`Ingest.answer_all` is called by one thread at a time. An answer follows the commit of everything
that it acknowledges, and the state in memory is dropped where a commit fails.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from host.frames import batch
from host.frames.batch import NOTHING_KNOWN, Ack, Head, Refusal, UplinkError
from host.frames.link import Frame, Kind
from host.frames.packing import Gap, Reason
from host.frames.record import RecordKind
from host.headend.database import Database
from host.headend.downlink import Downlink
from host.headend.errors import Refused, StoreFailed
from host.headend.gate import Gate, Message
from host.headend.logs import Teller
from host.headend.posting import OthersWrite, Posting, State
from host.headend.refusals import Refusals
from host.headend.shard import WHOLE, Shard
from host.headend.store import Store
from host.headend.unpack import Taken, Unpacked, unpack
from host.units import now_t2000

# No device keeps more numbers: with a larger gap its HELLO is wrong, and no history is lost.
LOST_LIMIT = 1 << 22
# After the database has refused: a full disk or a lock is seen to by people.
BUSY_S = 30
_STANDINGS_TOLD = 4  # EVENT.what
_ALL_MATTERS = Reason.OTHERS | Reason.UNREADABLE

log = logging.getLogger("dianka.headend")

_POSITION_COLUMNS = (
    *("acked_seq", "last_number", "wanted_seq", "first_seq", "next_seq", "seen_at"),
    *("received_at", "address", "refused", "refused_at", "journal", "base", "epoch"),
    *("refused_journal", "firmware", "capacity", "clock_offset_s", "meters_check", "key_print"),
)
_WRITE_POSITION = (
    "INSERT INTO concentrators (concentrator, {names}) VALUES (?, {marks}) "
    "ON CONFLICT (concentrator) DO UPDATE SET {changes}"
).format(
    names=", ".join(_POSITION_COLUMNS),
    marks=", ".join("?" * len(_POSITION_COLUMNS)),
    changes=", ".join(f"{name} = excluded.{name}" for name in _POSITION_COLUMNS),
)


@dataclass(slots=True)
class Position:
    """The newest record of a concentrator and its last message.

    The numbers of its records are those of the journal on record. They are stored plus `base`, so
    that those of a later journal come behind those of an earlier one.
    """

    acked_seq: int = 0
    last_number: int = 0
    wanted_seq: int = 0  # the standing of every account is wanted for records up to here
    first_seq: int = 0
    next_seq: int = 0
    seen_at: int | None = None
    received_at: int | None = None
    address: str = ""
    refused: str = ""
    refused_at: int | None = None
    journal: str = ""
    base: int = 0
    epoch: int = 0
    refused_journal: str = ""
    firmware: str = ""
    capacity: int = 0
    clock_offset_s: int | None = None
    meters_check: int = 0
    key_print: str = ""
    payload: bytes = b""  # of the newest batch: one that comes again is answered at once

    @property
    def ack(self) -> Ack:
        """Return the answer to a message."""
        return Ack(self.acked_seq, self.wanted_seq > 0)


@dataclass(slots=True)
class _Outcome:
    """The result of a message if the commit succeeds: it is acknowledged or refused."""

    ack: Ack | None = None
    refusal: Refusal = Refusal.MALFORMED
    known: bytes = NOTHING_KNOWN
    detail: str = ""


class _Answered(NamedTuple):
    """The newest message of a concentrator that was acknowledged, and how."""

    head: Head
    mac: bytes
    key_print: str
    ack: Ack


_REFUSALS = {
    Refusal.VERSION: "came with a message of another version",
    Refusal.WITHDRAWN: "came with a key that is withdrawn",
}


class Ingest:
    """The ingest of all connections. `counters` counts messages, and refusals by their reason."""

    def __init__(
        self,
        store: Store,
        keys: Mapping[int, bytes],
        shard: Shard = WHOLE,
        tell_t2000: Callable[[], int] | None = None,
    ) -> None:
        """`tell_t2000` gives the time that concentrators are told, None: they are told none."""
        self._shard = shard
        self._tell_t2000 = tell_t2000
        self._zone = store.zone()
        self.counters: Counter[str] = Counter()
        self.gate = Gate(keys)
        self.teller = Teller()
        self.refusals = Refusals(store.database)
        self.positions: dict[int, Position] = {}
        self._database: Database = store.database
        self.downlink = Downlink(store.database)
        self._state = State(store.database, shard)
        self._answered: dict[int, _Answered] = {}
        self._mark: Any = None
        # The newest record of each that was acknowledged, as far as is known without a look.
        rows = self._database.all("SELECT concentrator, acked_seq FROM concentrators")
        self._acked: dict[int, int] = dict(rows)

    def answer(self, frame: Frame, peer: str) -> bytes:
        """Return the bytes to send back for one frame, empty where it is refused."""
        message = self.open(frame, peer)
        if message is None:
            return b""
        at_once = self.turn_away(message) or self.again(message)
        return at_once or self.answer_all([message])[0]

    def open(self, frame: Frame, peer: str) -> Message | None:
        """Return the genuine message of a frame; where it has none, count that and return None."""
        try:
            return self.gate.open(frame, peer)
        except UplinkError as error:
            self._refuse(error.reason, peer, str(error), self.gate.claimed(frame))
            return None

    def turn_away(self, message: Message) -> bytes:
        """Return the answer to a message that is not looked into; empty where it is."""
        name = message.concentrator
        if message.refusal is not None:
            refusal, why = message.refusal, _REFUSALS[message.refusal]
        elif not self._shard.has(name):
            refusal, why = Refusal.OTHER_PART, f"belongs to another part than {self._shard}"
        else:
            return b""
        self._refuse(refusal.name.lower(), message.peer, f"concentrator {name} {why}", name)
        return self.gate.refuse(message, refusal, NOTHING_KNOWN)

    def again(self, message: Message) -> bytes:
        """Return the answer to the newest message of a concentrator that has come again.

        It is answered as before, from memory; empty: it is another message.
        """
        known = self._answered.get(message.concentrator)
        if known is None or (known.head, known.mac) != (message.head, message.mac):
            return b""
        self.counters["repeats"] += 1
        return self.gate.acknowledge(message, self._with_time(message, known.ack))

    def is_new(self, message: Message) -> bool:
        """Return whether a message is newer than all that were acknowledged to its sender.

        Whoever has only heard the messages of others has none that is.
        """
        known = self._answered.get(message.concentrator)
        if known is None or known.key_print != message.key_print:
            return True
        head, newest = message.head, known.head
        return head.journal != newest.journal or (head.epoch, head.number) > (
            newest.epoch,
            newest.number,
        )

    def brings(self, message: Message) -> int:
        """Return how many new records a greeting tells of, as far as is known without a look."""
        try:
            hello = batch.parse_hello(message.payload)
        except UplinkError:  # it is refused later
            return 0
        acked_seq = self._acked.get(message.concentrator, 0)
        return max(0, hello.next_seq - max(hello.first_seq, acked_seq + 1))

    def left(self, message: Message) -> int:
        """Return how many records are due from its sender after a message was answered."""
        known = self._answered.get(message.concentrator)
        position = self.positions.get(message.concentrator)
        if known is None or position is None or known.head != message.head:
            return 0  # it was refused
        return max(0, position.next_seq - 1 - position.acked_seq)

    def _with_time(self, message: Message, ack: Ack) -> Ack:
        """Return what is answered: a greeting is told the time."""
        if message.kind != Kind.HELLO or self._tell_t2000 is None:
            return ack
        return replace(ack, t2000=self._tell_t2000())

    def answer_all(self, messages: Sequence[Message]) -> list[bytes]:
        """Store messages with one commit; return the answer to each."""
        try:
            outcomes, counted = self._commit(messages)
        except StoreFailed as error:
            self._forget()
            for message in messages:
                self._refuse("store_failed", message.peer, str(error))
            return [self.gate.put_off(message, BUSY_S) for message in messages]
        except Exception:
            self._forget()
            if len(messages) > 1:  # one of them has caused it: try each alone
                return [self.answer_all([message])[0] for message in messages]
            self.counters["failed"] += 1
            log.exception("%s: a message could not be worked in", messages[0].peer)
            return [self.gate.put_off(messages[0], BUSY_S)]
        self.counters.update(counted)
        return [
            self._told(message, outcome)
            for message, outcome in zip(messages, outcomes, strict=True)
        ]

    def _told(self, message: Message, outcome: _Outcome) -> bytes:
        if outcome.ack is None:
            reason = outcome.refusal.name.lower()
            self._refuse(reason, message.peer, outcome.detail, message.concentrator)
            return self.gate.refuse(message, outcome.refusal, outcome.known)
        if message.kind == Kind.RESULT:
            return b""  # a command whose result is not stored is repeated
        self._answered[message.concentrator] = _Answered(
            message.head, message.mac, message.key_print, outcome.ack
        )
        self._acked[message.concentrator] = outcome.ack.acked_seq
        return self.gate.acknowledge(message, self._with_time(message, outcome.ack))

    def _forget(self) -> None:
        self._state.forget()
        self.positions.clear()
        self._answered.clear()

    def _refuse(
        self, reason: str, peer: str, detail: str, concentrator: int | None = None
    ) -> None:
        """Count a refusal, and log it; `concentrator` is the number that was claimed."""
        self.counters[reason] += 1
        if concentrator is not None:
            self.refusals.note(concentrator, reason, peer, self.gate.knows(concentrator))
        self.teller.tell(logging.WARNING, peer, reason, f"refused ({reason}): {detail}")

    # --- one commit ------------------------------------------------------------------------------

    def _commit(self, messages: Sequence[Message]) -> tuple[list[_Outcome], Counter[str]]:
        try:
            return self._committed(messages, self._shard.count > 1)
        except OthersWrite:
            self._forget()
            return self._committed(messages, False)

    def _committed(
        self, messages: Sequence[Message], beside_others: bool
    ) -> tuple[list[_Outcome], Counter[str]]:
        now = int(time.time())
        counted: Counter[str] = Counter()
        touched: dict[int, Position] = {}
        outcomes = []
        with self._database.writing(beside_others=beside_others):
            mark = self._database.state_mark()
            if mark != self._mark:
                self._forget()
                self._mark = mark
            restored = self._database.value("SELECT restored_at FROM station") is not None
            posting = Posting(self._database, self._state, now)
            posting.others_write = beside_others
            for message in messages:
                position = self._position(message.concentrator)
                posting.restored = restored and position.wanted_seq > 0
                known = message.concentrator in touched
                if not known and message.head.journal.hex() != position.journal:
                    # A person may have said meanwhile that this journal is to be taken.
                    self.positions.pop(message.concentrator)
                    position = self._position(message.concentrator)
                touched[message.concentrator] = position
                try:
                    outcome = self._work(message, position, posting, counted)
                    position.seen_at, position.address = now, message.peer
                    position.refused = outcome.detail
                    outcome.detail = ""
                except UplinkError as error:
                    outcome = _Outcome(detail=str(error))
                    position.refused, position.refused_at = outcome.detail[:200], now
                except Refused as error:
                    outcome = _Outcome(None, error.reason, error.known, str(error))
                    position.refused, position.refused_at = outcome.detail[:200], now
                    if error.seq:
                        posting.watch.conflict(message.concentrator, error.seq)
                outcomes.append(outcome)
            posting.write()
            if posting.quarantined:
                counted["quarantined"] += posting.quarantined
            self._write_positions(touched)
        return outcomes, counted

    def _position(self, concentrator: int) -> Position:
        known = self.positions.get(concentrator)
        if known is None:
            names = ", ".join(_POSITION_COLUMNS)
            query = f"SELECT {names} FROM concentrators WHERE concentrator = ?"
            rows = self._database.all(query, (concentrator,))
            known = self.positions[concentrator] = Position(*rows[0]) if rows else Position()
        return known

    def _write_positions(self, touched: Mapping[int, Position]) -> None:
        rows = [
            (concentrator, *(getattr(position, name) for name in _POSITION_COLUMNS))
            for concentrator, position in touched.items()
        ]
        self._database.many(_WRITE_POSITION, rows)

    def _work(
        self, message: Message, position: Position, posting: Posting, counted: Counter[str]
    ) -> _Outcome:
        """Post one message to the state; UplinkError and Refused change nothing of it."""
        _judge(message, position)
        if message.kind == Kind.HELLO:
            return self._hello(message, position, counted)
        if message.kind == Kind.RESULT:
            return self._result(message, position, counted)
        if message.kind != Kind.BATCH:
            raise Refused(Refusal.VERSION, f"frame of kind {message.kind:02X}")
        if message.payload == position.payload:
            found = unpack(message.payload)
            counted["batches"] += 1
            counted["duplicates"] += len(found.records)
        else:
            found = unpack(message.payload)
            if found.first_seq > position.acked_seq + 1:
                counted["batches"] += 1
                counted["gap"] += 1
            else:
                self._accept(message, found, position, posting, counted)
        _move_to(message, position)
        position.next_seq = max(position.next_seq, found.next_seq)
        return _Outcome(position.ack)

    def _result(self, message: Message, position: Position, counted: Counter[str]) -> _Outcome:
        """Note a part of the answer to a command; it is not acknowledged."""
        result = batch.parse_result(message.payload)
        _move_to(message, position)
        counted["results"] += self.downlink.note(message.concentrator, result, int(time.time()))
        return _Outcome(position.ack)

    def _accept(
        self,
        message: Message,
        found: Unpacked,
        position: Position,
        posting: Posting,
        counted: Counter[str],
    ) -> None:
        """Post the new records of a batch that begins at or before the next number."""
        acked_seq = position.acked_seq
        fresh = found.records
        if found.first_seq <= acked_seq:
            known = [record for record in found.records if record.seq <= acked_seq]
            fresh = found.records[len(known) :]
            self._compare(message.concentrator, known, position)
            counted["duplicates"] += len(known)
        if fresh:
            if position.base:
                fresh = [one._replace(seq=position.base + one.seq) for one in fresh]
            posting.post(message.concentrator, fresh)
            position.received_at = posting.received_at
        if found.gaps:
            counted["let_go"] += self._note_gaps(message.concentrator, found.gaps, position)
        counted["batches"] += 1
        counted["records"] += len(fresh)
        position.wanted_seq = _wanted_seq(position.wanted_seq, found, acked_seq)
        position.acked_seq = max(acked_seq, found.next_seq - 1)
        position.payload = message.payload

    def _compare(self, concentrator: int, known: Sequence[Taken], position: Position) -> None:
        """Raise Refused if a record stored already differs from the one that came now."""
        if not known:
            return
        rows = self._database.all(
            'SELECT seq, t2000, kind, flags, "row", payload FROM records '
            "WHERE concentrator = ? AND seq BETWEEN ? AND ?",
            (concentrator, position.base + known[0].seq, position.base + known[-1].seq),
        )
        stored = {
            row[0] - position.base: (row[0] - position.base, *row[1:5], bytes(row[5]))
            for row in rows
        }
        for record in known:
            # None within a gap: the device has reported before that it is lost.
            if stored.get(record.seq, record[:6]) != record[:6]:
                detail = f"record {record.seq} differs from the one stored"
                told = batch.known_numbers(position.acked_seq)
                raise Refused(Refusal.CONFLICT, detail, told, position.base + record.seq)

    def _note_gaps(self, concentrator: int, gaps: Sequence[Gap], position: Position) -> int:
        """Store the part of the gaps that is new; return the count of its numbers."""
        first_seq, base = position.acked_seq + 1, position.base
        rows = [
            (
                concentrator,
                base + max(gap.seq, first_seq),
                base + gap.seq + gap.count - 1,
                int(gap.reasons),
            )
            for gap in gaps
            if gap.seq + gap.count > first_seq
        ]
        columns = ("concentrator", "first_seq", "last_seq", "reasons")
        if rows:
            self._database.insert_new("gaps", columns, rows)
        return sum(last - first + 1 for _, first, last, _ in rows)

    def _hello(self, message: Message, position: Position, counted: Counter[str]) -> _Outcome:
        """Note which records a concentrator keeps; those it no longer has become a gap."""
        hello = batch.parse_hello(message.payload)
        if hello.protocol != batch.VERSION:
            raise Refused(Refusal.VERSION, f"HELLO of protocol {hello.protocol}")
        name = message.concentrator
        counted["hellos"] += 1
        lost = max(0, hello.first_seq - 1 - position.acked_seq)
        if lost > LOST_LIMIT:
            detail = (
                f"HELLO of records {hello.first_seq} on, {position.acked_seq} is the last here"
            )
            raise UplinkError("malformed", detail)
        if lost:
            gap = Gap(position.acked_seq + 1, lost, Reason(0))
            self._note_gaps(name, [gap], position)
            counted["records_lost"] += lost
            position.acked_seq = position.wanted_seq = hello.first_seq - 1
            log.error("concentrator %d: %d records up to %d are lost", name, lost, hello.first_seq)
        _move_to(message, position)
        position.first_seq, position.next_seq = hello.first_seq, hello.next_seq
        position.firmware, position.capacity = hello.version, hello.capacity
        position.meters_check = hello.meters_check
        position.clock_offset_s = (
            None if hello.t2000 is None else hello.t2000 - now_t2000(self._zone)
        )
        outcome = _Outcome(position.ack)
        if hello.next_seq <= position.acked_seq:
            counted["behind"] += 1
            outcome.detail = (
                f"its journal ends at {hello.next_seq - 1}, here {position.acked_seq} is the "
                "last: is its flash an old copy? Then restore its accounts"
            )
            log.error("concentrator %d: %s", name, outcome.detail)
        return outcome


def _judge(message: Message, position: Position) -> None:
    """Raise Refused for another journal than the one on record, and for an old message.

    Under a new key no message is old: whoever had the one before may have used its last epoch.
    """
    head = message.head
    journal = head.journal.hex()
    if position.journal not in ("", journal):
        position.refused_journal = journal
        detail = (
            f"concentrator {head.concentrator} came with journal {journal}, {position.journal} "
            "is on record: `dianka headend replace` if its flash or board is new"
        )
        raise Refused(Refusal.OTHER_JOURNAL, detail, bytes.fromhex(position.journal))
    is_new_key = position.key_print not in ("", message.key_print)
    if not is_new_key and (head.epoch, head.number) < (position.epoch, position.last_number):
        detail = (
            f"message {head.number} of epoch {head.epoch} after {position.last_number} of epoch "
            f"{position.epoch}"
        )
        known = batch.known_numbers(position.epoch, position.last_number)
        raise Refused(Refusal.STALE, detail, known)


def _move_to(message: Message, position: Position) -> None:
    """Note the newest message of a concentrator."""
    head = message.head
    position.key_print = message.key_print
    position.journal = head.journal.hex()
    position.epoch, position.last_number = head.epoch, head.number


def _wanted_seq(wanted_seq: int, found: Unpacked, acked_seq: int) -> int:
    """Return the record up to which standings are wanted after a batch; `acked_seq` is before it.

    Later readings, freezes and items replace lost ones.
    """
    for gap in found.gaps:
        last_seq = gap.seq + gap.count - 1
        if last_seq > acked_seq and (not gap.reasons or gap.reasons & _ALL_MATTERS):
            wanted_seq = max(wanted_seq, last_seq)
    if wanted_seq:
        for one in found.records:
            told = one.kind == RecordKind.EVENT and one.fields["what"] == _STANDINGS_TOLD
            if told and one.seq > wanted_seq:
                wanted_seq = 0
    return wanted_seq
