"""Goal: docs/PREPAYMENT.md says what the code does.

Method: its tables are compared with the policy's parameters, defaults, names and moves, and its
worked bill is priced.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import host.device
from host.cli import cli

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "PREPAYMENT.md").read_text("utf-8")

assert host.device.device_root().is_dir()


def rows(header: str) -> list[list[str]]:
    """Return the cells of the table that begins with `header`."""
    lines = TEXT[TEXT.index(header) :].splitlines()[2:]
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_every_parameter_is_in_the_table_with_its_default() -> None:
    from concentrator.settings import TABLE
    from prepay.policy import Policy

    policy = Policy()
    written: dict[str, int] = {}
    for cells in rows("| parameter |"):
        names = re.findall(r"`([a-z0-9_]+)`", cells[0])
        if names[0].startswith("grace_1"):
            names = [names[0].replace("1", str(grade), 1) for grade in (1, 2, 3)]
        defaults = [int(text) for text in cells[2].split(", ")] * len(names)
        written.update(zip(names, defaults, strict=False))
    beside = ("hoarding_limit_fen", "doubt_cut_hours")
    others = {row[0]: int(row[2]) for row in TABLE if row[0] in beside}
    assert written == {**{name: getattr(policy, name) for name in policy.names()}, **others}


def test_the_table_of_states_is_the_policys() -> None:
    from prepay.policy import _MOVES

    table = rows("| balance | normal |")
    assert ["".join(cells[1:]).encode() for cells in table] == list(_MOVES)


def test_the_doubtful_outcomes_are_all_told() -> None:
    from prepay.ledger import EARLIER, OUTCOME_NAMES

    told = [cells[0] for cells in rows("| outcome | when |")]
    assert sorted(told) == sorted(OUTCOME_NAMES[EARLIER:])


@pytest.mark.slow
def test_every_feature_of_a_tariff_has_a_worked_bill() -> None:
    table = rows("| feature | dianka bill |")
    assert len(table) > 10
    for feature, command, yuan in table:
        words = shlex.split(command.strip("`"))
        result = CliRunner().invoke(cli, ["bill", *map(in_place, words), "--json"])
        assert result.exit_code == 0, (feature, result.output)
        assert json.loads(result.output)["exact_yuan"] == yuan, feature
    shown = " ".join(command for _, command, _ in table)
    for path in (ROOT / "tariffs" / "examples").glob("*.json"):
        assert f"tariffs/examples/{path.name}" in shown


def in_place(word: str) -> str:
    """Return a word of a command, with the folder of the tariffs."""
    return str(ROOT / word) if word.startswith("tariffs/") else word


def test_the_worked_bill() -> None:
    command = re.search(r"^    dianka (bill .*)$", TEXT, re.MULTILINE)
    assert command
    words = command[1].replace("tariffs/", f"{ROOT}/tariffs/").split()
    result = CliRunner().invoke(cli, [*words, "--json"])
    found = json.loads(result.output)
    told = rows("| tier | rate | kWh |")
    assert [[cells[2], cells[3], cells[4]] for cells in told] == [
        [cell["kwh"], cell["price"], cell["yuan"]] for cell in found["cells"]
    ]
    assert f"{found['exact_yuan']} yuan: 2,179 fen" in TEXT
