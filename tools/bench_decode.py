"""Frames per second of decoding on CPython, ours beside what others decode with.

    python -m tools.bench_decode [--json]

All contenders get the readings (control 91) of `tests/vectors/dlt645-frames.jsonl`, frames other
people published, most of them from real meters. Each runs in a process of its own, the libraries
each in an environment of its own, and they take turns of a few milliseconds, so that a busy
machine slows all of them alike; the best turn counts. Time is the process's own.

Ours is measured twice: `describe_bytes`, with names, units, values and all checks, and
`read_value`, address and value only. The reference is a parser of 25 lines that gives the
address, the identifier and the value of an energy register.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests" / "vectors" / "dlt645-frames.jsonl"

TURNS = 40
TURN_NS = 20_000_000

Contender = Callable[[bytes], object]


def ours() -> Contender:
    """Return the names, units, values and checks of a frame."""
    from host.frames.describe import describe_bytes

    return describe_bytes


def ours_lean() -> Contender:
    """Return the address and value."""
    from host.frames.lean import read_value

    return read_value


def dlt645() -> Contender:
    """Return PyPI dlt645: its parser of bytes, then its client's handling of an answer."""
    protocol = import_module("dlt645.protocol.protocol").DLT645Protocol
    service = import_module("dlt645.service.clientsvc.client_service")
    client = service.MeterClientService(None)

    def decode(octets: bytes) -> object:
        frame = protocol.deserialize(octets)
        client.address = frame.addr
        answer: object = client.handle_response(frame)
        return answer

    return decode


def python_dlt645() -> Contender:
    """Return PyPI python-dlt645: its frame, whose data stays hexadecimal text."""
    library = import_module("dlt645")
    load = library.Frame.load

    def decode(octets: bytes) -> object:
        frame: object = library.Frame()
        load(frame, bytearray(octets.lstrip(b"\xfe")))
        return frame

    return decode


def reference() -> Contender:
    """Return the 25 lines one writes first."""

    def decode(octets: bytes) -> tuple[str, str, float]:
        start = 0
        while octets[start] == 0xFE:
            start += 1
        if octets[start] != 0x68 or octets[start + 7] != 0x68:
            raise ValueError("no start")
        size = octets[start + 9]
        end = start + 10 + size
        if len(octets) != end + 2 or octets[end + 1] != 0x16:
            raise ValueError("length")
        total = 0
        for octet in octets[start:end]:
            total += octet
        if total & 0xFF != octets[end]:
            raise ValueError("checksum")
        address = ""
        for octet in reversed(octets[start + 1 : start + 7]):
            address += f"{octet:02X}"
        data = [(octet - 0x33) & 0xFF for octet in octets[start + 10 : end]]
        identifier = "".join(f"{octet:02X}" for octet in reversed(data[:4]))
        value = 0.0
        for octet in reversed(data[4:8]):
            value = value * 100 + (octet >> 4) * 10 + (octet & 15)
        return address, identifier, value / 100

    return decode


CONTENDERS: dict[str, tuple[Callable[[], Contender], str]] = {
    "ours": (ours, ""),
    "ours, address and value": (ours_lean, ""),
    "dlt645 3.2.0": (dlt645, "dlt645==3.2.0"),
    "python-dlt645 0.1.4": (python_dlt645, "python-dlt645==0.1.4"),
    "reference of 25 lines": (reference, ""),
}


def frames() -> list[bytes]:
    """Return the published readings."""
    rows = map(json.loads, VECTORS.read_text(encoding="utf-8").splitlines())
    return [bytes.fromhex(row["hex"]) for row in rows if row["control"] == "91"]


def work(name: str) -> None:
    """Decode for a turn at each line of standard input, and print frames and nanoseconds."""
    decode = CONTENDERS[name][0]()
    todo = frames()
    refused = sum(not _decodes(decode, octets) for octets in todo)
    for _ in sys.stdin:
        count = 0
        start = time.process_time_ns()
        while (spent := time.process_time_ns() - start) < TURN_NS:
            for octets in todo:
                _decodes(decode, octets)
            count += len(todo)
        print(count, spent, refused, flush=True)


def _decodes(decode: Contender, octets: bytes) -> bool:
    """Return whether the frame was decoded; where a library raises, it was not."""
    try:
        return decode(octets) is not None
    except Exception:
        return False


def measure(turns: int = TURNS) -> dict[str, tuple[float, int]]:
    """Return frames per second and how many frames were not decoded, by contender."""
    from tools.libraries import python_with

    workers = {}
    for name, (_, requirement) in CONTENDERS.items():
        python = python_with(requirement) if requirement else Path(sys.executable)
        workers[name] = subprocess.Popen(
            [str(python), str(Path(__file__).resolve()), "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    found: dict[str, tuple[float, int]] = {}
    for _ in range(turns):
        for name, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
            count, spent, refused = map(int, worker.stdout.readline().split())
            rate = count * 1e9 / spent
            found[name] = max(found.get(name, (0.0, 0)), (rate, refused))
    for worker in workers.values():
        worker.communicate()
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Frames per second of decoding.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        sys.path[0] = str(ROOT)
        work(options.worker)
        return
    found = measure()
    best = max(found["dlt645 3.2.0"][0], found["python-dlt645 0.1.4"][0])
    if options.json:
        print(json.dumps({name: round(rate) for name, (rate, _) in found.items()}))
        return
    total = len(frames())
    print(f"decoding {total} published readings, CPython {sys.version.split()[0]}")
    for name, (rate, refused) in found.items():
        print(
            f"  {name:26} {rate:10,.0f} frames/s {rate / best:6.2f} x fastest library"
            f"   decoded {total - refused} of {total}"
        )


if __name__ == "__main__":
    main()
