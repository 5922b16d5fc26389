"""A stand-in for the security module of a prepaid meter, and for the utility's key server.

The real chip's ciphers are not public. Here HMAC-SHA256 under one key takes their place, with the
sizes, the order of the blocks and the rules of the real thing: for a concentrator, which passes
sealed commands through unread, they are the same. Every named block goes byte-reversed.

    authentication   cipher1 8 | random1 8 | factor 8 (0000 and the meter's number)
    its reply        random2 4 | serial 8 [| validity 2]
    money            amount 4, binary fen | count 4 | MAC1 4 | customer 6 | MAC2 4
    sealed command   cipher, whole 16 bytes | MAC 4
"""

import hashlib
import hmac

ESAM_MAC_SIZE = 4
_CIPHER_BLOCK_SIZE = 16
DEFAULT_KEY = b"dianka simulated security module"


class Esam:
    """Calculates under `key`. Blocks are in reading order, not reversed."""

    def __init__(self, key: bytes = DEFAULT_KEY) -> None:
        self._key = key

    def cipher1(self, random1: bytes, factor: bytes) -> bytes:
        """Return the 8 bytes that prove the identity of the utility."""
        return self._digest(b"auth", random1 + factor)[:8]

    def random2(self, number: int) -> bytes:
        """Return the meter's random number of its `number`-th authentication: 4 bytes."""
        return self._digest(b"random2", number.to_bytes(8, "big"))[:4]

    def mac(self, random2: bytes, data: bytes) -> bytes:
        """Return the 4 bytes that prove `data` within the authentication of `random2`."""
        return self._digest(b"mac" + random2, data)[:ESAM_MAC_SIZE]

    def seal(self, random2: bytes, plain: bytes) -> bytes:
        """Cipher `plain`, filled up with zeros to 16 bytes, and add the MAC."""
        filled = plain + bytes(-len(plain) % _CIPHER_BLOCK_SIZE)
        cipher = self._mixed(random2, filled)
        return cipher + self.mac(random2, cipher)

    def unseal(self, random2: bytes, sealed: bytes) -> bytes | None:
        """Return the plain text with its zeros, None where the MAC is wrong."""
        cipher, mac = sealed[:-ESAM_MAC_SIZE], sealed[-ESAM_MAC_SIZE:]
        if not cipher or len(cipher) % _CIPHER_BLOCK_SIZE or mac != self.mac(random2, cipher):
            return None
        return self._mixed(random2, cipher)

    def _mixed(self, random2: bytes, data: bytes) -> bytes:
        stream = b""
        while len(stream) < len(data):
            stream += self._digest(b"stream" + random2, len(stream).to_bytes(4, "big"))
        return bytes(one ^ two for one, two in zip(data, stream, strict=False))

    def _digest(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.new(self._key, purpose + b"\0" + data, hashlib.sha256).digest()


def factor_of(address: str) -> bytes:
    """Return the dispersion factor of a meter: 0000 and its number."""
    return bytes.fromhex(f"0000{address}")


class Utility:
    """The key server's side for one meter: data of requests, as on the wire."""

    def __init__(self, address: str, key: bytes = DEFAULT_KEY, *, whole: bool = True) -> None:
        self._factor = factor_of(address)
        self._esam = Esam(key)
        self._whole = whole
        self._random2 = bytes(4)

    def authentication(self, random1: bytes = b"\x11" * 8) -> bytes:
        """Return cipher1, random1 and the factor."""
        return _reversed(self._esam.cipher1(random1, self._factor), random1, self._factor)

    def on_reply(self, reply: bytes) -> None:
        """Take random2 from the reply's data behind the identifier."""
        self._random2 = reply[:4][::-1]

    def money(self, amount_fen: int, count: int, customer: str) -> bytes:
        """Return the data of 070101FF and 070102FF."""
        purse = amount_fen.to_bytes(4, "big") + count.to_bytes(4, "big")
        who = bytes.fromhex(customer)
        mac1, mac2 = self._esam.mac(self._random2, purse), self._esam.mac(self._random2, who)
        return _reversed(purse[:4], purse[4:], mac1, who, mac2)

    def with_mac(self, block: bytes) -> bytes:
        """Return a block and its MAC: the validity (070001FF), the new balance (070103FF)."""
        return _reversed(block, self._esam.mac(self._random2, block))

    def new_key(self, info: bytes, key: bytes) -> bytes:
        """Return the data of 070201FF..: 4 bytes on the key, the MAC, 32 bytes of the key."""
        return _reversed(info, self._esam.mac(self._random2, info + key), key)

    def sealed(self, plain: bytes) -> bytes:
        """Return `plain`, which is in reading order, as a ciphered command."""
        sealed = self._esam.seal(self._random2, plain)
        if self._whole:
            return sealed[::-1]
        return _reversed(sealed[:-ESAM_MAC_SIZE], sealed[-ESAM_MAC_SIZE:])

    def signed(self, data: bytes) -> bytes:
        """Return `data`, which is as on the wire, followed by its MAC."""
        return data + self._esam.mac(self._random2, data)[::-1]


def _reversed(*blocks: bytes) -> bytes:
    return b"".join(block[::-1] for block in blocks)
