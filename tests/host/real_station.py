"""A concentrator's real books and its card reader, for tests of the head-end.

The books of the firmware run on simulated storage; the records of their journal go to the head-end
as its batches.
"""

import sys
from array import array
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from card.keys import Keys
from card.redemption import Redemption
from concentrator.books.books import Books
from concentrator.books.doubt import DOUBTED
from concentrator.books.registry import Registry
from concentrator.books.tariffs import Tariffs
from concentrator.storage.journal import Journal
from prepay.ledger import CHARGED, Ledger
from prepay.policy import Policy

from host.cards import keystore
from host.frames.card_results import OUTCOMES
from host.frames.packing import parse_segment
from host.frames.record import Record
from host.frames.tariff import build, image_name, load
from host.headend.ingest import Ingest
from host.sim.storage import Storage
from host.units import to_t2000
from tests.host.uplink_world import Village, account_name, deliver, meter_address

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

from card_world import FakeCarrier

ROOT = Path(__file__).resolve().parents[2]
NOW = to_t2000(datetime(2026, 3, 2, 12))
DISTRICT = 4711


class RealStation:
    """The books of some households under the tariff of Zhejiang.

    keys_path   the key file of the counter that issues the cards
    """

    def __init__(self, keys_path: Path, households: int = 1) -> None:
        self.storage = Storage()
        self.ledger = Ledger(households + 1)
        self.registry = Registry(households + 1)
        self.journal = Journal(self.storage)
        self.journal.recover()
        tariffs = Tariffs(self.storage)
        self.books = Books(self.journal, self.registry, self.ledger, tariffs, Policy())
        self.books.t2000 = NOW
        self.books.hoarding_limit_fen = 10**8
        image = build(load(ROOT / "tariffs" / "zhejiang-tou.json"), 1)
        name = image_name(image)
        self.storage.content[f"t01-{name[:12].lower()}"] = image
        assert self.books.set_tariff(1, bytes.fromhex(name), len(image))
        self.values = [array("i", [0] * 5) for _ in range(households)]
        for row in range(households):
            told = bytes.fromhex(meter_address(row))[::-1] + bytes.fromhex(account_name(row))
            assert self.books.set_meter(row, bytearray(told + b"\x01\x00\x00\x01\x00"))
        held = keystore.load(keys_path, lambda: "")
        self.carrier = FakeCarrier()
        keys = Keys(DISTRICT, 1, held.key_of(DISTRICT, 1))
        self.redemption = Redemption(self.carrier, self.books, keys)
        self._ticks = 0
        self._number = 0

    def read(self, row: int, wh: int, after_s: int = 900, status: int = 0) -> int:
        """Read a meter that has counted `wh` more; return the outcome."""
        self.books.t2000 += after_s
        values = self.values[row]
        values[0] += wh
        values[1] += wh
        return self._charge(row, status)

    def _charge(self, row: int, status: int) -> int:
        outcome = self.books.charge_reading(row, self.values[row], 5, status)
        if outcome == DOUBTED:
            outcome = self.books.charge_reading(row, self.values[row], 5, status)
        readings = self.books.readings
        while self.books.searched >= 0:
            self.books.search()
        return CHARGED if self.books.readings > readings else outcome

    def redeem(self, path: Path) -> str:
        """Insert a card's file; return the name of the result. The mark goes back to the file."""
        memory = bytearray(path.read_bytes())
        self.carrier.insert(memory, bytes(memory[8:16]))
        while not self.redemption.poll(self._ticks, self.books.t2000):
            self._ticks += 1
        self.carrier.pull()
        self.redemption.poll(self._ticks, self.books.t2000)
        path.write_bytes(memory)
        return OUTCOMES[self.redemption.code].name

    def records(self) -> Sequence[Record]:
        """Return all records of the journal."""
        self.journal.sync()
        content = b"".join(self.storage.content[name] for name in sorted(self.storage.names("j")))
        return [one for one in parse_segment(content, 1).records if isinstance(one, Record)]

    def tell(self, ingest: Ingest) -> None:
        """Bring all records to the head-end."""
        self._number += 1
        village = Village(records=list(self.records()))
        assert deliver(ingest, village, self._number) == len(village.records)
