"""Receive another product, part by part, into the slot that does not run, and put it on trial.

    firmware need NAME                  what is missing: lines "PLACE SIZE"
    firmware data PLACE OFFSET BASE64   a part of the file in that place, from that offset on
    firmware try NAME                   the product is whole: it starts on trial

NAME is the beginning of the SHA-256 of the product's list `files`, which is in place 0. The files
that it names follow in its order, and the signature comes last. SIZE is what the slot has of a
file: who sends goes on from there, or begins again where the file is as long as it should be and
wrong all the same. What the running slot has already is copied and not sent.

boot.py starts a slot with a list, so the list is called `files~` until the product is put on
trial. A break, or a start, loses at most the parts that were not written yet. Only a product in a
slot has this module; boot.py explains slots.
"""

import binascii
import os

from concentrator.console.console import Refusal
from concentrator.console.words import ASKED, ORDERED, number_of
from concentrator.login import FULL
from concentrator.settings import STORAGE_TROUBLE
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from concentrator.console.words import App
    from ports import Timing

_LIST = "files~"
_SIGNATURE = "signature"
_DIGITS = const(16)
_PLACES = const(999)
_MOST = const(0x3FFFFFFF)
# Parts are gathered to this many bytes before they are written.
_GATHERED = const(1024)
_CHUNK = const(512)
_CHUNKS_A_STEP = const(8)
# What an update leaves free for the journal, in bytes.
_FREE_LEAST = const(65536)
_FOLDER = const(0x4000)


class _Receiver:
    """The product that is received: the file in `place` has `size` bytes, `parts` included.

    sound   the name of the product that is whole in the slot
    """

    def __init__(self) -> None:
        self.boot: Any = None
        self.board: Timing | None = None
        self.place = -1
        self.size = 0
        self.parts = bytearray()
        self.sound = ""


_here = _Receiver()


def commands_of(boot: "Any", board: "Timing") -> "dict[str, Any]":
    """Return the names of this module, once a slot was started."""
    _here.boot, _here.board = boot, board
    return globals()


def _firmware_need(app: "App", arguments: "list[str]") -> "Iterator[str]":
    try:
        yield from _need(arguments)
    except OSError:
        raise Refusal(STORAGE_TROUBLE) from None


def _need(arguments: "list[str]") -> "Iterator[str]":
    name = _name_of(arguments[0])
    slot = _slot()
    _here.sound = ""
    _write()
    listing = slot + "/" + _LIST
    if _digest(listing)[:_DIGITS] != name:
        listing = slot + "/files"
        if _digest(listing)[:_DIGITS] != name:
            yield "0 0"
            return
    missing = False
    place = 0
    for digest, name_of_file in _rows(listing):
        yield ""
        place += 1
        path = slot + "/" + name_of_file
        if _digest(path) == digest:
            continue
        copied = _here.boot.running + "/" + name_of_file
        if _digest(copied) == digest:
            yield ""
            yield from _copy(copied, path)
            continue
        missing = True
        yield str(place) + " " + str(max(0, _size(path)))
    place += 1
    if _size(slot + "/" + _SIGNATURE) <= 0:
        yield str(place) + " 0"
    if missing:
        return
    for path in _others(slot, listing):
        yield ""
        _change(os.remove, path)
    _here.sound = name


def _firmware_data(app: "App", arguments: "list[str]") -> "list[str]":
    try:
        return [str(_put(arguments))]
    except OSError:
        _here.place = -1
        raise Refusal(STORAGE_TROUBLE) from None


def _put(arguments: "list[str]") -> int:
    """Take a part of a file; return how much of it is here."""
    place = number_of(arguments[0], 0, _PLACES, "place")
    offset = number_of(arguments[1], 0, _MOST, "offset")
    try:
        part = binascii.a2b_base64(arguments[2])  # type: ignore[attr-defined]  # no stub
    except ValueError:
        part = b""
    if not part:
        raise Refusal("a part of a product is in base64")
    slot = _slot()
    _here.sound = ""
    if place != _here.place or offset == 0:
        _write()
        path = _path(slot, place)
        _here.place = -1
        if offset == 0:
            _begin(slot, path)
        _here.place, _here.size = place, max(0, _size(path))
    if offset + len(part) == _here.size:
        return _here.size  # it came before
    if offset != _here.size:
        raise Refusal("the file has " + str(_here.size) + " bytes: go on from there")
    _here.parts.extend(part)
    _here.size += len(part)
    if len(_here.parts) >= _GATHERED:
        _write()
    return _here.size


def _firmware_try(app: "App", arguments: "list[str]") -> "list[str] | Callable[[], Iterator[str]]":
    name = _name_of(arguments[0])
    boot = _here.boot
    if binascii.hexlify(boot.product[2]).decode() == name:
        return ["it runs"]
    slot = _slot()
    if _here.sound != name:
        raise Refusal("it is not whole: `firmware need` tells what is missing")
    listing = slot + "/" + _LIST
    try:
        if _size(listing) >= 0:
            _judge(listing)
            _change(os.rename, listing, slot + "/files")
    except OSError:
        raise Refusal(STORAGE_TROUBLE) from None
    if not boot.put("trial", slot + " " + str(boot.STARTS)):
        raise Refusal(STORAGE_TROUBLE)
    return _restart


def _judge(listing: str) -> None:
    """Raise Refusal for a product that is older than one that was healthy here."""
    with open(listing) as file:
        counter = file.readline().strip().partition(" ")[2]
    if (int(counter) if counter.isdigit() else 0) < _here.boot.counter("newest"):
        raise Refusal("it is older than a product that was healthy here")


ROWS = (
    ("firmware need", "NAME", FULL, "_firmware_need", ASKED),
    ("firmware data", "PLACE OFFSET BASE64", FULL, "_firmware_data", ASKED),
    ("firmware try", "NAME", FULL, "_firmware_try", ORDERED),
)


def _restart() -> "Iterator[str]":
    """Restart the board; the outcome of the command is durable by now."""
    yield "it starts on trial"
    import machine

    if hasattr(machine, "reset"):
        machine.reset()
    raise SystemExit(0)  # a process of a computer is started again by its service


def _slot() -> str:
    """Return the slot that does not run; Refusal while the running one is on trial."""
    boot = _here.boot
    if boot.trial()[0] == boot.running:
        raise Refusal("the product that runs is on trial: wait until it is healthy")
    return "b" if boot.running == "a" else "a"


def _name_of(text: str) -> str:
    """Return the name of a product; Refusal if it is none."""
    name = text.lower()
    if len(name) != _DIGITS or name.strip("0123456789abcdef"):
        raise Refusal("a product is named by the first 16 digits of its list's SHA-256")
    return name


def _path(slot: str, place: int) -> str:
    """Return the path of the file in a place; Refusal if the list has no such place."""
    if place == 0:
        return slot + "/" + _LIST
    listing = slot + "/" + _LIST
    if _size(listing) > 0:
        for _digest_there, name in _rows(listing):
            place -= 1
            if place == 0:
                return slot + "/" + name
        place -= 1
    if place == 0:
        return slot + "/" + _SIGNATURE
    raise Refusal("the list has no such place: send it first")


def _rows(listing: str) -> "Iterator[tuple[str, str]]":
    """Yield SHA-256 and name of each file of a list; Refusal for a name outside of its slot."""
    with open(listing) as file:
        file.readline()
        for line in file:
            digest, _, name = line.strip().partition(" ")
            if not name or name[0] == "/" or ".." in name:
                raise Refusal("the list names a file that is none")
            yield digest, name


def _begin(slot: str, path: str) -> None:
    """Make an empty file, with its folders; a new list ends what the slot had."""
    found = os.statvfs(os.getcwd())
    if found[0] * found[3] < _FREE_LEAST:
        raise Refusal("there is no room for another product")
    if path.endswith("/" + _LIST):
        for name in ("files", "healthy", _SIGNATURE):
            if _size(slot + "/" + name) >= 0:
                _change(os.remove, slot + "/" + name)
    at = path.find("/")
    while at > 0:
        if _size(path[:at]) < 0:
            _change(os.mkdir, path[:at])
        at = path.find("/", at + 1)
    _append(path, b"", "wb")


def _write() -> None:
    """Write the parts that were gathered."""
    if _here.parts:
        parts, _here.parts = _here.parts, bytearray()
        place, _here.place = _here.place, -1
        _append(_path(_slot(), place), parts, "ab")
        _here.place = place


def _copy(source: str, target: str) -> "Iterator[str]":
    """Copy a file in steps."""
    _begin("", target)
    with open(source, "rb") as file:
        while True:
            part = file.read(_CHUNK * _CHUNKS_A_STEP)
            if not part:
                return
            _append(target, part, "ab")
            yield ""


def _append(path: str, data: "bytes | bytearray", mode: str) -> None:
    """Add to a file, once no request leaves."""
    if _here.board is not None:
        _here.board.calm()
    with open(path, mode) as file:
        file.write(data)


def _change(action: "Callable[..., object]", *names: str) -> None:
    """Change the folder, once no request leaves."""
    if _here.board is not None:
        _here.board.calm()
    action(*names)


def _others(slot: str, listing: str) -> "list[str]":
    """Return the files of the slot that its list does not name."""
    others = []
    folders = [slot]
    while folders:
        folder = folders.pop()
        for name in os.listdir(folder):
            path = folder + "/" + name
            if os.stat(path)[0] & 0xF000 == _FOLDER:
                folders.append(path)
                continue
            is_own = folder == slot and name in (_LIST, "files", "healthy", _SIGNATURE)
            if not is_own and not _is_listed(listing, path[len(slot) + 1 :]):
                others.append(path)
    return others


def _is_listed(listing: str, name: str) -> bool:
    return any(one == name for _digest_there, one in _rows(listing))


def _size(path: str) -> int:
    """Return the size of a file or folder, -1: there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


def _digest(path: str) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, "": there is none."""
    try:
        digest: str = _here.boot.digest_of(path).decode()
        return digest
    except OSError:
        return ""
