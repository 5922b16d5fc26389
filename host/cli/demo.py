"""`dianka demo`: the whole chain on a real MicroPython, checked at every step."""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import click

from host.cli import shown
from host.cli.options import EXISTING_FILE, FILE
from host.cli.output import Column, echo, print_table
from host.demo import station, story
from host.demo.devices import Maker, emulated, program
from host.demo.plot import plot
from host.demo.processes import DemoError
from host.demo.station import Station
from host.demo.story import Ending, Story
from host.demo.village import Village
from host.device import device_root
from host.device.interpreter import InterpreterError, find, version_of
from host.headend.reconcile import RELAY_NAMES
from host.link.console import ConsoleError
from host.link.port import PortError
from host.link.reader import ReaderError
from host.units import DAY_S, yuan
from host.words import _, system_reason


@shown.command(
    epilog="""\b
Examples:
  dianka demo
  dianka demo --micropython /usr/bin/micropython --plot day.png
  dianka demo --board qemu --image .cache/image/qemu/firmware.elf
  dianka demo --page
"""
)
@click.option(
    "--board",
    default="unix",
    show_default=True,
    type=click.Choice(["unix", "qemu", "cpython"]),
    help="What the firmware runs on: MicroPython here, a Cortex-M3 in QEMU, this Python.",
)
@click.option(
    "--micropython",
    type=EXISTING_FILE,
    help="The interpreter, 1.24 or later.  [default: the one on PATH]",
)
@click.option(
    "--image",
    type=EXISTING_FILE,
    help="The emulated board's image, from `make image BOARD=qemu`.",
)
@click.option(
    "--speed",
    default=story.SPEED,
    show_default=True,
    type=click.IntRange(60, 3600),
    help="Seconds of the day in a real one.",
)
@click.option(
    "--plot",
    "plot_path",
    default="out/demo.png",
    show_default=True,
    type=FILE,
    help="Where to put the picture of the day.",
)
@click.option(
    "--page",
    "is_station",
    is_flag=True,
    help="Open the station's pages on the village, which lives on until Ctrl-C.",
)
@click.option(
    "--page-port",
    default=station.PAGE[1],
    show_default=True,
    type=click.IntRange(0, 65535),
    help="With --page: their port; 0 takes a free one.",
)
@click.option("--keep", is_flag=True, help="Keep flash, database, cards and logs.")
def command(
    board: str,
    micropython: Path | None,
    image: Path | None,
    speed: int,
    plot_path: Path,
    is_station: bool,
    page_port: int,
    keep: bool,
) -> None:
    """Play a day of eight households in under 90 seconds: cards, alarm, cut, reclose, crash."""
    if is_station:
        _open(*_device(board, micropython, image), speed, page_port, keep)
        return
    try:
        plot_path.parent.mkdir(parents=True, exist_ok=True)
        plot_path.open("ab").close()
    except OSError as error:
        raise click.ClickException(
            _("cannot write {path}: {reason}").format(path=plot_path, reason=system_reason(error))
        ) from error
    what, maker = _device(board, micropython, image)
    folder = Path(tempfile.mkdtemp(prefix="dianka-demo-"))
    started_s = time.monotonic()

    def say(text: str) -> None:
        echo(f"{time.monotonic() - started_s:5.1f} s  {text}")

    say(what)
    village = Village(folder, maker, story.START_T2000, speed)
    played = Story(village, say)
    try:
        ending = played.run()
        plot(played.store, plot_path)
    except (DemoError, ConsoleError, PortError, ReaderError) as error:
        keep = True
        raise click.ClickException(
            _("{error}; the logs are in {folder}").format(error=error, folder=folder)
        ) from error
    finally:
        played.close()
        village.close()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _print_households(ending)
    troubles = story.troubles_of(ending)
    for trouble in troubles:
        echo(_("does not hold: {trouble}").format(trouble=trouble), color="red")
    _conclude(ending, plot_path)
    if keep:
        echo(_("kept: {folder}").format(folder=folder))
    if troubles:
        raise click.exceptions.Exit(1)


def _open(what: str, maker: Maker, speed: int, port: int, keep: bool) -> None:
    """Show the station's pages on a village that lives until Ctrl-C."""
    folder = Path(tempfile.mkdtemp(prefix="dianka-station-"))
    page = (station.PAGE[0], port)
    village = Village(folder, maker, station.start_t2000(), speed, page=page)
    played = Station(village, echo)
    echo(what)
    try:
        url = played.open()
        echo(_("the station's pages are at {url}").format(url=url), bold=True)
        echo(
            _("a day of the village takes {seconds} s; Ctrl-C ends it").format(
                seconds=DAY_S // speed
            )
        )
        played.live(lambda: False)
    except KeyboardInterrupt:
        echo(_("the village is closed"))
    except (DemoError, ConsoleError, PortError, ReaderError) as error:
        keep = True
        raise click.ClickException(
            _("{error}; the logs are in {folder}").format(error=error, folder=folder)
        ) from error
    finally:
        played.close()
        village.close()
        if keep:
            echo(_("kept: {folder}").format(folder=folder))
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _device(board: str, micropython: Path | None, image: Path | None) -> tuple[str, Maker]:
    """Return what the firmware runs on, in words, and what starts it."""
    if board == "cpython":
        return _("Python is {version}").format(version=sys.version), program(
            sys.executable, "-m", "host.device.process"
        )
    if board == "unix":
        try:
            interpreter = find(micropython)
            version = version_of(interpreter)
        except InterpreterError as error:
            raise click.ClickException(str(error)) from error
        main = device_root() / "main.py"
        return _("MicroPython is {interpreter}").format(interpreter=version), program(
            str(interpreter), str(main)
        )
    if image is None:
        hint = _("build it in a checkout with `make image BOARD=qemu`, or run `make demo-qemu`")
        raise click.ClickException(
            _("the emulated board needs an --image: {hint}").format(hint=hint)
        )
    try:
        return _("the board is a Cortex-M3 in QEMU with {image}").format(image=image), emulated(
            image
        )
    except DemoError as error:
        raise click.ClickException(str(error)) from error


def _print_households(ending: Ending) -> None:
    names = (_("bought 购电"), _("charged 电费"), _("balance 余额"), _("tier 阶梯"))
    figures = (Column(name, right=True) for name in names)
    relay, readings = Column(_("relay 继电器")), Column(_("readings 抄表"), right=True)
    rows = [
        (
            one.account,
            yuan(one.sold_fen),
            yuan(one.charged_fen),
            yuan(one.balance_fen),
            str(ending.tiers.get(one.account, "?")),
            _(RELAY_NAMES.get(one.relay, "?")),
            str(one.readings),
        )
        for one in ending.households
    ]
    columns = (Column(_("account 户号")), *figures, relay, readings)
    print_table(columns, rows, title=_("The households at the end of the day"))


def _conclude(ending: Ending, plot_path: Path) -> None:
    result = ending.reconciliation
    sold, charged = yuan(result.total("sold_fen")), yuan(result.total("charged_fen"))
    money = _("sold {sold} = charged {charged} + balances {total}").format(
        sold=sold, charged=charged, total=yuan(result.total("balance_fen"))
    )
    taken, stored = result.readings_taken, result.readings_stored
    readings = _("readings taken {taken} = readings stored {stored}").format(
        taken=taken, stored=stored
    )
    echo(
        _("{money}, to the fen; {readings}, duplicates {duplicates}").format(
            money=money, readings=readings, duplicates=result.duplicates
        ),
        bold=True,
    )
    echo(_("the picture of the day is {plot_path}").format(plot_path=plot_path))
    echo(
        _(
            "to look at such a village in a browser: `make station`, or `dianka demo --page`; it "
            "stays open at http://{host}:{port} until Ctrl-C"
        ).format(host=station.PAGE[0], port=station.PAGE[1])
    )
