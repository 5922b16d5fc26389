"""Goal: a reading across a change of price is divided by what the meter kept at that moment.

Method: the real application on a board in memory, with a meter whose freezes and switches are
those of the standard, and prices that change between two readings.
"""

import sys
from array import array
from binascii import hexlify

from card import codes
from civil import mmdd_of, year_of
from concentrator.books.tariffs import name_of
from concentrator.console.commands import Commands
from concentrator.console.console import Refusal
from concentrator.line.freezes import AFTER_S, CHANGES, HOURLY
from concentrator_world import (
    INTERVAL_S,
    START_T2000,
    Bench,
    lines_of,
)
from harness import check, equal
from tariff_images import ENDLESS, image, ladder, terms
from uplink import record

INDEX = 0
HOUR_S = 3600
SMALL = sys.maxsize < 1 << 32  # an emulated board is slow


def supplied(amount_fen: int = 200) -> Bench:
    """Return a bench whose account is open and read once; its next charge is exact."""
    bench = Bench()
    bench.read_all()
    equal(bench.insert(bench.card(1, amount_fen)), (codes.OK, 1))
    return bench


def balance_fen(bench: Bench) -> int:
    return bench.app.ledger.balance_fen(INDEX)


def set_to(bench: Bench, name: str, value: int) -> None:
    """Run a technician's `set`."""
    equal(bench.app.settings.change(name, str(value)), "")
    bench.app.configure()


def said(bench: Bench, text: str) -> str:
    """Return the last line of a console command, or the reason of its refusal."""
    try:
        return lines_of(Commands(bench.app).run(text))[-1]
    except Refusal as refusal:
        return str(refusal)


def load(bench: Bench, number: int, data: bytes) -> str:
    """Send a tariff by the console."""
    said(bench, "tariff begin " + str(len(data)))
    for at in range(0, len(data), 100):
        said(bench, "tariff data " + str(at) + " " + hexlify(data[at : at + 100]).decode())
    return said(bench, "tariff commit " + str(number) + " " + name_of(data).hex())


def readings_of(bench: Bench, change_t2000: int, tariff: bytes) -> "list[tuple[int, int]]":
    """Return (t2000, flags) of each record that the journal has of a reading across
    `change_t2000`.

    The bench's meter used 1000 Wh before the change and 3000 Wh after it.
    """
    app = bench.app
    name = name_of(tariff)
    app.tariffs.begin(len(tariff))
    app.tariffs.put(0, tariff)
    equal(app.tariffs.store(2, name), "")
    check(app.books.set_tariff(2, name, len(tariff)))
    check(app.books.plan_tariff(INDEX, 2, 0))
    app.ledger.start_anew(INDEX)  # It may charge another register than the reading before.
    bench.now_ms = 1000 * (change_t2000 - START_T2000 - 2 * INTERVAL_S)
    bench.read_all()
    meter = bench.meters[0]
    seq = app.journal.durable_seq + app.journal.count
    meter.silent = True
    while bench.t2000 < change_t2000:
        bench.run(10)
    meter.wh[0] += 4000
    bench.run(INTERVAL_S // 2)
    meter.silent = False
    bench.read_all()
    check(app.journal.sync())
    found = []
    buf = bytearray(record.RECORD_SIZE)
    while app.journal.read_into(seq + 1, buf):
        seq += 1
        if record.kind_at(buf, 0) in (record.READING, record.FREEZE):
            found.append((record.t2000_at(buf, 0) - change_t2000, record.flags_at(buf, 0)))
    return found


def priced_from(change_t2000: int) -> bytes:
    """Return a tariff of half a yuan before the change and a yuan from then on, at two rates."""
    first = terms(0, ENDLESS)
    second = terms(change_t2000, ENDLESS, ((1, 1, 1, 0, 0),))
    ladders = (ladder((), (50000000, 25000000)), ladder((), (100000000, 50000000)))
    return image(2, 1, ladders, (first, second))


def test_a_price_switch_at_an_hour_is_divided_by_the_meters_switch_freeze() -> None:
    change_t2000 = START_T2000 + 5 * HOUR_S
    for kind in CHANGES[:-1]:
        bench = supplied(900)
        wh = bench.meters[0].wh
        bench.meters[0].kept[kind, 1] = (change_t2000, (sum(wh) + 1000, wh[0] + 1000, wh[1], 0, 0))
        found = readings_of(bench, change_t2000, priced_from(change_t2000))
        equal([flags for _, flags in found], [0, 0, 0], kind)
        equal(found[1][0], 0, "a reading at the switch itself")
        equal(balance_fen(bench), 900 - 50 - 300)


def test_a_reading_waits_for_a_freeze_that_may_not_be_there_yet() -> None:
    change_t2000 = START_T2000 + 5 * HOUR_S
    bench = supplied(900)
    equal(load(bench, 1, priced_from(change_t2000)), "tariff 1 in force")
    # The rounds come 800 s before the change and 200 s after it.
    set_to(bench, "interval_s", 1000)
    bench.now_ms = 1000 * (5 * HOUR_S - 900)
    bench.run(200)
    bench.meters[0].wh[0] += 4000
    read_t2000 = bench.app.ledger.read_t2000[INDEX]
    check(change_t2000 - 800 <= read_t2000 < change_t2000)
    bench.run(950)
    check(change_t2000 + 200 < bench.t2000 < change_t2000 + AFTER_S)
    equal(bench.app.ledger.read_t2000[INDEX], read_t2000, "too early: it is read again")
    bench.run(1000)
    check(bench.app.ledger.read_t2000[INDEX] > change_t2000 + 1000)


def test_freezes_that_may_be_renumbered_meanwhile_are_not_asked_for() -> None:
    """Near the end of an hour a meter may renumber them between two reads."""
    change_t2000 = START_T2000 + 5 * HOUR_S
    for left_s, divides in ((300, True), (299, False)):
        bench = supplied(900)
        equal(load(bench, 1, priced_from(change_t2000)), "tariff 1 in force")
        readings = bench.app.pollers[0].readings
        bench.app.ledger.read_t2000[INDEX] = change_t2000 - 100
        bench.app.books.t2000 = change_t2000 + HOUR_S - left_s
        equal(readings._divide(), divides, left_s)


def test_without_its_freeze_a_price_switch_is_divided_by_time_and_marked() -> None:
    change_t2000 = START_T2000 + 5 * HOUR_S
    bench = supplied(900)
    meter = bench.meters[0]
    # Another switch and the registers of the hour do not have both that moment and the rates.
    meter.kept[CHANGES[0], 1] = (change_t2000 - 60, (9000, 8000, 1000, 0, 0))
    found = readings_of(bench, change_t2000, priced_from(change_t2000))
    equal(len(found), 1)
    equal(found[0][1], record.ESTIMATED)
    check(500 < balance_fen(bench) < 700, "by time: later than the half of it")


def settled_at(t2000: int) -> "tuple[int, int, int]":
    """Return month, day and hour of a settlement."""
    days = t2000 // 86400
    mmdd = mmdd_of(year_of(days), days)
    return mmdd // 100, mmdd % 100, t2000 % 86400 // HOUR_S


def test_a_settlement_of_several_rates_is_divided_by_the_meters_last_settlement() -> None:
    change_t2000 = START_T2000 + 5 * HOUR_S
    month, day, hour = settled_at(change_t2000)
    ladders = (ladder((2000,), (50000000, 25000000, 100000000, 50000000)),)
    tariff = image(2, 2, ladders, (terms(0, (2, ((month, day, hour),))),))
    moment = day * 100 + hour
    for days, divides in (
        ((moment, 9999, 9999), True),
        ((moment, 2812, 9999), False),  # It is not known which settlement was the last.
        ((moment, 9999, 100), False),
        ((moment - 1, 9999, 9999), False),
        ((moment, 9999), False),
        ((), False),
    ):
        bench = supplied(900)
        wh = bench.meters[0].wh
        bench.meters[0].settled = (days, (sum(wh) + 1000, wh[0] + 1000, wh[1], 0, 0))
        found = readings_of(bench, change_t2000, tariff)
        kinds = [flags for _, flags in found if not flags & record.JOINED]
        equal(kinds, [0, 0, 0] if divides else [record.ESTIMATED], days)
        if divides:
            equal((found[1][0], bench.app.ledger.used_wh[INDEX]), (0, 3000))
            equal(balance_fen(bench), 900 - 50 - 100 - 100)


def test_a_settlement_at_an_hour_is_divided_by_the_hourly_freeze() -> None:
    change_t2000 = START_T2000 + 5 * HOUR_S
    yearly = (2, (settled_at(change_t2000),))
    tariff = image(1, 2, (ladder((2000,), (50000000, 100000000)),), (terms(0, yearly),))
    bench = supplied(900)
    total = sum(bench.meters[0].wh)
    for number in (1, 2):
        bench.meters[0].kept[HOURLY[0], number] = (change_t2000, (total + 1000,))
    found = readings_of(bench, change_t2000, tariff)
    equal([flags for _, flags in found if not flags & record.JOINED], [0, 0, 0])
    equal((found[1][0], bench.app.ledger.used_wh[INDEX]), (0, 3000))
    equal(balance_fen(bench), 900 - 50 - 100 - 100)
    bench.app.registry.freeze_day[INDEX] = 5
    bench.app.books.charge_freeze(INDEX, change_t2000, array("i", (total,)), 1)
    equal(bench.app.registry.freeze_day[INDEX], 5, "an hour is no day")


def test_a_slot_of_a_day_table_is_divided_by_the_hourly_freeze_alone() -> None:
    change_t2000 = START_T2000 + 5 * HOUR_S
    minute = change_t2000 % 86400 // 60
    tables = (((0, 0), (minute, 1)),)
    terms_of = terms(0, ENDLESS, ((1, 1, 0, 1, 1),))
    tariff = image(2, 1, (ladder((), (50000000, 100000000)),), (terms_of,), tables)
    bench = supplied(900)
    total = sum(bench.meters[0].wh)
    bench.meters[0].kept[CHANGES[0], 1] = (change_t2000, (total + 4000,))
    bench.meters[0].kept[HOURLY[0], 1] = (change_t2000, (total + 1000,))
    found = readings_of(bench, change_t2000, tariff)
    equal([flags for _, flags in found], [0, 0, 0])
    equal(balance_fen(bench), 900 - 50 - 300)
