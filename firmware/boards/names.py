"""Look up the address of a name, without waiting where there is a link.

    query   number 2 | 01 00 | 1 2 | 0 2 | 0 2 | 0 2 | each part with its length, 0 | 1 2 | 1 2
    reply   that number | flags 2: bit 15 | 2 | count of answers 2 | 4 | the question
            | answers: name | type 2 | class 2 | seconds 4 | size 2 | data, of type 1 an address

The port's own `getaddrinfo` waits 7 s for a name server that is away, so on a board with a chip
this module asks the server itself, with one packet. A name is looked up while there is no address,
and again after ten failures to connect; the last address is kept until a new one is found. An
address in digits needs no server. Without a link, as on a computer, the system is asked.

Spec: RFC 1035, 4.1.
"""

import os
import socket
import time

from micropython import const

from boards.link import scattered

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.link import Link

    Address = tuple[str, int] | tuple[str, int, int, int]

_DNS_PORT = const(53)
_DNS_SIZE = const(512)
_HEAD_SIZE = const(12)
_POINTER = const(0xC0)
# Type, class, seconds and size of an answer.
_ANSWER_ROW_SIZE = const(10)
_ADDRESS = b"\0\1\0\1"
_QUERY = b"\1\0\0\1\0\0\0\0\0\0"
# After this many failed connections in a row the name is looked up again.
_FAILURES = const(10)
_NAME_MS = const(1000)
_NAME_MOST_MS = const(600000)


def is_digits(host: str) -> bool:
    """Return whether `host` is an address of four numbers."""
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts)


class Name:
    """The address of `host` and `port`; `link` None: the network is always there."""

    def __init__(
        self, host: str, port: int, link: "Link | None", dns_port: int = _DNS_PORT
    ) -> None:
        self._host = host
        self._port = port
        self._link = link
        self._dns_port = dns_port
        self._address: Address | None = None
        self._failures = 0
        self._wait_ms = _NAME_MS
        self._next_ticks = time.ticks_ms()
        self._socket: socket.socket | None = None
        self._number = b""

    def find(self) -> "Address | None":
        """Return the address, None while there is no link or none has been found."""
        if self._link is not None and not self._link.up:
            return None
        if self._socket is not None:
            self._receive(self._socket)
        now_ticks = time.ticks_ms()
        wanted = self._address is None or self._failures >= _FAILURES
        if wanted and time.ticks_diff(now_ticks, self._next_ticks) >= 0:
            self._next_ticks = time.ticks_add(now_ticks, scattered(self._wait_ms))
            self._wait_ms = min(2 * self._wait_ms, _NAME_MOST_MS)
            try:
                if self._link is None or is_digits(self._host):
                    self._take(self._host)
                else:
                    self._ask(self._link.name_server())
            except OSError:
                self._close()
        return self._address

    def count(self, works: bool) -> None:
        """Note that the address works, or that it did not answer."""
        self._failures = 0 if works else self._failures + 1

    def _take(self, host: str) -> None:
        self._address = socket.getaddrinfo(host, self._port)[0][-1]
        self._failures = 0
        self._wait_ms = _NAME_MS
        self._next_ticks = time.ticks_ms()

    def _ask(self, server: str) -> None:
        """Send a query to the name server; the answer to an earlier one is not waited for."""
        self._close()
        if not server:
            return
        query = bytearray(os.urandom(2)) + _QUERY
        self._number = bytes(query[:2])
        for part in self._host.split("."):
            query += bytes((len(part),)) + part.encode()
        query += b"\0" + _ADDRESS
        address = socket.getaddrinfo(server, self._dns_port)[0][-1]
        self._socket = asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asked.setblocking(False)
        # The system then takes packets of this server only.
        asked.connect(address)
        asked.send(query)

    def _receive(self, asked: socket.socket) -> None:
        try:
            reply = asked.recv(_DNS_SIZE)
            if reply[:2] != self._number:
                # Another number is no answer; the packet behind it may be.
                reply = asked.recv(_DNS_SIZE)
            if reply[:2] == self._number:
                self._close()
                found = address_in(reply)
                if found:
                    self._take(found)
        except (OSError, IndexError):
            return  # nothing has arrived, or half an answer

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def address_in(reply: bytes) -> str:
    """Return the first address in a name server's reply, "" for none; IndexError: it is cut."""
    if not reply[2] & 0x80 or reply[3] & 0x0F:
        return ""
    at = _HEAD_SIZE
    for _ in range(reply[4] << 8 | reply[5]):
        at = _behind_name(reply, at) + len(_ADDRESS)
    for _ in range(reply[6] << 8 | reply[7]):
        at = _behind_name(reply, at)
        size = reply[at + 8] << 8 | reply[at + 9]
        if reply[at : at + len(_ADDRESS)] == _ADDRESS and size == 4:
            first = at + _ANSWER_ROW_SIZE
            return ".".join([str(reply[first + place]) for place in range(size)])
        at += _ANSWER_ROW_SIZE + size
    return ""


def _behind_name(reply: bytes, at: int) -> int:
    """Return the place behind the name at `at`: parts up to an empty one, or to a pointer."""
    while reply[at] and reply[at] < _POINTER:
        at += 1 + reply[at]
    return at + (2 if reply[at] else 1)
