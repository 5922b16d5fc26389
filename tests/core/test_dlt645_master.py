"""Goal: one transaction ends in exactly one outcome, whatever the line does.

Method: a line in virtual time that starts just before the ticks wrap; replies are published
frames or made with the encoder, on time, late, foreign, broken, echoed, or not at all.
"""

from array import array

from dlt645 import codes, di, master
from dlt645.errors import LocalError
from dlt645.master import Master
from dlt645_line import METER, OTHER, Line, reply
from harness import check, equal, heap_locked, raises
from ticks import TICKS_MASK, ticks_add, ticks_diff
from vectors_dlt645 import FRAMES

BLOCK = FRAMES[56][1]  # 0000FF00 of 000000983764
PASSWORD = bytearray(b"\x02\x00\x00\x00")
OPERATOR = bytearray(b"\x78\x56\x34\x12")
STARTS = (0, TICKS_MASK - 10, TICKS_MASK - 300, TICKS_MASK - 900, 0x10000000 - 300)


ENERGY_COMBINED = 0x0000FF00
STATUS = reply(METER, 0x91, b"\x03\x05\x00\x04\x50\x00")


def test_read() -> None:
    out = array("i", bytes(36))
    for start in STARTS:
        for echo in (False, True):
            line = Line(start, echo)
            line.answer(80, BLOCK)
            equal(line.read(ENERGY_COMBINED), master.OK)
            equal(line.sent, [b"\xfe\xfe\xfe\xfe" + FRAMES_REQUEST])
            link = line.master
            count = di.decode(ENERGY_COMBINED, link.data, link.data_offset, link.data_size, out)
            equal(tuple(out[:count]), FRAMES[56][5])
            equal(bytes(link.address), bytes(METER))
            line.expect(requests=1, echoes=1 if echo else 0)


FRAMES_REQUEST = reply(METER, 0x11, b"\x00\xff\x00\x00")[4:]


def test_reply_of_odd_size() -> None:
    line = Line(0)
    equal(line.master.tx_size, 0)
    line.answer(80, FRAMES[91][1])
    line.master.start_read(bytearray(FRAMES[91][2]), di.TIME, line.ticks)
    equal(line.run(), master.OK)
    equal((line.master.data_offset, line.master.data_size), (4, 7))


def test_read_1997() -> None:
    _, frame, address, _, identifier, values = FRAMES[14]
    line = Line(TICKS_MASK - 50)
    line.answer(80, frame)
    line.master.start_read_1997(bytearray(address), identifier, line.ticks)
    equal(line.run(), master.OK)
    equal(line.sent[0], reply(bytearray(address), 0x01, b"\x10\x90"))
    out = array("i", bytes(4))
    link = line.master
    equal(di.decode(identifier, link.data, link.data_offset, link.data_size, out), 1)
    equal((out[0],), values)
    for asked in (b"\x99" * 6, b"\xaa" * 6, address[:3] + b"\xaa" * 3):
        line.answer(80, frame)
        link.start_read_1997(bytearray(asked), identifier, line.ticks)
        equal(line.run(), master.OK, asked)
        equal(bytes(link.address), address)
        equal(line.sent[-1], reply(bytearray(asked), 0x01, b"\x10\x90"))


def test_read_address() -> None:
    line = Line(0)
    line.answer(50, FRAMES[134][1])
    line.master.start_read_address(line.ticks)
    equal(line.run(), master.OK)
    equal(line.sent[0], reply(bytearray(b"\xaa" * 6), 0x13, b""))
    equal(bytes(line.master.data[0 : line.master.data_size]), FRAMES[134][2])
    line.answer(50, reply(METER, 0x93, b"\x01\x02"))
    line.master.start_read_address(line.ticks)
    equal(line.run(), master.BAD_REPLY, "an address of two bytes")


def test_silence_is_timeout_and_retried() -> None:
    for start in STARTS:
        line = Line(start)
        began = line.ticks
        equal(line.read(di.STATUS_3), master.TIMEOUT)
        equal(len(line.sent), 3)
        # The sum is three times 500 ms and the wire time of 20 + 22 bytes at 2400 bps, 193 ms, and
        # pauses of 20 and 40 ms before the second and the third.
        passed_ms = ticks_diff(line.ticks, began)
        check(3 * 693 + 60 <= passed_ms <= 3 * 693 + 120, passed_ms)
        line.expect(requests=1, failures=1, retries=2)


def test_second_attempt_answers() -> None:
    line = Line(TICKS_MASK - 400)
    line.answer(80, b"", STATUS)
    equal(line.read(di.STATUS_3), master.OK)
    line.expect(requests=1, retries=1)


def test_reply_of_the_first_attempt_during_the_second() -> None:
    line = Line(TICKS_MASK - 400)
    line.answer(750, STATUS)
    equal(line.read(di.STATUS_3), master.OK)
    equal(len(line.sent), 2)


def test_reply_of_the_first_attempt_before_the_second() -> None:
    line = Line(TICKS_MASK - 400)
    line.answer(710, STATUS)
    equal(line.read(di.STATUS_3), master.OK)
    equal(len(line.sent), 1)
    line.expect(requests=1, retries=1)


def test_late_reply_does_not_answer_the_next_question() -> None:
    line = Line(0)
    line.master.start_relay(METER, codes.TRIP, PASSWORD, OPERATOR, 0, line.ticks)
    equal(line.run(), master.TIMEOUT)
    line.answer(10, reply(METER, 0x9C, b"") + STATUS)
    equal(line.read(di.STATUS_3), master.OK)
    line.answer(10, STATUS, STATUS, STATUS)
    equal(line.read(ENERGY_COMBINED), master.BAD_REPLY)
    line.expect(requests=3, failures=2, retries=2, stale=4)


def test_foreign_address() -> None:
    line = Line(0)
    line.answer(80, reply(OTHER, 0x91, b"\x03\x05\x00\x04\x50\x00") + STATUS)
    equal(line.read(di.STATUS_3), master.OK)
    line.answer(80, reply(OTHER, 0x91, b"\x03\x05\x00\x04\x50\x00"))
    equal(line.read(di.STATUS_3), master.FOREIGN)
    line.expect(requests=2, failures=1, retries=2, foreign=2)


def test_error_reply_is_not_retried() -> None:
    line = Line(0)
    line.answer(80, reply(METER, 0xD1, b"\x02"))
    equal(line.read(0x02010100), master.ABNORMAL)
    equal(line.master.error, 2)
    line.answer(80, reply(METER, 0xD1, b"\x02\x01"), reply(METER, 0xD1, b""))
    equal(line.read(0x02010100), master.ABNORMAL)
    equal(line.master.error, 0x102)
    line.replies.insert(0, (80, reply(METER, 0xD1, b"\x04")))
    equal(line.read(0x02010100), master.ABNORMAL)
    equal(line.master.error, 4)
    equal(line.read(0x02010100), master.ABNORMAL)
    equal(line.master.error, 0)
    line.expect(requests=4, abnormal=4)


def test_garbled_reply() -> None:
    wrong = bytearray(STATUS)
    wrong[15] ^= 0x10
    line = Line(TICKS_MASK - 1000)
    line.answer(80, bytes(wrong), STATUS)
    equal(line.read(di.STATUS_3), master.OK)
    equal(line.master.count("refused"), 1)
    equal(line.master.count("retries"), 1)
    line.answer(80, bytes(wrong), bytes(wrong), bytes(wrong))
    equal(line.read(di.STATUS_3), master.GARBLED)
    line.answer(80, b"\xfe\xfe", b"\xfe", b"\xfe")
    equal(line.read(di.STATUS_3), master.TIMEOUT, "wake-up bytes alone are no reply")


def test_every_flipped_reply_is_no_reply() -> None:
    line = Line(0)
    link = line.master
    for index in range(4, len(STATUS)):
        for bit in range(8):
            wrong = bytearray(STATUS)
            wrong[index] ^= 1 << bit
            link.start_read(METER, di.STATUS_3, line.ticks)
            line.ticks = ticks_add(line.ticks, 20)
            link.poll(line.ticks)
            link.sent(line.ticks)
            link.feed(wrong, len(wrong), line.ticks)
            equal(link.poll(line.ticks), master.BUSY, (index, bit))
            line.ticks = ticks_add(line.ticks, 499)
            equal(link.poll(line.ticks), master.BUSY, (index, bit))
            link.feed(STATUS, len(STATUS), line.ticks)
            outcome = link.poll(line.ticks)
            if outcome == master.BUSY:
                # A false length hides the good frame until the line has been silent.
                line.ticks = ticks_add(line.ticks, 500)
                outcome = link.poll(line.ticks)
            equal(outcome, master.OK, (index, bit))


def test_half_frame_before_the_reply_costs_one_gap() -> None:
    line = Line(0)
    line.answer(80, b"\x68\x01\x02\x03\x04\x05\x06\x68\x91\xc8" + STATUS)
    equal(line.read(di.STATUS_3), master.OK)
    check(580 <= line.ticks <= 600, line.ticks)
    line.expect(requests=1, noise=10)


def test_reply_longer_than_expected_is_waited_for() -> None:
    # 60 rates at 2400 bps take 1.2 s; a block of five was expected.
    data = b"\x00\xff\x01\x00" + b"\x11\x22\x33\x00" * 61
    frame = reply(METER, 0x91, data)
    link = Master()
    link.start_read(METER, di.ENERGY_FORWARD, 0)
    link.sent(0)
    ticks = 400
    for index in range(0, len(frame), 2):
        equal(link.poll(ticks), master.BUSY, ticks)
        link.feed(frame[index : index + 2], min(2, len(frame) - index), ticks)
        ticks += 9
    equal(link.poll(ticks), master.OK)
    equal(link.data_size, len(data))


def test_no_garbage_makes_a_master_deaf() -> None:
    seed = 0x645
    line = Line(TICKS_MASK - 5000)
    for round_number in range(60):
        chunk = bytearray(40)
        for index in range(40):
            seed = (seed * 1103 + 12345) & 0xFFFFFF
            chunk[index] = b"\x68\xfe\x16\x0c\x91\x37\x68\x00"[seed >> 13 & 7]
        size = seed >> 4 & 31
        # The frame comes outside a transaction, before a reply, and instead of the first reply.
        line.master.feed(chunk, size, line.ticks)
        if round_number & 1:
            line.answer(80, bytes(chunk[:size]) + STATUS)
        else:
            line.answer(80, bytes(chunk[:size]), STATUS)
        equal(line.read(di.STATUS_3), master.OK, round_number)
        equal(line.master.data_size, 6)
        line.replies.clear()


def test_endless_noise_ends() -> None:
    link = Master(attempts=1)
    link.start_read(METER, di.ENERGY_FORWARD, 0)
    link.sent(0)
    noise = b"\x68\x00\x11\x22" * 5
    ticks = 0
    while link.poll(ticks) == master.BUSY:
        link.feed(noise, len(noise), ticks)
        ticks += 20
        check(ticks < 4000, "never ends")
    equal(link.count("failures"), 1)
    check(link.count("noise") > 0)


def test_endless_foreign_replies_end() -> None:
    link = Master(attempts=1)
    link.start_read(METER, di.STATUS_3, 0)
    link.sent(0)
    foreign = reply(OTHER, 0x91, b"\x03\x05\x00\x04\x50\x00")
    ticks = 0
    outcome = link.poll(ticks)
    while outcome == master.BUSY:
        link.feed(foreign, len(foreign), ticks)
        ticks += 20
        check(ticks < 4000, "never ends")
        outcome = link.poll(ticks)
    equal(outcome, master.FOREIGN)


def test_relay_is_sent_once() -> None:
    for answer, outcome in (
        (b"", master.TIMEOUT),
        (reply(METER, 0x9C, b""), master.OK),
        (reply(METER, 0xDC, b"\x04"), master.ABNORMAL),
        (reply(OTHER, 0x9C, b""), master.FOREIGN),
        (STATUS, master.BAD_REPLY),
        (b"\x68\x00\x00", master.GARBLED),
    ):
        line = Line(TICKS_MASK - 100)
        line.answer(100, answer)
        line.master.start_relay(METER, codes.TRIP, PASSWORD, OPERATOR, 0, line.ticks)
        equal(line.run(), outcome)
        equal(len(line.sent), 1)
        equal(line.master.count("retries"), 0)


def test_relay_bytes() -> None:
    address = bytearray(b"\x56\x34\x12\x00\x00\x00")
    expiry_t2000 = 820540799  # 2025-12-31 23:59:59
    for name, action in (
        ("c43", codes.TRIP),
        ("c44", codes.PERMIT_CLOSE),
        ("c45", codes.CLOSE),
        ("c47", codes.ALARM_ON),
        ("c48", codes.ALARM_OFF),
        ("c49", codes.GUARD_ON),
        ("c50", codes.GUARD_OFF),
    ):
        line = Line(0)
        line.answer(50, reply(address, 0x9C, b""))
        line.master.start_relay(address, action, PASSWORD, OPERATOR, expiry_t2000, line.ticks)
        equal(line.run(), master.OK)
        expected = [row[1] for row in FRAMES if row[0] == name]
        equal(line.sent, expected, name)
    line = Line(0)
    line.master.start_relay(address, codes.CLOSE, PASSWORD, OPERATOR, master.NO_EXPIRY, line.ticks)
    equal(line.run(), master.TIMEOUT)
    equal(line.sent[0][-10:-2], bytes((0x1C + 0x33,)) + b"\x33" * 7)


def test_follow_up_is_flagged() -> None:
    line = Line(0)
    line.answer(50, reply(METER, 0xB1, b"\x01\x00\x30\x03" + bytes(190)), BLOCK)
    equal(line.read(0x03300001), master.OK)
    check(line.master.more)
    equal(line.master.data_size, 194)
    equal(line.read(ENERGY_COMBINED), master.OK)
    check(not line.master.more)


def test_pause_between_transactions() -> None:
    # The four wake-up bytes are 18 ms of the 20 at 2400 bps; one silent character is left.
    for baud, silence_ms in ((600, 19), (1200, 10), (2400, 5), (9600, 16), (115200, 20)):
        for start in STARTS:
            link = Master(baud, pause_ms=20)
            link.start_read(METER, di.STATUS_3, start)
            check(link.tx_size > 0, "nothing to wait for at first")
            link.sent(start)
            now = ticks_add(start, 100)
            link.feed(STATUS, len(STATUS), now)
            equal(link.poll(now), master.OK)
            link.start_read(METER, di.STATUS_3, ticks_add(now, 1))
            equal(link.tx_size, 0)
            equal(link.poll(ticks_add(now, silence_ms - 1)), master.BUSY)
            equal(link.tx_size, 0)
            equal(link.poll(ticks_add(now, silence_ms)), master.BUSY)
            check(link.tx_size > 0, baud)


def test_days_of_silence_do_not_block_the_line() -> None:
    for days_ms in (86400000, 3 * 86400000, 4 * 86400000, 6 * 86400000, TICKS_MASK):
        line = Line(12345)
        line.answer(50, STATUS, STATUS)
        equal(line.read(di.STATUS_3), master.OK)
        line.ticks = ticks_add(line.ticks, days_ms)
        began = line.ticks
        equal(line.read(di.STATUS_3), master.OK)
        check(ticks_diff(line.ticks, began) <= 80, days_ms)


def test_adapter_that_never_sends() -> None:
    link = Master(attempts=2)
    link.start_read(METER, di.STATUS_3, TICKS_MASK)
    ticks = TICKS_MASK
    while link.poll(ticks) == master.BUSY:
        ticks = ticks_add(ticks, 50)
    check(ticks_diff(ticks, TICKS_MASK) >= 2 * 1183, "twice the frame's time and a second")
    equal(link.tx_size, 0)
    equal(link.count("unsent"), 2)
    equal(link.count("failures"), 1)
    link.sent(ticks)
    equal(link.poll(ticks), master.IDLE)


def test_bytes_outside_a_transaction() -> None:
    line = Line(0)
    line.master.feed(STATUS, len(STATUS), line.ticks)
    equal(line.master.poll(line.ticks), master.IDLE)
    line.answer(50, STATUS)
    equal(line.read(di.STATUS_3), master.OK)
    line.answer(50, BLOCK + b"\x01\x02\x03", STATUS)
    equal(line.read(ENERGY_COMBINED), master.OK)
    equal(line.read(di.STATUS_3), master.OK)
    equal(line.master.count("stale"), 0)
    equal(line.master.count("unread"), 3)


def test_start_while_busy_is_our_mistake() -> None:
    link = Master()
    link.start_read(METER, di.STATUS_3, 0)
    raises(LocalError, link.start_read, METER, di.STATUS_3, 0)
    raises(LocalError, link.start_read_address, 0)
    raises(LocalError, link.start_relay, METER, codes.TRIP, PASSWORD, OPERATOR, 0, 0)
    raises(LocalError, link.feed, bytes(513), 513, 0)


def test_a_reading_does_not_allocate() -> None:
    link = Master()
    out = array("i", bytes(36))
    request = bytearray(64)
    # Ticks below 2**29 and every product of the deadlines stay small ints on 32 bits.
    now = TICKS_MASK - 200
    outcome = 0
    count = 0
    flipped = bytearray(BLOCK)
    flipped[20] ^= 1
    for chunk in (BLOCK, b"\x00\x68\x68" + BLOCK, bytes(flipped)):
        with heap_locked():
            link.start_read(METER, ENERGY_COMBINED, now)
            now = (now + 20) & TICKS_MASK
            link.poll(now)
            for index in range(link.tx_size):
                request[index] = link.tx[index]
            link.sent(now)
            link.feed(request, 20, now)
            link.poll(now)
            now = (now + 80) & TICKS_MASK
            link.feed(chunk, len(chunk), now)
            outcome = link.poll(now)
            if outcome == master.BUSY:
                now = (now + 510) & TICKS_MASK
                link.poll(now)
                link.feed(BLOCK, len(BLOCK), now)
                outcome = link.poll(now)
            count = di.decode(ENERGY_COMBINED, link.data, link.data_offset, link.data_size, out)
        equal(outcome, master.OK)
        equal(count, 5)
        equal(out[0], 4105810)
    equal(link.count("echoes"), 3)
    equal(link.count("refused"), 1)
