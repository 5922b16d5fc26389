"""Install the product in one of a board's two slots, put it on trial, go back to the old one.

    step                                 slot that starts if the cable is pulled then
    the slot that is not proven: emptied, written, each file checked     the proven one
    boot.py and main.py of the root, when they differ                    the proven one
    pins, settings, clock                                                the proven one
    the slot's list of files                                             the proven one
    trial                                                                the new one, a few times

firmware/boot.py explains the files.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from host.flash.product import Product
from host.flash.prompt import BoardError, Prompt
from host.flash.room import Facts, Taken
from host.words import _

SLOTS = ("a", "b")
STARTS = 3
# The list of a slot's files, and the signature over it.
_SIGNED = ("files", "signature")
MICROPYTHON_OLDEST = (1, 24)
_MPY = (6, 3)
# By number in sys.implementation._mpy.
_ARCHS = (
    *("", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp"),
    *("xtensa", "xtensawin", "rv32imc"),
)

_STARTS_PROVEN = re.compile("dianka: slot ([ab]) starts")

MAIN = b'''\
"""Start what boot.py chose."""

import boot

boot.start()
'''


@dataclass(frozen=True)
class Slot:
    """One slot: the version it holds, "" when it is not whole; 0: it never was healthy."""

    version: str
    healthy: int


@dataclass(frozen=True)
class State:
    """Both slots, which is on trial with its starts left, and which was started ("": none)."""

    slots: dict[str, Slot]
    trial: str
    left: int
    running: str

    @property
    def proven(self) -> str:
        """Return the slot that boot.py starts without a trial; "": there is none."""
        whole = [name for name in SLOTS if self.slots[name].version]
        return max(whole, key=lambda name: self.slots[name].healthy, default="")

    def describe(self, name: str) -> str:
        """Return the version in a slot and its state, in words."""
        slot = self.slots[name]
        if not slot.version:
            return _("empty")
        if name == self.trial and self.left:
            told = _("on trial, {left} more starts").format(left=self.left)
        elif name == self.trial:
            told = _("lost its trial")
        elif name == self.proven:
            told = _("healthy") if slot.healthy else _("not yet healthy")
        elif slot.healthy:
            told = _("was healthy, --rollback starts it")
        else:
            told = _("never started")
        return f"{slot.version}  {told}"


_FACTS = """\
import gc, os, sys
def frozen():
    kept = sys.path[:]
    sys.path[:] = [".frozen"]
    try:
        __import__("concentrator")
        return True
    except ImportError:
        return False
    finally:
        sys.path[:] = kept
def replaces():
    try:
        for name in ("trial~", "probe~"):
            open(name, "w").close()
        os.rename("trial~", "probe~")
        os.remove("probe~")
        return True
    except OSError:
        return False
s = os.statvfs("")
i = sys.implementation
is_frozen = frozen()
gc.collect()
print(repr((sys.platform, tuple(i.version[:3]), getattr(i, "_mpy", 0),
    s[0] * s[3], s[0], is_frozen, replaces(), getattr(i, "_machine", sys.platform),
    gc.mem_free() + gc.mem_alloc())))
"""

_STATE = """\
import sys
def text(name):
    try:
        with open(name) as file:
            return file.readline().strip()
    except (OSError, ValueError):
        return ""
print(repr((text("trial"), [(text(s + "/files"), text(s + "/healthy")) for s in "ab"],
    getattr(sys.modules.get("boot"), "running", ""))))
"""

# Of what these print: see Facts and State.
_FACTS_SHAPE = tuple[str, tuple[int, int, int], int, int, int, bool, bool, str, int]
_STATE_SHAPE = tuple[
    str, Annotated[list[tuple[str, str]], Field(min_length=len(SLOTS), max_length=len(SLOTS))], str
]
_DIGITS = re.compile("[0-9]{1,10}")

_EMPTY = """\
import os
def empty(folder):
    for entry in list(os.ilistdir(folder)):
        path = folder + "/" + entry[0]
        if entry[1] == 0x4000:
            empty(path)
            os.rmdir(path)
        else:
            os.remove(path)
try:
    os.mkdir({slot!r})
except OSError:
    pass
for name in ("/files", "/healthy"):
    try:
        os.remove({slot!r} + name)
    except OSError:
        pass
empty({slot!r})
for folder in {folders!r}:
    os.mkdir({slot!r} + "/" + folder)
"""

_SIZE = """\
import os
def size(folder):
    count = 4 * {block}
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] == 0x4000:
            count += size(path)
        else:
            count += -(-os.stat(path)[6] // {block}) * {block}
    return count
try:
    print(size({folder!r}))
except OSError:
    print(0)
"""

_SHOW = """\
try:
    with open({name!r}) as file:
        print(file.read(), end="")
except (OSError, ValueError):
    pass
"""

_REMOVE = """\
import os
try:
    os.remove({name!r})
except OSError:
    pass
"""

_SETTINGS = """\
import os, sys
sys.path.insert(0, {slot!r} if {slot!r}[:1] == "/" else os.getcwd().rstrip("/") + "/" + {slot!r})
from boards import module_of
from concentrator.settings import Settings
s = Settings(module_of(sys.platform).open_storage())
s.load()
print(s.change_all({pairs!r}, s.leave))
"""

_OPEN = """\
import os, sys
sys.path.insert(0, {slot!r} if {slot!r}[:1] == "/" else os.getcwd().rstrip("/") + "/" + {slot!r})
from boards import BoardError, module_of
try:
    module_of(sys.platform).open_storage({new!r})
except BoardError as error:
    print(error)
"""

_KEEP = """\
import os
try:
    with open({name!r}, "rb") as file:
        foreign = file.read({size}) != {data!r}
except OSError:
    foreign = None
if foreign:
    os.rename({name!r}, {name!r} + ".old")
print(foreign)
"""


def facts(board: Prompt) -> Facts:
    """Look at a board; BoardError when nothing can be installed there."""
    platform, version, mpy, *others = board.told(_FACTS, _FACTS_SHAPE)
    number = mpy >> 10 & 0x0F
    arch = _ARCHS[number] if number < len(_ARCHS) else ""
    found = Facts(platform, version, arch, *others)
    name = ".".join(str(part) for part in version)
    if tuple(version) < MICROPYTHON_OLDEST or (mpy & 0xFF, mpy >> 8 & 3) != _MPY:
        oldest = ".".join(str(part) for part in MICROPYTHON_OLDEST)
        raise BoardError(
            _(
                "MicroPython {name} on the board does not take .mpy files of version "
                "{major}.{minor}: put {oldest} or newer on it"
            ).format(name=name, major=_MPY[0], minor=_MPY[1], oldest=oldest)
        )
    return found


def check(found: Facts) -> None:
    """Raise BoardError when no slots can be made on such a board."""
    if not found.can_replace:
        raise BoardError(
            _(
                "the file system of {name} cannot replace a file in one step, as FAT: erase its "
                "flash and put a MicroPython on it that uses littlefs, or freeze the product into "
                "an image (make image), which needs no slots"
            ).format(name=found.name)
        )


def state(board: Prompt) -> State:
    """Return the state that the board's files tell."""
    trial, slots, running = board.told(_STATE, _STATE_SHAPE)
    words = trial.split()
    is_trial = len(words) == 2 and words[0] in SLOTS and 0 <= _number(words[1], -1) <= STARTS
    name, left = (words[0], int(words[1])) if is_trial else ("", 0)
    return State(
        {
            slot: Slot(version, _number(healthy))
            for slot, (version, healthy) in zip(SLOTS, slots, strict=True)
        },
        name,
        left,
        running,
    )


def _number(text: str, without: int = 0) -> int:
    """Return the number in a file of the board, else what it is `without` one."""
    return int(text) if _DIGITS.fullmatch(text) else without


def hold(board: Prompt) -> None:
    """Have the board restart with nothing started, so that all its heap is free.

    A watchdog that the product has started runs on: only a restart of the board stops it.
    """
    has_watchdog = "watchdog_ms" in board_json(board)
    board.run("open('hold', 'w').close()")
    board.begin_anew(hard=has_watchdog)
    board.run(_REMOVE.format(name="hold"))


def target(now: State) -> str:
    """Return the slot to write to: never the one that starts when a trial fails."""
    return "b" if now.proven == "a" else "a"


def install(
    board: Prompt, slot: str, product: Product, boot: bytes, told: Callable[[int, int], None]
) -> list[str]:
    """Fill `slot` and see that boot.py starts there; return which old files were put aside.

    `told` is called with the bytes written and their total. The slot is not complete yet.
    """
    parts = {name.rpartition("/")[0] for name in product.files}
    folders = sorted(set(_with_parents(parts)))
    board.run(_EMPTY.format(slot=slot, folders=folders))
    size = sum(len(data) for data in product.files.values())
    written = 0
    for name, data in product.files.items():
        told(written, size)
        board.write(f"{slot}/{name}", data)
        written += len(data)
    told(written, size)
    root = (("boot.py", boot), ("main.py", MAIN))
    return [name for name, data in root if put_in_root(board, name, data)]


def taken(board: Prompt, found: Facts) -> Taken:
    """Return what slots and journal take of the board's flash."""
    sizes = [
        board.told(_SIZE.format(folder=folder, block=found.block_size), int)
        for folder in (*SLOTS, "journal")
    ]
    return Taken(dict(zip(SLOTS, sizes, strict=False)), sizes[-1])


def signer(board: Prompt) -> str:
    """Return the public key of which the board takes products, "": it takes any."""
    return board.run(_SHOW.format(name="signer")).strip()


def listing(board: Prompt, slot: str) -> tuple[bytes, str]:
    """Return a slot's list of files, and the signature over it, "" where there is none."""
    held, signature = (board.run(_SHOW.format(name=f"{slot}/{name}")) for name in _SIGNED)
    return held.replace("\r\n", "\n").encode(), signature.strip()


def newest(board: Prompt) -> int:
    """Return the greatest counter of a product that ran healthily, 0: of none."""
    return _number(board.run(_SHOW.format(name="newest")).strip())


def board_json(board: Prompt) -> str:
    """Return the board's own board.json, "" if it has none."""
    return board.run(_SHOW.format(name="board.json"))


def finish(board: Prompt, slot: str, product: Product) -> None:
    """Mark `slot` as complete, with the signature that the product has."""
    if product.signature:
        board.write(f"{slot}/signature", product.signature.encode())
    board.replace(f"{slot}/files", product.listing)


def put_on_trial(board: Prompt, slot: str) -> None:
    """Let `slot` start next, at most STARTS times until it has reported healthy."""
    board.replace("trial", f"{slot} {STARTS}".encode())


def end_trial(board: Prompt) -> None:
    """Have the proven slot start next."""
    board.run(_REMOVE.format(name="trial"))


def resume(board: Prompt, now: State) -> None:
    """Return its start to a product on trial that was interrupted."""
    if now.trial and now.trial == now.running:
        board.replace("trial", f"{now.trial} {min(now.left + 1, STARTS)}".encode())


def open_journal(board: Prompt, slot: str, new: bool) -> None:
    """See that the product in `slot` finds its journal, made first with `new`; BoardError: why."""
    trouble = board.run(_OPEN.format(slot=slot, new=new)).strip()
    if trouble:
        raise BoardError(_("no journal on the board: {trouble}").format(trouble=trouble))


def change_settings(board: Prompt, slot: str, pairs: dict[str, str]) -> None:
    """Have the product in `slot` take settings; BoardError with what it refuses and why."""
    trouble = board.run(_SETTINGS.format(slot=slot, pairs=list(pairs.items()))).strip()
    if trouble:
        raise BoardError(_("settings were not taken: {trouble}").format(trouble=trouble))


def set_clock(board: Prompt, moment: tuple[int, ...]) -> bool:
    """Set the chip's clock to year, month, day, weekday from 0, h, m, s; false if it has none."""
    year, month, day, weekday, hour, minute, second = moment
    code = "import machine, sys\nprint(hasattr(machine, 'RTC'))"
    if board.run(code).strip() != "True":
        return False
    first = 1 if board.run("import sys\nprint(sys.platform)").strip() == "pyboard" else 0
    fields = (year, month, day, weekday + first, hour, minute, second, 0)
    board.run(f"machine.RTC().datetime({fields!r})")
    return True


def await_report(lines: Iterator[str], slot: str) -> Iterator[str]:
    """Yield the board's output until `slot` is healthy; BoardError when it lost its trial.

    Where the output shows neither, the last line is another one.
    """
    said = ""
    for line in lines:
        yield line
        if line == healthy_line(slot):
            return
        lost = _STARTS_PROVEN.fullmatch(line)
        if lost:
            again = _("there is no other")
            if lost[1] != slot:
                again = _("slot {slot} runs again").format(slot=lost[1])
            raise BoardError(
                _(
                    "slot {slot} did not report healthy and lost its trial, {again}; the last it "
                    "said: {said}"
                ).format(slot=slot, again=again, said=said or _("nothing"))
            )
        if line and not line.startswith("dianka: slot "):
            said = line


def healthy_line(slot: str) -> str:
    """Return the line of boot.py when `slot` has reported healthy."""
    return f"dianka: slot {slot} is healthy"


def put_in_root(board: Prompt, name: str, data: bytes) -> bool:
    """Write `data` to `name` in the root; return whether a user's own file was put aside."""
    if board.run(_SHOW.format(name=name)).encode() == data:
        return False
    mark = data[: data.index(b"\n")]
    foreign = board.told(_KEEP.format(name=name, size=len(mark), data=mark), bool | None)
    board.replace(name, data)
    return bool(foreign)


def _with_parents(folders: set[str]) -> Iterator[str]:
    for folder in folders:
        while folder:
            yield folder
            folder = folder.rpartition("/")[0]
