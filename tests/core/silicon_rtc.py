"""Simulate RTC chips on an I2C bus: a register file with an address counter, and a battery.

It simulates the bits beside the digits that each family sets, the flag of a stopped oscillator,
and a chip that does not answer. Spec: data sheets DS1307, DS1338, DS3231, PCF8563.
"""

# Each row has a chip's address, registers, the place of its time, the flag of a stop, and the
# bits that a running chip sets beside the digits of seconds .. year.
FAMILIES = {
    "ds1307": (0x68, 64, 0, (0x00, 0x80), b"\0\0\0\0\0\0\0"),
    "ds1338": (0x68, 64, 0, (0x07, 0x20), b"\0\0\0\0\0\0\0"),
    "ds3231": (0x68, 19, 0, (0x0F, 0x80), b"\0\0\0\0\0\x80\0"),
    "pcf8563": (0x51, 16, 2, (0x02, 0x80), b"\0\x80\xc0\xc0\xf8\xe0\0"),
}


class Silicon:
    """This is the bus with one chip on it, as machine.I2C; as delivered its oscillator has
    stopped.

    registers   their content
    absent      no chip acknowledges
    """

    def __init__(self, name: str) -> None:
        self.address, size, self.first, self.flag, self._beside = FAMILIES[name]
        self.registers = bytearray(size)
        self.registers[self.flag[0]] |= self.flag[1]
        self.absent = False
        self._at = 0

    def put(self, moment: bytes) -> None:
        """Set the seven registers of the time, with the bits beside the digits."""
        for index in range(7):
            self.registers[self.first + index] = moment[index] | self._beside[index]
        self.registers[self.flag[0]] &= 0xFF ^ self.flag[1]

    def moment(self) -> bytes:
        """Return the seven registers of the time."""
        return bytes(self.registers[self.first : self.first + 7])

    def writeto(self, addr: int, buf: bytes) -> int:
        """Take a write transfer: the position, then the bytes."""
        self._select(addr)
        self._at = buf[0]
        for value in buf[1:]:
            self.registers[self._at] = value
            self._at = (self._at + 1) % len(self.registers)
        return len(buf)

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        """Give a read transfer from the position of the address counter."""
        self._select(addr)
        for index in range(len(buf)):
            buf[index] = self.registers[self._at]
            self._at = (self._at + 1) % len(self.registers)

    def _select(self, addr: int) -> None:
        if self.absent or addr != self.address:
            raise OSError(5)
