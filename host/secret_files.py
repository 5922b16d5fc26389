"""Files that hold a secret: made so that their owner alone may read them, and looked at again."""

import contextlib
import os
import stat
from pathlib import Path

from host.words import _

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
