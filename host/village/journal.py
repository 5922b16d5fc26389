"""The records of one concentrator, numbered in order, as the head-end unpacks them.

The records of which there are many are packed here by hand, as `host.headend.unpack` reads them
by hand; all others go through `host.frames.record`.
"""

import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from host.frames.record import RecordKind, build_payload
from host.headend.unpack import Read, Taken, stored

_READING, _FREEZE, _ITEM = map(int, (RecordKind.READING, RecordKind.FREEZE, RecordKind.ITEM))
_READ = struct.Struct("<IIHHII")
_FROZEN = struct.Struct("<II")
_ITEMS = [struct.Struct(f"<IB3x{count}i") for count in range(11)]
_NO_VALUE = -0x40000000
FEN_E7 = 100_000  # a fen in units of 1e-7 yuan


class Journal:
    """The journal of one concentrator: `take` numbers what was added, in order of time."""

    def __init__(self, concentrator: int) -> None:
        self.concentrator = concentrator
        self.seq = 0
        self._added: list[Taken] = []

    def take(self, until_t2000: int) -> list[Taken]:
        """Return the records before a moment that no call has returned."""
        ready = [one for one in self._added if one.t2000 < until_t2000]
        self._added = [one for one in self._added if one.t2000 >= until_t2000]
        ready.sort(key=_T2000)
        numbered = [Taken(seq, *one[1:]) for seq, one in enumerate(ready, self.seq + 1)]
        self.seq += len(numbered)
        return numbered

    def reading(
        self, t2000: int, row: int, total_wh: int, debit_e7: int, used_wh: int, status: int
    ) -> None:
        """Add a reading of a meter with one register, charged `debit_e7` of 1e-7 yuan in all."""
        debit_fen, residue_e7 = divmod(debit_e7, FEN_E7)
        registers_wh = (total_wh,) if total_wh else ()
        fields = Read(debit_fen, residue_e7, 0, status, used_wh, registers_wh)
        payload = _READ.pack(debit_fen, residue_e7, 0, status, used_wh, total_wh).rstrip(b"\0")
        self._added.append(Taken(0, t2000, _READING, 0, row, payload, fields))

    def freeze(self, t2000: int, row: int, frozen_t2000: int, total_wh: int) -> None:
        """Add what a meter with one register froze at a midnight."""
        payload = _FROZEN.pack(frozen_t2000, total_wh).rstrip(b"\0")
        fields = {"frozen_t2000": frozen_t2000, "registers_wh": (total_wh,)}
        self._added.append(Taken(0, t2000, _FREEZE, 0, row, payload, fields))

    def item(self, t2000: int, row: int, identifier: int, values: Sequence[int | None]) -> None:
        """Add a meter's answer, None: it has no such value."""
        words = [_NO_VALUE if one is None else one for one in values]
        payload = _ITEMS[len(words)].pack(identifier, len(words), *words).rstrip(b"\0")
        fields = {"identifier": f"{identifier:08X}", "count": len(words), "values": list(values)}
        self._added.append(Taken(0, t2000, _ITEM, 0, row, payload, fields))

    def add(self, kind: RecordKind, t2000: int, row: int, **fields: Any) -> None:
        """Add a record of any other kind."""
        payload = build_payload(kind, fields).rstrip(b"\0")
        self._added.append(stored(0, t2000, int(kind), 0, row, payload))


_T2000 = itemgetter(1)
