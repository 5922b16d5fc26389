"""Open the head-end's database for a command."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from host.headend.errors import StoreError
from host.headend.store import Store


@contextmanager
def opened(db: str, *, create: bool = False, read_only: bool = False) -> Iterator[Store]:
    """Open the database; a clear message where there is none, or where it fails."""
    try:
        with Store(db, create=create, read_only=read_only) as store:
            yield store
    except StoreError as error:
        raise click.ClickException(str(error)) from error
