"""A station with its pages for tests: a small village with names, and a person of each role."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from host.frames.record import RecordKind
from host.headend import migrate, orders, registry, users
from host.headend.ingest import Ingest
from host.headend.registry import Entry
from host.headend.store import Store
from tests.host.paging import Browser
from tests.host.serving import HeadEnd
from tests.host.uplink_world import KEYS, account_name, deliver, meter_address, village_of
from tools.cluster import cluster

NAMES = ("王小明", "<script>alert(1)</script>", "O'Brien %_!", "Zhang Wei")
PASSWORD = "correct horse"
ACCOUNT = account_name(0)
ENGINES = ("sqlite", "postgres")


@contextmanager
def served(folder: Path, engine: str) -> Iterator[HeadEnd]:
    """Serve the village and its pages from a database of this engine."""
    if engine == "postgres":
        with cluster() as address:
            migrate.make_postgres(address)
            yield from _served(folder, address)
    else:
        yield from _served(folder, str(folder / "village.db"))


def _served(folder: Path, database: str) -> Iterator[HeadEnd]:
    with Store(database, create=True) as store:
        village_made(store)
    running = HeadEnd(folder, "--page", "127.0.0.1:0", database=database)
    try:
        yield running
    finally:
        running.end(signal.SIGKILL)


def village_made(store: Store) -> None:
    """Fill a new database with the village, its names and its people."""
    for row in range(len(NAMES)):
        orders.sell(store, account_name(row), 10000)
    village = village_of(len(NAMES), 40)
    village.relay(0, 0)
    refused = {"code": 10, "order": 3, "amount_fen": 500, "uid": "0" * 16, "account": ACCOUNT}
    village.write(RecordKind.CARD, refused)
    deliver(Ingest(store, KEYS), village)
    registry.take(
        store,
        [
            Entry(account_name(row), f"C-{row}", name, meter=meter_address(row))
            for row, name in enumerate(NAMES)
        ],
    )
    password = users.hashed(PASSWORD)
    for role in users.ROLES:
        users.add(store, role, role, password)
    users.add(store, "second", "cashier", password)


@cache
def signed_in(station: HeadEnd, name: str) -> Browser:
    """Return the browser of a person, who has signed in."""
    browser = Browser(station.url)
    assert browser.sign_in(name, PASSWORD).status == 200
    return browser
