"""Goal: money, supply, journal and head-end stay right under all faults, in 50 worlds.

Method: each seed is a world of its own (host/world/world.py); the checkers raise Violation. The
same seed must give the same journal, byte for byte, and the checkers must find errors: each
invariant is broken once on purpose.
"""

import json
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from card import codes
from card.redemption import Redemption
from click.testing import CliRunner, Result
from concentrator.books.books import Books
from concentrator.line.meters import LineMeters
from dlt645 import codes as codes_645
from dlt645.di import STATUS_3
from dlt645.master import Master
from prepay.accounts import STOPPED
from prepay.ledger import BACK, TOO_MUCH, Ledger
from prepay.policy import EMERGENCY, ORDER_TRIP, OVERLOAD, Policy
from uplink.session import Session

from host.cli import cli
from host.frames.record import RecordKind
from host.sim.storage import Storage
from host.world import households
from host.world.checks.account import Violation
from host.world.faults import NO_FAULTS, Faults
from host.world.world import World

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
    """A fault that no seed draws would not be tested."""
    drawn = {name for seed in SEEDS for name in World(seed, days=1, meters=1).report()["faults"]}

    assert len(drawn) > 30, sorted(drawn)


def test_without_faults_nothing_is_refused() -> None:
    report = World(1, days=1, meters=3, faults=NO_FAULTS).run()

    # A household that was cut and does not pay inserts its used card to ask for supply.
    assert set(report["cards"]) <= {"OK", "USED", "NOT_COVERED"}
    # Before a meter's standard and speed are found, only few requests stay without an answer.
    assert 0 <= report["line"]["requests"] - report["line"]["replies"] <= 3 * 4
    assert report["faults"] == {}
    assert "commands refused or unanswered" not in report["world"]


# --- the checkers find errors --------------------------------------------------------------------


def broken(faults: Faults = NO_FAULTS) -> Violation:
    """Return the violation of a world in which a part of the firmware was replaced."""
    # This is the first world in which nothing holds a cut back.
    worlds = (World(seed, days=1, meters=3, faults=faults) for seed in SEEDS)
    world = next(one for one in worlds if not one.terms.held_s(0))
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

    assert "opened without an order" in village().what


def test_records_that_are_not_on_the_flash_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "append", lambda self, name, buf, size: True)

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


def village(
    faults: Faults = NO_FAULTS, settings: dict[str, int] | None = None, **kind: int
) -> Violation:
    """Return the violation of a village with accounts of one kind and without quiet hours."""
    world = World(3, days=2, meters=4, faults=faults)
    world.settings.update(
        overdraft_fen=0, notice_minutes=0, no_cut_from_hour=0, no_cut_to_hour=0, no_cut_weekdays=0
    )
    world.settings.update(settings or {})
    world.kinds = [replace(one, **kind) for one in world.kinds]
    with pytest.raises(Violation) as caught:
        world.run()
    return caught.value


def test_more_of_a_debt_than_the_share_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "repaid_fen", lambda self, amount, debt, week: min(amount, debt))

    assert re.search(r"takes \d+ fen, \d+ this week", village(debt_fen=900).what)


def test_more_of_a_debt_than_the_cap_of_a_week_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Policy.repaid_fen
    monkeypatch.setattr(Policy, "repaid_fen", lambda self, *of: right(self, *of[:2], 0))

    assert "this week" in village(settings={"debt_week_limit_fen": 100}, debt_fen=5000).what


def test_a_refund_of_more_than_there_is_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Books, "judge_credit", lambda self, index, amount_fen: codes.OK)
    monkeypatch.setattr(households, "_REFUND_CHANCE", 1.0)

    assert "refunds what is not there" in village().what


def test_a_debt_that_falls_by_less_than_was_taken_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Ledger.top_up

    def wrong(self: Ledger, index: int, order: int, amount_fen: int, repaid_fen: int) -> bool:
        taken = right(self, index, order, amount_fen, repaid_fen)
        self.debt_fen[index] += repaid_fen > 0
        return taken

    monkeypatch.setattr(Ledger, "top_up", wrong)

    assert "debt of account" in village(debt_fen=900).what


def test_a_cut_of_somebody_guarded_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "_reason_to_hold", lambda self, *of: 0)

    assert "guard True" in village(guard=1).what


def test_a_cut_before_the_grace_is_over_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "_grace_hours", lambda self, grade: 0)

    assert "for reason 3" in village(settings={"grace_2_hours": 5}, grade=2).what


def test_a_cut_at_a_quiet_hour_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "no_cut_at", lambda self, t2000: False)
    quiet = {"no_cut_from_hour": 1, "no_cut_to_hour": 0}

    assert "cuts account" in village(settings=quiet).what


def test_emergency_credit_that_is_forgotten_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Policy._level

    def wrong(self: Policy, state: int, balance_fen: int, grade: int) -> int:
        return right(self, state, balance_fen + 100 * (state == EMERGENCY), grade)

    monkeypatch.setattr(Policy, "_level", wrong)

    assert "forgets emergency credit" in village(settings={"emergency_fen": 80}).what


def test_a_cut_for_power_below_the_limit_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Policy._overloads
    monkeypatch.setattr(Policy, "_overloads", lambda self, *of: right(self, of[0], of[1] + 900))
    found = village(settings={"load_limit_w": 900, "overdraft_fen": 900})

    assert "for reason 7" in found.what


def test_an_account_that_stays_cut_for_its_power_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Policy._may_leave
    monkeypatch.setattr(
        Policy, "_may_leave", lambda self, *of: of[0] != OVERLOAD and right(self, *of)
    )
    found = village(settings={"load_limit_w": 100, "overdraft_fen": 900})

    assert "stays cut for too much power" in found.what


def test_a_register_that_went_back_unseen_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Ledger._measure

    def wrong(self: Ledger, index: int, elapsed_s: int, first: bool) -> int:
        return min(right(self, index, elapsed_s, first), 0)

    monkeypatch.setattr(Ledger, "_measure", wrong)
    monkeypatch.setattr(Ledger, "prepare", Ledger._prepare_any)
    right_any = Ledger._prepare_any

    def believes(self: Ledger, *of: Any) -> int:
        outcome = right_any(self, *of)
        return 0 if outcome in (BACK, TOO_MUCH) else outcome

    monkeypatch.setattr(Ledger, "prepare", believes)

    assert village(Faults(jumps_a_day=20)).invariant == "money"


def test_a_doubt_that_cuts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Books._doubt

    def wrong(self: Books, index: int, *rest: int) -> None:
        right(self, index, *rest)
        if self.ledger.flags[index] & STOPPED:
            self.ledger.flags[index] &= 0xFF ^ STOPPED
            self._judge(index, ORDER_TRIP)
            self.ledger.flags[index] |= STOPPED

    monkeypatch.setattr(Books, "_doubt", wrong)

    assert "has no command" in village(Faults(jumps_a_day=20)).what


def test_a_right_meter_that_is_doubted_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "prepare", lambda self, *of: BACK)

    assert "doubts a meter that is right" in village().what


def test_missing_energy_that_counts_as_none_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LineMeters.decode

    def wrong(self: LineMeters, *of: Any) -> int:
        count = right(self, *of)
        for at in range(count):
            self.values[at] = max(0, self.values[at])
        return count

    monkeypatch.setattr(LineMeters, "decode", wrong)

    assert village(Faults(blanks_a_day=20)).invariant == "money"


def test_the_last_energy_of_an_exchanged_meter_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Books, "charge_typed", lambda self, index, values: 0)

    assert "it was taken down at" in village(Faults(exchanges_a_day=20)).what


def test_exchanges_begin_where_the_new_meter_began() -> None:
    report = World(5, days=2, meters=4, faults=Faults(exchanges_a_day=20)).run()

    assert report["world"]["meters exchanged"] > 5
    assert "exchanges begun late" not in report["world"]


@pytest.mark.slow
def test_what_may_befall_accounts_and_meters_does() -> None:
    """Checkers of events that never happen would check nothing."""
    faults = Faults(
        jumps_a_day=3, exchanges_a_day=3, blanks_a_day=3, guards_a_day=3, dark_midnight=0.5
    )
    seen: Counter[str] = Counter()
    for seed in (3, 5, 9, 11, 12, 14):
        seen.update(World(seed, days=3, meters=6, faults=faults).run()["world"])

    wanted = [f"cuts for reason {reason}" for reason in (2, 3, 7)]
    wanted += ["cuts held back", "emergency credits", "fen of debts repaid", "doubts"]
    wanted += ["meters exchanged", "registers rolled over", "power off over midnight"]
    wanted += ["fen refunded"]
    assert [name for name in wanted if not seen[name]] == []


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


def test_several_processes_tell_the_same_in_the_same_order() -> None:
    worlds = ("--seeds", "1-4", "--days", "1", "--meters", "1", "--json")

    assert run(*worlds, "-j", "2").stdout == run(*worlds, "-j", "1").stdout


def test_the_command_tells_its_speed() -> None:
    result = run("--days", "1", "--meters", "1")

    assert re.search(r"1 meter-days in \d+\.\d CPU-seconds: \d+", result.stderr)


def test_an_error_of_the_firmware_is_a_failed_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Books, "charge_reading", lambda self, *of: {}["no such thing"])

    result = run("--seed", "2", "--days", "1", "--meters", "1")

    assert result.exit_code == 1
    assert "seed 2: crash does not hold" in result.stderr
    assert "KeyError at test_world.py" in result.stderr


def test_seeds_that_are_no_range_are_refused() -> None:
    result = run("--seeds", "9-2")

    assert result.exit_code == 2
    assert "write it as 1-50" in result.stderr


def test_a_world_on_nor_without_littlefs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.cli.sim_run.find_spec", lambda name: None)

    result = run("--scenario", "nor")

    assert result.exit_code == 1
    assert "the scenario nor needs littlefs" in result.stderr
    assert "'littlefs-python>=0.15'" in result.stderr
