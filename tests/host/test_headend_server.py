"""Goal: no acknowledged record is missing, over real TCP and after kills of the real process.

Method: `dianka headend serve` runs as a process on loopback, with the firmware's session as the
device; the process is killed in mid-stream many times and started on the same file.
"""

import asyncio
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from host.frames import link
from host.frames.batch import Refusal
from host.frames.link import Kind, LinkReader
from host.headend import keys, orders, posting, server
from host.headend.gate import Gate, Message
from host.headend.ingest import Ingest
from host.headend.reconcile import reconcile
from host.headend.server import REFUSED_LIMIT, serve
from host.headend.store import Store
from host.headend.writer import Writer
from tests.host.serving import PATIENCE_S, HeadEnd, answers, converse
from tests.host.uplink_world import (
    KEY,
    KEYS,
    Device,
    account_name,
    acked,
    frame,
    hello,
    refused,
    village_of,
)


@pytest.fixture
def head_end(tmp_path: Path) -> Iterator[HeadEnd]:
    running = HeadEnd(tmp_path)
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def test_device_brings_everything_and_goes_idle(head_end: HeadEnd) -> None:
    village = village_of(5, 20)
    with Store(head_end.db) as store:
        for row in range(5):
            orders.sell(store, account_name(row), 10000)
    device = Device(village)
    with head_end.connect() as sock:
        converse(device, sock, until_idle=True)
    assert device.session.acked_seq == village.durable_seq == head_end.stored_seq()
    with Store(head_end.db) as store:
        assert reconcile(store).differences == []
    assert "records: 115" in head_end.end(signal.SIGTERM)
    assert head_end.process.returncode == 0


@pytest.mark.slow
def test_kill9_in_mid_stream_again_and_again(head_end: HeadEnd) -> None:
    village = village_of(10, 60)
    device = Device(village)
    chance = random.Random(1)
    with Store(head_end.db) as store:
        for row in range(10):
            orders.sell(store, account_name(row), 10000)
    for _ in range(5):
        with head_end.connect() as sock:
            device.session.reset()
            converse(device, sock, limit=chance.randrange(1, 4))
            # A batch is now on its way or being committed.
            time.sleep(chance.random() * 0.01)
            head_end.end(signal.SIGKILL)
        assert device.session.acked_seq <= head_end.stored_seq()
        head_end.start()
    with head_end.connect() as sock:
        device.session.reset()
        converse(device, sock, until_idle=True)
    with Store(head_end.db) as store:
        result = reconcile(store)
    assert result.differences == []
    assert result.records == village.durable_seq == device.session.acked_seq
    assert head_end.end(signal.SIGTERM)


def test_whole_and_byte_by_byte_and_junk_over_tcp(head_end: HeadEnd) -> None:
    village = village_of(1, 1)
    message = frame(Kind.BATCH, 1, village.batch())
    data = link.build(message.kind, message.seq, message.body)
    with head_end.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"\x00junk\x7e\x7d\x7e")
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])
        (one,) = answers(sock)
        assert acked(link.build(one.kind, one.seq, one.body), 1) == village.durable_seq
        sock.sendall(data * 3)
        assert len(answers(sock)) == 1, "of several at once the newest is answered"
    assert "torn: 1" in head_end.end(signal.SIGINT)


def test_forged_frames_get_no_answer_and_do_no_harm(head_end: HeadEnd) -> None:
    village = village_of(1, 1)
    forged = frame(Kind.BATCH, 1, village.batch(), b"x" * 32)
    genuine = frame(Kind.HELLO, 1, hello(1, 1))
    with head_end.connect() as sock:
        for one in (forged, forged, genuine):
            sock.sendall(link.build(one.kind, one.seq, one.body))
        (answer,) = answers(sock)
        assert answer.kind == Kind.WELCOME
    assert head_end.stored_seq() == 0
    assert "bad_mac: 2" in head_end.end(signal.SIGTERM)
    assert "wrong MAC from concentrator 7" in head_end.log.read_text()


def test_endless_garbage_is_hung_up_on(head_end: HeadEnd) -> None:
    with head_end.connect() as sock:
        sock.sendall(b"\x7eabc" * (2 * REFUSED_LIMIT))
        assert sock.recv(10) == b""
    with head_end.connect() as sock:
        one = frame(Kind.HELLO, 1, hello(1, 1))
        sock.sendall(link.build(one.kind, one.seq, one.body))
        assert len(answers(sock)) == 1


def test_keys_are_added_and_withdrawn_while_it_serves(head_end: HeadEnd) -> None:
    def read_again(count: int) -> None:
        head_end.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + PATIENCE_S
        while f"{count} keys are known now" not in head_end.log.read_text():
            assert time.monotonic() < until
            time.sleep(0.01)

    keys.add(head_end.keys, 8, KEY.hex())
    read_again(2)
    with head_end.connect() as sock:
        one = frame(Kind.HELLO, 1, hello(1, 1), concentrator=8)
        sock.sendall(link.build(one.kind, one.seq, one.body))
        assert answers(sock)[0].kind == Kind.WELCOME
    keys.withdraw(head_end.keys, 7)
    read_again(1)
    with head_end.connect() as sock:
        one = frame(Kind.HELLO, 1, hello(1, 1))
        sock.sendall(link.build(one.kind, one.seq, one.body))
        (answer,) = answers(sock)
        whole = link.build(answer.kind, answer.seq, answer.body)
        assert refused(whole, 1) == Refusal.WITHDRAWN
    assert "chmod 600" in head_end.log.read_text(), "others may read the file of this test"


def test_two_devices_at_once(head_end: HeadEnd) -> None:
    """The second connection of a concentrator continues where the first one was."""
    village = village_of(2, 10)
    first, second = Device(village), Device(village)
    with head_end.connect() as one, head_end.connect() as other:
        converse(first, one, limit=1)
        converse(second, other, until_idle=True)
    assert second.session.acked_seq == village.durable_seq


def test_serve_stops_on_a_signal_with_connections_open(tmp_path: Path) -> None:
    async def scenario() -> int:
        with Store(tmp_path / "test.db", create=True) as store:
            address: list[int] = []
            ready = asyncio.Event()

            def listening(_: str, port: int) -> None:
                address.append(port)
                ready.set()

            task = asyncio.create_task(serve(Ingest(store, KEYS), "127.0.0.1", 0, listening))
            await ready.wait()
            reader, writer = await asyncio.open_connection("127.0.0.1", address[0])
            writer.write(b"\x7e")
            await writer.drain()
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(task, PATIENCE_S)
            rest = await reader.read()
            writer.close()
            return len(rest)

    assert asyncio.run(scenario()) == 0


def made(path: Path) -> Path:
    """Make a new database."""
    with Store(path, create=True):
        return path


def greet(port: int) -> None:
    """Send HELLO and receive the answer."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        one = frame(Kind.HELLO, 1, hello(1, 1))
        sock.sendall(link.build(one.kind, one.seq, one.body))
        assert len(answers(sock)) == 1


def test_who_says_nothing_genuine_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GENUINE_WITHIN_S", 0)
    monkeypatch.setattr(server, "_LOOK_S", 0.01)

    async def scenario() -> bytes:
        with Store(await asyncio.to_thread(made, tmp_path / "test.db")) as store:
            ports: list[int] = []
            task = asyncio.create_task(
                serve(Ingest(store, KEYS), "127.0.0.1", 0, lambda _, port: ports.append(port))
            )
            while not ports:
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
            rest = await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(task, PATIENCE_S)
            return rest

    assert asyncio.run(scenario()) == b""


def test_a_database_that_was_held_up_makes_nobody_wait_afterwards(tmp_path: Path) -> None:
    """As when PostgreSQL begins anew: twelve may bring a backlog whatever one commit took."""
    village = village_of(1, 30)
    with Store(made(tmp_path / "test.db")) as store:
        ingest = Ingest(store, KEYS)
        right = ingest.answer_all

        def held_up(messages: Sequence[Message]) -> list[bytes]:
            time.sleep(0.3)
            return right(messages)

        ingest.answer_all = held_up  # type: ignore[method-assign]  # the database's delay
        done = threading.Semaphore(0)
        writer = Writer(ingest, lambda answers: done.release())
        for at in range(1, 9):
            message = ingest.open(frame(Kind.BATCH, at, village.batch(at, at)), "test")
            assert message is not None
            writer.put(0, message)
            assert done.acquire(timeout=PATIENCE_S)
        message = ingest.open(frame(Kind.BATCH, 9, village.batch(9, 9)), "test")
        assert message is not None
        assert writer.put(0, message) == 0
        assert writer.wait_s < 0.02
        writer.stop()


def test_many_messages_are_one_commit(tmp_path: Path) -> None:
    """The messages that wait during a commit make the next one, and all are answered."""
    heard: list[tuple[int, int]] = []
    village = village_of(1, 100)
    with Store(made(tmp_path / "test.db")) as store:
        ingest = Ingest(store, KEYS)
        writer = Writer(
            ingest, lambda answers: heard.extend((at, acked(one, at)) for at, one in answers)
        )
        for at in range(1, 61):
            message = ingest.open(frame(Kind.BATCH, at, village.batch(at, at)), "test")
            assert message is not None
            writer.put(at, message)
        writer.stop()
        assert heard == [(at, at) for at in range(1, 61)]
        assert writer.commits < 10
        assert store.value("SELECT count(*) FROM records") == 60


def test_a_message_that_breaks_something_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    village = village_of(1, 3)
    right = posting.Posting._top_up

    def breaks(self: posting.Posting, record: object) -> None:
        right(self, record)  # type: ignore[arg-type]  # it is what the table of kinds gives
        raise RuntimeError("broken")

    monkeypatch.setitem(posting._POSTERS, 3, breaks)
    with Store(made(tmp_path / "test.db")) as store:
        ingest = Ingest(store, {**KEYS, 8: KEY})
        payload = village.batch(1, 2)
        frames = [
            frame(Kind.BATCH, 1, village.batch(1, 3)),
            frame(Kind.BATCH, 1, payload, concentrator=8),
        ]
        messages = [one for one in (ingest.open(f, "test") for f in frames) if one is not None]
        first, second = ingest.answer_all(messages)
        kinds = [LinkReader().feed(answer)[0].kind for answer in (first, second)]
        assert kinds == [Kind.BUSY_LATER, Kind.ACK]
        assert store.rows("SELECT DISTINCT concentrator FROM records") == [{"concentrator": 8}]


class HeldIngest:
    """Takes a millisecond for a batch, and ends no commit while it is held.

    Every greeting brings 650 records, and nothing is left of them behind a batch.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.may_end = threading.Event()
        self.may_end.set()

    def answer_all(self, messages: list[Message]) -> list[bytes]:
        time.sleep(0.001 * sum(one.kind == Kind.BATCH for one in messages))
        assert self.may_end.wait(PATIENCE_S)
        return [b"taken"] * len(messages)

    def brings(self, message: Message) -> int:
        return 650

    def left(self, message: Message) -> int:
        return 650 if message.kind == Kind.HELLO else 0


def test_who_would_wait_too_long_is_told_when_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[int] = []
    ingest = HeldIngest()
    writer = Writer(
        ingest,  # type: ignore[arg-type]  # all that the writer uses of it
        lambda answers: heard.extend(sender for sender, _ in answers),
    )
    opened = Gate(KEYS).open(frame(Kind.BATCH, 1, village_of(1, 1).batch()), "test")

    def put(kind: Kind, concentrator: int) -> int:
        sender = replace(opened.head, concentrator=concentrator, number=int(kind))
        return writer.put(concentrator, replace(opened, kind=kind, head=sender))

    for one in range(30):
        assert put(Kind.BATCH, one) == 0
    while len(heard) < 30:
        time.sleep(0.01)
    ingest.may_end.clear()
    assert put(Kind.BATCH, 30) == 0
    pace_s = writer.wait_s
    monkeypatch.setattr("host.headend.writer.BATCH_WAIT_S", 20.5 * pace_s)
    for name, count in (("BACKLOG", 9), ("TURN", 15)):
        monkeypatch.setattr(f"host.headend.waiting.{name}_WAIT_S", (count + 0.5) * pace_s)
    # Of those that bring a backlog only so many begin that a batch of each finds room.
    after_s = [put(Kind.HELLO, one) for one in range(101, 140)]
    assert [*map(bool, after_s)] == [False] * 10 + [True] * 29
    after_s = [put(Kind.BATCH, one) for one in range(31, 100)]
    assert [*map(bool, after_s)] == [False] * 20 + [True] * 49
    assert all(2 <= one <= 60 for one in after_s[20:])
    assert put(Kind.HELLO, 51) > 0
    assert writer.put_off == 29 + 49 + 1
    # The result of a command takes no place away from who brings a backlog.
    assert put(Kind.RESULT, 101) == 0
    ingest.may_end.set()
    while len(heard) < 51 + 10 + 1:
        time.sleep(0.01)
    for name in ("BACKLOG", "TURN"):
        monkeypatch.setattr(f"host.headend.waiting.{name}_WAIT_S", -1.0)
    assert put(Kind.HELLO, 101) == 0
    assert put(Kind.HELLO, 130) > 0
    writer.stop()
    assert sorted(set(heard)) == [*range(51), *range(101, 111)]
