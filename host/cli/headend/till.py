"""The options of commands that sell: the cashier, and the channel of the payment."""

import functools
from typing import Any

import click

from host.cli.options import Command
from host.headend.orders import COUNTER, Till


def till_options(function: Command) -> Command:
    """Give the command `till`: the cashier, and the channel of the payment."""

    @click.option("--cashier", default="", help="Name of the cashier.  [default: none]")
    @click.option("--channel", default=COUNTER, show_default=True, help="How the money came.")
    @functools.wraps(function)
    def with_till(*words: Any, cashier: str, channel: str, **told: Any) -> Any:
        return function(*words, till=Till(cashier, channel), **told)

    return with_till
