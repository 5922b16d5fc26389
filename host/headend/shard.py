"""Parts of a head-end: several processes, each for some concentrators, in front of one PostgreSQL.

Concentrators are in 16 slots by their number. A shard is told as `3/16`: part 3, from 0 on, of 16
parts; of 2 parts each has 8 slots. Two processes never have a slot at the same time.
"""

import re
from dataclasses import dataclass

SLOTS = 16
_PARTS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `count`; the only part of one is all concentrators."""

    index: int = 0
    count: int = 1

    def has(self, concentrator: int) -> bool:
        """Return whether a concentrator belongs to this part."""
        return concentrator % self.count == self.index

    @property
    def slots(self) -> list[int]:
        """Return the slots of this part."""
        return list(range(self.index, SLOTS, self.count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """Return what `3/16` says; ValueError where it is no shard."""
    match = re.fullmatch(r"(\d{1,2})/(\d{1,2})", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    shard = Shard(int(match[1]), int(match[2]))
    if shard.count not in _PARTS or shard.index >= shard.count:
        raise ValueError(text)
    return shard
