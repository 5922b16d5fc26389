"""List the data identifiers that the device decodes: a new one is one row of 7 bytes.

    DI0 lowest | DI1 | DI2 | DI3 | DI0 highest | format | reply size

The reply size counts the bytes after the identifier (blocks: a total and four rates, or all
phases) and sets the reply deadline. Identifiers of DL/T 645-1997 have DI2 = DI3 = 0.

Formats: 1 energy, 2 energy with a sign bit, 3 money (each 4-byte BCD registers, lowest digit
0.01), 4 bits, 5 date and weekday, 6 time, 7 date, weekday and time, 8 date and time to the
minute; 1Xh BCD numbers of X bytes in units of their lowest digit, 2Xh the same with a sign bit.
The table is searched from the top, so the commonest identifiers come first.

Spec: DL/T 645-2007, the identifiers named beside the rows; DL/T 645-1997, those marked (1997).
"""

TABLE = (
    b"\x00\xff\x01\x00\x0c\x01\x14"  # 0001FF00..0C forward active, total and rates
    b"\x00\xff\x00\x00\x0c\x02\x14"  # 0000FF00..0C combined active, total and rates
    b"\x01\x05\x00\x04\x07\x04\x02"  # 04000501..07 status words
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
    b"\x00\x02\x33\x03\x01\x12\x02"  # 03330200..01 purchases
    b"\x00\x06\x33\x03\x01\x03\x04"  # 03330600..01 money of all purchases
    b"\x00\x01\x90\x00\x01\x01\x04"  # 00900100..01 remaining energy, overdraft
    b"\x00\xff\x02\x00\x0c\x01\x14"  # 0002FF00..0C reverse active, total and rates
    b"\x00\x00\x02\x00\x0c\x01\x04"  # 00020000..0C reverse active total
    b"\x01\x02\x06\x05\x3e\x01\x14"  # 05060201..3E daily freeze, reverse active
    b"\x01\x01\x01\x05\x03\x01\x14"  # 05010101..03 instant freeze, forward active
    b"\x01\x00\x01\x05\x03\x08\x05"  # 05010001..03 instant freeze, its time
    b"\x01\x01\x04\x05\xfe\x01\x04"  # 05040101..FE hourly freeze, forward active total
    b"\x01\x00\x04\x05\xfe\x08\x05"  # 05040001..FE hourly freeze, its time
    b"\x01\x01\x05\x05\x02\x01\x14"  # 05050101..02 switch of prices, forward active
    b"\x01\x00\x05\x05\x02\x08\x05"  # 05050001..02 switch of prices, its time
    b"\x01\x01\x02\x05\x02\x01\x14"  # 05020101..02 switch of seasons, forward active
    b"\x01\x00\x02\x05\x02\x08\x05"  # 05020001..02 switch of seasons, its time
    b"\x01\x01\x03\x05\x02\x01\x14"  # 05030101..02 switch of day tables, forward active
    b"\x01\x00\x03\x05\x02\x08\x05"  # 05030001..02 switch of day tables, its time
    b"\x01\x01\x07\x05\x02\x01\x14"  # 05070101..02 switch of tiers, forward active
    b"\x01\x00\x07\x05\x02\x08\x05"  # 05070001..02 switch of tiers, its time
    b"\x01\x0b\x00\x04\x03\x12\x02"  # 04000B01..03 settlement day and hour, DDhh
    b"\x00\xff\x01\x02\x00\x12\x06"  # 0201FF00 voltages, 0.1 V
    b"\x00\x01\x01\x02\x00\x12\x02"  # 02010100 voltage of phase A
    b"\x00\xff\x02\x02\x00\x23\x09"  # 0202FF00 currents, mA
    b"\x00\x01\x02\x02\x00\x23\x03"  # 02020100 current of phase A
    b"\x00\xff\x03\x02\x00\x23\x0c"  # 0203FF00 active power, total and phases, 0.1 W
    b"\x00\x00\x03\x02\x00\x23\x03"  # 02030000 active power
    b"\x00\x00\x06\x02\x00\x22\x02"  # 02060000 power factor, 0.001
    b"\x02\x00\x80\x02\x02\x12\x02"  # 02800002 frequency, 0.01 Hz
    b"\x20\x00\x80\x02\x20\x14\x04"  # 02800020 price, 0.0001 yuan per kWh
    b"\x01\x10\x00\x04\x05\x03\x04"  # 04001001..05 alarms 1 and 2, overdraft, hoarding, close
    b"\x00\x00\x11\x03\x00\x13\x03"  # 03110000 power failures
    b"\x00\x00\x30\x03\x00\x13\x03"  # 03300000 programmings
    b"\x00\x04\x30\x03\x00\x13\x03"  # 03300400 clock settings
    b"\x00\x0d\x30\x03\x00\x13\x03"  # 03300D00 openings of the cover
    b"\x00\x0e\x30\x03\x00\x13\x03"  # 03300E00 openings of the terminal cover
    b"\x00\x00\x35\x03\x00\x13\x03"  # 03350000 magnetic disturbances
    b"\x01\x00\x00\x1d\x01\x13\x03"  # 1D000001 trips of the relay
    b"\x01\x00\x00\x1e\x01\x13\x03"  # 1E000001 closings of the relay
    b"\x30\xb6\x00\x00\x30\x13\x03"  # B630 (1997) active power, 0.1 W
)
TABLE_SIZE = len(TABLE)
