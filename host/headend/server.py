"""The TCP server of the head-end: it turns bytes into messages and sends the answers."""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from host.frames.link import LinkReader
from host.headend.ingest import Ingest
from host.headend.writer import Writer

RECEIVE_SIZE = 1 << 16
CONNECTIONS_LIMIT = 4096
ADDRESS_LIMIT = 2048  # of them from one address: a mobile network may hide many boards behind one
REFUSED_LIMIT = 100  # broken frames on one connection before it is closed
FORGED_LIMIT = 3  # messages that are not genuine
GENUINE_WITHIN_S = 10
IDLE_LIMIT_S = 600
_LOOK_S = 1
_KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 20),
    (socket.TCP_KEEPCNT, 3),
)

log = logging.getLogger("dianka.headend")


async def serve(
    ingest: Ingest,
    host: str,
    port: int,
    ready: Callable[[str, int], None],
    *,
    reload: Callable[[], None] | None = None,
    answering: Callable[["Connections"], Awaitable[None]] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; `ready` gets the address once the server listens.

    `reload` is called at SIGHUP; `answering` may serve other requests.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    if reload is not None:
        loop.add_signal_handler(signal.SIGHUP, reload)
    connections = Connections(ingest, loop)
    if answering is not None:
        await answering(connections)
    server = await asyncio.start_server(connections.serve, host, port, backlog=1024)
    address = server.sockets[0].getsockname()
    ready(address[0], address[1])
    watch = asyncio.create_task(connections.watch())
    await stopping.wait()
    server.close()
    watch.cancel()
    connections.close()
    await asyncio.to_thread(connections.writer.stop)
    await server.wait_closed()


class _Connection:
    """One peer: the writer of its answers, and the count of its errors."""

    def __init__(self, stream: asyncio.StreamWriter, peer: str) -> None:
        self.stream = stream
        self.peer = peer
        self.forged = 0
        self.until = time.monotonic() + GENUINE_WITHIN_S

    def on_answer(self, answer: bytes) -> None:
        """Send an answer; an empty one was a refusal."""
        if answer and not self.stream.is_closing():
            self.stream.write(answer)


class Connections:
    """All peers that are connected."""

    def __init__(self, ingest: Ingest, loop: asyncio.AbstractEventLoop) -> None:
        self.ingest = ingest
        self.open: set[_Connection] = set()
        self.writer = Writer(ingest, self._answered)
        self._loop = loop
        self._hosts: Counter[str] = Counter()

    def close(self) -> None:
        """Close all connections."""
        for connection in self.open:
            connection.stream.close()

    async def watch(self) -> None:
        """Close each connection without a genuine message in time."""
        while True:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            for connection in [one for one in self.open if one.until < now]:
                self.ingest.counters["timed_out"] += 1
                log.info("%s: closed, nothing genuine came in time", connection.peer)
                connection.stream.close()

    def _answered(self, answers: Sequence[tuple[_Connection, bytes]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._send, answers)

    def _send(self, answers: Sequence[tuple[_Connection, bytes]]) -> None:
        for connection, answer in answers:
            connection.on_answer(answer)

    async def serve(self, reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
        """Serve one connection from beginning to end."""
        host, port = stream.get_extra_info("peername")[:2]
        connection = _Connection(stream, f"{host}:{port}")
        if len(self.open) >= CONNECTIONS_LIMIT or self._hosts[host] >= ADDRESS_LIMIT:
            self.ingest.counters["too_many_connections"] += 1
            log.warning("%s: closed, %d connections are open", connection.peer, len(self.open))
            stream.close()
            return
        line = stream.get_extra_info("socket")
        # An answer is one small write: without this it waits for the peer's delayed ack.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            line.setsockopt(socket.IPPROTO_TCP, option, value)
        self.open.add(connection)
        self._hosts[host] += 1
        log.info("%s: connected", connection.peer)
        try:
            await self._converse(reader, connection)
        except ConnectionError as error:
            log.info("%s: %s", connection.peer, error)
        finally:
            self.open.discard(connection)
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
            stream.close()
            with contextlib.suppress(ConnectionError):
                await stream.wait_closed()
            log.info("%s: disconnected", connection.peer)

    async def _converse(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        frames = LinkReader()
        peer, ingest, put = connection.peer, self.ingest, self.writer.put
        while data := await reader.read(RECEIVE_SIZE):
            broken = frames.refused + frames.overlong
            for frame in frames.feed(data):
                message = ingest.open(frame, peer)
                if message is None:
                    connection.forged += 1
                    continue
                connection.until = time.monotonic() + IDLE_LIMIT_S
                if refused := ingest.turn_away(message):
                    connection.on_answer(refused)
                elif after_s := put(connection, message):
                    connection.on_answer(ingest.gate.put_off(message, after_s))
            if frames.refused + frames.overlong > broken:
                broken = frames.refused + frames.overlong - broken
                ingest.counters["broken_frames"] += broken
                log.warning("%s: %d broken frames", peer, broken)
            if frames.refused + frames.overlong > REFUSED_LIMIT:
                log.warning("%s: closed after %d broken frames", peer, REFUSED_LIMIT)
                return
            if connection.forged >= FORGED_LIMIT:
                log.warning("%s: closed after %d forged messages", peer, FORGED_LIMIT)
                return
