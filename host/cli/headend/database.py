"""The head-end's database, opened for a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from host.headend.store import Store, StoreError
from host.words import _


@contextmanager
def opened(db: Path, create: bool = False) -> Iterator[Store]:
    """Yield the database; end with a clear message where there is none."""
    if not create and not db.exists():
        hint = _("`dianka headend serve` makes one")
        raise click.ClickException(_("there is no database {db}; {hint}").format(db=db, hint=hint))
    try:
        with Store(db) as store:
            yield store
    except StoreError as error:
        raise click.ClickException(str(error)) from error
