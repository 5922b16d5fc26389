"""The log of every card written: a line before a card is touched, a line when it reads back.

    {"at": "2026-11-25T10:30:00", "stage": "begun", "account": "...", "order": 5, .. "chain": ".."}

One JSON object a line, only ever appended. `chain` is an HMAC-SHA256, under a key made of the
district's, over all lines before and this line without it: who has no key can neither change a
line nor add one. `head` names the last line and everything before it: a head that is kept
elsewhere shows that the newest lines were taken off. The log also knows which order is on which
card, so that none is issued twice, and how a card looked.
"""

import errno
import fcntl
import getpass
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from host import secret_files
from host.frames.card import MONEY_KINDS, CardKind, Header
from host.words import _, marked, system_reason

BEGUN = marked("begun")
DONE = marked("done")
_LABEL = b"dianka/audit/1\0"
_HEAD_DIGITS = 16
_NAME_DIGITS = 12
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
    key_version: int = 0
    meter: str = ""


class AuditLog:
    """The log at `path`, which is made when the first line is written.

    `key_of` returns the key of a district in a version and raises ValueError where it has none;
    without it nothing is checked or written.
    """

    def __init__(self, path: Path, key_of: Callable[[int, int], bytes] | None = None) -> None:
        self.path = path
        self.lines = 0
        self.unchecked = 0  # lines whose key is not at hand
        self.broken_at: int | None = None  # the first line whose chain is not right
        self._key_of = key_of
        self._orders: dict[tuple[str, int], Written] = {}
        self._images: dict[str, bytes] = {}
        self._digest = b""  # over all lines
        self._digests: list[bytes] = []
        self._size = 0
        self._load()

    @property
    def head(self) -> str:
        """Return the number of lines and a digest over all of them, like 12:3f9a0c5d11e2b748."""
        return f"{self.lines}:{self.digest_at(self.lines)}"

    @property
    def name(self) -> str:
        """Return 12 digits by which the log is known, those of its first line; "": it is empty."""
        return self.digest_at(1)[:_NAME_DIGITS]

    def digest_at(self, lines: int) -> str:
        """Return the digest over so many of the first lines, "" where there are fewer."""
        if not 0 < lines <= self.lines:
            return ""
        return self._digests[lines - 1].hex()[:_HEAD_DIGITS]

    def orders(self) -> dict[tuple[str, int], Written]:
        """Return what is known of each order, by account and number."""
        return dict(self._orders)

    def find(self, account: str, order: int) -> Written | None:
        """Return the newest card that `order` was written on."""
        return self._orders.get((account, order))

    def sold_fen(self, key_version: int, but: tuple[str, int]) -> int:
        """Return what was sold on cards of a key version, without the order `but`."""
        return sum(
            written.amount_fen
            for which, written in self._orders.items()
            if written.key_version == key_version and not written.refunds and which != but
        )

    def cards_under(self, district: int, key_version: int) -> int:
        """Return how many cards bear what was made of a district's key in this version."""
        newest = {
            entry["uid"]: (entry["district"], entry["key_version"]) for entry in self.entries()
        }
        return list(newest.values()).count((district, key_version))

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
        for line in _whole_lines(self._read()):
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
            chain = self._chain_of(entry)
            if chain is None:
                raise AuditError(
                    _("{path} is written with a key file only").format(path=self.path)
                )
            line = json.dumps({**entry, "chain": chain}).encode() + b"\n"
            self._write(file, line, durable=stage == BEGUN)
            self._apply(entry)
            self._count(line)

    def _write(self, file: int, line: bytes, durable: bool) -> None:
        """Put a line behind the whole ones, or leave the log as it was.

        What is begun must be known after a crash; that it is done can be seen on the card.
        """
        try:
            # What stands behind the whole lines is the beginning of one that was never finished.
            os.ftruncate(file, self._size)
            if os.write(file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(file, self._size)
            raise self._cannot_write(error) from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            file = os.open(self.path, flags, secret_files.OWNER_ONLY)
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    def _cannot_write(self, error: OSError) -> AuditError:
        return AuditError(
            _("cannot write the log {path}: {strerror}").format(
                path=self.path, strerror=system_reason(error)
            )
        )

    def _load(self) -> None:
        self._orders.clear()
        self._images.clear()
        self._digest, self._digests, self._size, self.lines = b"", [], 0, 0
        self.unchecked, self.broken_at = 0, None
        for line in _whole_lines(self._read()):
            try:
                entry = json.loads(line)
                chain = entry.pop("chain")
                expected = self._chain_of(entry)
                self._apply(entry)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                hint = _("restore it from a copy, or move it away to begin a new one")
                raise AuditError(
                    _("{path} line {lines} is damaged; {hint}").format(
                        path=self.path, lines=self.lines + 1, hint=hint
                    )
                ) from error
            self._count(line)
            self.unchecked += expected is None
            if expected not in (None, chain) and self.broken_at is None:
                self.broken_at = self.lines

    def _count(self, line: bytes) -> None:
        self._digest = hashlib.sha256(self._digest + line).digest()
        self._digests.append(self._digest)
        self._size += len(line)
        self.lines += 1

    def _chain_of(self, entry: dict[str, Any]) -> str | None:
        """Return what `chain` has to be in the line that follows; None without its key."""
        if self._key_of is None:
            return None
        district, version = int(entry["district"]), int(entry["key_version"])
        try:
            key = self._key_of(district, version)
        except ValueError:
            return None
        key = hmac.digest(key, _LABEL, "sha256")
        content = json.dumps(entry, sort_keys=True).encode()
        return hmac.digest(key, self._digest + content, "sha256").hex()

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
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
                *(entry["uid"], entry["stage"] == DONE, entry["at"], refunds),
                *(entry["amount_fen"], entry["key_version"], entry["meter"]),
            )
            self._orders[entry["account"], entry["order"]] = written
        self._images[entry["uid"]] = bytes.fromhex(entry["image"])


def _whole_lines(content: bytes) -> Iterator[bytes]:
    """Return the lines with their ends; what follows the last end was never finished."""
    *whole, _unfinished = content.split(b"\n")
    return (line + b"\n" for line in whole)
