"""A simulated meter for tests, which answers frames with data or an error word."""

from dataclasses import dataclass
from typing import Any

from host.frames import dlt645
from host.frames.dlt645 import ABNORMAL, FROM_METER, MORE, Frame
from host.sim.clock import DEFAULT_START_T2000
from host.sim.meter import Meter
from host.sim.profile import PROFILES
from host.sim.responder import Responder
from host.sim.values import write_moment
from host.units import DAY_S

ADDRESS = "000000000017"
PASSWORD = bytes.fromhex("02123456")
OPERATOR = bytes.fromhex("78563412")
AUTHORITY = PASSWORD + OPERATOR
NOON_T2000 = DEFAULT_START_T2000 + DAY_S // 2


class Refused(Exception):
    """The meter's error word, 1 or 2 bytes, low byte first."""

    def __init__(self, word: bytes) -> None:
        super().__init__(word.hex())
        self.word = word


@dataclass
class Master:
    """A master that asks one meter; `t2000` is the time of the world."""

    meter: Meter
    t2000: int = NOON_T2000

    def __post_init__(self) -> None:
        self.responder = Responder(self.meter)

    def send(self, control: int, data: bytes = b"", address: str | None = None) -> Frame | None:
        request = dlt645.build(address or self.meter.address, control, data)
        reply = self.responder.answer(dlt645.parse(request), self.t2000)
        return None if reply is None else dlt645.parse(reply)

    def ask(self, control: int, data: bytes = b"", address: str | None = None) -> bytes:
        """Return the data of the reply; raise Refused with its error word. A reply must come."""
        frame = self.send(control, data, address)
        assert frame is not None, "no reply"
        assert frame.control & ~(ABNORMAL | MORE) == control | FROM_METER
        if frame.abnormal:
            raise Refused(frame.data)
        return frame.data

    def read(self, di: int, asked: bytes = b"") -> bytes:
        """Return the value of an identifier of 2007, with the data that follow."""
        name = di.to_bytes(4, "little")
        frame = self.send(0x11, name + asked)
        assert frame is not None
        if frame.abnormal:
            raise Refused(frame.data)
        assert frame.data[:4] == name
        value, sequence = frame.data[4:], 0
        while frame.more:
            sequence += 1
            frame = self.send(0x12, name + bytes((sequence,)))
            assert frame is not None
            assert frame.data[:4] == name
            assert frame.data[-1] == sequence
            value += frame.data[4:-1]
        return value

    def number(self, di: int) -> int:
        """Return the first four bytes of a value as a number."""
        return int(self.read(di)[3::-1].hex())

    def write(self, di: int, value: bytes, authority: bytes = AUTHORITY) -> None:
        assert self.ask(0x14, di.to_bytes(4, "little") + authority + value) == b""

    def relay(self, action: int, expiry: bytes | None = None, head: bytes = AUTHORITY) -> None:
        """Send 1CH with an expiry of five minutes from now."""
        expiry = write_moment(self.t2000 + 300) if expiry is None else expiry
        assert self.ask(0x1C, head + bytes((action, 0)) + expiry) == b""


def master_of(profile: str = "plain", **settings: Any) -> Master:
    """Return a master with a meter of `profile`, at noon."""
    meter = Meter(ADDRESS, password=PASSWORD, profile=PROFILES[profile], **settings)
    return Master(meter)
