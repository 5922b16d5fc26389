"""The database that the commands of `dianka headend` work on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from host.headend.store import Store, StoreError

database_option = click.option(
    "--db",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite database of the head-end.",
)


@contextmanager
def opened(path: Path, create: bool = False) -> Iterator[Store]:
    """The database at `path`; a clear message where there is none."""
    if not create and not path.exists():
        hint = "`dianka headend serve` makes one"
        raise click.ClickException(f"there is no database {path}; {hint}")
    try:
        with Store(path) as store:
            yield store
    except StoreError as error:
        raise click.ClickException(str(error)) from error
