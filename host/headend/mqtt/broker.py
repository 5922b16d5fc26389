"""Where the broker is, and how the head-end is known there.

    mqtts://dianka@broker.example:8883

The password stands in a file of its own, never in the address: who lists the processes of a
computer sees their words.
"""

import json
import re
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from host import secret_files
from host.words import _, system_reason

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_PASSWORD_FILE_LIMIT = 1024
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class BrokerError(ValueError):
    """The broker cannot be used as it was told; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker: `password` and `authority` are paths, "": none, or the system's authorities.

    topic  under which the state of accounts is published
    """

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = ""
    authority: str = ""
    topic: str = "dianka"

    @property
    def place(self) -> str:
        """Return host and port."""
        return f"{self.host}:{self.port}"

    @property
    def is_open_to_others(self) -> bool:
        """Return whether others on the network read what is sent."""
        return not self.tls and self.host not in _LOOPBACK

    def words(self) -> str:
        """Return it as one word for another process; the password is not in it."""
        return json.dumps(asdict(self))

    def secret(self) -> str:
        """Return the password, "": there is none. BrokerError."""
        if not self.password:
            return ""
        try:
            content = secret_files.read(Path(self.password), _PASSWORD_FILE_LIMIT)
            return content.decode().strip("\r\n")
        except UnicodeDecodeError as error:
            raise BrokerError(_("{path} is not UTF-8").format(path=self.password)) from error
        except ValueError as error:
            raise BrokerError(str(error)) from error

    def context(self) -> ssl.SSLContext | None:
        """Return what TLS needs, None: it is not used. BrokerError."""
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.authority or None)
        except ssl.SSLError as error:
            text = _("{path}: not a certificate in PEM")
            raise BrokerError(text.format(path=self.authority)) from error
        except OSError as error:
            text = _("cannot read {path}: {strerror}")
            raise BrokerError(
                text.format(path=self.authority, strerror=system_reason(error))
            ) from error


def parse_broker(
    url: str, password: str = "", authority: str = "", topic: str = "dianka"
) -> Broker:
    """Return the broker of an address mqtt://USER@HOST:PORT, or mqtts:// for TLS. BrokerError."""
    form = _("write mqtt://USER@HOST:PORT, or mqtts:// for TLS")
    try:
        told = urlsplit(url)
        port = told.port
    except ValueError as error:
        raise BrokerError(f"{url[:80]!r}: {form}") from error
    if told.password is not None:
        raise BrokerError(_("the address has a password: give it by --mqtt-password FILE"))
    if told.scheme not in _PORTS or not told.hostname or told.path.strip("/") or told.query:
        raise BrokerError(f"{url[:80]!r}: {form}")
    tls = told.scheme == "mqtts"
    user = unquote(told.username or "")
    if password and not user:
        raise BrokerError(_("a password belongs to a user: {form}").format(form=form))
    if authority and not tls:
        raise BrokerError(_("--mqtt-ca is for TLS: write mqtts:// in the address"))
    if not _TOPIC.fullmatch(topic) or len(topic) > 64:
        raise BrokerError(
            _("{topic!r}: a topic has letters, digits, -, _ and / between them").format(
                topic=topic[:80]
            )
        )
    return Broker(
        told.hostname, port or _PORTS[told.scheme], tls, user, password, authority, topic
    )


def broker_of(words: str) -> Broker:
    """Return the broker that `Broker.words` has told."""
    return Broker(**json.loads(words))
