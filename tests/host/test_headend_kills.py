"""Goal: whatever is killed when, every record is stored once, every order counts once, and the
money agrees.

Method: the demonstration's village runs on a real MicroPython, with its meters, its cards and its
head-end, beside other concentrators that bring a backlog. While cards are sold and redeemed, the
head-end, its database and the concentrator are killed with SIGKILL at random moments and started
again. DIANKA_KILLS tells how often. Each carrier of the uplink is a row of CARRIERS.
"""

import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from host.cards import issuing
from host.demo import story
from host.demo.devices import Maker, program
from host.demo.processes import wait_for
from host.demo.story import DISTRICT, Story, account_of, meter_of
from host.demo.village import Village
from host.device import device_root
from host.frames.card import CardKind, Header
from host.frames.card_results import CODES
from host.frames.link import LinkReader, build
from host.frames.record import RecordKind
from host.headend import migrate, orders
from host.headend.errors import StoreError
from host.headend.orders import Sale
from host.headend.reconcile import reconcile
from host.headend.store import Store
from host.link import reader
from host.link.card import FileCard
from host.link.console import ConsoleError
from host.link.reader import ReaderError
from tests.host import uplink_world
from tools import cluster, micropython

KILLS = int(os.getenv("DIANKA_KILLS") or "6")
SPEED = 900
OTHERS = (21, 22, 23)
HOUSEHOLDS = 6
ROUNDS = 50
PATIENCE_S = 120
AMOUNT_FEN = 1000


def over_tcp() -> Maker:
    """Return the firmware on MicroPython's unix port, which connects over TCP."""
    return program(str(micropython.ensure()), str(device_root() / "main.py"))


CARRIERS: dict[str, Callable[[], Maker]] = {"tcp": over_tcp}


# --- the other concentrators ---------------------------------------------------------------------


def other_account(concentrator: int, row: int) -> str:
    """Return an account of one of the other concentrators."""
    return f"{concentrator * 1000 + row:012d}"


def other_village(concentrator: int) -> uplink_world.Village:
    """Make the first records of one of the other concentrators."""
    village = uplink_world.Village()
    for row in range(HOUSEHOLDS):
        name = other_account(concentrator, row)
        fields = {"tariff": 1, "line": 0, "standard": 0, "active": 1}
        village.write(RecordKind.METER, {**fields, "address": name, "account": name}, row)
    for row in range(HOUSEHOLDS):
        village.reading(row, 0)
        village.top_up(row, AMOUNT_FEN)
    return village


class Other(threading.Thread):
    """A concentrator of which the session is the firmware's, and the journal is in memory."""

    def __init__(self, concentrator: int, port: int) -> None:
        super().__init__(daemon=True)
        self.concentrator = concentrator
        self.village = other_village(concentrator)
        self.is_last = threading.Event()
        self.is_done = threading.Event()
        self._port = port

    def run(self) -> None:
        device = uplink_world.Device(self.village, concentrator=self.concentrator)
        while not (device.idle and self.is_last.is_set()):
            if device.idle:
                for at in range(ROUNDS * HOUSEHOLDS):
                    self.village.reading(at % HOUSEHOLDS, 1)
                device.idle = False  # also while nobody takes the connection
            try:
                with socket.create_connection(("127.0.0.1", self._port), 5) as line:
                    line.settimeout(5)
                    device.session.reset()
                    self._converse(device, line)
            except OSError:
                time.sleep(0.2)
        self.is_done.set()

    def _converse(self, device: uplink_world.Device, line: socket.socket) -> None:
        reader_ = LinkReader()
        while not device.idle:
            sent = device.step()
            if not sent:
                continue
            line.sendall(sent)
            frames = []
            while not frames:
                data = line.recv(4096)
                if not data:
                    return
                frames = reader_.feed(data)
            for one in frames:
                device.hear(build(one.kind, one.seq, one.body))


# --- the village, besieged -----------------------------------------------------------------------


class Besieged(Village):
    """A village of which the parts are killed by one thread while another one uses them."""

    lock = threading.Lock()

    def start_headend(self, keys: str) -> int:
        """Start it with the keys of the other concentrators as well."""
        more = (f'{one} = "{uplink_world.KEY.hex()}"\n' for one in OTHERS)
        self.port = super().start_headend(keys + "".join(more))
        return self.port

    def check(self) -> None:
        with self.lock:
            super().check()

    def crash_headend(self) -> None:
        with self.lock:
            super().crash_headend()

    def crash_concentrator(self) -> None:
        with self.lock:
            super().crash_concentrator()


class Siege(Story):
    """Cards are sold and redeemed, again and again until each of them counts."""

    def __init__(self, village: Besieged) -> None:
        super().__init__(village, lambda _text: None)
        self.sold: Counter[int] = Counter()

    def buy_until_it_counts(self, number: int) -> None:
        """Sell an order under a reference, write it on a card, and have it redeemed."""
        account, at = account_of(number), self.sold[number]
        order = wait_for("sale", PATIENCE_S, lambda: self._sold(account, f"{account}-{at}"))
        path = self._village.folder / f"card-{number}.bin"
        header = Header(
            kind=CardKind.OPEN if order == 1 else CardKind.PURCHASE,
            key_version=1,
            district=DISTRICT,
            account=account,
            meter=meter_of(number),
            uid="",
            order=order,
            amount_fen=AMOUNT_FEN,
            issued_t2000=self._village.now_t2000(),
        )
        card = FileCard(path, create=True)
        issuing.issue(card, header, self._keys.key_of(DISTRICT, 1))
        wait_for(f"card of {account}", PATIENCE_S, lambda: self._redeemed(card))
        self.sold[number] += 1

    def _sold(self, account: str, reference: str) -> int:
        try:
            with Store(self._village.database) as store:
                return orders.sell_once(store, account, AMOUNT_FEN, reference).order
        except StoreError:
            return 0

    def _redeemed(self, card: FileCard) -> bool:
        """Insert the card; a concentrator killed after it had the money says that it is used."""
        try:
            result = reader.redeem(self._village.console, card)
        except (ReaderError, ConsoleError):
            return False
        return result.code in (CODES["OK"], CODES["USED"])

    def wait_until_drained(self) -> int:
        """Wait until all records are at the head-end; return how many there are."""
        self._console.command("save")
        status = self._wait("all records at the head-end", self._drained)
        return int(status["acked"])


@dataclass
class Killer:
    """Kills one part after another at random moments, as often as KILLS says."""

    victims: dict[str, Callable[[], None]]
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.is_done = threading.Event()
        self.trouble: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            # Each of them at least once, the others at random.
            names = [*self.victims, *self.chance.choices(list(self.victims), k=KILLS)][:KILLS]
            for name in names:
                time.sleep(self.chance.uniform(0.3, 2.0))
                self.victims[name]()
                self.killed[name] += 1
        except Exception as error:
            self.trouble = error
        finally:
            self.is_done.set()


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield str(folder / "headend.db")
        return
    with cluster.cluster() as address:
        migrate.make_postgres(address)
        yield address


def _sell_to_others(database: str) -> None:
    names = [other_account(one, row) for one in OTHERS for row in range(HOUSEHOLDS)]
    with Store(database, create=True) as store:
        orders.sell_all(store, [Sale(name, AMOUNT_FEN, name) for name in names], True)


@pytest.mark.slow
@pytest.mark.xdist_group("kills")
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_everything_counts_once_whatever_is_killed(
    tmp_path: Path, carrier: str, kind: str
) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(_database(kind, tmp_path))
        _sell_to_others(database)
        village = Besieged(
            tmp_path, CARRIERS[carrier](), story.START_T2000, SPEED, database=database
        )
        stack.callback(village.close)
        siege = Siege(village)
        stack.callback(siege.close)
        siege.set_up()
        others = [Other(one, village.port) for one in OTHERS]
        for one in others:
            one.start()
        victims = {"concentrator": village.crash_concentrator, "headend": village.crash_headend}
        if kind == "postgresql":
            victims["database"] = lambda: cluster.crash(database)
        killer = Killer(victims, random.Random(f"{carrier} {kind} {KILLS}"))
        while not killer.is_done.is_set() or not siege.sold:
            siege.buy_until_it_counts(sum(siege.sold.values()) % story.HOUSEHOLDS)
        assert killer.trouble is None, killer.trouble
        assert killer.killed.total() == KILLS
        for one in others:
            one.is_last.set()
        for one in others:
            assert one.is_done.wait(4 * PATIENCE_S)
        records = siege.wait_until_drained()
        with Store(database) as store:
            _compare(store, siege, others, records)


def _compare(store: Store, siege: Siege, others: list[Other], records: int) -> None:
    """Compare what is stored with what was sent, sold and redeemed."""
    kept = dict.fromkeys([story.CONCENTRATOR], records)
    kept |= {one.concentrator: one.village.durable_seq for one in others}
    found = store.rows(
        "SELECT concentrator, count(*) AS count, max(seq) AS last FROM records "
        "GROUP BY concentrator"
    )
    assert {row["concentrator"]: (row["count"], row["last"]) for row in found} == {
        concentrator: (count, count) for concentrator, count in kept.items()
    }
    for one in others:
        rows = store.rows(
            "SELECT t2000, payload FROM records WHERE concentrator = ? ORDER BY seq",
            (one.concentrator,),
        )
        sent = [(each.t2000, each.payload.rstrip(b"\0")) for each in one.village.records]
        assert [(row["t2000"], bytes(row["payload"])) for row in rows] == sent
    told = 'SELECT account, "order", count(*) AS times FROM top_ups GROUP BY account, "order"'
    redeemed = {(row["account"], row["order"]): row["times"] for row in store.rows(told)}
    sold = {(row["account"], row["order"]) for row in store.rows("SELECT * FROM orders")}
    assert redeemed == dict.fromkeys(sold, 1)
    for number, count in siege.sold.items():
        mine = sorted(order for account, order in sold if account == account_of(number))
        assert mine == list(range(1, count + 1))
    result = reconcile(store)
    assert result.differences == []
    assert result.records_lost == result.duplicates == 0
