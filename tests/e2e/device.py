"""A concentrator for end-to-end tests: the firmware on a real MicroPython, its console on TCP."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from host.device import device_root
from host.link.pty import PtyPort
from tools import micropython


@dataclass
class Device:
    """A running concentrator; `url` is the console's, for --port."""

    url: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running(flash: Path, line: str | None = None) -> Iterator[Device]:
    """Run a concentrator on `flash` until the end of the block; `line` is its meters' line."""
    console, nobody = PtyPort(), PtyPort()
    server = socket.create_server(("127.0.0.1", 0))
    bridge = threading.Thread(target=_bridge, args=(server, console), daemon=True)
    bridge.start()
    command = [str(micropython.ensure()), str(device_root() / "main.py"), "--flash", str(flash)]
    command += ["--line", line or nobody.name, "--console", console.name]
    process = subprocess.Popen(command)
    try:
        yield Device(f"socket://127.0.0.1:{server.getsockname()[1]}", process)
    finally:
        process.kill()
        process.wait()
        # Closing alone does not wake a thread that waits for a connection.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        bridge.join(5)
        console.close()
        nobody.close()


def _bridge(server: socket.socket, console: PtyPort) -> None:
    """Connect one client after another to the pseudo terminal, until the server closes."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        connection.settimeout(0.01)
        with connection, contextlib.suppress(ConnectionError):
            while True:
                if data := console.read(0.01):
                    connection.sendall(data)
                try:
                    data = connection.recv(4096)
                except TimeoutError:
                    continue
                if not data:
                    break
                console.write(data)
