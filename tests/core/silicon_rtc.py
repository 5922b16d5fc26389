"""Simulated RTC chips on an I2C bus: a register file with an address counter, and a battery.

Kept: the bits beside the digits that each family sets, the flag of an oscillator that stood, and
a chip that does not answer. Spec: data sheets DS1307, DS1338, DS3231, PCF8563.
"""

# Of each chip: address, registers, where its time begins, the flag of a stop, bits that are set
# beside the digits of seconds .. year by chips that live.
FAMILIES = {
    "ds1307": (0x68, 64, 0, (0x00, 0x80), b"\0\0\0\0\0\0\0"),
    "ds1338": (0x68, 64, 0, (0x07, 0x20), b"\0\0\0\0\0\0\0"),
    "ds3231": (0x68, 19, 0, (0x0F, 0x80), b"\0\0\0\0\0\x80\0"),
    "pcf8563": (0x51, 16, 2, (0x02, 0x80), b"\0\x80\xc0\xc0\xf8\xe0\0"),
}


class Silicon:
    """The bus with one chip on it, as machine.I2C; as delivered its oscillator has stood.

    registers   as they are
    absent      no chip acknowledges
    """

    def __init__(self, name: str) -> None:
        self.address, size, self.first, self.flag, self._beside = FAMILIES[name]
        self.registers = bytearray(size)
        self.registers[self.flag[0]] |= self.flag[1]
        self.absent = False
        self._at = 0

    def put(self, moment: bytes) -> None:
        """Have the seven registers of the time hold this, and the bits beside the digits."""
        for index in range(7):
            self.registers[self.first + index] = moment[index] | self._beside[index]
        self.registers[self.flag[0]] &= 0xFF ^ self.flag[1]

    def moment(self) -> bytes:
        """The seven registers of the time."""
        return bytes(self.registers[self.first : self.first + 7])

    def writeto(self, addr: int, buf: bytes) -> int:
        """A write transfer: where to, then what."""
        self._select(addr)
        self._at = buf[0]
        for value in buf[1:]:
            self.registers[self._at] = value
            self._at = (self._at + 1) % len(self.registers)
        return len(buf)

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        """A read transfer from where the address counter stands."""
        self._select(addr)
        for index in range(len(buf)):
            buf[index] = self.registers[self._at]
            self._at = (self._at + 1) % len(self.registers)

    def _select(self, addr: int) -> None:
        if self.absent or addr != self.address:
            raise OSError(5)
