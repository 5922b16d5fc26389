"""Read the records of an account's concentrator, from its journal or a head-end's database."""

from collections.abc import Iterator
from pathlib import Path

from host.frames.packing import parse_segment
from host.frames.record import PAYLOAD_SIZE, Record, parse_payload
from host.headend.errors import StoreError
from host.headend.store import Store
from host.words import _, system_reason

_SQLITE = b"SQLite format 3\0"


class JournalError(ValueError):
    """The records cannot be read; the message names the file and says why."""


def records_of(journal: Path, account: str) -> Iterator[Record]:
    """Yield all records in order from a folder of segment files, one such file, or a database.

    Of a database these are the records of the concentrator that has the account. JournalError.
    """
    try:
        if journal.is_dir():
            files = sorted(journal.glob("j[0-9a-f]*"))
        elif _is_database(journal):
            yield from _stored(journal, account)
            return
        else:
            files = [journal]
        contents = [(path, path.read_bytes()) for path in files]
    except OSError as error:
        raise JournalError(
            _("{path}: cannot be read: {reason}").format(path=journal, reason=system_reason(error))
        ) from error
    if not contents:
        raise JournalError(
            _("{journal}: no segment files j00000001 ... in it").format(journal=journal)
        )
    last = 0
    for path, content in contents:
        segment = parse_segment(content, 1)
        if not segment.groups:
            trouble = (
                _("it is not what a concentrator wrote") if segment.rotten else _("it is empty")
            )
            raise JournalError(
                _("{path}: no journal: {trouble}").format(path=path, trouble=trouble)
            )
        for record in segment.records:
            # After a torn write a newer file begins again where the good records ended.
            if record.seq > last:
                last = record.seq
                yield record


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _stored(path: Path, account: str) -> Iterator[Record]:
    """Yield the stored records of the account's concentrator."""
    home = "SELECT concentrator FROM accounts WHERE account = ?"
    kept = "SELECT * FROM records WHERE concentrator = ? ORDER BY seq"
    try:
        with Store(path, read_only=True) as store:
            concentrator = store.value(home, (account,))
            if concentrator is None:
                raise JournalError(
                    _("{path}: no account {account}").format(path=path, account=account)
                )
            found = store.rows(kept, (concentrator,))
    except StoreError as error:
        raise JournalError(str(error)) from error
    for one in found:
        payload = bytes(one["payload"]).ljust(PAYLOAD_SIZE, b"\0")
        head = (one["seq"], one["t2000"], one["kind"], one["flags"], one["row"])
        yield Record(*head, payload, parse_payload(one["kind"], payload))
