"""`dianka identifiers`: which data identifier is meant by a word, without a meter."""

import re

import click

from host.cli import shown
from host.cli.options import json_option, profile_option
from host.cli.output import Column, print_json, print_table
from host.frames import catalogue
from host.frames.catalogue import Row
from host.words import _

# A longer format is that of a block, which --json tells whole.
_FORMAT_SIZE = 18
_ACCESS = {"r": "R", "w": "W", "rw": "R W"}


@shown.command(
    epilog="""\b
Examples:
  dianka identifiers voltage
  dianka identifiers 电压
  dianka identifiers --standard 1997 demand clear
  dianka identifiers 0201
"""
)
@click.argument("words", metavar="WORD...", nargs=-1, required=True)
@click.option("--standard", type=click.Choice(("2007", "1997")), help="Of this DL/T 645 alone.")
@profile_option()
@json_option
def command(words: tuple[str, ...], standard: str | None, profile: str, as_json: bool) -> None:
    """Find data identifiers by words of their names, in English or Chinese, or by their digits.

    [01-3F] in an identifier stands for the numbers from 01 to 3F, {1} in its name for that number.
    N is a digit, s a sign, U a binary number; --json shows the formats of blocks as well.
    """
    digits = {"2007": 8, "1997": 4}.get(standard or "")
    wanted = [word.lower() for word in words]
    found = [
        pattern.row
        for pattern in catalogue.load(profile).patterns
        if digits in (None, pattern.digits) and all(_is_said(word, pattern.row) for word in wanted)
    ]
    found.sort(key=lambda row: row.pattern)
    if as_json:
        print_json([_fields(row) for row in found])
    elif found:
        names = (_("identifier 标识"), _("access"), _("format"), _("unit 单位"))
        columns = [*map(Column, names), *(Column(name, wraps=True) for name in ("name", "名称"))]
        print_table(columns, [_cells(row) for row in found])
    if not found:
        raise click.ClickException(
            _("no identifier is called so: try one word, or the first digits")
        )


def _is_said(word: str, row: Row) -> bool:
    digits = re.sub(r"\[(\w+)-[^]]*\]", r"\1", row.pattern).lower()
    return word in row.name_en.lower() or word in row.name_zh.lower() or digits.startswith(word)


def _cells(row: Row) -> tuple[str, ...]:
    layout = row.layout if len(row.layout) <= _FORMAT_SIZE else _("block")
    return row.pattern, _ACCESS[row.access], layout, row.unit, row.name_en, row.name_zh


def _fields(row: Row) -> dict[str, str]:
    return {
        "di": row.pattern,
        "access": row.access,
        "format": row.layout,
        "unit": row.unit,
        "name_en": row.name_en,
        "name_zh": row.name_zh,
    }
