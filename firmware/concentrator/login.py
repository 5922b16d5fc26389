"""Prove the console key in both directions, and verify each command of the session that follows.

    login begin TECHNICIAN [read]   ->  NUMBER CONCENTRATOR PROOF
    login PROOF                     ->  the session is open
    COUNTER COMMAND.. MAC           each command of the session

TECHNICIAN and CONCENTRATOR are 16 random bytes each, and NUMBER is the concentrator's. Both proofs
and all MACs use a key derived from the console key and all of these, so they are invalid in any
other session. A session ends with its connection, by `logout`, 30 minutes after it began, or 5
minutes after the last command that changed something. Without a key, on a new device, everything
is allowed.

Spec: docs/SPEC.md, "Link frame".
"""

from struct import pack, unpack

from crypto.hmac import Hmac, same
from micropython import const
from uplink import record

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

# The right that a command needs and that a session has, with the numbers of docs/SPEC.md.
NOTHING = const(0)
FULL = const(1)
READ = const(2)
ABOVE = const(3)  # of the head-end: the command's row says whether it is allowed

IDLE_MS = const(300000)
SESSION_MS = const(1800000)
FAILURES_LIMIT = const(5)
LOCK_MS = const(60000)
# A refused login is recorded at most so often.
_TOLD_MS = const(3600000)

# Outcomes of `answer` and `verify`.
GOOD = const(0)
WRONG = const(1)
NO_SESSION = const(2)
LOCKED = const(3)
REPEATED = const(4)

LOGIN_NONCE_SIZE = const(16)
PROOF_SIZE = const(16)
COMMAND_MAC_SIZE = const(8)
_SESSION_KEY_SIZE = const(32)
_CHANNEL = const(1)
_TICKS_MASK = const(0x1FFFFFFF)


class Login:
    """The sessions of the console, one at a time.

    key         the console key, empty: none is set
    number      the concentrator's number
    locked      whether the key is lost, so that no login is possible
    granted     what the command that is carried out now may do: NOTHING, READ, FULL or ABOVE
    refused     the count of wrong proofs and MACs
    note        records the result and the right of a session, with its first bytes and the
                channel; None: none is
    """

    def __init__(self, random: "Callable[[], int]") -> None:
        """Make a login whose nonces come from `random`, unpredictable numbers below 2**29."""
        self.key = b""
        self.number = 0
        self.locked = False
        self.granted = NOTHING
        self.refused = 0
        self.note: Callable[[int, int, int, int], None] | None = None
        self._random = random
        self._session: Hmac | None = None
        self._right = NOTHING
        self._offered = NOTHING
        self._name = 0
        self._counter = 0
        self._failures = 0
        self._told_ticks = -1
        self._now_ticks = 0
        self._begun_ticks = 0
        self._since_ticks = 0

    def step(self, now_ticks: int) -> None:
        """End an old or unused session and a lock when their times are over."""
        self._now_ticks = now_ticks
        passed_ms = (now_ticks - self._since_ticks) & _TICKS_MASK
        if self._right and (
            passed_ms >= IDLE_MS or (now_ticks - self._begun_ticks) & _TICKS_MASK >= SESSION_MS
        ):
            self.close()
        if self._failures >= FAILURES_LIMIT and passed_ms >= LOCK_MS:
            self._failures = 0

    @property
    def is_keyless(self) -> bool:
        """Whether no key is set, so that no session is needed."""
        return not (self.key or self.locked)

    @property
    def is_open(self) -> bool:
        """Whether the open session may change something, or no session is needed."""
        return self._right == FULL or self.is_keyless

    def allows(self, needed: int) -> bool:
        """Return whether the command that is carried out now may do what needs `needed`."""
        if needed == ABOVE:
            return self.granted == ABOVE
        if needed == NOTHING or self.is_keyless:
            return True
        if needed == FULL and self.granted == FULL:
            self._since_ticks = self._now_ticks
        return self.granted == FULL or self.granted == needed

    def begin(self, technician: bytes, right: int) -> bytes:
        """Return the concentrator's nonce and proof, and end an open session."""
        self.close()
        nonce = pack("<IIII", *[self._random() for _ in range(4)])
        key = self.key if right == FULL else _digest(Hmac(self.key), b"dianka/console/2/read", 16)
        context = b"dianka/console/2/session\0" + technician + nonce
        context += pack("<IBB", self.number, _CHANNEL, right)
        self._session = session = Hmac(_digest(Hmac(key), context, _SESSION_KEY_SIZE))
        self._offered = right
        self._name = unpack("<I", nonce[:4])[0]
        return nonce + _digest(session, b"concentrator", PROOF_SIZE)

    def answer(self, proof: bytes) -> int:
        """Judge the technician's proof; GOOD opens the session."""
        session = self._session
        offered = self._offered
        self._offered = NOTHING
        if self._failures >= FAILURES_LIMIT:
            return LOCKED
        if session is None or not offered or not self.key:
            return NO_SESSION
        self._since_ticks = self._begun_ticks = self._now_ticks
        if not _is(session, b"technician", proof, PROOF_SIZE):
            self._fail()
            return WRONG
        self._failures = 0
        self._right = offered
        self._counter = 0
        self._tell(record.LOGIN_OPENED)
        return GOOD

    def verify(self, counter: int, command: bytes, mac: bytes) -> int:
        """Judge a command of the session; GOOD grants it what the session may do."""
        session = self._session
        if session is None or not self._right:
            return NO_SESSION
        if not _is(session, pack("<I", counter) + command, mac, COMMAND_MAC_SIZE):
            self._fail()
            return WRONG
        if counter <= self._counter:
            return REPEATED
        self._counter = counter
        self.granted = self._right
        return GOOD

    def _fail(self) -> None:
        self.refused += 1
        self._failures += 1
        # The count of refused ones tells of the others: a flood does not fill the journal.
        if self._told_ticks < 0 or (self._now_ticks - self._told_ticks) & _TICKS_MASK >= _TOLD_MS:
            self._told_ticks = self._now_ticks
            self._tell(record.LOGIN_REFUSED)
        if self._failures >= FAILURES_LIMIT:
            self._since_ticks = self._now_ticks
            self.close()

    def tell_prompt(self) -> None:
        """Record that the session that carries out a command opens the prompt."""
        self._tell(record.LOGIN_OPENED, record.OF_PROMPT)

    def _tell(self, result: int, channel: int = record.OF_CONSOLE) -> None:
        if self.note is not None:
            self.note(result, self._right, self._name, channel)

    def unwrap(self, secret: bytes) -> bytes:
        """Return the key that travelled as `secret` with the command that is carried out now."""
        session = self._session
        if session is None or not self.granted:
            return secret
        mask = b""
        while len(mask) < len(secret):
            mask += _digest(session, b"wrap" + pack("<II", self._counter, len(mask)), 32)
        return bytes([secret[at] ^ mask[at] for at in range(len(secret))])

    def close(self) -> None:
        """End the session, and one that was begun."""
        if self._right:
            self._tell(record.LOGIN_ENDED)
        self._session = None
        self._right = self._offered = self.granted = NOTHING


def _digest(key: Hmac, message: bytes, size: int) -> bytes:
    """Return the first `size` bytes of the HMAC."""
    out = bytearray(size)
    key.digest_into(b"", message, len(message), out)
    return bytes(out)


def _is(key: Hmac, message: bytes, given: bytes, size: int) -> bool:
    """Return whether `given` is the HMAC's first `size` bytes, in a constant time."""
    return len(given) == size and same(given, 0, _digest(key, message, size), 0, size)
