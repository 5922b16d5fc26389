"""Django for the pages: its settings are in the code, and it has no database of its own.

Users, sessions and all figures are read from the head-end's database by plain SQL, and written by
the head-end itself (`host.headend.desk`).
"""

import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
CSRF_COOKIE = "dianka_csrf"
# More than any form of ours has.
_BODY_LIMIT = 1 << 20
_FIELDS_LIMIT = 100
_TOKEN = re.compile(r"/h/[^\s\"']+")


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages are told when they start.

    database   its file or address
    host       where they listen
    simple     nobody signs in: whoever is at this computer may do everything
    https      they stand behind a proxy with TLS, which tells the address of the browser
    """

    database: str
    host: str
    simple: bool = False
    https: bool = False


_SITES: list[Site] = []


def site() -> Site:
    """Return what the pages were told."""
    return _SITES[-1]


def application(told: Site) -> Any:
    """Return the pages as a WSGI application; once in a process."""
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application

    _SITES.append(told)
    if not settings.configured:
        settings.configure(
            SECRET_KEY=secrets.token_hex(32),  # nothing that it signs outlives the process
            ALLOWED_HOSTS=_hosts(told),
            ROOT_URLCONF="host.headend.web.urls",
            INSTALLED_APPS=[],
            MIDDLEWARE=[
                "host.headend.web.door.door",
                "django.middleware.csrf.CsrfViewMiddleware",
            ],
            TEMPLATES=[_templates()],
            USE_I18N=False,
            USE_TZ=True,
            CSRF_COOKIE_NAME=CSRF_COOKIE,
            CSRF_COOKIE_HTTPONLY=True,
            CSRF_COOKIE_SECURE=told.https,
            CSRF_FAILURE_VIEW="host.headend.web.door.stale",
            SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https") if told.https else None,
            DATA_UPLOAD_MAX_MEMORY_SIZE=_BODY_LIMIT,
            DATA_UPLOAD_MAX_NUMBER_FIELDS=_FIELDS_LIMIT,
            LOGGING_CONFIG=None,
        )
    for name in ("django.request", "django.security.DisallowedHost"):
        logging.getLogger(name).addFilter(_without_tokens)
    return get_wsgi_application()


def _without_tokens(record: logging.LogRecord) -> bool:
    """Take the tokens of households' links out of what Django logs of a request."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            _TOKEN.sub("/h/...", one) if isinstance(one, str) else one for one in record.args
        )
    return True


def _hosts(told: Site) -> list[str]:
    """Return the names under which browsers may ask: others are of an attacker's name server."""
    return ["*"] if told.https else ["127.0.0.1", "localhost", "[::1]", told.host]


def _templates() -> dict[str, Any]:
    return {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "DIRS": [FOLDER / "templates"],
        "OPTIONS": {"environment": "host.headend.web.figures.environment"},
    }
