"""Requests to the process that writes: sales, and all else that changes a database.

A function that changes the database is marked with `at_desk`. Where a head-end serves the file,
the function runs there, between two commits (`host.headend.clerk`); elsewhere it runs at once, in
a turn of its own. A request is a line of JSON over a socket of this machine; so is the answer.
"""

import inspect
import json
import socket
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

from host.headend.audit import who_acts
from host.headend.errors import Declined, SalesError, StoreError, StoreFailed
from host.headend.store import Store
from host.words import _, language_spoken

STATE = "state"  # not an operation: the state of the head-end in numbers
NO_ANSWER = "no_answer"  # the name of a refusal behind which it may be done
_ANSWER_WITHIN_S = 120
_CHUNK = 1 << 16

_Told = ParamSpec("_Told")
_Result = TypeVar("_Result")


class Operation:
    """A function that changes the database; its values are turned into JSON and back."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _adapters(self) -> dict[str, Any]:
        # Only a command that meets a serving head-end has to load pydantic.
        from pydantic import TypeAdapter

        hints = get_type_hints(self._function)
        return {name: TypeAdapter(hint) for name, hint in hints.items() if hint is not Store}

    def request(self, *words: Any, **told: Any) -> dict[str, Any]:
        """Return the values of a call, by name, as JSON has them."""
        _store, *names = inspect.signature(self._function).parameters
        values = {**dict(zip(names, words, strict=False)), **told}
        adapters = self._adapters
        return {name: adapters[name].dump_python(one, mode="json") for name, one in values.items()}

    def run(self, store: Store, told: dict[str, Any]) -> Any:
        """Call the function with the values of a request; return its result for JSON."""
        values = {name: self._adapters[name].validate_python(one) for name, one in told.items()}
        result = self._function(store, **values)
        return self._adapters["return"].dump_python(result, mode="json")

    def result(self, answer: Any) -> Any:
        """Return the result that an answer has."""
        return self._adapters["return"].validate_python(answer)


OPERATIONS: dict[str, Operation] = {}


def at_desk(
    function: Callable[Concatenate[Store, _Told], _Result],
) -> Callable[Concatenate[Store, _Told], _Result]:
    """Have a function run in the process that serves the database, where one does."""
    name = function.__name__
    if name in OPERATIONS:
        raise ValueError(name)  # two functions at the desk cannot have one name
    operation = OPERATIONS[name] = Operation(function)

    @wraps(function)
    def wherever(store: Store, /, *words: _Told.args, **told: _Told.kwargs) -> _Result:
        with store.turn() as line:
            if line is None:
                return function(store, *words, **told)
            answer = ask(line, name, operation.request(*words, **told))
            result: _Result = operation.result(answer)
            return result

    return wherever


def ask(
    line: socket.socket, name: str, told: dict[str, Any], *, within_s: int = _ANSWER_WITHIN_S
) -> Any:
    """Have the head-end at the other end do something; return its result. StoreError."""
    who = who_acts()
    request = {
        "operation": name,
        "told": told,
        "language": language_spoken(),
        "who": [who.door, who.person],
    }
    line.settimeout(within_s)
    try:
        line.sendall(json.dumps(request).encode() + b"\n")
        text = _read_line(line)
    except OSError:
        text = b""
    if not text:
        raise Declined(
            NO_ANSWER,
            _(
                "the head-end ended before it answered: what was asked for may be done, so look "
                "with `dianka headend orders` before you ask again"
            ),
        )
    answer = json.loads(text)
    if "result" in answer:
        return answer["result"]
    raise _error_of(answer)


def _read_line(line: socket.socket) -> bytes:
    """Return the bytes up to the end of a line, nothing where the line is cut off."""
    parts = []
    while part := line.recv(_CHUNK):
        parts.append(part)
        if part.endswith(b"\n"):
            return b"".join(parts)
    return b""


def told_error(error: StoreError) -> dict[str, Any]:
    """Return an answer that says what has failed."""
    troubles = error.troubles if isinstance(error, SalesError) else {}
    name = error.name if isinstance(error, Declined) else ""
    told = {"error": type(error).__name__, "text": str(error), "name": name}
    return {**told, "troubles": list(troubles.items())}


def _error_of(answer: dict[str, Any]) -> StoreError:
    if answer["troubles"]:
        return SalesError(dict(answer["troubles"]))
    if answer["name"]:
        return Declined(answer["name"], answer["text"])
    kind = StoreFailed if answer["error"] == StoreFailed.__name__ else StoreError
    return kind(answer["text"])
