"""Name the control bytes of both standards, the relay actions and the bits of status word 3.

control C   D7 from the meter | D6 error reply | D5 more data follows | D4..D0 function

Spec: DL/T 645-2007, control byte, function 1CH, identifier 04000503; DL/T 645-1997, control byte.
"""

from micropython import const

_REPLY = const(0x80)
_MORE = const(0x20)
_ERROR = const(0x40)
_FUNCTION_MASK = const(0x1F)

# DL/T 645-2007
BROADCAST_TIME = const(0x08)
READ = const(0x11)
_READ_ADDRESS = const(0x13)
RELAY = const(0x1C)
# DL/T 645-1997
READ_1997 = const(0x01)
WRITE_1997 = const(0x04)

# N1 of the relay control 1CH.
TRIP = const(0x1A)
PERMIT_CLOSE = const(0x1B)
CLOSE = const(0x1C)
ALARM_ON = const(0x2A)
ALARM_OFF = const(0x2B)
GUARD_ON = const(0x3A)
GUARD_OFF = const(0x3B)

# Bits of status word 3, 04000503.
STATUS_OPEN = const(0x0010)
STATUS_COMMANDED_TRIP = const(0x0040)
STATUS_ALARM = const(0x0080)
STATUS_GUARD = const(0x1000)
