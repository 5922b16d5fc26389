"""Write and read records of 64 bytes: in memory, on cards and on the console.

On flash and on the uplink records are packed, see packing.py.

    0    4      8     9      10     12             60    64
    seq  t2000  kind  flags  index  payload 48     CRC-32

All numbers are little-endian. The CRC-32 (IEEE) covers the first 60 bytes. Unused payload bytes
are 0. `seq` starts at 1, grows by 1 and is never reused. The payloads by kind are:

    METER     address 6, account 6, tariff 1, line 1, standard 1, active 1, speed 1, marks 1,
              relay 1
    READING   debit_fen 4, residue_e7 4, residue_e11 2, status 2, used_wh 4, registers_wh 8 x 4
    TOP_UP    order 4, amount_fen 4, credit_fen 4, balance_fen 4, uid 8, source 1, key version 1,
              debt week 2, repaid_fen 4, debt_fen 4, header MAC 8, debt_week_fen 4
    RELAY     desired 1, stage 1, reason 1, 0, status 2, balance_fen 4
    POLICY    new 1, old 1, reason 1, 0, balance_fen 4
    ROLLOVER  old period 4, new period 4, used_wh 4, debit_fen 4
    TARIFF    number 1, 0, size 2, SHA-256 of the image 8
    START     cause 1, settings 1, reset cause 1, 0, first seq kept 4, records lost 4,
              records rotten 4
    FAULT     reason 1, stopped 1, 0 0, value 4, limit 4
    CARD      code 1, 0 0 0, order 4, amount_fen 4, uid 8, account 6, 0 0, illegal 2, recent 2
    LINE      state 1, 0, failures 2, ahead_s 4
    CLOCK     old t2000 4, new t2000 4, source 1
    ACCOUNT   household 1, grade 1, multiplier 2, guard 1, 0 0 0, debt_fen 4, power_limit_w 4
    FREEZE    frozen t2000 4, registers_wh 8 x 4
    PLAN      tariff 1, 0 0 0, from t2000 4
    ITEM      identifier 4, count 1, 0 0 0, values 4 x count
    REFUND    as TOP_UP, amount_fen is paid back
    CORRECTION    amount_fen 4, credit_fen 4, debit_fen 4, residue_e7 4, residue_e11 2, reason 1,
              0, used_wh 4, period 4, energy_wh 4
    STANDING  order 4, header MAC 8, credit_fen 4, debit_fen 4, residue_e7 4, residue_e11 2,
              household 1, grade 1, multiplier 2, marks 1, source 1, debt_fen 4, debt_week_fen 4,
              since t2000 4, state 1, relay 1, tariff 1, 0
    STANDING_REGISTERS    registers_wh 8 x 4, read t2000 4, power_limit_w 4, debt week 2
    LOGIN     result 1, key 1, key version 1, channel 1, failures 4, session 4
    SETTING   source 1, number 1, form 1, 0, old 8, new 8, uid 8
    OPERATOR_CARD         kind 1, key version 1, code 1, 0, number 4, uid 8
    FIRMWARE  stage 1, slot 1, 0 0, counter 4, SHA-256 8, version 16
    COMMAND   number 4, stage 1, outcome 1, 0 0, expires t2000 4, SHA-256 of the text 8, its first
              24 bytes
    EVENT     what 1, state 1, 0 0, value 4
    QUOTA     used_wh 4, period 4, quota 4, free 4, quota and free before it 4 each

Each kind has a function that writes its payload into the record at `offset`, and each kind that
recovery needs has one that reads it: no other module depends on the place of a field. The bytes
shown as 0 must be 0 before the payload is written. The speed is a place in dlt645.probe.BAUDS. The
ahead_s of a meter's clock and the values have a sign.

On 32-bit boards a CRC-32 above 2**30 and the window that it covers are heap objects. So writing
and verifying a record allocates a few dozen bytes, and reading its fields allocates nothing.

Spec: docs/SPEC.md, "Record".
"""

from binascii import crc32
from struct import pack_into, unpack_from

from micropython import const

RECORD_SIZE = const(64)
PAYLOAD = const(12)
PAYLOAD_SIZE = const(48)
# Registers of a READING.
REGISTERS = const(8)
# A record that was forged may say more than a register shows.
_MODULUS_WH = const(1000000000)

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
CORRECTION = const(18)
STANDING = const(19)
STANDING_REGISTERS = const(20)
LOGIN = const(21)
SETTING = const(22)
OPERATOR_CARD = const(23)
FIRMWARE = const(24)
COMMAND = const(25)
EVENT = const(26)
QUOTA = const(27)

# Flags.
JOINED = const(0x01)  # the next record belongs to this one
ESTIMATED = const(0x02)  # a READING was divided by time

# Places in a row, which is the first part of a METER payload.
METER_ACCOUNT = const(6)
METER_TARIFF = const(12)
METER_LINE = const(13)
METER_STANDARD = const(14)
METER_ACTIVE = const(15)
METER_SPEED = const(16)
METER_SIZE = const(17)
# Bits of METER.marks.
METER_START = const(0x01)  # the next reading is the first of these registers
METER_UNTOLD = const(0x02)  # the account's earlier purchases are unknown here

# READING.status of a meter without a status word
STATUS_UNKNOWN = const(0xFFFF)
# TOP_UP.source, REFUND.source
SOURCE_CARD = const(1)
SOURCE_ABOVE = const(3)  # a command of the head-end
# STANDING.source
SOURCE_TOLD = const(1)  # the figures of the head-end, or of another concentrator
SOURCE_NEW = const(2)  # an operator says that the account has bought nothing anywhere
SOURCE_HERE = const(3)  # this concentrator's figures, for the head-end
# Bits of STANDING.marks.
STANDING_GUARD = const(0x01)
STANDING_STOPPED = const(0x02)
HEADER_MAC_SIZE = const(8)
# RELAY.desired and RELAY.stage
RELAY_CLOSED = const(0)
RELAY_OPEN = const(1)
STAGE_INTENT = const(1)
STAGE_CONFIRMED = const(2)
STAGE_FAILED = const(3)
# METER.standard
STANDARD_2007 = const(0)
STANDARD_1997 = const(1)
STANDARD_AUTO = const(2)  # not known yet: line/identify.py finds it
# LINE.state
LINE_SILENT = const(1)
LINE_ANSWERS = const(2)
LINE_CLOCK = const(3)  # its clock is wrong and cannot be set by broadcast

# LOGIN.result
LOGIN_OPENED = const(1)
LOGIN_REFUSED = const(2)
LOGIN_ENDED = const(3)
# FIRMWARE.stage
FIRMWARE_INSTALLED = const(1)
FIRMWARE_ON_TRIAL = const(2)
FIRMWARE_HEALTHY = const(3)
FIRMWARE_BACK = const(4)
# LOGIN.channel, SETTING.source
OF_CONSOLE = const(1)
OF_UPLINK = const(2)
OF_PROMPT = const(3)
OF_OPERATOR_CARD = const(4)
# EVENT.what: the head-end has more or other records than these (state 1), or no longer (state 0,
# value: the first record that is for the head-end); the standing of every account was written
EVENT_BEHIND = const(3)
EVENT_TOLD = const(4)
NO_INDEX = const(0xFFFF)  # the record belongs to no account
_TOP_UP_MAC = const(36)
_STANDING = "<I8sIIIHBBHBBIIIBBBB"
_STANDING_SOURCE = const(31)
_STANDING_READ = const(32)

_CRC = const(60)
_U32 = const(0xFFFFFFFF)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from array import array
    from typing import Any

    Bytes = bytes | bytearray | memoryview


def encode_into(
    buf: bytearray, offset: int, seq: int, t2000: int, kind: int, flags: int, index: int
) -> None:
    """Write the header before and the CRC behind the payload of the record at `offset`."""
    pack_into("<IIBBH", buf, offset, seq, t2000, kind, flags, index)
    seal(buf, offset)


def put_head(buf: bytearray, seq: int, t2000: int, kind: int, flags: int, index: int) -> None:
    """Write the header of the record at the beginning of `buf`, without a CRC."""
    pack_into("<IIBBH", buf, 0, seq, t2000, kind, flags, index)


def seal(buf: bytearray, offset: int = 0) -> None:
    """Write the CRC of the record at `offset`."""
    pack_into("<I", buf, offset + _CRC, crc32(memoryview(buf)[offset : offset + _CRC]))


def verify(buf: "bytearray | memoryview", offset: int) -> bool:
    """Return whether `offset` has a whole record with a right CRC and a `seq` above 0."""
    if len(buf) < offset + RECORD_SIZE or seq_at(buf, offset) == 0:
        return False
    computed = crc32(memoryview(buf)[offset : offset + _CRC])
    return bool(unpack_from("<I", buf, offset + _CRC)[0] == computed)


def seq_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Return the sequence number of the record at `offset`."""
    return u32_at(buf, offset)


def t2000_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Return the time of the record at `offset`, in s since 2000, local standard time."""
    return u32_at(buf, offset + 4)


def kind_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Return the kind of the record at `offset`."""
    return buf[offset + 8]


def flags_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Return the flags of the record at `offset`."""
    return buf[offset + 9]


def index_at(buf: "bytearray | memoryview", offset: int) -> int:
    """Return the index of the account to which the record at `offset` belongs."""
    return buf[offset + 10] | buf[offset + 11] << 8


def u32_at(buf: "Bytes", offset: int) -> int:
    """Return the little-endian number of 4 bytes; from 2**30 on it is a heap object on a board."""
    low = buf[offset] | buf[offset + 1] << 8 | buf[offset + 2] << 16
    return low | buf[offset + 3] << 24


# --- payloads ---------------------------------------------------------------------------------


def meter_row(
    address: "Bytes",
    account: "Bytes",
    tariff: int,
    line: int,
    standard: int,
    active: int,
    speed: int,
) -> bytearray:
    """Return a row of METER_SIZE bytes; `address` is in wire order, `account` in reading order."""
    row = bytearray(METER_SIZE)
    row[:METER_ACCOUNT] = address
    row[METER_ACCOUNT:METER_TARIFF] = account
    row[METER_TARIFF] = tariff
    row[METER_LINE] = line
    row[METER_STANDARD] = standard
    row[METER_ACTIVE] = active
    row[METER_SPEED] = speed
    return row


def put_meter(buf: bytearray, offset: int, row: "Bytes", marks: int, relay: int) -> None:
    """Write a METER payload: `row` has METER_SIZE bytes, `relay` is the registry's new value."""
    at = offset + PAYLOAD
    buf[at : at + METER_SIZE] = row
    buf[at + METER_SIZE] = marks
    buf[at + METER_SIZE + 1] = relay


def meter_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return marks and relay of a METER; the registry reads the row before them."""
    at = offset + PAYLOAD + METER_SIZE
    return buf[at], buf[at + 1]


def put_reading(
    buf: bytearray,
    offset: int,
    debit_fen: int,
    residue_e7: int,
    residue_e11: int,
    status: int,
    used_wh: int,
    registers_wh: "array[int]",
) -> None:
    """Write a READING payload; `registers_wh` has eight values."""
    at = offset + PAYLOAD
    pack_into("<IIHHI", buf, at, debit_fen, residue_e7, residue_e11, status, used_wh)
    for register in range(REGISTERS):
        pack_into("<I", buf, at + 16 + 4 * register, registers_wh[register])


def reading_at(
    buf: bytearray, offset: int, registers_wh: "array[int]"
) -> "tuple[int, int, int, int]":
    """Fill `registers_wh` from a READING; return debit_fen, residue_e7, residue_e11, used_wh."""
    at = offset + PAYLOAD
    for register in range(REGISTERS):
        registers_wh[register] = u32_at(buf, at + 16 + 4 * register) % _MODULUS_WH
    residue_e11 = buf[at + 8] | buf[at + 9] << 8
    return u32_at(buf, at), u32_at(buf, at + 4), residue_e11, u32_at(buf, at + 12)


def put_top_up(
    buf: bytearray,
    offset: int,
    order: int,
    amount_fen: int,
    repaid_fen: int,
    uid: "Bytes",
    source: int,
    key_version: int,
    header_mac: "Bytes",
) -> None:
    """Write the order of a TOP_UP or REFUND; `put_top_up_result` writes the rest.

    `uid` and `header_mac` have 8 bytes.
    """
    at = offset + PAYLOAD
    pack_into("<II", buf, at, order, amount_fen)
    buf[at + 16 : at + 24] = uid
    buf[at + 24] = source
    buf[at + 25] = key_version
    pack_into("<I", buf, at + 28, repaid_fen)
    buf[at + _TOP_UP_MAC : at + _TOP_UP_MAC + HEADER_MAC_SIZE] = header_mac


def put_top_up_result(
    buf: bytearray,
    offset: int,
    credit_fen: int,
    balance_fen: int,
    debt_fen: int,
    debt_week: int,
    debt_week_fen: int,
) -> None:
    """Write the account's money after a TOP_UP or REFUND; `balance_fen` has a sign."""
    at = offset + PAYLOAD
    pack_into("<Ii", buf, at + 8, credit_fen, balance_fen)
    pack_into("<H", buf, at + 26, debt_week)
    pack_into("<I", buf, at + 32, debt_fen)
    pack_into("<I", buf, at + 44, debt_week_fen)


def top_up_at(buf: bytearray, offset: int) -> "tuple[int, int, int, int, int, int]":
    """Return the account's money after a TOP_UP or REFUND.

    The values are order, credit_fen, debit_fen, debt_fen, debt_week and debt_week_fen.
    """
    at = offset + PAYLOAD
    order, _, credit_fen, balance_fen = unpack_from("<IIIi", buf, at)
    debt_week = buf[at + 26] | buf[at + 27] << 8
    debit_fen = (credit_fen - balance_fen) & _U32
    return order, credit_fen, debit_fen, u32_at(buf, at + 32), debt_week, u32_at(buf, at + 44)


def repaid_at(buf: bytearray, offset: int) -> int:
    """Return the part of a TOP_UP that repaid debt, fen."""
    return u32_at(buf, offset + PAYLOAD + 28)


def top_up_mac_at(buf: bytearray, offset: int) -> "memoryview":
    """Return the header MAC of a TOP_UP or REFUND, 8 bytes."""
    at = offset + PAYLOAD + _TOP_UP_MAC
    return memoryview(buf)[at : at + HEADER_MAC_SIZE]


def put_relay(
    buf: bytearray,
    offset: int,
    desired: int,
    stage: int,
    reason: int,
    status: int,
    balance_fen: int,
) -> None:
    """Write a RELAY payload."""
    at = offset + PAYLOAD
    pack_into("<BBBBHi", buf, at, desired, stage, reason, 0, status, balance_fen)


def relay_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return desired and stage of a RELAY."""
    return buf[offset + PAYLOAD], buf[offset + PAYLOAD + 1]


def put_policy(
    buf: bytearray, offset: int, new: int, old: int, reason: int, balance_fen: int
) -> None:
    """Write a POLICY payload."""
    pack_into("<BBBBi", buf, offset + PAYLOAD, new, old, reason, 0, balance_fen)


def policy_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return the new and the old state of a POLICY."""
    return buf[offset + PAYLOAD], buf[offset + PAYLOAD + 1]


def put_rollover(
    buf: bytearray, offset: int, old_t2000: int, new_t2000: int, used_wh: int, debit_fen: int
) -> None:
    """Write a ROLLOVER payload: the period that began at `old_t2000` is closed."""
    pack_into("<IIII", buf, offset + PAYLOAD, old_t2000, new_t2000, used_wh, debit_fen)


def rollover_at(buf: bytearray, offset: int) -> int:
    """Return the beginning of the period that a ROLLOVER begins, in s since 2000."""
    return u32_at(buf, offset + PAYLOAD + 4)


def put_quota(
    buf: bytearray,
    offset: int,
    used_wh: int,
    period_t2000: int,
    quota: int,
    free: int,
    old_quota: int = 0,
    old_free: int = 0,
) -> None:
    """Write a QUOTA payload: the new values of the ledger's columns of these names."""
    fields = (used_wh, period_t2000, quota, free, old_quota, old_free)
    pack_into("<6I", buf, offset + PAYLOAD, *fields)


def quota_at(buf: bytearray, offset: int) -> "tuple[int, int, int, int]":
    """Return used_wh, period, quota and free of a QUOTA."""
    at = offset + PAYLOAD
    return u32_at(buf, at), u32_at(buf, at + 4), u32_at(buf, at + 8), u32_at(buf, at + 12)


def old_quota_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return quota and free as they were before a QUOTA."""
    return u32_at(buf, offset + PAYLOAD + 16), u32_at(buf, offset + PAYLOAD + 20)


def rollover_from(buf: bytearray, offset: int) -> int:
    """Return the beginning of the period that a ROLLOVER ends, in s since 2000."""
    return u32_at(buf, offset + PAYLOAD)


def put_tariff(buf: bytearray, offset: int, number: int, name: bytes, size: int) -> None:
    """Write a TARIFF payload; `name` is the first 8 bytes of the image's SHA-256."""
    at = offset + PAYLOAD
    pack_into("<BBH", buf, at, number, 0, size)
    buf[at + 4 : at + 12] = name


def tariff_at(buf: bytearray, offset: int) -> "tuple[int, bytes]":
    """Return the number of a TARIFF and the name of its image, 8 bytes."""
    at = offset + PAYLOAD
    return buf[at], bytes(buf[at + 4 : at + 12])


def put_start(
    buf: bytearray,
    offset: int,
    first_seq: int,
    lost: int,
    rotten: int,
    settings: int,
    reset_cause: int,
) -> None:
    """Write a START payload, with cause 0: unknown."""
    at = offset + PAYLOAD
    pack_into("<BBHIII", buf, at, 0, settings, reset_cause, first_seq, lost, rotten)


def put_fault(
    buf: bytearray, offset: int, reason: int, stopped: int, value: int, limit: int
) -> None:
    """Write a FAULT payload with the lower 32 bits of `value` and `limit`."""
    at = offset + PAYLOAD
    pack_into("<BBHII", buf, at, reason, stopped, 0, value & _U32, limit & _U32)


def fault_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return the reason of a FAULT, and 1 if it has stopped the billing, else 0."""
    return buf[offset + PAYLOAD], buf[offset + PAYLOAD + 1]


def put_correction(buf: bytearray, offset: int, fields: "tuple[int, ...]") -> None:
    """Write a CORRECTION payload: all fields in order, without the byte that is 0."""
    pack_into("<IIIIHBxIII", buf, offset + PAYLOAD, *fields)


def correction_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return credit_fen and tier period after a CORRECTION; the READING behind has the rest."""
    return u32_at(buf, offset + PAYLOAD + 4), u32_at(buf, offset + PAYLOAD + 24)


def put_card(
    buf: bytearray,
    offset: int,
    code: int,
    order: int,
    amount_fen: int,
    uid: "Bytes",
    account: "Bytes",
    illegal: "array[int]",
) -> None:
    """Write a CARD payload: `uid` has 8 bytes, `account` 6, `illegal` the two new counts."""
    at = offset + PAYLOAD
    pack_into("<III", buf, at, code, order, amount_fen)
    buf[at + 12 : at + 20] = uid
    buf[at + 20 : at + 26] = account
    pack_into("<HH", buf, at + 28, illegal[0], illegal[1])


def card_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return the counts after a CARD: of cards that are not genuine, and of the recent ones."""
    counts: tuple[int, int] = unpack_from("<HH", buf, offset + PAYLOAD + 28)
    return counts


def put_line(buf: bytearray, offset: int, state: int, failures: int, ahead_s: int) -> None:
    """Write a LINE payload; `ahead_s` has a sign."""
    pack_into("<BBHi", buf, offset + PAYLOAD, state, 0, failures, ahead_s)


def put_clock(buf: bytearray, offset: int, old_t2000: int, new_t2000: int, source: int) -> None:
    """Write a CLOCK payload; `source` is one of concentrator/timekeeper.py."""
    pack_into("<IIB", buf, offset + PAYLOAD, old_t2000, new_t2000, source)


def clock_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return the old and the new t2000 of a CLOCK; 0: the time was unknown."""
    return u32_at(buf, offset + PAYLOAD), u32_at(buf, offset + PAYLOAD + 4)


def put_account(
    buf: bytearray,
    offset: int,
    household: int,
    grade: int,
    multiplier: int,
    guard: int,
    debt_fen: int,
    power_limit_w: int,
) -> None:
    """Write an ACCOUNT payload."""
    at = offset + PAYLOAD
    pack_into("<BBHIII", buf, at, household, grade, multiplier, guard, debt_fen, power_limit_w)


def account_at(buf: bytearray, offset: int) -> "tuple[int, int, int, int, int, int]":
    """Return household, grade, multiplier, guard, debt_fen, power_limit_w of an ACCOUNT."""
    at = offset + PAYLOAD
    multiplier = buf[at + 2] | buf[at + 3] << 8
    debt_fen = u32_at(buf, at + 8)
    return buf[at], buf[at + 1], multiplier, buf[at + 4], debt_fen, u32_at(buf, at + 12)


def put_freeze(
    buf: bytearray, offset: int, t2000: int, values_wh: "array[int]", count: int
) -> None:
    """Write a FREEZE payload of `count` values: a total alone, or a total and its rates.

    A total alone is written in the place of the first rate. A missing value is 0.
    """
    at = offset + PAYLOAD
    pack_into("<II", buf, at, t2000, max(0, values_wh[0]) if count == 1 else 0)
    for place in range(1, count):
        pack_into("<I", buf, at + 4 * place, max(0, values_wh[place]))


def freeze_at(buf: bytearray, offset: int) -> int:
    """Return the t2000 at which the registers of a FREEZE were frozen."""
    return u32_at(buf, offset + PAYLOAD)


def put_plan(buf: bytearray, offset: int, tariff: int, from_t2000: int) -> None:
    """Write a PLAN payload."""
    pack_into("<II", buf, offset + PAYLOAD, tariff, from_t2000)


def plan_at(buf: bytearray, offset: int) -> "tuple[int, int]":
    """Return the tariff of a PLAN and the t2000 from which it counts."""
    return buf[offset + PAYLOAD], u32_at(buf, offset + PAYLOAD + 4)


def put_item(
    buf: bytearray, offset: int, identifier: int, values: "array[int]", count: int
) -> None:
    """Write an ITEM payload of `count` values."""
    at = offset + PAYLOAD
    pack_into("<IB", buf, at, identifier, count)
    for place in range(count):
        pack_into("<i", buf, at + 8 + 4 * place, values[place])


def put_login(
    buf: bytearray,
    offset: int,
    result: int,
    right: int,
    version: int,
    channel: int,
    failures: int,
    session: int,
) -> None:
    """Write a LOGIN payload."""
    at = offset + PAYLOAD
    pack_into("<BBBBII", buf, at, result, right, version, channel, failures, session)


def put_setting(
    buf: bytearray, offset: int, source: int, change: "tuple[int, int, bytes, bytes]", uid: "Bytes"
) -> None:
    """Write a SETTING payload; `change` is number, form, and 8 bytes each of old and new."""
    number, form, old, new = change
    pack_into("<BBBB8s8s8s", buf, offset + PAYLOAD, source, number, form, 0, old, new, bytes(uid))


def put_operator_card(
    buf: bytearray, offset: int, kind: int, version: int, number: int, uid: "Bytes"
) -> None:
    """Write an OPERATOR_CARD payload of a card that is carried out."""
    pack_into("<BBBBI8s", buf, offset + PAYLOAD, kind, version, 0, 0, number, bytes(uid))


def put_firmware(
    buf: bytearray, offset: int, stage: int, product: "tuple[int, int, bytes, bytes]"
) -> None:
    """Write a FIRMWARE payload; `product` is slot, counter, 8 bytes of SHA-256 and version."""
    slot, counter, digest, version = product
    pack_into("<BBHI8s16s", buf, offset + PAYLOAD, stage, slot, 0, counter, digest, version)


def firmware_at(buf: bytearray, offset: int) -> "tuple[int, int, int, int]":
    """Return stage and counter of a FIRMWARE, and its SHA-256 as two numbers."""
    stage, _, counter, low, high = unpack_from("<HHIII", buf, offset + PAYLOAD)
    return stage & 0xFF, counter, low, high


def put_command(
    buf: bytearray, offset: int, fields: "tuple[int, int, int, int]", name: "Bytes", text: "Bytes"
) -> None:
    """Write a COMMAND payload: number, stage, outcome, expires; the SHA-256; the text's start."""
    number, stage, outcome, expires = fields
    at = offset + PAYLOAD
    pack_into("<IBBHI8s24s", buf, at, number, stage, outcome, 0, expires, bytes(name), bytes(text))


def command_at(buf: bytearray, offset: int) -> "tuple[int, int, int, int]":
    """Return number, stage and outcome of a COMMAND, and the first 4 bytes of its SHA-256."""
    at = offset + PAYLOAD
    return u32_at(buf, at), buf[at + 4], buf[at + 5], u32_at(buf, at + 12)


def put_event(buf: bytearray, offset: int, what: int, state: int, value: int) -> None:
    """Write an EVENT payload."""
    pack_into("<BBHi", buf, offset + PAYLOAD, what, state, 0, value)


def event_at(buf: bytearray, offset: int) -> "tuple[int, int, int]":
    """Return `what`, `state` and `value` of an EVENT."""
    at = offset + PAYLOAD
    return buf[at], buf[at + 1], u32_at(buf, at + 4)


def put_standing(buf: bytearray, offset: int, fields: "tuple[Any, ...]") -> None:
    """Write a STANDING payload: `fields` in the order above, without the 0 at its end."""
    pack_into(_STANDING, buf, offset + PAYLOAD, *fields, 0)


def standing_at(buf: bytearray, offset: int) -> "tuple[Any, ...]":
    """Return the fields of a STANDING in the order of `put_standing`, and a 0."""
    fields: tuple[Any, ...] = unpack_from(_STANDING, buf, offset + PAYLOAD)
    return fields


def set_source(buf: bytearray, offset: int, source: int) -> None:
    """Set the source of a STANDING."""
    buf[offset + PAYLOAD + _STANDING_SOURCE] = source


def put_standing_registers(
    buf: bytearray,
    offset: int,
    registers_wh: "array[int]",
    read_t2000: int,
    power_limit_w: int,
    debt_week: int,
) -> None:
    """Write a STANDING_REGISTERS payload; `registers_wh` has eight values."""
    at = offset + PAYLOAD
    for register in range(REGISTERS):
        pack_into("<I", buf, at + 4 * register, registers_wh[register])
    pack_into("<IIH", buf, at + _STANDING_READ, read_t2000, power_limit_w, debt_week)


def standing_registers_at(
    buf: bytearray, offset: int, registers_wh: "array[int]"
) -> "tuple[int, int, int]":
    """Fill `registers_wh` from a STANDING_REGISTERS; return read_t2000, power_limit_w, week."""
    at = offset + PAYLOAD
    for register in range(REGISTERS):
        registers_wh[register] = u32_at(buf, at + 4 * register) % _MODULUS_WH
    fields: tuple[int, int, int] = unpack_from("<IIH", buf, at + _STANDING_READ)
    return fields
