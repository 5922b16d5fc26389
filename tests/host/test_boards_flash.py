"""Goal: each board gives littlefs the sizes of its flash, an STM32's own flash is refused, and the
driver of an SPI flash sends only commands that such a chip understands.

Method: the modules of the boards run on CPython, with made-up ports. The chip behind SPI is a
model that takes the commands of its data sheet, on the NOR model of the simulators.
"""

import importlib
import sys
import types
from typing import Any

import pytest

from host.sim.nor import BLOCK_SIZE, Nor
from tests.host.test_boards_chip import LINE, Chip, Disk, Pin, World, board_of, world

__all__ = ("world",)


class Bus:
    """An SPI bus with a 1 MiB flash of the 25 series, busy for three polls after a change."""

    def __init__(self) -> None:
        self.flash = Nor(bytearray(b"\xff" * 2**20), refuses=False)
        self.identity = b"\xef\x40\x14"
        self.stuck = False
        self.refused: list[str] = []
        self._allowed = False
        self._busy = 0
        self._sent = b""

    def select(self, level: int) -> None:
        if level == 0:
            self._sent = b""
            return
        if self._sent[:1] == b"\x06":
            self._allowed = True
        elif self._sent[:1] in (b"\x02", b"\x20"):
            self._change(self._sent)
        self._sent = b""

    def _change(self, sent: bytes) -> None:
        address = int.from_bytes(sent[1:4], "big")
        if not self._allowed or self._busy:
            self.refused.append(sent[:4].hex())
            return
        self._allowed = False
        self._busy = 3
        block, offset = divmod(address, BLOCK_SIZE)
        if sent[0] == 0x20:
            self.flash.ioctl(6, block)
        else:
            assert offset % 256 + len(sent) - 4 <= 256, "the chip would wrap"
            data = bytearray(b"\xff" * 256)
            data[offset % 256 : offset % 256 + len(sent) - 4] = sent[4:]
            self.flash.writeblocks(block, data, offset // 256 * 256)

    def write(self, buf: bytes) -> None:
        self._sent += bytes(buf)

    def readinto(self, buf: bytearray) -> None:
        command = self._sent[0]
        if command == 0x9F:
            buf[:] = self.identity
        elif command == 0x05:
            self._busy -= self._busy > 0
            buf[0] = 1 if self._busy or self.stuck else 0
        elif command == 0x03:
            address = int.from_bytes(self._sent[1:4], "big")
            self.flash.readblocks(address // BLOCK_SIZE, buf, address % BLOCK_SIZE)


def driver(bus: Bus, size: int = 0) -> Any:
    return importlib.import_module("boards.nor").Nor(bus, bus.select, size)


def test_an_spi_flash_is_programmed_page_by_page_and_erased_by_sector() -> None:
    bus = Bus()
    nor = driver(bus)
    assert (nor.ioctl(4, 0), nor.ioctl(5, 0)) == (256, 4096)
    data = bytearray(index * 7 & 0xFF for index in range(700))

    assert nor.writeblocks(3, data, 100) == 0
    back = bytearray(700)
    assert nor.readblocks(3, back, 100) == 0
    assert back == data
    assert nor.ioctl(6, 3) == 0
    nor.readblocks(3, back, 100)
    assert back == b"\xff" * 700
    assert bus.refused == []


def test_a_chip_that_is_missing_or_stays_busy_is_an_answer() -> None:
    bus = Bus()
    for identity in (b"\xff\xff\xff", bytes(3)):
        bus.identity = identity
        assert driver(bus).blocks == 0
    bus.identity = b"\xef\x40\x14"
    nor = driver(bus)
    bus.stuck = True
    assert nor.writeblocks(0, bytearray(256), 0) < 0
    assert nor.ioctl(6, 0) < 0


def test_an_fram_is_told_its_size_and_never_erased() -> None:
    bus = Bus()
    bus.identity = bytes(3)
    nor = driver(bus, 512 * 1024)

    assert nor.blocks == 128
    assert nor.ioctl(6, 5) == 0
    assert bus.flash.operations == 0


def test_littlefs_gets_the_sizes_of_the_boards_flash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, int]] = []

    class Told(Disk):
        def __init__(self, device: object, **sizes: int) -> None:
            told.append(sizes)

    vars(sys.modules["vfs"]).update(VfsLfs2=Told)
    esp32, rp2 = types.ModuleType("esp32"), types.ModuleType("rp2")
    vars(esp32).update(
        Partition=types.SimpleNamespace(TYPE_DATA=1, find=lambda kind, label: [Chip()])
    )
    vars(rp2).update(Flash=Chip)
    board_json(world, {})
    for name, module, page in (("rp2", rp2, 256), ("esp32", esp32, 128)):
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delitem(sys.modules, f"boards.{name}", raising=False)
        importlib.import_module(f"boards.{name}").open_storage()
        sizes = told.pop()
        assert sizes["progsize"] == page
        assert page % sizes["readsize"] == 0


def board_json(world: World, more: dict[str, Any]) -> None:
    """Write a board.json with a line and `more`."""
    board_of(lines=[LINE], **more)


@pytest.mark.parametrize(
    ("block", "key", "said"),
    [
        (512, {}, "board.json under flash"),
        (4096, {}, ""),
        (512, {"flash": {"spi": 1, "cs": 6}}, ""),
        (512, {"flash": {"spi": 9, "cs": 6}}, r"flash\.spi: this board has no such SPI"),
        (512, {"flash": {"spi": 2, "cs": 6}}, r"flash\.spi: no flash answers there"),
        (512, {"flash": {"spi": 1, "cs": 77}}, r"flash\.cs: this board has no pin 77"),
        (512, {"flash": {"spi": 1, "cs": 6, "kib": 4}}, r"flash\.kib: not known here"),
    ],
)
def test_the_flash_inside_an_stm32_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, block: int, key: dict[str, Any], said: str
) -> None:
    from boards import BoardError

    bus = Bus()

    def spi(number: int, **pins: Any) -> Bus:
        if number == 9:
            raise ValueError("SPI(9) does not exist")
        bus.identity = b"\xef\x40\x14" if number == 1 else b"\xff\xff\xff"
        return bus

    class Select(Pin):
        def __call__(self, level: int | None = None) -> int:
            if level is not None and self.number == 6:
                bus.select(level)
            return super().__call__(level)

    vars(sys.modules["machine"]).update(SPI=spi, Pin=Select)
    board_json(world, key)
    flash = types.SimpleNamespace(ioctl=lambda operation, argument: block)
    pyb = types.ModuleType("pyb")
    vars(pyb).update(Flash=lambda start: flash)
    monkeypatch.setitem(sys.modules, "pyb", pyb)
    monkeypatch.delitem(sys.modules, "boards.stm32", raising=False)
    stm32 = importlib.import_module("boards.stm32")
    if said:
        with pytest.raises(BoardError, match=said):
            stm32.open_storage()
    else:
        assert stm32.open_storage(True) is not None
