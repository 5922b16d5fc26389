"""Build the binary image of a tariff file, which a device loads.

`read` and `load` check a file by building its image. The file is described in `tariff_terms`; the
image is laid out in firmware/prepay/tariff.py and docs/SPEC.md, and nothing here knows that code.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import construct as c
from pydantic import ValidationError

from host.frames.models import misfit_of
from host.frames.tariff_terms import (
    WEEKDAYS,
    Ladder,
    Schedule,
    SetTerms,
    TariffError,
    TariffFile,
    free_settlement,
    sets_of,
)
from host.texts import NotTextError, read_text
from host.units import EPOCH, to_t2000
from host.words import _, system_reason

IMAGE_LIMIT = 4096

_PERIODS = ("none", "month", "year")
# Names of charges that other engines have and this one lacks.
_OUTSIDE = re.compile(r"capacity|demand|power_?factor|容量|需量|力调|基本电费", re.IGNORECASE)
_RULES = ("whole", "this_month", "next_month")


def load(path: Path) -> TariffFile:
    """Read and check a tariff file; TariffError with the file's name."""
    try:
        return read(read_text(path))
    except (OSError, NotTextError) as error:
        raise TariffError(
            _("{path}: cannot be read: {reason}").format(path=path, reason=system_reason(error))
        ) from error
    except TariffError as error:
        raise TariffError(f"{path}: {error}") from error


def read(text: str) -> TariffFile:
    """Read and check the text of a tariff file."""
    try:
        tariff = TariffFile.model_validate_json(text)
    except ValidationError as error:
        first = misfit_of(error)
        place = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in first.place)
        value = "" if first.kind in ("missing", "json_invalid") else f" {first.value!r}"
        reason = first.reason
        if first.kind == "extra_forbidden" and _OUTSIDE.search(str(first.place[-1])):
            reason = _(
                "capacity and demand fees (基本电费) and the power-factor adjustment (力调电费) "
                "are not charged by the device; bill them elsewhere and leave them out here"
            )
        raise TariffError(f"{place.lstrip('.') or _('file')}{value}: {reason}") from error
    build(tariff)
    return tariff


_LADDER = c.Struct(
    "limits_wh" / c.Array(c.this._.tiers - 1, c.Int32ul),
    "prices"
    / c.Array(c.this._.tiers * c.this._.rates, c.Struct("e4" / c.Int32ul, "e8_low" / c.Int16ul)),
)
_SEASON = c.Struct(
    "month" / c.Int8ul,
    "day" / c.Int8ul,
    "ladder" / c.Int8ul,
    "table" / c.Int8ul,
    "rest_table" / c.Int8ul,
    "uncounted" / c.Int24ul,
)
_SET = c.Struct(
    "start_t2000" / c.Int32ul,
    "standing_e7" / c.Int32ul,
    "standing_e4" / c.Int32ul,
    "period" / c.Int8ul,
    "settlement_count" / c.Rebuild(c.Int8ul, c.len_(c.this.settlements)),
    "season_count" / c.Rebuild(c.Int8ul, c.len_(c.this.seasons)),
    "rest_days" / c.Int8ul,
    "settlements" / c.Array(c.this.settlement_count, c.Byte[3]),
    "seasons" / c.Array(c.this.season_count, _SEASON),
)
_SLOT = c.Struct("minute" / c.Int16ul, "rate" / c.Int8ul)
IMAGE = c.Struct(
    "magic" / c.Const(b"DT\x02"),
    "number" / c.Int8ul,
    "rates" / c.Int8ul,
    "tiers" / c.Int8ul,
    "households" / c.Int8ul,
    "ladder_count" / c.Int8ul,
    "set_count" / c.Rebuild(c.Int8ul, c.len_(c.this.sets)),
    "table_count" / c.Rebuild(c.Int8ul, c.len_(c.this.tables)),
    "holiday_count" / c.Rebuild(c.Int8ul, c.len_(c.this.holidays)),
    "rules" / c.Int8ul,
    "free_period" / c.Int8ul,
    "free_settlement" / c.Byte[3],
    "free_wh" / c.If(c.this.free_period, c.Array(c.this.households, c.Int32ul)),
    "ladders" / c.Array(c.this.ladder_count * c.this.households, _LADDER),
    "sets" / c.Array(c.this.set_count, _SET),
    "tables" / c.Array(c.this.table_count, c.PrefixedArray(c.Int8ul, _SLOT)),
    "holidays" / c.Array(c.this.holiday_count, c.Struct("day" / c.Int16ul, "table" / c.Int8ul)),
    c.Terminated,
)


def build(tariff: TariffFile, number: int = 1) -> bytes:
    """Return the image of `tariff` under a number from 1 to 255.

    TariffError: the device could not charge it exactly.
    """
    sets = sets_of(tariff)
    seasons = [season for terms in sets for season in terms.seasons]
    ladders = list(dict.fromkeys(season.ladders for season in seasons))
    tables = _tables(tariff)
    names = list(tables)
    fields: dict[str, Any] = {
        "number": number,
        "rates": len(tariff.rates),
        "tiers": len(seasons[0].ladders[0].prices),
        "households": len(tariff.household_names),
        "ladder_count": len(ladders),
        "rules": _rules(tariff),
        **_free_fields(tariff),
        "ladders": [_ladder_fields(ladder) for kinds in ladders for ladder in kinds],
        "sets": [_set_fields(terms, ladders, names, tariff.schedule) for terms in sets],
        "tables": list(tables.values()),
        "holidays": _holidays(tariff, names),
    }
    if not tariff.clock_tells_rate:
        _leave_out_tables(fields)
    _check_count(_("kinds of households"), len(tariff.household_names), 16)
    _check_count(_("different ladders"), len(ladders), 64)
    _check_count(_("sets of terms"), len(sets), 32)
    _check_count(_("day tables"), len(tables), 16)
    _check_count(_("holidays"), len(fields["holidays"]), 128)
    image = bytes(IMAGE.build(fields))
    if len(image) > IMAGE_LIMIT:
        raise TariffError(
            _(
                "the image has {count} bytes, at most {limit}: take sets that are past out of the "
                "file, or fewer kinds of household"
            ).format(count=len(image), limit=IMAGE_LIMIT)
        )
    return image


def _rules(tariff: TariffFile) -> int:
    part = tariff.part_year
    rules = (part.opened, part.moved_in, part.household)
    return sum(_RULES.index(rule) << 2 * at for at, rule in enumerate(rules))


def _free_fields(tariff: TariffFile) -> dict[str, Any]:
    settlement = free_settlement(tariff)
    kinds = range(len(tariff.household_names))
    return {
        "free_period": _PERIODS.index(tariff.free_period or "none"),
        "free_settlement": settlement or (0, 0, 0),
        "free_wh": [int(tariff.free_kwh(kind) * 1000) for kind in kinds],
    }


def _leave_out_tables(fields: dict[str, Any]) -> None:
    """Leave out the day tables that the meter applies by itself, once they are checked."""
    fields["tables"] = []
    fields["holidays"] = []
    for terms in fields["sets"]:
        terms["rest_days"] = 0
        terms["seasons"] = [{**one, "table": 0, "rest_table": 0} for one in terms["seasons"]]


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise TariffError(
            _("{count} {what}: at most {limit}").format(count=count, what=what, limit=limit)
        )


def image_name(image: bytes) -> str:
    """Return the 16 digits of its SHA-256 by which records, cards and commands name an image."""
    return hashlib.sha256(image).hexdigest()[:16].upper()


def commands(image: bytes, number: int, part_size: int = 48) -> list[str]:
    """Return the console's commands that load an image and put it in force under `number`."""
    return [
        f"tariff begin {len(image)}",
        *(
            f"tariff data {at} {image[at : at + part_size].hex()}"
            for at in range(0, len(image), part_size)
        ),
        f"tariff commit {number} {image_name(image)}",
    ]


def parse(image: bytes) -> Any:
    """Return the fields of an image; TariffError when it is none."""
    try:
        return IMAGE.parse(image)
    except c.ConstructError as error:
        raise TariffError(_("no image of a tariff: {error}").format(error=error)) from error


def _ladder_fields(ladder: Ladder) -> dict[str, Any]:
    prices = [int(price.scaleb(8)) for row in ladder.prices for price in row]
    return {
        "limits_wh": [int(limit * 1000) for limit in ladder.limits_kwh],
        "prices": [{"e4": price // 10000, "e8_low": price % 10000} for price in prices],
    }


def _set_fields(
    terms: SetTerms,
    ladders: Sequence[tuple[Ladder, ...]],
    names: Sequence[str],
    schedule: Schedule | None,
) -> dict[str, Any]:
    rest_days = 0
    for name in schedule.rest_days if schedule else []:
        rest_days |= 1 << WEEKDAYS.index(name)
    return {
        "start_t2000": to_t2000(terms.start),
        "standing_e7": int(terms.standing_yuan.scaleb(7)),
        "standing_e4": int(terms.monthly_yuan.scaleb(4)),
        "period": _PERIODS.index(terms.period),
        "rest_days": rest_days,
        "settlements": terms.settlements,
        "seasons": [
            {
                "month": season.month,
                "day": season.day,
                "ladder": ladders.index(season.ladders),
                "table": _table_number(names, season.table),
                "rest_table": _table_number(names, season.rest_table),
                "uncounted": sum(1 << rate for rate in season.uncounted),
            }
            for season in terms.seasons
        ],
    }


def _table_number(names: Sequence[str], table: str | None) -> int:
    if table is None:
        return 0
    if table not in names:
        raise TariffError(
            _("schedule: there is no table {table!r}, only {names}").format(
                table=table, names=", ".join(names)
            )
        )
    return names.index(table) + 1


def _tables(tariff: TariffFile) -> dict[str, list[dict[str, int]]]:
    schedule = tariff.schedule
    tables: dict[str, list[dict[str, int]]] = {}
    for name, slots in schedule.tables.items() if schedule else ():
        place = f"schedule.tables.{name}"
        rows = []
        for at, (time, rate) in enumerate(slots):
            match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", time)
            if not match:
                raise TariffError(
                    _("{place}[{at}] {time!r}: write hh:mm").format(place=place, at=at, time=time)
                )
            if rate not in tariff.rates:
                raise TariffError(
                    _("{place}[{at}] {rate!r}: no rate of {rates}").format(
                        place=place, at=at, rate=rate, rates=tariff.rates
                    )
                )
            minute = int(match[1]) * 60 + int(match[2])
            rows.append({"minute": minute, "rate": tariff.rates.index(rate)})
        minutes = [row["minute"] for row in rows]
        if not rows or minutes[0] or minutes != sorted(set(minutes)) or len(rows) > 48:
            raise TariffError(
                _("{place}: 1 to 48 slots, from 00:00 on, in order").format(place=place)
            )
        tables[name] = rows
    return tables


def _holidays(tariff: TariffFile, names: Sequence[str]) -> list[dict[str, int]]:
    holidays = tariff.schedule.holidays if tariff.schedule else {}
    return [
        {"day": (day - EPOCH.date()).days, "table": _table_number(names, table)}
        for day, table in sorted(holidays.items())
    ]
