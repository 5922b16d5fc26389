"""`dianka headend`: receive and store what concentrators send, sell orders, reconcile."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from host import secret_files
from host.cli import shown
from host.cli.headend import care, look, ownership, replace, restore, sales, show
from host.cli.headend.database import opened
from host.cli.headend.keys import keys_group
from host.cli.headend.register import register
from host.cli.options import FILE, database_option
from host.cli.output import echo
from host.headend import keys
from host.headend.clerk import Clerk
from host.headend.ingest import Ingest, now_t2000
from host.headend.pages import PageProcess
from host.headend.server import Connections, serve
from host.headend.shard import Shard, parse_shard
from host.words import _, system_reason

log = logging.getLogger("dianka.headend")


@shown.group(
    epilog="""\b
Examples:
  dianka headend init --db village.db
  dianka headend serve --db village.db --port 7645 --keys uplink.toml
  dianka headend sell --db village.db --account 000000000001 --amount 50.00
  dianka headend sell --db village.db --file sales.csv --out orders.csv
  dianka headend refund --db village.db --account 000000000001 --amount 20.00
  dianka headend show --db village.db
  dianka headend items --db village.db --account 000000000001
  dianka headend reconcile --db village.db --json
"""
)
def command() -> None:
    """Receive, store and acknowledge what concentrators send; sell; reconcile."""


def _shard(text: str) -> Shard:
    try:
        return parse_shard(text)
    except ValueError as error:
        raise click.BadParameter(
            _("{text}: write 3/16 for part 3 of 16, from 0 on; there are 1, 2, 4, 8 or 16").format(
                text=text
            )
        ) from error


_SHARD = click.types.FuncParamType(_shard)
_SHARD.name = "part"


@command.command(
    "serve",
    epilog="""\b
The key file is TOML, one line a concentrator:
  [uplink]
  7 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
\b
Example:
  dianka headend serve --db village.db --port 7645 --keys uplink.toml
""",
)
@database_option()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=7645,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="TCP port; 0 takes a free one, printed once it listens.",
)
@click.option(
    "--keys",
    "keys_path",
    required=True,
    type=FILE,
    help="File with each concentrator's key.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    help="Answer /healthz and /metrics on this port, in a process of its own.",
)
@click.option(
    "--shard",
    type=_SHARD,
    default="0/1",
    show_default=True,
    help="Serve only this part of the concentrators: part 3 of 16 has those of which the number "
    "divided by 16 leaves 3.",
)
@click.option(
    "--time/--no-time",
    "tells_time",
    default=True,
    show_default=True,
    help="Tell concentrators the time of this computer.",
)
def serve_command(
    db: str,
    host: str,
    port: int,
    keys_path: Path,
    http_port: int | None,
    shard: Shard,
    tells_time: bool,
) -> None:
    """Take records in over TCP, acknowledging each batch once it is committed.

    SIGHUP reads the key file again. Several head-ends may serve one PostgreSQL, each its part of
    the concentrators.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        known = keys.load(keys_path)
    except keys.KeysError as error:
        raise click.ClickException(str(error)) from error
    if warning := secret_files.warning_about(keys_path):
        echo(warning, err=True)
    with opened(db, create=True) as store, store.serving(shard):
        ingest = Ingest(store, known, shard, now_t2000 if tells_time else None)

        def reload() -> None:
            try:
                ingest.gate.keys = keys.load(keys_path)
                log.info("%d keys are known now", len(ingest.gate.keys))
            except keys.KeysError as error:
                log.error("the keys stay as they are: %s", error)

        async def answering(connections: Connections) -> None:
            address = await Clerk(store, connections).open()
            if http_port is not None:
                hint = _("choose another --http-port, or stop what uses it")
                with _clear_listening(host, http_port, hint):
                    url = await PageProcess(host, http_port, address).start()
                echo(_("pages at {url}").format(url=url))

        with _clear_listening(host, port, _("choose another --port, or stop what uses it")):
            asyncio.run(serve(ingest, host, port, _say_ready, reload=reload, answering=answering))
        for name, count in sorted(ingest.counters.items()):
            echo(f"{name}: {count}")


@contextmanager
def _clear_listening(host: str, port: int, hint: str) -> Iterator[None]:
    """Report in one line that a port cannot be listened on."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            _("cannot listen on {host}:{port}: {reason}; {hint}").format(
                host=host, port=port, reason=system_reason(error), hint=hint
            )
        ) from error


def _say_ready(host: str, port: int) -> None:
    echo(_("listening on {host}:{port}").format(host=host, port=port))


for _one in (
    care.init,
    care.upgrade,
    care.backup,
    care.verify,
    care.restore_db,
    care.retain,
    look.concentrators,
    look.findings,
    look.orders_command,
    look.day,
    look.history,
    ownership.move,
    ownership.dismiss,
    sales.limits,
    sales.void,
    replace.replace_command,
    restore.restore_command,
    sales.sell,
    sales.refund,
    show.show,
    show.items_command,
    show.reconcile_command,
):
    command.add_command(_one)
command.add_command(keys_group, "keys")
command.add_command(register)
