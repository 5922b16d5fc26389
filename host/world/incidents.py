"""Incidents of the meters of a simulated world, and a technician's work on them.

exchange    a meter is broken, says nothing for a while, and is exchanged: its last registers
            are read off its display, the new one begins with others
jump        what a register shows leaps ahead, or back
blank       a meter knows no energy for a while and sends FF
lie         its valid answers are wrong for a moment, or for up to two rounds; an attacker's are
            so from before the first reading on, which a technician compares with the display
limit       the power limit of an account is too low, until its billing stops
by hand     somebody closes the relay of a household that is cut
guard       the station protects an account's supply, or no longer
"""

from collections.abc import Callable
from functools import partial
from random import Random

from host.sim.load import RATES
from host.sim.meter import Meter
from host.world.agenda import Agenda
from host.world.checks.checkers import Checkers
from host.world.console_side import ConsoleSide
from host.world.faults import Faults
from host.world.households import HOUR_US, MINUTE_US, Households
from host.world.scenarios import Scenario

_BROKEN_US = 4 * HOUR_US
_BLANK_US = 5 * HOUR_US
_LIE_US = MINUTE_US // 2
_LONG_LIE_US = 30 * MINUTE_US
_FIRST_LIE_US = 2 * HOUR_US
_RETRY_US = 7 * MINUTE_US
_LOOK_US = 5_000_000
_COMPARED_WH = 1000
_LOW_LIMIT_W = 100
_BURST_US = 6 * HOUR_US
_BURST_WH = 2_000
_FIRST_LIE_WH = (2_000, 10_000_000)
_BACK_WH = (20_000, 200_000)
_AHEAD_WH = (4_000_000, 9_000_000)


class Incidents:
    """The incidents of `meters`; `make` returns a new meter for the household of an index."""

    def __init__(
        self,
        agenda: Agenda,
        random: Random,
        console: ConsoleSide,
        households: Households,
        meters: list[Meter],
        make: Callable[[int], Meter],
    ) -> None:
        self._agenda = agenda
        self._random = random
        self._console = console
        self._households = households
        self._meters = meters
        self._make = make
        self._under_way: set[int] = set()
        self._lies: dict[int, Callable[[], None]] = {}  # by meter, what ends each
        self._comparing: set[int] = set()

    def begin(self, checkers: Checkers, faults: Faults, scenario: Scenario) -> None:
        """Let incidents happen from now on; an attacker who invents answers is there at once."""
        self._checkers = checkers
        checkers.money.lies = faults.lies_a_day > 0
        if faults.invents:
            self._lie_at_first()
        if scenario.low_limits:
            self._limit_some()

    @property
    def pending(self) -> bool:
        """Return whether an exchange or a look at a display has begun and is not over yet."""
        return bool(self._under_way or self._comparing)

    def calm(self) -> None:
        """Start no new incidents; those that have begun are completed."""
        for meter in self._meters:
            meter.blank = False
        for over in list(self._lies.values()):
            over()
        for index, account in self._checkers.accounts.items():
            if account.limited:
                self._limit(index, 0)

    def exchange(self) -> None:
        """Have a meter break, and be exchanged some hours later."""
        index = self._random.randrange(len(self._meters))
        if index in self._under_way or index in self._lies:
            return
        self._under_way.add(index)
        self._advance(index)
        self._meters[index].broken = True
        wait_us = self._random.randrange(_BROKEN_US)
        self._agenda.after(wait_us, lambda: self._take_down(index))

    def _take_down(self, index: int) -> None:
        old = self._meters[index]
        new = self._meters[index] = self._make(index)
        household = self._households.households[index]
        household.meter = new
        last_wh = [old.total_wh, *old.registers_wh]
        first_wh = [new.total_wh, *new.registers_wh]
        self._checkers.money.meters[new.address] = new
        self._checkers.money.exchanges[new.address] = (last_wh, first_wh)
        shown = " ".join(map(_kwh, last_wh)) + " / " + " ".join(map(_kwh, first_wh))
        self._tell(index, f"meter exchange {household.account} {new.address} {shown}")

    def _tell(self, index: int, text: str) -> None:
        """Type a command until the concentrator has taken it."""

        def answered(lines: list[str] | None) -> None:
            account = self._checkers.accounts.get(index)
            if account and account.address == self._meters[index].address:
                self._under_way.discard(index)
                return
            if lines and lines[0].startswith("refused: the last reading"):
                household = self._households.households[index]
                # It was never charged up to there; the display is right and is typed.
                last = " ".join(text.split(" / ")[0].split()[4:])
                self._console.command(f"account resume {household.account} {last}", lambda _: None)
            self._agenda.after(_RETRY_US, lambda: self._tell(index, text))

        self._console.command(text, answered)

    def jump(self) -> None:
        """Change what a register shows at once to another value."""
        index = self._random.randrange(len(self._meters))
        if self._under_way.union(self._lies, self._comparing) & {index}:
            return
        self._advance(index)
        self._checkers.registers_jumped(index)
        back = self._random.random() < 0.5
        wh = self._random.randrange(*(_BACK_WH if back else _AHEAD_WH))
        self._meters[index].registers.add(0, (-wh if back else wh) * 3600)
        self._checkers.counters["registers jumped"] += 1

    def resume(self, index: int) -> None:
        """Have an account billed again, from what its meter shows where that has jumped."""
        if self._checkers.accounts[index].limited:
            self._limit(index, 0)
        text = f"account resume {self._households.households[index].account}"
        if self._checkers.accounts[index].meddled:
            text = " ".join((text, *_display(self._meters[index])))
        self._console.command(text, lambda _: None)

    def _limit_some(self) -> None:
        """Have a technician enter a power limit that is too low for some accounts."""
        for index in range(len(self._meters)):
            if self._random.random() < 0.5:
                self._limit(index, _LOW_LIMIT_W)
                self._agenda.after(self._random.randrange(_BURST_US), partial(self._burst, index))

    def _burst(self, index: int) -> None:
        """Have a household draw more in a few minutes than its power limit lets pass."""
        if self._checkers.accounts[index].limited and index not in self._under_way:
            self._advance(index)
            self._meters[index].registers.add(0, _BURST_WH * 3600)
            self._checkers.counters["draws above a power limit"] += 1
            self._agenda.after(self._random.randrange(_BURST_US), partial(self._burst, index))

    def _limit(self, index: int, power_w: int) -> None:
        account = self._households.households[index].account
        self._console.command(f"account set {account} power_limit_w {power_w}", lambda _: None)

    def close_by_hand(self) -> None:
        """Have a household that is cut close its relay itself."""
        meter = self._random.choice(self._meters)
        if meter.relay.open:
            self._checkers.counters["relays closed by hand"] += 1
            meter.advance(self._agenda.clock.now_t2000())
            meter.relay.set(False)

    def lie(self, invents: bool) -> None:
        """Have a meter's answers be wrong for a while; no register really changes."""
        random = self._random
        index = random.randrange(len(self._meters))
        account = self._checkers.accounts.get(index)
        if index in self._under_way or index in self._lies or account is None or account.fresh:
            return
        wh = random.choice((-10, 10)) << random.randrange(14)
        if invents:
            wh = random.choice((-random.randrange(3000), random.randrange(-(10**7), 10**7)))
        self._lie(index, wh)

    def _lie_at_first(self) -> None:
        """Have an attacker answer for some meters before their first reading."""
        for index in range(len(self._meters)):
            if self._random.random() < 0.5:
                self._lie(
                    index, self._random.choice((-1, 1)) * self._random.randrange(*_FIRST_LIE_WH)
                )
                self._comparing.add(index)
                self._compare(index)

    def _compare(self, index: int) -> None:
        """Compare the registers that the concentrator shows with the display of a new meter.

        The technician types those of the display until both are the same.
        """
        account = self._checkers.accounts.get(index)
        meter = self._meters[index]
        if account is not None and not account.fresh:
            self._advance(index)
            values_wh = self._checkers.money.display_wh(meter)
            true_wh = self._checkers.money.read_by(account, values_wh)
            used_wh = [
                true - read for true, read in zip(true_wh, account.registers_wh, strict=True)
            ]
            if all(0 <= wh <= _COMPARED_WH for wh in used_wh):
                self._comparing.discard(index)
                return
            self._checkers.counters["first readings found wrong"] += 1
            shown = " ".join(map(_kwh, values_wh))
            household = self._households.households[index]
            self._console.command(f"account resume {household.account} {shown}", lambda _: None)
        self._agenda.after(_LOOK_US, lambda: self._compare(index))

    def _lie(self, index: int, wh: int) -> None:
        """Have the first register in a meter's answers be wrong by this much for a while."""
        random = self._random
        meter = self._meters[index]
        self._advance(index)
        meter.registers.add(0, wh * 3600)
        self._checkers.counters["lies told"] += 1

        def over() -> None:
            if self._lies.pop(index, None) is not None:
                del self._checkers.money.lie_wh[meter.address]
                meter.advance(self._agenda.clock.now_t2000())
                meter.registers.add(0, -wh * 3600)

        self._lies[index] = over
        self._checkers.money.lie_wh[meter.address] = wh
        longest_us = _LIE_US if random.random() < 0.5 else _LONG_LIE_US
        if self._checkers.accounts[index].fresh:
            longest_us = _FIRST_LIE_US
        self._agenda.after(1 + random.randrange(longest_us), over)

    def blank(self) -> None:
        """Have a meter send no values for a while."""
        meter = self._random.choice(self._meters)
        meter.blank = True
        blank = self._checkers.money.blank
        blank[meter.address] += 1
        self._checkers.counters["meters without energy"] += 1

        def over() -> None:
            meter.blank = False
            # What it said last may still be on its way into a record.
            self._agenda.after(MINUTE_US, lambda: blank.subtract([meter.address]))

        self._agenda.after(self._random.randrange(_BLANK_US), over)

    def guard(self) -> None:
        """Have the station protect an account's supply, or no longer."""
        household = self._random.choice(self._households.households)
        account = self._checkers.accounts.get(household.index)
        value = 0 if account and account.guard else 1
        self._console.command(f"account set {household.account} guard {value}", lambda _: None)

    def _advance(self, index: int) -> None:
        self._meters[index].advance(self._agenda.clock.now_t2000())


def draw_registers(random: Random) -> list[int]:
    """Return the first registers of a meter: any energy, or nearly all its digits can show."""
    start_wh = [random.randrange(10**6) * 10 for _ in range(RATES)]
    if random.random() < 0.25:
        start_wh = [10**9 - random.randrange(1, 1000) * 10, 0, 0, 0]
    return start_wh


def _display(meter: Meter) -> list[str]:
    """Return the meter's total and rates on its display, as a technician types them."""
    return [_kwh(wh) for wh in (meter.total_wh, *meter.registers_wh)]


def _kwh(wh: int) -> str:
    shown = wh % 10**9 // 10
    return f"{shown // 100}.{shown % 100:02}"
