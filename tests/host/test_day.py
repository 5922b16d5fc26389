"""Goal: the demonstration's day ends with the same ledger on the unix port, on CPython and on a
Cortex-M3 in QEMU: every account's credit, debit, residues, energy and tier.

Method: the demonstration runs once on each, with its kills of the concentrator and the head-end,
its cut, its refused cards and its refused command, in real processes over terminals, TCP and
QEMU's serial lines. Each run reads the meters at other moments; but each supply stays off until
the account is open, and each household then uses a given energy at the peak rate and after it at
the valley rate. So the ledger is known before: host.billing computes it, apart from the firmware,
and each board must reach it to the last digit, as the concentrator shows it and as the head-end
stores it. A day that cannot be finished in time is extended: the comparison waits for readings,
not for the clock.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.demo import story
from host.demo.devices import Maker, emulated, program
from host.demo.story import Ending, Ledger, Story
from host.demo.village import Village
from host.device import device_root
from tools import image, micropython

# The day runs slower than the demonstration, so that a busy machine has more time for an hour.
SPEED = 1200
ACCOUNTS = [story.account_of(number) for number in range(story.HOUSEHOLDS)]


def unix() -> Maker:
    return program(str(micropython.ensure()), str(device_root() / "main.py"))


def cpython() -> Maker:
    return program(sys.executable, "-m", "host.device.process")


def qemu() -> Maker:
    try:
        image.install_emulator()
    except image.ImageError as error:
        pytest.skip(str(error))
    return emulated(image.build_emulated())


def play(folder: Path, maker: Maker) -> tuple[Ending, list[str]]:
    """Play the day; return how it ended and its whole output."""
    said: list[str] = []
    village = Village(folder, maker, story.START_T2000, SPEED)
    played = Story(village, said.append)
    try:
        return played.run(), said
    finally:
        played.close()
        village.close()


@pytest.mark.slow
@pytest.mark.xdist_group("day")
@pytest.mark.parametrize("board", [unix, cpython, qemu])
def test_the_day_ends_with_the_ledger_that_was_computed_before(
    tmp_path: Path, board: Callable[[], Maker]
) -> None:
    ending, said = play(tmp_path, board())

    expected = [story.bill_of(number) for number in range(story.HOUSEHOLDS)]
    assert [ending.told[account] for account in ACCOUNTS] == [ledger for ledger, _ in expected]
    assert [ending.tiers[account] for account in ACCOUNTS] == [tier for _, tier in expected]
    assert ending.stored == ending.told
    assert ending.reconciliation.ok, ending.reconciliation.differences
    assert ending.reconciliation.records_lost == 0
    assert ending.reconciliation.duplicates == 0
    assert ending.acked_records == ending.journal_records
    assert {row["meter"]: tuple(row["registers_wh"][:2]) for row in ending.meters} == {
        story.meter_of(number): needs for number, needs in enumerate(story.NEEDS_WH)
    }
    assert not any(row["open"] for row in ending.meters)
    assert len([line for line in said if "killed" in line or "refused" in line]) == 5


def test_the_ledger_is_that_of_the_price_list() -> None:
    # 10 kWh at 0.568, 2 at 0.618, 8 at 0.338, 1 at 0.588 yuan: 10.208 yuan.
    assert story.bill_of(story.POOR) == (Ledger(3000, 1020, 80_000, 0, 21_000), 3)
    # 3 kWh at 0.568, 0.4 at 0.288: 1.8192 yuan.
    assert story.bill_of(0) == (Ledger(3000, 181, 92_000, 0, 3400), 1)
    assert {story.bill_of(number)[1] for number in range(story.HOUSEHOLDS)} == {1, 2, 3}


def test_the_emulated_board_wants_its_image(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["demo", "--board", "qemu"])

    assert result.exit_code == 1
    assert "make image BOARD=qemu" in result.output


@pytest.mark.slow
def test_a_missing_emulator_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    elf = tmp_path / "firmware.elf"
    elf.touch()
    result = CliRunner().invoke(cli, ["demo", "--board", "qemu", "--image", str(elf)])

    assert result.exit_code == 1
    assert "apt-get install qemu-system-arm" in result.output
