"""Goal: what the head-end has a concentrator show, set and bring to a meter is right whenever its
command comes.

Method: the whole application on a board in memory is given texts, the order to take the head-end's
time, and data for a meter in parts. They come late, again, out of order and after a restart.
"""

from binascii import crc32, hexlify

from commanded import LATE, Told, opened
from concentrator.books import registry as meters
from concentrator.console.remote import DONE, NOT_DONE, REFUSED
from concentrator.timekeeper import HEAD_END
from concentrator_world import START_T2000, Bench
from harness import check, equal
from ports import CLOCK_RTC
from uplink import record

UNTIL = "2026-12-24 08:00:00"
ASK = "line ask 0 000000379864 03 "
BLOCK = bytes(range(55, 255))
DAY_S = 86400


def test_a_text_is_refused_by_a_board_without_display() -> None:
    told = Told(opened())
    equal(told(1, "text " + UNTIL + " Power off"), (REFUSED, "this board has no display"))


def test_a_text_is_shown_once_until_its_time() -> None:
    bench = opened()
    told = Told(bench)
    shown: list[tuple[int, str]] = []
    takes = [True]

    def show_text(until_t2000: int, text: str) -> bool:
        shown.append((until_t2000, text))
        return takes[0]

    bench.app.show_text = show_text
    text = "text " + UNTIL + " Power off on Friday, 8:00"
    for _ in range(2):
        equal(told(5, text)[0], DONE)
    equal([one[1] for one in shown], ["Power off on Friday, 8:00"])
    until_t2000 = shown[0][0]
    equal(until_t2000 % 86400, 8 * 3600)
    for number, words, expires, why in (
        (4, text, LATE, "it is older than command 5"),
        (5, text + "!", LATE, "another command had this number"),
        (6, text, START_T2000, "it has expired"),
        (
            6,
            "text " + UNTIL + " \u505c\u7535",
            LATE,
            "the display has ASCII only",
        ),
        (7, "text tomorrow 08:00:00 x", LATE, "a time is like"),
    ):
        outcome, told_why = told(number, words, expires)
        equal((outcome, told_why[: len(why)]), (REFUSED, why))
    equal(len(shown), 1)
    equal(told(8, "text " + UNTIL), (DONE, ""), "no words: nothing is shown")
    equal(shown[1], (until_t2000, ""))
    takes[0] = False
    equal(told(9, text)[0], NOT_DONE)


def test_the_head_ends_time_is_taken_when_it_comes_however_late_the_command_is() -> None:
    bench = opened()
    told = Told(bench)
    timekeeper = bench.app.timekeeper
    timekeeper.source = CLOCK_RTC
    wrong_t2000 = bench.t2000
    right_t2000 = wrong_t2000 + 7200
    equal(timekeeper.tell(right_t2000), False, "an hour is more than a clock drifts")
    for expires in (LATE, START_T2000 - 1):
        outcome, text = told(3, "clock", expires)
        check(outcome == DONE and text[:4] == "was ", text)
    equal(timekeeper.source, HEAD_END)
    equal(bench.app.books.t2000, wrong_t2000, "the command itself has no time in it")
    equal(timekeeper.tell(right_t2000), True)
    equal(bench.app.books.t2000, right_t2000)
    equal(list(bench.app.books.commands), [0, 0, 0], "it is not journalled, the CLOCK record is")


def test_the_clocks_of_meters_are_looked_at_again() -> None:
    bench = opened()
    told = Told(bench)
    daily = bench.app.pollers[0].daily
    bench.app.books.t2000 = bench.t2000
    daily._day = bench.t2000 // 86400
    equal(told(3, "clock meters")[0], DONE)
    equal(daily._day, -1)
    equal(told(3, "clock lamps"), (REFUSED, "usage: clock [meters]"))


def test_a_long_block_comes_in_parts_whatever_comes_again() -> None:
    bench = opened()
    told = Told(bench)
    exchange = bench.app.pollers[0].exchange
    parts = [BLOCK[at : at + 40] for at in range(0, len(BLOCK), 40)]

    def bring(place: int) -> "tuple[int, str]":
        digits = hexlify(parts[place]).decode()
        return told(place + 1, "line data 0 " + str(40 * place) + " " + digits)

    equal(bring(1)[0], REFUSED, "the first part is not here")
    for place in (0, 1, 1, 2, 3, 2, 3, 4):
        equal(bring(place), (DONE, str(40 * place + 40)))
    name = " =" + str(crc32(BLOCK))
    equal(told(9, ASK.strip() + " =1"), (REFUSED, "the parts that came are others"))
    equal(told(9, "line data 0 200 11")[0], REFUSED, "200 bytes are the most")
    equal(told(9, ASK.strip() + name), (DONE, ""))
    equal(bytes(exchange._request), BLOCK)
    # A part of another block begins anew.
    equal(told(10, "line data 0 0 1122"), (DONE, "2"))
    equal(told(10, ASK.strip() + name)[0], REFUSED)


def freezes(bench: Bench, after: int) -> "list[int]":
    """Return the days before this one whose freezes were recorded behind the record `after`."""
    app = bench.app
    app.journal.sync()
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(after + 1, app.journal.durable_seq + 1):
        check(app.journal.read_into(seq, buf))
        if record.kind_at(buf, 0) == record.FREEZE:
            found.append((START_T2000 - record.freeze_at(buf, 0)) // DAY_S)
    return found


def test_missed_days_are_read_from_the_meter_and_charge_nothing() -> None:
    bench = opened()
    told = Told(bench)
    meter = bench.meters[0]
    for number in range(1, 63):
        if number != 12:
            wh = 63000 - 1000 * number
            meter.kept[6, number] = (START_T2000 - DAY_S * (number - 1), (wh, wh, 0, 0, 0))
    bench.run(900)
    owed = bench.app.ledger.debit_fen[0]
    after = bench.app.journal.durable_seq
    for _ in range(2):
        equal(told(3, "freezes 17 2025-12-12")[0], DONE)
        bench.run(900)
    days = list(range(20, -1, -1))
    days.remove(11)  # the meter lacks it
    equal(freezes(bench, after), days, "once, the oldest first")
    equal(bench.app.ledger.debit_fen[0], owed)
    equal(bench.app.ledger.flags[0], 0)
    after = bench.app.journal.durable_seq
    kept = "meters of 2007 keep 62 days, others none"
    for number, text, expires, why in (
        (2, "freezes 17 2025-12-12", LATE, "it is older than command 3"),
        (4, "freezes 17 2025-12-12", START_T2000, "it has expired"),
        (4, "freezes 17 2025-10-31", LATE, kept),
        (5, "freezes 17 2026-01-02", LATE, kept),
        (6, "freezes 18 2025-12-12", LATE, "no account 18, `meter list` names them"),
    ):
        equal(told(number, text, expires), (REFUSED, why))
    registry = bench.app.registry
    registry.protocol[0] = registry.protocol[0] & ~meters.STANDARD | record.STANDARD_1997
    equal(told(7, "freezes 17 2025-12-12"), (REFUSED, kept))
    bench.run(900)
    equal(freezes(bench, after), [])
