"""Keep the uplink keys in a TOML file that the operator protects, never on the command line.

    [uplink]
    7 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

    [withdrawn]
    8 = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

Each line has a concentrator's number and its key, at least 16 bytes as hexadecimal digits. Who
comes with a key that is withdrawn is told so, and nothing is taken.
"""

import re
import secrets
import tomllib
from pathlib import Path
from typing import NamedTuple

from host import secret_files
from host.texts import NotTextError, read_text
from host.words import _, system_reason

KEY_SHORTEST = 16
_NEW_KEY_BYTES = 32
CONCENTRATOR_LIMIT = 1 << 32
_IN_USE, _WITHDRAWN = "uplink", "withdrawn"


class KeysError(ValueError):
    """The file cannot be used; the message says why, never a key."""


class KeyFile(NamedTuple):
    """The keys of a file by concentrator number: those in use, and those withdrawn."""

    keys: dict[int, bytes]
    withdrawn: dict[int, bytes]


def load(path: Path) -> dict[int, bytes]:
    """Return the keys in use by concentrator number."""
    return read(path).keys


def read(path: Path) -> KeyFile:
    """Return all keys of a file."""
    return _parsed(_text(path), path)


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise KeysError(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    except NotTextError as error:
        raise KeysError(_("{path} is not TOML: {error}").format(path=path, error=error)) from error


def _parsed(text: str, path: Path) -> KeyFile:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KeysError(_("{path} is not TOML: {error}").format(path=path, error=error)) from error
    sections = [content.get(name, {}) for name in (_IN_USE, _WITHDRAWN)]
    if not any(sections) or not all(isinstance(one, dict) for one in sections):
        raise KeysError(
            _('{path} has no [uplink] section with lines like: 7 = "hex digits"').format(path=path)
        )
    in_use, withdrawn = (
        {_number(name, path): _key(name, value, path) for name, value in one.items()}
        for one in sections
    )
    return KeyFile(in_use, withdrawn)


def new(path: Path, concentrator: int) -> None:
    """Write a new random key of a concentrator into the file; see `add`."""
    add(path, concentrator, secrets.token_hex(_NEW_KEY_BYTES))


def add(path: Path, concentrator: int, digits: str) -> None:
    """Write a concentrator's key into the file, which is made if it is not there.

    KeysError: the concentrator has a key, it is no key, or the file cannot be used.
    """
    text = _text(path) if path.exists() else f"[{_IN_USE}]\n"
    known = _parsed(text, path) if path.exists() else KeyFile({}, {})
    if concentrator in known.keys:
        raise KeysError(
            _(
                "{path} has a key of concentrator {name}: withdraw it first, if the board is to "
                "get another one"
            ).format(path=path, name=concentrator)
        )
    key = _key(str(concentrator), digits, path)
    wanted = KeyFile({**known.keys, concentrator: key}, known.withdrawn)
    _write(path, _with_line(text, _IN_USE, concentrator, key), wanted)


def withdraw(path: Path, concentrator: int) -> None:
    """Take a concentrator's key out of use. KeysError: it has none."""
    text = _text(path)
    known = _parsed(text, path)
    key = known.keys.get(concentrator)
    if key is None:
        raise KeysError(
            _("{path} has no key of concentrator {name} in use").format(
                path=path, name=concentrator
            )
        )
    in_use = {name: one for name, one in known.keys.items() if name != concentrator}
    wanted = KeyFile(in_use, {**known.withdrawn, concentrator: key})
    for name in (_IN_USE, _WITHDRAWN):
        text = _without_line(text, name, concentrator)
    _write(path, _with_line(text, _WITHDRAWN, concentrator, key), wanted)


def _write(path: Path, text: str, wanted: KeyFile) -> None:
    """Write the text of a key file if it says what is wanted."""
    if _parsed(text, path) != wanted:
        raise KeysError(
            _("{path} is not written as these commands write it: change it by hand").format(
                path=path
            )
        )
    try:
        secret_files.write(path, text, overwrite=True)
    except OSError as error:
        raise KeysError(
            _("cannot write {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error


def _with_line(text: str, section: str, concentrator: int, key: bytes) -> str:
    """Return the text of a file with a key at the end of a section."""
    text += "" if text.endswith("\n") else "\n"
    line = f'{concentrator} = "{key.hex()}"\n'
    head, name, rest = text.partition(f"[{section}]\n")
    if not name:
        return f"{text}\n[{section}]\n{line}"
    inside, begins, others = rest.partition("\n[")
    end = "\n" if begins else ""
    return f"{head}{name}{inside}{end}{line}{begins.removeprefix(end)}{others}"


def _without_line(text: str, section: str, concentrator: int) -> str:
    """Return the text of a file without a concentrator's key in a section."""
    head, name, rest = text.partition(f"[{section}]\n")
    inside, begins, others = rest.partition("\n[")
    line = re.compile(rf"^[ \t]*\"?0*{concentrator}\"?[ \t]*=.*\n?", re.MULTILINE)
    return f"{head}{name}{line.sub('', inside)}{begins}{others}"


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
