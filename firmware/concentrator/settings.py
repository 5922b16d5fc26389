"""What an operator sets, kept as a text file of `name=value` lines: keys, prices, thresholds.

A name costs one line in the table. Values are checked when set; a secret is never shown.
"""

from binascii import unhexlify

from micropython import const
from prepay.policy import Policy

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

STORAGE_TROUBLE = "flash full or failing"

_FILE = "settings"
_LIMIT = const(2048)

_NUMBER = const(0)
_KEY = const(1)  # hexadecimal, secret

# Name, form, default, least and greatest number or size of the key in bytes, what it is.
TABLE = (
    ("id", _NUMBER, "0", 1, 0x3FFFFFFF, "number of this concentrator"),
    ("uplink_key", _KEY, "", 16, 64, "key shared with the head-end"),
    ("district", _NUMBER, "0", 1, 0xFFFFFF, "district whose cards are accepted"),
    ("card_key", _KEY, "", 16, 32, "key of the district's cards"),
    ("card_key_version", _NUMBER, "1", 1, 255, "version of that key"),
    ("operator_order", _NUMBER, "0", 0, 0x3FFFFFFF, "number of the newest operator's card"),
    ("console_key", _KEY, "", 16, 32, "key of who may change things over the console"),
    ("interval_s", _NUMBER, "900", 60, 86400, "time from reading to reading"),
    ("password", _KEY, "02000000", 4, 4, "PA P0 P1 P2 for relay commands"),
    ("operator", _KEY, "00000000", 4, 4, "C0 C1 C2 C3 for relay commands"),
    ("relay_1997", _NUMBER, "0", 0, 1, "1: meters of 1997 have the vendor's relay C028"),
    ("clock_limit_s", _NUMBER, "10", 3, 300, "a meter's clock may differ by so much"),
    ("hoarding_limit_fen", _NUMBER, "9999999", 1, 99999999, "most money an account may hold"),
)


class Settings:
    """Values by name, as text; `number` and `key` read them in their form."""

    def __init__(self, storage: "Storage") -> None:
        self._storage = storage
        self._values = {}
        for row in TABLE:
            self._values[row[0]] = row[2]
        policy = Policy()
        for name in policy.names():
            self._values[name] = str(getattr(policy, name))

    def names(self) -> "list[str]":
        """All names, in order."""
        return sorted(self._values)

    def text(self, name: str) -> str:
        """The value as text; of a secret only whether it is set."""
        if _form(name) == _KEY and name not in ("password", "operator"):
            return "(set)" if self._values[name] else "(not set)"
        return self._values[name]

    def number(self, name: str) -> int:
        """The value as a number."""
        return int(self._values[name])

    def key(self, name: str) -> bytes:
        """The value as bytes, empty when not set."""
        return unhexlify(self._values[name])

    def change(self, name: str, value: str) -> str:
        """Set and keep one value; return what is wrong with it, "" when it was taken."""
        return self.change_all([(name, value)])

    def change_all(self, pairs: "list[tuple[str, str]]") -> str:
        """Set and keep values together; return what is wrong, "" when all were taken."""
        old = self._values
        self._values = old.copy()
        trouble = ""
        for name, value in pairs:
            if name not in old:
                trouble = "no setting " + name + ", `settings` lists them"
            trouble = trouble or _trouble(name, value)
            self._values[name] = value
        trouble = trouble or self.policy().check()
        if not trouble and not self._save():
            trouble = STORAGE_TROUBLE
        if trouble:
            self._values = old
        return trouble

    def policy(self) -> Policy:
        """The parameters of the policy as they are set."""
        policy = Policy()
        for name in policy.names():
            setattr(policy, name, int(self._values[name]))
        return policy

    def load(self) -> None:
        """Read the file; unknown names and values out of range keep their defaults."""
        buf = bytearray(_LIMIT)
        size = self._storage.read_into(_FILE, 0, buf, _LIMIT)
        if size <= 0:
            return
        for line in str(buf[:size], "utf-8").split("\n"):
            at = line.find("=")
            name = line[:at]
            if at > 0 and name in self._values and not _trouble(name, line[at + 1 :]):
                self._values[name] = line[at + 1 :]

    def _save(self) -> bool:
        lines = [name + "=" + self._values[name] + "\n" for name in self.names()]
        content = "".join(lines).encode()
        if len(content) > _LIMIT:
            return False
        return self._storage.replace(_FILE, content, len(content))


def _form(name: str) -> int:
    for row in TABLE:
        if row[0] == name:
            return row[1]
    return _NUMBER


def _trouble(name: str, value: str) -> str:
    """What is wrong with `value` for `name`, or ""."""
    form, least, greatest = _NUMBER, -99999999, 99999999
    for row in TABLE:
        if row[0] == name:
            form, least, greatest = row[1], row[3], row[4]
    if form == _KEY:
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
