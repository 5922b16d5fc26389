"""The 64-byte record of the journal, which is also what the uplink carries.

    0    4      8     9      10     12             60    64
    seq  t2000  kind  flags  index  payload 48     CRC-32

Little-endian; the CRC-32 (IEEE) covers the first 60 bytes; unused payload bytes are 0. `seq`
starts at 1, grows by 1 and is never reused. Payloads by kind:

    METER     address 6, account 6, tariff 1, line 1, standard 1, active 1, speed 1
    READING   debit_fen 4, residue_e7 4, residue_e11 2, status 2, used_wh 4, rates_wh 8 x 4
    TOP_UP    order 4, amount_fen 4, credit_fen 4, balance_fen 4, uid 8, source 1, key version 1,
              0 0, repaid_fen 4
    RELAY     desired 1, stage 1, reason 1, 0, status 2, balance_fen 4
    POLICY    new 1, old 1, reason 1, 0, balance_fen 4
    ROLLOVER  old period 4, new period 4, used_wh 4, debit_fen 4
    TARIFF    number 1, 0 0 0, image CRC-32 4, image size 2
    START     cause 1, 0 0 0, first seq kept 4, records lost 4
    FAULT     reason 1, stopped 1, 0 0, value 4, limit 4
    CARD      code 1, 0 0 0, order 4, amount_fen 4, uid 8, account 6
    LINE      state 1, 0, failures 2, ahead_s 4
    CLOCK     old t2000 4, new t2000 4
    ACCOUNT   household 1, grade 1, multiplier 2, guard 1, 0 0 0, debt_fen 4
    FREEZE    frozen t2000 4, rates_wh 8 x 4
    PLAN      tariff 1, 0 0 0, from t2000 4
    ITEM      identifier 4, count 1, 0 0 0, values 4 x count
    REFUND    as TOP_UP, amount_fen is paid back

The speed is a place in dlt645.probe.BAUDS. ahead_s, of a meter's clock, and values have a sign.

CRC-32 values above 2**30 and the window they are taken over are heap objects on 32-bit boards:
writing and verifying a record allocates a few dozen bytes, reading its fields does not.
"""

from binascii import crc32
from struct import pack_into, unpack_from

from micropython import const

RECORD_SIZE = const(64)
PAYLOAD = const(12)
PAYLOAD_SIZE = const(48)

METER = const(1)
READING = const(2)
TOP_UP = const(3)
RELAY = const(4)
POLICY = const(5)
ROLLOVER = const(6)
TARIFF = const(7)
START = const(8)
FAULT = const(9)
CARD = const(10)
LINE = const(11)
CLOCK = const(12)
ACCOUNT = const(13)
FREEZE = const(14)
PLAN = const(15)
ITEM = const(16)
REFUND = const(17)

# Flags: the record behind this one belongs to it; a READING was divided by time.
JOINED = const(0x01)
ESTIMATED = const(0x02)

# TOP_UP.source, REFUND.source
SOURCE_CARD = const(1)
SOURCE_RESTORED = const(2)  # what the head-end knew before a concentrator was replaced
# RELAY.desired and RELAY.stage
RELAY_CLOSED = const(0)
RELAY_OPEN = const(1)
STAGE_INTENT = const(1)
STAGE_CONFIRMED = const(2)
STAGE_FAILED = const(3)
# METER.standard
STANDARD_2007 = const(0)
STANDARD_1997 = const(1)
STANDARD_AUTO = const(2)  # not known yet: it is found out
# LINE.state
LINE_SILENT = const(1)
LINE_ANSWERS = const(2)
LINE_CLOCK = const(3)  # its clock is wrong and cannot be set by broadcast

_CRC = const(60)


def encode_into(
    buf: bytearray, offset: int, seq: int, t2000: int, kind: int, flags: int, index: int
) -> None:
    """Finish the record at `offset`: header before and CRC behind the payload already there."""
    pack_into("<IIBBH", buf, offset, seq, t2000, kind, flags, index)
    pack_into("<I", buf, offset + _CRC, crc32(memoryview(buf)[offset : offset + _CRC]))


def verify(buf: "bytearray | memoryview", offset: int) -> bool:
    """True when a whole record with the right CRC and a `seq` above 0 stands at `offset`."""
    if len(buf) < offset + RECORD_SIZE or seq_at(buf, offset) == 0:
        return False
    computed = crc32(memoryview(buf)[offset : offset + _CRC])
    return bool(unpack_from("<I", buf, offset + _CRC)[0] == computed)


def seq_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Sequence number of the record at `offset`."""
    return u32_at(buf, offset)


def t2000_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Time of the record at `offset`, seconds since 2000-01-01 local standard time."""
    return u32_at(buf, offset + 4)


def kind_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Kind of the record at `offset`."""
    return buf[offset + 8]


def flags_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Flags of the record at `offset`."""
    return buf[offset + 9]


def index_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Index of the account the record at `offset` belongs to."""
    return buf[offset + 10] | buf[offset + 11] << 8


def u32_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Little-endian number of 4 bytes; a heap object on 32-bit boards from 2**30 on."""
    low = buf[offset] | buf[offset + 1] << 8 | buf[offset + 2] << 16
    return low | buf[offset + 3] << 24
