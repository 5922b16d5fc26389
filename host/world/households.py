"""Households of a simulated world that use up credit and buy, their counter, and thieves."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from host.cards.issuing import IssueError, issue
from host.frames import card as frames
from host.frames.card import CardKind, Header
from host.frames.card_results import CODES, OUTCOMES
from host.link.reader import Redeemed
from host.sim.card import VirtualCard
from host.sim.meter import Meter
from host.world.agenda import Agenda
from host.world.checks.account import CUT, OPEN, Order
from host.world.checks.checkers import Checkers
from host.world.console_side import GIVE_UP_US, ConsoleSide
from host.world.faults import Faults

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DISTRICT = 4711
KEY = bytes(range(16))
CARD_KEY_VERSION = 1
_OTHER_KEY = bytes(range(1, 17))
_TAKEN = tuple(CODES[name] for name in ("OK", "COMPLETED", "USED", "OTHER_CARD"))
_AMOUNTS_FEN = (50, 1500)
_SHORT_FEN = 300
_REFUND_CHANCE = 0.08  # of each visit


@dataclass
class Household:
    """One account. `thrift` is how likely it buys when it is looked after, 0 to 1."""

    index: int
    account: str
    meter: Meter
    card: VirtualCard
    thrift: float
    number: int = 0  # of the newest order
    on_card: int = 0  # the order that its card bears
    images: list[VirtualCard] = field(default_factory=list)  # the cards that a thief has copied
    inserting: bool = False


class Households:
    """All households; `sold` are the orders by account index and number.

    results     of insertions, by name
    """

    def __init__(
        self,
        agenda: Agenda,
        random: Random,
        console: ConsoleSide,
        meters: list[Meter],
        sold: dict[tuple[int, int], Order],
    ) -> None:
        self.results: Counter[str] = Counter()
        self.faults = Faults()
        self._sold = sold
        self._agenda = agenda
        self._random = random
        self._console = console
        self.households = [
            Household(index, f"{index + 1:012d}", meter, self._new_card(), random.random())
            for index, meter in enumerate(meters)
        ]

    def begin(self, checkers: Checkers) -> None:
        """Have each household open an account within some hours and look after it from then on."""
        self._checkers = checkers
        for one in self.households:
            self._agenda.after(self._random.randrange(4 * HOUR_US), self._visitor(one))

    def insert_what_is_left(self) -> None:
        """Insert every card that was sold and has not been taken; end all faults of people."""
        self.faults = Faults()
        for one in self.households:
            if self._order_of(one) < one.on_card and not one.inserting:
                self._insert(one)

    @property
    def owed(self) -> bool:
        """Return whether a card was sold and has not been taken yet."""
        return any(self._order_of(one) < one.number or one.inserting for one in self.households)

    # --- households ----------------------------------------------------------------------------

    def _visitor(self, one: Household) -> "_Visit":
        return _Visit(self, one)

    def visit(self, one: Household) -> None:
        """Have the household look at its balance, buy or not, and come back in some hours."""
        account = self._checkers.accounts.get(one.index)
        buys = account is None or account.order == 0
        if account is not None and not buys:
            short = account.balance_fen < _SHORT_FEN or account.state == CUT
            buys = short and self._random.random() < max(0.2, one.thrift)
        if account is not None and self._random.random() < _REFUND_CHANCE:
            self._refund(one, account.balance_fen)
        if buys and not one.inserting:
            if self._order_of(one) == one.number:
                self._sell(one)
            self._agenda.after(self._random.randrange(2 * HOUR_US), lambda: self._insert(one))
        elif account is not None and account.desired == OPEN:
            # A household that is cut and does not pay asks for its emergency credit.
            self._insert(one)
        self._agenda.after(self._random.randrange(HOUR_US, 8 * HOUR_US), self._visitor(one))

    def sell_by_air(self, one: Household, mac: str) -> int:
        """Sell the next order without a card; return its amount in fen, 0: another one is due."""
        if one.inserting or self._order_of(one) != one.number:
            return 0
        amount_fen = self._random.randrange(*_AMOUNTS_FEN)
        one.number += 1
        self._sold[(one.index, one.number)] = Order(one.number, amount_fen, set(), {mac})
        return amount_fen

    def send_by_air(self, one: Household, mac: str) -> int:
        """Let the newest order go without its card too; return its amount in fen, 0: none."""
        sold = self._sold.get((one.index, one.number))
        if sold is None or sold.amount_fen <= 0:
            return 0
        sold.macs.add(mac)
        return sold.amount_fen

    def _order_of(self, one: Household) -> int:
        account = self._checkers.accounts.get(one.index)
        return account.order if account else 0

    def _new_card(self) -> VirtualCard:
        return VirtualCard(self._random.randbytes(8).hex().upper())

    def _sell(self, one: Household) -> None:
        """Have the counter write the next order on the household's card."""
        number = one.number + 1
        amount_fen = self._random.randrange(*_AMOUNTS_FEN)
        kind = CardKind.OPEN if number == 1 else CardKind.PURCHASE
        one.card.insert()
        try:
            issue(one.card, self._header(one, kind, number, amount_fen), KEY)
        except IssueError:
            # The card bears an order that was credited and not marked: that comes first.
            self.results["not issued"] += 1
            return
        one.number = one.on_card = number
        self._sold[(one.index, number)] = Order(number, amount_fen, {one.card.uid})
        one.images.append(self._copy(one.card))
        if number > 1 and self._random.random() < self.faults.lost_card:
            one.card = self._new_card()
            replacement = self._header(one, CardKind.REPLACEMENT, number, amount_fen)
            issue(one.card, replacement, KEY)
            self._sold[(one.index, number)].uids.add(one.card.uid)
            self.results["replaced"] += 1

    def _write_again(self, one: Household) -> None:
        """Have the counter write another card, as the meter was exchanged since it was sold."""
        sold = self._sold[(one.index, one.number)]
        one.card = self._new_card()
        kind = CardKind.OPEN if one.number == 1 else CardKind.REPLACEMENT
        kind = CardKind.REFUND if sold.amount_fen < 0 else kind
        issue(one.card, self._header(one, kind, one.number, abs(sold.amount_fen)), KEY)
        sold.uids.add(one.card.uid)

    def _refund(self, one: Household, balance_fen: int) -> None:
        """Have the counter take money back by an order below zero, seldom more than there is."""
        if one.inserting or self._order_of(one) != one.number or balance_fen < 100:
            return
        amount_fen = self._random.randrange(1, balance_fen * 5 // 4)
        if self._write_refund(one, one.number + 1, amount_fen):
            one.number += 1
            one.on_card = one.number
            self._insert(one)

    def _write_refund(self, one: Household, number: int, amount_fen: int) -> bool:
        one.card.insert()
        # Only an order that is not redeemed yet is overwritten.
        again = number == one.number
        try:
            issue(one.card, self._header(one, CardKind.REFUND, number, amount_fen), KEY, again)
        except IssueError:
            self.results["not issued"] += 1
            return False
        self._sold[(one.index, number)] = Order(number, -amount_fen, {one.card.uid})
        return True

    def _header(self, one: Household, kind: CardKind, number: int, amount_fen: int) -> Header:
        meter = one.meter.address
        issued_t2000 = self._agenda.clock.now_t2000()
        return Header(
            *(kind, CARD_KEY_VERSION, DISTRICT, one.account, meter, "", number, amount_fen),
            issued_t2000,
        )

    def _insert(self, one: Household) -> None:
        if one.inserting or one.on_card == 0:
            return
        one.inserting = True
        card = one.card
        card.insert()
        give_up_us = GIVE_UP_US
        if self._random.random() < self.faults.pulled_card:
            if self._random.random() < 0.5:
                card.tear_at_byte = self._random.randrange(140)
            else:
                give_up_us = self._random.randrange(2_000_000)
            if self._random.random() < 0.3:
                card.flip_bit = self._random.randrange(8 * frames.IMAGE_SIZE)
        number = one.on_card
        self._console.insert(card, lambda result: self._taken(one, number, result), give_up_us)

    def _taken(self, one: Household, number: int, result: Redeemed | None) -> None:
        """Take the card out again; without the right result the household comes back."""
        one.inserting = False
        name = "no result"
        if result is not None:
            name = OUTCOMES[result.code].name
            if result.credited or result.code in _TAKEN:
                self._checkers.card_done(one.index, number, name)
        self.results[name] += 1
        if name == "OTHER_CARD" and number == one.number:
            # The card that brought the order first is lost: the next is written on a new one.
            one.card = self._new_card()
        if name == "METER" and number == one.number:
            self._write_again(one)
        if name == "NOT_COVERED" and number == one.number:
            self._write_refund(one, number, 0)  # given up
        if result is None or result.code not in _TAKEN:
            wait_us = self._random.randrange(5 * MINUTE_US, HOUR_US)
            self._agenda.after(wait_us, lambda: self._insert(one))

    # --- thieves -------------------------------------------------------------------------------

    def attack(self) -> None:
        """Insert a card that is not valid, or no longer valid."""
        one = self._random.choice(self.households)
        images = one.images
        if not images:
            return
        card = self._copy(self._random.choice(images))
        kind = self._random.choice(("replay", "copy", "flip", "key", "garbage"))
        if kind == "copy":
            self._move(card, self._new_card().uid)
        elif kind == "flip":
            at = self._random.randrange(frames.IMAGE_OFFSET, frames.IMAGE_OFFSET + 88)
            card.memory[at] ^= 1 << self._random.randrange(8)
        elif kind == "key":
            number, fen = one.number + 1, 9999
            forged = frames.build(self._forged(one, card.uid, number, fen), _OTHER_KEY)
            card.memory[frames.IMAGE_OFFSET : frames.IMAGE_OFFSET + len(forged)] = forged
        elif kind == "garbage":
            card.memory[frames.IMAGE_OFFSET :] = self._random.randbytes(frames.IMAGE_SIZE)
        self._console.insert(card, lambda result: self._attacked(kind, result))

    def _attacked(self, kind: str, result: Redeemed | None) -> None:
        name = OUTCOMES[result.code].name if result else "no result"
        self.results[f"{kind} {name}"] += 1

    def _forged(self, one: Household, uid: str, number: int, amount_fen: int) -> Header:
        header = self._header(one, CardKind.PURCHASE, number, amount_fen)
        return Header(**{**{n: getattr(header, n) for n in header.__slots__}, "uid": uid})

    @staticmethod
    def _copy(card: VirtualCard) -> VirtualCard:
        copy = VirtualCard(card.uid)
        copy.memory[:] = card.memory
        return copy

    @staticmethod
    def _move(card: VirtualCard, uid: str) -> None:
        """Return the same content on a chip with another serial number."""
        at = frames.SERIAL_OFFSET
        card.uid = uid
        card.memory[at : at + frames.UID_SIZE] = bytes.fromhex(uid)


@dataclass(frozen=True)
class _Visit:
    households: Households
    household: Household

    def __call__(self) -> None:
        self.households.visit(self.household)
