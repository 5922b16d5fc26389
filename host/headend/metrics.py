"""The state of a serving head-end in numbers, for monitoring."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from host.headend.metrics_help import MEANINGS
from host.headend.server import Connections

_COMMIT_LIMIT_S = 30
_BEGAN = time.time()


def state(connections: Connections) -> dict[str, Any]:
    """Return the numbers of now, counts and others, and what is wrong: "" if nothing is."""
    writer, ingest = connections.writer, connections.ingest
    positions = list(ingest.positions.values())
    behind = sum(max(0, one.next_seq - 1 - one.acked_seq) for one in positions)
    is_slow = writer.commit_s > _COMMIT_LIMIT_S
    return {
        "trouble": "the database does not take anything" if is_slow else "",
        "gauges": {
            "connections": len(connections.open),
            "messages_waiting": writer.waiting,
            "wait_seconds": round(writer.wait_s, 3),
            "last_commit_seconds": round(writer.commit_s, 6),
            "concentrators_heard": len(positions),
            "records_behind": behind,
            "start_time_seconds": round(_BEGAN),
        },
        "counts": {
            **ingest.counters,
            "commits": writer.commits,
            "messages_put_off": writer.put_off,
            "messages_overtaken": writer.overtaken,
        },
    }


def metrics_lines(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a state as Prometheus reads them."""
    for name, value in state["gauges"].items():
        yield _lines(name, f"dianka_{name}", "gauge", value)
    for name, count in sorted(state["counts"].items()):
        yield _lines(name, f"dianka_{name}_total", "counter", count)


def _lines(name: str, shown: str, kind: str, value: object) -> str:
    meaning = f"# HELP {shown} {MEANINGS[name]}\n" if name in MEANINGS else ""
    return f"{meaning}# TYPE {shown} {kind}\n{shown} {value}\n"
