"""Walk through every order of events of the money protocol, up to stated bounds.

    .venv/bin/python -m tools.explorer [--faults N] [--moves N] [--json] [--bug NAME]

Breadth first, so what is found is the shortest way to it. Each state is checked; from each, the
moves that help are made until nothing is left to do, and then every sale must count once and both
sides must agree. The model is tools/money_protocol.py. A violation is printed as its moves.
"""

import argparse
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

from tools import money_protocol as model
from tools.money_protocol import Broken, State
from tools.proofs import commit_and_date

# Each planted bug shows itself within so many moves, with one fault.
BUG_MOVES = 11
# No state needs more moves to come to rest.
_CALM_LIMIT = 100
_RANK = {name: rank for rank, name in enumerate(model.CALM)}


@dataclass
class Found:
    """The outcome of a walk.

    moves       the most moves from the start to a state; every order of so many was walked
    ended       no state has a way on: more moves lead to nothing new
    broken      the invariant that does not hold, "": all hold
    way         the shortest way there
    """

    orders: int
    readings: int
    faults: int
    bug: str = ""
    states: int = 0
    transitions: int = 0
    moves: int = 0
    ended: bool = False
    broken: str = ""
    way: list[str] = field(default_factory=list)
    cpu_s: float = 0.0


def settle(state: State, bug: str, known: set[State]) -> None:
    """Let everything come right, and check that it does; `known` states are known to."""
    state = state._replace(faults=0)
    way = []
    for _ in range(_CALM_LIMIT):
        if state in known:
            break
        way.append(state)
        ways = [(name, after) for name, after in model.moves(state, bug) if name in _RANK]
        after = min(ways, key=lambda one: _RANK[one[0]], default=None)
        if after is None or after[1] == state:
            model.check_end(state)
            break
        state = after[1]
        model.check(state, bug)
    else:
        raise Broken("end: it never comes to rest")
    known.update(way)


def explore(faults: int, moves: int, bug: str = "") -> Found:
    """Walk every order of so many moves, until an invariant is broken."""
    began_s = time.process_time()
    found = Found(model.ORDERS, model.READINGS, faults, bug)
    first = model.start(faults)
    before: dict[State, tuple[State, str] | None] = {first: None}
    waiting = deque([(first, 0)])
    settled: set[State] = set()
    state, name = first, ""
    try:
        while waiting:
            state, found.moves = waiting.popleft()
            name = ""
            settle(state, bug, settled)
            if found.moves == moves:
                continue
            for name, after in model.moves(state, bug):
                found.transitions += 1
                if after not in before:
                    model.check(after, bug)
                    before[after] = (state, name)
                    waiting.append((after, found.moves + 1))
        found.ended = found.moves < moves
    except Broken as broken:
        found.broken = str(broken)
        found.way = [*_way(state, before), *([name] if name else [])]
    found.states = len(before)
    found.cpu_s = round(time.process_time() - began_s, 1)
    return found


def _way(state: State, before: dict[State, tuple[State, str] | None]) -> list[str]:
    """Return the moves from the start to a state."""
    moves: list[str] = []
    while (step := before[state]) is not None:
        state, name = step
        moves.append(name)
    return moves[::-1]


def summary(found: Found, bugs: list[Found]) -> dict[str, object]:
    """Return what docs/reliability/explorer.json says."""
    planted = {
        one.bug: {"found": one.broken, "moves": len(one.way), "states": one.states} for one in bugs
    }
    return {**asdict(found), "planted": planted, **commit_and_date()}


def main(arguments: list[str] | None = None) -> int:
    """Walk; return 1 if an invariant does not hold, or a planted bug was not found."""
    parser = argparse.ArgumentParser(prog="tools.explorer", description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", type=int, default=2, help="so many faults in one life")
    parser.add_argument("--moves", type=int, default=11, help="every order of so many moves")
    parser.add_argument("--bug", choices=list(model.BUGS), default="", help="plant only this bug")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    found = explore(options.faults, options.moves, options.bug)
    if options.bug:
        print(found.broken or "not found", *found.way, sep="\n  ")
        return 0 if found.broken else 1
    bugs = [explore(1, BUG_MOVES, bug) for bug in model.BUGS]
    if options.json:
        print(json.dumps(summary(found, bugs), indent=1))
    else:
        print(
            f"{found.states} states, {found.transitions} moves between them: every order of "
            f"{found.moves} moves with {found.faults} faults at most"
        )
        print(found.broken or "every invariant holds", *found.way, sep="\n  ")
        for one in bugs:
            told = f"{one.broken}, in {len(one.way)} moves" if one.broken else "NOT FOUND"
            print(f"planted: {one.bug}: {told}")
    return 1 if found.broken or any(not one.broken for one in bugs) else 0


if __name__ == "__main__":
    sys.exit(main())
