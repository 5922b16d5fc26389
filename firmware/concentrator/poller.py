"""One meter line: what is asked next, and what an answer means.

    a technician's question | relay commands | registers of all meters, once in each interval,
    and behind a meter's registers its status word, and from 00:05 on its daily freeze

A reading is two questions, the energy registers and status word 3; a meter of DL/T 645-1997 has
no status word. Where a price, a season or a tier period changed at midnight between two readings,
the meter's freeze of that midnight divides them exactly. Freezes of the last days that are
missing are caught up with, the oldest first, one a round.

A meter that is down is asked less and less often, so that it costs little, and a round that could
not be finished goes on where it stopped, so that no meter starves.

A relay command is never sent blindly: the status word is read first, the command goes out once,
and the status word says what became of it. Spec: DL/T 645-2007 04000503, 1CH, 050600xx, 050601xx.
"""

from array import array

from dlt645 import codes, di, patience
from dlt645 import master as line
from dlt645.master import NO_EXPIRY, Master
from micropython import const
from uplink import record

from concentrator import registry as meters
from concentrator.books import STATUS_UNKNOWN
from concentrator.exchange import WAITING, Exchange

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
_FREEZE_TIME = const(6)
_FREEZE_REGISTERS = const(7)
_EXCHANGE = const(8)

# A meter judges its relay some seconds after a command; it is asked when it has had its time.
CONFIRM_MS = const(1000)
SENDS_LIMIT = const(3)
RELAY_EXPIRY_S = const(3600)
# So many misses in a row are reported, once.
SILENT_MISSES = const(3)
FREEZE_DAYS = const(7)
# Meters have frozen their registers when so much of the day is over.
FREEZE_AFTER_S = const(300)
_SKIPS_A_STEP = const(16)

_UNSENT_MS = const(5)
_WAIT_LIMIT_MS = const(1000)
_IDLE_MS = const(5000)
_CHUNK_SIZE = const(256)
_DAY_S = const(86400)
_TICKS_MASK = const(0x1FFFFFFF)
_NO_ROW = const(-1)
_VALUES = const(5)


class Poller:
    """The meters of line `number` on `channel`.

    rounds      intervals begun; `unfinished` of them before the last was through
    silent      times a meter fell silent
    unfrozen    daily freezes that a meter did not have
    exchange    a technician's question
    due_t2000   when the next interval begins
    """

    def __init__(self, number: int, channel: "Channel", books: "Books") -> None:
        self.number = number
        self.channel = channel
        self.master = Master()
        self.rounds = 0
        self.unfinished = 0
        self.silent = 0
        self.unfrozen = 0
        self.exchange = Exchange()
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
        self._values = array("i", bytes(4 * _VALUES))
        self._frozen = array("i", bytes(4 * _VALUES))
        self._word = array("i", bytes(4))
        self._address = bytearray(6)
        self._job = _NOTHING
        self._index = 0
        self._value_count = 0
        self._freeze_day = 0
        self._divides = False
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
        if self._job == _EXCHANGE:
            if self.exchange.poll(master, now_ticks):
                self._job = _NOTHING
        elif master.busy:
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
        return _UNSENT_MS if master.tx_size else min(master.wait_ms(now_ticks), _WAIT_LIMIT_MS)

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
        if self._job != _NOTHING:
            self._go_on(now_ticks)
            return True
        if self.exchange.state == WAITING:
            self._job = _EXCHANGE
            self.exchange.start(self.master, now_ticks)
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
        return self._left > 0 and self._ask_registers(now_ticks)

    def _go_on(self, now_ticks: int) -> None:
        """The next question to the same meter, as the job says."""
        if self._job == _STATUS:
            self._start(di.STATUS_3, now_ticks)
            return
        # Freeze 1 is that of the midnight before now.
        number = self._books.t2000 // _DAY_S - self._freeze_day + 1
        of_what = di.DAY_FREEZE_TIME if self._job == _FREEZE_TIME else di.DAY_FREEZE_FORWARD
        self._start(of_what - 1 + number, now_ticks)

    def _ask_registers(self, now_ticks: int) -> bool:
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
                    self.master.expect(registry.notes[index])
                    self.master.start_read_1997(self._address, di.ENERGY_BLOCK_1997, now_ticks)
                else:
                    self._start(di.ENERGY_FORWARD, now_ticks)
                return True
        return self._left > 0

    def _is_resting(self, index: int) -> bool:
        rest_s = patience.rest_s(self._registry.notes[index])
        if rest_s == 0:
            return False
        return (self._round + index) % (rest_s // self.interval_s + 1) != 0

    def _start(self, identifier: int, now_ticks: int) -> None:
        self._registry.address_into(self._index, self._address)
        self.master.expect(self._registry.notes[self._index])
        self.master.start_read(self._address, identifier, now_ticks)

    # --- what came of it ------------------------------------------------------------------------

    def _take(self, outcome: int, now_ticks: int) -> None:
        """The transaction has ended."""
        job = self._job
        index = self._index
        notes = self._registry.notes
        self._job = _NOTHING
        missed = notes[index] >> 8
        if job != _RELAY_SEND:
            notes[index] = self.master.learn(notes[index], outcome)
        if job == _REGISTERS:
            self._take_registers(outcome, missed)
        elif job == _STATUS:
            status = self._status() if outcome == line.OK else STATUS_UNKNOWN
            self._books.take_reading(index, self._values, self._value_count, status)
            self._catch_up(index)
        elif job == _FREEZE_TIME:
            self._take_freeze_time(outcome)
        elif job == _FREEZE_REGISTERS:
            self._take_freeze(outcome)
        elif job != _NOTHING:
            self._take_relay(job, outcome, now_ticks)

    def _take_registers(self, outcome: int, missed: int) -> None:
        index = self._index
        old_standard = self._registry.standard[index] == record.STANDARD_1997
        count = 0
        if outcome == line.OK:
            identifier = di.ENERGY_BLOCK_1997 if old_standard else di.ENERGY_FORWARD
            count = self._decode(identifier, self._values)
        if count <= 0:
            if self._registry.misses(index) == SILENT_MISSES != missed:
                self.silent += 1
                self._books.note_line(index, record.LINE_SILENT, SILENT_MISSES)
            return
        if missed >= SILENT_MISSES:
            self._books.note_line(index, record.LINE_ANSWERS, missed)
        self._value_count = count
        if old_standard:
            self._books.take_reading(index, self._values, count, STATUS_UNKNOWN)
            return
        self._job = _STATUS
        day = self._books.dividing_day(index)
        if day:
            t2000 = self._books.t2000
            if t2000 - day * _DAY_S < FREEZE_AFTER_S:
                self._job = _NOTHING  # too early for its freeze: the next round has both
            elif t2000 // _DAY_S - day < FREEZE_DAYS:
                self._divides = True
                self._freeze_day = day
                self._job = _FREEZE_TIME

    def _decode(self, identifier: int, values: "array[int]") -> int:
        master = self.master
        return di.decode(identifier, master.data, master.data_offset, master.data_size, values)

    def _status(self) -> int:
        """Status word 3 of the reply, or STATUS_UNKNOWN."""
        word = self._word
        count = self._decode(di.STATUS_3, word)
        return word[0] if count == 1 and word[0] >= 0 else STATUS_UNKNOWN

    # --- daily freezes ------------------------------------------------------------------------

    def _catch_up(self, index: int) -> None:
        """Behind a reading: ask for the oldest daily freeze that is missing, if there is one."""
        t2000 = self._books.t2000
        today = t2000 // _DAY_S
        known_day = self._registry.freeze_day[index]
        if known_day >= today or t2000 % _DAY_S < FREEZE_AFTER_S:
            return
        first_day = today if known_day == 0 else known_day + 1
        self._freeze_day = max(first_day, today - FREEZE_DAYS + 1)
        self._divides = False
        self._job = _FREEZE_TIME

    def _take_freeze_time(self, outcome: int) -> None:
        """The registers count only if they were frozen at the midnight they are wanted for."""
        word = self._word
        if outcome == line.OK and self._decode(di.DAY_FREEZE_TIME, word) == 1:
            if word[0] == self._freeze_day * _DAY_S:
                self._job = _FREEZE_REGISTERS
                return
            outcome = line.ABNORMAL
        self._end_freeze(outcome, 0)

    def _take_freeze(self, outcome: int) -> None:
        count = 0
        if outcome == line.OK:
            count = self._decode(di.DAY_FREEZE_FORWARD, self._frozen)
        self._end_freeze(outcome, max(0, count))

    def _end_freeze(self, outcome: int, count: int) -> None:
        """Record the freeze; one that the meter does not have is not asked for again."""
        index = self._index
        if count:
            self._books.take_freeze(index, self._freeze_day * _DAY_S, self._frozen, count)
        elif outcome == line.ABNORMAL or outcome == line.OK:
            self.unfrozen += 1
            self._registry.freeze_day[index] = self._freeze_day
        if self._divides:
            day = self._books.dividing_day(index)
            again = count > 0 and day > self._freeze_day
            self._freeze_day = day
            self._job = _FREEZE_TIME if again else _STATUS

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
        if self._relay_sends and (now_ticks - self._relay_ticks) & _TICKS_MASK < CONFIRM_MS:
            # Also when the opposite is wanted meanwhile: what was sent may still act.
            return False
        if stage == meters.RELAY_CONFIRM:
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
        self.master.expect(self._registry.notes[index])
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
        if job == _RELAY_LOOK:
            self._relay_sends = 0
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
