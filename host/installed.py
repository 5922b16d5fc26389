"""How packages are added to this installation of dianka: by pipx, by uv or by pip."""

import re
import shlex
import sys
from importlib.metadata import requires
from pathlib import Path

_BY_PIPX = ("pipx", "inject", "dianka")
_BY_UV = ("uv", "pip", "install", "--python")
_BY_PIP = ("-m", "pip", "install")


def how_to_add(extra: str) -> str:
    """Return the command that adds what an extra of the package needs, as this one came here."""
    packages = shlex.join(_packages_of(extra))
    place = Path(sys.prefix)
    if (place / "pipx_metadata.json").exists():
        return " ".join((*_BY_PIPX, packages))
    if (place / "uv-receipt.toml").exists():
        return " ".join((*_BY_UV, shlex.quote(sys.prefix), packages))
    return " ".join((shlex.quote(sys.executable), *_BY_PIP, packages))


def _packages_of(extra: str) -> list[str]:
    """Return the packages with their versions that the metadata name for an extra."""
    found = []
    for requirement in requires("dianka") or []:
        package, _semicolon, condition = requirement.partition(";")
        if re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", condition):
            found.append(package.strip().replace(" ", ""))
    return found
