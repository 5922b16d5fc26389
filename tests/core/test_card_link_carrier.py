"""Goal: a card on the far side of the console's line is redeemed like a card at the board.

Method: the LinkCarrier gets frames made by hand: answers late, lost, repeated, wrong and of an
earlier request; then a whole redemption runs through it. The carrier runs with the heap locked.
"""

from struct import pack

from card import carrier, codes
from card.redemption import Redemption
from card_world import UID, FakeBooks, header, keys, memory
from concentrator.cards.link_carrier import TIMEOUT_MS, TRIES_LIMIT, LinkCarrier
from harness import check, equal, heap_locked
from uplink import link
from uplink.link import LinkReceiver

TICKS = 0x1FFFFF00  # near the wrap
LATER = (TICKS + TIMEOUT_MS) & 0x1FFFFFFF


def present(reader: LinkCarrier, seq: int = 3, uid: bytes = UID, size: int = 256) -> None:
    """Report a card on the far side."""
    body = bytearray(uid + pack("<H", size))
    reader.on_frame(link.CARD_PRESENT, seq, body, len(body))


def due(reader: LinkCarrier) -> "tuple[int, int, bytes] | None":
    """Return the frame that goes out next: (kind, seq, body)."""
    buf = bytearray(600)
    size = reader.encode_into(buf)
    if not size:
        return None
    receiver = LinkReceiver(320, 600)
    receiver.feed(buf, size)
    check(receiver.poll())
    return receiver.kind, receiver.seq, bytes(receiver.body[: receiver.body_size])


def answer(reader: LinkCarrier, kind: int, seq: int, body: bytes) -> None:
    """Send a frame from the far side."""
    reader.on_frame(kind, seq, bytearray(body), len(body))


def test_insertions_are_counted_once() -> None:
    reader = LinkCarrier()
    equal(reader.present, 0)
    present(reader, 3)
    present(reader, 3)
    equal((reader.present, reader.size, bytes(reader.uid)), (1, 256, UID))
    present(reader, 4, bytes(8), 512)
    equal((reader.present, reader.size, bytes(reader.uid)), (2, 512, bytes(8)))
    answer(reader, link.CARD_GONE, 4, b"")
    equal(reader.present, 0)
    present(reader, 4)
    equal(reader.present, 3)
    answer(reader, link.CARD_PRESENT, 5, UID)
    equal(reader.present, 3, "too short to be one")


def test_read_and_write() -> None:
    reader = LinkCarrier()
    present(reader)
    equal(reader.poll(TICKS), carrier.IDLE)
    reader.start_read(32, 4)
    equal(reader.poll(TICKS), carrier.BUSY)
    kind, seq, body = due(reader)  # type: ignore[misc]  # checked by the unpacking
    equal((kind, body), (link.CARD_READ, b"\x20\0\4\0"))
    equal(due(reader), None)
    answer(reader, link.CARD_DATA, seq, b"\0abcd")
    equal(reader.poll(TICKS), carrier.OK)
    equal(reader.poll(TICKS), carrier.IDLE)
    equal(bytes(reader.data[:4]), b"abcd")
    reader.start_write(0x120, b"\x7e\x7d\0", 3)
    kind, seq, body = due(reader)  # type: ignore[misc]  # checked by the unpacking
    equal((kind, body), (link.CARD_WRITE, b"\x20\1\x7e\x7d\0"))
    answer(reader, link.CARD_WRITTEN, seq, b"\1")
    equal(reader.poll(TICKS), carrier.FAILED)


def test_wrong_answers() -> None:
    reader = LinkCarrier()
    present(reader)
    reader.start_read(0, 4)
    _, seq, _ = due(reader)  # type: ignore[misc]  # checked by the unpacking
    for kind, number, body in (
        (link.CARD_DATA, seq + 1, b"\0abcd"),
        (link.CARD_DATA, seq, b""),
        (link.CARD_WRITTEN, seq, b"\0"),
        (link.CARD_READ, seq, b"\0abcd"),
    ):
        answer(reader, kind, number, body)
        equal(reader.poll(TICKS), carrier.BUSY, (kind, body))
    answer(reader, link.CARD_DATA, seq, b"\0abcde")
    equal(reader.poll(TICKS), carrier.FAILED, "more than was asked for")
    for body in (b"\0abc", b"\1abcd", b"\1", b"\0" + bytes(300)):
        reader.start_read(0, 4)
        _, seq, _ = due(reader)  # type: ignore[misc]  # checked by the unpacking
        answer(reader, link.CARD_DATA, seq, body)
        equal(reader.poll(TICKS), carrier.FAILED, body)


def test_silence_is_asked_again_and_ends() -> None:
    reader = LinkCarrier()
    present(reader)
    reader.start_read(0, 4)
    ticks = TICKS
    sent = 0
    for _ in range(10 * TIMEOUT_MS):
        if due(reader):
            sent += 1
        if reader.poll(ticks) == carrier.FAILED:
            break
        ticks = (ticks + 1) & 0x1FFFFFFF
    equal(sent, TRIES_LIMIT)
    equal(reader.poll(ticks), carrier.IDLE)
    reader.start_read(0, 4)
    reader.poll(LATER)
    first = due(reader)
    reader.poll(LATER)
    reader.poll((LATER + TIMEOUT_MS) & 0x1FFFFFFF)
    equal(due(reader), first, "the same request again, to be answered from memory")


def test_the_time_of_an_answer_begins_when_the_request_has_left() -> None:
    """A seed found that a request sent before the next poll counted as unanswered at once."""
    reader = LinkCarrier()
    present(reader)
    reader.start_read(0, 4)
    check(due(reader))
    equal(reader.poll(TICKS), carrier.BUSY)
    equal(reader.poll(TICKS + TIMEOUT_MS - 1), carrier.BUSY)
    equal(due(reader), None)
    equal(reader.poll(LATER), carrier.BUSY)
    check(due(reader))


def test_the_result_is_repeated_to_who_asks_again() -> None:
    reader = LinkCarrier()
    present(reader, 9)
    present(reader, 9)
    equal(due(reader), None)
    reader.show(codes.USED, False, -1)
    result = (link.CARD_RESULT, 9, bytes((codes.USED, 0, 0xFF, 0xFF)))
    equal(due(reader), result)
    equal(due(reader), None)
    present(reader, 9)
    equal(due(reader), result)
    present(reader, 10)
    equal(due(reader), None, "another card has its own")
    answer(reader, link.CARD_GONE, 10, b"")
    reader.show(codes.PULLED, False, -1)
    equal(due(reader), None, "nobody is there to be told")


def test_card_gone_in_mid_operation() -> None:
    reader = LinkCarrier()
    present(reader)
    reader.start_read(0, 4)
    answer(reader, link.CARD_GONE, 3, b"")
    equal(reader.poll(TICKS), carrier.FAILED)
    equal(due(reader), None)


def serve(reader: LinkCarrier, redemption: Redemption, card: bytearray, lost: int) -> bytes:
    """Play the far side until there is a result; one request of `lost` is not answered."""
    ticks = TICKS
    count = 0
    while True:
        redemption.poll(ticks, 0)
        ticks = (ticks + TIMEOUT_MS // 2) & 0x1FFFFFFF
        frame = due(reader)
        if frame is None:
            continue
        kind, seq, body = frame
        count += 1
        offset = body[0] | body[1] << 8
        if kind == link.CARD_RESULT:
            return body
        if lost and count % lost == 0:
            continue
        if kind == link.CARD_READ:
            answer(reader, link.CARD_DATA, seq, b"\0" + card[offset : offset + body[2]])
        else:
            card[offset : offset + len(body) - 2] = body[2:]
            answer(reader, link.CARD_WRITTEN, seq, b"\0")


def test_a_whole_redemption() -> None:
    reader = LinkCarrier()
    books = FakeBooks(last=4)
    redemption = Redemption(reader, books, keys())
    card = memory(header(5))
    for insertion, lost, code in ((1, 0, codes.OK), (2, 2, codes.USED), (3, 3, codes.COMPLETED)):
        if code == codes.COMPLETED:
            card[120:184] = bytes(64)
        present(reader, insertion)
        result = serve(reader, redemption, card, lost)
        equal(result, bytes((code, code == codes.OK, 7, 0)), insertion)
        answer(reader, link.CARD_GONE, insertion, b"")
        redemption.poll(TICKS, 0)
    equal(books.credits, [(5, 5000)])


def test_no_allocation() -> None:
    reader = LinkCarrier()
    body = bytearray(UID + b"\0\1")
    data = bytearray(b"\0abcd")
    buf = bytearray(600)
    with heap_locked():
        reader.on_frame(link.CARD_PRESENT, 1, body, 10)
        reader.start_read(32, 4)
        reader.poll(TICKS)
        reader.encode_into(buf)
        reader.on_frame(link.CARD_DATA, 1, data, 5)
        outcome = reader.poll(TICKS)
        reader.start_write(32, data, 5)
        reader.encode_into(buf)
        reader.show(codes.OK, True, 7)
        reader.encode_into(buf)
    equal(outcome, carrier.OK)
