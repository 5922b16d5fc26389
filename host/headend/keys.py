"""Read the uplink keys from a TOML file that the operator protects, never the command line.

    [uplink]
    7 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

Each line has a concentrator's number and its key, at least 16 bytes as hexadecimal digits.
"""

import secrets
import tomllib
from pathlib import Path

from host import secret_files
from host.words import _, system_reason

KEY_SHORTEST = 16
_NEW_KEY_BYTES = 32
CONCENTRATOR_LIMIT = 1 << 32


class KeysError(ValueError):
    """The file cannot be used; the message says why, never a key."""


def load(path: Path) -> dict[int, bytes]:
    """Return the keys by concentrator number."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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


def add(path: Path, concentrator: int) -> None:
    """Write a new random key of a concentrator into the file, which is made if it is not there.

    KeysError: the concentrator has a key, or the file cannot be used.
    """
    known = load(path) if path.exists() else {}
    if concentrator in known:
        raise KeysError(
            _(
                "{path} has a key of concentrator {name}: take its line out first, if the board "
                "is to get another one"
            ).format(path=path, name=concentrator)
        )
    text = path.read_text(encoding="utf-8-sig") if known else "[uplink]\n"
    end = "" if text.endswith("\n") else "\n"
    line = f'{concentrator} = "{secrets.token_hex(_NEW_KEY_BYTES)}"\n'
    try:
        secret_files.write(path, _with_line(text + end, line), overwrite=True)
    except OSError as error:
        raise KeysError(
            _("cannot write {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error


def _with_line(text: str, line: str) -> str:
    """Return the text of a file with a line at the end of its section [uplink]."""
    head, name, rest = text.partition("[uplink]\n")
    section, begins, others = rest.partition("\n[")
    end = "\n" if begins else ""
    return f"{head}{name}{section}{end}{line}{begins.removeprefix(end)}{others}"


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
