"""`dianka headend clues`: who is suspected of theft, or what of a fault, and why."""

from dataclasses import asdict
from typing import Any

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, print_list
from host.cli.headend.losses import span_of, span_options
from host.cli.options import database_option
from host.cli.output import Column
from host.headend.clues import Evidence, clues, evidence_text
from host.units import to_datetime
from host.words import _, marked

_COLUMNS = (
    (Column(marked("score"), right=True), "score"),
    (Column(marked("account")), "account"),
    (Column(marked("district")), "district"),
    (Column(marked("evidence"), wraps=True), "evidence"),
)


@shown.command(
    "clues",
    epilog="""\b
Examples:
  dianka headend clues --day 2026-07-20 --db village.db
  dianka headend clues --month 2026-07 --district R4 --json --db village.db
""",
)
@database_option()
@span_options
@lists
def clues_command(
    db: str,
    day_t2000: int | None,
    month: tuple[int, int] | None,
    district: str,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Print who is suspected of theft, or what of a fault, with the evidence, the worst first.

    Evidence is what meters told within the day or month; use is compared with the weeks before.
    A clue is a reason to look, never a proof.
    """
    since, until = span_of(day_t2000, month)
    with opened(db, read_only=True) as store:
        found = clues(store, since, until, district or None)
    rows: list[dict[str, Any]] = []
    for clue in found:
        row = {"score": clue.score, "account": clue.account, "district": clue.district}
        evidence = [_plain(one) if as_json else evidence_text(one) for one in clue.evidence]
        rows.append({**row, "evidence": evidence if as_json else "; ".join(map(str, evidence))})
    print_list("clues", rows, _COLUMNS, as_json, as_csv, _("nothing is suspicious"))


def _plain(one: Evidence) -> dict[str, Any]:
    told = asdict(one)
    return {**told, "time": str(to_datetime(told.pop("t2000")))}
