"""Keep the meters: a row for each account, in columns that are allocated once.

The index of a row is also the `index` of journal records and of the ledger. Rows are used from 0
on and never move; a removed meter leaves an inactive row.
"""

from array import array
from binascii import unhexlify

from dlt645.probe import BAUDS
from micropython import const
from uplink import record

ADDRESS_SIZE = const(6)
_ACCOUNT_SIZE = const(6)

# Stages of a relay command in `relay`. DESIRED_OPEN is added while the supply is to be cut.
RELAY_IDLE = const(0)
RELAY_LOOK = const(1)  # read the status word first: the relay may be as desired
RELAY_SEND = const(2)  # the relay is not as desired: send the command
RELAY_CONFIRM = const(3)  # the command was sent: read the status after some time
RELAY_FAILED = const(4)  # given up until the next reading
RELAY_STAGE = const(0x0F)
DESIRED_OPEN = const(0x10)

# Parts of `protocol`.
STANDARD = const(0x0F)
SPEED_SHIFT = const(4)


class Registry:
    """The columns of the meters.

    count       the count of rows in use, active or not
    active      1 for a meter that is read and billed
    tariff      the number of its tariff
    line        the index of its line
    protocol    record.STANDARD_2007, _1997 or _AUTO, and the place of its speed in BAUDS << 4
    unknown     the count of active rows whose standard is not known
    notes       its note of dlt645.reply_delay: delay and misses in a row
    planned     the number of its next tariff, 0: none
    planned_t2000   the time from which the next tariff counts
    freeze_day  the newest day whose daily freeze is recorded, in days since 2000
    relay       the stage of the relay command, RELAY_..., and DESIRED_OPEN
    alarm       the last command for its alarm, see line/relays.py; 0: none yet
    pending     the count of rows whose relay stage is LOOK, SEND or CONFIRM
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self.pending = 0
        self.unknown = 0
        self.addresses = bytearray(ADDRESS_SIZE * limit)
        self.accounts = bytearray(_ACCOUNT_SIZE * limit)
        self.active = bytearray(limit)
        self.tariff = bytearray(limit)
        self.line = bytearray(limit)
        self.protocol = bytearray(limit)
        halves = bytes(2 * limit)
        self.notes = array("H", halves)
        self.freeze_day = array("H", halves)
        self.planned = bytearray(limit)
        self.planned_t2000 = array("I", bytes(4 * limit))
        self.relay = bytearray(limit)
        self.alarm = bytearray(limit)

    def columns(self) -> "tuple[array[int] | bytearray, ...]":
        """Return the columns of a checkpoint, in order."""
        return (
            self.addresses,
            self.accounts,
            self.active,
            self.tariff,
            self.line,
            self.protocol,
            self.relay,
            self.freeze_day,
            self.planned,
            self.planned_t2000,
        )

    def misses(self, index: int) -> int:
        """Return the count of transactions in a row that the meter did not answer."""
        return self.notes[index] >> 8

    def address_into(self, index: int, buf: bytearray) -> None:
        """Copy the meter's address into `buf`, wire order."""
        start = index * ADDRESS_SIZE
        for position in range(ADDRESS_SIZE):
            buf[position] = self.addresses[start + position]

    def find_account(self, account: "bytes | bytearray | memoryview") -> int:
        """Return the active row of the account number (6 bytes, reading order), or -1."""
        return self._find(self.accounts, account, 1)

    def find_removed(self, account: "bytes | bytearray | memoryview") -> int:
        """Return the row that the account had before its meter was removed, or -1."""
        return self._find(self.accounts, account, 0)

    def find_address(self, address: "bytes | bytearray | memoryview") -> int:
        """Return the active row of the meter address (6 bytes, wire order), or -1."""
        return self._find(self.addresses, address, 1)

    def _find(
        self, column: bytearray, wanted: "bytes | bytearray | memoryview", active: int
    ) -> int:
        for index in range(self.count):
            start = index * ADDRESS_SIZE
            if column[start] == wanted[0] and self.active[index] == active:
                position = 1
                while position < ADDRESS_SIZE and column[start + position] == wanted[position]:
                    position += 1
                if position == ADDRESS_SIZE:
                    return index
        return -1

    def has_address(self, index: int, row: "bytearray | memoryview") -> bool:
        """Return whether the meter has the address with which `row` begins."""
        start = index * ADDRESS_SIZE
        for position in range(ADDRESS_SIZE):
            if self.addresses[start + position] != row[position]:
                return False
        return True

    def set_row(self, index: int, payload: "bytearray | memoryview", offset: int) -> None:
        """Set the row from the payload of a METER record."""
        start = index * ADDRESS_SIZE
        for position in range(ADDRESS_SIZE):
            self.addresses[start + position] = payload[offset + position]
            self.accounts[start + position] = payload[offset + record.METER_ACCOUNT + position]
        self.tariff[index] = payload[offset + record.METER_TARIFF]
        self.line[index] = payload[offset + record.METER_LINE]
        self.unknown -= self._is_unknown(index)
        self.protocol[index] = _protocol_of(
            payload[offset + record.METER_STANDARD], payload[offset + record.METER_SPEED]
        )
        self.active[index] = payload[offset + record.METER_ACTIVE]
        self.unknown += self._is_unknown(index)
        self.notes[index] = 0
        self.alarm[index] = 0
        self.count = max(self.count, index + 1)

    def set_relay(self, index: int, stage: int) -> None:
        """Set stage and DESIRED_OPEN of the relay command, and update `pending`."""
        self.pending += is_pending(stage) - is_pending(self.relay[index])
        self.relay[index] = stage

    def recount(self, count: int) -> None:
        """Count the rows after a checkpoint was read, of which `count` are in use.

        Relay commands restart with a look, because it is unknown what was sent since. What no
        build has written, as in a flash that was forged, becomes what is unknown.
        """
        self.count = count
        self.pending = self.unknown = 0
        for index in range(count):
            protocol = self.protocol[index]
            self.protocol[index] = _protocol_of(protocol & STANDARD, protocol >> SPEED_SHIFT)
            if self.relay[index] & RELAY_STAGE not in (RELAY_IDLE, RELAY_FAILED):
                self.relay[index] = RELAY_LOOK | self.relay[index] & DESIRED_OPEN
                self.pending += 1
            self.unknown += self._is_unknown(index)

    def row(self, index: int) -> bytearray:
        """Return the row as in a METER record."""
        start = index * ADDRESS_SIZE
        protocol = self.protocol[index]
        return record.meter_row(
            self.addresses[start : start + ADDRESS_SIZE],
            self.accounts[start : start + _ACCOUNT_SIZE],
            self.tariff[index],
            self.line[index],
            protocol & STANDARD,
            self.active[index],
            protocol >> SPEED_SHIFT,
        )

    def _is_unknown(self, index: int) -> int:
        is_auto = self.protocol[index] & STANDARD == record.STANDARD_AUTO
        return 1 if is_auto and self.active[index] else 0

    def address_text(self, index: int) -> str:
        """Return the address as printed on the meter."""
        start = index * ADDRESS_SIZE
        digits = bytearray(ADDRESS_SIZE)
        for position in range(ADDRESS_SIZE):
            digits[ADDRESS_SIZE - 1 - position] = self.addresses[start + position]
        return digits.hex()

    def account_text(self, index: int) -> str:
        """Return the account number, 12 digits."""
        start = index * _ACCOUNT_SIZE
        return self.accounts[start : start + _ACCOUNT_SIZE].hex()


def _protocol_of(standard: int, place: int) -> int:
    """Return `protocol` of a standard and the place of a speed, as far as they exist."""
    if standard > record.STANDARD_AUTO:
        standard = record.STANDARD_AUTO
    return standard | (place << SPEED_SHIFT if place < len(BAUDS) else 0)


def is_pending(relay: int) -> int:
    """Return 1 while a relay command is under way: LOOK, SEND or CONFIRM; else 0."""
    return 1 if RELAY_IDLE < relay & RELAY_STAGE < RELAY_FAILED else 0


def parse_digits(text: str) -> bytes:
    """Return up to 12 decimal digits as 6 bytes in reading order; empty for any other text."""
    # CPython's isdigit takes the digits of other scripts as well.
    if not text.isdigit() or len(text) > 12 or len(text.encode()) > len(text):
        return b""
    return unhexlify("0" * (12 - len(text)) + text)


def reversed_digits(digits: bytes) -> bytearray:
    """Return the bytes in reverse order: an address in wire order."""
    turned = bytearray(len(digits))
    for position in range(len(digits)):
        turned[len(digits) - 1 - position] = digits[position]
    return turned
