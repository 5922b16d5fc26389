"""Keep the last 200 lines of what has happened in a ring of four files, l0 to l3.

    file    generation, as 8 hexadecimal digits, and a newline
            | lines of at most 60 bytes: MM-DD hh:mm:ss TEXT

The newest file has the highest generation. It is appended to until the next line would not fit
into its block; then the oldest is replaced. Lines wait in memory, for ten minutes at most, and a
crash or a failing supply writes them at once. The flash is written at most twelve times an hour:
lines beyond what the memory holds are counted and dropped. A line that repeats the one before it
is counted only.
"""

import time

from dlt645 import clock
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from ports import Concentrator, Storage

_FILES = const(4)
_FILE_SIZE = const(4096)
_MARK_SIZE = const(9)
_LINE_SIZE = const(60)
_STAMP_SIZE = const(15)
_LOG_MS = const(600000)
_HOUR_MS = const(3600000)
_WRITES_AN_HOUR = const(12)
# Lines that wait in memory, and lines of one answer of the command.
_WAITING = const(24)
_ANSWER = const(32)
_TAIL = const(8)


class Log:
    """The ring on `storage`; `now_t2000` gives the time of a line.

    dropped     the count of lines that found no room
    """

    def __init__(self, storage: "Storage", now_t2000: "Callable[[], int]") -> None:
        self.dropped = 0
        self._storage = storage
        self._now_t2000 = now_t2000
        self._lines: list[bytes] = []
        self._last = b""
        self._repeats = 0
        self._first_ticks = 0
        self._hour_ticks = time.ticks_ms()
        self._writes = 0
        self._generation = -1
        self._number = _FILES - 1
        head = bytearray(_MARK_SIZE)
        for number in range(_FILES):
            generation = self._generation_of(number, head)
            if generation > self._generation:
                self._generation = generation
                self._number = number
        # What was written before the start: an urgent line among it is not written once more.
        self._tail = [line[_STAMP_SIZE:] for line in self._read(self._number)[-_TAIL:]]

    def attach(self, app: "Concentrator") -> None:
        """Offer the command `log`."""
        app.offer("log", "LINES_BACK", False, self._command)

    def add(self, text: str) -> None:
        """Note `text`, cut to 44 bytes, with the time."""
        body = text.encode()[: _LINE_SIZE - _STAMP_SIZE - 1]
        if body == self._last:
            self._repeats += 1
            return
        if self._repeats:
            self._put(b"and " + str(self._repeats).encode() + b" times more")
            self._repeats = 0
        self._last = body
        self._put(body)

    def urge(self, text: str) -> None:
        """Note `text` and write it at once, unless it is what the last lines before a start say.

        A board that crashes or loses its supply again and again wears nothing out.
        """
        self.add(text)
        if self._last not in self._tail:
            self.write(True)

    def _put(self, body: bytes) -> None:
        if len(self._lines) >= _WAITING:
            self.dropped += 1
            return
        if not self._lines:
            self._first_ticks = time.ticks_ms()
        self._lines.append(self._stamp() + body)

    def look(self) -> None:
        """Write the lines that have waited long enough."""
        if self._lines and time.ticks_diff(time.ticks_ms(), self._first_ticks) >= _LOG_MS:
            self.write(False)

    def write(self, at_once: bool) -> None:
        """Write the lines that wait; without `at_once` half of the hour's writes stay unused."""
        now_ticks = time.ticks_ms()
        if time.ticks_diff(now_ticks, self._hour_ticks) >= _HOUR_MS:
            self._hour_ticks = now_ticks
            self._writes = 0
        limit = _WRITES_AN_HOUR if at_once else _WRITES_AN_HOUR // 2
        if not self._lines or self._writes >= limit:
            self._first_ticks = now_ticks
            return
        self._writes += 1
        data = b"\n".join(self._lines) + b"\n"
        name = "l" + str(self._number)
        size = self._storage.size(name) if self._generation >= 0 else _FILE_SIZE
        if size > 0 and size + len(data) <= _FILE_SIZE:
            done = self._storage.append(name, data, len(data))
        else:
            done = self._begin(data)
        if done:
            self._lines.clear()
        else:
            self._first_ticks = now_ticks

    def _begin(self, data: bytes) -> bool:
        """Replace the oldest file by one with `data`."""
        generation = self._generation + 1
        number = (self._number + 1) % _FILES
        data = f"{generation:08x}\n".encode() + data
        if not self._storage.replace("l" + str(number), data, len(data)):
            return False
        self._generation = generation
        self._number = number
        return True

    def lines(self, back: int, count: int) -> "list[str]":
        """Return `count` lines, the first of them `back` lines before the end."""
        found = self._lines[max(0, len(self._lines) - back) :]
        number = self._number
        for _ in range(_FILES):
            if len(found) >= back:
                break
            found = self._read(number)[len(found) - back :] + found
            number = (number - 1) % _FILES
        return [_text_of(line) for line in found[:count]]

    def _command(self, back: int) -> "list[str]":
        return self.lines(back or _ANSWER, _ANSWER)

    def _read(self, number: int) -> "list[bytes]":
        """Return the whole lines of a file; a power cut may have left half of the last one."""
        name = "l" + str(number)
        size = self._storage.size(name)
        if size <= _MARK_SIZE:
            return []
        buf = bytearray(min(size, _FILE_SIZE))
        if self._storage.read_into(name, 0, buf, len(buf)) != len(buf):
            return []
        return bytes(buf).split(b"\n")[1:-1]

    def _generation_of(self, number: int, head: bytearray) -> int:
        if self._storage.read_into("l" + str(number), 0, head, _MARK_SIZE) != _MARK_SIZE:
            return -1
        try:
            return int(bytes(head), 16)
        except ValueError:
            return -1

    def _stamp(self) -> bytes:
        """Return MM-DD hh:mm:ss and a blank, with dashes while the time is unknown."""
        t2000 = self._now_t2000()
        if t2000 < 0:
            return b"----- --:--:-- "
        fields = bytearray(6)
        clock.encode_into(fields, 0, t2000)
        second, minute, hour, day, month = [f"{field:02x}" for field in fields[:5]]
        return (month + "-" + day + " " + hour + ":" + minute + ":" + second + " ").encode()


def _text_of(line: bytes) -> str:
    """Return a line as text, with ? for what is no ASCII: it was cut, or the flash is rotten."""
    return "".join([chr(byte) if 32 <= byte < 127 else "?" for byte in line])
