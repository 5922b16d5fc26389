"""What a technician can type: one row a command, its words checked before anything is touched.

Answers are lines of text, tables as `name value` or columns with blanks between. What is wrong is
said with what to try next.
"""

from array import array
from binascii import hexlify, unhexlify

from dlt645 import clock
from dlt645.master import OUTCOME_NAMES as OUTCOME_NAMES_LINE
from dlt645.probe import BAUDS
from micropython import const
from prepay.ledger import (
    FIRST,
    GUARD,
    HOUSEHOLD,
    MONEY_LIMIT_FEN,
    OUTCOME_NAMES,
    REGISTER_MODULUS_WH,
    STOPPED,
)
from prepay.policy import STATE_NAMES
from uplink import record
from uplink.record import RECORD_SIZE

from concentrator import login
from concentrator.books import registry as meters
from concentrator.books.registry import ADDRESS_SIZE, parse_digits, reversed_digits
from concentrator.books.tariffs import NUMBER_LIMIT
from concentrator.console.console import Refusal
from concentrator.line.exchange import DATA_LIMIT, DONE
from concentrator.line.meters import SILENT_MISSES
from concentrator.settings import STORAGE_TROUBLE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.app import App
    from concentrator.line.poller import Poller

# By their number in a METER record.
STANDARDS = ("2007", "1997", "auto")

_RECORDS_LIMIT = const(32)
_IMAGE_LIMIT = const(4096)
_DIGITS_A_LINE = const(160)
_BUSY = "another question is under way on this line, `line answer` tells of it"


class Commands:
    """The commands, on one concentrator."""

    def __init__(self, app: "App") -> None:
        self._app = app

    def run(self, text: str) -> "list[str]":
        """Carry a command line out; Refusal says what is wrong with it."""
        words = text.split()
        for size in (2, 1):
            name = " ".join(words[:size])
            for row in _COMMANDS:
                if row[0] == name:
                    arguments = words[size:]
                    if not row[1] <= len(arguments) <= row[2]:
                        raise Refusal("usage: " + name + " " + row[3])
                    looks = row[0] in _LOOKS and not (row[0] == "time" and arguments)
                    if not self._app.login.allows() and not looks:
                        raise Refusal("log in with the console key first")
                    lines: list[str] = getattr(self, "_" + name.replace(" ", "_"))(arguments)
                    return lines
        raise Refusal("unknown command, `help` lists them")

    def _login(self, arguments: "list[str]") -> "list[str]":
        if not arguments:
            return [self._app.login.challenge()]
        outcome = self._app.login.answer(arguments[0])
        if outcome == login.GOOD:
            return ["logged in"]
        if outcome == login.LOCKED:
            raise Refusal("too many wrong answers, try again in a minute")
        if outcome == login.WRONG:
            raise Refusal("wrong answer: is it the key of this concentrator?")
        raise Refusal("ask for a challenge first" if self._app.login.key else "no key is set")

    def _logout(self, arguments: "list[str]") -> "list[str]":
        self._app.login.close()
        return ["logged out"]

    # --- about the concentrator -----------------------------------------------------------------

    def _help(self, arguments: "list[str]") -> "list[str]":
        return [(row[0] + " " + row[3]).strip() for row in _COMMANDS]

    def _status(self, arguments: "list[str]") -> "list[str]":
        app = self._app
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
        return [
            "number " + str(books.number),
            "time " + time_text(books.t2000),
            "meters " + str(active) + " of " + str(registry.limit),
            "meters_silent " + str(silent),
            "accounts_stopped " + str(stopped),
            "relays_pending " + str(registry.pending),
            "journal " + str(app.journal.first_seq) + " " + str(app.journal.durable_seq),
            "checkpoint " + str(app.checkpoint.seq),
            "acked " + str(app.session.acked_seq if app.session is not None else 0),
        ]

    def _counters(self, arguments: "list[str]") -> "list[str]":
        return [name.replace(" ", "_") + " " + str(value) for name, value in self._app.counters()]

    def _time(self, arguments: "list[str]") -> "list[str]":
        books = self._app.books
        if not arguments:
            return [time_text(books.t2000)]
        if len(arguments) != 2:
            raise Refusal("usage: time [YYYY-MM-DD hh:mm:ss]")
        t2000 = parse_time(arguments[0], arguments[1])
        old_t2000 = books.t2000
        self._app.board.set_t2000(t2000)
        books.t2000 = t2000
        books.note_clock(old_t2000, t2000)
        return [time_text(t2000)]

    def _settings(self, arguments: "list[str]") -> "list[str]":
        settings = self._app.settings
        return [name + " " + settings.text(name) for name in settings.names()]

    def _set(self, arguments: "list[str]") -> "list[str]":
        trouble = self._app.settings.change(arguments[0], arguments[1])
        if trouble:
            raise Refusal(trouble)
        self._app.configure()
        return [arguments[0] + " " + self._app.settings.text(arguments[0])]

    def _save(self, arguments: "list[str]") -> "list[str]":
        if not self._app.save():
            raise Refusal(STORAGE_TROUBLE)
        return ["checkpoint " + str(self._app.checkpoint.seq)]

    def _journal(self, arguments: "list[str]") -> "list[str]":
        seq = _number(arguments[0], 1, 0x3FFFFFFF, "record")
        count = _number(arguments[1], 1, _RECORDS_LIMIT, "count")
        self._app.journal.sync()
        buf = bytearray(RECORD_SIZE)
        lines = []
        while count and self._app.journal.read_into(seq, buf):
            lines.append(hexlify(buf).decode())
            seq += 1
            count -= 1
        return lines

    # --- meters and accounts --------------------------------------------------------------------

    def _meter_add(self, arguments: "list[str]") -> "list[str]":
        app = self._app
        registry = app.registry
        address = reversed_digits(_digits(arguments[0], "a meter address"))
        account = _digits(arguments[1], "an account number")
        tariff = _number(arguments[2], 1, NUMBER_LIMIT, "tariff")
        line = _number(arguments[3] if len(arguments) > 3 else "0", 0, 255, "line")
        standard = arguments[4] if len(arguments) > 4 else "auto"
        if standard not in STANDARDS:
            raise Refusal("the standard is 2007, 1997 or auto")
        if line >= len(app.pollers):
            raise Refusal("there is no line " + str(line))
        terms = app.tariffs.find(tariff)
        if terms is None:
            raise Refusal("there is no tariff " + str(tariff) + ", load it first")
        if registry.find_address(address) >= 0:
            raise Refusal("meter " + arguments[0] + " is registered already")
        if registry.find_account(account) >= 0:
            raise Refusal("account " + arguments[1] + " has a meter already")
        index = registry.find_removed(account)
        if index < 0:
            index = registry.count
        if index == registry.limit:
            raise Refusal("no room: " + str(registry.limit) + " meters are the most")
        trouble = app.ledger.misfit(index, terms)
        if trouble:
            raise Refusal("tariff " + str(tariff) + " cannot charge it: " + trouble)
        row = bytearray(address + account)
        row.append(tariff)
        row.append(line)
        row.append(STANDARDS.index(standard))
        row.append(1)
        row.append(0)
        if not app.books.set_meter(index, row):
            raise Refusal(STORAGE_TROUBLE)
        return [self._row(index)]

    def _meter_remove(self, arguments: "list[str]") -> "list[str]":
        index = self._find(arguments[0])
        row = self._app.registry.row(index)
        row[meters.ROW_ACTIVE] = 0
        if not self._app.books.set_meter(index, row):
            raise Refusal(STORAGE_TROUBLE)
        return ["removed " + arguments[0]]

    def _meter_list(self, arguments: "list[str]") -> "list[str]":
        registry = self._app.registry
        lines = ["meter account tariff line standard baud misses"]
        for index in range(registry.count):
            if registry.active[index]:
                lines.append(self._row(index))
        return lines

    def _meter_exchange(self, arguments: "list[str]") -> "list[str]":
        registry = self._app.registry
        index = self._find(arguments[0])
        address = reversed_digits(_digits(arguments[1], "a meter address"))
        if registry.find_address(address) >= 0:
            raise Refusal("meter " + arguments[1] + " is registered already")
        slash = arguments.index("/") if "/" in arguments else len(arguments)
        values = array("i", [_energy_wh(text) for text in arguments[2:slash]])
        first = array("i", [_energy_wh(text) for text in arguments[slash + 1 :]])
        if len(first) not in (0, len(values)):
            raise Refusal("the new meter's first registers are as many as the old one's last")
        outcome = self._app.books.take_last(index, values)
        if outcome > FIRST:
            raise Refusal("the last reading is not taken: " + OUTCOME_NAMES[outcome])
        row = registry.row(index)
        row[:ADDRESS_SIZE] = address
        row[meters.ROW_STANDARD] = record.STANDARD_AUTO
        row[meters.ROW_ACTIVE] = 1
        if not self._app.books.set_meter(index, row):
            raise Refusal(STORAGE_TROUBLE)
        if len(first):
            self._app.books.take_last(index, first)
        return [self._row(index)]

    def _row(self, index: int) -> str:
        registry = self._app.registry
        speech = registry.speech[index]
        return " ".join(
            (
                registry.address_text(index),
                registry.account_text(index),
                str(registry.tariff[index]),
                str(registry.line[index]),
                STANDARDS[speech & meters.STANDARD],
                str(BAUDS[speech >> meters.SPEED_SHIFT]),
                str(registry.misses(index)),
            )
        )

    def _account(self, arguments: "list[str]") -> "list[str]":
        app = self._app
        ledger = app.ledger
        index = self._find(arguments[0])
        relay = app.registry.relay[index]
        stage = relay & meters.RELAY_STAGE
        wanted = "open" if relay & meters.DESIRED_OPEN else "closed"
        lines = [
            "account " + app.registry.account_text(index),
            "meter " + app.registry.address_text(index),
            "tariff " + str(app.registry.tariff[index]),
            "credit_fen " + str(ledger.credit_fen[index]),
            "debit_fen " + str(ledger.debit_fen[index]),
            "residue_e7 " + str(ledger.residue_e7[index]),
            "residue_e11 " + str(ledger.residue_e11[index]),
            "balance_fen " + str(ledger.balance_fen(index)),
            "used_wh " + str(ledger.used_wh[index]),
            "tier " + str(app.books.tier_of(index) + 1),
            "order " + str(ledger.order[index]),
            "state " + STATE_NAMES[ledger.state[index]].replace(" ", "_"),
            "relay " + wanted,
            "relay_stage " + ("idle", "look", "send", "confirm", "failed")[stage],
            "billing " + ("stopped" if ledger.flags[index] & STOPPED else "on"),
            "read " + time_text(ledger.read_t2000[index] or -1),
        ]
        at = index * ledger.rates_limit
        for rate in range(ledger.rates_limit):
            lines.append("register_" + str(rate) + "_wh " + str(ledger.registers_wh[at + rate]))
        return lines

    def _account_set(self, arguments: "list[str]") -> "list[str]":
        ledger = self._app.ledger
        index = self._find(arguments[0])
        flags = ledger.flags[index]
        terms = {
            "household": flags >> HOUSEHOLD,
            "grade": ledger.grade[index],
            "multiplier": ledger.multiplier[index] or 1,
            "guard": 1 if flags & GUARD else 0,
            "debt_fen": ledger.debt_fen[index],
        }
        limits = {"household": 3, "grade": 3, "multiplier": 65535, "guard": 1}
        name = arguments[1]
        if name not in terms:
            raise Refusal("an account has " + ", ".join(sorted(terms)))
        least = 1 if name == "multiplier" else 0
        terms[name] = _number(arguments[2], least, limits.get(name, MONEY_LIMIT_FEN), name)
        tariff = self._app.tariffs.find(self._app.registry.tariff[index])
        if tariff is not None and terms["household"] >= tariff.households:
            raise Refusal(
                "its tariff has " + str(tariff.households) + " kinds of household, from 0"
            )
        if not self._app.books.set_terms(
            index,
            terms["household"],
            terms["grade"],
            terms["multiplier"],
            terms["guard"],
            terms["debt_fen"],
        ):
            raise Refusal(STORAGE_TROUBLE)
        return [name + " " + str(terms[name])]

    def _supply(self, arguments: "list[str]") -> "list[str]":
        index = self._find(arguments[0])
        if arguments[1] not in ("cut", "restore"):
            raise Refusal("usage: supply ACCOUNT cut|restore")
        cut = arguments[1] == "cut"
        if not self._app.books.order_supply(index, cut):
            state = STATE_NAMES[self._app.ledger.state[index]]
            raise Refusal("the supply stays as it is, the account is: " + state)
        return ["state " + STATE_NAMES[self._app.ledger.state[index]].replace(" ", "_")]

    def _account_resume(self, arguments: "list[str]") -> "list[str]":
        index = self._find(arguments[0])
        if not self._app.ledger.flags[index] & STOPPED:
            raise Refusal("account " + arguments[0] + " is being billed")
        if not self._app.books.resume(index):
            raise Refusal(STORAGE_TROUBLE)
        return ["billing on"]

    def _account_restore(self, arguments: "list[str]") -> "list[str]":
        index = self._find(arguments[0])
        order = _number(arguments[1], 0, 0x3FFFFFFF, "order")
        credit_fen = _number(arguments[2], 0, 0x3FFFFFFF, "credit in fen")
        if not self._app.books.restore(index, order, credit_fen):
            raise Refusal("the books here know a newer order or more money, or flash is full")
        return ["order " + str(order)]

    def _restored(self, arguments: "list[str]") -> "list[str]":
        if not self._app.restored():
            raise Refusal("flash full or failing, `counters` tells more")
        return ["cards are taken"]

    def _card(self, arguments: "list[str]") -> "list[str]":
        console = self._app.console
        if console is None or console.programmer is None:
            raise Refusal("this board has no card reader of its own")
        carrier = console.programmer.carrier
        if not carrier.present:
            raise Refusal("no card in the reader: insert one")
        return [hexlify(carrier.uid).decode() + " " + str(carrier.size)]

    def _card_unlock(self, arguments: "list[str]") -> "list[str]":
        for redemption in (self._app.redemption, self._app.local):
            if redemption is not None:
                redemption.unlock()
        return ["cards are looked at"]

    def _find(self, text: str) -> int:
        index = self._app.registry.find_account(_digits(text, "an account number"))
        if index < 0:
            raise Refusal("no account " + text + ", `meter list` names them")
        return index

    # --- a technician's questions on a line ---------------------------------------------------

    def _line_ask(self, arguments: "list[str]") -> "list[str]":
        poller = self._line(arguments[0])
        try:
            address = reversed_digits(unhexlify(arguments[1]))
            control = unhexlify(arguments[2])
            data = unhexlify(arguments[3]) if len(arguments) > 3 else b""
        except ValueError:
            raise Refusal("address, control and data are hexadecimal digits") from None
        if len(address) != ADDRESS_SIZE or len(control) != 1 or len(data) > DATA_LIMIT:
            raise Refusal("an address has 12 digits, a control 2, data at most 400")
        if not poller.exchange.put(address, control[0], data):
            raise Refusal(_BUSY)
        return []

    def _line_scan(self, arguments: "list[str]") -> "list[str]":
        poller = self._line(arguments[0])
        standard = _number(arguments[1] if len(arguments) > 1 else "2007", 1997, 2007, "standard")
        if not poller.exchange.put_search(standard):
            raise Refusal(_BUSY)
        return []

    def _line_speed(self, arguments: "list[str]") -> "list[str]":
        exchange = self._line(arguments[0]).exchange
        if len(arguments) > 1:
            baud = _number(arguments[1], BAUDS[4], BAUDS[-1], "speed")
            if baud not in BAUDS:
                raise Refusal("speeds are " + ", ".join([str(one) for one in sorted(BAUDS)]))
            exchange.place = BAUDS.index(baud)
        return [str(BAUDS[exchange.place])]

    def _line_answer(self, arguments: "list[str]") -> "list[str]":
        exchange = self._line(arguments[0]).exchange
        state = ("none", "waiting", "asked", "done")[exchange.state]
        outcome = OUTCOME_NAMES_LINE[exchange.outcome].replace(" ", "_")
        lines = ["state " + state]
        search = exchange.search
        if search is not None:
            lines.append("questions " + str(search.questions))
            lines.append("conflicts " + str(search.conflicts))
            for at in range(0, search.count * ADDRESS_SIZE, ADDRESS_SIZE):
                wire = bytes(search.addresses[at : at + ADDRESS_SIZE])
                lines.append("found " + hexlify(reversed_digits(wire)).decode())
        elif exchange.state == DONE:
            lines.append("outcome " + outcome)
            lines.append("address " + hexlify(reversed_digits(bytes(exchange.address))).decode())
            lines.append("error " + str(exchange.error))
            lines.append("more " + str(int(exchange.more)))
            digits = hexlify(exchange.data).decode()
            for at in range(0, len(digits), _DIGITS_A_LINE):
                lines.append("data " + digits[at : at + _DIGITS_A_LINE])
        return lines

    def _line(self, text: str) -> "Poller":
        pollers = self._app.pollers
        return pollers[_number(text, 0, len(pollers) - 1, "line")]

    # --- tariffs --------------------------------------------------------------------------------

    def _tariff_begin(self, arguments: "list[str]") -> "list[str]":
        size = _number(arguments[0], 1, _IMAGE_LIMIT, "size")
        self._app.tariffs.begin(size)
        return [str(size)]

    def _tariff_data(self, arguments: "list[str]") -> "list[str]":
        offset = _number(arguments[0], 0, _IMAGE_LIMIT, "offset")
        try:
            part = unhexlify(arguments[1])
        except ValueError:
            raise Refusal("a part of an image is hexadecimal digits") from None
        if not self._app.tariffs.put(offset, part):
            raise Refusal("a part at " + str(offset) + " does not follow what is here")
        return [str(offset + len(part))]

    def _tariff_commit(self, arguments: "list[str]") -> "list[str]":
        app = self._app
        number = _number(arguments[0], 1, NUMBER_LIMIT, "tariff")
        try:
            image_crc32 = int(arguments[1], 16)
        except ValueError:
            raise Refusal("the CRC is 8 hexadecimal digits") from None
        trouble = app.tariffs.store(number, image_crc32)
        trouble = trouble or app.books.tariff_trouble(number, app.tariffs.stored)
        if trouble:
            raise Refusal(trouble)
        if not app.books.set_tariff(number, image_crc32, app.tariffs.stored_size):
            raise Refusal(STORAGE_TROUBLE)
        return ["tariff " + str(number) + " in force"]

    def _tariff_list(self, arguments: "list[str]") -> "list[str]":
        lines = ["number crc tiers rates"]
        for number in range(1, NUMBER_LIMIT + 1):
            tariff = self._app.tariffs.find(number)
            if tariff is not None:
                crc = hex(self._app.tariffs.crcs[number])[2:]
                sizes = str(tariff.tiers) + " " + str(tariff.rates)
                lines.append(str(number) + " " + crc + " " + sizes)
        return lines


# Commands that change nothing: all others need a session where a console key is set.
_LOOKS = (
    "card",
    "help",
    "login",
    "logout",
    "status",
    "counters",
    "time",
    "settings",
    "journal",
    "meter list",
    "account",
    "tariff list",
    "line answer",
)

# Name, fewest and most arguments, what they are.
_COMMANDS = (
    ("help", 0, 0, ""),
    ("login", 0, 1, "[RESPONSE]"),
    ("logout", 0, 0, ""),
    ("status", 0, 0, ""),
    ("counters", 0, 0, ""),
    ("time", 0, 2, "[YYYY-MM-DD hh:mm:ss]"),
    ("settings", 0, 0, ""),
    ("set", 2, 2, "NAME VALUE"),
    ("save", 0, 0, ""),
    ("journal", 2, 2, "FIRST_RECORD COUNT"),
    ("meter add", 3, 5, "ADDRESS ACCOUNT TARIFF [LINE [1997|2007|auto]]"),
    ("meter remove", 1, 1, "ACCOUNT"),
    ("meter list", 0, 0, ""),
    ("meter exchange", 3, 21, "ACCOUNT NEW_ADDRESS LAST_KWH [OF_EACH_RATE ..] [/ FIRST_KWH ..]"),
    ("account", 1, 1, "ACCOUNT"),
    ("account resume", 1, 1, "ACCOUNT"),
    ("account set", 3, 3, "ACCOUNT household|grade|multiplier|guard|debt_fen VALUE"),
    ("supply", 2, 2, "ACCOUNT cut|restore"),
    ("line ask", 3, 4, "LINE ADDRESS CONTROL [DATA]"),
    ("line scan", 1, 2, "LINE [1997|2007]"),
    ("line answer", 1, 1, "LINE"),
    ("line speed", 1, 2, "LINE [BAUD_OF_METERS_NOT_REGISTERED]"),
    ("account restore", 3, 3, "ACCOUNT ORDER CREDIT_FEN"),
    ("restored", 0, 0, ""),
    ("card", 0, 0, ""),
    ("card unlock", 0, 0, ""),
    ("tariff begin", 1, 1, "SIZE"),
    ("tariff data", 2, 2, "OFFSET HEX"),
    ("tariff commit", 2, 2, "NUMBER CRC"),
    ("tariff list", 0, 0, ""),
)


def _number(text: str, least: int, greatest: int, what: str) -> int:
    if not text.isdigit() or not least <= int(text) <= greatest:
        raise Refusal(what + " is a number from " + str(least) + " to " + str(greatest))
    return int(text)


def _energy_wh(text: str) -> int:
    """A register as it is shown, kWh with at most two decimals, in Wh."""
    whole, _, decimals = text.partition(".")
    if not whole.isdigit() or not (decimals or "0").isdigit() or len(decimals) > 2:
        raise Refusal("a register is kWh like 1234.56, not " + text)
    wh = int(whole) * 1000 + int((decimals + "00")[:2]) * 10
    if wh >= REGISTER_MODULUS_WH:
        raise Refusal("no register shows " + text)
    return wh


def _digits(text: str, what: str) -> bytes:
    digits = parse_digits(text)
    if not digits:
        raise Refusal(what + " has up to 12 digits, not " + text)
    return digits


def time_text(t2000: int) -> str:
    """YYYY-MM-DD hh:mm:ss, or "unknown" below 0."""
    if t2000 < 0:
        return "unknown"
    fields = bytearray(6)
    clock.encode_into(fields, 0, t2000)
    # The fields are BCD: their hexadecimal digits are the decimal ones.
    pairs = [hexlify(fields[at : at + 1]).decode() for at in range(6)]
    return f"20{pairs[5]}-{pairs[4]}-{pairs[3]} {pairs[2]}:{pairs[1]}:{pairs[0]}"


def parse_time(date: str, time: str) -> int:
    """Seconds since 2000 of YYYY-MM-DD and hh:mm:ss; Refusal where there is no such moment."""
    try:
        digits = unhexlify(date.replace("-", "") + time.replace(":", ""))
    except ValueError:
        digits = b""
    if len(digits) == 7 and digits[0] == 0x20:
        # ss mm hh WW DD MM YY
        wire = bytearray((digits[6], digits[5], digits[4], 0, digits[3], digits[2], digits[1]))
        t2000 = clock.decode_moment(7, wire, 0)
        if t2000 >= 0:
            return t2000
    raise Refusal("a time is like 2026-11-25 08:30:00")
