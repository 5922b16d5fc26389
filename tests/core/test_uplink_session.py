"""Goal: every durable record reaches the head-end once and in order; nothing else counts as known.

Method: the session against a scripted head-end in this file, in virtual time that starts near
the wrap of the ticks: answers lost, late, repeated, forged, replayed; a head-end that is away,
busy, refuses, forgets or knows too much; records that cannot be read. Idle polling with the heap
locked.
"""

from struct import pack, unpack_from

from above import Above
from harness import check, equal, heap_locked
from uplink import link, record, session
from uplink.envelope import Envelope
from uplink.packing import END, GAP, GROUP_LIMIT, UNREADABLE, Packer, Unpacker
from uplink.record import RECORD_SIZE
from uplink.session import Session

KEY = b"k" * 32
CONCENTRATOR = 0x01000007
JOURNAL = b"\x01\x02\x03\x04\x05\x06\x07\x08"
T2000 = 850000000
START_TICKS = 0x1FFFFFFF - 700


class Journal:
    """The durable records 1.. are in memory; those in `lost` cannot be read any more.

    group_size  numbers of a group, from 1 on; 0: a group begins at the number asked for
    silent      the flash does not answer
    """

    def __init__(self) -> None:
        self.outbox_seq = 1
        self.durable_seq = 0
        self.lost: set[int] = set()
        self.escapes = False
        self.group_size = 0
        self.group_end = 0
        self.silent = False
        self.refusals = 0

    def record(self, seq: int) -> bytearray:
        buf = bytearray(RECORD_SIZE)
        if self.escapes:
            buf[12:60] = b"\x7e" * 48
            record.encode_into(buf, 0, seq, 0x7E7E7E7E, record.CARD, 0, 0)
            return buf
        buf[12] = seq & 0xFF
        record.encode_into(buf, 0, seq, 800000000 + seq, record.READING, 0, seq & 7)
        return buf

    def group_into(self, seq: int, buf: bytearray, start: int, limit: int) -> int:
        """Give a group as the firmware's journal does."""
        if self.silent:
            self.refusals += 1
            return -2
        if self.group_size:
            seq -= (seq - 1) % self.group_size
        packer = Packer(bytearray(GROUP_LIMIT))
        packer.begin(0, GROUP_LIMIT, seq)
        end = seq
        last = min(self.durable_seq, seq + (self.group_size or 64) - 1)
        while end <= last:
            gap = 0
            while end + gap in self.lost and end + gap <= last:
                gap += 1
            if not (packer.add_gap(UNREADABLE, gap) if gap else packer.add(self.record(end))):
                break
            end += gap or 1
        size = packer.finish()
        if size > limit:
            return 0
        self.group_end = end
        buf[start : start + size] = packer._buf[:size]
        return size


class HeadEnd:
    """This is the head-end of the specification; the test delivers the answers in `answer`.

    refusal     reason of REFUSED for every message, 0: none; `busy_s` the same for BUSY
    """

    def __init__(self, key: bytes = KEY) -> None:
        self.acked_seq = 0
        self.wants = 0
        self.last = (0, 0)
        self.hellos: list[tuple[int, int]] = []
        self.abouts: list[bytes] = []
        self.batches: list[tuple[int, int]] = []
        self.gaps: set[int] = set()
        self.answer = b""
        self.results: list[bytes] = []
        self.refusal = 0
        self.busy_s = 0
        self.t2000 = 0
        self.above = Above(key, CONCENTRATOR, JOURNAL)
        self._receiver = link.LinkReceiver(2048)

    def on_bytes(self, data: bytes) -> None:
        self._receiver.feed(data, len(data))
        check(self._receiver.poll(), "one whole frame")
        body, kind = self._receiver.body, self._receiver.kind
        payload = self.above.open(kind, bytes(body[: self._receiver.body_size]))
        self._receiver.release()
        newest = (self.above.epoch, self.above.number)
        if newest < self.last:
            known = pack("<II", *self.last)
            self.answer = self.framed(link.REFUSED, b"\x04\0\0\0" + known)
        elif self.refusal:
            self.answer = self.framed(link.REFUSED, bytes((self.refusal, 0, 0, 0)) + bytes(8))
        elif self.busy_s:
            self.answer = self.framed(link.BUSY_LATER, pack("<H", self.busy_s))
        else:
            self.last = newest
            if kind == link.HELLO:
                self._hello(payload)
            elif kind == link.RESULT:
                self.results.append(payload)
                self.answer = b""
            else:
                self._batch(*self._unpack(payload))

    def _unpack(self, payload: bytes) -> "tuple[int, int]":
        """Return the first number of a batch, and the count of those that follow it."""
        at, end = 0, len(payload)
        reader = Unpacker(bytearray(payload))
        first = next_seq = 0
        buf = bytearray(RECORD_SIZE)
        while at < end:
            size = reader.open(at, end)
            check(size > 0, "a whole group")
            check(next_seq in (0, reader.first_seq), "one group follows the other")
            first = first or reader.first_seq
            kind = reader.next(buf)
            while kind >= GAP:
                if kind == GAP:
                    equal(reader.reasons, UNREADABLE)
                    self.gaps.update(range(reader.seq, reader.next_seq))
                kind = reader.next(buf)
            equal(kind, END)
            next_seq = reader.next_seq
            at += size
        return first, next_seq - first

    def _hello(self, payload: bytes) -> None:
        first, following = unpack_from("<II", payload, 0)
        self.hellos.append((first, following))
        self.abouts.append(payload[8:])
        if first > self.acked_seq + 1:
            self.acked_seq = first - 1
        self.answer = self.seal(link.WELCOME)

    def _batch(self, first: int, count: int) -> None:
        self.batches.append((first, count))
        if first <= self.acked_seq + 1:
            self.acked_seq = max(self.acked_seq, first + count - 1)
        self.answer = self.seal(link.ACK)

    def seal(self, kind: int, answers: "int | None" = None, acked_seq: int = -1) -> bytes:
        """A WELCOME or an ACK; of the last message unless another one is named."""
        payload = pack("<I", self.acked_seq if acked_seq < 0 else acked_seq)
        if kind == link.WELCOME:
            payload += pack("<I", self.t2000)
        payload += bytes((self.wants,))
        return self.framed(kind, payload, answers)

    def framed(self, kind: int, payload: bytes, answers: "int | None" = None) -> bytes:
        body = bytearray(self.above.seal(kind, payload, answers))
        buf = bytearray(400)
        return bytes(buf[: link.encode_into(buf, kind, self.above.number & 0xFF, body, len(body))])


class World:
    """This is a journal, its session and a head-end, stepped by 100 ms."""

    def __init__(self, durable: int = 0) -> None:
        self.journal = Journal()
        self.journal.durable_seq = durable
        self.head_end = HeadEnd()
        self.now_ticks = START_TICKS
        self.draws = 0
        self.epoch = 40
        self.restart()

    def restart(self, epoch: int = 0) -> None:
        """Begin anew, in the epoch behind the last one unless another is named."""
        self.epoch = epoch or self.epoch + 1
        epoch = self.epoch
        self.sealed = Envelope(KEY, CONCENTRATOR, JOURNAL, epoch)
        self.session = Session(self.journal, self.sealed, self.random)

    def random(self) -> int:
        """Draw as evenly as can be, and the same each time."""
        self.draws = (self.draws + 331804471) & 0x1FFFFFFF
        return self.draws

    def step(self, deliver: bool = True, hear: bool = True) -> int:
        """Poll once; the head-end gets what is sent, and its answer comes back."""
        self.now_ticks = (self.now_ticks + 100) & 0x1FFFFFFF
        outcome = self.session.poll(self.now_ticks)
        if self.session.tx_size:
            sent = bytes(self.session.tx[: self.session.tx_size])
            self.session.sent(self.now_ticks)
            if deliver:
                self.head_end.on_bytes(sent)
                if hear:
                    self.hear(self.head_end.answer)
        return outcome

    def hear(self, answer: bytes) -> None:
        for index in range(len(answer)):
            self.session.feed(answer[index : index + 1], 1)

    def run(self, steps: int, deliver: bool = True, hear: bool = True) -> "set[int]":
        return {self.step(deliver, hear) for _ in range(steps)}

    def run_until_idle(self, limit: int = 600) -> int:
        """Return the steps taken until the head-end has everything."""
        for count in range(limit):
            if self.step() == session.IDLE:
                equal(self.session.acked_seq, self.journal.durable_seq)
                return count
        raise AssertionError("still not idle")


def test_all_records_in_order_once() -> None:
    world = World(durable=100)
    world.run_until_idle()
    equal(world.head_end.hellos, [(1, 101)])
    following = 1
    for first, count in world.head_end.batches:
        equal(first, following)
        following += count
    equal(following, 101)
    check(len(world.head_end.batches) < 6, world.head_end.batches)


# --- commands of the head-end ------------------------------------------------------------------

COMMAND = pack("<II", 5, T2000) + b"credit 17 2 3000 1122334455667788"


def test_a_command_waits_for_the_application_and_its_results_go_up() -> None:
    world = World(durable=3)
    world.run_until_idle()
    world.hear(world.head_end.framed(link.ORDER, COMMAND, 0))
    world.step()
    equal(world.session.order, COMMAND)
    world.session.order = b""
    check(world.session.tell(b"first"))
    check(not world.session.tell(b"second"), "one at a time")
    world.run_until_idle()
    check(world.session.tell(b"second"))
    world.run_until_idle()
    equal(world.head_end.results, [b"first", b"second"])
    world.journal.durable_seq += 20
    world.run_until_idle()
    equal((world.session.refused, world.session.late), (0, 0))


def test_a_result_waits_until_the_batch_under_way_is_acknowledged() -> None:
    world = World(durable=30)
    world.step()
    while not world.head_end.batches:
        world.step(hear=False)
    check(not world.session.tell(b"result"))
    world.run(15, hear=False)
    check(not world.session.tell(b"result"))
    world.run_until_idle()
    check(world.session.tell(b"result"))
    world.run_until_idle()
    equal(world.head_end.results, [b"result"])


def test_a_command_that_is_replayed_or_malformed_is_not_taken() -> None:
    world = World(durable=3)
    world.run_until_idle()
    first = world.head_end.framed(link.ORDER, COMMAND, 0)
    second = world.head_end.framed(link.ORDER, COMMAND, 0)
    of_answer = world.head_end.framed(link.ORDER, COMMAND)
    short = world.head_end.framed(link.ORDER, COMMAND[:8], 0)
    forged = bytearray(world.head_end.framed(link.ORDER, COMMAND, 0))
    forged[20] ^= 1
    for frame, taken in (
        (second, True),
        (second, False),
        (first, False),
        (of_answer, False),
        (short, False),
        (bytes(forged), False),
    ):
        world.hear(frame)
        world.step()
        equal(bool(world.session.order), taken)
        world.session.order = b""
    world.session.reset()
    world.run_until_idle()
    world.hear(world.head_end.framed(link.ORDER, COMMAND, 0))
    world.step()
    check(world.session.order, "a new one, behind a new connection")
    world.session.order = b""
    world.hear(second)
    world.step()
    equal(world.session.order, b"")


def test_a_command_beside_an_answer_in_one_piece() -> None:
    """Bytes behind a held frame have to wait: those of a command must not be dropped."""
    world = World(durable=3)
    world.run_until_idle()
    world.journal.durable_seq += 20
    while not world.session.tx_size:
        world.session.poll(world.now_ticks)
        world.now_ticks = (world.now_ticks + 100) & 0x1FFFFFFF
    world.head_end.on_bytes(bytes(world.session.tx[: world.session.tx_size]))
    world.session.sent(world.now_ticks)
    data = world.head_end.answer + world.head_end.framed(link.ORDER, COMMAND, 0)
    for at in range(0, len(data), 128):
        world.session.feed(data[at : at + 128], len(data[at : at + 128]))
        world.session.poll(world.now_ticks)
    world.session.poll(world.now_ticks)
    equal((world.session.order, world.session.acked_seq), (COMMAND, 23))


def test_small_numbers_are_gathered() -> None:
    world = World()
    world.run_until_idle()
    for _ in range(3):
        world.journal.durable_seq += 1
        world.step()
    world.run_until_idle()
    equal(world.head_end.batches, [(1, 3)])


def test_acked_is_reported_when_it_changes() -> None:
    world = World(durable=3)
    outcomes = [world.step() for _ in range(20)]
    equal(outcomes.count(session.ACKED), 1)
    equal(outcomes[-1], session.IDLE)
    equal(outcomes[0], session.BUSY)


def test_lost_acknowledgement_is_repeated_byte_for_byte() -> None:
    world = World(durable=5)
    world.step()
    while not world.head_end.batches:
        world.step(hear=False)
    equal(world.session.acked_seq, 0)
    world.run(100)
    equal(world.head_end.batches, [(1, 5), (1, 5)])
    equal(world.session.acked_seq, 5)
    equal(world.session.state, session.READY)


def test_late_second_answer_is_ignored() -> None:
    world = World(durable=5)
    world.run_until_idle()
    old = world.head_end.answer
    world.journal.durable_seq = 9
    world.hear(old)
    world.run_until_idle()
    equal(world.session.late, 1)
    equal(world.session.refused, 0)
    equal(world.head_end.batches, [(1, 5), (6, 4)])


def test_replayed_answers_free_nothing() -> None:
    world = World(durable=5)
    world.run_until_idle()
    for kind in (link.ACK, link.WELCOME):
        for number in (0, 1, 2, 3, 4, 1000):
            world.hear(world.head_end.seal(kind, number, 5000))
            world.step()
    equal(world.session.acked_seq, 5)
    world.journal.durable_seq = 6
    while world.session.state != session.SENT:
        world.step(deliver=False)
    for number in (0, 1, 2, 4, 1000):
        world.hear(world.head_end.seal(link.ACK, number, 6))
        world.step(deliver=False)
    equal(world.session.acked_seq, 5)


def test_forged_answers_free_nothing() -> None:
    world = World(durable=5)
    forger = HeadEnd(b"x" * 32)
    while world.session.state != session.SENT:
        world.step(hear=world.session.state != session.READY)
    world.hear(forger.seal(link.ACK, 2, 5))
    genuine = bytearray(world.head_end.seal(link.ACK, 2, 5))
    genuine[12] ^= 1
    world.hear(bytes(genuine))
    world.step(deliver=False)
    equal(world.session.acked_seq, 0)
    equal(world.session.refused, 1)


def test_away_then_back() -> None:
    world = World(durable=5)
    outcomes = world.run(10 * 60 * 10, deliver=False)
    equal(outcomes, {session.BUSY, session.AWAY})
    check(world.session.stale)
    world.run_until_idle(2000)
    check(not world.session.stale)
    equal(world.session.acked_seq, 5)


def test_attempts_grow_rarer() -> None:
    world = World(durable=5)
    sent = 0
    for _ in range(60 * 60 * 10):
        world.now_ticks = (world.now_ticks + 100) & 0x1FFFFFFF
        world.session.poll(world.now_ticks)
        if world.session.tx_size:
            sent += 1
            world.session.sent(world.now_ticks)
    check(60 < sent < 110, sent)


def test_without_an_adapter_nothing_is_lost() -> None:
    world = World(durable=5)
    for _ in range(1000):
        world.now_ticks = (world.now_ticks + 1000) & 0x1FFFFFFF
        equal(world.session.poll(world.now_ticks), session.BUSY)
    world.session.reset()
    world.run_until_idle()


def test_reset_in_the_middle_of_a_frame() -> None:
    world = World(durable=5)
    while world.session.state != session.SENT:
        world.step(hear=world.session.state != session.READY)
    world.hear(world.head_end.answer[:10])
    world.session.reset()
    equal(world.session.tx_size, 0)
    world.run_until_idle()
    equal(world.head_end.hellos, [(1, 6), (1, 6)])


def test_an_epoch_that_was_seen_gives_way_to_a_later_one() -> None:
    world = World(durable=5)
    world.run_until_idle()
    world.journal.durable_seq = 7
    world.restart(40)
    world.run_until_idle(1000)
    check(world.sealed.epoch > 41, world.sealed.epoch)
    equal(world.session.reason, 0)
    equal(world.head_end.batches, [(1, 5), (5, 3)], "the last is shown again")


def test_a_later_epoch_is_taken_at_once() -> None:
    world = World(durable=5)
    for epoch in (41, 42, 50):
        world.restart(epoch)
        world.run_until_idle()
        world.journal.durable_seq += 2
    equal(world.head_end.batches, [(1, 5), (5, 3), (7, 3)], "the last is shown again")


def test_hello_says_what_the_board_is() -> None:
    world = World(durable=5)
    world.session.about[4:8] = b"\xff\xff\xff\xff"
    world.run_until_idle()
    equal(len(world.head_end.abouts[0]), session.ABOUT_SIZE)
    equal(world.head_end.abouts[0][:8], b"\0\0\x02\0\xff\xff\xff\xff")


def test_the_time_comes_with_the_welcome() -> None:
    world = World(durable=5)
    world.run_until_idle()
    equal(world.session.told_t2000, 0)
    world.head_end.t2000 = T2000
    world.session.reset()
    world.run_until_idle()
    equal(world.session.told_t2000, T2000)


def test_a_refusal_is_known_and_not_pestered() -> None:
    for reason in (1, 2, 3, 6, 7):
        world = World(durable=5)
        world.head_end.refusal = reason
        outcomes = world.run(6000)
        check(session.AWAY in outcomes)
        equal(world.session.reason, reason)
        equal(world.head_end.batches, [])
        equal(world.sealed.epoch, 41)
        check(world.sealed.number < 14, world.sealed.number)
        check(not world.session.stale, "the connection is good")
        world.head_end.refusal = 0
        world.run_until_idle(2000)
        equal(world.session.reason, 0)


def test_a_busy_head_end_says_when_to_come_again() -> None:
    world = World(durable=5)
    world.head_end.busy_s = 100
    world.run(20)
    world.head_end.busy_s = 0
    equal(world.run(450), {session.AWAY})
    steps = world.run_until_idle(1100)
    check(30 < steps < 1100, steps)


def test_boards_that_begin_together_come_one_by_one() -> None:
    instants = set()
    for offset in range(20):
        world = World(durable=5)
        world.draws = offset * 331804471 & 0x1FFFFFFF
        world.head_end.busy_s = 100
        world.run(20)
        world.head_end.busy_s = 0
        instants.add(world.run_until_idle(2000))
    check(len(instants) > 15, instants)


def test_head_end_that_forgot_gets_it_again() -> None:
    world = World(durable=20)
    world.run_until_idle()
    world.head_end.acked_seq = 8
    world.journal.durable_seq = 21
    world.run_until_idle()
    equal(world.head_end.acked_seq, 21)
    equal(world.head_end.batches[-1], (9, 13))


def test_head_end_that_forgot_what_is_gone() -> None:
    world = World(durable=20)
    world.run_until_idle()
    world.head_end.acked_seq = 8
    world.journal.outbox_seq = 15
    world.journal.durable_seq = 21
    world.run_until_idle()
    equal(world.head_end.hellos, [(1, 21), (15, 22)])
    equal(world.head_end.batches[-1], (15, 7))


def test_head_end_that_stores_nothing_is_not_pestered() -> None:
    world = World(durable=5)
    world.step()
    world.head_end.acked_seq = 0
    taken = world.head_end._batch

    def refuse(first: int, count: int) -> None:
        taken(first, count)
        world.head_end.acked_seq = 0
        world.head_end.answer = world.head_end.seal(link.ACK)

    world.head_end._batch = refuse  # type: ignore[method-assign]  # a head-end out of order
    outcomes = world.run(1000)
    check(session.AWAY in outcomes)
    check(len(world.head_end.batches) < 10, len(world.head_end.batches))
    equal(world.session.acked_seq, 0)


def test_head_end_that_knows_too_much() -> None:
    world = World(durable=5)
    world.head_end.acked_seq = 500
    outcomes = world.run(300)
    check(session.AHEAD in outcomes)
    equal(world.head_end.batches, [])
    equal(world.session.acked_seq, 0)
    equal(world.session.known_seq, 500)


def test_head_end_with_other_records_of_the_same_numbers() -> None:
    """A board began with an old copy of another's flash, and went on for longer."""
    world = World(durable=5)
    world.run_until_idle()
    equal(world.session.known_seq, 5)
    world.journal.durable_seq = 9
    world.restart()
    taken = world.head_end._batch

    def differs(first: int, count: int) -> None:
        taken(first, count)
        world.head_end.acked_seq = 5
        refusal = b"\x05\0\0\0" + pack("<II", 5, 0)
        world.head_end.answer = world.head_end.framed(link.REFUSED, refusal)

    world.head_end._batch = differs  # type: ignore[method-assign]  # it has others
    check(session.AHEAD in world.run(100))
    check((5, 5) in world.head_end.batches, world.head_end.batches)
    equal((world.session.acked_seq, world.session.known_seq), (5, 5))
    equal(world.session.reason, 5)


def test_what_is_there_is_shown_though_nothing_is_new() -> None:
    """Only in this way can a head-end with as many other records of the same numbers report it."""
    world = World(durable=5)
    world.run_until_idle()
    world.restart()
    equal(world.session.known_seq, -1)
    world.run_until_idle()
    equal(world.head_end.batches, [(1, 5), (5, 1)])
    equal(world.session.known_seq, 5)
    world.journal.outbox_seq = 6
    world.restart()
    world.run_until_idle()
    equal(world.head_end.batches, [(1, 5), (5, 1)], "these are not for the head-end")
    equal(world.session.known_seq, 5)


def test_standings_are_asked_for_by_any_answer() -> None:
    world = World(durable=5)
    for wants in (1, 0, 1):
        world.head_end.wants = wants
        world.journal.durable_seq += 1
        world.run_until_idle()
        equal(world.session.wanted, wants == 1)


def test_unreadable_records_become_a_gap() -> None:
    world = World(durable=60)
    world.journal.lost = {1, 2, 10}
    world.journal.lost.update(range(20, 55))
    world.run_until_idle()
    equal(world.head_end.gaps, world.journal.lost)
    equal(world.head_end.hellos, [(1, 61)], "no greeting for a gap")
    world.journal.lost = set(range(61, 80))
    world.journal.durable_seq = 79
    world.run_until_idle()
    equal(world.head_end.acked_seq, 79)


def test_a_flash_that_does_not_answer_is_asked_again() -> None:
    world = World(durable=30)
    world.step()
    world.journal.silent = True
    world.run(100)
    equal((world.head_end.batches, world.session.acked_seq), ([], 0))
    check(0 < world.journal.refusals < 8, world.journal.refusals)
    world.journal.silent = False
    world.run_until_idle()
    equal((world.head_end.acked_seq, world.head_end.gaps), (30, set()))


def test_groups_go_whole_wherever_the_head_end_stands() -> None:
    """Records that it has already come again with the rest of their group."""
    for group_size in (1, 3, 7, 20):
        world = World(durable=60)
        world.journal.group_size = group_size
        world.head_end.acked_seq = 25
        world.run_until_idle()
        equal(world.head_end.acked_seq, 60)
        first = world.head_end.batches[0][0]
        check(25 - group_size < first <= 26, first)


def test_batches_full_of_escapes_fit() -> None:
    world = World(durable=40)
    world.journal.escapes = True
    world.run_until_idle()
    equal(sum(count for _, count in world.head_end.batches), 40)
    world = World(durable=40)
    world.journal.escapes = True
    world.journal.group_size = 8
    world.run_until_idle()
    equal(world.head_end.acked_seq, 40)


def test_garbage_between_answers() -> None:
    world = World(durable=50)
    state = 3
    junk = bytearray(40)
    for _ in range(300):
        for index in range(len(junk)):
            state = (state * 1103 + 12345) & 0xFFFFFF
            junk[index] = state >> 9 & 0xFF
        world.session.feed(junk, len(junk))
        world.step()
    equal(world.session.acked_seq, 50)


def test_small_body_is_refused() -> None:
    refused = False
    try:
        Session(Journal(), Envelope(KEY, CONCENTRATOR, JOURNAL, 1), lambda: 0, bytearray(610))
    except ValueError:
        refused = True
    check(refused)


def test_idle_polling_does_not_allocate() -> None:
    world = World(durable=3)
    world.run_until_idle()
    one, junk = world.session, b"\x7e junk junk"
    size = len(junk)
    now_ticks = world.now_ticks
    with heap_locked():
        outcome = one.poll(now_ticks)
        one.feed(junk, size)
        again = one.poll(now_ticks)
        world.journal.durable_seq = 4
        gathering = one.poll(now_ticks)
    equal((outcome, again, gathering), (session.IDLE, session.IDLE, session.BUSY))


def test_a_forged_last_epoch_stops_nothing_but_the_uplink() -> None:
    """Whoever has the key may have used the last epoch there is; the board has to go on."""
    world = World(durable=5)
    world.head_end.last = (0xFFFFFFFF, 1)
    for _ in range(300):
        world.step()
    equal(world.session.reason, 4)
    equal(world.session.acked_seq, 0)
