"""`dianka sim`: simulated meters on a pty, a serial port or TCP."""

from datetime import datetime
from pathlib import Path
from typing import TextIO

import click

from host.cli import shown
from host.cli.options import DIGITS, FILE, baud_option
from host.cli.output import echo
from host.cli.sim_run import run
from host.cli.sim_shrink import shrink
from host.cli.sim_village import village
from host.sim.clock import DEFAULT_START_T2000, AcceleratedClock
from host.sim.plan import (
    FAULT_NAMES,
    Plan,
    PlanError,
    build_line,
    build_meters,
    load_plan,
    plan_of,
)
from host.sim.profile import PROFILES
from host.sim.serve import Port, PtyPort, SerialPort, ServeError, Stop, TcpPort, Trace, serve
from host.units import to_datetime, to_t2000
from host.words import _


@shown.group(
    epilog="""\b
Examples:
  dianka sim meters --count 8 --link /tmp/line
  dianka sim meters --file village.yaml --tcp 127.0.0.1:7000
"""
)
def command() -> None:
    """Simulate meters on a line, and run seeded worlds of faults."""


command.add_command(run)
command.add_command(village)
command.add_command(shrink)


@command.command(
    epilog="""\b
Examples:
  dianka sim meters --count 8 --link /tmp/line --trace meters.jsonl
  dianka sim meters --count 64 --speed 600 --fault late_reply=0.01
  dianka sim meters --file village.yaml --tcp 127.0.0.1:7000
  dianka sim meters --file village.yaml --port /dev/ttyUSB0
\b
A file tells each meter's address and, if need be, its profile, load, speed, delay ...:
  baud: 2400
  faults: {late_reply: 0.01}
  meters:
    - address: "000000000001"
      load: {percent: 250}
    - address: "000000000010"
      count: 5
      profile: state-grid
      clock_offset_s: -30
"""
)
@click.option(
    "--count",
    default=8,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Meters, with addresses that follow.",
)
@click.option(
    "--first-address", default="1", show_default=True, type=DIGITS, help="Up to 12 digits."
)
@click.option(
    "--profile",
    default="plain",
    show_default=True,
    type=click.Choice([*PROFILES]),
    help="Kind of the meters.",
)
@click.option(
    "--file",
    "plan_path",
    type=FILE,
    help="YAML file with the meters, instead of --count.",
)
@click.option("--link", type=click.Path(path_type=Path), help="Name to give the pty.")
@click.option("--port", "serial_path", help="Serial port to answer on, instead of a pty.")
@click.option("--tcp", help="HOST:PORT to listen on, instead of a pty; port 0 takes a free one.")
@baud_option(unset=True)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    default=str(to_datetime(DEFAULT_START_T2000)),
    show_default=True,
    metavar="TIME",
    help="The meters' clock at the epoch, 2026-01-02 or 2026-01-02T00:00:00.",
)
@click.option("--epoch", type=float, help="Unix time of --start.  [default: now]")
@click.option(
    "--speed",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Seconds of the meters' day in a real one.",
)
@click.option("--follow-baud", is_flag=True, help="The line has the speed set on the pty.")
@click.option("--trace", type=click.File("w"), help="File for what happens in the meters (JSON).")
@click.option("--seed", default=0, show_default=True, help="Of the faults.")
@click.option("--fault", "faults", multiple=True, help=f"NAME=CHANCE of {', '.join(FAULT_NAMES)}.")
def meters(
    count: int,
    first_address: str,
    profile: str,
    plan_path: Path | None,
    link: Path | None,
    serial_path: str | None,
    tcp: str | None,
    baud: int | None,
    start: datetime,
    epoch: float | None,
    speed: int,
    follow_baud: bool,
    trace: TextIO | None,
    seed: int,
    faults: tuple[str, ...],
) -> None:
    """Answer as meters do, until interrupted."""
    if sum(one is not None for one in (link, serial_path, tcp)) > 1:
        raise click.UsageError(_("--link is for a pty: take one of --link, --port and --tcp"))
    if follow_baud and (serial_path or tcp):
        raise click.UsageError(_("--follow-baud is for a pty: leave --port and --tcp out"))
    clock = AcceleratedClock(to_t2000(start), speed, epoch)
    try:
        if plan_path:
            plan = load_plan(plan_path)
        else:
            plan = plan_of(count, first_address, baud or 2400, profile)
        plan = _changed(plan, baud, faults)
        served = build_meters(plan, clock.now_t2000())
        line = build_line(plan, served, clock, seed, paced=serial_path is not None)
        with Stop().on_signals() as stop:
            port = _open(link, serial_path, tcp, plan.baud)
            try:
                echo(
                    _("serving {served} meters on {name}").format(
                        served=len(served), name=port.name
                    )
                )
                serve(port, line, Trace(trace, clock, served), stop, follow=follow_baud)
            finally:
                port.close()
    except (PlanError, ServeError) as error:
        raise click.ClickException(str(error)) from error
    for name, number in sorted(line.counters.items()):
        echo(f"{name}: {number}")


def _changed(plan: Plan, baud: int | None, faults: tuple[str, ...]) -> Plan:
    """Return the plan with what the command line says otherwise."""
    chances = dict(plan.faults)
    for one in faults:
        name, _equals, chance = one.partition("=")
        try:
            chances[name] = float(chance)
        except ValueError:
            raise click.UsageError(
                _("--fault {one}: write it as late_reply=0.01").format(one=one)
            ) from None
    return plan.model_copy(update={"faults": chances, "baud": baud or plan.baud})


def _open(link: Path | None, serial_path: str | None, tcp: str | None, baud: int) -> Port:
    if serial_path is not None:
        return SerialPort(serial_path, baud)
    if tcp is None:
        return PtyPort(link)
    host, _colon, number = tcp.rpartition(":")
    if not host or not number.isdigit() or int(number) > 65535:
        raise click.UsageError(_("--tcp {tcp}: write it as 127.0.0.1:7000").format(tcp=tcp))
    return TcpPort(host, int(number))
