"""How well a master uses a 2400 bps line: ours beside the client of PyPI's dlt645.

    python -m tools.bench_line [--json]

64 simulated meters are asked for five items each, on a line in virtual time where every byte
takes its time and every meter its reply delay. What these two take together is the least a round
can last; a master is as good as the share of the round they fill. In the second round four meters
are down and two replies in a hundred are lost: there the seconds count.

Ours looks at the line every millisecond, as a board does. The other runs unchanged in an
environment of its own; its serial port and its clock are the line's, its computing time counts.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent

METERS = 64
DOWN = 4
LOST_REPLIES = 0.02
SEED = 645
# Forward and combined energy with four rates, status word 3, date and time, voltage.
ITEMS = (0x0001FF00, 0x0000FF00, 0x04000503, 0x0400010C, 0x02010100)
BUSY_LEAST_PERCENT = 97
_OTHER_TIMEOUT_S = 1.0  # its default
_STEP_US = 1000


@dataclass(frozen=True)
class Round:
    """One round of one master; `least_s` is the time of the bytes and the meters' delays."""

    answered: int
    duration_s: float
    least_s: float

    @property
    def busy_percent(self) -> float:
        """Return which part of the round a time was, in percent."""
        return 100 * self.least_s / self.duration_s


def build(troubled: bool) -> tuple[Any, Any, list[str]]:
    """Return a line, its clock, and the addresses to ask."""
    from host.sim.clock import VirtualClock
    from host.sim.line import Line, LineFaults
    from host.sim.meter import Meter

    random = Random(SEED)
    addresses = [f"{202500000000 + at * 7919:012d}" for at in range(METERS)]
    meters = [Meter(address, reply_delay_ms=random.randrange(40, 100)) for address in addresses]
    up = [meter for at, meter in enumerate(meters) if not troubled or at % (METERS // DOWN)]
    faults = LineFaults(lost_reply=LOST_REPLIES if troubled else 0.0)
    clock = VirtualClock()
    return Line(clock, up, faults, Random(SEED)), clock, addresses


def rounds_of(poll: Any, troubled: bool) -> Round:
    """Return what the last round of `poll` took, behind one in which it may learn."""
    line, clock, addresses = build(troubled)
    before_us = (0, 0)

    def mark() -> None:
        nonlocal before_us
        before_us = clock.now_us(), line.wire_us + line.delay_us

    answered = poll(line, clock, addresses, mark)
    duration_us = clock.now_us() - before_us[0]
    least_us = line.wire_us + line.delay_us - before_us[1]
    return Round(answered, duration_us / 1e6, least_us / 1e6)


# --- ours ---------------------------------------------------------------------------------------


def poll_ours(line: Any, clock: Any, addresses: Sequence[str], mark: Any) -> int:
    """Ask with the firmware's master; it keeps what it learns of a meter, as a registry does.

    A meter that stays silent is asked for one item of the five.
    """
    from dlt645 import master, reply_delay

    from host.world.wire import Wire

    wire = Wire(line, clock)
    link = wire.master
    notes = dict.fromkeys(addresses, 0)
    answered = 0
    for _ in range(2):
        mark()
        answered = 0
        for address in addresses:
            octets = bytearray.fromhex(address)[::-1]
            for item in ITEMS:
                link.expect(notes[address])
                link.start_read(octets, item, wire.now_ticks)
                outcome = wire.run(link)
                notes[address] = link.learn(notes[address], outcome)
                answered += outcome == master.OK
                if reply_delay.rest_s(notes[address]):
                    break
    return answered


# --- the other ----------------------------------------------------------------------------------


def poll_other(line: Any, clock: Any, addresses: Sequence[str], mark: Any) -> int:
    """Let the client of PyPI's dlt645 ask, with this line as its serial port and its clock."""
    from tools.libraries import DLT645, python_with

    command = [str(python_with(DLT645)), str(Path(__file__).resolve()), "--worker", *addresses]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        mark()
        return serve(line, clock, worker.stdout, worker.stdin)


def serve(line: Any, clock: Any, orders: IO[str], answers: IO[str]) -> int:
    """Do what the worker orders, in virtual time; return how many items it had answered."""
    held = bytearray()

    def wait_until(until_us: int, size: int) -> None:
        while len(held) < size and clock.now_us() < until_us:
            clock.advance_us(min(_STEP_US, until_us - clock.now_us()))
            held.extend(line.read())

    for order in orders:
        spent_ns, name, *rest = order.split()
        clock.advance_us(int(spent_ns) // 1000)
        held.extend(line.read())
        answer = ""
        if name == "write":
            line.write(bytes.fromhex(rest[0]))
            clock.advance_us(line.next_us() - clock.now_us())
        elif name == "wait":
            wait_until(clock.now_us() + int(rest[0]), int(rest[1]))
            answer = bytes(held[: int(rest[1])]).hex()
            del held[: int(rest[1])]
        elif name == "end":
            return int(rest[0])
        print(clock.now_us(), len(held), answer, file=answers, flush=True)
    raise RuntimeError("the other client ended before its time")


class VirtualPort:
    """What the other client takes for a serial port and for the module `time`."""

    is_open = True
    timeout = _OTHER_TIMEOUT_S

    def __init__(self) -> None:
        self._resumed_ns = time.process_time_ns()
        self._now_us = 0
        self.in_waiting = 0

    def order(self, *words: object) -> bytes:
        """Have the other side do something, and count the computing since the last time."""
        print(time.process_time_ns() - self._resumed_ns, *words, flush=True)
        now_us, waiting, *answer = sys.stdin.readline().split()
        self._now_us = int(now_us)
        self.in_waiting = int(waiting)
        self._resumed_ns = time.process_time_ns()
        return bytes.fromhex(answer[0]) if answer else b""

    def write(self, data: bytes) -> int:
        self.order("write", data.hex())
        return len(data)

    def read(self, size: int) -> bytes:
        return self.order("wait", int(self.timeout * 1e6), size)

    def flush(self) -> None:
        """Wait until the written bytes have left."""

    def reset_input_buffer(self) -> None:
        while self.in_waiting:
            self.read(self.in_waiting)

    def monotonic(self) -> float:
        return self._now_us / 1e6

    def sleep(self, duration_s: float) -> None:
        self.order("wait", int(duration_s * 1e6), 1 << 30)


def work(addresses: Sequence[str]) -> None:
    """Run as the other client, in its own environment."""
    transport: Any = import_module("dlt645.transport.client.rtu_client")
    service = import_module("dlt645.service.clientsvc.client_service").MeterClientService
    port = VirtualPort()
    transport.time = port
    transport.serial.serial_for_url = lambda *_, **__: port
    client = service.new_rtu_client("line", 2400, 8, 1, "E", _OTHER_TIMEOUT_S)
    read = {0x00: client.read_00, 0x02: client.read_02, 0x04: client.read_04}
    answered = 0
    for address in addresses:
        # It puts the digits on the wire in the order given; the low byte goes first.
        client.set_address(bytes.fromhex(address)[::-1].hex())
        for item in ITEMS:
            answered += read[item >> 24](item) is not None
    print(0, "end", answered, flush=True)


# --- both ---------------------------------------------------------------------------------------


def measure() -> dict[str, Round]:
    """Return the round of each master, then on the troubled line."""
    import host.device  # noqa: F401 - puts the firmware on the path

    return {
        "ours": rounds_of(poll_ours, False),
        "dlt645 3.2.0": rounds_of(poll_other, False),
        "ours, troubled line": rounds_of(poll_ours, True),
        "dlt645 3.2.0, troubled line": rounds_of(poll_other, True),
    }


def main() -> int:
    """Measure, print a table; 1 where ours leaves the line idle for more than is allowed."""
    parser = argparse.ArgumentParser(description="How well a master uses a line.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return 0
    found = measure()
    if options.json:
        print(json.dumps({name: asdict(one) for name, one in found.items()}))
    else:
        print(f"a round of {METERS} meters, {len(ITEMS)} items each, 2400 bps, virtual time")
        for name, one in found.items():
            print(
                f"  {name:28} {one.duration_s:6.1f} s   busy {one.busy_percent:5.2f} %"
                f"   answered {one.answered} of {METERS * len(ITEMS)}"
            )
    return 0 if found["ours"].busy_percent >= BUSY_LEAST_PERCENT else 1


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    sys.exit(main())
