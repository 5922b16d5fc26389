"""The console's session: proofs of the key in both directions, and a MAC on each command.

    K_session = HMAC-SHA256(key, "dianka/console/2/session" 00 | technician 16 | concentrator 16
                | number 4 | channel 1 | right 1)
    proof     = HMAC(K_session, "concentrator" or "technician"), its first 16 bytes
    MAC       = HMAC(K_session, counter 4 | command), its first 8 bytes

`right` 1 is full, with the console key itself as the key; 2 is read only, with the read key that
is derived from it.
"""

import hmac
from dataclasses import dataclass

LOGIN_NONCE_SIZE = 16
PROOF_SIZE = 16
MAC_SIZE = 8
_CHANNEL = 1
_FULL = 1
_READ = 2


def read_key(console_key: bytes) -> bytes:
    """Return the key for reading accounts and journal, 16 bytes."""
    return hmac.digest(console_key, b"dianka/console/2/read", "sha256")[:16]


@dataclass(slots=True)
class Session:
    """One session; `counter` is the number of its newest command."""

    key: bytes
    counter: int = 0

    @classmethod
    def of(
        cls, key: bytes, technician: bytes, concentrator: bytes, number: int, read_only: bool
    ) -> "Session":
        """Return the session of both nonces and the concentrator's number."""
        right = _READ if read_only else _FULL
        context = technician + concentrator + number.to_bytes(4, "little")
        context += bytes((_CHANNEL, right))
        return cls(hmac.digest(key, b"dianka/console/2/session\0" + context, "sha256"))

    def proof(self, side: str) -> bytes:
        """Return the proof of `technician` or `concentrator`."""
        return hmac.digest(self.key, side.encode(), "sha256")[:PROOF_SIZE]

    def proves(self, side: str, given: bytes) -> bool:
        """Return whether `given` is that side's proof."""
        return hmac.compare_digest(self.proof(side), given)

    def signed(self, command: str) -> str:
        """Return the next line of the session: the command with its number and MAC."""
        self.counter += 1
        text = self.counter.to_bytes(4, "little") + command.encode()
        mac = hmac.digest(self.key, text, "sha256")[:MAC_SIZE]
        return f"{self.counter} {command} {mac.hex()}"

    def wrap(self, secret: bytes) -> bytes:
        """Encrypt a key that is sent with the next command, or decrypt one."""
        mask = b""
        while len(mask) < len(secret):
            numbers = (self.counter + 1).to_bytes(4, "little") + len(mask).to_bytes(4, "little")
            mask += hmac.digest(self.key, b"wrap" + numbers, "sha256")
        return bytes(left ^ right for left, right in zip(secret, mask, strict=False))
