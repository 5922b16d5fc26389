"""The flashes of these tests lose their power at a chosen operation, in the middle of a write.

`Flash` is the one the sweeps run on: plain memory, or NOR when DIANKA_FLASH says so. In memory
what is written replaces what was there, and erasing is a write like another; NOR does neither.
With DIANKA_SHARE=n a sweep cuts only at every nth operation.
"""

import os

from boards.littlefs import LittleStorage, open_filesystem
from nor import BLOCK_SIZE, TEARS, Nor, PowerCut

BLOCKS = 24
SHARE = int(os.getenv("DIANKA_SHARE") or "1")

__all__ = ("BLOCKS", "BLOCK_SIZE", "TEARS", "Flash", "Memory", "PowerCut", "blank", "cuts")


class Memory:
    """A block device on `data`; writes and erasures are counted in `operations`."""

    page = 128

    def __init__(self, data: bytearray, cut_at: int = -1, tear: str = "nothing") -> None:
        """`cut_at` is the operation, counted from 0, that is not completed; -1 means none."""
        self.data = data
        self.operations = 0
        self.blocks = BLOCKS
        self.programmed = self.erased = 0  # bytes
        self.fails = False
        self.reads_fail = False
        # A file that the collector closes after the cut must find nothing to write to.
        self._dead = False
        self._cut_at = cut_at
        self._tear = tear

    def cut_after(self, operations: int, tear: str) -> None:
        """Have the power fail after this many more operations."""
        self._cut_at = self.operations + operations
        self._tear = tear

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        if self.reads_fail or self._dead:
            return -5
        start = block * BLOCK_SIZE + offset
        buf[:] = memoryview(self.data)[start : start + len(buf)]
        return 0

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        if self.fails or self._dead:
            return -5
        start = block * BLOCK_SIZE + offset
        size = self._allowed(len(buf))
        self.data[start : start + size] = memoryview(buf)[:size]
        self.programmed += size
        if size < len(buf) and self._tear == "noise":
            self.data[start + size] = buf[size] & 0x5A
        self._count()
        return 0

    def ioctl(self, operation: int, argument: int) -> int:
        if operation == 4:
            return self.blocks
        if operation == 5:
            return BLOCK_SIZE
        if operation == 6:
            if self.fails or self._dead:
                return -5
            start = argument * BLOCK_SIZE
            size = self._allowed(BLOCK_SIZE)
            self.data[start : start + size] = b"\xff" * size
            self.erased += size
            self._count()
        return 0

    def _allowed(self, size: int) -> int:
        """Return how much of this operation is done."""
        if self.operations != self._cut_at:
            return size
        return 0 if self._tear == "nothing" else size // 2

    def _count(self) -> None:
        self.operations += 1
        if self.operations - 1 == self._cut_at:
            self._dead = True
            raise PowerCut


Flash = Nor if os.getenv("DIANKA_FLASH") == "nor" else Memory


def cuts(operations: int) -> range:
    """Return the operations to cut at: each of them, or every SHARE-th."""
    return range(operations % SHARE, operations, SHARE)


def erased() -> bytearray:
    """Return the content of a flash that was never written."""
    return bytearray(b"\xff" * (BLOCKS * BLOCK_SIZE))


def blank() -> bytearray:
    """Return the content of a flash that only an installer has written."""
    data = erased()
    installed(Flash(data))
    return data


def installed(flash: "Memory | Nor") -> LittleStorage:
    """Return the storage on `flash`, made there by an installer."""
    return LittleStorage(open_filesystem(flash, flash.page, True))


def mounted(flash: "Memory | Nor") -> LittleStorage:
    """Return the storage on `flash` as it is after a start."""
    return LittleStorage(open_filesystem(flash, flash.page))
