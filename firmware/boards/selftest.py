"""Test a board with its board.json at the prompt: `dianka flash --selftest` sends this program.

Each test prints lines `name: value`, and at its end `ok`, `failed` or `none`, because the board
has no such part. A person connects what a test asks for before it runs; the computer asks for it.
"""

import gc
import os
import sys
import time

from boards import BoardError, wiring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boards.wiring import Options

_LOOPED = b"DIANKA\x00\xff\x55\xaa0123456789"
_LINE_MS = 500
_FLASH_NAME = "selftest~"
_BLOCK = 4096
_PAGES = (1, 64, 255, 256, 257, 1000)
_ROUNDS = 8
_RTC_MS = 3000
_ENTROPY = 1024
_INSERTED_MS = 10000
_LINK_MS = 30000
_LAMP_MS = 400


def test(name: str) -> None:
    """Run the test called `name` and print its outcome."""
    gc.collect()
    try:
        outcome = _TESTS[name](wiring.load())
    except BoardError as error:
        say("why", str(error))
        outcome = False
    except Exception as error:
        sys.print_exception(error)
        outcome = False
    print("none" if outcome is None else "ok" if outcome else "failed")


def fits() -> None:
    """Print whether the product has the names by which this program knows it."""
    try:
        from boards.chip import open_network  # noqa: F401 - it is looked for
        from boards.uart import Uart

        _ = (wiring.load, wiring.Options.parts, wiring.Options.output, Uart.read_into, Uart.look)
        print("ok")
    except (ImportError, AttributeError) as error:
        print(error)


def say(name: str, value: object) -> None:
    """Print one line of the report."""
    print(name + ": " + str(value))


_told_ticks = [0]


def _pause(ms: int) -> None:
    """Wait, and print a point each second: the computer takes long silence for a lost board."""
    time.sleep_us(1000 * ms)
    if time.ticks_diff(time.ticks_ms(), _told_ticks[0]) >= 1000:
        _told_ticks[0] = time.ticks_ms()
        print(".")


def _about(options: "Options") -> "bool | None":
    implementation: Any = sys.implementation
    say("platform", sys.platform)
    say("machine", getattr(implementation, "_machine", "unknown"))
    say("micropython", ".".join([str(part) for part in implementation.version[:3]]))
    say("heap_free", gc.mem_free())
    import machine

    say("frequency", machine.freq() if hasattr(machine, "freq") else "unknown")
    say("reset_cause", machine.reset_cause() if hasattr(machine, "reset_cause") else "unknown")
    return True


def _pins(options: "Options") -> "bool | None":
    """Set every output to both levels and read it back; tell the levels of the inputs."""
    right = True
    for key in ("door", "power_fail", "button"):
        if key in options:
            say(key, options.input(key)())
    outputs = [("lamps", pin) for pin in options.outputs("lamps")]
    if "buzzer" in options:
        outputs.append(("buzzer", options.output("buzzer")))
    for number, part in enumerate(options.parts("lines")):
        if "direction" in part:
            outputs.append(("lines[" + str(number) + "].direction", part.output("direction")))
    for key, pin in outputs:
        for level in (1, 0):
            pin(level)
            if pin() != level:
                say(key, "does not become " + str(level))
                right = False
    say("outputs", len(outputs))
    return right


def _lines(options: "Options") -> "bool | None":
    """Send on each line and expect the same bytes back; tx is wired to rx, or A to A, B to B."""
    from boards.uart import Uart

    right = True
    for number, part in enumerate(options.parts("lines")):
        uart = Uart(part, 2400, 0)
        heard = b""
        buf = bytearray(64)
        begun_us = time.ticks_us()
        uart.write(memoryview(_LOOPED))
        first_us = 0
        begun_ms = time.ticks_ms()
        while time.ticks_diff(time.ticks_ms(), begun_ms) < _LINE_MS and len(heard) < len(_LOOPED):
            uart.look()
            if uart.waiting:
                first_us = first_us or time.ticks_diff(time.ticks_us(), begun_us)
                heard += bytes(buf[: uart.read_into(buf)])
        say("lines[" + str(number) + "]", "heard " + str(len(heard)) + " of " + str(len(_LOOPED)))
        say("lines[" + str(number) + "].first_us", first_us)
        right = right and heard == _LOOPED
    return right


def _flash(options: "Options") -> "bool | None":
    """Write and read files whose sizes cross pages and blocks; tell how long each takes."""
    right = True
    slowest = {"write": 0, "read": 0, "remove": 0}
    for turn in range(_ROUNDS):
        for size in _PAGES:
            data = bytes([(turn * 37 + at * 11) & 0xFF for at in range(size)])
            begun_ms = time.ticks_ms()
            with open(_FLASH_NAME, "wb") as file:
                file.write(data)
            wrote_ms = time.ticks_ms()
            # Growing by parts programs pages that hold something already.
            with open(_FLASH_NAME, "ab") as file:
                file.write(data)
            with open(_FLASH_NAME, "rb") as file:
                right = right and file.read() == data + data
            read_ms = time.ticks_ms()
            slowest["write"] = max(slowest["write"], time.ticks_diff(wrote_ms, begun_ms))
            slowest["read"] = max(slowest["read"], time.ticks_diff(read_ms, wrote_ms))
    begun_ms = time.ticks_ms()
    os.remove(_FLASH_NAME)
    slowest["remove"] = time.ticks_diff(time.ticks_ms(), begun_ms)
    begun_ms = time.ticks_ms()
    block = bytes(_BLOCK)
    for _ in range(_ROUNDS):
        with open(_FLASH_NAME, "wb") as file:
            file.write(block)
    say("block_ms", time.ticks_diff(time.ticks_ms(), begun_ms) // _ROUNDS)
    os.remove(_FLASH_NAME)
    # In parts: one word that begins with "_" would be taken for a private name and shortened.
    for name in sorted(slowest):
        say("slowest_" + name + "_" + "ms", slowest[name])
    found = os.statvfs("")
    say("blocks", str(found[2]) + " of " + str(found[0]) + " bytes, free " + str(found[3]))
    return right and _spi_flash(options)


def _spi_flash(options: "Options") -> bool:
    """Tell the size of the SPI flash that board.json names; true also without one."""
    if "flash" not in options:
        return True
    from boards.nor import Nor

    part = options.part("flash")
    nor = Nor(part.spi(), part.output("cs"), part.number("fram_kib", 0, 16384, 0) * 1024)
    say("spi_blocks", nor.blocks)
    return nor.blocks > 0


def _clock(options: "Options") -> "bool | None":
    """Tell the time of the chip and see that it runs; likewise the RTC chip of board.json."""
    say("chip", str(time.gmtime()))
    begun_s, begun_ms = time.time(), time.ticks_ms()
    time.sleep_us(1000 * _RTC_MS)
    passed_s = time.time() - begun_s
    say("seconds_in_3000_ms", passed_s)
    right = 2 <= passed_s <= 4 and 2900 <= time.ticks_diff(time.ticks_ms(), begun_ms) <= 3100
    if "rtc" in options:
        from boards.rtc import CHIPS, Rtc

        part = options.part("rtc")
        rtc = Rtc(part.i2c(), part.choice("chip", [row[0] for row in CHIPS]))
        before = rtc.now_t2000()
        time.sleep_us(1000 * _RTC_MS)
        after = rtc.now_t2000()
        say("rtc", str(before) + " " + str(after))
        right = right and before >= 0 and 2 <= after - before <= 4
    return right


def _entropy(options: "Options") -> "bool | None":
    """Look for a stuck or repeating source of random numbers, and tell the first of them.

    The report of another start must begin otherwise: a chip without such a source repeats itself.
    """
    data = os.urandom(_ENTROPY)
    ones = sum([bin(byte).count("1") for byte in data])
    parts = [bytes(data[at : at + 8]) for at in range(0, _ENTROPY, 8)]
    say("begins", " ".join([str(byte) for byte in data[:8]]))
    say("ones", str(ones) + " of " + str(8 * _ENTROPY))
    say("repeats", len(parts) - len(set(parts)))
    return len(parts) == len(set(parts)) and abs(ones - 4 * _ENTROPY) < _ENTROPY // 3


def _card(options: "Options") -> "bool | None":
    """Wait for a card in the board's own reader, and tell its number."""
    if "card" not in options:
        return None
    from boards.card_reader import open_reader

    reader = open_reader(options.part("card"), lambda code, credited, index: None)
    begun_ms = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begun_ms) < _INSERTED_MS and not reader.present:
        reader.step(time.ticks_ms() & 0x1FFFFFFF)
        _pause(2)
    say("bytes", reader.size)
    say("number", " ".join([str(byte) for byte in reader.uid]))
    return reader.present > 0


def _lamps(options: "Options") -> "bool | None":
    """Light one lamp after the other, then sound the buzzer; a person says what was seen."""
    outputs = options.outputs("lamps")
    if "buzzer" in options:
        outputs.append(options.output("buzzer"))
    for output in outputs:
        output(1)
        _pause(_LAMP_MS)
        output(0)
    if "display" in options:
        from boards.display import Display

        display = Display(options.part("display"))
        display.show(0, -1)
        for _ in range(100):
            display.look()
            _pause(5)
        say("display", "works" if display.works else "does not answer")
        if not display.works:
            return False
    return True if outputs or "display" in options else None


def _network(options: "Options") -> "bool | None":
    """Wait for the link, the head-end's address and a connection to it."""
    if "uplink" not in options:
        return None
    part = options.part("uplink")
    if "uart" in part:
        return None
    from boards import module_of
    from boards.chip import open_network

    link, client = open_network(part, module_of(sys.platform).Board.join)
    begun_ms = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begun_ms) < _LINK_MS and not client.connection:
        if link is not None:
            link.look()
        client.look()
        _pause(20)
    if link is not None:
        say("link", "up" if link.up else "down")
        say("name_server", link.name_server())
    say("head_end", "connected" if client.connection else "not reached")
    say("after_ms", time.ticks_diff(time.ticks_ms(), begun_ms))
    reached = client.connection > 0
    client.close()
    return reached


_TESTS = {
    "about": _about,
    "pins": _pins,
    "lines": _lines,
    "flash": _flash,
    "clock": _clock,
    "entropy": _entropy,
    "card": _card,
    "lamps": _lamps,
    "network": _network,
}
