"""Authenticate a key server to a meter's security module (ESAM), and what the module proves.

    070000FF   cipher1 8 | random1 8 | factor 8 -> random2 4 | serial 8 [| validity 2]
    078102FF   -> money 4 | MAC 4 | count 4 | MAC 4 | customer 6 | key information 4
    070002FF   ends the authentication

That the module accepts a cipher proves nothing to this side: anything on the line can say so. The
MACs of 078102FF do, as only the module's keys make them. They are over the random number that the
meter has chosen, so an answer that was recorded proves what was so then. Registers bear no MAC.
Each block goes byte-reversed, a whole sealed command as well; China Southern Grid reverses the
cipher and its MAC one by one.
"""

from dataclasses import dataclass

from host.frames import orders
from host.frames.catalogue import STATE_GRID
from host.frames.describe import describe
from host.frames.dlt645 import Frame
from host.frames.orders import OPERATOR, Request
from host.link.key_server import KeyServer
from host.link.meters import AskError, MeterLine
from host.words import _

# The status of the keys, then two status words: an ESAM that is faulty, somebody authenticated.
LOOKS = ("04000508", "04000501", orders.STATUS_3)
AUTHENTICATION, END, PURSE = "070000FF", "070002FF", "078102FF"
_SECURITY = 0x03
_DI_SIZE = 4
_PURSE_SIZES = (4, 4, 4, 4, 6, 4)
_BLOCK_MAC_SIZE = 4
# The level of a sealed command, and whether it is reversed as a whole.
_SEALED = {True: 0x98, False: 0x96}


@dataclass(frozen=True)
class Authentication:
    """What the module of a meter gave when it took the key server's proof."""

    factor: bytes
    random2: bytes
    serial: bytes


@dataclass(frozen=True)
class KeyInformation:
    """The last update of a key: formal or for tests, from afar or on the spot, and which key."""

    is_formal: bool
    is_remote: bool
    number: int
    version: int


@dataclass(frozen=True)
class Purse:
    """What the module holds, and whether its MACs are those of the meter's keys."""

    amount_fen: int
    count: int
    customer: str
    keys: KeyInformation
    is_proven: bool


def authenticate(line: MeterLine, address: str, server: KeyServer) -> Authentication:
    """Prove the key server to the module of the meter; AskError, KeyServerError."""
    factor = bytes.fromhex("0000" + address)
    cipher1, random1 = server.identity(factor)
    reply = _asked(line, address, AUTHENTICATION, cipher1, random1, factor)
    if len(reply) < 12:
        raise AskError(_("meter {address} answers no random number").format(address=address))
    return Authentication(factor, reply[:4][::-1], reply[4:12][::-1])


def read_purse(line: MeterLine, address: str, server: KeyServer, entered: Authentication) -> Purse:
    """Return what the module holds, and let the key server judge its MACs."""
    reply = _asked(line, address, PURSE)
    if len(reply) != sum(_PURSE_SIZES):
        raise AskError(_("meter {address} does not tell what is in it").format(address=address))
    blocks = []
    for size in _PURSE_SIZES:
        blocks.append(reply[:size][::-1])
        reply = reply[size:]
    money, money_mac, count, count_mac, customer, keys = blocks
    is_proven = all(
        server.is_genuine(entered.factor, entered.random2, entered.serial, block, mac)
        for block, mac in ((money, money_mac), (count, count_mac))
    )
    return Purse(
        int.from_bytes(money, "big"),
        int.from_bytes(count, "big"),
        customer.hex(),
        KeyInformation(keys[0] == 1, keys[1] == 1, keys[2], keys[3]),
        is_proven,
    )


def end(line: MeterLine, address: str) -> None:
    """End the authentication, so that nobody else on the line uses it; AskError."""
    _asked(line, address, END)


def sealed_switch(
    plain: bytes, server: KeyServer, entered: Authentication, profile: str = STATE_GRID
) -> Request:
    """Return the order that moves the relay, sealed by the key server; `plain` as it is read."""
    sealed = server.seal(entered.factor, entered.random2, entered.serial, plain)
    whole = profile == STATE_GRID
    parts = [sealed] if whole else [sealed[:-_BLOCK_MAC_SIZE], sealed[-_BLOCK_MAC_SIZE:]]
    wire = b"".join(part[::-1] for part in parts)
    return Request(0x1C, bytes((_SEALED[whole], 0, 0, 0)) + OPERATOR + wire)


def _asked(line: MeterLine, address: str, di: str, *blocks: bytes) -> bytes:
    """Return the data behind the identifier of the answer of function 03H."""
    name = bytes.fromhex(di)[::-1]
    data = name + OPERATOR + b"".join(block[::-1] for block in blocks)
    frame = line.ask(address, _SECURITY, data)
    if frame.abnormal:
        raise AskError(_refusal(address, frame))
    if frame.data[:_DI_SIZE] != name:
        raise AskError(_("the meter answered something else, try again"))
    return frame.data[_DI_SIZE:]


def _refusal(address: str, frame: Frame) -> str:
    flags = ", ".join(map(_, describe(frame, "2007")["error"]["flags"]))
    return _("the security module of meter {address} refuses: {flags}").format(
        address=address, flags=flags or frame.data.hex()
    )
