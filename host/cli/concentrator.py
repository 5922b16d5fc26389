"""`dianka concentrator`: a concentrator as a process of this computer."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

import click

from host import children
from host.cli import shown
from host.cli.options import EXISTING_FILE, FILE
from host.cli.output import echo
from host.device import device_root
from host.device.interpreter import InterpreterError, find, version_of
from host.link.emulated import EmulatedConcentrator
from host.link.emulator import BoardError
from host.link.local import Bridge
from host.link.port import PortError
from host.link.pty import PtyPort
from host.link.unix_socket import UNIX
from host.units import now_t2000
from host.words import _

_STOP_S = 10.0
_LOOK_S = 0.2


@shown.group(
    epilog="""\b
Examples:
  dianka concentrator run --flash flash.bin --line /dev/ttyUSB0 --uplink tcp://127.0.0.1:7645
  dianka console --port unix:flash.bin.console status
"""
)
def command() -> None:
    """Run a concentrator on this computer: a PC, a router, a small server."""


def _uplink(url: str) -> str:
    """Return HOST:PORT of an address such as tcp://head.example:7645."""
    try:
        parts = urlsplit(url if "://" in url else f"tcp://{url}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "tcp" or not parts.hostname or not port or parts.path:
        raise click.BadParameter(
            _("{url}: write tcp://HOST:PORT, such as tcp://127.0.0.1:7645").format(url=url)
        )
    return f"{parts.hostname}:{port}"


_URL = click.types.FuncParamType(_uplink)
_URL.name = "url"


@command.command(
    "run",
    epilog="""\b
Examples:
  dianka concentrator run --flash flash.bin --line /dev/ttyUSB0 --uplink tcp://127.0.0.1:7645
  dianka concentrator run --flash flash.bin --line LINE --console 127.0.0.1:7646
  dianka concentrator run --flash flash.bin --line LINE --image firmware.elf
""",
)
@click.option(
    "--flash",
    required=True,
    type=FILE,
    help="The file that is its flash, made if it is missing; one process at a time has it.",
)
@click.option(
    "--line",
    "lines",
    required=True,
    multiple=True,
    metavar="PORT",
    help="A line of meters: a serial port or a terminal; give one or more.",
)
@click.option(
    "--console",
    metavar="PLACE",
    help="unix:PATH or 127.0.0.1:PORT, port 0 for a free one.  [default: unix:FLASH.console]",
)
@click.option("--uplink", type=_URL, help="The head-end, such as tcp://127.0.0.1:7645.")
@click.option(
    "--micropython",
    type=FILE,
    help="The interpreter, 1.24 or later.  [default: $MICROPYTHON, else the one on PATH]",
)
@click.option(
    "--image",
    type=EXISTING_FILE,
    help="Run on an emulated Cortex-M3 instead, with the image of `make image BOARD=qemu`.",
)
def run(
    flash: Path,
    lines: tuple[str, ...],
    console: str | None,
    uplink: str | None,
    micropython: Path | None,
    image: Path | None,
) -> None:
    """Run the firmware on MicroPython until it is stopped by Ctrl-C or SIGTERM."""
    place = console or f"{UNIX}{flash}.console"
    try:
        with PtyPort() as terminal, Bridge(terminal, place) as bridge:
            told = _("its console: dianka console --port {url} status").format(url=bridge.url)
            if image is not None:
                _emulate(image, (flash, _only(lines), terminal.name, uplink), told)
                return
            interpreter = find(micropython)
            echo(_("MicroPython is {interpreter}").format(interpreter=version_of(interpreter)))
            words = [str(interpreter), str(device_root() / "main.py"), "--flash", str(flash)]
            for line in lines:
                words += ["--line", line]
            words += ["--console", terminal.name]
            if uplink is not None:
                words += ["--uplink", uplink]
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=children.environment(),
            )
            echo(told)
            status = _ended(process)
    except (InterpreterError, PortError) as error:
        raise click.ClickException(str(error)) from error
    if status:
        raise click.exceptions.Exit(status if status > 0 else 1)


def _only(lines: tuple[str, ...]) -> str:
    """Return the line of the emulated board, which has one."""
    if len(lines) > 1:
        raise click.BadParameter(_("the emulated board has one line of meters: give one --line"))
    return lines[0]


def _emulate(image: Path, wiring: tuple[Path, str, str, str | None], told: str) -> None:
    """Run the emulated board until it is stopped."""
    stopped: list[bool] = []
    # The board has no clock; like a computer's, its time does not jump in summer.
    here = timezone(timedelta(seconds=-time.timezone))
    try:
        board = EmulatedConcentrator(image, *wiring)
        with _stopping(lambda: stopped.append(True)), closing(board):
            board.start(now_t2000(here))
            echo(told)
            while not stopped:
                if (ended := board.ended()) is not None:
                    raise BoardError(ended)
                time.sleep(_LOOK_S)
    except BoardError as error:
        raise click.ClickException(_("emulated board: {error}").format(error=error)) from error


@contextmanager
def _stopping(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` at SIGINT and SIGTERM within the block."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda _number, _frame: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end of the process, which SIGINT and SIGTERM bring; return its status."""
    with _stopping(lambda: process.send_signal(signal.SIGINT)):
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(_STOP_S)
