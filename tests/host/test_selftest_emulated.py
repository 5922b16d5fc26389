"""Goal: the acceptance test of a board runs on a 32-bit board whose product is frozen and has
started a watchdog, over the prompt as mpremote uses it, on chips that others made.

Method: the real command tests QEMU's Cortex-M3: its flash, a w25q32 on SPI, a ds1338 and an
at24c-eeprom on I2C. The port has no pins, UARTs, radio and clock; those are made up on the board
before the tests begin. The board is restarted by its reset register, as a watchdog demands.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import flash
from host.demo.processes import wait_for
from host.flash import selftest, slots
from host.flash.prompt import Prompt
from tests.host.test_flash import is_open
from tools import image, qemu

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("emulator")]

ROOT = Path(__file__).parents[2]
BOARD_JSON = {
    "lines": [{"uart": 1, "tx": 17, "rx": 16, "direction": 4}],
    "uplink": {"uart": 2},
    "card": {"chip": "at24", "i2c": 0, "size": 8192, "page_size": 32},
    "rtc": {"chip": "ds1338", "i2c": 0},
    "flash": {"spi": 1, "cs": 10},
    "lamps": [13, 14],
    "watchdog_ms": 8000,
}

# Made up on the board. The timer of 25 MHz runs on its own, so a wait is a wait.
PORTS = """\
import sys, machine as chip
import buses
class Module:
    def __init__(self, **names):
        for name in names:
            setattr(self, name, names[name])
TIMER = 0x40000000
for register, value in ((0, 0), (8, 0x3FFFFFFF), (4, 0x3FFFFFFF), (0, 1)):
    chip.mem32[TIMER + register] = value
now = [0, 0]
def ticks_us():
    count = 0x3FFFFFFF - chip.mem32[TIMER + 4]
    now[0] += (count - now[1] & 0x3FFFFFFF) // 25
    now[1] = count
    return now[0]
def sleep_us(us):
    until = ticks_us() + us
    while ticks_us() < until:
        pass
class Pin:
    IN = OUT = PULL_UP = OPEN_DRAIN = 0
    def __init__(self, number, *modes, value=0):
        self.number = number
        self.level = value
    def __call__(self, level=-1):
        if level >= 0:
            self.level = level
            if self.number == 10:
                buses.select(level)
        return self.level
class Uart:
    def __init__(self, *arguments, **options):
        self.bytes = b""
    def any(self):
        return len(self.bytes)
    def write(self, buf):
        self.bytes += bytes(buf)
        return len(buf)
    def readinto(self, buf):
        size = min(len(buf), len(self.bytes))
        buf[:size] = self.bytes[:size]
        self.bytes = self.bytes[size:]
        return size
    def txdone(self):
        return True
class Timer:
    ONE_SHOT = 0
    def __init__(self, number): pass
    def init(self, **options): pass
sys.modules["machine"] = Module(Pin=Pin, UART=Uart, Timer=Timer,
    I2C=lambda number, freq: buses.I2c(), SPI=lambda number, baudrate: buses.Spi())
sys.modules["time"] = Module(ticks_us=ticks_us, ticks_ms=lambda: ticks_us() // 1000,
    ticks_diff=lambda a, b: a - b, ticks_add=lambda a, b: a + b, sleep_us=sleep_us,
    gmtime=lambda: (2026, 11, 29), time=lambda: ticks_us() // 1000000)
import os as own_os
class Os:
    def urandom(self, size):
        seed = ticks_us()
        made = bytearray(size)
        for at in range(size):
            seed = (seed * 69069 + 1) & 0x3FFFFFFF
            made[at] = seed >> 16 & 255
        return bytes(made)
    def __getattr__(self, name):
        return getattr(own_os, name)
sys.modules["os"] = Os()
"""


class MadeUp(Prompt):
    """A prompt whose board gets its ports with the first program of the tests."""

    resets = 0

    def begin_anew(self, hard: bool) -> None:
        MadeUp.resets += hard
        super().begin_anew(hard)

    def run(self, code: str) -> str:
        if "\nfits = " in code:
            super().run(PORTS)
        return super().run(code)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    """Start a board whose image has the product, with its chips, and return its port."""
    try:
        stock = image.build_stock(frozen=True)
    except image.ImageError as error:
        pytest.skip(str(error))
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    repl = f"tcp:127.0.0.1:{number},server=on,wait=off,nodelay=on"
    chips = ("ds1338,address=0x68", "at24c-eeprom,address=0x50,rom-size=8192")
    with qemu.MeasuringEmulator(
        stock, repl=repl, chips=chips, now="2026-11-29T12:34:56", nor=tmp_path / "nor"
    ):
        wait_for("its prompt", 20, lambda: is_open(number))
        yield f"socket://127.0.0.1:{number}"


def test_every_part_of_a_frozen_board_with_a_watchdog(
    port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Prompt(port) as board:
        assert slots.facts(board).is_frozen
        board.replace("board.json", json.dumps(BOARD_JSON).encode())
        board.replace("buses.py", (ROOT / "tests" / "emulated" / "buses.py").read_bytes())
        slots.open_journal(board, "", True)
        board.release()
    monkeypatch.setattr(flash, "Prompt", MadeUp)
    report = tmp_path / "report.json"
    words = [port, "--selftest", "--report", str(report)]
    done = CliRunner().invoke(flash.command, words, input="\n" * 9)

    assert report.exists(), done.output
    kept: dict[str, Any] = json.loads(report.read_text())
    told = {one["name"]: one for one in kept["results"]}
    outcomes = {name: one["outcome"] for name, one in told.items()}
    # The uplink is a UART, so there is no network; all the rest is there.
    assert outcomes == {**dict.fromkeys(selftest.TESTS, "ok"), "network": "none"}, done.output
    assert done.exit_code == 0, done.output
    assert kept["product"] == "frozen"
    assert told["lines"]["figures"]["lines[0]"] == "heard 20 of 20"
    assert told["flash"]["figures"]["spi_blocks"] == "1024"
    before, after = map(int, told["clock"]["figures"]["rtc"].split())
    assert 849270896 - 60 <= before < after <= 849270896 + 600
    assert told["card"]["figures"]["bytes"] == "8192"
    assert MadeUp.resets == 1
    # The product of the image runs again, and the next test finds it.
    with Prompt(port) as board:
        assert board.run("import sys\nprint('concentrator.app' in sys.modules)").strip() == "True"
