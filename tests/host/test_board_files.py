"""Goal: a board.json is judged on a computer as the board and its chip would judge it, and each
of the documents' files starts on its board.

Method: the command on the files of docs/boards and on mistakes in them; then the whole
concentrator on the board of each file, on a made-up port that refuses what the chip refuses.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from concentrator.app import App

from host.cli.flash import command
from host.flash import wiring
from tests.host.made_up_ports import HEAP_FREE, T2000, Port, installed

FOLDER = Path(__file__).parents[2] / "docs" / "boards"
FILES = sorted(FOLDER.glob("*.json"))


def content(chip: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{chip}.json").read_text())
    return found


def errors_of(chip: str, **changes: Any) -> str:
    return "\n".join(wiring.judge({**content(chip), **changes}, chip)[0])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_of_the_documents_is_fit_for_its_chip(path: Path) -> None:
    done = CliRunner().invoke(command, ["--check", str(path), "--chip", path.stem])
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"is fit for {wiring.CHIPS[path.stem].title}" in done.stdout


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
        ("esp32", {"buzer": 3}, "buzer: Extra inputs"),
        ("esp32", {"lines": []}, "lines: List should have at least 1"),
        ("esp32", {"lines": [{**LINE, "baud": 100}]}, "lines[0].baud: "),
        ("esp32", {"lines": [{**LINE, "parity": 2}]}, "lines[0].parity: "),
        ("esp32", {"lines": [{**LINE, "rx": 6}]}, "lines[0].rx: pin 6 is not to be had, the fl"),
        ("esp32", {"lines": [{**LINE, "direction": 35}]}, "lines[0].direction: pin 35 can only"),
        ("esp32", {"lamps": [13, 18]}, "lamps[1]: pin 18 is that of card.io already"),
        ("esp32", {"lines": [{**LINE, "uart": 2}]}, "UART 2 is that of lines[0] already"),
        ("esp32-wrover", {}, "lines[0].tx: pin 17 is not to be had, the PSRAM"),
        ("esp32", {"console": {"tx": 25}}, "console: give it a uart, or usb"),
        ("esp32", {"console": {"usb": True, "uart": 2}}, "console: give it a uart, or usb"),
        ("esp32", {"door": 99}, "door: a ESP32-WROOM has no pin 99"),
        ("esp32", {"display": {"i2c": 0, "columns": 40}}, "display.columns: "),
        ("esp32", {"uplink": {"ssid": "a"}}, "uplink: give it a uart, or host and port"),
        ("esp32", {"uplink": {"host": "a.b", "port": 1}}, "uplink.host: give the address in d"),
        ("stm32f4", {"sntp": {"host": "a.b"}}, "sntp.host: give the address in digits, or the"),
        ("esp32s3", {"uplink": {"host": "a", "port": 1, "lan": {}}}, "uplink.lan: a ESP32-S3 has"),
        ("esp32", {"uplink": {"host": "a", "port": 1, "lan": {"mdc": 99}}}, "uplink.lan.mdc: a E"),
        ("pico-w", {"lines": [{"uart": 2}]}, "lines[0].uart: a Raspberry Pi Pico W has the UART"),
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


@pytest.fixture(params=[path.stem for path in FILES])
def port(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Port]:
    """Return a port with a file of the documents, its servers on this computer, and an installer's
    flash."""
    made = Port(request.param)
    options = content(request.param)
    for key in {"uplink", "sntp"} & options.keys():
        if "host" in options[key]:
            options[key].update(host="127.0.0.1")
    monkeypatch.chdir(tmp_path)
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
    # The heap of an ESP32 grows, and stays as it is from here on.
    assert port.thresholds == ([HEAP_FREE // 2] if port.platform == "esp32" else [])
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
