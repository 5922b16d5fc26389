"""Let all tests read English, independent of the machine's language; leave worlds and whole
programs to `make test`.
"""

import gc
import os
from pathlib import Path

import pytest

os.environ["DIANKA_LANG"] = "en"
# Nor does any test read what a user of this machine has written down.
os.environ["DIANKA_CONFIG"] = os.devnull

_SLOW = (Path(__file__).parent / "e2e", Path(__file__).parent / "sim")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent in _SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Leave what was imported out of each collection: a concentrator collects when it starts."""
    gc.collect()
    gc.freeze()
