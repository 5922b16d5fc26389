"""Provide a board in memory, in virtual time, for the core tests of the whole application. It has
flash that loses power, a line with meters, and a card reader on the far side of the console.
"""

import gc
from binascii import unhexlify

from card_world import ACCOUNT, DISTRICT, DISTRICT_KEY, METER, UID, VERSION, header, memory
from concentrator.app import App
from concentrator.books.tariffs import name_of
from dlt645 import clock
from dlt645.frame import Receiver, encode_into
from harness import check, equal
from memory_storage import Storage
from tariff_images import ENDLESS, image, ladder, terms
from uplink import link
from uplink.link import LinkReceiver

START_TICKS = 0x1FFFF000  # four seconds before the wrap
START_T2000 = 820540800
TICKS_MASK = 0x1FFFFFFF
INTERVAL_S = 900
# The prices are 0.5 yuan at the first rate, 0.25 at the second: 1 fen for 20 Wh and for 40 Wh.
TARIFF = image(2, 1, (ladder((), (50000000, 25000000)),), (terms(0, ENDLESS),))
TRIP, CLOSE = 0x1A, 0x1C
ALARM_ON, ALARM_OFF = 0x2A, 0x2B
_ENERGY = b"\x00\xff\x01\x00"
_CLOCK = b"\x0c\x01\x00\x04"
_STATUS = b"\x03\x05\x00\x04"
_SETTLED = b"\x01\xff\x01\x00"
_SETTLEMENT_DAYS = b"\x0b\x00\x04"


class Meter:
    """This meter keeps two registers in `wh` and the relay commands that it took in `commands`.

    kept        freezes by their kind and number: the time, and the registers
    settled     its settlement days, DDhh, and the registers at the last settlement
    alarms      the alarm commands that it took; `has_alarm`: it reports its alarm
    deaf_to     a control that it does not answer
    ahead_s     how far its clock is ahead of the world's, None: it has none
    lag_ms      the time after a command until the relay moves
    """

    def __init__(self, address: bytes) -> None:
        self.address = bytearray(address)
        self.wh = [1000, 500]
        self.open = False
        self.silent = False
        self.deaf_to = -1
        self.ahead_s: int | None = 0
        self.lag_ms = 0
        self.commands: list[int] = []
        self.kept: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {}
        self.settled: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        self.alarm = False
        self.has_alarm = True
        self.alarms: list[int] = []
        self._moves_ms = 0
        self._opens = False

    def look(self, now_ms: int) -> None:
        """Let the relay move if its time has come."""
        if self._moves_ms and now_ms >= self._moves_ms:
            self._moves_ms = 0
            self.open = self._opens

    def answer(self, control: int, data: bytes, now_ms: int) -> "tuple[int, bytes]":
        """Return control and data of the reply."""
        if control == 0x1C and data[8] in (ALARM_ON, ALARM_OFF):
            self.alarms.append(data[8])
            if self.has_alarm:
                self.alarm = data[8] == ALARM_ON
            return 0x9C, b""
        if control == 0x1C:
            self.commands.append(data[8])
            self._opens = data[8] == TRIP
            self._moves_ms = now_ms + self.lag_ms
            self.look(now_ms)
            return 0x9C, b""
        if data == _ENERGY:
            return 0x91, data + _registers((self.wh[0] + self.wh[1], self.wh[0], self.wh[1], 0, 0))
        if data[3:] == b"\5" and (data[2], data[0]) in self.kept:
            t2000, wh = self.kept[data[2], data[0]]
            return 0x91, data + (_minute(t2000) if data[1] == 0 else _registers(wh))
        days, wh = self.settled
        if data[1:] == _SETTLEMENT_DAYS and 0 < data[0] <= len(days):
            return 0x91, data + bytes(reversed(unhexlify(f"{days[data[0] - 1]:04}")))
        if data == _SETTLED and wh:
            return 0x91, data + _registers(wh)
        if data == _CLOCK and self.ahead_s is not None:
            return 0x91, data + _moment(START_T2000 + self.ahead_s + now_ms // 1000)
        if data == _STATUS:
            return 0x91, data + bytes((0x50 * self.open | 0x80 * self.alarm, 0))
        return 0xD1, b"\x02"


def _registers(values: "tuple[int, ...]") -> bytes:
    return b"".join([_bcd(wh) for wh in values])


def _minute(t2000: int) -> bytes:
    """Return YYMMDDhhmm; on the wire mm comes first."""
    moment = bytearray(6)
    clock.encode_into(moment, 0, t2000)
    return bytes(moment[1:])


def _moment(t2000: int) -> bytes:
    """Return YYMMDDWWhhmmss; on the wire ss comes first."""
    moment = bytearray(6)
    clock.encode_into(moment, 0, t2000)
    return bytes(moment[:3]) + b"\0" + bytes(moment[3:])


def _bcd(wh: int) -> bytes:
    digits = str(wh // 10)
    return bytes(reversed(unhexlify("0" * (8 - len(digits)) + digits)))


class Channel:
    """This is a port of the board; `due` are bytes and the moment they arrive."""

    def __init__(self) -> None:
        self.connection = 1
        self.waiting = 0
        self.due: list[tuple[int, bytes]] = []
        self._held = bytearray(600)

    def look(self, now_ms: int) -> None:
        """Take what has arrived by now."""
        while self.due and self.due[0][0] <= now_ms:
            chunk = self.due.pop(0)[1]
            self._held[self.waiting : self.waiting + len(chunk)] = chunk
            self.waiting += len(chunk)

    def read_into(self, buf: bytearray) -> int:
        """Give what has arrived, without an allocation."""
        size = min(self.waiting, len(buf))
        held = self._held
        for index in range(size):
            buf[index] = held[index]
        self.waiting -= size
        for index in range(self.waiting):
            held[index] = held[size + index]
        return size

    def close(self) -> None:
        """Do nothing: a line stays open."""


class Line(Channel):
    """This is the meters' line: each request is kept and answered when `bench` asks for it."""

    def __init__(self, meters: "list[Meter]") -> None:
        super().__init__()
        self.meters = meters
        self._request = bytearray(300)
        self._size = 0
        self._receiver = Receiver()

    def set_baud(self, baud: int) -> None:
        """Do nothing: its meters have every speed."""

    def write(self, buf: memoryview) -> int:
        """Keep the request, without an allocation."""
        for index in range(len(buf)):
            self._request[index] = buf[index]
        self._size = len(buf)
        return len(buf)

    def serve(self, now_ms: int) -> None:
        """Let the meter that was asked answer."""
        if not self._size:
            return
        receiver = self._receiver
        receiver.feed(self._request, self._size)
        self._size = 0
        check(receiver.poll())
        address = bytes(receiver.address)
        control, data = receiver.control, bytes(receiver.data[: receiver.data_size])
        receiver.release()
        for meter in self.meters:
            if meter.address == address and not meter.silent and control != meter.deaf_to:
                reply_control, reply_data = meter.answer(control, data, now_ms)
                buf = bytearray(300)
                size = encode_into(
                    buf, meter.address, reply_control, bytearray(reply_data), len(reply_data)
                )
                self.due.append((now_ms + 300, bytes(buf[:size])))


def lines_of(answer):  # type: ignore[no-untyped-def]  # a list, or a function that makes one
    """Return the lines of a command's answer, without the steps of a long command."""
    return [line for line in (answer() if callable(answer) else answer) if line]


class Console(Channel):
    """This is the far side of the console: a reader with one card, or with none."""

    def __init__(self) -> None:
        super().__init__()
        self.card: bytearray | None = None
        self.result: tuple[int, int] | None = None  # code, credited
        self._receiver = LinkReceiver(320, 600)
        self._sent: list[bytes] = []

    def write(self, buf: memoryview) -> int:
        """Keep what the device sends."""
        self._sent.append(bytes(buf))
        return len(buf)

    def serve(self, now_ms: int) -> None:
        """Answer as a reader does."""
        receiver = self._receiver
        while self._sent:
            chunk = self._sent.pop(0)
            receiver.feed(chunk, len(chunk))
            while receiver.poll():
                body = bytes(receiver.body[: receiver.body_size])
                kind, seq = receiver.kind, receiver.seq
                receiver.release()
                self._answer(kind, seq, body, now_ms)

    def _answer(self, kind: int, seq: int, body: bytes, now_ms: int) -> None:
        card = self.card
        if kind == link.CARD_RESULT:
            self.result = (body[0], body[1])
        elif card is not None and kind == link.CARD_READ:
            offset, size = body[0] | body[1] << 8, body[2] | body[3] << 8
            self.say(link.CARD_DATA, seq, b"\0" + bytes(card[offset : offset + size]), now_ms)
        elif card is not None and kind == link.CARD_WRITE:
            offset = body[0] | body[1] << 8
            card[offset : offset + len(body) - 2] = body[2:]
            self.say(link.CARD_WRITTEN, seq, b"\0", now_ms)

    def say(self, kind: int, seq: int, body: bytes, now_ms: int) -> None:
        """Send a frame to the device."""
        buf = bytearray(700)
        size = link.encode_into(buf, kind, seq, body, len(body))
        self.due.append((now_ms + 20, bytes(buf[:size])))


class Bench:
    """The bench has a board and, from `start` on, the application; the concentrator is set up and
    empty.

    now_ms      the time of the world; the board's clock is `moved_s` ahead, None: not set
    told        the times that the RTC chip and the network tell, by their source
    fed_ms      when the watchdog was fed last; `longest_ms` is its longest wait
    shown       results of cards that were signalled
    """

    def __init__(self, meters: int = 1, uplink=None, carrier=None) -> None:  # type: ignore[no-untyped-def]  # parts of tests
        self.storage = Storage()
        self.meters = [Meter(bytes((METER[0] + at,)) + METER[1:]) for at in range(meters)]
        self.now_ms = 0
        self.moved_s: int | None = 0
        self.told: dict[int, int] = {}
        self.uplink = uplink
        self.carrier = carrier
        self.waiting = 0
        self.reset_cause = 0
        self._insertion = 0
        self.fed_ms = self.longest_ms = 0
        self.shown = []
        self.start()
        self._set_up()

    def start(self) -> None:
        """Restart from what the flash has kept."""
        self.storage.cut = -1
        self.app = None  # type: ignore[assignment]  # an emulated board has no room for two
        gc.collect()
        self.lines = [Line(self.meters)]
        self.console = Console()
        self.app = App(self, 4, carrier=self.carrier)  # type: ignore[arg-type]  # what it needs of a board

    def stop(self) -> None:
        """Drop the application: an emulated board has no room for the next one beside it."""
        self.app = None  # type: ignore[assignment]  # it is not asked any more
        gc.collect()

    def _set_up(self) -> None:
        settings = self.app.settings
        for name, value in (
            ("district", str(DISTRICT)),
            ("card_key_version", str(VERSION)),
            ("card_key", DISTRICT_KEY.hex()),
            ("alarm_1_fen", "100"),
        ):
            equal(settings.change(name, value), "")
        self.app.configure()
        app = self.app
        app.tariffs.begin(len(TARIFF))
        app.tariffs.put(0, TARIFF)
        name = name_of(TARIFF)
        equal(app.tariffs.store(1, name), "")
        check(app.books.set_tariff(1, name, len(TARIFF)))
        for index, meter in enumerate(self.meters):
            account = ACCOUNT[:5] + bytes((ACCOUNT[5] + index,))
            row = bytearray(bytes(meter.address) + account + b"\x01\x00\x00\x01\x00")
            check(app.books.set_meter(index, row))

    def ask_t2000(self, source: int) -> int:
        """Return the time that an RTC chip or the network tells."""
        return self.told.get(source, -1)

    def set_t2000(self, t2000: int) -> None:
        """Set the board's clock."""
        self.moved_s = t2000 - START_T2000 - self.now_ms // 1000

    def random(self) -> int:
        """Return a number that can be guessed."""
        return 7

    def calm(self) -> None:
        """Have no line whose direction changes."""

    def feed(self) -> None:
        """Note that the watchdog is fed."""
        self.longest_ms = max(self.longest_ms, self.now_ms - self.fed_ms)
        self.fed_ms = self.now_ms

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Accept the result; the bench has no buzzer."""
        self.shown.append(code)

    @property
    def ticks(self) -> int:
        """Return the board's ticks."""
        return (START_TICKS + self.now_ms) & TICKS_MASK

    @property
    def t2000(self) -> int:
        """Return the time of the board's clock."""
        return -1 if self.moved_s is None else START_T2000 + self.moved_s + self.now_ms // 1000

    def look(self) -> None:
        """Do what a board does between two steps."""
        now_ms = self.now_ms
        for meter in self.meters:
            meter.look(now_ms)
        self.waiting = 0
        for channel in (self.lines[0], self.console):
            channel.serve(now_ms)
            channel.look(now_ms)
            self.waiting |= channel.waiting

    def step(self) -> int:
        """Run one step; return the time until the next, in ms."""
        self.look()
        idle_ms = self.app.step(self.ticks, self.t2000)
        self.look()
        wait_ms = max(1, idle_ms)
        for channel in (self.lines[0], self.console):
            if channel.due:
                wait_ms = max(1, min(wait_ms, channel.due[0][0] - self.now_ms))
        self.now_ms += wait_ms
        return idle_ms

    def run(self, duration_s: int) -> None:
        """Let time pass."""
        end_ms = self.now_ms + 1000 * duration_s
        while self.now_ms < end_ms:
            self.step()

    def read_all(self) -> None:
        """Let the next round of readings pass."""
        self.run(INTERVAL_S - self.now_ms // 1000 % INTERVAL_S + 30)

    def save(self) -> bool:
        """Write a checkpoint and nothing else; return false where the flash refuses it."""
        app = self.app
        if not app.keeper.begin():
            return False
        seq = app.journal.durable_seq
        while app.checkpoint.busy:
            app.keeper.step(self.ticks, -1)
        app.keeper.step(self.ticks, -1)  # deletes what it has made superfluous
        return app.checkpoint.seq == seq

    def restart(self) -> None:
        """Switch the device off and on; records that were not durable are lost."""
        self.start()

    # --- cards ---------------------------------------------------------------------------------

    def card(self, order: int, amount_fen: int) -> bytearray:
        """Return a card of the first account."""
        return memory(header(order, amount_fen, 1 if order == 1 else 2))

    def insert(self, card: bytearray) -> "tuple[int, int]":
        """Insert a card; return the result's code and whether it was credited."""
        self._insertion += 1
        console = self.console
        console.card = card
        console.result = None
        body = UID + b"\x00\x01"
        console.say(link.CARD_PRESENT, self._insertion & 0xFF, body, self.now_ms)
        end_ms = self.now_ms + 20000
        while console.result is None:
            check(self.now_ms < end_ms, "no result")
            self.step()
        console.say(link.CARD_GONE, self._insertion & 0xFF, b"", self.now_ms)
        console.card = None
        result = console.result
        self.run(1)
        return result
