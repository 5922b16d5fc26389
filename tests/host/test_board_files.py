"""Goal: a board.json is judged on a computer as the board and its chip would judge it, and each
of the documents' files starts on its board.

Method: the command on the files of docs/boards and on mistakes in them; then the whole
concentrator on the board of each file, on a made-up port that refuses what the chip refuses. What
the other documents show of a board.json, whole or in part, is judged and started likewise. Last,
what each chip refuses is asked of its made-up port itself.
"""

import importlib
import itertools
import json
import re
import select
import sys
import tracemalloc
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import micropython
import pytest
from click.testing import CliRunner
from concentrator.app import App

from host.cli.flash import command
from host.flash import wiring
from host.flash.chips import CHIPS
from tests.host.made_up_ports import HEAP_FREE, T2000, Port, installed

FOLDER = Path(__file__).parents[2] / "docs" / "boards"
FILES = sorted(FOLDER.glob("*.json"))
FIRMWARE = FOLDER.parents[1] / "firmware"


def content(chip: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{chip}.json").read_text())
    return found


def errors_of(chip: str, **changes: Any) -> str:
    return "\n".join(wiring.judge({**content(chip), **changes}, chip)[0])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_of_the_documents_is_fit_for_its_chip(path: Path) -> None:
    done = CliRunner().invoke(command, ["--check", str(path), "--chip", path.stem])
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"is fit for {CHIPS[path.stem].title}" in done.stdout


def test_a_mistake_is_told_with_its_key_and_status_1(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    file.write_text(json.dumps({**content("esp32s3"), "lamps": [11, 22]}))
    done = CliRunner().invoke(command, ["--check", str(file), "--chip", "esp32s3"])
    assert done.exit_code == 1
    assert "lamps[1]: a ESP32-S3 has no pin 22" in done.stderr
    assert "name the PORT" in CliRunner().invoke(command, []).stderr


LINE = {"uart": 1, "tx": 17, "rx": 16, "direction": 4}


@pytest.mark.parametrize(
    ("chip", "changes", "said"),
    [
        ("esp32", {"buzer": 3}, "buzer: not known here"),
        ("esp32", {"lines": []}, "lines: expected 1 or more in [ ]"),
        ("esp32", {"lines": [{**LINE, "baud": 100}]}, "lines[0].baud: "),
        ("esp32", {"lines": [{**LINE, "parity": 2}]}, "lines[0].parity: "),
        ("esp32", {"lines": [{**LINE, "rx": 6}]}, "lines[0].rx: pin 6 is not to be had, the fl"),
        ("esp32", {"lines": [{**LINE, "direction": 35}]}, "lines[0].direction: pin 35 can only"),
        ("esp32", {"lamps": [13, 18]}, "lamps[1]: pin 18 is that of card.io already"),
        ("esp32", {"lines": [{**LINE, "uart": 2}]}, "UART 2 is that of lines[0] already"),
        ("esp32-wrover", {}, "lines[0].tx: pin 17 is not to be had, the PSRAM"),
        ("esp32", {"console": {"tx": 25}}, "console.uart: missing"),
        (
            "esp32",
            {"console": {"usb": True, "uart": 2}},
            "console.uart: not known here; there are u",
        ),
        ("esp32", {"door": 99}, "door: a ESP32-WROOM has no pin 99"),
        ("esp32", {"display": {"i2c": 0, "columns": 40}}, "display.columns: "),
        ("esp32", {"uplink": {"ssid": "a"}}, "uplink.host: missing"),
        ("esp32", {"uplink": {"host": "a", "port": 1, "ssid": "b"}}, "uplink.key: missing"),
        ("esp32", {"uplink": {"uart": 2, "host": "1.2.3.4"}}, "uplink.host: not known here; the"),
        ("pico-w", {"rtc": {"chip": "ds3231", "i2c": 0, "scl": 3}}, "rtc.scl: I2C 0 has it on 1"),
        ("esp32", {"rtc": {"chip": "ds3231", "i2c": 2}}, "rtc.i2c: a ESP32-WROOM has I2C 0, 1"),
        ("esp32", {"uplink": {"host": "a.b", "port": 1}}, "uplink.host: give the address in d"),
        ("stm32f4", {"sntp": {"host": "a.b"}}, "sntp.host: give the address in digits, or the"),
        ("esp32s3", {"uplink": {"host": "a", "port": 1, "lan": {}}}, "uplink.lan: a ESP32-S3 has"),
        ("esp32", {"uplink": {"host": "a", "port": 1, "lan": {"mdc": 99}}}, "uplink.lan.mdc: a E"),
        ("esp32", {"uplink": {"host": "a", "port": 1, "lan": {}}}, "uplink.lan.phy: missing, a E"),
        ("pico-w", {"lines": [{"uart": 2}]}, "lines[0].uart: a Raspberry Pi Pico W has UART 0"),
        ("pico-w", {"lines": [{"uart": 0, "tx": 8}]}, "lines[0].tx: UART 0 has it on 0, 12, 16"),
        ("pico-w", {"lamps": [25]}, "lamps[0]: pin 25 is not to be had, the radio is on it"),
        ("pico-w", {"watchdog_ms": 9000}, "watchdog_ms: a Raspberry Pi Pico W waits 8388"),
        ("stm32f4", {"flash": None}, "flash: a STM32F4 keeps the journal on an SPI flash"),
        ("stm32f4", {"lamps": [3]}, "lamps[0]: a STM32F4 names its pins, such as A4"),
        ("stm32f4", {"lines": [{"uart": 2, "tx": "A2"}]}, "a STM32F4 chooses the pins"),
        (
            "stm32f4",
            {"uplink": {"host": "a", "port": 1, "ssid": "b"}},
            "uplink.ssid: a STM32F4 has no Wi-Fi",
        ),
    ],
)
def test_what_the_chip_would_refuse_is_refused(
    chip: str, changes: dict[str, Any], said: str
) -> None:
    base = "esp32" if chip == "esp32-wrover" else chip
    found = wiring.judge({**content(base), **changes}, chip)[0]
    assert any(said in error for error in found), found


def test_a_pin_that_makes_trouble_is_a_warning() -> None:
    errors, warnings = wiring.judge({**content("esp32"), "lamps": [12]}, "esp32")
    assert errors == []
    assert warnings == ["lamps[0]: pin 12 exists, but it decides how the chip starts"]
    errors, warnings = wiring.judge({**content("esp32"), "door": 35, "power_fail": 36}, "esp32")
    assert errors == []
    assert warnings == ["door: pin 35 has no pull-up: fit 10 k to 3.3 V"]


@pytest.fixture(params=[path.stem for path in FILES])
def port(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Port]:
    """Return a port with a file of the documents and an installer's flash."""
    yield from bought(request.param, content(request.param), tmp_path, monkeypatch)


def bought(
    chip: str, options: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Port]:
    """Yield a port with this board.json, its servers on this computer."""
    made = Port(chip)
    for key in {"uplink", "sntp"} & options.keys():
        if "host" in options[key]:
            options[key].update(host="127.0.0.1")
    monkeypatch.chdir(folder)
    Path("board.json").write_text(json.dumps(options))
    installed(made, monkeypatch)
    boards = importlib.import_module("boards")
    with pytest.raises(boards.BoardError, match="--format"):
        boards.module_of(made.platform).open_storage()
    boards.module_of(made.platform).open_storage(True)
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == "boards"]:
        del sys.modules[name]


def test_every_file_of_the_documents_starts_its_board(port: Port) -> None:
    """The concentrator runs on it, on a port that refuses what the chip refuses."""
    board = importlib.import_module("boards").open_board(port.platform)
    assert port.watchdogs == 1
    app = App(board, *board.capacity, board.card_reader)
    board.attach(app)
    # The heap of an ESP32 grows, that of an RP2350 may have megabytes: neither is used up.
    assert port.thresholds == [min(HEAP_FREE // 2, 65536)]
    for _ in range(300):
        port.pass_ms(20)
        board.look()
        app.step(board.now_ticks(), board.now_t2000())

    # The chip is asked once a second.
    assert 0 <= port.t2000 - board.now_t2000() <= 1
    board.set_t2000(T2000)
    assert (board.now_t2000(), port.t2000) == (T2000, T2000)
    assert app.journal.sync()
    assert app.journal.durable_seq > 0
    assert board.reset_cause == 1
    assert all(
        channel._port.rxbuf >= 512 for channel in board._channels if "_port" in dir(channel)
    )


def test_a_turn_keeps_no_memory_for_the_clock_of_every_file(port: Port) -> None:
    """CPython counts its allocations here; the budget counts those of the emulated board."""
    board = importlib.import_module("boards").open_board(port.platform)

    def taken(turns: int) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for _ in itertools.repeat(None, turns):
            board.now_t2000()
            board.now_ticks()
        return tracemalloc.get_traced_memory()[0] - before

    port.pass_ms(1000)
    taken(1)
    tracemalloc.start()
    try:
        taken(10)
        assert taken(1000) == taken(0)
        # Asking the chip a hundred times keeps nothing either.
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            port.ms += 1000
            taken(1)
        assert tracemalloc.get_traced_memory()[0] - before < 1000
    finally:
        tracemalloc.stop()


def test_the_direction_pin_of_every_file_falls_in_time(port: Port) -> None:
    board = importlib.import_module("boards").open_board(port.platform)
    line = board.lines[0]
    assert line.write(memoryview(bytes(20))) == 20
    while line._direction.level:
        assert port.ms < line._port.last_bit_ms + 3
        port.pass_ms(1)
    assert port.ms >= line._port.last_bit_ms


def test_the_wifi_of_every_file_is_joined_after_errors_and_again(port: Port) -> None:
    if port.is_stm32:
        options = json.loads(Path("board.json").read_text())
        options["uplink"] = {"host": "127.0.0.1", "port": 1, "ssid": "a", "key": "b"}
        Path("board.json").write_text(json.dumps(options))
        boards = importlib.import_module("boards")
        with pytest.raises(boards.BoardError, match=r"uplink\.ssid: this port has no Wi-Fi"):
            boards.open_board(port.platform)
        return
    board = importlib.import_module("boards").open_board(port.platform)
    port.associated = True
    assert pass_s(port, board, 60)
    port.associated = False
    assert not pass_s(port, board, 900)
    port.associated = True
    assert pass_s(port, board, 600)
    # Attempts come further and further apart.
    assert 3 <= port.joins <= 15


def pass_s(port: Port, board: Any, seconds: int) -> bool:
    """Let the board look for so long; return whether its link is there."""
    for _ in range(4 * seconds):
        port.pass_ms(250)
        board._link.look()
    return bool(board._link.up)


DOCUMENTS = sorted([*FOLDER.parent.glob("*.md"), FIRMWARE / "boards" / "chip.py"])
# What stands in a document: after ```json, or with spaces in front, up to a line without them.
_BLOCK = re.compile(r"^```json\n((?:(?!```).*\n)+)|((?:^    +\S.*\n)+)", re.MULTILINE)
# Keys of a board.json, and those that its key uplink has.
_KEYS = frozenset(wiring.Wiring.model_fields)
_UPLINK_KEYS = frozenset(("ssid", "lan", "host", "uart"))


def shown() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each board.json of the documents, whole or a part of one, and where it stands."""
    for path in DOCUMENTS:
        for block in _BLOCK.finditer(path.read_text()):
            text = block[1] or block[2]
            for at, found in enumerate(objects(text)):
                name = f"{path.name}:{path.read_text()[: block.start()].count(chr(10)) + 1}.{at}"
                if found.keys() <= _KEYS and found:
                    yield name, found
                elif found.keys() & _UPLINK_KEYS and found.keys() <= {*_UPLINK, "tx", "rx"}:
                    yield name, {"uplink": found}


_UPLINK = frozenset(("host", "port", "ssid", "key", "lan", "uart"))


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON in `text`, and each line `"key": value` as one."""
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        line = text[at:].lstrip()
        start = len(text) - len(line)
        pair = re.match(r'("\w+": *)', line)
        try:
            if pair:
                value, end = decoder.raw_decode(line, pair.end())
                yield {json.loads(pair[1].rstrip(": ")): value}
            else:
                value, end = decoder.raw_decode(line)
                if isinstance(value, dict):
                    yield value
        except ValueError:
            end = 0
        rest = line[end:].partition("\n")
        at = start + end + len(rest[0]) + 1


def fitting(part: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the first chip of docs/boards that takes `part`, and the whole board.json."""
    for chip in ("esp32", "stm32f4", "pico-w", "pico2-w", "esp32s3"):
        base = content(chip)
        whole = part
        if "lines" not in part:
            whole = {"lines": [{"uart": base["lines"][0]["uart"]}], **part}
            if "flash" in base:
                whole.setdefault("flash", base["flash"])
            # What a computer reaches by name alone needs a link as well.
        if wiring.judge(whole, chip)[0] == []:
            return chip, whole
    raise AssertionError([wiring.judge(whole, name)[0] for name in ("esp32", "pico-w", "stm32f4")])


SHOWN = list(shown())


def test_the_documents_show_what_they_are_known_to_show() -> None:
    keys = {key for _name, part in SHOWN for key in part}
    assert {"lines", "uplink", "card", "door", "power_fail", "display", "console", "flash"} <= keys
    assert len([part for _name, part in SHOWN if "card" in part]) >= 6
    assert len([part for _name, part in SHOWN if part.keys() == {"uplink"}]) == 5


@pytest.mark.parametrize("part", [part for _name, part in SHOWN], ids=[name for name, _ in SHOWN])
def test_every_board_json_of_the_documents_is_judged_and_starts_a_board(
    part: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = types.SimpleNamespace(register=lambda stream, events: None, ipoll=lambda ms: [])
    with monkeypatch.context() as usb:
        usb.setattr(micropython, "kbd_intr", lambda code: None, raising=False)
        if "console" in part and "usb" in part["console"]:
            usb.setattr(select, "poll", lambda: poll)
        chip, whole = fitting(part)
        for port in bought(chip, whole, tmp_path, monkeypatch):
            board = importlib.import_module("boards").open_board(port.platform)
            app = App(board, *board.capacity, board.card_reader)
            board.attach(app)
            for _ in range(50):
                port.pass_ms(20)
                board.look()
                app.step(board.now_ticks(), board.now_t2000())
            assert app.journal.sync()


@pytest.mark.parametrize(
    ("chip", "changes", "said"),
    [
        ("pico-w", {"lamps": [30]}, r"lamps: this board has no pin 30"),
        ("pico-w", {"lamps": [25]}, r"lamps: this board has no pin 25"),
        ("esp32", {"lamps": [6]}, r"lamps: this board has no pin 6"),
        ("esp32", {"buzzer": 34}, r"buzzer: this board has no pin 34"),
        (
            "esp32",
            {"uplink": {"host": "1.2.3.4", "port": 1, "lan": {}}},
            r"uplink\.lan: this b",
        ),
        ("esp32s3", {"door": 22}, r"door: this board has no pin 22"),
        ("stm32f4", {"lamps": [3]}, r"lamps: this board has no pin 3"),
        ("esp32", {"lines": [{"uart": 3}]}, r"lines\[0\]\.uart: this board has no such UART"),
        ("pico-w", {"lines": [{"uart": 2}]}, r"lines\[0\]\.uart: this board has no such UART"),
        ("pico-w", {"lines": [{"uart": 0, "tx": 8}]}, r"lines\[0\]\.uart: this board has no such"),
        ("stm32f4", {"lines": [{"uart": 2, "tx": "A2"}]}, r"lines\[0\]\.uart: this board has no"),
        ("stm32f4", {"rtc": {"chip": "ds3231", "i2c": 1, "scl": "B6", "sda": "B7"}}, r"rtc\.i2"),
        (
            "pico-w",
            {"rtc": {"chip": "ds3231", "i2c": 0, "scl": 2, "sda": 3}},
            r"rtc\.i2c: this",
        ),
        ("pico-w", {"watchdog_ms": 9000}, r"watchdog_ms: this chip has no watchdog of that time"),
        (
            "pico2-w",
            {"uplink": {"host": "1.2.3.4", "port": 1, "lan": {}}},
            r"uplink\.lan: this",
        ),
        (
            "stm32f4",
            {"uplink": {"host": "1.2.3.4", "port": 1, "ssid": "a"}},
            r"uplink\.ssid: this",
        ),
    ],
)
def test_what_a_chip_refuses_its_port_refuses_and_the_board_names_the_key(
    chip: str,
    changes: dict[str, Any],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for port in bought(chip, content(chip), tmp_path, monkeypatch):
        wrong = {**content(chip), **changes}
        if chip == "pico-w" and "rtc" in changes:
            # The pins are free, and no others take them.
            wrong = {"lines": [{"uart": 1}], **changes}
        Path("board.json").write_text(json.dumps(wrong))
        boards = importlib.import_module("boards")
        with pytest.raises(boards.BoardError, match=said):
            boards.open_board(port.platform)


@pytest.mark.parametrize(
    ("chip", "size"), [("esp32", 128), ("esp32s3", 128), ("pico-w", 31), ("pico2-w", 40000)]
)
def test_a_buffer_that_a_port_does_not_make_is_refused(
    chip: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for port in bought(chip, content(chip), tmp_path, monkeypatch):
        module = importlib.import_module("boards.chip")
        monkeypatch.setattr(module, "LINE_RX_BUFFER", size)
        boards = importlib.import_module("boards")
        with pytest.raises(boards.BoardError, match=r"lines\[0\]\.uart: this board has no such"):
            boards.open_board(port.platform)


@pytest.mark.parametrize("chip", [path.stem for path in FILES])
def test_a_port_waits_keeps_time_and_keeps_buffers_as_its_own(chip: str) -> None:
    """These are no errors of a port: it does other things than the next one."""
    port = Port(chip)
    modules = port.modules()
    machine, time = modules["machine"], modules["time"]
    uart = machine.UART(next(iter(port.chip.uarts)), 2400, 8, 0, 1, timeout=0)
    assert uart.rxbuf == (64 if port.is_stm32 else 256), "too little for a reply, and no error"
    with pytest.raises(ValueError, match="bad buffer or bits"):
        uart.init(2400, 8, 0, 1, rxbuf=512)  # a read would wait a second

    began_ms = port.ms
    assert uart.write(memoryview(bytes(300))) == (256 if port.is_rp2 else 300)
    waited_ms = port.ms - began_ms
    assert waited_ms == (1375 if port.is_stm32 else 0)
    assert uart.txdone() == port.is_stm32

    assert time.gmtime(0)[0] == (1970 if port.is_rp2 else 2000)
    moment = (2026, 11, 29, 6 + port.is_stm32, 1, 2, 3, 0)
    machine.RTC().datetime(moment)
    assert time.gmtime(time.time())[:6] == (2026, 11, 29, 1, 2, 3)
    with pytest.raises(AssertionError):
        machine.RTC().datetime((2026, 11, 29, 7 - port.is_stm32, 1, 2, 3, 0))


@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "pico-w", "pico2-w"])
def test_a_wifi_refuses_what_its_state_does_not_allow(chip: str) -> None:
    port = Port(chip)
    network = port.modules()["network"]
    station = network.WLAN(network.STA_IF)
    with pytest.raises(OSError, match="Wifi not started"):
        station.connect("a", "b")
    station.active(True)
    port.joins = 0
    port.associated = True
    if not port.is_rp2:
        with pytest.raises(OSError, match="Internal State Error"):
            station.connect("a", "b")
        station.connect("a", "b")
        with pytest.raises(OSError, match="sta is connecting"):
            station.connect("a", "b")
    else:
        station.connect("a", "b")
    assert station.isconnected()
    port.associated = False
    assert not station.isconnected()
    port.associated = True
    # The driver of the RP2 does not join again by itself.
    assert station.isconnected() == (not port.is_rp2)
