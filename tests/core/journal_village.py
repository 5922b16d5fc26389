"""A journal of a village's days on flash in memory, which is thinned and read back.

Each record has its own number in it, so what is read is compared with what was written.
"""

import sys
from array import array

from concentrator.storage.journal import Journal
from concentrator.storage.merging import Merger
from concentrator.storage.thinning import Thinner, level_of
from harness import check, equal
from memory_storage import Storage
from uplink import packing, record
from uplink.packing import GAP, Unpacker
from uplink.record import PAYLOAD, RECORD_SIZE, u32_at

NOW = 820540800
DAY_S = 86400
SMALL = sys.maxsize < 1 << 32  # an emulated board is slow
METERS = 3 if SMALL else 8
# A day of a village writes these beside readings, to these accounts.
OTHERS = (
    record.ITEM,
    record.FREEZE,
    record.TOP_UP,
    record.RELAY,
    record.LINE,
    record.POLICY,
    record.REFUND,
    record.METER,
)


class World:
    """This is a journal and all its written records: `kinds`, `rows` and `times` by number."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.kinds = bytearray(1)
        self.rows = array("H", (0,))
        self.times = array("I", (0,))
        self.restart()

    def restart(self) -> None:
        """Switch the device off and on."""
        self.storage.cut = -1
        self.journal = Journal(self.storage)
        self.journal.large_blocks = 192
        self.journal.measure()
        self.journal.recover()
        self.thinner = Thinner(self.journal, self.storage)
        self.merger = Merger(self.journal, self.storage, self.thinner)

    def put(self, kind: int, index: int, t2000: int, last: int = 0) -> None:
        """Write a record that has its own number in it, and `last` in its 40th byte."""
        journal = self.journal
        check(journal.place(1) >= 0)
        seq = journal.next_seq
        for kept, one in ((self.kinds, kind), (self.rows, index), (self.times, t2000)):
            if seq < len(kept):
                kept[seq] = one  # type: ignore[index]  # arrays and bytes alike
            else:
                kept.append(one)  # type: ignore[attr-defined]  # as above
        mark = seq if kind != record.ITEM else seq << 8
        journal.buf[PAYLOAD : PAYLOAD + 4] = (mark & 0xFFFFFFFF).to_bytes(4, "little")
        journal.buf[PAYLOAD + 39] = last
        journal.add(t2000, kind, index)

    def live(self, days: int, rounds: int = 24) -> None:
        """Write some days of a village and make all of it durable."""
        t2000 = max(NOW, max(self.times))
        t2000 += DAY_S - t2000 % DAY_S
        for _ in range(days):
            for turn in range(rounds):
                for index in range(METERS):
                    self.put(record.READING, index, t2000 + turn * DAY_S // rounds + index)
                if turn < len(OTHERS):
                    self.put(OTHERS[turn], turn % METERS, t2000 + turn * DAY_S // rounds + METERS)
            t2000 += DAY_S
        check(self.journal.sync())

    def thin(self, limit_seq: int) -> int:
        """Thin until no more can be thinned; return the number of steps."""
        steps = 0
        while self.thinner.step(limit_seq):
            steps += 1
            check(steps < 20000, "it has no end")
        return steps

    def read(self) -> "tuple[bytearray, bytearray]":
        """Return the kind of each present record, or 0; the reasons of each gap number, or 0."""
        journal = self.journal
        buf = bytearray(packing.GROUP_LIMIT)
        reader = Unpacker(buf)
        one = bytearray(RECORD_SIZE)
        kinds = bytearray(journal.durable_seq + 1)
        gone = bytearray(journal.durable_seq + 1)
        seq = journal.first_seq
        while seq <= journal.durable_seq:
            size = journal.group_into(seq, buf, 0, len(buf))
            equal(reader.open(0, size), size)
            equal(reader.first_seq, seq)
            kind = reader.next(one)
            while kind >= GAP:
                if kind == GAP:
                    for number in range(reader.seq, reader.next_seq):
                        gone[number] = reader.reasons
                else:
                    equal(kind, self.kinds[reader.seq], reader.seq)
                    equal(record.index_at(one, 0), self.rows[reader.seq], reader.seq)
                    equal(record.t2000_at(one, 0), self.times[reader.seq], reader.seq)
                    mark = u32_at(one, PAYLOAD)
                    equal(mark >> 8 if kind == record.ITEM else mark, reader.seq)
                    kinds[reader.seq] = kind
                kind = reader.next(one)
            seq = journal.group_end
        return kinds, gone

    def check_gone(self, level: int, limit_seq: int) -> None:
        """Check that only the records up to `level` have gone, from segments up to `limit_seq`."""
        kinds, gone = self.read()
        days: dict[int, int] = {}
        for seq in range(self.journal.first_seq, self.journal.durable_seq + 1):
            kind = self.kinds[seq]
            goes = level_of(kind) <= level
            if kind == record.READING and level == 1:
                goes = days.get(self.rows[seq]) == self.times[seq] // DAY_S
                days[self.rows[seq]] = self.times[seq] // DAY_S
            if seq > limit_seq:
                goes = False
            equal(gone[seq] != 0, goes, seq)
            equal(kinds[seq], 0 if goes else kind, seq)
        equal(self.journal.rotten, 0)

    def last_of_a_segment(self) -> int:
        """Return the newest number of a segment that is not the newest."""
        journal = self.journal
        return journal.first_of(journal.segment_count - 1) - 1
