"""The options of `dianka headend serve` that tell a broker of MQTT, and the start of that."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import click

from host import installed
from host.cli.options import FILE, Command
from host.cli.output import echo
from host.headend.mqtt.broker import Broker, BrokerError, parse_broker
from host.headend.pages import KeptProcess
from host.words import _


def broker_options(function: Command) -> Command:
    """Give the command `broker`, None: there is none."""

    @click.option(
        "--mqtt",
        "url",
        metavar="URL",
        help="Show balance, energy and relay of each account to Home Assistant by this broker, as "
        "mqtts://USER@HOST:PORT, in a process of its own.",
    )
    @click.option(
        "--mqtt-password", "password", type=FILE, help="File with the password of its user."
    )
    @click.option(
        "--mqtt-ca", "authority", type=FILE, help="Certificate that its own is to be signed by."
    )
    @click.option(
        "--mqtt-topic",
        "topic",
        default="dianka",
        show_default=True,
        help="What the names of all topics begin with.",
    )
    @functools.wraps(function)
    def with_broker(
        *words: Any,
        url: str | None,
        password: Path | None,
        authority: Path | None,
        topic: str,
        **told: Any,
    ) -> Any:
        return function(*words, broker=_checked(url, password, authority, topic), **told)

    return with_broker


def _checked(
    url: str | None, password: Path | None, authority: Path | None, topic: str
) -> Broker | None:
    if url is None:
        if password or authority or topic != "dianka":
            raise click.UsageError(_("give --mqtt as well"))
        return None
    if importlib.util.find_spec("paho") is None:
        text = _("MQTT needs one more package: {command}")
        raise click.ClickException(text.format(command=installed.how_to_add("mqtt")))
    try:
        broker = parse_broker(url, str(password or ""), str(authority or ""), topic)
        broker.secret()
        broker.context()
    except BrokerError as error:
        raise click.ClickException(str(error)) from error
    return broker


async def begin_telling(database: str, broker: Broker) -> None:
    """Start the process that tells the broker. ClickException: it is refused there."""
    if broker.is_open_to_others:
        text = _("warning: without TLS others on the network read what {place} is told")
        echo(text.format(place=broker.place), err=True)
    try:
        await KeptProcess("host.headend.mqtt", [database, broker.words()], "ready").start()
    except OSError as error:
        raise click.ClickException(str(error.strerror)) from error
    echo(_("the broker at {place} is told of each account").format(place=broker.place))
