"""The options of `dianka headend serve` that show the station's pages, and the start of them."""

import functools
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from host.cli.options import Command
from host.cli.output import echo
from host.headend import users
from host.headend.pages import PageProcess
from host.headend.store import Store
from host.words import _, system_reason

_LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Pages:
    """Where the pages are to be, and for whom."""

    host: str
    port: int
    simple: bool
    https: bool


def _address(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(
            _("{text}: write an address and a port, as 127.0.0.1:8080").format(text=text)
        )
    return host, int(port)


_ADDRESS = click.types.FuncParamType(_address)
_ADDRESS.name = "host:port"


def page_options(function: Command) -> Command:
    """Give the command `pages`, None: there are none."""

    @click.option(
        "--page",
        type=_ADDRESS,
        help="Show the station's pages at this address, as 127.0.0.1:8080, in a process of its "
        "own.",
    )
    @click.option(
        "--simple",
        is_flag=True,
        help="With --page: nobody signs in, whoever is at this computer may do everything.",
    )
    @click.option(
        "--page-https",
        "https",
        is_flag=True,
        help="With --page: a proxy with TLS stands before the pages, and others reach them "
        "through it.",
    )
    @functools.wraps(function)
    def with_pages(
        *words: Any, page: tuple[str, int] | None, simple: bool, https: bool, **told: Any
    ) -> Any:
        return function(*words, pages=_checked(page, simple, https), **told)

    return with_pages


def _checked(page: tuple[str, int] | None, simple: bool, https: bool) -> Pages | None:
    """Refuse what would show the pages, or passwords, to those who should not see them."""
    if page is None:
        if simple or https:
            raise click.UsageError(_("give --page as well"))
        return None
    if simple and https:
        raise click.UsageError(_("give --simple or --page-https, not both"))
    if page[0] not in _LOOPBACK and not https:
        hint = _("put a proxy with TLS before it and give --page-https, or use 127.0.0.1")
        raise click.UsageError(
            _("without TLS the pages are for this computer alone: {hint}").format(hint=hint)
        )
    return Pages(*page, simple, https)


async def open_pages(store: Store, pages: Pages) -> None:
    """Start the process of the pages, and say where they are."""
    if any(importlib.util.find_spec(name) is None for name in ("django", "ninja")):
        raise click.ClickException(
            _("the pages need more packages: pip install 'dianka[station]'")
        )
    words = [word for word in ("simple", "https") if getattr(pages, word)]
    told = (store.address, *words)
    process = PageProcess(pages.host, pages.port, *told, module="host.headend.web")
    hint = _("choose another --page, or stop what uses it")
    with clear_listening(pages.host, pages.port, hint):
        url = await process.start()
    echo(_("the station's pages are at {url}").format(url=url))
    if not pages.simple and not users.people(store):
        text = _("nobody may sign in yet: `dianka headend user add NAME --role admin --db {db}`")
        echo(text.format(db=store.address))


@contextmanager
def clear_listening(host: str, port: int | str, hint: str) -> Iterator[None]:
    """Report in one line that a port cannot be listened on."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            _("cannot listen on {host}:{port}: {reason}; {hint}").format(
                host=host, port=port, reason=system_reason(error), hint=hint
            )
        ) from error
