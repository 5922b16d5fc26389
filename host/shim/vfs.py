"""`vfs` for CPython: littlefs on a block device, as MicroPython has it, by littlefs-python.

An exception that the device raises, as a power cut in a simulation, is raised again once littlefs
has given up what it was doing. A read that the device refuses gives wrong bytes, because
littlefs-python cannot be told of it; littlefs finds them by its CRC.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from littlefs import LittleFS, LittleFSError, lfs
from littlefs.context import UserContext

_FOLDER = 0x4000
_FILE = 0x8000
_EIO = 5
_NEW = lfs.LFSFileFlag["wronly"] | lfs.LFSFileFlag["creat"]
_FLAGS = {
    "rb": lfs.LFSFileFlag["rdonly"],
    "wb": _NEW | lfs.LFSFileFlag["trunc"],
    "ab": _NEW | lfs.LFSFileFlag["append"],
}


class AbstractBlockDev(Protocol):
    """A flash of blocks that are erased whole."""

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Fill `buf`."""

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Program `buf`."""

    def ioctl(self, operation: int, argument: int) -> int:
        """Return the count of blocks, 4, or their size, 5; erase one, 6."""


class _Context(UserContext):
    """What littlefs calls; `raised` is the exception of the device that ended it."""

    def __init__(self, device: AbstractBlockDev) -> None:
        super().__init__(0)
        self.raised: BaseException | None = None
        self._device = device

    def read(self, _cfg: object, block: int, off: int, size: int) -> bytearray:
        """Return bytes of a block."""
        buf = bytearray(size)
        if self._device.readblocks(block, buf, off):
            return bytearray(b"\x5a" * size)
        return buf

    def prog(self, _cfg: object, block: int, off: int, data: bytes) -> int:
        """Program bytes; return 0, or littlefs' number of the error."""
        return self._do(lambda: self._device.writeblocks(block, bytearray(data), off))

    def erase(self, _cfg: object, block: int) -> int:
        """Erase a block; return 0, or littlefs' number of the error."""
        return self._do(lambda: self._device.ioctl(6, block))

    def sync(self, _cfg: object) -> int:
        """Return 0: nothing waits in the device."""
        return 0

    def _do(self, change: Callable[[], int]) -> int:
        if self.raised is not None:
            return -_EIO
        try:
            return change()
        except BaseException as error:
            self.raised = error
            return -_EIO


class VfsLfs2:
    """The littlefs on `device`. OSError: there is none, or an operation failed."""

    def __init__(
        self,
        device: AbstractBlockDev,
        readsize: int = 32,
        progsize: int = 32,
        lookahead: int = 32,
        mtime: bool = True,
    ) -> None:
        self._context = _Context(device)
        self._little = _little(self._context, device, readsize, progsize, lookahead)
        self._call(self._little.mount)

    @staticmethod
    def mkfs(
        device: AbstractBlockDev, readsize: int = 32, progsize: int = 32, lookahead: int = 32
    ) -> None:
        """Make a littlefs on `device`, whose content is lost."""
        context = _Context(device)
        _call(context, _little(context, device, readsize, progsize, lookahead).format)

    def open(self, path: str, mode: str) -> "_File":
        """Open a file; modes are rb, wb and ab."""
        fs = self._little.fs
        return _File(self._context, fs, self._call(lfs.file_open, fs, path, _FLAGS[mode]))

    def ilistdir(self, path: str) -> Iterator[tuple[str, int, int, int]]:
        """Return name, type, 0 and size of each entry of a folder."""
        entries = self._call(lambda: list(self._little.scandir(path.rstrip("/") or "/")))
        for entry in entries:
            yield entry.name, _FOLDER if entry.type == 2 else _FILE, 0, entry.size

    def stat(self, path: str) -> tuple[int, ...]:
        """Return what os.stat returns; the size is at 6."""
        found = self._call(lfs.stat, self._little.fs, path)
        return (_FOLDER if found.type == 2 else _FILE, 0, 0, 0, 0, 0, found.size, 0, 0, 0)

    def statvfs(self, _path: str) -> tuple[int, ...]:
        """Return bytes of a block, twice, the count of blocks, and of free ones, twice."""
        size, count = self._little.cfg.block_size, self._little.cfg.block_count
        free = count - self._call(lambda: self._little.used_block_count)
        return (size, size, count, free, free, 0, 0, 0, 0, 255)

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        self._call(lfs.mkdir, self._little.fs, path)

    def remove(self, path: str) -> None:
        """Delete a file."""
        self._call(lfs.remove, self._little.fs, path)

    def rename(self, old: str, new: str) -> None:
        """Give a file the place of another, in one step."""
        self._call(lfs.rename, self._little.fs, old, new)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return _call(self._context, function, *arguments)


class _File:
    """An open file."""

    def __init__(self, context: _Context, fs: lfs.LFSFilesystem, handle: lfs.LFSFile) -> None:
        self._context = context
        self._fs = fs
        self._handle = handle

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to `offset` from the start, or from the end with 2; return the place."""
        return int(_call(self._context, lfs.file_seek, self._fs, self._handle, offset, whence))

    def readinto(self, buf: bytearray | memoryview) -> int:
        """Fill `buf`; return how many bytes there were."""
        data = _call(self._context, lfs.file_read, self._fs, self._handle, len(buf))
        buf[: len(data)] = data
        return len(data)

    def write(self, buf: bytes | bytearray | memoryview) -> int:
        """Write bytes; return how many."""
        return int(_call(self._context, lfs.file_write, self._fs, self._handle, bytes(buf)))

    def close(self) -> None:
        """Close, which makes what was written durable."""
        _call(self._context, lfs.file_close, self._fs, self._handle)


def _little(
    context: _Context, device: AbstractBlockDev, readsize: int, progsize: int, lookahead: int
) -> LittleFS:
    """Return littlefs with the caches that MicroPython gives it, not mounted."""
    return LittleFS(
        context,
        mount=False,
        block_size=device.ioctl(5, 0),
        block_count=device.ioctl(4, 0),
        read_size=readsize,
        prog_size=progsize,
        cache_size=4 * max(readsize, progsize),
        lookahead_size=lookahead,
        block_cycles=100,
    )


def _call(context: _Context, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result; OSError with littlefs' number, or what the device raised."""
    try:
        return function(*arguments)
    except LittleFSError as error:
        if context.raised is not None:
            raise context.raised from None
        raise OSError(-error.code, str(error)) from None
