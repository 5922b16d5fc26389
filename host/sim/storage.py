"""Flash in memory that loses power: what the firmware's `ports.Storage` promises and no more.

Changes (append, replace, remove, begin, put, finish) are counted. A cut planned for one of them
raises PowerCut there and leaves what the port allows: of `replace` and `remove` all or nothing, of
`append` and of the file between `begin` and `finish` any part of the new bytes. `content` is what
survives: a new storage of it is the device after the restart.

A file takes whole blocks. Without room, and while an operation is named in `failing`, the answer
is the failure the port has for it, and nothing has changed. Looks (read, names, size) are counted
as well: `plan_look_failure` has one of them fail, or all from it on, as `plan_change_failure` does
with changes. `turn_bit` spoils what is stored without a word, as flash does.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

NAME_LIMIT = 17
BLOCK_SIZE = 4096
# What reads answer instead of a count.
NOT_THERE = -1
UNREADABLE = -2
# The blocks of a flash that is given no other size: 4 MiB.
UNLIMITED_BLOCKS = 1024


class PowerCut(Exception):
    """The power went, in the middle of a change; the device is gone, `content` remains."""


@dataclass(frozen=True)
class StorageFaults:
    """How likely each operation fails, 0 to 1, leaving everything as it was.

    torn_append     an append fails and leaves any part of its bytes, all of them at worst
    put             also of `begin` and `finish`
    """

    read: float = 0.0
    names: float = 0.0
    size: float = 0.0
    append: float = 0.0
    torn_append: float = 0.0
    replace: float = 0.0
    remove: float = 0.0
    put: float = 0.0


@dataclass
class Storage:
    """Files by name.

    limit_blocks    room for this many blocks, 0: no limit
    failing         names of operations that fail now: those that StorageFaults has
    changes         changes begun so far
    looks           reads, listings and sizes asked for so far
    counters        each operation, and each that failed as `append_failed`
    """

    content: dict[str, bytes] = field(default_factory=dict)
    limit_blocks: int = 0
    faults: StorageFaults = StorageFaults()
    random: Random = field(default_factory=lambda: Random(0))
    failing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.changes = 0
        self.looks = 0
        self.counters: Counter[str] = Counter()
        self._cut_at = -1
        self._kept_percent = 0
        self._look_fails_at = -1
        self._looks_fail_on = False
        self._change_fails_at = -1
        self._changes_fail_on = False
        # The file between `begin` and `finish`: its name, and its bytes so far.
        self._open_name = ""
        self._open = b""

    def plan_cut(self, after: int, kept_percent: int) -> None:
        """Cut the power in the change that comes after `after` more.

        `kept_percent` of an append's bytes stay; a replacement or removal is done from 50 on.
        """
        self._cut_at = self.changes + after
        self._kept_percent = kept_percent

    def plan_look_failure(self, after: int, stays: bool = False) -> None:
        """Have the look that comes after `after` more fail; `stays`: all behind it too."""
        self._look_fails_at = self.looks + after
        self._looks_fail_on = stays

    def plan_change_failure(self, after: int, stays: bool = False) -> None:
        """Have the change that comes after `after` more fail; `stays`: all behind it too."""
        self._change_fails_at = self.changes + after
        self._changes_fail_on = stays

    @property
    def fails_for_ever(self) -> bool:
        """Return whether a planned failure has begun; it lasts until the flash is reopened."""
        if not self._looks_fail_on and not self._changes_fail_on:
            return False
        looks = self._looks_fail_on and self.looks > self._look_fails_at
        return looks or (self._changes_fail_on and self.changes > self._change_fails_at)

    def calm(self) -> None:
        """Let nothing fail any more that was planned, named or drawn."""
        self.faults = StorageFaults()
        self.failing.clear()
        self._cut_at = self._look_fails_at = self._change_fails_at = -1
        self._looks_fail_on = self._changes_fail_on = False

    def turn_bit(self, name: str, bit: int) -> None:
        """Turn one bit of what is stored in a file."""
        data = bytearray(self.content[name])
        data[bit // 8] ^= 1 << bit % 8
        self.content[name] = bytes(data)

    def spoil(self, random: Random, may_be: Callable[[str, "Storage"], bool]) -> str:
        """Turn a bit of any file if `may_be` agrees; return the file's name, "": none.

        `may_be` is told the name, and the storage as it would be.
        """
        name = random.choice(sorted(self.content))
        if not self.content[name]:
            return ""
        bit = random.randrange(8 * len(self.content[name]))
        spoilt = Storage(dict(self.content))
        spoilt.turn_bit(name, bit)
        if not may_be(name, spoilt):
            return ""
        self.turn_bit(name, bit)
        return name

    def reopened(self) -> "Storage":
        """Return the same flash after a restart, without a cut planned; counters go on."""
        storage = Storage(dict(self.content), self.limit_blocks, self.faults, self.random)
        storage.counters = self.counters
        return storage

    @property
    def used_blocks(self) -> int:
        """Return how many blocks all files take."""
        used = sum(_blocks(len(data)) for data in self.content.values())
        # An empty file has a block already, as one that was begun has.
        return used + _blocks(len(self._open)) - 1 if self._open_name else used

    # --- the port ------------------------------------------------------------------------------

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Read up to `size` bytes at `offset`; return how many, NOT_THERE or UNREADABLE."""
        _check(name)
        if self._look_fails("read"):
            return UNREADABLE
        if name not in self.content:
            return NOT_THERE
        data = self.content[name][offset : offset + size]
        buf[: len(data)] = data
        return len(data)

    def append(self, name: str, buf: bytes | bytearray | memoryview, size: int) -> bool:
        """Add the first `size` bytes of `buf`; false: they do not count, wherever they end."""
        old = self.content.get(name, b"")
        new = old + bytes(buf)[:size]
        if self._begins(name):
            kept_size = size * self._kept_percent // 100
            self._lose_power(name, new[: len(old) + kept_size])
        chance = self.faults.torn_append
        if chance > 0 and self.random.random() < chance:
            self.counters["append_torn"] += 1
            part = new[: len(old) + self.random.randrange(size + 1)]
            if self._has_room(name, part):
                self._put(name, part)
            return False
        return self._ends("append", name, new)

    def replace(self, name: str, buf: bytes | bytearray | memoryview, size: int) -> bool:
        """Give the file the first `size` bytes of `buf`; false: it has the old ones."""
        new = bytes(buf)[:size]
        if self._begins(name):
            done = self._kept_percent >= 50
            self._lose_power(name, new if done else self.content.get(name))
        return self._ends("replace", name, new)

    def remove(self, name: str) -> bool:
        """Delete the file; false: it is still there."""
        if self._begins(name):
            done = self._kept_percent >= 50
            self._lose_power(name, None if done else self.content.get(name))
        return self._ends("remove", name, None)

    def names(self, prefix: str) -> list[str] | None:
        """Return names that begin with `prefix`, in order; None: the flash did not tell."""
        if self._look_fails("names"):
            return None
        return sorted(name for name in self.content if name.startswith(prefix))

    def size(self, name: str) -> int:
        """Return bytes in the file, NOT_THERE or UNREADABLE."""
        if self._look_fails("size"):
            return UNREADABLE
        return len(self.content[name]) if name in self.content else NOT_THERE

    def blocks(self) -> tuple[int, int]:
        """Return how many blocks there are, and how many are free."""
        total = self.limit_blocks or UNLIMITED_BLOCKS
        return total, max(0, total - self.used_blocks)

    def begin(self, name: str) -> bool:
        """Start a file that is written across steps."""
        self.give_up()
        if self._begins(name):
            self._lose_power(name, b"" if self._kept_percent else self.content.get(name))
        self.content.pop(name, None)
        if not self._ends("put", name, b""):
            return False
        self._open_name = name
        self._open = b""
        return True

    def put(self, buf: bytes | bytearray | memoryview, size: int) -> bool:
        """Add bytes to the file that was begun; false: it is given up."""
        name = self._open_name
        if not name:
            return False
        new = self._open + bytes(buf)[:size]
        if self._begins(name):
            self._lose_power(name, new[: len(new) * self._kept_percent // 100])
        grown_blocks = _blocks(len(new)) - _blocks(len(self._open))
        if self._change_fails("put") or (grown_blocks and grown_blocks > self.blocks()[1]):
            self.give_up()
            return False
        self._open = new
        return True

    def finish(self) -> bool:
        """Close the file that was begun; true once it would survive a cut."""
        name, new = self._open_name, self._open
        if not name:
            return False
        self._open_name, self._open = "", b""
        if self._begins(name):
            self._lose_power(name, new[: len(new) * self._kept_percent // 100])
        if self._ends("put", name, new):
            return True
        self.content.pop(name, None)
        return False

    def give_up(self) -> None:
        """Delete the file that was begun, if there is one."""
        if self._open_name:
            self.content.pop(self._open_name, None)
        self._open_name, self._open = "", b""

    # --- trouble -------------------------------------------------------------------------------

    def _begins(self, name: str) -> bool:
        """Count a change; true when the power goes in it."""
        _check(name)
        self.changes += 1
        return self.changes - 1 == self._cut_at

    def _ends(self, operation: str, name: str, new: bytes | None) -> bool:
        if self._change_fails(operation):
            return False
        if not self._has_room(name, new):
            self.counters["full"] += 1
            return False
        self._put(name, new)
        return True

    def _fails(self, operation: str) -> bool:
        self.counters[operation] += 1
        chance: float = getattr(self.faults, operation)
        fails = operation in self.failing or (chance > 0 and self.random.random() < chance)
        if fails:
            self.counters[f"{operation}_failed"] += 1
        return fails

    def _change_fails(self, operation: str) -> bool:
        return self._fails(operation) or self._was_planned(
            operation, self.changes - 1, self._change_fails_at, self._changes_fail_on
        )

    def _look_fails(self, operation: str) -> bool:
        self.looks += 1
        return self._fails(operation) or self._was_planned(
            operation, self.looks - 1, self._look_fails_at, self._looks_fail_on
        )

    def _was_planned(self, operation: str, at: int, planned: int, stays: bool) -> bool:
        if at != planned and not (stays and at > planned >= 0):
            return False
        self.counters[f"{operation}_failed"] += 1
        return True

    def _has_room(self, name: str, new: bytes | None) -> bool:
        if not self.limit_blocks or new is None:
            return True
        old = self.content.get(name)
        before = 0 if old is None else _blocks(len(old))
        return self.used_blocks - before + _blocks(len(new)) <= self.limit_blocks

    def _lose_power(self, name: str, left: bytes | None) -> None:
        if self._has_room(name, left):
            self._put(name, left)
        self.counters["power_cut"] += 1
        raise PowerCut(f"in change {self.changes} of the storage, of {name}")

    def _put(self, name: str, data: bytes | None) -> None:
        if data is None:
            self.content.pop(name, None)
        else:
            self.content[name] = data


def _blocks(size: int) -> int:
    return max(1, -(-size // BLOCK_SIZE))


def _check(name: str) -> None:
    if not 0 < len(name) <= NAME_LIMIT or "/" in name:
        raise ValueError(f"{name!r} is no name of a file: at most {NAME_LIMIT} characters, no /")
