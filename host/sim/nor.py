"""Block devices for littlefs whose power may fail: memory, and NOR flash as a chip behaves.

What memory does not do and NOR flash does:

- a program only clears bits: each byte becomes what it was, and what is programmed;
- a program stays inside its page. A chip whose driver always sends whole pages, as that of the
  RP2040, sends what stands behind a shorter buffer as well; what begins inside a page goes on at
  the beginning of that page;
- only a whole sector can be erased. Erasing that is cut off leaves some bits at 1, some as before;
- a block can be bad, in one of the five ways that littlefs' own tests have;
- a block that is read again and again loses a bit now and then.

The module runs on CPython and on MicroPython, whose littlefs the power-cut tests drive.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

# How the operation at which the power fails ends: nothing is done, its first half, or its first
# half and a part of the bits behind it.
TEARS = ("nothing", "half", "noise")

# A bad block: its operation reports an error, or does nothing and says that it did.
PROGRAM_ERROR = "program error"
ERASE_ERROR = "erase error"
READ_ERROR = "read error"
PROGRAM_IGNORED = "program ignored"
ERASE_IGNORED = "erase ignored"
BAD = (PROGRAM_ERROR, ERASE_ERROR, READ_ERROR, PROGRAM_IGNORED, ERASE_IGNORED)

BLOCK_SIZE = 4096
PAGE = 256

# What littlefs takes as a block to be left aside, as a fault of the device, as a misuse.
_CORRUPT = -84
_EIO = -5
_EINVAL = -22


class PowerCut(BaseException):
    """The power is gone. No error of the flash: nothing that runs may catch it."""


class Memory:
    """A block device on `data`, whole sectors of it: what is written replaces what was there.

    blocks      as the device tells; at first all of `data`
    operations  writes and erasures begun so far
    programmed  bytes, as erased
    fails       changes are errors, as reads are with `reads_fail`
    """

    page = 128

    def __init__(self, data: bytearray, cut_at: int = -1, tear: str = "nothing") -> None:
        """`cut_at`: the operation, from 0, that is not completed; -1: none."""
        self.data = data
        self.blocks = len(data) // BLOCK_SIZE
        self.operations = self.programmed = self.erased = 0
        self.fails = False
        self.reads_fail = False
        # What is collected after the cut is closed, and must find nothing to write to.
        self._dead = False
        self._cut_at = cut_at
        self._tear = tear

    def cut_after(self, operations: int, tear: str) -> None:
        """Have the power fail after so many more operations."""
        self._cut_at = self.operations + operations
        self._tear = tear

    @property
    def is_to_be_cut(self) -> bool:
        """Return whether a cut of the power is planned that has not come."""
        return self.operations <= self._cut_at

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Fill `buf` from `offset` in `block`."""
        if self.reads_fail or self._dead:
            return _EIO
        start = block * BLOCK_SIZE + offset
        buf[:] = memoryview(self.data)[start : start + len(buf)]
        return 0

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Program `buf` at `offset` in `block`."""
        if self.fails or self._dead:
            return _EIO
        self._program(block * BLOCK_SIZE + offset, bytes(buf), self._allowed(len(buf)))
        self.programmed += len(buf)
        self._count()
        return 0

    def ioctl(self, operation: int, argument: int) -> int:
        """Answer littlefs: 4 the number of blocks, 5 their size, 6 erase one."""
        if operation == 4:
            return self.blocks
        if operation == 5:
            return BLOCK_SIZE
        if operation != 6:
            return 0
        return _EIO if self.fails or self._dead else self._erase(argument)

    def _program(self, at: int, data: bytes, allowed: int) -> None:
        """Write the first `allowed` bytes of `data`; with fewer than all the power goes."""
        self.data[at : at + allowed] = data[:allowed]
        if allowed < len(data) and self._tear == "noise":
            self.data[at + allowed] = data[allowed] & 0x5A

    def _erase(self, block: int) -> int:
        """Make all bits of the block 1, or of its first part if the power goes."""
        start = block * BLOCK_SIZE
        size = self._allowed(BLOCK_SIZE)
        self.data[start : start + size] = b"\xff" * size
        self.erased += size
        self._count()
        return 0

    def _allowed(self, size: int) -> int:
        """Return how many bytes of this operation are done."""
        if self.operations != self._cut_at:
            return size
        return 0 if self._tear == "nothing" else size // 2

    def _count(self) -> None:
        self.operations += 1
        if self.operations - 1 == self._cut_at:
            self._dead = True
            raise PowerCut


class Nor(Memory):
    """A NOR flash on `data`.

    unaligned   programs that did not fill whole pages
    erasures    of each block
    disturbed   bits that reading has turned
    bad         block -> how it is bad
    """

    page = PAGE

    def __init__(
        self,
        data: bytearray,
        cut_at: int = -1,
        tear: str = "nothing",
        page: int = PAGE,
        refuses: bool = False,
        disturb_reads: int = 0,
    ) -> None:
        """`refuses`: an unaligned program is an error, instead of spoiling its page.

        `disturb_reads`: so many reads of a block turn a bit, 0: none does.
        """
        super().__init__(data, cut_at, tear)
        self.page = page
        self.unaligned = self.disturbed = 0
        self.erasures = [0] * self.blocks
        self.bad: dict[int, str] = {}
        self._refuses = refuses
        self._disturb_reads = disturb_reads
        self._reads = [0] * self.blocks
        self._noise = 1

    def restarted(self) -> "Self":
        """Return the same chip after the power came back."""
        told = self.page, self._refuses, self._disturb_reads
        chip = type(self)(self.data, -1, "nothing", *told)
        chip.bad = self.bad
        chip.erasures = self.erasures
        chip._reads = self._reads
        return chip

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Fill `buf` from `offset` in `block`, which is one more read of the block."""
        if self.bad.get(block) == READ_ERROR:
            return _CORRUPT
        if self._disturb_reads:
            self._reads[block] += 1
            if self._reads[block] >= self._disturb_reads:
                self._reads[block] = 0
                self.disturb(block)
        return super().readblocks(block, buf, offset)

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Program `buf` at `offset` in `block`, or what a bad block does instead."""
        kind = self.bad.get(block)
        if kind == PROGRAM_ERROR:
            return _CORRUPT
        if offset % self.page or len(buf) % self.page:
            self.unaligned += 1
            if self._refuses:
                return _EINVAL
        if kind == PROGRAM_IGNORED and not (self.fails or self._dead):
            self._count()
            return 0
        return super().writeblocks(block, buf, offset)

    def disturb(self, block: int) -> None:
        """Clear a bit of the block, as too many reads do."""
        self.disturbed += 1
        at = block * BLOCK_SIZE + (self._random() << 4 | self._random() & 15)
        self.data[at] &= 0xFF ^ 1 << (self._random() & 7)

    def _program(self, at: int, data: bytes, allowed: int) -> None:
        """Clear bits from `at` on, in whole pages; of `allowed` bytes, then the power goes."""
        page = self.page
        for start in range(0, len(data), page):
            part = data[start : start + page]
            # The driver sends a whole page, whatever stands behind the buffer.
            part += bytes(self._random() for _ in range(page - len(part)))
            count = min(max(allowed - start, 0), page) if allowed < len(data) else page
            base = (at + start) // page * page
            if count == page and base == at + start:
                self._clear(base, part)
                continue
            for index in range(count):
                self.data[base + (at + start + index) % page] &= part[index]
            if count < page:
                if self._tear == "noise":
                    self.data[base + (at + start + count) % page] &= part[count] | 0x5A
                return

    def _clear(self, base: int, part: bytes) -> None:
        """AND a whole page at once: byte by byte takes most of the time of a sweep."""
        old = int.from_bytes(self.data[base : base + len(part)], "little")
        new = old & int.from_bytes(part, "little")
        self.data[base : base + len(part)] = new.to_bytes(len(part), "little")

    def _erase(self, block: int) -> int:
        """Make all bits 1; an erase that is cut off leaves some at 1 and some as before."""
        kind = self.bad.get(block)
        if kind == ERASE_ERROR:
            return _CORRUPT
        if kind == ERASE_IGNORED:
            self._count()
            return 0
        self.erasures[block] += 1
        self._reads[block] = 0
        start = block * BLOCK_SIZE
        size = self._allowed(BLOCK_SIZE)
        if size < BLOCK_SIZE and self._tear == "noise":
            for at in range(start + size, start + BLOCK_SIZE):
                self.data[at] |= self._random()
        return super()._erase(block)

    def _random(self) -> int:
        """A byte, the same ones in every run."""
        self._noise = (self._noise * 1103515245 + 12345) & 0x3FFFFFFF
        return self._noise >> 16 & 0xFF
