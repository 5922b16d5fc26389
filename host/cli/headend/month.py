"""`dianka headend month`: the manager's month, on the screen, as PDF, XLSX and JSON."""

from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.options import database_option, json_option
from host.cli.output import Column, echo, print_json, print_table
from host.headend import month as months
from host.headend import month_paper, receipts
from host.headend.store import Store
from host.words import _

_FILE = click.Path(path_type=Path, dir_okay=False)


@shown.command(
    "month",
    epilog="""\b
Examples:
  dianka headend month 2026-07 --db village.db
  dianka headend month 2026-07 --pdf july.pdf --xlsx july.xlsx --keep --db village.db
  dianka headend month 2026-07 --house --pdf july.pdf --db house.db
\b
A month that is over is kept with --keep, or by the mail of the month: later reports compare with
what was told then.
""",
)
@click.argument("which", metavar="MONTH")
@click.option("--pdf", type=_FILE, help="Write it to this file.")
@click.option("--xlsx", type=_FILE, help="Write it to this file.")
@click.option("--house", is_flag=True, help="That of a landlord: each room by itself.")
@click.option("--keep", is_flag=True, help="Keep its figures, if the month is over.")
@database_option()
@json_option
def month_command(
    which: str,
    pdf: Path | None,
    xlsx: Path | None,
    house: bool,
    keep: bool,
    db: str,
    as_json: bool,
) -> None:
    """Tell how MONTH went: money, loss, readings, voltage, repairs, complaints, devices.

    Each figure stands beside its target, the month before and a year ago.
    """
    with opened(db, read_only=not keep) as store:
        which = months.month_of(which)
        if house:
            _house(store, which, pdf, xlsx, as_json)
            return
        one = months.report(store, which)
        if keep and one.is_whole and one.kept_at is None:
            months.keep_month(store, which, months.values_of(one))
        if pdf is not None:
            receipts.write(pdf, month_paper.pdf(one))
        if xlsx is not None:
            receipts.write(xlsx, month_paper.xlsx(one))
    if as_json:
        print_json(months.told_of(one))
        return
    columns = [Column(_(name), right=place > 0) for place, name in enumerate(months.COLUMNS)]
    print_table(columns, months.rows_of(one), title=one.month)
    if not one.is_whole:
        echo(_("the month is not over yet"))


def _house(store: Store, which: str, pdf: Path | None, xlsx: Path | None, as_json: bool) -> None:
    rows = months.house(store, which)
    if pdf is not None:
        receipts.write(pdf, month_paper.house_pdf(which, rows))
    if xlsx is not None:
        receipts.write(xlsx, month_paper.house_xlsx(which, rows))
    if as_json:
        print_json({"month": which, "rooms": rows})
        return
    columns = [Column(_(name), right=place > 1) for place, name in enumerate(months.HOUSE_COLUMNS)]
    print_table(columns, rows, title=which)
