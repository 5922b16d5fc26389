"""Goal: the time of each RTC chip is read as it stands in its registers, set so that the chip
keeps it, and not believed where the chip had stopped, was never set, or does not answer.

Method: simulated chips of each family, at moments around leap days, year ends and 2034, with the
bits that the families set beside the digits.
"""

from binascii import unhexlify

from boards.rtc import CHIPS, Rtc
from harness import check, equal
from silicon_rtc import FAMILIES, Silicon

# Each row has a moment and its registers: ss mm hh, weekday counted from 0, DD MM YY.
MOMENTS = (
    (849311696, "565423" + "00" + "291126"),  # a Sunday
    (820540799, "595923" + "03" + "311225"),
    (820540800, "000000" + "04" + "010126"),
    (888710400, "000000" + "02" + "290228"),  # a leap day
    (1073741823, "033713" + "01" + "090134"),  # the last second below 2**30
    (1073741824, "043713" + "01" + "090134"),
    (2145916799, "595923" + "06" + "311267"),
)


def registers(name: str, digits: str) -> bytes:
    """Return the content of the chip's registers."""
    moment = unhexlify(digits)
    if name == "pcf8563":
        return moment[:3] + moment[4:5] + moment[3:4] + moment[5:]
    return moment[:3] + bytes((moment[3] + 1,)) + moment[4:]


def test_each_chip_tells_what_it_was_set_to() -> None:
    equal(sorted([row[0] for row in CHIPS]), sorted(FAMILIES))
    for name in FAMILIES:
        for t2000, digits in MOMENTS:
            chip = Silicon(name)
            rtc = Rtc(chip, name)
            rtc.set_t2000(t2000)
            equal(chip.moment(), registers(name, digits), (name, t2000))
            equal(rtc.now_t2000(), t2000, name)
            chip.put(registers(name, digits))
            equal(rtc.now_t2000(), t2000, (name, "with the bits beside the digits"))


def test_a_chip_that_has_stood_has_no_time_until_it_is_set() -> None:
    for name in FAMILIES:
        chip = Silicon(name)
        rtc = Rtc(chip, name)
        equal(rtc.now_t2000(), -1, name)
        chip.put(registers(name, MOMENTS[0][1]))
        register, bit = chip.flag
        chip.registers[register] |= bit
        equal(rtc.now_t2000(), -1, name)
        rtc.set_t2000(MOMENTS[1][0])
        equal(chip.registers[register] & bit, 0, name)
        equal(rtc.now_t2000(), MOMENTS[1][0], name)


def test_other_bits_of_the_flags_register_stay() -> None:
    for name in ("ds1338", "ds3231"):
        chip = Silicon(name)
        register, bit = chip.flag
        chip.registers[register] = 0x0F | bit
        Rtc(chip, name).set_t2000(MOMENTS[0][0])
        equal(chip.registers[register], 0x0F & (0xFF ^ bit))


def test_what_is_no_time_is_not_believed() -> None:
    for name in FAMILIES:
        for digits in (
            "615423" + "00" + "291126",
            "565424" + "00" + "291126",
            "565423" + "00" + "300226",
            "565423" + "00" + "001126",
            "5a5423" + "00" + "291126",
            "565423" + "00" + "311224",  # before the product was
        ):
            chip = Silicon(name)
            chip.put(registers(name, digits))
            equal(Rtc(chip, name).now_t2000(), -1, (name, digits))


def test_a_chip_set_to_twelve_hours_was_set_by_somebody_else() -> None:
    chip = Silicon("ds3231")
    chip.put(registers("ds3231", "565451" + "00" + "291126"))
    equal(Rtc(chip, "ds3231").now_t2000(), -1)


def test_a_chip_that_does_not_answer_has_no_time_and_harms_nobody() -> None:
    for name in FAMILIES:
        chip = Silicon(name)
        rtc = Rtc(chip, name)
        rtc.set_t2000(MOMENTS[0][0])
        chip.absent = True
        equal(rtc.now_t2000(), -1)
        rtc.set_t2000(MOMENTS[1][0])
        chip.absent = False
        equal(rtc.now_t2000(), MOMENTS[0][0])
        check(rtc.now_t2000() > 0)
