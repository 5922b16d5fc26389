"""Goal: whatever comes to the gate is refused by its name, and told where its sender's key is
known; strangers, however many, keep nobody out and fill neither log nor memory.

Method: the gate listens on loopback in this process, and a table has one row for each kind of
trouble. Where a limit of time is tested, the test says when the time of a connection is over.
"""

import asyncio
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from host.cli import cli
from host.frames import batch, link
from host.frames.batch import Refusal
from host.frames.link import Frame, Kind, LinkReader
from host.headend import keys, logs, server
from host.headend.ingest import Ingest
from host.headend.server import Connections
from host.headend.shard import Shard
from host.headend.store import Store
from tests.host.serving import PATIENCE_S
from tests.host.uplink_world import CONCENTRATOR, KEY, KEYS, frame, hello, village_of

PAYLOAD = village_of(1, 1).batch()
OLD_KEY = KEY[::-1]


@dataclass
class Peer:
    """A connection to the gate."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, *what: Frame | bytes) -> None:
        for one in what:
            is_frame = isinstance(one, Frame)
            self.writer.write(link.build(one.kind, one.seq, one.body) if is_frame else one)

    async def heard(self, count: int = 1) -> list[Frame]:
        """Return the next frames from the head-end, fewer where it has closed."""
        frames, found = LinkReader(), []
        while len(found) < count:
            data = await asyncio.wait_for(self.reader.read(4096), PATIENCE_S)
            if not data:
                break
            found += frames.feed(data)
        return found

    async def is_closed(self) -> bool:
        """Wait for the end of the connection."""
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(self.reader.read(4096), PATIENCE_S):
                pass
        return True


@dataclass
class Served:
    """A gate that listens."""

    connections: Connections
    port: int

    @property
    def counters(self) -> Any:
        return self.connections.ingest.counters

    async def peer(self, **told: Any) -> Peer:
        return Peer(*await asyncio.open_connection("127.0.0.1", self.port, **told))

    async def met(self) -> Peer:
        """Return a connection whose greeting and batch were taken as messages 5 and 6."""
        one = await self.peer()
        for number, kind, payload in ((5, Kind.HELLO, hello(1, 9)), (6, Kind.BATCH, PAYLOAD)):
            one.send(frame(kind, number, payload))
            assert (await one.heard())[0].kind in (Kind.WELCOME, Kind.ACK)
        return one

    async def expire(self, peer: Peer, heard: bool = True) -> None:
        """Let the time of a connection be over, once it has sent something if `heard`."""
        host, port = peer.writer.get_extra_info("sockname")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for one in self.connections.open:
                    if one.peer == f"{host}:{port}" and one.heard >= heard:
                        one.until = 0
                        return
                await asyncio.sleep(0.005)

    async def until(self, reason: str, count: int = 1) -> None:
        """Wait until something was counted."""
        async with asyncio.timeout(PATIENCE_S):
            while self.counters[reason] < count:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(
    ingest: Ingest, limit: int = 100, context: ssl.SSLContext | None = None
) -> AsyncIterator[Served]:
    connections = Connections(ingest, asyncio.get_running_loop(), limit)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connections.serve(reader, writer, context)

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    watch = asyncio.create_task(connections.watch())
    try:
        yield Served(connections, listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        watch.cancel()
        connections.close()
        await asyncio.to_thread(connections.writer.stop)


@pytest.fixture
def ingest(tmp_path: Path) -> Any:
    with Store(tmp_path / "test.db", create=True) as store:
        one = Ingest(store, KEYS)
        one.gate.withdrawn = {CONCENTRATOR: OLD_KEY}
        yield one


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the connections often."""
    monkeypatch.setattr(server, "_LOOK_S", 0.01)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def torn(one: Frame) -> bytes:
    """Return a frame of which a bit has turned on its way."""
    data = bytearray(link.build(one.kind, one.seq, one.body))
    data[-2] ^= 1
    return bytes(data)


GREETING = hello(1, 9)
FORGED = frame(Kind.HELLO, 7, GREETING, b"x" * 32)
NEW_PROTOCOL = batch.build_hello(batch.Hello(1, 9, protocol=3))
# The trouble, what is sent, under which name it is counted, and what the sender is told.
TROUBLES: list[tuple[str, Frame | bytes, str, Refusal | Kind | None]] = [
    ("torn", torn(frame(Kind.HELLO, 7, GREETING)), "torn", None),
    ("cut off", b"\x7e\x20\x07" + bytes(30) + b"\x7e", "torn", None),
    ("oversized", b"\x7e" + b"a" * 5000 + b"\x7e", "oversized", None),
    ("forged", FORGED, "bad_mac", None),
    ("of no size", Frame(Kind.HELLO, 7, b"tiny"), "malformed", None),
    ("malformed", frame(Kind.HELLO, 7, b"short"), "malformed", Refusal.MALFORMED),
    ("replayed", frame(Kind.HELLO, 5, GREETING), "stale", Refusal.STALE),
    ("reordered", frame(Kind.BATCH, 4, PAYLOAD), "stale", Refusal.STALE),
    ("of an old epoch", frame(Kind.HELLO, 7, GREETING, epoch=0), "stale", Refusal.STALE),
    ("duplicated", frame(Kind.BATCH, 6, PAYLOAD), "repeats", Kind.ACK),
    ("sent again", frame(Kind.BATCH, 7, PAYLOAD), "duplicates", Kind.ACK),
    ("too early", frame(Kind.BATCH, 7, village_of(1, 9).batch(9)), "gap", Kind.ACK),
    ("in conflict", frame(Kind.BATCH, 7, village_of(2, 1).batch()), "conflict", Refusal.CONFLICT),
    ("foreign", frame(Kind.HELLO, 7, GREETING, concentrator=8), "unknown_concentrator", None),
    (
        "of a foreign journal",
        frame(Kind.HELLO, 7, GREETING, journal=b"another!"),
        "other_journal",
        Refusal.OTHER_JOURNAL,
    ),
    ("old", Frame(Kind.HELLO, 7, b"\x01" + bytes(40)), "bad_version", None),
    ("old and genuine", frame(Kind.HELLO, 7, GREETING, version=1), "version", Refusal.VERSION),
    ("of the future", frame(Kind.HELLO, 7, GREETING, version=3), "version", Refusal.VERSION),
    ("of a new protocol", frame(Kind.HELLO, 7, NEW_PROTOCOL), "version", Refusal.VERSION),
    ("of a new kind", frame(0x2F, 7, b""), "version", Refusal.VERSION),
    ("withdrawn", frame(Kind.HELLO, 7, GREETING, OLD_KEY), "withdrawn", Refusal.WITHDRAWN),
]


@pytest.mark.parametrize(
    ("sent", "reason", "told"), [one[1:] for one in TROUBLES], ids=[one[0] for one in TROUBLES]
)
def test_each_trouble_has_its_name_and_harms_nothing(
    tmp_path: Path, ingest: Ingest, sent: Frame | bytes, reason: str, told: Refusal | Kind | None
) -> None:
    async def scenario() -> None:
        async with listening(ingest) as gate:
            peer = await gate.met()
            before = gate.counters[reason]
            peer.send(sent)
            if told is not None:
                (answer,) = await peer.heard()
                assert isinstance(sent, Frame)
                head = batch.peek(b"\x02" + sent.body[1:])
                key = OLD_KEY if told == Refusal.WITHDRAWN else KEY
                opened = batch.open_down(answer.kind, answer.body, head.journal, head.epoch, key)
                assert opened.answers == head.number
                if isinstance(told, Refusal):
                    assert answer.kind == Kind.REFUSED
                    assert batch.parse_refused(opened.payload)[0] == told
                else:
                    assert answer.kind == told
            await gate.until(reason, before + 1)
            peer.send(frame(Kind.HELLO, 9, GREETING))
            (answer,) = await peer.heard()
            assert answer.kind == Kind.WELCOME, "who is genuine goes on"

    run(scenario())
    with Store(tmp_path / "test.db") as store:
        assert store.value("SELECT count(*) FROM records") == 4


def test_a_concentrator_of_another_part_is_told(tmp_path: Path) -> None:
    async def scenario(ingest: Ingest) -> None:
        async with listening(ingest) as gate:
            peer = await gate.peer()
            peer.send(frame(Kind.HELLO, 7, GREETING))
            (answer,) = await peer.heard()
            opened = batch.open_down(answer.kind, answer.body, b"journal!", 1, KEY)
            assert batch.parse_refused(opened.payload)[0] == Refusal.OTHER_PART

    with Store(tmp_path / "test.db", create=True) as store:
        run(scenario(Ingest(store, KEYS, Shard(0, 2))))


# --- connections ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("reason", "sent"),
    [("silent", ()), ("slow", (b"\x7e\x20",)), ("slow", (FORGED,)), ("slow", (b"\x7e\x7d",))],
)
def test_who_says_nothing_genuine_in_time_is_hung_up_on(
    ingest: Ingest, reason: str, sent: tuple[Frame | bytes, ...]
) -> None:
    async def scenario() -> None:
        async with listening(ingest) as gate:
            peer = await gate.peer()
            peer.send(*sent)
            await gate.expire(peer, heard=bool(sent))
            assert await peer.is_closed()
            assert gate.counters[reason] == 1
            assert not gate.connections._unproven
            assert not gate.connections._unproven_at

    run(scenario())


@pytest.mark.usefixtures("hurried")
def test_who_only_repeats_what_it_has_heard_is_no_concentrator(ingest: Ingest) -> None:
    async def scenario() -> None:
        async with listening(ingest) as gate:
            genuine = await gate.met()
            stranger = await gate.peer()
            stranger.send(frame(Kind.HELLO, 5, GREETING))
            stranger.send(frame(Kind.BATCH, 6, PAYLOAD))
            assert await stranger.heard()
            (one,) = [one for one in gate.connections.open if not one.proven]
            await gate.expire(stranger)
            assert await stranger.is_closed()
            assert not one.proven
            assert gate.counters["slow"] == 1
            genuine.send(frame(Kind.HELLO, 8, GREETING))
            assert (await genuine.heard())[0].kind == Kind.WELCOME

    run(scenario())


@pytest.mark.usefixtures("hurried")
def test_an_idle_and_a_deaf_connection_are_closed(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with listening(ingest) as gate:
            peer = await gate.met()
            await gate.expire(peer)
            assert await peer.is_closed()
            assert gate.counters["idle"] == 1
            monkeypatch.setattr(server, "UNTAKEN_LIMIT", -1)
            deaf = await gate.peer()
            assert await deaf.is_closed()
            assert gate.counters["deaf"] == 1

    run(scenario())


def test_a_half_open_connection_is_found_by_keep_alive(ingest: Ingest) -> None:
    async def scenario() -> None:
        async with listening(ingest) as gate:
            peer = await gate.met()
            (one,) = gate.connections.open
            line = one.stream.get_extra_info("socket")
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            found = [line.getsockopt(socket.IPPROTO_TCP, option) for option in options]
            assert found == [60, 20, 3]
            peer.writer.close()

    run(scenario())


def test_p14_three_forged_messages_end_a_connection(ingest: Ingest) -> None:
    """Also where they come at once: the rest of a flood is not even looked at."""

    async def scenario() -> None:
        async with listening(ingest) as gate:
            peer = await gate.peer()
            peer.send(*(FORGED,) * 200)
            assert await peer.is_closed()
            assert (gate.counters["bad_mac"], gate.counters["forged"]) == (3, 1)

    run(scenario())


def test_robust_garbage_ends_a_connection(ingest: Ingest) -> None:
    async def scenario() -> None:
        async with listening(ingest) as gate:
            peer = await gate.peer()
            peer.send(b"\x7eabc" * 500)
            assert await peer.is_closed()
            assert gate.counters["garbage"] == 1

    run(scenario())


def test_a_concentrator_that_comes_again_and_again_keeps_few_connections(ingest: Ingest) -> None:
    async def scenario() -> None:
        async with listening(ingest) as gate:
            peers = []
            for number in range(1, 7):
                peers.append(await gate.peer())
                peers[-1].send(frame(Kind.HELLO, number, GREETING))
                assert await peers[-1].heard()
            assert await peers[0].is_closed()
            assert await peers[1].is_closed()
            assert gate.counters["superseded"] == 2
            assert len(gate.connections.open) == server.EACH_LIMIT
            peers[2].send(frame(Kind.HELLO, 9, GREETING))
            assert await peers[2].heard()

    run(scenario())


def test_p14_silent_strangers_give_way_to_who_comes_later(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNPROVEN_AT_ADDRESS_LIMIT", 3)

    async def scenario() -> None:
        async with listening(ingest) as gate:
            strangers = [await gate.peer() for _ in range(20)]
            genuine = await gate.met()
            assert await strangers[0].is_closed()
            await gate.until("crowded_out", 18)
            assert len(gate.connections.open) == 3
            genuine.send(frame(Kind.HELLO, 9, GREETING))
            assert await genuine.heard()

    run(scenario())


def test_more_concentrators_than_files_are_refused_by_name(ingest: Ingest) -> None:
    async def scenario() -> None:
        async with listening(ingest, limit=1) as gate:
            first = await gate.met()
            late = await gate.peer()
            assert await late.is_closed()
            assert gate.counters["too_many_connections"] == 1
            first.send(frame(Kind.HELLO, 9, GREETING))
            assert await first.heard()

    run(scenario())


def test_a_message_that_waits_gives_way_to_a_newer_one(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that has lost patience asks anew: only its newest question is worked on."""

    async def scenario() -> None:
        async with listening(ingest) as gate:
            peer = await gate.met()
            writer = gate.connections.writer
            lasting = asyncio.Event()
            loop = asyncio.get_running_loop()

            def last() -> None:
                asyncio.run_coroutine_threadsafe(lasting.wait(), loop).result()

            writer.between_commits(last)
            for number in (7, 7, 8, 9):
                peer.send(frame(Kind.HELLO, number, GREETING))
                await peer.writer.drain()
                await asyncio.sleep(0.05)
            hellos = gate.counters["hellos"]
            lasting.set()
            answers = await peer.heard()
            assert [one.seq for one in answers] == [9]
            assert gate.counters["hellos"] == hellos + 1
            assert writer.overtaken == 3

    run(scenario())


# --- the log -------------------------------------------------------------------------------------


def test_a_flood_is_one_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    teller = logs.Teller()
    with caplog.at_level(logging.INFO, "dianka.headend"):
        for port in range(500):
            teller.tell(logging.WARNING, f"10.0.0.9:{port}", "bad_mac", "refused")
        teller.tell(logging.WARNING, "10.0.0.9:1", "torn", "refused")
        teller.tell(logging.WARNING, "10.0.0.8:1", "torn", "refused")
        assert len(caplog.records) == 3
        now[0] += 60
        teller.tell(logging.WARNING, "10.0.0.9:7", "bad_mac", "refused")
    assert caplog.messages[-1] == "10.0.0.9:7: refused (+499)"


def test_a_line_is_one_json_object(ingest: Ingest, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dianka.headend"):
        ingest.open(FORGED, "10.0.0.9:1234")
    line = logs.JsonFormatter().format(caplog.records[-1])
    told = json.loads(line)
    assert "\n" not in line
    assert (told["level"], told["peer"], told["reason"]) == ("warning", "10.0.0.9:1234", "bad_mac")
    assert told["text"].endswith("wrong MAC from concentrator 7")
    assert datetime.fromisoformat(told["time"]).tzinfo == UTC


# --- keys ----------------------------------------------------------------------------------------


def said(*words: object, **told: Any) -> str:
    """Return what `dianka headend keys WORDS` says."""
    result = CliRunner().invoke(cli, ["headend", "keys", *map(str, words)], **told)
    return f"{result.exit_code} {result.output}"


def test_keys_are_made_added_listed_and_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "uplink.toml"
    file = ("--keys", path)
    assert said("new", *file, "--concentrator", 7).startswith("0 ")
    words = ("add", *file, "--concentrator", 8)
    assert said(*words, input=KEY.hex() + "\n").startswith("0 ")
    assert "hexadecimal digits" in said("add", *file, "--concentrator", 9, input="no key\n")
    first = keys.load(path)[7]
    assert keys.load(path)[8] == KEY
    assert said("withdraw", *file, "--concentrator", 7).startswith("0 ")
    assert "no key of concentrator 7" in said("withdraw", *file, "--concentrator", 7)
    assert keys.read(path) == keys.KeyFile({8: KEY}, {7: first})
    assert said("new", *file, "--concentrator", 7).startswith("0 ")
    assert said("withdraw", *file, "--concentrator", 8).startswith("0 ")
    found = keys.read(path)
    assert (found.withdrawn, list(found.keys)) == ({7: first, 8: KEY}, [7])
    listed = json.loads(said("list", *file, "--json").removeprefix("0 "))["keys"]
    assert [(one["concentrator"], one["key"]) for one in listed] == [
        (7, "in use"),
        (7, "withdrawn"),
        (8, "withdrawn"),
    ]
    plain = said("list", *file)
    assert "3eb483a5c53d16a1" in plain
    assert not any(one.hex() in plain for one in (KEY, first))
    path.chmod(0o640)
    assert "chmod 600" in said("list", *file)


def test_a_key_file_in_other_words_is_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "uplink.toml"
    text = f'uplink = {{ 7 = "{KEY.hex()}" }}\n'
    path.write_text(text)
    assert "by hand" in said("withdraw", "--keys", path, "--concentrator", 7)
    assert path.read_text() == text


# --- TLS -----------------------------------------------------------------------------------------


def certified(folder: Path) -> tuple[Path, Path]:
    """Return the files of a certificate for localhost and of its private key."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    own = private.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = folder / "cert.pem", folder / "key.pem"
    for path, text in zip(paths, (made.public_bytes(pem), own), strict=True):
        path.write_bytes(text)
    paths[1].chmod(0o600)
    return paths


def test_the_same_messages_come_under_tls(ingest: Ingest, tmp_path: Path) -> None:
    cert, key = certified(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def scenario() -> None:
        async with listening(ingest, context=context) as gate:
            trusted = ssl.create_default_context(cafile=str(cert))
            peer = await gate.peer(ssl=trusted, server_hostname="localhost")
            peer.send(frame(Kind.HELLO, 5, GREETING))
            assert (await peer.heard())[0].kind == Kind.WELCOME
            plain = await gate.peer()
            plain.send(frame(Kind.HELLO, 6, GREETING))
            assert await plain.is_closed()
            assert gate.counters["hellos"] == 1

    run(scenario())


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--tls-key", "keys.toml"), "give --tls-cert as well"),
        (("--tls-cert", "none.pem"), "cannot read"),
        (("--tls-cert", "keys.toml"), "not a certificate with its private key"),
    ],
)
def test_wrong_files_of_a_certificate_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    keys.new(Path("keys.toml"), 7)
    command = ("headend", "serve", "--db", "x.db", "--keys", "keys.toml", *words)
    result = CliRunner().invoke(cli, command)
    assert (result.exit_code != 0, hint in result.output) == (True, True), result.output
    assert not Path("x.db").exists()
