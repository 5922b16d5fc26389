"""Goal: no meter, board or concentrator, whatever it answers, harms who asks it or ends a command
with a traceback.

Method: `ROWS` has command lines for every command that uses a port, which a new one has to join.
Each is run many times with a port that answers by chance, between nearly right and anything.
`make soak` runs more, DIANKA_HOSTILE.
"""

import os
import time
from pathlib import Path
from random import Random

import click
import mpremote.transport
import mpremote.transport_serial
import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend.ingest import Ingest
from host.headend.store import Store
from host.link import port
from tests.host.hostile_line import Clock, HostilePrompt, HostileSerial
from tests.host.test_hostile_texts import ALL, assert_harmless
from tests.host.uplink_world import KEYS, deliver, village_of

ROOT = Path(__file__).resolve().parents[2]
TURNS = max(6, int(os.environ.get("DIANKA_HOSTILE", "0")) // 200)
METER, ACCOUNT = "000000000017", "000000000017"
ISSUE = "--account 17 --order 1 --amount 5 --meter 17"
ROWS = {
    "sniff": ["place --seconds 1", "place --frames 5 --json"],
    "card change-key": ["--port place"],
    "card clear": ["--port place --all"],
    "card dump": ["--port place"],
    "card issue": [f"--port place --kind open {ISSUE}", "--port place --kind test"],
    "card keys install": ["--port place --id 7 --district 1"],
    "card preset": ["--port place --alarm-1 5"],
    "card redeem": ["--port place --file card.bin"],
    "card repair": ["--port place"],
    "card replace": [f"--port place {ISSUE}"],
    "card serial": ["--port place"],
    "card show": ["--port place", "--port place --json"],
    "card topup": ["--port place --amount 5"],
    "card unlock": ["--port place"],
    "card verify": ["--port place --account 17 --meter 17 --last-order 0"],
    "setup": ["village.toml --port place --yes", "village.toml --port place --check"],
    "console": [
        "--port place status",
        "--port place help",
        "--port place --keys card-keys.toml journal 1",
        "--port place --tariff tariff.json",
        "--port place --script script.txt",
        "--port place",
    ],
    "flash": [
        "place --status",
        "place --rollback",
        "place --selftest --report report.json",
        "place --format --time --wait 5",
        "place --board board.json --id 7 --wait 5",
        "place --wait 5 --arch armv7m",
    ],
    "headend restore": ["--db village.db --concentrator 7 --port place"],
    "meter address": ["18 --yes"],
    "meter clear": [f"{METER} events --yes"],
    "meter collect": ["meters.csv 00010000", "meters.csv 00010000 --json"],
    "meter freeze": [METER],
    "meter password": [f"{METER} --yes"],
    "meter raw": ["681700000000006813000F16 --yes"],
    "meter read": [
        f"{METER} 00010000 04000403",
        "any 04000403 0400040B 0400010C --json",
        f"{METER} 04000508 04000501 04000503",
        f"{METER} 03330101 05060001 06000001",
    ],
    "meter recharge": [f"{METER} 5 --item 04900000 --amount 50 --yes"],
    "meter relay": [f"{METER} trip --yes"],
    "meter scan": ["", "--json"],
    "meter security": [f"{METER} --json", f"{METER} --key-server true"],
    "meter send": [f"{METER} 11 33333433"],
    "meter speed": [f"{METER} 4800 --yes"],
    "meter time": [METER, f"{METER} --set"],
    "meter write": [f"{METER} 04001001 5 --yes"],
}
# What a concentrator does not do on a line of its own.
ALONE = {("meter raw", "--console"), ("meter speed", "--console"), ("meter recharge", "--console")}
VILLAGE = """
[concentrator]
id = 7
card_keys = "card-keys.toml"
[settings]
interval_s = 300
[tariffs]
1 = "tariff.json"
[meters]
list = "list.csv"
"""
# They listen on a port of the network, which other tests bring to answer.
SERVING = {"headend serve", "demo", "counter"}


def uses_a_port(command: click.Command) -> bool:
    """Return whether a command opens a port of this computer."""
    return any((param.name or "") in ("port", "place") for param in command.params)


LINES = [
    (name, line, way)
    for name, lines in ROWS.items()
    for line in lines
    for way in (("--port", "--console") if name.startswith("meter ") else ("",))
    if (name, way) not in ALONE
]


def test_every_command_that_uses_a_port_has_a_row() -> None:
    using = {" ".join(words) for words, command in ALL.items() if uses_a_port(command)}
    assert using - SERVING == set(ROWS)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the files that the lines name, and work beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIANKA_METER_PASSWORD", "02000000")
    monkeypatch.setenv("DIANKA_METER_NEW_PASSWORD", "02000001")
    for words in (
        "card keys new --district 1 --unsealed",
        "card issue --file card.bin --kind test",
    ):
        done = CliRunner().invoke(cli, words.split())
        assert done.exit_code == 0, done.output
    with Store("village.db", create=True) as store:
        deliver(Ingest(store, KEYS), village_of(3, 5))
    files = {
        "meters.csv": f"{METER}\n",
        "script.txt": "status\nset overdraft_fen 5\n",
        "board.json": '{"lines": [{"uart": 1}]}',
        "tariff.json": (ROOT / "tariffs" / "zhejiang-tou.json").read_text("utf-8"),
        "village.toml": VILLAGE,
        "list.csv": f"meter,account,tariff,line,standard,new\n{METER},{ACCOUNT},1,0,2007,yes\n",
    }
    for name, text in files.items():
        Path(name).write_text(text, "utf-8")
    return tmp_path


@pytest.mark.parametrize(("name", "line", "way"), LINES)
def test_whatever_a_device_answers_is_text_and_no_more(
    name: str, line: str, way: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = 0
    for turn in range(TURNS):
        rng, clock = Random(f"{name} {line} {way} {turn}"), Clock()
        opened = HostileSerial(rng, clock)
        board = HostilePrompt(
            rng,
            clock,
            mpremote.transport.TransportExecError,
            mpremote.transport.TransportError,
        )
        with monkeypatch.context() as patch:
            patch.setattr(port, "_opened", lambda *_words, one=opened: one)
            patch.setattr(
                mpremote.transport_serial, "SerialTransport", lambda *_w, one=board, **_m: one
            )
            patch.setattr(time, "monotonic", clock.monotonic)
            patch.setattr(time, "monotonic_ns", lambda one=clock: int(one.monotonic() * 1e9))
            patch.setattr(time, "sleep", clock.sleep)
            said = [*name.split(), *line.split(), *((way, "place") if way else ())]
            result = CliRunner().invoke(cli, said, input="status\n")
        assert_harmless([*said, str(turn)], result)
        assert result.exit_code != 2, (said, result.output)
        heard += len(opened.heard) + board.heard
    assert heard or name == "sniff", "the device was not asked"
