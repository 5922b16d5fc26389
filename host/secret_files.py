"""Files that hold a secret: made so that their owner alone may read them, and looked at again."""

import contextlib
import errno
import os
import stat
from pathlib import Path

from host.words import _, system_reason

OWNER_ONLY = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write(path: Path, text: str, overwrite: bool = False) -> None:
    """Write a file that its owner alone may read, whole or not at all.

    It is written beside `path` into a file that is certainly new: nobody else can have opened it,
    or have put a link to another file there. Raises OSError, and FileExistsError where `path`
    exists and `overwrite` is not given.
    """
    whole = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        whole.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(whole, flags, OWNER_ONLY), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        if overwrite:
            whole.replace(path)
        else:
            path.hardlink_to(whole)
    finally:
        whole.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def warning_about(path: Path) -> str:
    """Return a sentence where others than its owner may use the file, else nothing.

    A file that is not there has nothing to warn of.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_mode & _OTHERS:
            return _("warning: others may read {path}: `chmod 600 {path}`").format(path=path)
    return ""


def read(path: Path, limit: int) -> bytes:
    """Return the content of a file with a secret.

    ValueError says in one sentence why it is not used: it is not there, a link, no file, larger
    than `limit` bytes, or others may read it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(
                _("{path} is a link: give the file itself").format(path=path)
            ) from error
        raise ValueError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    with open(handle, "rb") as file:
        told = os.fstat(file.fileno())
        if not stat.S_ISREG(told.st_mode):
            raise ValueError(_("{path} is no file").format(path=path))
        if told.st_mode & _OTHERS:
            raise ValueError(
                _("others may read {path}: `chmod 600 {path}`, then again").format(path=path)
            )
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(
            _("{path} has more than {limit} bytes: it is no such file").format(
                path=path, limit=limit
            )
        )
    return content
