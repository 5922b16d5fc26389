"""Meters on lines with a concentrator in virtual time, and a list of the requests on the lines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from concentrator.app import App
from concentrator.console.commands import Commands

from host.frames import tariff
from host.frames.record import Record, RecordKind
from host.sim.clock import DEFAULT_START_T2000, VirtualClock
from host.sim.line import Line
from host.sim.load import Load
from host.sim.meter import Meter
from host.sim.storage import Storage
from host.units import DAY_S
from host.world.board import SimulatedBoard
from host.world.checks.flash import records_of

US = 1_000_000
_TARIFF = """{"name": "one price", "tier_period": "none", "rates": ["flat"],
    "tiers": [{"prices": ["%s"]}]}"""
_PRICED, _FREE = 1, 2


@dataclass(frozen=True)
class Asked:
    """One request on the wire."""

    at_us: int
    baud: int
    address: str
    control: int
    data: bytes


@dataclass
class WatchedLine(Line):
    """A line that keeps every request."""

    asked: list[Asked] = field(default_factory=list)

    def write(self, data: bytes) -> int:
        """Send."""
        frame = data[data.index(0x68) :]
        address, body = frame[1:7][::-1].hex(), frame[10:-2]
        plain = bytes((byte - 0x33) & 0xFF for byte in body)
        one = Asked(self.clock.now_us(), self.baud, address, frame[8], plain)
        self.asked.append(one)
        return super().write(data)


def meter(number: int, baud: int = 2400, delay_ms: int = 60, **more: object) -> Meter:
    """Return a meter with that number and its own registers, in use since yesterday."""
    return Meter(
        f"{number:012d}",
        Load(number, 200),
        DEFAULT_START_T2000 - DAY_S,
        start_wh=(number * 1000, 0, 0, 0),
        baud=baud,
        reply_delay_ms=delay_ms,
        **more,  # type: ignore[arg-type]  # fields of a meter
    )


class Site:
    """A concentrator with `lines` of meters; those in `down` are registered but do not answer.

    Those in `free` are supply meters: of price 0, with a protected supply.
    """

    def __init__(
        self,
        *lines: Sequence[Meter],
        down: Sequence[Meter] = (),
        free: Sequence[Meter] = (),
        start_s: int = 0,
        standard: str = "2007",
        **values: int,
    ) -> None:
        """Begin `start_s` after midnight; `values` are settings."""
        self.clock = VirtualClock(DEFAULT_START_T2000 + start_s)
        self.meters = [one for line in lines for one in line]
        self.lines = [
            WatchedLine(self.clock, [one for one in line if one not in down]) for line in lines
        ]
        self.storage = Storage()
        self.start()
        for name, value in ({"id": 7} | values).items():
            self.run(f"set {name} {value}")
        self._price(_PRICED, "0.5")
        if free:
            self._price(_FREE, "0")
        for number, line in enumerate(lines):
            for one in line:
                price = _FREE if one in free else _PRICED
                self.run(f"meter add {one.address} {account(one)} {price} {number} {standard}")
                self.run(f"account new {account(one)}")
                if one in free:
                    self.run(f"account set {account(one)} guard 1")

    def _price(self, number: int, yuan: str) -> None:
        """Install a tariff of one price."""
        image = tariff.build(tariff.read(_TARIFF % yuan), number)
        self.run(f"tariff begin {len(image)}")
        for at in range(0, len(image), 64):
            self.run(f"tariff data {at} {image[at : at + 64].hex()}")
        self.run(f"tariff commit {number} {tariff.image_name(image)}")

    def start(self) -> None:
        """Switch the power on."""
        lines: list[Line] = list(self.lines)
        self.board = SimulatedBoard(self.clock, self.storage, lines, None, Random(1))
        self.app = App(self.board, limit=80)

    def run(self, text: str) -> list[str]:
        """Type a command."""
        self.app.wake()
        answer = Commands(self.app).run(text)
        return list(answer() if callable(answer) else answer)

    def live(self, duration_s: float) -> None:
        """Let time pass."""
        until_us = self.clock.now_us() + int(duration_s * US)
        while self.clock.now_us() < until_us:
            self.step(until_us)

    def step(self, until_us: int) -> None:
        """Run one step of the concentrator."""
        board = self.board
        board.look()
        idle_ms = self.app.step(board.now_ticks(), board.now_t2000())
        board.sleep(idle_ms, until_us)

    def records(self, kind: RecordKind) -> list[Record]:
        """Return the durable records of a kind, of all accounts."""
        self.app.journal.sync()
        return [one for one in records_of(self.storage.content).values() if one.kind == kind]

    def index(self, one: Meter) -> int:
        """Return the row of a meter."""
        return self.app.registry.find_address(bytes.fromhex(one.address)[::-1])

    def count(self, name: str, line: int = 0) -> int:
        """Return a counter of a line."""
        return dict(self.app.pollers[line].counts())[name]

    def busy_us(self, line: int, addresses: set[str]) -> int:
        """Return the time spent on these meters, from each request to the next of any meter."""
        asked = self.lines[line].asked
        return sum(
            min(after.at_us - one.at_us, 2 * US)
            for one, after in pairwise(asked)
            if one.address in addresses
        )


def account(one: Meter) -> str:
    """Return the account number of a meter."""
    return f"9{one.address[1:]}"
