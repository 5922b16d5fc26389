"""Goal: the image that is built for a Raspberry Pi Pico starts, on MicroPython's own rp2 port.

Method: an emulator of the RP2040, with the chip's boot program, starts the image from its UF2. In
CI the board has what an installer leaves, and the product has to answer on its console, by itself.
`make soak`, DIANKA_PICO=whole, begins with the flash of a new board, which the real command
installs.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from host import children
from host.cli.flash import command
from host.flash import prompt
from host.frames.link import CONSOLE_BODY_LIMIT, Kind, LinkReader, build
from tests.host import pico as emulated
from tests.host.pico import Pico
from tools import image

CONSOLE = 1
PINS = b"""\
{"capacity": [32, 4], "log": false, "lines": [{"uart": 0, "tx": 0, "rx": 1, "direction": 2}],
 "console": {"uart": 1, "tx": 4, "rx": 5}}
"""
# Of the chip's own time; the emulator needs half a minute for half a second.
START_MS = 5_000
ANSWER_MS = 2_000
# Of this computer's, which may be busy.
PATIENCE_S = 120


@pytest.fixture(scope="module")
def made() -> Path:
    """Return the UF2."""
    try:
        image.install_emulator()
        return image.build_pico()
    except (image.ImageError, image.FetchError) as error:
        pytest.skip(str(error))


class Desk:
    """A technician at the console of a Pico."""

    def __init__(self, pico: Pico) -> None:
        self.pico = pico
        self._answers = LinkReader(CONSOLE_BODY_LIMIT)
        self._seq = 0

    def command(self, text: str, limit_ms: float = ANSWER_MS) -> list[str]:
        """Return the lines of the answer."""
        self._seq += 1
        self.pico.send(CONSOLE, build(Kind.COMMAND, self._seq, text.encode()))
        lines: list[str] = []
        assert self.pico.run(lambda: self._hear(lines), limit_ms), (text, lines)
        return lines

    def _hear(self, lines: list[str]) -> bool:
        """Take what came; return whether the answer is whole."""
        heard = self.pico.heard[CONSOLE]
        frames = self._answers.feed(bytes(heard))
        heard.clear()
        for frame in frames:
            if frame.seq == self._seq and frame.kind == Kind.PART:
                lines.append(frame.body.decode())
            elif frame.seq == self._seq and frame.kind == Kind.REPLY:
                lines.append(frame.body[1:].decode())
                assert frame.body[0] == 0, lines
                return True
        return False


@pytest.mark.slow
@pytest.mark.xdist_group("emulator")
def test_the_image_of_a_pico_starts_and_answers_on_its_console(made: Path) -> None:
    content = emulated.file_system({"board.json": PINS}, ("journal",))
    said = Desk(Pico(made, content)).command("status", START_MS)
    assert {"meters 0 of 32", "settings good", "books level", "journal 1 0"} <= set(said), said


@pytest.fixture
def installed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return what the flash of a new board holds once the real command has installed it."""
    monkeypatch.setattr(prompt, "SILENCE_S", PATIENCE_S)
    monkeypatch.setattr(prompt, "TIMEOUT_S", PATIENCE_S)
    log, kept, pins = (tmp_path / name for name in ("log", "kept.img", "board.json"))
    pins.write_bytes(PINS)
    words = ["-m", "rp2040py", "micropython", "--image", str(made), "--tcp-port", "0"]
    words += ["--board-spec", f"{emulated.__file__}:BOARD", "--dump-fs", str(kept)]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=said, stderr=said, env=children.environment()
        )
    try:
        ends_s = time.monotonic() + PATIENCE_S
        while not (found := re.search(r"listening on (\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends_s
            time.sleep(0.2)
        words = [f"socket://{found[1]}", "--board", str(pins), "--format", "--set", "id=7"]
        done = CliRunner().invoke(command, words)
        assert done.exit_code == 0, done.output
        assert "Raspberry Pi Pico with RP2040 starts the product of its image" in done.output
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    return kept.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.getenv("DIANKA_PICO") != "whole", reason="minutes: part of make soak")
def test_a_new_pico_is_installed_by_the_real_command(made: Path, installed: bytes) -> None:
    desk = Desk(Pico(made, installed))
    assert "number 7" in desk.command("status", START_MS)
    desk.command("time 2026-11-30 12:00:00")
