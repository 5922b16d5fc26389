"""`dianka concentrator`: a concentrator as a process of this computer."""

import signal
import subprocess
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import click

from host import children
from host.cli import shown
from host.cli.options import FILE
from host.cli.output import echo
from host.device import device_root
from host.device.interpreter import InterpreterError, find, version_of
from host.link.local import Bridge
from host.link.port import PortError
from host.link.pty import PtyPort
from host.link.unix_socket import UNIX
from host.words import _

_STOP_S = 10.0


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
def run(
    flash: Path,
    lines: tuple[str, ...],
    console: str | None,
    uplink: str | None,
    micropython: Path | None,
) -> None:
    """Run the firmware on MicroPython until it is stopped by Ctrl-C or SIGTERM."""
    try:
        interpreter = find(micropython)
        echo(_("MicroPython is {interpreter}").format(interpreter=version_of(interpreter)))
        with (
            PtyPort() as terminal,
            Bridge(terminal, console or f"{UNIX}{flash}.console") as bridge,
        ):
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
            echo(_("its console: dianka console --port {url} status").format(url=bridge.url))
            status = _ended(process)
    except (InterpreterError, PortError) as error:
        raise click.ClickException(str(error)) from error
    if status:
        raise click.exceptions.Exit(status if status > 0 else 1)


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end of the process, which SIGINT and SIGTERM bring; return its status."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.kill()
            process.wait(_STOP_S)
