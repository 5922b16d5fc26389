"""Storage on littlefs: one folder of a `VfsLfs2`, mounted or not, on any block device.

littlefs makes a file durable when it is closed, and a rename all or nothing, so each call opens,
does its work and closes. What an interrupted `replace` leaves is under a name of its own.
"""

import errno

import vfs
from micropython import const

from boards import BoardError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from vfs import AbstractBlockDev, VfsLfs2

# Half a page of the flash: littlefs holds four of them for each open file, and twice more. What
# marks a new file system fits in one, so that it is there or not.
_PROGRAM_SIZE = const(128)
_TEMPORARY = "~"
_FILE = const(0x8000)
_STAT_SIZE = const(6)
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
        """Read `size` bytes at `offset`; return how many there were, 0 without the file."""
        try:
            file = self._filesystem.open(self._folder + name, "rb")
        except OSError as error:
            self._count(error)
            return 0
        try:
            if offset:
                file.seek(offset)
            return file.readinto(buf if size == len(buf) else memoryview(buf)[:size])
        except OSError as error:
            self._count(error)
            return 0
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
            self._count(error)
            return error.errno == errno.ENOENT
        return True

    def names(self, prefix: str) -> "list[str]":
        """Names of the files that begin with `prefix`, in order."""
        found = []
        try:
            for entry in self._filesystem.ilistdir(self._folder):
                name = entry[0]
                if entry[1] == _FILE and name != _TEMPORARY and name.startswith(prefix):
                    found.append(name)
        except OSError as error:
            self._count(error)
        found.sort()
        return found

    def size(self, name: str) -> int:
        """Bytes in the file, -1 without one."""
        try:
            return self._filesystem.stat(self._folder + name)[_STAT_SIZE]
        except OSError as error:
            self._count(error)
            return -1

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

    def _exists(self, path: str) -> bool:
        try:
            self._filesystem.stat(path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def _count(self, error: OSError) -> None:
        if error.errno != errno.ENOENT:
            self.failures += 1
