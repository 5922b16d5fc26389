"""What answers on a port, and wants to harm who asks: a meter, a console, a card reader, a prompt.

`HostileSerial` takes the place of a serial port, in this process and without waiting: its clock
goes on where somebody waits for bytes that do not come.
"""

from collections.abc import Iterator
from random import Random

from host.frames.link import CONSOLE_BODY_LIMIT, Frame, Kind, LinkReader, build

HOSTILE = "=1+1\x1b]52;c;x\x07b\x9b2Jc\u202e[red][/x]"
# So often nothing is heard before the port is pulled out.
PATIENCE = 3000
_ANSWERS = {
    Kind.COMMAND: (Kind.REPLY,),
    Kind.CARD_PRESENT: (Kind.CARD_READ, Kind.CARD_WRITE, Kind.CARD_RESULT),
    Kind.CARD_DATA: (Kind.CARD_READ, Kind.CARD_WRITE, Kind.CARD_RESULT),
    Kind.CARD_WRITTEN: (Kind.CARD_READ, Kind.CARD_WRITE, Kind.CARD_RESULT),
    Kind.CARD_READ: (Kind.CARD_DATA,),
    Kind.CARD_WRITE: (Kind.CARD_WRITTEN,),
}
_LOOKS_RIGHT = (
    "0",
    "1",
    "16",
    "256",
    "ok",
    "id=7",
    "000000000017",
    "00" * 8,
    "00" * 16,
    "read",
    "-1",
)


# Lines of a concentrator, of which some have to be right before others are looked at.
_LINES = (
    *("state done", "state done", "state asked", "outcome ok", "outcome abnormal", "error 0"),
    *("error -1", "error 99999", "more 1", "more 0", "address 000000000017", "data 33333433"),
    *(
        "data zz",
        "questions 3",
        "found 000000000017",
        "found x",
        "dropped 0",
        "meter 000000000017",
    ),
    *(
        "told yes",
        "id 7",
        "id \u00b2",
        "district 1",
        "console_key_version 1",
        "kept",
        "seed (not set)",
    ),
    *("00112233445566778 256", "0011223344556677 256", "0011223344556677 -1"),
)


class Clock:
    """A time that goes on where somebody waits."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def sleep(self, wait_s: float) -> None:
        """Let time pass."""
        self.now_s += wait_s

    def monotonic(self) -> float:
        """Return the time, a little later than before."""
        self.now_s += 0.0005
        return self.now_s

    def ticks_ms(self) -> int:
        """Return the time in ms, as the firmware's master asks for it."""
        return int(self.monotonic() * 1000) & 0x3FFFFFFF


class HostileSerial:
    """A port; `rng` chooses each answer, `heard` is all that was sent to it."""

    def __init__(self, rng: Random, clock: Clock) -> None:
        self.timeout = 0.0
        self.baudrate = 2400
        self.heard = b""
        self._rng = rng
        self._clock = clock
        self._console = LinkReader(CONSOLE_BODY_LIMIT)
        self._queue = bytearray()
        self._quiet = 0

    @property
    def in_waiting(self) -> int:
        """Return how many bytes can be read at once."""
        return len(self._queue)

    def read(self, size: int) -> bytes:
        """Return what is there; nothing after the time that a reader waits."""
        piece = bytes(self._queue[:size])
        del self._queue[:size]
        if not piece:
            self._clock.sleep(max(self.timeout, 0.001))
            self._quiet += 1
            if self._quiet > PATIENCE:
                raise OSError(5, HOSTILE)
        return piece

    def write(self, data: bytes) -> None:
        """Hear what is sent, and answer it."""
        self.heard += data
        for frame in self._console.feed(data):
            self._queue += b"".join(self._said(frame))
        start = data.find(b"\x68")
        if b"\x7e" not in data and start >= 0:
            self._queue += self._metered(data[start:])

    def flush(self) -> None:
        """Send nothing more."""

    def close(self) -> None:
        """Do nothing."""

    def _said(self, frame: Frame) -> Iterator[bytes]:
        """Yield the frames that answer one of a console."""
        rng = self._rng
        kinds = _ANSWERS.get(Kind(frame.kind), (Kind.REPLY,))
        kind = rng.choice(kinds)
        if kind != Kind.REPLY:
            body = bytes((rng.choice((0, 0, 0, 1, 3, 99)),)) + rng.randbytes(
                rng.choice((0, 3, 128))
            )
            yield build(kind, frame.seq, body)
            return
        for _line in range(rng.choice((0, 0, 1, 2, 5, 16))):
            yield build(Kind.PART, frame.seq, self._line())
        yield build(kind, frame.seq, bytes((rng.choice((0, 0, 0, 1)),)) + self._line())

    def _line(self) -> bytes:
        """Return a line that looks like what a concentrator says, more or less."""
        rng = self._rng
        way = rng.randrange(5)
        if way == 0:
            return rng.randbytes(rng.choice((0, 1, 40)))
        if way > 2:
            return rng.choice(_LINES).encode()
        words = [
            rng.choice((HOSTILE, *_LOOKS_RIGHT)) for _word in range(rng.choice((1, 1, 2, 4, 12)))
        ]
        return rng.choice((" ", "=", ": ")).join(words).encode()[:300]

    def _metered(self, asked: bytes) -> bytes:
        """Return the reply to a request to a meter, with text or anything in place of figures."""
        rng = self._rng
        if len(asked) < 12:
            return b""
        address, control = asked[1:7], asked[8]
        if rng.random() < 0.2:
            address = rng.choice((b"\xff" * 6, b"\xaa" * 6, bytes(6), b"\x0b\x0e\x0d\x0a\x0f\x0c"))
        elif b"\xaa" in address or address == b"\x99" * 6:
            address = bytes.fromhex("170000000000")
        name = bytes((one - 0x33) & 0xFF for one in asked[10 : 10 + min(4, asked[9])])
        text = HOSTILE.encode("latin-1", "replace")
        value = rng.choice(
            (b"", text, text[::-1], b"[/x]", b"\x1b[2J", rng.randbytes(4), b"\xff" * 8, text * 5)
        )
        word = rng.choice((0x80, 0x80, 0x80, 0xA0, 0xC0)) | control
        data = rng.randbytes(rng.choice((1, 2))) if word & 0x40 else name + value[:196]
        body = b"\x68" + address + b"\x68" + bytes((word, len(data)))
        body += bytes((one + 0x33) & 0xFF for one in data)
        return b"\xfe\xfe" + body + bytes((sum(body) & 0xFF, 0x16))


class HostilePrompt:
    """A board's prompt, in place of mpremote's connection to one."""

    def __init__(
        self, rng: Random, clock: Clock, told: type[Exception], lost: type[Exception]
    ) -> None:
        self.serial = HostileSerial(rng, clock)
        self.heard = 0
        self._rng = rng
        self._told = told
        self._lost = lost

    def exec(self, _code: object, **_more: object) -> bytes:
        """Run code: print something hostile, or raise it."""
        self._count()
        if self._rng.random() < 0.2:
            raise self._told(1, f"Traceback\r\nOSError: {HOSTILE}\r\n")
        if self._rng.random() < 0.1:
            raise self._lost(HOSTILE)
        return self._rng.choice((b"", HOSTILE.encode(), b"\xff\x00", b"0 1 2\n", b"a b\n" * 40))

    def eval(self, _expression: object, **_more: object) -> object:
        """Return the value of an expression: any literal."""
        self._count()
        values: tuple[object, ...] = (
            *(None, 0, -1, 2**70, HOSTILE, "", b"\xff", [], {}, (), True),
            *(
                (HOSTILE, HOSTILE),
                [HOSTILE] * 3,
                {HOSTILE: HOSTILE},
                ("qemu", "armv7m"),
                (0, 0, b""),
            ),
        )
        return self._rng.choice(values)

    def _count(self) -> None:
        self.heard += 1
        if self.heard > PATIENCE:
            raise self._lost(HOSTILE)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_words, **_more: self._count() or b""
