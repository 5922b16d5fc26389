"""A virtual CPU card, and its way into PC/SC: the protocol of vsmartcard's `vpcd`.

    reader -> card      size 2, big-endian, payload: 00 off, 01 on, 02 reset, 04 ATR, or a command
    card -> reader      size 2, payload: the ATR, or data and status word

The card has the file 3F00/DF01/0081 of 256 bytes. It behaves as T=0 does: a wrong length gets
6Cxx, data for a command with data waits behind 61xx.
"""

import contextlib
import socket
import threading
from collections.abc import Callable

from host.sim.card import Torn, VirtualCard

VPCD_PORT = 35963
_ATR_HEAD = bytes((0x3B, 0x68, 0x00, 0x00))  # no TD1: T=0; 8 historical bytes, the serial number
_DONE = b"\x90\x00"
_WRONG_LENGTH = b"\x67\x00"
_NOT_FOUND = b"\x6a\x82"
_OUTSIDE = b"\x6b\x00"
_NO_FILE = b"\x69\x86"
_UNKNOWN_CODE = b"\x6d\x00"
_UNKNOWN_CLASS = b"\x6e\x00"
_CHILDREN = {b"\x3f\x00": b"\xdf\x01", b"\xdf\x01": b"\x00\x81"}


class CpuCard:
    """Takes commands and answers; the image is in `memory`, which may be torn."""

    def __init__(self, memory: VirtualCard) -> None:
        self.memory = memory
        self.commands = 0
        self._selected = b""

    @property
    def atr(self) -> bytes:
        """Answer to reset."""
        return _ATR_HEAD + bytes.fromhex(self.memory.uid)

    def reset(self) -> None:
        """Reset the card, as switching its power on does."""
        self._selected = b""

    def answer(self, command: bytes) -> bytes:
        """Return the data and the status word; Torn when the card is pulled."""
        self.commands += 1
        if len(command) < 4:
            return _WRONG_LENGTH
        if command[0] != 0:
            return _UNKNOWN_CLASS
        code, at, tail = command[1], int.from_bytes(command[2:4]), command[4:]
        if code == 0xA4:
            return self._select(tail)
        if code not in (0xB0, 0xD6):
            return _UNKNOWN_CODE
        if self._selected != b"\x00\x81":
            return _NO_FILE
        return self._read(at, tail) if code == 0xB0 else self._update(at, tail)

    def _select(self, tail: bytes) -> bytes:
        name = tail[1:]
        if len(tail) < 1 or len(name) != tail[0]:
            return _WRONG_LENGTH
        if name != b"\x3f\x00" and _CHILDREN.get(self._selected) != name:
            return _NOT_FOUND
        self._selected = name
        return _DONE

    def _read(self, at: int, tail: bytes) -> bytes:
        if len(tail) != 1:
            return _WRONG_LENGTH
        left = self.memory.size - at
        if left <= 0:
            return _OUTSIDE
        size = tail[0] or 256
        if size > left:
            return bytes((0x6C, left))
        return self.memory.read(at, size) + _DONE

    def _update(self, at: int, tail: bytes) -> bytes:
        data = tail[1:]
        if not tail or len(data) != tail[0]:
            return _WRONG_LENGTH
        if at + len(data) > self.memory.size:
            return _OUTSIDE
        self.memory.write(at, data)
        return _DONE


class VpcdSlot:
    """Keeps one card in the virtual reader of a running pcscd.

    next_card   asked for the card whenever the reader powers the slot: the magazine of a printer
    """

    def __init__(self, next_card: Callable[[], CpuCard], port: int = VPCD_PORT) -> None:
        self._next_card = next_card
        self._card = next_card()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Pull the card."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while payload := self._receive():
                self._on_payload(payload)

    def _on_payload(self, payload: bytes) -> None:
        if len(payload) == 1:
            if payload[0] == 1:
                self._card = self._next_card()
            if payload[0] in (1, 2):
                self._card.reset()
            if payload[0] == 4:
                self._send(self._card.atr)
            return
        try:
            answer = self._card.answer(payload)
        except Torn:
            self._socket.shutdown(socket.SHUT_RDWR)
            return
        self._send(answer)

    def _receive(self) -> bytes:
        """Return the next payload, empty at the end."""
        size = self._receive_exactly(2)
        return self._receive_exactly(int.from_bytes(size)) if size else b""

    def _receive_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            # Without this the kernel delays its acknowledgement, and the reader waits for it.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            part = self._socket.recv(size - len(data))
            if not part:
                return b""
            data += part
        return data

    def _send(self, payload: bytes) -> None:
        self._socket.sendall(len(payload).to_bytes(2) + payload)
