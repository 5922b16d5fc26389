"""Goal: the console tells each reason of REFUSED by its word, and no number.

Method: the firmware's own line of `status` is made for each reason that a head-end gives, and
compared with the names in host/frames/batch.py.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from concentrator.console import commands
from concentrator.lamps import LOOK, Lamps

from host.frames.batch import Refusal


def app_refused(reason: int) -> Any:
    """Return an App as far as the line is concerned."""
    return SimpleNamespace(uplink=SimpleNamespace(reason=reason, reached=False))


@pytest.mark.parametrize("refusal", Refusal)
def test_status_tells_the_word(refusal: Refusal) -> None:
    assert commands._uplink(app_refused(refusal)) == f"refused_{refusal.name.lower()}"


@pytest.mark.parametrize("reason", [0, *Refusal])
def test_the_lamp_calls_for_a_technician(reason: int) -> None:
    good = {"failures": 0, "is_short": False}
    books = SimpleNamespace(
        registry=SimpleNamespace(count=0),
        t2000=1,
        behind=False,
        journal=SimpleNamespace(**good),
        tariffs=SimpleNamespace(is_troubled=False),
    )
    lamps = Lamps(books, app_refused(reason).uplink, SimpleNamespace(health=0))
    assert bool(lamps.look() & LOOK) == bool(reason)
