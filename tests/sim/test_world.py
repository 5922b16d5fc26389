"""Goal: whatever goes wrong, money, supply, journal and head-end stay right, in 50 worlds.

Method: each seed is a world of its own (host/rig/world.py); the checkers raise Violation. The
same seed must give the same journal, byte for byte, and the checkers must see what they are for:
each invariant is broken once on purpose.
"""

import json
import re
from typing import Any

import pytest
from card import codes
from card.redemption import Redemption
from click.testing import CliRunner, Result
from concentrator.books import Books
from concentrator.journal import Journal
from dlt645 import codes as codes_645
from dlt645.di import STATUS_3
from dlt645.master import Master
from prepay.ledger import Ledger
from prepay.policy import Policy
from uplink.session import Session

from host.cli import cli
from host.frames.record import RecordKind
from host.rig.checkers import Violation
from host.rig.faults import NO_FAULTS, Faults
from host.rig.world import World

SEEDS = range(1, 51)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_invariants_hold(seed: int) -> None:
    report = World(seed, days=1, meters=3).run()

    assert report["world"]["records READING"] > 20
    assert report["world"]["records TOP_UP"] >= 3


def test_a_seed_repeats_its_world() -> None:
    first = World(7, days=1, meters=3).run()

    assert World(7, days=1, meters=3).run() == first
    assert World(8, days=1, meters=3).run()["journal_crc32"] != first["journal_crc32"]


def test_seeds_bring_every_trouble() -> None:
    """Faults that no seed draws would be tested by nothing."""
    drawn = {name for seed in SEEDS for name in World(seed, days=1, meters=1).report()["faults"]}

    assert len(drawn) > 30, sorted(drawn)


def test_without_faults_nothing_is_refused() -> None:
    report = World(1, days=1, meters=3, faults=NO_FAULTS).run()

    assert set(report["cards"]) == {"OK"}
    # Before a meter's standard and speed are found, few questions find nobody.
    assert 0 <= report["line"]["requests"] - report["line"]["replies"] <= 3 * 4
    assert report["faults"] == {}
    assert "commands refused or unanswered" not in report["world"]


# --- the checkers see what they are for ---------------------------------------------------------


def broken(faults: Faults = NO_FAULTS) -> Violation:
    """The violation of a world in which something of the firmware was replaced."""
    # The first world in which nothing holds a cut back.
    worlds = (World(seed, days=1, meters=3, faults=faults) for seed in SEEDS)
    world = next(one for one in worlds if one.terms.held_s == 0)
    with pytest.raises(Violation) as caught:
        world.run()
    return caught.value


def test_a_charge_that_is_a_digit_too_high_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Ledger._charge

    def wrong(self: Ledger, *arguments: Any) -> None:
        right(self, *arguments)
        self.new_residue_e11 = (self.new_residue_e11 + 1) % 10_000

    monkeypatch.setattr(Ledger, "_charge", wrong)

    assert re.search(r"e-11 yuan in all, \d+ is right", broken().what)


def test_money_that_counts_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redemption, "_judge", lambda self: codes.OK)

    assert broken(Faults(bad_cards_a_day=50)).invariant == "once"


def test_a_cut_of_somebody_with_money_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Policy._level

    def wrong(self: Policy, state: int, balance_fen: int, grade: int) -> int:
        return right(self, state, balance_fen - 400, grade)

    monkeypatch.setattr(Policy, "_level", wrong)

    assert "cuts account" in broken().what


def test_a_cut_that_never_comes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Books, "_judge", lambda self, index, cause: None)

    assert "is not cut" in broken().what


def test_a_relay_that_nobody_ordered_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Master.start_read

    def wrong(self: Master, address: bytearray, di: int, now_ticks: int) -> None:
        if di == STATUS_3:
            key = bytearray((2, 0, 0, 0))
            self.start_relay(address, codes_645.TRIP, key, bytearray(4), 0x3FFFFFFF, now_ticks)
        else:
            right(self, address, di, now_ticks)

    monkeypatch.setattr(Master, "start_read", wrong)

    assert "opened without an order" in broken().what


def test_records_that_are_not_on_the_flash_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "_append", lambda self, start: self.count - start)

    assert broken().invariant == "journal"


def test_records_that_do_not_reach_the_head_end_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "_gather", lambda self, now_ticks: 0)

    assert broken().invariant == "head-end"


def test_money_that_a_restart_forgets_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Books.replay

    def wrong(self: Books, buf: bytearray) -> None:
        if buf[8] != RecordKind.TOP_UP:
            right(self, buf)

    monkeypatch.setattr(Books, "replay", wrong)

    assert broken(Faults(restarts_a_day=6)).invariant == "recovery"


# --- the command --------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["sim", "run", *arguments])


def test_the_command_tells_what_happened() -> None:
    result = run("--seed", "2", "--days", "1", "--meters", "2", "--json")

    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["ok"]
    assert report["world"]["records READING"] > 50


def test_the_command_shows_a_table() -> None:
    result = run("--seed", "2", "--days", "1", "--meters", "2")

    assert result.exit_code == 0
    assert "records READING" in result.stdout
    assert "all hold" in result.stdout


def test_a_failed_world_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "_gather", lambda self, now_ticks: 0)

    result = run("--seeds", "2-3", "--days", "1", "--meters", "1")

    assert result.exit_code == 1
    assert "head-end does not hold" in result.stderr
    assert "dianka sim run --seed 2 --days 1 --meters 1" in result.stderr
    assert "2 of 2 seeds failed: [2, 3]" in result.stderr


def test_seeds_that_are_no_range_are_refused() -> None:
    result = run("--seeds", "9-2")

    assert result.exit_code == 2
    assert "write it as 1-50" in result.stderr
