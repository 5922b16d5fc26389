"""Sending by the library `apprise`: an outcome for each try, and no secret in any log.

A gateway that answers with an error has not delivered. One that was connected and gave no whole
answer in time may have: nobody knows. Redirections are not followed, as the next place would get
the secrets, and a page behind it proves nothing.
"""

import importlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from host.headend.notices import DELIVERED, NOT_DELIVERED, NOT_KNOWN, Contact
from host.headend.noticing.settings import SettingsError, Way
from host.words import _, marked

BUSY = marked("the one before it has not ended")
_NO_ADDRESS = marked("apprise does not know an address of this form")
_REFUSED = marked("the gateway has refused it")
_NO_GATEWAY = marked("the gateway cannot be reached")
_NO_ANSWER = marked("no answer in time")
_BROKEN = marked("the connection broke before an answer came")
# What apprise notes of a connection that never was; behind every other error it may have arrived.
_NEVER_CONNECTED = (
    *("Max retries exceeded", "Connection refused", "Name or service not known"),
    *("No address associated", "Network is unreachable", "No route to host"),
    *("Temporary failure in name resolution", "nodename nor servname"),
)
_GRACE_S = 2
_NOTED_MOST = 100


@dataclass(frozen=True, slots=True)
class Ended:
    """How a try ended, and what is to be said of it."""

    outcome: str
    said: str = ""


class _Notes(logging.Handler):
    """Keeps what apprise notes, in whichever of its threads; nothing is written anywhere.

    What an earlier try that is stuck notes late may be among it: then nobody knows, at worst.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._texts: deque[str] = deque(maxlen=_NOTED_MOST)

    def begin(self) -> None:
        """Forget what was noted before."""
        self._texts.clear()

    def texts(self) -> list[str]:
        """Return what was noted since."""
        return list(self._texts)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a note."""
        self._texts.append(record.getMessage())


def _notes() -> _Notes:
    """Take over apprise's log, whose lines have addresses with their secrets."""
    notes = _Notes()
    for name in ("apprise", "urllib3", "requests"):
        log = logging.getLogger(name)
        log.propagate = False
        log.handlers = [notes] if name == "apprise" else [logging.NullHandler()]
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    return notes


class Sender:
    """Sends by ways, one notice at a time on each; `within_s` is how long one may take."""

    def __init__(self, within_s: int) -> None:
        self._within_s = within_s
        self._notes = _notes()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._stuck: dict[str, Future[Ended]] = {}

    def is_busy(self, way: Way) -> bool:
        """Return whether a gateway still holds up an earlier sending."""
        stuck = self._stuck.get(way.name)
        if stuck is not None and stuck.done():
            del self._stuck[way.name]
            return False
        return stuck is not None

    def send(self, way: Way, url: str, title: str, text: str, files: Sequence[str] = ()) -> Ended:
        """Send a text with files to an address of `url_of`; return how it ended."""
        pool = self._pools.setdefault(way.name, ThreadPoolExecutor(1))
        future = pool.submit(self._sent, url, title, text, files)
        try:
            return future.result(self._within_s + _GRACE_S)
        except Late:
            self._stuck[way.name] = future
            return Ended(NOT_KNOWN, _NO_ANSWER)
        except Exception as error:  # a plugin's own mistake; it may have sent
            return Ended(NOT_KNOWN, type(error).__name__)

    def _sent(self, url: str, title: str, text: str, files: Sequence[str]) -> Ended:
        import apprise

        self._notes.begin()
        service = _service(url, self._within_s)
        if service is None:
            return Ended(NOT_DELIVERED, _NO_ADDRESS)
        told = apprise.Apprise(asset=_asset())
        told.add(service)
        form = apprise.NotifyFormat.TEXT
        if told.notify(body=text, title=title, body_format=form, attach=list(files) or None):
            return Ended(DELIVERED)
        return _why(self._notes.texts())


def _asset() -> Any:
    import apprise

    return apprise.AppriseAsset(
        app_id="Dianka", app_desc="Dianka", app_url="", http_redirects=False, async_mode=False
    )


def _service(url: str, within_s: int) -> Any:
    """Return apprise's service of an address; it waits for each answer for a limited time."""
    import apprise

    glue = "&" if "?" in url else "?"
    limited = f"{url}{glue}cto={min(5, within_s)}&rto={within_s}"
    return apprise.Apprise.instantiate(limited, asset=_asset(), suppress_exceptions=True)


def _why(noted: Sequence[str]) -> Ended:
    """Return how a try ended by what apprise has noted of it."""
    lines = [line for line in noted if line.startswith("Socket Exception")]
    if not lines:
        return Ended(NOT_DELIVERED, _REFUSED)
    line = lines[-1]
    if any(one in line for one in _NEVER_CONNECTED):
        return Ended(NOT_DELIVERED, _NO_GATEWAY)
    late = "timed out" in line or "timeout" in line.lower()
    return Ended(NOT_KNOWN, _NO_ANSWER if late else _BROKEN)


def url_of(way: Way, contact: Contact) -> str:
    """Return the address of a household on a way, "": it cannot be reached by it."""
    places: Mapping[str, str] = {"phone": contact.phone, "email": contact.email}
    url = way.url
    for name, value in places.items():
        if "{" + name + "}" in url:
            if not value:
                return ""
            url = url.replace("{" + name + "}", quote(value, safe=""))
    return url


def check(ways: tuple[Way, ...]) -> None:
    """Raise SettingsError where apprise does not know the address of a way, or is not there."""
    try:
        importlib.import_module("apprise")
    except ImportError as error:
        raise SettingsError(
            _("notices need more packages: pip install 'dianka[station]'")
        ) from error
    _notes()
    sample = Contact("13800138000", "name@example.com", "zh", ())
    for way in ways:
        if _service(url_of(way, sample), 5) is None:
            raise SettingsError(
                _("apprise does not know the address of the way {name}").format(name=way.name)
            )
