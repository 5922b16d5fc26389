"""Goal: the tasks of a line ask the right meter the right thing at its speed, and a round of
readings allocates nothing.

Method: the poller has books that only note their calls, and a line with meters that answer between
two steps; while a step runs, the heap can be locked.
"""

from concentrator.books.registry import RELAY_LOOK, Registry
from concentrator.line.poller import Poller
from dlt645 import codes, master
from dlt645.clock import encode_into
from dlt645.frame import Receiver
from dlt645_line import reply
from harness import check, equal, heap_locked
from prepay.policy import Policy
from ticks import TICKS_MASK
from uplink import record

# It is Friday 2026-01-02 10:20, far from midnight and from a whole hour.
NOW = 820540800 + 37200
DAY_S = 86400


class Meter:
    """This meter answers reads of both kinds by its standard, and takes relay commands."""

    def __init__(self, number: int, standard: int = 2007, baud: int = 2400) -> None:
        self.address = bytes((number, 0, 0, 0, 0, 0))
        self.standard = standard
        self.baud = baud
        self.ahead_s = 0
        self.status = 0
        self.written = b""
        self.tells_relay = True

    def answer(self, control: int, data: bytes, t2000: int) -> "tuple[int, bytes] | None":
        """Return control and data of the reply; None means silence."""
        is_old = self.standard == 1997
        if control == codes.BROADCAST_TIME:
            self.ahead_s = 0 if -300 <= self.ahead_s <= 300 else self.ahead_s
            return None
        if control == codes.WRITE_1997 and is_old:
            self.written += data
            self.status = 1 if data[6:] == b"\x55\x33" else 0
            return 0x84, b""
        if control == codes.RELAY and not is_old:
            self.written += data
            if self._is_over(data[10:], t2000):
                return 0xDC, b"\1"
            self.status = 0x50
            return 0x9C, b""
        if control != (codes.READ_1997 if is_old else codes.READ):
            return None
        value = self._value(data, t2000)
        if not value:
            return control | 0xC0, b"\2"
        return control | 0x80, data + value

    def _is_over(self, expiry: bytes, t2000: int) -> bool:
        """Return whether that time is past by the clock of the meter."""
        moment = bytearray(6)
        encode_into(moment, 0, max(0, t2000) + self.ahead_s)
        never = expiry == bytes(6) or t2000 < 0
        return not never and list(reversed(expiry)) < list(reversed(moment))

    def _value(self, data: bytes, t2000: int) -> bytes:
        if data in (b"\x00\x00\x01\x00", b"\x10\x90"):
            return bytes(4)
        if data in (b"\x00\xff\x01\x00", b"\x1f\x90"):
            return b"\x78\x56\x34\x12" * 5 + (b"\xaa" if self.standard == 1997 else b"")
        if data == b"\x03\x05\x00\x04":
            return bytes((self.status & 0xFF, self.status >> 8))
        if data == b"\x29\xc0" and self.tells_relay:
            return bytes((self.status,))
        if t2000 < 0:
            return b""
        moment = bytearray(6)
        encode_into(moment, 0, t2000 + self.ahead_s)
        if data in (b"\x01\x01\x00\x04", b"\x10\xc0"):
            return b"\5" + bytes(moment[3:])
        return bytes(moment[:3]) if data in (b"\x02\x01\x00\x04", b"\x11\xc0") else b""


class Wire:
    """On this line a written request waits until `answer` is called, outside a step."""

    def __init__(self, meters: "list[Meter]") -> None:
        self.connection = 1
        self.waiting = 0
        self.baud = 2400
        self.meters = meters
        self.asked: list[tuple[int, int, bytes]] = []
        self._size = 0
        self._buf = bytearray(256)
        self._reply = b""
        self._receiver = Receiver()

    def read_into(self, buf: bytearray) -> int:
        """Read the whole reply."""
        for index in range(self.waiting):
            buf[index] = self._reply[index]
        size = self.waiting
        self.waiting = 0
        return size

    def write(self, buf: memoryview) -> int:
        """Take a request."""
        for index in range(len(buf)):
            self._buf[index] = buf[index]
        self._size = len(buf)
        return self._size

    def set_baud(self, baud: int) -> None:
        """Set another speed."""
        self.baud = baud

    def close(self) -> None:
        """Do nothing, since no test closes it."""

    def answer(self, t2000: int) -> None:
        """Give the meters the written request."""
        if not self._size:
            return
        receiver = self._receiver
        receiver.feed(self._buf, self._size)
        self._size = 0
        address, control = bytes(receiver.address), receiver.control
        data = bytes(receiver.data[: receiver.data_size])
        receiver.release()
        self.asked.append((address[0], control, data))
        for meter in self.meters:
            if meter.baud == self.baud and address in (meter.address, b"\x99" * 6):
                answer = meter.answer(control, data, t2000)
                if answer is not None:
                    self._reply = reply(meter.address, answer[0], answer[1])
                    self.waiting = len(self._reply)


class Books:
    """These are the books as far as the tasks need them; they note their calls."""

    def __init__(self, count: int) -> None:
        self.registry = Registry(count)
        self.policy = Policy()
        self.t2000 = NOW
        self.readings = 0
        self.statuses: list[int] = []
        self.lines: list[tuple[int, int, int]] = []
        self.items: list[tuple[int, int]] = []
        self.relays: list[tuple[int, int]] = []

    def set_meter(self, index: int, row: bytearray) -> bool:
        """Note a METER record."""
        self.registry.set_row(index, row, 0)
        return True

    def dividing_t2000(self, index: int) -> int:
        """Return that no price changes."""
        return 0

    def charge_reading(self, index: int, values: object, count: int, status: int) -> int:
        """Note a reading."""
        self.readings += 1
        return 0

    def charge_freeze(self, index: int, t2000: int, values: object, count: int) -> None:
        """Do nothing: no meter here has a freeze."""

    def note_line(self, index: int, state: int, failures: int, ahead_s: int = 0) -> None:
        """Note a LINE record."""
        self.lines.append((index, state, ahead_s))

    def note_item(self, index: int, identifier: int, values: object, count: int) -> None:
        """Note an ITEM record."""
        self.items.append((index, identifier))

    def alarms(self, index: int) -> bool:
        """Report that no money has run out."""
        return False

    def relay_done(self, index: int, stage: int, status: int) -> None:
        """Note a RELAY record."""
        self.relays.append((stage, status))
        self.registry.set_relay(index, 0)


class Clocks:
    """This is the timekeeper as far as the line needs it; `heard` are the meters' clocks."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.rounds = 0

    def hear(self, t2000: int, now_ticks: int) -> None:
        """Note a meter's clock."""
        self.heard.append(t2000)

    def end_round(self, line: int, now_ticks: int) -> None:
        """Note that all meters were asked."""
        self.rounds += 1


class Bench:
    """The poller's meters are all registered with `standard`; ticks begin near their wrap."""

    def __init__(self, meters: "list[Meter]", standard: int) -> None:
        self.books = Books(len(meters))
        self.wire = Wire(meters)
        self.clocks = Clocks()
        self.poller = Poller(0, self.wire, self.books, self.clocks)  # type: ignore[arg-type]  # parts of them
        self.ticks = TICKS_MASK - 500
        self.meters_t2000 = -1  # used while the concentrator's time is unknown
        for index in range(len(meters)):
            row = bytearray(meters[index].address) + bytes(6) + bytes((1, 0, standard, 1, 0))
            self.books.set_meter(index, row)
            self.books.registry.freeze_day[index] = NOW // DAY_S

    def turn(self) -> int:
        """Run one step; the meters answer it 5 ms later."""
        idle_ms = self.poller.step(self.ticks)
        t2000 = self.books.t2000
        self.wire.answer(self.meters_t2000 if t2000 < 0 else t2000)
        self.ticks = (self.ticks + 5) & TICKS_MASK
        return idle_ms

    def rest(self, limit: int = 20000) -> None:
        """Step until nothing is to be done."""
        while self.turn() < 5000:
            limit -= 1
            check(limit, "it never rests")


def test_a_round_allocates_nothing() -> None:
    bench = Bench([Meter(number) for number in (1, 2, 3)], record.STANDARD_2007)
    bench.rest()
    equal(bench.books.readings, 3)
    bench.books.t2000 += 900 + 2400  # The hour begins, when only readings are due.
    poller = bench.poller
    while bench.books.readings < 6:
        with heap_locked():
            poller.step(bench.ticks)
        bench.wire.answer(bench.books.t2000)
        bench.ticks = (bench.ticks + 5) & TICKS_MASK


def test_standard_and_speed_are_found() -> None:
    kinds = ((2007, 2400), (1997, 1200), (2007, 115200), (1997, 9600), (1997, 9600))
    meters = [Meter(number, *kinds[number]) for number in range(len(kinds))]
    bench = Bench(meters, record.STANDARD_AUTO)
    bench.rest()
    registry = bench.books.registry
    rows = [registry.row(index) for index in range(len(kinds))]
    equal([row[14] for row in rows], [0, 1, 0, 1, 1])
    equal([row[16] for row in rows], [0, 1, 8, 2, 2])
    equal(registry.unknown, 0)
    check(bench.books.readings >= len(kinds))
    equal(bench.poller.identify.found, len(kinds))
    # The last of them has the speed of the one before.
    probes = [data for number, control, data in bench.wire.asked if number == 4]
    equal(probes[:3], [b"\0\0\1\0", b"\x10\x90", b"\x1f\x90"])


def test_nobody_there_is_left_alone() -> None:
    bench = Bench([], record.STANDARD_AUTO)
    bench.rest()
    bench = Bench([Meter(1)], record.STANDARD_AUTO)
    bench.wire.meters = []
    bench.rest()
    equal(bench.books.registry.unknown, 1)
    equal(bench.books.registry.misses(0), 1)
    asked = len(bench.wire.asked)
    bench.rest()
    equal(len(bench.wire.asked), asked)


def test_a_meter_that_is_never_found_is_told_as_silent() -> None:
    bench = Bench([Meter(1)], record.STANDARD_AUTO)
    bench.wire.meters = []
    for _ in range(6):
        bench.rest()
        bench.books.t2000 += 900
    check(bench.books.registry.misses(0) >= 3)
    equal(bench.books.lines, [(0, record.LINE_SILENT, 0)])


def test_while_the_time_is_not_known_all_meters_are_asked_for_it_and_nothing_else() -> None:
    """A silent meter is asked as well: the others may have no clock."""
    for standard, number in ((2007, 0), (1997, 1)):
        meters = [Meter(at, standard) for at in (1, 2, 3)]
        bench = Bench(meters, number)
        bench.books.t2000 = -1
        bench.meters_t2000 = NOW
        meters[1].ahead_s = 40
        bench.wire.meters = meters[:2]
        bench.rest()
        equal((sorted(bench.clocks.heard), bench.clocks.rounds), ([NOW, NOW + 40], 1))
        equal(bench.books.readings, 0)
        bench.wire.meters = meters
        asked = len(bench.wire.asked)
        bench.ticks = (bench.ticks + 50000) & TICKS_MASK
        bench.rest()
        equal(len(bench.wire.asked), asked, "not yet again")
        bench.ticks = (bench.ticks + 10000) & TICKS_MASK
        bench.rest()
        equal((len(bench.clocks.heard), bench.clocks.rounds), (5, 2))
        bench.books.t2000 = NOW
        bench.rest()
        equal(bench.books.readings, 3)


def test_a_meter_that_was_never_found_tells_the_time_as_well() -> None:
    """Without a clock the meter is searched for first, else neither would ever be known."""
    meters = [Meter(number, *kind) for number, kind in enumerate(((2007, 9600), (1997, 1200)))]
    bench = Bench(meters, record.STANDARD_AUTO)
    bench.books.t2000 = -1
    bench.meters_t2000 = NOW
    bench.wire.meters = []
    bench.rest()
    asked = len(bench.wire.asked)
    bench.ticks = (bench.ticks + 5000) & TICKS_MASK
    bench.rest()
    equal(len(bench.wire.asked), asked, "not yet again")
    equal((bench.books.registry.unknown, bench.clocks.rounds), (2, 1))
    bench.wire.meters = meters
    for _ in range(4):
        bench.ticks = (bench.ticks + 10000) & TICKS_MASK
        bench.rest()
    equal(bench.books.registry.unknown, 0)
    bench.ticks = (bench.ticks + 60000) & TICKS_MASK
    bench.rest()
    equal((bench.clocks.heard, bench.books.readings), ([NOW, NOW], 0))
    bench.books.t2000 = NOW
    bench.rest()
    check(bench.books.readings >= 2)


def relay(bench: Bench, desired: int) -> "list[tuple[int, int]]":
    """Order a relay and return the result."""
    bench.books.registry.set_relay(0, RELAY_LOOK | desired)
    bench.rest()
    return bench.books.relays


def test_a_relay_of_each_standard() -> None:
    for standard, number in ((2007, 0), (1997, 1)):
        meter = Meter(1, standard)
        bench = Bench([meter], number)
        bench.poller.relays.old_relays = True
        equal(relay(bench, 0x10), [(record.STAGE_CONFIRMED, 0x50)])
        equal(len(meter.written), 16 if standard == 2007 else 8)


def test_a_line_that_is_held_rests_between_two_transactions() -> None:
    """The next question of a relay waits, and is asked; no answer is taken twice."""
    meter = Meter(1)
    bench = Bench([meter], record.STANDARD_2007)
    bench.books.registry.set_relay(0, RELAY_LOOK | 0x10)
    for _ in range(300):
        poller = bench.poller
        poller.is_held = True
        while poller.is_busy:
            bench.turn()
        asked = len(bench.wire.asked)
        for _ in range(3):
            bench.turn()
        equal(len(bench.wire.asked), asked)
        check(not poller.is_busy)
        poller.is_held = False
        bench.turn()
    equal(bench.books.relays, [(record.STAGE_CONFIRMED, 0x50)])


def test_a_relay_command_holds_for_an_hour() -> None:
    """A command that took longer than an hour does nothing; without a clock it always holds."""
    for t2000, seconds in ((NOW, 3600), (-1, 0)):
        meter = Meter(1)
        bench = Bench([meter], record.STANDARD_2007)
        bench.books.t2000 = t2000
        equal(relay(bench, 0x10), [(record.STAGE_CONFIRMED, 0x50)])
        expiry = bytearray(6)
        if seconds:
            encode_into(expiry, 0, t2000 + seconds)
        equal(meter.written[10:], bytes(expiry))


def test_a_relay_whose_meter_has_a_clock_ahead_is_switched() -> None:
    """The meter is ahead by hours, as after a wrong clock of the concentrator, or by years."""
    for ahead_s, commands in ((0, 1), (5 * 3600, 2), (3 * 31536000, 3)):
        meter = Meter(1)
        meter.ahead_s = ahead_s
        bench = Bench([meter], record.STANDARD_2007)
        equal(relay(bench, 0x10), [(record.STAGE_CONFIRMED, 0x50)], ahead_s)
        equal(len(meter.written), 16 * commands, ahead_s)


def test_a_relay_that_cannot_be_confirmed_is_sent_once() -> None:
    meter = Meter(1, 1997)
    meter.tells_relay = False
    bench = Bench([meter], record.STANDARD_1997)
    bench.poller.relays.old_relays = True
    equal(relay(bench, 0x10), [(record.STAGE_FAILED, 0xFFFF)])
    equal(len(meter.written), 8)
    bench.poller.relays.old_relays = False
    equal(relay(bench, 0)[-1], (record.STAGE_FAILED, 0xFFFF))
    equal(len(meter.written), 8, "not set, not sent")


def test_a_guarded_relay_is_not_sent_a_trip() -> None:
    meter = Meter(1)
    meter.status = codes.STATUS_GUARD
    bench = Bench([meter], record.STANDARD_2007)
    equal(relay(bench, 0x10), [(record.STAGE_FAILED, codes.STATUS_GUARD)])
    equal(meter.written, b"")


def test_clocks_are_set_and_looked_at_again() -> None:
    meters = [Meter(number, 1997 if number > 2 else 2007) for number in range(5)]
    bench = Bench(meters, record.STANDARD_AUTO)
    meters[1].ahead_s = 100
    meters[4].ahead_s = -3600
    bench.rest()
    equal([meter.ahead_s for meter in meters], [0, 0, 0, 0, -3600])
    sets = [1 for _, control, _ in bench.wire.asked if control == codes.BROADCAST_TIME]
    equal(len(sets), 1)
    equal(bench.books.lines, [(4, record.LINE_CLOCK, -3600)])
    bench.books.t2000 += 900
    bench.rest()
    equal(len(bench.books.lines), 1, "once a day")


def test_a_majority_against_us_sets_nothing() -> None:
    meters = [Meter(number) for number in range(3)]
    meters[0].ahead_s = meters[1].ahead_s = 60
    bench = Bench(meters, record.STANDARD_2007)
    bench.rest()
    equal(bench.poller.daily.sets, 0)
    equal(sorted(bench.books.lines), [(0, 3, 60), (1, 3, 60)])


def test_a_technician_leaves_every_other_turn() -> None:
    bench = Bench([Meter(number) for number in range(1, 9)], record.STANDARD_2007)
    exchange = bench.poller.exchange
    for _ in range(2000):
        if bench.books.readings == 8:
            break
        exchange.put(bytearray((1, 0, 0, 0, 0, 0)), codes.READ, b"\0\0\1\0")
        bench.turn()
    asked = [data for _, _, data in bench.wire.asked]
    equal(bench.books.readings, 8)
    check(asked.count(b"\0\0\1\0") in (7, 8, 9), asked.count(b"\0\0\1\0"))
    equal(exchange.outcome, master.OK)


def test_a_technician_is_told_why_a_meter_refuses() -> None:
    bench = Bench([Meter(1)], record.STANDARD_2007)
    bench.rest()
    exchange = bench.poller.exchange
    address = bytearray((1, 0, 0, 0, 0, 0))
    check(exchange.put(address, codes.READ, b"\x04\x03\x02\x01"))
    bench.rest()
    equal((exchange.outcome, exchange.error), (master.ABNORMAL, 2))
    check(exchange.put(address, codes.READ, b"\0\0\1\0"))
    bench.rest()
    equal(exchange.outcome, master.OK)


class NarrowWire(Wire):
    """This port takes four bytes at a time."""

    def write(self, buf: memoryview) -> int:
        """Take as many bytes as fit."""
        taken = min(4, len(buf))
        for index in range(taken):
            self._buf[self._size + index] = buf[index]
        self._size += taken
        return taken

    def answer(self, t2000: int) -> None:
        """Hear a request when it has its full size."""
        start = 0
        while start < self._size and self._buf[start] != 0x68:
            start += 1
        if start + 9 < self._size and self._size >= start + 12 + self._buf[start + 9]:
            super().answer(t2000)


def test_a_port_that_takes_a_request_in_pieces_gets_each_byte_once() -> None:
    bench = Bench([Meter(1), Meter(2)], record.STANDARD_2007)
    wide = bench.wire
    wire = NarrowWire(wide.meters)
    bench.wire = wire
    bench.poller = Poller(0, wire, bench.books, bench.clocks)  # type: ignore[arg-type]  # parts of them
    bench.rest()
    equal(bench.books.readings, 2)
    equal(dict(bench.poller.counts())["meters fell silent"], 0)
    for _, control, data in wire.asked:
        check(control in (codes.READ, codes.BROADCAST_TIME), (control, data))
