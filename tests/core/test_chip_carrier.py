"""Goal: redemptions work with any chip: a card's money counts once, at whatever moment it is
pulled, and an operation that was meant for one card is never done to the next.

Method: the real redemption and the real drivers with simulated chips in virtual time, a step a
millisecond; the card is pulled at moments through the whole redemption and put in again, swapped
between the phases, and chips report writes that they did not make.
"""

import sys

from card import carrier as port
from card import codes
from card.chips import outcome
from chip_readers import BENCHES, IsoDepBench, NtagBench, Sle4442Bench
from harness import check, equal
from silicon_pn532 import Ntag

MOMENTS = 5 if sys.maxsize < 1 << 32 else 40  # an emulated board is slow


def test_each_chip_redeems_once_and_is_marked() -> None:
    for make in BENCHES:
        bench = make()
        bench.wait(600)
        equal(bench.carrier.present, 0, make)
        bench.sell()
        equal(bench.redeem(), codes.OK, make)
        equal(bench.books.credits, [(5, 5000)], make)
        equal(bench.mark(), b"\x05\0\0\0", make)
        equal(bench.shown, [(codes.OK, True)])
        equal(bench.redeem(), codes.USED, make)
        bench.sell(6)
        equal(bench.redeem(), codes.OK, make)
        equal(bench.books.credits, [(5, 5000), (6, 5000)], make)


def test_a_card_left_in_is_redeemed_once() -> None:
    for make in BENCHES:
        bench = make()
        bench.sell()
        bench.insert()
        equal(bench.run(), codes.OK, make)
        present = bench.carrier.present
        equal(bench.run(3000), -1, make)
        equal(bench.carrier.present, present)


def test_no_step_keeps_the_device_long() -> None:
    # In 30 ms at 2400 baud a meter's reply has 7 bytes, which a UART buffers.
    for make in BENCHES:
        bench = make()
        bench.sell()
        bench.redeem()
        check(bench.longest_us < 30000, (make, bench.longest_us))


def test_pulled_at_any_moment_it_counts_once() -> None:
    for make in BENCHES:
        bench = make()
        bench.sell()
        bench.insert()
        start_us = bench.time.now_us
        bench.run()
        length_ms = (bench.time.now_us - start_us) // 1000
        counts = [0, 0]
        for moment in range(1, length_ms, max(1, length_ms // MOMENTS)):
            bench = make()
            bench.sell()
            bench.insert()
            for _ in range(moment):
                bench.step()
            bench.pull()
            bench.wait(3000)
            before = len(bench.books.credits)
            counts[before] += 1
            for _ in range(3):
                if bench.redeem() == codes.USED:
                    break
            equal(bench.books.credits, [(5, 5000)], (make, moment))
            equal(bench.redemption.code, codes.USED, (make, moment))
            equal(bench.mark(), b"\x05\0\0\0", (make, moment))
        check(counts[0] > 0, "some pulls came before the credit")
        check(counts[1] > 0, "some pulls came after it")


def test_a_card_that_goes_while_it_is_read_is_told_as_pulled() -> None:
    for make in BENCHES:
        bench = make()
        bench.sell()
        bench.insert()
        while not bench.carrier.present:
            bench.step()
        bench.pull()
        equal(bench.run(), codes.PULLED, make)
        equal(bench.books.credits, [])


def test_no_card_no_power() -> None:
    bench = Sle4442Bench()
    bench.sell()
    bench.insert()
    bench.run()
    equal(bench.chip.powered, 1)
    bench.pull()
    bench.wait(100)
    equal(bench.chip.powered, 0)


def test_swapped_between_the_phases_the_other_card_is_left_alone() -> None:
    bench = NtagBench()
    bench.sell()
    bench.insert()
    while not bench.books.credits:
        bench.step()
    other = Ntag(uid=b"\x04\x99\x88\x77\x66\x55\x44")
    before = bytes(other.memory)
    bench.reader.take_card()
    bench.reader.card = other
    equal(bench.run(), codes.NOT_MARKED)
    equal(bench.run(), codes.BLANK)
    equal(bytes(other.memory), before)
    bench.reader.take_card()
    bench.wait(1000)
    equal(bench.redeem(), codes.COMPLETED)
    equal(bench.books.credits, [(5, 5000)])


def test_copy_on_another_card_is_refused() -> None:
    bench = Sle4442Bench()
    bench.sell(uid=b"DK000002")
    equal(bench.redeem(), codes.SERIAL)
    equal(bench.books.credits, [])


def test_a_card_that_cannot_be_written_is_told_and_counts_once() -> None:
    bench = Sle4442Bench()
    bench.chip.counter = 1
    bench.sell()
    for expected in (codes.NOT_MARKED, codes.NOT_MARKED):
        bench.insert()
        equal(bench.run(), expected)
        equal(bench.carrier.trouble, outcome.LOCKED)
        bench.pull()
        bench.wait(1500)
    equal(bench.books.credits, [(5, 5000)])
    equal(bench.chip.heard, [])


def test_a_card_that_only_pretends_to_write_is_found_out() -> None:
    bench = IsoDepBench()
    bench.sell()
    obey = bench.tag.obey
    bench.tag.obey = lambda head, data, le: (
        (b"", 0x9000) if head[1] == 0xD6 else obey(head, data, le)
    )
    bench.insert()
    equal(bench.run(), codes.NOT_MARKED)
    equal(bench.carrier.trouble, outcome.MISMATCH)
    equal(bench.carrier.present, 1, "but it is there")


def test_unknown_and_broken_cards_are_no_cards() -> None:
    bench = Sle4442Bench()
    bench.chip.memory[0] = 0x92
    bench.insert()
    equal(bench.run(2000), -1)
    equal(bench.carrier.trouble, outcome.UNKNOWN)
    bench.chip.level = 0
    equal(bench.run(2000), -1)
    equal(bench.carrier.trouble, outcome.STUCK)
    bench.pull()
    bench.wait(500)
    equal(bench.carrier.trouble, outcome.ABSENT)
    bench = NtagBench()
    bench.tag.listing = lambda: b"\x00\x04\x01\x04\x01\x02\x03\x04"
    bench.insert()
    equal(bench.run(2000), -1)
    equal(bench.carrier.trouble, outcome.UNKNOWN)


def test_what_was_asked_of_a_card_that_is_gone_fails() -> None:
    bench = Sle4442Bench()
    carrier = bench.carrier
    carrier.start_read(0, 10)
    equal(carrier.poll(0), port.BUSY)
    bench.wait(1)
    bench.carrier.step(bench.time.ticks())
    equal(carrier.poll(0), port.FAILED)
    equal(carrier.poll(0), port.IDLE)
    bench.insert()
    while not carrier.present:
        carrier.step(bench.time.ticks())
        bench.time.now_us += 1000
    carrier.start_read(0, 225)
    for _ in range(100):
        carrier.step(bench.time.ticks())
    equal(carrier.poll(0), port.FAILED)
    equal(carrier.trouble, outcome.OUT_OF_RANGE)
    carrier.start_read(250, 7)
    for _ in range(100):
        carrier.step(bench.time.ticks())
    equal(carrier.poll(0), port.FAILED)
    carrier.start_read(0, 4)
    for _ in range(100):
        carrier.step(bench.time.ticks())
    equal(carrier.poll(0), port.OK)
    equal(bytes(carrier.data[:4]), b"\xa2\x13\x10\x91")


def test_a_reader_that_restarts_finds_its_card_again() -> None:
    bench = NtagBench()
    bench.sell()
    equal(bench.redeem(), codes.OK)
    bench.reader.restart()
    equal(bench.redeem(), codes.USED)
    bench.reader.deaf = True
    bench.wait(2000)
    bench.reader.deaf = False
    equal(bench.redeem(), codes.USED)
