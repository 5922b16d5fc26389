"""The database: SQLite in write-ahead mode, where a commit that returned survives a power cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from host.closing import Closing
from host.frames.batch import Batch, Hello
from host.frames.card import AMOUNT_LIMIT_FEN
from host.frames.packing import Gap, Reason
from host.frames.record import Record, RecordKind
from host.headend import schema
from host.headend.posting import Posting
from host.units import yuan
from host.words import _

BUSY_TIMEOUT_S = 10
_STANDINGS_TOLD = 4  # EVENT.what
_ALL_MATTERS = Reason.OTHERS | Reason.UNREADABLE


class StoreError(ValueError):
    """What was asked of the database cannot be; the message says why."""


class SalesError(StoreError):
    """A list of sales that cannot be; `troubles` says why of each place in it."""

    def __init__(self, troubles: dict[int, str]) -> None:
        super().__init__(_("{count} of the sales cannot be").format(count=len(troubles)))
        self.troubles = troubles


class Conflict(StoreError):
    """A record arrived under a sequence number that holds another record already.

    acked_seq   up to here records are stored
    """

    def __init__(self, seq: int, acked_seq: int) -> None:
        super().__init__(f"record {seq} differs from the one stored")
        self.acked_seq = acked_seq


class Replayed(StoreError):
    """A message that is older than the newest one taken."""


@dataclass(frozen=True, slots=True)
class Sale:
    """One row of a list of sales, under a `reference` that the maker of the list gave it."""

    account: str
    amount_fen: int
    reference: str


@dataclass(frozen=True, slots=True)
class Sold:
    """What became of a sale; `meter` "": no concentrator has reported one."""

    sale: Sale
    order: int
    before: bool  # an earlier run had sold it
    meter: str


@dataclass(frozen=True, slots=True)
class Greeting:
    """Answer to a HELLO. `number` above the HELLO's: it was not fresh, greet again from there."""

    acked_seq: int
    number: int
    lost: int = 0  # records the device can no longer give, newly noticed
    behind: bool = False  # the device's journal ends before what is stored here
    wants: bool = False  # the standing of every account, for records that are missing here


@dataclass(frozen=True, slots=True)
class Ingested:
    """Outcome of a batch after the commit."""

    acked_seq: int
    stored: int
    duplicates: int
    let_go: int = 0  # numbers the device told to be gaps, newly noticed
    gap: bool = False
    wants: bool = False  # as in Greeting


class Store(Closing):
    """One database file. Not for several threads; several processes may use the same file."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open or create `path`, or with `read_only` change nothing; StoreError."""
        url = sa.URL.create("sqlite", database=str(path))
        if read_only:
            address = f"{Path(path).resolve().as_uri()}?mode=ro&uri=true"
            url = sa.make_url(f"sqlite:///{address}")
        self.engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
        sa.event.listen(self.engine, "connect", _share if read_only else _prepare)
        sa.event.listen(self.engine, "begin", _begin)
        self._writer = self.engine.execution_options(writes=True)
        try:
            if read_only:
                self._check(path)
            else:
                self._bring_up()
        except sa.exc.DatabaseError as error:
            self.engine.dispose()
            raise StoreError(
                _("cannot use {path} as a database: {orig}").format(path=path, orig=error.orig)
            ) from error

    def _bring_up(self) -> None:
        with self._writer.begin() as connection:
            schema.bring_up(connection)

    def _check(self, path: Path | str) -> None:
        with self.engine.begin() as connection:
            trouble = schema.trouble(connection)
        if trouble:
            self.engine.dispose()
            raise StoreError(f"{path}: {trouble}")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def greet(self, concentrator: int, number: int, hello: Hello) -> Greeting:
        """Take note of what a concentrator keeps; records it no longer has become a gap."""
        with self._writer.begin() as connection:
            acked_seq, last_number, wanted_seq = _position(connection, concentrator)
            if number < last_number:
                return Greeting(acked_seq, last_number)
            lost = max(0, hello.first_seq - 1 - acked_seq)
            if lost:
                gap = {"concentrator": concentrator, "first_seq": acked_seq + 1}
                last_seq = hello.first_seq - 1
                gap |= {"last_seq": last_seq, "reasons": 0}
                connection.execute(sa.insert(schema.gaps), gap)
                acked_seq = wanted_seq = last_seq
            _set_position(connection, concentrator, acked_seq, number, wanted_seq)
        behind = hello.next_seq <= acked_seq
        return Greeting(acked_seq, number, lost, behind, wants=wanted_seq > 0)

    def ingest(self, concentrator: int, number: int, batch: Batch) -> Ingested:
        """Store what is new of `batch`, all or nothing; on return it is committed."""
        with self._writer.begin() as connection:
            acked_seq, last_number, wanted_seq = _position(connection, concentrator)
            if number < last_number:
                raise Replayed(f"message {number} after {last_number}")
            if batch.first_seq > acked_seq + 1:
                _set_position(connection, concentrator, acked_seq, number, wanted_seq)
                return Ingested(acked_seq, 0, 0, gap=True, wants=wanted_seq > 0)
            known = [record for record in batch.records if record.seq <= acked_seq]
            fresh = batch.records[len(known) :]
            _compare(connection, concentrator, known, acked_seq)
            if fresh:
                posting = Posting(connection, concentrator, fresh)
                posting.apply()
                posting.write()
            let_go = _note_gaps(connection, concentrator, batch.gaps, acked_seq + 1)
            wanted_seq = _wanted_seq(wanted_seq, batch, acked_seq)
            acked_seq = max(acked_seq, batch.next_seq - 1)
            _set_position(connection, concentrator, acked_seq, number, wanted_seq)
        return Ingested(acked_seq, len(fresh), len(known), let_go, wants=wanted_seq > 0)

    def sell(self, account: str, amount_fen: int) -> int:
        """Note a sale and return its order number: 1, 2, 3.. for each account."""
        if not 0 < amount_fen <= AMOUNT_LIMIT_FEN:
            raise StoreError(
                _("{amount_fen} fen cannot be sold, 1 to {amount_limit_fen} can").format(
                    amount_fen=amount_fen, amount_limit_fen=AMOUNT_LIMIT_FEN
                )
            )
        with self._writer.begin() as connection:
            return _sell(connection, account, amount_fen)

    def refund(self, account: str, amount_fen: int) -> int:
        """Note that `amount_fen` is to be taken off the account; return its order number.

        A refund that is not redeemed yet is changed to this amount, 0: given up. StoreError: a
        purchase is not redeemed yet, or the newest balance does not cover it.
        """
        orders, accounts = schema.orders.c, schema.accounts.c
        query = sa.select(accounts.credit_fen - accounts.debit_fen).where(
            accounts.account == account
        )
        with self._writer.begin() as connection:
            balance_fen = connection.execute(query).scalar()
            if balance_fen is None:
                raise StoreError(
                    _("no concentrator has account {account}: check the number").format(
                        account=account
                    )
                )
            waiting = _unredeemed(connection, account)
            if waiting and waiting.amount_fen > 0:
                what = _("order {order} of account {account} is not redeemed yet").format(
                    order=waiting.order, account=account
                )
                raise StoreError(_("{what}: redeem it first").format(what=what))
            if not (0 if waiting else 1) <= amount_fen <= AMOUNT_LIMIT_FEN:
                raise StoreError(
                    _("{amount_fen} fen cannot be refunded, 1 to {amount_limit_fen} can").format(
                        amount_fen=amount_fen, amount_limit_fen=AMOUNT_LIMIT_FEN
                    )
                )
            if amount_fen > balance_fen:
                raise StoreError(
                    _(
                        "account {account} had {balance_fen} yuan when its concentrator told "
                        "last: refund less"
                    ).format(account=account, balance_fen=yuan(balance_fen))
                )
            if not waiting:
                return _sell(connection, account, -amount_fen)
            changed = sa.update(schema.orders).values(amount_fen=-amount_fen)
            connection.execute(
                changed.where(orders.account == account, orders.order == waiting.order)
            )
            return int(waiting.order)

    def sell_all(self, sales: Sequence[Sale], new: bool = False) -> list[Sold]:
        """Note all sales or none; what was sold under its reference before is not sold again.

        SalesError: an account no concentrator has, unless `new`; a reference that is taken.
        """
        with self._writer.begin() as connection:
            meters = dict(map(tuple, connection.execute(_METERS)))
            known = {row.reference: row for row in connection.execute(_SOLD)}
            found = ((sale, known.get(sale.reference)) for sale in sales)
            reasons = [_refusal(sale, before, meters, new) for sale, before in found]
            if any(reasons):
                raise SalesError({at: why for at, why in enumerate(reasons) if why})
            done = []
            for sale in sales:
                before = known.get(sale.reference)
                order = before.order if before else _sell_once(connection, sale)
                done.append(Sold(sale, order, before is not None, meters.get(sale.account, "")))
        return done

    def has_account(self, account: str) -> bool:
        """Return whether any concentrator has reported a meter of `account`."""
        query = sa.select(schema.accounts.c.account).where(schema.accounts.c.account == account)
        return bool(self.rows(query))

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of `query`, read in one go."""
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


_METERS = sa.select(schema.accounts.c.account, schema.accounts.c.meter)
_SOLD = sa.select(schema.sales, schema.orders.c.amount_fen).join(
    schema.orders,
    (schema.orders.c.account == schema.sales.c.account)
    & (schema.orders.c.order == schema.sales.c.order),
)


def _refusal(sale: Sale, before: Any, meters: Mapping[str, str], new: bool) -> str:
    """Return why a sale cannot be, "": it can; `before` is what was sold under its reference."""
    if before is None:
        unknown = not new and sale.account not in meters
        if not unknown:
            return ""
        return _("account {account!r} is known to no concentrator").format(account=sale.account)
    was = _("reference {reference!r} was order {order} of account {account}").format(
        reference=sale.reference, order=before.order, account=before.account
    )
    if before.account != sale.account:
        return was
    if before.amount_fen != sale.amount_fen:
        return _("amount differs: {was} for {yuan} yuan").format(
            was=was, yuan=yuan(before.amount_fen)
        )
    return ""


def not_redeemed(account: str) -> sa.ColumnElement[bool]:
    """Return the condition that no device has told of the order or a later one.

    An order below one that a device knows was redeemed, or never will be.
    """
    orders = schema.orders.c
    return orders.order > sa.func.coalesce(_newest_told(account), 0)


def _newest_told(account: str) -> sa.ScalarSelect[Any]:
    """Return the newest order that a device has told of `account`."""
    accounts = schema.accounts.c
    return sa.select(accounts.order).where(accounts.account == account).scalar_subquery()


def _unredeemed(connection: sa.Connection, account: str) -> Any:
    """Return the oldest order of `account` that no concentrator has reported, or None."""
    orders = schema.orders.c
    query = sa.select(orders.order, orders.amount_fen).order_by(orders.order).limit(1)
    query = query.where(orders.account == account, not_redeemed(account))
    return connection.execute(query).one_or_none()


def _sell(connection: sa.Connection, account: str, amount_fen: int) -> int:
    orders = schema.orders
    # Above all that was sold, redeemed or told: after a database was restored devices know more.
    known = [_newest_told(account)]
    for table in (orders, schema.top_ups, schema.standings):
        newest = sa.select(sa.func.max(table.c.order)).where(table.c.account == account)
        known.append(newest.scalar_subquery())
    order = max(one or 0 for one in connection.execute(sa.select(*known)).one()) + 1
    row = {"account": account, "order": order, "amount_fen": amount_fen}
    sold_at = datetime.now(UTC).isoformat(timespec="seconds")
    connection.execute(sa.insert(orders), {**row, "sold_at": sold_at})
    return order


def _sell_once(connection: sa.Connection, sale: Sale) -> int:
    order = _sell(connection, sale.account, sale.amount_fen)
    row = {"reference": sale.reference, "account": sale.account, "order": order}
    connection.execute(sa.insert(schema.sales), row)
    return order


def _share(connection: Any, _: object) -> None:
    """Set up a new SQLite connection, whose transactions `_begin` begins."""
    connection.isolation_level = None


def _prepare(connection: Any, _: object) -> None:
    """Set up a new SQLite connection for writing: its commits reach the disk."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    """Begin a transaction; a writer takes the lock, so that what it read stays true."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _position(connection: sa.Connection, concentrator: int) -> tuple[int, int, int]:
    """Return (acked_seq, last_number, wanted_seq) of a concentrator, zeros of a new one."""
    columns = schema.concentrators.c
    query = sa.select(columns.acked_seq, columns.last_number, columns.wanted_seq)
    row = connection.execute(query.where(columns.concentrator == concentrator)).one_or_none()
    return (0, 0, 0) if row is None else tuple(row)


def _set_position(
    connection: sa.Connection, concentrator: int, acked_seq: int, number: int, wanted_seq: int
) -> None:
    table = schema.concentrators
    values = {"acked_seq": acked_seq, "last_number": number, "wanted_seq": wanted_seq}
    changed = connection.execute(
        sa.update(table).where(table.c.concentrator == concentrator).values(values)
    )
    if changed.rowcount == 0:
        connection.execute(sa.insert(table), {"concentrator": concentrator, **values})


def _wanted_seq(wanted_seq: int, batch: Batch, acked_seq: int) -> int:
    """Return up to which record standings are wanted behind a batch, 0: none are.

    Readings, freezes and items are made up for by those behind them.
    """
    for gap in batch.gaps:
        last_seq = gap.seq + gap.count - 1
        if last_seq > acked_seq and (not gap.reasons or gap.reasons & _ALL_MATTERS):
            wanted_seq = max(wanted_seq, last_seq)
    for one in batch.records:
        told = one.kind == RecordKind.EVENT and one.fields["what"] == _STANDINGS_TOLD
        if told and one.seq > wanted_seq:
            wanted_seq = 0
    return wanted_seq


def _note_gaps(
    connection: sa.Connection, concentrator: int, gaps: Sequence[Gap], first_seq: int
) -> int:
    """Store what of the gaps is `first_seq` or later; return how many numbers that are."""
    rows = [
        {
            "concentrator": concentrator,
            "first_seq": max(gap.seq, first_seq),
            "last_seq": gap.seq + gap.count - 1,
            "reasons": int(gap.reasons),
        }
        for gap in gaps
        if gap.seq + gap.count > first_seq
    ]
    if rows:
        connection.execute(sa.insert(schema.gaps), rows)
    return sum(row["last_seq"] - row["first_seq"] + 1 for row in rows)


def _compare(
    connection: sa.Connection, concentrator: int, known: Sequence[Record], acked_seq: int
) -> None:
    """Raise Conflict if a record stored already differs from the one that came now."""
    if not known:
        return
    table = schema.records
    query = sa.select(table).where(
        table.c.concentrator == concentrator,
        table.c.seq.between(known[0].seq, known[-1].seq),
    )
    stored = {row.seq: row for row in connection.execute(query)}
    for record in known:
        row = stored.get(record.seq)
        if row is None:
            continue  # within a gap: the device has told before that it is lost
        came = (record.t2000, record.kind, record.flags, record.index)
        same_head = came == (row.t2000, row.kind, row.flags, row.row)
        if not same_head or record.payload.rstrip(b"\0") != row.payload:
            raise Conflict(record.seq, acked_seq)
