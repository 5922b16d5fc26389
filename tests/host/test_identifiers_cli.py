"""Goal: an identifier is found without a meter, by words in either language or by its digits.

Method: the command is run as a technician types it.
"""

import json

import pytest
from click.testing import CliRunner, Result

from host.cli import cli


def identifiers(*words: str) -> Result:
    return CliRunner().invoke(cli, ["identifiers", *words])


@pytest.mark.parametrize(
    ("words", "di"),
    [
        (["voltage"], "02010100"),
        (["phase", "A", "voltage"], "02010100"),
        (["A相电压"], "02010100"),
        (["020101"], "02010100"),
        (["--standard", "1997", "demand", "clear", "count"], "B213"),
    ],
)
def test_it_is_found(words: list[str], di: str) -> None:
    assert di in [one["di"] for one in json.loads(identifiers("--json", *words).output)]
    assert di in identifiers(*words).output


def test_a_standard_has_its_own() -> None:
    for standard, digits in (("2007", 8), ("1997", 4)):
        found = json.loads(identifiers("--json", "--standard", standard, "voltage").output)
        assert found
        assert {len(one["di"].split("[")[0]) <= digits for one in found} == {True}


def test_what_is_not_there_is_said() -> None:
    result = identifiers("no-such-thing")
    assert result.exit_code == 1
    assert (
        result.output == "Error: no identifier is called so: try one word, or the first digits\n"
    )
