"""Goal: whatever the disk or the database does, nothing is acknowledged that is not stored,
nothing is lost, and the head-end goes on when the trouble is over.

Method: `dianka headend serve` runs as a process on a file that is full, locked or read-only for a
while; a device with the firmware's session brings its records meanwhile.
"""

import os
import resource
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.frames import link
from host.frames.link import Kind, LinkReader
from host.headend import orders
from host.headend.errors import StoreError
from host.headend.reconcile import reconcile
from host.headend.store import Store
from tests.host.serving import HeadEnd, converse
from tests.host.uplink_world import Device, Village, account_name, village_of

HOUSEHOLDS = 5


@pytest.fixture
def head_end(tmp_path: Path) -> Iterator[HeadEnd]:
    running = HeadEnd(tmp_path)
    with Store(running.db) as store:
        for row in range(HOUSEHOLDS):
            orders.sell(store, account_name(row), 10000)
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def heard(device: Device, sock: socket.socket, for_s: float) -> list[int]:
    """Let a device talk for so long; return the kinds of the answers."""
    kinds = []
    frames = LinkReader()
    end = time.monotonic() + for_s
    sock.settimeout(0.2)
    while time.monotonic() < end:
        sent = device.step()
        if sent:
            sock.sendall(sent)
        try:
            data = sock.recv(4096) if sent else b""
        except TimeoutError:
            continue
        for one in frames.feed(data):
            kinds.append(one.kind)
            device.hear(link.build(one.kind, one.seq, one.body))
    return kinds


def all_is_there(head_end: HeadEnd, device: Device, village: Village) -> None:
    """Bring the rest, and compare."""
    device.session.reset()
    with head_end.connect() as sock:
        converse(device, sock, until_idle=True)
    with Store(head_end.db) as store:
        result = reconcile(store)
        assert (result.differences, result.records) == ([], village.durable_seq)


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(head_end: HeadEnd) -> None:
    village = village_of(HOUSEHOLDS, 40)
    device = Device(village)
    with head_end.connect() as sock:
        converse(device, sock, limit=2)
    limits = resource.prlimit(head_end.process.pid, resource.RLIMIT_FSIZE)
    wal = head_end.db.with_name(f"{head_end.db.name}-wal")
    resource.prlimit(head_end.process.pid, resource.RLIMIT_FSIZE, (wal.stat().st_size, limits[1]))
    before = head_end.stored_seq()
    device.session.reset()
    with head_end.connect() as sock:
        assert Kind.ACK not in heard(device, sock, 1.5)
    assert head_end.stored_seq() == before
    with Store(head_end.db) as store, pytest.raises(StoreError):
        orders.sell(store, account_name(0), 100)
    resource.prlimit(head_end.process.pid, resource.RLIMIT_FSIZE, limits)
    all_is_there(head_end, device, village)
    with Store(head_end.db) as store:
        assert orders.sell(store, account_name(0), 100) == 2
    assert "store_failed" in head_end.log.read_text()


def test_a_database_that_is_locked_for_a_while_is_waited_for(head_end: HeadEnd) -> None:
    village = village_of(HOUSEHOLDS, 10)
    device = Device(village)
    with (
        closing(
            sqlite3.connect(head_end.db, isolation_level=None, check_same_thread=False)
        ) as other,
        head_end.connect() as sock,
    ):
        other.execute("BEGIN IMMEDIATE")
        freed = threading.Timer(1, lambda: other.execute("ROLLBACK"))
        freed.start()
        began = time.monotonic()
        converse(device, sock, until_idle=True)
        assert time.monotonic() - began > 0.5
        freed.join()
    all_is_there(head_end, device, village)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_a_file_that_cannot_be_written_is_named(head_end: HeadEnd, tmp_path: Path) -> None:
    head_end.end(signal.SIGTERM)
    for path in tmp_path.iterdir():
        path.chmod(0o444)
    tmp_path.chmod(0o555)
    for folder in tmp_path.parents:  # pytest's own, which are closed to others
        folder.chmod(0o755)
        if folder.name.startswith("pytest-of-"):
            break
    # Another user cannot read Python's modules, so all that is needed is loaded before.
    words = ["--keys", str(head_end.keys), "--port", "0"]
    result = CliRunner().invoke(cli, ["headend", "serve", "--db", str(tmp_path), *words])
    assert result.exit_code == 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # root may write everywhere, so another user tries
        try:
            os.setuid(65534)
            words = ["--db", str(head_end.db), *words]
            result = CliRunner().invoke(cli, ["headend", "serve", *words])
            os.write(writing, f"{result.exit_code} {result.output}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    said = os.read(reading, 4096).decode()
    os.close(reading)
    tmp_path.chmod(0o755)
    *_warnings, error = said.removeprefix("1 ").splitlines()
    assert (said[0], error[:7], "village.db" in error) == ("1", "Error: ", True)
    assert "Traceback" not in said
