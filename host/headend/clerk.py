"""The desk of a serving head-end: programs of the same user hand in what is to be written."""

import asyncio
import contextlib
import json
import logging
import secrets
from typing import Any

from host.headend import (
    approvals,
    backup,
    card_log,
    channel_sales,
    channels,
    commands,
    complaints,
    credit,
    due_work,
    findings,
    household_links,
    journals,
    leases,
    life,
    month,
    notices,
    noting,
    orders,
    ownership,
    payments,
    persons,
    planned_outages,
    recharge,
    registry,
    retain,
    retention,
    rollouts,
    rooms,
    selling,
    shedding,
    shifts,
    stepping,
    tickets,
    topology,
    users,
)
from host.headend.audit import Who, acting
from host.headend.desk import OPERATIONS, STATE, told_error
from host.headend.errors import StoreError
from host.headend.metrics import state
from host.headend.server import Connections
from host.headend.store import Store
from host.headend.turn import is_own, socket_name
from host.words import LANGUAGES, _, language_spoken, speak

# Importing these modules has registered their operations.
_REGISTERED = (
    approvals,
    backup,
    card_log,
    channel_sales,
    channels,
    commands,
    complaints,
    credit,
    due_work,
    findings,
    household_links,
    journals,
    leases,
    life,
    month,
    notices,
    noting,
    orders,
    planned_outages,
    ownership,
    payments,
    persons,
    recharge,
    registry,
    retain,
    retention,
    rollouts,
    rooms,
    shedding,
    shifts,
    selling,
    stepping,
    tickets,
    topology,
    users,
)
_REQUEST_LIMIT = 1 << 26

log = logging.getLogger("dianka.headend")


class Clerk:
    """Takes requests of other processes, and has the writer do them between two commits."""

    def __init__(self, store: Store, connections: Connections) -> None:
        self._store = store
        self._connections = connections

    async def open(self) -> str:
        """Listen, and tell the processes that open the database where; return the address."""
        address = f"dianka-{secrets.token_hex(16)}"
        name = socket_name(address)
        await asyncio.start_unix_server(self.serve, name, limit=_REQUEST_LIMIT)
        self._store.tell_turn(address)
        return address

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        with contextlib.suppress(ConnectionError, ValueError, KeyError):
            if is_own(writer.get_extra_info("socket")):
                line = await reader.readline()
                if line.endswith(b"\n"):
                    writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                    await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        request = json.loads(line)
        if request["operation"] == STATE:
            return {"result": state(self._connections)}
        loop = asyncio.get_running_loop()
        future: asyncio.Future[dict[str, Any]] = loop.create_future()

        def work() -> None:
            answer = self._worked(request)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_settle, future, answer)

        self._connections.writer.between_commits(work)
        return await future

    def _worked(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks for; it runs in the writer's thread."""
        here = language_spoken()
        try:
            if request["language"] in LANGUAGES:
                speak(request["language"])
            operation = OPERATIONS[request["operation"]]
            with acting(Who(*request["who"])):
                return {"result": operation.run(self._store, request["told"])}
        except StoreError as error:
            return told_error(error)
        except Exception:  # who asked gets an answer, and the writer's thread goes on
            log.exception("a request at the desk failed")
            return told_error(StoreError(_("the head-end could not do it: its log says why")))
        finally:
            speak(here)


def _settle(future: asyncio.Future[dict[str, Any]], answer: dict[str, Any]) -> None:
    if not future.done():
        future.set_result(answer)
