"""A small world in one seed: the unchanged firmware core on CPython, in virtual time.

    households, thieves ... cards --+                             +-- line -- meters with relays
    technician ------------ console +-- concentrator (App) -------+
                                              |                   +-- head-end
                                        flash, clock

One thread; every chance comes from one `Random`, divided among the parts, so that a seed repeats
the whole world. A power cut is an exception out of the flash: the running `App` is dropped, and a
new one is built on the content of the flash. The checkers run after every step.
"""

import zlib
from collections.abc import Callable, Collection
from dataclasses import asdict
from functools import partial
from random import Random
from typing import Any

from concentrator.app import App
from concentrator.settings import LOST
from ports import Unreadable

from host.sim.clock import DEFAULT_START_T2000, VirtualClock
from host.sim.headend import HeadEnd, HeadEndFaults, Inconsistent
from host.sim.hostile import Attacker
from host.sim.line import Line, LineFaults
from host.sim.meter import Relay
from host.sim.storage import PowerCut, Storage
from host.units import DAY_S, HOUR_S, to_datetime
from host.world.agenda import Agenda
from host.world.board import SimulatedBoard
from host.world.checks.account import Order, Violation
from host.world.checks.checkers import Checkers
from host.world.checks.headend import Above
from host.world.collecting import quick_collections
from host.world.commanding import Commanding
from host.world.console_side import ConsoleSide
from host.world.faults import NO_FAULTS, Faults, draw, lessened, named
from host.world.flash_faults import FlashFaults
from host.world.households import HOUR_US, MINUTE_US, Households
from host.world.incidents import Incidents
from host.world.meters import MeterMaker
from host.world.others import Others
from host.world.replacing import Replacing
from host.world.scenarios import ANY, SCENARIOS, Scenario, adapted, draw_limits
from host.world.station import OTHER, OTHER_KEY, Station
from host.world.technician import Technician, installation, tariff_commands
from host.world.terms import (
    CLOCK_STEP_S,
    Terms,
    draw_kinds,
    draw_settings,
    read_tariffs,
)
from host.world.timeline import Timeline

CONCENTRATOR = 7
UPLINK_KEY = bytes(range(32))
DAY_US = DAY_S * 1_000_000
# Rounds of quiet at the end within which everything must become right.
SETTLE_ROUNDS = 40
_SETTLE_LOOKS = 5  # in a round: what is read at its beginning is above some minutes later
# An answer that left a meter before the end of its lies has arrived after this time.
_UNDER_WAY_S = 60
BACKUPS_A_DAY = 1.0
COPIES_A_DAY = 2.0
# Looks at the flash that a start takes, or more.
_START_LOOKS = 100
_TICK_US = 10 * MINUTE_US
# Days after 2026-01-02 on which a world may begin: an ordinary one, and two before a new month.
_START_DAYS = (0, 28, 29)


_LOOKS = ("save", "status", "counters", "meter list", "journal 1 9")


def _head_end(scenario: Scenario, clock: VirtualClock, random: Random) -> HeadEnd | None:
    if not scenario.uplink:
        return None
    kind = Station if scenario.station else HeadEnd
    headend = kind(clock, CONCENTRATOR, UPLINK_KEY, random=random)
    if scenario.hostile_net:
        foreign = (OTHER, OTHER_KEY)
        headend.attacker = Attacker(Random(random.getrandbits(64)), foreign=foreign)
    return headend


def _storage(scenario: Scenario, random: Random) -> Storage:
    if not scenario.nor:
        return Storage(random=random)
    # littlefs-python is not needed for any other world.
    from host.world.nor_flash import NorStorage

    return NorStorage(random)


class World:
    """One concentrator, its line, its people, for `days`; `faults` None: as the seed draws them.

    `scenario` is a name in `scenarios`. Raises Violation from `run` when an invariant does not
    hold.

    without     names of faults that are not there, as the report has them
    skipped     numbers of events at random that do not happen; `events` counts them
    timeline    what is told of its course, None: nothing
    """

    def __init__(
        self,
        seed: int,
        days: int,
        meters: int,
        faults: Faults | None = None,
        scenario: str = ANY,
        *,
        without: Collection[str] = (),
        skipped: Collection[int] = (),
    ) -> None:
        self.seed = seed
        self.days = days
        self.scenario = SCENARIOS[scenario]
        self._root = Random(seed)
        self._random = self._branch()
        faults = draw(self._branch()) if faults is None else faults
        self.faults = lessened(adapted(faults, self.scenario), without)
        self.events = 0
        self._skipped = frozenset(skipped)
        self.timeline: Timeline | None = None
        start_t2000 = DEFAULT_START_T2000 + self._random.choice(_START_DAYS) * DAY_S
        self.clock = VirtualClock(start_t2000 + self._random.randrange(24) * 3600)
        self.agenda = Agenda(self.clock)
        maker = MeterMaker(self._random, self.agenda, meters, self._relay_moved)
        self.meters = [maker.make(index) for index in range(meters)]
        self.line = Line(self.clock, self.meters, random=self._branch())
        self.headend = _head_end(self.scenario, self.clock, self._branch())
        self.storage = _storage(self.scenario, self._branch())
        self.console = ConsoleSide(self.agenda, self._branch())
        sold: dict[tuple[int, int], Order] = {}
        self.technician = Technician(self.agenda, self.console)
        self.households = Households(self.agenda, self._branch(), self.console, self.meters, sold)
        self.kinds = draw_kinds(self._branch(), meters, self.scenario.tariffs)
        self.settings = draw_settings(self._branch())
        stepped = self.faults.clock_steps_a_day > 0
        self.terms = Terms(read_tariffs(), self.settings, stepped)
        self.limits = draw_limits(self._branch(), self.scenario)
        self.storage.limit_blocks = self.limits.blocks
        above = Above(self.headend, short=self.limits.blocks > 0)
        self.checkers = Checkers(self.terms, self.meters, above, sold)
        self._flash = FlashFaults(self._branch(), lambda: self.storage, self.checkers)
        self.incidents = Incidents(
            *(self.agenda, self._branch(), self.console, self.households),
            *(self.meters, maker.make),
        )
        self.restarts = 0
        self.app: App | None = None
        self.board: SimulatedBoard | None = None
        self._moved_s: int | None = 0
        self._power_on_us = 0
        self._calm = True
        self._spoilt_tariffs: set[int] = set()
        self._replacing: Replacing | None = None
        self._commanding: Commanding | None = None

    def _branch(self) -> Random:
        """Return chances of its own for a part, so that no part changes those of another."""
        return Random(self._root.getrandbits(64))

    def _relay_moved(self, index: int, relay: Relay, is_open: bool) -> None:
        if self.meters[index].relay is relay:  # else it was taken down meanwhile
            self.checkers.relay_moved(index, is_open, self.clock.now_us())

    # --- the course of a world -------------------------------------------------------------------

    def run(self, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
        """Run the world and return its report; `progress` is called after each day."""
        try:
            with quick_collections():
                self._boot()
                self._set_up()
                self._let_loose()
                for day in range(1, self.days + 1):
                    self._live_until(day * DAY_US)
                    if progress is not None:
                        progress(day)
                self._settle()
        except Inconsistent as error:
            raise Violation("journal", str(error)) from error
        return self.report()

    def _live_until(self, until_us: int) -> None:
        agenda = self.agenda
        clock = self.clock
        while clock.now_us() < until_us:
            agenda.run_due()
            event_us = agenda.next_us()
            stop_us = until_us if event_us is None else min(until_us, event_us)
            if self.app is None:
                stop_us = min(stop_us, max(self._power_on_us, clock.now_us()))
                clock.advance_us(max(0, stop_us - clock.now_us()))
                if clock.now_us() >= self._power_on_us:
                    self._boot()
            else:
                self._step(stop_us)

    def _step(self, stop_us: int) -> None:
        app, board = self.app, self.board
        if app is None or board is None:
            return
        try:
            idle_ms = app.step(board.now_ticks(), board.now_t2000())
        except PowerCut:
            self._power_off("power cuts in a change")
            return
        storage = self.storage
        healthy = not (
            board.moved_s is None
            or storage.failing
            or storage.fails_for_ever
            or app.settings.health == LOST
        )
        self.checkers.look(app, storage, self.clock.now_us(), healthy)
        board.sleep(idle_ms, stop_us)

    # --- power -----------------------------------------------------------------------------------

    def _power_off(self, why: str) -> None:
        """Switch the board off; it starts again after a while."""
        if self.app is None:
            return
        self.checkers.counters[why] += 1
        self._tell(why)
        if self.board is not None:
            self._moved_s = self.board.moved_s
        self.app = self.board = None
        long = self._random.random() < 0.2
        self._power_on_us = self.clock.now_us() + self._random.randrange(
            3 * HOUR_US if long else MINUTE_US
        )

    def _boot(self) -> None:
        """Start a new board on the old flash, as often as the power fails while it recovers."""
        self.console.read()
        while True:
            self.storage = self.storage.reopened()
            if not self._calm and self._random.random() < 0.1:
                self.storage.plan_cut(self._random.randrange(3), self._random.randrange(100))
            board = SimulatedBoard(
                *(self.clock, self.storage, [self.line], self.headend, self._branch()),
                self.console,
                self._random.getrandbits(29),
            )
            board.moved_s = self._moved_s
            if not self._calm and self._random.random() < self.faults.clock_loss:
                board.moved_s = None
                self.checkers.counters["clocks lost"] += 1
                self.agenda.after(self._random.randrange(2 * HOUR_US), self._set_clock)
            if not self._calm and self._random.random() < self.faults.start_failures:
                stays = self._random.random() < 0.3
                self.storage.plan_look_failure(self._random.randrange(_START_LOOKS), stays)
            try:
                self.app = App(board, limit=len(self.meters) + 1)
            except PowerCut:
                self.checkers.counters["power cuts in a recovery"] += 1
                continue
            except Unreadable:
                # The watchdog starts it again.
                self.checkers.counters["starts that could not read"] += 1
                self._power_on_us = self.clock.now_us() + MINUTE_US
                return
            self.app.keeper.checkpoint_records = self.limits.checkpoint_records
            self.board = board
            self.restarts += 1
            self.checkers.restarted(self.app, self.storage.content, self.clock.now_us())
            return

    def show(self, timeline: Timeline) -> None:
        """Tell of each record and of what happens around, from now on."""
        self.timeline = timeline
        self.checkers.show = timeline.record

    def _tell(self, what: str) -> None:
        if self.timeline is not None:
            self.timeline.event(what)

    # --- the technician --------------------------------------------------------------------------

    def _type(self, text: str) -> None:
        self._tell(f"typed: {text}")

        def answered(lines: list[str] | None) -> None:
            self.checkers.counters["commands"] += 1
            if lines is None or (lines and lines[0].startswith("refused")):
                self.checkers.counters["commands refused or unanswered"] += 1

        self.console.command(text, answered)

    def _set_up(self) -> None:
        """Type the commands for a new concentrator."""
        commands = self._installation()
        for one, kind in zip(self.households.households, self.kinds, strict=True):
            commands.append(f"meter add {one.meter.address} {one.account} {kind.tariff}")
            commands.append(f"account new {one.account}")
            commands += kind.commands(one.account)
        done: list[bool] = []
        self.technician.do(commands, lambda: done.append(True))
        while not done:
            self._live_until(self.clock.now_us() + 1_000_000)

    def _installation(self) -> list[str]:
        """Return the commands that make an empty board a concentrator without meters."""
        key = b"" if self.headend is None else UPLINK_KEY
        return installation(CONCENTRATOR, key, self.terms)

    def _set_clock(self) -> None:
        if not self.scenario.battery:
            return  # the meters tell the time
        moment = to_datetime(self.clock.now_t2000() + 1)
        self._type(f"time {moment:%Y-%m-%d %H:%M:%S}")

    def _set_clock_wrong(self) -> None:
        """Set the clock wrong by some minutes, seldom by hours; it is noticed some hours later."""
        random = self._random
        step_s = random.randrange(-3000, 3000)
        if random.random() < 0.2:
            step_s = random.randrange(-CLOCK_STEP_S, CLOCK_STEP_S)
        moment = to_datetime(self.clock.now_t2000() + step_s)
        self._type(f"time {moment:%Y-%m-%d %H:%M:%S}")
        self.agenda.after(random.randrange(6 * HOUR_US), self._set_clock)

    def _visit(self) -> None:
        """Have the technician repair what needs attention."""
        if self.app is not None and self.app.settings.health == LOST:
            self._power_off("restarts because the settings could not be read")
            return
        if self.board is not None and self.board.moved_s is None:
            self._set_clock()
        for index, account in self.checkers.accounts.items():
            if account.stopped:
                self.incidents.resume(index)
        self._type(self._random.choice(_LOOKS))

    # --- troubles --------------------------------------------------------------------------------

    def _let_loose(self) -> None:
        """Start all faults."""
        faults = self.faults
        self._calm = False
        self.line.faults = faults.line
        if self.headend is not None:
            self.headend.faults = faults.headend
        self.storage.faults = faults.storage
        self.console.spoil = faults.spoil
        self.households.faults = faults
        self.households.begin(self.checkers)
        self._often(faults.cuts_a_day, self._plan_cut)
        self._often(faults.restarts_a_day, lambda: self._power_off("restarts"))
        self._often(faults.failures_a_day, self._fail_storage)
        self._often(faults.nth_failures_a_day, self._fail_nth)
        self._often(faults.clock_steps_a_day, self._set_clock_wrong)
        self._often(faults.bad_cards_a_day, self.households.attack)
        self.incidents.begin(self.checkers, faults, self.scenario)
        self._often(faults.exchanges_a_day, self._exchange)
        self._often(faults.jumps_a_day, self.incidents.jump)
        self._often(faults.blanks_a_day, self.incidents.blank)
        self._often(faults.guards_a_day, self.incidents.guard)
        self._often(faults.lies_a_day, partial(self.incidents.lie, faults.invents))
        self._before_midnight()
        self._often(3.0, self._visit)
        _begin_scenario(self)
        self._tick()

    def _copy_flash(self, replacing: Replacing) -> None:
        if not self.incidents.pending:
            replacing.copy(self.app, self.storage)

    def _replace_board(self, replacing: Replacing) -> None:
        """Replace the board as soon as the head-end has all its records."""
        if self._calm:
            return
        if self.incidents.pending or not replacing.may_be(self.app):
            self.agenda.after(MINUTE_US, lambda: self._replace_board(replacing))
            return
        self._power_off("boards that die")
        installation = self._installation() if replacing.replace(self.storage) else []
        replacing.restore(installation, self._running)

    def _running(self) -> tuple[App, Storage] | None:
        return None if self.app is None else (self.app, self.storage)

    def _exchange(self) -> None:
        """Exchange a meter, unless no part of the station knows the accounts at the moment."""
        if self._replacing is not None:
            if self._replacing.pending:
                return
            self._replacing.forget_copy()
        self.incidents.exchange()

    def _often(self, times_a_day: float, do: Callable[[], None]) -> None:
        """Have `do` called at random, at a rate per day, while the world is not calm."""
        if times_a_day <= 0:
            return

        def again() -> None:
            if not self._calm:
                self.events += 1
                if self.events - 1 not in self._skipped:
                    do()
                wait()

        def wait() -> None:
            self.agenda.after(1 + int(self._random.expovariate(times_a_day / DAY_US)), again)

        wait()

    def _before_midnight(self) -> None:
        """Switch off the power over some midnights, when periods and seasons end."""
        now_t2000 = self.clock.now_t2000()
        wait_s = DAY_S - now_t2000 % DAY_S - self._random.randrange(1, HOUR_S)
        wait_s += DAY_S if wait_s <= 0 else 0
        self.agenda.after(wait_s * 1_000_000, self._at_midnight)

    def _at_midnight(self) -> None:
        if not self._calm and self._random.random() < self.faults.dark_midnight:
            self._power_off("power off over midnight")
            left_us = (DAY_S - self.clock.now_t2000() % DAY_S) * 1_000_000
            dark_us = left_us + self._random.randrange(2 * HOUR_US)
            self._power_on_us = self.clock.now_us() + dark_us
        self.agenda.after(HOUR_US, self._before_midnight)

    def _plan_cut(self) -> None:
        self._tell("the power is going to fail in a change of the flash")
        self.storage.plan_cut(self._random.randrange(4), self._random.randrange(101))

    def _fail_storage(self) -> None:
        storage = self.storage
        operation = self._flash.fail_one_kind()
        self._tell(f"the flash refuses each {operation}")
        wait_us = self._random.randrange(40 * MINUTE_US)
        self.agenda.after(wait_us, lambda: storage.failing.discard(operation))

    def _fail_nth(self) -> None:
        """Have one operation fail, or all of its kind until the technician restarts the board."""
        storage = self.storage
        self._flash.fail_nth()
        self._tell("an operation of the flash is going to fail")

        def restart() -> None:
            if storage is self.storage and storage.fails_for_ever:
                self._power_off("restarts because the flash fails")

        self.agenda.after(self._random.randrange(3 * HOUR_US), restart)

    def _turn_bit(self) -> None:
        if self.app is None or self.headend is None:
            return
        name = self._flash.turn_bit(self.app, self.headend.acked_seq)
        self._tell(f"a bit of {name} turns" if name else "no bit turns that may")
        if name[:1] == "t":
            self.checkers.tariffs_spoilt = True
            # The technician learns that a tariff cannot be read, and loads it again.
            self._bring_tariff(int(name[1:3]))

    def _bring_tariff(self, number: int) -> None:
        self._spoilt_tariffs.add(number)
        commands = tariff_commands(self.terms, number)
        then = partial(self._spoilt_tariffs.discard, number)
        wait_us = self._random.randrange(4 * HOUR_US)
        self.agenda.after(wait_us, lambda: self.technician.do(commands, then))

    def _tick(self) -> None:
        if self.app is not None:
            self.checkers.tick(self.app, self.clock.now_us())
        self.agenda.after(_TICK_US, self._tick)

    # --- the end ---------------------------------------------------------------------------------

    def _settle(self) -> None:
        """End all faults, and wait some rounds until everything has become right."""
        self._calm = True
        self.faults, faults = NO_FAULTS, self.faults
        self.line.faults = LineFaults()
        if self.headend is not None:
            self.headend.faults = HeadEndFaults()
            self.headend.come_back()
        self.storage.calm()
        if self.app is not None and self.app.settings.health == LOST:
            self._power_off("restarts because the settings could not be read")
        self.console.spoil = 0.0
        self._set_clock()
        self.incidents.calm()
        if self._commanding is not None:
            self._commanding.calm()
        self.households.insert_what_is_left()
        since_t2000 = self.clock.now_t2000() + (_UNDER_WAY_S if faults.lies_a_day else 0)
        interval_us = self.settings["interval_s"] * 1_000_000
        for look in range(SETTLE_ROUNDS * _SETTLE_LOOKS):
            self._live_until(self.clock.now_us() + interval_us // _SETTLE_LOOKS)
            if _is_settled(self, since_t2000):
                break
            if look % _SETTLE_LOOKS == 0:
                self._visit()
            self.households.insert_what_is_left()
        self.faults = faults
        if self.app is None:
            raise Violation("recovery", "the concentrator does not start")
        self.checkers.finish(self.app)
        if self._commanding is not None:
            self._commanding.finish(self.app)
        self._power_off("restarts")
        self._boot()

    def report(self) -> dict[str, Any]:
        """Return counts of events, and a value that identifies this course of the world."""
        return _report(self)


def _begin_scenario(world: World) -> None:
    """Plan the events of the scenario beside those of every world."""
    scenario, headend = world.scenario, world.headend
    if headend is not None and scenario.away_share:
        share = world._random.uniform(scenario.away_share / 2, scenario.away_share)
        away_us = int(share * world.days * DAY_US)
        leaves_us = int(world._random.uniform(0.05, 0.15) * world.days * DAY_US)
        world.agenda.after(leaves_us, lambda: headend.go_away(away_us))
    world._often(scenario.rot_a_day, world._turn_bit)
    world._often(scenario.by_hand_a_day, world.incidents.close_by_hand)
    if isinstance(headend, Station):
        _begin_station(world, headend)


def _is_settled(world: World, since_t2000: int) -> bool:
    """Return whether everything has become right since then."""
    app = world.app
    if app is None or not world.console.idle or world.households.owed:
        return False
    if world._spoilt_tariffs or world.incidents.pending:
        return False
    if world._commanding is not None and world._commanding.pending:
        return False
    if app.registry.pending or app.journal.count:
        return False
    if world.headend is not None and not world.checkers.above.has_all(app):
        return False
    return all(
        account.read_t2000 >= since_t2000 and account.stage == 0
        for account in world.checkers.accounts.values()
    )


def _begin_station(world: World, station: Station) -> None:
    """Plan what happens at the real head-end of a scenario."""
    scenario, often, agenda = world.scenario, world._often, world.agenda
    if scenario.replaced_a_day:
        replacing = world._replacing = Replacing(
            *(agenda, world._branch(), world.checkers, world.technician, station)
        )
        often(COPIES_A_DAY, lambda: world._copy_flash(replacing))
        often(scenario.replaced_a_day, lambda: world._replace_board(replacing))
    if scenario.restored_a_day:
        often(BACKUPS_A_DAY, station.back_up)
        often(scenario.restored_a_day, station.move_back)
    if scenario.foreign_a_day:
        Others(agenda, world._branch(), station, world.households).begin(often, scenario)
    if scenario.commanded_a_day:
        world._commanding = Commanding(
            *(agenda, world._branch(), station, world.households, world.checkers, world.terms)
        )
        world._commanding.begin(often, scenario.commanded_a_day)


def _report(world: World) -> dict[str, Any]:
    raw = world.checkers.raw
    journal = b"".join(raw[seq] for seq in sorted(raw))
    headend = world.headend
    return {
        "seed": world.seed,
        "days": world.days,
        "meters": len(world.meters),
        "limits": asdict(world.limits),
        "settings": world.settings,
        "accounts": [asdict(kind) for kind in world.kinds],
        "faults": named(world.faults),
        "restarts": world.restarts - 1,
        "world": dict(sorted(world.checkers.counters.items())),
        "cards": dict(sorted(world.households.results.items())),
        "line": dict(sorted(world.line.counters.items())),
        "head-end": dict(sorted(headend.counters.items())) if headend else {},
        "flash": dict(sorted(world.storage.counters.items())),
        "journal_crc32": f"{zlib.crc32(journal):08x}",
    }
