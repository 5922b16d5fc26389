"""Goal: pages are answered by a process of their own, which the first one starts, and survives.

Method: `dianka headend serve --http-port` runs as a process; its second process is asked, killed
and left alone.
"""

import os
import re
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
from host.frames.batch import Refusal
from host.frames.link import Kind
from host.headend.metrics import metrics_lines
from host.headend.metrics_help import MEANINGS
from tests.host.serving import PATIENCE_S, HeadEnd, answers
from tests.host.uplink_world import frame, hello


@pytest.fixture
def head_end(tmp_path: Path) -> Iterator[HeadEnd]:
    running = HeadEnd(tmp_path, "--http-port", "0")
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def page(head_end: HeadEnd, path: str, language: str = "en") -> tuple[int, str]:
    """Return status and text of a page."""
    request = urllib.request.Request(f"{head_end.url}/{path}")
    request.add_header("Accept-Language", language)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
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
    status, text = page(head_end, "metrics/help")
    assert status == 200
    assert '<code>dianka_hellos_total</code><td>counter<td class="n">1<td>greetings' in text
    status, text = page(head_end, "metrics/help", "zh-CN,zh;q=0.9")
    assert status == 200
    assert '<html lang="zh-CN">' in text
    assert re.search(r"dianka_hellos_total</code><td>[\u4e00-\u9fff]+<td", text)
    assert page(head_end, "passwords")[0] == 404
    assert second_process(head_end) != head_end.process.pid


# How the code counts: by a name in brackets, or as the reason of a refusal.
_COUNTED = re.compile(
    r"(?:count(?:ers|ed)\[|_hang_up\([a-z0-9\[\]]+, |self\._count\(|UplinkError\(|_refuse\()"
    r'"(\w+)"'
)


def test_every_number_is_explained() -> None:
    counted = {one.name.lower() for one in Refusal}
    for name in ("ingest", "server", "gate", "writer", "unpack"):
        counted |= set(_COUNTED.findall(Path(f"host/headend/{name}.py").read_text("utf-8")))
    assert {"store_failed", "bad_mac", "deaf", "torn", "hellos"} <= counted
    assert counted <= set(MEANINGS), counted - set(MEANINGS)
    state = {"gauges": {"connections": 3}, "counts": {"hellos": 2, "new": 1}}
    assert "".join(metrics_lines(state)) == (
        f"# HELP dianka_connections {MEANINGS['connections']}\n"
        "# TYPE dianka_connections gauge\ndianka_connections 3\n"
        f"# HELP dianka_hellos_total {MEANINGS['hellos']}\n"
        "# TYPE dianka_hellos_total counter\ndianka_hellos_total 2\n"
        "# TYPE dianka_new_total counter\ndianka_new_total 1\n"
    )


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
