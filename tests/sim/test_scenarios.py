"""Goal: each named scenario passes its checkers, and the checkers find the errors they are for.

Method: each scenario runs worlds of few days and meters (host/world/scenarios.py) with twenty
seeds; then parts of the product are broken on purpose. The real head-end is tested alone: its
stored records, a second record under a number, a database replaced by its copy.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from concentrator.books.books import Books
from concentrator.books.charging import REFUSED
from concentrator.books.doubt import DOUBTED
from concentrator.books.tariffs import Tariffs
from concentrator.console import account_commands
from concentrator.console.remote import Remote
from concentrator.storage.journal import Journal
from concentrator.uplink import Uplink
from prepay.ledger import Ledger
from uplink.session import Session

from host.cli import cli
from host.frames import batch, link, record
from host.frames.link import Kind
from host.frames.record import RecordKind
from host.headend import outcomes, posting, standing
from host.headend.posting import Posting
from host.headend.standing import Standing
from host.sim.clock import VirtualClock
from host.sim.headend import Inconsistent
from host.world import replacing
from host.world.checks.account import Violation
from host.world.faults import NO_FAULTS
from host.world.incidents import Incidents
from host.world.scenarios import SCENARIOS
from host.world.station import Station
from host.world.world import World

KEY = bytes(range(32))
SEEDS_TOGETHER = 10
# `make soak` gives each scenario 200 seeds.
SEEDS = int(os.environ.get("DIANKA_SEEDS", "10"))


def let_go(world: World) -> int:
    """Return the count of records that were deleted for room."""
    assert world.app is not None
    return world.app.journal.first_seq - 1


def moved_back(world: World) -> int:
    """Return how often a copy replaced the head-end's database."""
    assert isinstance(world.headend, Station)
    return world.headend.moved_back


def counted(*names: str) -> Callable[[World], int]:
    """Return the sum of the world's counters with these names."""
    return lambda world: sum(world.checkers.counters[name] for name in names)


# Days and meters of a world of each scenario, and the events that some seeds must have seen.
SIZES: dict[str, tuple[int, int, Callable[[World], int]]] = {
    "alone": (7, 2, let_go),
    "away": (3, 2, lambda world: world.headend.counters["refused_connections"]),
    "small-flash": (2, 2, let_go),
    "replaced": (2, 2, counted("boards replaced", "boards replaced empty")),
    "head-end-restored": (2, 2, moved_back),
    "others": (1, 2, lambda world: world.headend.counters["records posted late"]),
    "nor": (1, 2, lambda world: world.storage.counters["power_cut"]),
    "rot": (1, 2, counted("bits turned")),
    "glitches": (1, 2, counted("corrections", "draws above a power limit")),
    "attacker": (1, 2, counted("relays closed by hand")),
    "no-battery": (1, 2, counted("clocks lost")),
    "one-tariff": (1, 2, counted("records READING")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("first", range(1, 1 + SEEDS, SEEDS_TOGETHER))
def test_the_scenario_holds(name: str, first: int) -> None:
    days, meters, saw = SIZES[name]
    seen = 0

    for seed in range(first, first + SEEDS_TOGETHER):
        world = World(seed, days, meters, scenario=name)
        world.run()
        seen += saw(world)

    assert seen > 0


# Errors that a seed has found: a scenario, a seed, days, with two meters each.
FOUND = [
    ("replaced", 9, 2),  # without a clock the week of repayments was forgotten
    ("replaced", 13, 2),  # `restored` came before the head-end had reported its position
    ("replaced", 35, 2),  # a copy continued behind the last record that the head-end knew
    ("replaced", 48, 2),  # an empty board did the same
    ("replaced", 71, 2),  # a copy wanted supply where the lost board had cut it
    ("head-end-restored", 7, 1),  # a meter of which the head-end had lost every record
    ("glitches", 40, 2),  # the clock was set twice while a good payer's grace ran
    ("glitches", 58, 1),  # a new meter of which nobody knew the standard never answered
    ("alone", 24, 2),  # a technician typed the registers of a meter that stayed silent
    ("away", 192, 2),  # a clock set back by hours: each relay command was over when it came
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed", "days"), FOUND)
def test_what_a_seed_found_holds(name: str, seed: int, days: int) -> None:
    World(seed, days, 2, scenario=name).run()


@pytest.mark.slow
def test_commands_from_above_hold() -> None:
    """A thousand a day; `make soak` has the whole."""
    world = World(10, 1, 4, scenario="commanded")

    world.run()

    seen = world.checkers.counters
    assert seen["commands from above"] > 800
    for name in ("commands done", "commands refused", "commands told expired"):
        assert seen[name] > 50, name
    assert seen["commands not_known"] > 0


@pytest.mark.slow
def test_forged_and_replayed_commands_take_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make soak` has the whole."""
    few = replace(SCENARIOS["forged-commands"], commanded_a_day=400.0)
    monkeypatch.setitem(SCENARIOS, "forged-commands", few)
    world = World(2, 1, 2, scenario="forged-commands")
    refused = 0
    receive = Session._receive

    def counted(self: Session, now_ticks: int) -> None:
        nonlocal refused
        before = self.refused
        receive(self, now_ticks)
        refused += self.refused - before

    monkeypatch.setattr(Session, "_receive", counted)

    world.run()

    assert refused > 100
    assert world.headend is not None
    assert world.headend.attacker is not None
    done = world.headend.attacker.counters
    assert min(done["order_again"], done["forge_order"]) > 50
    seen = world.checkers.counters
    assert seen["commands done"] > 50
    assert seen["records TARIFF"] > len(world.terms.tariffs)


def test_most_charges_of_one_tariff_take_the_short_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, no world would test the path that a board takes most of the time."""
    paths: Counter[str] = Counter()
    right = Ledger.commit

    def counted(self: Ledger, index: int) -> None:
        paths["long" if self.whole else "short"] += 1
        right(self, index)

    monkeypatch.setattr(Ledger, "commit", counted)
    for seed in range(1, 6):
        World(seed, 1, 2, scenario="one-tariff").run()

    assert paths["short"] > paths["long"] > 0


@pytest.mark.slow
def test_two_months_alone() -> None:
    """The flash is overwritten many times; each account is charged exactly and cut in time."""
    report = World(1, days=60, meters=4, scenario="alone").run()

    assert report["world"]["records READING"] > 10_000
    assert report["world"]["cuts for reason 3"] > 10


def test_the_help_tells_every_scenario() -> None:
    told = CliRunner().invoke(cli, ["sim", "run", "--help"]).stdout

    for name, scenario in SCENARIOS.items():
        assert f"  {name} " in told
        assert scenario.text in told


def test_a_failed_scenario_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: World, _: object) -> None:
        raise Violation("room", "on purpose")

    monkeypatch.setattr(World, "run", fails)
    arguments = ["sim", "run", "--scenario", "away", "--days", "1", "--meters", "1"]

    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 1
    assert "--days 1 --meters 1 --scenario away" in result.stderr


# --- the checkers find errors --------------------------------------------------------------------


def violation(scenario: str, days: int = 1) -> Violation:
    """Return the violated invariant of a world in which something was broken."""
    with pytest.raises(Violation) as caught:
        World(1, days, 3, NO_FAULTS, scenario).run()
    return caught.value


def test_what_is_deleted_before_the_head_end_has_it_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Uplink, "acked_seq", property(lambda self: 1 << 30))

    world = World(1, 2, 3, NO_FAULTS)
    assert world.headend is not None
    world.agenda.after(3_600_000_000, lambda: world.headend.go_away(1 << 50))

    with pytest.raises(Violation, match="the journal begins at"):
        world.run()


def test_money_that_is_let_go_for_room_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uplink, "acked_seq", property(lambda self: 1 << 30))

    found = violation("away", days=4)

    assert (found.invariant, "was let go" in found.what) == ("head-end", True)


def test_readings_that_find_no_room_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Books, *of: Any) -> int:
        self.refused += 1
        return REFUSED

    monkeypatch.setattr(Books, "charge_reading", refuses)

    assert violation("small-flash").invariant == "room"


def test_books_of_the_head_end_that_are_wrong_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Posting._reading

    def wrong(self: Posting, one: Any) -> None:
        right(self, one)
        for account in self._state.accounts.values():
            account["credit_fen"] += 1

    monkeypatch.setitem(posting._POSTERS, RecordKind.READING, wrong)

    assert violation("rot").invariant == "books"


def test_a_number_for_two_records_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy's records behind those that the head-end knew are sent to it after all."""
    monkeypatch.setattr(Journal, "outbox_seq", property(lambda self: self.first_seq))

    with pytest.raises(Violation, match="another record under a number"):
        World(13, 2, 2, scenario="replaced").run()


def test_a_record_that_was_acknowledged_and_is_not_there_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Posting.write

    def forgets(self: Posting) -> None:
        self._records = self._records[1:]
        write(self)

    monkeypatch.setattr(Posting, "write", forgets)

    found = violation("rot")

    assert (found.invariant, "it lacks record" in found.what) == ("head-end", True)


def test_a_foreign_record_that_is_posted_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "_NEVER_WAIT", frozenset(RecordKind))

    found = violation("others")

    assert (found.invariant, "not its own" in found.what) == ("ownership", True)


def test_what_has_waited_and_is_not_posted_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Posting, "take_in", lambda self, *of: None)

    assert violation("others").invariant == "books"


def test_a_copied_board_that_is_let_in_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.headend.ingest._judge", lambda head, position: None)

    assert violation("others").invariant in ("ownership", "head-end")


def test_an_account_that_is_restored_to_another_balance_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = standing.standings

    def wrong(*of: Any) -> list[Standing]:
        found = right(*of)
        for one in found:
            one.fields[RecordKind.STANDING]["residue_e11"] ^= 1
        return found

    monkeypatch.setattr(replacing, "standings", wrong)

    assert violation("replaced", days=2).invariant == "restore"


def test_standings_that_are_wanted_and_never_told_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Books, "tell_next", lambda self: False)

    found = violation("head-end-restored", days=2)

    assert (found.invariant, "still lacks" in found.what) == ("books", True)


@pytest.mark.parametrize(
    ("stage", "outcome", "what"), [(1, None, "has no command"), (2, 1, "says 1 of")]
)
def test_a_command_whose_records_are_wrong_is_seen(
    stage: int, outcome: int | None, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Remote._note

    def wrong(self: Remote, told: int, of: int) -> bool:
        if told == stage:
            return outcome is None or right(self, told, outcome)
        return right(self, told, of)

    monkeypatch.setattr(Remote, "_note", wrong)

    found = violation("commanded")

    assert (found.invariant, what in found.what) == ("commands", True)


def test_a_cut_that_is_not_lawful_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_commands, "_check_lawful", lambda *of: None)
    monkeypatch.setattr("host.world.commanding._NOTICE_S", 60)
    monkeypatch.setattr("host.world.terms._NOTICE_MINUTES", (60,))

    found = violation("commanded")

    assert (found.invariant, "s behind ['supply'" in found.what) == ("commands", True)


def test_a_tariff_that_charges_otherwise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tariff from above is noted in the journal, and the old one goes on charging."""
    right = Tariffs.activate

    def keeps(self: Tariffs, number: int, name: bytes) -> bool:
        before = self.find(number)
        done = right(self, number, name)
        if before is not None:
            self._loaded[number] = before
        return done

    monkeypatch.setattr(Tariffs, "activate", keeps)

    found = violation("commanded")

    assert (found.invariant, "e-11 yuan in all" in found.what) == ("money", True)


def test_an_outcome_that_the_head_end_tells_wrongly_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(outcomes.STATES, 1, outcomes.NOT_DONE)
    few = replace(SCENARIOS["commanded"], commanded_a_day=100.0)
    monkeypatch.setitem(SCENARIOS, "commanded", few)

    found = violation("commanded")

    assert (found.invariant, "is told not done" in found.what) == ("commands", True)


def test_a_glitch_that_is_paid_for_in_the_end_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Books, "_prepare_correction", lambda self, index: False)

    found = violation("glitches", days=2)

    assert (found.invariant, "that nobody used" in found.what) == ("money", True)


def test_a_first_reading_that_nobody_compares_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is below the truth, so energy from before the first reading would be charged."""
    monkeypatch.setattr("host.world.incidents._FIRST_LIE_WH", (20_000, 40_000))
    monkeypatch.setattr(Incidents, "_compare", lambda self, index: self._comparing.clear())

    with pytest.raises(Violation, match="charges from a false first reading"):
        World(6, 1, 3, NO_FAULTS, "attacker").run()


def test_a_correction_that_puts_back_too_much_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Ledger.prepare_again

    def wrong(self: Ledger, *of: Any) -> int:
        outcome = right(self, *of)
        self.returned_fen += 1
        return outcome

    monkeypatch.setattr(Ledger, "prepare_again", wrong)

    assert "e-11 yuan in all" in violation("glitches", days=2).what


def test_energy_without_a_trace_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Books.charge_reading

    def wrong(self: Books, index: int, *of: Any) -> int:
        return DOUBTED if index == 1 and self.readings > 20 else right(self, index, *of)

    monkeypatch.setattr(Books, "charge_reading", wrong)

    assert violation("one-tariff").invariant == "trace"


def test_a_meter_that_sends_no_energy_without_a_trace_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Books, "miss", lambda self, index: None)

    with pytest.raises(Violation, match=r"trace: account \d is not charged"):
        World(1, 1, 3, replace(NO_FAULTS, blanks_a_day=24.0)).run()


# --- the real head-end ---------------------------------------------------------------------------


def sent(station: Station, number: int, *failures: int) -> int:
    """Send records from number 1 on, one for each count of failures; return what is acked."""
    records = [
        record.make(seq, 800_000_000, RecordKind.LINE, {"state": 1, "failures": count})
        for seq, count in enumerate(failures, 1)
    ]
    head = batch.Head(7, b"journal!", 1, number)
    body = batch.seal_up(Kind.BATCH, head, batch.build_batch(records), KEY)
    station.connect()
    station.write(link.build(Kind.BATCH, number, body))
    return station.acked_seq


@pytest.fixture(name="station")
def _station() -> Any:
    station = Station(VirtualClock(), 7, KEY, random=None)
    yield station
    station.close_down()


def test_the_station_stores_what_it_acknowledges(station: Station) -> None:
    assert sent(station, 1, 5, 6) == 2
    assert sorted(station.stored()) == [1, 2]


def test_a_second_record_under_a_number_is_seen(station: Station) -> None:
    sent(station, 1, 5, 6)

    with pytest.raises(Inconsistent):
        sent(station, 2, 5, 7)


def test_a_database_goes_back_to_its_copy(station: Station) -> None:
    sent(station, 1, 5)
    station.back_up()
    sent(station, 2, 5, 6)

    station.move_back()

    assert (station.acked_seq, sorted(station.stored()), station.connection) == (1, [1], 0)
