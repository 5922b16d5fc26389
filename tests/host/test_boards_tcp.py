"""Goal: boards that have lost their head-end do not come back all at once, and greet it at once.

Method: a client connects to a port where nobody listens, with a clock that the test moves, and the
times between its attempts are looked at; then to one where somebody does.
"""

import socket
import time

import pytest
from boards.tcp import TcpClient


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the time in ms, which the test moves."""
    now = [5000]
    monkeypatch.setattr(time, "ticks_ms", lambda: now[0], raising=False)
    monkeypatch.setattr(time, "ticks_add", lambda at, ms: at + ms, raising=False)
    monkeypatch.setattr(time, "ticks_diff", lambda one, other: one - other, raising=False)
    return now


def test_each_wait_before_a_connection_is_another_one(now: list[int]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        client = TcpClient("127.0.0.1", closed.getsockname()[1])
        waits = []
        for _ in range(200):
            client.close()
            waits.append(client._next_ticks - now[0])
            now[0] += 2000
    assert min(waits) >= 500
    assert max(waits) < 1500
    assert len(set(waits)) > 50


def test_a_new_connection_wakes_the_concentrator(now: list[int]) -> None:
    """A quiet concentrator slept up to 30 s, and the head-end hangs up after 10 s of silence."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = TcpClient("127.0.0.1", server.getsockname()[1])
        server.settimeout(30)
        client.look()
        with server.accept()[0]:
            while not client.connection:
                client.look()
            assert client.waiting
        client.close()
