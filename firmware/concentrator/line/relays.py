"""Carry out the relay commands of a line: read the status, send the command, confirm it.

The relay's status is always read before a command. The command is sent once, and only the status
read afterwards shows its result. A trip that the meter would refuse, because it protects its
supply (保电), is not sent.

A motor moves the relay, so some meters show the new position seconds after the command. Their
status is read several times, and other tasks use the line in between, also for other relays.

The meter's own alarm, a lamp or a word on its display, follows the account's state with each
reading. If status word 3 shows another state, the alarm is switched once. It is switched again
only after the meter has shown the wanted state, or if it did not answer.

Meters of 1997 have no status word. If a vendor gave them a relay, C028 switches it and C029 is its
status. Without a status the command is sent once, and is recorded as failed.

Spec: DL/T 645-2007 04000503, function 1CH; 1997: vendor.
"""

from array import array

from dlt645 import codes, di
from dlt645 import master as line
from dlt645.master import NO_EXPIRY
from micropython import const
from uplink import record
from uplink.record import STATUS_UNKNOWN

from concentrator.books import registry as meters

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.line.meters import LineMeters

# The times after a command at which the status is read. At the last one every relay has come to
# rest: only then is the command repeated, or a new order carried out.
LOOKS_MS = (1000, 3000, 7000)
_SENDS_LIMIT = const(3)
# A command expires after an hour by the clock here. A meter whose clock is ahead refuses it: the
# second one expires after a year, and the third one never.
_EXPIRY_S = const(3600)
_LONG_EXPIRY_S = const(31536000)
# This many relays are in progress at once; the others wait.
_PLACES = const(8)
_NOTHING_DUE_MS = const(60000)

# The request to C028: identifier, password, then 3355 or 9966, as on the wire.
_REQUEST_1997_SIZE = const(8)
_TRIP_1997 = const(0x3355)
_CLOSE_1997 = const(0x9966)

_TICKS_MASK = const(0x1FFFFFFF)
_FREE_ROW = const(0xFFFF)
_NO_PLACE = const(-1)
# Parts of `_tries`: reads of the status since the last command, and commands sent << 4.
_LOOKS = const(0x0F)
_SEND = const(0x10)
_LAST_LOOK = const(2)
# Values of `registry.alarm`.
_TOLD_OFF = const(1)
_TOLD_ON = const(2)
_ALARM_SEEN = const(4)  # the meter has shown this state


class Relays:
    """The task that brings every relay of the line to its wanted position, or gives it up.

    password, operator      PA P0 P1 P2 and C0..C3 for the commands, as on the wire
    old_relays              whether meters of 1997 have the vendor's relay
    wait_ms                 the time until the next relay is due, many: none
    """

    def __init__(self, line_meters: "LineMeters") -> None:
        self.job = line_meters.master
        self.password = bytearray(4)
        self.operator = bytearray(4)
        self.old_relays = False
        self.wait_ms = _NOTHING_DUE_MS
        self._line_meters = line_meters
        self._cursor = 0
        self._is_sent = False
        self._told = 0  # the alarm sent last
        self._place = 0  # the relay in progress
        self._rows = array("H", [_FREE_ROW] * _PLACES)
        self._sent_ticks = array("I", bytes(4 * _PLACES))
        self._tries = bytearray(_PLACES)

    # --- the status of the relay ----------------------------------------------------------------

    def has_status(self, index: int) -> bool:
        """Return whether the meter has a status of its relay."""
        return self.old_relays or not self._is_old(index)

    def ask_status(self, index: int, now_ticks: int) -> None:
        """Start to read the status of the relay."""
        identifier = di.RELAY_STATUS_1997 if self._is_old(index) else di.STATUS_3
        self._line_meters.start_read(index, identifier, now_ticks)

    def status(self, index: int, outcome: int) -> int:
        """Return status word 3 of the reply, or STATUS_UNKNOWN; for 1997, its relay bits only."""
        line_meters = self._line_meters
        if self._is_old(index):
            master = line_meters.master
            if outcome != line.OK or master.data_size - master.data_offset != 1:
                return STATUS_UNKNOWN
            closed = master.data[master.data_offset] == 0
            return 0 if closed else codes.STATUS_OPEN | codes.STATUS_COMMANDED_TRIP
        count = line_meters.decode(di.STATUS_3, outcome)
        return (
            line_meters.values[0] if count == 1 and line_meters.values[0] >= 0 else STATUS_UNKNOWN
        )

    def _is_old(self, index: int) -> bool:
        protocol = self._line_meters.registry.protocol[index]
        return protocol & meters.STANDARD == record.STANDARD_1997

    # --- the meter's alarm ----------------------------------------------------------------------

    def wants_alarm(self, index: int, status: int) -> bool:
        """Return whether the alarm of the meter, with this status, has to be switched."""
        if status == STATUS_UNKNOWN or self._is_old(index):
            return False
        alarm = self._line_meters.registry.alarm
        wanted = self._alarm(index)
        shown = _TOLD_ON if status & codes.STATUS_ALARM else _TOLD_OFF
        if shown == wanted:
            alarm[index] = wanted | _ALARM_SEEN
        return shown != wanted and alarm[index] != wanted

    def send_alarm(self, index: int, now_ticks: int) -> None:
        """Send the command that switches the alarm."""
        self._line_meters.select(index)
        self._told = self._alarm(index)
        is_on = self._told == _TOLD_ON
        self._command(codes.ALARM_ON if is_on else codes.ALARM_OFF, now_ticks)

    def on_alarm_reply(self, index: int, outcome: int) -> None:
        """Note that the meter has answered the command, even by a refusal."""
        if outcome == line.OK or outcome == line.ABNORMAL:
            self._line_meters.registry.alarm[index] = self._told

    def _alarm(self, index: int) -> int:
        return _TOLD_ON if self._line_meters.books.alarms(index) else _TOLD_OFF

    # --- the task -------------------------------------------------------------------------------

    def ask(self, now_ticks: int) -> bool:
        """Start the next transaction of a relay; return false if none is due."""
        registry = self._line_meters.registry
        if not registry.pending:
            self.wait_ms = _NOTHING_DUE_MS
            return False
        place = self._choose(now_ticks)
        if place == _NO_PLACE:
            return False
        self.wait_ms = 0
        self._place = place
        index = self._rows[place]
        if registry.protocol[index] & meters.STANDARD == record.STANDARD_AUTO or (
            not self.has_status(index)
        ):
            self._end(record.STAGE_FAILED, STATUS_UNKNOWN)
            return False
        if registry.relay[index] & meters.RELAY_STAGE == meters.RELAY_SEND:
            self._send(index, now_ticks)
        else:
            self.ask_status(index, now_ticks)
        return True

    def on_reply(self, outcome: int, now_ticks: int) -> bool:
        """Process a reply; return true if the command follows at once."""
        registry = self._line_meters.registry
        place = self._place
        index = self._rows[place]
        relay = registry.relay[index]
        stage = relay & meters.RELAY_STAGE
        wants_open = relay & meters.DESIRED_OPEN
        if self._is_sent:
            # Whatever the reply, only the status shows what the relay did.
            self._is_sent = False
            self._sent_ticks[place] = now_ticks
            if stage == meters.RELAY_SEND:
                registry.set_relay(index, meters.RELAY_CONFIRM | wants_open)
            return False
        self._line_meters.learn(index, outcome)
        if not meters.is_pending(relay):
            return False  # the order was withdrawn meanwhile
        if stage == meters.RELAY_LOOK:
            self._tries[place] = 0
        tries = self._tries[place]
        status = self.status(index, outcome)
        # A meter without a status of its relay gets its command all the same, once.
        mute = status == STATUS_UNKNOWN and outcome == line.ABNORMAL and self._is_old(index)
        guarded = wants_open and status != STATUS_UNKNOWN and status & codes.STATUS_GUARD
        if status != STATUS_UNKNOWN and self._is_as_wanted(index, status, wants_open):
            self._end(record.STAGE_CONFIRMED, status)
            return False
        if guarded or (mute and tries >= _SEND):
            self._end(record.STAGE_FAILED, status)
            return False
        if stage == meters.RELAY_CONFIRM and tries & _LOOKS < _LAST_LOOK:
            self._tries[place] = tries + 1
            return False
        if (status == STATUS_UNKNOWN and not mute) or tries >= _SENDS_LIMIT * _SEND:
            self._end(record.STAGE_FAILED, status)
            return False
        registry.set_relay(index, meters.RELAY_SEND | wants_open)
        return True

    def _choose(self, now_ticks: int) -> int:
        """Return the place of a relay that is due, that of the last turn first; or NO_PLACE.

        If a place is free, a waiting relay gets it.
        """
        registry = self._line_meters.registry
        free = _NO_PLACE
        self.wait_ms = _NOTHING_DUE_MS
        for step in range(_PLACES):
            place = (self._place + step) % _PLACES
            index = self._rows[place]
            if index != _FREE_ROW and not meters.is_pending(registry.relay[index]):
                # The order was withdrawn meanwhile.
                self._rows[place] = index = _FREE_ROW
            if index == _FREE_ROW:
                free = place
                continue
            left_ms = self._left_ms(place, now_ticks)
            if left_ms <= 0:
                return place
            self.wait_ms = min(self.wait_ms, left_ms)
        if free == _NO_PLACE:
            return _NO_PLACE
        index = self._find()
        if index == _FREE_ROW:
            return _NO_PLACE
        self._rows[free] = index
        self._tries[free] = 0
        return free

    def _left_ms(self, place: int, now_ticks: int) -> int:
        """Return the ms until the next step of this relay is due; 0 or less: it is due."""
        stage = self._line_meters.registry.relay[self._rows[place]] & meters.RELAY_STAGE
        tries = self._tries[place]
        if tries < _SEND or stage == meters.RELAY_SEND:
            return 0
        # After a new order, the command that was sent before may still take effect.
        look = tries & _LOOKS if stage == meters.RELAY_CONFIRM else _LAST_LOOK
        return LOOKS_MS[look] - ((now_ticks - self._sent_ticks[place]) & _TICKS_MASK)

    def _find(self) -> int:
        """Return the row of a relay of this line that waits for a place, or _FREE_ROW."""
        registry = self._line_meters.registry
        for _ in range(registry.count):
            index = self._cursor
            self._cursor = index + 1 if index + 1 < registry.count else 0
            if (
                meters.is_pending(registry.relay[index])
                and self._line_meters.is_mine(index)
                and not self._has_place(index)
            ):
                return index
        return _FREE_ROW

    def _has_place(self, index: int) -> bool:
        place = 0
        while place < _PLACES and self._rows[place] != index:
            place += 1
        return place < _PLACES

    def _send(self, index: int, now_ticks: int) -> None:
        line_meters = self._line_meters
        line_meters.select(index)
        self._is_sent = True
        self._tries[self._place] = (self._tries[self._place] & ~_LOOKS) + _SEND
        opens = line_meters.registry.relay[index] & meters.DESIRED_OPEN
        if self._is_old(index):
            self._send_1997(_TRIP_1997 if opens else _CLOSE_1997, now_ticks)
            return
        action = codes.TRIP
        if not opens:
            action = codes.PERMIT_CLOSE if line_meters.books.policy.permit_only else codes.CLOSE
        self._command(action, now_ticks, self._tries[self._place] // _SEND)

    def _command(self, action: int, now_ticks: int, send: int = 1) -> None:
        """Send the command for the `send`th time."""
        line_meters = self._line_meters
        t2000 = line_meters.books.t2000
        expiry_t2000 = NO_EXPIRY
        if t2000 >= 0 and send < _SENDS_LIMIT:
            expiry_t2000 = t2000 + (_EXPIRY_S if send == 1 else _LONG_EXPIRY_S)
        line_meters.master.start_relay(
            line_meters.address, action, self.password, self.operator, expiry_t2000, now_ticks
        )

    def _send_1997(self, action: int, now_ticks: int) -> None:
        request = bytearray(_REQUEST_1997_SIZE)
        request[0] = di.RELAY_1997 & 0xFF
        request[1] = di.RELAY_1997 >> 8
        request[2:6] = self.password
        request[6] = action & 0xFF
        request[7] = action >> 8
        master = self._line_meters.master
        master.start(self._line_meters.address, codes.WRITE_1997, request, len(request), now_ticks)

    def _is_as_wanted(self, index: int, status: int, wants_open: int) -> bool:
        if wants_open:
            return status & codes.STATUS_OPEN != 0
        # With `permit_only` the user closes the relay: the order ends when the meter permits it.
        permit = self._line_meters.books.policy.permit_only and not self._is_old(index)
        return status & (codes.STATUS_COMMANDED_TRIP if permit else codes.STATUS_OPEN) == 0

    def _end(self, stage: int, status: int) -> None:
        self._line_meters.books.relay_done(self._rows[self._place], stage, status)
        self._rows[self._place] = _FREE_ROW
