"""`dianka card`: the group of its commands, each in the file of its subject."""

from host.cli import shown
from host.cli.card import keys, look, operator, orders, reader


@shown.group(
    epilog="""\b
Examples:
  dianka card keys new --district 4711
  dianka card issue --file card.bin --account 000000000017 --meter 000000983764 \\
      --order 1 --amount 50.00
  dianka card show --file card.bin
  dianka card redeem --file card.bin --port /dev/ttyUSB0
"""
)
def command() -> None:
    """Issue, show, judge and redeem prepaid IC cards."""


for _one in (
    *(keys.keys, orders.issue, orders.topup, orders.replace_command),
    *(operator.preset, operator.clear, operator.change_key),
    *(look.show, look.verify, look.dump, look.diff, look.log_command),
    *(reader.redeem, reader.unlock, reader.serial, reader.repair),
):
    command.add_command(_one)
