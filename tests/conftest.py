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


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads which tests belong together
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent in _SLOW:
            item.add_marker(pytest.mark.slow)
        shared = _shared(item)
        if shared and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(shared))


def _shared(item: pytest.Item) -> str:
    """Name the fixture of a module that a test needs, which only one worker is to make."""
    made = getattr(item, "_fixtureinfo", None)
    modules = [
        name
        for name, defined in (made.name2fixturedefs if made else {}).items()
        if defined[-1].scope == "module"
    ]
    if not modules:
        return ""
    params = (
        item.callspec.params
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else {}
    )
    return "-".join([item.path.stem, *(str(params[name]) for name in modules if name in params)])


def pytest_collection_finish() -> None:
    """Leave what was imported out of each collection: a concentrator collects when it starts."""
    gc.collect()
    gc.freeze()
