"""Draw unpredictable numbers, with an installer's seed also on a board whose own can be guessed.

    key of this start = HMAC(seed, "dianka/random/1/key" 00 | 32 bytes of the board)
    next seed         = HMAC(seed, "dianka/random/1/seed" 00 | 32 bytes of the board)
    number            = HMAC(key, count 4 | a number of the board 4), its first bytes

The next seed is on flash before the first number is drawn: no start draws those of another one.

Spec: docs/SPEC.md, "Random numbers".
"""

from struct import pack, unpack

from crypto.hmac import Hmac
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concentrator.settings import Settings

GUESSABLE_TROUBLE = (
    "this board's random numbers can be guessed: `set seed -` first, or dianka flash --set seed=-"
)

_KEY = b"dianka/random/1/key\0"
_SEED = b"dianka/random/1/seed\0"
_SIZE = const(32)
_MASK = const(0x1FFFFFFF)


class Entropy:
    """The source of numbers below 2**29.

    is_good     whether they cannot be guessed
    """

    def __init__(self, random: "Callable[[], int]", settings: "Settings") -> None:
        """Draw from `random`, the board's own numbers, which are trusted until `distrust`."""
        self.is_good = True
        self._random = random
        self._settings = settings
        self._seed = b""
        self._key: Hmac | None = None
        self._count = 0

    def distrust(self) -> None:
        """Be told by the board that its own numbers can be guessed."""
        self.is_good = self._key is not None

    def renew(self) -> "Iterator[str]":
        """Begin with the seed of the settings, if it is another one than was left there.

        It gives "" behind each write.
        """
        seed = self._settings.key("seed")
        if not seed or seed == self._seed:
            return
        noise = bytearray()
        while len(noise) < _SIZE:
            noise += pack("<I", self._random())
        key = Hmac(seed)
        next_seed = bytearray(_SIZE)
        key.digest_into(_SEED, noise, _SIZE, next_seed)
        for trouble in self._settings.steps([("seed", next_seed.hex())]):
            if trouble:
                return
            yield ""
        self._seed = bytes(next_seed)
        start = bytearray(_SIZE)
        key.digest_into(_KEY, noise, _SIZE, start)
        self._key = Hmac(start)
        self._count = 0
        self.is_good = True

    def draw(self) -> int:
        """Return a number below 2**29."""
        number = self._random()
        if self._key is None:
            return number
        self._count += 1
        out = bytearray(4)
        self._key.digest_into(b"", pack("<II", self._count, number), 8, out)
        drawn: int = unpack("<I", out)[0]
        return drawn & _MASK
