"""Receive frames of DL/T 645 from a byte stream, and encode them.

    [FE..] 68 A0 A1 A2 A3 A4 A5 68 C  L  DATA[L] CS 16
           0  1                 7  8  9  10

The receiver relies only on L, the checksum and the end byte: 68, 16 and FE may occur anywhere
inside a frame, and any number of FE, noise, a doubled 68, an echo of the request or half a frame
may come before it. When a candidate fails, only its first byte is skipped. So a good frame behind
any garbage is found, at the latest when `expire` says that the line is silent. Nothing allocates
after construction. Both standards share this frame.

Spec: DL/T 645-2007 5.2.
"""

from array import array

from micropython import const

from dlt645 import fast
from dlt645.errors import LocalError

FRAME_DATA_LIMIT = const(255)
_FRAME_OVERHEAD = const(16)


class Receiver:
    """A receiver of verified frames: call `feed`, `poll`, read the fields, then `release`.

    address     6 bytes as on the wire, low byte first
    data        DATA less 33H; `data_size` bytes of it are valid until `release`
    words       the state and the counters, see dlt645.fast
    box         the bytes, see dlt645.fast
    """

    def __init__(self) -> None:
        self.words = array("i", bytes(4 * fast.WORDS_SIZE))
        self.box = bytearray(fast.BOX_SIZE)
        view = memoryview(self.box)
        self.address = view[fast.ADDRESS : fast.ADDRESS + 6]
        self.data = view[fast.DATA : fast.DATA + FRAME_DATA_LIMIT]
        fast.clear(self.words)

    def feed(self, buf: "bytearray | memoryview | bytes", size: int) -> None:
        """Append `size` bytes of `buf`, at most 512; without room the oldest are dropped."""
        if fast.receive(self.box, buf, size, self.words, fast.FEED) < 0:
            if size > fast.RECEIVED_SIZE:
                raise LocalError("more than 512 bytes at once")
            fast.make_room(self.box, size, self.words)
            fast.receive(self.box, buf, size, self.words, fast.FEED)

    def poll(self) -> bool:
        """Return whether the fields hold a verified frame."""
        return self.words[fast.FOUND] != 0

    def release(self) -> None:
        """Release the frame: the fields are invalid until `poll` finds the next one."""
        fast.receive(self.box, self.box, 0, self.words, fast.NEXT)

    def expire(self) -> bool:
        """Give up half a frame because the line is silent; return whether a frame was behind it.

        After false no byte is left.
        """
        if self.words[fast.FOUND]:
            return True
        return fast.receive(self.box, self.box, 0, self.words, fast.LAST) != 0

    def reset(self) -> None:
        """Forget all bytes received so far; the counters stay."""
        fast.clear(self.words)

    @property
    def control(self) -> int:
        """The control byte C of the frame held."""
        return self.words[fast.FOUND] & 0xFF

    @property
    def data_size(self) -> int:
        """The length L of the frame held, in bytes."""
        return self.words[fast.FOUND] >> 8 & 0xFF

    @property
    def noise(self) -> int:
        """The count of bytes skipped because they belonged to no frame, preambles excepted."""
        return self.words[fast.NOISE]

    @property
    def refused(self) -> int:
        """The count of candidates with a wrong checksum or end byte."""
        return self.words[fast.REFUSED]

    @property
    def dropped(self) -> int:
        """The count of bytes lost because `poll` was not called in time."""
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
