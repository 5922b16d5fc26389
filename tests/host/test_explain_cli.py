"""Goal: a statement shows the parts of every deduction, agrees with the device to the last digit
for a year of all our tariffs, and reports a difference of one digit.

Method: the firmware's ledger writes journals, which are read as segment files, as one file and out
of a head-end's database; one digit of one record is changed; parts of a journal are left out.
"""

import json
import random
import sqlite3
from array import array
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from host.billing.pricing import Calendar
from host.billing.statement import Explainer
from host.cli import cli
from host.device.bill import CHARGED, FIRST, Ledger, Tariff
from host.frames.link import Kind
from host.frames.packing import build_groups
from host.frames.record import Record, RecordKind, make
from host.frames.tariff import build as build_image
from host.frames.tariff import image_name, load, read
from host.frames.tariff_terms import TariffFile, rate_at
from host.headend.ingest import Ingest
from host.headend.store import Store
from host.units import to_t2000
from tests.host.uplink_world import KEYS, frame

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "tariffs").glob("*.json"))
ACCOUNT = "000000000001"
START = datetime(2026, 1, 5, 12)


class Device:
    """A ledger that writes its journal, one account a row."""

    def __init__(self, count: int) -> None:
        self.ledger = Ledger(count)
        self.records: list[Record] = []
        self.tariffs: dict[int, Tariff] = {}
        self.registers_wh = [array("i", [0] * 8) for _ in range(count)]

    def write(self, moment: datetime, kind: RecordKind, index: int = 0, **fields: Any) -> None:
        seq = len(self.records) + 1
        self.records.append(make(seq, to_t2000(moment), kind, fields, index=index))

    def set_tariff(self, moment: datetime, number: int, tariff: TariffFile) -> None:
        image = build_image(tariff, number)
        self.tariffs[number] = Tariff()
        assert self.tariffs[number].load(image, len(image)) == ""
        name = image_name(image)
        self.write(moment, RecordKind.TARIFF, number=number, sha256=name, size=len(image))

    def add_meter(self, moment: datetime, index: int, number: int, address: int = 1) -> None:
        self.write(
            moment,
            RecordKind.METER,
            index,
            address=f"{address:012}",
            account=f"{index + 1:012}",
            tariff=number,
            line=0,
            standard=0,
            active=1,
        )

    def read(self, moment: datetime, index: int, number: int) -> int:
        ledger = self.ledger
        tariff = self.tariffs[number]
        registers_wh = self.registers_wh[index]
        outcome = int(ledger.prepare(index, tariff, registers_wh, to_t2000(moment)))
        if outcome > FIRST:
            return outcome
        if ledger.whole and ledger.counts_anew(index):
            self.write_quota(
                moment,
                index,
                1,
                ledger.new_used_wh,
                ledger.new_period_t2000,
                ledger.new_quota,
                ledger.new_free,
            )
        if ledger.rolled:
            self.write(
                moment,
                RecordKind.ROLLOVER,
                index,
                old_period=ledger.period_t2000[index],
                new_period=ledger.new_period_t2000,
                used_wh=ledger.closed_wh,
                debit_fen=ledger.closed_debit_fen,
            )
        self.write(
            moment,
            RecordKind.READING,
            index,
            debit_fen=ledger.new_debit_fen,
            residue_e7=ledger.new_residue_e7,
            residue_e11=ledger.new_residue_e11,
            status=0,
            used_wh=ledger.new_used_wh,
            registers_wh=list(registers_wh[: tariff.registers]) + [0] * (8 - tariff.registers),
        )
        ledger.commit(index)
        return outcome

    def write_quota(self, moment: datetime, index: int, flags: int, *values: int) -> None:
        fields = dict(zip(("used_wh", "period", "quota", "free"), values, strict=True))
        self.write(moment, RecordKind.QUOTA, index, **fields)
        self.records[-1] = replace(self.records[-1], flags=flags)

    def change(self, moment: datetime, index: int, number: int, household: int) -> None:
        """Make the account another kind of household."""
        ledger = self.ledger
        tariff = self.tariffs[number]
        quota = ledger.quota_after(index, tariff, household, to_t2000(moment))
        assert quota >= 0
        changed = quota != ledger.quota[index]
        ledger.describe(index, household)
        self.write(
            moment,
            RecordKind.ACCOUNT,
            index,
            household=household,
            grade=0,
            multiplier=1,
            guard=0,
            debt_fen=0,
        )
        if changed:
            self.records[-1] = replace(self.records[-1], flags=1)
            self.set_used(moment, index, ledger.used_wh[index], quota, ledger.period_t2000[index])

    def set_used(self, moment: datetime, index: int, wh: int, quota: int, period: int) -> None:
        """Say what is used in the tier period."""
        free = self.ledger.free[index]
        self.ledger.set_used(index, wh, period, quota, free)
        self.write_quota(moment, index, 0, wh, period, quota, free)

    def top_up(self, moment: datetime, index: int, order: int, fen: int, repaid: int = 0) -> None:
        assert self.ledger.top_up(index, order, fen, repaid)
        self.write(
            moment,
            RecordKind.TOP_UP if fen > 0 else RecordKind.REFUND,
            index,
            order=order,
            amount_fen=abs(fen),
            credit_fen=self.ledger.credit_fen[index],
            balance_fen=self.ledger.balance_fen(index),
            uid="00" * 8,
            source=1,
            key_version=1,
            repaid_fen=repaid,
        )

    def save(self, folder: Path) -> Path:
        """Save the journal as segment files."""
        folder.mkdir()
        for at in range(0, len(self.records), 64):
            part = self.records[at : at + 64]
            name = f"j{part[0].seq:08x}"
            (folder / name).write_bytes(build_groups(part))
        return folder


def run(*words: object) -> Result:
    """Run `dianka explain WORDS`."""
    return CliRunner().invoke(cli, ["explain", *map(str, words)], env={"COLUMNS": "160"})


def small() -> Device:
    """Play one household of Zhejiang over a new year, a tariff change, a stop and a debt."""
    device = Device(1)
    zhejiang = load(ROOT / "tariffs" / "zhejiang-tou.json")
    other = zhejiang.model_copy(update={"standing_yuan_per_day": Decimal("0.1")})
    moment = datetime(2025, 12, 31, 20)
    device.set_tariff(moment, 1, zhejiang)
    device.add_meter(moment, 0, 1)
    device.ledger.debt_fen[0] = 5000
    device.ledger.used_wh[0] = 2759000
    device.read(moment, 0, 1)
    device.top_up(moment, 0, 1, 10000, 2000)
    for step in range(30):
        moment += timedelta(minutes=15)
        device.registers_wh[0][step & 1] += 310
        assert device.read(moment, 0, 1) == CHARGED
    device.set_tariff(moment, 1, other)
    moment += timedelta(days=2)
    device.registers_wh[0][0] += 5555
    assert device.read(moment, 0, 1) == CHARGED
    device.write(moment, RecordKind.FAULT, reason=6, stopped=1, value=1, limit=2)
    device.ledger.stop(0)
    device.write(moment, RecordKind.FAULT, reason=0, stopped=0, value=0, limit=0)
    device.ledger.resume(0)
    device.registers_wh[0][0] += 12340
    assert device.read(moment, 0, 1) == CHARGED
    device.add_meter(moment, 0, 1, 2)
    device.ledger.start_anew(0)
    device.registers_wh[0][0] = 7
    assert device.read(moment, 0, 1) == FIRST
    moment += timedelta(minutes=15)
    device.registers_wh[0][1] += 1000
    assert device.read(moment, 0, 1) == CHARGED
    return device


def second_tariff(folder: Path) -> Path:
    """Write the file of the changed tariff of `small`."""
    fields = json.loads((ROOT / "tariffs" / "zhejiang-tou.json").read_text("utf-8"))
    path = folder / "standing.json"
    path.write_text(json.dumps({**fields, "standing_yuan_per_day": "0.1"}))
    return path


def options(folder: Path) -> list[object]:
    first = ROOT / "tariffs" / "zhejiang-tou.json"
    return ["--tariff", first, "--tariff", second_tariff(folder)]


def test_a_statement_by_day(tmp_path: Path) -> None:
    device = small()
    result = run(device.save(tmp_path / "journal"), ACCOUNT, *options(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["differences"] == []
    assert found["readings"] == 33
    first = found["rows"][0]
    assert first["when"] == "2025-12-31"
    # 16 quarters before midnight: 1 kWh is left in the first tier.
    assert first["cells"][0] == {
        "tier": 1,
        "rate": "peak",
        "kwh": "0.62",
        "price": "0.568",
        "yuan": "0.35216",
    }
    assert sum(Decimal(cell["kwh"]) for cell in first["cells"]) == Decimal("0.31") * 16
    assert first["paid_yuan"] == "100"
    assert "top-up order 1, 20 yuan to the debt" in first["notes"]
    last = found["rows"][-1]
    ledger = device.ledger
    balance = Decimal(ledger.balance_fen(0)).scaleb(-2)
    balance -= Decimal(ledger.residue_e7[0]).scaleb(-7)
    assert Decimal(last["balance_yuan"]) == balance
    assert any(cell["rate"] == "standing charge" for row in found["rows"] for cell in row["cells"])
    notes = " ".join(note for row in found["rows"] for note in row["notes"])
    for word in ("billing stopped", "billing resumed", "new start", "tier period 2763.96 kWh"):
        assert word in notes


@pytest.mark.parametrize("other_meter", [False, True])
def test_an_account_that_was_restored_is_explained_from_there(
    tmp_path: Path, other_meter: bool
) -> None:
    device = small()
    ledger = device.ledger
    moment = START + timedelta(days=9)
    device.records.clear()
    other = load(ROOT / "tariffs" / "zhejiang-tou.json")
    device.set_tariff(
        moment, 1, other.model_copy(update={"standing_yuan_per_day": Decimal("0.1")})
    )
    device.add_meter(moment, 0, 1)
    names = ("order", "credit_fen", "debit_fen", "residue_e7", "residue_e11", "debt_fen")
    fields: dict[str, Any] = {name: getattr(ledger, name)[0] for name in names}
    fields |= dict.fromkeys(("household", "grade", "marks", "debt_week_fen", "since_t2000"), 0)
    fields |= {"header_mac": "00" * 8, "multiplier": 1, "source": 1, "state": 0, "relay": 0}
    device.write(moment, RecordKind.STANDING, **fields, tariff=1)
    if other_meter:
        ledger.start_anew(0)
    device.write(
        moment,
        RecordKind.STANDING_REGISTERS,
        registers_wh=list(ledger.registers_wh[:4]) + [0] * 4,
        read_t2000=ledger.read_t2000[0],
    )
    used_wh, period_t2000 = ledger.used_wh[0], ledger.period_t2000[0]
    device.set_used(moment, 0, used_wh, ledger.quota[0], period_t2000)
    for _ in range(3):
        moment += timedelta(days=2)
        device.registers_wh[0][0] += 7777
        assert device.read(moment, 0, 1) <= FIRST
    result = run(device.save(tmp_path / "journal"), ACCOUNT, *options(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (found["differences"], found["readings"]) == ([], 2 if other_meter else 3)
    assert any("told: order 1" in note for row in found["rows"] for note in row["notes"])


def test_a_refund_is_told_and_taken_off(tmp_path: Path) -> None:
    device = small()
    moment = datetime(2026, 1, 3)
    device.top_up(moment, 0, 2, -1234)
    journal = device.save(tmp_path / "journal")
    done = run(journal, ACCOUNT, *options(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)["rows"]
    assert rows[-1]["paid_yuan"] == "-12.34"
    assert rows[-1]["notes"][-1] == "refund order 2"
    last = device.records[-1]
    wrong = {**last.fields, "credit_fen": last.fields["credit_fen"] - 1}
    device.records[-1] = make(last.seq, last.t2000, last.kind, wrong)
    done = run(device.save(tmp_path / "wrong"), ACCOUNT, *options(tmp_path))
    assert done.exit_code == 1
    assert "credit 87.65, recomputed 87.66" in done.output


def test_a_statement_for_people(tmp_path: Path) -> None:
    journal = small().save(tmp_path / "journal")
    result = run(journal, ACCOUNT, *options(tmp_path), "--by", "period")
    assert result.exit_code == 0, result.output
    assert "from 2025-01-01 00:00" in result.output
    assert "from 2026-01-01 00:00" in result.output
    assert "33 charges recomputed: the same, to 1e-11 yuan" in result.output


def test_a_shipped_tariff_need_not_be_named(tmp_path: Path) -> None:
    device = small()
    device.records = device.records[:20]
    result = run(device.save(tmp_path / "journal"), ACCOUNT)
    assert result.exit_code == 0, result.output
    assert "recomputed: the same" in result.output


def test_one_file_and_a_head_end(tmp_path: Path) -> None:
    device = small()
    path = tmp_path / "journal.bin"
    path.write_bytes(build_groups(device.records))
    expected = run(path, ACCOUNT, *options(tmp_path), "--json")
    assert expected.exit_code == 0, expected.output
    database = tmp_path / "village.db"
    with Store(database, create=True) as store:
        sent = frame(Kind.BATCH, 1, build_groups(device.records))
        assert Ingest(store, KEYS).answer(sent, "test")
    for account in (ACCOUNT, ACCOUNT.lstrip("0")):
        result = run(database, account, *options(tmp_path), "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.output) == json.loads(expected.output)


@pytest.mark.parametrize("name", ["debit_fen", "residue_e7", "residue_e11", "used_wh"])
def test_one_digit_is_an_error(tmp_path: Path, name: str) -> None:
    device = small()
    at = [record.kind for record in device.records].index(RecordKind.READING) + 9
    record = device.records[at]
    assert record.kind == RecordKind.READING
    fields = {**record.fields, name: record.fields[name] + 1}
    device.records[at] = make(record.seq, record.t2000, record.kind, fields)
    result = run(device.save(tmp_path / "journal"), ACCOUNT, *options(tmp_path))
    assert result.exit_code == 1
    assert f"DIFFERENT: record {record.seq}, " in result.output
    assert "differences, to 1e-11 yuan" in result.output


def test_a_charge_left_out_is_an_error(tmp_path: Path) -> None:
    device = small()
    record = device.records[-1]
    fields = {**record.fields, "debit_fen": record.fields["debit_fen"] - 28}
    device.records[-1] = make(record.seq, record.t2000, record.kind, fields)
    result = run(device.save(tmp_path / "journal"), ACCOUNT, *options(tmp_path))
    assert result.exit_code == 1


def test_what_a_journal_can_lack(tmp_path: Path) -> None:
    device = small()
    journal = device.save(tmp_path / "journal")
    tariffs = options(tmp_path)
    for words, complaint in (
        ([journal, "000000000009", *tariffs], "no meter of account 000000000009"),
        ([journal, ACCOUNT, *tariffs[2:]], "no tariff file makes image"),
        ([tmp_path, ACCOUNT, *tariffs], "no segment files"),
        ([tmp_path / "standing.json", ACCOUNT, *tariffs], "no journal: "),
        ([journal, ACCOUNT, "--tariff", tmp_path / "none.json"], "cannot be read"),
    ):
        result = run(*words)
        assert result.exit_code == 1, complaint
        assert complaint in result.output
        assert "Traceback" not in result.output
    database = tmp_path / "other.db"
    database.write_bytes(b"SQLite format 3\0" + bytes(100))
    assert "cannot use" in run(database, ACCOUNT, *tariffs).output
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE notes (text)")
    result = run(database, ACCOUNT, *tariffs)
    assert result.exit_code == 1
    assert "not a head-end's database" in result.output
    with Store(tmp_path / "village.db", create=True):
        pass
    result = run(tmp_path / "village.db", ACCOUNT, *tariffs)
    assert f"no account {ACCOUNT}" in result.output


def test_a_journal_whose_beginning_is_gone(tmp_path: Path) -> None:
    device = small()
    del device.records[:10]
    path = tmp_path / "journal.bin"
    path.write_bytes(build_groups(device.records[:20]))
    first = ROOT / "tariffs" / "zhejiang-tou.json"
    assert "name its row" in run(path, ACCOUNT, "--tariff", first).output
    result = run(path, ACCOUNT, "--tariff", first, "--row", 0)
    assert result.exit_code == 0, result.output
    assert "18 charges recomputed: the same" in result.output


def parts_of_a_year() -> tuple[Device, TariffFile]:
    """Play an account opened in March: its household changes twice, then another one moves in."""
    fields = {
        "name": "parts",
        "tier_period": "year",
        "tiers": [{"upto_kwh": "120", "prices": ["0.5"]}, {"prices": ["0.8"]}],
        "households": {"large": {"extra_kwh": ["60"], "free_kwh": "3"}},
        "free_period": "month",
        "part_year": {
            "opened": "this_month",
            "moved_in": "this_month",
            "household": "next_month",
        },
    }
    tariff = read(json.dumps(fields))
    device = Device(1)
    moment = datetime(2026, 3, 5, 12)
    device.set_tariff(moment, 1, tariff)
    device.add_meter(moment, 0, 1)
    assert device.read(moment, 0, 1) == FIRST
    for step in range(160):
        moment += timedelta(days=2, hours=7)
        device.registers_wh[0][0] += 1730
        assert device.read(moment, 0, 1) == CHARGED
        if step in (20, 60, 80):
            device.change(moment, 0, 1, 1 - (device.ledger.flags[0] >> 4))
        if step == 100:
            loaded = device.tariffs[1]
            quota = device.ledger.quota_moved_in(loaded, to_t2000(moment))
            period_t2000 = loaded.period_at(to_t2000(moment))
            device.set_used(moment, 0, 0, quota, period_t2000)
    return device, tariff


def test_parts_of_a_year_are_computed_again() -> None:
    device, tariff = parts_of_a_year()
    kinds = [record.kind for record in device.records]
    assert kinds.count(RecordKind.ACCOUNT) == 3
    quotas = [at for at, kind in enumerate(kinds) if kind == RecordKind.QUOTA]
    assert len([at for at in quotas if not device.records[at].flags]) == 4
    statement = Explainer(ACCOUNT, [tariff]).explain(device.records)
    assert statement.differences == []
    assert statement.readings == 160
    assert "kWh used, quota of 3 of 12 months" in " ".join(one.note for one in statement.entries)
    # One month more in the record of a reading is reported, and so is energy that was not free.
    at = next(at for at in quotas[1:] if kinds[at + 1] == RecordKind.READING)
    right = device.records[at]
    for name, more, complaint in (
        ("quota", 16, "months, recomputed"),
        ("free", 1000, "free kWh"),
    ):
        fields = {**right.fields, name: right.fields[name] + more}
        wrong = make(right.seq, right.t2000, RecordKind.QUOTA, fields, index=0)
        records = [*device.records[:at], replace(wrong, flags=1), *device.records[at + 1 :]]
        assert complaint in Explainer(ACCOUNT, [tariff]).explain(records).differences[0]


def test_a_service_fee_is_told_apart(tmp_path: Path) -> None:
    path = ROOT / "tariffs" / "examples" / "charging-pile.json"
    device = Device(1)
    moment = datetime(2026, 1, 5, 10)
    device.set_tariff(moment, 1, load(path))
    device.add_meter(moment, 0, 1)
    device.read(moment, 0, 1)
    device.registers_wh[0][0] += 20000
    assert device.read(moment + timedelta(minutes=30), 0, 1) == CHARGED
    words = (device.save(tmp_path / "journal"), ACCOUNT, "--tariff", path)
    found = json.loads(run(*words, "--json").output)["rows"][0]
    assert (found["charged_yuan"], found["energy_yuan"], found["service_yuan"]) == (
        *("33.824", "24.824", "9"),
    )
    assert found["cells"][0]["service_yuan"] == "9"
    assert "energy 24.824, service 9" in run(*words).output


def test_money_past_the_end_of_the_counts() -> None:
    """The credits and debits of a big account pass 2**32 fen."""
    device = Device(1)
    tariff = load(ROOT / "tariffs" / "zhejiang-tou.json")
    moment = START
    device.set_tariff(moment, 1, tariff)
    device.add_meter(moment, 0, 1)
    device.ledger.debit_fen[0] = 2**32 - 500
    device.ledger.credit_fen[0] = 2**32 - 100
    device.read(moment, 0, 1)
    for order in range(1, 6):
        moment += timedelta(minutes=15)
        device.top_up(moment, 0, order, 300)
        device.registers_wh[0][0] += 4000
        assert device.read(moment, 0, 1) == CHARGED
    assert device.ledger.debit_fen[0] < 1000
    statement = Explainer(ACCOUNT, [tariff]).explain(device.records)
    assert statement.differences == []
    residue_yuan = Fraction(device.ledger.residue_e7[0], 10**7)
    balance_yuan = Fraction(device.ledger.balance_fen(0), 100) - residue_yuan
    assert statement.entries[-1].balance_yuan == balance_yuan


def test_a_torn_segment(tmp_path: Path) -> None:
    device = small()
    whole = build_groups(device.records[:10])
    torn = build_groups(device.records[10:15])
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "j00000001").write_bytes(whole + torn[:-5])
    (folder / "j0000000b").write_bytes(build_groups(device.records[10:]))
    result = run(folder, ACCOUNT, *options(tmp_path))
    assert result.exit_code == 0, result.output
    assert "33 charges recomputed" in result.output


def play_year(households: int, hours: int, seed: int) -> tuple[Device, list[TariffFile]]:
    """Play a year of `households` on all shipped tariffs in turn, read about every `hours`."""
    chance = random.Random(seed)
    device = Device(households)
    device.ledger.power_limit_w = 200000
    tariffs = [load(path) for path in FILES]
    calendars = [Calendar(tariff) for tariff in tariffs]
    for number, tariff in enumerate(tariffs, 1):
        device.set_tariff(START, number, tariff)
    for index in range(households):
        number = index % len(tariffs) + 1
        tariff = tariffs[number - 1]
        device.add_meter(START, index, number, index)
        device.read(START, index, number)
        moment = START
        size_wh = chance.randrange(50, 3000)
        while moment < START + timedelta(days=366):
            gap = chance.choice((1.0,) * (1200 // hours) + (0.01, 3.0, 960.0 / hours)) * hours
            moment += timedelta(seconds=int(gap * 3600 * chance.uniform(0.5, 1.5)))
            register = 0
            if tariff.schedule:
                register = rate_at(tariff, calendars[number - 1].season_at(moment), moment)
            for rate in range(len(tariff.rates)):
                share = 1 if rate == register else chance.randrange(2)
                used_wh = int(gap * size_wh * share * chance.random()) // 10 * 10
                device.registers_wh[index][rate] += used_wh
            assert device.read(moment, index, number) == CHARGED
    return device, tariffs


def check_year(households: int, hours: int, seed: int) -> None:
    device, tariffs = play_year(households, hours, seed)
    for index in range(households):
        statement = Explainer(f"{index + 1:012}", tariffs).explain(device.records)
        assert statement.differences == []
        assert statement.readings > 2000 // hours
        ledger = device.ledger
        charged = sum((entry.charged_yuan for entry in statement.entries), Fraction(0))
        assert charged * 10**11 == (
            ledger.debit_fen[index] * 10**9
            + ledger.residue_e7[index] * 10**4
            + ledger.residue_e11[index]
        )


@pytest.mark.slow
def test_a_year_of_every_tariff() -> None:
    check_year(len(FILES), 24, 1)


@pytest.mark.slow
def test_a_year_of_64_households() -> None:
    check_year(64, 12, 2)
