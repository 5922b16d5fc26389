"""Post the records of batches to accounts: first in memory, then with one write.

`State` holds the known concentrators, meters and accounts. `Posting` posts records to it and
collects the rows to be written; nothing here commits. Where a commit fails the state is dropped
and read again, so that it is never ahead of the database.

An account belongs to the concentrator that told of it first. What another one tells of it changes
nothing of it and waits in `quarantine`, see `host.headend.ownership`.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from host.frames import settings
from host.frames.card_results import result_text
from host.frames.faults import RESUMED_FROM, fault_text
from host.frames.record import RecordKind
from host.headend import watching
from host.headend.database import Database, upsert_sql
from host.headend.outcomes import settle_told
from host.headend.quarantine import Quarantine
from host.headend.settling import COUNTS_AGAIN, settle
from host.headend.shard import WHOLE, Shard
from host.headend.unpack import Taken
from host.units import DAY_S, unwrapped_fen
from host.words import _, marked

UNKNOWN_ACCOUNT = ""
NO_ROW = -1  # of an account that was moved to a concentrator which has not told of it yet
_STATUS_UNKNOWN = 0xFFFF
_STATUS_RELAY_OPEN = 0x10  # status word 3, bit 4
_STAGE_CONFIRMED = 2
_DESIRED_OPEN = 0x10  # the wanted state of the relay, in METER.relay
_SETTING = "setting"
# What changed a setting: SETTING.source.
_BY = {1: "console", 2: "uplink", 3: "prompt", 4: "operator's card"}
_MARK_START, _MARK_UNTOLD = 1, 2  # of METER
_MARK_GUARD, _MARK_STOPPED = 1, 2  # of STANDING
_SOURCE_NEW = 2  # of STANDING: a technician said that the account never bought anything
_SOURCE_HERE = 3  # the concentrator was asked for it
_UNTOLD_MAC = "FF" * 8
# EVENT.what, of a cabinet.
_CABINET = {
    1: marked("the door of concentrator {concentrator} was opened"),
    2: marked("the supply of concentrator {concentrator} has failed"),
}
# FIRMWARE.stage of a product that starts for the first time.
_OTHER_FIRMWARE = marked(
    "concentrator {concentrator} was given other firmware: {version}, number {counter}"
)
_FIRMWARE = {
    1: _OTHER_FIRMWARE,
    2: _OTHER_FIRMWARE,
    4: marked(
        "concentrator {concentrator} is back at older firmware: {version}, number {counter}"
    ),
}
_HALF_TURN = 1 << 31
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
_RECORD_COLUMNS = (
    "concentrator",
    "seq",
    "t2000",
    "kind",
    "flags",
    "row",
    "payload",
    "received_at",
)
_READING_COLUMNS = (
    *("day", "meter", "t2000", "concentrator", "seq", "account", "debit_fen", "residue_e7"),
    *("residue_e11", "status", "used_wh", "registers_wh"),
)
Values = dict[str, int | str]
_READ_THEN = (
    f"SELECT {', '.join(_READING_COLUMNS[4:])} FROM readings "
    "WHERE day = ? AND meter = ? AND t2000 = ? AND concentrator = ?"
)
_FREEZE_COLUMNS = ("day", "meter", "t2000", "concentrator", "seq", "account", "registers_wh")
_ITEM_COLUMNS = (
    *("day", "meter", "t2000", "identifier", "concentrator", "seq", "account", "values"),
)
_TOP_UP_COLUMNS = (
    *("order", "amount_fen", "credit_fen", "balance_fen", "uid", "source", "key_version"),
    *("repaid_fen", "header_mac"),
)
# The columns that a reading changes; they are written for many accounts at once.
_READ_COLUMNS = (
    *("debit_fen", "residue_e7", "residue_e11", "used_wh", "registers_wh", "doubt"),
    *("read_t2000", "last_t2000", "relay", "readings"),
)
_ACCOUNT_NUMBERS = (
    *("concentrator", "row", "credit_fen", "debit_fen", "residue_e7", "residue_e11", "used_wh"),
    *("readings", "order", "debt_fen", "debt_week", "debt_week_fen", "household", "grade"),
    *("multiplier", "guard", "stopped", "doubt", "corrected_fen", "power_limit_w", "period"),
    *("quota", "free", "since_t2000", "relay_wanted", "read_t2000", "untold", "standing_due"),
)
_NEW_ACCOUNT: dict[str, Any] = {
    "account": "",
    "meter": "",
    "header_mac": "",
    **dict.fromkeys(_ACCOUNT_NUMBERS, 0),
    **dict.fromkeys(("relay", "policy", "last_t2000")),
    "multiplier": 1,
    "registers_wh": (),
}
_METER_COLUMNS = (
    *("concentrator", "row", "address", "account", "tariff", "line", "standard", "active"),
    *("speed", "seq"),
)
# Records that concern the concentrator itself, whatever their row.
OF_CONCENTRATOR = frozenset(
    (
        *(RecordKind.TARIFF, RecordKind.START, RecordKind.CLOCK),
        *(RecordKind.LOGIN, RecordKind.SETTING, RecordKind.EVENT),
        *(RecordKind.FIRMWARE, RecordKind.COMMAND),
    )
)
_NEVER_WAIT = OF_CONCENTRATOR | {RecordKind.METER}  # a METER's account is not its row's
Account = dict[str, Any]
Meter = dict[str, Any]


_UPSERT_METER = upsert_sql("meters", _METER_COLUMNS, ("concentrator", "row"))
_UPSERT_ACCOUNT = upsert_sql("accounts", tuple(_NEW_ACCOUNT), ("account",))


class State:
    """The known state of the concentrators that have sent messages, as of the last commit."""

    def __init__(self, database: Database, shard: Shard = WHOLE) -> None:
        self._database = database
        self._shard = shard
        self.meters: dict[int, dict[int, Meter]] = {}
        self.accounts: dict[str, Account] = {}
        self.quarantine = Quarantine(database)
        # Readings in a row that found an account's relay otherwise than it should be.
        self.odd: watching.Odd = {}

    def forget(self) -> None:
        """Read everything again when it is needed."""
        self.meters.clear()
        self.accounts.clear()
        self.quarantine.forget()
        self.odd.clear()

    def meters_of(self, concentrator: int) -> dict[int, Meter]:
        """Return the meters of a concentrator by their rows."""
        known = self.meters.get(concentrator)
        if known is None:
            where = "WHERE concentrator = ?"
            found = self._database.rows(f"SELECT * FROM meters {where}", (concentrator,))
            known = {}
            for row in found:
                del row["id"]
                known[row["row"]] = row
            self.meters[concentrator] = known
            here = "SELECT account FROM meters WHERE concentrator = ?"
            accounts = self._database.rows(
                f"SELECT * FROM accounts WHERE account IN ({here})", (concentrator,)
            )
            for account in accounts:
                self.accounts.setdefault(account["account"], account)
            self.quarantine.read(concentrator)
            self.odd.update(watching.odd_of(self._database, concentrator))
        return known

    def account(self, name: str) -> Account | None:
        """Return an account, None where there is none of that number."""
        known = self.accounts.get(name)
        # What other parts of the head-end have may change without a word.
        if known is None or not self._shard.has(known["concentrator"]):
            found = self._database.rows("SELECT * FROM accounts WHERE account = ?", (name,))
            if not found:
                return None
            known = self.accounts[name] = found[0]
        return known


class OthersWrite(Exception):
    """A record may concern an account of another part, which must not write meanwhile."""


def _finding(
    place: tuple[int, int, str], text: str, values: Values, found_at: int, why: str
) -> dict[str, Any]:
    """Return the row of a finding at a concentrator, record and kind; `why` it is resolved."""
    concentrator, seq, kind = place
    return {
        "concentrator": concentrator,
        "seq": seq,
        "kind": kind,
        "account": values.get("account", UNKNOWN_ACCOUNT),
        "what": json.dumps({"text": text, **values}, ensure_ascii=False),
        "found_at": found_at,
        "resolved_at": found_at if why else None,
        "resolution": why,
    }


class Posting:
    """The posting of concentrators' records to a state; `write` stores the result.

    received_at   when they came, seconds since 1970
    restored      the database replaced a newer one: it lacks records of accounts new to it
    others_write  other parts of the head-end may be writing meanwhile
    quarantined   how many records wait for a person
    """

    def __init__(self, database: Database, state: State, received_at: int = 0) -> None:
        self._database, self._state = database, state
        self.received_at = received_at
        self.quarantined = 0
        self.restored = self.others_write = False
        self._concentrator = 0
        self._meters: dict[int, Meter] = {}
        self._records: list[tuple[Any, ...]] = []
        self._readings: list[tuple[Any, ...]] = []
        self._freezes: list[tuple[Any, ...]] = []
        self._items: list[tuple[Any, ...]] = []
        self._commands: list[tuple[int, Taken]] = []
        self._rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._read: dict[str, Account] = {}
        self._changed: dict[str, Account] = {}
        self._changed_meters: dict[tuple[int, int], Meter] = {}
        self.watch = watching.Watch(state.odd)

    def post(self, concentrator: int, records: Sequence[Taken]) -> None:
        """Post consecutive records of one concentrator, in order of sequence."""
        self._concentrator = concentrator
        meters = self._meters = self._state.meters_of(concentrator)
        accounts = self._state.accounts
        received_at, keep = self.received_at, self._records.append
        for record in records:
            keep((concentrator, *record[:6], received_at))
            meter = meters.get(record.row)
            if (
                meter is not None
                and accounts[meter["account"]]["concentrator"] != concentrator
                and record.kind not in _NEVER_WAIT
            ):
                self._quarantine(record, meter)
            else:
                self._post(record)

    def take_in(
        self, concentrator: int, records: Sequence[Taken], meters: dict[int, Meter]
    ) -> None:
        """Post records that have waited, in order; `meters` are those of the first by their rows.

        They are stored already, and the concentrator's table of meters is newer than they are.
        """
        self._concentrator, self._meters = concentrator, meters
        for record in records:
            self._post(record)
        self._changed_meters.clear()

    def change(self, account: Account) -> None:
        """Write an account of the state that has changed."""
        self._changed[account["account"]] = account

    def _post(self, record: Taken) -> None:
        _POSTERS.get(record.kind, Posting._alarm)(self, record)
        if record.kind in watching.KINDS:
            meter = self._meters.get(record.row)
            if record.kind != RecordKind.FAULT or self._books(record) is not None:
                name = "" if meter is None else meter["account"]
                self.watch.record(self._concentrator, record, name)

    def _quarantine(self, record: Taken, meter: Meter) -> None:
        """Note a record of an account that belongs to another concentrator; it is stored."""
        self.quarantined += 1
        self._state.quarantine.note(self._concentrator, record, meter, self.received_at)
        if tariff := _told_tariff(record):
            self._set_tariff(record.row, tariff)

    def write(self) -> None:
        """Insert and update all rows; the caller commits."""
        database = self._database
        if self._records:
            inserted = database.insert_new("records", _RECORD_COLUMNS, self._records)
            if inserted != len(self._records):
                raise RuntimeError("a record's number was taken by another program")
        for concentrator, command in self._commands:
            settle_told(database, concentrator, command.seq, command.fields)
        self._write_readings()
        if self._freezes:
            database.insert_new("freezes", _FREEZE_COLUMNS, self._freezes)
        if self._items:
            database.insert_new("items", _ITEM_COLUMNS, self._items)
        told = (*self._rows["top_ups"], *self._rows["standings"])
        for concentrator, seq, values in settle(database, told, self.received_at):
            self._note(concentrator, seq, "void", COUNTS_AGAIN, values)
        for table, rows in self._rows.items():
            if not rows:
                continue
            database.insert_new(table, tuple(rows[0]), [tuple(row.values()) for row in rows])
        self.watch.write(database, self.received_at)
        if self._changed_meters:
            meters = self._changed_meters.values()
            database.many(_UPSERT_METER, [[one[c] for c in _METER_COLUMNS] for one in meters])
        self._state.quarantine.write()
        self._write_accounts()

    def _write_readings(self) -> None:
        """Insert readings; another one of a meter in the same second becomes a finding.

        One that says the same is resolved at once: a concentrator reads again before it cuts.
        """
        rows = self._readings
        if not rows:
            return
        if self._database.insert_new("readings", _READING_COLUMNS, rows) == len(rows):
            return
        for row in rows:
            concentrator, seq, account = row[3:6]
            (there,) = self._database.all(_READ_THEN, row[:4])
            if there[0] == seq:
                continue
            self._state.accounts[account]["readings"] -= 1
            text = marked("another reading of meter {meter} at the same second")
            values: Values = {"meter": row[1], "account": account}
            why = marked("it says the same") if there[1:] == tuple(row[5:]) else ""
            self._note(concentrator, seq, "conflict", text, values, why)

    def _write_accounts(self) -> None:
        changed = self._changed
        if changed:
            self._database.many(_UPSERT_ACCOUNT, [_whole(one) for one in changed.values()])
        read = [_as_read(one) for name, one in self._read.items() if name not in changed]
        if read:
            self._database.update_many("accounts", "account", _READ_COLUMNS, read)

    def _add(self, table: str, record: Taken, **values: Any) -> None:
        place = {"concentrator": self._concentrator, "seq": record.seq}
        self._rows[table].append({**place, **values})

    def _find(self, record: Taken, kind: str, text: str, **values: int | str) -> None:
        """Note a finding: a text that is `marked`, and the values of its fields."""
        self._note(self._concentrator, record.seq, kind, text, values)

    def _note(
        self, concentrator: int, seq: int, kind: str, text: str, values: Values, why: str = ""
    ) -> None:
        """Note a finding; with `why` it is resolved, and nobody has to look after it."""
        place = (concentrator, seq, kind)
        self._rows["findings"].append(_finding(place, text, values, self.received_at, why))

    def _account(self, record: Taken) -> Account | None:
        """Return the account of the record's row; without one, note a finding."""
        meter = self._meters.get(record.row)
        if meter is None:
            name = _kind_name(record.kind)
            text = marked("{kind} of row {row}, no meter known there")
            place: dict[str, int | str] = {"kind": name, "row": record.row}
            self._note(self._concentrator, record.seq, "foreign", text, place)
            return None
        return self._state.accounts[meter["account"]]

    def _touched(self, record: Taken) -> Account | None:
        """Return the account of the record's row and mark it as changed."""
        account = self._account(record)
        if account is not None:
            self._changed[account["account"]] = account
        return account

    def _books(self, record: Taken) -> Account | None:
        """Return the account of the record's row, None while its concentrator lacks its books.

        Counts of a concentrator without the standing must not replace the books here.
        """
        account = self._touched(record)
        return None if account is None or account["untold"] else account

    def _meter(self, record: Taken) -> None:
        if self.others_write:
            raise OthersWrite
        fields = dict(record.fields)
        where = {"concentrator": self._concentrator, "row": record.row}
        marks, relay = fields.pop("marks"), fields.pop("relay")
        meter = {**fields, **where, "seq": record.seq}
        self._meters[record.row] = meter
        self._changed_meters[self._concentrator, record.row] = meter
        name, address = fields["account"], fields["address"]
        account = self._state.account(name)
        if account is None:
            due = int(self.restored)
            account = {**_NEW_ACCOUNT, "account": name, "standing_due": due}
            self._state.accounts[name] = account
        elif account["concentrator"] != self._concentrator:
            self._quarantine(record, meter)
            return
        elif account["row"] not in (record.row, NO_ROW):
            self._find(
                record,
                "foreign",
                marked("account {account} moved here from concentrator {concentrator} row {row}"),
                account=name,
                concentrator=account["concentrator"],
                row=account["row"],
            )
        account.update(where, meter=address)
        self._changed[name] = account
        if marks & _MARK_UNTOLD:
            account["untold"] = 1
        elif marks & _MARK_START:
            account["read_t2000"], account["registers_wh"] = 0, ()
        if not account["untold"]:
            account["relay_wanted"] = int(bool(relay & _DESIRED_OPEN))

    def _reading(self, record: Taken) -> None:
        account = self._account(record)
        if account is None:
            return
        seq, t2000, fields = record.seq, record.t2000, record.fields
        told_fen, residue_e7, residue_e11, status, used_wh, registers_wh = fields
        name = account["account"]
        if not account["untold"]:
            here, debit_fen = account["debit_fen"], told_fen
            if not 0 <= told_fen - here < _HALF_TURN:
                debit_fen = unwrapped_fen(told_fen, here)
            if debit_fen < here:
                self._find(
                    record,
                    "mismatch",
                    marked("debit of account {account} went back from {was_fen} to {now_fen} fen"),
                    account=name,
                    was_fen=here,
                    now_fen=debit_fen,
                )
            account["debit_fen"] = debit_fen
            account["residue_e7"] = residue_e7
            account["residue_e11"] = residue_e11
            account["used_wh"] = used_wh
            account["registers_wh"] = registers_wh
            if account["doubt"] and not account["stopped"]:
                account["doubt"] = 0
                self.watch.believed(self._concentrator, seq, name)
            if t2000 > account["read_t2000"]:
                account["read_t2000"] = t2000
        account["last_t2000"] = t2000
        account["readings"] += 1
        if status != _STATUS_UNKNOWN:
            account["relay"] = 1 if status & _STATUS_RELAY_OPEN else 0
            if account["relay"] != account["relay_wanted"] or name in self._state.odd:
                self.watch.relay(self._concentrator, seq, account)
        self._read[name] = account
        self._readings.append(
            (
                *(t2000 // DAY_S, account["meter"], t2000, self._concentrator, seq, name),
                *(told_fen, residue_e7, residue_e11, status, used_wh, _registers(registers_wh)),
            )
        )

    def _top_up(self, record: Taken) -> None:
        """Post a purchase, or a refund: an order below 0."""
        account = self._touched(record)
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
                    "mismatch",
                    marked("credit of account {account} is {told_fen} fen, expected {here_fen}"),
                    account=account["account"],
                    told_fen=fields["credit_fen"],
                    here_fen=expected_fen,
                )
            for column in ("order", "header_mac", "credit_fen", "debt_week", "debt_week_fen"):
                account[column] = fields[column]
            account["debit_fen"] += fields["repaid_fen"]
            account["debt_fen"] = fields["debt_fen"]
            debit_fen = account["debit_fen"]
        self._add(
            "top_ups",
            record,
            **{name: fields[name] for name in _TOP_UP_COLUMNS},
            t2000=record.t2000,
            account=_name(account),
            books_fen=fields["credit_fen"] - debit_fen,
        )

    def _terms(self, record: Taken) -> None:
        """Post the terms of an account, and list the change as an alarm."""
        account = self._books(record)
        if account is not None:
            for name in ("household", "grade", "guard", "debt_fen"):
                account[name] = record.fields[name]
            account["power_limit_w"] = record.fields["power_limit_w"]
            account["multiplier"] = record.fields["multiplier"] or 1
        self._alarm(record)

    def _fault(self, record: Taken) -> None:
        """Post that readings are in doubt, that billing has stopped, or that it continues."""
        account = self._books(record)
        reason = record.fields["reason"]
        if account is not None:
            account["stopped"] = record.fields["stopped"]
            account["doubt"] = reason if reason > RESUMED_FROM else 0
        self._alarm(record)

    def _correction(self, record: Taken) -> None:
        """Post a wrong charge that is credited again; the reading that follows has the rest."""
        account = self._books(record)
        fields = record.fields
        if account is not None:
            expected_fen = account["credit_fen"] + fields["amount_fen"]
            credit_fen = unwrapped_fen(fields["credit_fen"], expected_fen)
            if credit_fen != expected_fen:
                self._find(
                    record,
                    "mismatch",
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

    def _rollover(self, record: Taken) -> None:
        account = self._books(record)
        if account is not None:
            account["period"] = record.fields["new_period"]
        self._alarm(record)

    def _quota(self, record: Taken) -> None:
        account = self._books(record)
        if account is not None:
            account.update(record.fields)

    def _standing(self, record: Taken) -> None:
        """Post the standing of an account, which was sent to its concentrator or comes from it."""
        account = self._touched(record)
        fields = dict(record.fields)
        told = fields["order"] or fields["header_mac"] != _UNTOLD_MAC
        if account is not None and not told and fields["source"] == _SOURCE_HERE:
            account["untold"] = 1  # the concentrator knows nothing of the books here
        elif account is not None:
            for name in ("credit_fen", "debit_fen"):
                fields[name] = unwrapped_fen(fields[name], account[name])
            for text, values in _standing_differences(fields, account):
                self._find(record, "mismatch", text, account=account["account"], **values)
            account.update({name: fields[name] for name in STANDING_COLUMNS})
            account["policy"], account["relay_wanted"] = fields["state"], fields["relay"]
            account["guard"] = int(bool(fields["marks"] & _MARK_GUARD))
            account["stopped"] = int(bool(fields["marks"] & _MARK_STOPPED))
            account["untold"] = int(not told)
            if tariff := _told_tariff(record):
                self._set_tariff(record.row, tariff)
        if account is not None and told:
            account["standing_due"] = 0
        kept = ("source", "order", "header_mac", "credit_fen", "debit_fen")
        self._add(
            "standings",
            record,
            **{name: fields[name] for name in kept},
            t2000=record.t2000,
            account=_name(account),
        )

    def _set_tariff(self, row: int, tariff: int) -> None:
        meter = self._meters[row]
        meter["tariff"] = tariff
        self._changed_meters[self._concentrator, row] = meter

    def _standing_registers(self, record: Taken) -> None:
        account = self._books(record)
        if account is not None:
            account["registers_wh"] = _trimmed(record.fields["registers_wh"])
            account["read_t2000"] = record.fields["read_t2000"]
            account["power_limit_w"] = record.fields["power_limit_w"]
            account["debt_week"] = record.fields["debt_week"]

    def _plan(self, record: Taken) -> None:
        """Post a change of tariff, from now on or planned, as an alarm."""
        tariff = _told_tariff(record)
        if tariff and record.row in self._meters:
            self._set_tariff(record.row, tariff)
        self._alarm(record)

    def _freeze(self, record: Taken) -> None:
        account = self._account(record)
        frozen_t2000 = record.fields["frozen_t2000"]
        # Freezes of other times divide a charge and belong to no day: the record is enough.
        if account is None or frozen_t2000 % DAY_S:
            return
        key = (frozen_t2000 // DAY_S, account["meter"], frozen_t2000)
        registers_wh = _registers(_trimmed(record.fields["registers_wh"]))
        self._freezes.append(
            (*key, self._concentrator, record.seq, account["account"], registers_wh)
        )

    def _alarm(self, record: Taken) -> None:
        meter = self._meters.get(record.row)
        fields = record.fields or {"payload": record.payload.hex()}
        self._add(
            "alarms",
            record,
            t2000=record.t2000,
            kind=_kind_name(record.kind),
            account=record.fields.get("account", meter["account"] if meter else UNKNOWN_ACCOUNT),
            detail=json.dumps(fields),
        )


def _post_relay(posting: Posting, record: Taken) -> None:
    account = posting._touched(record)
    if account is not None:
        account["relay_wanted"] = record.fields["desired"]
        if record.fields["stage"] == _STAGE_CONFIRMED:
            account["relay"] = record.fields["desired"]
    told = {"t2000": record.t2000, "account": _name(account)}
    posting._add("relays", record, **record.fields, **told)


def _post_policy(posting: Posting, record: Taken) -> None:
    account = posting._touched(record)
    if account is not None:
        account["policy"] = record.fields["new"]
        if record.fields["new"] != record.fields["old"]:
            account["since_t2000"] = record.t2000
    told = {"t2000": record.t2000, "account": _name(account)}
    posting._add("policies", record, **record.fields, **told)


def _post_command(posting: Posting, record: Taken) -> None:
    posting._alarm(record)
    posting._commands.append((posting._concentrator, record))


def _post_item(posting: Posting, record: Taken) -> None:
    account = posting._account(record)
    meter = account["meter"] if account else f"?{posting._concentrator}"[:12]
    identifier = record.fields["identifier"]
    key = (record.t2000 // DAY_S, meter, record.t2000, identifier)
    values = json.dumps(record.fields["values"])
    posting._items.append((*key, posting._concentrator, record.seq, _name(account), values))


def _post_event(posting: Posting, record: Taken) -> None:
    """Post an event; an open door and a failing supply become findings.

    They stay open until a person resolves them, also when the door was closed or the supply came
    back: that tells nothing about who was there, or whether it comes again.
    """
    text = _CABINET.get(record.fields["what"], "")
    if text and record.fields["state"]:
        posting._find(record, "cabinet", text, concentrator=posting._concentrator)
    posting._alarm(record)


def _post_setting(posting: Posting, record: Taken) -> None:
    """Keep a change of a setting; more credit and new keys become a finding."""
    posting._alarm(record)
    fields = record.fields
    name = settings.name_of(fields)
    old, new = settings.values_of(fields)
    values = {"name": name, "by": _BY.get(fields["source"], "?"), "uid": fields["uid"]}
    if settings.is_secret(fields):
        text = marked("{name} was changed ({by}, card {uid})")
        posting._find(record, _SETTING, text, **values)
    elif name in settings.CREDITS and int(new or 0) > int(old or 0):
        text = marked("{name} was raised from {old} to {new} ({by}, card {uid})")
        posting._find(record, _SETTING, text, old=int(old or 0), new=int(new or 0), **values)


def _told_tariff(record: Taken) -> int:
    """Return the tariff that a row has from now on, 0: the record says nothing of it."""
    if record.kind == RecordKind.PLAN:
        return 0 if record.fields["from_t2000"] else int(record.fields["tariff"])
    return int(record.fields["tariff"]) if record.kind == RecordKind.STANDING else 0


def _post_firmware(posting: Posting, record: Taken) -> None:
    """Keep what a concentrator runs; another product than before becomes a finding."""
    posting._alarm(record)
    fields = record.fields
    values = {"version": fields["version"], "counter": fields["counter"]}
    told = {
        "stage": fields["stage"],
        "name": fields["sha256"].lower(),
        "told_at": posting.received_at,
    }
    posting._add("products", record, **told, **values)
    text = _FIRMWARE.get(fields["stage"], "")
    if text:
        posting._find(record, "firmware", text, concentrator=posting._concentrator, **values)


def _standing_differences(
    fields: dict[str, Any], account: Account
) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield what differs between a standing and the books here: a text and its values."""
    known, told = account["order"], fields["order"]
    if fields["source"] == _SOURCE_NEW and known:
        text = marked("account {account} is said to be new, its newest order was {order}")
        yield text, {"order": known}
    elif told < known:
        text = marked("standing of account {account} goes back from {was} to {now} orders")
        yield text, {"was": known, "now": told}
    elif told == known and fields["credit_fen"] != account["credit_fen"]:
        text = marked(
            "standing of account {account} has a credit of {told_fen} fen, {here_fen} are here"
        )
        yield text, {"told_fen": fields["credit_fen"], "here_fen": account["credit_fen"]}


def finding_text(stored: str) -> str:
    """Return a stored finding as a sentence in the selected language."""
    values = json.loads(stored)
    if values.get("account") == UNKNOWN_ACCOUNT:
        values["account"] = _("(unknown)")
    if "reason" in values:
        values["why"] = fault_text(values["reason"])
    if "code" in values:
        values["card"] = result_text(values["code"])
    for name in ("rule", "how"):
        if name in values:
            values[name] = _(values[name])
    return _(values.pop("text")).format(**values)


def _registers(registers_wh: Sequence[int]) -> str:
    """Return registers as JSON."""
    return str([*registers_wh])


def _whole(account: Account) -> tuple[Any, ...]:
    """Return the values of _UPSERT_ACCOUNT."""
    told = {**account, "registers_wh": _registers(account["registers_wh"])}
    return tuple(told[name] for name in _NEW_ACCOUNT)


def _as_read(one: Account) -> tuple[Any, ...]:
    """Return the values of _READ_COLUMNS, and the key."""
    return (
        *(one["debit_fen"], one["residue_e7"], one["residue_e11"], one["used_wh"]),
        *(_registers(one["registers_wh"]), one["doubt"], one["read_t2000"], one["last_t2000"]),
        *(one["relay"], one["readings"], one["account"]),
    )


def _trimmed(registers_wh: Sequence[int]) -> tuple[int, ...]:
    """Return registers without the zeros behind them."""
    kept = list(registers_wh)
    while kept and kept[-1] == 0:
        kept.pop()
    return tuple(kept)


def _name(account: Account | None) -> str:
    return UNKNOWN_ACCOUNT if account is None else str(account["account"])


def _kind_name(kind: int) -> str:
    return RecordKind(kind).name if kind in _KINDS else f"KIND_{kind}"


_KINDS = frozenset(map(int, RecordKind))
_POSTERS: dict[int, Callable[[Posting, Taken], None]] = {
    RecordKind.METER: Posting._meter,
    RecordKind.READING: Posting._reading,
    RecordKind.TOP_UP: Posting._top_up,
    RecordKind.REFUND: Posting._top_up,
    RecordKind.RELAY: _post_relay,
    RecordKind.POLICY: _post_policy,
    RecordKind.ROLLOVER: Posting._rollover,
    RecordKind.FAULT: Posting._fault,
    RecordKind.CORRECTION: Posting._correction,
    RecordKind.ACCOUNT: Posting._terms,
    RecordKind.FREEZE: Posting._freeze,
    RecordKind.PLAN: Posting._plan,
    RecordKind.ITEM: _post_item,
    RecordKind.COMMAND: _post_command,
    RecordKind.STANDING: Posting._standing,
    RecordKind.STANDING_REGISTERS: Posting._standing_registers,
    RecordKind.QUOTA: Posting._quota,
    RecordKind.EVENT: _post_event,
    RecordKind.SETTING: _post_setting,
    RecordKind.FIRMWARE: _post_firmware,
}
