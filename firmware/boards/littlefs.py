"""Provide storage in one folder of a littlefs, mounted or not, on any block device.

littlefs makes a file durable when it is closed, all or nothing, so each call opens a file, uses it
and closes it. A new file exists empty before, so `replace` writes it under another name, which an
interruption leaves. Only the file between `begin` and `finish` stays open: littlefs fills its
blocks one after the other and copies none of them, while other files are written and removed.
"""

import errno

import vfs
from micropython import const
from ports import BLOCK_SIZE, NOT_THERE, UNREADABLE

from boards import BoardError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from vfs import AbstractBlockDev, VfsLfs2

_TEMPORARY = "~"
# littlefs rewrites a folder in one call, whose time grows with the square of its files. So the
# segments of the journal are in several folders in turn; each has those of 256 record numbers.
_MANY = "j"
_MANY_SIZE = const(9)
_FOLDER_DIGITS = const(7)
_SUBFOLDER = "s"
# There is one folder for each 16 blocks of the flash; it takes two blocks.
_FOLDER_BLOCKS = const(16)
# littlefs mostly needs a few bytes of a read, so a read has at most this many.
_READ_LIMIT = const(64)
# Bytes of littlefs's map of free blocks, with a bit for each: enough for a flash of 4 MiB.
_LOOKAHEAD_LIMIT = const(128)
_FILE = const(0x8000)
_STAT_SIZE = const(6)
# Fields of statvfs: bytes of a block, count of blocks, count of free ones.
_BLOCK = const(0)
_BLOCKS = const(2)
_FREE = const(3)
_COUNT = const(0x3FFFFFFF)
# What littlefs writes at the start of a block that holds its superblock, and where its sizes are.
_MAGIC = b"littlefs"
_MAGIC_AT = const(8)
_BLOCK_SIZE_AT = const(24)
_BLOCKS_AT = const(28)
_START_SIZE = const(64)
_FORMAT = "; on a new board dianka flash --format makes one"


def open_filesystem(device: "AbstractBlockDev", page: int, new: bool = False) -> "VfsLfs2":
    """Return the littlefs on `device`, of which `page` bytes are programmed at a time.

    littlefs holds four pages for each open file, and eight more. With `new` it is made where the
    device is blank, as an installer asks for. BoardError: there is none, with the reason.
    """
    try:
        return _mount(device, page)
    except OSError:
        why = _reason(device)
        if not new or why:
            raise BoardError(why or "flash is blank, it holds no littlefs" + _FORMAT) from None
    vfs.VfsLfs2.mkfs(device, readsize=page, progsize=page)
    return _mount(device, page)


def _mount(device: "AbstractBlockDev", page: int) -> "VfsLfs2":
    blocks = device.ioctl(4, 0) or 0
    return vfs.VfsLfs2(
        device,
        readsize=min(page, _READ_LIMIT),
        progsize=page,
        lookahead=min(_LOOKAHEAD_LIMIT, (blocks + 63) // 64 * 8),
        mtime=False,
    )


def _reason(device: "AbstractBlockDev") -> str:
    """Return why the littlefs on `device` cannot be opened, "" when the device is blank."""
    buf = bytearray(_START_SIZE)
    blank = True
    for block in (0, 1):
        device.readblocks(block, buf, 0)
        if buf[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC:
            size = int.from_bytes(buf[_BLOCK_SIZE_AT:_BLOCKS_AT], "little")
            count = int.from_bytes(buf[_BLOCKS_AT : _BLOCKS_AT + 4], "little")
            if count == device.ioctl(4, 0) and size == device.ioctl(5, 0):
                return "flash holds a littlefs that is damaged; copy it before anything else"
            made = str(count) + " blocks of " + str(size) + " bytes, it has "
            return "flash holds a littlefs made for " + made + str(device.ioctl(4, 0))
        for byte in buf:
            if byte != buf[0] or byte not in (0x00, 0xFF):
                blank = False
    return (
        "" if blank else "flash holds no littlefs but something else; copy it before you erase it"
    )


class LittleStorage:
    """The files of one folder of `filesystem`, of which this object is the only writer.

    failures    the count of calls that the flash did not carry out
    calm        called before each change, to wait until no request leaves; None: never
    """

    def __init__(self, filesystem: "VfsLfs2", folder: str = "", new: bool = False) -> None:
        """Use `folder`, "" for the root, or "/name", which an installer has made with `new`.

        BoardError: the folder cannot be read, or is missing on a flash that lost its content.
        """
        self.failures = 0
        self.calm: Callable[[], None] | None = None
        # The file between `begin` and `finish`, and its name.
        self._file: Any = None
        self._name = ""
        self._filesystem = filesystem
        self._folder = folder + "/"
        try:
            if folder and not self._exists(folder):
                if not new:
                    raise BoardError("flash holds no journal" + _FORMAT)
                filesystem.mkdir(folder)
            # A folder that cannot be listed must never look like an empty one. The names are not
            # kept: among what reading takes of the heap they would leave no large piece of it.
            missing = self._folders = max(1, filesystem.statvfs("/")[_BLOCKS] // _FOLDER_BLOCKS)
            for entry in filesystem.ilistdir(self._folder):
                missing -= entry[1] != _FILE
            if missing:
                for number in range(self._folders):
                    name = self._folder + _SUBFOLDER + str(number)
                    if not self._exists(name):
                        filesystem.mkdir(name)
        except OSError as error:
            raise BoardError("flash cannot be read: error " + str(error.errno)) from None

    def _path(self, name: str) -> str:
        """Return the path of the file."""
        if len(name) != _MANY_SIZE or name[0] != _MANY:
            return self._folder + name
        number = int(name[1:_FOLDER_DIGITS], 16) % self._folders
        return self._folder + _SUBFOLDER + str(number) + "/" + name

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Read `size` bytes at `offset`; return the count read, NOT_THERE or UNREADABLE."""
        try:
            file = self._filesystem.open(self._path(name), "rb")
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
        """Add bytes to the file, which is made if missing; return true once durable."""
        return self._write(self._path(name), "ab", buf, size)

    def _wait(self) -> None:
        """Wait for the moment at which the flash may stop the board."""
        if self.calm is not None:
            self.calm()

    def replace(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Give the file new content, all or nothing; return true once durable."""
        path = self._path(name)
        if self.size(name) >= 0:
            return self._write(path, "wb", buf, size)
        temporary = path[: -len(name)] + _TEMPORARY
        try:
            if self._write(temporary, "wb", buf, size):
                self._filesystem.rename(temporary, path)
                return True
            self._filesystem.remove(temporary)
        except OSError as error:
            self._count(error)
        return False

    def remove(self, name: str) -> bool:
        """Delete the file; return true also when there was none."""
        self._wait()
        try:
            self._filesystem.remove(self._path(name))
        except OSError as error:
            return self._count(error) == NOT_THERE
        return True

    def names(self, prefix: str) -> "list[str] | None":
        """Return the file names that begin with `prefix`, sorted; None without an answer."""
        found = []
        try:
            for number in range(-1, self._folders if prefix[:1] in ("", _MANY) else 0):
                folder = self._folder + (_SUBFOLDER + str(number) if number >= 0 else "")
                for entry in self._filesystem.ilistdir(folder):
                    name = entry[0]
                    if entry[1] == _FILE and name != _TEMPORARY and name.startswith(prefix):
                        found.append(name)
        except OSError:
            self.failures += 1
            return None
        found.sort()
        return found

    def size(self, name: str) -> int:
        """Return the bytes in the file, NOT_THERE or UNREADABLE."""
        try:
            return self._filesystem.stat(self._path(name))[_STAT_SIZE]
        except OSError as error:
            return self._count(error)

    def blocks(self) -> "tuple[int, int]":
        """Return the count of blocks of 4096 bytes, and of free ones; (0, 0) without an answer."""
        try:
            found = self._filesystem.statvfs(self._folder)
        except OSError:
            self.failures += 1
            return 0, 0
        size = found[_BLOCK]
        # littlefs counts the two blocks of a folder twice, there and in the folder it is in. So it
        # may have counted more than there are, which a port of 64 bits tells as 2**32 less these.
        free = found[_FREE] + 2 * self._folders & _COUNT
        return found[_BLOCKS] * size // BLOCK_SIZE, free * size // BLOCK_SIZE

    def begin(self, name: str) -> bool:
        """Begin a file that is written over several steps; its old content is lost."""
        self.give_up()
        self._wait()
        try:
            self._file = self._filesystem.open(self._path(name), "wb")
        except OSError as error:
            self._count(error)
            return False
        self._name = name
        return True

    def put(self, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Add bytes to the file that was begun; return false if it was given up."""
        if self._file is None:
            return False
        self._wait()
        try:
            part = buf if size == len(buf) else memoryview(buf)[:size]
            if self._file.write(part) == size:
                return True
        except OSError as error:
            self._count(error)
        self.give_up()
        return False

    def finish(self) -> bool:
        """Close the file that was begun; return true once durable, else it is deleted."""
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
        self, path: str, mode: str, buf: "bytearray | memoryview | bytes", size: int
    ) -> bool:
        """Write `size` bytes of `buf` and close; return false if the file has not changed."""
        # Whatever fails between opening and writing would leave an empty file.
        part = buf if size == len(buf) else memoryview(buf)[:size]
        self._wait()
        try:
            file = self._filesystem.open(path, mode)
        except OSError as error:
            self._count(error)
            return False
        done = False
        try:
            done = file.write(part) == size
        except OSError as error:
            self._count(error)
        try:
            # After a failed write littlefs keeps the file's old content.
            file.close()
        except OSError as error:
            self._count(error)
            return False
        return done

    def _close(self) -> bool:
        self._wait()
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
        """Count a failure and return UNREADABLE, or NOT_THERE if only the file is missing."""
        if error.errno == errno.ENOENT:
            return NOT_THERE
        self.failures += 1
        return UNREADABLE
