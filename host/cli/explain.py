"""`dianka explain`: a household's account out of a journal, each deduction computed again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import click
from rich.text import Text

from host.billing.shipped import shipped
from host.billing.statement import READING, Entry, Explainer, Statement, StatementError, decimals
from host.cli import shown
from host.cli.options import FILE, account_argument, json_option
from host.cli.output import Column, echo, print_json, print_table, styled
from host.frames.tariff import load
from host.frames.tariff_terms import TariffError
from host.headend.journal import JournalError, records_of
from host.words import _


@dataclass
class Row:
    """A day or a tier period of the statement.

    Cells are (tier, rate, price, service fee in it): (Wh, yuan).

    Tiers count from 1 on; 0 is what costs nothing.
    """

    cells: dict[tuple[int, str, Fraction, Fraction], tuple[int, Fraction]] = field(
        default_factory=dict
    )
    charged_yuan: Fraction = Fraction(0)
    service_yuan: Fraction = Fraction(0)
    paid_yuan: Fraction = Fraction(0)
    balance_yuan: Fraction | None = None
    notes: list[str] = field(default_factory=list)


@shown.command(
    epilog="""\b
JOURNAL is a folder of the device's segment files (j00000001 ...), one file of records, or a
head-end's database.
\b
Examples:
  dianka explain journal/ 000000000001
  dianka explain village.db 000000000001 --tariff tariffs/zhejiang-tou.json --by period
"""
)
@click.argument("journal", type=click.Path(exists=True, path_type=Path))
@account_argument
@click.option(
    "--tariff",
    "paths",
    metavar="FILE",
    multiple=True,
    type=FILE,
    help="A tariff file that was in force; may be repeated. Without it: those shipped.",
)
@click.option(
    "--by",
    type=click.Choice(["day", "period"]),
    default="day",
    show_default=True,
    help="One line a day, or a tier period.",
)
@click.option("--row", type=int, help="Row of the account, where its METER record is gone.")
@click.option("--number", type=int, help="Number of its tariff, where that record is gone.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    journal: Path,
    account: str,
    paths: tuple[Path, ...],
    by: str,
    row: int | None,
    number: int | None,
    as_json: bool,
) -> None:
    """Print ACCOUNT's bill out of JOURNAL, recomputed; one differing digit is an error."""
    try:
        tariffs = [load(path) for path in paths or shipped()]
        statement = Explainer(account, tariffs, row, number).explain(records_of(journal, account))
    except (TariffError, StatementError, JournalError) as error:
        raise click.ClickException(str(error)) from error
    rows = _rows(statement, by)
    if as_json:
        print_json(_fields(statement, rows))
    else:
        _print(statement, rows)
    if statement.differences:
        context.exit(1)


def _rows(statement: Statement, by: str) -> dict[str, Row]:
    """Return the statement's lines by day or tier period."""
    rows: dict[str, Row] = {}
    current = _("before")
    for entry in statement.entries:
        tariff = entry.tariff
        rates = tariff.rates if tariff else []
        first = 0 if tariff and tariff.has_free_tier else 1
        for line in entry.lines:
            if by == "day":
                current = f"{line.start:%Y-%m-%d}"
            else:
                current = (
                    _("from {start:%Y-%m-%d %H:%M}").format(start=line.period)
                    if line.period
                    else _("all")
                )
            row = rows.setdefault(current, Row())
            rate = _("standing charge") if line.rate is None else rates[line.rate]
            place = (0 if line.free else line.tier + first, rate, line.price, line.service)
            wh, yuan = row.cells.get(place, (0, Fraction(0)))
            row.cells[place] = (wh + line.wh, yuan + line.yuan)
            row.charged_yuan += line.yuan
            row.service_yuan += line.service * line.wh / 1000
        if by == "day":
            current = f"{entry.moment:%Y-%m-%d}" if not entry.lines else current
        _note(rows.setdefault(current, Row()), entry)
    return rows


def _note(row: Row, entry: Entry) -> None:
    row.paid_yuan += entry.paid_yuan
    row.balance_yuan = entry.balance_yuan
    if entry.kind != READING or entry.note:
        row.notes.append(f"{_(entry.kind)} {entry.note}".strip())


def _fields(statement: Statement, rows: dict[str, Row]) -> dict[str, object]:
    return {
        "account": statement.account,
        "readings": statement.readings,
        "differences": statement.differences,
        "rows": [
            {
                "when": when,
                "cells": [_cell(*place, *used) for place, used in sorted(row.cells.items())],
                "charged_yuan": decimals(row.charged_yuan),
                **_parts(row),
                "paid_yuan": decimals(row.paid_yuan),
                "balance_yuan": None if row.balance_yuan is None else decimals(row.balance_yuan),
                "notes": row.notes,
            }
            for when, row in rows.items()
        ],
    }


def _cell(
    tier: int, rate: str, price: Fraction, service: Fraction, wh: int, yuan: Fraction
) -> dict[str, object]:
    fields: dict[str, object] = {
        "tier": tier,
        "rate": rate,
        "kwh": decimals(Fraction(wh, 1000)),
        "price": decimals(price),
        "yuan": decimals(yuan),
    }
    if service:
        fields["service_price"] = decimals(service)
        fields["service_yuan"] = decimals(service * wh / 1000)
    return fields


def _parts(row: Row) -> dict[str, str]:
    """Return energy and service fee apart, where there is one."""
    if not row.service_yuan:
        return {}
    energy_yuan = row.charged_yuan - row.service_yuan
    return {"energy_yuan": decimals(energy_yuan), "service_yuan": decimals(row.service_yuan)}


def _print(statement: Statement, rows: dict[str, Row]) -> None:
    figures = (
        Column(one, right=True)
        for one in (_("kWh"), _("yuan/kWh"), _("yuan"), _("paid"), _("balance"))
    )
    columns = (
        *map(Column, (_("when"), _("tier"), _("rate"))),
        *figures,
        Column(_("what happened"), wraps=True),
    )
    cells: list[Sequence[str | Text]] = []
    for when, row in rows.items():
        for (tier, rate, price, service), (wh, yuan) in sorted(row.cells.items()):
            energy = decimals(Fraction(wh, 1000)) if wh else ""
            fee = ""
            if service:
                fee = _("of it service {yuan} yuan").format(yuan=decimals(service * wh / 1000))
            cells.append(
                (when, str(tier), rate, energy, decimals(price), decimals(yuan), "", "", fee)
            )
        paid = decimals(row.paid_yuan) if row.paid_yuan else ""
        balance = "" if row.balance_yuan is None else decimals(row.balance_yuan)
        charged = decimals(row.charged_yuan)
        parts = _parts(row)
        told = [_("energy {energy_yuan}, service {service_yuan}").format(**parts)] if parts else []
        notes = "; ".join([*told, *row.notes])
        total = (when, "", _("all"), "", "", charged, paid, balance, notes)
        cells.append([styled(one, "bold") for one in total])
    print_table(columns, cells, title=_("account {account}").format(account=statement.account))
    for difference in statement.differences:
        echo(_("DIFFERENT: {difference}").format(difference=difference))
    verdict = (
        _("{differences} differences").format(differences=len(statement.differences))
        if statement.differences
        else _("the same")
    )
    echo(
        _("{readings} charges recomputed: {verdict}, to 1e-11 yuan").format(
            readings=statement.readings, verdict=verdict
        )
    )
