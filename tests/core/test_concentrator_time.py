"""Goal: a board without a battery has the time again with its first questions, from the best
source there is, and no step of its clock ends a wait, settles twice or skips a settlement.

Method: the whole application with meters, whose clocks stand where the test puts them, and with an
RTC chip and a network that tell times set by the test; restarts and steps of the clock.
"""

from card_world import header, memory
from concentrator.timekeeper import HEAD_END, Timekeeper
from concentrator_world import START_T2000, Bench
from harness import check, equal
from ports import CLOCK_NETWORK, CLOCK_RTC
from prepay import policy as rules
from uplink import record

METERS = 3
HOUR_S = 3600
DAY_S = 86400


def clocks(bench: Bench) -> "list[tuple[int, int, int]]":
    """Return old time, new time and source of each CLOCK record."""
    journal = bench.app.journal
    journal.sync()
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(journal.first_seq, journal.durable_seq + 1):
        if journal.read_into(seq, buf) and record.kind_at(buf, 0) == record.CLOCK:
            old_t2000, new_t2000 = record.clock_at(buf, 0)
            found.append((old_t2000, new_t2000, buf[record.PAYLOAD + 8]))
    return found


def lost(meters: int = 1) -> Bench:
    """Return a concentrator that was switched off and on and has lost the time."""
    bench = Bench(meters)
    bench.insert(bench.card(1, 1000))
    bench.read_all()
    bench.restart()
    bench.moved_s = None
    return bench


def balance_fen(bench: Bench) -> int:
    return bench.app.ledger.balance_fen(0)


def test_after_a_blackout_the_first_questions_bring_the_time() -> None:
    """A household with 9 yuan uses 12 a day, and the clock is lost: it was never cut."""
    bench = lost()
    bench.meters[0].wh[0] += 2000
    bench.run(10)
    equal(bench.t2000, START_T2000 + bench.now_ms // 1000)
    equal([row[2] for row in clocks(bench)], [METERS])
    opened_s = 0
    for quarter in range(96):
        bench.meters[0].wh[0] += 0 if bench.meters[0].open else 250
        bench.run(900)
        if bench.meters[0].open and not opened_s:
            opened_s = 900 * (quarter + 1)
    check(0 < opened_s < DAY_S)
    used_wh = bench.meters[0].wh[0] - 1000
    equal(bench.app.ledger.debit_fen[0], used_wh // 20)
    equal(balance_fen(bench), 1000 - used_wh // 20)


def test_an_rtc_chip_comes_before_all_others_and_is_read_where_the_clock_ran_on() -> None:
    bench = lost()
    now_t2000 = START_T2000 + bench.now_ms // 1000
    bench.told[CLOCK_RTC] = now_t2000 + 100
    bench.step()
    equal(bench.t2000, now_t2000 + 100)
    equal(clocks(bench), [(0, now_t2000 + 100, CLOCK_RTC)])
    bench.restart()
    bench.told[CLOCK_RTC] = now_t2000 + 200
    bench.step()
    equal(bench.t2000 - now_t2000 in (200, 201), True)


def test_a_time_server_corrects_the_drift_of_a_clock_without_a_better_source() -> None:
    bench = lost()
    bench.run(10)
    asked = []

    def ask(source: int) -> int:
        asked.append(source)
        return START_T2000 + bench.now_ms // 1000 + ahead_s if answers else -1

    bench.ask_t2000 = ask  # type: ignore[method-assign]  # a server that answers or not
    answers, ahead_s = False, 0
    bench.moved_s = 30
    bench.run(6 * HOUR_S - 120)
    equal(asked, [])
    # It is asked once a second for a minute, and again after six hours.
    bench.run(200)
    check(50 <= len(asked) <= 80)
    asked.clear()
    answers = True
    bench.run(6 * HOUR_S)
    equal(asked, [CLOCK_NETWORK])
    equal(bench.moved_s, 0)
    equal(clocks(bench)[-1][2], CLOCK_NETWORK)
    # The head-end's time is a better one.
    bench.app.timekeeper.set(bench.t2000 + 40, HEAD_END)
    bench.run(7 * HOUR_S)
    equal(len(asked), 1)


def _check_agreed(ahead: "tuple[int | None, ...]", expected: "int | None") -> None:
    """Check the time that meters with clocks ahead by these times agree on; None: on none."""
    bench = lost(len(ahead))
    for index, seconds in enumerate(ahead):
        bench.meters[index].ahead_s = seconds
    bench.run(30)
    if expected is None:
        equal(bench.t2000, -1, ahead)
    else:
        equal(abs(bench.t2000 - START_T2000 - bench.now_ms // 1000 - expected) <= 1, True, ahead)


def test_most_clocks_of_the_meters_count_and_not_the_loudest() -> None:
    # The clocks are ahead by these; the board's is then ahead by that; None: no meter is believed.
    for ahead, expected in (
        ((0,), 0),
        ((20, 0), 20),
        ((0, 86400), None),
        ((30, 0, -20), 0),
        ((86400, 0, 10, 20), 10),
        ((86400, 86410, 0, 10), None),
        ((5000, 0, 10, 9000), None),
        ((None, None, 7), 7),
        ((None,), None),
        ((-100000000, 3), 3),  # it stands in a year before the product was
    ):
        _check_agreed(ahead, expected)
    bench = lost()
    bench.meters[0].silent = True
    bench.run(300)
    bench.meters[0].silent = False
    bench.run(90)
    check(bench.t2000 > 0, "a meter that was without power is asked again")


class Told:
    """These are books and board of a timekeeper without the rest."""

    t2000 = -1

    def set_clock(self, t2000: int, source: int) -> None:
        """Take a time."""
        self.t2000 = t2000

    def set_t2000(self, t2000: int) -> None:
        """Take a time."""


def test_half_of_the_clocks_are_no_majority() -> None:
    for last_s, expected in ((10, -1), (70000, -1), (20, START_T2000 + 5)):
        told = Told()
        timekeeper = Timekeeper(told, told, 1)  # type: ignore[arg-type]  # it needs no more
        ahead = [86400, 172800, 0, 5, 259200, last_s]
        if expected >= 0:
            ahead[0] = 10
        for seconds in ahead:
            timekeeper.hear(START_T2000 + seconds, 0)
        timekeeper.end_round(0, 0)
        equal(told.t2000, expected, last_s)


def test_a_server_of_the_network_comes_last() -> None:
    bench = lost()
    bench.meters[0].ahead_s = None
    bench.told[CLOCK_NETWORK] = START_T2000 + 5 * DAY_S
    bench.run(10)
    equal([row[2] for row in clocks(bench)], [CLOCK_NETWORK])
    bench = lost()
    bench.told[CLOCK_NETWORK] = START_T2000 + 5 * DAY_S
    bench.run(10)
    equal([row[2] for row in clocks(bench)], [METERS])


def test_the_head_end_s_word() -> None:
    bench = lost()
    bench.meters[0].ahead_s = None
    bench.run(5)
    timekeeper = bench.app.timekeeper
    true_t2000 = START_T2000 + bench.now_ms // 1000
    equal(timekeeper.tell(5), False)
    equal(timekeeper.tell(true_t2000), True)
    equal((bench.t2000, timekeeper.source), (true_t2000, HEAD_END))
    bench.step()
    equal(timekeeper.tell(bench.t2000 + 3), False, "that is no difference")
    bench.step()
    equal(timekeeper.tell(bench.t2000 + DAY_S), True, "it corrects itself")
    # A time of a source before the head-end is corrected only by the drift of a clock.
    bench.app.timekeeper.set(true_t2000, CLOCK_RTC)
    bench.step()
    equal(timekeeper.tell(bench.t2000 + 200), True)
    timekeeper.set(true_t2000, CLOCK_RTC)
    bench.step()
    equal(timekeeper.tell(bench.t2000 + DAY_S), False)


def test_a_card_with_a_validity_waits_for_the_time() -> None:
    bench = lost()
    card = memory(header(2, 5000, 2, valid_until=START_T2000 + 365 * DAY_S))
    equal(bench.insert(card), (0, 1))
    equal(balance_fen(bench), 6000)


def held() -> Bench:
    """Return an account with no money left and a final notice of an hour just given."""
    bench = Bench()
    equal(bench.app.settings.change("notice_minutes", "60"), "")
    bench.app.configure()
    bench.insert(bench.card(1, 100))
    bench.read_all()
    bench.meters[0].wh[0] += 2000
    bench.read_all()
    equal(bench.app.ledger.state[0], rules.HELD)
    return bench


def test_a_step_of_the_clock_ends_no_hold() -> None:
    for step_s, restarted in ((DAY_S, False), (DAY_S, True)):
        bench = held()
        bench.meters[0].ahead_s = step_s
        bench.app.timekeeper.set(bench.t2000 + step_s, 0)
        if restarted:
            check(bench.app.journal.sync())
            bench.restart()
        bench.run(55 * 60)
        equal(bench.app.ledger.state[0], rules.HELD, (step_s, restarted))
        bench.run(10 * 60)
        equal(bench.app.ledger.state[0], rules.CUT, (step_s, restarted))


def test_a_checkpoint_that_knows_of_a_later_hold_does_not_end_it() -> None:
    """Replaying the step over it gave the hold the time of the step."""
    bench = Bench()
    equal(bench.app.settings.change("notice_minutes", "60"), "")
    bench.app.configure()
    bench.insert(bench.card(1, 100))
    bench.read_all()
    bench.app.timekeeper.set(bench.t2000 + DAY_S, 0)
    bench.run(2000)
    bench.meters[0].wh[0] += 2000
    bench.read_all()
    since_t2000 = bench.app.ledger.since_t2000[0]
    journal = bench.app.journal
    journal.sync()
    buf = bytearray(record.RECORD_SIZE)
    for seq in range(journal.first_seq, journal.durable_seq + 1):
        check(journal.read_into(seq, buf))
        bench.app.books.replay(buf)
    equal(bench.app.ledger.since_t2000[0], since_t2000)
