"""The flashes of these tests lose their power at a chosen operation, in the middle of a write.

`Flash` is the one the sweeps run on, one of the two of host/sim/nor.py: plain memory, or NOR when
DIANKA_FLASH says so. With DIANKA_SHARE=n a sweep cuts only at every nth operation.
"""

import os

from boards.littlefs import LittleStorage, open_filesystem
from nor import BLOCK_SIZE, TEARS, Memory, Nor, PowerCut

BLOCKS = 24
SHARE = int(os.getenv("DIANKA_SHARE") or "1")

__all__ = ("BLOCKS", "BLOCK_SIZE", "TEARS", "Flash", "Memory", "PowerCut", "blank", "cuts")

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


def installed(flash: Memory) -> LittleStorage:
    """Return the storage on `flash`, made there by an installer."""
    return LittleStorage(open_filesystem(flash, flash.page, True))


def mounted(flash: Memory) -> LittleStorage:
    """Return the storage on `flash` as it is after a start."""
    return LittleStorage(open_filesystem(flash, flash.page))
