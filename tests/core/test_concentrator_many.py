"""Goal: many commands, cut off, repeated, late and old: each once, not, or unknown and resolved.

Method: benches in memory get twenty commands each, drawn from a seed. At half of them the power
fails at some change of the flash, and the command comes again, at times when it has expired. What
is unknown then is read back from the account, and given again under the next number.
"""

from commanded import LATE, Told, opened
from concentrator.console.remote import DONE, NOT_KNOWN, REFUSED
from concentrator_world import START_T2000
from harness import check, equal
from memory_storage import PowerCut
from prepay import policy as rules

_EACH = 20
_EARLY = START_T2000 + 100000


class Giver:
    """The head-end's side of one bench; `told` counts outcomes, by name."""

    def __init__(self, seed: int, told: "dict[str, int]") -> None:
        self.told = told
        self.bench = opened()
        self._seed = seed
        self._number = 10
        self._order = 1
        self._fen = 5000
        self._value = 0

    def chance(self, limit: int) -> int:
        """Return a number below `limit`."""
        self._seed = (self._seed * 1103515245 + 12345) & 0x3FFFFFFF
        return (self._seed >> 8) % limit

    def note(self, name: str) -> None:
        self.told[name] = self.told.get(name, 0) + 1

    def give(self) -> None:
        """Give one command until its outcome is known, and check it."""
        kind = self.chance(6)
        self._value += 1
        number = self._number = self._number + 1
        text, is_there = self._drawn(kind)
        outcome = self._sent(number, text)
        if outcome == NOT_KNOWN:
            self.note("not known")
            self.note("read back as done" if is_there() else "read back as not done")
            number = self._number = number + 1
            outcome = Told(self.bench)(number, text)[0]
        self.note(("done", "refused", "not done")[outcome])
        if kind == 5:
            equal(outcome, REFUSED, text)
        else:
            equal((outcome, is_there()), (DONE, True), text)
        if kind < 2:
            self._order += 1
            self._fen += self._value
        self._check_again(number, text, outcome)

    def _drawn(self, kind: int) -> "tuple[str, object]":
        """Return a command, and what tells whether it has taken effect."""
        value = self._value
        if kind < 2:
            order = self._order + 1
            mac = "%016x" % (value << 16 | order)
            text = "credit 17 " + str(order) + " " + str(value) + " " + mac
            return text, lambda: self.bench.app.ledger.order[0] == order
        if kind == 2:
            watts = 60000 + 100 * value
            text = "account set 17 power_limit_w " + str(watts)
            return text, lambda: self.bench.app.ledger.power_hw[0] == watts // 100
        if kind == 3:
            name = str(600 + value)
            return (
                "set interval_s " + name,
                lambda: self.bench.app.settings.text("interval_s") == name,
            )
        if kind == 4:
            if self.bench.app.ledger.state[0] == rules.REMOTE:
                return "supply 17 restore", lambda: self.bench.app.ledger.state[0] != rules.REMOTE
            text = "supply 17 cut 2025-12-31 00:00:00"
            return text, lambda: self.bench.app.ledger.state[0] == rules.REMOTE
        return "account set 17 grade 9", lambda: False

    def _sent(self, number: int, text: str) -> int:
        """Send a command through a failure of power, or none; return its outcome."""
        bench = self.bench
        if self.chance(2):
            return Told(bench)(number, text)[0]
        expires = LATE if self.chance(3) else _EARLY
        bench.storage.cut = self.chance(5)
        bench.storage.kept_percent = self.chance(101)
        outcome = -1
        try:
            outcome = Told(bench)(number, text, expires)[0]
        except PowerCut:
            self.note("power cuts")
        bench.storage.cut = -1
        if outcome >= 0:
            return outcome
        bench.restart()
        if expires == _EARLY:
            # It comes again behind its time; where nothing of it is there it is refused.
            outcome = Told(bench)(number, text, START_T2000 - 1)[0]
            if outcome == REFUSED and "grade" not in text:
                self.note("expired")
                self._number += 1
                return Told(bench)(self._number, text)[0]
            return outcome
        return Told(bench)(number, text)[0]

    def _check_again(self, number: int, text: str, outcome: int) -> None:
        """Repeat it, and one before it: nothing happens, and the same is told."""
        bench = self.bench
        number = self._number
        if not self.chance(3):
            equal(Told(bench)(number, text)[0], outcome)
            equal(Told(bench)(number - 1, text)[0], REFUSED)
        equal((bench.app.ledger.order[0], bench.app.balance_fen(0)), (self._order, self._fen))


def many(count: int, seed: int = 1) -> "dict[str, int]":
    """Give so many commands; return how often each thing has happened."""
    told: dict[str, int] = {}
    for first in range(0, count, _EACH):
        giver = Giver(seed + first, told)
        for _ in range(min(_EACH, count - first)):
            giver.give()
        giver.bench.stop()
    return told


def test_each_is_done_once_or_not_or_unknown_and_resolved() -> None:
    told = many(40)
    equal(told["done"] + told["refused"] + told.get("not done", 0), 40, told)
    check(told["power cuts"] > 5 and told["refused"] > 2, told)
