"""Admit changes over the console after an answer to a challenge with the console key.

    login                ->  challenge, 16 hexadecimal digits
    login RESPONSE       ->  HMAC-SHA256(key, "dianka/console/1" 00 | challenge), its first 8 bytes

A challenge is valid for one answer. The session ends with the connection, after 5 minutes without
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
    """The login that commands need which change something.

    key         the console key, empty: none is set
    locked      whether the key is lost, so that no login is possible
    refused     the count of wrong answers
    """

    def __init__(self, random: "Callable[[], int]") -> None:
        """Make a login whose challenges come from `random`, unpredictable numbers below 2**29."""
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
        """End an unused session and a lock when their times are over."""
        self._now_ticks = now_ticks
        passed_ms = (now_ticks - self._since_ticks) & _TICKS_MASK
        if self._open and passed_ms >= SESSION_MS:
            self._open = False
        if self._failures >= FAILURES_LIMIT and passed_ms >= LOCK_MS:
            self._failures = 0

    def allows(self) -> bool:
        """Return whether a command may change something now, and extend the session."""
        if self._open:
            self._since_ticks = self._now_ticks
        return self._open or not (self.key or self.locked)

    def challenge(self) -> str:
        """Return a new challenge; an earlier one becomes invalid."""
        self._challenge = pack("<II", self._random(), self._random())
        return hexlify(self._challenge).decode()

    def answer(self, text: str) -> int:
        """Judge a response; return an outcome, of which GOOD opens the session."""
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
        """End the session; an unanswered challenge becomes invalid."""
        self._open = False
        self._challenge = b""
