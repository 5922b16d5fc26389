"""`dianka bill`: what kilowatt-hours cost under a tariff file, by the device's own arithmetic."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import click

from host.billing.meaning import meaning, plain
from host.billing.pricing import Calendar
from host.billing.profile import Profile, ProfileError
from host.cli import shown
from host.cli.options import FILE, json_option
from host.cli.output import Column, echo, print_json, print_table
from host.device.bill import (
    BillError,
    Cell,
    DeviceBill,
    cells_of,
    settled,
    size_on_device,
)
from host.device.year import Year, price_year
from host.frames.tariff import load
from host.frames.tariff_terms import TariffError, TariffFile, parse_kwh
from host.units import yuan
from host.words import _, language_spoken

# Any day will do where prices are the same all year.
_ANY_DAY = date(2026, 1, 15)
_BAR = 40


class _BillGroup(shown.Group):
    """Commands, and without the name of one the pricing of steps."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["price", *args]
        return super().parse_args(ctx, args)


@shown.group(
    cls=_BillGroup,
    epilog="""\b
Examples:
  dianka bill tariffs/zhejiang-tou.json --used-before 2730 peak=50 valley=40
  dianka bill tariffs/guangzhou.json --on 2026-07-15 --household large 700 --json
  dianka bill check tariffs/shandong.json
  dianka bill compare tariffs/*.json --profile tariffs/profiles/family.toml
""",
)
def command() -> None:
    """Price kilowatt-hours under a tariff file, exactly: dianka bill TARIFF STEP..."""


@command.command(
    "price",
    epilog="""\b
A STEP is KWH, or RATE=KWH; steps are priced in the order given.
\b
Examples:
  dianka bill tariffs/zhejiang-tou.json --used-before 2730 peak=50 valley=40
  dianka bill tariffs/shandong.json 5000 --json
""",
)
@click.argument("path", metavar="TARIFF", type=FILE)
@click.argument("steps", metavar="STEP...", nargs=-1, required=True)
@click.option(
    "--used-before",
    metavar="KWH",
    default="0",
    show_default=True,
    help="Used before in the tier period; below 0: paid for before.",
)
@click.option("--household", metavar="KIND", help="A kind of household named in the tariff.")
@click.option("--on", "day", metavar="YYYY-MM-DD", help="The day, where seasons differ.")
@click.option("--opened", metavar="YYYY-MM-DD", help="The account was opened that day.")
@click.option("--moved-in", metavar="YYYY-MM-DD", help="The household moved in that day.")
@click.option("--changed", metavar="YYYY-MM-DD", help="It was --household-before until that day.")
@click.option(
    "--household-before", metavar="KIND", help="The kind before --changed, else the ordinary one."
)
@json_option
def price(
    path: Path,
    steps: tuple[str, ...],
    used_before: str,
    household: str | None,
    day: str | None,
    opened: str | None,
    moved_in: str | None,
    changed: str | None,
    household_before: str | None,
    as_json: bool,
) -> None:
    """Price STEPs under TARIFF, exactly; only the last figure is rounded, half up to the fen."""
    with _clear_errors():
        tariff = load(path)
        sign, paid = used_before.startswith("-"), used_before.removeprefix("-")
        used_wh = _parse_wh(paid, "--used-before")
        parsed = [_parse_step(tariff, step) for step in steps]
        if sign:
            parsed = _after(used_wh, parsed)
            used_wh = 0
        if household_before is not None and changed is None:
            raise TariffError(
                _("--household-before: say since when it is another, with --changed")
            )
        kinds = (_household(tariff, household_before), _household(tariff, household))
        days = [_a_day(*one) for one in (("--opened", opened), ("--moved-in", moved_in))]
        bill = _bill_of(tariff, kinds, days[0], days[1], _a_day("--changed", changed), day)
        bill.ledger.used_wh[0] = bill.other.used_wh = used_wh
        lines = [line for rate, wh in parsed for line in bill.use(rate, wh)]
        cells = cells_of(tariff, lines)
        if sum((cell.yuan for cell in cells), Decimal(0)) != bill.exact_yuan:
            raise BillError(
                _("the lines do not add up to {exact_yuan} yuan").format(
                    exact_yuan=plain(bill.exact_yuan)
                )
            )
    if as_json:
        print_json(_bill_fields(tariff, bill.exact_yuan, cells))
    else:
        _print_bill(tariff, bill.exact_yuan, cells)


def _bill_of(
    tariff: TariffFile,
    kinds: tuple[int, int],
    opened: date | None,
    moved_in: date | None,
    changed: date | None,
    day: str | None,
) -> DeviceBill:
    """Return the account on the day of the bill, after what happened before."""
    events = sorted(one for one in (opened, moved_in, changed) if one)
    on = _day(tariff, day, events[-1] if events else _ANY_DAY)
    if events and events[-1] > on:
        raise TariffError(
            _("--on {on}: before {event}, when something happened").format(on=on, event=events[-1])
        )
    if opened and events[0] != opened:
        raise TariffError(
            _("--opened {opened}: after {event}, when something happened").format(
                opened=opened, event=events[0]
            )
        )
    first = datetime.combine((events or [on])[0], time(12))
    kind = kinds[0] if changed else kinds[1]
    bill = DeviceBill(tariff, kind, first) if opened else settled(tariff, kind, first)
    for event in events:
        if event != opened:
            bill.go_to(datetime.combine(event, time(12)), 0)
        if event == moved_in:
            bill.move_in()
        if event == changed:
            bill.change_household(kinds[1])
    bill.go_to(datetime.combine(on, time(12)), 0)
    return bill


def _bill_fields(tariff: TariffFile, exact_yuan: Decimal, cells: list[Cell]) -> dict[str, object]:
    fields: dict[str, object] = {
        "tariff": tariff.name,
        "exact_yuan": plain(exact_yuan),
        "yuan": rounded(exact_yuan),
        "kwh": plain(sum((cell.kwh for cell in cells), Decimal(0))),
        "cells": [_cell_fields(cell) for cell in cells],
    }
    if any(cell.service for cell in cells):
        service_yuan = sum((cell.service * cell.kwh for cell in cells), Decimal(0))
        fields["energy_yuan"] = plain(exact_yuan - service_yuan)
        fields["service_yuan"] = plain(service_yuan)
    return fields


def _cell_fields(cell: Cell) -> dict[str, object]:
    fields: dict[str, object] = {
        "tier": cell.tier,
        "rate": cell.rate,
        "kwh": plain(cell.kwh),
        "price": plain(cell.price),
        "yuan": plain(cell.yuan),
    }
    if cell.service:
        fields["service_price"] = plain(cell.service)
        fields["service_yuan"] = plain(cell.service * cell.kwh)
    return fields


def _print_bill(tariff: TariffFile, exact_yuan: Decimal, cells: list[Cell]) -> None:
    serves = any(cell.service for cell in cells)
    names = (
        _("kWh"),
        _("yuan/kWh"),
        _("yuan"),
        *((_("of it energy"), _("service fee")) if serves else ()),
    )
    rows = []
    for cell in cells:
        numbers = [cell.kwh, cell.price, cell.yuan]
        if serves:
            service_yuan = cell.service * cell.kwh
            numbers += [cell.yuan - service_yuan, service_yuan]
        tier = str(cell.tier) if cell.tier else _("free")
        rows.append((tier, cell.rate, *(plain(number) for number in numbers)))
    figures = (Column(name, right=True) for name in names)
    print_table((Column(_("tier")), Column(_("rate")), *figures), rows, title=tariff.name)
    echo(
        _("{exact_yuan} yuan, rounded {rounded}").format(
            exact_yuan=plain(exact_yuan), rounded=rounded(exact_yuan)
        )
    )
    if serves:
        service_yuan = sum((cell.service * cell.kwh for cell in cells), Decimal(0))
        echo(
            _("energy {energy_yuan}, service fee {service_yuan} yuan").format(
                energy_yuan=plain(exact_yuan - service_yuan), service_yuan=plain(service_yuan)
            )
        )


@command.command(
    epilog="""\b
Example:
  dianka bill check tariffs/*.json
"""
)
@click.argument(
    "paths",
    metavar="TARIFF...",
    nargs=-1,
    required=True,
    type=FILE,
)
@click.option("--on", "day", metavar="YYYY-MM-DD", help="The day of today, for holidays.")
@json_option
def check(paths: tuple[Path, ...], day: str | None, as_json: bool) -> None:
    """Say what tariff files mean, in Chinese and English, and what should be looked at."""
    with _clear_errors():
        today = _a_day("--on", day) or date.today()
        for path in paths:
            tariff = load(path)
            size = size_on_device(tariff)
            told = meaning(tariff, today)
            if as_json:
                print_json(
                    {
                        "file": str(path),
                        "zh": told.zh,
                        "en": told.en,
                        "warnings": told.warnings,
                        "image_bytes": size,
                    }
                )
                continue
            echo(told.zh)
            if language_spoken() != "zh":
                echo(told.en)
            for warning in told.warnings:
                echo(_("warning: {path}: {warning}").format(path=path, warning=warning), err=True)


@command.command(
    epilog="""\b
A profile says how much a household uses in each month, and when in the day:
  name = "family of three"
  year = 2026
  month_kwh = ["210", "190", "160", ...]        twelve
  hour_weights = [3, 2, 2, 2, 2, 3, 6, 9, ...]  twenty-four
\b
Example:
  dianka bill compare tariffs/*.json --profile tariffs/profiles/family.toml --plot year.png
"""
)
@click.argument(
    "paths",
    metavar="TARIFF...",
    nargs=-1,
    required=True,
    type=FILE,
)
@click.option(
    "--profile",
    "profile_path",
    metavar="FILE",
    required=True,
    type=FILE,
    help="The household's year (TOML).",
)
@click.option("--household", metavar="KIND", help="Kind of household, where a tariff has it.")
@click.option("--plot", metavar="PNG", type=click.Path(path_type=Path), help="Draw it as well.")
@json_option
def compare(
    paths: tuple[Path, ...],
    profile_path: Path,
    household: str | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show a household's year, hour by hour, under several tariffs."""
    years = []
    with _clear_errors():
        profile = Profile.load(profile_path)
        for path in paths:
            tariff = load(path)
            known = household in tariff.household_names
            kind = tariff.household_names.index(household) if household and known else 0
            years.append(price_year(tariff, kind, profile))
    years.sort(key=lambda year: year.exact_yuan)
    if as_json:
        for year in years:
            print_json(_year_fields(year))
    else:
        _print_years(profile, years)
    if plot:
        with _clear_errors():
            _draw(profile, years, plot)


def _year_fields(year: Year) -> dict[str, object]:
    return {
        "tariff": year.tariff.name,
        "exact_yuan": plain(year.exact_yuan),
        "yuan": rounded(year.exact_yuan),
        "tier_kwh": [plain(kwh) for kwh in year.tier_kwh],
        "rate_kwh": {name: plain(kwh) for name, kwh in year.rate_kwh.items()},
        "month_yuan": [plain(yuan) for yuan in year.month_yuan],
    }


def _print_years(profile: Profile, years: list[Year]) -> None:
    names = (_("yuan"), _("yuan/kWh"), _("kWh by tier"), _("kWh by rate"))
    figures = (Column(name, right=True) for name in names)
    rows = []
    dearest = max((year.exact_yuan for year in years), default=Decimal(0)) or Decimal(1)
    for year in years:
        mean = (year.exact_yuan / profile.total_kwh).quantize(Decimal("0.0001"))
        tiers = " ".join(f"{kwh:.0f}" for kwh in year.tier_kwh)
        rates = " ".join(f"{name} {kwh:.0f}" for name, kwh in year.rate_kwh.items())
        bar = "█" * int(year.exact_yuan * _BAR / dearest)
        rows.append((year.tariff.name, rounded(year.exact_yuan), str(mean), tiers, rates, bar))
    title = _("{name}: {total_kwh} kWh in {year}").format(
        name=profile.name, total_kwh=plain(profile.total_kwh), year=profile.year
    )
    print_table((Column(_("tariff"), wraps=True), *figures, Column("")), rows, title=title)


def _draw(profile: Profile, years: list[Year], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for year in years:
        spent = [float(sum(year.month_yuan[: month + 1])) for month in range(12)]
        # The fonts that come with matplotlib have no Chinese.
        label = re.sub(r"[^\x20-\x7e]+", "", year.tariff.name).strip(" .") or "tariff"
        axes.plot(range(1, 13), spent, marker="o", markersize=3, label=label)
    axes.set_xticks(range(1, 13))
    axes.set(xlabel="month", ylabel="yuan since January", title=f"{profile.year}: the same year")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise click.ClickException(
            _("cannot draw to {path}: {error}").format(path=path, error=error)
        ) from error
    finally:
        pyplot.close(figure)
    echo(_("drawn to {path}").format(path=path), err=True)


def _household(tariff: TariffFile, name: str | None) -> int:
    names = tariff.household_names
    if name is None:
        return 0
    if name not in names:
        raise TariffError(
            _("--household {name}: the tariff has {names}").format(
                name=name, names=", ".join(names)
            )
        )
    return names.index(name)


def _day(tariff: TariffFile, text: str | None, otherwise: date) -> date:
    calendar = Calendar(tariff)
    seasons = {
        (season.ladders, season.uncounted) for terms in calendar.sets for season in terms.seasons
    }
    if text is None and len(seasons) > 1:
        raise TariffError(_("prices differ within the year: add --on YYYY-MM-DD"))
    return _a_day("--on", text) or otherwise


def _a_day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise TariffError(
            _("{option} {text}: write a day as YYYY-MM-DD").format(option=option, text=text)
        ) from None
    if not date(2000, 1, 2) <= day < date(2100, 1, 1):
        raise TariffError(
            _("{option} {text}: a day of 2000 to 2099").format(option=option, text=text)
        )
    return day


def _parse_wh(text: str, where: str) -> int:
    try:
        return int(parse_kwh(text) * 1000)
    except ValueError as error:
        raise TariffError(f"{where} {error}") from error


def _parse_step(tariff: TariffFile, step: str) -> tuple[int, int]:
    """Return the rate and Wh of a STEP."""
    name, sign, amount = step.partition("=")
    if not sign:
        if len(tariff.rates) > 1:
            example = f"{tariff.rates[0]}={step}"
            raise TariffError(
                _("STEP {step}: say at which rate, such as {example}").format(
                    step=step, example=example
                )
            )
        return 0, _parse_wh(step, "STEP")
    if name not in tariff.rates:
        raise TariffError(
            _("STEP {step}: the rates are {rates}").format(
                step=step, rates=", ".join(tariff.rates)
            )
        )
    return tariff.rates.index(name), _parse_wh(amount, f"STEP {name}")


def _after(paid_wh: int, steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what is left of the steps once the first `paid_wh` are taken off."""
    left = []
    for rate, wh in steps:
        taken_wh = min(wh, paid_wh)
        paid_wh -= taken_wh
        left.append((rate, wh - taken_wh))
    return left


def rounded(value: Decimal) -> str:
    """Return yuan, half up to the fen: for people, never for the books."""
    return yuan(int((100 * value).to_integral_value(ROUND_HALF_UP)))


@contextmanager
def _clear_errors() -> Iterator[None]:
    """End with one line where the user made a mistake."""
    try:
        yield
    except (TariffError, ProfileError, BillError) as error:
        raise click.ClickException(str(error)) from error
