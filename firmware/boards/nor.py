"""An SPI flash of the 25 series, or an SPI FRAM, as a block device for littlefs.

    9F          return maker, type and capacity as a power of two
    06          allow one of the next two
    02 AAAAAA   program, inside a page of 256 bytes
    20 AAAAAA   erase 4096 bytes, of a flash only
    05          return the status: bit 0, busy
    03 AAAAAA   read

An FRAM stores bytes at once and needs no erasing; the caller has to give its size. Of a chip of
more than 16 MiB, the first 16 MiB are used.

Spec: Winbond W25Q32, Fujitsu MB85RS2MT, their command tables.
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    import machine

PAGE = const(256)
_BLOCK_SIZE = const(4096)
_LARGEST = const(24)
_SMALLEST = const(16)
# Longer than any chip takes to erase a sector, at the shortest time that a question needs.
_POLLS = const(200000)
_EIO = const(-5)

_PROGRAM = const(0x02)
_READ = const(0x03)
_STATUS = const(0x05)
_ALLOW = const(0x06)
_ERASE = const(0x20)
_IDENTITY = const(0x9F)


class Nor:
    """The chip on `spi` that is selected by `select`; `size` in bytes of an FRAM, 0: a flash.

    blocks      of 4096 bytes that it has, 0: no flash answers
    """

    def __init__(self, spi: "machine.SPI", select: "machine.Pin", size: int = 0) -> None:
        self._spi = spi
        self._select = select
        self._is_fram = size > 0
        self._command = bytearray(4)
        self._one = bytearray(1)
        select(1)
        if size == 0:
            identity = bytearray(3)
            self._begin(_IDENTITY)
            spi.readinto(identity)
            select(1)
            power = identity[2]
            size = 1 << min(power, _LARGEST) if _SMALLEST <= power < 0x40 else 0
        self.blocks = size // _BLOCK_SIZE

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Fill `buf` from `offset` in `block`."""
        self._begin(_READ, block * _BLOCK_SIZE + offset)
        self._spi.readinto(buf)
        self._select(1)
        return 0

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Program `buf` at `offset` in `block`, a page at a time; -5: the chip stays busy."""
        view = memoryview(buf)
        address = block * _BLOCK_SIZE + offset
        done = 0
        while done < len(buf):
            size = min(len(buf) - done, PAGE - (address + done) % PAGE)
            if not self._change(_PROGRAM, address + done, view[done : done + size]):
                return _EIO
            done += size
        return 0

    def ioctl(self, operation: int, argument: int) -> int:
        """Answer littlefs: 4 the number of blocks, 5 their size, 6 erase one."""
        if operation == 4:
            return self.blocks
        if operation == 5:
            return _BLOCK_SIZE
        if operation == 6 and not self._is_fram:
            return 0 if self._change(_ERASE, argument * _BLOCK_SIZE) else _EIO
        return 0

    def _change(self, command: int, address: int, data: "memoryview | None" = None) -> bool:
        """Program or erase, and wait until it is done; false: it never ends."""
        self._begin(_ALLOW)
        self._select(1)
        self._begin(command, address)
        if data is not None:
            self._spi.write(data)
        self._select(1)
        if self._is_fram:
            return True
        for _ in range(_POLLS):
            self._begin(_STATUS)
            self._spi.readinto(self._one)
            self._select(1)
            if not self._one[0] & 1:
                return True
        return False

    def _begin(self, command: int, address: int = -1) -> None:
        """Select the chip and send a command, with an address unless it is -1."""
        self._select(0)
        if address < 0:
            self._one[0] = command
            self._spi.write(self._one)
            return
        self._command[0] = command
        self._command[1] = address >> 16 & 0xFF
        self._command[2] = address >> 8 & 0xFF
        self._command[3] = address & 0xFF
        self._spi.write(self._command)
