"""Goal: a job of several transactions ends correctly whichever of them is lost: long reads, a
change of speed, the search for a meter's standard and speed, a payment.

Method: small meters on a line in virtual time; each request and each reply of each job is lost
once, and all that the meter did is compared with the job's result.
"""

from dlt645 import master
from dlt645.bcd import encode
from dlt645.long_read import LongRead
from dlt645.probe import BAUDS, Probe
from dlt645.recharge import NOT_TOLD, Recharge
from dlt645.speed import SpeedChange, code_of
from dlt645_line import METER, OTHER, Bus, FakeMeter
from harness import check, equal
from ticks import TICKS_MASK

ANY = b"\xaa" * 6
TOTAL = b"\x00\x00\x01\x00"


class LongMeter(FakeMeter):
    """This meter has 500 bytes of data, 190 in a reply."""

    def __init__(self, is_2007: bool) -> None:
        super().__init__(METER)
        self.content = bytes([index * 7 & 0xFF for index in range(500)])
        self.is_2007 = is_2007
        self.part = 0

    def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
        if control == (0x11 if self.is_2007 else 0x01):
            self.part = 0
        elif control == 0x12 and self.is_2007:
            if data[4] not in (self.part, self.part + 1):
                return 0xD2, b"\x02"
            self.part = data[4]
        elif control == 0x02 and not self.is_2007:
            self.part += 1
        else:
            return None
        part = self.content[self.part * 190 : self.part * 190 + 190]
        more = 0x20 if self.part < 2 else 0
        end = data[4:] if control == 0x12 else b""
        return control | 0x80 | more, data[: 4 if self.is_2007 else 2] + part + end


def test_long_read() -> None:
    for is_2007, control, request in ((True, 0x11, TOTAL), (False, 0x01, b"\x1f\x90")):
        for lost in range(8):
            meter = LongMeter(is_2007)
            bus = Bus([meter], TICKS_MASK - 700)
            bus.lost = {lost, lost + 1} if lost else set()
            job = LongRead(bus.master, 600)
            job.start(METER, control, request, len(request), bus.ticks)
            equal(bus.run(job), master.OK, (control, lost))
            equal(bytes(job.data[: job.size]), meter.content, (control, lost))
            equal(job.poll(bus.ticks), master.IDLE)
            if not lost:
                equal(bus.requests, 3)


def test_long_read_of_a_load_profile() -> None:
    meter = LongMeter(True)
    bus = Bus([meter])
    job = LongRead(bus.master, 500)
    request = b"\x01\x00\x00\x06\x03\x30\x12\x31\x12\x25"
    job.start(METER, 0x11, request, 10, bus.ticks)
    equal(bus.run(job), master.OK)
    equal(bytes(job.data), meter.content)


def test_long_read_ends_where_it_has_to() -> None:
    bus = Bus([LongMeter(True)])
    job = LongRead(bus.master, 499)
    job.start(METER, 0x11, TOTAL, 4, bus.ticks)
    equal(bus.run(job), master.TOO_LONG)
    bus.lost = set(range(100))
    job.start(METER, 0x11, TOTAL, 4, bus.ticks)
    equal(bus.run(job), master.TIMEOUT)

    class Endless(FakeMeter):
        def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
            return control | 0xA0, data[:4] + b"\x00" + data[4:]

    bus = Bus([Endless(METER)])
    job = LongRead(bus.master, 600)
    job.start(METER, 0x11, TOTAL, 4, bus.ticks)
    equal(bus.run(job), master.TOO_LONG)
    equal(job.size, 256, "the number of a follow-up has one byte")


class SpeedMeter(FakeMeter):
    """It changes its speed, from 1200 to 9600 only; if `stubborn`, it only confirms the change."""

    stubborn = False

    def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
        if control == 0x17:
            if data[0] not in (0x04, 0x08, 0x10, 0x20):
                return 0xD7, b"\x08"
            if not self.stubborn:
                self.baud = 300 * data[0]
            return 0x97, data
        return super().answer(control, data)


def test_change_of_speed() -> None:
    for lost in range(8):
        meter = SpeedMeter(METER)
        bus = Bus([meter])
        bus.lost = {lost}
        job = SpeedChange(bus.master)
        job.start(METER, 0x17, code_of(9600), 9600, bus.ticks)
        equal(bus.run(job), master.OK, lost)
        equal((meter.baud, bus.master.baud), (9600, 9600))
        # The speed changes back.
        job.start(METER, 0x17, code_of(1200), 1200, bus.ticks)
        equal(bus.run(job), master.OK, lost)
        equal((meter.baud, bus.master.baud), (1200, 1200))


def test_change_of_speed_that_does_not_happen() -> None:
    meter = SpeedMeter(METER)
    bus = Bus([meter])
    job = SpeedChange(bus.master)
    job.start(METER, 0x17, code_of(19200), 19200, bus.ticks)
    equal(bus.run(job), master.ABNORMAL)
    equal((bus.master.error, bus.master.baud), (8, 2400))
    meter.stubborn = True
    job.start(METER, 0x17, code_of(9600), 9600, bus.ticks)
    equal(bus.run(job), master.BAD_REPLY)
    equal(bus.master.baud, 2400)
    bus.meters = []
    job.start(METER, 0x17, code_of(9600), 9600, bus.ticks)
    equal(bus.run(job), master.TIMEOUT)
    equal(bus.master.baud, 2400)


def test_codes_of_speeds() -> None:
    codes = [code_of(baud) for baud in (600, 1200, 2400, 4800, 9600, 19200)]
    equal(codes, [0x02, 0x04, 0x08, 0x10, 0x20, 0x40])
    for baud in (0, 300, 1201, 38400, 115200):
        equal(code_of(baud), 0, baud)


class Meter1997(FakeMeter):
    """This meter knows nothing of 2007."""

    def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
        return (0x81, data + bytes(4)) if control == 0x01 else None


class Refuser(FakeMeter):
    """This meter answers any read by its refusal."""

    def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
        return (0xD1, b"\x02") if control == 0x11 else None


def test_probe() -> None:
    for baud in BAUDS:
        for kind, standard in ((FakeMeter, 2007), (Meter1997, 1997), (Refuser, 2007)):
            for asked in (bytes(METER), ANY):
                bus = Bus([kind(METER, 60, baud)], TICKS_MASK - 1000)
                job = Probe(bus.master)
                job.start(asked, BAUDS, bus.ticks)
                equal(bus.run(job), master.OK, (baud, standard))
                equal((job.standard, bus.master.baud), (standard, baud))
                equal(job.address, METER)


def test_probe_of_nobody() -> None:
    bus = Bus([FakeMeter(METER, 60, 4800)])
    job = Probe(bus.master)
    for asked, bauds in ((bytes(METER), (9600, 1200)), (bytes(OTHER), BAUDS)):
        job.start(asked, bauds, bus.ticks)
        equal(bus.run(job), master.TIMEOUT)
        equal((job.standard, bus.master.baud), (0, 2400))


class PaidMeter(FakeMeter):
    """This meter books payments of 03H: each number once, in order, as SERR says."""

    tells = True
    refusal = 0
    plain = False

    def __init__(self) -> None:
        super().__init__(METER)
        self.count = 6
        self.money_fen = 1500
        self.bookings = 0

    def answer(self, control: int, data: bytes) -> "tuple[int, bytes] | None":
        if control == 0x11 and data == b"\x01\x02\x33\x03":
            if not self.tells:
                return 0xD1, b"\x02"
            return 0x91, data + bytes((self.count // 10 << 4 | self.count % 10, 0))
        if control == 0x11:
            return 0x91, data + bytes([encode(self.money_fen // 100**at % 100) for at in range(4)])
        if control == 0x03 and self.refusal:
            return 0xC3, bytes((self.refusal, 0))
        if control == 0x14 and self.plain:
            self._book(data[12])
            return 0x94, b""
        if control != 0x03:
            return None
        number = data[12]
        if number == self.count:
            return 0xC3, b"\x02\x00"
        if number != self.count + 1:
            return 0xC3, b"\x20\x00"
        self._book(number)
        return 0x83, data[:4]

    def _book(self, number: int) -> None:
        self.count = number
        self.money_fen += 10000
        self.bookings += 1


# The parts are 070102FF, operator, 100.00 yuan, number 7, MAC1, customer, MAC2.
PAYMENT = b"\xff\x02\x01\x07\x78\x56\x34\x12\x10\x27\x00\x00\x07\x00\x00\x00" + bytes(14)


def pay(bus: Bus, order: int = 7) -> "tuple[int, Recharge]":
    """Run a payment; return its outcome and the job."""
    job = Recharge(bus.master)
    data = bytearray(PAYMENT)
    data[12] = order
    job.start(METER, 0x03, data, len(data), order, bus.ticks)
    return bus.run(job), job


def test_a_payment_is_booked_once_whatever_is_lost() -> None:
    for tells in (True, False):
        for lost in range(12):
            for count in (1, 2, 3):
                meter = PaidMeter()
                meter.tells = tells
                bus = Bus([meter], TICKS_MASK - 2000)
                bus.lost = set(range(lost, lost + count)) - {0}
                outcome, job = pay(bus)
                check(meter.bookings <= 1, (tells, lost, count))
                if outcome == master.OK:
                    equal(meter.bookings, 1, (tells, lost, count))
                    check(job.balance_fen in (11500, NOT_TOLD))
                else:
                    check(outcome == master.TIMEOUT, (tells, lost, count))
                # Started again later, it ends well and is booked once.
                bus.lost = set()
                outcome, job = pay(bus)
                equal(outcome, master.OK, (tells, lost, count))
                equal((meter.bookings, job.balance_fen), (1, 11500))


def test_a_payment_on_a_quiet_line() -> None:
    meter = PaidMeter()
    bus = Bus([meter])
    outcome, job = pay(bus)
    equal((outcome, job.sends, job.count, job.balance_fen), (master.OK, 1, 7, 11500))
    equal(bus.requests, 5, "money, count, command, money, count")
    outcome, job = pay(bus)
    equal((outcome, job.sends, job.balance_fen), (master.OK, 0, 11500))


def test_payments_that_are_not_made() -> None:
    for order in (5, 8, 9):
        meter = PaidMeter()
        outcome, job = pay(Bus([meter]), order)
        equal((outcome, job.sends, meter.bookings, job.count), (master.BAD_REPLY, 0, 0, 6), order)
    for refusal in (0x01, 0x04, 0x08, 0x10, 0x20, 0x40):
        meter = PaidMeter()
        meter.refusal = refusal
        outcome, job = pay(Bus([meter]))
        equal((outcome, job.error, job.sends), (master.ABNORMAL, refusal, 1))
    outcome, job = pay(Bus([]))
    equal((outcome, job.sends), (master.TIMEOUT, 0), "not even its count")


def test_a_refusal_after_a_loss_is_not_believed_of_a_meter_without_count() -> None:
    meter = PaidMeter()
    meter.tells = False
    bus = Bus([meter])
    bus.lost = {3}
    job = Recharge(bus.master)
    job.start(METER, 0x03, PAYMENT, len(PAYMENT), 7, bus.ticks)
    while bus.requests < 4:
        if bus.requests == 3:
            meter.refusal = 0x08
        bus.step(job)
    equal(bus.run(job), master.TIMEOUT)
    equal(meter.bookings, 1)


def test_plain_money_is_not_sent_twice_without_a_count() -> None:
    for tells, lost, outcome, bookings in (
        (True, 0, master.OK, 1),
        (True, 3, master.OK, 1),
        (False, 0, master.OK, 1),
        (False, 3, master.TIMEOUT, 1),
    ):
        meter = PaidMeter()
        meter.plain = True
        meter.tells = tells
        bus = Bus([meter])
        bus.lost = {lost}
        job = Recharge(bus.master)
        job.start(METER, 0x14, PAYMENT, len(PAYMENT), 7, bus.ticks)
        equal((bus.run(job), meter.bookings), (outcome, bookings), (tells, lost))
