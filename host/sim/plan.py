"""The meters of a simulated line, from a YAML file that is checked, or a number of one kind.

    baud: 2400
    faults: {late_reply: 0.01}
    meters:
      - address: "000000000001"
        load: {percent: 250}
      - address: "000000000010"
        count: 5
        clock_offset_s: -30

A meter's keys are those of `MeterPlan`; `count` makes several, with addresses one after
another.
"""

from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from host.frames.models import misfit_of
from host.sim.clock import Clock
from host.sim.line import Line, LineFaults
from host.sim.load import RATES, Load
from host.sim.meter import Meter
from host.sim.profile import PROFILES
from host.texts import NotTextError, read_text
from host.units import full_number
from host.words import _, system_reason

METERS_LIMIT = 1024
# No two meters answer bit on bit: replies that meet so would be heard as one good frame.
JITTER_MS = 5
SPEEDS = (600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
FAULT_NAMES = tuple(one.name for one in fields(LineFaults))


class PlanError(ValueError):
    """The file or the settings cannot be used; the message says where and why."""


def _known_baud(baud: int) -> int:
    if baud not in SPEEDS:
        raise ValueError(
            _("{baud} is no speed of a line: {speeds}").format(
                baud=baud, speeds=", ".join(map(str, SPEEDS))
            )
        )
    return baud


Baud = Annotated[int, pydantic.AfterValidator(_known_baud)]


Address = Annotated[str, pydantic.AfterValidator(full_number)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _known_profile(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(
            _("there is no profile {name!r}; there are {names}").format(
                name=name, names=", ".join(PROFILES)
            )
        )
    return name


class LoadPlan(_Model):
    """What the household draws; a `seed` left out is the meter's place on the line."""

    seed: int | None = None
    percent: int = Field(default=100, ge=0, le=10_000)
    watts_by_hour: list[int] | None = Field(default=None, min_length=24, max_length=24)
    needs_wh: list[Annotated[int, Field(ge=0)]] = Field(default=[], max_length=RATES)


class MeterPlan(_Model):
    """One meter, or `count` of them. `password` is PA P0 P1 P2 in hexadecimal digits."""

    address: Address
    count: int = Field(default=1, ge=1, le=METERS_LIMIT)
    profile: Annotated[str, pydantic.AfterValidator(_known_profile)] = "plain"
    load: LoadPlan = LoadPlan()
    start_wh: list[int] | None = Field(default=None, min_length=RATES, max_length=RATES)
    rate_of_hour: list[Annotated[int, Field(ge=0, lt=RATES)]] | None = Field(
        default=None, min_length=24, max_length=24
    )
    clock_offset_s: int | None = None
    reply_delay_ms: int | None = Field(default=None, ge=0, le=10_000)
    preamble: int | None = Field(default=None, ge=0, le=16)
    baud: Baud | None = None
    password: str | None = Field(default=None, pattern="^[0-9A-Fa-f]{8}$")
    button: bool | None = None
    zero_expiry: bool | None = None
    supply_off: bool | None = None
    faulty_relay: bool | None = None
    relay_delay_s: int | None = Field(default=None, ge=0, le=60)
    programming: bool | None = None
    complete: bool | None = None


class Plan(_Model):
    """A line and its meters."""

    baud: Baud = 2400
    echo: bool = False
    faults: dict[str, float] = {}
    meters: list[MeterPlan] = Field(min_length=1)


def _first_of(error: pydantic.ValidationError) -> str:
    """Return the first finding, with its place."""
    first = misfit_of(error)
    place = ".".join(str(part) for part in first.place) or _("the file")
    return f"{place}: {first.reason}"


def load_plan(path: Path) -> Plan:
    """Read a YAML file; PlanError says what is wrong with it."""
    import yaml  # only a file needs it

    try:
        content = yaml.safe_load(read_text(path))
        return Plan.model_validate(content)
    except OSError as error:
        raise PlanError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except (yaml.YAMLError, NotTextError) as error:
        raise PlanError(_("{path} is not YAML: {error}").format(path=path, error=error)) from error
    except pydantic.ValidationError as error:
        raise PlanError(f"{path}: {_first_of(error)}") from error


def plan_of(count: int, first_address: str, baud: int, profile: str) -> Plan:
    """Return `count` meters of one profile with addresses from `first_address` on."""
    try:
        meters = MeterPlan(address=first_address, count=count, profile=profile)
        return Plan(baud=baud, meters=[meters])
    except pydantic.ValidationError as error:
        raise PlanError(_first_of(error)) from error


def build_meters(plan: Plan, start_t2000: int) -> list[Meter]:
    """Return the meters of a plan, standing at `start_t2000`."""
    meters: list[Meter] = []
    for one in plan.meters:
        if int(one.address) + one.count > 10**12:
            raise PlanError(
                _("there are no {count} addresses from {address} on").format(
                    count=one.count, address=one.address
                )
            )
        values = one.model_dump(exclude_none=True, exclude={"address", "count", "load", "profile"})
        values["profile"] = PROFILES[one.profile]
        values.setdefault("baud", plan.baud)
        if "password" in values:
            values["password"] = bytes.fromhex(values["password"])
        for number in range(int(one.address), int(one.address) + one.count):
            load = _load_of(one.load, len(meters))
            address = f"{number:012d}"
            meters.append(Meter(address, load=load, start_t2000=start_t2000, **values))
    addresses = [meter.address for meter in meters]
    twice = {address for address in addresses if addresses.count(address) > 1}
    if twice:
        raise PlanError(
            _("address {address} is there twice: give each meter its own").format(
                address=min(twice)
            )
        )
    return meters


def _load_of(plan: LoadPlan, place: int) -> Load:
    seed = place if plan.seed is None else plan.seed
    load = Load(seed, plan.percent, needs_wh=tuple(plan.needs_wh))
    if plan.watts_by_hour is None:
        return load
    return replace(load, watts_by_hour=tuple(plan.watts_by_hour))


def build_line(plan: Plan, meters: list[Meter], clock: Clock, seed: int, *, paced: bool) -> Line:
    """Return the line of a plan; it is `paced` where the port already gives bytes their time."""
    faults = faults_of({"jitter_ms": JITTER_MS, **plan.faults})
    baud = 0 if paced else plan.baud
    return Line(clock, meters, faults, Random(seed), baud, plan.echo)


def faults_of(values: dict[str, float]) -> LineFaults:
    """Return the faults of a plan; PlanError names a chance or time that cannot be."""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in FAULT_NAMES:
            raise PlanError(
                _("there is no fault {name!r}; there are {names}").format(
                    name=name, names=", ".join(FAULT_NAMES)
                )
            )
        is_time = name.endswith(("_ms", "_s"))
        if value < 0 or (value != int(value) if is_time else value > 1):
            wanted = _("a whole number") if is_time else _("a chance from 0 to 1")
            raise PlanError(
                _("fault {name} of {value}: {wanted} is needed").format(
                    name=name, value=value, wanted=wanted
                )
            )
        checked[name] = int(value) if is_time else value
    return LineFaults(**checked)
