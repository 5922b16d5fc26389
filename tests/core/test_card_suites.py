"""Goal: the MACs of all suites are the published ones, with and without a port's own AES.

Method: the vectors of FIPS 197, RFC 4493 and GB/T 32907, and a CMAC under SM4; an image under each
suite, and under one without its cipher; the blocks that each poll encrypts, and the card pulled at
each of them.
"""

import sys
from binascii import hexlify, unhexlify

from card import codes
from card.image import Image
from card_world import (
    DISTRICT_KEY,
    NOW,
    UID,
    WRITE_BACK,
    World,
    finish,
    header,
    hmac,
    keys,
    memory,
)
from crypto import sm4
from crypto.aes import Aes
from crypto.cmac import SUITE_AES_CMAC, SUITE_SM4_CMAC, cipher_of, cmac_into
from crypto.sm4 import Sm4
from harness import check, equal

AES_KEY = unhexlify("2b7e151628aed2a6abf7158809cf4f3c")
SM4_KEY = unhexlify("0123456789abcdeffedcba9876543210")
TEXT = unhexlify(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
AES_BLOCKS = (
    (
        "2b7e151628aed2a6abf7158809cf4f3c",
        "3243f6a8885a308d313198a2e0370734",
        "3925841d02dc09fbdc118597196a0b32",
    ),
    (
        "000102030405060708090a0b0c0d0e0f",
        "00112233445566778899aabbccddeeff",
        "69c4e0d86a7b0430d8cdb78070b4c55a",
    ),
)
AES_VECTORS = (
    (0, "bb1d6929e95937287fa37d129b756746"),
    (16, "070a16b46b4d4144f79bdd9dd04a287c"),
    (40, "dfa66747de9ae63030ca32611497c827"),
    (64, "51f0bebf7e3b9d92fc49741779363cfe"),
)


def cmac(suite: int, key: bytes, message: bytes) -> str:
    """Return the whole CMAC as hexadecimal digits, "" where the cipher is missing."""
    out = bytearray(16)
    make_cipher = cipher_of(suite)
    if make_cipher is None:
        return ""
    finish(cmac_into(make_cipher(key), message, out))
    return hexlify(out).decode()


def image_under(suite: int) -> Image:
    """Return a header under `suite`, with a MAC made by the CMAC of the vectors."""
    image = Image()
    image.buf[:88] = header(5, suite=suite)
    account_key = hmac(DISTRICT_KEY, b"dianka/key/account/1\0" + bytes(image.buf[12:18]))[:16]
    message = b"dianka/card/1\0I" + UID + bytes(image.buf[:80])
    image.buf[80:88] = unhexlify(cmac(suite, account_key, message)[:16])
    return image


def test_sm4_block() -> None:
    block = bytearray(SM4_KEY)
    Sm4(SM4_KEY).encrypt_into(block)
    equal(hexlify(block), b"681edf34d206965e86b3e94f536e4246")


def test_sm4_cmac() -> None:
    equal(cmac(SUITE_SM4_CMAC, SM4_KEY, b"abc"), "8e75238ac2672a6aee408c1e251854d8")


def test_aes_block() -> None:
    """The vectors are of FIPS 197, appendices B and C.1; they run twice: the key expands once."""
    for key, plain, expected in AES_BLOCKS:
        cipher = Aes(unhexlify(key))
        for _ in range(2):
            block = bytearray(unhexlify(plain))
            cipher.encrypt_into(block)
            equal(hexlify(block).decode(), expected)


def test_aes_is_the_one_of_the_port() -> None:
    """Both give the same for a thousand blocks, each made of the one before."""
    try:
        from cryptolib import aes
    except ImportError:
        return
    ours, own = Aes(AES_KEY), aes(AES_KEY, 1)
    block = bytearray(16)
    other = bytearray(16)
    for count in range(1000):
        ours.encrypt_into(block)
        own.encrypt(other, other)
        equal(block, other, count)


def test_aes_cmac() -> None:
    for size, expected in AES_VECTORS:
        equal(cmac(SUITE_AES_CMAC, AES_KEY, TEXT[:size]), expected, size)
    equal(finish(image_under(SUITE_AES_CMAC).load(keys(), UID)), codes.OK)


def test_aes_cmac_without_the_ports_own() -> None:
    for size, expected in AES_VECTORS:
        out = bytearray(16)
        finish(cmac_into(Aes(AES_KEY), TEXT[:size], out))
        equal(hexlify(out).decode(), expected, size)


def test_a_subkey_whose_top_byte_becomes_zero() -> None:
    """None of a hundred keys has one; these were found by search, their MACs by OpenSSL."""
    key = unhexlify("0000000000000000000000000000014c")
    for message, expected in (
        (bytes(range(16)), "d91d99b1a7a514a8ddc350380d349778"),
        (b"abc", "952134b1e5af23a6fed6f35b644c6637"),
    ):
        equal(cmac(SUITE_AES_CMAC, key, message), expected)


def test_an_image_under_sm4() -> None:
    image = image_under(SUITE_SM4_CMAC)
    equal(finish(image.load(keys(), UID)), codes.OK)
    image.buf[36] ^= 1
    equal(finish(image.load(keys(), UID)), codes.MAC)


def test_a_mac_of_another_suite_is_none() -> None:
    image = Image()
    image.buf[:88] = header(5)
    image.buf[3] = SUITE_SM4_CMAC
    equal(finish(image.load(keys(), UID)), codes.MAC)


def test_a_cipher_is_made_and_each_block_encrypted_in_a_step_of_its_own() -> None:
    """With SM4 each of these takes half a million instructions and more."""
    work = []

    class Counted(sm4.Sm4):
        """This notes when it is made and used."""

        def __init__(self, key: "bytes | bytearray") -> None:
            work.append("make")
            super().__init__(key)

        def encrypt_into(self, block: bytearray) -> None:
            work.append("encrypt")
            super().encrypt_into(block)

    image = image_under(SUITE_SM4_CMAC)
    used = keys()
    kept = sm4.Sm4
    sm4.Sm4 = Counted  # type: ignore[misc]  # until the end of this test
    try:
        steps = image.load(used, UID)
        code = -1
        while code < 0:
            before = len(work)
            try:
                next(steps)
            except StopIteration as end:
                code = end.value
            check(len(work) <= before + 1, work[before:])
        equal(code, codes.OK)
        check(len(work) > 7, work)
        equal(work.count("make"), 1)
    finally:
        sm4.Sm4 = kept  # type: ignore[misc]  # as before


def test_a_cipher_that_was_left_out() -> None:
    left_out = ("cryptolib", "crypto.aes", "crypto.sm4")
    kept = [(name, sys.modules[name]) for name in left_out if name in sys.modules]
    try:
        for name in left_out:
            sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
        for suite in (SUITE_AES_CMAC, SUITE_SM4_CMAC):
            check(not keys().has_suite(suite))
            image = Image()
            image.buf[:88] = header(5, suite=suite)
            equal(finish(image.load(keys(), UID)), codes.WRONG_TYPE)
    finally:
        for name in left_out:
            del sys.modules[name]
        for name, module in kept:
            sys.modules[name] = module
    check(keys().has_suite(SUITE_AES_CMAC) and keys().has_suite(SUITE_SM4_CMAC))


def test_unknown_suites() -> None:
    for suite in (0, 4, 255):
        check(not keys().has_suite(suite))
        equal(cmac(suite, AES_KEY, b""), "")


class Counted:
    """This replaces a cipher's method and counts the blocks."""

    def __init__(self, cipher) -> None:  # type: ignore[no-untyped-def]  # a class
        self.blocks = 0
        self._cipher = cipher
        self._encrypt = cipher.encrypt_into
        cipher.encrypt_into = lambda *arguments: self._count(*arguments)

    def _count(self, *arguments) -> None:  # type: ignore[no-untyped-def]  # a method's
        self.blocks += 1
        self._encrypt(*arguments)

    def end(self) -> None:
        """Put the method back."""
        self._cipher.encrypt_into = self._encrypt


def test_a_poll_encrypts_one_block() -> None:
    """One block costs a Cortex-M3 as much as sixty readings."""
    world = World(last=4)
    card = memory(bytes(image_under(SUITE_SM4_CMAC).buf[:88]))
    counted = Counted(Sm4)
    try:
        most = 0
        world.carrier.insert(card)
        while not world.redemption.poll(world.ticks, NOW):
            most = max(most, counted.blocks)
            counted.blocks = 0
    finally:
        counted.end()
    equal((most, world.redemption.code, world.books.credits), (1, codes.OK, [(5, 5000)]))


def test_a_card_pulled_within_its_mac_is_credited_once() -> None:
    polls = 0
    code = codes.PULLED
    while code != codes.OK:
        polls += 1
        world = World(last=4)
        card = memory(bytes(image_under(SUITE_SM4_CMAC).buf[:88]))
        world.carrier.insert(card)
        code = world.run(polls_limit=polls)
        if code == codes.OK:
            break
        paid = len(world.books.credits)
        world.carrier.pull()
        equal(world.run(), codes.NOT_MARKED if paid else codes.PULLED, polls)
        marked = codes.USED if card[WRITE_BACK] else codes.COMPLETED
        equal(world.redeem(card), marked if paid else codes.OK, polls)
        equal(world.books.credits, [(5, 5000)], polls)
    check(polls > 16)
