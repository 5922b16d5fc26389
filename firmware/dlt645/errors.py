"""Trouble: our own misuse as an exception, a meter's refusal as a word of named bits."""

# Bit names of the error word, lowest bit first. Spec: DL/T 645-2007 annex, ERR (1 byte).
_NAMES_2007 = (
    "other",
    "no such data",
    "password wrong or not authorised",
    "baud rate cannot change",
    "too many year zones",
    "too many day slots",
    "too many tariffs",
)
# SERR (2 bytes) of the security function 03H.
_NAMES_SECURITY = (
    "other",
    "repeated recharge",
    "ESAM check failed",
    "identity authentication failed",
    "customer number mismatch",
    "recharge count wrong",
    "purchase above hoarding limit",
)
# ERR of DL/T 645-1997.
_NAMES_1997 = (
    "illegal data",
    "bad data identifier",
    "password wrong",
    "reserved",
    "too many year zones",
    "too many day slots",
    "too many tariffs",
)


class LocalError(Exception):
    """We used the protocol wrongly: a start while busy, a field out of range."""


def error_text(control: int, word: int) -> str:
    """The names of the bits set in `word` of the reply `control` (D1H, DCH, C3H, C1H...)."""
    function = control & 0x1F
    names = _NAMES_2007
    if function == 0x03:
        names = _NAMES_SECURITY
    elif function < 0x11:
        names = _NAMES_1997
    found = []
    for bit in range(16):
        if word >> bit & 1:
            found.append(names[bit] if bit < len(names) else "bit " + str(bit))
    return ", ".join(found) if found else "no reason given"
