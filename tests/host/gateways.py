"""Stand-ins for gateways of notices on this computer: SMS over HTTP, and e-mail over SMTP."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Gateway:
    """A gateway for SMS; `mood` is how it answers, and `heard` what it was told.

    fine, refuses (500), moves (a redirection), hangs, late (it takes the message, then is silent),
    cuts (it takes the message, then closes)
    """

    mood: str = "fine"
    heard: list[dict[str, Any]] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    late_s: float = 3.0
    port: int = 0

    @property
    def url(self) -> str:
        """Return the address of a way."""
        place = f"json://127.0.0.1:{self.port}/send"
        return f"{place}?:to={{phone}}&%2BAuthorization=Bearer%20TOPSECRET"

    def texts(self) -> list[str]:
        return [one["message"] for one in self.heard]


@contextmanager
def sms() -> Iterator[Gateway]:
    """Run a gateway for SMS until the end of the block."""
    made = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.elsewhere.append(self.path)
            self._say(200)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.startswith("/elsewhere"):
                made.elsewhere.append(self.path)
                self._say(200)
                return
            told = json.loads(body)
            told["headers"] = dict(self.headers)
            if made.mood in ("fine", "late", "cuts"):
                made.heard.append(told)
            if made.mood in ("late", "hangs"):
                time.sleep(made.late_s)
            if made.mood == "cuts":
                self.connection.close()
                return
            if made.mood == "moves":
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{made.port}/elsewhere")
                self.end_headers()
                return
            self._say(500 if made.mood == "refuses" else 200)

        def _say(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError, ValueError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Mailbox:
    """An SMTP server; `letters` are what it took, as it stands on the line."""

    letters: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refuses: bool = False
    port: int = 0

    @property
    def url(self) -> str:
        return (
            f"mailto://127.0.0.1:{self.port}?from=station@example.com&to={{email}}&mode=insecure"
        )


@contextmanager
def mail() -> Iterator[Mailbox]:
    """Run an SMTP server until the end of the block."""
    made = Mailbox()
    server = socket.create_server(("127.0.0.1", 0))
    made.port = server.getsockname()[1]

    def converse(line: socket.socket) -> None:
        stream = line.makefile("rb")

        def say(text: str) -> None:
            line.sendall(f"{text}\r\n".encode())

        say("220 here")
        while raw := stream.readline():
            word = raw.decode().strip()
            if word.upper().startswith("EHLO"):
                say("250 here")
            elif word.upper().startswith("RCPT"):
                made.recipients.append(word)
                say("550 no such box" if made.refuses else "250 fine")
            elif word.upper() == "DATA":
                say("354 go on")
                lines = []
                while (one := stream.readline().decode()) not in (".\r\n", ""):
                    lines.append(one)
                made.letters.append("".join(lines))
                say("250 taken")
            elif word.upper() == "QUIT":
                say("221 bye")
                return
            else:
                say("250 fine")

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line:
                try:
                    converse(line)
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield made
    finally:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
