"""Set a concentrator up by one file: what the file wants, and what would have to change for it.

    [concentrator]
    id = 7
    port = "unix:flash.bin.console"
    card_keys = "keys.toml"         a key file, whose console key opens the session as well
    uplink_keys = "uplink.toml"     has the key of this concentrator

    [settings]
    interval_s = 900

    [tariffs]
    1 = "tariffs/zhejiang-tou.json"

    [meters]
    list = "meters.csv"             meter, account, tariff; line, standard and new if need be

Keys are named by their files and never stand here. Paths begin at the folder of this file. What is
as the file wants it is left alone, so the file can be used again.
"""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_bytes
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from host.cards.keystore import CardKeys
from host.frames import tariff
from host.frames.settings import NAMES
from host.frames.tariff import image_name
from host.headend import keys as uplink
from host.link import setup
from host.link.console import SECRETS, Console, making_sense
from host.rows import read_rows
from host.texts import NotTextError, read_text
from host.units import full_number
from host.words import _, system_reason

# What the console key is made of.
_OF_THE_KEY = ("id", "district", "console_key_version")
_SEED_SIZE = 32
_YES = frozenset(("yes", "1", "true", "是"))
_STANDARDS = ("auto", "2007", "1997")


class VillageError(Exception):
    """The file cannot be used; the text says which key or line is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Concentrator(_Part):
    id: int = Field(ge=1, le=0x3FFFFFFF)
    port: str | None = None
    card_keys: str | None = None
    uplink_keys: str | None = None


class _Meters(_Part):
    list: str


class _File(_Part):
    concentrator: _Concentrator
    settings: dict[str, int] = {}
    tariffs: dict[Annotated[str, Field(pattern="^[1-8]$")], str] = {}
    meters: _Meters | None = None


@dataclass(frozen=True)
class Meter:
    """A row of the list; `new`: the account has never bought anything anywhere."""

    meter: str
    account: str
    tariff: str
    line: str
    standard: str
    new: bool


@dataclass(frozen=True)
class Wanted:
    """What the file wants. Tariffs are images by number, secrets hexadecimal digits."""

    port: str | None
    keys: CardKeys | None
    settings: dict[str, str]
    secrets: dict[str, bytes]
    tariffs: dict[int, bytes]
    meters: list[Meter]


@dataclass
class Step:
    """One change: how it is shown, and what carries it out. `trouble`: why it cannot be done."""

    text: str
    act: Callable[[Console], Any] | None = None
    trouble: str = ""


@dataclass
class Known:
    """What a concentrator says of itself."""

    settings: dict[str, str] = field(default_factory=dict)
    tariffs: dict[int, str] = field(default_factory=dict)
    meters: dict[str, list[str]] = field(default_factory=dict)


def read(path: Path, load_keys: Callable[[Path], CardKeys]) -> Wanted:
    """Return what the file and those that it names want; VillageError where one is wrong."""
    try:
        content = _File.model_validate(tomllib.loads(read_text(path)))
    except OSError as error:
        raise VillageError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except (tomllib.TOMLDecodeError, NotTextError) as error:
        raise VillageError(
            _("{path} is not TOML: {error}").format(path=path, error=error)
        ) from error
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise VillageError("\n".join(f"{path}: {one}" for one in told)) from error
    for name in content.settings:
        if name in SECRETS or name == "id" or name not in NAMES.values():
            raise VillageError(
                _("{path}: settings.{name}: no setting that stands here; {hint}").format(
                    path=path, name=name, hint=_("the number is id, keys are named by their files")
                )
            )
    folder = path.parent
    one = content.concentrator
    settings = {"id": str(one.id)} | {name: str(value) for name, value in content.settings.items()}
    secrets: dict[str, bytes] = {}
    held: CardKeys | None = None
    if one.uplink_keys is not None:
        key = uplink.load(folder / one.uplink_keys).get(one.id)
        if key is None:
            raise VillageError(
                _("{path} has no key of concentrator {number}: dianka headend keys new").format(
                    path=folder / one.uplink_keys, number=one.id
                )
            )
        secrets["uplink_key"] = key
    if one.card_keys is not None:
        held = load_keys(folder / one.card_keys)
        settings["district"] = str(held.district)
        settings["card_key_version"] = str(held.key_version)
        secrets["card_key"] = held.key_of(held.district, held.key_version)
        if held.issuer_key:
            version = held.console_version
            settings["console_key_version"] = str(version)
            secrets["console_key"] = held.console_key(held.district, one.id, version)
    return Wanted(
        one.port,
        held,
        settings,
        secrets,
        {
            int(number): tariff.build(tariff.load(folder / name), int(number))
            for number, name in content.tariffs.items()
        },
        [*_meters(folder / content.meters.list)] if content.meters else [],
    )


def _meters(path: Path) -> Iterator[Meter]:
    rows = read_rows(
        path,
        ("meter", "account", "tariff"),
        _meter,
        ("account", lambda one: one.account),
        ("line", "standard", "new"),
        {"表号": "meter", "户号": "account", "电价": "tariff", "新户": "new"},
    )
    yield from rows.values()


def _meter(cells: dict[str, str]) -> Meter:
    standard = cells["standard"] or "auto"
    if standard not in _STANDARDS:
        raise ValueError(_("the standard is auto, 2007 or 1997"))
    for name in ("tariff", "line"):
        if not (cells[name] or "0").isdecimal():
            raise ValueError(_("{name} is a number").format(name=name))
    return Meter(
        full_number(cells["meter"]),
        full_number(cells["account"]),
        cells["tariff"],
        cells["line"] or "0",
        standard,
        cells["new"].lower() in _YES,
    )


def ask(console: Console) -> Known:
    """Return what the concentrator says of itself."""
    tariffs = [line.split() for line in console.command("tariff list")[1:]]
    meters = [line.split() for line in console.command("meter list")[1:]]
    settings = setup.fields_of(console.command("settings"))
    with making_sense():
        return Known(
            settings,
            {int(row[0]): row[1].upper() for row in tariffs},
            {row[1]: row for row in meters},
        )


def steps(wanted: Wanted, known: Known, console: Console) -> Iterator[Step]:
    """Yield what has to change, in the order in which it can be carried out."""
    anew = known.settings.get("card_key_version") != wanted.settings.get("card_key_version")
    has_key = known.settings.get("console_key") == "(set)"
    if wanted.keys is not None and known.settings.get("seed") == "(not set)":
        # A chip without a source of random numbers gets some of this computer's.
        yield Step(
            _("set {name}, made by chance").format(name="seed"),
            partial(_secret, "seed", token_bytes(_SEED_SIZE)),
        )
    for name, value in wanted.settings.items():
        if (before := known.settings.get(name, "?")) == value:
            continue
        if has_key and name in _OF_THE_KEY:
            yield Step(
                f"set {name} {before} -> {value}",
                trouble=_("the console key is bound to it: dianka card keys install"),
            )
        else:
            yield Step(
                f"set {name} {before} -> {value}",
                partial(_command, f"set {name} {value}"),
            )
    for name, secret in wanted.secrets.items():
        before = known.settings.get(name, "?")
        if name != "console_key" and (before != "(set)" or (name == "card_key" and anew)):
            yield Step(
                _("set {name} from its file").format(name=name),
                partial(_secret, name, secret),
            )
    for number, image in wanted.tariffs.items():
        if known.tariffs.get(number) != image_name(image):
            text = _("put tariff {number} in force").format(number=number)
            if number in known.tariffs:
                text = _("put tariff {number} in force: other prices from now on").format(
                    number=number
                )
            yield Step(text, partial(_tariff, number, image))
    for meter in wanted.meters:
        yield from _meter_steps(meter, known.meters.get(meter.account), console)
    # From here on a command needs a login.
    key = wanted.secrets.get("console_key")
    if key and not has_key:
        yield Step(
            _("set {name} from its file").format(name="console_key"),
            partial(_secret, "console_key", key),
        )


def _meter_steps(meter: Meter, row: list[str] | None, console: Console) -> Iterator[Step]:
    if row is None:
        words = f"meter add {meter.meter} {meter.account} {meter.tariff} {meter.line}"
        yield Step(words, partial(_command, f"{words} {meter.standard}"))
    elif row[0] != meter.meter:
        yield Step(
            f"account {meter.account}",
            trouble=_(
                "has meter {here}, the list has {listed}: `meter exchange` takes the last reading"
            ).format(here=row[0], listed=meter.meter),
        )
    elif row[2] != meter.tariff:
        yield Step(
            f"account {meter.account}",
            trouble=_("is under tariff {here}, the list has {listed}: send a TARIFF order").format(
                here=row[2], listed=meter.tariff
            ),
        )
    if meter.new and (row is None or not _is_told(meter.account, console)):
        words = f"account new {meter.account}"
        yield Step(words, partial(_command, words))


def _command(text: str, console: Console) -> None:
    console.command(text)


def _secret(name: str, secret: bytes, console: Console) -> None:
    console.set_secret(name, secret)


def _tariff(number: int, image: bytes, console: Console) -> None:
    setup.send_tariff(console, number, image)


def _is_told(account: str, console: Console) -> bool:
    return setup.fields_of(console.command(f"account {account}")).get("told") == "yes"
