"""`dianka firmware`: the product in one file, with a version counter and a signature."""

import tempfile
from pathlib import Path

import click

from host.cli import shown
from host.cli.options import FILE, clear_errors, new_passphrase, passphrase
from host.cli.output import echo
from host.flash import package
from host.flash import product as products
from host.words import _


@shown.group(
    epilog="""\b
Examples:
  dianka firmware signer --out signer.pem
  dianka firmware pack --platform esp32 --arch xtensawin --counter 7 --signer signer.pem \\
      --out dianka-esp32.pkg
"""
)
def command() -> None:
    """Make a signer, and packages that boards take from it alone."""


@command.command(
    "signer",
    epilog="""\b
Example:
  dianka firmware signer --out signer.pem
""",
)
@click.option("--out", required=True, type=FILE, help="The private key to make; keep it offline.")
def signer_command(out: Path) -> None:
    """Make the key that signs packages, and print its public key for `dianka flash --signer`."""
    with clear_errors():
        echo(package.new_signer(out, new_passphrase()))


@command.command(
    "pack",
    epilog="""\b
Example:
  dianka firmware pack --platform rp2 --arch armv6m --counter 7 --signer signer.pem --out p.pkg
""",
)
@click.option(
    "--platform",
    required=True,
    type=click.Choice(sorted(products.BOARDS)),
    help="MicroPython's name of the port.",
)
@click.option(
    "--arch",
    required=True,
    type=click.Choice(sorted(products.ARCHITECTURES)),
    help="Machine code of the board.",
)
@click.option(
    "--counter",
    required=True,
    type=click.IntRange(1, package.COUNTER_LIMIT),
    help="Above that of every package before: a board does not go back behind it.",
)
@click.option("--signer", "signer_path", type=FILE, help="The key that signs it.")
@click.option("--out", required=True, type=FILE, help="The package to make.")
def pack_command(
    platform: str, arch: str, counter: int, signer_path: Path | None, out: Path
) -> None:
    """Compile the firmware for one kind of board and pack it, signed, into one file."""
    with clear_errors(), tempfile.TemporaryDirectory() as build:
        made = products.make(
            products.firmware(), platform, arch, Path(build), lambda _done, _whole: None
        )
        product = products.Product(made.version, made.files, counter)
        if signer_path is not None:
            product = package.signed(product, signer_path, passphrase())
        package.write(out, product)
    text = _("{out}: {version}, counter {counter}, signed")
    if signer_path is None:
        text = _("{out}: {version}, counter {counter}, NOT signed")
    echo(text.format(out=out, version=product.version, counter=counter))
