"""Files that people give to a page: kept in a folder of their own while they are read."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from host.headend.web.door import Trouble, Visit
from host.rows import RowsError
from host.words import _

_SIZE_LIMIT = 32 << 20
_CALLED_LIMIT = 80

Read = TypeVar("Read")


def uploaded(visit: Visit, read: Callable[[Path, str], Read]) -> tuple[str, Read]:
    """Return the name of the file that was given, and what `read` makes of it. Trouble."""
    given = visit.request.FILES.get("list")
    if given is None:
        raise Trouble(400, _("choose a file: CSV or XLSX"))
    if given.size > _SIZE_LIMIT:
        text = _("the file has more than {most} MB: divide it")
        raise Trouble(400, text.format(most=_SIZE_LIMIT >> 20))
    called = "".join(one for one in str(given.name) if one.isprintable())[-_CALLED_LIMIT:]
    # What the file is called is said to people alone: it never names a place here.
    suffix = ".xlsx" if called.lower().endswith(".xlsx") else ".csv"
    with tempfile.TemporaryDirectory(prefix="dianka-") as folder:
        path = Path(folder) / f"list{suffix}"
        with path.open("wb") as file:
            for chunk in given.chunks():
                file.write(chunk)
        try:
            return called, read(path, called)
        except RowsError as error:
            raise Trouble(400, str(error)) from error
