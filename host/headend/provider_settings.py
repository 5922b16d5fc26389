"""The settings of a provider of payments, its keys, and calls to it over HTTP.

    gateway = "https://pay.example"
    private_key = "apiclient_key.pem"

    [provider_keys]
    5157F09EFDC096DE15EBE81A47057A7232F1B8E1 = "wechatpay.pem"

The file and the private key belong to their owner alone (`host.secret_files`). Names of files
are beside the file that has them. They are read for each call, so a new key counts at once.
"""

import base64
import json
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from host import secret_files
from host.headend.errors import Declined, StoreError
from host.words import _

_FILE_LIMIT = 64 << 10
_ANSWER_LIMIT = 1 << 20
BILL_LIMIT = 64 << 20
_PATIENCE_S = 10
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file of a provider says; `keys` are the provider's public keys by their serial."""

    path: Path
    values: Mapping[str, str]
    keys: Mapping[str, Any]
    private_key: Any

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def sign(self, text: str) -> str:
        """Return the signature of the station over a text: SHA256 with RSA, as base64."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        signature = self.private_key.sign(text.encode(), PKCS1v15(), hashes.SHA256())
        return base64.b64encode(signature).decode()


def is_signed(key: Any, signature: str, content: bytes) -> bool:
    """Return whether a provider's key has signed a content: SHA256 with RSA, as base64."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    try:
        told = base64.b64decode(signature, validate=True)
        key.verify(told, content, PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature):
        return False
    return True


def load(path: Path | None, names: tuple[str, ...]) -> Settings:
    """Return the settings of a file, which has to have `names`. StoreError says what is wrong."""
    if path is None:
        raise StoreError(_("this provider needs a file with its settings: give --settings"))
    try:
        told = tomllib.loads(secret_files.read(path, _FILE_LIMIT).decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StoreError(
            _("{path} is not TOML: {error}").format(path=path, error=error)
        ) from error
    except ValueError as error:
        raise StoreError(str(error)) from error
    serials = told.pop("provider_keys", None)
    values = {name: value for name, value in told.items() if isinstance(value, str)}
    for name in ("gateway", "notify_url", "private_key", *names):
        if not values.get(name):
            raise StoreError(
                _("{path} has no line {name} = ..: add it").format(path=path, name=name)
            )
    if not isinstance(serials, dict) or not serials:
        raise StoreError(
            _("{path} has no [provider_keys] with lines like: SERIAL = FILE").format(path=path)
        )
    _check_gateway(path, values["gateway"])
    keys = {serial: _public_key(path, serial, str(name)) for serial, name in serials.items()}
    return Settings(path, values, keys, _private_key(path, values["private_key"]))


def _check_gateway(path: Path, url: str) -> None:
    told = urlsplit(url)
    is_here = told.scheme == "http" and told.hostname in _LOOPBACK
    if not told.hostname or not (told.scheme == "https" or is_here):
        raise StoreError(
            _("{path}: the gateway {url} is no https address").format(path=path, url=url)
        )


def _private_key(path: Path, name: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    file = path.parent / name
    try:
        content = secret_files.read(file, _FILE_LIMIT)
    except ValueError as error:
        raise StoreError(str(error)) from error
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError):  # what a library says of a key may quote it
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise StoreError(
            _("{path} has no RSA key in PEM that is without a password").format(path=file)
        )
    return key


def _public_key(path: Path, serial: str, name: str) -> Any:
    """Return the key of a file with a certificate, which has the serial, or with a public key."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    file = path.parent / name
    try:
        content = file.read_bytes()[:_FILE_LIMIT]
        if b"BEGIN CERTIFICATE" in content:
            certificate = load_pem_x509_certificate(content)
            if f"{certificate.serial_number:X}" != serial.upper().lstrip("0"):
                raise StoreError(
                    _("{path} is the certificate of another serial than {serial}").format(
                        path=file, serial=serial
                    )
                )
            key: Any = certificate.public_key()
        else:
            key = load_pem_public_key(content)
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        raise StoreError(
            _("{path} has no certificate and no public key in PEM").format(path=file)
        ) from error
    if not isinstance(key, RSAPublicKey):
        raise StoreError(_("{path} has no certificate and no public key in PEM").format(path=file))
    return key


# --- calls --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> dict[str, Any]:
        """Return the object of JSON that it is. Declined: it is none."""
        try:
            told = json.loads(self.body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise strange()
        return told


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A provider that sends the station elsewhere is not followed."""

    def redirect_request(self, *told: Any, **more: Any) -> None:
        """Return no request."""


def call(
    settings: Settings,
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    limit: int = _ANSWER_LIMIT,
) -> Answer:
    """Return the answer of a provider, whatever its status. Declined: there is none in time."""
    _check_gateway(settings.path, url)
    proxies = {"https": settings.values["proxy"]} if settings.values.get("proxy") else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirect)
    request = urllib.request.Request(url, body or None, dict(headers or {}), method=method)
    try:
        with opener.open(request, timeout=_PATIENCE_S) as answer:
            return _answer(answer.status, answer, limit)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error, limit)
    except (OSError, HTTPException) as error:
        raise silent() from error


def _answer(status: int, answer: Any, limit: int) -> Answer:
    try:
        body = answer.read(limit + 1)
    except (OSError, HTTPException) as error:
        raise silent() from error
    if len(body) > limit:
        raise strange()
    return Answer(status, answer.headers, body)


def silent() -> Declined:
    """Return the refusal where a provider does not answer."""
    return Declined(
        "provider_silent", _("the provider does not answer: try again, or pay in another way")
    )


def strange() -> Declined:
    """Return the refusal where what answers is not the provider, or says what it never says."""
    return Declined(
        "provider_strange", _("the answer is not one of this provider: nothing was done")
    )


def refused(said: object) -> Declined:
    """Return the refusal of the provider itself, with its word for it."""
    text = _("the provider has refused it: {said}")
    return Declined("provider_refused", text.format(said=str(said)[:100]))
