"""The uplink keys: a TOML file the operator protects, never the command line.

    [uplink]
    7 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

One line a concentrator: its number and its key, at least 16 bytes as hexadecimal digits.
"""

import tomllib
from pathlib import Path

KEY_SHORTEST = 16
CONCENTRATOR_LIMIT = 1 << 32


class KeysError(ValueError):
    """The file cannot be used; the message says why, never a key."""


def load(path: Path) -> dict[int, bytes]:
    """Keys by concentrator number."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeysError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KeysError(f"{path} is not TOML: {error}") from error
    section = content.get("uplink")
    if not isinstance(section, dict) or not section:
        raise KeysError(f'{path} has no [uplink] section with lines like: 7 = "hex digits"')
    return {_number(name, path): _key(name, value, path) for name, value in section.items()}


def _number(name: str, path: Path) -> int:
    if not name.isascii() or not name.isdigit() or int(name) >= CONCENTRATOR_LIMIT:
        raise KeysError(f"{path}: {name!r} is not a concentrator number")
    return int(name)


def _key(name: str, value: object, path: Path) -> bytes:
    try:
        key = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        key = b""
    if len(key) < KEY_SHORTEST:
        wanted = f"at least {2 * KEY_SHORTEST} hexadecimal digits"
        raise KeysError(f"{path}: the key of concentrator {name} is not {wanted}")
    return key
