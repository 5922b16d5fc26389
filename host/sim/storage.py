"""Flash in memory that loses power: what the firmware's `ports.Storage` promises and no more.

Changes (append, replace, remove) are counted. A cut planned for one of them raises PowerCut there
and leaves what the port allows: of `replace` and `remove` all or nothing, of `append` any part of
the new bytes. `content` is what survives: a new storage of it is the device after the restart.

A file takes whole blocks. Without room, and while an operation is named in `failing`, the answer
is the failure the port has for it, and nothing has changed.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

NAME_LIMIT = 16
BLOCK_SIZE = 4096


class PowerCut(Exception):
    """The power went, in the middle of a change; the device is gone, `content` remains."""


@dataclass(frozen=True)
class StorageFaults:
    """How likely each operation fails, 0 to 1, leaving everything as it was.

    torn_append     an append fails and leaves any part of its bytes, all of them at worst
    """

    read: float = 0.0
    append: float = 0.0
    torn_append: float = 0.0
    replace: float = 0.0
    remove: float = 0.0


@dataclass
class Storage:
    """Files by name.

    blocks      room for this many blocks, 0: no limit
    failing     names of operations that fail now: read, append, replace, remove
    changes     appends, replacements and removals begun so far
    counters    each operation, and each that failed as `append_failed`
    """

    content: dict[str, bytes] = field(default_factory=dict)
    blocks: int = 0
    faults: StorageFaults = StorageFaults()
    random: Random = field(default_factory=lambda: Random(0))
    failing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.changes = 0
        self.counters: Counter[str] = Counter()
        self._cut_at = -1
        self._kept_percent = 0

    def plan_cut(self, after: int, kept_percent: int) -> None:
        """Cut the power in the change that comes after `after` more.

        `kept_percent` of an append's bytes stay; a replacement or removal is done from 50 on.
        """
        self._cut_at = self.changes + after
        self._kept_percent = kept_percent

    def reopened(self) -> "Storage":
        """The same flash after a restart, without a cut planned; counters go on."""
        storage = Storage(dict(self.content), self.blocks, self.faults, self.random)
        storage.counters = self.counters
        return storage

    @property
    def used_blocks(self) -> int:
        """Blocks taken by all files."""
        return sum(_blocks(len(data)) for data in self.content.values())

    # --- the port ------------------------------------------------------------------------------

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Read up to `size` bytes at `offset`; return how many."""
        _check(name)
        if self._fails("read"):
            return 0
        data = self.content.get(name, b"")[offset : offset + size]
        buf[: len(data)] = data
        return len(data)

    def append(self, name: str, buf: bytes | bytearray | memoryview, size: int) -> bool:
        """Add the first `size` bytes of `buf`; false: they do not count, wherever they end."""
        old = self.content.get(name, b"")
        new = old + bytes(buf[:size])
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
        new = bytes(buf[:size])
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

    def names(self, prefix: str) -> list[str]:
        """Names that begin with `prefix`, in order."""
        return sorted(name for name in self.content if name.startswith(prefix))

    def size(self, name: str) -> int:
        """Bytes in the file, -1 without one."""
        return len(self.content[name]) if name in self.content else -1

    # --- trouble -------------------------------------------------------------------------------

    def _begins(self, name: str) -> bool:
        """Count a change; true when the power goes in it."""
        _check(name)
        self.changes += 1
        return self.changes - 1 == self._cut_at

    def _ends(self, operation: str, name: str, new: bytes | None) -> bool:
        if self._fails(operation):
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

    def _has_room(self, name: str, new: bytes | None) -> bool:
        if not self.blocks or new is None:
            return True
        old = self.content.get(name)
        before = 0 if old is None else _blocks(len(old))
        return self.used_blocks - before + _blocks(len(new)) <= self.blocks

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
