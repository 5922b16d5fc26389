"""Use a card reader on the far side of the console's serial line, in frames of uplink/link.py.

    far side                                        device
    CARD_PRESENT  uid 8, size 2                 ->
                                                <-  CARD_READ   offset 2, size 2
    CARD_DATA     status 1, bytes               ->
                                                <-  CARD_WRITE  offset 2, bytes
    CARD_WRITTEN  status 1                      ->
                                                <-  CARD_RESULT code 1, credited 1, account index 2
    CARD_GONE                                   ->

The `seq` of CARD_PRESENT numbers the insertion, and CARD_RESULT repeats it. The same number again
means that the same card is still there: its result is repeated if there is one. CARD_READ and
CARD_WRITE have a `seq` of the device, which the answer repeats. Status 0 is good. All numbers are
little-endian.

The console passes CARD_* frames to `on_frame` and sends the frames of `encode_into`. Nothing
allocates.

Spec: docs/SPEC.md, "Link frame".
"""

from struct import pack_into

from card import carrier as port
from card.image import IMAGE_SIZE
from micropython import const
from uplink import link

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.local import Display

TIMEOUT_MS = const(500)
TRIES_LIMIT = const(3)

_TICKS_MASK = const(0x1FFFFFFF)
_NONE = const(-1)
_RESULT_SIZE = const(4)


class LinkCarrier:
    """A Carrier of ports.py over link frames."""

    def __init__(self, display: "Display | None" = None) -> None:
        """Make a carrier that also shows each result at the device by `display`."""
        self.present = 0
        self.uid = bytearray(port.UID_SIZE)
        self.size = 0
        self.data = bytearray(IMAGE_SIZE)
        self._display = display
        self._inserted = 0  # count of insertions
        self._insertion = _NONE  # seq of the newest CARD_PRESENT
        self._request = _NONE  # kind of the frame that waits for an answer
        self._seq = 0
        self._body = bytearray(2 + IMAGE_SIZE)
        self._body_size = 0
        self._read_size = 0
        self._outcome = port.IDLE
        self._due = False
        self._tries = 0
        self._since_ticks = 0
        self._result = bytearray(_RESULT_SIZE)
        self._has_result = False
        self._result_due = False

    def start_read(self, offset: int, size: int) -> None:
        """Begin to read `size` bytes at `offset`."""
        pack_into("<HH", self._body, 0, offset, size)
        self._read_size = size
        self._start(link.CARD_READ, 4)

    def start_write(self, offset: int, buf: "bytearray | memoryview", size: int) -> None:
        """Begin to write `buf[:size]` at `offset`."""
        body = self._body
        pack_into("<H", body, 0, offset)
        for position in range(size):
            body[2 + position] = buf[position]
        self._start(link.CARD_WRITE, 2 + size)

    def poll(self, now_ticks: int) -> int:
        """Return BUSY, then once OK or FAILED; repeat a request that was not answered in time."""
        outcome = self._outcome
        if outcome != port.BUSY:
            self._outcome = port.IDLE
            return outcome
        if self._since_ticks == _NONE:
            self._since_ticks = now_ticks
        elif (now_ticks - self._since_ticks) & _TICKS_MASK >= TIMEOUT_MS:
            if self._tries == TRIES_LIMIT:
                self._end(False)
                return self.poll(now_ticks)
            self._tries += 1
            self._since_ticks = now_ticks
            self._due = True
        return port.BUSY

    def show(self, code: int, credited: bool, index: int) -> None:
        """Send the far side the result of its card, and show it on the display."""
        pack_into("<BBH", self._result, 0, code, 1 if credited else 0, index & 0xFFFF)
        self._has_result = self._result_due = self.present != 0
        if self._display is not None:
            self._display(code, credited, index)

    def on_frame(self, kind: int, seq: int, body: bytearray, body_size: int) -> None:
        """Process a CARD_* frame; ignore an answer without a request."""
        if kind == link.CARD_PRESENT:
            if body_size == port.UID_SIZE + 2:
                self._insert(seq, body)
        elif kind == link.CARD_GONE:
            self.reset()
        elif self._outcome == port.BUSY and seq == self._seq and body_size:
            if kind == link.CARD_WRITTEN and self._request == link.CARD_WRITE:
                self._end(body[0] == 0)
            elif kind == link.CARD_DATA and self._request == link.CARD_READ:
                size = self._read_size
                good = body[0] == 0 and body_size == 1 + size
                if good:
                    for position in range(size):
                        self.data[position] = body[1 + position]
                self._end(good)

    def encode_into(self, buf: bytearray) -> int:
        """Write the frame that is due into `buf`; return its size, 0: none."""
        if self._result_due:
            self._result_due = False
            return link.encode_into(
                buf, link.CARD_RESULT, self._insertion, self._result, _RESULT_SIZE
            )
        if not self._due:
            return 0
        self._due = False
        return link.encode_into(buf, self._request, self._seq, self._body, self._body_size)

    def reset(self) -> None:
        """Forget the card, which is gone or belongs to an old connection."""
        self.present = 0
        self._insertion = _NONE
        self._has_result = self._result_due = False
        if self._outcome == port.BUSY:
            self._end(False)

    def _insert(self, seq: int, body: bytearray) -> None:
        if self.present and seq == self._insertion:
            self._result_due = self._has_result
            return
        self.reset()
        self._insertion = seq
        for position in range(port.UID_SIZE):
            self.uid[position] = body[position]
        self.size = body[8] | body[9] << 8
        self._inserted += 1
        self.present = self._inserted

    def _start(self, kind: int, body_size: int) -> None:
        self._request = kind
        self._body_size = body_size
        self._seq = (self._seq + 1) & 0xFF
        self._outcome = port.BUSY
        self._tries = 1
        self._since_ticks = _NONE
        self._due = True

    def _end(self, good: bool) -> None:
        self._outcome = port.OK if good else port.FAILED
        self._due = False
