"""Which accounts a job is for: each named, or all of a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import click

from host.cli.options import DIGITS, FILE, clear_errors
from host.headend import commands
from host.headend.commands import Target
from host.headend.errors import StoreError
from host.headend.store import Store
from host.rows import digits, read_rows, tell_troubles
from host.words import _, marked

_COLUMN = "account"
_CHINESE = {"户号": _COLUMN}


@dataclass(frozen=True)
class Accounts:
    """Numbers of accounts; `lines` are those of the file `path` in which they stand."""

    numbers: tuple[str, ...]
    path: Path = Path()
    lines: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.numbers)

    def check(self, store: Store) -> None:
        """Refuse accounts that no concentrator has: ClickException names all, with their lines."""
        troubles: dict[int, str] = {}
        for account in self.numbers:
            try:
                commands.concentrator_of(store, account)
            except StoreError as error:
                if account not in self.lines:
                    raise
                troubles[self.lines[account]] = str(error)
        if troubles:
            raise click.ClickException(tell_troubles(self.path, troubles))


def with_accounts(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name accounts, as `accounts`."""

    @click.option("--account", multiple=True, type=DIGITS, help="Which one; may be repeated.")
    @click.option(
        "--file",
        "csv_path",
        type=FILE,
        help="Many accounts: CSV with the column account, one a line.",
    )
    @wraps(command)
    def told(*, account: tuple[str, ...], csv_path: Path | None, **others: Any) -> None:
        if account and csv_path is not None:
            raise click.UsageError(_("give --account or --file, one of them"))
        accounts = Accounts(tuple(dict.fromkeys(account)))
        if csv_path is not None:
            with clear_errors():
                accounts = _of_file(csv_path)
        command(accounts=accounts, **others)

    decorated: Callable[..., None] = told
    return decorated


def _of_file(path: Path) -> Accounts:
    """Return the accounts of a file; RowsError names every line that is wrong."""
    rows = read_rows(
        path,
        (_COLUMN,),
        lambda row: digits(row, _COLUMN),
        (marked("account"), lambda account: account),
        aliases=_CHINESE,
    )
    return Accounts((*rows.values(),), path, {account: line for line, account in rows.items()})


def needed(accounts: Accounts) -> None:
    """Raise UsageError where no account is named."""
    if not accounts:
        raise click.UsageError(_("name the accounts: --account, once for each, or --file"))


def of_accounts(store: Store, accounts: Accounts, text: str) -> list[Target]:
    """Return the command for each account; ClickException for those that nobody has."""
    accounts.check(store)
    return [
        Target(commands.concentrator_of(store, one), text.replace("{account}", one), one)
        for one in accounts.numbers
    ]
