"""The second process of a serving head-end, which answers HTTP.

`/healthz` and `/metrics` are for programs, `/metrics/help` explains the numbers to people.

Whatever it is busy with, the first process goes on storing what concentrators send. It asks the
first process for its state at its desk, and ends with it.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Mapping
from typing import Any

from host import children
from host.headend.desk import STATE, ask
from host.headend.errors import StoreError
from host.headend.metrics import metrics_lines
from host.headend.metrics_help import help_page, language_of
from host.headend.turn import reach

_LINES_LIMIT = 100
_PATIENCE_S = 10
_STATE_WITHIN_S = 3
_AGAIN_S = 1

log = logging.getLogger("dianka.headend")


# --- in the first process ------------------------------------------------------------------------


class KeptProcess:
    """A process of a module that runs beside the first one, and is started again where it ends.

    `begins` is how the line begins by which it tells that it is ready.
    """

    def __init__(self, module: str, words: list[str], begins: str) -> None:
        self.pid = 0
        self._module = module
        self._words = words
        self._begins = begins
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Return what it says once it is ready; OSError: it cannot be, and why."""
        process, said = await self._started()
        self._watch = asyncio.create_task(self._keep(process))
        return said

    async def _started(self) -> tuple[asyncio.subprocess.Process, str]:
        # Its standard input ends with this process, however that ends.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self._module, *self._words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=children.environment(database=True),
        )
        assert process.stdout is not None
        said = (await process.stdout.readline()).decode().strip()
        if not said.startswith(self._begins):
            await process.wait()
            raise OSError(0, said)
        self.pid = process.pid
        return process, said

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        while True:
            status = await process.wait()
            log.error(
                "the process of %s ended with status %d and is started again", self._module, status
            )
            await asyncio.sleep(_AGAIN_S)
            with contextlib.suppress(OSError):
                process, _said = await self._started()


class PageProcess(KeptProcess):
    """A process that answers HTTP."""

    def __init__(self, host: str, port: int, *told: str, module: str = __name__) -> None:
        """`told` is what the `module` needs: here the address of the desk.

        Port 0: a free one is chosen.
        """
        super().__init__(module, [host, str(port), *told], "http")

    async def start(self) -> str:
        """Return where it listens; OSError: it cannot listen there."""
        url = await super().start()
        self._words[1] = url.rpartition(":")[2]
        return url


# --- in the second process -----------------------------------------------------------------------


class Pages:
    """Answers requests from the state of the first process."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            async with asyncio.timeout(_PATIENCE_S):
                line = await reader.readline()
                accepted = ""
                for _ in range(_LINES_LIMIT):
                    header = (await reader.readline()).decode("ascii", "replace").strip()
                    if not header:
                        break
                    name, _colon, value = header.partition(":")
                    if name.lower() == "accept-language":
                        accepted = value
                writer.write(await self._answer(line.decode("ascii", "replace"), accepted))
                await writer.drain()
        writer.close()

    async def _answer(self, line: str, accepted: str) -> bytes:
        words = line.split()
        path = words[1].partition("?")[0] if len(words) > 1 and words[0] == "GET" else ""
        if path not in ("/healthz", "/metrics", "/metrics/help"):
            text = "there are /healthz, /metrics and /metrics/help\n"
            return _response("404 Not Found", text)
        state = await asyncio.to_thread(self._state)
        trouble = "the head-end does not answer" if state is None else state["trouble"]
        if path == "/metrics" and state is not None:
            return _response("200 OK", "".join(metrics_lines(state)))
        if path == "/metrics/help" and state is not None:
            page = help_page(state, language_of(accepted))
            return _response("200 OK", page, "text/html; charset=utf-8")
        status = "503 Service Unavailable" if trouble else "200 OK"
        return _response(status, f"{trouble or 'ok'}\n")

    def _state(self) -> Mapping[str, Any] | None:
        line = reach(self._address)
        if line is None:
            return None
        with line, contextlib.suppress(StoreError):
            found: Mapping[str, Any] = ask(line, STATE, {}, within_s=_STATE_WITHIN_S)
            return found
        return None


def _response(
    status: str, text: str, kind: str = "text/plain; version=0.0.4; charset=utf-8"
) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def _run(host: str, port: int, address: str) -> None:
    try:
        server = await asyncio.start_server(Pages(address).serve, host, port)
    except OSError as error:
        children.say(str(error.strerror))
        return
    # The first process decides when this one ends.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _stay)
    children.say(f"http://{host}:{server.sockets[0].getsockname()[1]}")
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def _stay() -> None:
    """Do nothing at Ctrl-C."""


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
