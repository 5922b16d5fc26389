"""Goal: a meter is exchanged or its exchange is refused, also without a working flash or a tariff.

Method: seed 100 exchanged a meter while every write to the flash failed: the refusal had no word
for that and ended the concentrator. The tests run its world, an exchange on a flash that fails,
and one without a tariff.
"""

import pytest
from concentrator.books.books import Books
from concentrator.books.charging import NOT_BILLED, REFUSED
from concentrator.console import meter_commands
from concentrator.console.console import Refusal

from host.world.faults import NO_FAULTS
from host.world.world import World


def test_the_world_that_found_it() -> None:
    World(100, days=1, meters=3).run()


@pytest.mark.parametrize(
    ("outcome", "told"), [(REFUSED, "flash full or failing"), (NOT_BILLED, "no tariff")]
)
def test_an_exchange_that_cannot_be_charged_is_refused(
    outcome: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(1, days=1, meters=1, faults=NO_FAULTS)
    world.run()
    app = world.app
    assert app is not None
    monkeypatch.setattr(Books, "charge_typed", lambda self, *of: outcome)

    with pytest.raises(Refusal, match=told):
        list(meter_commands._meter_exchange(app, ["1", "000000000099", "5"]))
