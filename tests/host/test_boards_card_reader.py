"""Goal: each chip works as the board's own card reader when board.json describes it as
docs/CHIPS.md shows; a mistake in board.json is reported with its key.

Method: every board.json of docs/CHIPS.md starts a board on a `machine` made here; its pins and
buses end at the simulated chips of tests/core. A card is sold, redeemed and read. Ciphers of CPU
cards are compared with those of another library.
"""

import importlib
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boards import BoardError
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4

from tools import micropython

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

import chip_readers

from host.sim.storage import Storage

ROOT = Path(__file__).parents[2]

# This program runs a board of each board.json on the real interpreter; `machine` is one class.
ON_MICROPYTHON = """\
import json, sys
sys.path.insert(0, {firmware!r})
class Part:
    IN = OUT = OPEN_DRAIN = PULL_UP = 0
    def __init__(self, *names, **options):
        self.names = names
    def __call__(self, *value, **options):
        return 0
    def __getattr__(self, name):
        return self
class machine:
    Pin = UART = I2C = SPI = PWM = WDT = Timer = Part
    reset_cause = int
sys.modules["machine"] = machine
class Storage:
    def size(self, name):
        return -1
    def read_into(self, name, at, buf, size):
        return -1
from boards import BoardError, chip
for text in {texts!r}:
    with open({file!r}, "w") as file:
        file.write(text)
    try:
        board = chip.Board(Storage())
        board.look()
        for now_ticks in range(200):
            board.card_reader.step(now_ticks)
        print(type(board.card_reader).__name__)
    except BoardError as error:
        print(error)
"""
EXAMPLES = [
    json.loads(text)
    for text in re.findall(
        r"^```json\n(.*?)^```", (ROOT / "docs/CHIPS.md").read_text(), re.DOTALL | re.MULTILINE
    )
]
SLE4442, AT24, PN532, PN532_SPI, T0 = (example["card"] for example in EXAMPLES)

Line = Callable[..., int]


class Pin:
    """A pin that is connected to the line of a chip, or to nothing."""

    IN, OUT, OPEN_DRAIN, PULL_UP = range(4)
    lines: dict[object, Line]
    absent: set[object]

    def __init__(self, name: object, *modes: int, value: int | None = None) -> None:
        if name in self.absent:
            raise ValueError("invalid pin")
        self.line: Line = self.lines.get(name, lambda value=0: value)
        if value is not None:
            self.line(value)

    def init(self, mode: int, value: int) -> None:
        self.line(value)

    def __call__(self, *value: int) -> int:
        return self.line(*value)


class Wire:
    """A UART with the chip `end` connected; other UARTs have nothing connected."""

    end: Any = None
    kinds: list[tuple[int, ...]]

    def __init__(self, *kind: int, **options: Any) -> None:
        self.kinds.append(kind)
        self.wired = self.end is not None and kind[0] == 2

    def readinto(self, buf: bytearray) -> int | None:
        return self.end.read_into(buf) or None if self.wired else None

    def write(self, buf: memoryview) -> int:
        return int(self.end.write(buf))


class Clock:
    """A PWM that keeps its frequency while it runs."""

    hz: list[int]

    def __init__(self, pin: Pin, freq: int, duty_u16: int) -> None:
        self.hz.append(freq)

    def deinit(self) -> None:
        self.hz.append(0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[types.ModuleType]:
    """Install the modules that only a device has; no chip is wired yet."""
    made = types.ModuleType("machine")
    vars(made).update(reset_cause=int)
    vars(made).update(Pin=Pin, UART=Wire, PWM=Clock, I2C=None, SPI=None, WDT=None)
    time = types.ModuleType("time")
    vars(time).update(ticks_ms=lambda: 0, time=lambda: 0, gmtime=lambda s: (1970,), sleep_us=None)
    for name, module in (("machine", made), ("time", time), ("vfs", types.ModuleType("vfs"))):
        monkeypatch.setitem(sys.modules, name, module)
    for cls, name, value in (
        (Pin, "lines", {}),
        (Pin, "absent", set()),
        (Wire, "kinds", []),
        (Wire, "end", None),
        (Clock, "hz", []),
    ):
        monkeypatch.setattr(cls, name, value, raising=False)
    monkeypatch.chdir(tmp_path)
    names = ("card_reader", "chip", "littlefs", "log", "panel", "uart", "wiring")
    for name in names:
        monkeypatch.delitem(sys.modules, f"boards.{name}", raising=False)
    yield made
    for name in names:
        sys.modules.pop(f"boards.{name}", None)


def open_reader(card: dict[str, Any]) -> Any:
    """Return the card reader of a board with this part of board.json."""
    Path("board.json").write_text(json.dumps({"lines": [{"uart": 1}], "card": card}))
    board = importlib.import_module("boards.chip").Board(Storage())
    return board.card_reader


def wire(machine: types.ModuleType, bench: Any, card: dict[str, Any], chip: Any) -> None:
    """Connect the pins of `card` to the lines of `chip` with the same names."""
    for key, pin in card.items():
        if isinstance(pin, int) and callable(getattr(chip, key, None)):
            Pin.lines[pin] = getattr(chip, key)
    sys.modules["time"].sleep_us = bench.time.delay_us  # type: ignore[attr-defined] # made here


def answers(algorithm: Callable[[bytes], Any], card: dict[str, Any]) -> Callable[..., bytes]:
    """Return the answer that a CPU card with the key of `card` accepts, from the other library."""
    key = bytes.fromhex(card["file"]["key"])

    def prove(_: bytes, challenge: bytes) -> bytes:
        encryptor = Cipher(algorithm(key), modes.ECB()).encryptor()
        return bytes(encryptor.update(bytes(challenge[:8]) + bytes(8))[:8])

    return prove


def redeems(bench: Any) -> bool:
    """Return whether a card that was sold is accepted and marked as redeemed."""
    bench.sell()
    return bench.redeem() == 0 and bench.mark() == (5).to_bytes(4, "little")


def test_an_sle4442_is_a_reader(machine: types.ModuleType) -> None:
    class Bench(chip_readers.Sle4442Bench):
        def make_reader(self) -> Any:
            self.make()
            wire(machine, self, SLE4442, self.chip)
            return open_reader(SLE4442)

    assert redeems(Bench())


def test_an_sle4442_of_another_batch_wants_its_own_code(machine: types.ModuleType) -> None:
    class Bench(chip_readers.Sle4442Bench):
        psc = "ffffff"

        def make_reader(self) -> Any:
            self.make()
            self.chip.psc[:] = b"\x12\x34\x56"
            wire(machine, self, SLE4442, self.chip)
            return open_reader({**SLE4442, "psc": self.psc})

    assert not redeems(Bench())
    Bench.psc = "123456"
    assert redeems(Bench())


def test_an_at24_is_a_reader(machine: types.ModuleType) -> None:
    class Bench(chip_readers.At24Bench):
        def make_reader(self) -> Any:
            self.make()
            vars(machine)["I2C"] = lambda number, **options: self.chip
            return open_reader(AT24)

    assert redeems(Bench())


@pytest.mark.parametrize("bench", [chip_readers.NtagBench, chip_readers.ClassicBench])
def test_a_pn532_on_a_uart_is_a_reader(machine: types.ModuleType, bench: Any) -> None:
    class Bench(bench):  # type: ignore[misc] # chosen by the test
        def make_reader(self) -> Any:
            self.make()
            Wire.end = self.reader
            return open_reader(PN532)

    assert redeems(Bench())
    assert Wire.kinds[-1] == (2, 115200, 8, None, 1)


def test_a_classic_with_another_key_is_not_read(machine: types.ModuleType) -> None:
    class Bench(chip_readers.ClassicBench):
        def make_reader(self) -> Any:
            self.make()
            Wire.end = self.reader
            return open_reader({**PN532, "key": "000000000000"})

    assert not redeems(Bench())


@pytest.mark.parametrize("bench", [chip_readers.NtagBench, chip_readers.IsoDepBench])
def test_a_pn532_on_spi_reads_tags_and_cpu_cards(machine: types.ModuleType, bench: Any) -> None:
    class Bench(bench):  # type: ignore[misc] # chosen by the test
        def make_reader(self) -> Any:
            self.make()
            self.tag.prove = answers(AES, PN532_SPI)
            bus = chip_readers.SpiBus(self.reader)
            wire(machine, self, PN532_SPI, bus)
            vars(machine)["SPI"] = lambda number, **options: bus
            return open_reader(PN532_SPI)

    assert redeems(Bench())


@pytest.mark.parametrize("clocked", [True, False])
def test_a_cpu_card_at_its_contacts_is_a_reader(machine: types.ModuleType, clocked: bool) -> None:
    class Bench(chip_readers.ContactBench):
        def make_reader(self) -> Any:
            self.make()
            self.tag.prove = answers(SM4, T0)
            wire(machine, self, T0, self.socket)
            Wire.end = self.socket
            return open_reader({key: T0[key] for key in T0 if clocked or key != "clk"})

    assert redeems(Bench())
    assert Wire.kinds[-1] == (2, 9600, 8, 0, 2)
    assert set(Clock.hz) == ({3571200, 0} if clocked else set())
    assert Clock.hz[-1:] == ([0] if clocked else [])


def test_every_chip_of_the_table_has_an_example(machine: types.ModuleType) -> None:
    table = importlib.import_module("boards.card_reader")._CHIPS

    assert {example["card"]["chip"] for example in EXAMPLES} == set(table)


def refuse(number: object, **_: Any) -> None:
    """Raise what a port raises for bus 9, or for the clock of a pin, which it lacks."""
    if not isinstance(number, int) or number == 9:
        raise ValueError("bad id")


def without(card: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in card.items() if name != key}


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (without(SLE4442, "chip"), "card.chip: missing; give one of at24, pn532, sle4442, t0"),
        ({"chip": "sle4428"}, "card.chip: expected one of at24, pn532, sle4442, t0"),
        (without(SLE4442, "rst"), "card.rst: missing"),
        ({**SLE4442, "io": 99}, "card.io: this board has no pin 99"),
        ({**SLE4442, "psc": "fffff"}, "card.psc: expected 6 hexadecimal digits"),
        ({**SLE4442, "psc": "zzzzzz"}, "card.psc: expected 6 hexadecimal digits"),
        ({**SLE4442, "detekt": 1}, "card.detekt: not known here; there are chip, clk, det"),
        ({**AT24, "size": 0}, "card.size: expected a number from 256 to 65536"),
        ({**AT24, "i2c": True}, "card.i2c: expected a number from 0"),
        ({**AT24, "i2c": 9}, "card.i2c: this board has no such I2C on these pins"),
        ({**PN532, "uart": "two"}, "card.uart: expected a number from 0"),
        (without(PN532, "uart"), "card.uart: missing"),
        ({**PN532_SPI, "spi": 9}, "card.spi: this board has no such SPI on these pins"),
        ({**T0, "clk": 98}, "card.clk: this pin gives no clock of 3.5712 MHz"),
        ({**T0, "echo": 1}, "card.echo: expected true or false"),
        ({**T0, "file": {"path": [7]}}, "card.file.path: expected names such as"),
        ({**T0, "file": {"path": ["0x1"]}}, "card.file.path: 0x1 is no hexadecimal number"),
        (
            {**T0, "file": {**T0["file"], "cipher": "des"}},
            "card.file.cipher: expected one of aes, sm4",
        ),
        (without(T0, "file"), "card.file: missing"),
        ("sle4442", "card: expected an object in { }"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(
    machine: types.ModuleType, card: Any, said: str
) -> None:
    Pin.absent.add(99)
    vars(machine).update(I2C=refuse, SPI=refuse)
    if isinstance(card, dict) and card.get("clk") == 98:
        vars(machine)["PWM"] = refuse

    with pytest.raises(BoardError) as caught:
        open_reader(card)
    assert str(caught.value).startswith(f"board.json: {said}")


def test_a_cipher_that_the_image_leaves_out_is_told(
    machine: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "crypto.sm4", None)

    with pytest.raises(BoardError, match=r"card\.file\.cipher: this image leaves sm4 out"):
        open_reader(T0)


def test_a_driver_is_imported_for_its_own_chip_alone(
    machine: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    drivers = {f"card.chips.{name}" for name in ("sle4442", "at24", "pn532", "t0", "cpu", "tag")}
    for name in drivers:
        monkeypatch.delitem(sys.modules, name, raising=False)

    open_reader(SLE4442)

    assert drivers & set(sys.modules) == {"card.chips.sle4442"}


def test_micropython_understands_every_example(tmp_path: Path) -> None:
    wrong = {**EXAMPLES[0], "card": {**SLE4442, "psc": "zz"}}
    script = ON_MICROPYTHON.format(
        firmware=str(ROOT / "firmware"),
        file="board.json",
        texts=[json.dumps(example) for example in (*EXAMPLES, wrong)],
    )

    done = subprocess.run(
        [str(micropython.ensure()), "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines() == [
        *["LocalCarrier"] * len(EXAMPLES),
        "board.json: card.psc: expected 6 hexadecimal digits",
    ], done.stderr
