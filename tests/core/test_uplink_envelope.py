"""Goal: nothing on the uplink can be read, altered, replayed or passed off as something else.

Method: one message of each direction written out byte for byte, made by another implementation;
every bit of a sealed body, of its key and of the journal's identity flipped; messages of another
epoch, number and kind; what is sealed never shows the payload, and no number comes twice.
"""

from binascii import hexlify

from above import Above
from harness import check, equal
from uplink import envelope
from uplink.envelope import Envelope

KEY = bytes(range(32))
JOURNAL = b"journal!"
NUMBER = 0x01020304
BATCH = 0x21
ACK = 0xA1


def sealed(one: Envelope, kind: int, payload: bytes) -> bytes:
    body = bytearray(envelope.OVERHEAD + len(payload))
    body[envelope.PAYLOAD : envelope.PAYLOAD + len(payload)] = payload
    equal(one.seal(kind, body, len(payload)), len(body))
    return bytes(body)


def opened(one: Envelope, kind: int, body: bytes) -> "bytes | int":
    """The payload, or the refusal."""
    buf = bytearray(body)
    size = one.open(kind, buf, len(body))
    return size if size < 0 else bytes(buf[envelope.ANSWER : envelope.ANSWER + size])


def test_bytes_of_a_message() -> None:
    one = Envelope(KEY, NUMBER, JOURNAL, 41, 257)
    body = sealed(one, BATCH, b"\x39\x30\0\0")
    equal(one.number, 258)
    equal(
        hexlify(body).decode(),
        "02040302016a6f75726e616c2129000000020100008830eb62114a3738aa75c22f",
    )


def test_bytes_of_an_answer() -> None:
    one = Envelope(KEY, NUMBER, JOURNAL, 41, 257)
    above = Above(KEY, NUMBER, JOURNAL)
    above.open(BATCH, sealed(one, BATCH, b""))
    above.stamp = 0x0102030405060707
    body = above.seal(ACK, b"\x39\x30\0\0")
    equal(
        hexlify(body).decode(),
        "020403020102010000080706050403020181390f53b05d39af5b66565e55b3089967b77a41",
    )
    equal(opened(one, ACK, body), b"\x39\x30\0\0")
    equal(envelope.answered_at(bytearray(body)), 258)


def test_both_ways_at_every_length() -> None:
    one = Envelope(KEY, NUMBER, JOURNAL, 1)
    above = Above(KEY, NUMBER, JOURNAL)
    for size in (0, 1, 4, 63, 64, 65, 512, 571):
        payload = bytes([index & 0xFF for index in range(size)])
        equal(above.open(BATCH, sealed(one, BATCH, payload)), payload, size)
        equal(opened(one, ACK, above.seal(ACK, payload)), payload, size)


def test_numbers_grow_and_hide_the_payload() -> None:
    one = Envelope(KEY, NUMBER, JOURNAL, 1)
    payload = b"003100000001" * 4
    seen = [sealed(one, BATCH, payload) for _ in range(20)]
    one.begin(2)
    seen.append(sealed(one, BATCH, payload))
    texts = [body[envelope.PAYLOAD : -8] for body in seen]
    equal(len(set(texts)), len(texts))
    check(not any(payload[:6] in body for body in seen))
    numbers = [body[13:21] for body in seen]
    equal(len(set(numbers)), len(numbers))


def test_every_flipped_bit_is_refused() -> None:
    one = Envelope(KEY, NUMBER, JOURNAL, 1)
    above = Above(KEY, NUMBER, JOURNAL)
    above.open(BATCH, sealed(one, BATCH, b""))
    body = above.seal(ACK, b"\x05\0\0\0")
    equal(opened(one, ACK, body), b"\x05\0\0\0")
    for index in range(len(body)):
        for bit in range(8):
            broken = bytearray(body)
            broken[index] ^= 1 << bit
            result = one.open(ACK, broken, len(broken))
            check(result < 0, (index, bit))
    for short in range(len(body)):
        check(one.open(ACK, bytearray(body), short) < 0, short)


def test_another_key_journal_epoch_kind_or_board() -> None:
    one = Envelope(KEY, NUMBER, JOURNAL, 7)
    above = Above(KEY, NUMBER, JOURNAL)
    above.open(BATCH, sealed(one, BATCH, b""))
    body = above.seal(ACK, b"\x05\0\0\0")
    equal(opened(one, 0xA0, body), envelope.BAD_MAC)
    equal(opened(Envelope(KEY, NUMBER + 1, JOURNAL, 7), ACK, body), envelope.FOREIGN)
    equal(opened(Envelope(KEY, NUMBER, JOURNAL, 8), ACK, body), envelope.BAD_MAC)
    equal(opened(Envelope(KEY, NUMBER, b"journal?", 7), ACK, body), envelope.BAD_MAC)
    equal(opened(Envelope(KEY, NUMBER, JOURNAL, 7), ACK, bytes((1,)) + body[1:]), -2)
    for index in range(len(KEY)):
        key = bytearray(KEY)
        key[index] ^= 1
        equal(opened(Envelope(key, NUMBER, JOURNAL, 7), ACK, body), envelope.BAD_MAC, index)
    # What the device itself sent does not come back as an answer.
    check(one.open(BATCH, bytearray(sealed(one, BATCH, bytes(20))), 49) < 0)
