"""The issuer's keys in one file, sealed with a passphrase; never printed, never an argument.

    [sealed]                        or, unsealed:   [card]
    memory_kib = 65536                              issuer_key = "64 hexadecimal digits"
    passes = 3                                      district = 4711
    salt = "..."                                    key_version = 1
    nonce = "..."
    content = "..."                                 console_version = 1

The content is the other form, under AES-256-GCM with a key that Argon2id makes of the passphrase.
A counter of one district holds `district_key`, 32 digits, in place of `issuer_key`, and no console
key. Its file may have limits: `last_day = 2027-06-30`, `card_limit_fen` and `total_limit_fen`, the
last one for all cards of its log. A technician's file makes no cards and opens consoles:

    [console]
    district = 4711
    read_only = true                those keys only look
    keys = ["7 1 32 digits"]        concentrator, version of its console key, the key
"""

import re
import secrets
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

from host import secret_files
from host.frames.card import DISTRICT_LIMIT
from host.frames.card_keys import KEY_SIZE, console_key, district_key
from host.frames.session import read_key
from host.texts import NotTextError, read_text
from host.words import _, system_reason

ISSUER_KEY_SIZE = 32
SALT_SIZE = 16
NONCE_SIZE = 12
MEMORY_KIB = 65_536
MEMORY_KIB_LIMIT = 1 << 20
PASSES = 3
PASSES_LIMIT = 16
PASSPHRASE_SHORTEST = 8
_TOTAL_LIMIT_FEN = (1 << 63) - 1
_CONTEXT = b"dianka/keystore/1"


class KeystoreError(ValueError):
    """The key file cannot be used; the message says why, never a key."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a counter may issue: until a day, in fen on one card, in fen on all; 0 is no limit."""

    last_day: date | None = None
    card_fen: int = 0
    total_fen: int = 0

    def within(self, others: "Limits") -> "Limits":
        """Return limits that go as far as these and no farther than `others`."""
        days = [one.last_day for one in (self, others) if one.last_day is not None]
        return Limits(
            min(days, default=None),
            _lower(self.card_fen, others.card_fen),
            _lower(self.total_fen, others.total_fen),
        )


NO_LIMITS = Limits()


def _lower(one_fen: int, other_fen: int) -> int:
    return min(one_fen, other_fen) if one_fen and other_fen else one_fen or other_fen


@dataclass(frozen=True, slots=True, repr=False)
class ConsoleKeys:
    """The console keys of some concentrators of a district, by number: version and key."""

    district: int
    held: dict[int, tuple[int, bytes]]
    read_only: bool = False

    def version_of(self, concentrator: int) -> int:
        """Return the version of its console key, 0: the file has none."""
        return self.held.get(concentrator, (0, b""))[0]

    def console_key(self, district: int, concentrator: int, version: int) -> bytes:
        """Return that concentrator's key; KeystoreError: this file has none."""
        own_version, key = self.held.get(concentrator, (0, b""))
        if (district, version) != (self.district, own_version):
            raise KeystoreError(
                _(
                    "this file does not open concentrator {concentrator} of district {district} "
                    "with console key version {version}: have one made by "
                    "`dianka card keys console`"
                ).format(concentrator=concentrator, district=district, version=version)
            )
        return key


@dataclass(frozen=True, slots=True, repr=False)
class CardKeys:
    """Either the issuer's key, or the key of `district` in `key_version` alone.

    `console_version` is that of the console keys which the issuer gives out now.
    """

    district: int
    key_version: int
    issuer_key: bytes = b""
    own_key: bytes = b""
    limits: Limits = NO_LIMITS
    console_version: int = 1
    read_only: ClassVar[bool] = False

    def console_key(self, district: int, concentrator: int, version: int) -> bytes:
        """Return the key of a console in that version; KeystoreError: it is not in this file."""
        if not self.issuer_key:
            raise KeystoreError(
                _(
                    "a counter's key file opens no console: use the issuer's, or one that "
                    "`dianka card keys console` made"
                )
            )
        if version < self.console_version:
            raise KeystoreError(
                _(
                    "concentrator {concentrator} tells of console key version {version}, and "
                    "{newest} is in use: `dianka card keys install` brings it"
                ).format(concentrator=concentrator, version=version, newest=self.console_version)
            )
        return console_key(self.issuer_key, district, concentrator, version)

    def version_of(self, _concentrator: int) -> int:
        """Return the version that console keys have now."""
        return self.console_version

    def consoles(self, concentrators: Iterable[int], read_only: bool = False) -> ConsoleKeys:
        """Return what opens the consoles of these concentrators, or only looks at them."""
        version = self.console_version
        held = {}
        for number in concentrators:
            key = self.console_key(self.district, number, version)
            held[number] = version, read_key(key) if read_only else key
        return ConsoleKeys(self.district, held, read_only)

    def key_of(self, district: int, key_version: int) -> bytes:
        """Return the district's key in that version.

        KeystoreError: this file cannot make it.
        """
        if self.issuer_key:
            return district_key(self.issuer_key, district, key_version)
        if (district, key_version) == (self.district, self.key_version):
            return self.own_key
        raise KeystoreError(
            _(
                "no key for district {district} in version {key_version}: this file holds only "
                "district {own_district} in version {own_version}"
            ).format(
                district=district,
                key_version=key_version,
                own_district=self.district,
                own_version=self.key_version,
            )
        )

    def handed_down(
        self, district: int, key_version: int, limits: Limits = NO_LIMITS
    ) -> "CardKeys":
        """Return the keys that a counter of that district needs, and no more."""
        own_key = self.key_of(district, key_version)
        within = limits.within(self.limits)
        return CardKeys(district, key_version, own_key=own_key, limits=within)


def new(district: int) -> CardKeys:
    """Return the keys of a new issuer."""
    return CardKeys(district, 1, issuer_key=secrets.token_bytes(ISSUER_KEY_SIZE))


def save(
    path: Path, keys: CardKeys | ConsoleKeys, passphrase: str | None, overwrite: bool = False
) -> None:
    """Write a file that its owner alone may read; without a passphrase it is not sealed."""
    text = _to_toml(keys) if isinstance(keys, CardKeys) else _consoles_to_toml(keys)
    if passphrase is not None:
        text = _seal(text, passphrase)
    try:
        secret_files.write(path, text, overwrite)
    except FileExistsError as error:
        raise KeystoreError(
            _("{path} exists and is not overwritten: choose another name").format(path=path)
        ) from error
    except OSError as error:
        raise KeystoreError(
            _("cannot write {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error


def is_sealed(path: Path) -> bool:
    """Return whether the file has to be opened with a passphrase."""
    return "[sealed]" in path.read_text(encoding="utf-8")


def load(path: Path, passphrase: Callable[[], str]) -> CardKeys:
    """Read a file that makes cards; `passphrase` is asked only where it is sealed."""
    section = _content(path, passphrase).get("card")
    if not isinstance(section, dict):
        raise KeystoreError(
            _("{path} has no [card] section; `dianka card keys new` makes one").format(path=path)
        )
    return _from_section(section, path)


def load_consoles(path: Path, passphrase: Callable[[], str]) -> CardKeys | ConsoleKeys:
    """Read a file that opens consoles: the issuer's, or a technician's."""
    content = _content(path, passphrase)
    section = content.get("console")
    if isinstance(section, dict):
        return _from_consoles(section, path)
    section = content.get("card")
    if not isinstance(section, dict):
        raise KeystoreError(
            _("{path} has no [console] section; `dianka card keys console` makes one").format(
                path=path
            )
        )
    return _from_section(section, path)


def _content(path: Path, passphrase: Callable[[], str]) -> dict[str, Any]:
    """Return the sections of a file, which is opened where it is sealed."""
    try:
        content = tomllib.loads(read_text(path))
    except OSError as error:
        hint = (
            _("`dianka card keys new` makes one") if not path.exists() else _("check its rights")
        )
        raise KeystoreError(
            _("cannot read key file {path}: {strerror}; {hint}").format(
                path=path, strerror=system_reason(error), hint=hint
            )
        ) from error
    except (tomllib.TOMLDecodeError, NotTextError) as error:
        raise KeystoreError(
            _("{path} is not TOML: {error}").format(path=path, error=error)
        ) from error
    if "sealed" in content:
        text = _unseal(content["sealed"], passphrase(), path)
        content = tomllib.loads(text)
    return content


def _consoles_to_toml(keys: ConsoleKeys) -> str:
    lines = ["[console]", f"district = {keys.district}"]
    lines += ["read_only = true"] if keys.read_only else []
    rows = [f'"{number} {version} {key.hex()}"' for number, (version, key) in keys.held.items()]
    return "\n".join([*lines, f"keys = [{', '.join(rows)}]", ""])


def _from_consoles(section: dict[str, Any], path: Path) -> ConsoleKeys:
    held = {}
    rows, read_only = section.get("keys"), section.get("read_only", False)
    for row in rows if isinstance(rows, list) else [None]:
        words = row.split() if isinstance(row, str) else []
        if len(words) != 3 or not all(re.fullmatch("[0-9]{1,9}", word) for word in words[:2]):
            raise KeystoreError(
                _('{path}: keys must be texts like "7 1 KEY", one a concentrator').format(
                    path=path
                )
            )
        held[int(words[0])] = int(words[1]), _key(words[2], "keys", KEY_SIZE, path)
    if not isinstance(read_only, bool):
        raise KeystoreError(_("{path}: read_only must be true or false").format(path=path))
    return ConsoleKeys(_number(section, "district", DISTRICT_LIMIT, path), held, read_only)


def _to_toml(keys: CardKeys) -> str:
    lines = ["[card]", f"district = {keys.district}", f"key_version = {keys.key_version}"]
    if keys.issuer_key:
        lines.append(f'issuer_key = "{keys.issuer_key.hex()}"')
        lines.append(f"console_version = {keys.console_version}")
    else:
        lines.append(f'district_key = "{keys.own_key.hex()}"')
    if keys.limits.last_day is not None:
        lines.append(f"last_day = {keys.limits.last_day.isoformat()}")
    lines += [
        f"{name}_limit_fen = {fen}"
        for name, fen in (("card", keys.limits.card_fen), ("total", keys.limits.total_fen))
        if fen
    ]
    return "\n".join(lines) + "\n"


def _from_section(section: dict[str, Any], path: Path) -> CardKeys:
    district = _number(section, "district", DISTRICT_LIMIT, path)
    key_version = _number(section, "key_version", 255, path)
    if ("issuer_key" in section) == ("district_key" in section):
        raise KeystoreError(
            _("{path}: [card] needs issuer_key or district_key, one of them").format(path=path)
        )
    if "issuer_key" in section:
        issuer_key = _key(section["issuer_key"], "issuer_key", ISSUER_KEY_SIZE, path)
        version = _number({"console_version": 1, **section}, "console_version", 255, path)
        return CardKeys(district, key_version, issuer_key=issuer_key, console_version=version)
    if "console_key" in section:
        raise KeystoreError(
            _(
                "{path} has the console key of a district, which opens no console any more: have "
                "a new file handed down, and delete this one"
            ).format(path=path)
        )
    own_key = _key(section["district_key"], "district_key", KEY_SIZE, path)
    return CardKeys(district, key_version, own_key=own_key, limits=_limits(section, path))


def _limits(section: dict[str, Any], path: Path) -> Limits:
    """Return the limits of a counter's file; one that cannot be read is not none."""
    last_day = section.get("last_day")
    if type(last_day) not in (date, NoneType):
        raise KeystoreError(_("{path}: last_day must be a day like 2027-06-30").format(path=path))
    fen = [
        _number(section, name, _TOTAL_LIMIT_FEN, path) if name in section else 0
        for name in ("card_limit_fen", "total_limit_fen")
    ]
    return Limits(last_day, *fen)


def _number(section: dict[str, Any], name: str, limit: int, path: Path) -> int:
    value = section.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        raise KeystoreError(
            _("{path}: {name} must be a number from 1 to {limit}").format(
                path=path, name=name, limit=limit
            )
        )
    return value


def _key(value: object, name: str, size: int, path: Path) -> bytes:
    try:
        key = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        key = b""
    if len(key) != size:
        raise KeystoreError(
            _("{path}: {name} is not {digits} hexadecimal digits").format(
                path=path, name=name, digits=2 * size
            )
        )
    return key


def _seal(text: str, passphrase: str) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(passphrase) < PASSPHRASE_SHORTEST:
        raise KeystoreError(
            _("a passphrase has at least {passphrase_shortest} characters").format(
                passphrase_shortest=PASSPHRASE_SHORTEST
            )
        )
    salt, nonce = secrets.token_bytes(SALT_SIZE), secrets.token_bytes(NONCE_SIZE)
    key = _stretch(passphrase, salt, MEMORY_KIB, PASSES)
    content = AESGCM(key).encrypt(nonce, text.encode(), _CONTEXT)
    lines = (
        "[sealed]",
        f"memory_kib = {MEMORY_KIB}",
        f"passes = {PASSES}",
        f'salt = "{salt.hex()}"',
        f'nonce = "{nonce.hex()}"',
        f'content = "{content.hex()}"',
    )
    return "\n".join(lines) + "\n"


def _unseal(section: Any, passphrase: str, path: Path) -> str:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        memory_kib, passes = int(section["memory_kib"]), int(section["passes"])
        salt, nonce, content = (bytes.fromhex(section[n]) for n in ("salt", "nonce", "content"))
    except (KeyError, TypeError, ValueError) as error:
        raise KeystoreError(
            _("{path}: the [sealed] section is damaged").format(path=path)
        ) from error
    in_range = 8 <= memory_kib <= MEMORY_KIB_LIMIT and 1 <= passes <= PASSES_LIMIT
    if not in_range or len(nonce) != NONCE_SIZE or len(salt) < 8:
        raise KeystoreError(_("{path}: the [sealed] section is damaged").format(path=path))
    try:
        key = _stretch(passphrase, salt, memory_kib, passes)
        return bytes(AESGCM(key).decrypt(nonce, content, _CONTEXT)).decode()
    except InvalidTag as error:
        raise KeystoreError(
            _("{path}: wrong passphrase, or the file was changed").format(path=path)
        ) from error


def _stretch(passphrase: str, salt: bytes, memory_kib: int, passes: int) -> bytes:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    kdf = Argon2id(salt=salt, length=32, iterations=passes, lanes=1, memory_cost=memory_kib)
    return bytes(kdf.derive(passphrase.encode()))
