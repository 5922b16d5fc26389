"""The register: customers, their accounts and meters, and what differs from other lists of them.

One entry is an account with its customer, its district and its meter, as one row of a list.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from host.headend import audit, topology
from host.headend.database import Database, upsert_sql
from host.headend.desk import at_desk
from host.headend.errors import SalesError
from host.headend.store import Store
from host.words import _, marked


@dataclass(frozen=True, slots=True)
class Entry:
    """An account; a text is "" where it is not known.

    multiplier                current ratio times voltage ratio
    type, manufacturer        of the meter, as its plate has them
    installed, verified, due  days of the meter as YYYY-MM-DD
    tariff                    the number of the price on its concentrator, 0: not known. It is
                              compared and never written here: the concentrator says it.
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
    type: str = ""
    manufacturer: str = ""
    installed: str = ""
    verified: str = ""
    due: str = ""
    tariff: int = 0


COLUMNS = tuple(one.name for one in fields(Entry))
_CUSTOMER = ("name", "phone", "address", "persons", "kind", "credit_class")
# Of a meter: what a list does not say of it stays as it is.
_PLATE = ("type", "manufacturer", "installed", "verified", "due")


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


_ENTRIES = """
    SELECT contracts.account, contracts.customer, customers.name, customers.phone,
    customers.address, customers.persons, customers.kind, customers.credit_class,
    contracts.district, coalesce(devices.address, '') AS meter,
    coalesce(devices.multiplier, 1) AS multiplier, coalesce(devices.type, '') AS type,
    coalesce(devices.manufacturer, '') AS manufacturer,
    coalesce(devices.installed, '') AS installed, coalesce(devices.verified, '') AS verified,
    coalesce(devices.due, '') AS due, coalesce(priced.tariff, 0) AS tariff
    FROM contracts JOIN customers ON customers.customer = contracts.customer
    LEFT JOIN devices ON devices.account = contracts.account
    LEFT JOIN (SELECT meters.account, max(meters.tariff) AS tariff FROM meters
    JOIN accounts ON accounts.account = meters.account
    AND accounts.concentrator = meters.concentrator
    WHERE meters.active = 1 GROUP BY meters.account) AS priced
    ON priced.account = contracts.account
    WHERE contracts.closed_at IS NULL ORDER BY contracts.account
"""


def entries(store: Store) -> list[Entry]:
    """Return the register, by account."""
    return [Entry(**row) for row in store.rows(_ENTRIES)]


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
        moved = [
            (one.account, name, str(old), str(new))
            for name, old in asdict(before).items()
            if (new := getattr(one, name)) != old and _counts(name, new)
        ]
        changed += moved
        same += not moved
    new = sum(one.account not in known for one in wanted)
    return Preview(new, same, changed)


def _counts(name: str, new: Any) -> bool:
    """Return whether the value of a list is written into the register."""
    return name != "tariff" and (name not in _PLATE or bool(new))


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


@at_desk
def take(store: Store, wanted: list[Entry]) -> int:
    """Write all entries into the register, or none; return their count. StoreError."""
    known = {one.account: one for one in entries(store)}
    _check(wanted, known)
    now = int(time.time())
    with store.writing() as database:
        for one in wanted:
            write_within(database, one, now)
        audit.note(database, "register", accounts=len(wanted))
    return len(wanted)


def write_within(database: Database, one: Entry, now: int) -> None:
    """Write an entry into the register within a transaction."""
    write_customer_within(database, one)
    database.run(
        "UPDATE contracts SET opened_at = ? WHERE account = ? AND opened_at = 0",
        (now, one.account),
    )
    database.run("UPDATE devices SET account = '' WHERE account = ?", (one.account,))
    if one.meter:
        plate = [name for name in _PLATE if getattr(one, name)]
        device = (one.meter, one.account, one.multiplier, *(getattr(one, name) for name in plate))
        _upsert(database, "devices", ("address", "account", "multiplier", *plate), device)


def write_customer_within(database: Database, one: Entry) -> None:
    """Write an entry's customer, and that the account is of that one, within a transaction."""
    customer = [getattr(one, name) for name in _CUSTOMER]
    _upsert(database, "customers", ("customer", *_CUSTOMER), (one.customer, *customer))
    contract = ("account", "customer", "district")
    _upsert(database, "contracts", contract, (one.account, one.customer, one.district))
    if one.district:
        topology.keep_within(database, one.account, one.district)


def _upsert(database: Database, table: str, columns: Sequence[str], values: Sequence[Any]) -> None:
    database.run(upsert_sql(table, columns, columns[:1]), values)


_DUE = """
    SELECT devices.due, devices.address AS meter, devices.account,
    coalesce(customers.name, '') AS name, devices.type, devices.manufacturer, devices.installed,
    devices.verified FROM devices
    LEFT JOIN contracts ON contracts.account = devices.account AND contracts.closed_at IS NULL
    LEFT JOIN customers ON customers.customer = contracts.customer
    WHERE devices.due <> '' AND devices.due <= ? ORDER BY devices.due, devices.address
"""


def due(store: Store, day: date) -> list[dict[str, Any]]:
    """Return the meters whose verification ends by a day, that which ends first before others."""
    return store.rows(_DUE, (day.isoformat(),))


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


def compare_lines(store: Store) -> list[Difference]:
    """Return how the register differs from what concentrators have on their lines."""
    query = """SELECT meters.account, meters.address, accounts.multiplier, meters.concentrator
        FROM meters JOIN accounts ON accounts.account = meters.account
        AND accounts.concentrator = meters.concentrator WHERE meters.active = 1"""
    lines = {row["account"]: row for row in store.rows(query)}
    known = {one.account: one for one in entries(store)}
    found = []
    for account in sorted(known.keys() | lines.keys()):
        ours, there = known.get(account), lines.get(account)
        place = "" if there is None else str(there["concentrator"])
        if there is None and ours is not None:
            found.append(Difference(NOT_ON_A_LINE, account, ours.meter, ours.name, ""))
        elif ours is None and there is not None:
            found.append(Difference(NOT_IN_REGISTER, account, there["address"], "", place))
        elif ours is not None and there is not None:
            if ours.meter != there["address"]:
                found.append(
                    Difference(OTHER_METER, account, ours.meter, ours.meter, there["address"])
                )
            elif ours.multiplier != there["multiplier"]:
                pair = (str(ours.multiplier), str(there["multiplier"]))
                found.append(Difference(OTHER_MULTIPLIER, account, ours.meter, *pair))
    return found
