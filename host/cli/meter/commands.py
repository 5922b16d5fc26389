"""`dianka meter`: a technician's questions and orders to meters, direct or by a concentrator."""

from typing import Any

import click

from host.cli import shown
from host.cli.meter import ask, collect, find, order, pay
from host.cli.meter import security as modules
from host.cli.meter.session import line_options


@shown.group(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 scan
  dianka meter --port /dev/ttyUSB0 read 983764 voltage 0001FF00
  dianka meter --console /dev/ttyACM0 --line 1 read 983764 电压数据块
  dianka meter --port socket://10.0.0.7:7000 --baud 9600 time 983764
  dianka meter --port /dev/ttyUSB0 relay 983764 trip --yes
An address has up to 12 digits; `any` is whatever meter is alone on the line. The password, PA P0
P1 P2 as 8 digits, is asked for, or taken from DIANKA_METER_PASSWORD. The options of the line may
stand before the verb or behind it. An order is sent once and its effect read back: it ends as
done, refused, not done, or not known, which --json tells as `outcome`.
"""
)
@line_options
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Find meters, read and write them, set time, freeze, switch, clear, pay in."""
    context.obj = given


for _verb in (
    *(find.scan, ask.read, collect.collect, order.write_command, order.time_command),
    *(order.freeze, order.relay, order.clear, order.password, order.address_command),
    *(order.speed, pay.recharge, modules.security, ask.send, ask.raw),
):
    command.add_command(_verb)
