"""The head-end's side of the uplink's envelope, for tests: docs/SPEC.md, the other way."""

from struct import pack, unpack_from

from crypto.chacha20 import xor_into
from crypto.hmac import Hmac

_UP_SIZE = 21


def digest(key: "bytes | bytearray", message: bytes, size: int) -> bytes:
    """The first bytes of HMAC-SHA256."""
    out = bytearray(size)
    Hmac(key).digest_into(b"", message, len(message), out)
    return bytes(out)


def derived(key: bytes, use: str, journal: bytes, epoch: int) -> bytes:
    """A key of one journal's epoch, as `up/seal`."""
    message = b"dianka/uplink/2/" + use.encode() + b"\0" + journal + pack("<I", epoch)
    return digest(key, message, 32)


class Above:
    """Opens what goes up and seals what comes down; `epoch` and `number` are those last seen."""

    def __init__(self, key: bytes, concentrator: int, journal: bytes) -> None:
        self.key = key
        self.concentrator = concentrator
        self.journal = journal
        self.epoch = 0
        self.number = 0
        self.stamp = 0

    def open(self, kind: int, body: bytes) -> bytes:
        """The payload of a message; AssertionError: it is not genuine."""
        version, concentrator, journal, epoch, number = unpack_from("<BI8sII", body, 0)
        assert (version, concentrator, journal) == (2, self.concentrator, self.journal)
        mac = digest(derived(self.key, "up/mac", journal, epoch), bytes((kind,)) + body[:-8], 8)
        assert mac == body[-8:], "not genuine"
        self.epoch, self.number = epoch, number
        text = bytearray(body[_UP_SIZE:-8])
        nonce = pack("<IIBBBB", epoch, number, kind, 0, 0, 0)
        xor_into(derived(self.key, "up/seal", journal, epoch), nonce, text, 0, len(text))
        return bytes(text)

    def seal(self, kind: int, payload: bytes, answers: "int | None" = None) -> bytes:
        """The body that answers a message, the last one unless said otherwise."""
        self.stamp += 1
        answers = self.number if answers is None else answers
        nonce = pack("<IQ", answers, self.stamp)
        text = bytearray(payload)
        seal_key = derived(self.key, "down/seal", self.journal, self.epoch)
        xor_into(seal_key, nonce, text, 0, len(text))
        covered = pack("<BI", 2, self.concentrator) + nonce + bytes(text)
        mac_key = derived(self.key, "down/mac", self.journal, self.epoch)
        return covered + digest(mac_key, bytes((kind,)) + covered, 16)
