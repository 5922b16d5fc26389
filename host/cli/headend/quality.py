"""`dianka headend quality`, `voltage`, `outages`: what readings are worth, and the supply."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import DATE
from host.cli.options import Command, database_option, json_option
from host.cli.output import Column, echo, print_json, print_table
from host.headend import noting, quality_report
from host.headend import outages as outages_of
from host.headend import voltage as voltage_of
from host.headend.pages import KeptProcess
from host.headend.quality import RULES
from host.headend.store import Store
from host.units import DAY_S, EPOCH, kwh, to_datetime
from host.words import _, marked

_LISTED = 100


def _month(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").date()
    except ValueError as error:
        raise click.BadParameter(_("{text}: give a month as YYYY-MM").format(text=text)) from error


_MONTH = click.types.FuncParamType(_month)
_MONTH.name = "month"


def of_days(command: Command) -> Command:
    """Give a command `--day`, `--month`, `--district`, `--db` and `--json`."""
    options = (
        database_option(),
        click.option("--day", "on", type=DATE, help="Which day.  [default: yesterday]"),
        click.option("--month", type=_MONTH, help="Each day of this month."),
        click.option("--district", help="Only this district."),
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


async def begin_routine(database: str, hour: int) -> None:
    """Start the process of what comes back each hour and morning. ClickException: it cannot."""
    try:
        await KeptProcess("host.headend.routine", [database, str(hour)], "ready").start()
    except OSError as error:
        raise click.ClickException(str(error.strerror)) from error
    text = _("meters are asked each hour, from {hour}:00 on for what is missing of days before")
    echo(text.format(hour=hour))


def days_of(store: Store, on: date | None, month: date | None) -> list[int]:
    """Return the days that are asked for, counted since 2000, up to yesterday."""
    if on is not None and month is not None:
        raise click.UsageError(_("give --day or --month, not both"))
    yesterday = datetime.now(store.zone()).date() - timedelta(days=1)
    if month is None:
        return [((on or yesterday) - EPOCH.date()).days]
    after = (month + timedelta(days=31)).replace(day=1)
    last = min(after - timedelta(days=1), yesterday)
    return [*range((month - EPOCH.date()).days, (last - EPOCH.date()).days + 1)]


def percent(rate_e4: int | None) -> str:
    """Return hundredths of a percent as people write them."""
    return "–" if rate_e4 is None else f"{rate_e4 // 100}.{rate_e4 % 100:02d} %"


def table(
    title: str, columns: Sequence[tuple[Column, str]], rows: Sequence[dict[str, Any]]
) -> None:
    """Print at most the first rows of a list, and how many more there are."""
    if not rows:
        return
    named = [replace(column, name=_(column.name)) for column, _key in columns]
    cells = [[str(row[key]) for _column, key in columns] for row in rows[:_LISTED]]
    print_table(named, cells, title=title)
    if len(rows) > _LISTED:
        echo(_("{count} more: --json has all").format(count=len(rows) - _LISTED))


_SUCCESS = (
    (Column(marked("meters"), right=True), "meters"),
    (Column(marked("read"), right=True), "there"),
    (Column(marked("read in all"), right=True), "rate"),
    (Column(marked("day 1"), right=True), "day1"),
    (Column(marked("day 2"), right=True), "day2"),
    (Column(marked("day 3"), right=True), "day3"),
    (Column(marked("missing"), right=True), "missing"),
    (Column(marked("not registered"), right=True), "unregistered"),
)
_MISSING = (
    (Column(marked("account")), "account"),
    (Column(marked("meter")), "meter"),
    (Column(marked("district")), "district"),
    (Column(marked("concentrator"), right=True), "concentrator"),
    (Column(marked("why"), wraps=True), "why"),
    (Column(marked("estimated, kWh"), right=True), "total"),
    (Column(marked("how"), wraps=True), "how"),
)
_SUSPECTS = (
    (Column(marked("account")), "account"),
    (Column(marked("meter")), "meter"),
    (Column(marked("district")), "district"),
    (Column(marked("kWh of the day"), right=True), "use"),
    (Column(marked("state")), "state"),
    (Column(marked("why"), wraps=True), "why"),
    (Column(marked("record")), "record"),
)


def _success_row(row: dict[str, Any]) -> dict[str, Any]:
    days = {f"day{n}": percent(row[f"day{n}_e4"]) for n in (1, 2, 3)}
    return {**row, **days, "rate": percent(row["rate_e4"]), "name": row["name"] or "–"}


@shown.command(
    epilog="""\b
Examples:
  dianka headend quality --db village.db
  dianka headend quality --db village.db --day 2026-07-20 --district D4 --json
  dianka headend quality --db village.db --month 2026-07
  dianka headend quality --db village.db --note --by Li
\b
Day D is read when the midnight at its end is here; on day 1 when it came within 24 hours. A rate
of 100 % is said of all meters only. Estimates are shown and stored nowhere: no money is made of
them.
"""
)
@of_days
@click.option("--note", "is_noting", is_flag=True, help="Open findings of the day instead.")
@click.option("--by", default="", help="With --note: who has it done.")
def quality(
    db: str,
    on: date | None,
    month: date | None,
    district: str | None,
    as_json: bool,
    is_noting: bool,
    by: str,
) -> None:
    """Tell what was read, what is missing and why, and which readings are suspect.

    With --note what is suspect, low voltages and outages become findings, each once: give it every
    morning.
    """
    if is_noting:
        _note(db, on, by, as_json)
        return
    with opened(db, read_only=True) as store:
        days = days_of(store, on, month)
        if month is not None:
            if district is not None:
                raise click.UsageError(_("--district goes with --day"))
            rows = quality_report.of_month(store, days)
            if as_json:
                print_json({"quality": rows})
            elif rows:
                columns = ((Column(marked("day")), "day"), *_SUCCESS)
                table(_("Read success"), columns, [_success_row(row) for row in rows])
            else:
                echo(_("no day of this month is over yet"))
            return
        found = quality_report.of_day(store, days[0], district)
    if as_json:
        print_json({"quality": found})
        return
    for by, column in (("station", "day"), ("district", "district"), ("concentrator", "number")):
        rows = [{**_success_row(row), "day": found["day"]} for row in found[by]]
        key = "day" if by == "station" else "name"
        heads = {"day": marked("day"), "district": marked("district")}
        name = heads.get(column, marked("concentrator"))
        table(_("Read success"), ((Column(name), key), *_SUCCESS), rows)
    _print_lists(found)


def _note(db: str, on: date | None, by: str, as_json: bool) -> None:
    with opened(db) as store:
        (day,) = days_of(store, on, None)
        count = noting.note_day(store, day, by)
    if as_json:
        print_json({"findings": count})
    else:
        echo(_("{count} new findings: `dianka headend findings` lists them").format(count=count))


def _print_lists(found: dict[str, Any]) -> None:
    for why, count in found["reasons"].items():
        echo(_("{count} not read: {why}").format(count=count, why=_(why)))
    rows = [
        {
            **row,
            "why": _(row["why"]),
            "total": "–" if row["total_wh"] is None else kwh(row["total_wh"], 2),
            "how": _(row["how"]) if row["how"] else "–",
        }
        for row in found["missing"]
    ]
    table(_("Not read"), _MISSING, rows)
    rows = [
        {
            **row,
            "use": "–" if row["use_wh"] is None else kwh(row["use_wh"], 2),
            "state": _(row["state"]),
            "why": "; ".join(_(RULES[rule]) for rule in row["rules"]),
            "record": f"{row['concentrator']}/{row['seq']}" if row["seq"] else "–",
        }
        for row in found["suspects"]
    ]
    table(_("Suspect, or explained"), _SUSPECTS, rows)
    if not rows and not found["missing"]:
        echo(_("every meter is read, and no rule says anything"), color="green")


# --- voltage ------------------------------------------------------------------------------------

_RATES = (
    (Column(marked("meters"), right=True), "meters"),
    (Column(marked("samples"), right=True), "samples"),
    (Column(marked("qualified"), right=True), "rate"),
    (Column(marked("too low"), right=True), "low"),
    (Column(marked("too high"), right=True), "high"),
    (Column(marked("lowest, V"), right=True), "lowest"),
    (Column(marked("highest, V"), right=True), "highest"),
)
_LOW = (
    (Column(marked("account")), "account"),
    (Column(marked("district")), "district"),
    (Column(marked("lowest, V"), right=True), "lowest"),
    (Column(marked("at")), "at"),
    (Column(marked("load, kW"), right=True), "load"),
    (Column(marked("too low"), right=True), "low"),
    (Column(marked("samples"), right=True), "samples"),
    (Column(marked("hours"), wraps=True), "hours"),
)
_COUNTED = (
    (Column(marked("account")), "account"),
    (Column(marked("district")), "district"),
    (Column(marked("hours counted"), right=True), "counted"),
    (Column(marked("qualified"), right=True), "rate"),
    (Column(marked("minutes too low"), right=True), "low_minutes"),
    (Column(marked("minutes too high"), right=True), "high_minutes"),
)


def volts(value_dv: int | None) -> str:
    """Return tenths of a volt as people write them."""
    return "–" if value_dv is None else f"{value_dv // 10}.{value_dv % 10}"


def _rate_row(row: dict[str, Any]) -> dict[str, Any]:
    lowest, highest = volts(row["lowest_dv"]), volts(row["highest_dv"])
    rate = percent(row["rate_e4"])
    return {**row, "rate": rate, "lowest": lowest, "highest": highest, "name": row["name"] or "–"}


@shown.command(
    epilog="""\b
Examples:
  dianka headend voltage --db village.db
  dianka headend voltage --db village.db --day 2026-07-20 --district D4 --json
  dianka headend voltage --db village.db --month 2026-07
\b
Qualified is 198.0 to 235.4 V, of each phase that is there. `job voltage` has the samples taken.
What meters count minute by minute is that of the whole month.
"""
)
@of_days
def voltage(
    db: str, on: date | None, month: date | None, district: str | None, as_json: bool
) -> None:
    """Tell how much of the voltage is qualified: by district and hour, and who has too little."""
    with opened(db, read_only=True) as store:
        days = days_of(store, on, month)
        if not days:
            echo(_("no day of this month is over yet"))
            return
        found = voltage_of.report(store, days, district)
    if as_json:
        print_json({"voltage": found})
        return
    for head, rows in (
        (marked("station"), [found["station"]]),
        (marked("district"), found["districts"]),
        (marked("hour"), found["hours"]),
    ):
        table(_("Voltage"), ((Column(head), "name"), *_RATES), [_rate_row(row) for row in rows])
    rows = [
        {
            **row,
            "lowest": volts(row["lowest_dv"]),
            "at": str(to_datetime(row["t2000"])),
            "load": "–" if row["load_w"] is None else kwh(row["load_w"], 2),
            "hours": " ".join(f"{hour:02d}" for hour in row["hours"]),
        }
        for row in found["low"]
    ]
    table(_("Low voltage"), _LOW, rows)
    rows = [
        {**row, "counted": row["minutes"] // 60, "rate": percent(row["rate_e4"])}
        for row in found["counted"]
    ]
    table(_("Counted by meters in the month"), _COUNTED, rows)
    if not found["station"]["samples"]:
        echo(_("no voltage was sampled: `dianka headend job voltage` asks for them"))


# --- outages ------------------------------------------------------------------------------------

_OUTAGES = (
    (Column(marked("begin")), "begin"),
    (Column(marked("end")), "end"),
    (Column(marked("minutes"), right=True), "minutes"),
    (Column(marked("district")), "district"),
    (Column(marked("phase")), "phase"),
    (Column(marked("concentrator"), right=True), "concentrator"),
    (Column(marked("households"), right=True), "households"),
    (Column(marked("of"), right=True), "of"),
    (Column(marked("how sure")), "sure"),
    (Column(marked("what tells of it"), wraps=True), "how"),
)


@shown.command(
    epilog="""\b
Examples:
  dianka headend outages --db village.db
  dianka headend outages --db village.db --month 2026-07 --json
"""
)
@of_days
def outages(
    db: str, on: date | None, month: date | None, district: str | None, as_json: bool
) -> None:
    """List outages: from when to when, how many households of which district, and how sure."""
    with opened(db, read_only=True) as store:
        days = days_of(store, on, month)
        spans = [(days[0] * DAY_S, (days[-1] + 1) * DAY_S)] if days else []
        found = [
            one.told() for span in spans for one in outages_of.outages(store, *span, district)
        ]
    if as_json:
        print_json({"outages": found})
        return
    rows = [
        {
            **row,
            "begin": str(to_datetime(row["begin_t2000"])),
            "end": "–" if row["end_t2000"] is None else str(to_datetime(row["end_t2000"])),
            "minutes": "–" if row["minutes"] is None else row["minutes"],
            "sure": _(row["sure"]),
            "how": _(row["how"]),
        }
        for row in found
    ]
    table(_("Outages"), _OUTAGES, rows)
    if not rows:
        echo(_("no outage is known"))
