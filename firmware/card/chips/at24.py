"""Drive an AT24Cxx on I2C: memory without any protection, for tests on the bench.

    write       device | address, 1 or 2 bytes | data within one page
    then        the chip answers no address for up to 10 ms, while it writes the page
    read        a write without data sets the address, then a read

Up to 16 Kbit, the device's address has the upper bits of the memory address. Larger chips have two
address bytes.

Spec: data sheet AT24C01/02/04/08/16 and AT24C32/64, device operation.
"""

from micropython import const

from card.chips.outcome import ABSENT, OK, OUT_OF_RANGE, SILENT, reached, ticks_after

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    from card.chips.outcome import Bytes, Steps

    class I2c(Protocol):
        """The interface of machine.I2C. OSError: the chip does not acknowledge."""

        def writeto(self, addr: int, buf: Bytes) -> object:
            """Write to the chip at `addr`."""

        def readfrom_into(self, addr: int, buf: bytearray | memoryview) -> object:
            """Read from the chip at `addr`."""


_ONE_BYTE_LIMIT = const(2048)
_CHUNK = const(32)
_WRITE_MS = const(20)  # data sheets say 5 or 10


class At24:
    """A chip of `size` bytes in pages of `page_size` bytes at the I2C address 50H to 57H."""

    def __init__(
        self, i2c: "I2c", size: int = 256, page_size: int = 8, address: int = 0x50
    ) -> None:
        self.uid = bytearray(8)
        self.size = size
        self._i2c = i2c
        self._address = address
        self._page_size = page_size
        self._head_size = 1 if size <= _ONE_BYTE_LIMIT else 2
        self._head = bytearray(self._head_size)
        self._page = bytearray(self._head_size + page_size)

    def there(self) -> bool:
        """Return true: only a read shows that a card is missing."""
        return True

    def release(self) -> None:
        """Do nothing: the bus is at rest between transfers."""

    def connect(self) -> "Steps":
        """Return OK if a chip acknowledges its address, else ABSENT."""
        yield
        return OK if self._set_address(0) else ABSENT

    def read(self, offset: int, size: int, buf: bytearray) -> "Steps":
        """Fill buf[:size]."""
        if not 0 <= offset <= offset + size <= self.size:
            return OUT_OF_RANGE
        view = memoryview(buf)
        done = 0
        while done < size:
            count = min(_CHUNK, size - done)
            if not self._set_address(offset + done):
                return SILENT
            try:
                self._i2c.readfrom_into(self._device(offset + done), view[done : done + count])
            except OSError:
                return SILENT
            done += count
            yield
        return OK

    def write(self, offset: int, size: int, buf: "Bytes") -> "Steps":
        """Write buf[:size] page by page, and wait after each until it is written."""
        if not 0 <= offset <= offset + size <= self.size:
            return OUT_OF_RANGE
        page = self._page
        head_size = self._head_size
        view = memoryview(page)
        done = 0
        while done < size:
            at = offset + done
            # A write beyond the end of its page would continue at the page's beginning.
            count = min(self._page_size - at % self._page_size, size - done)
            self._put_address(page, at)
            for index in range(count):
                page[head_size + index] = buf[done + index]
            try:
                self._i2c.writeto(self._device(at), view[: head_size + count])
            except OSError:
                return SILENT
            outcome = yield from self._written()
            if outcome != OK:
                return outcome
            done += count
        return OK

    def _written(self) -> "Steps":
        """Wait until the chip acknowledges again."""
        now_ticks = yield
        deadline_ticks = ticks_after(now_ticks, _WRITE_MS)
        while not self._set_address(0):
            if reached(now_ticks, deadline_ticks):
                return SILENT
            now_ticks = yield
        return OK

    def _set_address(self, at: int) -> bool:
        """Set the chip's address counter; return false when it does not acknowledge."""
        self._put_address(self._head, at)
        try:
            self._i2c.writeto(self._device(at), self._head)
        except OSError:
            return False
        return True

    def _put_address(self, buf: bytearray, at: int) -> None:
        buf[self._head_size - 1] = at & 0xFF
        if self._head_size == 2:
            buf[0] = at >> 8

    def _device(self, at: int) -> int:
        return self._address | at >> 8 if self._head_size == 1 else self._address
