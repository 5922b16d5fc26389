"""One meter line: what is asked next, and what an answer means.

    relay commands first, then the meters in turn, once in each interval

A reading is two questions, the energy registers and status word 3; a meter of DL/T 645-1997 has
no status word. A meter that is down is asked less and less often, so that it costs little, and a
round that could not be finished goes on where it stopped, so that no meter starves.

A relay command is never sent blindly: the status word is read first, the command goes out once,
and the status word says what became of it. Spec: DL/T 645-2007 04000503, 1CH.
"""

from array import array

from dlt645 import codes, di
from dlt645 import master as line
from dlt645.master import NO_EXPIRY, Master
from micropython import const
from uplink import record

from concentrator import registry as meters
from concentrator.books import STATUS_UNKNOWN

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.books import Books
    from concentrator.ports import Channel

# What the transaction on its way is for.
_NOTHING = const(0)
_REGISTERS = const(1)
_STATUS = const(2)
_RELAY_LOOK = const(3)
_RELAY_SEND = const(4)
_RELAY_CONFIRM = const(5)

# A meter judges its relay some seconds after a command; it is asked when it has had its time.
CONFIRM_MS = const(1000)
SENDS_LIMIT = const(3)
RELAY_EXPIRY_S = const(3600)
# A meter that failed so often is asked only in every 2nd, 4th, .. 16th round.
FAILURES_LIMIT = const(3)
_SKIP_SHIFT_LIMIT = const(4)
_SKIPS_A_STEP = const(16)

_ANSWER_MS = const(5)
_IDLE_MS = const(5000)
_CHUNK_SIZE = const(256)
_TICKS_MASK = const(0x1FFFFFFF)
_NO_ROW = const(-1)


class Poller:
    """The meters of line `number` on `channel`.

    rounds      intervals begun; `unfinished` of them before the last was through
    silent      times a meter fell silent
    due_t2000   when the next interval begins
    """

    def __init__(self, number: int, channel: "Channel", books: "Books") -> None:
        self.number = number
        self.channel = channel
        self.master = Master()
        self.rounds = 0
        self.unfinished = 0
        self.silent = 0
        self.due_t2000 = 0
        self.interval_s = 900
        self.password = bytearray(4)
        self.operator = bytearray(4)
        self._books = books
        self._registry = books.registry
        self._chunk = bytearray(_CHUNK_SIZE)
        self._tx_view = memoryview(self.master.tx)
        self._tx_sent = 0
        self._window = self._tx_view[:0]
        self._values = array("i", bytes(4 * 5))
        self._word = array("i", bytes(4))
        self._address = bytearray(6)
        self._job = _NOTHING
        self._index = 0
        self._value_count = 0
        self._round = -1
        self._cursor = 0
        self._left = 0
        self._relay_cursor = 0
        self._relay_index = _NO_ROW
        self._relay_sends = 0
        self._relay_ticks = 0

    def step(self, now_ticks: int) -> int:
        """Move bytes, take an answer, ask the next question.

        Return for how many ms nothing will be: 0, a few while an answer is waited for, many.
        """
        channel = self.channel
        master = self.master
        if channel.waiting:
            size = channel.read_into(self._chunk)
            if size > 0:
                master.feed(self._chunk, size, now_ticks)
        if master.busy:
            outcome = master.poll(now_ticks)
            if outcome > line.BUSY:
                self._take(outcome, now_ticks)
        if not master.busy and not self._ask(now_ticks):
            # A relay that has to be looked at again, or nothing at all.
            return CONFIRM_MS if self._relay_index != _NO_ROW else _IDLE_MS
        if master.tx_size:
            self._send(now_ticks)
        if not master.busy or channel.waiting:
            return 0
        return _ANSWER_MS

    def _send(self, now_ticks: int) -> None:
        master = self.master
        size = master.tx_size - self._tx_sent
        window = self._window
        if self._tx_sent or len(window) != size:
            # Requests are of few sizes: the same window serves again and again.
            window = self._tx_view[self._tx_sent : master.tx_size]
            if self._tx_sent == 0:
                self._window = window
        taken = self.channel.write(window)
        if taken >= size:
            self._tx_sent = 0
            master.sent(now_ticks)
        elif taken > 0:
            self._tx_sent += taken

    # --- what to ask ----------------------------------------------------------------------------

    def _ask(self, now_ticks: int) -> bool:
        """Start the next transaction, if there is one."""
        self._tx_sent = 0
        if self._job == _STATUS:
            self._start(di.STATUS_3, now_ticks)
            return True
        if self._registry.pending and self._ask_relay(now_ticks):
            return True
        t2000 = self._books.t2000
        if t2000 < 0:
            return False
        this_round = t2000 // self.interval_s
        if this_round != self._round:
            self._round = this_round
            self.due_t2000 = (this_round + 1) * self.interval_s
            self.rounds += 1
            self.unfinished += 1 if self._left else 0
            self._left = self._registry.count
        return self._left > 0 and self._ask_energy(now_ticks)

    def _ask_energy(self, now_ticks: int) -> bool:
        """Read the next meter of this line whose turn it is."""
        registry = self._registry
        skips = _SKIPS_A_STEP
        while self._left and skips:
            skips -= 1
            self._left -= 1
            index = self._cursor
            self._cursor += 1
            if self._cursor >= registry.count:
                self._cursor = 0
            if index >= registry.count:
                continue
            if registry.active[index] and registry.line[index] == self.number:
                if self._is_resting(index):
                    continue
                self._index = index
                self._job = _REGISTERS
                if registry.standard[index] == record.STANDARD_1997:
                    registry.address_into(index, self._address)
                    self.master.start_read_1997(self._address, di.ENERGY_BLOCK_1997, now_ticks)
                else:
                    self._start(di.ENERGY_FORWARD, now_ticks)
                return True
        return self._left > 0

    def _is_resting(self, index: int) -> bool:
        failures = self._registry.failures[index]
        if failures < FAILURES_LIMIT:
            return False
        shift = min(failures - FAILURES_LIMIT + 1, _SKIP_SHIFT_LIMIT)
        return (self._round + index) & ((1 << shift) - 1) != 0

    def _start(self, identifier: int, now_ticks: int) -> None:
        self._registry.address_into(self._index, self._address)
        self.master.start_read(self._address, identifier, now_ticks)

    # --- what came of it ------------------------------------------------------------------------

    def _take(self, outcome: int, now_ticks: int) -> None:
        """The transaction has ended."""
        job = self._job
        self._job = _NOTHING
        if job == _REGISTERS:
            self._take_energy(outcome)
        elif job == _STATUS:
            status = self._status() if outcome == line.OK else STATUS_UNKNOWN
            self._books.take_reading(self._index, self._values, self._value_count, status)
        elif job >= _RELAY_LOOK:
            self._take_relay(job, outcome, now_ticks)

    def _take_energy(self, outcome: int) -> None:
        index = self._index
        registry = self._registry
        old_standard = registry.standard[index] == record.STANDARD_1997
        count = 0
        if outcome == line.OK:
            master = self.master
            identifier = di.ENERGY_BLOCK_1997 if old_standard else di.ENERGY_FORWARD
            count = di.decode(
                identifier, master.data, master.data_offset, master.data_size, self._values
            )
        failures = registry.failures[index]
        if count <= 0:
            if failures < 255:
                registry.failures[index] = failures + 1
            if failures + 1 == FAILURES_LIMIT:
                self.silent += 1
                self._books.note_line(index, record.LINE_SILENT, failures + 1)
            return
        if failures >= FAILURES_LIMIT:
            self._books.note_line(index, record.LINE_ANSWERS, failures)
        registry.failures[index] = 0
        self._value_count = count
        if old_standard:
            self._books.take_reading(index, self._values, count, STATUS_UNKNOWN)
        else:
            self._job = _STATUS

    def _status(self) -> int:
        """Status word 3 of the reply, or STATUS_UNKNOWN."""
        master = self.master
        word = self._word
        count = di.decode(di.STATUS_3, master.data, master.data_offset, master.data_size, word)
        return word[0] if count == 1 and word[0] >= 0 else STATUS_UNKNOWN

    # --- relays ---------------------------------------------------------------------------------

    def _ask_relay(self, now_ticks: int) -> bool:
        """Go on with a relay of this line; one at a time, until it is as wanted or given up."""
        registry = self._registry
        index = self._relay_index
        if index == _NO_ROW:
            index = self._next_relay()
            if index == _NO_ROW:
                return False
            self._relay_index = index
            self._relay_sends = 0
        stage = registry.relay[index] & meters.RELAY_STAGE
        if not meters.RELAY_IDLE < stage < meters.RELAY_FAILED:
            # Its order was withdrawn meanwhile.
            self._relay_index = _NO_ROW
            return False
        if stage == meters.RELAY_CONFIRM:
            if (now_ticks - self._relay_ticks) & _TICKS_MASK < CONFIRM_MS:
                return False
            self._job = _RELAY_CONFIRM
        elif stage == meters.RELAY_LOOK:
            self._job = _RELAY_LOOK
        else:
            self._send_relay(index, now_ticks)
            return True
        self._index = index
        self._start(di.STATUS_3, now_ticks)
        return True

    def _next_relay(self) -> int:
        registry = self._registry
        for _ in range(registry.count):
            index = self._relay_cursor
            self._relay_cursor = index + 1 if index + 1 < registry.count else 0
            stage = registry.relay[index] & meters.RELAY_STAGE
            mine = registry.line[index] == self.number and registry.active[index]
            if mine and meters.RELAY_IDLE < stage < meters.RELAY_FAILED:
                return index
        return _NO_ROW

    def _send_relay(self, index: int, now_ticks: int) -> None:
        self._job = _RELAY_SEND
        self._index = index
        self._relay_sends += 1
        self._registry.address_into(index, self._address)
        action = codes.TRIP
        if not self._registry.relay[index] & meters.DESIRED_OPEN:
            permit = self._books.policy.permit_only
            action = codes.PERMIT_CLOSE if permit else codes.CLOSE
        t2000 = self._books.t2000
        expiry_t2000 = NO_EXPIRY if t2000 < 0 else t2000 + RELAY_EXPIRY_S
        self.master.start_relay(
            self._address, action, self.password, self.operator, expiry_t2000, now_ticks
        )

    def _take_relay(self, job: int, outcome: int, now_ticks: int) -> None:
        registry = self._registry
        index = self._index
        wants_open = registry.relay[index] & meters.DESIRED_OPEN
        if job == _RELAY_SEND:
            # Whatever the answer: only the status word tells what the relay did.
            self._relay_ticks = now_ticks
            registry.set_relay(index, meters.RELAY_CONFIRM | wants_open)
            return
        status = self._status() if outcome == line.OK else STATUS_UNKNOWN
        if status != STATUS_UNKNOWN and self._is_as_wanted(status, wants_open):
            self._end_relay(record.STAGE_CONFIRMED, status)
        elif self._relay_sends >= SENDS_LIMIT or status == STATUS_UNKNOWN:
            self._end_relay(record.STAGE_FAILED, status)
        else:
            registry.set_relay(index, meters.RELAY_SEND | wants_open)

    def _is_as_wanted(self, status: int, wants_open: int) -> bool:
        if wants_open:
            return status & codes.STATUS_OPEN != 0
        # With the button it is the user who closes; we are done when the meter lets him.
        mask = codes.STATUS_COMMANDED_TRIP if self._books.policy.permit_only else codes.STATUS_OPEN
        return status & mask == 0

    def _end_relay(self, stage: int, status: int) -> None:
        self._books.relay_done(self._index, stage, status)
        self._relay_index = _NO_ROW
