"""What a received frame leads to: an answer after the commit, or a refusal that is counted."""

import logging
from collections import Counter
from collections.abc import Mapping

import sqlalchemy as sa

from host.frames import batch, link
from host.frames.batch import Ack, Envelope, UplinkError
from host.frames.link import Frame, Kind
from host.frames.record import RecordError
from host.headend.store import Conflict, Replayed, Store

log = logging.getLogger("dianka.headend")


class Ingest:
    """Serves all connections. `counters` tells what happened, refusals by their reason."""

    def __init__(self, store: Store, keys: Mapping[int, bytes]) -> None:
        self.counters: Counter[str] = Counter()
        self._store = store
        self._keys = keys

    def answer(self, frame: Frame, peer: str) -> bytes:
        """Return the bytes to send back, empty where a frame is refused."""
        try:
            return self._answer(frame, peer)
        except UplinkError as error:
            self._refuse(error.reason, peer, error)
        except RecordError as error:
            self._refuse("malformed", peer, error)
        except Replayed as error:
            self._refuse("replayed", peer, error)
        except sa.exc.SQLAlchemyError as error:
            self._refuse("store_failed", peer, error)
        return b""

    def _refuse(self, reason: str, peer: str, error: Exception) -> None:
        self.counters[reason] += 1
        log.warning("%s: refused (%s): %s", peer, reason, error)

    def _answer(self, frame: Frame, peer: str) -> bytes:
        if frame.kind not in (Kind.HELLO, Kind.BATCH):
            raise UplinkError("unknown_kind", f"frame of kind {frame.kind:02X}")
        concentrator = batch.peek_concentrator(frame.body)
        key = self._keys.get(concentrator)
        if key is None:
            raise UplinkError("unknown_concentrator", f"no key for concentrator {concentrator}")
        envelope = batch.open_body(frame.kind, frame.body, key)
        if frame.kind == Kind.HELLO:
            kind, number, ack = self._hello(envelope)
        else:
            kind, number, ack = self._batch(envelope, peer)
        payload = batch.build_ack(ack)
        body = batch.seal_body(kind, concentrator, number, payload, key)
        return link.build(kind, frame.seq, body)

    def _hello(self, envelope: Envelope) -> tuple[Kind, int, Ack]:
        hello = batch.parse_hello(envelope.payload)
        name = envelope.concentrator
        greeting = self._store.greet(name, envelope.number, hello)
        self.counters["hellos"] += 1
        if greeting.number > envelope.number:
            self.counters["restarts"] += 1
            log.info("concentrator %d: counts from %d on", name, greeting.number)
        else:
            log.info(
                "concentrator %d: keeps records %d to %d, %d is stored",
                name,
                hello.first_seq,
                hello.next_seq - 1,
                greeting.acked_seq,
            )
        if greeting.lost:
            self.counters["records_lost"] += greeting.lost
            log.error(
                "concentrator %d: %d records up to %d are lost",
                name,
                greeting.lost,
                greeting.acked_seq,
            )
        if greeting.behind:
            self.counters["behind"] += 1
            log.error(
                "concentrator %d: its journal ends at %d, here %d is the last: "
                "was its storage replaced? Give it a new number",
                name,
                hello.next_seq - 1,
                greeting.acked_seq,
            )
        return Kind.WELCOME, greeting.number, Ack(greeting.acked_seq, greeting.wants)

    def _batch(self, envelope: Envelope, peer: str) -> tuple[Kind, int, Ack]:
        parsed = batch.parse_batch(envelope.payload)
        try:
            outcome = self._store.ingest(envelope.concentrator, envelope.number, parsed)
        except Conflict as error:
            self._refuse("conflict", peer, error)
            return Kind.ACK, envelope.number, Ack(error.acked_seq, differs=True)
        self.counters["batches"] += 1
        self.counters["records"] += outcome.stored
        self.counters["duplicates"] += outcome.duplicates
        self.counters["let_go"] += outcome.let_go
        last_seq = parsed.next_seq - 1
        if outcome.gap:
            self.counters["gap"] += 1
            log.warning(
                "concentrator %d: batch %d to %d not stored, %d is the last one here",
                envelope.concentrator,
                parsed.first_seq,
                last_seq,
                outcome.acked_seq,
            )
        else:
            log.info(
                "concentrator %d: batch %d to %d, %d new, %d known",
                envelope.concentrator,
                parsed.first_seq,
                last_seq,
                outcome.stored,
                outcome.duplicates,
            )
        return Kind.ACK, envelope.number, Ack(outcome.acked_seq, outcome.wants)
