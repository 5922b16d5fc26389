"""Serve `/healthz` and `/metrics` of a head-end, for monitoring with Prometheus."""

import asyncio
import contextlib
import time
from collections.abc import Iterable

from host.headend.server import Connections

_REQUEST_LIMIT = 4096
_PATIENCE_S = 5
_COMMIT_LIMIT_S = 30
_NOT_FOUND = "404 Not Found"


class Metrics:
    """A server of HTTP requests from the state of the serving process; it reads no database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._began = time.time()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_PATIENCE_S):
                line = await reader.readline()
                for _ in range(_REQUEST_LIMIT):
                    if not (await reader.readline()).strip():
                        break
                writer.write(self.answer(line.decode("ascii", "replace")))
                await writer.drain()
        writer.close()

    def answer(self, line: str) -> bytes:
        """Return the response to a request line."""
        words = line.split()
        path = words[1].partition("?")[0] if len(words) > 1 and words[0] == "GET" else ""
        if path == "/healthz":
            trouble = self._trouble()
            status = "503 Service Unavailable" if trouble else "200 OK"
            return _response(status, f"{trouble or 'ok'}\n")
        if path == "/metrics":
            return _response("200 OK", "".join(self._lines()))
        return _response(_NOT_FOUND, "there are /healthz and /metrics\n")

    def _trouble(self) -> str:
        """Return why the head-end is not healthy, "" when it is."""
        writer = self._connections.writer
        return "the database does not take anything" if writer.commit_s > _COMMIT_LIMIT_S else ""

    def _lines(self) -> Iterable[str]:
        writer, ingest = self._connections.writer, self._connections.ingest
        positions = list(ingest.positions.values())
        backlog = sum(max(0, one.next_seq - 1 - one.acked_seq) for one in positions)
        gauges = {
            "connections": len(self._connections.open),
            "messages_waiting": writer.waiting,
            "last_commit_seconds": f"{writer.commit_s:.6f}",
            "concentrators_heard": len(positions),
            "records_behind": backlog,
            "start_time_seconds": f"{self._began:.0f}",
        }
        for name, value in gauges.items():
            yield f"# TYPE dianka_{name} gauge\ndianka_{name} {value}\n"
        counts = {"commits": writer.commits, "messages_dropped": writer.dropped}
        for name, count in sorted({**ingest.counters, **counts}.items()):
            yield f"# TYPE dianka_{name}_total counter\ndianka_{name}_total {count}\n"


def _response(status: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
