"""A household's year: how much it uses each month, and at which hours of the day (TOML)."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from host.frames.models import misfit_of
from host.frames.tariff_terms import Number
from host.texts import NotTextError, read_text
from host.words import _, system_reason

HOUR = timedelta(hours=1)


class ProfileError(ValueError):
    """The file is no profile; the text names field and value."""


class Profile(BaseModel):
    """Twelve months and a day's shape, the same on every day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    year: Annotated[int, Field(ge=2000, le=2098)]
    month_kwh: Annotated[list[Number], Field(min_length=12, max_length=12)]
    hour_weights: Annotated[
        list[Annotated[int, Field(ge=0, le=1000)]], Field(min_length=24, max_length=24)
    ]

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Read and check a file."""
        try:
            profile = cls.model_validate(tomllib.loads(read_text(path)))
        except (OSError, NotTextError, tomllib.TOMLDecodeError) as error:
            raise ProfileError(
                _("{path}: cannot be read: {reason}").format(
                    path=path, reason=system_reason(error)
                )
            ) from error
        except ValidationError as error:
            first = misfit_of(error)
            place = ".".join(str(at) for at in first.place)
            raise ProfileError(f"{path}: {place}: {first.reason}") from error
        if sum(profile.hour_weights) == 0 or profile.total_kwh == 0:
            raise ProfileError(_("{path}: nothing is used in that year").format(path=path))
        return profile

    @property
    def total_kwh(self) -> Decimal:
        """Return the energy of the year."""
        return sum(self.month_kwh, Decimal(0))

    def hours(self) -> Iterator["Hour"]:
        """Yield every hour of the year; the months add up to the watt-hour."""
        for month in range(1, 13):
            start = datetime(self.year, month, 1)
            end = datetime(self.year + month // 12, month % 12 + 1, 1)
            days = (end - start).days
            month_wh = int(self.month_kwh[month - 1] * 1000)
            weight = 0
            total = days * sum(self.hour_weights)
            while start < end:
                before_wh = month_wh * weight // total
                weight += self.hour_weights[start.hour]
                yield Hour(start, month_wh * weight // total - before_wh)
                start += HOUR


@dataclass(frozen=True)
class Hour:
    """What is used from `start` on for an hour."""

    start: datetime
    wh: int
