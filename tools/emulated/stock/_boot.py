"""Mount the flash for programs: the 4 MiB behind those that boards/qemu.py has for the journal."""

import uctypes
import vfs

_FLASH = 0x21400000
_BLOCK_SIZE = 4096
_BLOCKS = 1024


class _Flash:
    def __init__(self) -> None:
        self._memory = memoryview(uctypes.bytearray_at(_FLASH, _BLOCKS * _BLOCK_SIZE))

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> None:
        start = block * _BLOCK_SIZE + offset
        buf[:] = self._memory[start : start + len(buf)]

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> None:
        start = block * _BLOCK_SIZE + offset
        self._memory[start : start + len(buf)] = buf

    def ioctl(self, operation: int, argument: int) -> int:
        return {4: _BLOCKS, 5: _BLOCK_SIZE}.get(operation, 0)


try:
    vfs.mount(vfs.VfsLfs2(_Flash(), mtime=False), "/")
except OSError:
    vfs.VfsLfs2.mkfs(_Flash())
    vfs.mount(vfs.VfsLfs2(_Flash(), mtime=False), "/")
