"""A counter without a network: it sells under leased order numbers, with a log of its own.

The log is a file of JSON lines. The first is the lease; each other one has a digest over the line
before and itself, so that none can be changed, taken out or put in unnoticed.

A lease names the code of one laptop, made there from a secret and the number of the machine: on
another computer its file sells nothing. The laptop notes beside the secret which file it sells
from, and how far that has come, so that neither a copy nor an older state of it sells.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from host.headend.database import file_number
from host.headend.errors import StoreError
from host.units import yuan
from host.words import _, system_reason

BEGIN, SALE, VOID = "begin", "sale", "void"
_MACHINE = Path("/etc/machine-id")
_SECRET, _SECRET_BYTES = "laptop.key", 32
_CODE_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers of an account in a lease; `supersedes` is what its first order supersedes."""

    account: str
    first: int
    last: int
    supersedes: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """A lease as its counter has it; `expires_at`: from then on it sells nothing.

    `laptop` is the code of the computer that sells.
    """

    lease: int
    counter: str
    laptop: str
    quota_fen: int
    expires_at: int
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class OfflineOrder:
    """An order that was sold off line; `voided`: why it was taken back, "": it was not."""

    account: str
    order: int
    amount_fen: int
    sold_at: int
    cashier: str
    supersedes: int
    voided: str = ""


@dataclass(slots=True)
class Log:
    """What the lines of a log say; `place` "": nothing was sold yet."""

    terms: Terms
    digest: str
    lines: int = 1
    place: str = ""
    orders: dict[tuple[str, int], OfflineOrder] = field(default_factory=dict)

    @property
    def sold_fen(self) -> int:
        """Return what was sold and not taken back."""
        return sum(one.amount_fen for one in self.orders.values() if not one.voided)

    def newest(self, account: str) -> int:
        """Return the newest order of an account in the log, 0: there is none."""
        return max((order for name, order in self.orders if name == account), default=0)

    def next_order(self, account: str) -> tuple[int, int]:
        """Return the next number of an account, and the first order that it supersedes."""
        found = [one for one in self.terms.ranges if one.account == account]
        if not found:
            raise StoreError(
                _("account {account} is not in this lease: it buys at the station").format(
                    account=account
                )
            )
        own = found[0]
        number = max(self.newest(account) + 1, own.first)
        if number > own.last:
            raise StoreError(
                _("the leased numbers of account {account} are used up").format(account=account)
            )
        of_account = [one for one in self.orders.values() if one.account == account]
        live = max((one.order for one in of_account if not one.voided), default=0)
        first = live + 1 if live else own.supersedes or own.first
        return number, first if first < number else 0


def first_line(terms: Terms) -> str:
    """Return the first line of the log of a lease."""
    ranges = [[one.account, one.first, one.last, one.supersedes] for one in terms.ranges]
    told = {"lease": terms.lease, "counter": terms.counter, "laptop": terms.laptop}
    told |= {"quota_fen": terms.quota_fen, "expires_at": terms.expires_at}
    return json.dumps({**told, "ranges": ranges}, ensure_ascii=False)


def parse(lines: Sequence[str]) -> Log:
    """Return what the lines of a log say. StoreError: they are not as they were written."""
    try:
        told = json.loads(lines[0])
        ranges = tuple(Range(*one) for one in told.pop("ranges"))
        log = Log(Terms(**told, ranges=ranges), _digest("", lines[0]))
        for line in lines[1:]:
            one = json.loads(line)
            digest = one.pop("digest")
            if digest != _digest(log.digest, json.dumps(one, ensure_ascii=False)):
                raise ValueError(line)
            _take(log, one)
            log.digest = digest
            log.lines += 1
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(
            _("the log of the lease is not whole: keep the file, and ask the station")
        ) from error
    return log


def _take(log: Log, one: dict[str, Any]) -> None:
    """Take a line over. ValueError: it contradicts the lease or the lines before."""
    kind = one.pop("kind")
    if kind == BEGIN:
        log.place = one["place"]
        return
    which = (one["account"], one["order"])
    if kind == SALE:
        sold = OfflineOrder(**one)
        if (sold.order, sold.supersedes) != log.next_order(sold.account) or sold.amount_fen < 1:
            raise ValueError(which)
        log.orders[which] = sold
    elif kind == VOID:
        sold = log.orders[which]
        if sold.voided or log.newest(sold.account) != sold.order:
            raise ValueError(which)
        told = {name: getattr(sold, name) for name in sold.__slots__ if name != "voided"}
        log.orders[which] = OfflineOrder(**told, voided=one["reason"])
    else:
        raise ValueError(kind)


def _digest(before: str, line: str) -> str:
    return hashlib.sha256(f"{before}\n{line}".encode()).hexdigest()


def read(path: Path) -> list[str]:
    """Return the lines of a log. StoreError."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise StoreError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=reason)
        ) from error


def sell(path: Path, account: str, amount_fen: int, cashier: str) -> OfflineOrder:
    """Sell under the next number of an account, and keep it in the log. StoreError."""
    with _writing(path) as (log, file):
        now = int(time.time())
        if now >= log.terms.expires_at:
            raise StoreError(_("the lease has ended: bring its file back to the station"))
        if log.sold_fen + amount_fen > log.terms.quota_fen:
            raise StoreError(
                _("{sold} yuan are sold, and the lease is for {quota}").format(
                    sold=yuan(log.sold_fen), quota=yuan(log.terms.quota_fen)
                )
            )
        order, supersedes = log.next_order(account)
        sold = OfflineOrder(account, order, amount_fen, now, cashier, supersedes)
        told = {name: getattr(sold, name) for name in sold.__slots__ if name != "voided"}
        _append(log, file, {"kind": SALE, **told})
    return sold


def void(path: Path, account: str, order: int, reason: str) -> None:
    """Take back the newest sale of an account before its card leaves. StoreError."""
    with _writing(path) as (log, file):
        sold = log.orders.get((account, order))
        if sold is None or sold.voided or log.newest(account) != order or not reason.strip():
            raise StoreError(
                _("only the newest sale of an account is taken back, once, with a reason")
            )
        _append(log, file, {"kind": VOID, "account": account, "order": order, "reason": reason})


@contextmanager
def _writing(path: Path) -> Iterator[tuple[Log, TextIO]]:
    """Give the log of a file and the file, which no other process writes meanwhile."""
    try:
        with _alone(), path.open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = file.read()
            if not text.endswith("\n"):  # the power went within the last line
                whole = text[: text.rfind("\n") + 1]
                file.truncate(len(whole.encode()))
                file.seek(0, os.SEEK_END)
                text = whole
            log = parse(text.splitlines())
            _claim(log, file, path)
            yield log, file
            _note_claim(log)
    except OSError as error:
        raise _cannot(path, error) from error


# --- the laptop ----------------------------------------------------------------------------------


def laptop_code() -> str:
    """Return the code of this computer, for a lease; its secret is made where there is none."""
    folder = _own_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / _SECRET
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
                file.flush()
                os.fsync(handle)
        secret = path.read_bytes()
    except OSError as error:
        raise _cannot(folder, error) from error
    if len(secret) != _SECRET_BYTES:
        raise StoreError(
            _("{path} is damaged: bring the leases of this laptop back, then delete it").format(
                path=path
            )
        )
    return hashlib.sha256(secret + _machine().encode()).hexdigest()[:_CODE_DIGITS]


@contextmanager
def _alone() -> Iterator[None]:
    """Let only one sale at a time happen on this computer: two files may be of one lease."""
    laptop_code()
    with (_own_folder() / _SECRET).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _own_folder() -> Path:
    """Return where this computer keeps its secret and what it has sold under leases."""
    told = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(told) / "dianka"


def _machine() -> str:
    return _MACHINE.read_text().strip() if _MACHINE.exists() else ""


def _claim_path(log: Log) -> Path:
    return _own_folder() / f"{log.terms.laptop}-{log.terms.lease}.claim"


def _claim(log: Log, file: TextIO, path: Path) -> None:
    """Let only one file of a lease sell, on one computer, and never an older state of it."""
    if log.terms.laptop != laptop_code():
        raise StoreError(
            _(
                "this lease is for laptop {laptop}, this computer is {code}: a lease for it is "
                "made at the station with `dianka headend lease take --laptop {code}`"
            ).format(laptop=log.terms.laptop, code=laptop_code())
        )
    place = f"{_machine()}:{file_number(path)}"
    claim = _claim_path(log)
    try:
        told = json.loads(claim.read_text()) if claim.exists() else None
    except ValueError as error:
        raise StoreError(
            _("{path} is damaged: bring the lease back to the station").format(path=claim)
        ) from error
    if told is None and not log.place:
        _append(log, file, {"kind": BEGIN, "place": place})
        _note_claim(log)
    elif told is None or told["place"] != place or log.place != place:
        raise StoreError(_("this file is a copy: only the one that was first sold from sells"))
    elif told["lines"] > log.lines:
        raise StoreError(
            _("this file is older than what was sold from it: bring the newest to the station")
        )


def _note_claim(log: Log) -> None:
    """Note how far the log has come; a line that is in it already is a sale all the same."""
    claim = _claim_path(log)
    part = claim.with_suffix(".part")
    part.write_text(json.dumps({"place": log.place, "lines": log.lines}))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(claim)


def _cannot(path: Path, error: OSError) -> StoreError:
    return StoreError(
        _("cannot write {path}: {strerror}").format(path=path, strerror=system_reason(error))
    )


def _append(log: Log, file: TextIO, told: dict[str, Any]) -> None:
    text = json.dumps(told, ensure_ascii=False)
    digest = _digest(log.digest, text)
    file.write(json.dumps({**told, "digest": digest}, ensure_ascii=False) + "\n")
    file.flush()
    os.fsync(file.fileno())
    log.digest = digest
    log.lines += 1
    log.place = told.get("place", log.place)
