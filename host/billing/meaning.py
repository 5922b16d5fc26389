"""What a tariff file means, as a paragraph of Chinese and one of English."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from host.frames.tariff_terms import (
    Household,
    Ladder,
    SeasonTerms,
    SetTerms,
    TariffFile,
    free_settlement,
    sets_of,
)
from host.words import bilingual

# Before the last holiday of a file is nearer than this, the next list should be there.
_HOLIDAYS_AHEAD = timedelta(days=45)
_PERIODS = {"month": ("月", "month"), "year": ("年", "year")}
_WEEKDAYS = {
    "sun": ("日", "Sundays"),
    "mon": ("一", "Mondays"),
    "tue": ("二", "Tuesdays"),
    "wed": ("三", "Wednesdays"),
    "thu": ("四", "Thursdays"),
    "fri": ("五", "Fridays"),
    "sat": ("六", "Saturdays"),
}
_PART = ("自当月起按剩余月数计算阶梯电量", "has the quota of the months left, this one too")
_CHANGES = {
    "this_month": ("自当月起按新类别计算阶梯电量", "counts as its new kind from this month on"),
    "next_month": (
        "自次月起按新类别计算阶梯电量",
        "counts as its new kind from the next month on",
    ),
}
_OUTSIDE = (
    "不计收：基本电费（容量电费、需量电费）和力调电费（功率因数调整电费）；有这些费用的用户须另行结算。",
    "Not charged: capacity fees and demand fees (基本电费) and the power-factor adjustment "
    "(力调电费); who owes them is billed for them elsewhere.",
)


@dataclass(frozen=True)
class Meaning:
    """A paragraph in each language, and what should be looked at."""

    zh: str
    en: str
    warnings: list[str]


def meaning(tariff: TariffFile, today: date) -> Meaning:
    """Say what the file means, and warn of holidays that run out."""
    said: list[tuple[str, str]] = [(f"{tariff.name}。", f"{tariff.name}.")]
    sets = sets_of(tariff)
    for at, terms in enumerate(sets):
        if at:
            since = f"{terms.start:%Y-%m-%d %H:%M}"
            said.append((f"自 {since} 起：", f"From {since} on:"))
        said += _set(tariff, terms, sets[at - 1] if at else None)
    said += _rates(tariff)
    said += [_household(tariff, name, kind) for name, kind in tariff.households.items()]
    said += _part_year(tariff)
    warnings, holidays = _holidays(tariff, today)
    said += [*holidays, _OUTSIDE]
    zh = "".join(one for one, _ in said)
    return Meaning(zh, " ".join(one for _, one in said), warnings)


def plain(value: Decimal) -> str:
    """Return all its digits, without zeros behind them."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _set(tariff: TariffFile, terms: SetTerms, before: SetTerms | None) -> list[tuple[str, str]]:
    """Return what a set says.

    Of periods and standing charges only what the set before does not say is told.
    """
    said = []
    seasons = sorted(terms.seasons, key=lambda one: (one.month, one.day))
    for season in seasons:
        zh, en = _season(tariff, terms, season)
        if len(seasons) > 1:
            begins = f"{season.month:02}-{season.day:02}"
            zh, en = f"每年 {begins} 起，{zh}", f"from {begins} of every year {en}"
        said.append((zh + "。", en[0].upper() + en[1:] + "."))
    settles = (terms.period, terms.settlements)
    if terms.settlements and (before is None or settles != (before.period, before.settlements)):
        zh, en = _PERIODS[terms.period]
        at = [_settlement(row) for row in terms.settlements]
        said.append(
            (
                f"阶梯按{zh}计算，{'、'.join(one for one, _ in at)}清零。",
                f"Tiers begin anew {' and '.join(one for _, one in at)}.",
            )
        )
    if terms.standing_yuan != (before.standing_yuan if before else 0):
        each = plain(terms.standing_yuan)
        said.append((f"每日固定费用 {each} 元。", f"Each day costs {each} yuan besides."))
    if terms.monthly_yuan != (before.monthly_yuan if before else 0):
        each = plain(terms.monthly_yuan)
        zh = f"每月 1 日零时固定费用 {each} 元。"
        said.append((zh, f"Each month costs {each} yuan on its first day."))
    return said


def _settlement(row: tuple[int, int, int]) -> tuple[str, str]:
    month, day, hour = row
    if month:
        return f"每年 {month:02}-{day:02} {hour:02} 时", f"on {month:02}-{day:02} at {hour:02}:00"
    return f"每月 {day} 日 {hour:02} 时", f"on day {day} of every month at {hour:02}:00"


def _season(tariff: TariffFile, terms: SetTerms, season: SeasonTerms) -> tuple[str, str]:
    ladder = season.ladders[0]
    first = 1 if tariff.has_free_tier else 0
    tiers: list[tuple[Decimal | None, Sequence[Decimal]]] = []
    below = Decimal(0)
    for at in range(first, len(ladder.prices)):
        limit = ladder.limits_kwh[at] if at < len(ladder.limits_kwh) else None
        if limit == below and at > first:
            continue
        prices = ladder.prices[at]
        # Later tiers that cost the same are told as one.
        if at > first and prices == ladder.prices[at - 1]:
            tiers.pop()
        tiers.append((limit, prices))
        below = limit if limit is not None else below
    zh = [_tier(tariff, ladder, limit, prices, 0, len(tiers)) for limit, prices in tiers]
    en = [_tier(tariff, ladder, limit, prices, 1, len(tiers)) for limit, prices in tiers]
    beside_zh = beside_en = ""
    if season.uncounted:
        names = ", ".join(tariff.rates[rate] for rate in season.uncounted)
        beside_zh = f"；{names} 时段电量不计入阶梯"
        beside_en = f"; energy at {names} fills no tier"
    if tariff.schedule is not None and len(tariff.schedule.tables) > 1:
        beside_zh += f"（时段表 {season.table}）"
        beside_en += f" (day table {season.table})"
    return "，".join(zh) + beside_zh, "a kilowatt-hour costs " + ", ".join(en) + beside_en


def _tier(
    tariff: TariffFile,
    ladder: Ladder,
    limit: Decimal | None,
    prices: Sequence[Decimal],
    language: int,
    count: int,
) -> str:
    each = []
    for rate, price in enumerate(prices):
        name = f"{tariff.rates[rate]} " if len(prices) > 1 else ""
        text = f"{name}{plain(price)}"
        if ladder.service and ladder.service[rate]:
            energy, service = plain(price - ladder.service[rate]), plain(ladder.service[rate])
            split = ("电费 {} + 服务费 {}", "energy {} + service {}")[language]
            text += f" ({split.format(energy, service)})"
        each.append(text)
    told = ", ".join(each) + (" 元", " yuan")[language]
    if count == 1:
        return f"每千瓦时 {told}" if language == 0 else told
    if limit is None:
        return (f"以上每千瓦时 {told}", f"{told} above that")[language]
    upto = plain(limit)
    return (f"{upto} 千瓦时及以下每千瓦时 {told}", f"{told} up to {upto} kWh")[language]


def _rates(tariff: TariffFile) -> list[tuple[str, str]]:
    schedule = tariff.schedule
    if schedule is None:
        if len(tariff.rates) == 1:
            return []
        return [("分时电量取自电表的费率寄存器。", "The meter's own registers tell the rates.")]
    said = []
    if schedule.in_meter:
        said.append(
            (
                "分时电量取自电表的费率寄存器，时段表须与电表设置一致。",
                "The meter's own registers tell the rates; its day tables must be these.",
            )
        )
    else:
        said.append(
            (
                f"电表只有一个寄存器，由时钟按时段表分出 {len(tariff.rates)} 个费率。",
                f"The meter has one register; the clock tells {len(tariff.rates)} rates by day "
                "tables.",
            )
        )
    for name, slots in schedule.tables.items():
        text = ", ".join(f"{time} {rate}" for time, rate in slots)
        said.append((f"时段表 {name}：{text}。", f"Day table {name}: {text}."))
    if schedule.rest_days:
        zh = "、".join("周" + _WEEKDAYS[day][0] for day in schedule.rest_days)
        en = ", ".join(_WEEKDAYS[day][1] for day in schedule.rest_days)
        said.append((f"休息日：{zh}。", f"Rest days are {en}."))
    return said


def _household(tariff: TariffFile, name: str, kind: Household) -> tuple[str, str]:
    zh, en = [], []
    if kind.tiers is not None:
        zh.append("执行单独的电价")
        en.append("has prices of its own: " + _own(tariff, kind))
        zh[-1] += "：" + _own(tariff, kind)
    if kind.extra_kwh is not None:
        extra = ", ".join(plain(one) for one in kind.extra_kwh)
        zh.append(f"各档上限增加 {extra} 千瓦时")
        en.append(f"has limits higher by {extra} kWh")
    if kind.free_kwh is not None:
        settlement = free_settlement(tariff)
        period = tariff.free_period or tariff.tier_period
        every = _PERIODS.get(period, ("个结算期", "tier period"))
        at = _settlement(settlement) if settlement else ("", "")
        zh.append(f"每{every[0]}免费 {plain(kind.free_kwh)} 千瓦时{at[0] and f'（{at[0]}起）'}")
        begins = f" (beginning {at[1]})" if at[1] else ""
        en.append(f"has {plain(kind.free_kwh)} kWh free each {every[1]}{begins}")
    if not zh:
        return f"住户类别 {name}：与普通住户相同。", f"Household {name} is as the ordinary one."
    return f"住户类别 {name}：{'，'.join(zh)}。", f"Household {name} {', '.join(en)}."


def _own(tariff: TariffFile, kind: Household) -> str:
    told = []
    for tier in kind.tiers or []:
        prices = ", ".join(plain(price) for price in tier.prices)
        upto = f" <= {plain(tier.upto_kwh)} kWh" if tier.upto_kwh is not None else ""
        told.append(f"{prices}{upto}")
    return "; ".join(told)


def _part_year(tariff: TariffFile) -> list[tuple[str, str]]:
    part = tariff.part_year
    said = []
    for rule, zh, en in (
        (part.opened, "年中开户的账户", "An account opened within the year"),
        (part.moved_in, "年中迁入的住户", "A household that moves in within the year"),
    ):
        if rule != "whole":
            said.append((f"{zh}{_PART[0]}。", f"{en} {_PART[1]}."))
    if part.household != "whole":
        zh, en = _CHANGES[part.household]
        said.append((f"年中变更类别的住户{zh}。", f"A household whose kind changes {en}."))
    return said


def _holidays(tariff: TariffFile, today: date) -> tuple[list[str], list[tuple[str, str]]]:
    if tariff.schedule is None or not tariff.schedule.holidays:
        return [], []
    last = max(tariff.schedule.holidays)
    count = len(tariff.schedule.holidays)
    said = [
        (
            f"节假日 {count} 天，最后一天为 {last}。",
            f"It names {count} holidays, the last of them {last}.",
        )
    ]
    if last >= today + _HOLIDAYS_AHEAD:
        return [], said
    when = "ran out" if last < today else "run out"
    english = (
        f"the holidays {when} on {last}; add those that follow to schedule.holidays, "
        "or later days count as ordinary ones"
    )
    return [bilingual(english, f"节假日仅列至 {last}，请在 schedule.holidays 中补充")], said
