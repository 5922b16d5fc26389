"""Name the data identifiers, and decode reply bytes to integers.

The device decodes every reply with `decode(di, data, offset, size, out)`, whose table is
`dlt645.table`. It writes into a preallocated array('i') and returns the count of values, or a
refusal below zero. Nothing allocates and nothing raises, whatever the meter sent.
"""

from micropython import const

from dlt645 import fast

NO_VALUE = fast.NO_VALUE
BAD_VALUE = fast.BAD_VALUE
BAD_SIZE = fast.BAD_SIZE
UNKNOWN_DI = fast.UNKNOWN_DI

ENERGY_FORWARD = const(0x0001FF00)
MONEY = const(0x00900200)
DATE = const(0x04000101)
TIME = const(0x04000102)
DATE_TIME = const(0x0400010C)
STATUS_3 = const(0x04000503)
SETTLEMENT_DAYS = const(0x04000B00)
FREEZES = const(0x05000000)
ENERGY_1997 = const(0x9010)
ENERGY_BLOCK_1997 = const(0x901F)
DATE_1997 = const(0xC010)
TIME_1997 = const(0xC011)
RELAY_1997 = const(0xC028)
RELAY_STATUS_1997 = const(0xC029)

_LONGEST_REPLY = const(200)

decode = fast.decode


def reply_size(di: int) -> int:
    """Return the data bytes expected after `di`; for an unknown one, the longest reply's."""
    row = fast.find_row(di)
    return row & 0xFF if row >= 0 else _LONGEST_REPLY
