"""Goal: several head-ends before one PostgreSQL store each its own concentrators, and no two of
them the same.

Method: two processes of `dianka headend serve --shard` serve one database, with devices of both;
a device comes to the wrong one, and a third process is started beside them.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames import link
from host.frames.batch import Refusal
from host.frames.link import Kind
from host.frames.record import RecordKind
from host.headend import migrate, orders, ownership
from host.headend.ingest import Ingest
from host.headend.orders import Sale
from host.headend.reconcile import reconcile
from host.headend.shard import SLOTS, Shard, parse_shard
from host.headend.store import Store
from tests.host.serving import PATIENCE_S, HeadEnd, answers, converse
from tests.host.uplink_world import KEY, Device, Village, frame
from tools.cluster import cluster

pytestmark = pytest.mark.slow

CONCENTRATORS = (6, 7, 8, 9)
HOUSEHOLDS = 4


@pytest.fixture
def address() -> Iterator[str]:
    with cluster() as found:
        migrate.make_postgres(found)
        yield found


def village_at(concentrator: int) -> Village:
    """Make the records of a concentrator of which the accounts are its own."""
    village = Village()
    for row in range(HOUSEHOLDS):
        name = f"{concentrator * 100 + row:012d}"
        fields = {"tariff": 1, "line": 0, "standard": 0, "active": 1}
        village.write(RecordKind.METER, {**fields, "address": name, "account": name}, row)
    for row in range(HOUSEHOLDS):
        village.reading(row, 0)
        village.top_up(row, 10000)
    for _ in range(50):
        for row in range(HOUSEHOLDS):
            village.reading(row, 2)
    return village


def part(folder: Path, address: str, shard: str) -> HeadEnd:
    """Start a head-end for a part of the concentrators."""
    folder.mkdir()
    return HeadEnd(folder, "--shard", shard, database=address, concentrators=CONCENTRATORS)


def bring(village: Village, concentrator: int, head_end: HeadEnd) -> None:
    """Bring all records of a concentrator to a head-end."""
    with head_end.connect() as sock:
        converse(Device(village, concentrator=concentrator), sock, until_idle=True)


def refusal(device: Device, sock: socket.socket) -> int:
    """Return for which reason the greeting of a device is refused, 0: it is not."""
    sent = b""
    while not sent:
        sent = device.step()
    sock.sendall(sent)
    (one,) = answers(sock)
    device.hear(link.build(one.kind, one.seq, one.body))
    device.step()
    return device.session.reason


def test_each_part_stores_its_own_and_the_wrong_one_refuses(tmp_path: Path, address: str) -> None:
    villages = {one: village_at(one) for one in CONCENTRATORS}
    with Store(address) as store:
        names = [f"{one * 100 + row:012d}" for one in CONCENTRATORS for row in range(HOUSEHOLDS)]
        orders.sell_all(store, [Sale(name, 10000, name) for name in names], True)
    even, odd = (part(tmp_path / name[0], address, name) for name in ("0/2", "1/2"))
    try:
        device = Device(villages[7], concentrator=7)
        with even.connect() as sock:
            assert refusal(device, sock) == Refusal.OTHER_PART
        bringing = [
            threading.Thread(target=bring, args=(villages[one], one, odd if one % 2 else even))
            for one in CONCENTRATORS
        ]
        for thread in bringing:
            thread.start()
        for thread in bringing:
            thread.join(PATIENCE_S)
        with Store(address) as store:
            result = reconcile(store)
            assert result.differences == []
            assert result.records == sum(one.durable_seq for one in villages.values())
            assert orders.sell(store, "000000000600", 100) == 2
    finally:
        said = [one.end(signal.SIGTERM) for one in (even, odd)]
    assert ("other_part: 1" in said[0], "other_part" in said[1]) == (True, False)
    assert "concentrator 7 belongs to another part than 0/2" in even.log.read_text()


def test_no_concentrator_is_served_twice(tmp_path: Path, address: str) -> None:
    one = part(tmp_path / "one", address, "1/4")
    words = ["--db", address, "--keys", str(one.keys), "--port", "0"]
    try:
        for shard in ("1/4", "1/2", "5/16", "0/1"):
            result = run("serve", *words, "--shard", shard)
            assert (result.exit_code, f"part {shard}" in result.output) == (1, True)
        beside = part(tmp_path / "beside", address, "3/4")
        beside.end(signal.SIGKILL)
        again = part(tmp_path / "again", address, "3/4")
        again.end(signal.SIGTERM)
    finally:
        one.end(signal.SIGTERM)


def test_a_meter_of_an_account_is_taken_in_alone(address: str) -> None:
    """Another part may have the account, so nobody writes meanwhile; readings need not wait."""
    village = village_at(6)
    with Store(address) as store, Store(address) as other:
        names = [f"{600 + row:012d}" for row in range(HOUSEHOLDS)]
        orders.sell_all(store, [Sale(name, 10000, name) for name in names], True)
        ingest = Ingest(store, {6: KEY}, Shard(0, 2))
        other.database.run("SET lock_timeout = 100")
        store.database.run("SET lock_timeout = 100")
        meters = frame(Kind.BATCH, 1, village.batch(1, HOUSEHOLDS), concentrator=6)
        with other.database.writing(beside_others=True):
            ingest.answer(meters, "test")
            assert ingest.counters["store_failed"] == 1
        ingest.answer(meters, "test")
        with other.database.writing(beside_others=True):
            ingest.answer(
                frame(Kind.BATCH, 2, village.batch(HOUSEHOLDS + 1), concentrator=6), "test"
            )
        result = reconcile(store)
        assert (result.differences, result.records) == ([], village.durable_seq)


def test_the_state_is_read_again_when_another_part_has_changed_it(address: str) -> None:
    village = village_at(6)
    with Store(address) as store, Store(address) as other:
        ingest = Ingest(store, {6: KEY}, Shard(0, 2))
        ingest.answer(frame(Kind.BATCH, 1, village.batch(), concentrator=6), "test")
        with other.writing() as database:
            database.run("UPDATE accounts SET guard = 1")
            database.tell_writers()
        village.relay(0, 1)
        last = village.durable_seq
        ingest.answer(frame(Kind.BATCH, 2, village.batch(last, last), concentrator=6), "test")
        assert store.value("SELECT min(guard) FROM accounts") == 1


def test_an_account_moves_from_one_part_to_another(address: str) -> None:
    """Each part knows whose an account is, also where another process has moved it."""
    name = "000000000700"
    villages = {6: Village(), 7: village_at(7)}
    numbers = {6: 0, 7: 0}
    with Store(address) as store, Store(address) as other, Store(address) as desk:
        parts = {6: Ingest(store, {6: KEY}, Shard(0, 2)), 7: Ingest(other, {7: KEY}, Shard(1, 2))}

        def bring(concentrator: int) -> None:
            """Bring what is new of a concentrator."""
            numbers[concentrator] += 1
            known = parts[concentrator].positions.get(concentrator)
            payload = villages[concentrator].batch(1 if known is None else known.acked_seq + 1)
            message = frame(Kind.BATCH, numbers[concentrator], payload, concentrator=concentrator)
            assert parts[concentrator].answer(message, "test")

        bring(7)
        fields = {"tariff": 1, "line": 0, "standard": 0, "active": 1}
        villages[6].write(RecordKind.METER, {**fields, "address": name, "account": name}, 5)
        villages[6].debit_fen[5] = villages[7].debit_fen[0]
        villages[6].reading(5, 30)
        bring(6)
        query = "SELECT concentrator, debit_fen FROM accounts WHERE account = ?"
        assert desk.database.all(query, (name,)) == [(7, 100)]
        assert ownership.move(desk, name, 6).taken == 2
        villages[7].reading(0, 1)
        bring(7)
        villages[6].reading(5, 30)
        bring(6)
        assert desk.database.all(query, (name,)) == [(6, 160)]
        (one,) = ownership.waiting(desk)
        assert (one["concentrator"], one["records"], one["owner"]) == (7, 1, 6)


def test_a_file_has_no_parts(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[uplink]\n7 = "{KEY.hex()}"\n')
    words = ["--db", str(tmp_path / "a.db"), "--keys", str(keys), "--port", "0"]
    result = run("serve", *words, "--shard", "0/2")
    assert (result.exit_code, "needs PostgreSQL" in result.output) == (1, True)


@pytest.mark.parametrize("text", ["", "3", "3/3", "16/16", "-1/2", "1/0", "1/32", "1/2/4", "x/2"])
def test_what_is_no_part(tmp_path: Path, text: str) -> None:
    result = run("serve", "--db", tmp_path / "a.db", "--keys", "k", "--shard", text)
    assert (result.exit_code, "write 3/16" in result.output) == (2, True)


def test_parts_share_all_concentrators() -> None:
    for count in (1, 2, 4, 8, 16):
        parts = [parse_shard(f"{index}/{count}") for index in range(count)]
        assert sorted(slot for one in parts for slot in one.slots) == list(range(SLOTS))
        for concentrator in range(100):
            (own,) = [one for one in parts if one.has(concentrator)]
            assert concentrator % SLOTS in own.slots


def run(*words: object) -> Result:
    """Run `dianka headend WORDS`."""
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "200"})
