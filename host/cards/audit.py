"""The log of every card written: a line before a card is touched, a line when it reads back.

    {"at": "2026-11-25T10:30:00", "stage": "begun", "account": "...", "order": 5, .. "chain": ".."}

One JSON object a line, only ever appended. `chain` is the SHA-256 over the line before and this
line without it: a line that was changed or taken out breaks the chain from there on. The log also
knows which order is on which card, so that none is issued twice, and how a card looked.
"""

import fcntl
import getpass
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from host.frames.card import MONEY_KINDS, CardKind, Header
from host.words import _, marked, system_reason

BEGUN = marked("begun")
DONE = marked("done")
_FIELDS = ("kind", "account", "meter", "district", "key_version", "order", "amount_fen", "uid")


class AuditError(Exception):
    """The log cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the log knows of an order: on which card, and whether that was finished."""

    uid: str
    done: bool
    at: str
    refunds: bool = False
    amount_fen: int = 0


class AuditLog:
    """The log at `path`, which is made when the first line is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self.broken_at: int | None = None  # the first line whose chain is not right
        self._orders: dict[tuple[str, int], Written] = {}
        self._images: dict[str, bytes] = {}
        self._chain = ""
        self._size = 0
        self._load()

    def find(self, account: str, order: int) -> Written | None:
        """Return the newest card that `order` was written on."""
        return self._orders.get((account, order))

    def image_of(self, uid: str) -> bytes | None:
        """Return header and MAC that were written last on this card."""
        return self._images.get(uid)

    def begin(self, header: Header, image: bytes) -> None:
        """Note, durably, that a card is about to be written."""
        self._append(BEGUN, header, image)

    def finish(self, header: Header, image: bytes) -> None:
        """Note that the card reads as it should."""
        self._append(DONE, header, image)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield all lines, oldest first."""
        if self.path.exists():
            for line in self._read().decode().splitlines():
                yield json.loads(line)

    def _append(self, stage: str, header: Header, image: bytes) -> None:
        entry: dict[str, Any] = {
            "at": datetime.now().isoformat(timespec="seconds"),
            "by": getpass.getuser(),
            "stage": stage,
            **{name: getattr(header, name) for name in _FIELDS},
            "image": image.hex(),
        }
        with self._locked() as file:
            # Another process may have written since: the chain goes on from the newest line.
            if os.fstat(file).st_size != self._size:
                self._load()
            self._apply(entry)
            entry["chain"] = self._chain = _link(self._chain, entry)
            line = json.dumps(entry).encode() + b"\n"
            os.write(file, line)
            # What is begun must be known after a crash; that it is done can be seen on the card.
            if stage == BEGUN:
                os.fsync(file)
            self._size += len(line)
            self.lines += 1

    @contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise AuditError(
                _("cannot write the log {path}: {strerror}").format(
                    path=self.path, strerror=system_reason(error)
                )
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    def _load(self) -> None:
        self._orders.clear()
        self._images.clear()
        self._chain, self._size, self.lines, self.broken_at = "", 0, 0, None
        if not self.path.exists():
            return
        content = self._read()
        self._size = len(content)
        for line in content.splitlines():
            self.lines += 1
            try:
                entry = json.loads(line)
                chain = entry.pop("chain")
                self._apply(entry)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                hint = _("restore it from a copy, or move it away to begin a new one")
                raise AuditError(
                    _("{path} line {lines} is damaged; {hint}").format(
                        path=self.path, lines=self.lines, hint=hint
                    )
                ) from error
            if chain != _link(self._chain, entry) and self.broken_at is None:
                self.broken_at = self.lines
            self._chain = chain

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise AuditError(
                _("cannot read the log {path}: {strerror}").format(
                    path=self.path, strerror=system_reason(error)
                )
            ) from error

    def _apply(self, entry: dict[str, Any]) -> None:
        if entry["kind"] in MONEY_KINDS:
            refunds = entry["kind"] == CardKind.REFUND
            written = Written(
                entry["uid"], entry["stage"] == DONE, entry["at"], refunds, entry["amount_fen"]
            )
            self._orders[entry["account"], entry["order"]] = written
        self._images[entry["uid"]] = bytes.fromhex(entry["image"])


def _link(before: str, entry: dict[str, Any]) -> str:
    content = json.dumps(entry, sort_keys=True)
    return hashlib.sha256(f"{before}\n{content}".encode()).hexdigest()
