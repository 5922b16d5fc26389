"""The flash of a world as a real board has it: the product's files on littlefs on a NOR chip.

A power cut comes in the middle of a program or of an erase of the chip, torn in one of three ways;
blocks are bad in the five ways of host/sim/nor.py from the day the board was made, and in a block
that is read often a bit turns now and then. What a world
asks of its storage otherwise is that of host/sim/storage.py: operations that fail, bits that turn.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from boards import BoardError
from boards.littlefs import LittleStorage, open_filesystem

from host.sim import nor
from host.sim.storage import NOT_THERE, UNREADABLE, PowerCut, Storage

_BLOCKS = 512
# Of all blocks but the two with littlefs' superblock.
_BAD_SHARE = 0.02
# A change of a file takes some changes of the chip; a cut comes in one of so many.
_WITHIN = 12
# Reads of a block after which reading turns a bit there, fewest and most. A chip bears a million
# of them, and a board reads it for years.
_DISTURB_READS = (4, 24)


class Chip(nor.Nor):
    """A chip of which the world says when a bit turns: `worn` are the blocks read too often."""

    def __init__(self, *of: Any, **more: Any) -> None:
        super().__init__(*of, **more)
        self.worn: set[int] = set()

    def disturb(self, block: int) -> None:
        """Note that a bit of the block may turn now."""
        self.worn.add(block)


class NorStorage(Storage):
    """Files by name on `chip`; `content` is what littlefs reads of them."""

    def __init__(self, random: Random, chip: Chip | None = None) -> None:
        super().__init__(random=random)
        is_new = chip is None
        self.chip = chip or new_chip(random)
        self._open_files(is_new)

    def reopened(self) -> "NorStorage":
        """Return the same flash after a restart, as littlefs finds it."""
        storage = NorStorage(self.random, self.chip.restarted())
        storage.faults = self.faults
        storage.counters = self.counters
        return storage

    def spoil(self, random: Random, may_be: Callable[[str, Storage], bool]) -> str:
        """Turn a bit of each block that was read too often, until a file has one; return its name.

        "" says that no file has one: littlefs refuses spoilt tables of its own, and no board would
        start again, so none of their bits turns.
        """
        worn = sorted(self.chip.worn)
        random.shuffle(worn)
        while worn and not self._open_name:
            block = worn.pop()
            self.chip.worn.remove(block)
            name = self._spoil_block(block, random, may_be)
            if name:
                return name
        return ""

    def _spoil_block(
        self, block: int, random: Random, may_be: Callable[[str, Storage], bool]
    ) -> str:
        """Turn a bit of one block if it may be; return the file that has it, "": none."""
        data = self.chip.data
        start = block * nor.BLOCK_SIZE
        # A bit of a byte that nothing was written to would spoil nothing.
        written = [at for at in range(start, start + nor.BLOCK_SIZE) if data[at] != 0xFF]
        at = random.choice(written or [start])
        before = data[at]
        data[at] &= 0xFF ^ 1 << random.randrange(8)
        spoilt = Storage(self._as_restarted())
        if spoilt.content == self.content:
            return ""
        name = _with_one_bit_less(self.content, spoilt.content)
        if name and may_be(name, spoilt):
            self.content = spoilt.content
            return name
        data[at] = before
        return ""

    def _as_restarted(self) -> dict[str, bytes]:
        """Return the files that a start would find now; {} if it would find none."""
        chip = nor.Nor(self.chip.data, page=self.chip.page)
        chip.bad = self.chip.bad
        try:
            return _content(_mounted(chip))
        except (BoardError, ValueError):
            return {}

    def blocks(self) -> tuple[int, int]:
        """Return how many blocks there are, and how many are free."""
        return self._files.blocks()

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Read up to `size` bytes at `offset`; return how many, NOT_THERE or UNREADABLE."""
        count = super().read_into(name, offset, buf, size)
        return count if count < 0 else self._files.read_into(name, offset, buf, size)

    def append(self, name: str, buf: bytes | bytearray | memoryview, size: int) -> bool:
        """Add the first `size` bytes of `buf`; false: they do not count."""
        return self._change("append", name, lambda: self._files.append(name, buf, size))

    def replace(self, name: str, buf: bytes | bytearray | memoryview, size: int) -> bool:
        """Give the file the first `size` bytes of `buf`; false: it has the old ones."""
        return self._change("replace", name, lambda: self._files.replace(name, buf, size))

    def remove(self, name: str) -> bool:
        """Delete the file; false: it is still there."""
        return self._change("remove", name, lambda: self._files.remove(name))

    def begin(self, name: str) -> bool:
        """Start a file that is written across steps."""
        self.give_up()
        self._open_name = name
        if self._change("put", name, lambda: self._files.begin(name)):
            return True
        self._open_name = ""
        return False

    def put(self, buf: bytes | bytearray | memoryview, size: int) -> bool:
        """Add bytes to the file that was begun; false: it is given up."""
        name = self._open_name
        if name and self._change("put", name, lambda: self._files.put(buf, size)):
            return True
        self.give_up()
        return False

    def finish(self) -> bool:
        """Close the file that was begun; true once it would survive a cut."""
        name = self._open_name
        if name and self._change("put", name, self._files.finish):
            self._open_name = ""
            return True
        self.give_up()
        return False

    def give_up(self) -> None:
        """Delete the file that was begun, if there is one."""
        name, self._open_name = self._open_name, ""
        if name:
            self._files.give_up()
            self._look_at(name)

    def _change(self, operation: str, name: str, act: Callable[[], bool]) -> bool:
        """Do a change unless it is to fail; PowerCut when the power goes in it."""
        if self._begins(name):
            self.chip.cut_after(
                self._kept_percent % _WITHIN, nor.TEARS[self._kept_percent % len(nor.TEARS)]
            )
        elif self._change_fails(operation):
            return False
        is_cut = self.chip.is_to_be_cut
        try:
            done = act()
        except nor.PowerCut:
            done = False
        if is_cut:
            # With fewer changes of the chip than that, the power goes behind the last.
            self.chip = self.chip.restarted()
            self._open_name = ""
            self._open_files(False)
            self.counters["power_cut"] += 1
            raise PowerCut(f"in change {self.changes} of the storage, of {name}")
        self._look_at(name)
        return done

    def _open_files(self, is_new: bool) -> None:
        """Mount the chip, made new if it is, and have `content` say what is on it."""
        self._files = _mounted(self.chip, is_new)
        self.content = _content(self._files)

    def _look_at(self, name: str) -> None:
        """Have `content` say what littlefs has under this name."""
        data = _read(self._files, name)
        if data is None:
            self.content.pop(name, None)
        else:
            self.content[name] = data


def _mounted(chip: nor.Nor, is_new: bool = False) -> LittleStorage:
    """Return the files on `chip`, made there first if it is new."""
    return LittleStorage(open_filesystem(chip, chip.page, is_new))


def _content(files: LittleStorage) -> dict[str, bytes]:
    found = {name: _read(files, name) for name in files.names("") or ()}
    return {name: data for name, data in found.items() if data is not None}


def _read(files: LittleStorage, name: str) -> bytes | None:
    size = files.size(name)
    if size == NOT_THERE:
        return None
    buf = bytearray(max(size, 0))
    count = files.read_into(name, 0, buf, len(buf)) if size >= 0 else UNREADABLE
    if count != size:
        raise ValueError(f"{name}: littlefs reads {count} bytes of {size}")
    return bytes(buf)


def _with_one_bit_less(before: dict[str, bytes], after: dict[str, bytes]) -> str:
    """Return the name of the only file that differs, by one bit that is cleared; "": none."""
    if before.keys() != after.keys():
        return ""
    changed = [name for name in before if before[name] != after[name]]
    if len(changed) != 1 or len(before[changed[0]]) != len(after[changed[0]]):
        return ""
    old, new = (int.from_bytes(files[changed[0]]) for files in (before, after))
    return changed[0] if old & new == new and (old ^ new).bit_count() == 1 else ""


def new_chip(random: Random) -> Chip:
    """Return a blank chip with some bad blocks, and a count of reads that a block bears."""
    data = bytearray(b"\xff" * (_BLOCKS * nor.BLOCK_SIZE))
    chip = Chip(data, disturb_reads=random.randint(*_DISTURB_READS))
    for block in random.sample(range(2, _BLOCKS), int(_BLOCKS * _BAD_SHARE)):
        chip.bad[block] = random.choice(nor.BAD)
    return chip
