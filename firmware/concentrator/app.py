"""The concentrator: composed of its parts, recovered from flash, driven by `step`.

One step does in this order: receive and decode (lines, console), ledger, journal, relay, outbox.
It never waits and never reads a clock. A step with nothing to do looks at a few numbers only.
"""

from array import array

import micropython
from card import codes
from card.keys import Keys
from card.redemption import Redemption
from micropython import const
from prepay.ledger import Ledger
from uplink import session as uplink
from uplink.record import RECORD_SIZE
from uplink.session import Session

from concentrator.books.books import Books
from concentrator.books.registry import Registry
from concentrator.books.tariffs import Tariffs
from concentrator.cards.operator import Operator
from concentrator.console.commands import Commands
from concentrator.console.console import Console
from concentrator.lamps import Lamps
from concentrator.line.poller import Poller
from concentrator.login import Login
from concentrator.settings import Settings
from concentrator.storage.checkpoint import Checkpoint
from concentrator.storage.journal import Journal

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Board

# Waiting readings become durable together, when so many wait or the first has waited so long.
_SYNC_COUNT = const(16)
_SYNC_MS = const(10000)
# A checkpoint lets older segments go: after so many records, or when segments become few.
_CHECKPOINT_RECORDS = const(2048)
_CHECKPOINT_ROOM = const(64)
# The longest time for which a step may promise that nothing is due, and the shortest worth it.
QUIET_MS = const(30000)
_REST_MS = const(1000)
# While an answer is waited for, on a line or from above.
_LINE_MS = const(5)
_UPLINK_MS = const(50)
# While the head-end is away: its return is noticed so soon.
_AWAY_MS = const(2000)
# A message that the connection does not take for so long never leaves.
_UNTAKEN_MS = const(30000)
# Bytes of a batch, some eight records: it stands in memory twice.
_BODY_SIZE = const(512)
# An audit looks at one account of so many: at all of them in some minutes.
_AUDIT_SHIFT = const(4)
# After a change of the policy so many of them are judged in a step.
_REVIEWS = const(8)

# First numbers of the columns in a checkpoint; a table appends, it never reorders.
_TARIFF_COLUMNS = const(0)
_REGISTRY_COLUMNS = const(16)
_CARD_COLUMNS = const(48)
_LEDGER_COLUMNS = const(64)

# Tasks behind those of the lines.
_CONSOLE = const(0)
_UPLINK = const(1)
_JOURNAL = const(2)
OWN_READER = const(3)

# Places in `_quiet`.
_UNTIL_T2000 = const(0)
_UNTIL_TICKS = const(1)

_TICKS_MASK = const(0x1FFFFFFF)
_MOVES_MASK = const(0xFFFF)
_FAR_T2000 = const(0x3FFFFFFF)


class App:
    """The whole of it: `limit` meters with `rates` registers each."""

    def __init__(self, board: "Board", limit: int = 512, rates: int = 4) -> None:
        """Recover everything from the board's storage."""
        storage = board.storage
        self.board = board
        self.settings = Settings(storage)
        self.settings.load()
        self.journal = Journal(storage)
        self.registry = Registry(limit)
        self.ledger = Ledger(limit, rates)
        self.tariffs = Tariffs(storage)
        self.books = Books(
            self.journal, self.registry, self.ledger, self.tariffs, self.settings.policy()
        )
        self.checkpoint = Checkpoint(storage, limit, board.feed)
        self.checkpoint.add(_TARIFF_COLUMNS, self.tariffs.columns(), False)
        self.checkpoint.add(_REGISTRY_COLUMNS, self.registry.columns())
        self.checkpoint.add(_CARD_COLUMNS, (self.books.illegal,), False)
        self.checkpoint.add(_LEDGER_COLUMNS, self.ledger.columns())
        self.pollers: list[Poller] = []
        for channel in board.lines:
            self.pollers.append(Poller(len(self.pollers), channel, self.books))
        self.session: Session | None = None
        self.login = Login(board.random)
        self.console: Console | None = None
        self.redemption: Redemption | None = None
        self.local: Redemption | None = None  # set by concentrator/local.py
        self.tasks = len(self.pollers) + OWN_READER
        self._moves = array("H", bytes(2 * (OWN_READER + 1)))
        self._lamps = Lamps(self)
        self._connection = 0
        self._chunk = bytearray(128)
        self._tx_sent = 0
        self._taken_ticks = 0
        self._waits_ticks = -1
        # Until what t2000 and what ticks nothing is due: one attribute is quicker than two.
        self._quiet = array("i", (-1, 0))
        self._audit_index = 0
        # Accounts still to be judged because the policy has changed.
        self._review_left = 0
        self._review_cause = 0
        # Images are swept when both checkpoints name the ones in force.
        self._saved_changes = -1
        self._recover()
        if board.console is not None:
            run = Commands(self).run
            self.console = Console(board.console, run, self.login, board.show_card)
            operator = Operator(self.settings, self.books, self.configure)
            keys = Keys(0, 0, b"")
            self.redemption = Redemption(self.console.carrier, self.books, keys, operator)
        self.configure()

    # --- start ----------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Bring the tables to where the journal ends."""
        journal = self.journal
        count = self.checkpoint.load()
        self.registry.recount(count)
        self.tariffs.load()
        journal.recover()
        if journal.durable_seq < self.checkpoint.seq:
            journal.continue_at(self.checkpoint.seq + 1)
        buf = bytearray(RECORD_SIZE)
        # Without a checkpoint, what the journal has let go is not known any more.
        lost = 0 if self.checkpoint.seq else journal.first_seq - 1
        for seq in range(max(journal.first_seq, self.checkpoint.seq + 1), journal.durable_seq + 1):
            self.board.feed()
            if journal.read_into(seq, buf):
                self.books.replay(buf)
            else:
                lost += 1
        self.books.note_start(journal.first_seq, lost)

    def configure(self) -> None:
        """Take the settings over; the console calls it when one has changed."""
        settings = self.settings
        self.login.key = settings.key("console_key")
        policy = settings.policy()
        cause = policy.cause_of_change(self.books.policy)
        if cause:
            self._review_left = self.registry.count
            self._review_cause = max(self._review_cause, cause)
            self.books.policy = policy
        self.books.hoarding_limit_fen = settings.number("hoarding_limit_fen")
        for poller in self.pollers:
            poller.configure(settings)
        if self.redemption is not None:
            version = settings.number("card_key_version")
            district = settings.number("district")
            self.redemption.keys = Keys(district, version, settings.key("card_key"))
        key = settings.key("uplink_key")
        number = self.books.number = settings.number("id")
        self.session = None
        if key and number and self.board.uplink is not None:
            first = self.board.random() | 1
            self.session = Session(self.journal, key, number, first, _BODY_SIZE)
            self._connection = 0
        self._quiet[_UNTIL_T2000] = -1

    def wake(self) -> None:
        """Something has changed from outside: the next step looks at everything."""
        self._quiet[_UNTIL_T2000] = -1

    def press(self) -> None:
        """Somebody pressed the button: ask every meter and call the head-end now."""
        for poller in self.pollers:
            poller.readings.hurry()
        if self.session is not None:
            self.session.hurry()
        self.wake()

    # --- what the watchdog check of concentrator/run.py asks -------------------------------------

    def moves(self, task: int) -> int:
        """A number that changes as long as task `task` of `tasks` goes on.

        The lines come first, then the console with its cards, the uplink, the journal, and
        OWN_READER on a board with a card reader. A task with nothing to do goes on as well: no
        later than QUIET_MS after the last time its number is another one.
        """
        lines = len(self.pollers)
        return self.pollers[task].moves if task < lines else self._moves[task - lines]

    def note_move(self, task: int) -> None:
        """Task `task` behind those of the lines goes on."""
        self._moves[task] = (self._moves[task] + 1) & _MOVES_MASK

    def signals(self) -> int:
        """What the lamps show: bits of concentrator/lamps.py. Called once a second or so."""
        return self._lamps.look()

    # --- one step -------------------------------------------------------------------------------

    @micropython.native
    def step(self, now_ticks: int, now_t2000: int) -> int:
        """Do what is due; return for how many ms nothing will be, 0: call again at once."""
        quiet = self._quiet
        if now_t2000 < quiet[_UNTIL_T2000] and not self.board.waiting:
            quiet_ms = (quiet[_UNTIL_TICKS] - now_ticks) & _TICKS_MASK
            if 0 < quiet_ms <= QUIET_MS:
                return quiet_ms
        quiet[_UNTIL_T2000] = -1
        return self._work(now_ticks, now_t2000)

    def _work(self, now_ticks: int, now_t2000: int) -> int:
        self.books.t2000 = now_t2000
        idle_ms = QUIET_MS
        for poller in self.pollers:
            idle_ms = min(idle_ms, poller.step(now_ticks))
        idle_ms = min(idle_ms, self._serve_console(now_ticks, now_t2000))
        if self._review_left:
            self._review()
            idle_ms = 0
        idle_ms = min(idle_ms, self._keep(now_ticks))
        idle_ms = min(idle_ms, self._bring_up(now_ticks))
        return self._rest(idle_ms, now_ticks, now_t2000) if idle_ms >= _REST_MS else idle_ms

    def _rest(self, idle_ms: int, now_ticks: int, now_t2000: int) -> int:
        """Note until when there is nothing to do, and look after some accounts meanwhile."""
        quiet_t2000 = _FAR_T2000
        for poller in self.pollers:
            due_t2000 = poller.readings.due_t2000
            if due_t2000 < quiet_t2000:
                quiet_t2000 = due_t2000
        left_s = quiet_t2000 - now_t2000
        if 0 < left_s < QUIET_MS // 1000:
            idle_ms = min(idle_ms, 1000 * left_s)
        pending = self.registry.pending
        self._audit()
        if self.registry.pending > pending:
            return 0
        self._quiet[_UNTIL_T2000] = quiet_t2000
        self._quiet[_UNTIL_TICKS] = now_ticks + idle_ms
        return idle_ms

    def _audit(self) -> None:
        """Judge a few accounts again: holds end and graces run out without a reading."""
        count = self.registry.count
        for _ in range((count >> _AUDIT_SHIFT) + 1):
            index = self._audit_index
            self._audit_index = index + 1 if index + 1 < count else 0
            if index < count and self.registry.active[index]:
                self.books.look_after(index)

    def _review(self) -> None:
        """Judge some accounts by the policy that was set."""
        for _ in range(min(self._review_left, _REVIEWS)):
            self._review_left -= 1
            if self.registry.active[self._review_left]:
                self.books.look_after(self._review_left, self._review_cause)
        if not self._review_left:
            self._review_cause = 0

    def _serve_console(self, now_ticks: int, now_t2000: int) -> int:
        console = self.console
        redemption = self.redemption
        if console is None or redemption is None:
            self.note_move(_CONSOLE)
            return QUIET_MS
        self.login.step(now_ticks)
        busy = console.step()
        if redemption.poll(now_ticks, now_t2000):
            busy = True
        if not redemption.busy:
            self.note_move(_CONSOLE)
        if not busy and not redemption.busy and not console.waiting:
            return QUIET_MS
        return 0 if console.step() or busy else _LINE_MS

    # --- journal and outbox ---------------------------------------------------------------------

    def _keep(self, now_ticks: int) -> int:
        """Make what waits durable in time; let go what is known above and in a checkpoint.

        Return for how many ms there is nothing to do.
        """
        journal = self.journal
        count = journal.count
        if count == 0:
            self._waits_ticks = -1
            self.note_move(_JOURNAL)
        elif self._waits_ticks < 0:
            self._waits_ticks = now_ticks
        elif count >= _SYNC_COUNT or (now_ticks - self._waits_ticks) & _TICKS_MASK >= _SYNC_MS:
            journal.sync()
            self._waits_ticks = -1
            self.note_move(_JOURNAL)
        if self.session is not None:
            seq = min(self.session.acked_seq, self.checkpoint.older_seq)
            if journal.first_seq <= seq:
                journal.drop(seq)
        unkept = journal.durable_seq - self.checkpoint.seq
        if unkept >= _CHECKPOINT_RECORDS or (journal.room < _CHECKPOINT_ROOM and unkept >= 64):
            self.save()
        if journal.count == 0:
            return QUIET_MS
        if self._waits_ticks < 0:
            return _REST_MS
        return max(_REST_MS, _SYNC_MS - ((now_ticks - self._waits_ticks) & _TICKS_MASK))

    def save(self) -> bool:
        """Write a checkpoint of everything; false where the storage refuses."""
        journal = self.journal
        if not journal.sync():
            return False
        if not self.checkpoint.save(journal.durable_seq, self.registry.count):
            return False
        if self._saved_changes == self.tariffs.changes:
            self.tariffs.sweep()
        self._saved_changes = self.tariffs.changes
        return True

    def _bring_up(self, now_ticks: int) -> int:
        """Serve the uplink; return for how many ms it needs nothing."""
        session = self.session
        channel = self.board.uplink
        if session is None or channel is None or channel.connection == 0:
            self.note_move(_UPLINK)
            return QUIET_MS
        if channel.connection != self._connection:
            self._connection = channel.connection
            self._tx_sent = 0
            session.reset()  # nothing is left to be sent
        if session.tx_size == 0:
            self._taken_ticks = now_ticks
        if channel.waiting:
            size = channel.read_into(self._chunk)
            if size > 0:
                session.feed(self._chunk, size)
        outcome = session.poll(now_ticks)
        if session.stale:
            channel.close()
            return 0
        if session.tx_size:
            self._send_up(now_ticks)
        if outcome != uplink.BUSY:
            self.note_move(_UPLINK)
        if outcome == uplink.AHEAD:
            self.books.behind = True
        if outcome == uplink.ACKED:
            return 0
        if outcome == uplink.BUSY:
            return _UPLINK_MS
        return QUIET_MS if outcome == uplink.IDLE else _AWAY_MS

    def restored(self) -> bool:
        """Go on behind the head-end's records, after what it knows was taken over; false: cannot.

        From then on cards are taken again.
        """
        if not self.journal.sync():
            return False
        if self.session is not None:
            self.journal.continue_at(self.session.known_seq + 1)
        self.books.behind = False
        self.configure()
        return True

    def _send_up(self, now_ticks: int) -> None:
        session = self.session
        channel = self.board.uplink
        if session is None or channel is None:
            return
        view = memoryview(session.tx)
        taken = channel.write(view[self._tx_sent : session.tx_size])
        if taken:
            self._tx_sent += taken
            self._taken_ticks = now_ticks
            self.note_move(_UPLINK)
        elif (now_ticks - self._taken_ticks) & _TICKS_MASK >= _UNTAKEN_MS:
            # The far side reads no more: only another connection can help.
            channel.close()
            self.note_move(_UPLINK)
        if self._tx_sent >= session.tx_size:
            self._tx_sent = 0
            session.sent(now_ticks)

    def counters(self) -> "list[tuple[str, int]]":
        """What happened since the start, by name."""
        journal = self.journal
        found = [
            ("records", journal.durable_seq),
            ("records waiting", journal.count),
            ("records lost", journal.lost),
            ("storage failures", journal.failures),
            ("readings", self.books.readings),
            ("readings refused", self.books.refused),
        ]
        if self.session is not None:
            found.append(("records at the head-end", self.session.acked_seq))
            found.append(("answers refused", self.session.refused))
            found.append(("answers late", self.session.late))
        for name, redemption in (("cards", self.redemption), ("own cards", self.local)):
            if redemption is not None:
                found.append((name, redemption.done))
        found.append(("cards not genuine", self.books.illegal[codes.ILLEGAL]))
        if self.console is not None:
            found.append(("logins refused", self.login.refused))
        for poller in self.pollers:
            prefix = "line " + str(poller.number) + " "
            for name, count in poller.counts():
                found.append((prefix + name, count))
        return found
