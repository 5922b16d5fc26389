"""A village for the head-end's tests, with records as a device writes them and their sender."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from uplink.envelope import Envelope
from uplink.session import IDLE, Session

from host.frames import batch, link, packing, record
from host.frames.link import Kind, LinkReader
from host.frames.record import Record, RecordKind
from host.headend.ingest import Ingest

CONCENTRATOR = 7
KEY = bytes(range(32))
JOURNAL = b"journal!"
KEYS = {CONCENTRATOR: KEY}
START_T2000 = 820_000_000
STEP_MS = 100


def account_name(row: int) -> str:
    """Return the account number of the household at `row`."""
    return f"{row + 1:012d}"


def meter_address(row: int) -> str:
    """Return the address of its meter."""
    return f"{row + 983764:012d}"


@dataclass
class Village:
    """A writer of records without differences. It is also the `source` of a Session."""

    records: list[Record] = field(default_factory=list)
    first_seq: int = 1
    debit_fen: dict[int, int] = field(default_factory=dict)
    credit_fen: dict[int, int] = field(default_factory=dict)
    orders: dict[int, int] = field(default_factory=dict)
    group_end: int = 0

    @property
    def outbox_seq(self) -> int:
        return self.first_seq

    @property
    def durable_seq(self) -> int:
        return self.first_seq - 1 + len(self.records)

    def group_into(self, seq: int, buf: bytearray, start: int, limit: int) -> int:
        at = seq - self.first_seq
        count = 8
        group = packing.build_groups(self.records[at : at + count])
        while len(group) > min(limit, packing.GROUP_LIMIT):
            count -= 1
            if count == 0:
                return 0
            group = packing.build_groups(self.records[at : at + count])
        buf[start : start + len(group)] = group
        self.group_end = min(seq + count, self.durable_seq + 1)
        return len(group)

    def write(self, kind: RecordKind, fields: Mapping[str, Any], row: int = 0) -> Record:
        """Append a record, one minute after the one before."""
        seq = self.durable_seq + 1
        one = record.make(seq, START_T2000 + 60 * seq, kind, fields, index=row)
        self.records.append(one)
        return one

    def meter(self, row: int, account: str | None = None) -> Record:
        return self.write(
            RecordKind.METER,
            {
                "address": meter_address(row),
                "account": account or account_name(row),
                "tariff": 1,
                "line": 0,
                "standard": 0,
                "active": 1,
            },
            row,
        )

    def reading(self, row: int, charge_fen: int = 3, status: int = 0) -> Record:
        debit_fen = self.debit_fen[row] = self.debit_fen.get(row, 0) + charge_fen
        return self.write(
            RecordKind.READING,
            {
                "debit_fen": debit_fen,
                "residue_e7": 12345,
                "residue_e11": 678,
                "status": status,
                "used_wh": debit_fen * 20,
                "registers_wh": [debit_fen * 15, debit_fen * 5, 0, 0, 0, 0, 0, 0],
            },
            row,
        )

    def top_up(self, row: int, amount_fen: int, **changes: Any) -> Record:
        """Take an order; below 0 it is a refund."""
        order = self.orders[row] = changes.get("order", self.orders.get(row, 0) + 1)
        credit_fen = self.credit_fen[row] = self.credit_fen.get(row, 0) + amount_fen
        kind = RecordKind.REFUND if amount_fen < 0 else RecordKind.TOP_UP
        fields = {
            "order": order,
            "amount_fen": abs(amount_fen),
            "credit_fen": credit_fen,
            "balance_fen": credit_fen - self.debit_fen.get(row, 0),
            "uid": "04A1B2C3D4E5F600",
            "source": 1,
            "key_version": 1,
            "repaid_fen": 0,
        }
        return self.write(kind, {**fields, **changes}, row)

    def relay(self, row: int, desired: int, stage: int = 2) -> Record:
        fields = {"desired": desired, "stage": stage, "reason": 1, "status": desired << 4}
        return self.write(RecordKind.RELAY, {**fields, "balance_fen": 0}, row)

    def batch(self, first_seq: int = 1, last_seq: int | None = None) -> bytes:
        """Return the BATCH payload of these records."""
        start = first_seq - self.first_seq
        end = len(self.records) if last_seq is None else last_seq - self.first_seq + 1
        return batch.build_batch(self.records[start:end])


def village_of(households: int, rounds: int) -> Village:
    """Make households with a top-up of 100 yuan and `rounds` readings each."""
    village = Village()
    for row in range(households):
        village.meter(row)
    for row in range(households):
        village.reading(row, 0)
        village.top_up(row, 10000)
    for _ in range(rounds):
        for row in range(households):
            village.reading(row, 3 + row)
    return village


def frame(
    kind: int,
    number: int,
    payload: bytes,
    key: bytes = KEY,
    concentrator: int = CONCENTRATOR,
    journal: bytes = JOURNAL,
    epoch: int = 1,
    version: int = batch.VERSION,
) -> link.Frame:
    """Return a frame as the head-end gets it."""
    sender = batch.Head(concentrator, journal, epoch, number)
    body = batch.seal_up(kind, sender, payload, key)
    if version != batch.VERSION:
        covered = bytes((version,)) + body[1 : -batch.UP_MAC_SIZE]
        up, _down = batch.keys_of(key, journal, epoch)
        body = covered + batch.mac(up, kind, covered)[: batch.UP_MAC_SIZE]
    return link.Frame(kind, number & 0xFF, body)


def head(number: int, epoch: int = 1, journal: bytes = JOURNAL) -> batch.Head:
    """Return the sender of message `number`."""
    return batch.Head(CONCENTRATOR, journal, epoch, number)


def opened(
    answer: bytes, number: int, journal: bytes = JOURNAL, epoch: int = 1, key: bytes = KEY
) -> bytes:
    """Return the payload of an answer to message `number`."""
    (one,) = LinkReader().feed(answer)
    found = batch.open_down(one.kind, one.body, journal, epoch, key)
    assert found.answers == number
    return found.payload


def acked(answer: bytes, number: int) -> int:
    """The acked_seq of an ACK or WELCOME that answers message `number`."""
    assert LinkReader().feed(answer)[0].kind in (Kind.ACK, Kind.WELCOME)
    return int.from_bytes(opened(answer, number)[:4], "little")


def refused(answer: bytes, number: int, **place: Any) -> batch.Refusal:
    """The reason of a REFUSED that answers message `number`."""
    assert LinkReader().feed(answer)[0].kind == Kind.REFUSED
    return batch.Refusal(batch.parse_refused(opened(answer, number, **place))[0])


def hello(first_seq: int, next_seq: int) -> bytes:
    """HELLO's payload."""
    return batch.build_hello(batch.Hello(first_seq, next_seq))


def deliver(ingest: Ingest, village: Village, number: int = 1) -> int:
    """Bring all records in by one message; return what is acknowledged."""
    return acked(ingest.answer(frame(Kind.BATCH, number, village.batch()), "test"), number)


class Device:
    """A session in virtual time; `step` returns the bytes it sends."""

    def __init__(
        self,
        village: Village,
        epoch: int = 1,
        concentrator: int = CONCENTRATOR,
        journal: bytes = JOURNAL,
    ) -> None:
        random = Random(epoch)
        sealed = Envelope(KEY, concentrator, journal, epoch)
        self.session = Session(village, sealed, lambda: random.getrandbits(29))
        self.now_ticks = 0x1FFFFFFF - 5000
        self.idle = False

    def step(self) -> bytes:
        self.now_ticks = (self.now_ticks + STEP_MS) & 0x1FFFFFFF
        self.idle = self.session.poll(self.now_ticks) == IDLE
        sent = bytes(self.session.tx[: self.session.tx_size])
        if sent:
            self.session.sent(self.now_ticks)
        return sent

    def hear(self, data: bytes) -> None:
        self.session.feed(data, len(data))
