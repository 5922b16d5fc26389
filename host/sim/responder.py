"""A meter on a line: which requests it hears, and what it answers by its standard.

The meter itself knows nothing of frames; `speaker_2007` and `speaker_1997` know its functions.
"""

from host.frames.dlt645 import BROADCAST, Frame
from host.sim.meter import Meter
from host.sim.speaker import Speaker
from host.sim.speaker_1997 import Speaker1997
from host.sim.speaker_2007 import Speaker2007


class Responder:
    """Answers for one meter, by the standard of its profile."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        is_1997 = meter.profile.standard == 1997
        self._speaker: Speaker = Speaker1997(meter) if is_1997 else Speaker2007(meter)

    def answer(self, frame: Frame, t2000: int) -> bytes | None:
        """Return the bytes of the reply to a verified request, None where there is none.

        `t2000` is the time of the world: the meter counts its energy up to it first.
        """
        meter = self.meter
        if meter.broken:
            return None
        if frame.address != BROADCAST and not matches(frame.address, meter.address):
            return None
        meter.advance(t2000)
        return self._speaker.answer(frame)

    def value_of(self, di: int) -> bytes | None:
        """Return the data bytes of an identifier, None where the meter has none."""
        return self._speaker.value_of(di)


def matches(pattern: str, address: str) -> bool:
    """Return whether a request to `pattern` is for `address`; AA stands for any two digits."""
    if pattern == address:
        return True
    if "AA" not in pattern:
        return False
    pairs = zip(range(0, 12, 2), range(2, 14, 2), strict=True)
    return all(pattern[at:end] in ("AA", address[at:end]) for at, end in pairs)
