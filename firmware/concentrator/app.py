"""Compose the concentrator of its parts, recover it from flash, and drive it by `step`.

A step works in this order: receive and decode (lines, console), ledger, journal, relay, outbox. It
never waits and never reads a clock. A step with nothing to do compares a few numbers only. A step
ends as soon as it has written to flash, so that no step does several pieces of such work.
"""

from array import array

import micropython
from card.keys import Keys
from card.redemption import Redemption
from micropython import const
from ports import EVENT_SUPPLY
from prepay.ledger import Ledger

from concentrator.books.books import Books
from concentrator.books.registry import Registry
from concentrator.books.tariffs import Tariffs
from concentrator.cards.operator import Operator
from concentrator.cards.programmer import Programmer
from concentrator.console.commands import Commands, row_of
from concentrator.console.console import Console
from concentrator.entropy import Entropy
from concentrator.lamps import Lamps
from concentrator.line.poller import Poller
from concentrator.login import Login
from concentrator.settings import LOST, STORAGE_TROUBLE, Settings
from concentrator.storage.checkpoint import Checkpoint
from concentrator.storage.journal import Journal
from concentrator.storage.keeper import Keeper
from concentrator.timekeeper import Timekeeper
from concentrator.uplink import Uplink

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ports import CardReader, Carrier, Services

# The longest time for which a step may return that nothing is due, and the shortest that is noted.
_QUIET_MS = const(30000)
_REST_MS = const(1000)
# The time between steps while a server is asked for the time: its answer waits no longer.
_UNKNOWN_MS = const(1000)
# The time between steps while an answer of the console's far side is due.
_CONSOLE_MS = const(5)
# The time between steps with a card in the board's own reader, and without.
_CARD_MS = const(2)
_NO_CARD_MS = const(20)
# An audit judges one of 2**4 accounts, so it reaches all of them in some minutes.
_AUDIT_SHIFT = const(4)
# After a change of the policy a step judges this many accounts.
_REVIEWS = const(8)

# The first numbers of the columns in a checkpoint. A table may append columns, never reorder them.
_TARIFF_COLUMNS = const(0)
_REGISTRY_COLUMNS = const(16)
_CARD_COLUMNS = const(48)
_LEDGER_COLUMNS = const(64)

# The tasks that follow those of the lines.
_CONSOLE = const(0)
_UPLINK = const(1)
_JOURNAL = const(2)
_OWN_READER = const(3)

# Places in `_quiet`: until when nothing is due. One attribute is faster than two.
_UNTIL_T2000 = const(0)
_UNTIL_TICKS = const(1)

_TICKS_MASK = const(0x1FFFFFFF)
_MOVES_MASK = const(0xFFFF)
_FAR_T2000 = const(0x7FFFFFFF)


class App:
    """A concentrator of at most `limit` meters with `rates` registers each.

    redemption  redeems the cards on the far side of the console, None without a console
    board_commands  the commands of the board's own parts
    local       redeems the cards in the board's own reader, None without a reader
    show_text   shows a text until a time, None: the board has no display
    litter      the count of pieces of work since the last garbage collection that left garbage
    """

    def __init__(
        self,
        board: "Services",
        limit: int = 512,
        rates: int = 4,
        carrier: "CardReader | None" = None,
    ) -> None:
        """Recover everything from the board's storage. `carrier` is the board's own reader."""
        storage = board.storage
        self.board = board
        self.settings = Settings(storage)
        self.settings.load()
        self.entropy = Entropy(board.random, self.settings)
        for _ in self.entropy.renew():
            board.feed()
        self.journal = Journal(storage)
        board.feed()
        self.registry = Registry(limit)
        self.ledger = Ledger(limit, rates)
        self.tariffs = Tariffs(storage)
        self.books = Books(
            self.journal, self.registry, self.ledger, self.tariffs, self.settings.policy()
        )
        self.checkpoint = Checkpoint(storage, limit)
        self.checkpoint.add(_TARIFF_COLUMNS, self.tariffs.columns(), False)
        self.checkpoint.add(_REGISTRY_COLUMNS, self.registry.columns())
        self.checkpoint.add(_CARD_COLUMNS, self.books.columns(), False)
        self.checkpoint.add(_LEDGER_COLUMNS, self.ledger.columns())
        self.keeper = Keeper(storage, self.journal, self.checkpoint, self.registry, self.tariffs)
        self.pollers: list[Poller] = []
        self.timekeeper = timekeeper = Timekeeper(board, self.books, len(board.lines))
        for channel in board.lines:
            self.pollers.append(Poller(len(self.pollers), channel, self.books, timekeeper))
        self.uplink = Uplink(board.uplink, self.books, timekeeper.tell, board.random)
        self.login = Login(self.entropy.draw)
        self.board_commands: list[dict[str, Any]] = []
        self.show_text: Callable[[int, str], bool] | None = None
        self.login.note = self._note_login
        self.uplink.commands = commands = Commands(self)
        self.console: Console | None = None
        self.redemption: Redemption | None = None
        self.local: Redemption | None = None
        self.tasks = len(self.pollers) + _OWN_READER
        self._moves = array("H", bytes(2 * (_OWN_READER + 1)))
        self._lamps = Lamps(self.books, self.uplink, self.settings)
        self._quiet = array("i", (-1, 0))
        self.litter = 0
        self._was_kept = False  # by the last step, so that the uplink has this one
        # The count of accounts still to be judged because the policy has changed.
        self._review_left = self._review_cause = self._audit_index = 0
        lost = self.keeper.recover(self.books.replay, board.feed, self.entropy.draw)
        self.books.load_standing()
        self.uplink.begin(self.checkpoint.identity)
        self.books.note_start(lost, self.settings.health, board.reset_cause)
        self.settings.tell_left(self.books.note_left)
        if board.console is not None:
            self.console = Console(board.console, commands.run, self.login, board.show_card)
            self.redemption = self._redemption_of(self.console.carrier)
        self._carrier = carrier
        self._present = 0
        self._programmer: Programmer | None = None
        if carrier is not None:
            self.tasks += 1
            self.local = self._redemption_of(carrier)
            self._programmer = Programmer(carrier, self.login)
            if self.console is not None:
                self.console.programmer = self._programmer
        self.configure()
        # The newest durable record when it was last checked whether this step has written.
        self._seen_seq = self.journal.durable_seq

    def _redemption_of(self, carrier: "Carrier") -> Redemption:
        operator = Operator(self.settings, self.books, self.configure)
        return Redemption(carrier, self.books, Keys(0, 0, b""), operator)

    def configure(self) -> None:
        """Apply the settings; the console calls it after a change."""
        settings = self.settings
        self.login.key = settings.key("console_key")
        self.login.locked = settings.health == LOST
        policy = settings.policy()
        cause = policy.cause_of_change(self.books.policy)
        if cause:
            self._review_left = self.registry.count
            self._review_cause = max(self._review_cause, cause)
            self.books.policy = policy
        self.books.hoarding_limit_fen = settings.number("hoarding_limit_fen")
        self.books.doubt_cut_s = 3600 * settings.number("doubt_cut_hours")
        self.ledger.power_limit_w = settings.number("power_limit_w")
        for poller in self.pollers:
            poller.configure(settings)
        if self.redemption is not None:
            self.redemption.keys = self._keys()
        number = self.login.number = self.books.number = settings.number("id")
        self.uplink.configure(settings.key("uplink_key"), number)
        self._seen_seq = -1  # a copy of the settings was written
        self.wake()

    def _note_login(self, result: int, right: int, session: int, channel: int) -> None:
        version = self.settings.number("console_key_version")
        self.books.note_login(result, right, version, self.login.refused, session, channel)

    def _keys(self) -> Keys:
        settings = self.settings
        version = settings.number("card_key_version")
        return Keys(settings.number("district"), version, settings.key("card_key"))

    def wake(self) -> None:
        """Make the next step look at everything, because something has changed outside."""
        self._quiet[_UNTIL_T2000] = -1

    def on_button(self) -> None:
        """Read every meter and call the head-end now, because the button was pressed."""
        for poller in self.pollers:
            poller.readings.start_now()
        self.uplink.start_now()
        self.wake()

    # --- what the watchdog check of concentrator/run.py reads ------------------------------------

    def moves(self, task: int) -> int:
        """Return a number that changes as long as task `task` of `tasks` works.

        The lines come first, then the console with its cards, the uplink, the journal, and the
        board's own card reader if it has one. The number of an idle task changes as well, at least
        every 30 s.
        """
        lines = len(self.pollers)
        if task < lines:
            return self.pollers[task].moves
        if task == lines + _UPLINK:
            return self.uplink.moves
        if task == lines + _JOURNAL:
            return self.keeper.moves
        return self._moves[task - lines]

    def _note_move(self, task: int) -> None:
        self._moves[task] = (self._moves[task] + 1) & _MOVES_MASK

    def signals(self) -> int:
        """Return the signals for the lamps, bits of concentrator/lamps.py; called each second."""
        return self._lamps.look()

    # --- one step -------------------------------------------------------------------------------

    @micropython.native
    def step(self, now_ticks: int, now_t2000: int) -> int:
        """Do what is due; return the ms until the next call, 0: call again at once."""
        reader_ms = _QUIET_MS
        if self._carrier is not None:
            reader_ms = self._serve_reader(now_ticks, now_t2000)
        quiet = self._quiet
        if now_t2000 < quiet[_UNTIL_T2000] and not self.board.waiting:
            quiet_ms = (quiet[_UNTIL_TICKS] - now_ticks) & _TICKS_MASK
            if 0 < quiet_ms <= _QUIET_MS:
                return quiet_ms if quiet_ms < reader_ms else reader_ms
        quiet[_UNTIL_T2000] = -1
        return min(reader_ms, self._work(now_ticks, now_t2000))

    def _work(self, now_ticks: int, now_t2000: int) -> int:
        if self._has_written():
            return 0  # the board's own reader has
        self.books.t2000 = now_t2000
        idle_ms = _QUIET_MS
        lines_busy = False
        if not 0 <= now_t2000 < self.timekeeper.due_t2000:
            now_t2000 = self.timekeeper.find(now_t2000)
            idle_ms = _QUIET_MS if 0 <= now_t2000 < self.timekeeper.due_t2000 else _UNKNOWN_MS
        for poller in self.pollers:
            poller.is_held = self.keeper.wants
            idle_ms = min(idle_ms, poller.step(now_ticks))
            lines_busy |= poller.is_busy
            if self._has_written():
                return 0
        idle_ms = min(idle_ms, self._serve_console(now_ticks, now_t2000))
        if self._has_written() or (self.console is not None and self.console.is_in_steps):
            return 0
        if self._review_left:
            self._review()
            return 0
        if self.books.searched >= 0:
            self.books.search()
            return 0
        keeper_ms = 0
        if not self._was_kept:
            keeper_ms = self.keeper.step(now_ticks, self.uplink.acked_seq, lines_busy)
        self._was_kept = keeper_ms == 0 and not self._was_kept
        if self._was_kept:
            self.litter += 1
            self._seen_seq = self.journal.durable_seq
            return 0
        idle_ms = min(idle_ms, keeper_ms, self.uplink.step(now_ticks))
        return self._rest(idle_ms, now_ticks, now_t2000) if idle_ms >= _REST_MS else idle_ms

    def _has_written(self) -> bool:
        """Return whether records have become durable since the last call."""
        durable_seq = self.journal.durable_seq
        if durable_seq == self._seen_seq:
            return False
        self._seen_seq = durable_seq
        self.litter += 1
        return True

    def _rest(self, idle_ms: int, now_ticks: int, now_t2000: int) -> int:
        """Note until when nothing is due, and judge some accounts; return the ms until then."""
        quiet_t2000 = _FAR_T2000
        for poller in self.pollers:
            due_t2000 = poller.readings.due_t2000
            if due_t2000 < quiet_t2000:
                quiet_t2000 = due_t2000
        left_s = quiet_t2000 - now_t2000
        if 0 < left_s < _QUIET_MS // 1000:
            idle_ms = min(idle_ms, 1000 * left_s)
        self._audit()
        if self._has_written():
            return 0
        self._quiet[_UNTIL_T2000] = quiet_t2000
        self._quiet[_UNTIL_TICKS] = now_ticks + idle_ms
        return idle_ms

    def _audit(self) -> None:
        """Judge a few accounts again, because holds and graces end without a reading."""
        count = self.registry.count
        for _ in range((count >> _AUDIT_SHIFT) + 1):
            index = self._audit_index
            self._audit_index = index + 1 if index + 1 < count else 0
            if index < count and self.registry.active[index]:
                self.books.review(index)
                if self.journal.durable_seq != self._seen_seq:
                    break

    def _review(self) -> None:
        """Judge some accounts by the policy that has been set."""
        for _ in range(min(self._review_left, _REVIEWS)):
            self._review_left -= 1
            if self.registry.active[self._review_left]:
                self.books.review(self._review_left, self._review_cause)
                if self.journal.durable_seq != self._seen_seq:
                    break
        if not self._review_left:
            self._review_cause = 0

    def _serve_console(self, now_ticks: int, now_t2000: int) -> int:
        console = self.console
        redemption = self.redemption
        if console is None or redemption is None:
            self._note_move(_CONSOLE)
            return _QUIET_MS
        self.login.step(now_ticks)
        busy = console.step()
        if redemption.poll(now_ticks, now_t2000):
            busy = True
        if not redemption.busy:
            self._note_move(_CONSOLE)
        if not busy and not redemption.busy and not console.waiting:
            return _QUIET_MS
        return 0 if busy or console.step() else _CONSOLE_MS

    def _serve_reader(self, now_ticks: int, now_t2000: int) -> int:
        """Serve the board's own reader; return the ms until it has to be served again."""
        carrier = self._carrier
        redemption = self.local
        programmer = self._programmer
        if carrier is None or redemption is None or programmer is None:
            return _QUIET_MS
        carrier.step(now_ticks)
        if carrier.present != self._present:
            self._present = carrier.present
            redemption.keys = self._keys()
        self.books.t2000 = now_t2000
        if redemption.poll(now_ticks, now_t2000):
            self.wake()
        if programmer.poll(now_ticks, redemption.busy):
            self.wake()
        if not redemption.busy and not programmer.busy:
            self._note_move(_OWN_READER)
        return _CARD_MS if carrier.present else _NO_CARD_MS

    # --- what the parts of the board use, see ports.Concentrator ---------------------------------

    def note_event(self, what: int, state: int) -> None:
        """Record an EVENT of the board; a failing supply makes all records durable."""
        self.books.note_event(what, state)
        if what == EVENT_SUPPLY and state:
            self.journal.sync()

    def balance_fen(self, index: int) -> int:
        """Return the balance of the account in row `index`."""
        return self.ledger.balance_fen(index)

    def offer(
        self, name: str, number: str, changes: bool, run: "Callable[[int], list[str]]"
    ) -> None:
        """Offer a command of the board, with an optional `number` or "" for none."""
        self.board_commands.append(row_of(name, number, changes, run))

    def restored(self) -> str:
        """Continue after the head-end's last record, once its standings were taken over.

        Return why that is impossible now, or "": from then on cards are accepted again.
        """
        session = self.uplink.session
        if session is not None and session.known_seq < 0:
            return "the head-end has not answered since the start: when it does, try again"
        if not self.journal.sync():
            return STORAGE_TROUBLE
        if session is not None:
            self.journal.continue_at(session.known_seq + 1)
        if not self.books.set_behind(False):
            return STORAGE_TROUBLE
        self.books.tell_restored()
        self.configure()
        return ""
