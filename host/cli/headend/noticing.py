"""`dianka headend notices` and `household-page`: what households are told, and what they see."""

import importlib.util
from pathlib import Path

import click

from host import secret_files
from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.job_accounts import Accounts, needed, with_accounts
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import FILE, account_argument, account_option, database_option
from host.cli.output import Column, echo
from host.headend import household_links, notices
from host.headend.pages import KeptProcess
from host.units import full_number
from host.words import LANGUAGES, _

_KIND = click.Choice(notices.KINDS)
_reason = click.option("--reason", required=True, help="The reason, for an auditor.")


async def begin_notices(database: str, path: Path) -> None:
    """Start the process of the notices. ClickException: its file cannot be used."""
    if importlib.util.find_spec("apprise") is None:
        raise click.ClickException(_("notices need more packages: pip install 'dianka[station]'"))
    try:
        await KeptProcess("host.headend.noticing", [database, str(path)], "ready").start()
    except OSError as error:
        raise click.ClickException(str(error.strerror)) from error
    echo(_("notices are sent as {path} says").format(path=path))


@shown.group(
    epilog="""\b
Examples:
  dianka headend notices check notices.toml
  dianka headend notices list --state "not delivered" --db village.db
  dianka headend notices tell "before a cut" --account 1 --value debt=52.10 \\
      --value when=2026-07-12 --reason arrears --db village.db
  dianka headend notices again 17 --reason "the gateway was down" --db village.db
"""
)
def notices_group() -> None:
    """Tell households what they have to know, and see what has arrived."""


@notices_group.command(
    "check",
    epilog="""\b
Example:
  dianka headend notices check notices.toml
""",
)
@click.argument("path", type=FILE)
def check(path: Path) -> None:
    """Check the file of --notices; nothing is sent."""
    # apprise is loaded here alone: other commands start without it.
    from host.headend.noticing import sending, settings

    try:
        told = settings.read(path)
        sending.check(told.all_ways)
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error
    if warning := secret_files.warning_about(path):
        echo(warning, err=True)
    for way in told.ways:
        to = _("to the station") if way.is_office else _("to households")
        echo(f"{way.name}: {way.url.partition(':')[0]}, {to}")


@notices_group.command(
    "list",
    epilog="""\b
Examples:
  dianka headend notices list --account 1 --db village.db
  dianka headend notices list --state "not known" --db village.db --json
""",
)
@account_option("Only those of an account.")
@click.option("--kind", metavar="KIND", type=_KIND, default=None, help="Only those of a kind.")
@click.option(
    "--state",
    metavar="STATE",
    type=click.Choice(notices.STATES),
    default=None,
    help="Only in a state.",
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The most."
)
@database_option()
@lists
def list_command(
    account: str | None,
    kind: str | None,
    state: str | None,
    limit: int,
    db: str,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List notices, the newest first: what was sent, when, how, and whether it arrived."""
    with opened(db, read_only=True) as store:
        rows = notices.notices(
            store, account=account or "", kind=kind or "", state=state or "", limit=limit
        )
        rows = localised(rows, store.zone())
    for row in rows:
        row.pop("event")
    columns = (
        (Column(_("number"), right=True), "number"),
        (Column(_("account")), "account"),
        (Column(_("notice")), "kind"),
        (Column(_("state")), "state"),
        (Column(_("way")), "way"),
        (Column(_("sent")), "sent_at"),
        (Column(_("text"), wraps=True), "text"),
        (Column(_("reason"), wraps=True), "why"),
    )
    print_list("notices", rows, columns, as_json, as_csv, _("there is none"))


def _number(text: str) -> str:
    try:
        return full_number(text)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@notices_group.command(
    "tell",
    epilog="""\b
Examples:
  dianka headend notices tell "before a cut" --account 1 --value debt=52.10 \\
      --value when=2026-07-12 --reason arrears --db village.db
  dianka headend notices tell "price change" --file village.csv --value since=2026-08-01 \\
      --event "prices of August" --reason "the new tariff" --db village.db
\b
A household is told once of an event: a command that was cut off is given again as it stands.
""",
)
@click.argument(
    "kind",
    metavar="KIND",
    type=click.Choice([one for one in notices.KINDS if one != notices.CODE]),
)
@with_accounts
@click.option("--value", "values", multiple=True, help="A value of the text, as name=value.")
@click.option("--event", default="", help="What it is about; left out, the values are.")
@_reason
@database_option()
def tell(
    kind: str, accounts: Accounts, values: tuple[str, ...], event: str, reason: str, db: str
) -> None:
    """Tell households something, each once: a cut, an outage, other prices."""
    from host.headend.noticing import texts

    needed(accounts)
    told = {}
    for one in values:
        name, sign, value = one.partition("=")
        if not sign or name not in texts.names_of(kind):
            known = ", ".join(sorted(texts.names_of(kind) - texts.COMMON))
            raise click.UsageError(
                _("{value!r}: a value is written as name=value, names are {names}").format(
                    value=one[:40], names=known
                )
            )
        told[name] = value
    called = event or " ".join(f"{name}={told[name]}" for name in sorted(told))
    numbers = [_number(one) for one in accounts.numbers]
    with opened(db) as store:
        made = notices.tell_households(
            store, kind, numbers, called[: notices.EVENT_LIMIT] or kind, told, reason
        )
    echo(
        _("{made} notices are made, {others} had been").format(
            made=made, others=len(numbers) - made
        )
    )


@notices_group.command(
    "again",
    epilog="""\b
Example:
  dianka headend notices again 17 --reason "the gateway was down" --db village.db
""",
)
@click.argument("number", type=click.IntRange(1, 1 << 40))
@_reason
@database_option()
def again(number: int, reason: str, db: str) -> None:
    """Send a notice again that did not arrive, or of which nobody knows."""
    with opened(db) as store:
        notices.send_again(store, number, reason)
    echo(_("notice {number} is sent again").format(number=number))


@notices_group.command(
    "choose",
    epilog="""\b
Example:
  dianka headend notices choose 1 --email wang@example.com --language zh \\
      --refuse "next tier" --reason "asked at the counter" --db village.db
""",
)
@account_argument
@click.option("--email", default="", help="Where it gets e-mail; left out: nowhere.")
@click.option("--language", type=click.Choice(LANGUAGES), help="Of its notices.")
@click.option(
    "--refuse",
    "refused",
    multiple=True,
    metavar="KIND",
    type=click.Choice([one for one in notices.KINDS if one not in notices.OWED]),
    help="A kind that it does not want; may be repeated.",
)
@_reason
@database_option()
def choose(
    account: str, email: str, language: str | None, refused: tuple[str, ...], reason: str, db: str
) -> None:
    """Say how a household wants its notices; what is left out is as usual again."""
    with opened(db) as store:
        kinds = [*dict.fromkeys(refused)]
        notices.choose_notices(store, account, email, language or "", kinds, reason)
    echo(_("account {account} gets its notices so").format(account=account))


@shown.group(
    epilog="""\b
Examples:
  dianka headend household-page set --url https://power.example --phone 0571-8888 --db village.db
  dianka headend household-page link 1 --db village.db
  dianka headend household-page revoke 1 --reason "the receipt was lost" --db village.db
"""
)
def household_page() -> None:
    """Give households pages of their own, which receipts lead to, and take links back."""


@household_page.command(
    "set",
    epilog="""\b
Example:
  dianka headend household-page set --url https://power.example --phone 0571-8888 \\
      --pay "at the counter, or by WeChat" --db village.db
""",
)
@click.option("--url", help="Where households reach the pages: https and a name.")
@click.option("--phone", "hotline", help="The telephone that they may call.")
@click.option("--pay", "pay_at", help="Where and how they can pay.")
@database_option()
def set_command(url: str | None, hotline: str | None, pay_at: str | None, db: str) -> None:
    """Say where households' pages are, whom to call and how to pay; the rest stays."""
    if url is None and hotline is None and pay_at is None:
        raise click.UsageError(_("give --url, --phone or --pay"))
    with opened(db) as store:
        household_links.set_station(store, url, hotline, pay_at)
        told = household_links.station(store)
    echo(
        _("pages: {url}, telephone: {phone}, pay: {pay}").format(
            url=told.page_url or "–", phone=told.hotline or "–", pay=told.pay_at or "–"
        )
    )


@household_page.command(
    "link",
    epilog="""\b
Example:
  dianka headend household-page link 1 --db village.db
""",
)
@account_argument
@database_option()
def link(account: str, db: str) -> None:
    """Print the link of a household's page, as its receipts have it: give it to nobody else."""
    with opened(db, read_only=True) as store:
        found = household_links.link_of(store, account)
    if not found:
        raise click.ClickException(
            _(
                "there is no page of account {account}: it is not open, or the pages have no "
                "address, see `dianka headend household-page set`"
            ).format(account=account)
        )
    echo(found)


@household_page.command(
    "revoke",
    epilog="""\b
Example:
  dianka headend household-page revoke 1 --reason "the receipt was lost" --db village.db
""",
)
@account_argument
@_reason
@database_option()
def revoke(account: str, reason: str, db: str) -> None:
    """End all links to a household's page; its next receipt has another one."""
    with opened(db) as store:
        household_links.revoke_links(store, account, reason)
    echo(_("the links of account {account} have ended").format(account=account))
