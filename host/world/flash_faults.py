"""Faults of the flash in a simulated world beside power cuts: failures, and bits that turn.

One file is spoilt at a time, which is what second copies are for: of two checkpoints or two copies
of the settings one stays whole, and a record is spoilt only if the newest checkpoint or the
head-end has its content.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from host.frames.record import MONEY_KINDS
from host.sim.storage import Storage
from host.world.checks.checkers import Checkers
from host.world.checks.flash import records_of

if TYPE_CHECKING:
    from concentrator.app import App

_OPERATIONS = ("append", "append", "replace", "remove", "put", "read", "names", "size")
_NTH = 60
_KIND_AT = 8


class FlashFaults:
    """Faults for the flash that `storage` returns, as it is now."""

    def __init__(self, random: Random, storage: Callable[[], Storage], checkers: Checkers) -> None:
        self._random = random
        self._storage = storage
        self._checkers = checkers
        self._spoilt: dict[str, bytes] = {}

    def fail_one_kind(self) -> str:
        """Have all operations of a kind fail from now on; return the kind."""
        operation = self._random.choice(_OPERATIONS)
        self._storage().failing.add(operation)
        return operation

    def fail_nth(self) -> None:
        """Have one of the next operations fail, or all from it on until the next restart."""
        storage = self._storage()
        after, stays = self._random.randrange(_NTH), self._random.random() < 0.25
        if self._random.random() < 0.5:
            storage.plan_look_failure(after, stays)
        else:
            storage.plan_change_failure(after, stays)

    def turn_bit(self, app: "App", acked_seq: int) -> str:
        """Turn a bit of a stored file; return the file's name, "": nothing was spoilt."""
        return self._storage().spoil(
            self._random, lambda name, spoilt: self._may_be(name, spoilt, app, acked_seq)
        )

    def _may_be(self, name: str, spoilt: Storage, app: "App", acked_seq: int) -> bool:
        """Return whether this file may be as it is in `spoilt`, and count on it if it may."""
        may_be = {"j": self._may_lose, "k": self._may_lose_checkpoint}.get(name[0], self._is_first)
        if not may_be(name, spoilt, app, acked_seq):
            return False
        self._spoilt[name] = spoilt.content[name]
        self._checkers.counters["bits turned"] += 1
        return True

    def _is_spoilt(self, name: str) -> bool:
        return name in self._spoilt and self._storage().content.get(name) == self._spoilt[name]

    def _is_first(self, name: str, *_: object) -> bool:
        """Return whether no other file of the kind is spoilt."""
        return not any(self._is_spoilt(other) for other in self._spoilt if other[0] == name[0])

    def _may_lose_checkpoint(self, name: str, _: Storage, app: "App", __: int) -> bool:
        older_seq = app.checkpoint.older_seq
        newer_is_rotten = any(seq > older_seq for seq in self._checkers.rotten)
        return older_seq > 0 and not newer_is_rotten and self._is_first(name)

    def _may_lose(self, name: str, spoilt: Storage, app: "App", acked_seq: int) -> bool:
        """Return whether the content of the records with this bit is kept elsewhere."""
        kept = records_of(spoilt.content)
        lost = {seq for seq in records_of(self._storage().content) if seq not in kept}
        one_is_rotten = any(self._is_spoilt(other) for other in self._spoilt if other[0] == "k")
        held_seq = app.checkpoint.older_seq if one_is_rotten else app.checkpoint.seq
        raw = self._checkers.raw
        if any(seq > held_seq for seq in lost):
            return False
        if any(seq > acked_seq and raw[seq][_KIND_AT] in MONEY_KINDS for seq in lost):
            return False
        self._checkers.rotten |= lost
        return bool(lost)
