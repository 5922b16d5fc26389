"""The store: access to the head-end's database for the rest of the head-end."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from host.closing import Closing
from host.headend import migrate
from host.headend.database import BUSY_TIMEOUT_S, Database, Sqlite, Values, file_number
from host.headend.errors import StoreError, StoreFailed
from host.headend.shard import Shard
from host.headend.turn import Turn, reach
from host.words import _

_LOOK_AGAIN_S = 0.02


def is_address(text: str) -> bool:
    """Return whether a text is the address of a PostgreSQL database, and not a file's name."""
    return text.startswith(("postgres://", "postgresql://"))


def _opened(address: str, *, read_only: bool = False) -> Database:
    """Open the file, or the database of a `postgres://` address; StoreError."""
    if is_address(address):
        from host.headend.postgres import Postgres

        return Postgres(address, read_only=read_only)
    return Sqlite(address, read_only=read_only)


@contextmanager
def out_of_use(address: str) -> Iterator[None]:
    """Keep head-ends from a database that is being changed as a whole; StoreError: one has it."""
    in_use = StoreError(_("a head-end serves {db}: stop it first").format(db=address))
    if is_address(address):
        from host.headend.postgres import all_claimed

        with all_claimed(address) as is_claimed:
            if not is_claimed:
                raise in_use
            yield
        return
    turn = Turn(Path(address))
    if turn.take() is not None:
        raise in_use
    try:
        yield
    finally:
        turn.give_back()


def zone_of(database: Database) -> ZoneInfo:
    """Return the time zone of a station's clock, whatever that of this computer is."""
    name = database.value("SELECT zone FROM station")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = _("install the package tzdata, or go back to a copy of the database")
        raise StoreError(
            _("the database names a time zone {name!r}, which is not known here: {hint}").format(
                name=name, hint=hint
            )
        ) from error


class Store(Closing):
    """One connection to a database. For one thread at a time; processes may share the file.

    A process that has the turn of a file for long, a head-end, writes for the others.
    """

    def __init__(
        self, address: Path | str, *, create: bool = False, read_only: bool = False
    ) -> None:
        """Open a database, with `create` make it if it does not exist; StoreError.

        With `read_only` the connection can change nothing, and waits for no writer.
        """
        self.address = str(address)
        if not is_address(self.address) and not Path(self.address).exists():
            if not create:
                raise StoreError(
                    _("there is no database {db}: `dianka headend init` makes one").format(
                        db=self.address
                    )
                )
            try:
                migrate.make_sqlite(Path(self.address))
            except migrate.MigrateError as error:
                raise StoreError(str(error)) from error
        self.database: Database = _opened(self.address, read_only=read_only)
        # A server of PostgreSQL has locks of its own.
        has_turns = not read_only and not is_address(self.address)
        self._turn = Turn(Path(self.address)) if has_turns else None
        self._is_own_file = False

    def close(self) -> None:
        """Close the connection."""
        self.database.close()

    @contextmanager
    def turn(self) -> Iterator[socket.socket | None]:
        """Take the turn to write, and give None; or a line to the process that has it for long.

        StoreFailed: another process does not end its turn.
        """
        if self._turn is None:
            yield None
            return
        until = time.monotonic() + BUSY_TIMEOUT_S
        while (address := self._turn.take()) is not None:
            line = reach(address) if address else None
            if line is not None:
                with line:
                    yield line
                return
            if time.monotonic() > until:
                raise StoreFailed(
                    _("{db}: another program is writing, try again later").format(db=self.address)
                )
            time.sleep(_LOOK_AGAIN_S)
        try:
            yield None
        finally:
            self._turn.give_back()

    @contextmanager
    def serving(self, shard: Shard) -> Iterator[None]:
        """Have the turn to write for long; StoreError where another head-end has it."""
        with self.turn() as line:
            if line is not None:
                raise StoreError(
                    _("another head-end serves {db}: stop it first").format(db=self.address)
                )
            self._check_file()
            self.database.claim(shard)
            yield

    def tell_turn(self, address: str) -> None:
        """Let other processes know where this one, which is serving, takes their requests."""
        if self._turn is not None:
            self._turn.tell(address)

    @contextmanager
    def writing(self, *, adopting: bool = False) -> Iterator[Database]:
        """Write within one transaction; StoreFailed where the database cannot.

        With `adopting` a copy of a database takes its place from now on.
        """
        with self.turn() as line:
            if line is not None:
                raise StoreFailed(
                    _("a head-end serves {db}: stop it first").format(db=self.address)
                )
            self._check_file(adopting)
            with self.database.writing():
                yield self.database

    def _check_file(self, adopting: bool = False) -> None:
        """Raise StoreError where the file is a plain copy of the database; it has the turn.

        A copy may lack what was sold last, and both would sell the same order. A database knows
        its file by the number that the file system has given it, which a copy does not have.
        """
        if self._turn is None or (self._is_own_file and not adopting):
            return
        number = file_number(Path(self.address))
        known = self.value("SELECT file_number FROM station")
        if known not in (0, number) and not adopting:
            raise StoreError(
                _(
                    "{db} is a copy of a database, and may lack what was sold last: "
                    "`dianka headend restore-db` takes it into use"
                ).format(db=self.address)
            )
        if known != number:
            with self.database.writing():
                self.database.run("UPDATE station SET file_number = ?", (number,))
        self._is_own_file = True

    def rows(self, statement: str, values: Values = ()) -> list[dict[str, Any]]:
        """Return the rows of a SELECT by the names of their columns, read in one go."""
        with self.database.looking():
            return self.database.rows(statement, values)

    def value(self, statement: str, values: Values = ()) -> Any:
        """Return the first column of the first row of a SELECT."""
        with self.database.looking():
            return self.database.value(statement, values)

    def zone(self) -> ZoneInfo:
        """Return the time zone of the station's clock."""
        with self.database.looking():
            return zone_of(self.database)

    def has_account(self, account: str) -> bool:
        """Return whether any concentrator has reported a meter of `account`."""
        return bool(self.rows("SELECT 1 FROM accounts WHERE account = ?", (account,)))
