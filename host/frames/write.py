"""Encode values and names that users type, for a request: the inverse of `describe`."""

import re
from decimal import Decimal, InvalidOperation

from host.frames import catalogue
from host.frames.catalogue import Identifier
from host.words import _, either

_CANDIDATES = 8


class WriteError(ValueError):
    """The typed text is no identifier or no value of it; the message says what is valid."""


def find(text: str, standard: str = "2007", profile: str = "") -> Identifier:
    """Return the identifier that `text` names by its digits, or by words of one of its names.

    Of several matches, the one with the fewest other words counts, blocks before single items.
    """
    known = catalogue.load(profile)
    digits = 8 if standard == "2007" else 4
    if re.fullmatch(f"[0-9A-Fa-f]{{{digits}}}", text):
        found = known.find(text.upper())
        if found is None:
            raise WriteError(
                _("no identifier {text} in the catalogue, see docs").format(text=text.upper())
            )
        return found
    wanted = text.lower().split()
    hits: list[tuple[int, int, str]] = []
    for pattern in known.patterns:
        row = pattern.row
        if pattern.digits != digits or "[" in row.pattern:
            continue
        words = re.findall(r"[\w.]+", row.name_en.lower())
        if all(word in words for word in wanted):
            others = [word for word in words if word not in wanted and len(word) > 1]
            others = [word for word in others if word != "block"]
            hits.append((len(others), 0 if "block" in words else 1, row.pattern))
        elif text in row.name_zh:
            hits.append((len(row.name_zh) - len(text), 1, row.pattern))
    if not hits:
        raise WriteError(
            _("no identifier is called {text!r}: give its {digits} digits").format(
                text=text, digits=digits
            )
        )
    hits.sort()
    best = [hit for hit in hits if hit[:2] == hits[0][:2]]
    if len(best) > 1:
        names = [f"{di} {_name(known, di)}" for *_order, di in hits[:_CANDIDATES]]
        raise WriteError(
            _("{text!r} may be one of: {names}").format(text=text, names="; ".join(names))
        )
    found = known.find(best[0][2])
    if found is None:
        raise WriteError(_("no identifier {di}").format(best=best[0][2]))
    return found


def _name(known: catalogue.Catalogue, di: str) -> str:
    found = known.find(di)
    return either(found.name_en, found.name_zh) if found else ""


def encode(identifier: Identifier, text: str, size: int) -> bytes:
    """Return the `size` data bytes of a number typed as `text`, low byte first.

    WriteError where it does not fit the identifier's format, or the format is no single number.
    """
    fields = identifier.request.fields(size)
    number = fields[0].number if fields and len(fields) == 1 else None
    if number is None:
        raise WriteError(
            _("{di} {name} is no single number: use --hex").format(
                di=identifier.di, name=either(identifier.name_en, identifier.name_zh)
            )
        )
    try:
        value = Decimal(text).scaleb(number.decimals)
    except InvalidOperation as error:
        raise WriteError(_("{text} is no number").format(text=text)) from error
    limit = 10 ** (2 * number.size)
    if value == value.to_integral_value() and abs(value) >= limit:
        most = Decimal(limit - 1).scaleb(-number.decimals)
        raise WriteError(
            _("{text}: {name} is at most {most}").format(
                text=text, name=either(identifier.name_en, identifier.name_zh), most=most
            )
        )
    if value != value.to_integral_value():
        raise WriteError(
            _("{text}: {name} has {decimals} decimals").format(
                text=text,
                name=either(identifier.name_en, identifier.name_zh),
                decimals=number.decimals,
            )
        )
    if value < 0 and not number.signed:
        raise WriteError(
            _("{text}: {name} is never below 0").format(
                text=text, name=either(identifier.name_en, identifier.name_zh)
            )
        )
    octets = bytearray(bytes.fromhex(f"{abs(int(value)):0{2 * number.size}d}"))
    if value < 0:
        octets[0] |= 0x80
    return bytes(octets[::-1])


def sizes_of(identifier: Identifier) -> list[int]:
    """Return the sizes in which the identifier is one number."""
    found = []
    for size in range(1, 9):
        fields = identifier.request.fields(size)
        if fields and len(fields) == 1 and fields[0].number is not None:
            found.append(size)
    return found
