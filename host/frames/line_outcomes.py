"""What became of a question on a meter line: the frame of the answer, or why there is none."""

from host.frames import dlt645
from host.frames.dlt645 import ABNORMAL, FROM_METER, MORE, Frame
from host.words import marked

_SECURITY = 0x03

WHY = {
    "timeout": marked("no answer: check address, wiring A/B, speed (--baud) and --standard"),
    "garbled": marked(
        "bytes came, but no frame: check speed and parity, or several meters answered"
    ),
    "foreign": marked("another meter answered: check the address"),
    "bad reply": marked("the meter answered something else, try again"),
    "too long": marked("the meter has more follow-up parts than there may be"),
}


def frame_behind(
    address: str, control: int, data: bytes, outcome: str, error: int, more: bool
) -> Frame | None:
    """Return the frame behind an outcome of the master, None where it has none: see WHY.

    ValueError: no frame bears such an address, or so much data.
    """
    if outcome == "ok":
        control |= FROM_METER | (MORE if more else 0)
    elif outcome == "abnormal":
        size = 2 if control == _SECURITY else 1
        data = (error & (1 << 8 * size) - 1).to_bytes(size, "little")
        control |= FROM_METER | ABNORMAL
    else:
        return None
    return dlt645.parse(dlt645.build(address, control, data, preamble=0))
