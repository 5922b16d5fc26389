"""The image on a card, built and parsed from its specification, and what its results mean.

    byte 32 of the card's memory on: header 80, MAC 8, write-back 56, MAC 8, then nothing

`build` makes a header, `parse` takes a card's memory apart, `judge` says what a concentrator
would answer. Keys come down from the issuer's: one for each district, one for each account.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import construct as c

CARD_SIZE = 256
IMAGE_OFFSET = 32
IMAGE_SIZE = 224
SERIAL_OFFSET = 8  # of a memory card without a number of its own
UID_SIZE = 8
HEADER_SIZE = 80
WRITE_BACK_OFFSET = 88
WRITE_BACK_SIZE = 56
MAC_SIZE = 8
KEY_SIZE = 16

VERSION = 1
MAGIC = b"DK"
MARKER = 0x5A
ORDER_LIMIT = 0x3FFF_FFFF
AMOUNT_LIMIT_FEN = 99_999_999
DISTRICT_LIMIT = 0xFF_FFFF
SUITES = {1: "HMAC-SHA256", 2: "AES-CMAC", 3: "SM4-CMAC"}
CONTENT_SIZE = 32
KEEP = 0xFFFF_FFFF
NOBODY = "000000000000"
FLAG_SPARE_TARIFF = 1


class CardKind(IntEnum):
    """What a card is for."""

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table of results: what the device answers, and what it means to people."""

    code: int
    name: str
    shown: str
    english: str
    chinese: str
    next_english: str
    next_chinese: str


def _outcomes(*rows: tuple[int, str, str, str, str, str, str]) -> dict[int, Outcome]:
    return {row[0]: Outcome(*row) for row in rows}


# Numbers up to 21 and the families Err-31..36 are what card meters have in common.
OUTCOMES = _outcomes(
    (
        *(0, "OK", "Good"),
        *("credited", "充值成功"),
        *("nothing to do", "无需处理"),
    ),
    (
        *(1, "COMPLETED", "Good"),
        *("no new money: the card is marked as used now", "无新金额：卡片已补写回"),
        *("nothing to do; the balance shows the earlier purchase", "无需处理；此前购电已入账"),
    ),
    (
        *(2, "STORAGE", "Err-31"),
        *("the concentrator cannot store the purchase", "集中器存储失败"),
        *("insert the card again later; call the technician", "稍后重新插卡；联系维护人员"),
    ),
    (
        *(3, "NO_KEY", "Err-31"),
        *("the concentrator has no card key", "集中器未装密钥"),
        *("set district, card_key and card_key_version", "设置台区、卡密钥和密钥版本"),
    ),
    (
        *(29, "NO_CLOCK", "Err-31"),
        *(
            "the clock is not set, the card's validity cannot be judged",
            "时钟未设置，无法判断有效期",
        ),
        *("set the concentrator's time", "设置集中器时钟"),
    ),
    (
        *(6, "KEY_VERSION", "Err-32"),
        *("the card was made under another key version", "密钥版本不符"),
        *("have the card issued anew at the counter", "到营业厅重新写卡"),
    ),
    (
        *(7, "BLANK", "Err-32"),
        *("nothing was issued on this card", "卡片未发行"),
        *("have it issued at the counter", "到营业厅发卡"),
    ),
    (
        *(8, "WRONG_TYPE", "Err-32"),
        *("a kind of card that is not known here", "卡类型错误"),
        *("use an electricity card of this utility", "使用本供电所的电卡"),
    ),
    (
        *(10, "MAC", "Err-32"),
        *("the card is not genuine or was changed", "卡片认证失败"),
        *("bring it to the counter; a genuine card can be repaired", "到营业厅检查卡片"),
    ),
    (
        *(22, "TOO_MANY", "Err-32"),
        *("too many cards that are not genuine", "非法卡次数过多"),
        *("wait a minute, then insert the right card", "等待一分钟后再插卡"),
    ),
    (
        *(11, "METER", "Err-33"),
        *("the card is for another meter", "表号不符"),
        *("after an exchange of the meter, have the card issued anew", "换表后需重新写卡"),
    ),
    (
        *(12, "ACCOUNT", "Err-33"),
        *("the account does not belong to this concentrator", "客户编号不符"),
        *("insert the card at the household's own concentrator", "到本户所属集中器插卡"),
    ),
    (
        *(13, "SERIAL", "Err-33"),
        *("the image was copied from another card", "卡片序列号不符"),
        *("use the original card", "使用原卡"),
    ),
    (
        *(23, "DISTRICT", "Err-33"),
        *("the card is of another district", "台区不符"),
        *("insert the card at the household's own concentrator", "到本户所属集中器插卡"),
    ),
    (
        *(14, "FORMAT", "Err-34"),
        *("the content of the card makes no sense", "卡内数据格式错误"),
        *("have the card issued anew at the counter", "到营业厅重新写卡"),
    ),
    (
        *(15, "NOT_OPENED", "Err-34"),
        *("a purchase before the account was opened", "未开户不能购电"),
        *("insert the opening card first", "先插开户卡"),
    ),
    (
        *(16, "NOTHING_TO_REPLACE", "Err-34"),
        *("a replacement before the account was opened", "未开户不能补卡"),
        *("insert the opening card first", "先插开户卡"),
    ),
    (
        *(17, "ORDER_AHEAD", "Err-34"),
        *("an earlier order has not been inserted yet", "购电次数错误：前一次购电未插卡"),
        *("insert the earlier card first, or have it replaced", "先插前一张卡，或补卡"),
    ),
    (
        *(18, "USED", "Err-34"),
        *("the card was used already", "卡片已使用"),
        *("buy again at the counter", "到营业厅购电"),
    ),
    (
        *(24, "ORDER_BEHIND", "Err-34"),
        *("the order is older than the account's newest", "购电次数错误：订单已过期"),
        *("buy again at the counter", "到营业厅购电"),
    ),
    (
        *(25, "OPENED", "Err-34"),
        *("the account is open already", "已开户，不能重复开户"),
        *("have a purchase card issued", "到营业厅写购电卡"),
    ),
    (
        *(26, "EXPIRED", "Err-34"),
        *("the card is no longer valid", "卡片已过有效期"),
        *("have the order issued anew at the counter", "到营业厅重新写卡"),
    ),
    (
        *(27, "BOOKS_BEHIND", "Err-34"),
        *("the concentrator does not know the account's newest order", "集中器购电次数未恢复"),
        *("restore the order numbers from the head-end", "从主站恢复购电次数"),
    ),
    (
        *(31, "NO_TARIFF", "Err-34"),
        *(
            "the card names a tariff that the concentrator does not have",
            "卡内电价方案集中器未装载",
        ),
        *("load the tariff, then insert the card again", "装载电价方案后重新插卡"),
    ),
    (
        *(19, "COMMUNICATION", "Err-35"),
        *("the card cannot be read", "与卡通信失败"),
        *("clean the contacts, insert the card again", "清洁触点后重新插卡"),
    ),
    (
        *(20, "PULLED", "Err-35"),
        *("the card was pulled too early, nothing was credited", "拔卡过早，未充值"),
        *("insert the card again and wait", "重新插卡并等待"),
    ),
    (
        *(28, "NOT_MARKED", "Err-35"),
        *("the card could not be written to the end", "写卡未完成"),
        *("insert the card again; money counts only once", "重新插卡；金额不会重复计入"),
    ),
    (
        *(21, "HOARDING", "Err-36"),
        *("the balance would exceed the hoarding limit", "超过囤积金额限值"),
        *("insert the card again when the balance is lower", "余额降低后再插卡"),
    ),
    (
        *(30, "OVERFLOW", "Err-36"),
        *("the account cannot hold so much", "余额溢出"),
        *("insert the card again when the balance is lower", "余额降低后再插卡"),
    ),
    (
        *(32, "NOT_COVERED", "Err-36"),
        *(
            "the balance does not cover the refund, or its billing is stopped",
            "余额不足，不能退费",
        ),
        *("give the refund up, or refund less", "取消退费，或减少退费金额"),
    ),
)
ACCEPTED = frozenset({0, 1})
CODES = {outcome.name: outcome.code for outcome in OUTCOMES.values()}


class CardError(ValueError):
    """The bytes are no card of ours, or the fields do not make one."""


def district_key(issuer_key: bytes, district: int, key_version: int) -> bytes:
    """The key a district's concentrator holds."""
    label = b"dianka/key/district/1\0"
    return _hmac(issuer_key, label + district.to_bytes(4, "little") + bytes((key_version,)))[
        :KEY_SIZE
    ]


def console_key(issuer_key: bytes, district: int) -> bytes:
    """The key that opens the consoles of a district's concentrators."""
    return _hmac(issuer_key, b"dianka/key/console/1\0" + district.to_bytes(4, "little"))[:KEY_SIZE]


def account_key(key: bytes, account: str) -> bytes:
    """The key of one account's cards, from its district's."""
    return _hmac(key, b"dianka/key/account/1\0" + bytes.fromhex(account))[:KEY_SIZE]


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _mac(key: bytes, header: "Header", part: bytes, body: bytes) -> bytes:
    """The MAC of a part of the image, under the suite of the header."""
    message = b"dianka/card/1\0" + part + bytes.fromhex(header.uid) + body
    own_key = account_key(key, header.account)
    if header.suite == 1:
        return _hmac(own_key, message)[:MAC_SIZE]
    from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
    from cryptography.hazmat.primitives.cmac import CMAC

    cmac = CMAC({2: AES, 3: SM4}[header.suite](own_key))
    cmac.update(message)
    return bytes(cmac.finalize())[:MAC_SIZE]


def wrap_key(key: bytes, new_key: bytes, uid: str, order: int) -> bytes:
    """A district's next key under its present one, for one card; the same call unwraps it."""
    label = b"dianka/key/wrap/1\0" + bytes.fromhex(uid) + order.to_bytes(4, "little")
    mask = _hmac(key, label)[:KEY_SIZE]
    return bytes(one ^ other for one, other in zip(new_key, mask, strict=True))


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
    "crc32" / c.Int32ul,
    "number" / c.Int8ul,
    c.Padding(3),
)
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
    "rates_wh" / c.Array(4, c.Int32ul),
    "t2000" / c.Int32ul,
    "concentrator" / c.Int32ul,
    "key_version" / c.Int8ul,
    c.Padding(3),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the issuer put on a card. `account`, `meter` 12 digits, `uid` 16 hexadecimal ones."""

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


@dataclass(frozen=True, slots=True)
class WriteBack:
    """What the concentrator put on a card; `rates_wh` are the registers of its `rates`."""

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
    rates_wh: tuple[int, ...]
    t2000: int
    concentrator: int
    key_version: int


@dataclass(frozen=True, slots=True)
class Card:
    """A card's memory taken apart. `trouble` is a code's name, "" where the header is ours."""

    trouble: str
    header: Header | None
    write_back: WriteBack | None
    genuine: bool = False
    write_back_genuine: bool = False

    @property
    def used(self) -> bool:
        """Whether the order on the card is marked as redeemed."""
        mark = self.write_back if self.write_back_genuine else None
        return bool(mark and self.header and mark.order >= self.header.order)


def preset_content(limits: Mapping[str, int]) -> bytes:
    """The content of a preset card; a limit that is not named stays as it is."""
    limits = {name: limits.get(name, KEEP) for name in LIMITS}
    return bytes(_LIMITS.build(limits)).ljust(CONTENT_SIZE, b"\0")


def tariff_content(number: int, crc32: int, from_t2000: int) -> bytes:
    """The content of a purchase card that names the account's next tariff."""
    fields = {"number": number, "crc32": crc32, "from_t2000": from_t2000}
    return bytes(_TARIFF.build(fields))


def key_content(version: int, wrapped: bytes) -> bytes:
    """The content of a key card."""
    fields = {"version": version, "wrapped": wrapped}
    return bytes(_NEW_KEY.build(fields)).ljust(CONTENT_SIZE, b"\0")


def parse_content(header: Header) -> dict[str, Any]:
    """What the content says, by name: limits, a tariff, a new key, or nothing."""
    if header.kind == CardKind.PRESET:
        found = dict(_LIMITS.parse(header.content))
        return {name: found[name] for name in LIMITS if found[name] != KEEP}
    if header.kind == CardKind.KEY:
        found = dict(_NEW_KEY.parse(header.content))
        return {name: found[name] for name in ("version", "wrapped")}
    if header.flags & FLAG_SPARE_TARIFF:
        found = dict(_TARIFF.parse(header.content))
        return {name: found[name] for name in ("number", "crc32", "from_t2000")}
    return {}


def build(header: Header, key: bytes) -> bytes:
    """The 88 bytes of a header with its MAC under the district's key; CardError: out of range."""
    trouble = _range_trouble(header)
    if trouble:
        raise CardError(trouble)
    fields = {name: getattr(header, name) for name in header.__slots__}
    try:
        body = bytes(_HEADER.build(fields))
    except (c.ConstructError, ValueError) as error:
        raise CardError(f"the fields make no card: {error}") from error
    return body + _mac(key, header, b"I", body)


def build_write_back(mark: WriteBack, header: Header, key: bytes) -> bytes:
    """The 64 bytes of a write-back on the card of `header`."""
    fields: dict[str, Any] = {name: getattr(mark, name) for name in mark.__slots__}
    body = bytes(_WRITE_BACK.build(fields))
    return body + _mac(key, header, b"W", body)


def _range_trouble(header: Header) -> str:
    """Say which number does not fit."""
    limits = {
        "order": ORDER_LIMIT,
        "amount_fen": AMOUNT_LIMIT_FEN,
        "district": DISTRICT_LIMIT,
        "key_version": 255,
    }
    for name, limit in limits.items():
        value = getattr(header, name)
        if not 0 <= value <= limit:
            return f"{name} {value} is not within 0 to {limit}"
    for name, size in (("account", 12), ("meter", 12), ("uid", 16)):
        if len(getattr(header, name)) != size:
            return f"{name} {getattr(header, name)} has not {size} digits"
    return ""


def parse(memory: bytes, key: bytes | None = None) -> Card:
    """Take a card's memory apart, and with the district's key say what of it is genuine."""
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
        end = WRITE_BACK_OFFSET + WRITE_BACK_SIZE
        write_back = _write_back(_WRITE_BACK.parse(image[WRITE_BACK_OFFSET:end]))
    trouble = ""
    if header.suite not in SUITES or header.kind not in list(CardKind):
        trouble = "WRONG_TYPE"
    card = Card(trouble, header, write_back)
    if key is None or trouble:
        return card
    genuine = _is_genuine(image, header, key, b"I", 0, HEADER_SIZE)
    mark = _is_genuine(image, header, key, b"W", WRITE_BACK_OFFSET, WRITE_BACK_SIZE)
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
    return WriteBack(**{**fields, "rates_wh": tuple(parsed["rates_wh"])})


@dataclass(frozen=True, slots=True)
class Place:
    """A concentrator and one account of it, as far as they decide about a card."""

    district: int
    key_version: int
    key: bytes
    account: str
    meter: str
    last_order: int
    now_t2000: int = -1
    room_fen: int = AMOUNT_LIMIT_FEN
    cover_fen: int = AMOUNT_LIMIT_FEN  # what a refund may take
    operator_order: int = 0
    tariffs: frozenset[tuple[int, int]] | None = None  # number and CRC-32; None: any may be there
    suites: frozenset[int] = frozenset(SUITES)


def judge(memory: bytes, uid: str, place: Place) -> str:
    """Name of the result that the card would have there, e.g. "OK" or "USED"."""
    card = parse(memory, place.key)
    header = card.header
    if card.trouble or header is None:
        return card.trouble
    valid_until = header.valid_until_t2000
    checks = (
        (header.suite not in place.suites, "WRONG_TYPE"),
        (header.district != place.district, "DISTRICT"),
        (header.key_version != place.key_version, "KEY_VERSION"),
        (not card.genuine, "MAC"),
        (header.uid != uid, "SERIAL"),
        (header.order > ORDER_LIMIT or header.amount_fen > AMOUNT_LIMIT_FEN, "FORMAT"),
        (valid_until and place.now_t2000 < 0, "NO_CLOCK"),
        (valid_until and place.now_t2000 > valid_until, "EXPIRED"),
    )
    wrong = next((name for fails, name in checks if fails), "")
    return wrong or _judge_genuine(card, header, place)


def _judge_genuine(card: Card, header: Header, place: Place) -> str:
    """Name of the result of a card that is what it says it is."""
    kind = CardKind(header.kind)
    if kind == CardKind.TEST:
        return "COMPLETED"
    operated = "USED" if header.order <= place.operator_order else "OK"
    if header.account == NOBODY and kind in OPERATOR_KINDS:
        return operated
    if header.account != place.account:
        return "ACCOUNT"
    if header.meter != place.meter:
        return "METER"
    if kind == CardKind.CLEAR:
        return operated
    if kind in OPERATOR_KINDS:
        return "WRONG_TYPE"
    return "COMPLETED" if kind == CardKind.INSPECT else _judge_money(card, header, place)


def _judge_money(card: Card, header: Header, place: Place) -> str:
    """Name of the result of an order on the account's own card."""
    order, last, kind = header.order, place.last_order, CardKind(header.kind)
    mark_order = card.write_back.order if card.write_back and card.write_back_genuine else -1
    unopened = {CardKind.PURCHASE: "NOT_OPENED", CardKind.REPLACEMENT: "NOTHING_TO_REPLACE"}
    unopened[CardKind.REFUND] = "NOT_OPENED"
    refunds = kind == CardKind.REFUND
    checks = (
        (last < 0 or mark_order > last, "BOOKS_BEHIND"),
        (last == 0 and kind in unopened, unopened.get(kind, "")),
        (order == last, "USED" if mark_order >= order else "COMPLETED"),
        (order < last, "ORDER_BEHIND"),
        (last and kind == CardKind.OPEN, "OPENED"),
        (order != last + 1, "ORDER_AHEAD"),
        (refunds and header.amount_fen > place.cover_fen, "NOT_COVERED"),
        (not refunds and header.amount_fen > place.room_fen, "HOARDING"),
    )
    name = next((name for fails, name in checks if fails), "OK")
    names_tariff = name in ("OK", "COMPLETED") and header.flags & FLAG_SPARE_TARIFF
    if names_tariff and place.tariffs is not None:
        tariff = parse_content(header)
        if (tariff["number"], tariff["crc32"]) not in place.tariffs:
            return "NO_TARIFF"
    return name


def serial_of(memory: bytes | bytearray) -> str:
    """The serial number that stands in the memory of a card without one of its own."""
    return memory[SERIAL_OFFSET : SERIAL_OFFSET + UID_SIZE].hex().upper()
