"""The flash of a world as a real board has it: the product's files on littlefs on a NOR chip.

A power cut comes in the middle of a program or of an erase of the chip, torn in one of three ways;
blocks are bad in the five ways of host/sim/nor.py from the day the board was made. What a world
asks of its storage otherwise is that of host/sim/storage.py: operations that fail, bits that turn.
"""

from collections.abc import Callable
from random import Random

from boards.littlefs import LittleStorage, open_filesystem

from host.sim import nor
from host.sim.storage import NOT_THERE, UNREADABLE, PowerCut, Storage

_BLOCKS = 512
# Of all blocks but the two with littlefs' superblock.
_BAD_SHARE = 0.02
# A change of a file takes some changes of the chip; a cut comes in one of so many.
_WITHIN = 12


class NorStorage(Storage):
    """Files by name on `chip`; `content` is what littlefs reads of them."""

    def __init__(self, random: Random, chip: nor.Nor | None = None) -> None:
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

    def turn_bit(self, name: str, bit: int) -> None:
        """Turn one bit of what is stored in a file."""
        super().turn_bit(name, bit)
        self._files.replace(name, self.content[name], len(self.content[name]))

    def blocks(self) -> tuple[int, int]:
        """Return how many blocks there are, and how many are free."""
        return self._files.blocks()

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
        self._files = LittleStorage(open_filesystem(self.chip, self.chip.page, is_new))
        found = {name: self._read(name) for name in self._files.names("") or ()}
        self.content = {name: data for name, data in found.items() if data is not None}

    def _look_at(self, name: str) -> None:
        """Have `content` say what littlefs has under this name."""
        data = self._read(name)
        if data is None:
            self.content.pop(name, None)
        else:
            self.content[name] = data

    def _read(self, name: str) -> bytes | None:
        size = self._files.size(name)
        if size == NOT_THERE:
            return None
        buf = bytearray(max(size, 0))
        count = self._files.read_into(name, 0, buf, len(buf)) if size >= 0 else UNREADABLE
        if count != size:
            raise ValueError(f"{name}: littlefs reads {count} bytes of {size}")
        return bytes(buf)


def new_chip(random: Random) -> nor.Nor:
    """Return a blank chip with some bad blocks."""
    chip = nor.Nor(bytearray(b"\xff" * (_BLOCKS * nor.BLOCK_SIZE)))
    for block in random.sample(range(2, _BLOCKS), int(_BLOCKS * _BAD_SHARE)):
        chip.bad[block] = random.choice(nor.BAD)
    return chip
