"""The register: customers, their accounts and meters, and what differs from other lists of them.

One entry is an account with its customer, its district and its meter, as one row of a list.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from operator import attrgetter
from typing import Any

from host.headend import audit, topology
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import SalesError, StoreError
from host.headend.store import Store
from host.words import _, marked


@dataclass(frozen=True, slots=True)
class Ratio:
    """By what the registers of a meter are multiplied: its transformers' ratios, as 200/5 or 40.

    `multiplier` is their product. `ct` and `pt` are "" where there is none, or only the product is
    known.
    """

    multiplier: int = 1
    ct: str = ""
    pt: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An account; a text is "" where it is not known.

    multiplier           current ratio times voltage ratio
    type, manufacturer   of the meter, as its plate has them
    installed, verified  days of the meter as YYYY-MM-DD
    due, exchange_due    days by which it is to be verified, and to be exchanged
    ct, pt               ratios of its transformers, see `Ratio`
    tariff               the number of the price that it is to have, 0: the register does not say
    """

    account: str
    customer: str
    name: str
    phone: str = ""
    address: str = ""
    persons: int = 0
    kind: str = "resident"
    credit_class: str = ""
    district: str = ""
    meter: str = ""
    multiplier: int = 1
    ct: str = ""
    pt: str = ""
    type: str = ""
    manufacturer: str = ""
    installed: str = ""
    verified: str = ""
    due: str = ""
    exchange_due: str = ""
    tariff: int = 0

    @property
    def ratio(self) -> Ratio:
        """Return by what its registers are multiplied."""
        return Ratio(self.multiplier, self.ct, self.pt)


COLUMNS = tuple(one.name for one in fields(Entry))
cells_of = attrgetter(*COLUMNS)
_CUSTOMER = ("name", "phone", "address", "persons", "kind", "credit_class")
# Of a meter: what a list does not say of it stays as it is.
_PLATE = ("type", "manufacturer", "installed", "verified", "due", "exchange_due")


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would do; `changed` has the old and the new value of each changed field."""

    new: int
    same: int
    changed: list[tuple[str, str, str, str]]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between two lists, about one account or one meter."""

    kind: str
    account: str
    meter: str
    here: str
    there: str


_DEVICE_COLUMNS = ("ct", "pt", *_PLATE)
_ENTRIES = """
    SELECT contracts.account, contracts.customer, customers.name, customers.phone,
    customers.address, customers.persons, customers.kind, customers.credit_class,
    contracts.district, coalesce(devices.address, '') AS meter,
    coalesce(devices.multiplier, 1) AS multiplier, {device}, {tariff} AS tariff
    FROM contracts JOIN customers ON customers.customer = contracts.customer
    LEFT JOIN devices ON devices.account = contracts.account
    LEFT JOIN (SELECT meters.account, max(meters.tariff) AS tariff FROM meters
    JOIN accounts ON accounts.account = meters.account
    AND accounts.concentrator = meters.concentrator
    WHERE meters.active = 1 GROUP BY meters.account) AS priced
    ON priced.account = contracts.account
    WHERE contracts.closed_at IS NULL ORDER BY contracts.account
"""


def entries(store: Store, *, priced: bool = False) -> list[Entry]:
    """Return the register, by account.

    With `priced` an account whose price the register does not say has that of its concentrator.
    """
    tariff = "coalesce(nullif(contracts.tariff, 0), priced.tariff, 0)"
    query = _ENTRIES.format(
        device=", ".join(f"coalesce(devices.{name}, '') AS {name}" for name in _DEVICE_COLUMNS),
        tariff=tariff if priced else "contracts.tariff",
    )
    return [Entry(**row) for row in store.rows(query)]


def preview(store: Store, wanted: Sequence[Entry]) -> Preview:
    """Return what `take` would do; SalesError: rows that contradict each other or the register."""
    known = {one.account: one for one in entries(store)}
    _check(wanted, known)
    changed = []
    same = 0
    for one in wanted:
        before = known.get(one.account)
        if before is None:
            continue
        after = _settled(before, one)
        if after == before:
            same += 1
            continue
        changed += [
            (one.account, name, str(old), str(new))
            for name in COLUMNS
            if (old := getattr(before, name)) != (new := getattr(after, name))
        ]
    new = sum(one.account not in known for one in wanted)
    return Preview(new, same, changed)


def _settled(before: Entry, told: Entry) -> Entry:
    """Return an entry as the register has it once a row of a list is taken."""
    kept: dict[str, Any] = {}
    if told.meter == before.meter:
        kept = {name: getattr(before, name) for name in _PLATE if not getattr(told, name)}
        if told.multiplier == before.multiplier and not told.ct and not told.pt:
            kept |= {"ct": before.ct, "pt": before.pt}
    return replace(told, **kept, tariff=told.tariff or before.tariff)


def _check(wanted: Sequence[Entry], known: dict[str, Entry]) -> None:
    """Raise SalesError that names the rows which contradict others."""
    troubles: dict[int, str] = {}
    listed = {one.account for one in wanted}
    meters = {one.meter: one.account for one in known.values() if one.account not in listed}
    customers: dict[str, Entry] = {}
    for place, one in enumerate(wanted):
        if one.meter and meters.setdefault(one.meter, one.account) != one.account:
            troubles[place] = _("meter {meter} is at account {account}").format(
                meter=one.meter, account=meters[one.meter]
            )
        first = customers.setdefault(one.customer, one)
        for name in _CUSTOMER:
            if getattr(first, name) != getattr(one, name):
                text = _("{column} {value!r}: customer {customer} has {other!r} in another row")
                troubles[place] = text.format(
                    column=name,
                    value=getattr(one, name),
                    customer=one.customer,
                    other=getattr(first, name),
                )
    if troubles:
        raise SalesError(troubles)


# --- writing -------------------------------------------------------------------------------------

# A list is brought in parts of so many rows, so that whoever else writes waits for one part only.
_PART = 1000
_FORGOTTEN_S = 3600
_STAGED = ("list", "staged_at", *COLUMNS)


def take(store: Store, wanted: Sequence[Entry]) -> int:
    """Write all entries into the register, or none; return their count. StoreError.

    Those that change something are brought in parts, and taken by one transaction.
    """
    known = {one.account: one for one in entries(store)}
    _check(wanted, known)
    changing = [one for one in wanted if not _is_same(known.get(one.account), one)]
    name = secrets.token_hex(16)
    for first in range(0, len(changing), _PART):
        stage_entries(store, name, changing[first : first + _PART])
    take_staged(store, name, len(changing))
    return len(wanted)


def _is_same(before: Entry | None, told: Entry) -> bool:
    return before is not None and _settled(before, told) == before


@at_desk
def stage_entries(store: Store, name: str, part: list[Entry]) -> None:
    """Bring a part of a list, which is not in the register yet."""
    now = int(time.time())
    with store.writing() as database:
        database.run("DELETE FROM staged_entries WHERE staged_at < ?", (now - _FORGOTTEN_S,))
        _stage(database, name, part, now)


@at_desk
def take_staged(store: Store, name: str, count: int) -> int:
    """Write a list that was brought whole into the register; return its count. StoreError."""
    with store.writing() as database:
        brought = database.value("SELECT count(*) FROM staged_entries WHERE list = ?", (name,))
        if brought != count:
            raise StoreError(
                _(
                    "{brought} of {count} rows have arrived, nothing was taken: take it again"
                ).format(brought=brought, count=count)
            )
        taken = database.rows(_TAKEN_METERS, (name,))
        if taken:
            text = _("meter {meter} is at account {account} by now, nothing was taken: look again")
            raise StoreError(text.format(**taken[0]))
        _take_within(database, name, int(time.time()))
        audit.note(database, "register", accounts=count)
    return count


def _stage(database: Database, name: str, part: Iterable[Entry], now: int) -> None:
    rows = [(name, now, *cells_of(one)) for one in part]
    database.insert_new("staged_entries", _STAGED, rows)


# Meters of a list that are at open accounts which the list does not have.
_TAKEN_METERS = """
    SELECT devices.address AS meter, devices.account FROM staged_entries AS staged
    JOIN devices ON devices.address = staged.meter AND devices.account <> staged.account
    JOIN contracts ON contracts.account = devices.account AND contracts.closed_at IS NULL
    WHERE staged.list = ? AND NOT EXISTS (SELECT 1 FROM staged_entries AS other
    WHERE other.list = staged.list AND other.account = devices.account) LIMIT 1
"""
_TAKE_CUSTOMERS = (
    f"""INSERT INTO customers (customer, {", ".join(_CUSTOMER)})
    SELECT DISTINCT customer, {", ".join(_CUSTOMER)} FROM staged_entries WHERE list = ?
    ON CONFLICT (customer) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _CUSTOMER)}""",
    """INSERT INTO contracts (account, customer, district, tariff)
    SELECT account, customer, district, tariff FROM staged_entries WHERE list = ?
    ON CONFLICT (account) DO UPDATE SET customer = excluded.customer,
    district = excluded.district, tariff = CASE WHEN excluded.tariff > 0
    THEN excluded.tariff ELSE contracts.tariff END""",
    """INSERT INTO districts (district) SELECT DISTINCT district FROM staged_entries
    WHERE list = ? AND district <> '' ON CONFLICT DO NOTHING""",
)
_OPENED = """UPDATE contracts SET opened_at = ? WHERE opened_at = 0
    AND account IN (SELECT account FROM staged_entries WHERE list = ?)"""
# A plate that a list leaves empty stays; so do the ratios of the same product.
_KEEP_PLATE = ", ".join(
    f"{name} = coalesce(nullif(excluded.{name},''),devices.{name})" for name in _PLATE
)
_TAKE_METERS = (
    """UPDATE devices SET account = '' WHERE EXISTS (SELECT 1 FROM staged_entries AS staged
    WHERE staged.list = ? AND staged.account = devices.account
    AND staged.meter <> devices.address)""",
    f"""INSERT INTO devices (address, account, multiplier, {", ".join(_DEVICE_COLUMNS)})
    SELECT meter, account, multiplier, {", ".join(_DEVICE_COLUMNS)} FROM staged_entries
    WHERE list = ? AND meter <> '' ON CONFLICT (address) DO UPDATE SET
    account = excluded.account, multiplier = excluded.multiplier,
    ct = CASE WHEN excluded.ct = '' AND excluded.pt = ''
    AND excluded.multiplier = devices.multiplier THEN devices.ct ELSE excluded.ct END,
    pt = CASE WHEN excluded.ct = '' AND excluded.pt = ''
    AND excluded.multiplier = devices.multiplier THEN devices.pt ELSE excluded.pt END,
    {_KEEP_PLATE}""",
)
_FORGET = "DELETE FROM staged_entries WHERE list = ?"


def _take_within(database: Database, name: str, now: int) -> None:
    """Write the rows of a list into the register, by a few statements for all of them."""
    _take_customers_within(database, name)
    database.run(_OPENED, (now, name))
    for statement in (*_TAKE_METERS, _FORGET):
        database.run(statement, (name,))


def _take_customers_within(database: Database, name: str) -> None:
    for statement in _TAKE_CUSTOMERS:
        database.run(statement, (name,))
    topology.keep_within(database, name)


def write_within(database: Database, one: Entry, now: int) -> None:
    """Write an entry into the register within a transaction."""
    _stage(database, one.account, [one], now)
    _take_within(database, one.account, now)


def write_customer_within(database: Database, one: Entry) -> None:
    """Write an entry's customer, and that the account is of that one, within a transaction."""
    _stage(database, one.account, [one], 0)
    _take_customers_within(database, one.account)
    database.run(_FORGET, (one.account,))


# --- devices that are due ------------------------------------------------------------------------

VERIFICATION, EXCHANGE = marked("verification"), marked("exchange")
_DUE = """
    SELECT CAST(? AS varchar(16)) AS what, devices.{column} AS due, devices.address AS meter,
    devices.account, coalesce(customers.name, '') AS name,
    coalesce(contracts.district, '') AS district, devices.type, devices.manufacturer,
    devices.installed, devices.verified, devices.ct, devices.pt, devices.multiplier FROM devices
    LEFT JOIN contracts ON contracts.account = devices.account AND contracts.closed_at IS NULL
    LEFT JOIN customers ON customers.customer = contracts.customer
    WHERE devices.{column} <> '' AND devices.{column} <= ?
"""


def due(store: Store, day: date, district: str = "", kind: str = "") -> list[dict[str, Any]]:
    """Return the meters to be verified or exchanged by a day, the most urgent first.

    `district` and the `kind` of meter narrow it down, "": all.
    """
    found = []
    for what, column in ((VERIFICATION, "due"), (EXCHANGE, "exchange_due")):
        found += store.rows(_DUE.format(column=column), (what, day.isoformat()))
    if district:
        found = [row for row in found if row["district"] == district]
    if kind:
        found = [row for row in found if row["type"] == kind]
    return sorted(found, key=lambda row: (row["due"], row["meter"], row["what"]))


def device_choices(store: Store) -> dict[str, list[str]]:
    """Return the districts that are known, and the types of meters in the ledger."""
    queries = {
        "districts": "SELECT district FROM districts ORDER BY district",
        "types": "SELECT DISTINCT type FROM devices WHERE type <> '' ORDER BY type",
    }
    return {name: [row[0] for row in store.database.all(query)] for name, query in queries.items()}


# --- differences ---------------------------------------------------------------------------------

MISSING, EXTRA = marked("missing here"), marked("not in the list")
OTHER_METER, OTHER_MULTIPLIER = marked("another meter"), marked("another multiplier")
OTHER_NAME, OTHER_PRICE = marked("another name"), marked("another price")
_COMPARED = (("meter", OTHER_METER), ("multiplier", OTHER_MULTIPLIER), ("name", OTHER_NAME))


def compare(here: Iterable[Entry], there: Iterable[Entry]) -> list[Difference]:
    """Return how a list of another system differs from the register, by account."""
    known = {one.account: one for one in here}
    listed = {one.account: one for one in there}
    found = []
    for account in sorted(known.keys() | listed.keys()):
        ours, theirs = known.get(account), listed.get(account)
        if ours is None or theirs is None:
            one = ours or theirs
            assert one is not None
            kind = MISSING if ours is None else EXTRA
            name = (one.name, "") if ours else ("", one.name)
            found.append(Difference(kind, account, one.meter, *name))
            continue
        for column, kind in _COMPARED:
            pair = (str(getattr(ours, column)), str(getattr(theirs, column)))
            if pair[0] != pair[1]:
                found.append(Difference(kind, account, ours.meter, *pair))
        if ours.tariff and theirs.tariff and ours.tariff != theirs.tariff:
            prices = (str(ours.tariff), str(theirs.tariff))
            found.append(Difference(OTHER_PRICE, account, ours.meter, *prices))
    return found


NOT_ON_A_LINE = marked("on no line of a concentrator")
NOT_IN_REGISTER = marked("not in the register")
_LINES = """SELECT meters.account, meters.address, meters.tariff, accounts.multiplier,
    meters.concentrator FROM meters JOIN accounts ON accounts.account = meters.account
    AND accounts.concentrator = meters.concentrator WHERE meters.active = 1"""


def compare_lines(store: Store) -> list[Difference]:
    """Return how the register differs from what concentrators have on their lines."""
    lines = {row["account"]: row for row in store.rows(_LINES)}
    known = {one.account: one for one in entries(store)}
    found = []
    for account in sorted(known.keys() | lines.keys()):
        ours, there = known.get(account), lines.get(account)
        if ours is not None and there is not None:
            found += _differences(ours, there)
        elif ours is not None:
            found.append(Difference(NOT_ON_A_LINE, account, ours.meter, ours.name, ""))
        elif there is not None:
            place = str(there["concentrator"])
            found.append(Difference(NOT_IN_REGISTER, account, there["address"], "", place))
    return found


def _differences(ours: Entry, there: dict[str, Any]) -> list[Difference]:
    """Return how an account differs from the row that its concentrator has of it."""
    kinds = [(OTHER_METER, ours.meter, there["address"])]
    if ours.meter == there["address"]:  # another meter has transformers of its own
        kinds.append((OTHER_MULTIPLIER, str(ours.multiplier), str(there["multiplier"])))
    if ours.tariff:
        kinds.append((OTHER_PRICE, str(ours.tariff), str(there["tariff"])))
    return [
        Difference(kind, ours.account, ours.meter, mine, its)
        for kind, mine, its in kinds
        if mine != its
    ]
