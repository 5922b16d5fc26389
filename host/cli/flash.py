"""`dianka flash`: the product on a board with MicroPython's own image, in two slots."""

import contextlib
import json
import re
import secrets
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console as Screen
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from host.cards import keystore
from host.cli import shown
from host.cli.options import FILE, load_keys, typed_secret
from host.cli.output import echo
from host.flash import package, rom, room, slots, wiring
from host.flash import product as products
from host.flash import selftest as tests
from host.flash.chips import CHIPS
from host.flash.prompt import BoardError, Prompt
from host.headend import keys as uplink
from host.link.console import SECRETS
from host.words import _, system_reason


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    firmware: Path | None
    arch: str | None
    board_json: bytes
    settings: dict[str, str]
    time: bool
    wait_s: int
    new: bool
    package: products.Product | None = None
    signer: str = ""
    unsigned: bool = False


@shown.command(
    epilog="""\b
Examples:
  dianka flash /dev/ttyACM0 --board board.json --format --time
  dianka flash /dev/ttyACM0 --keys card-keys.toml --id 7 --uplink-keys uplink.toml
  dianka flash /dev/ttyACM0 --set interval_s=900
  dianka flash --check board.json --chip esp32s3
  dianka flash /dev/ttyACM0 --package dianka-esp32.pkg --signer 3b6a27bcceb6a42d..
  dianka flash /dev/ttyACM0 --status
  dianka flash /dev/ttyACM0 --rollback
  dianka flash /dev/ttyACM0 --selftest
  dianka flash --traceback log.txt
The new product is on trial: if it does not report healthy, the old one starts again.
"""
)
@click.argument("port", required=False, default="")
@click.option("--check", "check_path", type=FILE, help="Judge a board.json, without a board.")
@click.option("--chip", type=click.Choice(sorted(CHIPS)), help="What the file is for.")
@click.option(
    "--traceback",
    "said",
    type=click.File(encoding="utf-8", errors="replace"),
    help="Read a board's traceback, - for stdin.",
)
@click.option("--status", is_flag=True, help="Show what both slots hold, and change nothing.")
@click.option("--rollback", is_flag=True, help="Start the product that was there before.")
@click.option("--selftest", is_flag=True, help="Test each part of the board, and keep a report.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("dianka-selftest.json"),
    show_default=True,
    help="Of --selftest, to be sent in.",
)
@click.option("--board", "board_path", type=FILE, help="Pins: the board.json to put there.")
@click.option("--format", "new", is_flag=True, help="A new board: make the journal's place.")
@click.option("--time", "wants_time", is_flag=True, help="Set the clock, to local standard time.")
@click.option("--keys", "keys_path", type=FILE, help="Card keys, console key and district.")
@click.option("--uplink-keys", "uplink_path", type=FILE, help="The head-end's keys, for --id.")
@click.option("--id", "number", type=click.IntRange(1, 0x3FFFFFFF), help="Of this concentrator.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other setting; NAME=- reads a secret.",
)
@click.option("--wait", "wait_s", default=300, show_default=True, help="Seconds for its report.")
@click.option("--arch", help="Machine code, if the board does not say it itself.")
@click.option(
    "--firmware",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Sources, if not those that came with this command.",
)
@click.option("--package", "package_path", type=FILE, help="Of `dianka firmware pack`.")
@click.option(
    "--signer",
    default="",
    metavar="PUBLIC_KEY",
    help="From now on the board takes what this key has signed, and nothing older.",
)
@click.option(
    "--allow-unsigned", "unsigned", is_flag=True, help="Install or start it all the same."
)
def command(
    port: str,
    check_path: Path | None,
    chip: str | None,
    said: TextIO | None,
    status: bool,
    rollback: bool,
    selftest: bool,
    report_path: Path,
    board_path: Path | None,
    new: bool,
    wants_time: bool,
    keys_path: Path | None,
    uplink_path: Path | None,
    number: int | None,
    sets: tuple[str, ...],
    wait_s: int,
    arch: str | None,
    firmware: Path | None,
    package_path: Path | None,
    signer: str,
    unsigned: bool,
) -> None:
    """Install the firmware on the board at PORT: /dev/ttyACM0, COM3 or socket://HOST:PORT."""
    if status + rollback + selftest > 1:
        raise click.UsageError(
            _("--status, --rollback and --selftest are three jobs: ask for one of them")
        )
    if not port and check_path is None and said is None:
        raise click.UsageError(_("name the PORT of a board, or judge a file with --check"))
    try:
        if said is not None:
            for line in products.read_back(
                said.read(), firmware or products.firmware()
            ).splitlines():
                echo(line)
            return
        if check_path is not None:
            _check(check_path, chip or "")
            return
        settings = _settings(keys_path, uplink_path, number, sets)
        if signer and not re.fullmatch("[0-9a-f]{64}", signer):
            raise click.UsageError(_("--signer: a public key has 64 hexadecimal digits"))
        given = package.read(package_path) if package_path is not None else None
        wanted = Wanted(
            *(firmware, arch, _board_json(board_path), settings, wants_time, wait_s, new),
            *(given, signer, unsigned),
        )
        with Prompt(port) as board:
            if status:
                _show(board)
            elif rollback:
                _roll_back(board, wait_s, unsigned)
            elif selftest:
                _test(board, products.firmware(), report_path)
            else:
                _install(board, wanted)
    except (BoardError, products.ProductError, keystore.KeystoreError, uplink.KeysError) as error:
        raise click.ClickException(str(error)) from error


def _check(path: Path, chip: str) -> None:
    """Judge a board.json; BoardError with all that is wrong in it."""
    errors, warnings = wiring.judge(json.loads(_read_board_json(path)), chip)
    for line in warnings:
        echo(line, err=True)
    if errors:
        raise BoardError("\n".join(errors))
    title = CHIPS[chip].title if chip else _("any chip; name yours with --chip")
    echo(_("{path} is fit for {title}").format(path=path, title=title))


def _show(board: Prompt) -> None:
    now = slots.state(board)
    for name in slots.SLOTS:
        runs = _("  runs") if name == now.running else ""
        echo(
            _("slot {name}  {describe}{runs}").format(
                name=name, describe=now.describe(name), runs=runs
            )
        )
    slots.resume(board, now)
    board.release()


def _test(board: Prompt, firmware: Path, path: Path) -> None:
    """Test the parts of the board and keep the report; ClickException: some of them failed."""
    now = slots.state(board)
    try:
        report = tests.begin(board, tests.program_of(firmware))
        try:
            for one in tests.run(board, report, _tell, _ask):
                figures = "  ".join(f"{name} {value}" for name, value in one.figures.items())
                echo(f"{one.name:8} {_(tests.WORDS[one.outcome]):8} {figures}".rstrip())
                for line in one.trouble:
                    echo(f"         {line}")
        finally:
            path.write_text(report.text(), "utf-8")
    finally:
        with contextlib.suppress(BoardError):
            slots.resume(board, now)
            board.release()
    echo(_("the report is in {path}: send it in with the name of your board").format(path=path))
    if report.failed:
        raise BoardError(
            _("failed: {names}; docs/HARDWARE.md says what to look at").format(
                names=", ".join(report.failed)
            )
        )


def _tell(what: str) -> None:
    click.prompt(what + " " + _("Then press Enter"), default="", show_default=False, err=True)


def _ask(question: str) -> bool:
    return click.confirm(question, default=True, err=True)


def _roll_back(board: Prompt, wait_s: int, unsigned: bool) -> None:
    now = slots.state(board)
    other = "b" if now.proven == "a" else "a"
    if now.left and now.trial != now.proven:
        slots.end_trial(board)
        echo(
            _("slot {trial} is no longer on trial, slot {proven} starts").format(
                trial=now.trial, proven=now.proven
            )
        )
        board.release()
        return
    if not now.slots[other].version or not now.slots[other].healthy:
        slots.resume(board, now)
        board.release()
        raise BoardError(_("there is no older product that was healthy: install one instead"))
    listing, signature = slots.listing(board, other)
    try:
        package.check_counter(listing, slots.newest(board))
        if not unsigned:
            package.check_signer(listing, signature, slots.signer(board))
    except products.ProductError:
        slots.resume(board, now)
        board.release()
        raise
    slots.put_on_trial(board, other)
    echo(
        _("slot {other} ({version}) starts").format(other=other, version=now.slots[other].version)
    )
    _await(board, other, wait_s)


def _install(board: Prompt, wanted: Wanted) -> None:
    """Look at the board, install the product and await its report.

    After an error the board runs as before.
    """
    now = slots.state(board)
    slots.hold(board)
    try:
        found = slots.facts(board)
        if found.is_frozen:
            _set_up_frozen(board, found, wanted)
            board.release()
            return
        # A board that has used slots goes on with them: it can go back.
        if not now.proven and rom.size(board):
            _put_in_rom(board, found, wanted)
            board.release()
            return
        slot = _prepare(board, now, found, wanted)
        slots.put_on_trial(board, slot)
    except BaseException:
        with contextlib.suppress(BoardError):
            slots.resume(board, now)
            board.release()
        raise
    _await(board, slot, wanted.wait_s)


def _set_up_frozen(board: Prompt, found: room.Facts, wanted: Wanted) -> None:
    """Set what is to be set on a board whose image has the product; there are no slots."""
    if not (wanted.board_json or wanted.new or wanted.settings or wanted.time):
        raise BoardError(
            _(
                "the product is frozen into the image of {name}: a new version is a new image. "
                "--board, --format, --keys, --set and --time work"
            ).format(name=found.name)
        )
    _own_board_json(board, found, wanted)
    _set_up(board, "", wanted, wanted.new)
    echo(_("{name} starts the product of its image").format(name=found.name))


def _compiled(found: room.Facts, wanted: Wanted, firmware: Path) -> products.Product:
    """Return the product for this board: the package that was given, or one that is made here."""
    if wanted.package is not None:
        return wanted.package
    arch = wanted.arch or found.arch
    if not arch:
        known = ", ".join(products.ARCHITECTURES)
        raise BoardError(
            _("the board does not say its machine code: name it with --arch ({known})").format(
                known=known
            )
        )
    with _progress() as progress, tempfile.TemporaryDirectory() as build:
        task = progress.add_task(
            _("compiling for {platform}, {arch}").format(platform=found.platform, arch=arch)
        )
        return products.make(
            firmware,
            found.platform,
            arch,
            Path(build),
            lambda done, whole: progress.update(task, completed=done, total=whole),
        )


def _put_in_rom(board: Prompt, found: room.Facts, wanted: Wanted) -> None:
    """Put the product into the board's ROMFS, and set what is to be set."""
    wiring_of = _own_board_json(board, found, wanted)
    firmware = wanted.firmware or products.firmware()
    product = _compiled(found, wanted, firmware)
    _check_signed(board, product, wanted)
    content = rom.image(product, (firmware / "boot.py").read_bytes())
    size = rom.size(board)
    if len(content) > size:
        raise BoardError(
            _(
                "the ROMFS of {name} has {size} KiB, the product takes {needed}: build its "
                "MicroPython with a larger one, or freeze the product into it (make image)"
            ).format(name=found.name, size=size // 1024, needed=-(-len(content) // 1024))
        )
    room.check_heap(found, product, wiring_of, room.ROM_HEAP_PERCENT)
    with _progress() as progress:
        task = progress.add_task(_("writing the ROMFS"))
        rom.install(
            board,
            content,
            lambda done, whole: progress.update(task, completed=done, total=whole),
        )
    if slots.put_in_root(board, "main.py", rom.MAIN):
        _tell_aside("main.py")
    # The new content is found by a start.
    slots.hold(board)
    _set_up(board, rom.FOLDER, wanted, True)
    echo(
        _("the ROMFS of {name} holds {version}, checked; it starts").format(
            name=found.name, version=product.version
        )
    )


def _tell_aside(name: str) -> None:
    echo(_("the board had a {name} of its own; it is {name}.old now").format(name=name), err=True)


def _prepare(board: Prompt, now: slots.State, found: room.Facts, wanted: Wanted) -> str:
    """Fill the slot that may be lost, and set what is to be set; return it."""
    slots.check(found)
    wiring_of = _own_board_json(board, found, wanted)
    firmware = wanted.firmware or products.firmware()
    slot = slots.target(now)
    product = _compiled(found, wanted, firmware)
    _check_signed(board, product, wanted)
    room.check(found, slots.taken(board, found), product, slot, wiring_of)
    with _progress() as progress:
        task = progress.add_task(_("writing slot {slot}").format(slot=slot))
        boot = (firmware / "boot.py").read_bytes()
        aside = slots.install(
            board,
            slot,
            product,
            boot,
            lambda done, whole: progress.update(task, completed=done, total=whole),
        )
    for name in aside:
        _tell_aside(name)
    echo(
        _("slot {slot} holds {version}, every file checked").format(
            slot=slot, version=product.version
        )
    )
    _set_up(board, slot, wanted, wanted.new or not now.proven)
    slots.finish(board, slot, product)
    if wanted.signer:
        board.replace("signer", wanted.signer.encode())
        echo(_("the board takes products that this key has signed"))
    return slot


def _check_signed(board: Prompt, product: products.Product, wanted: Wanted) -> None:
    """Raise ProductError where the board's signer, or the one given now, does not let it in."""
    own = slots.signer(board)
    package.check_counter(product.listing, slots.newest(board))
    if wanted.unsigned:
        return
    if own and wanted.signer not in ("", own):
        raise products.ProductError(
            _("the board has another signer: --allow-unsigned puts yours in its place")
        )
    package.check_signer(product.listing, product.signature, own or wanted.signer)


def _own_board_json(board: Prompt, found: room.Facts, wanted: Wanted) -> dict[str, Any]:
    """Return the board.json that the board has or is given; BoardError when there is none."""
    text = wanted.board_json or slots.board_json(board)
    try:
        content = json.loads(text or "{}")
    except ValueError:
        content = {}
    if found.platform != "qemu" and not content:
        raise BoardError(_("the board has no board.json: give one with --board FILE"))
    return content if isinstance(content, dict) else {}


def _set_up(board: Prompt, slot: str, wanted: Wanted, opens: bool) -> None:
    """Give the board its pins, its journal, its settings and the time; "": its image's product."""
    if wanted.board_json:
        board.replace("board.json", wanted.board_json)
    if opens:
        slots.open_journal(board, slot, wanted.new)
    if wanted.settings:
        slots.change_settings(board, slot, wanted.settings)
        echo(_("set {settings}").format(settings=", ".join(wanted.settings)))
    if wanted.time:
        _set_clock(board)


def _await(board: Prompt, slot: str, wait_s: int) -> None:
    """Let the board run and wait for its report; without one, have the old product start."""
    last = ""
    with _progress() as progress:
        progress.add_task(
            _("waiting for slot {slot} to report healthy").format(slot=slot), total=None
        )
        for line in slots.await_report(board.let_run(wait_s), slot):
            last = line
    if last == slots.healthy_line(slot):
        echo(_("slot {slot} is healthy").format(slot=slot))
        return
    if not wait_s:
        return
    board.interrupt()
    now = slots.state(board)
    if now.proven == slot and now.slots[slot].healthy and now.trial != slot:
        echo(_("slot {slot} is healthy").format(slot=slot))
        board.release()
        return
    slots.end_trial(board)
    board.release()
    again = (
        _("slot {proven} starts again").format(proven=now.proven)
        if now.proven != slot
        else _("there is no other")
    )
    raise BoardError(
        _("slot {slot} did not report healthy within {wait_s} s, {again}").format(
            slot=slot, wait_s=wait_s, again=again
        )
    )


def _set_clock(board: Prompt) -> None:
    """Set the board's clock to local standard time: the zone's, without summer time."""
    moment = time.gmtime(time.time() - time.timezone)
    fields = (*moment[:3], moment.tm_wday, *moment[3:6])
    if slots.set_clock(board, fields):
        shown = time.strftime("%Y-%m-%d %H:%M:%S", moment)
        echo(_("clock set to {moment}").format(moment=shown))
    else:
        echo(_("this board has no clock: set it with `dianka console`: time"), err=True)


def _board_json(path: Path | None) -> bytes:
    """Return the file, looked at as far as one can from here; empty: the board keeps its own."""
    if path is None:
        return b""
    data = _read_board_json(path)
    errors, _warnings = wiring.judge(json.loads(data), "")
    if errors:
        raise BoardError("\n".join(f"{path}: {error}" for error in errors))
    return data


def _read_board_json(path: Path) -> bytes:
    """Return the file, which is an object in JSON that names lines."""
    try:
        data = path.read_bytes()
        content = json.loads(data)
    except OSError as error:
        raise BoardError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except ValueError as error:
        raise BoardError(_("{path} is no JSON: {error}").format(path=path, error=error)) from error
    if not isinstance(content, dict) or not content.get("lines"):
        raise BoardError(
            _("{path} names no lines: docs/HARDWARE.md shows a board.json").format(path=path)
        )
    return data


def _settings(
    keys_path: Path | None, uplink_path: Path | None, number: int | None, sets: tuple[str, ...]
) -> dict[str, str]:
    """Return what the firmware is to be set to, by the names that it has for it."""
    # It is not the board's random numbers alone on which its sessions depend.
    settings = {"seed": secrets.token_hex(32)} if keys_path or uplink_path else {}
    if number is not None:
        settings["id"] = str(number)
    if keys_path is not None:
        keys = load_keys(keys_path)
        settings["district"] = str(keys.district)
        settings["card_key"] = keys.key_of(keys.district, keys.key_version).hex()
        settings["card_key_version"] = str(keys.key_version)
        if keys.issuer_key:
            if number is None:
                raise BoardError(
                    _("the console key is that of one concentrator: say --id as well")
                )
            version = keys.console_version
            console_key = keys.console_key(keys.district, number, version)
            settings["console_key_version"] = str(version)
            settings["console_key"] = console_key.hex()
        else:
            echo(
                _(
                    "{path} has no console key: whoever has a cable may change the settings until "
                    "`dianka card keys install` brings one"
                ).format(path=keys_path),
                err=True,
            )
    if uplink_path is not None:
        key = uplink.load(uplink_path).get(number or 0)
        if key is None:
            which = (
                _("none for concentrator {number}").format(number=number)
                if number
                else _("it needs --id as well")
            )
            raise BoardError(
                _("no key from {uplink_path}: {which}").format(
                    uplink_path=uplink_path, which=which
                )
            )
        settings["uplink_key"] = key.hex()
    for pair in sets:
        name, equals, value = (word.strip() for word in pair.partition("="))
        if not equals:
            raise BoardError(_("--set {pair}: write NAME=VALUE").format(pair=pair))
        if name in SECRETS and value != "-":
            raise click.UsageError(
                _(
                    "a secret on the command line stays in its history and is seen by others: "
                    "say `--set {name}=-` and type it"
                ).format(name=name)
            )
        settings[name] = typed_secret(name) if name in SECRETS else value
    return settings


def _progress() -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    screen = Screen(file=sys.stderr)
    return Progress(*columns, console=screen, transient=True, disable=not sys.stderr.isatty())
