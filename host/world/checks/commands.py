"""Check that each command from above takes effect once or never, and that its outcome is true.

once        an effect that the head-end ordered stands between the intent and the outcome of one
            command, which ordered it; no order that went without a card counts twice
outcome     what is told is what the journal and the tables say: done, refused or not done
lawful      nobody is cut without a notice that is old enough, nor under protection
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from host.frames import settings
from host.frames.batch import Outcome
from host.frames.record import Record, RecordKind
from host.units import to_t2000
from host.world.checks.account import REMOTE, Account, Violation

if TYPE_CHECKING:
    from concentrator.app import App

_INTENT = 1
_BY_ORDER = 9  # reason of POLICY
_FROM_ABOVE = 2  # source of SETTING
_CREDIT_FROM_ABOVE = 3  # source of a top-up
_STATES = {
    "done": Outcome.DONE,
    "refused": Outcome.REFUSED,
    "not done": Outcome.NOT_DONE,
    "not known": Outcome.NOT_KNOWN,
}


@dataclass
class Command:
    """A command that was given.

    words       its text
    index       of the account that it is about
    has_intent  the journal has its intent
    outcome     that of the journal, None: not there yet
    effects     how many records it has caused
    is_reached  the tables were as it wants them between its intent and its outcome
    """

    words: list[str]
    index: int = -1
    has_intent: bool = False
    outcome: int | None = None
    effects: int = 0
    is_reached: bool = False


@dataclass
class Commands:
    """A checker of the COMMAND records of one concentrator and of what stands between them.

    notice_s    the time between a notice and a cut by order
    given       the commands that were given, by number
    tariffs     the names of the images in force, by the number of the tariff
    """

    counters: Counter[str]
    notice_s: int = 0
    given: dict[int, Command] = field(default_factory=dict)
    tariffs: dict[int, str] = field(default_factory=dict)
    _newest: int = 0
    _open: Command | None = None
    _credited: set[str] = field(default_factory=set)
    _limits_w: dict[int, int] = field(default_factory=dict)
    _settings: dict[str, str] = field(default_factory=dict)

    def note(self, one: Record, accounts: Mapping[int, Account]) -> None:
        """Take a record that became durable, behind its effect on the accounts."""
        fields = one.fields
        if one.kind == RecordKind.COMMAND:
            if fields["stage"] == _INTENT:
                self._begin(one)
            else:
                self._look(accounts)
                self._end(one)
        elif one.kind in (RecordKind.TOP_UP, RecordKind.REFUND):
            if fields["source"] == _CREDIT_FROM_ABOVE:
                mac = fields["header_mac"].lower()
                if mac in self._credited:
                    raise Violation("commands", f"record {one.seq} credits {mac} once more")
                self._credited.add(mac)
                self._effect(one, "credit", 4, mac)
        elif one.kind == RecordKind.POLICY and fields["reason"] == _BY_ORDER:
            self._effect(one, "supply", 2, "cut" if fields["new"] == REMOTE else "restore")
            if fields["new"] == REMOTE:
                self._check_lawful(one, accounts[one.index])
        elif one.kind == RecordKind.SETTING and fields["source"] == _FROM_ABOVE:
            self._settings[settings.name_of(fields)] = str(settings.values_of(fields)[1])
            self._effect(one, "set", 1, settings.name_of(fields))
        elif one.kind == RecordKind.TARIFF:
            number, name = fields["number"], fields["sha256"].lower()
            is_new = self.tariffs.get(number) != name
            self.tariffs[number] = name
            if is_new:
                self._effect(one, "tariff", 3, fields["sha256"])
        elif one.kind == RecordKind.ACCOUNT:
            limit_w = fields["power_limit_w"]
            if limit_w != self._limits_w.get(one.index, 0):
                self._limits_w[one.index] = limit_w
                self._effect(one, "account", 4, str(limit_w))
        self._look(accounts)

    def _check_lawful(self, one: Record, account: Account) -> None:
        """Check a cut by order; its command is open."""
        words = [] if self._open is None else self._open.words
        notice = datetime.strptime(" ".join(words[3:]), "%Y-%m-%d %H:%M:%S")
        waited_s = one.t2000 - to_t2000(notice)
        if account.guard or waited_s < self.notice_s:
            raise Violation("commands", f"record {one.seq} cuts {waited_s} s behind {words}")

    def _begin(self, one: Record) -> None:
        number = one.fields["number"]
        if number <= self._newest:
            raise Violation("commands", f"record {one.seq} begins {number} after {self._newest}")
        command = self.given.get(number)
        if command is None or not " ".join(command.words).startswith(one.fields["text"]):
            raise Violation("commands", f"record {one.seq} begins what was not given: {one}")
        self._newest, self._open = number, command
        command.has_intent = True

    def _end(self, one: Record) -> None:
        number, outcome = one.fields["number"], one.fields["outcome"]
        command = self._open
        if command is None or number != self._newest:
            raise Violation("commands", f"record {one.seq} ends what has not begun: {one}")
        self._open = None
        command.outcome = outcome
        self.counters[f"commands {Outcome(outcome).name.lower()}"] += 1
        is_wrong = outcome == Outcome.DONE and not command.is_reached
        is_wrong |= outcome in (Outcome.REFUSED, Outcome.NOT_DONE) and command.effects > 0
        # A setting is journalled before it is stored, which may fail.
        if is_wrong and not (command.words[0] == "set" and outcome != Outcome.DONE):
            raise Violation(
                "commands", f"record {one.seq} says {outcome} of {command}: {self._limits_w}"
            )

    def _effect(self, one: Record, name: str, place: int, word: str) -> None:
        """Note an effect; `word` is that of its command at a place."""
        if name in ("account", "tariff") and not self.given:
            return  # a technician's, in a world whose head-end gives no commands
        command = self._open
        if command is None or command.words[0] != name or command.words[place] != word:
            raise Violation("commands", f"record {one.seq} has no command: {one}, {command}")
        command.effects += 1
        if command.effects > 1 and name != "set":
            raise Violation("commands", f"record {one.seq} takes effect again: {command}")

    def _look(self, accounts: Mapping[int, Account]) -> None:
        """Note whether the tables are as the open command wants them."""
        command = self._open
        if command is None or command.is_reached:
            return
        words, account = command.words, accounts.get(command.index)
        if words[0] == "credit":
            is_so = words[4] in self._credited
        elif words[0] == "tariff":
            is_so = self.tariffs.get(int(words[2])) == words[3].lower()
        elif words[0] == "set":
            is_so = self._settings.get(words[1]) == words[2]
        elif account is None:
            is_so = False
        elif words[0] == "supply":
            is_so = (account.state == REMOTE) == (words[2] == "cut")
        elif words[3] == "guard":
            is_so = account.guard == (words[4] == "1")
        else:
            is_so = self._limits_w.get(command.index, 0) == int(words[4])
        command.is_reached = is_so

    def finish(
        self, app: "App", told: Sequence[Mapping[str, Any]], *, may_lack: bool = False
    ) -> None:
        """Check at the end what the head-end was told of each; `told` are its commands' rows.

        With `may_lack` it went back to a backup, and records that it had are gone for good.
        """
        done = {row["text"] for row in told if row["state"] == "done"}
        for row in told:
            command, state = self.given[row["number"]], row["state"]
            self.counters[f"commands told {state}"] += 1
            outcome = _STATES.get(state)
            right: tuple[int | None, ...] = (None,)
            if state == "done":
                right = (Outcome.DONE,) if command.has_intent or _changes(command) else (None,)
            elif outcome is not None:
                right = (outcome, None)
            is_right = command.outcome in right
            if command.outcome == Outcome.NOT_KNOWN:
                # The head-end has found out from the journal, or a person has given it again.
                is_right = (state == "done") == (command.effects > 0) and state != "not known"
                is_right |= row["text"] in done
            if state == "not known":
                is_right |= may_lack
            if not is_right:
                raise Violation("commands", f"{row['number']} is told {state}: {command}")
        value = self._settings.get("hoarding_limit_fen")
        if value is not None and app.settings.text("hoarding_limit_fen") != value:
            self.counters["settings journalled and not stored"] += 1


def _changes(command: Command) -> bool:
    """Return whether a command changes something, so that it is journalled."""
    name = " ".join(command.words[:2])
    return command.words[0] in ("credit", "supply", "set") or name in (
        "account set",
        "tariff commit",
    )
