"""Collect garbage less often while a world lives.

A start of the firmware collects garbage by itself, as a board must. On CPython that would look
each time at every object of the process, and so would CPython's own collections: most of them are
modules, which live for ever. What exists when a world begins is set aside until it ends.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# So many new objects begin a collection: few of a world refer to each other.
_YOUNG_LIMIT = 50_000


@contextmanager
def quick_collections() -> Iterator[None]:
    """Set aside what exists now, and collect seldom, until the context ends."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_YOUNG_LIMIT, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
