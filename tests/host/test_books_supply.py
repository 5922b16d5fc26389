"""Goal: each decision of the policy reaches the journal through the concentrator's books, with the
power of the reading that caused it.

Method: the real books run on a simulated storage, with one account and readings made by hand.
"""

from array import array
from datetime import datetime
from pathlib import Path

import pytest

import host.device
from host.frames.packing import parse_segment
from host.frames.record import Record, RecordKind
from host.frames.tariff import build, image_name, load
from host.sim.storage import Storage
from host.units import to_t2000

ROOT = Path(__file__).resolve().parents[2]
NOW = to_t2000(datetime(2026, 3, 2, 12))
ACCOUNT = bytes.fromhex("000000000001")
METER = b"\x01\x00\x00\x00\x00\x00"

assert host.device.device_root().is_dir()


class Station:
    """The books of one account under the tariff of Zhejiang."""

    def __init__(self) -> None:
        from concentrator.books.books import Books
        from concentrator.books.registry import Registry
        from concentrator.books.tariffs import Tariffs
        from concentrator.storage.journal import Journal
        from prepay.ledger import Ledger
        from prepay.policy import Policy

        self.storage = Storage()
        self.policy = Policy()
        self.ledger = Ledger(2)
        registry = Registry(2)
        journal = Journal(self.storage)
        journal.recover()
        self.books = Books(journal, registry, self.ledger, Tariffs(self.storage), self.policy)
        self.books.t2000 = NOW
        self.books.hoarding_limit_fen = 10**7
        image = build(load(ROOT / "tariffs" / "zhejiang-tou.json"), 1)
        name = image_name(image)
        self.storage.content[f"t01-{name[:12].lower()}"] = image
        assert self.books.set_tariff(1, bytes.fromhex(name), len(image))
        assert self.books.set_meter(0, bytearray(METER + ACCOUNT + b"\x01\x00\x00\x01\x00"))
        self.values = array("i", [0] * 5)
        self.read(0)

    def read(self, wh: int, after_s: int = 900) -> None:
        self.books.t2000 += after_s
        self.values[0] += wh
        self.values[1] += wh
        from concentrator.books.doubt import DOUBTED

        outcome = self.books.charge_reading(0, self.values, 5, 0xFFFF)
        if outcome == DOUBTED:
            outcome = self.books.charge_reading(0, self.values, 5, 0xFFFF)
        assert outcome <= 1

    def records(self, kind: RecordKind) -> list[Record]:
        self.books.journal.sync()
        content = b"".join(self.storage.content[name] for name in self.storage.names("j"))
        return [record for record in parse_segment(content, 1).records if record.kind == kind]


@pytest.fixture
def station() -> Station:
    return Station()


def test_an_overload_on_credit_is_cut_for_a_while(station: Station) -> None:
    from prepay.policy import OVERLOAD, ZERO

    station.policy.load_limit_w = 2000
    station.policy.overdraft_fen = 5000
    assert station.books.credit(0, 1, 100, bytes(8), 1, bytes(8))
    station.read(1000, 1800)  # 2000 W
    station.read(1000, 1800)
    assert station.ledger.state[0] == ZERO
    station.read(510)  # 2040 W
    assert station.ledger.state[0] == OVERLOAD
    station.books.t2000 += 299
    station.books.review(0)
    assert station.ledger.state[0] == OVERLOAD
    station.books.t2000 += 1
    station.books.review(0)
    assert station.ledger.state[0] == ZERO
    reasons = [record.fields["reason"] for record in station.records(RecordKind.POLICY)]
    assert reasons[-2:] == [7, 8]  # overload, overload over
    desired = [record.fields["desired"] for record in station.records(RecordKind.RELAY)]
    assert desired[-2:] == [1, 0]


def test_without_a_limit_power_does_not_matter(station: Station) -> None:
    from prepay.policy import ZERO

    station.policy.overdraft_fen = 5000
    assert station.books.credit(0, 1, 100, bytes(8), 1, bytes(8))
    station.read(4000)
    station.read(14000)
    assert station.ledger.state[0] == ZERO
