"""Carry out the commands about tariffs: an image arrives in parts and is put in force."""

from micropython import const

from concentrator.books.tariffs import NAME_SIZE, NUMBER_LIMIT, TROUBLE_NAMES
from concentrator.console import words
from concentrator.console.console import Refusal
from concentrator.console.words import ASKED, ORDERED
from concentrator.login import FULL, NOTHING

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Iterator

    from concentrator.console.words import App

_IMAGE_LIMIT = const(4096)


def _tariff_begin(app: "App", arguments: "list[str]") -> "list[str]":
    size = words.number_of(arguments[0], 1, _IMAGE_LIMIT, "size")
    app.tariffs.begin(size)
    return [str(size)]


def _tariff_data(app: "App", arguments: "list[str]") -> "list[str]":
    offset = words.number_of(arguments[0], 0, _IMAGE_LIMIT, "offset")
    part = words.octets_of(arguments[1], 0, "a part of an image is hexadecimal digits")
    if not app.tariffs.put(offset, part):
        raise Refusal("a part at " + str(offset) + " does not follow what is here")
    return [str(offset + len(part))]


def _tariff_commit(app: "App", arguments: "list[str]") -> "Iterator[str]":
    number = words.number_of(arguments[0], 1, NUMBER_LIMIT, "tariff")
    trouble = "an image is named by the first 16 hexadecimal digits of its SHA-256"
    name = words.octets_of(arguments[1], NAME_SIZE, trouble)
    tariffs = app.tariffs
    # An image that was sent is written, as its file may have rotted.
    if tariffs.stored_size or tariffs.find(number) is None or tariffs.name(number) != name:
        words.refuse(tariffs.store(number, name))
        yield ""
        words.refuse(app.books.tariff_trouble(number, app.tariffs.stored))
        yield ""
        words.kept(app.books.set_tariff(number, name, app.tariffs.stored_size))
    yield "tariff " + str(number) + " in force"


def _tariff_list(app: "App", arguments: "list[str]") -> "list[str]":
    tariffs = app.tariffs
    lines = ["number sha256 state tiers rates"]
    for number in range(1, NUMBER_LIMIT + 1):
        tariff = tariffs.find(number)
        trouble = tariffs.troubles[number]
        if tariff is not None or trouble:
            sizes = str(tariff.tiers) + " " + str(tariff.rates) if tariff is not None else "- -"
            name = tariffs.name(number).hex()
            lines.append(" ".join((str(number), name, TROUBLE_NAMES[trouble], sizes)))
    return lines


ROWS = (
    ("tariff begin", "SIZE", FULL, "_tariff_begin", ASKED),
    ("tariff data", "OFFSET HEX", FULL, "_tariff_data", ASKED),
    ("tariff commit", "NUMBER SHA256", FULL, "_tariff_commit", ORDERED),
    ("tariff list", "", NOTHING, "_tariff_list", ASKED),
)
