"""The meaning of the results of a card, read from `card_results.csv`.

The numbers are those of `firmware/card/codes.py`. Numbers up to 21 and the families Err-31 to
Err-36 are what card meters have in common.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files

from host.words import bilingual

FILE = "card_results.csv"
ACCEPTED = frozenset({0, 1})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table of results: the device's answer and its meaning for users."""

    code: int
    name: str
    shown: str
    english: str
    chinese: str
    next_english: str
    next_chinese: str


def _read() -> dict[int, Outcome]:
    text = files("host.frames").joinpath(FILE).read_text("utf-8")
    rows = (Outcome(int(row.pop("code")), **row) for row in csv.DictReader(text.splitlines()))
    return {row.code: row for row in rows}


OUTCOMES = _read()
CODES = {outcome.name: outcome.code for outcome in OUTCOMES.values()}


def result_text(code: int) -> str:
    """Return what a meter shows of a result and what it means, in the language that is spoken."""
    outcome = OUTCOMES.get(code)
    if outcome is None:
        return bilingual(f"code {code}", f"代码 {code}")
    return f"{outcome.shown}.{code:02d} {bilingual(outcome.english, outcome.chinese)}"
