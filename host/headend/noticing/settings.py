"""The file of a station's notices: ways with their secrets, quiet hours, limits, own texts.

    quiet = "22:00-07:00"
    a_day = 4
    language = "zh"

    [[ways]]
    name = "sms"
    url = "jsons://gateway.example/send?:to={phone}&+Authorization=Bearer%20SECRET"

    [month]
    url = "mailto://..."
    day = 3

    [texts.zh]
    "low balance" = "..."

A way is an address of `apprise`. One with {phone} or {email} reaches a household; one without
reaches the station, which is told there of what has not arrived. The report of each month goes to
`url` of [month] on its day.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from host.headend import notices
from host.headend.noticing import texts
from host.words import LANGUAGES, _, system_reason

_QUIET = re.compile("([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_PLACE = re.compile(r"\{([^{}]*)\}")
_PLACES = frozenset(("phone", "email"))
_WAYS_LIMIT = 10


class SettingsError(ValueError):
    """The file cannot be used; the message says why, and has nothing of its secrets."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to households, or to the station where `url` has no {phone} and no {email}.

    kinds    of notices that go this way, (): all
    proves   that it arrived counts for a cut
    """

    name: str
    url: str
    kinds: tuple[str, ...] = ()
    proves: bool = True

    @property
    def is_office(self) -> bool:
        """Return whether it reaches the station and no household."""
        return not _PLACE.search(self.url)


@dataclass(frozen=True, slots=True)
class Monthly:
    """Where the report of a month goes, and from which day and hour of the next one on.

    house   it is that of a landlord, each room by itself
    """

    url: str
    day: int = 3
    hour: int = 8
    house: bool = False

    @property
    def way(self) -> Way:
        """Return it as a way."""
        return Way("month", self.url)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a station has chosen; `quiet` are minutes of a day, from the first to the second."""

    ways: tuple[Way, ...]
    quiet: tuple[int, int] = (0, 0)
    a_day: int = 4
    language: str = "zh"
    kinds: tuple[str, ...] = notices.KINDS
    tier_percent: int = 90
    within_s: int = 20
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    month: Monthly | None = None

    @property
    def all_ways(self) -> tuple[Way, ...]:
        """Return the ways, with that of the month's report."""
        return self.ways if self.month is None else (*self.ways, self.month.way)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _WayTold(_Strict):
    name: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,19}$")]
    url: Annotated[str, Field(min_length=5, max_length=2000)]
    kinds: list[str] = []
    proves: bool = True


class _MonthTold(_Strict):
    url: Annotated[str, Field(min_length=5, max_length=2000, pattern=r"^[^{}]*$")]
    day: Annotated[int, Field(ge=1, le=28)] = 3
    hour: Annotated[int, Field(ge=0, le=23)] = 8
    house: bool = False


class _Told(_Strict):
    ways: Annotated[list[_WayTold], Field(min_length=1, max_length=_WAYS_LIMIT)]
    quiet: str = ""
    a_day: Annotated[int, Field(ge=1, le=100)] = 4
    language: Literal["zh", "en"] = "zh"
    kinds: list[str] = list(notices.KINDS)
    tier_percent: Annotated[int, Field(ge=50, le=99)] = 90
    within_s: Annotated[int, Field(ge=1, le=120)] = 20
    texts: dict[str, dict[str, str]] = {}
    month: _MonthTold | None = None


def read(path: Path) -> Settings:
    """Return what a file says. SettingsError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        told = _Told.model_validate(content)
    except OSError as error:
        raise SettingsError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        # The parser's own words may repeat a line with a secret.
        text = _("{path} is not TOML in UTF-8: look for a quote or a bracket that is missing")
        raise SettingsError(text.format(path=path)) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(one) for one in first["loc"])
        raise SettingsError(
            _("{path}: {where} is not known, missing, or not of its form").format(
                path=path, where=where
            )
        ) from error
    try:
        return _checked(told)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _checked(told: _Told) -> Settings:
    ways: list[Way] = []
    for one in told.ways:
        if one.name in [way.name for way in ways]:
            raise SettingsError(_("two ways are called {name}").format(name=one.name))
        if not set(_PLACE.findall(one.url)) <= _PLACES:
            raise SettingsError(
                _("the way {name} has a brace that is neither {places}").format(
                    name=one.name, places="{phone}, {email}"
                )
            )
        _check_kinds(one.kinds)
        ways.append(Way(one.name, one.url, tuple(one.kinds), one.proves))
    _check_kinds(told.kinds)
    for language, own in told.texts.items():
        if language not in LANGUAGES:
            raise SettingsError(_("there is no language {language}").format(language=language))
        _check_kinds(own)
        for kind, text in own.items():
            if trouble := texts.trouble_with(kind, text):
                raise SettingsError(f"{language}, {kind}: {trouble}")
    return Settings(
        tuple(ways),
        _span(told.quiet),
        told.a_day,
        told.language,
        tuple(told.kinds),
        told.tier_percent,
        told.within_s,
        told.texts,
        None if told.month is None else Monthly(**told.month.model_dump()),
    )


def _check_kinds(kinds: list[str] | dict[str, str]) -> None:
    for kind in kinds:
        if kind not in notices.KINDS:
            raise SettingsError(
                _("there is no notice of the kind {kind!r}: {kinds}").format(
                    kind=kind[:20], kinds=", ".join(notices.KINDS)
                )
            )


def _span(text: str) -> tuple[int, int]:
    """Return the minutes of a day between which it is quiet."""
    if not text:
        return 0, 0
    found = _QUIET.fullmatch(text)
    if found is None:
        raise SettingsError(
            _("quiet hours are written as {example}").format(example="22:00-07:00")
        )
    hours, minutes, until_hours, until_minutes = map(int, found.groups())
    return hours * 60 + minutes, until_hours * 60 + until_minutes
