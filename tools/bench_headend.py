"""What a head-end carries: `make bench-headend`, and `make -s bench-headend-json` for one object.

Messages are sealed beforehand, so that only the head-end's work is measured. Each concentrator is
one connection that waits for its answer before it sends again, as devices do; all of them have a
backlog. Processor time is that of the head-end's process, for PostgreSQL with its servers'. The
wait for an acknowledgement begins where a batch is first sent: BUSY does not end it, so what a
device waits because it is told to counts as well.
"""

import argparse
import heapq
import json
import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from host.frames import batch, link, packing, record
from host.frames.link import Kind
from host.frames.record import Record, RecordKind
from host.headend import migrate
from host.headend.reconcile import households, reconcile
from host.headend.store import Store, is_address
from tools import cluster

ROOT = Path(__file__).resolve().parent.parent
METERS = 50
BODY_SIZE = 1000
_START_T2000 = 820_000_000
_TICKS = os.sysconf("SC_CLK_TCK")


def key_of(concentrator: int) -> bytes:
    """Return the uplink key of a concentrator of the bench."""
    return concentrator.to_bytes(4, "big") * 8


def journal_of(concentrator: int) -> bytes:
    """Return the identity of its journal."""
    return concentrator.to_bytes(batch.JOURNAL_SIZE, "little")


def meters(concentrator: int) -> list[Record]:
    """Return the METER records of a concentrator of the bench."""
    fields = {"tariff": 1, "line": 0, "standard": 0, "active": 1}
    found = []
    for row in range(METERS):
        name = f"{concentrator * METERS + row:012d}"
        told = {**fields, "address": name, "account": name}
        found.append(record.make(row + 1, _START_T2000, RecordKind.METER, told, index=row))
    return found


def reading(seq: int) -> Record:
    """Return the record of a number behind the meters, a READING."""
    row, turn = seq % METERS, seq // METERS
    debit_fen = 20 + turn * 12 + row
    used_wh = debit_fen * 20
    registers = [used_wh, used_wh // 4, used_wh // 3, used_wh - used_wh // 4, 0, 0, 0, 0]
    payload = struct.pack("<IIHHI8I", debit_fen, 4321 * row, 0, 0, used_wh, *registers)
    t2000 = _START_T2000 + 900 * turn + row
    return Record(seq, t2000, int(RecordKind.READING), 0, row, payload, {})


def payloads(readings: int) -> list[bytes]:
    """Return the batches of readings behind the meters; they are the same for all."""
    found, seq, last = [], METERS + 1, METERS + readings
    while seq <= last:
        groups = b""
        while seq <= last:
            count = min(25, last - seq + 1)
            group = packing.build_groups([reading(one) for one in range(seq, seq + count)])
            if groups and len(groups) + len(group) > BODY_SIZE:
                break
            groups += group
            seq += count
        found.append(groups)
    return found


def sealed(kind: int, concentrator: int, number: int, payload: bytes, key: bytes) -> bytes:
    """Return the frame of a message."""
    head = batch.Head(concentrator, journal_of(concentrator), 1, number)
    return link.build(kind, number & 0xFF, batch.seal_up(kind, head, payload, key))


def messages(concentrator: int, batches: list[bytes]) -> list[bytes]:
    """Return all frames of a concentrator: a greeting, its meters, its readings."""
    key = key_of(concentrator)
    count = METERS + sum(_count(one) for one in batches)
    found = [
        sealed(Kind.HELLO, concentrator, 1, batch.build_hello(batch.Hello(1, count + 1)), key)
    ]
    found.append(
        sealed(Kind.BATCH, concentrator, 2, packing.build_groups(meters(concentrator)), key)
    )
    found += [
        sealed(Kind.BATCH, concentrator, at + 3, payload, key)
        for at, payload in enumerate(batches)
    ]
    return found


def _count(payload: bytes) -> int:
    """How many records a batch has."""
    at = count = 0
    while at < len(payload):
        size, items = struct.unpack_from("<HB", payload, at)
        at, count = at + size, count + items
    return count


# --- a head-end ----------------------------------------------------------------------------------


class HeadEnd:
    """`dianka headend serve` as a process of its own, and what it has used of the processor."""

    def __init__(
        self, database: str, folder: Path, concentrators: int, shard: str = "0/1"
    ) -> None:
        keys = folder / "keys.toml"
        lines = (f'{one} = "{key_of(one).hex()}"' for one in range(1, concentrators + 1))
        keys.write_text("[uplink]\n" + "\n".join(lines) + "\n", encoding="utf-8")
        program = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))\n"
        program += "from host.cli import main; main()"
        words = ["headend", "serve", "--db", database, "--port", "0", "--keys", str(keys)]
        words += ["--shard", shard]
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().rsplit(":", 1)[1])

    @property
    def cpu_s(self) -> float:
        """Processor time so far."""
        return _cpu_s(self._process.pid)

    @property
    def rss_mb(self) -> float:
        """Memory at its highest."""
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        line = next(one for one in text.splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        """End it as a person would."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=60)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


class _Device:
    """A connection that waits for its answer before it sends again, as firmware does."""

    def __init__(self, port: int, concentrator: int, frames: list[bytes]) -> None:
        self.line = socket.create_connection(("127.0.0.1", port), 60)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._concentrator = concentrator
        self._frames = frames
        self._at = 0
        self._reader = link.LinkReader()
        self._began = 0.0

    def send(self) -> None:
        """Send the next frame, or the same one again."""
        self._began = self._began or time.perf_counter()
        self.line.sendall(self._frames[self._at])

    def hear(self, load: "_Load") -> None:
        """Take what has come; send the next frame, or the same one when the head-end says so."""
        data = self.line.recv(4096)
        if not data:
            raise SystemExit("the head-end has hung up")
        for answer in self._reader.feed(data):
            wait_s = time.perf_counter() - self._began
            if answer.kind == Kind.BUSY_LATER:
                load.put_off(self, self._after_s(answer))
                continue
            if self._at > 1:  # neither the greeting nor the table of meters
                load.waits.append(wait_s)
            self._at += 1
            self._began = 0.0
            if self._at < len(self._frames):
                self.send()
            else:
                load.end(self)

    def _after_s(self, answer: link.Frame) -> int:
        key, journal = key_of(self._concentrator), journal_of(self._concentrator)
        opened = batch.open_down(answer.kind, answer.body, journal, 1, key)
        return batch.parse_busy(opened.payload)


class _Load:
    """All devices of a run. `waits` are the seconds from each batch to its acknowledgement."""

    def __init__(self, ports: list[int], all_frames: list[list[bytes]]) -> None:
        self.waits: list[float] = []
        self.busy = 0
        self._selector = selectors.DefaultSelector()
        self._later: list[tuple[float, int, _Device]] = []
        self._chance = random.Random(1)
        self._devices = [
            _Device(ports[one % len(ports)], one, frames)
            for one, frames in enumerate(all_frames, 1)
        ]
        for device in self._devices:
            self._selector.register(device.line, selectors.EVENT_READ, device)

    def put_off(self, device: _Device, after_s: int) -> None:
        """Have a device send again after about so many seconds, as firmware draws them."""
        self.busy += 1
        due = time.perf_counter() + after_s * self._chance.uniform(0.5, 1.5)
        heapq.heappush(self._later, (due, self.busy, device))

    def end(self, device: _Device) -> None:
        """Close the connection of a device that has brought everything."""
        self._selector.unregister(device.line)
        device.line.close()

    def run(self) -> float:
        """Bring everything; return how many seconds it took."""
        began = time.perf_counter()
        for device in self._devices:
            device.send()
        while self._selector.get_map():
            until_s = self._later[0][0] - time.perf_counter() if self._later else None
            for key, _ in self._selector.select(until_s):
                key.data.hear(self)
            while self._later and self._later[0][0] <= time.perf_counter():
                heapq.heappop(self._later)[2].send()
        return time.perf_counter() - began


def carried(
    database: str, folder: Path, concentrators: int, readings: int, parts: int = 1
) -> dict[str, float]:
    """Return what a run of so many concentrators with so many readings each has shown.

    With `parts` as many head-ends serve the database, each its part of the concentrators.
    """
    batches = payloads(readings)
    all_frames = [messages(one, batches) for one in range(1, concentrators + 1)]
    head_ends = [
        HeadEnd(database, folder, concentrators, f"{index}/{parts}") for index in range(parts)
    ]

    def cpu_s() -> float:
        servers_s = cluster.cpu_s(database) if is_address(database) else 0.0
        return servers_s + sum(one.cpu_s for one in head_ends)

    try:
        before = cpu_s()
        load = _Load([one.port for one in head_ends], all_frames)
        wall_s = load.run()
        used_s = cpu_s() - before
        waits = sorted(load.waits)
        return {
            "readings": concentrators * readings,
            "per_cpu_s": concentrators * readings / used_s,
            "per_s": concentrators * readings / wall_s,
            "p50_ms": 1000 * waits[len(waits) // 2],
            "p99_ms": 1000 * waits[len(waits) * 99 // 100],
            "busy_share": load.busy / (load.busy + len(waits)),
            "cpu_share": used_s / wall_s,
            "load_average": os.getloadavg()[0],
            "rss_mb": max(one.rss_mb for one in head_ends),
        }
    finally:
        for one in head_ends:
            one.stop()


# --- a grown database ----------------------------------------------------------------------------


# Rows i of households and turns t of readings, as far as a statement names them.
_EACH = """WITH RECURSIVE n(i, name, place, line) AS (
    SELECT {first}, printf('%012d', {first}), {first} / {meters} + 1, {first} % {meters} UNION ALL
    SELECT i + 1, printf('%012d', i + 1), (i + 1) / {meters} + 1, (i + 1) % {meters} FROM n
    WHERE i + 1 < {first} + {households}
), t(turn) AS (SELECT 0 UNION ALL SELECT turn + 1 FROM t WHERE turn + 1 < {turns}) """
_FILLING = (
    """INSERT INTO accounts (account, concentrator, "row", meter, credit_fen, debit_fen, readings,
    "order", last_t2000) {each}
    SELECT name, place, line, name, 10000, {turns}, {turns}, 1, {start} FROM n""",
    """INSERT INTO orders (account, "order", amount_fen) {each} SELECT name, 1, 10000 FROM n""",
    """INSERT INTO top_ups (concentrator, seq, t2000, account, "order", amount_fen, credit_fen,
    balance_fen, books_fen) {each}
    SELECT place, line + 1, {start}, name, 1, 10000, 10000, 10000, 10000 FROM n""",
    """INSERT INTO records {each}
    SELECT place, (turn + 1) * {meters} + line + 1, {start} + 900 * turn + line, 2, 0, line,
    zeroblob(36), {start} FROM n, t ORDER BY 1, 2""",
    """INSERT INTO records {each}
    SELECT place, line + 1, {start}, 3, 0, line, zeroblob(40), {start} FROM n""",
    """INSERT INTO readings {each}
    SELECT ({start} + 900 * turn + line) / 86400, name, {start} + 900 * turn + line, place,
    (turn + 1) * {meters} + line + 1, name, turn + 1, 0, 0, 0, 20 * turn,
    '[100000, 20000, 30000, 50000]' FROM n, t ORDER BY 1, 2, 3""",
    """INSERT INTO concentrators (concentrator, acked_seq, last_number)
    SELECT concentrator, max(seq), 1 FROM records GROUP BY concentrator""",
    """INSERT INTO meters (concentrator, "row", address, account, active, seq)
    SELECT concentrator, "row", meter, account, 1, 1 FROM accounts""",
)


def grown(path: Path, households_count: int, readings: int, first: int = 0) -> None:
    """Write a database with so many households and readings, as ingest leaves it, by SQL alone.

    `first` is the number of the first household.
    """
    numbers = {"meters": METERS, "households": households_count, "start": _START_T2000}
    numbers |= {"turns": readings // households_count, "first": first}
    with Store(path, create=True) as store, store.writing() as database:
        for statement in _FILLING:
            database.run(statement.format(each=_EACH.format(**numbers), **numbers))


def _page(store: Store, account: str, day: int) -> None:
    """Look at what a page of an account shows: its standing, its money, a month of readings."""
    days = ", ".join(str(day + at) for at in range(31))
    households(store, account)
    store.rows(f"SELECT * FROM readings WHERE day IN ({days}) AND meter = ?", (account,))
    for table in ("top_ups", "orders", "alarms", "relays"):
        store.rows(f"SELECT * FROM {table} WHERE account = ?", (account,))


def looked_at(path: Path) -> dict[str, float]:
    """Return how long it takes to look at a database of 10,000 households and 2 M readings."""
    grown(path, 10_000, 2_000_000)
    with Store(path, read_only=True) as store:
        account, day = f"{4321:012d}", (_START_T2000 + 86_400) // 86_400
        reading = "SELECT * FROM readings WHERE day = ? AND meter = ? ORDER BY t2000"
        found: dict[str, float] = {}
        found["meter_day_ms"] = 1000 * _least(lambda: store.rows(reading, (day, account)))
        found["account_page_ms"] = 1000 * _least(lambda: _page(store, account, day))
        began = time.perf_counter()
        result = reconcile(store)
        found["reconcile_s"] = time.perf_counter() - began
        if not result.ok:
            raise SystemExit(f"the bench's own database does not agree: {result.differences[:3]}")
    began = time.perf_counter()
    words = [sys.executable, "-c", "from host.cli import main; main()", "headend", "show"]
    subprocess.run([*words, "--db", str(path)], stdout=subprocess.DEVNULL, check=True, cwd=ROOT)
    found["show_10000_s"] = time.perf_counter() - began
    return found


def _least(look: Callable[[], object], times: int = 5) -> float:
    """Return the shortest of some runs, in seconds."""
    runs = []
    for _ in range(times):
        began = time.perf_counter()
        look()
        runs.append(time.perf_counter() - began)
    return min(runs)


def grown_rate(folder: Path, concentrators: int, readings: int) -> float:
    """Return the rate into a database of 10 M readings over that into one of 1 M."""
    rates = []
    for size in (1_000_000, 10_000_000):
        path = folder / f"grown-{size}.db"
        # The bench's own concentrators have other numbers than those that have filled it.
        grown(path, 10_000, size, METERS * 100_000)
        os.sync()  # so that the disk has nothing else to do
        rates.append(carried(str(path), folder, concentrators, readings)["per_cpu_s"])
        path.unlink()
    return rates[1] / rates[0]


# --- all of it -----------------------------------------------------------------------------------


def measured(*, quick: bool = False) -> dict[str, float]:
    """Return every figure by its name; `quick` takes less of everything, to try the bench out."""
    scale = 10 if quick else 1
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="dianka-bench-") as name:
        folder = Path(name)
        one = carried(str(folder / "rate.db"), folder, 200, 2000 // scale)
        found["sqlite_readings_per_cpu_s"] = one["per_cpu_s"]
        found["sqlite_readings_per_s"] = one["per_s"]
        for concentrators, readings in ((50, 4000), (600, 600), (1600, 300)):
            path = folder / f"ack-{concentrators}.db"
            one = carried(str(path), folder, concentrators, readings // scale)
            told = ("p50_ms", "p99_ms", "busy_share", "cpu_share", "load_average")
            found |= {f"ack_{key}_{concentrators}": one[key] for key in told}
            found["rss_mb"] = one["rss_mb"]
            path.unlink()
        found["ack_p50_ms"] = found["ack_p50_ms_1600"]
        found["ack_p99_ms"] = found["ack_p99_ms_1600"]
        if cluster.programs() is not None:
            found |= _on_postgres(folder, 1000 // scale)
        found |= looked_at(folder / "look.db")
        found["rate_at_10m_over_1m"] = 1.0 if quick else grown_rate(folder, 100, 2000)
    return {key: round(value, 2) for key, value in found.items()}


def _on_postgres(folder: Path, readings: int) -> dict[str, float]:
    """Return the rates into PostgreSQL, of one process and of two that share the concentrators."""
    found: dict[str, float] = {}
    for parts, name in ((1, "postgres"), (2, "postgres_2_parts")):
        with cluster.cluster(durable=True) as address:
            migrate.make_postgres(address)
            one = carried(address, folder, 200, readings, parts)
        found[f"{name}_readings_per_cpu_s"] = one["per_cpu_s"]
        found[f"{name}_readings_per_s"] = one["per_s"]
    return found


def tell(what: str, measure: Callable[..., dict[str, float]]) -> int:
    """Run the command line of a bench: print what `measure` has found, as a list or as JSON."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="few of everything, to try it out")
    told = parser.parse_args()
    found = measure(quick=told.quick)
    if told.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:32}{value:14,.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(tell("Measure what a head-end carries.", measured))
