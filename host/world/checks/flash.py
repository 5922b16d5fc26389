"""The journal on a simulated flash, as docs/SPEC.md defines what counts in it."""

import zlib
from bisect import bisect_right
from collections.abc import Mapping

from host.frames.record import RECORD_SIZE


def records_of(content: Mapping[str, bytes]) -> dict[int, bytes]:
    """All records on the flash, by sequence number, as docs/SPEC.md defines what counts."""
    names = sorted(name for name in content if name.startswith("j"))
    found: dict[int, bytes] = {}
    for at, name in enumerate(names):
        first_seq = int(name[1:], 16)
        end_seq = int(names[at + 1][1:], 16) if at + 1 < len(names) else 1 << 32
        whole = content[name]
        for seq in range(first_seq, min(end_seq, first_seq + len(whole) // RECORD_SIZE)):
            offset = (seq - first_seq) * RECORD_SIZE
            raw = whole[offset : offset + RECORD_SIZE]
            covered, crc = raw[:-4], raw[-4:]
            if zlib.crc32(covered) != int.from_bytes(crc, "little"):
                break
            if int.from_bytes(raw[:4], "little") != seq:
                break
            found[seq] = raw
    return found


def read_from(content: Mapping[str, bytes], seq: int, last_seq: int) -> list[bytes]:
    """The 64 bytes of each record from `seq` to `last_seq`, unverified."""
    if seq > last_seq:
        return []
    names = sorted(name for name in content if name.startswith("j"))
    firsts = [int(name[1:], 16) for name in names]
    found = []
    for one in range(seq, last_seq + 1):
        at = bisect_right(firsts, one) - 1
        if at < 0:
            break
        offset = (one - firsts[at]) * RECORD_SIZE
        found.append(content[names[at]][offset : offset + RECORD_SIZE])
    return found
