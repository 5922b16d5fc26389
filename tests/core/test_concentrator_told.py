"""Goal: what the head-end has a concentrator show, set and bring to a meter is right whenever its
command comes.

Method: the whole application on a board in memory is given texts, the order to take the head-end's
time, and data for a meter in parts. They come late, again, out of order and after a restart.
"""

from binascii import crc32, hexlify

from commanded import LATE, Told, opened
from concentrator.console.remote import DONE, NOT_DONE, REFUSED
from concentrator.timekeeper import HEAD_END
from concentrator_world import START_T2000
from harness import check, equal
from ports import CLOCK_RTC

UNTIL = "2026-12-24 08:00:00"
ASK = "line ask 0 000000379864 03 "
BLOCK = bytes(range(55, 255))


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
            "the display has letters, digits and signs of",
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
