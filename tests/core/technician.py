"""Implement a technician's side of the console's session of docs/SPEC.md, for tests."""

from binascii import hexlify, unhexlify
from struct import pack

from card_world import hmac

NONCE = b"technician nonce"


class Technician:
    """The technician knows a console key. `lines` are the session's; `counter` numbers them."""

    def __init__(self, key: bytes, number: int = 0) -> None:
        self.key = key
        self.number = number
        self.counter = 0
        self.session = b""

    def begin(self, concentrator: bytes, right: int = 1) -> None:
        """Take the concentrator's nonce."""
        key = self.key if right == 1 else hmac(self.key, b"dianka/console/2/read")[:16]
        context = NONCE + concentrator + pack("<IBB", self.number, 1, right)
        self.session = hmac(key, b"dianka/console/2/session\0" + context)

    def proof(self, side: bytes = b"technician") -> bytes:
        """Return the proof of one side."""
        return hmac(self.session, side)[:16]

    def mac(self, counter: int, command: str) -> bytes:
        """Return the MAC of a numbered command."""
        return hmac(self.session, pack("<I", counter) + command.encode())[:8]

    def line(self, command: str) -> str:
        """Return the next line of the session."""
        self.counter += 1
        mac = hexlify(self.mac(self.counter, command)).decode()
        return str(self.counter) + " " + command + " " + mac

    def wrap(self, secret: bytes) -> bytes:
        """Return a key as it is sent with the next command."""
        mask = b""
        while len(mask) < len(secret):
            mask += hmac(self.session, b"wrap" + pack("<II", self.counter + 1, len(mask)))
        return bytes([secret[at] ^ mask[at] for at in range(len(secret))])

    def log_in(self, run, right: int = 1) -> None:  # type: ignore[no-untyped-def]  # run(text)
        """Open a session through commands."""
        text = "login begin " + hexlify(NONCE).decode() + (" read" if right == 2 else "")
        (answer,) = run(text)
        _, own, proof = answer.split()
        self.begin(unhexlify(own), right)
        if unhexlify(proof) != self.proof(b"concentrator"):
            raise AssertionError("not the concentrator")
        self.counter = 0
        run("login " + hexlify(self.proof()).decode())
