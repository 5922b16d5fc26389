"""The money protocol as a state machine: one account, its card, its board, and the head-end.

    counter -- order --> card --> board: journal, credit, mark --> batch --> head-end: commit, ack
    head-end -- order without a card --> board          head-end -- standing --> replaced board

Everything that can come next from a state is one of `moves`. A fault is a move too, and a state
has a number of them left: power cut, lost or doubled message, lost connection, a card that is
pulled, a board that is replaced by an empty one or by an old copy of itself, a database that goes
back to its backup. `tools.explorer` walks through all of them in any order.

What the firmware and the head-end do is written down here a second time, in as few words as a
model needs. `BUGS` are mistakes that each of the rules keeps out; with one of them in it, some
order of moves breaks an invariant, and a test holds that it is found.
"""

from collections.abc import Iterator
from typing import NamedTuple

ORDERS = 2
STANDING = ("order", "credit_fen", "debit_fen", "read", "sale")
READINGS = 1

BUGS = {
    "money before order": "the credit becomes durable in one write, the order in another",
    "mark first": "the card is marked before the money is durable",
    "ack before commit": "the head-end acknowledges a batch, and then loses it",
    "drop before ack": "the board lets records go that the head-end has not",
    "numbers again": "a restored board goes on with the head-end's last number, not behind it",
    "untold takes cards": "an empty board takes cards before it was told the account's standing",
    "standing adds": "a standing is added to what the board has, not put in its place",
    "numbers of the told": "the counter numbers orders by what was redeemed, not what was sold",
    "any card of the order": "another card with the last order's number is told that it counted",
    "order not in turn": "any order above the last one is taken",
    "command twice": "an order without a card counts each time it is delivered",
}


class Rec(NamedTuple):
    """A record: `kind` "top", "read", "stand" or "behind", and the account as it is behind it.

    told        whether the board knew the account's standing; else the head-end keeps its own
    """

    kind: str
    sale: int
    order: int
    credit_fen: int
    debit_fen: int
    read: int
    told: bool


class Flash(NamedTuple):
    """What survives on a board.

    first, recs     the number of the oldest record, and the records from it on
    floor           records below it are not for the head-end
    """

    journal: int
    first: int = 1
    recs: tuple[Rec, ...] = ()
    floor: int = 1
    order: int = 0
    credit_fen: int = 0
    debit_fen: int = 0
    read: int = 0
    sale: int = 0  # that came with the last order, as its header MAC tells
    told: bool = False
    behind: bool = False
    half: int = 0  # with the bug "money before order": a sale of which only the money is durable

    @property
    def next(self) -> int:
        """The number of the next record."""
        return self.first + len(self.recs)


class Base(NamedTuple):
    """The head-end's database: the records from `first` on, and the account as they say."""

    journal: int
    first: int = 1
    recs: tuple[Rec, ...] = ()
    order: int = 0
    credit_fen: int = 0
    debit_fen: int = 0
    read: int = 0
    sale: int = 0
    sold: int = 0  # so many sales are known here
    top: int = 0  # the number of the newest
    remote: int = 0  # the sale that is to be given without a card, 0: none
    wants: bool = False

    @property
    def acked(self) -> int:
        """The number up to which everything is here, or is known to be lost."""
        return self.first + len(self.recs) - 1


class State(NamedTuple):
    """Everything there is.

    sales       the number of each order sold; sale n, from 1, is worth 4 ** (n - 1)
    card        the sale on the card, 0: none; `marked` as used
    stage       the sale whose card waits for its mark
    known       what the head-end has told of its position since the start, -1: nothing
    used        energy that went through the meter
    shown       sales of which a person was told that they count
    forgotten   sales that nobody has to deliver: they were paid back
    moved       the database has gone back once
    lost        a board was replaced once
    """

    flash: Flash
    base: Base
    sales: tuple[int, ...] = ()
    card: int = 0
    marked: bool = False
    stage: int = 0
    on: bool = True
    known: int = -1
    acked: int = 0
    link: bool = False
    up: tuple[int, tuple[Rec, ...]] | None = None
    down: int = -1
    command: int = 0
    used: int = 0
    old: Flash | None = None
    backup: Base | None = None
    journals: int = 1
    shown: frozenset[int] = frozenset()
    forgotten: frozenset[int] = frozenset()
    moved: bool = False
    lost: bool = False
    faults: int = 2


class Broken(Exception):
    """An invariant does not hold; the text says which."""


Move = tuple[str, State]


def start(faults: int = 2) -> State:
    """Return a new account at a new board, told that it has bought nothing."""
    return State(Flash(1, told=True), Base(1), faults=faults)


def amount_fen(sale: int) -> int:
    """Return what a sale is worth: a sum tells by its digits how often each sale is in it."""
    return int(4 ** (sale - 1))


# --- the board -----------------------------------------------------------------------------------


def takes(flash: Flash, bug: str) -> bool:
    """Return whether the board takes cards and orders."""
    told = flash.told or bug == "untold takes cards"
    return told and not flash.behind


def _written(flash: Flash, kind: str, sale: int = 0) -> Flash:
    """Return the flash with one record more of what it knows."""
    told = sale or flash.sale
    rec = Rec(kind, told, flash.order, flash.credit_fen, flash.debit_fen, flash.read, flash.told)
    return flash._replace(recs=(*flash.recs, rec))


def _credited(state: State, sale: int, bug: str, again: bool = False) -> Flash | None:
    """Return the flash once a sale was credited; None: the order is not in turn."""
    flash, number = state.flash, state.sales[sale - 1]
    is_next = number == flash.order + 1 or (bug == "order not in turn" and number > flash.order)
    if not is_next and not again:
        return None
    order = max(flash.order, number)
    flash = flash._replace(
        order=order, credit_fen=flash.credit_fen + amount_fen(sale), sale=sale, half=0
    )
    return _written(flash, "top", sale)


def _insert(state: State, bug: str) -> Iterator[Move]:
    """Insert the card: it is credited, or is the one that was credited last."""
    flash, sale = state.flash, state.card
    if not sale or state.stage or not takes(flash, bug):
        return
    number = state.sales[sale - 1]
    if bug == "money before order" and flash.half != sale and number == flash.order + 1:
        half = flash._replace(credit_fen=flash.credit_fen + amount_fen(sale), half=sale)
        yield "the money is durable, its order not yet", state._replace(flash=half)
        return
    if flash.half == sale and number == flash.order + 1:
        # The order follows; without a restart the money is not added again.
        whole = _written(flash._replace(order=number, sale=sale, half=0), "top", sale)
        yield "the order is durable too", state._replace(flash=whole, stage=sale)
        return
    if bug == "mark first" and not state.marked and number == flash.order + 1:
        yield "the card is marked", state._replace(marked=True, stage=-sale)
        return
    credited = None if state.marked and bug == "mark first" else _credited(state, sale, bug)
    if credited is not None:
        yield "a card is credited", state._replace(flash=credited, stage=sale)
    elif (
        number == flash.order and flash.sale == sale and not (state.marked and sale in state.shown)
    ):
        yield "the card credited last is inserted again", state._replace(stage=sale)
    elif number == flash.order and flash.sale != sale and bug == "any card of the order":
        yield "another card of that order is told that it counts", state._replace(stage=sale)


def _board(state: State, bug: str) -> Iterator[Move]:
    """What the board does by itself, and with its card and its meter."""
    flash = state.flash
    yield from _insert(state, bug)
    if state.stage > 0:
        shown = state.shown | {state.stage}
        yield "the card is marked", state._replace(marked=True, stage=0, shown=shown)
    elif state.stage < 0:
        credited = _credited(state, -state.stage, bug)
        if credited is not None:
            shown = state.shown | {-state.stage}
            yield "the money is credited", state._replace(flash=credited, stage=0, shown=shown)
    if state.used < READINGS:
        yield "energy is used", state._replace(used=state.used + 1)
    if flash.read < state.used:
        begun = flash.told or flash.read > 0
        debit_fen = flash.debit_fen + (state.used - flash.read if begun else 0)
        read = _written(flash._replace(debit_fen=debit_fen, read=state.used), "read")
        yield "the meter is read", state._replace(flash=read)
    may_go = flash.next - 1 if bug == "drop before ack" else state.acked
    if flash.first <= may_go:
        left = flash.recs[may_go + 1 - flash.first :]
        gone = flash._replace(first=may_go + 1, recs=left)
        yield "records are let go", state._replace(flash=gone)


# --- the connection ------------------------------------------------------------------------------


def _greet(state: State) -> State:
    """Return the state behind a HELLO and its answer."""
    flash, base = state.flash, state.base
    if not base.journal:
        base = base._replace(journal=flash.journal)
    if base.journal != flash.journal:
        return state  # refused until a person says that the board was replaced
    state = state._replace(base=base, known=base.acked)
    if flash.behind:
        return state
    if flash.next - 1 < base.acked or _differs(flash, base):
        behind = _written(flash._replace(behind=True), "behind")
        return state._replace(flash=behind)
    outbox = max(flash.first, flash.floor)
    if outbox > base.acked + 1:
        # What lies between has gone, or is of a board that was restored.
        lost = flash.first > base.acked + 1 and flash.floor <= base.acked + 1
        if lost and not state.moved:
            raise Broken(
                f"head-end: records up to {flash.first - 1} were let go before it has them"
            )
        base = base._replace(first=outbox, recs=(), wants=base.wants or lost)
    return state._replace(base=base, acked=base.acked, known=base.acked, link=True)


def _differs(flash: Flash, base: Base) -> bool:
    """Return whether the newest record that the head-end has is another one here."""
    at = base.acked
    if not base.recs or not flash.first <= at < flash.next or at < flash.floor:
        return False
    return flash.recs[at - flash.first] != base.recs[-1]


def _committed(base: Base, first: int, recs: tuple[Rec, ...]) -> Base:
    """Return the database with a batch that begins with the number `first`."""
    for seq, rec in enumerate(recs, first):
        if seq <= base.acked:
            if seq >= base.first and base.recs[seq - base.first] != rec:
                raise Broken(f"journal: number {seq} stands for two records")
            continue
        if seq != base.acked + 1:
            return base
        base = base._replace(recs=(*base.recs, rec))
        if rec.kind == "behind" or not rec.told:
            continue
        base = base._replace(
            order=rec.order,
            credit_fen=rec.credit_fen,
            debit_fen=rec.debit_fen,
            read=rec.read,
            sale=rec.sale,
        )
        if rec.kind == "stand":
            base = base._replace(wants=False)
        if rec.sale and rec.sale == base.remote:
            base = base._replace(remote=0)
    return base


def _line(state: State, bug: str) -> Iterator[Move]:
    """What goes over the connection."""
    flash, base = state.flash, state.base
    if not state.link:
        greeted = _greet(state)
        if greeted != state:
            yield "the board calls the head-end", greeted
        return
    first = max(state.acked + 1, flash.first, flash.floor)
    if state.up is None and first < flash.next and not flash.behind:
        batch = (first, flash.recs[first - flash.first :])
        yield "a batch is sent", state._replace(up=batch)
    if state.up is not None:
        committed = _committed(base, *state.up)
        answered = state._replace(base=committed, up=None, down=committed.acked)
        yield "a batch is committed", answered
        if bug == "ack before commit":
            acked = state.up[0] + len(state.up[1]) - 1
            yield "a batch is acknowledged", state._replace(up=None, down=acked)
    if state.down >= 0:
        acked = max(state.acked, state.down)
        yield "an acknowledgement arrives", state._replace(acked=acked, down=-1)
    if base.wants and not any(rec.kind == "stand" for rec in flash.recs) and flash.told:
        yield "the board tells its standing", state._replace(flash=_written(flash, "stand"))
    if base.remote and not state.command:
        yield "an order is sent", state._replace(command=base.remote)
    if state.command:
        yield from _deliver(state, bug)


def _deliver(state: State, bug: str) -> Iterator[Move]:
    """Deliver the order that is on its way."""
    sale = state.command
    again = bug == "command twice" and state.flash.sale == sale
    credited = _credited(state, sale, bug, again) if takes(state.flash, bug) else None
    state = state._replace(command=0)
    if credited is None:
        yield "an order is refused, or known", _refused(state, sale, bug)
    else:
        yield "an order is credited", state._replace(flash=credited)


def _refused(state: State, sale: int, bug: str) -> State:
    """Return the state once the head-end knows that an order cannot count any more."""
    flash, base = state.flash, state.base
    if not takes(flash, bug) or state.sales[sale - 1] > flash.order or base.remote != sale:
        return state
    counts = (
        flash.credit_fen // amount_fen(sale) % 4 > 0
    )  # else another one has its number: paid back
    if counts and state.sales[sale - 1] > base.order:
        return state  # only its record says that it is done
    forgotten = state.forgotten if counts else state.forgotten | {sale}
    return state._replace(base=base._replace(remote=0), forgotten=forgotten)


# --- people --------------------------------------------------------------------------------------


def _people(state: State, bug: str) -> Iterator[Move]:
    """What the counter sells, and what a person does about a board that was replaced."""
    base = state.base
    number = max(base.order, base.top) + 1
    if bug == "numbers of the told":
        number = base.order + 1
    elif state.card:
        number = max(number, state.sales[state.card - 1] + 1)
    if len(state.sales) < ORDERS:
        sales = (*state.sales, number)
        sold = base._replace(sold=len(sales), top=number)
        if not state.card or state.marked:
            yield (
                "an order is sold on the card",
                state._replace(sales=sales, base=sold, card=len(sales), marked=False, stage=0),
            )
        if not base.remote:
            sold = sold._replace(remote=len(sales))
            yield "an order is sold without a card", state._replace(sales=sales, base=sold)
    yield from _renumber(state)
    yield from _sell_again(state)
    yield from _restore(state, bug)
    if state.backup is None and state.faults:
        yield "the database is copied", state._replace(backup=base)
    if state.old is None and state.faults and state.flash.recs:
        yield "the flash is copied", state._replace(old=state.flash)


def _renumber(state: State) -> Iterator[Move]:
    """Write the card anew where its number cannot come in turn any more.

    Another sale has the number by now, or the database has lost the sale before it.
    """
    flash, base, card = state.flash, state.base, state.card
    if not card or state.stage or base.remote or not (state.lost or state.moved):
        return
    if (state.marked or card in state.shown) and not state.lost:
        return  # a board that is lost may have marked it
    if base.wants or base.order != flash.order or flash.credit_fen // amount_fen(card) % 4:
        return
    number = base.order + 1
    if state.sales[card - 1] != number:
        sales = (*state.sales[: card - 1], number, *state.sales[card:])
        base = base._replace(top=number)
        after = state._replace(sales=sales, base=base, marked=False)
        yield "the card is written with another number", after


def _sell_again(state: State) -> Iterator[Move]:
    """Give an order that was sold and never told of, because its board was lost with it.

    It goes on the way without a card. It is sold again only if both sides agree otherwise.
    """
    flash, base = state.flash, state.base
    if base.remote or base.wants or flash.behind or not flash.told or not state.link:
        return
    if not state.lost and not state.moved:
        return
    if base.acked != flash.next - 1 or base.order != flash.order:
        return
    for sale in range(1, base.sold + 1):
        lost = sale != state.card and sale not in state.forgotten
        if lost and not flash.credit_fen // amount_fen(sale) % 4:
            number = base.order + 1
            sales = (*state.sales[: sale - 1], number, *state.sales[sale:])
            again = base._replace(remote=sale, top=number)
            yield "a lost order is sold again", state._replace(sales=sales, base=again)
            return


def _restore(state: State, bug: str) -> Iterator[Move]:
    """Tell a board what the head-end knows, accept it, and let it go on."""
    flash, base = state.flash, state.base
    if not flash.told or flash.behind:
        newer = flash.told and (flash.order, flash.debit_fen) >= (base.order, base.debit_fen)
        if bug == "standing adds":
            told = flash._replace(
                order=base.order,
                credit_fen=flash.credit_fen + base.credit_fen,
                debit_fen=base.debit_fen,
                told=True,
            )
        elif newer:
            told = flash._replace(told=True)
        else:
            told = flash._replace(
                **{name: getattr(base, name) for name in STANDING}, told=True, half=0
            )
        if told != flash:
            yield "a standing is told", state._replace(flash=_written(told, "stand"))
    if base.journal and base.journal != flash.journal and flash.told:
        anew = base._replace(journal=0, first=1, recs=())
        yield "the board is accepted as a new one", state._replace(base=anew)
    newest = (flash.order, flash.debit_fen) >= (base.order, base.debit_fen)
    if flash.behind and flash.told and newest and state.known >= 0:
        seq = state.known if bug == "numbers again" else max(flash.next, state.known + 1)
        restored = flash._replace(first=seq, recs=(), floor=seq, behind=False)
        yield "the board is restored", state._replace(flash=_written(restored, "stand"), known=-1)


# --- faults --------------------------------------------------------------------------------------


def _restarted(state: State, flash: Flash) -> State:
    """Return the state with a board that has just started on a flash."""
    return state._replace(
        flash=flash, stage=0, known=-1, acked=0, link=False, up=None, down=-1, command=0
    )


def _faults(state: State) -> Iterator[Move]:
    """Everything that may go wrong, while some of it is left."""
    if not state.faults:
        return
    less = state._replace(faults=state.faults - 1)
    yield "the power is cut", _restarted(less, state.flash)
    if state.stage:
        yield "the card is pulled", less._replace(stage=0)
    if state.link:
        yield "the connection breaks", less._replace(link=False, up=None, down=-1, command=0)
    if state.up is not None:
        committed = _committed(state.base, *state.up)
        yield "a batch comes twice", less._replace(base=committed, down=committed.acked)
    if state.down >= 0:
        yield "an acknowledgement is lost", less._replace(down=-1)
    if state.command:
        for _, delivered in _deliver(less, ""):
            yield "an order comes twice", delivered._replace(command=state.command)
    if state.journals < 2:
        empty = Flash(state.journals + 1)
        fresh = _restarted(less, empty)._replace(journals=state.journals + 1, lost=True)
        yield "the board is replaced by an empty one", fresh
    if state.old is not None and state.old != state.flash:
        copy = _restarted(less, state.old)._replace(lost=True)
        yield "the board is replaced by its old copy", copy
    if state.backup is not None and state.backup != state.base:
        yield "the database goes back to its backup", _moved_back(less, state.backup)


def _moved_back(state: State, backup: Base) -> State:
    """Return the state with the database as it was."""
    return state._replace(base=backup, link=False, up=None, down=-1, command=0, moved=True)


# --- all of it -----------------------------------------------------------------------------------


def moves(state: State, bug: str = "") -> Iterator[Move]:
    """Yield everything that can come next, with its name."""
    yield from _board(state, bug)
    yield from _line(state, bug)
    yield from _people(state, bug)
    yield from _faults(state)


# The moves by which everything comes right once nothing fails any more, first ones first.
CALM = (
    "the order is durable too",
    "the money is credited",
    "the card is marked",
    "a standing is told",
    "the board is accepted as a new one",
    "the board is restored",
    "a batch is committed",
    "an acknowledgement arrives",
    "the board calls the head-end",
    "the board tells its standing",
    "a batch is sent",
    "the money is durable, its order not yet",
    "a card is credited",
    "the card credited last is inserted again",
    "another card of that order is told that it counts",
    "an order is credited",
    "an order is refused, or known",
    "an order is sent",
    "a lost order is sold again",
    "the card is written with another number",
    "the meter is read",
)


def check(state: State, bug: str = "") -> None:
    """Raise Broken where a state is not allowed, whatever comes next."""
    flash = state.flash
    if not takes(flash, bug):
        return
    for sale in range(1, len(state.sales) + 1):
        if flash.credit_fen // amount_fen(sale) % 4 > 1:
            raise Broken(f"once: sale {sale} is counted twice")
    if flash.debit_fen != flash.read:
        raise Broken("money: a board takes cards that does not know what was used")


def check_end(state: State) -> None:
    """Raise Broken where something has not come right although nothing fails any more."""
    flash, base = state.flash, state.base
    for sale in range(1, len(state.sales) + 1):
        # What the database has lost, and a board too, stands on a receipt only.
        on_card = sale == state.card and not state.marked
        forgotten = sale in state.forgotten or (sale > base.sold and not on_card)
        if not forgotten and flash.credit_fen // amount_fen(sale) % 4 != 1:
            raise Broken(f"once: sale {sale} was paid for and never counts")
    if flash.behind or not flash.told:
        raise Broken("recovery: the board takes no cards for ever")
    if base.acked != flash.next - 1 or base.wants:
        raise Broken("head-end: it never has all records")
    if any(getattr(flash, name) != getattr(base, name) for name in STANDING):
        raise Broken("books: the head-end's account is not the board's")
