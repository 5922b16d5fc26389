"""`dianka meter security`: the keys in a meter's security module, and what it proves with them."""

import click

from host.cli import shown
from host.cli.meter.session import Session, print_answers, with_session
from host.cli.options import address_argument
from host.cli.output import echo, print_json
from host.frames import orders
from host.link import security as modules
from host.link.key_server import KeyServer, KeyServerError
from host.link.meters import AskError, MeterLine
from host.units import yuan
from host.words import _

key_server_option = click.option(
    "--key-server",
    "key_server",
    help="The program that asks the utility's key server; docs/TRUST.md has its lines.",
)


@shown.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 security 983764
  dianka meter --port /dev/ttyUSB0 security 983764 --key-server "ask-key-server --site 7"
"""
)
@address_argument
@key_server_option
@with_session
def security(session: Session, address: str, key_server: str | None) -> None:
    """Show the keys of a meter's security module (ESAM), and let it prove that it has them.

    Without --key-server the meter is only asked. With it the key server is authenticated to the
    module, the MACs on the money in it are judged, and the authentication is ended again.
    """
    session.need_2007("security")
    with session.opened() as line:
        looks = [line.read(address, *orders.read("2007", di)) for di in modules.LOOKS]
        address = looks[0].address
        said = [
            session.described(frame, di) for frame, di in zip(looks, modules.LOOKS, strict=True)
        ]
        if not session.as_json:
            print_answers(said, _("Meter {address}").format(address=address))
            if said[0]["error"]:
                echo(
                    _(
                        "meter {address} tells no status of keys, as one without a security "
                        "module does: what it answers is believed, see docs/TRUST.md"
                    ).format(address=address)
                )
        if key_server is None:
            if session.as_json:
                print_json({"meter": address, "answers": said, "purse": None})
            return
        try:
            with KeyServer(key_server) as server:
                entered = modules.authenticate(line, address, server)
                try:
                    purse = modules.read_purse(line, address, server, entered)
                finally:
                    end_authentication(line, address)
        except KeyServerError as error:
            raise click.ClickException(str(error)) from error
    if session.as_json:
        print_json({"meter": address, "answers": said, "purse": _told(entered, purse)})
    else:
        _say(address, entered, purse)
    if not purse.is_proven:
        raise click.ClickException(
            _(
                "a MAC of meter {address} is not of its keys: something else has answered for its "
                "security module, or the key server has other keys; look at the wiring"
            ).format(address=address)
        )


def end_authentication(line: MeterLine, address: str) -> None:
    """End the authentication, and say where it stays open."""
    try:
        modules.end(line, address)
    except AskError as error:
        echo(
            _("the authentication stays open until its time is over: {error}").format(error=error),
            err=True,
        )


def _told(entered: modules.Authentication, purse: modules.Purse) -> dict[str, object]:
    keys = purse.keys
    return {
        "serial": entered.serial.hex().upper(),
        "proven": purse.is_proven,
        "money": yuan(purse.amount_fen),
        "purchases": purse.count,
        "customer": purse.customer,
        "key": {
            "formal": keys.is_formal,
            "remote": keys.is_remote,
            "number": keys.number,
            "version": keys.version,
        },
    }


def _say(address: str, entered: modules.Authentication, purse: modules.Purse) -> None:
    """Say what the module holds, and what of it is proven."""
    echo(
        _("meter {address}: its module {serial} has let the key server in").format(
            address=address, serial=entered.serial.hex().upper()
        )
    )
    keys = purse.keys
    echo(
        _("last update of a key: {kind}, {way}, key {number}, version {version}").format(
            kind=_("formal keys") if keys.is_formal else _("keys for tests"),
            way=_("from afar") if keys.is_remote else _("on the spot"),
            number=keys.number,
            version=keys.version,
        )
    )
    if purse.is_proven:
        echo(
            _("proven by the module: {amount} yuan after {count} purchases").format(
                amount=yuan(purse.amount_fen), count=purse.count
            )
        )
