"""Read the uplink keys from a TOML file that the operator protects, never the command line.

    [uplink]
    7 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

Each line has a concentrator's number and its key, at least 16 bytes as hexadecimal digits.
"""

import tomllib
from pathlib import Path

from host.words import _, system_reason

KEY_SHORTEST = 16
CONCENTRATOR_LIMIT = 1 << 32


class KeysError(ValueError):
    """The file cannot be used; the message says why, never a key."""


def load(path: Path) -> dict[int, bytes]:
    """Return the keys by concentrator number."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeysError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KeysError(_("{path} is not TOML: {error}").format(path=path, error=error)) from error
    section = content.get("uplink")
    if not isinstance(section, dict) or not section:
        raise KeysError(
            _('{path} has no [uplink] section with lines like: 7 = "hex digits"').format(path=path)
        )
    return {_number(name, path): _key(name, value, path) for name, value in section.items()}


def _number(name: str, path: Path) -> int:
    if not name.isascii() or not name.isdigit() or int(name) >= CONCENTRATOR_LIMIT:
        raise KeysError(
            _("{path}: {name!r} is not a concentrator number").format(path=path, name=name)
        )
    return int(name)


def _key(name: str, value: object, path: Path) -> bytes:
    try:
        key = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        key = b""
    if len(key) < KEY_SHORTEST:
        raise KeysError(
            _(
                "{path}: the key of concentrator {name} is not at least {count} hexadecimal digits"
            ).format(path=path, name=name, count=2 * KEY_SHORTEST)
        )
    return key
