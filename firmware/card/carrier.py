"""Outcomes of the operations of a card reader, which is a `Carrier` of ports.py.

A card is 256 bytes of memory or more, the first 32 of which belong to the chip. A reader never
waits: an operation is started and polled. One is on its way at a time.
"""

from micropython import const

# Outcomes of `poll`.
IDLE = const(0)
BUSY = const(1)
OK = const(2)
FAILED = const(3)  # no answer, a wrong one, or the card is gone

UID_SIZE = const(8)
