"""The TCP side of the head-end: bytes of each connection into frames, answers back."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable

from host.frames.link import LinkReader
from host.headend.ingest import Ingest

RECEIVE_SIZE = 1 << 16
CONNECTIONS_LIMIT = 1024
REFUSED_LIMIT = 100  # broken frames on one connection before it is closed

log = logging.getLogger("dianka.headend")


async def serve(ingest: Ingest, host: str, port: int, ready: Callable[[str, int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is told the address once it listens."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    connections = _Connections(ingest)
    server = await asyncio.start_server(connections.serve, host, port)
    address = server.sockets[0].getsockname()
    ready(address[0], address[1])
    await stopping.wait()
    server.close()
    connections.close()
    await server.wait_closed()


class _Connections:
    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._open: set[asyncio.StreamWriter] = set()

    def close(self) -> None:
        for writer in self._open:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from its beginning to its end."""
        host, port = writer.get_extra_info("peername")[:2]
        peer = f"{host}:{port}"
        if len(self._open) >= CONNECTIONS_LIMIT:
            self._ingest.counters["too_many_connections"] += 1
            log.warning("%s: closed, %d connections are open", peer, len(self._open))
            writer.close()
            return
        # An answer is one small write: without this it waits for the peer's delayed ack.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(writer)
        log.info("%s: connected", peer)
        try:
            await self._converse(reader, writer, peer)
        except ConnectionError as error:
            log.info("%s: %s", peer, error)
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            log.info("%s: disconnected", peer)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
    ) -> None:
        frames = LinkReader()
        while data := await reader.read(RECEIVE_SIZE):
            broken = frames.refused + frames.overlong
            for frame in frames.feed(data):
                writer.write(self._ingest.answer(frame, peer))
            await writer.drain()
            if frames.refused + frames.overlong > broken:
                broken = frames.refused + frames.overlong - broken
                self._ingest.counters["broken_frames"] += broken
                log.warning("%s: %d broken frames", peer, broken)
            if frames.refused + frames.overlong > REFUSED_LIMIT:
                log.warning("%s: closed after %d broken frames", peer, REFUSED_LIMIT)
                return
