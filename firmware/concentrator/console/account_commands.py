"""Carry out the commands about accounts: money, terms, supply and billing."""

from array import array

from card import codes
from card.redemption import judge_order
from micropython import const
from prepay.accounts import GUARD, HOUSEHOLD, MONEY_LIMIT_FEN, STOPPED
from prepay.policy import REMOTE, STATE_NAMES
from prepay.tariff import FREE_LIMIT_WH
from uplink.record import HEADER_MAC_SIZE, SOURCE_ABOVE

from concentrator.books import registry as meters
from concentrator.books.standing import STANDING_SIZE
from concentrator.console import words
from concentrator.console.console import Refusal
from concentrator.console.words import ASKED, HERE, ORDERED
from concentrator.login import ABOVE, FULL, READ

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Iterator

    from prepay.tariff import Tariff

    from concentrator.console.words import App


_ORDER_LIMIT = const(0x7FFFFFFF)
# The terms of an account in the order of Books.set_terms, and the most of each.
_TERMS = ("household", "grade", "multiplier", "guard", "debt_fen", "power_limit_w")
_MOST = (15, 3, 65535, 1, MONEY_LIMIT_FEN, 6553500)


def _account(app: "App", arguments: "list[str]") -> "list[str]":
    ledger = app.ledger
    index = words.find_account(app, arguments[0])
    relay = app.registry.relay[index]
    stage = relay & meters.RELAY_STAGE
    billing = "doubted" if ledger.doubt(index) else "on"
    if ledger.flags[index] & STOPPED:
        billing = "stopped"
    wanted = "open" if relay & meters.DESIRED_OPEN else "closed"
    found = [
        ("account", app.registry.account_text(index)),
        ("meter", app.registry.address_text(index)),
        ("tariff", app.registry.tariff[index]),
        ("credit_fen", ledger.credit_fen[index]),
        ("debit_fen", ledger.debit_fen[index]),
        ("residue_e7", ledger.residue_e7[index]),
        ("residue_e11", ledger.residue_e11[index]),
        ("balance_fen", ledger.balance_fen(index)),
        ("used_wh", ledger.used_wh[index]),
        ("quota", _quota_text(app, index)),
        ("free_wh", ledger.free[index] & FREE_LIMIT_WH),
        ("tier", app.books.tier_of(index) + 1),
        ("order", ledger.order[index]),
        ("told", "yes" if ledger.is_told(index) else "no"),
        ("state", _state(app, index)),
        ("relay", wanted),
        ("relay_stage", ("idle", "look", "send", "confirm", "failed")[stage]),
        ("billing", billing),
        ("power_limit_w", 100 * ledger.power_hw[index] or ledger.power_limit_w),
        ("read", words.time_text(ledger.read_t2000[index] or -1)),
    ]
    at = index * ledger.rates_limit
    # In parts: one word that begins with "_" would be taken for a private name and shortened.
    for rate in range(ledger.rates_limit):
        found.append(("register_" + str(rate) + "_" + "wh", ledger.registers_wh[at + rate]))
    return words.told(found)


def _state(app: "App", index: int) -> str:
    return STATE_NAMES[app.ledger.state[index]].replace(" ", "_")


def _account_set(app: "App", arguments: "list[str]") -> "list[str]":
    ledger = app.ledger
    index = words.find_account(app, arguments[0])
    flags = ledger.flags[index]
    values = [
        flags >> HOUSEHOLD,
        ledger.grade[index],
        ledger.multiplier[index] or 1,
        1 if flags & GUARD else 0,
        ledger.debt_fen[index],
        100 * ledger.power_hw[index],
    ]
    name = arguments[1]
    if name not in _TERMS:
        raise Refusal("an account has " + ", ".join(sorted(_TERMS)))
    place = _TERMS.index(name)
    least = 1 if name == "multiplier" else 0
    values[place] = words.number_of(arguments[2], least, _MOST[place], name)
    words.refuse(app.books.household_trouble(index, values[0]))
    words.kept(app.books.set_terms(index, *values))
    return [name + " " + str(values[place])]


def _account_used(app: "App", arguments: "list[str]") -> "list[str]":
    """Set the energy that a household billed elsewhere has used, and the months that count."""
    index = words.find_account(app, arguments[0])
    tariff = _tariff_now(app, index)
    used_wh = words.energy_wh_of(arguments[1])
    tariff.count_months(app.ledger.own_t2000(index, app.books.t2000))
    months = tariff.months
    if len(arguments) > 2:
        months = words.number_of(arguments[2], 1, tariff.months, "months")
    quota = 0 if months == tariff.months else tariff.months | months << 4
    return _set_used(app, index, tariff, used_wh, quota)


def _account_moved(app: "App", arguments: "list[str]") -> "list[str]":
    """Begin the tiers again at 0, because another household moves in."""
    index = words.find_account(app, arguments[0])
    tariff = _tariff_now(app, index)
    t2000 = app.ledger.own_t2000(index, app.books.t2000)
    quota = app.ledger.quota_moved_in(tariff, t2000)
    return _set_used(app, index, tariff, 0, quota)


def _tariff_now(app: "App", index: int) -> "Tariff":
    tariff = app.tariffs.find(app.registry.tariff[index])
    if tariff is None:
        raise Refusal("the account has no tariff: send one first")
    if app.books.t2000 <= 0:
        raise Refusal("the clock is not set, so there is no tier period: set it with `time`")
    return tariff


def _set_used(app: "App", index: int, tariff: "Tariff", used_wh: int, quota: int) -> "list[str]":
    period_t2000 = tariff.period_at(app.ledger.own_t2000(index, app.books.t2000))
    words.kept(app.books.set_used(index, used_wh, period_t2000, quota))
    return ["used_wh " + str(used_wh), "quota " + _quota_text(app, index)]


def _quota_text(app: "App", index: int) -> str:
    """Return the months of the tier period that count, as "N/M" or "whole"."""
    quota = app.ledger.quota[index]
    if not quota:
        return "whole"
    counted = 0
    spans = quota >> 4
    while spans:
        counted += spans & 15
        spans >>= 8
    return str(counted) + "/" + str(quota & 15)


def _supply(app: "App", arguments: "list[str]") -> "list[str]":
    index = words.find_account(app, arguments[0])
    if arguments[1] not in ("cut", "restore"):
        raise Refusal("usage: supply ACCOUNT cut|restore")
    cut = arguments[1] == "cut"
    is_cut = app.ledger.state[index] == REMOTE
    if cut and app.login.granted == ABOVE and not is_cut:
        _check_lawful(app, index, arguments[2:])
    moved = app.books.order_supply(index, cut)
    is_cut = app.ledger.state[index] == REMOTE
    if not moved and not (is_cut if cut else app.registry.relay[index] < meters.DESIRED_OPEN):
        state = STATE_NAMES[app.ledger.state[index]]
        raise Refusal("the supply stays as it is, the account is: " + state)
    return ["state " + _state(app, index)]


def _check_lawful(app: "App", index: int, notice: "list[str]") -> None:
    """Raise Refusal unless the household may be cut from above: it was told, and time has passed.

    `notice` is the date and the time at which the notice was delivered. No account is in its
    state since before the last step of the clock.
    """
    if app.ledger.flags[index] & GUARD:
        raise Refusal("its supply is protected: it is not cut from above")
    if len(notice) != 2:
        raise Refusal("a cut needs the time at which its notice was delivered")
    policy = app.books.policy
    since_t2000 = min(app.ledger.since_t2000[: app.registry.count])
    waited_s = app.books.t2000 - max(since_t2000, words.parse_time(notice[0], notice[1]))
    if waited_s < 60 * policy.notice_minutes:
        minutes = str(policy.notice_minutes)
        raise Refusal(
            "a cut comes " + minutes + " minutes after its notice, and after a set clock"
        )
    if policy.no_cut_at(app.books.t2000):
        raise Refusal("nobody is cut at this time")


def _credit(app: "App", arguments: "list[str]") -> "Iterator[str]":
    """Credit an order that was sold, below 0 refund it, as a card of that order would.

    The money is written in one step and what follows for the supply in the next.
    """
    index = words.find_account(app, arguments[0])
    order = words.number_of(arguments[1], 1, _ORDER_LIMIT, "order")
    first = words.number_of(arguments[4], 1, order, "first order") if len(arguments) > 4 else order
    refunds = arguments[2][:1] == "-"
    amount_fen = words.number_of(arguments[2][1 if refunds else 0 :], 1, MONEY_LIMIT_FEN, "amount")
    trouble = "an order is named by 16 hexadecimal digits"
    header_mac = words.octets_of(arguments[3], HEADER_MAC_SIZE, trouble)
    amount_fen = -amount_fen if refunds else amount_fen
    books = app.books
    code = judge_order(books, index, first, order, header_mac)
    if code == codes.OK:
        code = books.judge_credit(index, amount_fen)
    if code == codes.OK:
        none = bytes(HEADER_MAC_SIZE)
        words.kept(books.credit(index, order, amount_fen, none, 0, header_mac, SOURCE_ABOVE))
        yield ""
        books.show_card(index, True, amount_fen)
    elif code != codes.COMPLETED:
        raise Refusal("result " + str(code) + ", as of a card")
    yield "order " + str(order)
    yield "balance_fen " + str(app.ledger.balance_fen(index))
    yield "state " + _state(app, index)


def _account_resume(app: "App", arguments: "list[str]") -> "list[str]":
    index = words.find_account(app, arguments[0])
    told = array("i", [words.energy_wh_of(text) for text in arguments[1:]])
    if not app.ledger.flags[index] & STOPPED and not told:
        raise Refusal("account " + arguments[0] + " is being billed")
    tariff = app.tariffs.find(app.registry.tariff[index])
    if told and tariff is not None and len(told) <= tariff.registers > 1:
        raise Refusal("give the total and each of the " + str(tariff.registers) + " rates")
    if told and (tariff is None or app.books.t2000 < 0):
        raise Refusal("registers are told with the clock set and the account's tariff loaded")
    words.kept(app.books.resume(index, told or None))
    return ["billing on"]


def _account_restore(app: "App", arguments: "list[str]") -> "list[str]":
    index = words.find_account(app, arguments[0])
    trouble = "a standing has 212 hexadecimal digits, as `account standing` tells them"
    told = words.octets_of(arguments[1], STANDING_SIZE, trouble)
    books = app.books
    words.refuse(books.standing_trouble(index, told))
    if books.knows(index, told):
        order = str(app.ledger.order[index])
        return ["kept, the books here know no less: their newest order is " + order]
    words.kept(books.restore(index, told))
    return ["order " + str(app.ledger.order[index])]


def _account_standing(app: "App", arguments: "list[str]") -> "list[str]":
    index = words.find_account(app, arguments[0])
    told = app.books.standing_of(index).hex()
    return ["account restore " + app.registry.account_text(index) + " " + told]


def _account_new(app: "App", arguments: "list[str]") -> "list[str]":
    index = words.find_account(app, arguments[0])
    if app.ledger.is_told(index):
        order = app.ledger.order[index]
        raise Refusal(
            "account " + arguments[0] + " is known here, its newest order: " + str(order)
        )
    words.kept(app.books.begin_new(index))
    return ["cards are taken"]


ROWS = (
    ("account", "ACCOUNT", READ, "_account", ASKED),
    (
        "account set",
        "ACCOUNT household|grade|multiplier|guard|debt_fen|power_limit_w VALUE",
        FULL,
        "_account_set",
        ORDERED,
    ),
    ("account used", "ACCOUNT KWH [MONTHS]", FULL, "_account_used", ORDERED),
    ("account moved", "ACCOUNT", FULL, "_account_moved", HERE),
    ("account resume", "ACCOUNT [FROM_KWH...]", FULL, "_account_resume", ORDERED),
    ("account new", "ACCOUNT", FULL, "_account_new", ORDERED),
    ("account standing", "ACCOUNT", READ, "_account_standing", ASKED),
    ("account restore", "ACCOUNT STANDING", FULL, "_account_restore", ORDERED),
    (
        "supply",
        "ACCOUNT cut|restore [NOTICE_DATE NOTICE_TIME]",
        FULL,
        "_supply",
        ORDERED,
    ),
    ("credit", "ACCOUNT ORDER FEN HEADER_MAC [FIRST_ORDER]", ABOVE, "_credit", ORDERED),
)
