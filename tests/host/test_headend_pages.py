"""Goal: pages are answered by a process of their own, which the first one starts, and survives.

Method: `dianka headend serve --http-port` runs as a process; its second process is asked, killed
and left alone.
"""

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.frames import link
from host.frames.link import Kind
from tests.host.serving import PATIENCE_S, HeadEnd, answers
from tests.host.uplink_world import frame, hello


@pytest.fixture
def head_end(tmp_path: Path) -> Iterator[HeadEnd]:
    running = HeadEnd(tmp_path, "--http-port", "0")
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def page(head_end: HeadEnd, path: str) -> tuple[int, str]:
    """Return status and text of a page."""
    try:
        with urllib.request.urlopen(f"{head_end.url}/{path}", timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def second_process(head_end: HeadEnd) -> int:
    """Return the number of the process of the pages."""
    own = head_end.process.pid
    text = Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii")
    (child,) = map(int, text.split())
    return child


def until(condition: object) -> None:
    """Wait until something is so."""
    assert callable(condition)
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def greet(head_end: HeadEnd) -> None:
    """Send HELLO and receive the answer."""
    with head_end.connect() as sock:
        one = frame(Kind.HELLO, 1, hello(1, 1))
        sock.sendall(link.build(one.kind, one.seq, one.body))
        assert len(answers(sock)) == 1


def is_healthy(head_end: HeadEnd) -> bool:
    try:
        return page(head_end, "healthz") == (200, "ok\n")
    except OSError:
        return False


def test_health_and_metrics_are_told(head_end: HeadEnd) -> None:
    greet(head_end)
    assert page(head_end, "healthz") == (200, "ok\n")
    status, metrics = page(head_end, "metrics")
    assert status == 200
    assert "\ndianka_hellos_total 1\n" in metrics
    assert "\ndianka_concentrators_heard 1\n" in metrics
    assert page(head_end, "passwords")[0] == 404
    assert second_process(head_end) != head_end.process.pid


def test_the_pages_end_and_come_again_without_harm(head_end: HeadEnd) -> None:
    first = second_process(head_end)
    with socket.create_connection(("127.0.0.1", int(head_end.url.rsplit(":", 1)[1]))):
        os.kill(first, signal.SIGKILL)
        greet(head_end)
    until(lambda: is_healthy(head_end))
    assert second_process(head_end) != first


def test_pages_say_that_nobody_answers_and_end_with_the_head_end(head_end: HeadEnd) -> None:
    child = second_process(head_end)
    os.kill(head_end.process.pid, signal.SIGSTOP)
    assert page(head_end, "healthz") == (503, "the head-end does not answer\n")
    os.kill(head_end.process.pid, signal.SIGCONT)
    head_end.end(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{child}/cmdline").exists() or not is_healthy(head_end))


def test_a_port_in_use_is_named(head_end: HeadEnd, tmp_path: Path) -> None:
    port = head_end.url.rsplit(":", 1)[1]
    words = ["--db", str(tmp_path / "other.db"), "--keys", str(head_end.keys), "--port", "0"]
    result = CliRunner().invoke(cli, ["headend", "serve", *words, "--http-port", port])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.output
    assert "--http-port" in result.output
