"""Goal: every function of both standards is sent with the standard's bytes, once unless it is
safe to repeat, and its reply or refusal is told from everything else.

Method: the constructed frames of the vectors, sent through `start`, answered by their replies;
the functions of 1997 and the broadcasts, which the vectors lack, are written out here as bytes.
"""

from array import array

from dlt645 import clock, master, reply_delay
from dlt645.errors import LocalError
from dlt645.frame import Receiver
from dlt645_line import METER, OTHER, Line, reply
from harness import check, equal, heap_locked, raises
from ticks import TICKS_MASK, ticks_add, ticks_diff
from vectors_dlt645 import FRAMES

BY_NAME = {row[0]: row[1] for row in FRAMES if row[0][0] == "c"}

# Each row has a request, its good replies, and refusals.
EXCHANGES = (
    ("c03", ("c04",), ("c07",)),
    ("c05", ("c06",), ("c07",)),
    ("c08", ("c12",), ("c13",)),
    ("c09", ("c12",), ("c13",)),
    ("c10", ("c12",), ("c13",)),
    ("c11", ("c12",), ("c13",)),
    ("c14", ("c15",), ()),
    ("c16", ("c20",), ()),
    ("c17", ("c20",), ()),
    ("c18", ("c20",), ()),
    ("c19", ("c20",), ()),
    ("c21", ("c22",), ("c33",)),
    ("c23", ("c24",), ("c33",)),
    ("c25", ("c26",), ("c33",)),
    ("c27", ("c28",), ("c33",)),
    ("c29", ("c30",), ("c33",)),
    ("c31", ("c32",), ("c33",)),
    ("c34", ("c35",), ()),
    ("c36", ("c37",), ()),
    ("c38", ("c39",), ()),
    ("c40", ("c42",), ()),
    ("c41", ("c42",), ()),
    ("c43", ("c51",), ("c52", "c53")),
    ("c46", ("c51",), ("c52", "c53")),
    ("c54", ("c55",), ()),
    ("c58", ("c59", "c60"), ("c61", "c63", "c64", "c65")),
    ("c68", ("c70",), ("c62", "c66", "c67")),
    ("c71", ("c72",), ()),
)
REQUESTS_ONLY = ("c56", "c57", "c69", "c73", "c74", "c75")
REPEATED = (0x11, 0x12, 0x13)


def start(line: Line, name: str, attempts: int = 0) -> int:
    """Start the request called `name` from its parts; return its control byte."""
    receiver = Receiver()
    frame = BY_NAME[name]
    receiver.feed(frame, len(frame))
    line.master.start(
        receiver.address,
        receiver.control,
        receiver.data,
        receiver.data_size,
        line.ticks,
        attempts,
    )
    return receiver.control


def test_requests_and_replies_of_2007() -> None:
    for name, answers, refusals in EXCHANGES:
        for answer in answers:
            line = Line(TICKS_MASK - 100)
            line.answer(60, BY_NAME[answer])
            start(line, name)
            equal(line.run(), master.OK, (name, answer))
            equal(line.sent, [BY_NAME[name]], name)
        for refusal in refusals:
            line = Line(0)
            line.answer(60, BY_NAME[refusal])
            start(line, name)
            equal(line.run(), master.ABNORMAL, (name, refusal))
            equal(len(line.sent), 1, name)
    for name in REQUESTS_ONLY:
        line = Line(0)
        start(line, name)
        line.run()
        equal(line.sent[0], BY_NAME[name], name)


def test_only_reads_are_repeated() -> None:
    for name, _, _ in EXCHANGES:
        line = Line(0)
        control = start(line, name)
        equal(line.run(), master.TIMEOUT, name)
        equal(len(line.sent), 3 if control in REPEATED else 1, name)
    line = Line(0)
    start(line, "c08", 2)
    equal(line.run(), master.TIMEOUT)
    equal(len(line.sent), 2, "its caller knows better")


def test_reply_to_another_function_is_none() -> None:
    for name, _, _ in EXCHANGES:
        line = Line(0)
        line.answer(60, reply(BY_NAME["c04"][5:11], 0x9F, b""))
        start(line, name, 1)
        outcome = line.run()
        equal(outcome, master.BAD_REPLY, name)


def test_follow_up_parts() -> None:
    line = Line(0)
    line.answer(60, BY_NAME["c04"], BY_NAME["c06"])
    start(line, "c03")
    equal(line.run(), master.OK)
    link = line.master
    check(link.more)
    whole = BY_NAME["c04"]
    size = whole[13] - 5
    equal(link.data_size - link.data_offset, size)
    equal(bytes(link.data[4 : link.data_size]), bytes([byte - 0x33 for byte in whole[18:-3]]))
    start(line, "c05")
    equal(line.run(), master.OK)
    check(not link.more)
    # The part of another number is no answer: the part is asked for again.
    line.answer(60, BY_NAME["c04"], BY_NAME["c06"])
    start(line, "c05")
    equal(line.run(), master.OK)
    equal(line.sent[-2:], [BY_NAME["c05"]] * 2)
    equal(link.count("stale"), 1)


def test_security_refusals_leave_their_word() -> None:
    refusals = (
        ("c61", 0x01),
        ("c62", 0x02),
        ("c63", 0x04),
        ("c64", 0x08),
        ("c65", 0x10),
        ("c66", 0x20),
        ("c67", 0x40),
    )
    for name, word in refusals:
        line = Line(0)
        line.answer(60, BY_NAME[name])
        start(line, "c68")
        equal(line.run(), master.ABNORMAL)
        equal(line.master.error, word)


def test_broadcasts_are_not_answered() -> None:
    everyone = bytearray(b"\x99" * 6)
    request = bytearray(6)
    clock.encode_into(request, 0, 815_227_582)  # 2025-10-31 12:06:22
    for start_ticks in (0, TICKS_MASK - 20):
        line = Line(start_ticks)
        line.master.start(everyone, 0x08, request, 6, line.ticks)
        equal(line.run(), master.OK)
        equal(line.sent, [BY_NAME["c01"]])
        # 22 bytes at 2400 bps are on their way for 101 ms.
        check(101 <= ticks_diff(line.ticks, start_ticks) <= 120)
        line.expect(requests=1)
    line = Line(0)
    line.master.start(everyone, 0x16, b"\x99\x99\x99\x99", 4, line.ticks)
    equal(line.run(), master.OK)
    check(line.ticks < 120)
    # To one meter the same command waits for an answer.
    line.master.start(METER, 0x16, b"\x99\x99\x99\x99", 4, line.ticks)
    equal(line.run(), master.TIMEOUT)
    # A broadcast that was never sent is no success.
    link = line.master
    link.start(everyone, 0x08, request, 6, line.ticks)
    outcome = master.BUSY
    while outcome == master.BUSY:
        line.ticks = ticks_add(line.ticks, 50)
        outcome = link.poll(line.ticks)
    equal(outcome, master.TIMEOUT)
    equal(link.count("unsent"), 1)


def test_functions_of_1997() -> None:
    password = b"\x02\x33\x22\x11"
    cases = (
        # Each row: control, request, good reply, number of attempts, refusal.
        (0x01, b"\x10\x90", b"\x10\x90\x78\x56\x34\x12", 3, b"\x02"),
        (0x02, b"\x1f\x90", b"\x1f\x90\x78\x56\x34\x12\xaa", 1, b"\x02"),
        (0x03, b"", b"\x1f\x90\x78\x56\x34\x12\xaa", 3, b"\x01"),
        (0x04, b"\x28\xc0" + password + b"\x55\x33", b"", 1, b"\x04"),
        (0x0A, b"\x64\x37\x98\x00\x00\x00", b"", 1, b"\x01"),
        (0x0C, b"\x08", b"\x08", 1, b"\x01"),
        (0x0F, password + b"\x02\x66\x55\x44", b"\x02\x66\x55\x44", 1, b"\x04"),
        (0x10, b"", b"", 1, b"\x01"),
    )
    for control, request, answer, attempts, refusal in cases:
        line = Line(0)
        line.master.start(METER, control, request, len(request), line.ticks)
        equal(line.run(), master.TIMEOUT, control)
        equal(line.sent, [reply(METER, control, request)] * attempts, control)
        line.answer(60, reply(METER, control | 0x80, answer))
        line.master.start(METER, control, request, len(request), line.ticks)
        equal(line.run(), master.OK, control)
        equal(line.master.data_size, len(answer))
        line.answer(60, reply(METER, control | 0xC0, refusal))
        line.master.start(METER, control, request, len(request), line.ticks)
        equal(line.run(), master.ABNORMAL, control)
        equal(line.master.error, refusal[0])
    line = Line(0)
    line.answer(60, reply(METER, 0xA1, b"\x1f\x90" + bytes(40)))
    line.master.start(METER, 0x01, b"\x1f\x90", 2, line.ticks)
    equal(line.run(), master.OK)
    check(line.master.more)


def test_load_profile_requests() -> None:
    di_bytes = b"\x01\x01\x00\x06"
    for rest in (b"\x03", b"\x03\x30\x12\x31\x12\x25"):
        request = di_bytes + rest
        line = Line(0)
        line.answer(60, reply(METER, 0x91, di_bytes + b"\xa0\xa0" + bytes(20)))
        line.master.start(METER, 0x11, request, len(request), line.ticks)
        equal(line.run(), master.OK)
        equal(line.sent, [reply(METER, 0x11, request)])
        equal((line.master.data_offset, line.master.data_size), (4, 26))


def test_a_request_too_long_is_our_mistake() -> None:
    line = Line(0)
    line.master.start(METER, 0x14, bytes(200), 200, 0)
    line.run()
    equal(len(line.sent[0]), 216)
    raises(LocalError, line.master.start, METER, 0x14, bytes(201), 201, 0)


def test_listening_hears_everyone() -> None:
    line = Line(0)
    link = line.master
    anyone = bytearray(b"\xaa" * 6)
    one = reply(METER, 0x91, b"\x00\x00\x01\x00" + bytes(4))
    two = reply(OTHER, 0x91, b"\x00\x00\x01\x00" + bytes(4))
    refusal = reply(OTHER, 0xD1, b"\x02")
    request = b"\x00\x00\x01\x00"
    for chunk, heard, end in (
        (b"", [], master.TIMEOUT),
        (one, [bytes(METER)], master.TIMEOUT),
        (one + two, [bytes(METER), bytes(OTHER)], master.TIMEOUT),
        (one + refusal, [bytes(METER), bytes(OTHER)], master.TIMEOUT),
        (one + b"\x68\x10\x22" + two, [bytes(METER), bytes(OTHER)], master.GARBLED),
        (b"\x68\x10\x22", [], master.GARBLED),
    ):
        line = Line(TICKS_MASK - 300)
        link = line.master
        link.start_listening(anyone, 0x11, request, 4, line.ticks)
        found = []
        ticks = line.ticks
        while link.busy:
            if link.tx_size:
                link.sent(ticks)
                link.feed(chunk, len(chunk), ticks)
            outcome = link.poll(ticks)
            if outcome in (master.OK, master.ABNORMAL):
                found.append(bytes(link.address))
            ticks = ticks_add(ticks, 10)
        equal(found, heard, chunk)
        equal(outcome, end, chunk)
        check(ticks_diff(ticks, line.ticks) > 500, "its time is over, not the first reply's")


def learnt(line: Line, note: int, *delays_ms: int) -> int:
    """Return the note after reads that were answered after `delays_ms`, -1: not at all."""
    status = reply(METER, 0x91, b"\x03\x05\x00\x04\x50\x00")
    for delay_ms in delays_ms:
        if delay_ms >= 0:
            line.answer(delay_ms, status)
        line.master.expect(note)
        outcome = line.read(0x04000503)
        note = line.master.learn(note, outcome)
    return note


def test_a_quick_meter_that_is_down_costs_little() -> None:
    line = Line(TICKS_MASK - 2000)
    # The reply is whole 260 ms after the request is begun: 193 ms are wire time.
    note = learnt(line, 0, 260, 260, 260)
    check(60 <= (note & 0xFF) * 4 <= 80, note)
    began = line.ticks
    missed = learnt(line, note, -1)
    equal(missed >> 8, 1)
    # 194 ms of wire time and 500 ms, the first time about 160 ms: three attempts.
    check(1700 < ticks_diff(line.ticks, began) < 1900, ticks_diff(line.ticks, began))
    began = line.ticks
    equal(learnt(line, missed, -1) >> 8, 2)
    check(ticks_diff(line.ticks, began) < 740, "one attempt")
    equal(learnt(line, missed, 260) >> 8, 0)


def test_a_slow_meter_is_learnt() -> None:
    line = Line(0)
    note = learnt(line, 0, 260, 260)
    # The meter is slower than was learnt: the second attempt waits, and the value grows.
    for _ in range(6):
        note = learnt(line, note, 600)
    before = line.master.count("retries")
    learnt(line, note, 600, 600, 600)
    equal(line.master.count("retries"), before)


def test_patience() -> None:
    with heap_locked():
        note = reply_delay.answered(0, 0)
        note = reply_delay.answered(note, 5000)
        top = note
        note = reply_delay.missed(reply_delay.late(note))
        for _ in range(300):
            note = reply_delay.missed(note)
    equal(top, 255)
    equal(note, 0xFFFF)
    equal(reply_delay.rest_s(note), 3600)
    equal(
        [reply_delay.rest_s(misses << 8) for misses in range(8)],
        [0, 0, 60, 120, 240, 480, 960, 1920],
    )
    equal(reply_delay.attempts(0x0010, 3), 3)
    equal(reply_delay.attempts(0x0110, 3), 1)
    equal(reply_delay.delay_ms(0x0300), 0)
    note = 200
    for _ in range(100):
        note = reply_delay.answered(note, 40)
    equal(note, 11, "forgotten in the end")
    notes = array("H", (0xFFFF,))
    notes[0] = reply_delay.missed(notes[0])
