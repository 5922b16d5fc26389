"""Make the database of a village with a past: names, purchases, hourly readings charged exactly.

The records are written as a concentrator writes them and stored as the head-end stores them, so
that every charge can be computed again. `tools.screenshots` shows it.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from host.billing.pricing import Account
from host.billing.shipped import shipped
from host.frames import batch, link, record
from host.frames.link import Kind
from host.frames.record import Record, RecordKind
from host.frames.tariff import build, image_name, load
from host.headend import orders, registry
from host.headend.ingest import Ingest
from host.headend.orders import Till
from host.headend.registry import Entry
from host.headend.store import Store
from host.units import to_t2000

CONCENTRATOR = 7
KEY = bytes(range(32))
DAYS = 62
_TARIFF = "zhejiang-tou"
_JOURNAL = b"village7"
_RECORDS_EACH = 8 * 40
# Name, persons, Wh an hour at most, and yuan that are bought every so many days.
_PEOPLE = (
    *(("王小明", 5, 620, 100, 16), ("李芳", 3, 380, 50, 12), ("赵德福", 1, 150, 20, 14)),
    *(("周秀英", 4, 520, 100, 20), ("吴建国", 4, 800, 200, 21), ("郑美丽", 6, 900, 200, 19)),
    *(("冯大海", 5, 700, 100, 12), ("陈家小卖部", 2, 1200, 300, 17), ("卫春兰", 2, 240, 30, 11)),
    *(("蒋玉珍", 3, 420, 100, 22), ("沈志强", 4, 560, 100, 15), ("韩冬梅", 2, 310, 20, 40)),
)


def account_of(row: int) -> str:
    """Return the number of the account at a row."""
    return f"{31_0000_0001 + row:012d}"


def _meter_of(row: int) -> str:
    return f"{98_3764 + row:012d}"


class _Household:
    """A household's books: what it draws, buys and is charged."""

    def __init__(self, row: int, opened: datetime) -> None:
        self.row = row
        self.random = Random(row)
        path = next(one for one in shipped() if one.stem == _TARIFF)
        self.bill = Account(load(path))
        self.bill.start(opened, (0, 0))
        self.registers_wh = [0, 0]
        self.credit_fen = 0
        self.order = 0

    def draw(self, moment: datetime) -> dict[str, Any]:
        """Return the fields of the reading at an hour."""
        most_wh = _PEOPLE[self.row][2]
        usual = 0.25 + 0.75 * (moment.hour in (7, 12, 18, 19, 20, 21))
        wh = int(2 * most_wh * usual * self.random.uniform(0.5, 1.1))
        self.registers_wh[0 if 8 <= moment.hour - 1 < 22 else 1] += wh
        self.bill.read(moment, self.registers_wh)
        debit_fen, rest = divmod(self.bill.charged_yuan * 100, 1)
        residue_e7, rest = divmod(rest * 100_000, 1)
        return {
            "debit_fen": int(debit_fen),
            "residue_e7": int(residue_e7),
            "residue_e11": int(rest * 10_000),
            "status": 0,
            "used_wh": self.bill.used_wh,
            "registers_wh": [*self.registers_wh, *[0] * 6],
        }

    def buy(self, store: Store) -> dict[str, Any]:
        """Sell to the household; return the fields of the payment that its device takes."""
        fen = _PEOPLE[self.row][3] * 100
        self.order = orders.sell(store, account_of(self.row), fen, Till("li", "cash"))
        self.credit_fen += fen
        charged_fen = int(self.bill.charged_yuan * 100)
        return {
            "order": self.order,
            "amount_fen": fen,
            "credit_fen": self.credit_fen,
            "balance_fen": self.credit_fen - charged_fen,
            "uid": f"04A1B2C3D4E5F6{self.row:02X}",
            "source": 1,
            "key_version": 1,
            "repaid_fen": 0,
        }


def make(path: Path, days: int = DAYS) -> None:
    """Make the database at `path`, up to the last full hour."""
    now = datetime.now().replace(minute=0, second=0, microsecond=0)
    with Store(path, create=True) as store:
        registry.take(store, [_entry(row) for row in range(len(_PEOPLE))])
        ingest = Ingest(store, {CONCENTRATOR: KEY})
        records = list(_records(store, now - timedelta(days), now))
        for number, at in enumerate(range(0, len(records), _RECORDS_EACH), 1):
            part = records[at : at + _RECORDS_EACH]
            sender = batch.Head(CONCENTRATOR, _JOURNAL, 1, number)
            body = batch.seal_up(Kind.BATCH, sender, batch.build_batch(part), KEY)
            ingest.answer(link.Frame(Kind.BATCH, number & 0xFF, body), "village")
        with store.writing() as database:
            # Sold when it was redeemed, not all today.
            database.run(
                "UPDATE orders SET sold_at = ? - (? - (SELECT min(t2000) FROM top_ups WHERE "
                'top_ups.account = orders.account AND top_ups."order" = orders."order"))',
                (int(time.time()), to_t2000(datetime.now())),
            )


def _entry(row: int) -> Entry:
    name, persons, *_rest = _PEOPLE[row]
    return Entry(
        account_of(row),
        f"C-{row + 1:03d}",
        name,
        address=f"东街 {row + 1} 号",
        persons=persons,
        credit_class="A",
        district="红榜 4 号",
        meter=_meter_of(row),
    )


def _records(store: Store, opened: datetime, now: datetime) -> Iterator[Record]:
    """Yield the records of the village's concentrator."""
    seq = 0
    households = [_Household(row, opened) for row in range(len(_PEOPLE))]

    def made(kind: RecordKind, moment: datetime, fields: Mapping[str, Any], row: int) -> Record:
        nonlocal seq
        seq += 1
        return record.make(seq, to_t2000(moment), kind, fields, index=row)

    path = next(one for one in shipped() if one.stem == _TARIFF)
    image = build(load(path), 1)
    told = {"number": 1, "size": len(image), "sha256": image_name(image)}
    yield made(RecordKind.TARIFF, opened, told, 0)
    for one in households:
        meter: dict[str, Any] = {"address": _meter_of(one.row), "account": account_of(one.row)}
        meter |= {"tariff": 1, "line": 0, "standard": 0, "active": 1}
        yield made(RecordKind.METER, opened, meter, one.row)
        first = {"debit_fen": 0, "residue_e7": 0, "residue_e11": 0, "status": 0, "used_wh": 0}
        yield made(RecordKind.READING, opened, {**first, "registers_wh": [0] * 8}, one.row)
        yield made(RecordKind.TOP_UP, opened, one.buy(store), one.row)
        relay = {"desired": 0, "stage": 2, "reason": 1, "status": 0, "balance_fen": 0}
        yield made(RecordKind.RELAY, opened, relay, one.row)
    moment, hours = opened, 0
    while moment < now:
        moment += timedelta(hours=1)
        hours += 1
        for one in households:
            yield made(RecordKind.READING, moment, one.draw(moment), one.row)
            if hours % (24 * _PEOPLE[one.row][4]) == 0:
                yield made(RecordKind.TOP_UP, moment, one.buy(store), one.row)
