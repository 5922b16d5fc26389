"""The data identifiers this device polls, one row of 7 bytes each; a new one costs one line.

    DI0 lowest | DI1 | DI2 | DI3 | DI0 highest | format | reply size

The reply size counts the bytes after the identifier (blocks: a total and four rates) and sets the
reply deadline. Identifiers of DL/T 645-1997 have DI2 = DI3 = 0. Formats: 1 energy, 2 energy with
a sign bit, 3 money (each 4-byte BCD registers, lowest digit 0.01), 4 bits, 5 date and weekday,
6 time, 7 date, weekday and time, 8 date and time to the minute.
"""

TABLE = (
    b"\x00\xff\x01\x00\x0c\x01\x14"  # 0001FF00..0C forward active, total and rates
    b"\x00\xff\x00\x00\x0c\x02\x14"  # 0000FF00..0C combined active, total and rates
    b"\x03\x05\x00\x04\x03\x04\x02"  # 04000503 status word 3
    b"\x00\x00\x01\x00\x0c\x01\x04"  # 00010000..0C forward active total
    b"\x00\x00\x00\x00\x0c\x02\x04"  # 00000000..0C combined active total
    b"\x0c\x01\x00\x04\x0c\x07\x07"  # 0400010C date, weekday, time
    b"\x01\x01\x00\x04\x01\x05\x04"  # 04000101 date, weekday
    b"\x02\x01\x00\x04\x02\x06\x03"  # 04000102 time
    b"\x01\x01\x06\x05\x3e\x01\x14"  # 05060101..3E daily freeze, forward active
    b"\x01\x00\x06\x05\x3e\x08\x05"  # 05060001..3E daily freeze, its time
    b"\x00\x02\x90\x00\x01\x03\x04"  # 00900200..01 remaining money, overdraft
    b"\x10\x90\x00\x00\x10\x01\x04"  # 9010 (1997) forward active total
    b"\x1f\x90\x00\x00\x1f\x01\x15"  # 901F (1997) forward active, total and rates, AA
    b"\x10\xc0\x00\x00\x10\x05\x04"  # C010 (1997) date, weekday
    b"\x11\xc0\x00\x00\x11\x06\x03"  # C011 (1997) time
)
TABLE_SIZE = len(TABLE)
