"""Storage on littlefs: one folder of a `VfsLfs2`, mounted or not, on any block device.

littlefs makes a file durable when it is closed, and a rename all or nothing, so each call opens,
does its work and closes. What an interrupted `replace` leaves is under a name of its own. Only
the file between `begin` and `finish` stays open: littlefs fills its blocks one after the other
and copies none of them, while other files come and go.
"""

import errno

import vfs
from micropython import const
from ports import BLOCK_SIZE, NOT_THERE, UNREADABLE

from boards import BoardError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from vfs import AbstractBlockDev, VfsLfs2

# Half a page of the flash: littlefs holds four of them for each open file, and twice more. What
# marks a new file system fits in one, so that it is there or not.
_PROGRAM_SIZE = const(128)
_TEMPORARY = "~"
_FILE = const(0x8000)
_STAT_SIZE = const(6)
# Fields of statvfs: size of a block, blocks, free ones.
_BLOCK = const(0)
_BLOCKS = const(2)
_FREE = const(3)
_BLANK_SIZE = const(64)


def open_filesystem(device: "AbstractBlockDev") -> "VfsLfs2":
    """The littlefs on `device`, made first where it is blank; BoardError if it is neither."""
    try:
        filesystem = vfs.VfsLfs2(
            device, readsize=_PROGRAM_SIZE, progsize=_PROGRAM_SIZE, mtime=False
        )
    except OSError:
        if not _is_blank(device):
            raise BoardError(
                "flash holds something else than a littlefs; erase it first"
            ) from None
        vfs.VfsLfs2.mkfs(device, readsize=_PROGRAM_SIZE, progsize=_PROGRAM_SIZE)
        filesystem = vfs.VfsLfs2(
            device, readsize=_PROGRAM_SIZE, progsize=_PROGRAM_SIZE, mtime=False
        )
    return filesystem


def _is_blank(device: "AbstractBlockDev") -> bool:
    """Whether the start of the first two blocks, where littlefs begins, was never written."""
    buf = bytearray(_BLANK_SIZE)
    for block in (0, 1):
        device.readblocks(block, buf, 0)
        for byte in buf:
            if byte != buf[0] or byte not in (0x00, 0xFF):
                return False
    return True


class LittleStorage:
    """The files of one folder of `filesystem`, which nobody else writes to.

    failures    calls that the flash did not carry out
    """

    def __init__(self, filesystem: "VfsLfs2", folder: str = "") -> None:
        """`folder`: "" for the root, or "/name", made if need be. BoardError: unreadable."""
        self.failures = 0
        # The file between `begin` and `finish`, and its name.
        self._file: Any = None
        self._name = ""
        self._filesystem = filesystem
        self._folder = folder + "/"
        try:
            if folder and not self._exists(folder):
                filesystem.mkdir(folder)
            # A folder that cannot be listed must never look like an empty one.
            for _ in filesystem.ilistdir(self._folder):
                pass
        except OSError as error:
            raise BoardError("flash cannot be read: error " + str(error.errno)) from None

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Read `size` bytes at `offset`; return how many there were, NOT_THERE, UNREADABLE."""
        try:
            file = self._filesystem.open(self._folder + name, "rb")
        except OSError as error:
            return self._count(error)
        try:
            if offset:
                file.seek(offset)
            return file.readinto(buf if size == len(buf) else memoryview(buf)[:size])
        except OSError:
            self.failures += 1
            return UNREADABLE
        finally:
            file.close()

    def append(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Add bytes to the file, made if need be; true once they would survive a cut."""
        return self._write(name, "ab", buf, size)

    def replace(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Give the file new content, all or nothing; true once it would survive a cut."""
        if not self._write(_TEMPORARY, "wb", buf, size):
            self.remove(_TEMPORARY)
            return False
        try:
            self._filesystem.rename(self._folder + _TEMPORARY, self._folder + name)
        except OSError as error:
            self._count(error)
            return False
        return True

    def remove(self, name: str) -> bool:
        """Delete the file; true also when there was none."""
        try:
            self._filesystem.remove(self._folder + name)
        except OSError as error:
            return self._count(error) == NOT_THERE
        return True

    def names(self, prefix: str) -> "list[str] | None":
        """Names of the files that begin with `prefix`, in order; None: the flash did not tell."""
        found = []
        try:
            for entry in self._filesystem.ilistdir(self._folder):
                name = entry[0]
                if entry[1] == _FILE and name != _TEMPORARY and name.startswith(prefix):
                    found.append(name)
        except OSError:
            self.failures += 1
            return None
        found.sort()
        return found

    def size(self, name: str) -> int:
        """Bytes in the file, NOT_THERE or UNREADABLE."""
        try:
            return self._filesystem.stat(self._folder + name)[_STAT_SIZE]
        except OSError as error:
            return self._count(error)

    def blocks(self) -> "tuple[int, int]":
        """How many blocks of 4096 bytes there are, and how many are free; (0, 0): not told."""
        try:
            found = self._filesystem.statvfs(self._folder)
        except OSError:
            self.failures += 1
            return 0, 0
        size = found[_BLOCK]
        return found[_BLOCKS] * size // BLOCK_SIZE, found[_FREE] * size // BLOCK_SIZE

    def begin(self, name: str) -> bool:
        """Start a file that is written across steps; what was there under its name is lost."""
        self.give_up()
        try:
            self._file = self._filesystem.open(self._folder + name, "wb")
        except OSError as error:
            self._count(error)
            return False
        self._name = name
        return True

    def put(self, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Add bytes to the file that was begun; false: it is given up."""
        if self._file is None:
            return False
        try:
            part = buf if size == len(buf) else memoryview(buf)[:size]
            if self._file.write(part) == size:
                return True
        except OSError as error:
            self._count(error)
        self.give_up()
        return False

    def finish(self) -> bool:
        """Close the file that was begun; true once it would survive a cut, else it is gone."""
        if self._file is None:
            return False
        done = self._close()
        if not done:
            self.remove(self._name)
        return done

    def give_up(self) -> None:
        """Delete the file that was begun, if there is one."""
        if self._file is not None:
            self._close()
            self.remove(self._name)

    def _write(
        self, name: str, mode: str, buf: "bytearray | memoryview | bytes", size: int
    ) -> bool:
        """Write `size` bytes of `buf` and close; false: the file is as it was."""
        try:
            file = self._filesystem.open(self._folder + name, mode)
        except OSError as error:
            self._count(error)
            return False
        done = False
        try:
            part = buf if size == len(buf) else memoryview(buf)[:size]
            done = file.write(part) == size
        except OSError as error:
            self._count(error)
        try:
            # littlefs keeps the old content of a file in which a write has failed.
            file.close()
        except OSError as error:
            self._count(error)
            return False
        return done

    def _close(self) -> bool:
        file = self._file
        self._file = None
        try:
            file.close()
        except OSError as error:
            self._count(error)
            return False
        return True

    def _exists(self, path: str) -> bool:
        try:
            self._filesystem.stat(path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def _count(self, error: OSError) -> int:
        """Count a failure; return NOT_THERE where only the file is missing, else UNREADABLE."""
        if error.errno == errno.ENOENT:
            return NOT_THERE
        self.failures += 1
        return UNREADABLE
