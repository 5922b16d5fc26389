"""Keep the settings of an operator in two copies of a text with `name=value` lines.

    settings-a  settings-b      name=value lines | generation=N | crc=1A2B3C4D, over all before it

A new setting is one row of the table. Values are checked when they are set, and a secret is never
shown. A change writes one copy after the other, and each copy has every value. If a copy is
damaged, the other one is used. If no whole copy is left, every value is unknown: commands that
need a login are locked, the copies are not overwritten, and no supply is cut until a technician
has repaired them.
"""

from binascii import crc32, unhexlify
from hashlib import sha256
from struct import pack, unpack_from

from micropython import const
from ports import NOT_THERE, UNREADABLE
from prepay.policy import ALL_WEEKDAYS, Policy

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ports import Storage

STORAGE_TROUBLE = "flash full or failing"

LOCKED_TROUBLE = (
    "the settings on flash are damaged and left as they are: restart; if that does not help, "
    "delete settings-a and settings-b at the board's prompt and set everything anew"
)

# The state of the copies at the start, which the START record has.
GOOD = const(0)  # no copy is damaged
ONE_BAD = const(1)  # one copy is damaged or cannot be read, and the other one is used
LOST = const(2)  # no whole copy is left

_FILES = ("settings-a", "settings-b")
_GENERATION = b"\ngeneration="
_LIMIT = const(2048)
_READS = const(3)  # attempts to read a copy
_DAMAGED = const(-3)  # besides NOT_THERE and UNREADABLE: the file is no whole copy

_NUMBER = const(0)
_SECRET = const(1)  # hexadecimal, never shown

# Name, form, default, least and greatest number or size of the key in bytes. The place of a row,
# from 1, is the number that SETTING records have: new rows go to the end, none is removed.
TABLE = (
    ("id", _NUMBER, "0", 1, 0x3FFFFFFF),  # number of this concentrator
    ("uplink_key", _SECRET, "", 16, 64),  # key shared with the head-end
    ("district", _NUMBER, "0", 1, 0xFFFFFF),  # district whose cards are accepted
    ("card_key", _SECRET, "", 16, 32),  # key of the district's cards
    ("card_key_version", _NUMBER, "1", 1, 255),  # version of that key
    ("operator_order", _NUMBER, "0", 0, 0x7FFFFFFF),  # number of the newest operator's card
    ("console_key", _SECRET, "", 16, 32),  # key of who may change things over the console
    ("interval_s", _NUMBER, "900", 60, 86400),  # time from reading to reading
    ("password", _SECRET, "02000000", 4, 4),  # PA P0 P1 P2 for relay commands
    ("operator", _SECRET, "00000000", 4, 4),  # C0 C1 C2 C3 for relay commands
    ("relay_1997", _NUMBER, "0", 0, 1),  # 1: meters of 1997 have the vendor's relay C028
    ("clock_limit_s", _NUMBER, "10", 3, 300),  # the greatest difference of a meter's clock
    ("power_limit_w", _NUMBER, "60000", 1000, 6553500),  # most that a meter can measure
    ("doubt_cut_hours", _NUMBER, "0", 0, 8760),  # a doubted account has run out then, 0: never
    ("hoarding_limit_fen", _NUMBER, "9999999", 1, 99999999),  # most money an account may hold
    ("console_key_version", _NUMBER, "1", 1, 255),  # version of the console key
    ("seed", _SECRET, "", 32, 64),  # random bytes of the installer, changed at each start
)
# The row of a parameter of the policy, which Policy.check judges.
_OTHERS = ("", _NUMBER, "", -99999999, 99999999)
# The settings that are worth nothing where random numbers can be guessed.
KEYS = ("uplink_key", "card_key", "console_key")
# The parameters of the policy by their numbers in SETTING records; new ones go to the end.
_FIRST_OF_POLICY = const(64)
_OF_POLICY = (
    "alarm_1_fen",
    "alarm_2_fen",
    "overdraft_fen",
    "emergency_fen",
    "close_fen",
    "permit_only",
    "notice_minutes",
    "no_cut_from_hour",
    "no_cut_to_hour",
    "no_cut_weekdays",
    "no_cut_from_mmdd",
    "no_cut_to_mmdd",
    "no_cut_until_yymmdd",
    "grace_1_hours",
    "grace_1_fen",
    "grace_2_hours",
    "grace_2_fen",
    "grace_3_hours",
    "grace_3_fen",
    "load_limit_w",
    "load_wait_s",
    "debt_percent",
    "debt_week_limit_fen",
)
# The order of the newest operator's card is told by its own record, and no key depends on the
# seed of an earlier start.
_UNTOLD = ("operator_order", "seed")
# Changes that were made at the prompt, which has no journal, until the next start records them.
_LEFT = "untold"
_CHANGE = "<BB8s8s"
_CHANGE_SIZE = const(18)
# SETTING.form
_FORM_NUMBER = const(1)
_FORM_SECRET = const(2)
# From its hash, a shorter secret could be found by trying all.
_HASHED_SIZE = const(16)


class Settings:
    """The values by name, as text; `number` and `key` convert them.

    health      the state of the copies: GOOD, ONE_BAD or LOST
    """

    def __init__(self, storage: "Storage") -> None:
        self.health = GOOD
        self._storage = storage
        self._generation = 0
        # The copy that the next change writes first, which is the worse one.
        self._first = 0
        self._values = {}
        for row in TABLE:
            self._values[row[0]] = row[2]
        policy = Policy()
        for name in policy.names():
            self._values[name] = str(getattr(policy, name))

    def names(self) -> "list[str]":
        """Return all names, sorted."""
        return sorted(self._values)

    def text(self, name: str) -> str:
        """Return the value as text, of a secret only whether it is set."""
        if is_secret(name):
            return "(set)" if self._values[name] else "(not set)"
        return self._values[name]

    def number(self, name: str) -> int:
        """Return the value as a number."""
        return int(self._values[name])

    def key(self, name: str) -> bytes:
        """Return the value as bytes, empty when not set."""
        return unhexlify(self._values[name])

    def change(self, name: str, value: str) -> str:
        """Set and keep one value; return what is wrong with it, "" when it was accepted."""
        return self.change_all([(name, value)])

    def change_all(
        self,
        pairs: "list[tuple[str, str]]",
        note: "Callable[[list[tuple[int, int, bytes, bytes]]], bool] | None" = None,
    ) -> str:
        """Set and keep values together; return what is wrong, "" when all were accepted."""
        return "".join(self.steps(pairs, note))

    def steps(
        self,
        pairs: "list[tuple[str, str]]",
        note: "Callable[[list[tuple[int, int, bytes, bytes]]], bool] | None" = None,
    ) -> "Iterator[str]":
        """Set and keep values together: give "" behind each write, or what is wrong as the last.

        `note` records the changes first, each of them number, form, and 8 bytes of the old and the
        new value, and returns whether that is durable. The first copy sets the values.
        """
        old = self._values
        trouble = self._take(pairs)
        if note is not None and not trouble:
            changes = self._changes(old)
            self._values = old
            if note(changes):
                yield ""
                old = self._values
                trouble = self._take(pairs)
            else:
                trouble = STORAGE_TROUBLE
        generation = self._generation + 1
        content = self._content(generation)
        if not trouble and not self._write(content):
            trouble = STORAGE_TROUBLE
        if trouble:
            self._values = old
            yield trouble
            return
        self._generation = generation
        yield ""
        if self._generation == generation:  # else a later change has written both
            self.health = GOOD if self._write(content) else ONE_BAD
        yield ""

    def _take(self, pairs: "list[tuple[str, str]]") -> str:
        """Take the values over; return what is wrong with them."""
        if self.health == LOST:
            return LOCKED_TROUBLE
        self._values = self._values.copy()
        for name, value in pairs:
            if name not in self._values:
                return "no setting " + name + ", `settings` lists them"
            trouble = _trouble(name, value)
            if trouble:
                return trouble
            self._values[name] = value
        return self.policy().check()

    def _changes(self, old: "dict[str, str]") -> "list[tuple[int, int, bytes, bytes]]":
        """Return what differs from the `old` values, as `change_all` tells it."""
        changes = []
        for name in self.names():
            now = self._values[name]
            if now != old[name] and name not in _UNTOLD:
                form = _FORM_SECRET if is_secret(name) else _FORM_NUMBER
                changes.append((_number_of(name), form, _told(form, old[name]), _told(form, now)))
        return changes

    def leave(self, changes: "list[tuple[int, int, bytes, bytes]]") -> bool:
        """Leave changes to be recorded by the next start; return whether that is durable."""
        content = b"".join([pack(_CHANGE, *change) for change in changes])
        return not content or self._storage.append(_LEFT, content, len(content))

    def tell_left(self, note: "Callable[[list[tuple[int, int, bytes, bytes]]], bool]") -> None:
        """Have `note` record what was left, each change alone, and forget what is durable."""
        buf = bytearray(_LIMIT)
        size = self._storage.read_into(_LEFT, 0, buf, _LIMIT)
        if size < 0:
            return
        for at in range(0, size - _CHANGE_SIZE + 1, _CHANGE_SIZE):
            if not note([unpack_from(_CHANGE, buf, at)]):
                return
        self._storage.remove(_LEFT)

    def policy(self) -> Policy:
        """Return the policy with its parameters as set; if they are lost it never cuts."""
        policy = Policy()
        if self.health == LOST:
            policy.no_cut_weekdays = ALL_WEEKDAYS
            return policy
        for name in policy.names():
            setattr(policy, name, int(self._values[name]))
        return policy

    def load(self) -> None:
        """Read the copies; unknown names are ignored, values out of range keep their defaults.

        It raises nothing, whatever the flash holds.
        """
        found = []
        contents = []
        for name in _FILES:
            buf = bytearray(_LIMIT)
            size = self._read(name, buf)
            content = bytes(memoryview(buf)[: max(0, size)])
            found.append(_generation_of(content) if size >= 0 else size)
            contents.append(content)
        best = 0 if found[0] > found[1] else 1
        self._first = 1 - best
        if found[best] < 0:
            self.health = GOOD if found[0] == found[1] == NOT_THERE else LOST
            return
        other = found[1 - best]
        if other in (UNREADABLE, _DAMAGED):
            self.health = ONE_BAD
        self._generation = max(found)
        self._apply(contents[best])
        if other != UNREADABLE and contents[0] != contents[1]:
            # The copy is damaged, or the power failed between the two: restore it at once.
            self._storage.replace(_FILES[1 - best], contents[best], len(contents[best]))

    def _read(self, name: str, buf: bytearray) -> int:
        """Read a copy into `buf`; return its size, NOT_THERE or UNREADABLE."""
        size = UNREADABLE
        for _ in range(_READS):
            if size == UNREADABLE:
                size = self._storage.read_into(name, 0, buf, _LIMIT)
        return size

    def _apply(self, content: bytes) -> None:
        """Set the values of a whole copy."""
        for line in content.split(b"\n"):
            try:
                name, _, value = str(line, "utf-8").partition("=")
            except ValueError:
                continue
            if name in self._values and not _trouble(name, value):
                self._values[name] = value

    def _content(self, generation: int) -> bytes:
        """Return a copy with the values."""
        lines = ["=".join(row) for row in sorted(self._values.items())]
        content = ("\n".join(lines) + "\ngeneration=" + str(generation) + "\n").encode()
        return content + _seal(content)

    def _write(self, content: bytes) -> bool:
        """Write the worse copy; return whether it has the content."""
        size = len(content)
        name = _FILES[self._first]
        if size > _LIMIT or not self._storage.replace(name, content, size):
            return False
        self._first = 1 - self._first
        return True


def _seal(content: "bytes | memoryview") -> bytes:
    """Return the last line of a copy whose other lines are `content`."""
    digits = hex(crc32(content))[2:].upper()
    return ("crc=" + "0" * (8 - len(digits)) + digits + "\n").encode()


def _generation_of(content: bytes) -> int:
    """Return the generation of a whole copy, else _DAMAGED."""
    end = content.rfind(b"\n", 0, max(0, len(content) - 1)) + 1
    at = content.rfind(_GENERATION, 0, end)
    if at < 0 or content[end:] != _seal(content[:end]):
        return _DAMAGED
    digits = content[at + len(_GENERATION) : end - 1]
    return int(digits) if digits.isdigit() else _DAMAGED


def is_secret(name: str) -> bool:
    """Return whether the setting is a key or password, which is never shown."""
    return _row(name)[1] == _SECRET


def _number_of(name: str) -> int:
    """Return the number that SETTING records have for the setting."""
    for place in range(len(TABLE)):
        if TABLE[place][0] == name:
            return place + 1
    return _FIRST_OF_POLICY + _OF_POLICY.index(name)


def _told(form: int, value: str) -> bytes:
    """Return the 8 bytes for a value in a SETTING record, zeros for a short or empty secret."""
    if form == _FORM_NUMBER:
        return pack("<ii", int(value), -1 if int(value) < 0 else 0)
    secret = unhexlify(value)
    return sha256(secret).digest()[:8] if len(secret) >= _HASHED_SIZE else bytes(8)


def _row(name: str) -> "tuple[str, int, str, int, int]":
    """Return the row of the setting, and for a parameter of the policy one like those."""
    for row in TABLE:
        if row[0] == name:
            return row
    return _OTHERS


def _trouble(name: str, value: str) -> str:
    """Return what is wrong with `value` for `name`, or ""."""
    _, form, _, least, greatest = _row(name)
    if form == _SECRET:
        try:
            size = len(unhexlify(value))
        except ValueError:
            return name + " takes hexadecimal digits"
        return "" if least <= size <= greatest else name + " has the wrong length"
    try:
        number = int(value)
    except ValueError:
        return name + " takes a whole number"
    if least <= number <= greatest:
        return ""
    return name + " takes " + str(least) + " to " + str(greatest)
