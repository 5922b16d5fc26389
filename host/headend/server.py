"""The TCP server of the head-end: it turns bytes into messages and sends the answers.

A connection is *proven* by a genuine message that is new: whoever only repeats what was heard of
others has none. One that is not proven in time is closed, and sooner where many others come.
"""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from host.frames.link import Kind, LinkReader
from host.headend.gate import Message
from host.headend.ingest import Ingest
from host.headend.writer import Writer

RECEIVE_SIZE = 1 << 13
CONNECTIONS_LIMIT = 1 << 14  # if the system lets one process have as many
# Connections that are not proven: the oldest gives way to a new one.
UNPROVEN_LIMIT = 4096
UNPROVEN_AT_ADDRESS_LIMIT = 2048  # a mobile network may hide many boards behind one address
EACH_LIMIT = 4  # of one concentrator, of which all but the newest are dead
REFUSED_LIMIT = 100  # broken frames on one connection before it is closed
FORGED_LIMIT = 3  # messages that are not genuine
UNTAKEN_LIMIT = 1 << 16  # bytes of answers that a peer does not take
GENUINE_WITHIN_S = 10
IDLE_LIMIT_S = 600
_LOOK_S = 1
_OWN_FILES = 128  # the database, the desk and others
_KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 20),
    (socket.TCP_KEEPCNT, 3),
)

log = logging.getLogger("dianka.headend")


@dataclass(frozen=True)
class Secured:
    """A second port, for carriers that speak TLS."""

    port: int
    context: ssl.SSLContext
    ready: Callable[[str, int], None]


async def serve(
    ingest: Ingest,
    host: str,
    port: int,
    ready: Callable[[str, int], None],
    *,
    reload: Callable[[], None] | None = None,
    answering: Callable[["Connections"], Awaitable[None]] | None = None,
    secured: Secured | None = None,
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
    connections = Connections(ingest, loop, _connections_limit())
    loop.set_exception_handler(connections.on_trouble)
    if answering is not None:
        await answering(connections)
    servers = [await asyncio.start_server(connections.serve, host, port, backlog=1024)]
    if secured is not None:
        take = partial(connections.serve, context=secured.context)
        servers.append(await asyncio.start_server(take, host, secured.port, backlog=1024))
        secured.ready(*servers[1].sockets[0].getsockname()[:2])
    ready(*servers[0].sockets[0].getsockname()[:2])
    watch = asyncio.create_task(connections.watch())
    await stopping.wait()
    for server in servers:
        server.close()
    watch.cancel()
    connections.close()
    connections.writer.between_commits(ingest.refusals.write)
    await asyncio.to_thread(connections.writer.stop)
    for server in servers:
        await server.wait_closed()


def _connections_limit() -> int:
    """Let this process have as many files as it may, and return how many can be connections."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_LIMIT + _OWN_FILES
    files = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(1, files - _OWN_FILES)


class _Connection:
    """One peer: the writer of its answers, and the count of its errors.

    heard       whether it has sent anything
    proven      whether it has sent a genuine message that was new
    newest      the newest of those
    """

    def __init__(self, stream: asyncio.StreamWriter, host: str, port: int) -> None:
        self.stream = stream
        self.host = host
        self.peer = f"{host}:{port}"
        self.forged = 0
        self.heard = False
        self.proven = False
        self.concentrator = 0
        self.newest: Message | None = None
        self.until = time.monotonic() + GENUINE_WITHIN_S

    @property
    def is_deaf(self) -> bool:
        """Return whether it takes no answers."""
        return self.stream.transport.get_write_buffer_size() > UNTAKEN_LIMIT

    def on_answer(self, answer: bytes) -> None:
        """Send an answer; an empty one was a refusal."""
        if answer and not self.stream.is_closing():
            self.stream.write(answer)


class Connections:
    """All peers that are connected; `limit` is how many there may be."""

    def __init__(
        self, ingest: Ingest, loop: asyncio.AbstractEventLoop, limit: int = CONNECTIONS_LIMIT
    ) -> None:
        self.ingest = ingest
        self.open: set[_Connection] = set()
        self.writer = Writer(ingest, self._answered)
        self._loop = loop
        self._limit = limit
        self._unproven: dict[_Connection, None] = {}  # the oldest first
        self._unproven_at: dict[str, dict[_Connection, None]] = {}
        self._proven: dict[int, list[_Connection]] = {}  # of each concentrator, the oldest first

    def close(self) -> None:
        """Close all connections."""
        for connection in self.open:
            connection.stream.close()

    def on_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what the loop could not do, as to accept a connection for lack of files."""
        error = context.get("exception")
        if isinstance(error, OSError):
            self._tell(logging.ERROR, "this machine:0", "system", f"{context['message']}: {error}")
        else:
            loop.default_exception_handler(context)

    def _tell(self, level: int, peer: str, reason: str, text: str) -> None:
        self.ingest.teller.tell(level, peer, reason, text)

    async def watch(self) -> None:
        """Close each connection without a new genuine message in time, or that takes nothing."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._give_orders()
            self.writer.between_commits(self.ingest.downlink.look)
            self.writer.between_commits(self.ingest.refusals.write_some)
            now = time.monotonic()
            for one in list(self.open):
                if one.is_deaf:
                    self._hang_up(one, "deaf", "it takes no answers")
                elif one.until >= now:
                    continue
                elif one.proven:
                    self._hang_up(one, "idle", f"nothing new came for {IDLE_LIMIT_S} s")
                elif one.heard:
                    self._hang_up(one, "slow", "nothing genuine and new came in time")
                else:
                    self._hang_up(one, "silent", "nothing came in time")

    def _give_orders(self) -> None:
        """Send the commands that are due to the concentrators that are connected."""
        for concentrator in self.ingest.downlink.waiting:
            self._give_order(concentrator)

    def _give_order(self, concentrator: int) -> None:
        """Send the command that is due to a concentrator, if it is connected."""
        ingest = self.ingest
        own = self._proven.get(concentrator, [])
        if own and own[-1].newest is not None:
            order = ingest.downlink.order_for(concentrator)
            if order is not None:
                own[-1].on_answer(ingest.gate.give(own[-1].newest, order))

    def _hang_up(self, connection: _Connection, reason: str, why: str) -> None:
        """Close a connection; it is counted under the reason."""
        self.ingest.counters[reason] += 1
        self._tell(logging.INFO, connection.peer, reason, f"closed ({reason}): {why}")
        self._leave(connection)
        # What was not sent would otherwise be waited for.
        connection.stream.transport.abort()

    def _answered(self, answers: Sequence[tuple[_Connection, bytes]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._send, answers)

    def _send(self, answers: Sequence[tuple[_Connection, bytes]]) -> None:
        for connection, answer in answers:
            connection.on_answer(answer)
            # A product comes in thousands of commands: the next one does not wait for `watch`.
            self._give_order(connection.concentrator)

    # --- who is connected ------------------------------------------------------------------------

    def _enter(self, connection: _Connection) -> bool:
        """Take a new connection, for which the oldest that is not proven may have to go.

        Return false where all others are proven and there is no room.
        """
        here = self._unproven_at.get(connection.host, {})
        crowd = here if len(here) >= UNPROVEN_AT_ADDRESS_LIMIT else self._unproven
        is_full = len(self.open) >= self._limit or len(self._unproven) >= UNPROVEN_LIMIT
        if crowd is here or is_full:
            oldest = next(iter(crowd), None)
            if oldest is None:
                self.ingest.counters["too_many_connections"] += 1
                text = f"closed, {len(self.open)} connections are open"
                self._tell(logging.WARNING, connection.peer, "too_many_connections", text)
                return False
            self._hang_up(oldest, "crowded_out", "many others came, and nothing genuine from it")
        self.open.add(connection)
        self._unproven[connection] = None
        self._unproven_at.setdefault(connection.host, {})[connection] = None
        return True

    def _leave(self, connection: _Connection) -> None:
        """Forget a connection; it may be forgotten already."""
        self.open.discard(connection)
        self._forget_unproven(connection)
        own = self._proven.get(connection.concentrator, [])
        if connection in own:
            own.remove(connection)
            if not own:
                del self._proven[connection.concentrator]

    def _forget_unproven(self, connection: _Connection) -> None:
        self._unproven.pop(connection, None)
        here = self._unproven_at.get(connection.host, {})
        here.pop(connection, None)
        if not here:
            self._unproven_at.pop(connection.host, None)

    def _prove(self, connection: _Connection, concentrator: int) -> None:
        """Note a genuine message that is new: the connection is one of that concentrator."""
        connection.until = time.monotonic() + IDLE_LIMIT_S
        if connection.proven:
            return
        connection.proven, connection.concentrator = True, concentrator
        self.ingest.downlink.send_again(concentrator)
        self._forget_unproven(connection)
        own = self._proven.setdefault(concentrator, [])
        own.append(connection)
        if len(own) > EACH_LIMIT:
            why = f"concentrator {concentrator} has made {EACH_LIMIT} newer ones"
            self._hang_up(own[0], "superseded", why)

    # --- one connection --------------------------------------------------------------------------

    async def serve(
        self,
        reader: asyncio.StreamReader,
        stream: asyncio.StreamWriter,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Serve one connection from beginning to end, under TLS if there is a `context`."""
        host, port = stream.get_extra_info("peername")[:2]
        connection = _Connection(stream, host, port)
        if not self._enter(connection):
            stream.transport.abort()
            return
        line = stream.get_extra_info("socket")
        # An answer is one small write: without this it waits for the peer's delayed ack.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            line.setsockopt(socket.IPPROTO_TCP, option, value)
        self._tell(logging.INFO, connection.peer, "connected", "connected")
        try:
            if context is not None:
                await stream.start_tls(context, ssl_handshake_timeout=GENUINE_WITHIN_S)
            await self._converse(reader, connection)
        except (ConnectionError, ssl.SSLError) as error:
            self._tell(logging.INFO, connection.peer, "broken", str(error))
        finally:
            self._leave(connection)
            stream.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await stream.wait_closed()
            self._tell(logging.INFO, connection.peer, "disconnected", "disconnected")

    async def _converse(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        frames = LinkReader()
        while data := await reader.read(RECEIVE_SIZE):
            connection.heard = True
            torn, oversized = frames.refused, frames.overlong
            newest: Message | None = None
            for frame in frames.feed(data):
                message = self.ingest.open(frame, connection.peer)
                if message is not None and message.kind == Kind.RESULT:
                    self._take(message, connection)
                    continue
                if message is not None:
                    # Of several at once the others are answered for nobody.
                    self.ingest.counters["overtaken"] += newest is not None
                    newest = message
                    continue
                connection.forged += 1
                if connection.forged >= FORGED_LIMIT:
                    why = f"{FORGED_LIMIT} messages were not genuine"
                    self._hang_up(connection, "forged", why)
                    return
            if newest is not None:
                self._take(newest, connection)
            self._count("torn", frames.refused - torn, connection)
            self._count("oversized", frames.overlong - oversized, connection)
            if frames.refused + frames.overlong > REFUSED_LIMIT:
                self._hang_up(connection, "garbage", f"more than {REFUSED_LIMIT} broken frames")
                return

    def _take(self, message: Message, connection: _Connection) -> None:
        """Answer a genuine message, or have the writer answer it."""
        ingest = self.ingest
        if ingest.is_new(message):
            self._prove(connection, message.concentrator)
            connection.newest = message
        if at_once := ingest.turn_away(message) or ingest.again(message):
            connection.on_answer(at_once)
        elif after_s := self.writer.put(connection, message):
            connection.on_answer(ingest.gate.put_off(message, after_s))

    def _count(self, reason: str, count: int, connection: _Connection) -> None:
        """Count frames that did not arrive whole."""
        if count:
            self.ingest.counters[reason] += count
            self._tell(logging.WARNING, connection.peer, reason, f"refused ({reason}): a frame")
