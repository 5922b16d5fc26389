"""The card reader of a counter, for the station's pages in a browser on the same computer.

    GET  /card     what is on the card that is in the reader
    POST /write    write an order on it, noted in the log of cards before and after

The service listens on loopback alone. It answers requests that were made to its own address (so
that no other name leads here), by a page of the one station that it was started for, with the key
of this computer: other sites, other programs and other users get nothing.
"""

import hmac
import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from host.cards.audit import AuditError, AuditLog
from host.cards.issuing import IssueError, Issuer
from host.cards.keystore import KeystoreError
from host.frames import card as frames
from host.frames.card import AMOUNT_LIMIT_FEN, ORDER_LIMIT, CardError, CardKind, Header
from host.link.card import CardIoError, CardMemory
from host.link.port import PortError
from host.words import LANGUAGES, _, speaking

HOST = "127.0.0.1"
KEY_HEADER = "X-Dianka-Key"
_BODY_LIMIT = 1 << 14
_PATIENCE_S = 10
_WRONG_KEYS_LIMIT = 20
_DIGITS = 12
_TROUBLES = (CardIoError, IssueError, AuditError, KeystoreError, CardError, PortError)


class RequestError(Exception):
    """A request that is not answered: the status, and why in one sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Counter:
    """What the service uses: the reader, the keys and the log of this counter.

    card       opens the card that is in the reader now
    key_for    returns the key that made a card, None: it is not here
    issuer     returns what writes cards and logs them
    header     returns a header of the district, not yet bound to a card
    """

    card: Callable[[], AbstractContextManager[CardMemory]]
    key_for: Callable[[Header | None], bytes | None]
    issuer: Callable[[], Issuer]
    header: Callable[..., Header]

    def read(self) -> dict[str, Any]:
        """Return the fields of the card in the reader; CardIoError: there is none."""
        with self.card() as memory:
            return self._told(memory)

    def _told(self, memory: CardMemory) -> dict[str, Any]:
        image = memory.read(0, frames.CARD_SIZE)
        key = self.key_for(frames.parse(image).header)
        card = frames.parse(image, key)
        header, mark = card.header, card.write_back
        told: dict[str, Any] = {
            "uid": memory.uid,
            "trouble": card.trouble,
            "has_key": key is not None,
            "genuine": card.genuine,
            "used": card.used,
            "mark": None,
        }
        if header is not None:
            names = ("kind", "account", "meter", "order", "amount_fen", "issued_t2000")
            told |= {name: getattr(header, name) for name in names}
            told["bound_uid"] = header.uid
        if mark is not None:
            of_mark = (
                *("code", "state", "relay", "order", "balance_fen", "used_wh", "illegal"),
                *("registers_wh", "t2000", "concentrator"),
            )
            told["mark"] = {name: getattr(mark, name) for name in of_mark}
            told["mark"]["genuine"] = card.write_back_genuine
        return told

    def write(self, told: dict[str, Any]) -> dict[str, Any]:
        """Write an order on the card; return the card and the head of the log."""
        wanted = _order_of(told)
        with self.card() as memory:
            self._check_owner(memory, wanted["account"])
            issuer = self.issuer()
            header = self.header(**wanted)
            issuer.issue(memory, header, again=wanted["kind"] == CardKind.REPLACEMENT)
            return {**self._told(memory), "log": _head(issuer.log, told.get("heads"))}

    def _check_owner(self, memory: CardMemory, account: str) -> None:
        """Raise IssueError where the card is that of another household."""
        image = memory.read(0, frames.CARD_SIZE)
        held = frames.parse(image, self.key_for(frames.parse(image).header))
        header = held.header
        if held.genuine and header is not None and header.account not in (account, frames.NOBODY):
            raise IssueError(
                _("this is the card of account {account}: insert that of this household").format(
                    account=header.account
                )
            )


def _order_of(told: dict[str, Any]) -> dict[str, Any]:
    """Return what a header needs of an order as the page tells it. RequestError."""
    limits = {"order": ORDER_LIMIT, "supersedes": ORDER_LIMIT}
    wanted: dict[str, Any] = {}
    for name in ("account", "meter"):
        text = told.get(name)
        if not (isinstance(text, str) and len(text) == _DIGITS and text.isascii()):
            raise _not_ours()
        if not text.isdecimal():
            raise _not_ours()
        wanted[name] = text
    for name, most in limits.items():
        number = told.get(name)
        if type(number) is not int or not 0 <= number <= most:
            raise _not_ours()
        wanted[name] = number
    fen = told.get("amount_fen")
    if type(fen) is not int or abs(fen) > AMOUNT_LIMIT_FEN or not wanted["order"]:
        raise _not_ours()
    first = 1 in (wanted["order"], wanted["supersedes"])
    if fen < 0 or (fen == 0 and not first):
        kind = CardKind.REFUND
    else:
        kind = CardKind.OPEN if first else CardKind.PURCHASE
    if told.get("again") is True and fen > 0:
        kind = CardKind.REPLACEMENT
    return {**wanted, "amount_fen": abs(fen), "kind": kind}


def _not_ours() -> RequestError:
    return RequestError(400, _("this request is not one of the station's pages"))


def _head(log: AuditLog, heads: Any) -> dict[str, Any]:
    """Return the head of the log; `lost` is one told before that it has not any more."""
    lost = None
    for one in heads if isinstance(heads, list) else ():
        if isinstance(one, dict) and one.get("log") == log.name:
            lines = one.get("lines")
            if type(lines) is int and log.digest_at(lines) != one.get("digest"):
                lost = {"lines": lines, "digest": str(one.get("digest"))[:16]}
    digest = log.digest_at(log.lines)
    return {"log": log.name, "lines": log.lines, "digest": digest, "lost": lost}


# --- HTTP ---------------------------------------------------------------------------------------


class Service(ThreadingHTTPServer):
    """Answers the pages of one station; `origin` is theirs, as http://127.0.0.1:8080."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, counter: Counter, origin: str, key: str, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.counter = counter
        self.origin = origin
        self.names = (f"{HOST}:{self.server_port}", f"localhost:{self.server_port}")
        self.one_at_a_time = threading.Lock()
        self._key = key
        self._wrong_keys = 0

    def check_key(self, key: str) -> None:
        """Raise RequestError where it is not the key of this computer."""
        if self._wrong_keys >= _WRONG_KEYS_LIMIT:
            raise RequestError(
                429, _("too many wrong keys were tried: start `dianka counter` again")
            )
        if not hmac.compare_digest(plain_key(key).encode(), plain_key(self._key).encode()):
            self._wrong_keys += bool(key)
            raise RequestError(
                401, _("this page has not the key of this computer: type what it has shown")
            )
        self._wrong_keys = 0


def plain_key(text: str) -> str:
    """Return a key without what stands between its groups."""
    return "".join(one for one in text.upper() if one.isalnum())[:40]


class _Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    server: Service
    timeout = _PATIENCE_S
    server_version, sys_version = "dianka", ""
    protocol_version = "HTTP/1.1"

    def do_OPTIONS(self) -> None:
        """Tell a browser that asks first what this station's page may ask for."""
        self._work(dict, with_key=False)

    def do_GET(self) -> None:
        """Answer with the card in the reader."""
        if self.path == "/card":
            self._work(self.server.counter.read)
        else:
            self._work(self._nothing)

    def do_POST(self) -> None:
        """Write an order on the card."""
        if self.path == "/write":
            self._work(lambda: self.server.counter.write(self._body()))
        else:
            self._work(self._nothing)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a counter's screen shows its key and no traffic."""

    def _nothing(self) -> dict[str, Any]:
        raise RequestError(404, _("there are /card and /write"))

    def _work(self, work: Callable[[], dict[str, Any]], with_key: bool = True) -> None:
        language = self.headers.get("Accept-Language", "")[:2].lower()
        with speaking(language if language in LANGUAGES else "en"):
            try:
                self._check_caller()
                if with_key:
                    self.server.check_key(self.headers.get(KEY_HEADER, ""))
                with self.server.one_at_a_time:
                    status, told = 200, work()
            except RequestError as error:
                status, told = error.status, {"error": str(error)}
            except _TROUBLES as error:
                status, told = 409, {"error": str(error)}
            self._answer(status, told)

    def _check_caller(self) -> None:
        """Raise RequestError where another name led here, or another site asks."""
        if self.headers.get("Host", "") not in self.server.names:
            raise RequestError(403, _("this service is asked by its own address alone"))
        if self.headers.get("Origin", "") != self.server.origin:
            raise RequestError(
                403,
                _("this service answers the pages of {origin} alone: see --page").format(
                    origin=self.server.origin
                ),
            )

    def _body(self) -> dict[str, Any]:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > _BODY_LIMIT:
            raise _not_ours()
        try:
            told = json.loads(self.rfile.read(int(size)))
        except ValueError as error:
            raise _not_ours() from error
        if not isinstance(told, dict):
            raise _not_ours()
        return told

    def _answer(self, status: int, told: dict[str, Any]) -> None:
        body = json.dumps(told, ensure_ascii=False).encode()
        self.send_response(status)
        if self.headers.get("Origin", "") == self.server.origin:
            self.send_header("Access-Control-Allow-Origin", self.server.origin)
            self.send_header(
                "Access-Control-Allow-Headers", f"{KEY_HEADER}, Content-Type, Accept-Language"
            )
            self.send_header("Access-Control-Allow-Methods", "GET, POST")
            self.send_header("Access-Control-Allow-Private-Network", "true")
        self.send_header("Vary", "Origin")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
