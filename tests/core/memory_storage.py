"""Keep files in memory behind the interface `ports.Storage`, on every interpreter, with a few
faults."""

from ports import NOT_THERE, UNREADABLE

BLOCKS = 1024


class PowerCut(Exception):
    """The device lost its power in a change of the flash."""


class Storage:
    """The files are in memory. The power fails at change `cut`, counted from now; `kept_percent`
    stays.

    failing     changes fail; only those of files with this beginning of the name
    full        new data is refused
    look_fails  the look (read, listing, size) of this number fails, counted by `looks`
    looks_fail  every look from that one on fails
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut = -1
        self.kept_percent = 0
        self.failing = ""
        self.full = False
        self.total_blocks = BLOCKS
        self.changes = 0
        self.looks = 0
        self.look_fails = 0
        self.looks_fail = False
        self._name = ""
        self._open = b""

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Read bytes of a file."""
        if self._look():
            return UNREADABLE
        if name not in self.files:
            return NOT_THERE
        part = self.files[name][offset : offset + size]
        buf[: len(part)] = part
        return len(part)

    def append(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Add bytes to a file."""
        old = self.files.get(name, b"")
        if self._cuts():
            self.files[name] = old + bytes(buf[: size * self.kept_percent // 100])
            raise PowerCut
        if self.full or self._fails(name):
            return False
        self.files[name] = old + bytes(buf[:size])
        return True

    def replace(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Replace the file."""
        cuts = self._cuts()
        if self.full or self._fails(name):
            return False
        if not cuts or self.kept_percent >= 50:
            self.files[name] = bytes(buf[:size])
        if cuts:
            raise PowerCut
        return True

    def remove(self, name: str) -> bool:
        """Delete a file."""
        cuts = self._cuts()
        if self._fails(name):
            return False
        if name in self.files and (not cuts or self.kept_percent >= 50):
            del self.files[name]
        if cuts:
            raise PowerCut
        return True

    def names(self, prefix: str) -> "list[str] | None":
        """Return the names in order."""
        if self._look():
            return None
        return sorted([name for name in self.files if name.startswith(prefix)])

    def size(self, name: str) -> int:
        """Return the size in bytes."""
        if self._look():
            return UNREADABLE
        return len(self.files[name]) if name in self.files else NOT_THERE

    def blocks(self) -> "tuple[int, int]":
        """Return the number of blocks, and of free ones: every file has one."""
        return self.total_blocks, 0 if self.full else self.total_blocks - len(self.files)

    def begin(self, name: str) -> bool:
        """Start a file that is written across steps."""
        self.give_up()
        cuts = self._cuts()
        if self.full or self._fails(name):
            return False
        self.files[name] = b""
        if cuts:
            raise PowerCut
        self._name = name
        self._open = b""
        return True

    def put(self, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Add bytes to the begun file."""
        name = self._name
        if not name:
            return False
        self._open += bytes(buf)[:size]
        if self._cuts():
            self.files[name] = self._open[: len(self._open) * self.kept_percent // 100]
            raise PowerCut
        if self.full or self._fails(name):
            self.give_up()
            return False
        return True

    def finish(self) -> bool:
        """Close the begun file."""
        name = self._name
        self._name = ""
        if not name:
            return False
        if self._cuts():
            self.files[name] = self._open[: len(self._open) * self.kept_percent // 100]
            raise PowerCut
        if self.full or self._fails(name):
            del self.files[name]
            return False
        self.files[name] = self._open
        return True

    def give_up(self) -> None:
        """Delete the begun file."""
        if self._name:
            del self.files[self._name]
        self._name = ""

    def turn_bit(self, name: str, bit: int) -> None:
        """Turn one stored bit."""
        data = bytearray(self.files[name])
        data[bit >> 3] ^= 1 << (bit & 7)
        self.files[name] = bytes(data)

    def _look(self) -> bool:
        self.looks += 1
        if self.looks_fail:
            return self.looks >= self.look_fails
        return self.looks == self.look_fails

    def _cuts(self) -> bool:
        self.changes += 1
        self.cut -= 1
        if self.cut == -1:
            self._name = ""  # no file is open after a restart
        return self.cut == -1

    def _fails(self, name: str) -> bool:
        return self.failing != "" and name.startswith(self.failing)
