"""Goal: records keep every byte, and nothing altered passes for genuine.

Method: one record written out byte for byte; every bit of a record flipped; published
HMAC-SHA256 vectors (RFC 4231).
"""

from binascii import hexlify, unhexlify

from crypto.hmac import Hmac, same
from harness import check, equal
from uplink import record
from uplink.record import RECORD_SIZE

# RFC 4231, cases 1, 2, 3, 6 and 7: key, message, HMAC-SHA256.
HMACS = (
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)


def relay_record(seq: int) -> bytearray:
    """Return a RELAY record: opened, confirmed, status 0010, balance -1 fen."""
    buf = bytearray(RECORD_SIZE)
    buf[12:22] = b"\x01\x02\x03\x00\x10\x00\xff\xff\xff\xff"
    record.encode_into(buf, 0, seq, 0x1234ABCD, record.RELAY, 5, 300)
    return buf


def test_hmac_vectors() -> None:
    for key, message, expected in HMACS:
        out = bytearray(32)
        Hmac(key).digest_into(b"", message + b"more", len(message), out)
        equal(hexlify(out).decode(), expected)
        short = bytearray(8)
        Hmac(key).digest_into(message[:2], message[2:], len(message) - 2, short)
        equal(short, out[:8])


def test_same_compares_each_byte() -> None:
    left = bytearray(b"xx0123456789")
    check(same(left, 2, b"0123456789", 0, 10))
    for index in range(2, 12):
        left[index] ^= 0x80
        check(not same(left, 2, b"0123456789", 0, 10), index)
        left[index] ^= 0x80
    check(same(left, 0, b"zz", 0, 0))


def test_record_bytes() -> None:
    expected = unhexlify("07000000cdab341204052c01" + "0102030010" + "00ffffffff" + "00" * 38)
    buf = relay_record(7)
    equal(bytes(buf[:60]), expected)
    equal(bytes(buf[60:]), b"\x97\x75\x3a\x27")
    equal(record.seq_at(buf, 0), 7)
    equal(record.t2000_at(buf, 0), 0x1234ABCD)
    equal(record.kind_at(buf, 0), record.RELAY)
    equal(record.flags_at(buf, 0), 5)
    equal(record.index_at(buf, 0), 300)


def test_record_at_an_offset() -> None:
    buf = bytearray(3 * RECORD_SIZE)
    buf[RECORD_SIZE : 2 * RECORD_SIZE] = relay_record(9)
    check(record.verify(buf, RECORD_SIZE))
    check(not record.verify(buf, 0), "sequence 0")
    check(not record.verify(buf, 3 * RECORD_SIZE), "behind the end")
    check(not record.verify(buf, 2 * RECORD_SIZE + 1), "cut")
    equal(record.seq_at(buf, RECORD_SIZE), 9)


def test_record_highest_values() -> None:
    buf = bytearray(RECORD_SIZE)
    record.encode_into(buf, 0, 0xFFFFFFFF, 0xFFFFFFFE, 255, 255, 65535)
    check(record.verify(buf, 0))
    equal(record.seq_at(buf, 0), 0xFFFFFFFF)
    equal(record.t2000_at(buf, 0), 0xFFFFFFFE)
    equal(record.index_at(buf, 0), 65535)


def test_record_every_flipped_bit() -> None:
    buf = relay_record(7)
    for index in range(RECORD_SIZE):
        for bit in range(8):
            buf[index] ^= 1 << bit
            check(not record.verify(buf, 0), (index, bit))
            buf[index] ^= 1 << bit
    check(record.verify(buf, 0))
