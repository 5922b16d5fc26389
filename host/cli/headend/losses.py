"""`dianka headend losses`: line loss of districts and feeders, by day or month."""

import calendar
import re
from datetime import date
from typing import Any

import click

from host.cli import shown
from host.cli.headend.account import printable
from host.cli.headend.database import opened
from host.cli.headend.look import lists, print_list
from host.cli.headend.topology import day_text
from host.cli.options import DAY_BEGIN, Command, database_option
from host.cli.output import Column
from host.headend import losses
from host.headend.limits import LIMITS
from host.headend.store import Store
from host.units import DAY_S, kwh
from host.words import _, marked

_FIRST = date(2000, 1, 1).toordinal()


def _month(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """Return the first day of a month and that behind its last."""
    if text is None:
        return None
    if re.fullmatch("20[0-9]{2}-(0[1-9]|1[0-2])", text):
        year, month = int(text[:4]), int(text[5:])
        first = date(year, month, 1).toordinal() - _FIRST
        return first, first + calendar.monthrange(year, month)[1]
    raise click.BadParameter(_("{text!r}: give a month as YYYY-MM").format(text=text))


def span_options(function: Command) -> Command:
    """Give the command `day_t2000` and `month`, of which one is to be given, and `district`."""
    day = click.option("--day", "day_t2000", type=DAY_BEGIN, help="Of this day.")
    month = click.option("--month", callback=_month, help="Of this month, as YYYY-MM.")
    where = click.option(
        "--district", default="", callback=printable(32), help="Of this district alone."
    )
    return day(month(where(function)))


def span_of(day_t2000: int | None, month: tuple[int, int] | None) -> tuple[int, int]:
    """Return the day that is asked for and the day behind it, or those of the month."""
    if (day_t2000 is None) == (month is None):
        raise click.UsageError(_("give --day or --month, one of them"))
    if month is not None:
        return month
    assert day_t2000 is not None
    return day_t2000 // DAY_S, day_t2000 // DAY_S + 1


_COLUMNS = (
    (Column(marked("level")), "level"),
    (Column(marked("place")), "place"),
    (Column(marked("day")), "day"),
    (Column(marked("supplied, kWh"), right=True), "supplied"),
    (Column(marked("sold, kWh"), right=True), "sold"),
    (Column(marked("lost, kWh"), right=True), "lost"),
    (Column("%", right=True), "rate"),
    (Column(marked("possible, %"), right=True), "bounds"),
    (Column(marked("target, %"), right=True), "target"),
    (Column(marked("missing"), right=True), "missing"),
    (Column(marked("technical, %"), right=True), "technical"),
    (Column(marked("judged")), "judged"),
)


@shown.command(
    "losses",
    epilog="""\b
Examples:
  dianka headend losses --day 2026-07-20 --db village.db
  dianka headend losses --month 2026-07 --district R4 --json --db village.db
""",
)
@database_option()
@span_options
@click.option(
    "--past",
    type=click.IntRange(0, 365),
    default=14,
    show_default=True,
    help="Days before to compare a day with.",
)
@lists
def losses_command(
    db: str,
    day_t2000: int | None,
    month: tuple[int, int] | None,
    district: str,
    past: int,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Print what was supplied, sold and lost, and the bounds that missing meters leave.

    The share lost stands beside the lowest and the highest possible one. With --district it is
    divided into that of wires and the rest. A day is judged by the days before it and by the
    other places.
    """
    since, until = span_of(day_t2000, month)
    with opened(db, read_only=True) as store:
        rows = told(store, (since, until), district, past)
    if not as_json and not as_csv:
        rows = [_shown(row) for row in rows]
    empty = _("no district is known: `dianka headend connect`, then `supply add`")
    print_list("losses", rows, _COLUMNS, as_json, as_csv, empty)


def told(
    store: Store, span: tuple[int, int], district: str = "", past: int = 0
) -> list[dict[str, Any]]:
    """Return the losses of a day, or of a month as a sum, as the command prints them."""
    since, until = span
    is_day = until == since + 1
    begins = since - (past if is_day and not district else 0)
    if district:
        begins = min(since, until - LIMITS.past_days)
    found = losses.day_losses(store, begins, until, district or None)
    if district:
        found = losses.with_technical(store, found)
    if is_day:
        judged = losses.judged(found, since)
        return [_row(one.loss, one.is_outlier, one.own_mads, one.peer_mads) for one in judged]
    return [_row(one) for one in losses.sum_of([one for one in found if one.day >= since])]


def _row(
    one: losses.Loss,
    is_outlier: bool | None = None,
    own_mads: float | None = None,
    peer_mads: float | None = None,
) -> dict[str, Any]:
    supplied = one.supplied
    return {
        "level": one.level,
        "place": one.place,
        "name": one.name,
        "day": day_text(one.day),
        "days": one.days,
        "supplied_wh": None if supplied is None else supplied.wh,
        "sold_wh": one.sold.wh,
        "sold_low_wh": one.sold.low_wh,
        "sold_high_wh": one.sold.high_wh,
        "lost_wh": one.lost_wh,
        "rate_e4": one.rate_e4,
        "low_e4": one.low_e4,
        "high_e4": one.high_e4,
        "target_e4": one.target_e4,
        "technical_wh": one.technical_wh,
        "other_wh": one.other_wh,
        "members": one.members,
        "missing": one.missing,
        "unsupplied": one.unsupplied,
        "outlier": is_outlier,
        "own_mads": None if own_mads is None else round(own_mads, 1),
        "peer_mads": None if peer_mads is None else round(peer_mads, 1),
    }


def percent(e4: int | None) -> str:
    """Return hundredths of a per cent as people write them, "-" for none."""
    if e4 is None:
        return "-"
    return f"{'-' if e4 < 0 else ''}{abs(e4) // 100}.{abs(e4) % 100:02d}"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the table."""
    over = row["rate_e4"] is not None and row["rate_e4"] > row["target_e4"]
    words = [_("above target")] if over else []
    words += [_("outlier")] if row["outlier"] else []
    words += [_("supply meter missing")] if row["supplied_wh"] is None or row["unsupplied"] else []
    technical = row["technical_wh"]
    share = technical is not None and losses.share_e4(technical, row["supplied_wh"] or 0)
    return {
        "level": _(row["level"]),
        "place": row["name"],
        "day": row["day"] if row["days"] <= 1 else _("{count} days").format(count=row["days"]),
        "supplied": "-" if row["supplied_wh"] is None else kwh(row["supplied_wh"]),
        "sold": kwh(row["sold_wh"]),
        "lost": "-" if row["lost_wh"] is None else kwh(row["lost_wh"]),
        "rate": percent(row["rate_e4"]),
        "bounds": f"{percent(row['low_e4'])} - {percent(row['high_e4'])}",
        "target": percent(row["target_e4"]),
        "missing": f"{row['missing']}/{row['members']}",
        "technical": percent(share if share is not False else None),
        "judged": ", ".join(words),
    }
