"""Goal: ChaCha20 is the one everybody has.

Method: the test vectors of RFC 8439 sections 2.4.2 and A.2; every length and place in a buffer
against the key stream that those give; nothing outside the part is touched.
"""

from binascii import unhexlify

from crypto.chacha20 import xor_into
from harness import check, equal

KEY = bytes(range(32))
NONCE = b"\0\0\0\0\0\0\0\x4a\0\0\0\0"
# RFC 8439 2.4.2: the second and third block of this key stream encrypt its text.
PLAIN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it."
)
SEALED = (
    "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b"
    "f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8"
    "07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"
    "5af90bbf74a35be6b40b8eedf2785e42874d"
)
# RFC 8439 A.2, test vector 1: the key stream of zeros, block 0.
ZEROS = (
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
)


def test_published_text() -> None:
    buf = bytearray(64) + bytearray(PLAIN)
    xor_into(KEY, NONCE, buf, 0, len(buf))
    equal(bytes(buf[64:]), unhexlify(SEALED))
    xor_into(KEY, NONCE, buf, 0, len(buf))
    equal(bytes(buf[64:]), PLAIN)


def test_published_key_stream() -> None:
    buf = bytearray(64)
    xor_into(bytes(32), bytes(12), buf, 0, 64)
    equal(bytes(buf), unhexlify(ZEROS))


def test_every_length_and_place() -> None:
    stream = bytearray(200)
    xor_into(KEY, NONCE, stream, 0, 200)
    for size in (0, 1, 2, 3, 31, 63, 64, 65, 127, 128, 129, 190):
        for start in (0, 1, 2, 3, 7):
            buf = bytearray(size + 10)
            xor_into(KEY, NONCE, buf, start, start + size)
            check(not any(buf[:start]) and not any(buf[start + size :]), (size, start))
            equal(bytes(buf[start : start + size]), bytes(stream[:size]), (size, start))


def test_key_and_nonce_all_count() -> None:
    reference = bytearray(64)
    xor_into(KEY, NONCE, reference, 0, 64)
    for place in range(44):
        key, nonce = bytearray(KEY), bytearray(NONCE)
        changed = key if place < 32 else nonce
        changed[place % 32] ^= 0x80
        buf = bytearray(64)
        xor_into(key, nonce, buf, 0, 64)
        check(buf != reference, place)
