"""Read files of text as people's programs save them: UTF-8 with or without its mark, and more.

Notepad puts a mark in front, Excel saves Chinese as GB18030. Both are read, everywhere.
"""

import codecs
import contextlib
from pathlib import Path

from host.words import _


class NotTextError(UnicodeError):
    """The file is no text; the message says how to save it."""


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, UTF-16 or GB18030.

    OSError where it cannot be read, NotTextError where it is no text.
    """
    content = path.read_bytes()
    marked_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked_16 else ("utf-8-sig", "gb18030"):
        with contextlib.suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            if "\0" not in text:
                return text
    raise NotTextError(_("it is no text in UTF-8 or GB18030: save it as UTF-8"))
