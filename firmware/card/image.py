"""Read and write the image on a card: 224 bytes from byte 32 of its memory on.

      0  magic 2, version 1 (2), suite 1, kind 1, key version 1, flags 1, 0
      8  district 4, account 6, meter 6, uid 8
     32  order 4, amount_fen 4, issued t2000 4, valid until t2000 4
     48  alarm_1_fen, alarm_2_fen, overdraft_fen, hoarding_fen, close_fen 4 each,
         tariff from t2000 4, tariff CRC-32 4, tariff number 1, 0 0 0
         of an order that supersedes others: the first of them 4, 0 ..
         of a key card: new version 1, 0 0 0, new key 16, wrapped, 0 ..
     80  MAC 8 over 0..79
     88  marker 1, code 1, state 1, relay 1, order 4, balance_fen 4, credit_fen 4, overdraft_fen 4,
         used_wh 4, tier 1, rates 1, illegal cards 2, registers_wh 4 x 4, t2000 4, concentrator 4,
         key version 1, 0 0 0, the header's MAC 8, amount_fen of it that was redeemed 4
    156  MAC 8 over 88..155
    164  0 .. 223

All numbers are little-endian. The issuer writes bytes 0..87: the header. The concentrator writes
bytes 88..163: the write-back. If the order in the write-back is not below the header's, the card
is used up.

Spec: docs/SPEC.md, "Card".
"""

from struct import pack_into, unpack_from

from crypto.hmac import same
from micropython import const

from card import codes

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Generator

    from card.keys import Keys

IMAGE = const(32)  # where the image begins in the memory of the card
IMAGE_SIZE = const(224)
CARD_SIZE = const(256)

_VERSION = const(2)
# Flags.
SPARE_TARIFF = const(1)  # the card names the account's next tariff
_SUPERSEDES = const(2)  # the card's order takes the place of earlier ones
# Kinds.
OPEN = const(1)
PURCHASE = const(2)
REPLACEMENT = const(3)
PRESET = const(4)  # limits of the whole concentrator
INSPECT = const(5)  # records the account's state on the card and changes nothing
CLEAR = const(6)  # resumes the billing of an account, or clears the count of illegal cards
KEY = const(7)  # brings the district's next key
TEST = const(8)  # shows that reader and key work
REFUND = const(9)  # debits the order's amount from the account

SUITE = const(3)
ACCOUNT = const(12)
_METER = const(18)
UID = const(24)
_HEADER_SIZE = const(80)
_MAC_SIZE = const(8)
LIMITS = const(48)
_SUPERSEDED = const(48)
SPARE_T2000 = const(68)
SPARE_NAME = const(72)
SPARE_NAME_SIZE = const(8)
NEW_VERSION = const(48)
WRAPPED_KEY = const(52)
WRITE_BACK = const(88)
WRITE_BACK_SIZE = const(76)

_ORDER_LIMIT = const(0x7FFFFFFF)  # an operator's card has a time as its order
_AMOUNT_LIMIT_FEN = const(99999999)

_MAGIC_0 = const(0x44)  # "DK"
_MAGIC_1 = const(0x4B)
_MARKER = const(0x5A)
_WRITE_BACK_BODY = const(68)
# The parts of an image that have a MAC each.
_PART_HEADER = const(0x49)
_PART_WRITE_BACK = const(0x57)


class Image:
    """An image in `buf`, IMAGE_SIZE bytes. The fields of the header are valid after `load`."""

    def __init__(self) -> None:
        self.buf = bytearray(IMAGE_SIZE)
        self.kind = 0
        self.flags = 0
        self.order = 0
        self.amount_fen = 0
        self.issued_t2000 = 0
        self.valid_until_t2000 = 0
        # The order of a genuine write-back, -1 without one.
        self.written_order = -1

    def load(self, keys: "Keys", uid: "bytes | bytearray") -> "Generator[None, None, int]":
        """Check the image against the keys and fill the fields; return a code of codes.py.

        After any other code than OK no field may be used. It yields during long calculations.
        """
        buf = self.buf
        self.order = self.amount_fen = 0
        self.written_order = -1
        if buf[0] != _MAGIC_0 or buf[1] != _MAGIC_1:
            return codes.BLANK
        if buf[2] != _VERSION:
            return codes.FORMAT
        if not keys.has_suite(buf[3]) or not OPEN <= buf[4] <= REFUND:
            return codes.WRONG_TYPE
        if not keys.version:
            return codes.NO_KEY
        if unpack_from("<I", buf, 8)[0] != keys.district:
            return codes.DISTRICT
        if buf[5] != keys.version:
            return codes.KEY_VERSION
        self._select(keys)
        if not (yield from keys.is_genuine(_PART_HEADER, buf, 0, _HEADER_SIZE)):
            return codes.MAC
        if not same(buf, UID, uid, 0, len(uid)):
            return codes.SERIAL
        self.kind = buf[4]
        self.flags = buf[6]
        fields = unpack_from("<IIII", buf, 32)
        self.order, self.amount_fen, self.issued_t2000, self.valid_until_t2000 = fields
        if self.order > _ORDER_LIMIT or self.amount_fen > _AMOUNT_LIMIT_FEN:
            return codes.FORMAT
        if buf[WRITE_BACK] == _MARKER and (
            yield from keys.is_genuine(_PART_WRITE_BACK, buf, WRITE_BACK, _WRITE_BACK_BODY)
        ):
            self.written_order = unpack_from("<I", buf, WRITE_BACK + 4)[0]
        return codes.OK

    def _select(self, keys: "Keys") -> None:
        view = memoryview(self.buf)
        keys.select(self.buf[SUITE], view[ACCOUNT : ACCOUNT + 6], view[UID : UID + 8])

    def first_order(self) -> int:
        """Return the first of the orders that this one supersedes, or the order itself."""
        superseded: int = unpack_from("<I", self.buf, _SUPERSEDED)[0]
        return superseded if self.flags & _SUPERSEDES else self.order

    def unwrap(self, keys: "Keys", start: int) -> bytearray:
        """Return the key that is wrapped at `start`."""
        buf = self.buf
        return keys.unwrap(buf[UID : UID + 12] + buf[NEW_VERSION : NEW_VERSION + 1], buf, start)

    def header_mac(self) -> "memoryview":
        """Return the MAC of the header, 8 bytes, which no other header has."""
        return memoryview(self.buf)[_HEADER_SIZE : _HEADER_SIZE + _MAC_SIZE]

    def account_into(self, account: bytearray) -> None:
        """Copy the 6 bytes of the account number into `account`."""
        for position in range(len(account)):
            account[position] = self.buf[ACCOUNT + position]

    def is_for_meter(self, address: "bytes | bytearray") -> bool:
        """Return whether the header has this meter address, 6 bytes, low byte first."""
        return same(self.buf, _METER, address, 0, 6)

    def seal_write_back(
        self, keys: "Keys", code: int, illegal: int, t2000: int, amount_fen: int
    ) -> "Generator[None, None, None]":
        """Finish the write-back, whose bytes 2..25 and 28..51 the books have filled.

        It belongs to this header alone, of which `amount_fen` was redeemed. It yields during long
        calculations.
        """
        buf = self.buf
        pack_into("<BB", buf, WRITE_BACK, _MARKER, code)
        pack_into("<H", buf, WRITE_BACK + 26, illegal)
        pack_into("<I", buf, WRITE_BACK + 44, max(0, t2000))
        pack_into(
            "<I8sI", buf, WRITE_BACK + 52, keys.version, bytes(self.header_mac()), amount_fen
        )
        self._select(keys)
        yield from keys.seal(_PART_WRITE_BACK, buf, WRITE_BACK, _WRITE_BACK_BODY)
