"""The user's file of defaults, so that a port or a database need not be typed each time.

An option wins over a variable of the environment, a variable over this file, the file over what
the help calls default.
"""

import os
import tomllib
from collections.abc import MutableMapping
from pathlib import Path

from host.texts import NotTextError, read_text
from host.words import VARIABLE as LANGUAGE_VARIABLE
from host.words import _, system_reason

FILE_VARIABLE = "DIANKA_CONFIG"
# What the file may name, and the variable that each one stands for.
NAMES = {
    "port": "DIANKA_PORT",
    "meter_port": "DIANKA_METER_PORT",
    "db": "DIANKA_DB",
    "zone": "DIANKA_ZONE",
    "lang": LANGUAGE_VARIABLE,
    "card_keys": "DIANKA_CARD_KEYS",
    "card_log": "DIANKA_CARD_LOG",
}


class ConfigError(Exception):
    """The file cannot be used; the message says why."""


def path_of(environment: MutableMapping[str, str]) -> Path:
    """Return where the file is: DIANKA_CONFIG, or dianka/config.toml among the user's files."""
    if given := environment.get(FILE_VARIABLE):
        return Path(given)
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "dianka" / "config.toml"


def apply(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables that the file names and the environment does not; ConfigError.

    That there is no file is no error, unless DIANKA_CONFIG names it.
    """
    path = path_of(environment)
    try:
        content = tomllib.loads(read_text(path))
    except FileNotFoundError as error:
        if FILE_VARIABLE in environment:
            raise ConfigError(_told(path, error)) from error
        return
    except OSError as error:
        raise ConfigError(_told(path, error)) from error
    except (tomllib.TOMLDecodeError, NotTextError) as error:
        raise ConfigError(
            _("{path} is not TOML: {error}").format(path=path, error=error)
        ) from error
    for name, value in content.items():
        if name not in NAMES or not isinstance(value, str):
            raise ConfigError(
                _('{path}: {name} is none of {names}, each as name = "text"').format(
                    path=path, name=name, names=", ".join(NAMES)
                )
            )
        environment.setdefault(NAMES[name], value)


def _told(path: Path, error: OSError) -> str:
    return _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
