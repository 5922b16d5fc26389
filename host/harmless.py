"""Text from outside, made harmless for a terminal, a log and a spreadsheet.

Whatever a device, a meter, a card, a file, a person or a database says may hold characters that
move the cursor, change colours or turn the direction of text.
"""

import re

# Control characters, marks that turn the direction of text, ends of lines, halves of a character.
HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Spreadsheets set to Chinese take the wide signs of a formula as well.
_FORMULA = re.compile(r"\s*[=+@\-\uff1d\uff0b\uff20\uff0d]")
_NUMBER = re.compile(r"[+-]?[0-9]+([.,:][0-9]+)*")
_REPLACEMENT = "\ufffd"


def harmless(text: str) -> str:
    """Return the text as one line without control characters: each becomes a \ufffd."""
    return HARMFUL.sub(_REPLACEMENT, text)


def harmless_lines(text: str) -> str:
    """Return the text with its lines, each of them harmless."""
    return "\n".join(harmless(line) for line in text.split("\n"))


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would take the text for a formula."""
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def csv_cell(text: str) -> str:
    """Return harmless text for a cell of a CSV file, which no spreadsheet takes for a formula.

    What begins like a formula and is no number gets an apostrophe in front, as people type it.
    """
    cell = harmless(text)
    return f"'{cell}" if is_formula(cell) else cell
