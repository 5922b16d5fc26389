"""Convert binary coded decimals one byte at a time: two digits, high nibble first."""


def decode(byte: int) -> int:
    """Return the value 0..99 of one BCD byte, or -1 if a nibble is no digit."""
    high = byte >> 4
    low = byte & 0x0F
    if high > 9 or low > 9:
        return -1
    return high * 10 + low


def encode(value: int) -> int:
    """Return the BCD byte of `value` 0..99."""
    return value // 10 << 4 | value % 10
