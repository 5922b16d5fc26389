"""The turn to write to a database file, which one process has at a time.

The file `NAME.lock` beside the database is locked by the process that writes. A serving head-end
keeps the lock, and has written into the file where it takes requests (`host.headend.desk`); other
commands have it for one transaction.
"""

import fcntl
import os
import socket
import struct
from pathlib import Path

from host.headend.errors import StoreFailed
from host.words import _, system_reason

_TOLD_LIMIT = 100
_CREDENTIALS = struct.Struct("iII")  # process, user, group


class Turn:
    """The turn of this process. It ends with the process, however that ends."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.lock")
        self._handle: int | None = None
        self._times = 0

    def take(self) -> str | None:
        """Take the turn and return None; where another process has it, return its address.

        The address is "" where that process takes no requests: its turn is short.
        """
        if self._handle is None:
            handle = self._opened()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                address = os.read(handle, _TOLD_LIMIT).decode("ascii", "replace")
                os.close(handle)
                return address
            os.ftruncate(handle, 0)
            self._handle = handle
        self._times += 1
        return None

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFailed(
                _("cannot write {path}: {strerror}").format(
                    path=self._path, strerror=system_reason(error)
                )
            ) from error

    def tell(self, address: str) -> None:
        """Write where this process takes the requests of others; it has the turn."""
        assert self._handle is not None
        os.pwrite(self._handle, address.encode("ascii"), 0)

    def give_back(self) -> None:
        """End the turn, as often as it was taken."""
        self._times -= 1
        if not self._times and self._handle is not None:
            os.close(self._handle)
            self._handle = None


def socket_name(address: str) -> str:
    """Return the name of a socket that stands in no folder, and ends with its process."""
    return f"\0{address}"


def is_own(line: socket.socket) -> bool:
    """Return whether the other end is a program of this user, or of root."""
    told = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(told)[1] in (0, os.getuid())


def reach(address: str) -> socket.socket | None:
    """Connect to the process that has the turn; None where it has just ended."""
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(socket_name(address))
        if is_own(line):
            return line
    except OSError:
        pass
    line.close()
    return None
