"""Goal: the watchdog is fed in time as long as every task goes on, however long a checkpoint
takes, and is fed no more when any one of them is stuck; lamps, buzzer and button do what
docs/HARDWARE.md says.

Method: the real application on a board in memory, driven as on any board; then one task after the
other is broken on purpose, and mended.
"""

from card import carrier as port
from card import codes
from concentrator import lamps
from concentrator.run import BEAT, HEALTHY_S, IDLE_LIMIT_MS, STUCK_MS, Runner
from concentrator_world import INTERVAL_S, Bench
from dlt645 import master as line
from harness import check, equal
from uplink import link
from uplink import session as up
from uplink.record import LINE_ANSWERS

# This is the value in board.json: the shortest time that any board's watchdog waits.
WATCHDOG_MS = 8000


class Board:
    """This is the part of a bench's board that is driven; `shown` is what the lamps show."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.pressed = False
        self.shown = 0

    def look(self) -> None:
        self.bench.look()

    def now_ticks(self) -> int:
        return self.bench.ticks

    def now_t2000(self) -> int:
        return self.bench.t2000

    def calm(self) -> None:
        """Have no line whose direction changes."""

    def feed(self) -> None:
        self.bench.feed()

    def signal(self, signals: int) -> None:
        self.shown = signals


class Uplink:
    """This connection to a head-end takes everything and brings nothing."""

    def __init__(self) -> None:
        self.connection = 1
        self.waiting = 0
        self.takes = True
        self.closed = 0

    def read_into(self, buf: bytearray) -> int:
        return 0

    def write(self, buf: memoryview) -> int:
        return len(buf) if self.takes else 0

    def close(self) -> None:
        self.closed += 1
        self.connection += 1


class Drive:
    """A Runner drives this bench."""

    def __init__(self, meters: int = 1, carrier: "StuckReader | None" = None) -> None:
        self.uplink = Uplink()
        self.bench = bench = Bench(meters, self.uplink, carrier)
        for name, value in (("id", "7"), ("uplink_key", "5a" * 32)):
            equal(bench.app.settings.change(name, value), "")
        bench.app.configure()
        self.board = Board(bench)
        self.reports: list[int] = []
        self.runner = Runner(bench.app, self.board, lambda: self.reports.append(self.bench.now_ms))
        bench.fed_ms = bench.now_ms

    def turn(self, pause_ms: int = 0) -> None:
        idle_ms = self.runner.turn()
        check(idle_ms <= IDLE_LIMIT_MS)
        self.bench.now_ms += max(1, pause_ms if idle_ms == IDLE_LIMIT_MS else idle_ms)

    def live(self, duration_s: int, pause_ms: int = 500) -> int:
        """Let time pass; return the longest time that the watchdog had to wait."""
        bench = self.bench
        bench.longest_ms = 0
        end_ms = bench.now_ms + 1000 * duration_s
        while bench.now_ms < end_ms:
            self.turn(pause_ms)
        return max(bench.longest_ms, bench.now_ms - bench.fed_ms)

    def ask(self) -> None:
        """Run until a meter has been asked and its answer is not there yet."""
        bench = self.bench
        bench.now_ms += 1000 * (INTERVAL_S - bench.now_ms // 1000 % INTERVAL_S)
        bench.fed_ms = bench.now_ms
        bench.app.wake()
        while not bench.app.pollers[0].master.busy:
            self.turn()


def put(thing: object, name: str, function: object) -> None:
    """Replace a method of a part of the device."""
    setattr(thing, name, function)


def starves(drive: Drive) -> None:
    """Check that the watchdog is fed at first, for a task may take its time, and then no more."""
    equal(drive.live(STUCK_MS // 1000 - 5) <= WATCHDOG_MS, True, "too early")
    check(drive.live(WATCHDOG_MS // 1000 + 7) > WATCHDOG_MS, "fed")
    equal(drive.runner.content_s, 0)


def recovers(drive: Drive) -> None:
    """Check that a task that works again counts as working."""
    drive.live(5)
    check(drive.live(10) <= WATCHDOG_MS)
    check(drive.runner.content_s > 5)


def test_hours_of_reading_and_rest_feed_in_time() -> None:
    drive = Drive(3)
    drive.bench.meters[1].silent = True
    check(drive.live(2 * INTERVAL_S + 60) < 2000)
    check(drive.bench.app.books.readings > 3)
    check(drive.runner.content_s > INTERVAL_S)


def test_a_product_that_works_reports_once() -> None:
    drive = Drive()
    drive.live(HEALTHY_S - 5)
    equal(drive.reports, [])
    drive.live(10)
    equal(len(drive.reports), 1)
    drive.live(3 * HEALTHY_S)
    equal(len(drive.reports), 1)


def test_one_that_never_gets_going_does_not_report() -> None:
    drive = Drive()
    app = drive.bench.app
    moves = app.moves
    put(app, "moves", lambda task: 7 if task == 0 else moves(task))
    drive.live(4 * HEALTHY_S)
    equal(drive.reports, [])
    put(app, "moves", moves)
    drive.live(HEALTHY_S + 10)
    equal(len(drive.reports), 1)


def test_a_clock_that_is_not_set_feeds_in_time() -> None:
    drive = Drive()
    drive.bench.meters[0].ahead_s = None
    drive.bench.moved_s = None
    check(drive.live(200) < 2000)
    equal(drive.bench.t2000, -1)


def test_cards_feed_in_time() -> None:
    drive = Drive()
    drive.live(INTERVAL_S + 30)
    bench = drive.bench
    for order in (1, 2, 3):
        bench.console.card = bench.card(order, 100)
        bench.console.say(link.CARD_PRESENT, order, b"12345678\x00\x01", bench.now_ms)
        check(drive.live(8, 20) < 2000)
        bench.console.say(link.CARD_GONE, order, b"", bench.now_ms)
        check(drive.live(90) < 2000)


def test_a_slow_flash_is_no_reason_to_starve() -> None:
    drive = Drive()
    drive.live(INTERVAL_S + 30)
    bench = drive.bench
    write = bench.storage.put
    spent_ms = [0]

    def slow(buf: bytearray, size: int) -> bool:
        bench.now_ms += 400
        spent_ms[0] += 400
        return write(buf, size)

    put(bench.storage, "put", slow)
    check(bench.app.keeper.begin())
    check(drive.live(60) < 2000)
    check(spent_ms[0] > WATCHDOG_MS, "a checkpoint that takes long")
    check(bench.app.checkpoint.seq > 0)


def test_a_long_recovery_is_no_reason_to_starve() -> None:
    drive = Drive()
    bench = drive.bench
    drive.live(INTERVAL_S + 30)
    for _ in range(1500):
        bench.app.books.note_line(0, 0, 0)
    bench.app.journal.sync()
    read_into = bench.storage.read_into
    began_ms = bench.now_ms

    def slow(name: str, offset: int, buf: bytearray, size: int) -> int:
        bench.now_ms += 800
        return read_into(name, offset, buf, size)

    put(bench.storage, "read_into", slow)
    bench.fed_ms = bench.now_ms
    bench.longest_ms = 0
    bench.start()
    check(bench.now_ms - began_ms > WATCHDOG_MS, "a start that takes long")
    bench.feed()
    check(bench.longest_ms < WATCHDOG_MS)


def test_a_line_that_waits_for_ever_starves_the_watchdog() -> None:
    drive = Drive()
    drive.ask()
    master = drive.bench.app.pollers[0].master
    poll = master.poll
    put(master, "poll", lambda now_ticks: line.BUSY)
    starves(drive)
    put(master, "poll", poll)
    recovers(drive)


def test_a_line_that_is_never_served_starves_the_watchdog() -> None:
    drive = Drive()
    put(drive.bench.app.pollers[0], "step", lambda now_ticks: 30000)
    starves(drive)


def test_a_line_that_takes_no_request_is_no_reason_to_restart() -> None:
    """The line may be a connection that is down; unsent requests are given up and counted."""
    drive = Drive()
    put(drive.bench.lines[0], "write", lambda buf: 0)
    drive.ask()
    check(drive.live(150) < 2000)


def test_an_uplink_that_is_never_served_starves_the_watchdog() -> None:
    drive = Drive()
    put(drive.bench.app.uplink, "step", lambda now_ticks: 30000)
    starves(drive)


def test_an_uplink_that_waits_for_ever_starves_the_watchdog() -> None:
    drive = Drive()
    session = drive.bench.app.uplink.session
    poll = session.poll
    put(session, "poll", lambda now_ticks: up.BUSY)
    starves(drive)
    put(session, "poll", poll)
    recovers(drive)


def test_a_connection_that_takes_nothing_is_given_up() -> None:
    drive = Drive()
    drive.uplink.takes = False
    check(drive.live(200) < 2000)
    check(drive.uplink.closed >= 3)
    # A connection that was never there is no reason to restart either.
    drive.uplink.connection = 0
    check(drive.live(200) < 2000)


def test_a_console_that_is_never_served_starves_the_watchdog() -> None:
    drive = Drive()
    app = drive.bench.app
    put(app, "_serve_console", lambda now_ticks, now_t2000: 30000)
    starves(drive)


def test_a_card_that_is_never_done_starves_the_watchdog() -> None:
    drive = Drive()
    bench = drive.bench
    carrier = bench.app.console.carrier
    put(carrier, "poll", lambda now_ticks: port.BUSY)
    bench.console.say(link.CARD_PRESENT, 1, b"12345678\x00\x01", bench.now_ms)
    drive.live(1, 20)
    check(bench.app.redemption.busy)
    starves(drive)


def test_a_journal_that_is_never_kept_starves_the_watchdog() -> None:
    drive = Drive()
    put(drive.bench.app.keeper, "step", lambda now_ticks, acked_seq, lines_busy: 30000)
    starves(drive)


def test_a_flash_that_fails_is_no_reason_to_restart() -> None:
    drive = Drive()
    drive.bench.storage.failing = "j"
    drive.bench.app.books.note_line(0, 0, 0)
    check(drive.live(150) < 2000)


class StuckReader:
    """This card reader has a card in it and never answers."""

    def __init__(self) -> None:
        self.present = 1
        self.uid = bytearray(8)
        self.size = 256
        self.data = bytearray(224)
        self.outcome = port.BUSY

    def start_read(self, offset: int, size: int) -> None:
        """Start a read that never ends."""

    def poll(self, now_ticks: int) -> int:
        return self.outcome

    def step(self, now_ticks: int) -> None:
        """Do nothing."""

    def show(self, code: int, credited: bool, index: int) -> None:
        """Ignore the signals."""


def test_a_reader_of_the_boards_own_that_is_stuck_starves_the_watchdog() -> None:
    carrier = StuckReader()
    drive = Drive(carrier=carrier)
    starves(drive)
    carrier.outcome = port.FAILED
    recovers(drive)


# --- lamps, buzzer, button -----------------------------------------------------------------------


def test_lamps() -> None:
    drive = Drive(2)
    bench = drive.bench
    app = bench.app

    def shown() -> int:
        # A step may announce that nothing is due for half a minute.
        drive.live(35)
        return drive.board.shown & ~BEAT

    drive.live(INTERVAL_S + 30)
    equal(shown(), 0)
    app.uplink.session.state = up.READY
    app.uplink.session.acked_seq = app.journal.durable_seq
    equal(shown(), lamps.REACHED)
    for meter in bench.meters:
        meter.ahead_s = None
    bench.moved_s, moved_s = None, bench.moved_s
    equal(shown(), lamps.LOOK | lamps.REACHED)
    bench.moved_s = moved_s
    bench.meters[1].silent = True
    drive.live(5 * INTERVAL_S)
    equal(shown() & lamps.LOOK, lamps.LOOK, "a meter is silent")
    bench.meters[1].silent = False
    drive.live(5 * INTERVAL_S)
    equal(shown() & lamps.LOOK, 0)
    app.ledger.stop(1)
    equal(shown() & lamps.LOOK, lamps.LOOK, "an account is not billed")
    app.ledger.resume(1)
    equal(shown() & (lamps.LOOK | lamps.CUT), 0)
    check(app.ledger.top_up(0, 1, 10000))
    check(app.books.order_supply(0, True))
    equal(shown() & lamps.CUT, lamps.CUT)
    check(app.books.order_supply(0, False))
    drive.live(30)
    equal(shown() & lamps.CUT, 0)
    bench.storage.full = True
    app.journal.measure()
    equal(shown() & lamps.LOOK, lamps.LOOK, "the flash is full")


def test_a_flash_that_fails_lights_a_lamp() -> None:
    drive = Drive()
    drive.live(INTERVAL_S + 30)
    equal(drive.board.shown & lamps.LOOK, 0)
    drive.bench.storage.failing = "j"
    drive.bench.app.books.note_line(0, LINE_ANSWERS, 0)
    drive.live(INTERVAL_S + 30)
    equal(drive.bench.app.journal.failures > 0, True)
    equal(drive.board.shown & lamps.LOOK, lamps.LOOK)


def test_the_first_lamp_beats_as_long_as_all_tasks_go_on() -> None:
    drive = Drive()
    app = drive.bench.app
    changes = 0
    for _ in range(20):
        before = drive.board.shown & BEAT
        drive.live(1, 50)
        changes += before != drive.board.shown & BEAT
    check(16 <= changes <= 20, changes)
    put(app.keeper, "step", lambda now_ticks, acked_seq, lines_busy: 30000)
    drive.live(STUCK_MS // 1000 + 2)
    before = drive.board.shown
    for _ in range(5):
        drive.live(1, 50)
        equal(drive.board.shown & BEAT, before & BEAT)


def test_the_board_beeps_for_a_card_in_a_pcs_reader() -> None:
    bench = Bench()
    bench.read_all()
    equal(bench.insert(bench.card(1, 100)), (codes.OK, 1))
    equal(bench.insert(bench.card(1, 100))[1], 0)
    equal(len(bench.shown), 2)
    equal(bench.shown[0], codes.OK)


def test_a_press_asks_at_once_who_was_left_alone() -> None:
    drive = Drive()
    bench = drive.bench
    meter = bench.meters[0]
    meter.silent = True
    drive.live(6 * INTERVAL_S)
    meter.silent = False
    readings = bench.app.books.readings
    bench.now_ms += 1000 * (INTERVAL_S - bench.now_ms // 1000 % INTERVAL_S)
    drive.live(20)
    equal(bench.app.books.readings, readings, "it is left alone for an hour")
    drive.board.pressed = True
    drive.live(5)
    check(not drive.board.pressed)
    equal(bench.app.books.readings, readings + 1)


def test_a_press_calls_the_head_end_at_once() -> None:
    drive = Drive()
    session = drive.bench.app.uplink.session
    while session.state != up.BACK_OFF:
        drive.turn(200)
    drive.board.pressed = True
    drive.turn()  # it may be one that collects garbage
    drive.turn()
    check(session.state != up.BACK_OFF)
