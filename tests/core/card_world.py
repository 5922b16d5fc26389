"""Provide a card, its reader, the accounts and an issuer for the core tests of cards, in memory.

The issuer here writes the bytes out from docs/SPEC.md with its own HMAC, not with the firmware's.
"""

from array import array
from hashlib import sha256
from struct import pack, unpack

from card import carrier, codes
from card.keys import Keys
from card.redemption import Redemption
from harness import equal

DISTRICT = 4711
VERSION = 2
DISTRICT_KEY = bytes(range(16))
ACCOUNT = b"\x00\x00\x00\x00\x00\x17"
METER = b"\x64\x37\x98\x00\x00\x00"
UID = b"\x04\xa1\xb2\xc3\xd4\xe5\xf6\x00"
IMAGE = 32
WRITE_BACK = 32 + 88
NOW = 820000000
TICKS = 0x1FFFFF00  # near the wrap
OTHER_UID = b"\x04\x00\x00\x00\x00\x00\x00\x01"


def hmac(key: bytes, message: bytes) -> bytes:
    """Return an HMAC-SHA256, computed as in RFC 2104."""
    padded = key + bytes(64 - len(key))
    inner = sha256(bytes([byte ^ 0x36 for byte in padded]) + message).digest()
    return sha256(bytes([byte ^ 0x5C for byte in padded]) + inner).digest()


def mac(part: bytes, account: bytes, uid: bytes, body: bytes, key: bytes) -> bytes:
    """Return the MAC of a part of the image under a district's key."""
    account_key = hmac(key, b"dianka/key/account/1\0" + account)[:16]
    return hmac(account_key, b"dianka/card/1\0" + part + uid + body)[:8]


def finish(steps):  # type: ignore[no-untyped-def]  # a generator, and what it returns
    """Take all steps; return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def header(
    order: int = 1,
    amount_fen: int = 5000,
    kind: int = 2,
    account: bytes = ACCOUNT,
    meter: bytes = METER,
    uid: bytes = UID,
    district: int = DISTRICT,
    version: int = VERSION,
    suite: int = 1,
    valid_until: int = 0,
    key: bytes = DISTRICT_KEY,
    content: bytes = bytes(32),
    flags: int = 0,
) -> bytes:
    """Return the first 88 bytes of an image, MAC included; `content` depends on the kind."""
    body = b"DK" + bytes([2, suite, kind, version, flags, 0]) + pack("<I", district)
    body += account + meter + uid + pack("<IIII", order, amount_fen, NOW - 1000, valid_until)
    body += content
    return body + mac(b"I", account, uid, body, key)


def standing(
    order: int = 0,
    credit_fen: int = 0,
    debit_fen: int = 0,
    header_mac: bytes = bytes(8),
    residues: "tuple[int, int]" = (0, 0),
    household: int = 0,
    grade: int = 0,
    multiplier: int = 1,
    marks: int = 0,
    debt_fen: int = 0,
    debt_week_fen: int = 0,
    since_t2000: int = 0,
    state: int = 0,
    relay: int = 0,
    tariff: int = 1,
    registers_wh: "tuple[int, ...]" = (0,) * 8,
    read_t2000: int = 0,
    counted: "tuple[int, int, int, int]" = (0, 0, 0, 0),
    debt_week: int = 0,
) -> bytes:
    """Return what `account restore` takes; `counted`: used_wh, period, quota and free."""
    told = pack("<I", order) + header_mac + pack("<IIIH", credit_fen, debit_fen, *residues)
    told += pack("<BBHBB", household, grade, multiplier, marks, 1)
    told += pack("<IIIBBBB", debt_fen, debt_week_fen, since_t2000, state, relay, tariff, 0)
    told += pack("<8I", *registers_wh) + pack("<IIH", read_t2000, 0, debt_week)
    return told + pack("<4I", *counted)


def superseding(order: int, first: int, amount_fen: int = 3000, kind: int = 2) -> bytearray:
    """Return a card with an order that takes the place of those from `first` on."""
    content = pack("<I", first) + bytes(28)
    return memory(header(order, amount_fen, kind, content=content, flags=2))


def memory(head: bytes) -> bytearray:
    """Return 256 bytes of a card with this header and no write-back."""
    return bytearray(bytes(32) + head + bytes(136))


def written_back(card: bytearray) -> "tuple[int, int, int]":
    """Return (code, order, balance) of a write-back after checking its MAC."""
    body = bytes(card[WRITE_BACK : WRITE_BACK + 68])
    equal(
        bytes(card[WRITE_BACK + 68 : WRITE_BACK + 76]), mac(b"W", ACCOUNT, UID, body, DISTRICT_KEY)
    )
    equal(body[0], 0x5A)
    order, balance_fen = unpack("<Ii", body[4:12])
    return body[1], order, balance_fen


def keys() -> Keys:
    """Return the keys of the concentrator."""
    return Keys(DISTRICT, VERSION, DISTRICT_KEY)


class FakeCarrier:
    """This reader has a card of 256 bytes. Each operation takes one poll.

    fail_reads, fail_writes    count of operations that fail from now on
    tear_at                    the card is pulled at this byte of all that were written; -1: never
    shown                      what was shown: (code, credited, index)
    """

    def __init__(self) -> None:
        self.present = 0
        self.uid = bytearray(8)
        self.size = 256
        self.data = bytearray(224)
        self.memory = bytearray(256)
        self.fail_reads = 0
        self.fail_writes = 0
        self.tear_at = -1
        self.written = 0
        self.shown = []  # type: ignore[var-annotated]  # no typing on the device
        self._count = 0
        self._outcome = carrier.IDLE

    def insert(self, card: bytearray, uid: bytes = UID) -> None:
        """Put a card in."""
        self._lose()
        self._count += 1
        self.present = self._count
        self.memory = card
        self.uid[:] = uid
        self.tear_at = -1
        self.written = 0

    def pull(self) -> None:
        """Take the card out."""
        self._lose()
        self.present = 0

    def _lose(self) -> None:
        """Let the operation on a card that has gone fail."""
        if self._outcome != carrier.IDLE:
            self._outcome = carrier.FAILED

    def start_read(self, offset: int, size: int) -> None:
        """Start to read from the memory."""
        self._outcome = carrier.OK
        if self.fail_reads:
            self.fail_reads -= 1
            self._outcome = carrier.FAILED
            return
        self.data[:size] = self.memory[offset : offset + size]

    def start_write(self, offset: int, buf: "bytearray | memoryview", size: int) -> None:
        """Start to write byte by byte, as a memory card does."""
        self._outcome = carrier.OK
        for position in range(size):
            if self.written == self.tear_at:
                self.pull()
                self._outcome = carrier.FAILED
                return
            self.memory[offset + position] = buf[position]
            self.written += 1
        if self.fail_writes:
            self.fail_writes -= 1
            self._outcome = carrier.FAILED

    def poll(self, now_ticks: int) -> int:
        """Return the outcome of the operation, once."""
        outcome = self._outcome
        self._outcome = carrier.IDLE
        return outcome

    def show(self, code: int, credited: bool, index: int) -> None:
        """Keep what is shown."""
        self.shown.append((code, credited, index))


class PowerCut(Exception):
    """The device lost its power in a change."""


class FakeBooks:
    """The journal of these accounts survives a restart: `credits` is what is durable.

    refuse     the storage takes nothing
    cut        the power fails "before" or "after" the next credit is durable
    notes      the CARD records
    """

    def __init__(self, account: bytes = ACCOUNT, meter: bytes = METER, last: int = 0) -> None:
        self.account = account
        self.meter = meter
        self.last = last
        self.last_mac = b""  # This holds for any card, until one is credited.
        self.credits = []  # type: ignore[var-annotated]  # no typing on the device
        self.notes = []  # type: ignore[var-annotated]  # no typing on the device
        self.illegal = array("H", (0, 0))
        self.refuse = False
        self.cut = ""
        self.hoarding_fen = self.cover_fen = 99999999
        self.limit_calls = 0
        self.looks = 0
        self.shown = []  # type: ignore[var-annotated]  # no typing on the device
        self.plans = []  # type: ignore[var-annotated]  # no typing on the device
        self.events = []  # type: ignore[var-annotated]  # no typing on the device

    def balance_fen(self) -> int:
        """Return the sum of all credits."""
        return sum([amount_fen for _, amount_fen in self.credits])

    def find_account(self, account: bytearray) -> int:
        """Return 7, the index of the only account."""
        return 7 if bytes(account) == self.account else -1

    def meter_of(self, index: int) -> bytes:
        """Return the account's meter."""
        return self.meter

    def last_order(self, index: int) -> int:
        """Return the newest order that was credited."""
        return self.last

    def is_last_card(self, index: int, header_mac: memoryview) -> bool:
        """Return whether the newest order came with the card of this header."""
        return self.last_mac in (b"", bytes(header_mac))

    def judge_credit(self, index: int, amount_fen: int) -> int:
        """Judge hoarding, and whether a refund is covered."""
        self.limit_calls += 1
        if amount_fen < 0:
            return codes.OK if -amount_fen <= self.cover_fen else codes.NOT_COVERED
        too_much = self.balance_fen() + amount_fen > self.hoarding_fen
        return codes.HOARDING if too_much else codes.OK

    def credit(
        self,
        index: int,
        order: int,
        amount_fen: int,
        uid: bytearray,
        key_version: int,
        header_mac: memoryview,
    ) -> bool:
        """Make the credit durable, unless the power fails first."""
        if self.refuse:
            return False
        cut = self.cut
        self.cut = ""
        if cut == "before":
            raise PowerCut
        self.credits.append((order, amount_fen))
        self.last = order
        self.last_mac = bytes(header_mac)
        if cut == "after":
            raise PowerCut
        return True

    def tariff_named(self, index: int, name: bytes) -> int:
        """Return the image of a tariff; only number 2 has one."""
        return 2 if name == b"image--2" else 0

    def plan_tariff(self, index: int, number: int, from_t2000: int) -> bool:
        """Keep the plan, unless the storage refuses it."""
        if not self.refuse:
            self.plans.append((number, from_t2000))
        return not self.refuse

    def show_card(self, index: int, credited: bool, amount_fen: int) -> None:
        """Count the card, by whether it has brought money."""
        if credited:
            self.shown.append((index, amount_fen))
        else:
            self.looks += 1

    def event_before(self, index: int, seq: int, buf: bytearray) -> int:
        """Return a record of `events`, which are numbered from 1."""
        seq = min(seq - 1, len(self.events))
        if seq:
            buf[:] = self.events[seq - 1]
        return seq

    def note_card(
        self,
        code: int,
        index: int,
        order: int,
        amount_fen: int,
        uid: bytearray,
        account: bytearray,
    ) -> None:
        """Keep the CARD record."""
        self.notes.append((code, index, order, amount_fen, bytes(uid), bytes(account)))

    def fill_write_back(self, index: int, buf: bytearray, offset: int) -> None:
        """Fill in the order, the balance and a concentrator number."""
        buf[offset + 4 : offset + 8] = pack("<I", max(0, self.last))
        buf[offset + 8 : offset + 12] = pack("<i", self.balance_fen())
        buf[offset + 48 : offset + 52] = pack("<I", 99)


class World:
    """This is one reader, one account, and one redemption that can be restarted."""

    def __init__(self, last: int = 0) -> None:
        self.carrier = FakeCarrier()
        self.books = FakeBooks(last=last)
        self.keys = keys()
        self.ticks = TICKS
        self.polls = 0
        self.restart()

    def restart(self) -> None:
        """Restart the device; books and card stay, and the reader finds the card again."""
        self.redemption = Redemption(self.carrier, self.books, self.keys)

    def run(self, t2000: int = NOW, polls_limit: int = 60) -> int:
        """Poll until the card is done; return its code, -1 if it never was."""
        for _ in range(polls_limit):
            self.polls += 1
            if self.redemption.poll(self.ticks, t2000):
                return self.redemption.code
            self.ticks = (self.ticks + 1) & 0x1FFFFFFF
        return -1

    def redeem(self, card: bytearray, uid: bytes = UID, t2000: int = NOW) -> int:
        """Insert, wait for the result, pull."""
        self.carrier.insert(card, uid)
        code = self.run(t2000)
        self.carrier.pull()
        self.redemption.poll(self.ticks, t2000)
        return code
