"""Other boards at the head-end of a world, which must change nothing of its accounts.

    a board with a copied `board.json`    the number and key of the world's concentrator, a journal
                                          of its own: refused at its first HELLO
    a board with a copied flash           its journal as well, and other records behind: refused
    another concentrator                  a key of its own; it tells of accounts of the world's one

Now and then a person gives an account to the other concentrator, by mistake, and back again some
hours later: what the right one has told meanwhile has waited, and is posted then.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from host.frames import batch, record
from host.frames.batch import Refusal
from host.frames.link import Kind, LinkReader
from host.frames.record import PAYLOAD_SIZE, RecordKind, parse_payload
from host.headend import ownership
from host.world.agenda import Agenda
from host.world.checks.account import Violation
from host.world.households import HOUR_US, Households
from host.world.scenarios import Scenario
from host.world.station import OTHER, OTHER_KEY, Station

_JOURNAL = b"another!"
_LONGEST_US = 6 * HOUR_US
_KINDS = (
    *(RecordKind.READING, RecordKind.TOP_UP, RecordKind.REFUND, RecordKind.RELAY),
    *(RecordKind.POLICY, RecordKind.FAULT, RecordKind.CORRECTION, RecordKind.ACCOUNT),
    *(RecordKind.STANDING, RecordKind.STANDING_REGISTERS, RecordKind.QUOTA, RecordKind.FREEZE),
)


class Others:
    """The other boards, and the person at the head-end."""

    def __init__(
        self, agenda: Agenda, random: Random, station: Station, households: Households
    ) -> None:
        self._agenda = agenda
        self._random = random
        self._station = station
        self._households = households.households
        self._seq = 0
        self._number = 0

    def begin(
        self, often: Callable[[float, Callable[[], None]], None], scenario: Scenario
    ) -> None:
        """Have each thing happen as often a day as the scenario says."""
        often(scenario.copied_a_day, self.copy)
        often(scenario.foreign_a_day, self.tell)
        often(scenario.lent_a_day, self.lend)

    # --- boards of the same number ---------------------------------------------------------------

    def copy(self) -> None:
        """Have a copy of the board call: of its `board.json` alone, or of its flash as well."""
        station = self._station
        place = station.place()
        if not place.journal or not place.acked_seq:
            return
        before = station.fingerprint()
        if self._random.random() < 0.5:
            self._number += 1
            head = batch.Head(station.concentrator, _JOURNAL, 1, self._number)
            hello = batch.build_hello(batch.Hello(1, 2 + self._random.randrange(1000)))
            self._expect(Refusal.OTHER_JOURNAL, Kind.HELLO, head, hello)
        else:
            journal = bytes.fromhex(place.journal)
            head = batch.Head(station.concentrator, journal, place.epoch + 1, 2)
            if self._random.random() < 0.5:
                first = batch.Head(station.concentrator, journal, place.epoch + 1, 1)
                # It is welcome, and the world's board has to go on in a later epoch.
                greeting = batch.build_hello(batch.Hello(place.acked_seq, place.acked_seq + 1))
                station.hear(Kind.HELLO, first, greeting, station.key)
            told = {"state": 1, "failures": 7777}
            one = record.make(place.acked_seq, 1, RecordKind.LINE, told)
            self._expect(Refusal.CONFLICT, Kind.BATCH, head, batch.build_batch([one]))
        self._compare(before, "a copied board")
        station.counters["copied boards refused"] += 1

    def _expect(self, refusal: Refusal, kind: Kind, head: batch.Head, payload: bytes) -> None:
        station = self._station
        answer = station.hear(kind, head, payload, station.key)
        (frame,) = LinkReader().feed(answer)
        opened = batch.open_down(frame.kind, frame.body, head.journal, head.epoch, station.key)
        if frame.kind != Kind.REFUSED or batch.parse_refused(opened.payload)[0] != refusal:
            raise Violation("ownership", f"a copied board is not refused as {refusal.name}")

    # --- the other concentrator ------------------------------------------------------------------

    def tell(self) -> None:
        """Have the other concentrator tell of an account that is not its own."""
        random, station = self._random, self._station
        household = random.choice(self._households)
        if household.account in station.lent:
            return
        before = station.fingerprint()
        row = random.randrange(4)
        meter = {"address": household.meter.address, "account": household.account, "active": 1}
        records = [self._record(RecordKind.METER, row, meter)]
        for kind in random.choices(_KINDS, k=random.randrange(1, 9)):
            values = {"credit_fen": random.getrandbits(30), "debit_fen": random.getrandbits(30)}
            known = parse_payload(kind, bytes(PAYLOAD_SIZE))
            told = {name: value for name, value in values.items() if name in known}
            records.append(self._record(kind, row, told))
        self._number += 1
        head = batch.Head(OTHER, _JOURNAL, 1, self._number)
        if not station.hear(Kind.BATCH, head, batch.build_batch(records), OTHER_KEY):
            raise Violation("ownership", "the other concentrator gets no answer")
        self._compare(before, "another concentrator")
        station.counters["foreign records"] += len(records)

    def _record(self, kind: RecordKind, row: int, told: Mapping[str, Any]) -> record.Record:
        self._seq += 1
        fields = {**parse_payload(kind, bytes(PAYLOAD_SIZE)), **told}
        return record.make(self._seq, self._agenda.clock.now_t2000(), kind, fields, index=row)

    def _compare(self, before: object, who: str) -> None:
        if self._station.fingerprint() != before:
            raise Violation("ownership", f"{who} has changed accounts that are not its own")

    # --- the person ------------------------------------------------------------------------------

    def lend(self) -> None:
        """Give an account to the other concentrator; some hours later it comes back."""
        station = self._station
        known = station.accounts()
        account = self._random.choice(self._households).account
        if not self._seq or account in station.lent or account not in known:
            return
        if any(one["account"] == account for one in ownership.waiting(station.store)):
            ownership.dismiss(station.store, account, OTHER, "Li", "not its own")
        ownership.move(station.store, account, OTHER, "Li", "by mistake")
        station.lent.add(account)
        wait_us = 1 + self._random.randrange(_LONGEST_US)
        self._agenda.after(wait_us, lambda: station.take_back(account))
