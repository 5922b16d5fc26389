"""Goal: no order of events breaks the money protocol, and a mistake in it would be found.

Method: every order of eight moves with one fault is walked here, longer ones by `make explorer`.
Mistakes that need few moves are planted in the model one by one; each has to break an invariant.
The summary in docs/reliability says that all were found.
"""

import json

import pytest

from tools import explorer, money_protocol
from tools.proofs import FOLDER

# They show themselves within so many moves; the other needs more, and seconds.
FEW = 8
LATE = {"numbers again"}


def test_every_order_of_few_moves_holds() -> None:
    found = explorer.explore(faults=1, moves=FEW)

    assert (found.broken, found.way) == ("", [])
    assert found.states > 3000
    assert found.moves == FEW


@pytest.mark.parametrize("bug", sorted(set(money_protocol.BUGS) - LATE))
def test_a_planted_bug_is_found(bug: str) -> None:
    found = explorer.explore(faults=1, moves=FEW, bug=bug)

    assert found.broken
    assert found.way


def test_the_walk_tells_the_shortest_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert explorer.main(["--faults", "1", "--bug", "mark first"]) == 0

    told = capsys.readouterr().out.splitlines()
    assert told[0] == "once: sale 1 was paid for and never counts"
    assert "  the card is marked" in told


def test_the_summary_is_of_this_model() -> None:
    told = json.loads((FOLDER / "explorer.json").read_text("utf-8"))

    assert told["broken"] == ""
    assert set(told["planted"]) == set(money_protocol.BUGS)
    assert all(one["found"] for one in told["planted"].values())
    assert (told["orders"], told["readings"]) == (money_protocol.ORDERS, money_protocol.READINGS)
