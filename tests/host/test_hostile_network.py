"""Goal: whatever an attacker on the network does, nothing is acknowledged that is not stored,
nothing is stored twice, and nothing that tells of a household can be read on the wire.

Method: the firmware's own session and the head-end's gate, with an attacker between them that
drops, delays, doubles, reorders, splices, replays, renames, reflects and poses by seed, while both
sides restart. Each frame on the wire is a step. DIANKA_STEPS tells how many there are of each of
twenty seeds; `make soak` makes 10,000.
"""

import base64
import os
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from host.frames.link import LinkReader
from host.headend import orders
from host.headend.ingest import Ingest
from host.headend.reconcile import reconcile
from host.headend.store import Store
from host.sim.hostile import DOWN, UP, Attacker
from tests.host.uplink_world import KEYS, Device, Village, meter_address

STEPS = int(os.getenv("DIANKA_STEPS") or "25")
SEEDS = 20
MEMORY = Path("/dev/shm")
ACCOUNTS = ("583920174635", "907461528394", "618273940556")
UIDS = ("04A1B2C3D4E5F600", "04C7D81E92AB3F55")


def told_of(name: str) -> Iterator[bytes]:
    """Yield how the digits of a number may stand on a wire: as text, as BCD, or as a number."""
    text = name.encode()
    yield text
    yield name.encode("utf-16-le")
    yield name.encode("utf-16-be")
    yield text.hex().encode()
    packed = bytes.fromhex(name)
    moved = bytes((one + 0x33) & 0xFF for one in packed)
    for one in (packed, moved):
        yield from (one, one[::-1], one.hex().encode(), one.hex().upper().encode())
    for ahead in range(3):
        for one in (text, packed):
            # Without the characters at both ends, which depend on what stands beside it.
            yield base64.b64encode(bytes(ahead) + one)[4:-4]
    if name.isdigit():
        for order in ("little", "big"):
            for size in (5, 6, 8):
                yield int(name).to_bytes(size, order)


def readable(data: bytes) -> list[str]:
    """Return the numbers of households that can be found in `data`."""
    names = (*ACCOUNTS, *map(meter_address, range(len(ACCOUNTS))), *UIDS)
    return [name for name in names if any(one in data for one in told_of(name) if len(one) > 4)]


class Network:
    """A device, its head-end, and an attacker between them. One seed decides all."""

    def __init__(self, path: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.path = path
        self.village = Village()
        for row, account in enumerate(ACCOUNTS):
            self.village.meter(row, account)
            self.village.reading(row, 0)
        self.epoch = 1
        self.attacker = Attacker(random.Random(seed + 1000))
        self.wire: list[bytes] = []
        self.steps = 0
        self.waiting = b""
        self.device = Device(self.village)
        self.open()
        for account in ACCOUNTS:
            orders.sell(self.store, account, 10000)

    def open(self) -> None:
        self.store = Store(self.path, create=True)
        self.ingest = Ingest(self.store, KEYS)
        self.reader = LinkReader()

    def travel(self, data: bytes, way: int) -> bytes:
        self.wire.append(data)
        self.steps += 1
        return self.attacker.pass_on(data, way)

    def step(self) -> None:
        """Let time pass until the device sends something, and carry that and its answers."""
        if self.random.random() < 0.3 and len(self.village.records) < 2000:
            row = self.random.randrange(len(ACCOUNTS))
            if self.random.random() < 0.1:
                self.village.top_up(row, 10000, uid=self.random.choice(UIDS))
            else:
                self.village.reading(row)
        sent = self.device.step()
        if sent:
            for one in self.reader.feed(self.travel(sent, UP)):
                if answer := self.ingest.answer(one, "10.0.0.9:1"):
                    self.device.hear(self.travel(answer, DOWN))
        chance = self.random.random()
        if chance < 0.002:
            self.epoch += 1
            self.device = Device(self.village, self.epoch)
            self.attacker.reset()
        elif chance < 0.004:
            self.store.close()
            self.open()

    def check(self) -> None:
        """Nothing is acknowledged that is not stored, and what is stored is the device's."""
        known = self.device.session.acked_seq
        count, newest = self.store.rows("SELECT count(*) AS c, max(seq) AS m FROM records")[
            0
        ].values()
        assert count == (newest or 0), "stored twice, or with a hole"
        assert known <= count <= len(self.village.records)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder in memory where there is one: durability is not what is tested here."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_p25_p33_an_attacker_gets_nothing_and_breaks_nothing(folder: Path, seed: int) -> None:
    network = Network(folder / "test.db", seed)
    acked = 0
    while network.steps < STEPS:
        network.step()
        if network.device.session.acked_seq != acked:
            acked = network.device.session.acked_seq
            network.check()
    network.check()
    network.attacker = Attacker(random.Random(0), 0.0)
    for _ in range(3000):
        network.step()
        if network.device.idle and network.device.session.acked_seq == network.village.durable_seq:
            break
    result = reconcile(network.store)
    assert result.records == network.village.durable_seq == network.device.session.acked_seq
    assert [one for one in result.differences if "never sold" not in one] == []
    assert network.ingest.counters["conflict"] == 0
    stored = network.store.rows("SELECT seq, kind, payload FROM records ORDER BY seq")
    ours = [(one.seq, one.kind, one.payload.rstrip(b"\0")) for one in network.village.records]
    assert [
        (row["seq"], row["kind"], bytes(row["payload"]).rstrip(b"\0")) for row in stored
    ] == ours
    network.store.close()
    assert readable(b"".join(network.wire)) == []


def test_the_search_of_the_wire_finds_what_is_in_clear() -> None:
    village = Village()
    for row, account in enumerate(ACCOUNTS):
        village.meter(row, account)
        village.top_up(row, 10000, uid=UIDS[row % 2])
    assert len(readable(village.batch())) == 8
