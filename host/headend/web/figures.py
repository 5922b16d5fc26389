"""How pages write money, energy, numbers and moments, and the templates that use it."""

import hashlib
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import jinja2

from host.harmless import harmless_lines
from host.headend.history import detail_text
from host.headend.registry import Ratio
from host.headend.web.site import FOLDER
from host.units import to_datetime
from host.words import _, language_spoken

_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".txt": "text/plain",
    ".svg": "image/svg+xml",
}
_SHOWN = frozenset(("order", "balance_fen", "credit_fen"))


def money(fen: int) -> str:
    """Return an amount as ¥ 1,271,978.82."""
    sign = "-" if fen < 0 else ""
    return f"¥ {sign}{abs(fen) // 100:,}.{abs(fen) % 100:02d}"


def signed(fen: int) -> str:
    """Return a change of a balance in yuan, with its sign."""
    sign = "-" if fen < 0 else "+"
    return f"{sign}{abs(fen) // 100:,}.{abs(fen) % 100:02d}"


def energy(wh: int, decimals: int = 2) -> str:
    """Return energy in kWh, without the unit."""
    step = 10 ** (3 - decimals)
    rounded = (abs(wh) + step // 2) // step
    whole, rest = divmod(rounded, 10**decimals)
    text = f"{whole:,}.{rest:0{decimals}d}" if decimals else f"{whole:,}"
    return f"-{text}" if wh < 0 and rounded else text


def grouped(number: str) -> str:
    """Return the number of an account or a meter in groups of four."""
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def ratio_text(ratio: Ratio) -> str:
    """Return by what registers are multiplied, with the ratios of both transformers if known."""
    parts = [("CT", ratio.ct), ("PT", ratio.pt)]
    shown = " × ".join(f"{name} {one}" for name, one in parts if one)
    return f"{shown} = {ratio.multiplier}" if shown else f"× {ratio.multiplier}"


def moment(t2000: int | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a moment of a device's clock."""
    return "–" if t2000 is None else to_datetime(t2000).strftime(form)


def local(at: int | None, zone: ZoneInfo, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a moment on the station's clock."""
    return "–" if at is None else datetime.fromtimestamp(at, zone).strftime(form)


def masked(name: str) -> str:
    """Return a name with its middle hidden, as receipts and screens of a counter show it."""
    if len(name) < 2:
        return name
    return f"{name[0]}*{name[-1]}" if len(name) > 2 else f"{name[0]}*"


def detail(event: dict[str, Any]) -> str:
    """Return the values of an event of a household as text, without what stands beside it."""
    detail = event["detail"]
    shown = () if "stage" in detail else _SHOWN
    return detail_text({name: detail[name] for name in detail if name not in shown}, False)


@cache
def statics() -> dict[str, tuple[bytes, str, str]]:
    """Return the files of the pages by name: bytes, type and a mark of their content."""
    found = {}
    for path in sorted((FOLDER / "static").iterdir()):
        content = path.read_bytes()
        mark = hashlib.sha256(content).hexdigest()[:12]
        found[path.name] = content, _TYPES[path.suffix], mark
    return found


def static_url(name: str) -> str:
    """Return the address of a file; it changes with the content."""
    return f"/static/{name}?v={statics()[name][2]}"


def _shown(value: Any) -> Any:
    """Return what an expression of a page gives, text without marks that turn its direction."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return harmless_lines(value) if is_text else value


def environment(**options: Any) -> jinja2.Environment:
    """Return Jinja's environment for Django."""
    options["autoescape"] = True
    options["undefined"] = jinja2.StrictUndefined
    options["finalize"] = _shown
    options["trim_blocks"] = options["lstrip_blocks"] = True
    made = jinja2.Environment(**options)
    made.globals.update(
        _=_,
        money=money,
        signed=signed,
        energy=energy,
        grouped=grouped,
        moment=moment,
        local=local,
        ratio_text=ratio_text,
        masked=masked,
        detail=detail,
        static=static_url,
        language=language_spoken,
    )
    return made
