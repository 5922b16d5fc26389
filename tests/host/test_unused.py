"""Goal: everything in the product and its tools is used.

Method: vulture checks firmware/, host/ and tools/ with a confidence of 60; each name it reports
has its reason in tools/unused.toml, and the rows of that file name files that exist.
"""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from vulture import Vulture

ROOT = Path(__file__).resolve().parent.parent.parent
LIST = ROOT / "tools" / "unused.toml"


@pytest.fixture(scope="module")
def unused():
    """Return `path:name` of everything for which vulture finds no use."""
    found = Vulture()
    found.scavenge([str(ROOT / folder) for folder in ("firmware", "host", "tools")])
    code = found.get_unused_code(min_confidence=60)
    return {f"{Path(one.filename).relative_to(ROOT)}:{one.name}" for one in code}


def kept():
    return tomllib.loads(LIST.read_text("utf-8"))["kept"]


def test_every_name_has_a_user_or_a_reason(unused):
    patterns = [name for group in kept() for name in group["names"]]
    found = {one for one in unused if not any(fnmatch(one, pattern) for pattern in patterns)}
    assert not found, "use them, remove them, or say in tools/unused.toml why they stay"


def test_every_row_names_a_file():
    names = [name for group in kept() for name in group["names"]]
    assert all(list(ROOT.glob(name.partition(":")[0])) or name.startswith("*:") for name in names)
    assert len(names) == len(set(names))
