"""Redeem a card in two phases: first the money becomes durable, then the card is marked.

    WAIT -> READ -> JUDGE -> credit, durable -> WRITE -> CHECK -> WAIT for the next card
                      |                          ^  |______| tries
                      `-- refused ---------------'
                          (or straight to the result if the card is not genuine)

The order number makes money count exactly once: the books accept only the last order plus one, or
one that supersedes it, and it becomes durable together with the money. So the card may be pulled
or the power cut at any byte. Before the credit is durable nothing has happened. After it the same
card is known as used, and inserting it again only writes the missing mark. Erasing a mark gives no
money back. Two cards are the same if they have the same header MAC: another card with the last
order's number gets no mark.

The checks are, in order: form, type, key, district, key version, MAC, card number, validity,
account, meter, state of the account, order, hoarding, overflow or cover of a refund, tariff.

A card with a validity, and an operator's card, waits in the reader until the time is known.

A purchase card may name the account's next tariff, and may change nothing else. The tariff is
planned before the money is credited, and again when the last card is inserted again, which has no
further effect.

An order may supersede earlier ones that the household did not redeem: it counts in place of the
first of them, and not if any of them was redeemed.

A refund is an order like a purchase and debits its amount from the account: once, in turn, and
never more than the balance. Its mark tells the counter that it may pay out.

An operator's card (preset, clear, key) counts once at each concentrator: its order number must be
above that of every earlier one, and becomes durable with what it changes.

One block of a MAC is calculated in each poll. An account is judged and credited within one poll,
so that nothing changes it in between. The flash is written once in a poll: a tariff is planned in
one, the money credited in the next, and what follows for the supply is decided in a third.

The module is sans-IO: call `poll` with the time. It allocates while it judges a card, not while it
waits for one.
"""

from struct import unpack_from

from crypto.hmac import same
from micropython import const

from card import carrier as port
from card import codes, image
from card.image import Image
from card.lockout import Lockout

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from array import array
    from collections.abc import Generator, Iterator
    from typing import Protocol

    from ports import Carrier

    from card.keys import Keys

    Bytes = bytes | bytearray | memoryview

    class Books(Protocol):
        """The interface of the accounts that a redemption needs."""

        @property
        def illegal(self) -> "array[int]":
            """The counts of cards that were not genuine, codes.ILLEGAL and codes.RECENT."""

        def find_account(self, account: bytearray) -> int:
            """Return the index of the account with this number of 6 bytes, -1 without one."""

        def meter_of(self, index: int) -> "bytes | bytearray":
            """Return the address of the account's meter, 6 bytes, low byte first."""

        def last_order(self, index: int) -> int:
            """Return the order credited last, 0: none yet; BEHIND or UNTOLD: it is not known."""

        def is_last_card(self, index: int, header_mac: "Bytes") -> bool:
            """Return whether the order credited last came with the card of this header MAC."""

        def judge_credit(self, index: int, amount_fen: int) -> int:
            """Return codes.OK or why the account cannot be credited, or below 0 debited.

            HOARDING and OVERFLOW: it would hold too much. NOT_COVERED: it holds less than the
            refund.
            """

        def credit(
            self,
            index: int,
            order: int,
            amount_fen: int,
            uid: bytearray,
            key_version: int,
            header_mac: "memoryview",
        ) -> bool:
            """Make a top-up, below 0 a refund, durable and apply it; return false if refused."""

        def tariff_named(self, index: int, name: bytes) -> int:
            """Return the number of the tariff of this name, 0: none may charge the account."""

        def plan_tariff(self, index: int, number: int, from_t2000: int) -> bool:
            """Plan tariff `number` from then on, durable on return; return false if refused."""

        def show_card(self, index: int, credited: bool, amount_fen: int) -> None:
            """Note that the account's own card was inserted, and whether it brought money."""

        def event_before(self, index: int, seq: int, buf: bytearray) -> int:
            """Put the account's newest record before `seq` into `buf`; return its seq, 0: none."""

        def note_card(
            self,
            code: int,
            index: int,
            order: int,
            amount_fen: int,
            uid: bytearray,
            account: bytearray,
        ) -> None:
            """Record a card that was refused or not marked; index -1: no account here has it.

            Code OK: the card cleared the count of illegal cards.
            """

        def fill_write_back(self, index: int, buf: bytearray, offset: int) -> None:
            """Fill bytes 2..25, 28..43, 48..51 of the write-back at `offset` (card/image.py)."""

    class Operator(Protocol):
        """The interface of what an operator's cards may change."""

        @property
        def number(self) -> int:
            """The order number of the newest operator's card that was accepted."""

        def operate(
            self, card: Image, index: int, keys: Keys, t2000: int
        ) -> Generator[None, None, int]:
            """Carry out a genuine card in steps, durable with its number; return a code.

            `index` is the account that the card names, -1: it names none. `t2000` is the time, -1:
            unknown; the card then waits for it with NO_CLOCK.
            """


# `last_order` returns these instead of an order.
BEHIND = const(-1)  # the head-end knows more than the books
UNTOLD = const(-2)  # the account's earlier purchases are unknown here

TRIES_LIMIT = const(3)

_WAIT = const(0)
_READ = const(1)
_WRITE = const(2)
_CHECK = const(3)
_EVENT = const(4)
_TIME = const(5)  # the card waits until the time is known, because it has a validity
_JUDGE = const(6)  # a MAC is calculated, one block in each poll

_EVENT_SIZE = const(64)
_EVENTS_END = const(768)  # 8 records behind the image
_NEWEST = const(0x3FFFFFFF)


class Redemption:
    """A redeemer of the cards of one reader.

    done        the count of cards finished; the fields below belong to the newest
    code        its result, a code of card/codes.py
    credited    whether its order was credited or refunded at this insertion
    index       its account, -1 if none was found
    order, amount_fen    the fields of the card, 0 if it is not genuine
    uid         its serial number
    keys        the keys of the next card; a card that is being judged keeps its own
    """

    def __init__(
        self,
        carrier: "Carrier",
        books: "Books",
        keys: "Keys",
        operator: "Operator | None" = None,
    ) -> None:
        """Make a redeemer; without an `operator` an operator's cards are of a wrong type."""
        self.keys = self._keys = keys
        self.done = 0
        self.code = codes.OK
        self.credited = False
        self.index = -1
        self.order = 0
        self.amount_fen = 0
        self.uid = bytearray(port.UID_SIZE)
        self._carrier = carrier
        self._books = books
        self._operator = operator
        self._image = Image()
        self._account = bytearray(6)
        self._mark = memoryview(self._image.buf)[image.WRITE_BACK :]
        self._event = bytearray(_EVENT_SIZE)
        self._event_seq = 0
        self._event_at = 0
        self._judgement: Iterator[None] = iter(())
        self._state = _WAIT
        self._present = 0
        self._tries = 0
        self._lockout = Lockout(books.illegal[codes.RECENT])
        self._is_new = True

    @property
    def busy(self) -> bool:
        """Whether a card is being processed; a card that waits for the time is not."""
        return self._state not in (_WAIT, _TIME)

    def poll(self, now_ticks: int, now_t2000: int) -> bool:
        """Continue with the card in the reader; return true when it is finished.

        `now_t2000` is -1 while the time is unknown.
        """
        carrier = self._carrier
        done = self.done
        if self._is_new:
            self._is_new = False
            self._rest(now_ticks)
        if carrier.present != self._present:
            if self._state != _WAIT:
                if self.credited:
                    self._show()  # its step may not have come yet; twice is as good as once
                self._finish(self._code_of_pull(), now_ticks)
            self._present = carrier.present
            if self._present:
                self._begin(now_ticks)
        elif self._state == _TIME:
            if now_t2000 >= 0:
                self._begin(now_ticks)
        elif self._state == _JUDGE:
            next(self._judgement, None)
        elif self._state != _WAIT:
            outcome = carrier.poll(now_ticks)
            if outcome != port.BUSY:
                self._go_on(outcome == port.OK, now_ticks, now_t2000)
        return self.done != done

    def _code_of_pull(self) -> int:
        """Return the result of a card that was pulled before it was finished."""
        if self._state in (_EVENT, _TIME):
            return self.code
        return codes.NOT_MARKED if self.credited else codes.PULLED

    def unlock(self) -> None:
        """Accept cards again after too many that were not genuine."""
        self._lockout.clear()
        self._books.illegal[codes.RECENT] = 0

    def _rest(self, now_ticks: int) -> None:
        if self._lockout.rest(now_ticks):
            self._books.illegal[codes.RECENT] = 0

    def _begin(self, now_ticks: int) -> None:
        self._keys = self.keys
        self.index = -1
        self.order = self.amount_fen = 0
        self.credited = False
        self._tries = 0
        for position in range(port.UID_SIZE):
            self.uid[position] = self._carrier.uid[position]
        for position in range(len(self._account)):
            self._account[position] = 0
        self._rest(now_ticks)
        if self._lockout.refuses(self.uid, now_ticks):
            self._finish(codes.TOO_MANY, now_ticks)
        elif self._carrier.size < image.CARD_SIZE:
            self._finish(codes.WRONG_TYPE, now_ticks)
        else:
            self._state = _READ
            self._carrier.start_read(image.IMAGE, image.IMAGE_SIZE)

    def _go_on(self, good: bool, now_ticks: int, now_t2000: int) -> None:
        """Continue after an operation of the reader has ended, `good` or not."""
        if self._state == _READ and good:
            self._state = _JUDGE
            self._judgement = self._redeem(now_ticks, now_t2000)
            next(self._judgement, None)
        elif self._state == _WRITE and good:
            self._state = _CHECK
            at = image.IMAGE + image.WRITE_BACK
            self._carrier.start_read(at, image.WRITE_BACK_SIZE)
        elif self._state == _CHECK and good and self._is_marked():
            self._event_seq = _NEWEST
            self._event_at = image.CARD_SIZE
            self._write_event(now_ticks)
        elif self._state == _EVENT:
            # The money is durable and the card marked, so a failed event only ends the list.
            if good:
                self._write_event(now_ticks)
            else:
                self._finish(self.code, now_ticks)
        elif self._tries < TRIES_LIMIT:
            self._tries += 1
            if self._state == _READ:
                self._carrier.start_read(image.IMAGE, image.IMAGE_SIZE)
            else:
                self._start_mark()
        elif self._state == _READ:
            self._finish(codes.COMMUNICATION, now_ticks)
        else:
            # For a refused card the reason matters more than the missing write-back.
            accepted = self.code in (codes.OK, codes.COMPLETED)
            self._finish(codes.NOT_MARKED if accepted else self.code, now_ticks)

    def _write_event(self, now_ticks: int) -> None:
        """Write the account's next older record behind the image, or finish the card."""
        record = self._event
        at = self._event_at
        if at + len(record) <= min(self._carrier.size, _EVENTS_END):
            self._event_seq = self._books.event_before(self.index, self._event_seq, record)
            if self._event_seq:
                self._state = _EVENT
                self._event_at = at + len(record)
                self._carrier.start_write(at, record, len(record))
                return
        self._finish(self.code, now_ticks)

    def _redeem(self, now_ticks: int, now_t2000: int) -> "Iterator[None]":
        """Judge the image that was read, credit it, then mark the card of a known account."""
        card = self._image
        for position in range(image.IMAGE_SIZE):
            card.buf[position] = self._carrier.data[position]
        code = yield from card.load(self._keys, self.uid)
        if code == codes.OK:
            self.order = card.order
            self.amount_fen = card.amount_fen
            code = yield from self._apply(now_t2000)
            if code == codes.OK and self.index >= 0:
                if card.flags & image.SPARE_TARIFF:
                    yield  # the plan was written in the step before
                    code = self._judge()
                code = self._credit() if code == codes.OK else code
        self.code = code
        if code == codes.NO_CLOCK:
            self._state = _TIME
            return
        if self.credited:
            yield  # the money was written in the step before
        self._show()
        if self.index < 0 or code == codes.STORAGE or self._has_mark(code):
            self._finish(code, now_ticks)
            return
        self._tries = 0
        self._books.fill_write_back(self.index, card.buf, image.WRITE_BACK)
        yield
        illegal = self._books.illegal[codes.ILLEGAL]
        redeemed_fen = self.amount_fen if code in (codes.OK, codes.COMPLETED) else 0
        yield from card.seal_write_back(self._keys, code, illegal, now_t2000, redeemed_fen)
        self._start_mark()

    def _show(self) -> None:
        """Have the account judged that the card belongs to, if it is known."""
        if self.index >= 0:
            self._books.show_card(self.index, self.credited, self._money_fen())

    def _apply(self, now_t2000: int) -> "Generator[None, None, int]":
        """Carry out a genuine card except for its money; return OK if that may be credited."""
        card = self._image
        if card.valid_until_t2000:
            if now_t2000 < 0:
                return codes.NO_CLOCK
            if now_t2000 > card.valid_until_t2000:
                return codes.EXPIRED
        card.account_into(self._account)
        if card.kind == image.TEST:
            return codes.COMPLETED
        for_all = not any(self._account)
        if for_all and card.kind in (image.PRESET, image.CLEAR, image.KEY):
            return (yield from self._operate(-1, now_t2000))
        index = self._books.find_account(self._account)
        if index < 0:
            return codes.ACCOUNT
        if not card.is_for_meter(self._books.meter_of(index)):
            return codes.METER
        if card.kind == image.CLEAR:
            return (yield from self._operate(index, now_t2000))
        if card.kind in (image.PRESET, image.KEY):
            return codes.WRONG_TYPE
        self.index = index
        if card.kind == image.INSPECT:
            return codes.COMPLETED
        code = self._judge()
        if code in (codes.OK, codes.COMPLETED) and card.flags & image.SPARE_TARIFF:
            code = self._plan_tariff(code)
        return code

    def _plan_tariff(self, code: int) -> int:
        """Plan the account's next tariff; return `code`, or why the card is refused."""
        buf = self._image.buf
        name = bytes(buf[image.SPARE_NAME : image.SPARE_NAME + image.SPARE_NAME_SIZE])
        number = self._books.tariff_named(self.index, name)
        if not number:
            return codes.NO_TARIFF
        from_t2000 = unpack_from("<I", buf, image.SPARE_T2000)[0]
        planned = self._books.plan_tariff(self.index, number, from_t2000)
        return code if planned else codes.STORAGE

    def _operate(self, index: int, now_t2000: int) -> "Generator[None, None, int]":
        """Carry out an operator's card; it gets no write-back, as it serves many concentrators."""
        operator = self._operator
        card = self._image
        if operator is None:
            return codes.WRONG_TYPE
        if card.order <= operator.number:
            return codes.USED
        code = yield from operator.operate(card, index, self._keys, now_t2000)
        if code == codes.OK and card.kind == image.CLEAR:
            self._books.illegal[codes.ILLEGAL] = 0
            self._note(codes.OK)
        return code

    def _judge(self) -> int:
        """Return codes.OK if the account may accept this order now, else why not."""
        card = self._image
        last = self._books.last_order(self.index)
        # The card's mark has an order that the books lack, so the books are out of date.
        if card.written_order > last >= 0:
            return codes.BOOKS_BEHIND
        if last == 0 and card.kind in (image.PURCHASE, image.REFUND):
            return codes.NOT_OPENED
        if last == 0 and card.kind == image.REPLACEMENT:
            return codes.NOTHING_TO_REPLACE
        first = card.first_order()
        code = judge_order(self._books, self.index, first, card.order, card.header_mac())
        if code == codes.COMPLETED and card.written_order >= card.order:
            return codes.USED
        if last > 0 and card.kind == image.OPEN and code in (codes.OK, codes.ORDER_AHEAD):
            return codes.OPENED
        if code != codes.OK:
            return code
        return self._books.judge_credit(self.index, self._money_fen())

    def _credit(self) -> int:
        """Make the money durable and credit it, or change nothing; return the result."""
        card = self._image
        self.credited = self._books.credit(
            self.index,
            card.order,
            self._money_fen(),
            self.uid,
            self._keys.version,
            card.header_mac(),
        )
        return codes.OK if self.credited else codes.STORAGE

    def _money_fen(self) -> int:
        """Return the amount that the order adds to the account, below 0 for a refund."""
        card = self._image
        return -card.amount_fen if card.kind == image.REFUND else card.amount_fen

    def _has_mark(self, code: int) -> bool:
        """Return whether the card has a current write-back already, or must not get one."""
        if code in (codes.BOOKS_BEHIND, codes.NO_STANDING):
            return True  # the write-back on the card may be newer than these books
        if code == codes.OTHER_CARD:
            return True  # a write-back would claim that this card was redeemed
        used = code in (codes.USED, codes.ORDER_BEHIND)
        return used and self._image.written_order >= self.order

    def _start_mark(self) -> None:
        """Begin to write the mark on the card."""
        self._state = _WRITE
        at = image.IMAGE + image.WRITE_BACK
        self._carrier.start_write(at, self._mark, image.WRITE_BACK_SIZE)

    def _is_marked(self) -> bool:
        """Return whether the write-back reads as it was written."""
        return same(self._carrier.data, 0, self._mark, 0, image.WRITE_BACK_SIZE)

    def _finish(self, code: int, now_ticks: int) -> None:
        """Record the result, show it at the reader and wait for the next card."""
        self._state = _WAIT
        self.code = code
        if codes.is_illegal(code):
            codes.count_illegal(self._books.illegal)
            self._lockout.count(self.uid, now_ticks)
        # A flood of cards must not fill the journal.
        is_told = code not in (codes.OK, codes.COMPLETED, codes.TOO_MANY)
        if is_told and self._lockout.may_note(now_ticks):
            self._note(code)
        self.done += 1
        # If another card is in the reader by now, this result must not be shown for it.
        if self._carrier.present in (0, self._present):
            self._carrier.show(code, self.credited, self.index)

    def _note(self, code: int) -> None:
        self._books.note_card(
            code, self.index, self.order, self.amount_fen, self.uid, self._account
        )


def judge_order(books: "Books", index: int, first: int, order: int, header_mac: "Bytes") -> int:
    """Return codes.OK if `order` is the account's next, COMPLETED if it is credited, or why not.

    The order supersedes those from `first` on, none of which may have been credited.
    """
    last = books.last_order(index)
    if last < 0:
        return codes.NO_STANDING if last == UNTOLD else codes.BOOKS_BEHIND
    if order == last:
        return codes.COMPLETED if books.is_last_card(index, header_mac) else codes.OTHER_CARD
    if order < last:
        return codes.ORDER_BEHIND
    if first <= last:
        return codes.TOO_LATE
    return codes.OK if first == last + 1 else codes.ORDER_AHEAD
