"""Keep a journal on the SPI flash of the emulated board, whose power fails in a program or erase.

The chip is QEMU's own w25q32; the driver is the product's.
"""

from boards.littlefs import LittleStorage, open_filesystem
from boards.nor import PAGE, Nor
from buses import Spi, select
from concentrator.storage.journal import Journal
from uplink import record
from uplink.record import PAYLOAD, PAYLOAD_SIZE, RECORD_SIZE

SEGMENTS = 8
_SYNC = 12
_END = PAYLOAD + PAYLOAD_SIZE


class CutNor(Nor):
    """This chip's power fails in one of its changes: a program ends in its middle."""

    # The changes until then; below 1: it does not fail.
    left = 0

    def __init__(self) -> None:
        super().__init__(Spi(), select)

    def _change(self, command: int, address: int, data: "memoryview | None" = None) -> bool:
        self.left -= 1
        if self.left:
            return super()._change(command, address, data)
        if data is not None:
            super()._change(command, address, data[: len(data) // 2])
        print("cut")
        while True:
            pass


def content(seq: int) -> bytes:
    """Return the payload of a record."""
    return bytes([(seq * 7 + at) & 0xFF for at in range(PAYLOAD_SIZE)])


def live(new: bool, cut_at: int) -> None:
    """Read back what is on the flash, then add records until the power fails.

    It fails at the change `cut_at` of this life; with `new` the storage is made before. The first
    and the last record that were there are printed, then the last durable one at each sync.
    """
    flash = CutNor()
    if new:
        LittleStorage(open_filesystem(flash, PAGE, True))
    flash.left = cut_at
    storage = LittleStorage(open_filesystem(flash, PAGE))
    journal = Journal(storage, SEGMENTS)
    journal.recover()
    buf = bytearray(RECORD_SIZE)
    for seq in range(max(journal.first_seq, 1), journal.durable_seq + 1):
        if not journal.read_into(seq, buf) or buf[PAYLOAD:_END] != content(seq):
            print("lost", seq)
    print("kept", journal.first_seq, journal.durable_seq)
    while True:
        for _ in range(_SYNC):
            journal.place()
            seq = journal.next_seq
            journal.buf[PAYLOAD:_END] = content(seq)
            journal.add(800000000 + seq, record.STANDING, 0)
        if journal.sync():
            print("durable", journal.durable_seq)
        if journal.room < 2:
            journal.drop(journal.durable_seq - 1)
