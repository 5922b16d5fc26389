"""From records to accounts: what one batch means, worked out inside its transaction."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from host.frames.record import Record, RecordKind
from host.headend import schema
from host.units import DAY_S, unwrapped_fen

UNKNOWN_ACCOUNT = ""
_STATUS_UNKNOWN = 0xFFFF
_STATUS_RELAY_OPEN = 0x10  # status word 3, bit 4
_STAGE_CONFIRMED = 2
_SOURCE_RESTORED = 2


class Posting:
    """Posts consecutive records of one concentrator; `write` puts the result down."""

    def __init__(
        self, connection: sa.Connection, concentrator: int, batch: Sequence[Record]
    ) -> None:
        self._connection = connection
        self._concentrator = concentrator
        self._batch = batch
        self._rows: defaultdict[sa.Table, list[dict[str, Any]]] = defaultdict(list)
        self._meters: dict[int, dict[str, Any]] = {}
        self._accounts: dict[str, dict[str, Any]] = {}
        self._freezes: dict[tuple[int, str], dict[str, Any]] = {}
        self._load()

    def apply(self) -> None:
        """Work through the batch in order of sequence."""
        for record in self._batch:
            if record.kind == RecordKind.METER:
                self._meter(record)
            elif record.kind == RecordKind.READING:
                self._reading(record)
            elif record.kind in (RecordKind.TOP_UP, RecordKind.REFUND):
                self._top_up(record)
            elif record.kind == RecordKind.RELAY:
                self._relay(record)
            elif record.kind == RecordKind.POLICY:
                self._policy(record)
            elif record.kind == RecordKind.FREEZE:
                self._freeze(record)
            elif record.kind == RecordKind.PLAN:
                self._plan(record)
            elif record.kind == RecordKind.ITEM:
                self._item(record)
            else:
                self._alarm(record)

    def write(self) -> None:
        """Insert and update all rows; the caller commits."""
        for record in self._batch:
            self._add(
                schema.records,
                record,
                t2000=record.t2000,
                kind=record.kind,
                flags=record.flags,
                row=record.index,
                payload=record.payload.rstrip(b"\0"),
            )
        self._write_readings(self._rows.pop(schema.readings, []))
        for table, table_rows in self._rows.items():
            self._connection.execute(sa.insert(table), table_rows)
        self._upsert(schema.freezes, list(self._freezes.values()))
        self._upsert(schema.meters, list(self._meters.values()))
        self._upsert(schema.accounts, list(self._accounts.values()))

    def _load(self) -> None:
        """Fetch the meters and accounts this batch is about."""
        rows = {record.index for record in self._batch}
        meters = schema.meters
        query = sa.select(meters).where(
            meters.c.concentrator == self._concentrator, meters.c.row.in_(rows)
        )
        for meter in self._connection.execute(query).mappings():
            self._meters[meter["row"]] = dict(meter)
        names = {meter["account"] for meter in self._meters.values()}
        names |= {r.fields["account"] for r in self._batch if r.kind == RecordKind.METER}
        accounts = schema.accounts
        for row in self._connection.execute(
            sa.select(accounts).where(accounts.c.account.in_(names))
        ).mappings():
            self._accounts[row["account"]] = dict(row)

    def _add(self, table: sa.Table, record: Record, **values: Any) -> None:
        self._rows[table].append({"concentrator": self._concentrator, "seq": record.seq, **values})

    def _find(self, record: Record, what: str) -> None:
        self._add(schema.findings, record, what=what)

    def _account(self, record: Record) -> dict[str, Any] | None:
        """The account of the record's row; none is a finding, the record itself is kept."""
        meter = self._meters.get(record.index)
        if meter is None:
            self._find(record, f"{record.kind_name} of row {record.index}, no meter known there")
            return None
        return self._accounts[meter["account"]]

    def _meter(self, record: Record) -> None:
        fields = dict(record.fields)
        where = {"concentrator": self._concentrator, "row": record.index}
        self._meters[record.index] = {**fields, **where, "seq": record.seq}
        name, address = fields["account"], fields["address"]
        account = self._accounts.get(name)
        if account is None:
            account = _new_account(name)
        elif (account["concentrator"], account["row"]) != (self._concentrator, record.index):
            old = f"{account['concentrator']} row {account['row']}"
            self._find(record, f"account {name} moved here from concentrator {old}")
        self._accounts[name] = {**account, **where, "meter": address}

    def _reading(self, record: Record) -> None:
        account = self._account(record)
        if account is None:
            return
        fields = record.fields
        debit_fen = unwrapped_fen(fields["debit_fen"], account["debit_fen"])
        if debit_fen < account["debit_fen"]:
            went = f"{account['debit_fen']} to {debit_fen} fen"
            self._find(record, f"debit of account {account['account']} went back from {went}")
        account["debit_fen"] = debit_fen
        for name in ("residue_e7", "residue_e11", "used_wh"):
            account[name] = fields[name]
        account["last_t2000"] = record.t2000
        if fields["status"] != _STATUS_UNKNOWN:
            account["relay"] = int(bool(fields["status"] & _STATUS_RELAY_OPEN))
        registers_wh = _trimmed(fields["registers_wh"])
        self._add(
            schema.readings,
            record,
            **{**fields, "registers_wh": registers_wh},
            day=record.t2000 // DAY_S,
            meter=account["meter"],
            t2000=record.t2000,
            account=account["account"],
        )

    def _write_readings(self, rows: list[dict[str, Any]]) -> None:
        """Insert readings; the second one of a meter in the same second becomes a finding."""
        if not rows:
            return
        statement = insert(schema.readings).on_conflict_do_nothing()
        if self._connection.execute(statement, rows).rowcount != len(rows):
            rows = [row for row in rows if self._is_stored(row)]
        for row in rows:
            self._accounts[row["account"]]["readings"] += 1

    def _is_stored(self, row: dict[str, Any]) -> bool:
        columns = schema.readings.c
        query = sa.select(columns.concentrator, columns.seq).where(
            columns.day == row["day"],
            columns.meter == row["meter"],
            columns.t2000 == row["t2000"],
        )
        if self._connection.execute(query).one() == (row["concentrator"], row["seq"]):
            return True
        what = f"another reading of meter {row['meter']} at the same second"
        place = {"concentrator": self._concentrator, "seq": row["seq"], "what": what}
        self._rows[schema.findings].append(place)
        return False

    def _top_up(self, record: Record) -> None:
        """A purchase, or a refund: one below 0."""
        account = self._account(record)
        fields = dict(record.fields)
        if record.kind == RecordKind.REFUND:
            fields["amount_fen"] = -fields["amount_fen"]
        debit_fen = 0
        if account is not None:
            debit_fen = account["debit_fen"]
            expected_fen = account["credit_fen"]
            # What was restored came from here and was counted before.
            if fields["source"] != _SOURCE_RESTORED:
                expected_fen += fields["amount_fen"]
            fields["credit_fen"] = unwrapped_fen(fields["credit_fen"], expected_fen)
            if fields["credit_fen"] != expected_fen:
                said = f"{fields['credit_fen']} fen, expected {expected_fen}"
                self._find(record, f"credit of account {account['account']} is {said}")
            account["credit_fen"] = fields["credit_fen"]
            account["debit_fen"] += fields["repaid_fen"]
            debit_fen = account["debit_fen"]
        if fields["source"] == _SOURCE_RESTORED:
            return
        self._add(
            schema.top_ups,
            record,
            **fields,
            t2000=record.t2000,
            account=_name(account),
            books_fen=fields["credit_fen"] - debit_fen,
        )

    def _plan(self, record: Record) -> None:
        """Another tariff, from now on or planned: kept where people look."""
        meter = self._meters.get(record.index)
        if meter is not None and not record.fields["from_t2000"]:
            meter["tariff"] = record.fields["tariff"]
        self._alarm(record)

    def _freeze(self, record: Record) -> None:
        account = self._account(record)
        # Those of other moments divide a charge and are no day's: the record is enough.
        if account is None or record.fields["frozen_t2000"] % DAY_S:
            return
        key = {"day": record.fields["frozen_t2000"] // DAY_S, "account": _name(account)}
        row = {
            **key,
            "concentrator": self._concentrator,
            "seq": record.seq,
            "meter": account["meter"],
            "registers_wh": _trimmed(record.fields["registers_wh"]),
        }
        self._freezes[key["day"], key["account"]] = row

    def _relay(self, record: Record) -> None:
        account = self._account(record)
        if account is not None and record.fields["stage"] == _STAGE_CONFIRMED:
            account["relay"] = record.fields["desired"]
        self._add(
            schema.relays, record, **record.fields, t2000=record.t2000, account=_name(account)
        )

    def _policy(self, record: Record) -> None:
        account = self._account(record)
        if account is not None:
            account["policy"] = record.fields["new"]
        self._add(
            schema.policies, record, **record.fields, t2000=record.t2000, account=_name(account)
        )

    def _item(self, record: Record) -> None:
        fields = record.fields
        self._add(
            schema.items,
            record,
            t2000=record.t2000,
            account=_name(self._account(record)),
            identifier=fields["identifier"],
            values=fields["values"],
        )

    def _alarm(self, record: Record) -> None:
        meter = self._meters.get(record.index)
        self._add(
            schema.alarms,
            record,
            t2000=record.t2000,
            kind=record.kind_name,
            account=record.fields.get("account", meter["account"] if meter else UNKNOWN_ACCOUNT),
            detail=record.fields or {"payload": record.payload.hex()},
        )

    def _upsert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        statement = insert(table)
        keys = [column.name for column in table.primary_key]
        values = {
            column.name: statement.excluded[column.name]
            for column in table.columns
            if column.name not in keys
        }
        self._connection.execute(statement.on_conflict_do_update(keys, set_=values), rows)


def _trimmed(registers_wh: Sequence[int]) -> list[int]:
    """Registers without the zeros behind them."""
    kept = list(registers_wh)
    while kept and kept[-1] == 0:
        kept.pop()
    return kept


def _name(account: dict[str, Any] | None) -> str:
    return UNKNOWN_ACCOUNT if account is None else str(account["account"])


def _new_account(name: str) -> dict[str, Any]:
    numbers = ("credit_fen", "debit_fen", "residue_e7", "residue_e11", "used_wh", "readings")
    empty = dict.fromkeys(("relay", "policy", "last_t2000"), None)
    return {"account": name, **dict.fromkeys(numbers, 0), **empty}
