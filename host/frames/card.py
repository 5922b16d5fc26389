"""The image on a card, built and parsed from its specification.

    byte 32 of the card's memory on: header 80, MAC 8, write-back 68, MAC 8, then nothing

`build` makes a header, `parse` reads a card's memory. `card_keys` has the keys, `card_results`
the answers of a concentrator; `host.cards.judging` finds the answer that a card gets.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import construct as c

from host.frames.card_keys import KEY_SIZE, account_key, hmac_sha256
from host.words import _, marked

CARD_SIZE = 256
IMAGE_OFFSET = 32
IMAGE_SIZE = 224
SERIAL_OFFSET = 8  # of a memory card without a number of its own
UID_SIZE = 8
HEADER_SIZE = 80
WRITE_BACK_OFFSET = 88
WRITE_BACK_BODY_SIZE = 68
MAC_SIZE = 8

VERSION = 2
MAGIC = b"DK"
MARKER = 0x5A
ORDER_LIMIT = 0x7FFF_FFFF
AMOUNT_LIMIT_FEN = 99_999_999
DISTRICT_LIMIT = 0xFF_FFFF
SUITES = {1: "HMAC-SHA256", 2: "AES-CMAC", 3: "SM4-CMAC"}
CONTENT_SIZE = 32
KEEP = 0xFFFF_FFFF
NOBODY = "000000000000"
FLAG_SPARE_TARIFF = 1
FLAG_SUPERSEDES = 2


class CardKind(IntEnum):
    """The purpose of a card."""

    OPEN = 1
    PURCHASE = 2
    REPLACEMENT = 3
    PRESET = 4
    INSPECT = 5
    CLEAR = 6
    KEY = 7
    TEST = 8
    REFUND = 9


MONEY_KINDS = frozenset({CardKind.OPEN, CardKind.PURCHASE, CardKind.REPLACEMENT, CardKind.REFUND})
OPERATOR_KINDS = frozenset({CardKind.PRESET, CardKind.CLEAR, CardKind.KEY})


# As in firmware/prepay/policy.py.
STATES = (
    marked("normal"),
    marked("alarm 1"),
    marked("alarm 2"),
    marked("overdraft"),
    marked("emergency credit"),
    marked("cut held back"),
    marked("cut"),
    marked("overload"),
    marked("remote trip"),
)


class CardError(ValueError):
    """The bytes are no card of ours, or the fields do not make one."""


def _mac(key: bytes, header: "Header", part: bytes, body: bytes) -> bytes:
    """Return the MAC of a part of the image, under the suite of the header."""
    message = b"dianka/card/1\0" + part + bytes.fromhex(header.uid) + body
    own_key = account_key(key, header.account)
    if header.suite == 1:
        return hmac_sha256(own_key, message)[:MAC_SIZE]
    from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
    from cryptography.hazmat.primitives.cmac import CMAC

    cmac = CMAC({2: AES, 3: SM4}[header.suite](own_key))
    cmac.update(message)
    return bytes(cmac.finalize())[:MAC_SIZE]


def _digits(size: int, reverse: bool = False) -> Any:
    step = -1 if reverse else 1
    return c.ExprAdapter(
        c.Bytes(size),
        decoder=lambda octets, _: octets[::step].hex().upper(),
        encoder=lambda digits, _: bytes.fromhex(digits)[::step],
    )


LIMITS = ("alarm_1_fen", "alarm_2_fen", "overdraft_fen", "hoarding_limit_fen", "close_fen")
_LIMITS = c.Struct(*(name / c.Int32ul for name in LIMITS))
_TARIFF = c.Struct(
    c.Padding(20),
    "from_t2000" / c.Int32ul,
    "sha256" / _digits(8),
)
_SUPERSEDED = c.Int32ul
_NEW_KEY = c.Struct("version" / c.Int8ul, c.Padding(3), "wrapped" / c.Bytes(KEY_SIZE))
_HEADER = c.Struct(
    "magic" / c.Const(MAGIC),
    "version" / c.Int8ul,
    "suite" / c.Int8ul,
    "kind" / c.Int8ul,
    "key_version" / c.Int8ul,
    "flags" / c.Int8ul,
    c.Padding(1),
    "district" / c.Int32ul,
    "account" / _digits(6),
    "meter" / _digits(6, reverse=True),
    "uid" / _digits(UID_SIZE),
    "order" / c.Int32ul,
    "amount_fen" / c.Int32ul,
    "issued_t2000" / c.Int32ul,
    "valid_until_t2000" / c.Int32ul,
    "content" / c.Bytes(CONTENT_SIZE),
)
_WRITE_BACK = c.Struct(
    "marker" / c.Const(MARKER, c.Int8ul),
    "code" / c.Int8ul,
    "state" / c.Int8ul,
    "relay" / c.Int8ul,
    "order" / c.Int32ul,
    "balance_fen" / c.Int32sl,
    "credit_fen" / c.Int32ul,
    "overdraft_fen" / c.Int32ul,
    "used_wh" / c.Int32ul,
    "tier" / c.Int8ul,
    "rates" / c.Int8ul,
    "illegal" / c.Int16ul,
    "registers_wh" / c.Array(4, c.Int32ul),
    "t2000" / c.Int32ul,
    "concentrator" / c.Int32ul,
    "key_version" / c.Int8ul,
    c.Padding(3),
    "header_mac" / _digits(MAC_SIZE),
    "amount_fen" / c.Int32ul,
)


@dataclass(frozen=True, slots=True)
class Header:
    """The issuer's part of a card; account and meter have 12 digits, uid 16 hexadecimal ones."""

    kind: int
    key_version: int
    district: int
    account: str
    meter: str
    uid: str
    order: int
    amount_fen: int
    issued_t2000: int
    valid_until_t2000: int = 0
    flags: int = 0
    suite: int = 1
    version: int = VERSION
    content: bytes = bytes(CONTENT_SIZE)

    @property
    def supersedes(self) -> int:
        """Return the first order in the place of which this one counts, 0: it has its own."""
        return int(_SUPERSEDED.parse(self.content)) if self.flags & FLAG_SUPERSEDES else 0


@dataclass(frozen=True, slots=True)
class WriteBack:
    """The concentrator's part of a card; `registers_wh` are the registers of its `rates`.

    `amount_fen` is what was redeemed of the header with the MAC `header_mac`.
    """

    code: int
    state: int
    relay: int
    order: int
    balance_fen: int
    credit_fen: int
    overdraft_fen: int
    used_wh: int
    tier: int
    rates: int
    illegal: int
    registers_wh: tuple[int, ...]
    t2000: int
    concentrator: int
    key_version: int
    header_mac: str = "00" * MAC_SIZE
    amount_fen: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """The parts of a card's memory; `trouble` is a code's name, "" where the header is ours."""

    trouble: str
    header: Header | None
    write_back: WriteBack | None
    genuine: bool = False
    write_back_genuine: bool = False
    header_mac: bytes = b""

    @property
    def used(self) -> bool:
        """Return whether the order on the card is used up, so that it brings no money any more."""
        mark = self.write_back if self.write_back_genuine else None
        if mark is None or self.header is None:
            return False
        return mark.order > self.header.order or self._is_of_this_header(mark, self.header)

    def _is_of_this_header(self, mark: WriteBack, header: Header) -> bool:
        own = mark.header_mac == self.header_mac.hex().upper()
        return own and mark.order == header.order

    @property
    def redeemed_fen(self) -> int:
        """Return the amount of this card of which its mark proves that it was redeemed."""
        mark = self.write_back if self.write_back_genuine and self.genuine else None
        if mark is None or self.header is None or not self._is_of_this_header(mark, self.header):
            return 0
        return mark.amount_fen


def preset_content(limits: Mapping[str, int]) -> bytes:
    """Return the content of a preset card; a limit that is not named stays as it is."""
    limits = {name: limits.get(name, KEEP) for name in LIMITS}
    return bytes(_LIMITS.build(limits)).ljust(CONTENT_SIZE, b"\0")


def tariff_content(name: str, from_t2000: int) -> bytes:
    """Return the content of a purchase card with the image of the account's next tariff."""
    return bytes(_TARIFF.build({"sha256": name, "from_t2000": from_t2000}))


def superseding(header: Header, order: int) -> Header:
    """Return the header of an order that counts in place of `order` and those after it."""
    content = bytes(_SUPERSEDED.build(order)) + header.content[_SUPERSEDED.sizeof() :]
    return replace(header, flags=header.flags | FLAG_SUPERSEDES, content=content)


def key_content(version: int, wrapped: bytes) -> bytes:
    """Return the content of a key card."""
    fields = {"version": version, "wrapped": wrapped}
    return bytes(_NEW_KEY.build(fields)).ljust(CONTENT_SIZE, b"\0")


def parse_content(header: Header) -> dict[str, Any]:
    """Return what the content says by name: limits, a tariff, a new key, or nothing."""
    if header.kind == CardKind.PRESET:
        found = dict(_LIMITS.parse(header.content))
        return {name: found[name] for name in LIMITS if found[name] != KEEP}
    if header.kind == CardKind.KEY:
        found = dict(_NEW_KEY.parse(header.content))
        return {name: found[name] for name in ("version", "wrapped")}
    if header.flags & FLAG_SPARE_TARIFF:
        found = dict(_TARIFF.parse(header.content))
        return {name: found[name] for name in ("sha256", "from_t2000")}
    return {}


def build(header: Header, key: bytes) -> bytes:
    """Return the 88 bytes of a header with its MAC under the district's key.

    CardError: a field is out of range.
    """
    trouble = _range_trouble(header)
    if trouble:
        raise CardError(trouble)
    fields = {name: getattr(header, name) for name in header.__slots__}
    try:
        body = bytes(_HEADER.build(fields))
    except (c.ConstructError, ValueError) as error:
        raise CardError(_("the fields make no card: {error}").format(error=error)) from error
    return body + _mac(key, header, b"I", body)


def build_write_back(mark: WriteBack, header: Header, key: bytes) -> bytes:
    """Return the 76 bytes of a write-back on the card of `header`."""
    fields: dict[str, Any] = {name: getattr(mark, name) for name in mark.__slots__}
    body = bytes(_WRITE_BACK.build(fields))
    return body + _mac(key, header, b"W", body)


def _range_trouble(header: Header) -> str:
    """Return a sentence that names the number out of range; "": all are in range."""
    limits = {
        "order": ORDER_LIMIT,
        "amount_fen": AMOUNT_LIMIT_FEN,
        "district": DISTRICT_LIMIT,
        "key_version": 255,
    }
    for name, limit in limits.items():
        value = getattr(header, name)
        if not 0 <= value <= limit:
            return _("{name} {value} is not within 0 to {limit}").format(
                name=name, value=value, limit=limit
            )
    for name, size in (("account", 12), ("meter", 12), ("uid", 16)):
        value = getattr(header, name)
        if len(value) != size:
            return _("{name} {value} has not {size} digits").format(
                name=name, value=value, size=size
            )
    return ""


def parse(memory: bytes, key: bytes | None = None) -> Card:
    """Parse a card's memory, and with the district's key say which parts are genuine."""
    if len(memory) < CARD_SIZE:
        return Card("WRONG_TYPE", None, None)
    image = memory[IMAGE_OFFSET : IMAGE_OFFSET + IMAGE_SIZE]
    if image[:2] != MAGIC:
        return Card("BLANK", None, None)
    if image[2] != VERSION:
        return Card("FORMAT", None, None)
    header = _header(_HEADER.parse(image[:HEADER_SIZE]))
    write_back = None
    if image[WRITE_BACK_OFFSET] == MARKER:
        end = WRITE_BACK_OFFSET + WRITE_BACK_BODY_SIZE
        write_back = _write_back(_WRITE_BACK.parse(image[WRITE_BACK_OFFSET:end]))
    trouble = ""
    if header.suite not in SUITES or header.kind not in list(CardKind):
        trouble = "WRONG_TYPE"
    header_mac = image[HEADER_SIZE : HEADER_SIZE + MAC_SIZE]
    card = Card(trouble, header, write_back, header_mac=header_mac)
    if key is None or trouble:
        return card
    genuine = _is_genuine(image, header, key, b"I", 0, HEADER_SIZE)
    mark = _is_genuine(image, header, key, b"W", WRITE_BACK_OFFSET, WRITE_BACK_BODY_SIZE)
    return replace(card, genuine=genuine, write_back_genuine=mark and write_back is not None)


def _is_genuine(
    image: bytes, header: Header, key: bytes, part: bytes, start: int, size: int
) -> bool:
    body, mac = image[start : start + size], image[start + size : start + size + MAC_SIZE]
    return hmac.compare_digest(mac, _mac(key, header, part, body))


def _header(parsed: Mapping[str, Any]) -> Header:
    return Header(**{name: parsed[name] for name in Header.__slots__})


def _write_back(parsed: Mapping[str, Any]) -> WriteBack:
    fields = {name: parsed[name] for name in WriteBack.__slots__}
    return WriteBack(**{**fields, "registers_wh": tuple(parsed["registers_wh"])})


def serial_of(memory: bytes | bytearray) -> str:
    """Return the serial number in the memory of a card that has no number of its own."""
    return memory[SERIAL_OFFSET : SERIAL_OFFSET + UID_SIZE].hex().upper()
