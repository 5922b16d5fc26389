"""More of `dianka headend job`: settings, hours without cuts, protection, meters, questions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.job import (
    ALL,
    BY,
    CONCENTRATORS,
    HOURS,
    REASON,
    give_job,
    given_by,
    numbers_of,
)
from host.cli.headend.job_accounts import Accounts, needed, of_accounts, with_accounts
from host.cli.meter.session import octets_of
from host.cli.options import account_argument, database_option, json_option
from host.cli.output import echo, print_json
from host.frames import orders, settings, write
from host.headend import asking, commands
from host.headend import missed as missing
from host.headend.commands import Given, Target
from host.headend.store import Store
from host.headend.talks import PAY
from host.words import _

# The most data in a frame of 03H: meters of the State Grid take it, older ones 50.
_SEALED_LIMIT = 200
_WORDS_LIMIT = 80
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_JOURNAL_PART = 32
_QUESTIONS = {
    "status": "status",
    "counters": "counters",
    "clock": "time",
    "settings": "settings",
    "tariffs": "tariff list",
    "meters": "meter list",
    "log": "log",
}


@dataclass(frozen=True)
class How:
    """Who gives a job, why, until when, and whether JSON is printed."""

    given: Given
    as_json: bool


def _giving(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every job, as `how`."""

    @database_option()
    @REASON
    @BY
    @HOURS
    @json_option
    @wraps(command)
    def told(*, by: str, reason: str, hours: int, as_json: bool, **others: Any) -> None:
        command(how=How(given_by(by, reason, hours), as_json), **others)

    decorated: Callable[..., None] = told
    return decorated


def _concentrators(command: Callable[..., None]) -> Callable[..., None]:
    with_all: Callable[..., None] = CONCENTRATORS(ALL(command))
    return with_all


def _give_all(
    db: str, name: str, texts: Sequence[str], to: Sequence[int], to_all: bool, how: How
) -> None:
    """Give each of some commands to concentrators."""
    if bool(to) + to_all != 1:
        raise click.UsageError(_("give --concentrator or --all, one of them"))
    with opened(db) as store:
        numbers = numbers_of(store, to, to_all)
        targets = [Target(number, text) for number in numbers for text in texts]
        give_job(store, name, targets, how.given, how.as_json)


@shown.command(
    "set",
    epilog="""\b
Examples:
  dianka headend job set --db village.db interval_s=600 --all
  dianka headend job set --db village.db alarm_1_fen=2000 alarm_2_fen=500 --concentrator 7
\b
Keys and passwords are typed at the concentrator's own console only.
""",
)
@click.argument("settings_told", metavar="NAME=VALUE...", nargs=-1, required=True)
@_concentrators
@_giving
def set_command(
    db: str,
    settings_told: tuple[str, ...],
    concentrators: tuple[int, ...],
    to_all: bool,
    how: How,
) -> None:
    """Change settings of concentrators."""
    texts = []
    for told in settings_told:
        name, equals, value = told.partition("=")
        if name not in settings.NAMES.values() or not equals:
            raise click.UsageError(_("{told}: write NAME=VALUE of a setting").format(told=told))
        if not value.isdecimal():
            raise click.UsageError(
                _("{told}: the value is a whole number; keys are not sent").format(told=told)
            )
        texts.append(f"set {name} {value}")
    _give_all(db, "set", texts, concentrators, to_all, how)


@shown.command(
    "no-cut",
    epilog="""\b
Examples:
  dianka headend job no-cut --db village.db --hours-of-day 22-6 --all
  dianka headend job no-cut --db village.db --days sat,sun --concentrator 7
  dianka headend job no-cut --db village.db --until 2026-10-08 --all --reason "national holiday"
""",
)
@click.option("--hours-of-day", metavar="A-B", help="Every day, as 22-6; 0-0: no such hours.")
@click.option("--days", help="Days of the week, as sat,sun; none: no such days.")
@click.option(
    "--until", type=click.DateTime(("%Y-%m-%d",)), help="That day included: a heat, a holiday."
)
@_concentrators
@_giving
def no_cut(
    db: str,
    hours_of_day: str | None,
    days: str | None,
    until: datetime | None,
    concentrators: tuple[int, ...],
    to_all: bool,
    how: How,
) -> None:
    """Say when concentrators cut nobody: hours, days of the week, days until a date."""
    texts = []
    if hours_of_day is not None:
        first, _dash, end = hours_of_day.partition("-")
        if not (first.isdecimal() and end.isdecimal() and int(first) < 24 and int(end) < 24):
            raise click.UsageError(_("--hours-of-day: two hours from 0 to 23, as 22-6"))
        texts += [f"set no_cut_from_hour {int(first)}", f"set no_cut_to_hour {int(end)}"]
    if days is not None:
        names = [] if days == "none" else days.split(",")
        if not set(names) < set(_DAYS):
            raise click.UsageError(_("--days: some of sun,mon,tue,wed,thu,fri,sat, or none"))
        texts.append(f"set no_cut_weekdays {sum(1 << _DAYS.index(one) for one in set(names))}")
    if until is not None:
        texts.append(f"set no_cut_until_yymmdd {until:%y%m%d}")
    if not texts:
        raise click.UsageError(_("give --hours-of-day, --days or --until"))
    _give_all(db, "no-cut", texts, concentrators, to_all, how)


@shown.command(
    epilog="""\b
Examples:
  dianka headend job guard --db village.db on --account 1 --reason "oxygen at home"
  dianka headend job guard --db village.db off --account 1
"""
)
@click.argument("state", type=click.Choice(("on", "off")))
@with_accounts
@_giving
def guard(db: str, state: str, accounts: Accounts, how: How) -> None:
    """Protect the supply of accounts, which are not cut then, or protect it no longer."""
    needed(accounts)
    text = " ".join(("account", "set", "{account}", "guard", "1" if state == "on" else "0"))
    with opened(db) as store:
        give_job(store, "guard", of_accounts(store, accounts, text), how.given, how.as_json)


@shown.command(
    epilog="""\b
Examples:
  dianka headend job read --db village.db 00010000 --account 1
  dianka headend job read --db village.db voltage 04000503 --account 1 --account 2
\b
Any identifier of the catalogue, by digits or by name: registers, freezes (050601..), status words
(0400050x), events. A part of the load profile is asked for with --data, as the maker's manual
says.
"""
)
@click.argument("items", nargs=-1, required=True)
@with_accounts
@click.option("--data", "digits", default="", help="What follows the identifier on the wire.")
@_giving
def read(db: str, items: tuple[str, ...], accounts: Accounts, digits: str, how: How) -> None:
    """Read the meters of accounts now, through their concentrators."""
    needed(accounts)
    with opened(db) as store:
        accounts.check(store)
        targets = [
            _question(store, one, item, digits) for one in accounts.numbers for item in items
        ]
        give_job(store, "read", targets, how.given, how.as_json)


def _question(store: Store, account: str, item: str, digits: str) -> Target:
    concentrator, line, address, standard = commands.meter_of(store, account)
    try:
        found = write.find(item, standard)
        request = orders.read(standard, found.di)
        data = request.data + octets_of(digits, "--data")
    except write.WriteError as error:
        raise click.ClickException(str(error)) from error
    text = f"line ask {line} {address} {request.control:02x} {data.hex()}"
    return Target(concentrator, text, account)


@shown.command(
    epilog="""\b
Examples:
  dianka headend job ask --db village.db counters --all
  dianka headend job ask --db village.db meters --concentrator 7
"""
)
@click.argument("what", type=click.Choice((*_QUESTIONS,)))
@_concentrators
@_giving
def ask(db: str, what: str, concentrators: tuple[int, ...], to_all: bool, how: How) -> None:
    """Ask concentrators what they know of themselves: their clock, counters, log and lists."""
    _give_all(db, what, [_QUESTIONS[what]], concentrators, to_all, how)


@shown.command(
    epilog="""\b
Example:
  dianka headend job journal --db village.db 1200 64 --concentrator 7
"""
)
@click.argument("first", type=click.IntRange(1, 0x3FFFFFFF))
@click.argument("count", type=click.IntRange(1, 1000))
@_concentrators
@_giving
def journal(
    db: str, first: int, count: int, concentrators: tuple[int, ...], to_all: bool, how: How
) -> None:
    """Fetch COUNT records of the journal from number FIRST on, as they are kept there."""
    texts = [
        f"journal {at} {min(_JOURNAL_PART, first + count - at)}"
        for at in range(first, first + count, _JOURNAL_PART)
    ]
    _give_all(db, "journal", texts, concentrators, to_all, how)


@shown.command(
    epilog="""\b
Example:
  dianka headend job pay --db village.db 000000000001 5 --hex "FF 02 01 07"
\b
For meters that hold the balance themselves. The head-end has no key of theirs: it brings what the
key holder has sealed, and keeps the meter's count, its money and what it said.
"""
)
@account_argument
@click.argument("order", type=click.IntRange(1, 0xFFFFFFF))
@click.option("--hex", "digits", required=True, help="03H's data, low byte first.")
@_giving
def pay(db: str, account: str, order: int, digits: str, how: How) -> None:
    """Bring a sealed payment into a meter as its purchase number ORDER, once whatever is lost."""
    data = _sealed(digits)
    with opened(db) as store:
        concentrator, line, address, _standard = commands.meter_of(store, account)
        text = f"{PAY} {line} {address} {order} {data.hex()}"
        target = Target(concentrator, text, account)
        give_job(store, "pay", [target], how.given, how.as_json)


@shown.command(
    epilog="""\b
Example:
  dianka headend job send --db village.db 000000000001 --hex "FF 01 01 07"
"""
)
@account_argument
@click.option("--hex", "digits", required=True, help="03H's data, low byte first.")
@_giving
def send(db: str, account: str, digits: str, how: How) -> None:
    """Bring a sealed block of parameters (03H) to a meter that holds the balance itself."""
    data = _sealed(digits)
    with opened(db) as store:
        concentrator, line, address, _standard = commands.meter_of(store, account)
        text = f"line ask {line} {address} 03 {data.hex()}"
        give_job(store, "send", [Target(concentrator, text, account)], how.given, how.as_json)


def _sealed(digits: str) -> bytes:
    try:
        data = octets_of(digits)
    except write.WriteError as error:
        raise click.UsageError(str(error)) from error
    if not 0 < len(data) <= _SEALED_LIMIT:
        raise click.UsageError(
            _("--hex: one to {limit} bytes go in a frame").format(limit=_SEALED_LIMIT)
        )
    return data


@shown.command(
    epilog="""\b
Examples:
  dianka headend job clock --db village.db --concentrator 7
  dianka headend job clock --db village.db --meters --all
\b
No time is sent in the command, which may come late: it has the concentrator ask for it. The clocks
of meters are set by broadcast, which a meter takes once a day and if it differs by five minutes at
most. `job ask clock` tells the time there.
"""
)
@click.option("--meters", "of_meters", is_flag=True, help="Look at the meters' clocks, set them.")
@_concentrators
@_giving
def clock(
    db: str, of_meters: bool, concentrators: tuple[int, ...], to_all: bool, how: How
) -> None:
    """Have concentrators take the time from here, however much theirs differs."""
    text = "clock meters" if of_meters else "clock"
    _give_all(db, "clock", [text], concentrators, to_all, how)


@shown.command(
    epilog="""\b
Examples:
  dianka headend job text --db village.db "No power 8-10" --until "2026-12-24 10:00" --all
  dianka headend job text --db village.db "" --until "2026-12-24 10:00" --concentrator 7
\b
It is shown between the results of cards, and an empty text ends it. A concentrator without a
display refuses it. A meter has no display for texts: the standard has no identifier for them.
"""
)
@click.argument("words")
@click.option(
    "--until",
    type=click.DateTime(("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")),
    required=True,
    help="When it ends, in the time of the village.",
)
@_concentrators
@_giving
def text(
    db: str,
    words: str,
    until: datetime,
    concentrators: tuple[int, ...],
    to_all: bool,
    how: How,
) -> None:
    """Show a text on the displays of concentrators until a time."""
    told = " ".join(words.split())
    if not (told.isascii() and told.isprintable()) or len(told) > _WORDS_LIMIT:
        raise click.UsageError(
            _("the text has at most {limit} letters, digits and signs of ASCII").format(
                limit=_WORDS_LIMIT
            )
        )
    command = f"text {until:%Y-%m-%d %H:%M:%S} {told}".strip()
    _give_all(db, "text", [command], concentrators, to_all, how)


@shown.command(
    epilog="""\b
Examples:
  dianka headend job missed --db village.db
  dianka headend job missed --db village.db --days 60 --limit 500 --json
  dianka headend job missed --db village.db --days 60 --profile
\b
A concentrator reads the last seven days by itself, and this what it missed for longer: a meter has
the registers of 62 midnights. They arrive as records of the concentrator and charge nothing twice.
Given every day, it goes on where it ended; one day of a meter is asked for three times at most.
"""
)
@click.option(
    "--days",
    default=30,
    show_default=True,
    type=click.IntRange(1, missing.KEPT_DAYS),
    help="Look at so many days.",
)
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Accounts at most.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Ask for the load profile of days that a meter did not have.",
)
@_giving
def missed(db: str, days: int, limit: int, profile: bool, how: How) -> None:
    """Fetch the midnights that are missing here from the meters that have them."""
    with opened(db) as store:
        targets = missing.missed(store, days, limit, how.given.at, profile=profile)
        if targets:
            give_job(store, missing.COMMAND, targets, how.given, how.as_json)
        elif how.as_json:
            print_json({"job": None, "commands": 0})
        else:
            echo(_("no day is missing that may be asked for now"))


@shown.command(
    epilog="""\b
Examples:
  dianka headend job voltage --db village.db
  dianka headend job voltage --db village.db --each 12 --limit 60 --json
\b
Given every hour, as by cron, it samples the voltages of chosen meters, asks those that were silent
when their power went, and in the first ten days of a month each meter for what it has counted in
the month before. A question takes its line one to two seconds.
"""
)
@click.option(
    "--each",
    default=6,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Meters of each district.",
)
@click.option(
    "--limit",
    default=40,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Questions to each concentrator at most.",
)
@_giving
def voltage(db: str, each: int, limit: int, how: How) -> None:
    """Ask chosen meters for their voltages, and others for what they keep of their supply."""
    with opened(db) as store:
        targets = asking.due(store, how.given.at, asking.Budget(limit, each))
        if targets:
            give_job(store, "voltage", targets, how.given, how.as_json)
        elif how.as_json:
            print_json({"job": None, "commands": 0})
        else:
            echo(_("nothing is due that may be asked for now"))


_SIMPLE = (set_command, no_cut, guard, read, ask, journal, pay, send, clock, text)
KINDS = (*_SIMPLE, missed, voltage)
