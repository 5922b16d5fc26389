"""Frames of DL/T 645: the streaming receiver and the encoder.

    [FE..] 68 A0 A1 A2 A3 A4 A5 68 C  L  DATA[L] CS 16
           0  1                 7  8  9  10

The receiver trusts nothing but L, the checksum and the end byte: 68, 16 and FE may stand
anywhere inside, and before a frame there may be any number of FE, noise, a doubled 68, our own
echo or half a frame. A candidate that fails is given up for its first byte only, so a good frame
behind any garbage is found: at the latest when `expire` says that the line has fallen silent.
Nothing allocates after construction. Both standards share this frame.

Spec: DL/T 645-2007 5.2.
"""

from array import array

from micropython import const

from dlt645 import fast
from dlt645.errors import LocalError

FRAME_DATA_LIMIT = const(255)
_FRAME_OVERHEAD = const(16)


class Receiver:
    """Bytes in, verified frames out: `feed`, `poll`, read the fields, `release`.

    address     6 bytes as on the wire, low byte first
    data        DATA less 33H; `data_size` bytes of it are valid until `release`
    words       its state and counters, `box` its bytes: see dlt645.fast
    """

    def __init__(self) -> None:
        self.words = array("i", bytes(4 * fast.WORDS_SIZE))
        self.box = bytearray(fast.BOX_SIZE)
        view = memoryview(self.box)
        self.address = view[fast.ADDRESS : fast.ADDRESS + 6]
        self.data = view[fast.DATA : fast.DATA + FRAME_DATA_LIMIT]
        fast.clear(self.words)

    def feed(self, buf: "bytearray | memoryview | bytes", size: int) -> None:
        """Take `size` bytes of `buf`, at most 512; of more than that unread the oldest go."""
        if fast.receive(self.box, buf, size, self.words, fast.FEED) < 0:
            if size > fast.RECEIVED_SIZE:
                raise LocalError("more than 512 bytes at once")
            fast.make_room(self.box, size, self.words)
            fast.receive(self.box, buf, size, self.words, fast.FEED)

    def poll(self) -> bool:
        """True when a verified frame stands in the fields."""
        return self.words[fast.FOUND] != 0

    def release(self) -> None:
        """Give the frame back; the fields are no longer valid, the next frame may follow."""
        fast.receive(self.box, self.box, 0, self.words, fast.NEXT)

    def expire(self) -> bool:
        """The line fell silent: what is half received will not be completed.

        True when a whole frame stands behind it; after false no byte is left.
        """
        if self.words[fast.FOUND]:
            return True
        return fast.receive(self.box, self.box, 0, self.words, fast.LAST) != 0

    def reset(self) -> None:
        """Forget all bytes received so far; the counters stay."""
        fast.clear(self.words)

    @property
    def control(self) -> int:
        """C of the frame held."""
        return self.words[fast.FOUND] & 0xFF

    @property
    def data_size(self) -> int:
        """L of the frame held."""
        return self.words[fast.FOUND] >> 8 & 0xFF

    @property
    def noise(self) -> int:
        """Bytes skipped that belonged to no frame, preambles excepted."""
        return self.words[fast.NOISE]

    @property
    def refused(self) -> int:
        """Candidates with a wrong checksum or end byte."""
        return self.words[fast.REFUSED]

    @property
    def dropped(self) -> int:
        """Bytes lost because nobody polled."""
        return self.words[fast.DROPPED]


def encode_into(
    buf: bytearray,
    address: "bytearray | memoryview",
    control: int,
    data: "bytearray | memoryview",
    size: int,
) -> int:
    """Encode 4 FE and a frame of `size` data bytes into `buf`; return its size, 16 + `size`.

    `address` is in wire order. Does not allocate.
    """
    if size > FRAME_DATA_LIMIT or len(buf) < _FRAME_OVERHEAD + size:
        raise LocalError("frame of " + str(size) + " data bytes does not fit")
    if len(address) != 6 or len(data) < size:
        raise LocalError("address or data too short")
    return fast.encode_frame(buf, address, control, data, size)
