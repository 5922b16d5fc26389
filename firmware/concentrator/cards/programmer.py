"""Let a technician's PC use the board's own card reader over the console.

    far side                                device
    CARD_READ  offset 2, size 2         ->
                                        <-  CARD_DATA    status 1, bytes
    CARD_WRITE offset 2, bytes          ->
                                        <-  CARD_WRITTEN status 1

These are the frames of link_carrier.py in the other direction: here the far side asks. Its `seq`
is repeated in the answer. A repeated request is carried out again, which has no further effect.
Requests need a login, and are served only while no card is being redeemed.

Spec: docs/SPEC.md, "Link frame".
"""

from card import carrier as port
from card.image import IMAGE_SIZE
from micropython import const
from uplink import link

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Carrier

    from concentrator.login import Login

# Status of an answer.
_GOOD = const(0)
_FAILED = const(1)
_LOG_IN = const(2)
_IN_USE = const(3)
_NO_CARD = const(4)
_OUTSIDE = const(5)

_NOTHING = const(0)


class Programmer:
    """Reads and writes the card at `carrier` for the far side.

    busy        whether a request has begun and is not answered yet
    """

    def __init__(self, carrier: "Carrier", login: "Login") -> None:
        self.carrier = carrier
        self._login = login
        self._kind = _NOTHING  # of the request that is being served
        self._seq = 0
        self._offset = 0
        self._size = 0
        self.busy = False
        self._source = bytearray(IMAGE_SIZE)
        self._body = bytearray(1 + IMAGE_SIZE)
        self._body_size = 0
        self._due = False

    def on_frame(self, kind: int, seq: int, body: bytearray, body_size: int) -> None:
        """Accept a CARD_READ or CARD_WRITE; ignore it while another one is served."""
        writes = kind == link.CARD_WRITE
        if self._kind != _NOTHING or body_size < (3 if writes else 4):
            return
        self._kind = kind
        self._seq = seq
        self.busy = False
        self._offset = body[0] | body[1] << 8
        self._size = size = body_size - 2 if writes else body[2] | body[3] << 8
        if writes and size <= IMAGE_SIZE:
            for position in range(size):
                self._source[position] = body[2 + position]

    def poll(self, now_ticks: int, in_use: bool) -> bool:
        """Continue with a request; return whether its answer is due.

        `in_use`: a card is being redeemed, so the carrier must not be used.
        """
        if self._kind == _NOTHING or self._due:
            return self._due
        carrier = self.carrier
        if in_use:
            self._answer(_IN_USE)
        elif not self.busy:
            self._start()
        else:
            outcome = carrier.poll(now_ticks)
            if outcome != port.BUSY:
                self._answer(_GOOD if outcome == port.OK else _FAILED)
        return self._due

    def _start(self) -> None:
        carrier = self.carrier
        size = self._size
        self.busy = True
        if not self._login.is_open:
            self._answer(_LOG_IN)
        elif not carrier.present:
            self._answer(_NO_CARD)
        elif size > IMAGE_SIZE or self._offset + size > carrier.size:
            self._answer(_OUTSIDE)
        elif self._kind == link.CARD_WRITE:
            carrier.start_write(self._offset, self._source, size)
        else:
            carrier.start_read(self._offset, size)

    def _answer(self, status: int) -> None:
        body = self._body
        body[0] = status
        self._body_size = 1
        if status == _GOOD and self._kind == link.CARD_READ:
            for position in range(self._size):
                body[1 + position] = self.carrier.data[position]
            self._body_size = 1 + self._size
        self._due = True
        self.busy = False

    def encode_into(self, buf: bytearray) -> int:
        """Write the answer that is due into `buf`; return its size, 0: none."""
        if not self._due:
            return 0
        kind = link.CARD_WRITTEN if self._kind == link.CARD_WRITE else link.CARD_DATA
        self._due = False
        self._kind = _NOTHING
        return link.encode_into(buf, kind, self._seq, self._body, self._body_size)
