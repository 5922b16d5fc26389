"""A concentrator's card desk on a TCP port for tests: the firmware's reader and redemption."""

import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from card.keys import Keys
from card.redemption import Redemption
from concentrator.cards.link_carrier import LinkCarrier
from concentrator.cards.programmer import Programmer
from concentrator.console import commands
from concentrator.console.console import Refusal
from concentrator.login import FULL, NOTHING, Login
from concentrator.settings import is_secret
from uplink import link
from uplink.link import LinkReceiver

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

from card_world import FakeBooks, FakeCarrier

# The time at the concentrator.
CARD_DESK_T2000 = 820_000_000


class CardDesk:
    """One account, and a console that only knows what is in `settings`.

    lose    count of the next answers that never reach the far side
    """

    def __init__(self, books: FakeBooks, keys: Keys) -> None:
        self.books = books
        self.settings: dict[str, str] = {}
        self.login = Login(lambda: secrets.randbelow(1 << 29))
        self.login.number = 7
        self.entropy = SimpleNamespace(is_good=True)
        self.lose = 0
        self.commands: list[str] = []
        self.reader = LinkCarrier()
        self.redemption = Redemption(self.reader, books, keys)
        self.own = FakeCarrier()
        self.programmer = Programmer(self.own, self.login)
        self._frames = LinkReceiver(320, 2048)
        self._out = bytearray(700)

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the far side and return the bytes of the answer."""
        self._frames.feed(data, len(data))
        sent = b""
        while self._frames.poll():
            kind, seq = self._frames.kind, self._frames.seq
            if kind == link.COMMAND:
                text = bytes(self._frames.body[: self._frames.body_size]).decode()
                sent += self._command(seq, text)
            elif kind in (link.CARD_READ, link.CARD_WRITE):
                body, size = self._frames.body, self._frames.body_size
                self.programmer.on_frame(kind, seq, body, size)
            else:
                self.reader.on_frame(kind, seq, self._frames.body, self._frames.body_size)
            self._frames.release()
        ticks = time.monotonic_ns() // 1_000_000 & 0x1FFFFFFF
        for _ in range(4):
            self.redemption.poll(ticks, CARD_DESK_T2000)
            self.programmer.poll(ticks, False)
        for one in (self.reader, self.programmer):
            size = one.encode_into(self._out)
            sent += bytes(self._out[:size])
        if sent and self.lose:
            self.lose -= 1
            return b""
        return sent

    def _command(self, seq: int, text: str) -> bytes:
        try:
            if text[:1].isdigit():
                text = commands.granted(self.login, text)
            if text.startswith("login"):
                return self._frame_all(seq, [(link.REPLY, "\0" + self._login(text.split()[1:]))])
        except Refusal as refusal:
            return self._frame_all(seq, [(link.REPLY, f"\1{refusal}")])
        try:
            return self._carry_out(seq, text)
        finally:
            self.login.granted = NOTHING

    def _carry_out(self, seq: int, text: str) -> bytes:
        self.commands.append(text)
        word, *rest = text.split()
        if word == "logout":
            self.login.close()
            return self._frame_all(seq, [(link.REPLY, "\0logged out")])
        if word != "settings" and not self.login.allows(FULL):
            return self._frame_all(seq, [(link.REPLY, "\1log in with the console key first")])
        if text == "card":
            there = f"\0{self.own.uid.hex()} {self.own.size}"
            answer = there if self.own.present else "\1no card in the reader: insert one"
            return self._frame_all(seq, [(link.REPLY, answer)])
        if text == "card unlock":
            self.redemption.unlock()
            return self._frame_all(seq, [(link.REPLY, "\0cards are looked at")])
        if word == "settings":
            told = {"id": "7", "district": "4711", "console_key_version": "1", **self.settings}
            parts = [
                (link.PART, f"{name} {'(set)' if is_secret(name) else value}")
                for name, value in told.items()
            ]
            return self._frame_all(seq, [*parts, (link.REPLY, "\0")])
        if word == "set":
            value = rest[1]
            if is_secret(rest[0]):
                value = self.login.unwrap(bytes.fromhex(value)).hex()
            self.settings[rest[0]] = value
            return self._frame_all(seq, [(link.REPLY, "\0")])
        return self._frame_all(seq, [(link.REPLY, f"\1no command {word}, try help")])

    def _login(self, rest: list[str]) -> str:
        handler = commands._login_begin if rest[0] == "begin" else commands._login
        (line,) = handler(self, rest[1:] if rest[0] == "begin" else rest)  # type: ignore[arg-type]  # it has a login
        return line

    def _frame_all(self, seq: int, frames: list[tuple[int, str]]) -> bytes:
        sent = b""
        for kind, text in frames:
            body = text.encode()
            size = link.encode_into(self._out, kind, seq, body, len(body))
            sent += bytes(self._out[:size])
        return sent


@contextmanager
def served(desk: CardDesk) -> Iterator[str]:
    """Serve the desk on a port of its own and yield the name of the line."""
    server = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve() -> None:
        server.settimeout(0.05)
        while not stopping.is_set():
            try:
                peer, _ = server.accept()
            except TimeoutError:
                continue
            with peer:
                peer.settimeout(0.01)
                _converse(desk, peer, stopping)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"socket://127.0.0.1:{server.getsockname()[1]}"
    finally:
        stopping.set()
        thread.join()
        server.close()


def _converse(desk: CardDesk, peer: socket.socket, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            data = peer.recv(4096)
            if not data:
                return
        except TimeoutError:
            data = b""
        except ConnectionError:
            return
        answer = desk.feed(data)
        if answer:
            peer.sendall(answer)
