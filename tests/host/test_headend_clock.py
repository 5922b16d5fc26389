"""Goal: concentrators hear the time of their station, in whatever zone the head-end's computer is.

Method: a station far from the zone of any computer that runs this is greeted and given a command.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.cli.headend import commands as server
from host.frames import batch
from host.frames.card import parse
from host.frames.link import Kind
from host.headend import commands, orders
from host.headend.commands import Given, Target
from host.headend.ingest import Ingest
from host.headend.store import Store
from host.units import t2000_of_unix, to_datetime, to_t2000
from tests.host.uplink_world import CONCENTRATOR, KEY, KEYS, frame, hello, opened

ZONE = "Pacific/Kiritimati"  # 14 hours before UTC
NEAR_S = 60


def there() -> int:
    """Return the time at the station."""
    return to_t2000(datetime.now(ZoneInfo(ZONE)).replace(tzinfo=None))


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "village.db"
    with Store(path, create=True) as store, store.writing() as database:
        database.run("UPDATE station SET zone = ?", (ZONE,))
    return path


def test_a_meter_keeps_standard_time_all_the_year() -> None:
    sydney = ZoneInfo("Australia/Sydney")
    for month in (1, 7):
        noon = datetime(2026, month, 15, 12, tzinfo=UTC)
        told = to_datetime(t2000_of_unix(int(noon.timestamp()), sydney))
        assert told == datetime(2026, month, 15, 22)


@pytest.mark.parametrize(("more", "is_told"), [((), True), (("--no-time",), False)])
def test_a_greeting_is_told_the_time_of_the_station(
    db: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], is_told: bool
) -> None:
    told: list[bytes] = []

    async def serve(ingest: Ingest, *_place: object, **_more: object) -> None:
        await asyncio.sleep(0)
        told.append(ingest.answer(frame(Kind.HELLO, 1, hello(1, 2)), "test"))

    monkeypatch.setattr(server, "serve", serve)
    keys = db.with_name("keys.toml")
    keys.write_text(f'[uplink]\n{CONCENTRATOR} = "{KEY.hex()}"\n', encoding="utf-8")
    words = ("headend", "serve", "--db", str(db), "--keys", str(keys))
    result = CliRunner().invoke(cli, [*words, *more])
    assert result.exit_code == 0, result.output
    told_t2000 = batch.parse_welcome(opened(told[0], 1)).t2000
    assert abs(told_t2000 - (there() if is_told else 0)) < NEAR_S


def test_how_far_a_clock_is_off_is_counted_from_the_time_of_the_station(db: Path) -> None:
    with Store(db) as store:
        greeting = batch.build_hello(batch.Hello(1, 2, t2000=there() + 500))
        Ingest(store, KEYS).answer(frame(Kind.HELLO, 1, greeting), "test")
        off_s = store.value("SELECT clock_offset_s FROM concentrators")
    assert abs(off_s - 500) < NEAR_S


def test_a_command_ends_at_the_time_of_the_station(db: Path) -> None:
    now = int(time.time())
    with Store(db) as store:
        with store.writing() as database:
            database.run("INSERT INTO concentrators (concentrator) VALUES (7)")
        commands.give(store, "time", [Target(7, "time")], Given(expires_at=now + 3600))
        with store.writing() as database:
            order = commands.due(database, now)[7].order
    assert abs(order.expires_t2000 - there() - 3600) < NEAR_S
    assert abs(order.number - there()) < NEAR_S, "numbers go on where a database came back"


def test_a_card_has_the_time_of_the_station(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, meter = "000000000001", "000000983764"

    def issued_t2000(kind: str, path: str, *words: object) -> int:
        done = CliRunner().invoke(cli, ["card", kind, "--file", path, *map(str, words)])
        assert done.exit_code == 0, done.output
        return card_t2000(Path(path))

    def card_t2000(path: Path) -> int:
        header = parse(path.read_bytes()).header
        assert header is not None
        return header.issued_t2000

    assert CliRunner().invoke(cli, ["card", "keys", "new", "--district", "4711", "--unsealed"])
    with Store(db) as store:
        orders.sell(store, name, 100)
    who = ("--account", name, "--meter", meter)
    of_station = issued_t2000("issue", "a.bin", *who, "--db", db)
    assert abs(of_station - there()) < NEAR_S
    told = ("--order", 2, "--amount", 5)
    beijing = to_t2000(datetime.now(ZoneInfo("Asia/Shanghai")).replace(tzinfo=None))
    assert abs(issued_t2000("issue", "b.bin", *who, *told) - beijing) < NEAR_S
    monkeypatch.setenv("DIANKA_ZONE", ZONE)
    number = issued_t2000("preset", "c.bin", "--alarm-1", 30)
    assert abs(number - there()) < NEAR_S
    Path("orders.csv").write_text(f"account,meter,order,amount\n{name},{meter},3,5\n")
    listed = ("card", "issue", "--csv", "orders.csv", "--folder", "cards")
    assert CliRunner().invoke(cli, listed).exit_code == 0
    (card,) = Path("cards").iterdir()
    assert abs(card_t2000(card) - there()) < NEAR_S
