"""`dianka meter collect`: many meters by many identifiers, into a table for a spreadsheet."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from host.cli import shown
from host.cli.meter.session import Session, collect_progress, values_of, with_session
from host.cli.options import EXISTING_FILE, FILE
from host.cli.output import Column, echo, print_csv, print_json, print_table
from host.frames import orders, write
from host.frames.catalogue import Identifier
from host.link.meters import AskError, MeterLine
from host.sheets import sheet
from host.texts import NotTextError, read_text
from host.words import _, system_reason


@dataclass(slots=True)
class _Collected:
    """What one meter told: a text for each column, and why a column has none."""

    address: str
    values: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@shown.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 collect meters.txt 00010000 voltage --out readings.csv
  dianka meter --port /dev/ttyUSB0 --retries 5 collect meters.txt 0001FF00 --out june.xlsx
The list has an address a line; what follows it on its line is a remark. Lines with # are remarks.
"""
)
@click.argument("meters", metavar="LIST", type=EXISTING_FILE)
@click.argument("items", nargs=-1, required=True)
@click.option("--out", type=FILE, help="A .csv or .xlsx file to write, in place of a table.")
@with_session
def collect(session: Session, meters: Path, items: tuple[str, ...], out: Path | None) -> None:
    """Read identifiers of all meters of a list; ends with status 1 if any could not be read.

    A meter that does not answer costs its retries and no more: the others are read, and a list of
    what failed comes last.
    """
    addresses = list(_addresses(meters))
    if out is not None and out.suffix.lower() not in (".csv", ".xlsx"):
        raise click.UsageError(_("--out {out}: give a .csv or an .xlsx file").format(out=out))
    found: list[_Collected] = []
    with session.opened() as line, collect_progress() as progress:
        try:
            wanted = [write.find(item, session.standard, session.profile) for item in items]
            found.extend(_read_all(session, line, addresses, wanted, progress))
        except KeyboardInterrupt:
            echo(_("stopped: what was read counts"), err=True)
    columns = list(dict.fromkeys(name for one in found for name in one.values))
    names = ("meter", *columns)
    rows = [(one.address, *(one.values.get(name, "") for name in columns)) for one in found]
    if out is not None:
        _write(out, names, rows)
    elif session.as_json:
        print_json([{"meter": one.address, **one.values, "failed": one.failures} for one in found])
    else:
        print_table([Column(name, right=name != "meter") for name in names], rows)
    _say_failures(addresses, found)


def _addresses(path: Path) -> Iterator[str]:
    """Yield the addresses of a list; a line without one ends the command."""
    try:
        text = read_text(path)
    except (OSError, NotTextError) as error:
        raise click.ClickException(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        first = re.split(r"[\s,;]", line.strip(), maxsplit=1)[0]
        if not first or first.startswith("#"):
            continue
        if not re.fullmatch("[0-9]{1,12}", first):
            raise click.ClickException(
                _("{path} line {number}: {first} is no address of up to 12 digits").format(
                    path=path, number=number, first=first
                )
            )
        yield first.zfill(12)


def _read_all(
    session: Session,
    line: MeterLine,
    addresses: list[str],
    wanted: list[Identifier],
    progress: Progress,
) -> Iterator[_Collected]:
    task = progress.add_task("", total=len(addresses) * len(wanted))
    for address in addresses:
        one = _Collected(address)
        for item in wanted:
            progress.update(task, description=f"{address} {item.di}", advance=1)
            try:
                frame = line.read(address, *orders.read(session.standard, item.di))
            except AskError as error:
                one.failures[item.di] = str(error)
                continue
            _take(one, item, session.described(frame))
        yield one


def _take(one: _Collected, item: Identifier, said: dict[str, Any]) -> None:
    """Note what an answer says, a column for each of its values."""
    if said["error"]:
        flags = ", ".join(map(_, said["error"]["flags"])) or said["error"]["code"]
        one.failures[item.di] = _("refused: {flags}").format(flags=flags)
        return
    one.values.update((f"{item.di} {name}", text or "") for name, text in values_of(said).items())


def _write(out: Path, names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    try:
        if out.suffix.lower() == ".csv":
            with out.open("w", newline="", encoding="utf-8-sig") as file:
                print_csv(names, rows, file=file)
        else:
            out.write_bytes(sheet("meters", names, rows))
    except OSError as error:
        raise click.ClickException(
            _("cannot write {out}: {reason}").format(out=out, reason=error.strerror)
        ) from error
    echo(_("{count} meters in {out}").format(count=len(rows), out=out), err=True)


def _say_failures(addresses: list[str], found: list[_Collected]) -> None:
    """Say what could not be read, and end the command with status 1 if anything."""
    failed = [(one.address, di, why) for one in found for di, why in one.failures.items()]
    missing = len(addresses) - len(found)
    if failed:
        columns = (Column(_("meter")), Column(_("identifier")), Column(_("why"), wraps=True))
        print_table(columns, failed, title=_("not read"), err=True)
    if failed or missing:
        raise click.exceptions.Exit(1)
