"""Goal: a technician sets up and reads a concentrator by commands, which report what is wrong.

Method: the real command line runs with the firmware on a real MicroPython over a pseudo terminal.
"""

from collections.abc import Iterator
from pathlib import Path

import device
import pytest
from click.testing import CliRunner, Result
from device import Device

from host.cli import cli

pytestmark = pytest.mark.xdist_group("console")

TARIFF = Path(__file__).resolve().parents[2] / "host" / "demo" / "tariff.json"


@pytest.fixture(scope="module")
def concentrator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with device.running(tmp_path_factory.mktemp("device") / "flash.bin") as running:
        yield running


def ask(on: Device, *words: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["console", "--port", on.url, *words], input=text)


def test_it_tells_its_commands_and_status(concentrator: Device) -> None:
    assert "meter add ADDRESS ACCOUNT TARIFF" in ask(concentrator, "help").output
    assert "meters 0 of 512" in ask(concentrator, "status").output


def test_a_household_is_set_up(concentrator: Device) -> None:
    loaded = ask(concentrator, "--tariff", str(TARIFF), "--number", "2")
    unasked = ask(concentrator, "--tariff", str(TARIFF))
    assert (unasked.exit_code, "say by --number which one" in unasked.output) == (1, True)
    assert loaded.output == "tariff 2 in force\n"

    added = ask(concentrator, "meter", "add", "983764", "17", "2")
    assert added.output.startswith("000000983764 000000000017 2 0 auto 2400")

    assert "no card is taken until" in added.output
    assert "told no\n" in ask(concentrator, "account", "17").output
    assert ask(concentrator, "account", "new", "17").output == "cards are taken\n"
    again = ask(concentrator, "account", "new", "17")
    assert (again.exit_code, "account 17 is known here" in again.output) == (1, True)

    account = ask(concentrator, "account", "17").output
    assert "told yes\n" in account
    assert "balance_fen 0\n" in account
    assert "relay closed\n" in account


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "unknown command, `help` lists them"),
        (["meter", "add", "12x", "17", "1"], "a meter address has up to 12 digits, not 12x"),
        (["meter", "add", "1", "18", "7"], "there is no tariff 7, load it first"),
        (["account", "99"], "no account 99, `meter list` names them"),
        (["set", "interval_s", "5"], "interval_s takes 60 to 86400"),
        (["set", "nonsense", "5"], "no setting nonsense, `settings` lists them"),
        (["time", "2026-13-01", "08:00:00"], "a time is like 2026-11-25 08:30:00"),
        (["meter", "add"], "usage: meter add ADDRESS ACCOUNT TARIFF"),
    ],
)
def test_what_is_wrong_is_said(concentrator: Device, words: list[str], said: str) -> None:
    refused = ask(concentrator, *words)

    assert refused.exit_code == 1
    assert said in refused.output
    assert "Traceback" not in refused.output


def test_lines_of_input_are_carried_out(concentrator: Device) -> None:
    answered = ask(concentrator, text="set interval_s 600\nnonsense\n\nset interval_s 900\n")

    assert "interval_s 600\n" in answered.output
    assert "unknown command" in answered.output
    assert "interval_s 900\n" in answered.output
    # A script that could not set something must not pass.
    assert (answered.exit_code, "1 commands were refused" in answered.output) == (1, True)


def test_a_line_nobody_has_is_said() -> None:
    refused = CliRunner().invoke(cli, ["console", "--port", "/dev/nobody", "status"])

    assert refused.exit_code == 1
    assert "cannot open /dev/nobody" in refused.output
