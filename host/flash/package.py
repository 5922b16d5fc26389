"""A product in one file, with a version counter and a signature, and what may be installed.

    files         VERSION COUNTER, then a line `SHA-256 NAME` for each file, as in a slot
    signature     128 hexadecimal digits: Ed25519 over "dianka/firmware/1" 00 and all of `files`
    every file that `files` names

It is an uncompressed tar file. A board on which a signer was installed has the public key in the
file `signer` of its root. From then on this program installs what that key has signed. The board
keeps the greatest counter that ran there healthily in `newest`; nothing older is installed.
"""

import io
import re
import tarfile
from pathlib import Path, PurePosixPath

from host import secret_files
from host.flash.product import Product, ProductError
from host.words import _, system_reason

COUNTER_LIMIT = 0x3FFFFFFF
_LABEL = b"dianka/firmware/1\0"
_LISTING = "files"
_SIGNATURE = "signature"
# More than any board has room for.
_SIZE_LIMIT = 1 << 24


def new_signer(path: Path, passphrase: str) -> str:
    """Write a new private key, sealed with the passphrase; return its public key, 64 digits."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    sealed = forms.BestAvailableEncryption(passphrase.encode())
    pem = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, sealed)
    try:
        secret_files.write(path, pem.decode())
    except OSError as error:
        raise ProductError(
            _("cannot write {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    return key.public_key().public_bytes_raw().hex()


def signed(product: Product, signer: Path, passphrase: str) -> Product:
    """Return the product with the signature of a private key; ProductError: there is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(signer.read_bytes(), passphrase.encode())
    except OSError as error:
        raise ProductError(
            _("cannot read {path}: {strerror}").format(path=signer, strerror=system_reason(error))
        ) from error
    except (ValueError, TypeError) as error:
        raise ProductError(
            _("{path} is no private key, or the passphrase is another one").format(path=signer)
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ProductError(_("{path} is no key of Ed25519").format(path=signer))
    return Product(
        product.version, product.files, product.counter, key.sign(_LABEL + product.listing).hex()
    )


def is_signed_by(listing: bytes, signature: str, public_key: str) -> bool:
    """Return whether `signature` is over the list of files, by the key of `public_key`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(signature), _LABEL + listing)
    except (ValueError, InvalidSignature):
        return False
    return True


def check_signer(listing: bytes, signature: str, signer: str) -> None:
    """Raise ProductError where a board with that signer does not take what is listed."""
    if signer and not signature:
        raise ProductError(
            _(
                "the board takes signed products alone: give one with --package, or "
                "--allow-unsigned where you know what you install"
            )
        )
    if signer and not is_signed_by(listing, signature, signer):
        raise ProductError(_("the product was not signed by the key that is on the board"))


def check_counter(listing: bytes, newest: int) -> None:
    """Raise ProductError where what is listed is older than the newest that ran on a board."""
    counter = _head_of(listing)[1]
    if counter < newest:
        raise ProductError(
            _(
                "the product has the counter {counter}, and {newest} ran on the board: an older "
                "one is not started there. Pack what is to run under a greater counter"
            ).format(counter=counter, newest=newest)
        )


def write(path: Path, product: Product) -> None:
    """Write the product into one file; ProductError: it cannot be written."""
    try:
        with tarfile.open(path, "x", format=tarfile.USTAR_FORMAT) as package:
            parts = {_LISTING: product.listing, _SIGNATURE: product.signature.encode()}
            for name, data in {**parts, **product.files}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                package.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise ProductError(
            _("cannot write {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error


def read(path: Path) -> Product:
    """Return the product of a file, whose every hash is right; ProductError: it is no package."""
    held: dict[str, bytes] = {}
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise _no_package(path, _("it is too big"))
        with tarfile.open(path, "r:") as package:
            for entry in package:
                name = PurePosixPath(entry.name)
                if not entry.isreg() or name.is_absolute() or ".." in name.parts:
                    raise _no_package(path, _("{name} is no plain file").format(name=entry.name))
                content = package.extractfile(entry)
                held[entry.name] = content.read() if content else b""
    except OSError as error:
        raise ProductError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except tarfile.TarError as error:
        raise _no_package(path, _("it is no tar file")) from error
    return _product(path, held)


def _product(path: Path, held: dict[str, bytes]) -> Product:
    listing = held.pop(_LISTING, b"")
    signature = held.pop(_SIGNATURE, b"").decode("ascii", "replace")
    version, counter = _head_of(listing)
    product = Product(version, held, counter, signature)
    if product.listing != listing:
        raise _no_package(path, _("its list of files is damaged"))
    return product


def _head_of(listing: bytes) -> tuple[str, int]:
    """Return version and counter of a list of files, "" and 0 where its first line is none."""
    first = listing.partition(b"\n")[0].decode("utf-8", "replace")
    found = re.fullmatch(r"([\w.+-]{1,60})(?: ([0-9]{1,10}))?", first)
    return (found[1], int(found[2] or 0)) if found else ("", 0)


def _no_package(path: Path, why: str) -> ProductError:
    return ProductError(
        _("{path} is no package of `dianka firmware pack`: {why}").format(path=path, why=why)
    )
