"""Carry out a technician's commands: one row for each, beside its function.

Answers are lines of text: `name value`, or columns with blanks between. An error says what to try
next.

Spec: docs/SPEC.md, "Link frame".
"""

from card import codes
from micropython import const
from prepay.accounts import STOPPED
from uplink.record import OF_CONSOLE, OF_UPLINK, RECORD_SIZE

from concentrator import login, settings
from concentrator.console import account_commands, meter_commands, tariff_commands, words
from concentrator.console.console import Refusal
from concentrator.console.words import ASKED, HERE, ORDERED
from concentrator.entropy import GUESSABLE_TROUBLE
from concentrator.line.meters import SILENT_MISSES
from concentrator.login import ABOVE, FULL, NOTHING, READ
from concentrator.timekeeper import CONSOLE, HEAD_END

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from uplink.session import Session

    from concentrator.console.console import Answer
    from concentrator.console.remote import Remote
    from concentrator.console.words import App, Row

_RECORDS_LIMIT = const(32)
# The greatest number in a command of the board.
_GREATEST = const(9999)


class Commands:
    """The commands of one concentrator."""

    def __init__(self, app: "App") -> None:
        self._app = app
        self._remote: Remote | None = None

    def serve(self, session: "Session") -> bool:
        """Continue with the session's order; return false while another message is sent."""
        if self._remote is None:
            # It takes heap only where the head-end gives commands.
            from concentrator.console.remote import Remote

            self._remote = Remote(self._app, self.find)
        return self._remote.step(session)

    def run(self, text: str) -> "Answer":
        """Carry out a command line; return its answer. Refusal says what is wrong with it."""
        self._app.litter += 1
        if text[:1].isdigit():
            text = granted(self._app.login, text)
        try:
            names, row, arguments = self.find(text)
            self._allow(row)
            answer: Answer = names[row[3]](self._app, arguments)
            return answer
        finally:
            self._app.login.granted = login.NOTHING

    def find(self, text: str) -> "tuple[dict[str, Any], Row, list[str]]":
        """Return the module, the row and the arguments of a command; Refusal if there is none."""
        parts = text.split()
        usage = ""
        for size in (2, 1):
            name = " ".join(parts[:size])
            arguments = parts[size:]
            for names in _modules(self._app):
                for row in names["ROWS"]:
                    if row[0] != name:
                        continue
                    needed, _, more = row[1].partition("[")
                    most = len(row[1].split()) if ".." not in more else len(arguments)
                    if len(needed.split()) <= len(arguments) <= most:
                        return names, row, arguments
                    usage += (" or " if usage else "usage: ") + (name + " " + row[1]).strip()
            if usage:
                raise Refusal(usage)
        raise Refusal("unknown command, `help` lists them")

    def _allow(self, row: "Row") -> None:
        """Raise Refusal if the command needs a session that gives more than it has."""
        if not self._app.login.allows(row[2]):
            if row[2] == ABOVE:
                raise Refusal("only the head-end says this, or a card")
            if self._app.login.locked:
                raise Refusal(settings.LOCKED_TROUBLE)
            raise Refusal("log in with the console key first")


def granted(session: login.Login, line: str) -> str:
    """Return the command in a line of the session, `COUNTER COMMAND.. MAC`, and grant it."""
    counter, _, rest = line.partition(" ")
    command, _, mac = rest.rpartition(" ")
    if not counter.isdigit() or len(counter) > 9:
        raise Refusal("a line of a session begins with its number")
    outcome = session.verify(int(counter), command.encode(), words.bytes_of(mac))
    if outcome == login.NO_SESSION:
        raise Refusal("the session is over: log in again")
    if outcome == login.REPEATED:
        raise Refusal("a line with this number or a later one was carried out already")
    if outcome != login.GOOD:
        raise Refusal("not a line of this session: log in again")
    return command


def _modules(app: "App") -> "list[dict[str, Any]]":
    """Return the names of each module of commands, in the order of `help`."""
    own = [globals()]
    own += [module.__dict__ for module in (meter_commands, account_commands, tariff_commands)]
    return own + app.board_commands


def row_of(
    name: str, number: str, changes: bool, run: "Callable[[int], list[str]]"
) -> "dict[str, Any]":
    """Return the names of a module with one command, which a part of the board carries out.

    It may have a number, whose name is `number`; without one `run` gets 0.
    """

    def carry_out(app: "App", arguments: "list[str]") -> "list[str]":
        limit = _GREATEST
        return run(words.number_of(arguments[0], 1, limit, number) if arguments else 0)

    usage = "[" + number + "]" if number else ""
    right, above = (FULL, HERE) if changes else (READ, ASKED)
    row = (name, usage, right, "run", above)
    return {"ROWS": (row,), "run": carry_out}


def _login_begin(app: "App", arguments: "list[str]") -> "list[str]":
    if app.login.locked:
        raise Refusal(settings.LOCKED_TROUBLE)
    if not app.login.key:
        raise Refusal("no key is set")
    if not app.entropy.is_good:
        raise Refusal(GUESSABLE_TROUBLE)
    nonce = words.bytes_of(arguments[0])
    if len(nonce) != login.LOGIN_NONCE_SIZE or arguments[1:] not in ([], ["read"]):
        raise Refusal("usage: login begin 32_HEXADECIMAL_DIGITS [read]")
    answer = app.login.begin(nonce, login.READ if arguments[1:] else login.FULL)
    own, proof = answer[: login.LOGIN_NONCE_SIZE], answer[login.LOGIN_NONCE_SIZE :]
    return [str(app.login.number) + " " + own.hex() + " " + proof.hex()]


def _login(app: "App", arguments: "list[str]") -> "list[str]":
    if app.login.locked:
        raise Refusal(settings.LOCKED_TROUBLE)
    outcome = app.login.answer(words.bytes_of(arguments[0]))
    if outcome == login.GOOD:
        return ["logged in"]
    if outcome == login.LOCKED:
        raise Refusal("too many wrong proofs, try again in a minute")
    if outcome == login.WRONG:
        raise Refusal("wrong proof: is it the key of this concentrator?")
    raise Refusal("say `login begin` first" if app.login.key else "no key is set")


def _logout(app: "App", arguments: "list[str]") -> "list[str]":
    app.login.close()
    return ["logged out"]


def _help(app: "App", arguments: "list[str]") -> "list[str]":
    rows = [row for names in _modules(app) for row in names["ROWS"]]
    return [(row[0] + " " + row[1]).strip() for row in rows]


def _status(app: "App", arguments: "list[str]") -> "list[str]":
    books = app.books
    registry = app.registry
    active = 0
    silent = 0
    stopped = 0
    for index in range(registry.count):
        if registry.active[index]:
            active += 1
            silent += 1 if registry.misses(index) >= SILENT_MISSES else 0
            stopped += 1 if app.ledger.flags[index] & STOPPED else 0
    found = [
        ("number", books.number),
        ("time", words.time_text(books.t2000)),
        ("meters", str(active) + " of " + str(registry.limit)),
        ("meters_silent", silent),
        ("accounts_stopped", stopped),
        ("relays_pending", registry.pending),
        ("journal", str(app.journal.first_seq) + " " + str(app.journal.durable_seq)),
        ("checkpoint", app.checkpoint.seq),
        ("books", "behind" if books.behind else "level"),
        ("tariffs_unusable", sum([1 for trouble in app.tariffs.troubles if trouble])),
        ("settings", ("good", "one_copy", "lost")[app.settings.health]),
        ("acked", max(0, app.uplink.acked_seq)),
        ("uplink", _uplink(app)),
    ]
    return words.told(found)


def _uplink(app: "App") -> str:
    """Say how the head-end is reached, or the reason of its last REFUSED."""
    reason = app.uplink.reason
    if reason == 0:
        return "reached" if app.uplink.reached else "away"
    names = (
        "other_journal",
        "withdrawn",
        "version",
        "stale",
        "conflict",
        "restoring",
        "malformed",
        "other_part",
    )
    return "refused_" + (names[reason - 1] if reason <= len(names) else str(reason))


def _counters(app: "App", arguments: "list[str]") -> "list[str]":
    """Return the counters since the start, by name."""
    journal = app.journal
    found: list[tuple[str, object]] = [
        ("records", journal.durable_seq),
        ("records waiting", journal.count),
        ("records rotten", journal.rotten),
        ("records let go", journal.let_go),
        ("storage failures", journal.failures),
        ("readings", app.books.readings),
        ("readings refused", app.books.refused),
    ]
    session = app.uplink.session
    if session is not None:
        found.append(("records at the head-end", session.acked_seq))
        found.append(("answers refused", session.refused))
        found.append(("answers late", session.late))
    for name, redemption in (("cards", app.redemption), ("own cards", app.local)):
        if redemption is not None:
            found.append((name, redemption.done))
    found.append(("cards not genuine", app.books.illegal[codes.ILLEGAL]))
    if app.console is not None:
        found.append(("logins refused", app.login.refused))
        found.append(("console frames refused", app.console.receiver.refused))
        found.append(("console bytes dropped", app.console.receiver.dropped))
    for poller in app.pollers:
        prefix = "line " + str(poller.number) + " "
        for name, count in poller.counts():
            found.append((prefix + name, count))
    return words.told(found)


def _time(app: "App", arguments: "list[str]") -> "list[str]":
    t2000 = app.books.t2000
    if arguments:
        t2000 = words.parse_time(arguments[0], arguments[1])
        app.timekeeper.set(t2000, CONSOLE)
    return [words.time_text(t2000)]


def _clock(app: "App", arguments: "list[str]") -> "list[str]":
    """Have the head-end's next answer set the clock, which is as of then however late this comes.

    With an argument, have the meters' clocks looked at and set once more today.
    """
    if arguments:
        words.refuse("" if arguments[0] == "meters" else "usage: clock [meters]")
        for poller in app.pollers:
            poller.daily.start_again()
        return ["at ten past the hour at the earliest"]
    app.timekeeper.source = HEAD_END
    app.uplink.greet()
    return ["was " + words.time_text(app.books.t2000)]


def _text(app: "App", arguments: "list[str]") -> "list[str]":
    """Show words on the display until a time; without words, show none any more."""
    until_t2000 = words.parse_time(arguments[0], arguments[1])
    text = " ".join(arguments[2:])
    if app.show_text is None:
        raise Refusal("this board has no display")
    for character in text:
        if not " " <= character <= "~":
            raise Refusal("the display has ASCII only")
    words.kept(app.show_text(until_t2000, text))
    return [text]


def _settings(app: "App", arguments: "list[str]") -> "list[str]":
    return [name + " " + app.settings.text(name) for name in app.settings.names()]


def _set(app: "App", arguments: "list[str]") -> "Iterator[str]":
    name, value = arguments
    if name in settings.KEYS and not app.entropy.is_good:
        raise Refusal(GUESSABLE_TROUBLE)
    if settings.is_secret(name) and app.login.granted:
        value = app.login.unwrap(words.bytes_of(value)).hex()
    source = OF_UPLINK if app.login.granted == ABOVE else OF_CONSOLE
    steps = app.settings.steps(
        [(name, value)], lambda changes: app.books.note_settings(changes, source)
    )
    return words.changing(app, name, steps)


def _save(app: "App", arguments: "list[str]") -> "list[str]":
    words.kept(app.keeper.begin())
    if app.checkpoint.busy:
        return ["checkpoint begun, `status` tells when it is there"]
    return ["checkpoint " + str(app.checkpoint.seq)]


def _restored(app: "App", arguments: "list[str]") -> "list[str]":
    words.refuse(app.restored())
    return ["cards are taken"]


def _journal(app: "App", arguments: "list[str]") -> "Callable[[], Iterator[str]]":
    first_seq = words.number_of(arguments[0], 1, 0x3FFFFFFF, "record")
    count = words.number_of(arguments[1], 1, _RECORDS_LIMIT, "count")
    app.journal.sync()

    def lines() -> "Iterator[str]":
        buf = bytearray(RECORD_SIZE)
        for seq in range(first_seq, first_seq + count):
            if not app.journal.read_into(seq, buf):
                break
            yield buf.hex()

    return lines


def _card(app: "App", arguments: "list[str]") -> "list[str]":
    console = app.console
    if console is None or console.programmer is None:
        raise Refusal("this board has no card reader of its own")
    carrier = console.programmer.carrier
    if not carrier.present:
        raise Refusal("no card in the reader: insert one")
    return [carrier.uid.hex() + " " + str(carrier.size)]


def _card_unlock(app: "App", arguments: "list[str]") -> "list[str]":
    for redemption in (app.redemption, app.local):
        if redemption is not None:
            redemption.unlock()
    return ["cards are looked at"]


ROWS = (
    ("help", "", NOTHING, "_help", HERE),
    ("login begin", "NONCE [read]", NOTHING, "_login_begin", HERE),
    ("login", "PROOF", NOTHING, "_login", HERE),
    ("logout", "", NOTHING, "_logout", HERE),
    ("status", "", NOTHING, "_status", ASKED),
    ("counters", "", NOTHING, "_counters", ASKED),
    ("time", "", NOTHING, "_time", ASKED),
    ("time", "YYYY-MM-DD hh:mm:ss", FULL, "_time", HERE),
    ("clock", "[meters]", FULL, "_clock", ASKED),
    ("text", "UNTIL_DATE UNTIL_TIME [WORD ..]", FULL, "_text", ORDERED),
    ("settings", "", NOTHING, "_settings", ASKED),
    ("set", "NAME VALUE", FULL, "_set", ORDERED),
    ("save", "", FULL, "_save", ASKED),
    ("restored", "", FULL, "_restored", ORDERED),
    ("journal", "FIRST_RECORD COUNT", READ, "_journal", ASKED),
    ("card", "", NOTHING, "_card", HERE),
    ("card unlock", "", FULL, "_card_unlock", HERE),
)
