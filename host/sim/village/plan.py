"""The description of a village: feeders, their districts, and what is wrong there.

    start: 2026-01-01
    feeders:
      - name: 10 kV East
        districts:
          - name: East 1
            households: 70
            thefts: 3

`thefts` and `faults` are a count, drawn by the seed, or a list that names each.
"""

from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from host.frames.models import misfit_of
from host.sim.village.kinds import FAULTS, THEFTS
from host.texts import NotTextError, read_text
from host.units import to_t2000
from host.words import _, system_reason

ACCOUNTS_LIMIT = 20_000
_EXAMPLE = Path(__file__).with_name("example.yaml")


class VillageError(ValueError):
    """The description cannot be used; the message says where and why."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


ANY = "any"


def _of(kinds: tuple[str, ...]) -> pydantic.AfterValidator:
    def check(name: str) -> str:
        if name not in (*kinds, ANY):
            raise ValueError(
                _("there is no kind {name!r}; there are {names}").format(
                    name=name, names=", ".join(kinds)
                )
            )
        return name

    return pydantic.AfterValidator(check)


class _Placed(_Model):
    """Where and when; what is left out is drawn by the seed. Households count from 1."""

    household: int | None = Field(default=None, ge=1)
    from_day: int | None = Field(default=None, ge=0)
    until_day: int | None = Field(default=None, ge=1)
    percent: int | None = Field(default=None, ge=1, le=100)


class TheftPlan(_Placed):
    """A theft; `percent` is the part of the household's use that is not counted."""

    kind: Annotated[str, _of(tuple(THEFTS))]


class FaultPlan(_Placed):
    """A fault; `percent` as the kind has it."""

    kind: Annotated[str, _of(tuple(FAULTS))]


def _counted(told: object) -> object:
    """Return a count as a list of that many, each of which the seed draws."""
    is_count = isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= _MANY
    return [{"kind": ANY}] * told if is_count and isinstance(told, int) else told


_MANY = 200
_Thefts = Annotated[list[TheftPlan], pydantic.BeforeValidator(_counted), Field(max_length=_MANY)]
_Faults = Annotated[list[FaultPlan], pydantic.BeforeValidator(_counted), Field(max_length=_MANY)]


class DistrictPlan(_Model):
    """A transformer and what it feeds.

    ct             current ratio of the sum meter, 0: what fits the transformer
    span_m         from pole to pole
    wire_mm2       section of the main line's wires
    outages        of the whole district in a year; phases and households have their own
    """

    name: str = Field(min_length=1, max_length=32)
    households: int = Field(default=60, ge=1, le=2000)
    shops: int = Field(default=2, ge=0, le=200)
    transformer_kva: int = Field(default=0, ge=0, le=2500)
    ct: int = Field(default=0, ge=0, le=1000)
    branches: int = Field(default=3, ge=1, le=12)
    span_m: float = Field(default=42, gt=0, le=200)
    wire_mm2: float = Field(default=0, ge=0, le=240)
    thefts: _Thefts = []
    faults: _Faults = []
    outages: int = Field(default=5, ge=0, le=365)
    voltage_points: int = Field(default=6, ge=0, le=200)


class FeederPlan(_Model):
    """A 10 kV line with its districts; `length_km` to the last of them."""

    name: str = Field(min_length=1, max_length=32)
    length_km: float = Field(default=8, gt=0, le=100)
    districts: list[DistrictPlan] = Field(min_length=1)


class VillagePlan(_Model):
    """The whole village."""

    name: str = Field(default="village", max_length=32)
    start: date = date(2026, 1, 1)
    readings_a_day: int = Field(default=4, ge=1, le=24)
    price_yuan: float = Field(default=0.538, gt=0, le=10)
    collection_percent: float = Field(default=98.5, gt=0, le=100)
    feeders: list[FeederPlan] = Field(min_length=1)

    @property
    def districts(self) -> list[DistrictPlan]:
        """Return all districts, in the order of the file."""
        return [one for feeder in self.feeders for one in feeder.districts]


def first_t2000(plan: VillagePlan) -> int:
    """Return the first midnight of a village."""
    return to_t2000(datetime.combine(plan.start, time()))


def example() -> str:
    """Return the description with which a person begins."""
    return _EXAMPLE.read_text(encoding="utf-8")


def load_village(path: Path) -> VillagePlan:
    """Read a YAML or JSON file; VillageError says what is wrong with it."""
    try:
        return parse_village(read_text(path), str(path))
    except OSError as error:
        raise VillageError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except NotTextError as error:
        raise VillageError(
            _("{path} is not YAML: {error}").format(path=path, error=error)
        ) from error


def parse_village(text: str, path: str) -> VillagePlan:
    """Return the description in a text that came from `path`; VillageError."""
    import yaml

    try:
        plan = VillagePlan.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise VillageError(
            _("{path} is not YAML: {error}").format(path=path, error=error)
        ) from error
    except pydantic.ValidationError as error:
        first = misfit_of(error)
        place = ".".join(str(part) for part in first.place) or _("the file")
        raise VillageError(f"{path}: {place}: {first.reason}") from error
    _check(plan, path)
    return plan


def _check(plan: VillagePlan, path: str) -> None:
    for kind, names in (
        (_("feeder"), [one.name for one in plan.feeders]),
        (_("district"), [one.name for one in plan.districts]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise VillageError(
                _("{path}: {kind} {name!r} is there twice: give each its own name").format(
                    path=path, kind=kind, name=twice[0]
                )
            )
    count = sum(one.households + one.shops for one in plan.districts)
    if count > ACCOUNTS_LIMIT:
        raise VillageError(
            _("{path}: {count} accounts are more than the {limit} there may be").format(
                path=path, count=count, limit=ACCOUNTS_LIMIT
            )
        )
    for district in plan.districts:
        for placed in (district.thefts, district.faults):
            for one in placed:
                _check_placed(district, one, path)


def _check_placed(district: DistrictPlan, one: _Placed, path: str) -> None:
    accounts = district.households + district.shops
    if one.household is not None and one.household > accounts:
        raise VillageError(
            _("{path}: {name}: there is no household {number}, only {count}").format(
                path=path, name=district.name, number=one.household, count=accounts
            )
        )
    if one.until_day is not None and one.until_day <= (one.from_day or 0):
        raise VillageError(
            _("{path}: {name}: until_day {until} is not behind from_day {since}").format(
                path=path, name=district.name, until=one.until_day, since=one.from_day or 0
            )
        )
