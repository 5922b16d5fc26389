"""The journal on a simulated flash, as docs/SPEC.md defines what counts in it."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from host.frames import packing
from host.frames.packing import PackingError
from host.frames.record import Record


def records_of(content: Mapping[str, bytes]) -> dict[int, Record]:
    """Return all records on the flash, by sequence number, as docs/SPEC.md defines what counts."""
    names = sorted(name for name in content if name.startswith("j"))
    found: dict[int, Record] = {}
    for at, name in enumerate(names):
        first_seq = int(name[1:], 16)
        end_seq = int(names[at + 1][1:], 16) if at + 1 < len(names) else 1 << 32
        for one in packing.parse_segment(content[name], first_seq).records:
            if one.seq < end_seq:
                found[one.seq] = one
    return found


class Follower:
    """A reader of the records that became durable, each group once."""

    def __init__(self) -> None:
        self._name = ""
        self._at = 0
        self._next_seq = 0

    def read(self, content: Mapping[str, bytes], seq: int, last_seq: int) -> Iterator[Record]:
        """Yield records from `seq` to `last_seq`, as far as they follow one another."""
        names = sorted(name for name in content if name.startswith("j"))
        firsts = [int(name[1:], 16) for name in names]
        for place in range(max(0, bisect_right(firsts, seq) - 1), len(names)):
            name, data = names[place], content[names[place]]
            end_seq = firsts[place + 1] if place + 1 < len(names) else last_seq + 1
            at = self._at if (name, self._next_seq) == (self._name, seq) else 0
            while at < len(data):
                try:
                    group = packing.parse_group(data[at : at + packing.GROUP_LIMIT])
                except PackingError:
                    break
                if group.first_seq >= end_seq:
                    break
                at += group.size
                self._name, self._at, self._next_seq = name, at, group.next_seq
                for one in group.records:
                    if one.seq == seq <= last_seq:
                        seq += 1
                        yield one
