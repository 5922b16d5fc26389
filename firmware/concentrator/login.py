"""Who may change things over the console: whoever answers a challenge with the console key.

    login                ->  challenge, 16 hexadecimal digits
    login RESPONSE       ->  HMAC-SHA256(key, "dianka/console/1" 00 | challenge), its first 8 bytes

A challenge is good for one answer. The session ends with the connection, after a time without
commands, or by `logout`. Without a key, on a new device, everything is allowed.
"""

from binascii import hexlify, unhexlify
from struct import pack

from crypto.hmac import Hmac, same
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

SESSION_MS = const(300000)
FAILURES_LIMIT = const(5)
LOCK_MS = const(60000)

# Outcomes of `answer`.
GOOD = const(0)
WRONG = const(1)
NO_CHALLENGE = const(2)
LOCKED = const(3)

_PREFIX = b"dianka/console/1\0"
_SIZE = const(8)
_TICKS_MASK = const(0x1FFFFFFF)


class Login:
    """The gate before commands that change something.

    key         of the console, empty: none set
    locked      the key is lost: nobody can prove that it is his
    refused     answers that were wrong
    """

    def __init__(self, random: "Callable[[], int]") -> None:
        """`random` gives numbers below 2**29 that cannot be foretold."""
        self.key = b""
        self.locked = False
        self.refused = 0
        self._random = random
        self._challenge = b""
        self._open = False
        self._failures = 0
        self._now_ticks = 0
        self._since_ticks = 0

    def step(self, now_ticks: int) -> None:
        """Let time pass: a session that is not used ends, a lock as well."""
        self._now_ticks = now_ticks
        passed_ms = (now_ticks - self._since_ticks) & _TICKS_MASK
        if self._open and passed_ms >= SESSION_MS:
            self._open = False
        if self._failures >= FAILURES_LIMIT and passed_ms >= LOCK_MS:
            self._failures = 0

    def allows(self) -> bool:
        """Whether a command may change something now; keeps the session alive."""
        if self._open:
            self._since_ticks = self._now_ticks
        return self._open or not (self.key or self.locked)

    def challenge(self) -> str:
        """A new challenge; the one before is void."""
        self._challenge = pack("<II", self._random(), self._random())
        return hexlify(self._challenge).decode()

    def answer(self, text: str) -> int:
        """Judge a response; GOOD opens the session."""
        challenge = self._challenge
        self._challenge = b""
        if self._failures >= FAILURES_LIMIT:
            return LOCKED
        if not challenge or not self.key:
            return NO_CHALLENGE
        expected = bytearray(_SIZE)
        Hmac(self.key).digest_into(_PREFIX, challenge, _SIZE, expected)
        try:
            given = unhexlify(text)
        except ValueError:
            given = b""
        self._open = len(given) == _SIZE and same(given, 0, expected, 0, _SIZE)
        self._since_ticks = self._now_ticks
        if self._open:
            self._failures = 0
            return GOOD
        self.refused += 1
        self._failures += 1
        return WRONG

    def close(self) -> None:
        """End the session; an unanswered challenge is void."""
        self._open = False
        self._challenge = b""
