"""`dianka counter`: the card reader of this computer, for the station's pages in its browser."""

import base64
import contextlib
import functools
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import click

from host import secret_files
from host.cards.counter import HOST, Counter, Service
from host.cli import shown
from host.cli.card.desk import Desk, Source, card_option, desk_options
from host.cli.card.orders import new_header
from host.cli.config import path_of
from host.cli.options import FILE, clear_errors
from host.cli.output import echo
from host.link.card import CardMemory, FileCard
from host.link.port import Port
from host.link.programmer import PortCard
from host.words import _

DEFAULT_PORT = 7647
_KEY_BYTES = 15
# A person has just put the card in.
_WAIT_S = 2.0


def _origin(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Return where pages come from, as browsers say it."""
    found = re.fullmatch(r"(https?://[A-Za-z0-9.\[\]:-]+?)/*", text)
    if not found:
        raise click.BadParameter(_("write the address of the pages, as https://station.example"))
    return found[1].lower()


@shown.command(
    "counter",
    epilog="""\b
Examples:
  dianka counter --pcsc
  dianka counter --pcsc --page https://station.example
  dianka counter --port /dev/ttyUSB0
\b
The first start shows a key, which is typed into the page once; --new-key makes another.
""",
)
@desk_options
@card_option
@click.option(
    "--page",
    "origin",
    default="http://127.0.0.1:8080",
    show_default=True,
    callback=_origin,
    help="Address of the station's pages, which alone are answered.",
)
@click.option(
    "--service-port",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="TCP port on this computer.",
)
@click.option(
    "--counter-key",
    "key_path",
    type=FILE,
    help="File of this computer's key.  [default: beside the configuration]",
)
@click.option("--new-key", is_flag=True, help="Make another key; pages have to be told it.")
def command(
    source: Source,
    desk: Desk,
    origin: str,
    service_port: int,
    key_path: Path | None,
    new_key: bool,
) -> None:
    """Give the pages in this computer's browser its card reader, until Ctrl-C."""
    with clear_errors():
        desk.issuer()  # the passphrase is asked for now, not at the first card
        key, is_new = _key_of(key_path or _default_path(), new_key)
        counter = Counter(
            functools.partial(_card_of, source),
            desk.key_for,
            desk.issuer,
            functools.partial(new_header, desk),
        )
        try:
            service = Service(counter, origin, key, service_port)
        except OSError as error:
            raise click.ClickException(
                _("port {port} is taken: is `dianka counter` running already?").format(
                    port=service_port
                )
            ) from error
    port = service.server_port
    echo(
        _("the card reader is at http://{place} for {origin}; Ctrl-C ends it").format(
            place=f"{HOST}:{port}", origin=origin
        )
    )
    if is_new or port != DEFAULT_PORT:
        echo(_("type this into the page once: {key}").format(key=f"{port}-{key}"))
    with contextlib.suppress(KeyboardInterrupt), service:
        service.serve_forever()


@contextlib.contextmanager
def _card_of(source: Source) -> Iterator[CardMemory]:
    """Yield the card that is there now; CardIoError: there is none."""
    with contextlib.ExitStack() as stack:
        if source.path is not None:
            yield FileCard(source.path)
        elif source.port is not None:
            board = PortCard(stack.enter_context(Port(source.port)), source.consoles())
            stack.callback(board.close)
            yield board
        else:
            from host.link.pcsc import PcscCard

            card = PcscCard(source.reader_name or "", _WAIT_S)
            stack.callback(card.close)
            yield card


def _default_path() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return path_of({"XDG_CONFIG_HOME": home}).with_name("counter-key")


def _key_of(path: Path, anew: bool) -> tuple[str, bool]:
    """Return this computer's key, and whether it was made just now."""
    if path.exists() and not anew:
        if warning := secret_files.warning_about(path):
            echo(warning, err=True)
        return path.read_text("ascii").strip(), False
    text = base64.b32encode(secrets.token_bytes(_KEY_BYTES)).decode()
    key = "-".join(text[at : at + 6] for at in range(0, len(text), 6))
    path.parent.mkdir(parents=True, exist_ok=True)
    secret_files.write(path, key + "\n", overwrite=True)
    return key, True
