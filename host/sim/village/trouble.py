"""Where theft, faults and outages are: drawn from the seed, or as the description says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from host.sim.village import kinds
from host.sim.village.plan import ANY, DistrictPlan, FaultPlan, TheftPlan
from host.units import DAY_S, HOUR_S

NO_ACCOUNT = -1
_NEVER = 1 << 30


@dataclass(frozen=True)
class Trouble:
    """A theft or a fault at an account, or at none.

    place       index of the account, NO_ACCOUNT: of the district
    since_day   the first day, counted from the village's first; until_day: the first without it
    percent     of the use that is not counted while it goes on, or as the kind has it
    """

    kind: str
    place: int
    since_day: int
    until_day: int
    percent: int

    @property
    def is_theft(self) -> bool:
        """Return whether somebody steals."""
        return self.kind in kinds.THEFTS

    def lasts(self, day: int) -> bool:
        """Return whether it is there on a day."""
        return self.since_day <= day < self.until_day


@dataclass(frozen=True)
class Outage:
    """A time without supply: of a district, a phase (0..2) or an account; ends are seconds."""

    start_s: int
    end_s: int
    phase: int | None = None
    place: int | None = None


def troubles(plan: DistrictPlan, days: int, taken: Any, random: Any) -> list[Trouble]:
    """Return the thefts and faults of a district; `taken` are accounts that have none of them.

    Several kinds only suit some accounts: a dead phase is one of three.
    """
    found: list[Trouble] = []
    busy = {index for index, is_taken in enumerate(taken) if is_taken}
    accounts = plan.households + plan.shops
    wanted: tuple[tuple[Sequence[TheftPlan | FaultPlan], Any], ...] = (
        (plan.thefts, kinds.THEFTS),
        (plan.faults, kinds.FAULTS),
    )
    for placed, table in wanted:
        names = list(table)
        first = int(random.randint(len(names)))
        # Steps of 5 in 12 kinds and of 2 in 5 come to each of them.
        step = 5 if table is kinds.THEFTS else 2
        for number, told in enumerate(placed):
            drawn = names[(first + step * number) % len(names)]
            one = told.model_copy(update={"kind": drawn}) if told.kind == ANY else told
            place = _place(one, accounts, busy, random)
            least, most = table[one.kind].percent
            since = int(random.randint(days // 6, max(days // 6 + 1, days * 6 // 10)))
            percent = int(random.randint(least, most + 1))
            until = _NEVER
            if one.kind in (kinds.SILENT, kinds.CLOCK_OFF, kinds.DEAD_PHASE):
                until = since + 20 + int(random.randint(40))
            found.append(
                Trouble(
                    one.kind,
                    place,
                    since if one.from_day is None else one.from_day,
                    until if one.until_day is None else one.until_day,
                    percent if one.percent is None else one.percent,
                )
            )
    return found


def _place(one: TheftPlan | FaultPlan, accounts: int, busy: set[int], random: Any) -> int:
    drawn = int(random.randint(accounts))
    if one.kind == kinds.UNREGISTERED:
        return NO_ACCOUNT
    if one.household is not None:
        busy.add(one.household - 1)
        return one.household - 1
    for step in range(accounts):
        place = (drawn + step) % accounts
        if place not in busy:
            busy.add(place)
            return place
    return drawn


def outages(plan: DistrictPlan, days: int, random: Any) -> list[Outage]:
    """Return the outages of a district, by their start."""
    accounts = plan.households + plan.shops
    found = []
    for count, many in (
        (plan.outages, "district"),
        (plan.outages, "phase"),
        (max(1, accounts // 12), "account"),
    ):
        # Drawn for whole years, so that fewer days are the start of more.
        for _number in range(count * -(-days // 365)):
            day, share = int(random.randint(365)), random.random_sample(3)
            phase, place = int(random.randint(3)), int(random.randint(accounts))
            start_s = day * DAY_S + int(share[0] * DAY_S) // 60 * 60
            length_s = int((0.4 + 5 * share[1] ** 2) * HOUR_S) // 60 * 60
            if day < 2 or day >= days - 1:
                continue
            found.append(
                Outage(
                    start_s,
                    start_s + length_s,
                    phase if many == "phase" else None,
                    place if many == "account" else None,
                )
            )
    return sorted(found, key=lambda one: (one.start_s, one.end_s))


def dark_parts(found: list[Outage], day: int, phases: Any, is_three: Any) -> Any:
    """Return the part of each hour of a day in which each account has no supply."""
    dark = np.zeros((len(phases), 24))
    edges = day * DAY_S + np.arange(25) * HOUR_S
    for one in found:
        if one.end_s <= edges[0] or one.start_s >= edges[-1]:
            continue
        part = np.minimum(edges[1:], one.end_s) - np.maximum(edges[:-1], one.start_s)
        part = np.clip(part, 0, HOUR_S) / HOUR_S
        dark[hit(one, phases, is_three)] += part
    return np.minimum(dark, 1.0)


def hit(one: Outage, phases: Any, is_three: Any) -> Any:
    """Return which accounts an outage darkens; a three-phase one goes on with two phases."""
    if one.place is not None:
        return np.arange(len(phases)) == one.place
    if one.phase is not None:
        return (phases == one.phase) & ~is_three
    return np.ones(len(phases), bool)
