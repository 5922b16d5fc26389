"""Commands that take more than one: questions to a meter, and money that was sealed for it.

A concentrator puts a question to a meter and tells of the answer later, so that `line ask` is
followed by `line answer` until that is there. Data that is too long for a command comes before it,
in `line data`; the question names it by its CRC-32, so that no others go to the meter.

A payment goes by the meter's own count of purchases, which is read before it and behind it:

    count = order       the payment is booked: done
    count = order - 1   it is not booked: send it, at most three times
    any other count     another payment was made, or this is another meter: send nothing

A talk is a generator: it gives the text of a command, gets its outcome and answer, and returns
those of the whole. It may begin again at any time, as nothing in it happens twice.

Spec: DL/T 645-2007, function 03H, identifiers 03330201 and 00900200.
"""

from binascii import crc32
from collections.abc import Generator
from typing import NamedTuple

from host.frames import orders
from host.frames.batch import Order, Outcome
from host.frames.describe import describe
from host.frames.line_outcomes import WHY, frame_behind
from host.words import marked

Told = tuple[int, str]
Talk = Generator[str, Told, Told]


class Conversation:
    """The talk that carries out the command `key`, with commands numbered behind `first`.

    ended   outcome and answer of the whole, None: it goes on
    """

    def __init__(self, of: Order, talk: Talk, first: int) -> None:
        self.key: int | str = of.number
        self.ended: Told | None = None
        self._of = of
        self._talk = talk
        self.order: Order | None = Order(first + 1, of.expires_t2000, next(talk))

    def note(self, number: int, outcome: int, text: str) -> None:
        """Note the outcome of a part; those that came twice or late count for nothing."""
        if self.order is None or self.order.number != number:
            return
        try:
            said = self._talk.send((outcome, text))
            self.order = Order(number + 1, self._of.expires_t2000, said)
        except StopIteration as ended:
            self.ended = ended.value
        except (ValueError, OverflowError):
            # Who has a concentrator's key may answer anything. The meter may have acted.
            self.ended = Outcome.NOT_KNOWN, marked("the answer makes no sense")


PAY = "meter pay"
_MONEY, _COUNT = "00900200", "03330201"
_SECURITY, _READ, _READ_1997 = 0x03, 0x11, 0x01
_FOLLOW_UP, _FOLLOW_UP_1997 = 0x12, 0x02
_DI_SIZES = {_READ: 4, _READ_1997: 2, _FOLLOW_UP: 4, _FOLLOW_UP_1997: 2}
# What is longer comes before its question, in parts.
_IN_ONE_LINE = 48
_ASKS = 4
_LOOKS = 120
_PARTS = 32
_SENDS = 3
_REPEATED = 0x02  # SERR b1: it is booked already


class Reply(NamedTuple):
    """The answer to one question: the outcome of the command, and what the meter has said.

    meter       the outcome of the line, as "ok" or "timeout"; "": the line was not asked
    """

    outcome: int
    text: str
    meter: str = ""
    error: int = 0
    more: bool = False
    data: bytes = b""


Question = Generator[str, Told, Reply]


def talk_of(text: str) -> Talk | None:
    """Return the talk that carries out a command, None: it is one command alone."""
    words = text.split(" ")
    name = " ".join(words[:2])
    if name == "line ask" and len(words) in (5, 6):
        return _question(words[2], words[3], int(words[4], 16), _octets(words[5:]))
    if name == PAY and len(words) == 6:
        return _pay(words[2], words[3], int(words[4]), _octets(words[5:]))
    return None


def _octets(words: list[str]) -> bytes:
    return bytes.fromhex("".join(words))


# --- one question -------------------------------------------------------------------------------


def _ask(line: str, address: str, control: int, data: bytes) -> Question:
    """Put a question until its answer is there."""
    refused = Reply(Outcome.NOT_DONE, marked("the line was busy with other questions"))
    for _attempt in range(_ASKS):
        outcome, told = yield from _bring(line, data)
        if outcome != Outcome.DONE:
            refused = Reply(outcome, told)
            continue
        outcome, said = yield f"line ask {line} {address} {control:02x} {told}".strip()
        if outcome != Outcome.DONE:
            # Refused: perhaps because it was put already, and its RESULT was lost.
            refused = Reply(outcome, said)
        for _look in range(_LOOKS):
            outcome, said = yield f"line answer {line}"
            if outcome != Outcome.DONE:
                return Reply(outcome, said)
            lines = [one.partition(" ") for one in said.split("\n")]
            fields = {name: value for name, _blank, value in lines}
            state = fields.get("state")
            if state == "done":
                found = bytes.fromhex("".join(v for name, _blank, v in lines if name == "data"))
                reply = _reply(fields, said, found)
                if _is_of(fields, reply, address, control, data):
                    return reply
            if state not in ("waiting", "asked"):
                break
    return refused


def _bring(line: str, data: bytes) -> Talk:
    """Bring data that is too long for one command; return what a question has in its place."""
    if len(data) <= _IN_ONE_LINE:
        return Outcome.DONE, data.hex()
    for at in range(0, len(data), _IN_ONE_LINE):
        part = data[at : at + _IN_ONE_LINE]
        outcome, said = yield f"line data {line} {at} {part.hex()}"
        if outcome != Outcome.DONE:
            return outcome, said
    return Outcome.DONE, f"={crc32(data)}"


def _reply(fields: dict[str, str], said: str, data: bytes) -> Reply:
    meter = fields.get("outcome", "").replace("_", " ")
    outcome = Outcome.DONE if meter in ("ok", "abnormal") else Outcome.NOT_DONE
    error, more = int(fields.get("error", "0")), fields.get("more") == "1"
    return Reply(outcome, said, meter, error, more, data)


def _is_of(fields: dict[str, str], reply: Reply, address: str, control: int, data: bytes) -> bool:
    """Return whether an answer is that to a question, not to somebody else's."""
    size = _DI_SIZES.get(control, 0)
    same = reply.meter != "ok" or reply.data[:size] == data[:size]
    return same and fields.get("address", "") == address


def _read(line: str, address: str, control: int, data: bytes) -> Question:
    """Read an identifier, whole however many answers it takes."""
    reply = yield from _ask(line, address, control, data)
    size = _DI_SIZES.get(control, 0)
    whole = reply.data
    for part in range(1, _PARTS):
        if not reply.more:
            break
        if control == _READ:
            following = data[:size] + bytes((part,))
            reply = yield from _ask(line, address, _FOLLOW_UP, following)
            whole += reply.data[size:-1]
        else:
            reply = yield from _ask(line, address, _FOLLOW_UP_1997, data[:size])
            whole += reply.data[size:]
        if reply.meter != "ok":
            return reply
    return reply._replace(data=whole)


def _question(line: str, address: str, control: int, data: bytes) -> Talk:
    ask = _read if control in (_READ, _READ_1997) else _ask
    reply = yield from ask(line, address, control, data)
    if reply.meter == "abnormal":
        return Outcome.REFUSED, _shown(reply, address, control)
    if not reply.meter:
        return reply.outcome, reply.text
    # Whether an order arrived that was not answered, nobody knows.
    is_order = control == _SECURITY
    lost = Outcome.NOT_KNOWN if is_order else Outcome.NOT_DONE
    outcome = Outcome.DONE if reply.meter == "ok" else lost
    return outcome, _shown(reply, address, control)


def _shown(reply: Reply, address: str, control: int) -> str:
    """Return what a meter has said, in words, and its bytes."""
    frame = frame_behind(address, control, reply.data, reply.meter, reply.error, False)
    if frame is None:
        return WHY.get(reply.meter, reply.meter)
    said = describe(frame)
    lines = [said["name_en"]] if said["name_en"] else []
    lines += [
        " ".join(str(one[name]) for name in ("value", "unit") if one.get(name))
        for one in said["items"]
    ]
    if said["error"]:
        lines = said["error"]["flags"]
    return "\n".join([*lines, "data " + reply.data.hex()])


# --- money --------------------------------------------------------------------------------------


def _value(line: str, address: str, di: str) -> Generator[str, Told, tuple[Reply, str]]:
    """Read a value; "": the meter has none."""
    reply = yield from _ask(line, address, *orders.read("2007", di))
    if reply.meter != "ok":
        return reply, ""
    frame = frame_behind(address, _READ, reply.data, "ok", 0, False)
    items = describe(frame)["items"] if frame else []
    return reply, str(items[0]["value"]) if items and items[0]["value"] is not None else ""


def _pay(line: str, address: str, order: int, data: bytes) -> Talk:
    """Bring a sealed payment to a meter, once whatever is lost."""
    said = Reply(Outcome.DONE, "")
    sends = 0
    while True:
        money, balance = yield from _value(line, address, _MONEY)
        counted, count = yield from _value(line, address, _COUNT)
        seen = [f"order {order}", f"count {count or '?'}", f"balance {balance or '?'}"]
        is_accepted = said.meter == "ok" or (said.meter == "abnormal" and said.error & _REPEATED)
        for reply in (money, counted):
            if reply.meter not in ("ok", "abnormal"):
                text = marked("the meter does not answer: the same may be given again")
                return Outcome.NOT_KNOWN if sends else Outcome.NOT_DONE, "\n".join((text, *seen))
        if (count and int(count) == order) or (not count and is_accepted):
            return Outcome.DONE, "\n".join(("booked", *seen))
        if said.meter == "abnormal" and not is_accepted:
            text = _shown(said, address, _SECURITY).split("\n")[0]
            unknown = not count and sends > 1
            return Outcome.NOT_KNOWN if unknown else Outcome.REFUSED, "\n".join((text, *seen))
        if count and int(count) != order - 1:
            text = marked("the meter's next order is another one: its count is below")
            return Outcome.REFUSED, "\n".join((text, *seen))
        if sends == _SENDS:
            text = marked("whether it is booked is not known: the same may be given again")
            return Outcome.NOT_KNOWN, "\n".join((text, *seen))
        sends += 1
        said = yield from _ask(line, address, _SECURITY, data)
        if not said.meter:
            return said.outcome, "\n".join((said.text, *seen))
