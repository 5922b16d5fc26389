"""Write what a line says to a pcap file, which Wireshark and tcpdump read.

A packet is a frame with its wake-up bytes left out, or noise; its link type is DLT_USER0, which
Wireshark is told to take as any protocol. Times are UTC, as the format has them.

    file    magic A1B2C3D4, version 2.4, 0, 0, size limit, link type; all little-endian
    packet  seconds, microseconds, size, size, octets

Spec: IETF draft-ietf-opsawg-pcap.
"""

import struct
from datetime import datetime
from typing import BinaryIO

USER0 = 147
_MAGIC = 0xA1B2C3D4
_SIZE_LIMIT = 65_535


class PcapWriter:
    """A pcap file that grows; `out` is written through after each packet."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._write(struct.pack("<IHHIIII", _MAGIC, 2, 4, 0, 0, _SIZE_LIMIT, USER0))

    def packet(self, at: datetime, octets: bytes) -> None:
        """Write octets that came at the time `at`, which has a zone."""
        kept = octets[:_SIZE_LIMIT]
        second = int(at.timestamp())
        head = struct.pack("<IIII", second, at.microsecond, len(kept), len(octets))
        self._write(head + kept)

    def _write(self, octets: bytes) -> None:
        self._out.write(octets)
        self._out.flush()
