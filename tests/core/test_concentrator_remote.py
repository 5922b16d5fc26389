"""Goal: each command of the head-end takes effect once or never, and its outcome is the truth.

Method: the whole application runs on a board in memory, and a session in this file has the
commands. They are repeated, late, older, foreign and not allowed; the power fails at every change
of the flash, and the command comes again.
"""

from binascii import hexlify

from commanded import LATE, MAC, Told, opened
from concentrator.books.tariffs import name_of
from concentrator.console.remote import (
    DONE,
    INTENT,
    NOT_DONE,
    NOT_KNOWN,
    OUTCOME,
    REFUSED,
)
from concentrator.console.words import time_text
from concentrator.timekeeper import CONSOLE
from concentrator_world import START_T2000, Bench
from harness import check, equal
from memory_storage import PowerCut
from prepay import policy as rules
from prepay.accounts import GUARD
from tariff_images import ENDLESS, image, ladder, terms
from uplink import record


def kinds(bench: Bench, after: int) -> "list[int]":
    """Return the kinds of the records behind `after`."""
    app = bench.app
    app.journal.sync()
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(after + 1, app.journal.durable_seq + 1):
        check(app.journal.read_into(seq, buf))
        found.append(record.kind_at(buf, 0))
    return found


def test_a_command_that_reads_is_answered_in_parts_and_leaves_no_record() -> None:
    bench = opened()
    told = Told(bench)
    before = bench.app.journal.next_seq
    outcome, text = told(1, "account 17")
    equal(outcome, DONE)
    check("balance_fen 5000" in text and "register_0_wh" in text, text)
    outcome, text = told(1, "settings")
    check(outcome == DONE and text.count("\n") == len(bench.app.settings.names()) - 1, text)
    equal(bench.app.journal.next_seq, before)
    equal(list(bench.app.books.commands), [0, 0, 0])


def test_an_order_without_a_card_counts_once() -> None:
    bench = opened()
    told = Told(bench)
    after = bench.app.journal.durable_seq
    command = "credit 17 2 3000 " + MAC
    outcome, text = told(5, command)
    equal((outcome, text.split("\n")[:2]), (DONE, ["order 2", "balance_fen 8000"]))
    equal(kinds(bench, after), [record.COMMAND, record.TOP_UP, record.COMMAND])
    for _ in range(2):
        equal(told(5, command), (DONE, ""), "told again")
    outcome, text = told(6, command)
    equal((outcome, text.split("\n")[1]), (DONE, "balance_fen 8000"), "credited already")
    equal(told(7, "credit 17 2 3000 " + "00" * 8), (REFUSED, "result 33, as of a card"))
    equal(told(8, "credit 17 1 3000 " + MAC), (REFUSED, "result 24, as of a card"))
    equal(told(9, "credit 17 4 3000 " + MAC), (REFUSED, "result 17, as of a card"))
    equal(told(10, "credit 17 4 1000 " + MAC + " 3")[0], DONE, "it supersedes order 3")
    equal(told(11, "credit 17 5 -9999 " + MAC), (REFUSED, "result 32, as of a card"))
    equal(told(12, "credit 17 5 -4000 " + MAC)[0], DONE)
    equal(bench.app.balance_fen(0), 5000)
    equal(bench.insert(bench.card(3, 500))[1], 0, "the card of the order that was superseded")
    equal(bench.app.balance_fen(0), 5000)


def test_what_is_refused_by_name() -> None:
    bench = opened()
    told = Told(bench)
    equal(told(5, "set interval_s 600")[0], DONE)
    after = bench.app.journal.durable_seq
    here = "this is typed at the concentrator's own console only"
    for number, text, expires, why in (
        (4, "set interval_s 700", LATE, "it is older than command 5"),
        (5, "set interval_s 700", LATE, "another command had this number"),
        (6, "set interval_s 700", START_T2000, "it has expired"),
        (6, "set uplink_key " + "11" * 16, LATE, here),
        (6, "login begin " + "11" * 16, LATE, here),
        (6, "card", LATE, here),
        (6, "account moved 17", LATE, here),
        (6, "1 save 0011223344556677", LATE, "unknown command, `help` lists them"),
        (6, "set", LATE, "usage: set NAME VALUE"),
        (6, "", LATE, "unknown command, `help` lists them"),
        (6, b"\xff\xfe\xfd", LATE, "the command is no UTF-8 text"),
        (6, "line ask 0 000000379864 1c 00", LATE, "from above a meter is only read, or told"),
    ):
        outcome, told_why = told(number, text, expires)
        equal((outcome, told_why[: len(why)]), (REFUSED, why))
    equal((kinds(bench, after), bench.app.settings.text("interval_s")), ([], "600"))
    outcome, why = told(6, "set interval_s 1")
    equal((outcome, kinds(bench, after)), (REFUSED, [record.COMMAND, record.COMMAND]))
    bench.moved_s = None
    equal(told(7, "set interval_s 700"), (NOT_DONE, "the clock is not set yet"))


def test_a_setting_from_above_is_told_as_such() -> None:
    bench = opened()
    told = Told(bench)
    after = bench.app.journal.durable_seq
    equal(told(5, "set interval_s 600"), (DONE, "interval_s 600"))
    equal(kinds(bench, after), [record.COMMAND, record.SETTING, record.COMMAND])
    buf = bytearray(record.RECORD_SIZE)
    check(bench.app.journal.read_into(after + 2, buf))
    equal(buf[record.PAYLOAD], record.OF_UPLINK)


def test_a_household_is_cut_from_above_only_behind_a_notice() -> None:
    bench = opened()
    told = Told(bench)
    equal(told(1, "set notice_minutes 60")[0], DONE)
    app = bench.app
    bench.run(7200)
    for text, why in (
        ("supply 17 cut", "a cut needs the time at which its notice was delivered"),
        ("supply 17 cut 2026-01-01", "a cut needs the time at which its notice was delivered"),
        ("supply 17 cut 2026-99-01 00:00:00", "a time is like"),
        ("supply 17 cut 2026-01-01 01:30:00", "a cut comes 60 minutes after its notice"),
    ):
        outcome, told_why = told(app.books.commands[0] + 1, text)
        equal((outcome, told_why[: len(why)]), (REFUSED, why))
    app.ledger.flags[0] |= GUARD
    command = "supply 17 cut 2026-01-01 00:00:00"
    equal(told(20, command), (REFUSED, "its supply is protected: it is not cut from above"))
    app.ledger.flags[0] &= 0xFF ^ GUARD
    equal(told(21, command)[0], DONE)
    equal(app.ledger.state[0], rules.REMOTE)
    equal(told(22, command)[0], DONE, "it is cut already")
    bench.run(60)
    check(bench.meters[0].open)
    equal(told(23, "supply 17 restore")[0], DONE)
    bench.run(60)
    check(not bench.meters[0].open)
    equal(told(24, "supply 17 restore")[0], DONE, "it is on already")


def test_a_clock_that_was_set_ahead_ends_no_notice() -> None:
    """The time since a notice counts from the step on, also behind a start."""
    bench = opened()
    told = Told(bench)
    equal(told(1, "set notice_minutes 60")[0], DONE)
    bench.run(600)
    app = bench.app
    notice = "supply 17 cut " + time_text(bench.t2000)
    app.timekeeper.set(bench.t2000 + 7200, CONSOLE)
    why = "a cut comes 60 minutes after its notice, and after a set clock"
    equal(told(2, notice), (REFUSED, why))
    bench.run(3000)
    equal(told(3, notice), (REFUSED, why))
    bench.run(660)
    equal(told(4, notice)[0], DONE)


def stages(bench: Bench, number: int) -> "list[tuple[int, int]]":
    """Return stage and outcome of each record of a command."""
    app = bench.app
    app.journal.sync()
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(app.journal.first_seq, app.journal.durable_seq + 1):
        if app.journal.read_into(seq, buf) and record.kind_at(buf, 0) == record.COMMAND:
            told, stage, outcome, _ = record.command_at(buf, 0)
            if told == number:
                found.append((stage, outcome))
    return found


def fails(bench: Bench, command: str) -> bool:
    """Give a command; return whether the power fails. Nothing of it stays in memory."""
    told = Told(bench)
    try:
        told(5, command)
    except PowerCut:
        return True
    return False


def cut_at(change: int, command: str, kept_percent: int) -> "tuple[Bench, bool]":
    """Return a bench whose power failed at that change of a command, and whether it did."""
    bench = opened()
    bench.storage.cut = change
    bench.storage.kept_percent = kept_percent
    failed = fails(bench, command)
    bench.restart()
    bench.app.books.t2000 = bench.t2000
    return bench, failed


def again(change: int, kept_percent: int) -> bool:
    """Give the command again behind a cut; return whether the power had failed."""
    bench, failed = cut_at(change, "credit 17 2 3000 " + MAC, kept_percent)
    equal(Told(bench)(5, "credit 17 2 3000 " + MAC)[0], DONE)
    equal((bench.app.balance_fen(0), bench.app.ledger.order[0]), (8000, 2))
    found = stages(bench, 5)
    equal(found, [(INTENT, DONE), (OUTCOME, DONE)])
    bench.stop()
    return failed


def test_the_power_fails_at_every_change_and_the_command_comes_again() -> None:
    for kept_percent in (0, 60):
        change = 0
        while again(change, kept_percent):
            change += 1
        check(change > 2, change)


def load(told: "Told", data: bytes, first: int) -> None:
    """Bring an image to the concentrator, in parts that are numbered from `first` on."""
    equal(told(first, "tariff begin " + str(len(data)))[0], DONE)
    for at in range(0, len(data), 48):
        text = "tariff data " + str(at) + " " + hexlify(data[at : at + 48]).decode()
        equal(told(first + 1, text)[0], DONE)


def test_a_tariff_comes_by_air_and_is_put_in_force_once() -> None:
    bench = opened()
    told = Told(bench)
    data = image(2, 1, (ladder((), (70000000, 30000000)),), (terms(0, ENDLESS),))
    commit = "tariff commit 2 " + hexlify(name_of(data)).decode()
    equal(told(5, commit)[0], REFUSED, "its image is not here")
    load(told, data, 1)
    equal(told(6, commit), (DONE, "tariff 2 in force"))
    written = bench.storage.changes
    equal(told(7, commit), (DONE, "tariff 2 in force"), "it is in force, without its image")
    check(bench.storage.changes - written <= 2, "but for its intent and its outcome")
    check(bench.app.tariffs.find(2) is not None)
    load(told, data, 1)
    written = bench.storage.changes
    equal(told(8, commit), (DONE, "tariff 2 in force"))
    check(bench.storage.changes - written > 2, "its file may have rotted, so it is written anew")


def test_the_power_fails_while_a_tariff_comes_by_air() -> None:
    data = image(2, 1, (ladder((), (70000000, 30000000)),), (terms(0, ENDLESS),))
    commit = "tariff commit 2 " + hexlify(name_of(data)).decode()
    change = 0
    while True:
        bench = opened()
        load(Told(bench), data, 1)
        bench.storage.cut = change
        if not fails(bench, commit):
            break
        bench.restart()
        bench.app.books.t2000 = bench.t2000
        outcome, _ = Told(bench)(5, commit)
        there = bench.app.tariffs.find(2) is not None
        check(outcome in ((DONE,) if there else (REFUSED, NOT_KNOWN)), (change, outcome))
        load(Told(bench), data, 1)
        equal(Told(bench)(6, commit)[0], DONE)
        check(bench.app.tariffs.find(2) is not None, change)
        bench.stop()
        change += 1
    check(change > 2, change)


def test_one_that_expired_behind_a_cut_is_not_known() -> None:
    bench, failed = cut_at(1, "credit 17 2 3000 " + MAC, 0)
    check(failed)
    told = Told(bench)
    equal(stages(bench, 5), [(INTENT, DONE)])
    equal(told(5, "credit 17 2 3000 " + MAC, START_T2000)[0], NOT_KNOWN)
    equal(stages(bench, 5), [(INTENT, DONE), (OUTCOME, NOT_KNOWN)])
    equal(told(5, "credit 17 2 3000 " + MAC)[0], NOT_KNOWN, "it is told again")
    equal(bench.app.balance_fen(0), 5000)
    equal(told(6, "credit 17 2 3000 " + MAC)[0], DONE, "another one brings it")


def test_the_newest_number_outlives_a_checkpoint() -> None:
    bench = opened()
    equal(Told(bench)(5, "credit 17 2 3000 " + MAC)[0], DONE)
    for save in (True, True, False):
        if save:
            bench.read_all()
            check(bench.save())
        bench.restart()
        told = Told(bench)
        equal(told(5, "credit 17 2 3000 " + MAC), (DONE, ""))
        equal(told(4, "supply 17 restore")[0], REFUSED)


def test_without_room_for_its_intent_it_does_not_act() -> None:
    bench = opened()
    told = Told(bench)
    bench.storage.full = True
    equal(told(5, "credit 17 2 3000 " + MAC)[0], NOT_DONE)
    equal(bench.app.balance_fen(0), 5000)
    bench.storage.full = False
    equal(told(5, "credit 17 2 3000 " + MAC)[0], DONE)
    equal(bench.app.balance_fen(0), 8000)
