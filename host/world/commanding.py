"""The people at the head-end of a simulated world, who give commands to its concentrator.

They sell without a card, at times the very order that waits on a card; cut and restore; protect
supplies, set limits and settings; send tariffs, some of which do not fit; ask for accounts and
counters; type what is not allowed; let commands expire; pause and stop jobs. What was not done,
and is owed, is given again.
"""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from host.frames import tariff
from host.headend import commands
from host.headend.commands import Given, Target
from host.headend.cuts import lawful_cut
from host.headend.errors import StoreError
from host.headend.outcomes import DONE, NOT_KNOWN, STOPPED, UNDER_WAY
from host.units import DAY_S, HOUR_S, to_datetime
from host.world.agenda import Agenda
from host.world.checks.account import REMOTE, Violation
from host.world.checks.checkers import Checkers
from host.world.checks.commands import Command
from host.world.households import Household, Households
from host.world.station import Station
from host.world.terms import Terms, draw_tariff

if TYPE_CHECKING:
    from concentrator.app import App

_SEND_US = 3_000_000
_CARE_US = 120_000_000
# A command expires after a time up to this, seldom after a short one.
_LONGEST_S = 12 * HOUR_S
_SHORT_S = 600
# A notice was delivered up to this time before the cut is given.
_NOTICE_S = 3 * HOUR_S
_LIMITS_W = (60_100, 63_000, 100)
_HOARDING_FEN = 9_000_000
_WRONG = (
    "set uplink_key 00112233445566778899aabbccddeeff",
    "supply {account} cut",
    "supply {account} cut 2026-13-01 00:00:00",
    "supply 999999999999 restore",
    "account set {account} guard 7",
    "credit {account} 1 0 0011223344556677",
    "time 2026-01-01 00:00:00",
    "make tea",
    "tariff commit 9 0011223344556677",
    "tariff commit 1 0011223344556677",
    "tariff commit 1 00",
)
_ASKED = ("account {account}", "status", "counters", "meter list", "settings")


class Commanding:
    """Commands from `station` to the concentrator whose records `checkers` reads."""

    def __init__(
        self,
        agenda: Agenda,
        random: Random,
        station: Station,
        households: Households,
        checkers: Checkers,
        terms: Terms,
    ) -> None:
        self._agenda = agenda
        self._random = random
        self._station = station
        self._households = households
        self._checkers = checkers
        self._terms = terms
        self._images: dict[str, bytes] = {}  # of the tariffs that were sent, by their commands
        self._calm = False
        self._sending = False
        self._owed: dict[tuple[int, int], str] = {}  # the text of each order that goes by air
        self._settings = 0

    def begin(
        self, often: Callable[[float, Callable[[], None]], None], times_a_day: float
    ) -> None:
        """Give commands as often a day, and look after what is owed."""
        often(times_a_day, self.give)
        self._care()

    def calm(self) -> None:
        """Begin nothing new; restore every supply that was cut by order."""
        self._calm = True

    def finish(self, app: "App") -> None:
        """Check at the end what became of each command."""
        told = commands.commands_of(self._station.store)
        self._checkers.commands.finish(app, told, may_lack=self._station.moved_back > 0)

    @property
    def pending(self) -> bool:
        """Return whether a command is under way, or something is owed."""
        accounts = self._checkers.accounts.values()
        is_cut = any(account.state == REMOTE for account in accounts)
        return bool(self._sending or self._owed or is_cut or self._unknown())

    # --- what they do ----------------------------------------------------------------------------

    def give(self) -> None:
        """Give one command."""
        random = self._random
        one = random.choice(self._households.households)
        do = random.choices(
            (
                *(self._sell, self._supply, self._set_terms, self._set, self._ask, self._wrong),
                self._send_tariff,
            ),
            (4, 4, 3, 2, 3, 2, 1),
        )[0]
        do(one)

    def _sell(self, one: Household) -> None:
        """Sell the next order without a card, or send one that waits on a card too."""
        mac = self._random.randbytes(8).hex()
        households = self._households
        amount_fen = households.sell_by_air(one, mac)
        if not amount_fen and (one.index, one.number) not in self._owed:
            amount_fen = households.send_by_air(one, mac)
        if amount_fen:
            text = f"credit {one.account} {one.number} {amount_fen} {mac}"
            self._owed[(one.index, one.number)] = text
            self._put(text, one)

    def _supply(self, one: Household) -> None:
        account = self._checkers.accounts.get(one.index)
        is_cut = account is not None and account.state == REMOTE
        if is_cut == (self._random.random() < 0.8):
            self._put(f"supply {one.account} restore", one)
            return
        notice = to_datetime(self._agenda.clock.now_t2000())
        notice -= timedelta(seconds=self._random.randrange(_NOTICE_S))
        self._put(lawful_cut(one.account, notice), one)

    def _set_terms(self, one: Household) -> None:
        name, value = "power_limit_w", self._random.randrange(*_LIMITS_W)
        if self._random.random() < 0.2:
            name, value = "guard", self._random.randrange(2)
        self._put(f"account set {one.account} {name} {value}", one)

    def _set(self, one: Household) -> None:
        self._settings += 1
        self._put(f"set hoarding_limit_fen {_HOARDING_FEN + self._settings}", one)

    def _send_tariff(self, one: Household) -> None:
        """Send other prices for the tariff of a household, or what reads other registers."""
        random, terms = self._random, self._terms
        account = self._checkers.accounts.get(one.index)
        if account is None or not account.active:
            return
        number = account.tariff
        drawn = draw_tariff(random, number, self._agenda.clock.now_t2000())
        others = [at for at in terms.tariffs if terms.registers(at) != terms.registers(number)]
        if random.random() < 0.15:
            drawn = terms.tariffs[random.choice(others)]
        image = terms.image_of(number, drawn)
        text = tariff.commands(image, number)[-1]
        self._images[text] = image
        self._put(text, one)

    def _ask(self, one: Household) -> None:
        self._put(self._random.choice(_ASKED).format(account=one.account), one)

    def _wrong(self, one: Household) -> None:
        self._put(self._random.choice(_WRONG).format(account=one.account), one)

    # --- giving and sending ----------------------------------------------------------------------

    def _put(self, text: str, one: Household) -> None:
        """Give a command; its job is paused or stopped now and then.

        A database that was restored to before its concentrator called takes none.
        """
        random, store, now = self._random, self._station.store, self._station.unix_s()
        if not store.value("SELECT count(*) FROM concentrators"):
            return
        short = not self._calm and random.random() < 0.1
        lasts_s = random.randrange(1, _SHORT_S if short else _LONGEST_S)
        given = Given("the world", "a notice", now + (DAY_S if self._calm else lasts_s), now)
        image = self._images.get(text, b"").hex()
        target = Target(self._station.concentrator, text, image=image)
        try:
            job = commands.give(store, "world", [target], given)
        except StoreError:
            if text.split()[2:3] != ["cut"]:
                raise
            self._checkers.counters["cuts that the head-end refuses"] += 1
            return
        (row,) = commands.commands_of(store, job=job)
        self._checkers.commands.given[row["number"]] = Command(text.split(), one.index)
        self._checkers.counters["commands from above"] += 1
        if not self._sending:
            self._sending = True
            self._agenda.after(random.randrange(_SEND_US), self._send)
        if not self._calm and random.random() < 0.05:
            commands.set_job(store, job, commands.PAUSED, now)
            wait_us = random.randrange(_CARE_US)
            self._agenda.after(wait_us, lambda: self._go_on(job))

    def _go_on(self, job: int) -> None:
        """Resume a job, or stop it, unless the database has lost it."""
        store, given = self._station.store, self._checkers.commands.given
        if not commands.commands_of(store, job=job):
            return
        (before,) = commands.commands_of(store, job=job)
        state = STOPPED if self._random.random() < 0.3 else commands.RUNNING
        commands.set_job(store, job, state, self._station.unix_s())
        (row,) = commands.commands_of(store, job=job)
        given[row["number"]] = given.pop(before["number"])

    def _send(self) -> None:
        """Send what is due as long as something is."""
        self._station.give_orders()
        self._sending = bool(self._station.store.value(commands.SOME_ARE_OPEN))
        if self._sending:
            self._agenda.after(_SEND_US, self._send)

    # --- what is owed ----------------------------------------------------------------------------

    def _care(self) -> None:
        """Give again what is owed and not done; restore who was cut, at the end."""
        for (index, number), text in list(self._owed.items()):
            account = self._checkers.accounts.get(index)
            if account is not None and account.order >= number:
                del self._owed[(index, number)]
            elif not self._is_open(text):
                if self._has(text, f"state = '{DONE}'"):
                    raise Violation("commands", f"told done, and is not there: {text}")
                self._put(text, self._households.households[index])
        for one in self._households.households:
            account = self._checkers.accounts.get(one.index)
            text = f"supply {one.account} restore"
            if self._calm and account and account.state == REMOTE and not self._is_open(text):
                self._put(text, one)
        self._give_again()
        self._agenda.after(_CARE_US, self._care)

    def _give_again(self) -> None:
        """Give commands again whose outcome nobody knows."""
        for number, text in self._unknown().items():
            if not self._is_open(text):
                index = self._checkers.commands.given[number].index
                self._put(text, self._households.households[index])

    def _unknown(self) -> dict[int, str]:
        """Return the commands whose outcome nobody knows, and which were not done again."""
        query = f"SELECT number, text FROM commands WHERE state = '{NOT_KNOWN}'"
        rows = self._station.store.rows(query)
        return {
            row["number"]: row["text"]
            for row in rows
            if not self._has(row["text"], f"state = '{DONE}'")
        }

    def _is_open(self, text: str) -> bool:
        return self._has(text, f"state IN {UNDER_WAY}")

    def _has(self, text: str, condition: str) -> bool:
        query = f"SELECT count(*) FROM commands WHERE text = ? AND {condition}"
        return bool(self._station.store.value(query, (text,)))
