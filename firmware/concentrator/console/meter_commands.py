"""Carry out the commands about meters and lines."""

from array import array
from binascii import crc32

from dlt645.master import OUTCOME_NAMES as OUTCOME_NAMES_LINE
from dlt645.probe import BAUDS
from micropython import const
from prepay.ledger import FIRST, OUTCOME_NAMES
from uplink import record

from concentrator.books import registry as meters
from concentrator.books.charging import NOT_BILLED, REFUSED
from concentrator.books.doubt import DOUBTED
from concentrator.books.registry import ADDRESS_SIZE, reversed_digits
from concentrator.books.tariffs import NUMBER_LIMIT
from concentrator.console import words
from concentrator.console.console import Refusal
from concentrator.console.words import ASKED, HERE, ORDERED
from concentrator.line.exchange import DATA_LIMIT, DONE
from concentrator.line.freezes import DAYS_LIMIT
from concentrator.login import ABOVE, FULL, READ

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concentrator.console.words import App
    from concentrator.line.poller import Poller

# The standards by their numbers in a METER record.
STANDARDS = ("2007", "1997", "auto")

_DIGITS_A_LINE = const(160)
_DAY_S = const(86400)
# The functions that the head-end may use: reads of both standards, and 03H, which the meter's ESAM
# judges.
_FROM_ABOVE = (0x11, 0x12, 0x13, 0x01, 0x02, 0x03)
_ASK_TROUBLE = "an address has 12 digits, a control 2, data at most 400"
_BUSY = "another question is under way on this line, `line answer` tells of it"


def _new_address(app: "App", text: str) -> bytearray:
    """Return the address of a meter that is to be registered; Refusal if it is already."""
    address = reversed_digits(words.digits_of(text, "a meter address"))
    if app.registry.find_address(address) >= 0:
        raise Refusal("meter " + text + " is registered already")
    return address


def _meter_add(app: "App", arguments: "list[str]") -> "list[str]":
    registry = app.registry
    address = _new_address(app, arguments[0])
    account = words.digits_of(arguments[1], "an account number")
    tariff = words.number_of(arguments[2], 1, NUMBER_LIMIT, "tariff")
    line = words.number_of(arguments[3] if len(arguments) > 3 else "0", 0, 255, "line")
    standard = arguments[4] if len(arguments) > 4 else "auto"
    if standard not in STANDARDS:
        raise Refusal("the standard is 2007, 1997 or auto")
    if line >= len(app.pollers):
        raise Refusal("there is no line " + str(line))
    terms = app.tariffs.find(tariff)
    if terms is None:
        raise Refusal("there is no tariff " + str(tariff) + ", load it first")
    if registry.find_account(account) >= 0:
        raise Refusal("account " + arguments[1] + " has a meter already")
    index = registry.find_removed(account)
    untold = index < 0
    if untold:
        index = registry.count
    if index == registry.limit:
        raise Refusal("no room: " + str(registry.limit) + " meters are the most")
    trouble = app.ledger.misfit(index, terms)
    if trouble:
        raise Refusal("tariff " + str(tariff) + " cannot charge it: " + trouble)
    row = record.meter_row(address, account, tariff, line, STANDARDS.index(standard), 1, 0)
    words.kept(app.books.set_meter(index, row, untold))
    lines = [_row(app, index)]
    if not app.ledger.is_told(index):
        lines.append("no card is taken until `account new` or `account restore` tells what it is")
    return lines


def _meter_remove(app: "App", arguments: "list[str]") -> "list[str]":
    index = words.find_account(app, arguments[0])
    row = app.registry.row(index)
    row[record.METER_ACTIVE] = 0
    words.kept(app.books.set_meter(index, row))
    return ["removed " + arguments[0]]


def _meter_list(app: "App", arguments: "list[str]") -> "Callable[[], Iterator[str]]":
    registry = app.registry

    def lines() -> "Iterator[str]":
        yield "meter account tariff line standard baud misses"
        for index in range(registry.count):
            if registry.active[index]:
                yield _row(app, index)

    return lines


def _meter_exchange(app: "App", arguments: "list[str]") -> "Iterator[str]":
    yield ""  # it takes a step without what came before
    registry = app.registry
    index = words.find_account(app, arguments[0])
    address = _new_address(app, arguments[1])
    slash = arguments.index("/") if "/" in arguments else len(arguments)
    values = array("i", [words.energy_wh_of(text) for text in arguments[2:slash]])
    first = array("i", [words.energy_wh_of(text) for text in arguments[slash + 1 :]])
    if len(first) not in (0, len(values)):
        raise Refusal("the new meter's first registers are as many as the old one's last")
    outcome = app.books.charge_typed(index, values)
    words.kept(outcome != REFUSED)
    if outcome == NOT_BILLED:
        raise Refusal("no tariff to charge the last reading by: `tariff list`, load it again")
    if outcome == DOUBTED:
        raise Refusal("what was charged beyond it is taken back: repeat the command in a minute")
    if outcome > FIRST:
        raise Refusal("the last reading is not taken: " + OUTCOME_NAMES[outcome])
    row = registry.row(index)
    row[:ADDRESS_SIZE] = address
    row[record.METER_STANDARD] = record.STANDARD_AUTO
    row[record.METER_ACTIVE] = 1
    words.kept(app.books.set_meter(index, row))
    if len(first):
        app.books.charge_typed(index, first)
    yield ""
    yield _row(app, index)


def _row(app: "App", index: int) -> str:
    registry = app.registry
    protocol = registry.protocol[index]
    return " ".join(
        (
            registry.address_text(index),
            registry.account_text(index),
            str(registry.tariff[index]),
            str(registry.line[index]),
            STANDARDS[protocol & meters.STANDARD],
            str(BAUDS[protocol >> meters.SPEED_SHIFT]),
            str(registry.misses(index)),
        )
    )


def _freezes(app: "App", arguments: "list[str]") -> "list[str]":
    """Have the daily freezes of a meter recorded from a day on; none of them is charged twice."""
    registry = app.registry
    index = words.find_account(app, arguments[0])
    day = words.parse_time(arguments[1], "00:00:00") // _DAY_S
    today = app.books.t2000 // _DAY_S
    is_old = registry.protocol[index] & meters.STANDARD == record.STANDARD_1997
    if is_old or not today - DAYS_LIMIT < day <= today:
        raise Refusal("meters of 2007 keep 62 days, others none")
    registry.freeze_day[index] = min(registry.freeze_day[index] or day, day - 1)
    app.pollers[registry.line[index]].freezes.seek()
    return [arguments[1]]


def _line_ask(app: "App", arguments: "list[str]") -> "list[str]":
    poller = _line(app, arguments[0])
    address = reversed_digits(words.octets_of(arguments[1], ADDRESS_SIZE, _ASK_TROUBLE))
    control = words.octets_of(arguments[2], 1, _ASK_TROUBLE)
    data = b""
    text = arguments[3] if len(arguments) > 3 else ""
    if text[:1] == "=":
        data = poller.exchange.parts
        words.refuse("" if "=" + str(crc32(data)) == text else "the parts that came are others")
    elif text:
        data = words.octets_of(text, 0, _ASK_TROUBLE)
    words.refuse(_ASK_TROUBLE if len(data) > DATA_LIMIT else "")
    if app.login.granted == ABOVE and control[0] not in _FROM_ABOVE:
        raise Refusal("from above a meter is only read, or told what was sealed for it")
    if not poller.exchange.put(address, control[0], data):
        raise Refusal(_BUSY)
    return []


def _line_data(app: "App", arguments: "list[str]") -> "list[str]":
    """Keep a part of what is too long for one line; one at an offset replaces all from there."""
    exchange = _line(app, arguments[0]).exchange
    at = words.number_of(arguments[1], 0, len(exchange.parts), "offset")
    parts = exchange.parts[:at] + words.octets_of(arguments[2], 0, _ASK_TROUBLE)
    words.refuse(_ASK_TROUBLE if len(parts) > DATA_LIMIT else "")
    exchange.parts = parts
    return [str(len(parts))]


def _line_scan(app: "App", arguments: "list[str]") -> "list[str]":
    poller = _line(app, arguments[0])
    text = arguments[1] if len(arguments) > 1 else "2007"
    standard = words.number_of(text, 1997, 2007, "standard")
    if not poller.exchange.put_search(standard):
        raise Refusal(_BUSY)
    return []


def _line_speed(app: "App", arguments: "list[str]") -> "list[str]":
    exchange = _line(app, arguments[0]).exchange
    if len(arguments) > 1:
        baud = words.number_of(arguments[1], BAUDS[4], BAUDS[-1], "speed")
        if baud not in BAUDS:
            raise Refusal("speeds are " + ", ".join([str(one) for one in sorted(BAUDS)]))
        exchange.place = BAUDS.index(baud)
    return [str(BAUDS[exchange.place])]


def _line_answer(app: "App", arguments: "list[str]") -> "list[str]":
    exchange = _line(app, arguments[0]).exchange
    state = ("none", "waiting", "asked", "done")[exchange.state]
    outcome = OUTCOME_NAMES_LINE[exchange.outcome].replace(" ", "_")
    lines = ["state " + state]
    search = exchange.search
    if search is not None:
        lines.append("questions " + str(search.questions))
        lines.append("conflicts " + str(search.conflicts))
        lines.append("dropped " + str(search.dropped))
        for at in range(0, search.count * ADDRESS_SIZE, ADDRESS_SIZE):
            wire = bytes(search.addresses[at : at + ADDRESS_SIZE])
            lines.append("found " + reversed_digits(wire).hex())
    elif exchange.state == DONE:
        lines.append("outcome " + outcome)
        lines.append("address " + reversed_digits(bytes(exchange.address)).hex())
        lines.append("error " + str(exchange.error))
        lines.append("more " + str(int(exchange.more)))
        digits = exchange.data.hex()
        for at in range(0, len(digits), _DIGITS_A_LINE):
            lines.append("data " + digits[at : at + _DIGITS_A_LINE])
    return lines


def _line(app: "App", text: str) -> "Poller":
    pollers = app.pollers
    return pollers[words.number_of(text, 0, len(pollers) - 1, "line")]


ROWS = (
    (
        "meter add",
        "ADDRESS ACCOUNT TARIFF [LINE [1997|2007|auto]]",
        FULL,
        "_meter_add",
        ORDERED,
    ),
    ("meter remove", "ACCOUNT", FULL, "_meter_remove", ORDERED),
    ("meter list", "", READ, "_meter_list", ASKED),
    (
        "meter exchange",
        "ACCOUNT NEW_ADDRESS LAST_KWH [OF_EACH_RATE ..] [/ FIRST_KWH ..]",
        FULL,
        "_meter_exchange",
        HERE,
    ),
    ("freezes", "ACCOUNT FROM_DATE", FULL, "_freezes", ORDERED),
    ("line ask", "LINE ADDRESS CONTROL [DATA|=CRC32]", FULL, "_line_ask", ASKED),
    ("line data", "LINE OFFSET DATA", FULL, "_line_data", ASKED),
    ("line scan", "LINE [1997|2007]", FULL, "_line_scan", ASKED),
    ("line answer", "LINE", READ, "_line_answer", ASKED),
    ("line speed", "LINE [BAUD_OF_METERS_NOT_REGISTERED]", FULL, "_line_speed", HERE),
)
