"""Run a Raspberry Pi Pico on an emulator of the RP2040, in this process, by the chip's own time.

`BOARD` is the same chip for the emulator's own program, whose prompt is on a socket.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from littlefs import LittleFS, UserContext
from rp2040py.boards import BOARDS, BoardSpec, FlashLayout
from rp2040py.device import MicroPythonDevice
from rp2040py.execute_batch import execute_batch
from rp2040py.memory_map import FLASH_START_ADDRESS
from rp2040py.peripherals import uart
from rp2040py.rp2040 import RP2040

# The file system of MicroPython on the 2 MiB of a Pico, behind the program.
FLASH_SIZE = 2 * 1024 * 1024
BLOCK_SIZE = 4096
BLOCKS = 352
_PAGE = 256
_START = FLASH_SIZE - BLOCKS * BLOCK_SIZE
# The disk format of MicroPython 1.25.
_DISK_VERSION = 0x00020000
_MS = 1e6
# After so many the chip's clock is looked at.
_INSTRUCTIONS = 64


class _Uart(uart.RPUART):
    """A UART that asks for more to send when a byte has left, not as long as it is empty.

    The emulator's own asks without end, and its program then takes one step for each of these
    interrupts.
    """

    def check_interrupts(self) -> None:
        asked = bool(self._interrupt_status & self._interrupt_mask)
        self.rp2040.set_interrupt(self.irq, asked)

    def write_uint32(self, offset: int, value: int) -> None:
        super().write_uint32(offset, value)
        if offset == uart.UARTDR:
            self._interrupt_status |= uart.UARTTXINTR
            self.check_interrupts()


class _Transmitters:
    """Gives a chip such UARTs."""

    def attach(self, rp2040: RP2040) -> None:
        for one in rp2040.uart:
            one.__class__ = _Uart


BOARD = dataclasses.replace(BOARDS["pico"], extras=(_Transmitters,))


def file_system(files: dict[str, bytes], folders: tuple[str, ...] = ()) -> bytes:
    """Return the content of a file system as an installer would have made it."""
    context = UserContext(buffsize=BLOCK_SIZE * BLOCKS)
    sizes = {"block_size": BLOCK_SIZE, "prog_size": _PAGE, "read_size": _PAGE}
    made = LittleFS(context, block_count=BLOCKS, disk_version=_DISK_VERSION, **sizes)
    for name in folders:
        made.mkdir(name)
    for name, content in files.items():
        with made.open(name, "wb") as file:
            file.write(content)
    made.unmount()
    return bytes(context.buffer)


class Pico:
    """A Pico that has its power from now on; `image` is a UF2, `content` that of its file system.

    heard       what each of its UARTs has sent and nobody has taken
    """

    def __init__(self, image: Path, content: bytes) -> None:
        spec = BoardSpec(
            extras=(_Transmitters,), image=image, layout=FlashLayout(_START, BLOCKS, BLOCK_SIZE)
        )
        self._device = MicroPythonDevice(board=spec)
        self._chip = self._device.mcu
        self._chip.flash[_START:FLASH_SIZE] = content
        self.heard = [bytearray(), bytearray()]
        for one, heard in zip(self._chip.uart, self.heard, strict=True):
            one.on_byte = heard.append
        self._waiting = [bytearray(), bytearray()]
        self._chip.core.pc = FLASH_START_ADDRESS
        self._device.simulator.stopped = False

    @property
    def now_ms(self) -> float:
        """Return the chip's time since its power came."""
        return float(self._chip.clock.nanos) / _MS

    def send(self, number: int, data: bytes) -> None:
        """Have bytes arrive at a UART, as fast as it takes them."""
        self._waiting[number] += data

    def run(self, until: Callable[[], bool], limit_ms: float) -> bool:
        """Run until something is so, and return True; False: not within the chip's time."""
        ends_ms = self.now_ms + limit_ms
        while not until():
            if self.now_ms > ends_ms:
                return False
            for one, waiting in zip(self._chip.uart, self._waiting, strict=True):
                while waiting and one.enabled and not one.rx_fifo.full:
                    one.feed_byte(waiting.pop(0))
            execute_batch(self._device.simulator, _INSTRUCTIONS)
        return True
