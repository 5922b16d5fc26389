"""A head-end as a process of its own, and the talk of a device with it."""

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from host.frames import link
from host.frames.link import LinkReader
from host.headend.store import Store
from tests.host.uplink_world import CONCENTRATOR, KEY, Device

PATIENCE_S = 30


class HeadEnd:
    """A head-end with its process, its database and its port."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        database: str | None = None,
        concentrators: Sequence[int] = (CONCENTRATOR,),
    ) -> None:
        """`database`: an address of PostgreSQL instead of a file in `folder`."""
        self._options = options
        self.db = folder / "village.db"
        self.database = database or str(self.db)
        self.keys = folder / "keys.toml"
        lines = (f'{one} = "{KEY.hex()}"\n' for one in concentrators)
        self.keys.write_text("[uplink]\n" + "".join(lines))
        self.log = folder / "log.txt"
        self.port = 0
        self.url = ""
        # A process that makes a database loads Django, which takes seconds.
        Store(self.database, create=True).close()
        self.start()

    def start(self) -> None:
        main = "from host.cli import main; main()"
        options = ["--db", self.database, "--port", str(self.port), "--keys", str(self.keys)]
        options += self._options
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", main, "headend", "serve", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        while line and not line.startswith("listening"):
            if " at http" in line:
                self.url = line.split()[-1]
            line = self.process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), self.log.read_text()
        self.port = int(line.rsplit(":", 1)[1])

    def end(self, number: signal.Signals) -> str:
        """Send the signal, wait, and return the rest of the output."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE_S)
        return rest

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)

    def stored_seq(self) -> int:
        with Store(self.db) as store:
            return store.value("SELECT max(seq) FROM records") or 0


def answers(sock: socket.socket, count: int = 1) -> list[link.Frame]:
    """Return the next frames from the head-end."""
    reader = LinkReader()
    frames: list[link.Frame] = []
    while len(frames) < count:
        data = sock.recv(4096)
        assert data, "closed"
        frames += reader.feed(data)
    return frames


def converse(
    device: Device, sock: socket.socket, until_idle: bool = False, limit: int = 0
) -> None:
    """Pass bytes on until the device is idle or has received `limit` answers.

    The session's time follows the events, not the wall clock: it stops while an answer is awaited.
    """
    heard = 0
    while not (until_idle and device.idle):
        sent = device.step()
        if not sent:
            continue
        sock.sendall(sent)
        if heard == limit and not until_idle:
            return
        for one in answers(sock):
            device.hear(link.build(one.kind, one.seq, one.body))
            heard += 1
