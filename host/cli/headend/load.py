"""`dianka headend load`: peaks of districts and phases, and groups that are shed in turn."""

import time
from datetime import datetime
from typing import Any

import click

from host.cli import shown
from host.cli.headend.account import printable
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.headend.losses import percent
from host.cli.options import DAY_BEGIN, database_option, json_option
from host.cli.output import Column, echo, print_json
from host.headend import load, shedding
from host.headend.shedding import Saved, Wanted
from host.units import DAY_S, kwh, to_datetime, to_t2000, unix_of_t2000
from host.words import _

_TIMES = click.DateTime(("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"))
_NUMBER = click.argument("number", type=click.IntRange(1, 1 << 40))
_PLACE = click.argument("district", callback=printable(32))
_by = click.option("--by", required=True, callback=printable(64), help="Name of who does it.")


@shown.group(
    epilog="""\b
Examples:
  dianka headend load peaks --day 2026-07-20 --db village.db
  dianka headend load groups D-1 --count 5 --by Li --db village.db
  dianka headend load shed D-1 --each 2 --minutes 60 --notice "2026-07-19 09:00" \\
  --reason "the feeder is full" --by Li --db village.db
  dianka headend load report 1 --db village.db
""",
)
def load_group() -> None:
    """Tell peaks, overload and unbalance; shed groups of households in turn."""


@load_group.command(
    "peaks",
    epilog="""\b
Example:
  dianka headend load peaks --day 2026-07-20 --db village.db
""",
)
@click.option("--day", "day_t2000", required=True, type=DAY_BEGIN, help="Of this day.")
@click.option("--district", default="", callback=printable(32), help="Of this district alone.")
@database_option()
@lists
def peaks_command(day_t2000: int, district: str, db: str, as_json: bool, as_csv: bool) -> None:
    """Print the highest load of each district and phase, the most loaded transformer first.

    Power is the mean of a quarter of an hour, between two readings of the same register.
    """
    with opened(db, read_only=True) as store:
        rows = [told_peak(one) for one in load.peaks(store, day_t2000 // DAY_S, district)]
    if not (as_json or as_csv):
        rows = [shown_peak(row) for row in rows]
    columns = (
        (Column(_("district")), "name"),
        (Column(_("peak, kW"), right=True), "peak"),
        (Column(_("at")), "at"),
        (Column("A", right=True), "A"),
        (Column("B", right=True), "B"),
        (Column("C", right=True), "C"),
        (Column(_("of the transformer, %"), right=True), "loading"),
        (Column(_("unbalance, %"), right=True), "unbalance"),
        (Column(_("households seen"), right=True), "seen"),
        (Column(_("judged")), "judged"),
    )
    print_list("peaks", rows, columns, as_json, as_csv, _("no district is known"))


def told_peak(one: load.Peak) -> dict[str, Any]:
    """Return a peak as JSON has it."""
    return {
        "district": one.district,
        "name": one.name,
        "peak_w": one.peak_w if one.peak_w >= 0 else None,
        "at": str(to_datetime(one.at_t2000)),
        "by_supply_meter": one.by_supply,
        **{
            f"{phase}_w": power if power >= 0 else None
            for phase, (power, _at) in one.phases.items()
        },
        "rated_kva": one.rated_kva or None,
        "loading_e4": one.loading_e4,
        "unbalance_e4": one.unbalance_e4,
        "heavy": one.is_heavy,
        "overload": one.is_overload,
        "unbalanced": one.is_unbalanced,
        "seen": one.seen,
        "members": one.members,
    }


def shown_peak(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the table."""
    words = [_("overload")] if row["overload"] else [_("nearly full")] if row["heavy"] else []
    words += [_("unbalanced")] if row["unbalanced"] else []
    return {
        "name": row["name"],
        "peak": kilowatts(row["peak_w"]),
        "at": row["at"][11:16] if row["peak_w"] is not None else "-",
        **{phase: kilowatts(row[f"{phase}_w"]) for phase in load.PHASES},
        "loading": percent(row["loading_e4"]),
        "unbalance": percent(row["unbalance_e4"]),
        "seen": f"{row['seen']}/{row['members']}",
        "judged": ", ".join(words),
    }


def kilowatts(power_w: int | None) -> str:
    """Return W as kW with two decimals, "-" where they are not known."""
    return "-" if power_w is None else kwh(power_w)


@load_group.command(
    "groups",
    epilog="""\b
Examples:
  dianka headend load groups D-1 --count 5 --by Li --db village.db
  dianka headend load groups D-1 --db village.db
""",
)
@_PLACE
@click.option(
    "--count",
    type=click.IntRange(2, shedding.GROUPS_LIMIT),
    help="Divide the households anew into so many groups of like load; left out: list them.",
)
@click.option("--by", default="", callback=printable(64), help="Name of who does it.")
@database_option()
@lists
def groups_command(
    district: str, count: int | None, by: str, db: str, as_json: bool, as_csv: bool
) -> None:
    """List the groups of a district, or divide its households into groups.

    Each phase is divided by itself. Protected households are in groups as others, and are left
    alone when theirs is shed.
    """
    with opened(db, read_only=count is None) as store:
        if count is not None:
            shedding.divide_load(store, district, count, by)
        rows = shedding.groups(store, district)
    columns = (
        (Column(_("district")), "district"),
        (Column(_("group"), right=True), "group"),
        (Column(_("households"), right=True), "households"),
        (Column(_("protected"), right=True), "guarded"),
        (Column(_("minutes shed"), right=True), "minutes"),
    )
    empty = _("there are no groups: give --count")
    print_list("groups", rows, columns, as_json, as_csv, empty)


def _group_numbers(
    _context: click.Context, _parameter: click.Parameter, text: str
) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")] if text else []
    if not all(word.isascii() and word.isdecimal() and len(word) < 4 for word in words):
        raise click.BadParameter(_("write the numbers of groups, as 1,3"))
    return tuple(dict.fromkeys(map(int, words)))


@load_group.command(
    "shed",
    epilog="""\b
Examples:
  dianka headend load shed D-1 --each 2 --minutes 60 --notice "2026-07-19 09:00" \\
  --reason "the feeder is full" --by Li --db village.db
  dianka headend load shed D-1 --each 1 --turns 4 --since "2026-07-20 18:00" \\
  --reason "the feeder is full" --by Li --db village.db
\b
The serving head-end cuts when it begins and restores at its end. A cut that does not reach its
concentrator before the end never takes effect. Protected households, those without a notice and
those without supply are left alone. Hours in which nobody is cut hold at the concentrator.
""",
)
@_PLACE
@click.option(
    "--groups", "chosen", default="", callback=_group_numbers, help="Which groups, as 1,3."
)
@click.option(
    "--each",
    type=click.IntRange(1, shedding.GROUPS_LIMIT),
    default=1,
    show_default=True,
    help="Without --groups: so many in a turn, those that gave least so far.",
)
@click.option("--since", type=_TIMES, help="When it begins, station's clock.  [default: now]")
@click.option(
    "--minutes", type=click.IntRange(15, 360), default=60, show_default=True, help="Of a turn."
)
@click.option(
    "--turns",
    type=click.IntRange(1, 24),
    default=1,
    show_default=True,
    help="Turns one behind the other, each with the groups that are next.",
)
@click.option(
    "--notice",
    type=_TIMES,
    help="When the households were told of it; left out, the newest notice before a cut of each "
    "counts.",
)
@click.option("--reason", required=True, callback=printable(200), help="Why, for an auditor.")
@_by
@database_option()
@json_option
def shed_command(
    district: str,
    chosen: tuple[int, ...],
    each: int,
    since: datetime | None,
    minutes: int,
    turns: int,
    notice: datetime | None,
    reason: str,
    by: str,
    db: str,
    as_json: bool,
) -> None:
    """Shed groups of a district for some time, and restore them."""
    with opened(db) as store:
        begins = int(time.time())
        if since is not None:
            begins = unix_of_t2000(to_t2000(since), store.zone())
        told = 0 if notice is None else to_t2000(notice)
        wanted = Wanted(district, chosen, each, begins, minutes * 60, turns, told, reason)
        numbers = shedding.plan_shedding(store, wanted, by)
        planned = {one["number"]: one for one in shedding.sheddings(store, len(numbers) + 1000)}
        rows = localised([planned[number] for number in numbers], store.zone())
    if as_json:
        print_json({"sheddings": rows})
        return
    for row in rows:
        echo(
            _("shedding {number}: groups {groups} of {district} from {since} to {until}").format(
                number=row["number"],
                groups=row["groups"],
                district=row["district"],
                since=row["since_at"],
                until=row["until_at"],
            )
        )


@load_group.command(
    "end",
    epilog="""\b
Example:
  dianka headend load end 1 --by Li --db village.db
""",
)
@_NUMBER
@_by
@database_option()
def end_command(number: int, by: str, db: str) -> None:
    """Restore the households of a shedding now, or call it off before it begins."""
    with opened(db) as store:
        state = shedding.end_shedding(store, number, by)
    echo(_("shedding {number}: {state}").format(number=number, state=_(state)))


@load_group.command(
    "list",
    epilog="""\b
Example:
  dianka headend load list --db village.db
""",
)
@database_option()
@lists
def list_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List sheddings, the newest first, with how many were cut and restored."""
    with opened(db, read_only=True) as store:
        rows = localised(shedding.sheddings(store), store.zone())
    for row in rows:
        row["left_alone"] = left_alone(row["left_alone"]) if not as_json else row["left_alone"]
    columns = (
        (Column(_("number"), right=True), "number"),
        (Column(_("district")), "district"),
        (Column(_("groups")), "groups"),
        (Column(_("from")), "since_at"),
        (Column(_("to")), "until_at"),
        (Column(_("state")), "state"),
        (Column(_("cut"), right=True), "cut"),
        (Column(_("restored"), right=True), "restore"),
        (Column(_("left alone"), wraps=True), "left_alone"),
        (Column(_("reason"), wraps=True), "reason"),
    )
    print_list("sheddings", rows, columns, as_json, as_csv, _("there is none"))


def left_alone(counts: dict[str, int]) -> str:
    """Return in words how many households kept their supply, and why."""
    return ", ".join(f"{_(why)}: {count}" for why, count in counts.items())


@load_group.command(
    "report",
    epilog="""\b
Example:
  dianka headend load report 1 --db village.db
\b
What would have been used is the mean of the same hours of the four days before.
""",
)
@_NUMBER
@database_option()
@json_option
def report_command(number: int, db: str, as_json: bool) -> None:
    """Tell what a shedding saved: the district's peak, and the energy."""
    with opened(db, read_only=True) as store:
        found = shedding.saved(store, number)
    if as_json:
        print_json({name: getattr(found, name) for name in Saved.__slots__})
        return
    for line in saved_lines(found):
        echo(line)


def saved_lines(found: Saved) -> list[str]:
    """Return what was saved in sentences."""
    if found.peak_w < 0:
        return [_("no reading of these hours is here yet")]
    return [
        _(
            "peak of the span: {peak} kW, without the shedding {without} kW: {lowered} kW less"
        ).format(
            peak=kwh(found.peak_w), without=kwh(found.without_w), lowered=kwh(found.lowered_w)
        ),
        _("not used: {saved} kWh; in the hour behind it {after} kWh more than usual").format(
            saved=kwh(found.saved_wh), after=kwh(found.after_wh)
        ),
        _("{cut} households were cut, of {seen} the saving is known").format(
            cut=found.cut, seen=found.seen
        ),
    ]
