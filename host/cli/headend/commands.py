"""`dianka headend`: receive and store what concentrators send, sell orders, reconcile."""

import asyncio
import gc
import logging
import ssl
from functools import partial
from pathlib import Path

import click

from host import secret_files
from host.cli import shown
from host.cli.headend import care, job, look, ownership, replace, restore, sales, show, user
from host.cli.headend.account import account, approval
from host.cli.headend.audit import audit_group
from host.cli.headend.brokering import begin_telling, broker_options
from host.cli.headend.channel import channel
from host.cli.headend.clues import clues_command
from host.cli.headend.complaint import complaint
from host.cli.headend.credit import credit
from host.cli.headend.database import opened
from host.cli.headend.drawer import drawer, figures_command
from host.cli.headend.job_kinds import KINDS
from host.cli.headend.keys import keys_group
from host.cli.headend.lease import lease
from host.cli.headend.load import load_group
from host.cli.headend.losses import losses_command
from host.cli.headend.month import month_command
from host.cli.headend.noticing import begin_notices, household_page, notices_group
from host.cli.headend.paging import Pages, clear_listening, open_pages, page_options
from host.cli.headend.payment import payment
from host.cli.headend.person import person
from host.cli.headend.planned_outage import planned_outage
from host.cli.headend.quality import begin_routine, outages, quality, voltage
from host.cli.headend.receipt import quote, receipt
from host.cli.headend.recharge import recharge
from host.cli.headend.register import register
from host.cli.headend.room import room
from host.cli.headend.tickets import tickets_group
from host.cli.headend.topology import connect, district, feed, supply
from host.cli.options import FILE, database_option
from host.cli.output import echo
from host.headend import keys, logs
from host.headend.clerk import Clerk
from host.headend.ingest import Ingest
from host.headend.mqtt.broker import Broker
from host.headend.pages import PageProcess
from host.headend.server import Connections, Secured, serve
from host.headend.shard import Shard, parse_shard
from host.units import now_t2000
from host.words import _, system_reason

# The state in memory is large and has hardly any circles: to look for them seldom saves a tenth.
_GARBAGE = (100_000, 50, 1000)

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
@page_options
@click.option(
    "--notices",
    "notices_path",
    type=FILE,
    help="Send notices to households as this file says, in a process of its own.",
)
@broker_options
@click.option(
    "--routine",
    "routine_hour",
    type=click.IntRange(0, 23),
    help="Ask meters each hour, and from this hour of the day on fetch missing midnights and open "
    "findings of yesterday.  [default: on command only]",
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
@click.option("--tls-cert", type=FILE, help="Certificate of the port for carriers with TLS, PEM.")
@click.option("--tls-key", type=FILE, help="Private key of that certificate, PEM.")
@click.option(
    "--tls-port",
    default=8645,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port for carriers with TLS, beside the other one.",
)
@click.option(
    "--log-format",
    "log_form",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="Write the log as lines of text or as one JSON object a line.",
)
def serve_command(
    db: str,
    host: str,
    port: int,
    keys_path: Path,
    http_port: int | None,
    pages: Pages | None,
    notices_path: Path | None,
    routine_hour: int | None,
    broker: Broker | None,
    shard: Shard,
    tells_time: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_port: int,
    log_form: str,
) -> None:
    """Take records in over TCP, acknowledging each batch once it is committed.

    SIGHUP reads the key file and the certificate again. Several head-ends may serve one
    PostgreSQL, each its part of the concentrators.
    """
    logs.begin(log_form)
    try:
        known = keys.read(keys_path)
        secured = _secured(tls_cert, tls_key, tls_port)
    except (keys.KeysError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for path in filter(None, (keys_path, tls_key, notices_path)):
        if warning := secret_files.warning_about(path):
            echo(warning, err=True)
    gc.set_threshold(*_GARBAGE)
    with opened(db, create=True) as store, store.serving(shard):
        tell_t2000 = partial(now_t2000, store.zone()) if tells_time else None
        ingest = Ingest(store, known.keys, shard, tell_t2000)
        ingest.gate.withdrawn = known.withdrawn

        async def answering(connections: Connections) -> None:
            address = await Clerk(store, connections).open()
            if http_port is not None:
                await _open_metrics(host, http_port, address)
            if pages is not None:
                await open_pages(store, pages)
            if notices_path is not None:
                await begin_notices(store.address, notices_path)
            if routine_hour is not None:
                await begin_routine(store.address, routine_hour)
            if broker is not None:
                await begin_telling(store.address, broker)

        with clear_listening(host, *_ports(port, tls_port if secured else None)):
            asyncio.run(
                serve(
                    *(ingest, host, port, _say_ready),
                    reload=partial(_reload, ingest, keys_path, secured, tls_cert, tls_key),
                    answering=answering,
                    secured=secured,
                )
            )
        for name, count in sorted(ingest.counters.items()):
            echo(f"{name}: {count}")


def _reload(
    ingest: Ingest,
    keys_path: Path,
    secured: Secured | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Read the key file and the certificate again; the old ones stay where they are no good."""
    try:
        found = keys.read(keys_path)
        ingest.gate.withdrawn, ingest.gate.keys = found.withdrawn, found.keys
        log.info("%d keys are known now", len(found.keys))
        if secured is not None and tls_cert is not None:
            secured.context.load_cert_chain(tls_cert, tls_key)
    except (keys.KeysError, OSError) as error:
        log.error("the keys stay as they are: %s", error)
    if warning := secret_files.warning_about(keys_path):
        log.warning("%s", warning)


async def _open_metrics(host: str, port: int, address: str) -> None:
    hint = _("choose another --http-port, or stop what uses it")
    with clear_listening(host, port, hint):
        url = await PageProcess(host, port, address).start()
    echo(_("pages at {url}").format(url=url))


def _ports(port: int, tls_port: int | None) -> tuple[int | str, str]:
    """Return the ports that are listened on, and what to do where they cannot be."""
    if tls_port is None:
        return port, _("choose another --port, or stop what uses it")
    hint = _("choose another --port or --tls-port, or stop what uses it")
    return f"{port}, {tls_port}", hint


def _secured(cert: Path | None, key: Path | None, port: int) -> Secured | None:
    """Return the port for carriers with TLS, None: there is none. OSError: a file is no good."""
    if cert is None:
        if key is not None:
            raise click.UsageError(_("give --tls-cert as well"))
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        text = _("{cert}: not a certificate with its private key, in PEM: {error}")
        raise click.ClickException(text.format(cert=cert, error=error.reason)) from error
    except OSError as error:
        text = _("cannot read {path}: {strerror}")
        raise click.ClickException(
            text.format(path=key or cert, strerror=system_reason(error))
        ) from error
    return Secured(port, context, _say_secured)


def _say_ready(host: str, port: int) -> None:
    echo(_("listening on {host}:{port}").format(host=host, port=port))


def _say_secured(host: str, port: int) -> None:
    echo(_("listening with TLS on {host}:{port}").format(host=host, port=port))


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
    ownership.waiting,
    ownership.move,
    ownership.dismiss,
    job.top_up,
    job.job,
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
for _one in KINDS:
    job.job.add_command(_one)
command.add_command(keys_group, "keys")
command.add_command(register)
command.add_command(user.user)
command.add_command(audit_group, "audit")
command.add_command(account)
command.add_command(drawer)
command.add_command(figures_command)
command.add_command(lease)
command.add_command(losses_command)
command.add_command(load_group, "load")
command.add_command(clues_command)
for _topic in (supply, feed, connect, district):
    command.add_command(_topic)
command.add_command(quote)
command.add_command(room)
command.add_command(credit)
command.add_command(receipt)
command.add_command(approval)
command.add_command(channel)
command.add_command(payment)
command.add_command(person)
command.add_command(planned_outage)
command.add_command(complaint)
command.add_command(month_command)
command.add_command(tickets_group)
command.add_command(recharge)
command.add_command(quality)
command.add_command(voltage)
command.add_command(outages)
command.add_command(notices_group, "notices")
command.add_command(household_page, "household-page")
