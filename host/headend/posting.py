"""From records to accounts: what one batch means, worked out inside its transaction."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from host.frames.faults import RESUMED_FROM
from host.frames.record import Record, RecordKind
from host.headend import schema
from host.units import DAY_S, unwrapped_fen
from host.words import _, marked

UNKNOWN_ACCOUNT = ""
_STATUS_UNKNOWN = 0xFFFF
_STATUS_RELAY_OPEN = 0x10  # status word 3, bit 4
_STAGE_CONFIRMED = 2
_DESIRED_OPEN = 0x10  # what is wanted, in METER.relay
_MARK_START, _MARK_UNTOLD = 1, 2  # of METER
_MARK_GUARD, _MARK_STOPPED = 1, 2  # of STANDING
_SOURCE_NEW = 2  # of STANDING: a technician said that the account never bought anything
_SOURCE_HERE = 3  # the concentrator was asked for it
_UNTOLD_MAC = "FF" * 8
# Of an account and of a STANDING alike.
STANDING_COLUMNS = (
    "order",
    "header_mac",
    "credit_fen",
    "debit_fen",
    "residue_e7",
    "residue_e11",
    "household",
    "grade",
    "multiplier",
    "debt_fen",
    "debt_week_fen",
    "since_t2000",
)


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
            post = _POSTERS.get(record.kind, Posting._alarm)
            post(self, record)

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

    def _find(self, record: Record, what: str, **values: int | str) -> None:
        """Note a finding: a text that is `marked`, and the values of its fields."""
        self._add(schema.findings, record, what=_finding(what, values))

    def _account(self, record: Record) -> dict[str, Any] | None:
        """Return the account of the record's row; where there is none, that is a finding."""
        meter = self._meters.get(record.index)
        if meter is None:
            self._find(
                record,
                marked("{kind} of row {row}, no meter known there"),
                kind=record.kind_name,
                row=record.index,
            )
            return None
        return self._accounts[meter["account"]]

    def _books(self, record: Record) -> dict[str, Any] | None:
        """Return the account of the record's row; None: its concentrator was not told its books.

        What a concentrator counts before it was told must not replace what stands here.
        """
        account = self._account(record)
        return None if account is None or account["untold"] else account

    def _meter(self, record: Record) -> None:
        fields = dict(record.fields)
        where = {"concentrator": self._concentrator, "row": record.index}
        marks, relay = fields.pop("marks"), fields.pop("relay")
        self._meters[record.index] = {**fields, **where, "seq": record.seq}
        name, address = fields["account"], fields["address"]
        account = self._accounts.get(name)
        if account is None:
            account = _new_account(name)
        elif (account["concentrator"], account["row"]) != (self._concentrator, record.index):
            self._find(
                record,
                marked("account {account} moved here from concentrator {concentrator} row {row}"),
                account=name,
                concentrator=account["concentrator"],
                row=account["row"],
            )
        account = self._accounts[name] = {**account, **where, "meter": address}
        if marks & _MARK_UNTOLD:
            account["untold"] = 1
        elif marks & _MARK_START:
            account["read_t2000"], account["registers_wh"] = 0, []
        if not account["untold"]:
            account["relay_wanted"] = int(bool(relay & _DESIRED_OPEN))

    def _reading(self, record: Record) -> None:
        account = self._account(record)
        if account is None:
            return
        fields = record.fields
        registers_wh = _trimmed(fields["registers_wh"])
        if not account["untold"]:
            debit_fen = unwrapped_fen(fields["debit_fen"], account["debit_fen"])
            if debit_fen < account["debit_fen"]:
                self._find(
                    record,
                    marked("debit of account {account} went back from {was_fen} to {now_fen} fen"),
                    account=account["account"],
                    was_fen=account["debit_fen"],
                    now_fen=debit_fen,
                )
            account["debit_fen"] = debit_fen
            for name in ("residue_e7", "residue_e11", "used_wh"):
                account[name] = fields[name]
            account["registers_wh"] = registers_wh
            if not account["stopped"]:
                account["doubt"] = 0
            account["read_t2000"] = max(account["read_t2000"], record.t2000)
        account["last_t2000"] = record.t2000
        if fields["status"] != _STATUS_UNKNOWN:
            account["relay"] = int(bool(fields["status"] & _STATUS_RELAY_OPEN))
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
        text = marked("another reading of meter {meter} at the same second")
        what = _finding(text, {"meter": row["meter"]})
        place = {"concentrator": self._concentrator, "seq": row["seq"], "what": what}
        self._rows[schema.findings].append(place)
        return False

    def _top_up(self, record: Record) -> None:
        """Post a purchase, or a refund, which is one below 0."""
        account = self._account(record)
        fields = dict(record.fields)
        if record.kind == RecordKind.REFUND:
            fields["amount_fen"] = -fields["amount_fen"]
        debit_fen = 0
        if account is not None:
            expected_fen = account["credit_fen"] + fields["amount_fen"]
            fields["credit_fen"] = unwrapped_fen(fields["credit_fen"], expected_fen)
            if fields["credit_fen"] != expected_fen:
                self._find(
                    record,
                    marked("credit of account {account} is {told_fen} fen, expected {here_fen}"),
                    account=account["account"],
                    told_fen=fields["credit_fen"],
                    here_fen=expected_fen,
                )
            for name in ("order", "header_mac", "credit_fen", "debt_week", "debt_week_fen"):
                account[name] = fields[name]
            account["debit_fen"] += fields["repaid_fen"]
            account["debt_fen"] = fields["debt_fen"]
            debit_fen = account["debit_fen"]
        columns = schema.top_ups.c.keys()
        self._add(
            schema.top_ups,
            record,
            **{name: value for name, value in fields.items() if name in columns},
            t2000=record.t2000,
            account=_name(account),
            books_fen=fields["credit_fen"] - debit_fen,
        )

    def _terms(self, record: Record) -> None:
        """Post what kind of account it is, to the account and to where people look."""
        account = self._books(record)
        if account is not None:
            for name in ("household", "grade", "guard", "debt_fen"):
                account[name] = record.fields[name]
            account["power_limit_w"] = record.fields["power_limit_w"]
            account["multiplier"] = record.fields["multiplier"] or 1
        self._alarm(record)

    def _fault(self, record: Record) -> None:
        """Post that readings are in doubt, that billing has stopped, or that it goes on."""
        account = self._books(record)
        reason = record.fields["reason"]
        if account is not None:
            account["stopped"] = record.fields["stopped"]
            account["doubt"] = reason if reason > RESUMED_FROM else 0
        self._alarm(record)

    def _correction(self, record: Record) -> None:
        """Post what was charged too much as credit; the reading behind it says the rest."""
        account = self._books(record)
        fields = record.fields
        if account is not None:
            expected_fen = account["credit_fen"] + fields["amount_fen"]
            credit_fen = unwrapped_fen(fields["credit_fen"], expected_fen)
            if credit_fen != expected_fen:
                self._find(
                    record,
                    marked(
                        "corrected credit of account {account} is {told_fen} fen, expected "
                        "{here_fen}"
                    ),
                    account=account["account"],
                    told_fen=credit_fen,
                    here_fen=expected_fen,
                )
            account["credit_fen"] = credit_fen
            account["corrected_fen"] += fields["amount_fen"]
            account["period"] = fields["period"]
        self._alarm(record)

    def _rollover(self, record: Record) -> None:
        account = self._books(record)
        if account is not None:
            account["period"] = record.fields["new_period"]
        self._alarm(record)

    def _quota(self, record: Record) -> None:
        account = self._books(record)
        if account is not None:
            account.update(record.fields)

    def _standing(self, record: Record) -> None:
        """Post the whole of an account, told to its concentrator or by it."""
        account = self._account(record)
        fields = dict(record.fields)
        told = fields["order"] or fields["header_mac"] != _UNTOLD_MAC
        if account is not None and not told and fields["source"] == _SOURCE_HERE:
            account["untold"] = 1  # nothing that stands here is known there
        elif account is not None:
            for name in ("credit_fen", "debit_fen"):
                fields[name] = unwrapped_fen(fields[name], account[name])
            self._compare_standing(record, fields, account)
            account.update({name: fields[name] for name in STANDING_COLUMNS})
            account["policy"], account["relay_wanted"] = fields["state"], fields["relay"]
            account["guard"] = int(bool(fields["marks"] & _MARK_GUARD))
            account["stopped"] = int(bool(fields["marks"] & _MARK_STOPPED))
            account["untold"] = int(not told)
            if fields["tariff"]:
                self._meters[record.index]["tariff"] = fields["tariff"]
        kept = ("source", "order", "header_mac", "credit_fen", "debit_fen")
        self._add(
            schema.standings,
            record,
            **{name: fields[name] for name in kept},
            t2000=record.t2000,
            account=_name(account),
        )

    def _compare_standing(
        self, record: Record, fields: dict[str, Any], account: dict[str, Any]
    ) -> None:
        """Note where a standing is not what stands here."""
        name = account["account"]
        if fields["source"] == _SOURCE_NEW and account["order"]:
            self._find(
                record,
                marked("account {account} is said to be new, its newest order was {order}"),
                account=name,
                order=account["order"],
            )
        elif fields["order"] < account["order"]:
            self._find(
                record,
                marked("standing of account {account} goes back from {was} to {now} orders"),
                account=name,
                was=account["order"],
                now=fields["order"],
            )
        elif fields["order"] == account["order"] and fields["credit_fen"] != account["credit_fen"]:
            self._find(
                record,
                marked(
                    "standing of account {account} has a credit of {told_fen} fen, {here_fen} "
                    "are here"
                ),
                account=name,
                told_fen=fields["credit_fen"],
                here_fen=account["credit_fen"],
            )

    def _standing_registers(self, record: Record) -> None:
        account = self._books(record)
        if account is not None:
            account["registers_wh"] = _trimmed(record.fields["registers_wh"])
            account["read_t2000"] = record.fields["read_t2000"]
            account["power_limit_w"] = record.fields["power_limit_w"]
            account["debt_week"] = record.fields["debt_week"]

    def _plan(self, record: Record) -> None:
        """Post another tariff, in force from now on or planned, to where people look."""
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
        if account is not None:
            account["relay_wanted"] = record.fields["desired"]
            if record.fields["stage"] == _STAGE_CONFIRMED:
                account["relay"] = record.fields["desired"]
        self._add(
            schema.relays, record, **record.fields, t2000=record.t2000, account=_name(account)
        )

    def _policy(self, record: Record) -> None:
        account = self._account(record)
        if account is not None:
            account["policy"] = record.fields["new"]
            if record.fields["new"] != record.fields["old"]:
                account["since_t2000"] = record.t2000
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


def _finding(text: str, values: dict[str, int | str]) -> str:
    """Return a finding as the database keeps it, with its values apart, for `finding_text`."""
    return json.dumps({"text": text, **values}, ensure_ascii=False)


def finding_text(stored: str) -> str:
    """Return a stored finding as a sentence in the language that is spoken.

    Databases of older versions hold English sentences, which are returned as they are.
    """
    if not stored.startswith("{"):
        return stored
    values = json.loads(stored)
    return _(values.pop("text")).format(**values)


def _trimmed(registers_wh: Sequence[int]) -> list[int]:
    """Return the registers without the zeros behind them."""
    kept = list(registers_wh)
    while kept and kept[-1] == 0:
        kept.pop()
    return kept


def _name(account: dict[str, Any] | None) -> str:
    return UNKNOWN_ACCOUNT if account is None else str(account["account"])


def _new_account(name: str) -> dict[str, Any]:
    numbers = {column.name: 0 for column in schema.accounts.c if not column.nullable}
    empty = dict.fromkeys(("relay", "policy", "last_t2000"), None)
    texts = {"account": name, "header_mac": "", "registers_wh": []}
    return {**numbers, **empty, **texts, "multiplier": 1}


_POSTERS: dict[int, Callable[[Posting, Record], None]] = {
    RecordKind.METER: Posting._meter,
    RecordKind.READING: Posting._reading,
    RecordKind.TOP_UP: Posting._top_up,
    RecordKind.REFUND: Posting._top_up,
    RecordKind.RELAY: Posting._relay,
    RecordKind.POLICY: Posting._policy,
    RecordKind.ROLLOVER: Posting._rollover,
    RecordKind.FAULT: Posting._fault,
    RecordKind.CORRECTION: Posting._correction,
    RecordKind.ACCOUNT: Posting._terms,
    RecordKind.FREEZE: Posting._freeze,
    RecordKind.PLAN: Posting._plan,
    RecordKind.ITEM: Posting._item,
    RecordKind.STANDING: Posting._standing,
    RecordKind.STANDING_REGISTERS: Posting._standing_registers,
    RecordKind.QUOTA: Posting._quota,
}
