"""Goal: cards pass the cases of a grid company's bench for card meters: opening, presets, refunds,
replacement, write-back, attacks on the MAC. Its cases of alarms, overdraft, guard and settlement
are in test_prepay_acceptance.py.

Method: the whole application on a board in memory, one test for each case of the bench. Where this
design answers differently from a meter of the bench, the test says why.
"""

from struct import pack, unpack_from

from card import codes, image
from card.lockout import FAILURES_LIMIT
from card_world import ACCOUNT, VERSION, header, memory, standing
from concentrator_world import START_T2000, Bench
from harness import check, equal
from prepay import policy as rules
from uplink import record

INDEX = 0
NOBODY = bytes(6)
BALANCE = 1  # This is the reason that prepay.policy gives.
KEEP = 0xFFFFFFFF
MARK = 32 + image.WRITE_BACK


def opened(amount_fen: int = 5000) -> Bench:
    """Return a bench with an account that is open and was read once."""
    bench = Bench()
    bench.read_all()
    equal(bench.insert(bench.card(1, amount_fen)), (codes.OK, 1))
    bench.run(30)
    return bench


def money(bench: Bench) -> "tuple[int, int, int]":
    """Return order, credit and balance of the account."""
    ledger = bench.app.ledger
    return ledger.order[INDEX], ledger.credit_fen[INDEX], ledger.balance_fen(INDEX)


def newest(bench: Bench, kind: int) -> bytearray:
    """Return the newest record of that kind."""
    buf = bytearray(record.RECORD_SIZE)
    check(bench.app.journal.sync())
    seq = bench.app.journal.durable_seq
    while bench.app.journal.read_into(seq, buf) and record.kind_at(buf, 0) != kind:
        seq -= 1
    equal(record.kind_at(buf, 0), kind)
    return buf


def preset(number: int, *limits: int) -> bytearray:
    """Return a preset card: alarms 1 and 2, overdraft, hoarding, close; fen, or KEEP."""
    content = pack("<IIIII", *limits) + bytes(12)
    kind = image.PRESET
    return memory(
        header(number, 0, kind, account=NOBODY, meter=NOBODY, content=content),
    )


# --- opening an account -----------------------------------------------------------------------


def test_opening_under_another_key_is_refused() -> None:
    bench = Bench()
    for card, code in (
        (memory(header(1, 100, image.OPEN, version=VERSION + 1)), codes.KEY_VERSION),
        (memory(header(1, 100, image.OPEN, key=b"the key of tests")), codes.MAC),
    ):
        equal(bench.insert(card), (code, 0))
    equal(money(bench), (0, 0, 0))


def test_opening_for_another_meter_is_refused() -> None:
    bench = Bench()
    card = memory(header(1, 100, image.OPEN, meter=b"\x01\0\0\0\0\0"))
    equal(bench.insert(card), (codes.METER, 0))
    equal(money(bench), (0, 0, 0))


def test_opening_with_a_count_above_one_is_refused() -> None:
    bench = Bench()
    equal(bench.insert(memory(header(2, 100, image.OPEN))), (codes.ORDER_AHEAD, 0))
    equal(money(bench), (0, 0, 0))


def test_opening_above_the_hoarding_limit_is_refused() -> None:
    bench = Bench()
    equal(bench.app.settings.change("hoarding_limit_fen", "4999"), "")
    bench.app.configure()
    equal(bench.insert(bench.card(1, 5000)), (codes.HOARDING, 0))
    equal(money(bench), (0, 0, 0))
    equal(bench.insert(bench.card(1, 4999)), (codes.OK, 1))


def test_opening_without_money() -> None:
    bench = Bench()
    equal(bench.insert(bench.card(1, 0)), (codes.OK, 1))
    bench.run(30)
    equal(money(bench), (1, 0, 0))
    equal(bench.app.ledger.state[INDEX], rules.CUT, "nothing is paid for yet")


def test_opening_with_money_notes_order_amount_before_and_after() -> None:
    bench = Bench()
    card = bench.card(1, 5000)
    equal(bench.insert(card), (codes.OK, 1))
    equal(money(bench), (1, 5000, 5000))
    buf = newest(bench, record.TOP_UP)
    equal(unpack_from("<IIIi", buf, record.PAYLOAD), (1, 5000, 5000, 5000))
    check(START_T2000 <= record.t2000_at(buf, 0) < bench.t2000)
    equal(unpack_from("<IiI", card, MARK + 4), (1, 5000, 5000), "and the card takes it home")


def test_opening_that_the_flash_refuses_leaves_nothing_waiting() -> None:
    bench = Bench()
    bench.read_all()
    check(bench.app.journal.sync())
    bench.storage.failing = "j"
    equal(bench.insert(bench.card(1, 5000))[1], 0)
    buf = bench.app.journal.buf
    waiting = [record.kind_at(buf, at * 64) for at in range(bench.app.journal.count)]
    check(record.RELAY not in waiting and record.TOP_UP not in waiting, waiting)
    equal((money(bench), bench.app.registry.relay[INDEX]), ((0, 0, 0), 0))
    bench.storage.failing = ""
    equal(bench.insert(bench.card(1, 5000)), (codes.OK, 1))
    equal(money(bench), (1, 5000, 5000))


def test_opening_again_changes_nothing() -> None:
    bench = opened()
    equal(bench.insert(bench.card(2, 1000)), (codes.OK, 1))
    before = money(bench)
    for order, code in ((1, codes.ORDER_BEHIND), (2, codes.OTHER_CARD), (3, codes.OPENED)):
        equal(bench.insert(memory(header(order, 700, image.OPEN))), (code, 0))
        equal(money(bench), before)


def test_opening_by_card_after_the_head_end_opened_it() -> None:
    bench = Bench()
    third = header(3, 100)
    check(bench.app.books.restore(INDEX, standing(3, 9000, 0, third[80:])))
    for card, code in (
        (bench.card(1, 100), codes.ORDER_BEHIND),
        (bench.card(3, 101), codes.OTHER_CARD),
        (memory(third), codes.COMPLETED),
    ):
        equal(bench.insert(card), (code, 0))
        equal(money(bench), (3, 9000, 9000))


# --- presets: limits, never money ----------------------------------------------------------------


def test_a_preset_brings_limits_and_no_money() -> None:
    bench = opened()
    before = money(bench)
    card = preset(START_T2000 + 7, 3000, 1000, 200, KEEP, KEEP)
    equal(bench.insert(card), (codes.OK, 0))
    settings = bench.app.settings
    names = ("alarm_1_fen", "alarm_2_fen", "overdraft_fen")
    equal([settings.number(name) for name in names], [3000, 1000, 200])
    equal(money(bench), before)
    equal(bench.insert(card), (codes.USED, 0), "its number counts once")


def test_a_preset_of_limits_that_make_no_sense_is_refused() -> None:
    bench = opened()
    equal(bench.insert(preset(START_T2000 + 7, 1000, 1000, KEEP, KEEP, KEEP)), (codes.FORMAT, 0))
    equal(bench.app.settings.number("alarm_2_fen"), 0)


def test_a_preset_without_overdraft_opens_the_relay_and_one_with_it_closes() -> None:
    bench = opened(100)
    equal(bench.insert(preset(START_T2000 + 7, KEEP, KEEP, 100, KEEP, KEEP)), (codes.OK, 0))
    bench.meters[0].wh[0] += 3000
    bench.read_all()
    state = bench.app.ledger.state
    equal((money(bench)[2], state[INDEX], bench.meters[0].open), (-50, rules.ZERO, True))
    button = memory(header(0, 0, image.INSPECT))
    equal(bench.insert(button), (codes.COMPLETED, 0))
    bench.run(30)
    check(not bench.meters[0].open, "the warning was undone by a card")
    equal(bench.insert(preset(START_T2000 + 8, KEEP, KEEP, 0, KEEP, KEEP)), (codes.OK, 0))
    bench.run(30)
    equal((state[INDEX], bench.meters[0].open), (rules.CUT, True))
    equal(bench.insert(preset(START_T2000 + 9, KEEP, KEEP, 51, KEEP, KEEP)), (codes.OK, 0))
    bench.run(30)
    equal((state[INDEX], bench.meters[0].open), (rules.ZERO, False))


def test_a_hoarding_limit_that_was_preset_takes_nothing_away() -> None:
    bench = opened(5000)
    equal(bench.insert(preset(START_T2000 + 7, KEEP, KEEP, KEEP, 1000, KEEP)), (codes.OK, 0))
    equal(money(bench), (1, 5000, 5000))
    equal(bench.insert(bench.card(2, 1)), (codes.HOARDING, 0))


# --- refund, replacement, write-back, attacks ---------------------------------------------------


def test_a_refund_is_taken_off_and_told() -> None:
    bench = opened(5000)
    card = memory(header(2, 1500, image.REFUND))
    equal(bench.insert(card), (codes.OK, 1))
    equal(money(bench), (2, 3500, 3500))
    equal(
        unpack_from("<IIIi", newest(bench, record.REFUND), record.PAYLOAD), (2, 1500, 3500, 3500)
    )
    equal(unpack_from("<Ii", card, MARK + 4), (2, 3500))
    equal(bench.insert(memory(header(3, 3501, image.REFUND))), (codes.NOT_COVERED, 0))
    equal(bench.insert(card), (codes.USED, 0))
    bench.restart()
    equal(money(bench), (2, 3500, 3500))


def test_a_refund_that_was_given_up_lets_the_next_order_in() -> None:
    bench = opened(100)
    equal(bench.insert(memory(header(2, 101, image.REFUND))), (codes.NOT_COVERED, 0))
    equal(bench.insert(bench.card(3, 500)), (codes.ORDER_AHEAD, 0))
    equal(bench.insert(memory(header(2, 0, image.REFUND))), (codes.OK, 1))
    equal(bench.insert(bench.card(3, 500)), (codes.OK, 1))
    equal(money(bench), (3, 600, 600))


def test_a_refund_that_alarms_gives_the_balance_as_its_reason() -> None:
    bench = opened(5000)
    equal(bench.insert(memory(header(2, 4950, image.REFUND))), (codes.OK, 1))
    equal(bench.app.ledger.state[INDEX], rules.ALARM_1)
    equal(newest(bench, record.POLICY)[record.PAYLOAD + 2], BALANCE)


def test_a_replacement_brings_the_order_of_a_lost_card_once() -> None:
    bench = opened(5000)
    card = memory(header(2, 700, image.REPLACEMENT))
    equal(bench.insert(card), (codes.OK, 1))
    lost = bench.card(2, 700)
    equal(bench.insert(lost), (codes.OTHER_CARD, 0), "the lost one was found again")
    equal(lost, bench.card(2, 700), "it gets no mark")
    equal(bench.insert(card), (codes.USED, 0))
    equal(money(bench), (2, 5700, 5700))


def test_the_write_back_tells_the_account() -> None:
    bench = opened(5000)
    bench.meters[0].wh[0] += 2000
    bench.read_all()
    card = memory(header(0, 0, image.INSPECT))
    equal(bench.insert(card), (codes.COMPLETED, 0))
    equal(unpack_from("<IiI", card, MARK + 4), (1, 4900, 5000))
    wh = bench.meters[0].wh
    equal(unpack_from("<II", card, MARK + 28), (wh[0], wh[1]))


def test_wrong_macs_in_a_row_suspend_the_reader() -> None:
    bench = opened()
    forged = memory(header(2, 9000, key=b"forged"))
    for _ in range(FAILURES_LIMIT):
        equal(bench.insert(forged), (codes.MAC, 0))
    equal(bench.insert(bench.card(2, 100)), (codes.TOO_MANY, 0))
    bench.run(70)
    equal(bench.insert(bench.card(2, 100)), (codes.OK, 1))
    check(bytes(bench.app.registry.accounts[:6]) == ACCOUNT)


def test_a_relay_that_fails_to_trip_is_sent_again_and_reported() -> None:
    bench = opened(100)
    meter = bench.meters[0]
    meter.lag_ms = 10**9
    meter.wh[0] += 2000
    bench.read_all()
    bench.run(60)
    equal((bench.app.ledger.state[INDEX], len(meter.commands), meter.open), (rules.CUT, 3, False))
    buf = newest(bench, record.RELAY)
    equal((buf[record.PAYLOAD], buf[record.PAYLOAD + 1]), (record.RELAY_OPEN, record.STAGE_FAILED))
    meter.lag_ms = 0
    bench.read_all()
    check(meter.open, "and again with the next reading")
