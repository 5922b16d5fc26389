"""Show a card's holder the balance and the result on two lines of text, HD44780 over I2C.

Between cards it shows the text that the head-end has sent, until the time that it has named.

    "display": {"i2c": 0, "scl": 32, "sda": 33, "address": 39, "columns": 16}

    PCF8574     bit 0 RS | 1 RW | 2 E | 3 light | 4..7 data, a half byte at a time, high one first

The controller needs pauses after its power comes and between the first commands. Each call of
`look` sends four characters at most, which take 2 ms. A display that does not answer is begun
again every ten seconds; nothing else waits for it.

Spec: Hitachi HD44780U, "Initializing by instruction", 4-bit interface.
"""

import time

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from card.chips.at24 import I2c
    from ports import Concentrator, Storage

    from boards.wiring import Options

_RS = const(0x01)
_E = const(0x04)
_LIGHT = const(0x08)
_LINE_1 = const(0x80)
_LINE_2 = const(0xC0)
# The first half bytes, then commands: four bits and two lines, on, clear, the cursor moves right.
_HALVES = b"\x30\x30\x30\x20"
_COMMANDS = b"\x28\x0c\x01\x06"
_BETWEEN_MS = const(5)
_BEGIN_MS = const(50)
_AGAIN_MS = const(10000)
_SHOWN_MS = const(30000)
_SHARE = const(4)
# The text of the head-end: until when, a blank, its characters.
_FILE = "display"
_FILE_LIMIT = const(160)
_PAGE_MS = const(4000)
# The codes of accepted cards end here, see card/codes.py.
_TAKEN = const(1)


class Display:
    """The display that `options` names.

    works   whether it has answered since it was begun last
    """

    def __init__(self, options: "Options") -> None:
        self.works = False
        self._storage: Storage | None = None
        self._news = ""
        self._until_t2000 = 0
        self._bus: I2c = options.i2c()
        self._address = options.number("address", 8, 119, 39)
        self._columns = options.number("columns", 8, 20, 16)
        options.end()
        self._app: Concentrator | None = None
        self._four = bytearray(4)
        self._two = memoryview(self._four)[:2]
        self._light = 0
        # What both lines have to show, and how much of it was sent.
        self._text = b" " * (2 * self._columns)
        self._sent = 0
        self._stage = 0
        self._next_ticks = time.ticks_add(time.ticks_ms(), _BEGIN_MS)
        self._shown_ticks = 0
        self._is_shown = False
        self._page = 0
        self._page_ticks = self._shown_ticks

    def attach(self, app: "Concentrator") -> None:
        """Show the balances and the texts of `app` from now on."""
        self._app = app
        app.show_text = self.show_text

    def show_text(self, until_t2000: int, text: str) -> bool:
        """Show `text` until a time, page by page, while no card is; return whether it is durable.

        It takes the place of the text before, also after a restart. "" shows none.
        """
        content = (str(until_t2000) + " " + text).encode()
        if self._storage is None or not self._storage.replace(_FILE, content, len(content)):
            return False
        self._until_t2000, self._news = until_t2000, text
        self._page = 0
        self._turn()
        return True

    def load(self, storage: "Storage", now_t2000: "Callable[[], int]") -> None:
        """Show the text that `storage` has kept; `now_t2000` returns the time, -1: not known."""
        self._storage = storage
        self._now_t2000 = now_t2000
        buf = bytearray(_FILE_LIMIT)
        size = storage.read_into(_FILE, 0, buf, _FILE_LIMIT)
        try:
            until, _, text = str(bytes(buf[: max(0, size)]), "utf-8").partition(" ")
            self._until_t2000, self._news = int(until), text
        except ValueError:
            pass  # there is none

    def show(self, code: int, index: int) -> None:
        """Show the result `code` of a card of the account in row `index`, below 0: of none."""
        lines = ["CODE " + str(code) + ("  OK" if code <= _TAKEN else "  REFUSED"), ""]
        if self._app is not None and index >= 0:
            lines[1] = "BALANCE " + yuan(self._app.balance_fen(index))
        self._put(lines)
        self._light = _LIGHT
        self._shown_ticks = time.ticks_ms()
        self._is_shown = True

    def look(self) -> None:
        """Continue to begin the display or to send its text."""
        now_ticks = time.ticks_ms()
        if self._is_shown and time.ticks_diff(now_ticks, self._shown_ticks) >= _SHOWN_MS:
            self._is_shown = False
            self._turn()
        elif (
            self._news
            and not self._is_shown
            and time.ticks_diff(now_ticks, self._page_ticks) >= _PAGE_MS
        ):
            self._page += 1
            self._turn()
        if self.works and self._sent >= len(self._text):
            return
        if time.ticks_diff(now_ticks, self._next_ticks) < 0:
            return
        try:
            self._continue(now_ticks)
        except OSError:
            self.works = False
            self._stage = 0
            self._next_ticks = time.ticks_add(now_ticks, _AGAIN_MS)

    def _turn(self) -> None:
        """Show the next page of the text, nothing where its time is over or not known."""
        if self._is_shown:
            return  # the result of a card: the text comes behind it
        self._page_ticks = time.ticks_ms()
        size = 2 * self._columns
        page = ""
        now_t2000 = self._now_t2000()
        if now_t2000 >= self._until_t2000:
            self._news = ""
        if now_t2000 >= 0:
            if self._page * size >= len(self._news):
                self._page = 0
            page = self._news[self._page * size :][:size]
        self._light = _LIGHT if page else 0
        self._put([page[: self._columns], page[self._columns :]])

    def _put(self, lines: "list[str]") -> None:
        text = ""
        for line in lines:
            text += line[: self._columns] + " " * (self._columns - len(line))
        self._text = text.encode()
        self._sent = 0

    def _continue(self, now_ticks: int) -> None:
        """Send the next command of the beginning, or some characters."""
        stage = self._stage
        if stage < len(_HALVES):
            self._half(_HALVES[stage])
        elif stage < len(_HALVES) + len(_COMMANDS):
            self._byte(_COMMANDS[stage - len(_HALVES)], 0)
        else:
            self._send()
            return
        self._stage = stage + 1
        self._next_ticks = time.ticks_add(now_ticks, _BETWEEN_MS)
        if self._stage == len(_HALVES) + len(_COMMANDS):
            self.works = True
            self._sent = 0

    def _send(self) -> None:
        end = min(self._sent + _SHARE, len(self._text))
        while self._sent < end:
            if self._sent % self._columns == 0:
                self._byte(_LINE_2 if self._sent else _LINE_1, 0)
            self._byte(self._text[self._sent], _RS)
            self._sent += 1

    def _byte(self, value: int, mode: int) -> None:
        four = self._four
        low = mode | self._light
        four[0] = value & 0xF0 | low | _E
        four[1] = value & 0xF0 | low
        four[2] = (value & 0x0F) << 4 | low | _E
        four[3] = (value & 0x0F) << 4 | low
        self._bus.writeto(self._address, four)

    def _half(self, value: int) -> None:
        self._four[0] = value | self._light | _E
        self._four[1] = value | self._light
        self._bus.writeto(self._address, self._two)


def yuan(fen: int) -> str:
    """Return an amount in yuan with two decimals."""
    whole = abs(fen)
    return ("-" if fen < 0 else "") + str(whole // 100) + "." + str(100 + whole % 100)[1:]
