"""Name the outcomes of a card reader's operations; a reader is a `Carrier` of ports.py.

A card has 256 bytes of memory or more, of which the first 32 belong to the chip. A reader never
waits: an operation is started and then polled, one at a time.
"""

from micropython import const

# Outcomes of `poll`.
IDLE = const(0)
BUSY = const(1)
OK = const(2)
FAILED = const(3)  # the card gave no answer or a wrong one, or is gone

UID_SIZE = const(8)
