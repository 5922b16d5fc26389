"""The log of a serving head-end: text or JSON, and no peer can fill it."""

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from host.harmless import harmless, harmless_lines

_QUIET_S = 60
_KNOWN_LIMIT = 10_000

log = logging.getLogger("dianka.headend")


class Teller:
    """Writes a line about a peer, at most once a minute for each of its addresses and reasons.

    `(+9)` at its end: there were nine more since the last such line.
    """

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}
        self._more: dict[tuple[str, str], int] = {}

    def tell(self, level: int, peer: str, reason: str, text: str) -> None:
        """Log what a peer, an address with its port, did; `reason` is one word."""
        which = (peer.rpartition(":")[0], reason)
        now = time.monotonic()
        if now < self._until.get(which, 0.0):
            self._more[which] = self._more.get(which, 0) + 1
            return
        if len(self._until) >= _KNOWN_LIMIT:
            self._until.clear()
            self._more.clear()
        self._until[which] = now + _QUIET_S
        more = self._more.pop(which, 0)
        if more:
            text = f"{text} (+{more})"
        log.log(level, "%s: %s", peer, text, extra={"peer": peer, "reason": reason, "more": more})


class TextFormatter(logging.Formatter):
    """Writes each line as text that moves no terminal; a trace keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        record.message = harmless(record.message)
        return super().formatMessage(record)

    def formatException(self, trouble: Any) -> str:
        """Return the lines of a trace."""
        return harmless_lines(super().formatException(trouble))


def warn_as_text() -> None:
    """Have a process beside the head-end write its warnings as text."""
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


class JsonFormatter(logging.Formatter):
    """Writes each line as one JSON object: time, level, text, and about a peer why."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "text": record.getMessage(),
        }
        told.update(
            (name, record.__dict__[name])
            for name in ("peer", "reason", "more")
            if name in record.__dict__
        )
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told)


def begin(form: str) -> None:
    """Write the log to the standard error from now on, as `text` or as `json`."""
    handler = logging.StreamHandler()
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
