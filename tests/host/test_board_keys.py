"""Goal: each key of a board.json whose value is wrong, missing or misspelt is named, on the
computer and on the board alike.

Method: BOARDS together have every key of the schema, which is looked up. Each key gets the wrong
values of WRONG, required ones are left out, and each object gets a key more. The command's judge
and the board on its made-up port must both refuse with a sentence that begins with the key. Parts
of all of them, put together and changed at random, are taken by both or by neither.
"""

import copy
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.flash import wiring
from host.flash.chips import CHIPS
from host.words import speaking
from tests.host.test_board_files import FILES, bought

_LINE = {"uart": 1, "tx": 17, "rx": 16, "direction": 4, "baud": 2400, "parity": 0}
_BARE = {"lines": [{"uart": 1}]}
_FILE = {"path": ["A", "0x0001"], "size": 256, "cipher": "aes", "key": "00" * 16, "key_number": 1}
_T0 = {"chip": "t0", "uart": 2, "tx": 25, "rx": 26, "direction": 4, "baud": 9600, "parity": 0}
BOARDS: dict[str, tuple[str, dict[str, Any]]] = {
    "whole": (
        "esp32",
        {
            "capacity": [64, 4],
            "lines": [_LINE],
            "console": {**_LINE, "uart": 2, "tx": 25, "rx": 26, "direction": 27},
            "uplink": {"host": "1.2.3.4", "port": 7645, "ssid": "a", "key": "b"},
            "card": {
                "chip": "sle4442",
                "io": 18,
                "clk": 19,
                "rst": 21,
                "detect": 22,
                "power": 23,
                "psc": "ffffff",
            },
            "lamps": [13],
            "buzzer": 14,
            "button": 15,
            "rtc": {"chip": "ds3231", "i2c": 0, "scl": 32, "sda": 33},
            "sntp": {"host": "1.2.3.4", "offset_s": 28800},
            "display": {"i2c": 0, "scl": 32, "sda": 33, "address": 39, "columns": 16},
            "door": 5,
            "power_fail": 34,
            "log": True,
            "entropy": True,
            "watchdog_ms": 8000,
        },
    ),
    "serial": ("esp32", {**_BARE, "uplink": {**_LINE, "uart": 2}}),
    "lan": (
        "esp32",
        {
            **_BARE,
            "uplink": {
                "host": "1.2.3.4",
                "port": 1,
                "lan": {"mdc": 23, "mdio": 18, "power": 16, "phy": "LAN8720", "address": 1},
            },
        },
    ),
    "at24": (
        "esp32",
        {
            **_BARE,
            "card": {
                "chip": "at24",
                "i2c": 0,
                "scl": 22,
                "sda": 21,
                "size": 256,
                "page_size": 8,
                "address": 80,
            },
        },
    ),
    "pn532": ("esp32", {**_BARE, "card": {**_T0, "chip": "pn532", "key": "ff" * 6}}),
    "pn532 on SPI": (
        "esp32",
        {
            **_BARE,
            "card": {
                "chip": "pn532",
                "spi": 1,
                "sck": 18,
                "mosi": 23,
                "miso": 19,
                "cs": 5,
                "file": _FILE,
            },
        },
    ),
    "t0": (
        "esp32",
        {
            **_BARE,
            "card": {
                **_T0,
                "reset": 21,
                "detect": 22,
                "power": 23,
                "clk": 19,
                "echo": True,
                "file": _FILE,
            },
        },
    ),
    "stm32": (
        "stm32f4",
        {"lines": [{"uart": 2}], "flash": {"spi": 1, "cs": "A4", "fram_kib": 0}},
    ),
    "flash on an ESP32": (
        "esp32",
        {**_BARE, "flash": {"spi": 1, "cs": 5, "sck": 18, "mosi": 23, "miso": 19}},
    ),
}
# Wrong values by the last word of a key, or by the whole key.
WRONG: dict[str, list[Any]] = {
    "capacity": [5, [64], [0, 4], [64, "4"]],
    "lines": [[], {}],
    "lamps": [13, [99]],
    "uart": [-1, "1"],
    "i2c": [-1, "0"],
    "spi": [-1, "1"],
    "baud": [100, 10**6, "2400"],
    "parity": [2, "even"],
    "port": [0, 65536, "7645"],
    "chip": ["ds9999", 3],
    "host": [1],
    "ssid": [1],
    "key": [1],
    "card.key": ["ff", "gg" * 6, 1],
    "card.file.key": ["ff", 1],
    "psc": ["ffff", 1],
    "phy": [1],
    "usb": [1],
    "address": [-1, 200, "39"],
    "columns": [7, 21],
    "size": [63, 65537, "256"],
    "page_size": [7, 129],
    "key_number": [-1, 256],
    "cipher": ["des", 1],
    "path": ["A", [1], [""], ["0xf"]],
    "echo": [1],
    "offset_s": [-1, "8"],
    "fram_kib": [-1, 16385],
    "log": [1, "yes"],
    "entropy": [1],
    "watchdog_ms": [999, "8000"],
    **{key: [99] for key in wiring._PIN_KEYS - {"lamps"}},
    **{key: [[], 1] for key in ("console", "uplink", "card", "rtc", "sntp", "display")},
    **{key: [[], 1] for key in ("flash", "lan", "file")},
}


def keys_of(content: dict[str, Any], place: str = "") -> Iterator[str]:
    for name, value in content.items():
        yield place + name
        if isinstance(value, dict):
            yield from keys_of(value, f"{place}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from keys_of(value[0], f"{place}{name}[0].")


def schema_keys(node: dict[str, Any], place: str, required: bool) -> Iterator[str]:
    """Yield the keys of the object `node` of the schema and of those in it; or the required."""
    for name, field in node["properties"].items():
        if not required or name in node.get("required", ()):
            yield place + name
        inside = f"{place}{name}[0]." if field.get("type") == "array" else f"{place}{name}."
        for reference in re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(field)):
            yield from schema_keys(SCHEMA["$defs"][reference], inside, required)


SCHEMA = wiring.Wiring.model_json_schema()
REQUIRED = frozenset(schema_keys(SCHEMA, "", True)) | {"card.cs"}
# What one chip's card needs and this one's does not.
_OPTIONAL = {"pn532": {"card.file"}, "t0": {"card.clk"}}


def changed(content: dict[str, Any], key: str, *value: Any) -> dict[str, Any]:
    """Return `content` with that value at `key`, or without the key."""
    made = copy.deepcopy(content)
    part: Any = made
    *places, last = re.findall(r"\w+", key)
    for place in places:
        part = part[int(place) if place.isdigit() else place]
    if value:
        part[last] = value[0]
    else:
        del part[last]
    return made


def mistakes(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each key that is to be named, and the board.json with a mistake there."""
    for key in keys_of(content):
        for value in WRONG.get(key, WRONG.get(key.rpartition(".")[2], [])):
            yield key, changed(content, key, value)
        if key in REQUIRED - _OPTIONAL.get(content.get("card", {}).get("chip"), set()):
            yield key, changed(content, key)
    yield "nosuch", changed(content, "nosuch", 1)
    for key in {key.rpartition(".")[0] for key in keys_of(content)} - {""}:
        yield f"{key}.nosuch", changed(content, f"{key}.nosuch", 1)


def names(key: str, said: str) -> bool:
    return re.match(rf"(board\.json: )?{re.escape(key)}(\[\d\])?: \S", said) is not None


def test_the_boards_have_every_key_and_every_key_has_wrong_values() -> None:
    there = {key for _chip, content in BOARDS.values() for key in keys_of(content)}
    assert set(schema_keys(SCHEMA, "", False)) - there == {"console.usb"}
    assert [key for key in there if not {key, key.rpartition(".")[2]} & WRONG.keys()] == []


@pytest.mark.parametrize("board", BOARDS)
def test_each_mistake_is_named_on_the_computer(board: str) -> None:
    chip, content = BOARDS[board]
    assert wiring.judge(content, chip)[0] == []
    for key, wrong in mistakes(content):
        said = wiring.judge(wrong, chip)[0]
        assert any(names(key, one) for one in said), (key, wrong, said)


@pytest.mark.parametrize("board", BOARDS)
def test_each_mistake_is_named_on_the_board(
    board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip, content = BOARDS[board]
    for port in bought(chip, copy.deepcopy(content), tmp_path, monkeypatch):
        boards = importlib.import_module("boards")
        boards.open_board(port.platform)
        for key, wrong in mistakes(content):
            Path("board.json").write_text(json.dumps(wrong))
            said = ""
            try:
                boards.open_board(port.platform)
            except boards.BoardError as refused:
                said = str(refused)
            assert names(key, said), (key, wrong, said)


def test_parts_on_one_i2c_share_its_wires_and_no_others() -> None:
    chip, content = BOARDS["whole"]
    for wrong in ({"i2c": 1}, {"scl": 33, "sda": 32}):
        said = wiring.judge({**content, "display": {**content["display"], **wrong}}, chip)[0]
        assert "display.scl: pin" in "\n".join(said)


# What only the computer looks at, for a board cannot know it or finds it out later.
_ONLY_HERE = re.compile(
    r"is that of|is no address|is no value here|flash: a STM32F4|expected an? (text|object)"
    r"|parity: expected"
)
# What a board finds out of its flash.
_ONLY_THERE = re.compile("no flash answers|--format|was made for")
_INSTALLED: dict[str, dict[str, Any]] = {
    "e": _BARE,
    "p": _BARE,
    "s": {**_BARE, "flash": {"spi": 1, "cs": "A4"}},
}
_VALUES = st.sampled_from(
    [
        *(None, True, 0, 1, 2, 3, 4, 5, 8, 17, 34, 99, 2400, 2**30, "", "A4", "B6", "1.2.3.4"),
        *("a.b", "1.2.3.400", "LAN8720", "sm4", "ffffff", "ff" * 6, "00" * 16),
        *([], {}, [5], {"uart": 1}),
    ]
)


@st.composite
def made_up(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Return a chip, and a board.json of parts that fit somewhere, some keys of it changed."""
    chip = draw(st.sampled_from(sorted(CHIPS)))
    pool = [content for _chip, content in BOARDS.values()]
    pool += [json.loads(path.read_text()) for path in FILES]
    whole: dict[str, Any] = {}
    for key in sorted({key for content in pool for key in content}):
        there = [content[key] for content in pool if key in content]
        if key == "lines" or draw(st.booleans()):
            whole[key] = copy.deepcopy(draw(st.sampled_from(there)))
    inside = sorted({key.rpartition(".")[2] for one in pool for key in keys_of(one)})
    for _change in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from(sorted(keys_of(whole))))
        action = draw(st.sampled_from(["set", "drop", "add"]))
        place = key.rpartition(".")[0]
        if action == "drop":
            whole = changed(whole, key)
        elif action == "set":
            whole = changed(whole, key, draw(_VALUES))
        else:
            more = draw(st.sampled_from(inside))
            whole = changed(whole, f"{place}.{more}" if place else more, draw(_VALUES))
        if not whole.get("lines"):
            whole["lines"] = [{"uart": 1}]
    return chip, whole


@pytest.mark.slow
@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(made_up())
def test_the_computer_and_the_board_are_of_one_mind(made: tuple[str, dict[str, Any]]) -> None:
    """What --check takes the board takes, and what it refuses the board refuses."""
    chip, content = made
    said = wiring.judge(content, chip)[0]
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        for port in bought(chip, copy.deepcopy(_INSTALLED[chip[0]]), Path(folder), patch):
            Path("board.json").write_text(json.dumps(content))
            boards = importlib.import_module("boards")
            refused = ""
            try:
                boards.open_board(port.platform)
            except boards.BoardError as error:
                refused = str(error)
    if not said:
        assert refused == "" or _ONLY_THERE.search(refused), (chip, content, refused)
    elif not all(_ONLY_HERE.search(one) for one in said):
        assert refused != "", (chip, content, said)


@pytest.mark.parametrize("board", ["whole", "lan", "pn532", "t0"])
def test_each_reason_is_told_in_chinese(board: str) -> None:
    chip, content = BOARDS[board]
    with speaking("zh"):
        told = {one for _key, wrong in mistakes(content) for one in wiring.judge(wrong, chip)[0]}
    assert told
    reasons = {one: re.split("[:\uff1a]", one, maxsplit=1)[1] for one in told}
    assert [one for one, why in reasons.items() if not re.search("[\u4e00-\u9fff]", why)] == []
