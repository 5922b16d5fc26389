"""Choose what the board runs: one of two slots, folders a and b, each the whole product.

    SLOT/files      "VERSION COUNTER", then "SHA-256 NAME" for each installed file; written last:
                    without it the slot is not whole
    SLOT/healthy    a number, greatest in the slot that reported last that it is healthy
    trial           "SLOT LEFT": the slot on trial and the starts that it has left
    newest          the greatest counter of a product that reported healthy
    hold            the next start starts nothing, because a product is installed over the cable

A new product is on trial: it has a few starts to report that it is healthy. If it does not, the
slot that reported last starts again. Every file is replaced by renaming, so a power cut leaves the
old or the new one. On a board without slots nothing is changed.

Every file of a slot is compared with its SHA-256 before the slot starts: one that has changed is
not started, and the other slot is. A product on trial must not be older than the newest that
reported healthy.
"""

import hashlib
import os
import sys
from binascii import hexlify
from os import listdir

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    import machine

SLOTS = ("a", "b")
# A new product may start this often without a report.
STARTS = const(3)
# The time that a product on trial has, in ms. A start with a full journal and the time until a
# healthy product reports are shorter.
DEADLINE_MS = const(300000)

_TEMPORARY = "~"
_TEXT_LIMIT = const(32)
_CHUNK = const(512)
_FOLDER = const(0x4000)
# The files of a slot that its list does not name.
_BESIDE = ("files", "healthy", "signature")

# The slot that `choose` chose, "" for none, and the timer that restarts a silent board on trial.
running = ""
# The number of the slot that was compared last, 0: none of the two; the counter of its product,
# the beginning of its list's SHA-256, and its version.
product = (0, 0, b"", b"")
_timer: "machine.Timer | None" = None


def choose() -> str:
    """Choose the slot to run and put it first on the path; return it, "" if there is none."""
    global running
    running = ""
    if _remove("hold"):
        return running
    slot, left = trial()
    # Without a durable count a faulty product could restart the board without end.
    if left and _may_try(slot) and put("trial", slot + " " + str(left - 1)):
        running = slot
    else:
        first = proven()
        for slot in (first, "b" if first == "a" else "a"):
            if not running and is_whole(slot) and is_sound(slot):
                running = slot
    if running:
        sys.path.insert(0, os.getcwd().rstrip("/") + "/" + running)
    return running


def start() -> None:
    """Run the chosen slot; on trial, a slot that fails or stays silent restarts the board."""
    if not running:
        print("dianka: no slot to start")
        return
    status = 1
    if trial()[0] == running:
        print("dianka: slot", running, "starts on trial,", trial()[1], "more")
        _limit_time()
    else:
        print("dianka: slot", running, "starts")
    try:
        import main

        status = main.main()
    except Exception as error:
        sys.print_exception(error)
    finally:
        # After ^C a technician is at the prompt, and the timer must not restart the board.
        _end_limit()
    if status and trial()[0] == running:
        import machine

        machine.reset()


def confirm(known: int = 0) -> bool:
    """Record that the running slot is healthy; return false if the flash refused.

    `known` is the greatest counter of which the product itself knows.
    """
    _end_limit()
    if running and max(known, product[1]) > counter("newest"):
        put("newest", str(max(known, product[1])))
    if not running or (trial()[0] != running and proven() == running and _number(running)):
        return True
    number = max(_number("a"), _number("b")) + 1
    done = put(running + "/healthy", str(number))
    if done:
        _remove("trial")
        print("dianka: slot", running, "is healthy")
    return done


def trial() -> "tuple[str, int]":
    """Return the slot on trial, "" for none, and how many starts it has left."""
    words = _get("trial").split()
    if len(words) == 2 and words[0] in SLOTS and words[1].isdigit() and int(words[1]) <= STARTS:
        return words[0], int(words[1])
    return "", 0


def proven() -> str:
    """Return the whole slot that reported healthy last, else any whole slot, "" for none."""
    found = ""
    for slot in SLOTS:
        if is_whole(slot) and (not found or _number(slot) > _number(found)):
            found = slot
    return found


def is_sound(folder: str) -> bool:
    """Return whether `folder` has the files of its list, as they were installed, and no others."""
    global product
    whole = hashlib.sha256()
    version = count = ""
    place = 0
    try:
        with open(folder + "/files") as file:
            for place, line in enumerate(file):
                whole.update(line.encode())
                first, _, second = line.strip().partition(" ")
                if place == 0:
                    version, count = first, second
                    continue
                path = folder + "/" + second
                digest = first.encode()
                if digest_of(path) != digest:
                    print("dianka: changed since it was installed:", path)
                    return False
            if _count(folder) != place:
                print("dianka: files were added to slot", folder)
                return False
    except (OSError, ValueError) as error:
        print("dianka: slot", folder, "cannot be read:", error)
        return False
    number = SLOTS.index(folder) + 1 if folder in SLOTS else 0
    counted = int(count) if count.isdigit() else 0
    product = (number, counted, whole.digest()[:8], version.encode()[:16])
    return True


def _count(folder: str) -> int:
    """Return the count of files in the folder and below, without those beside the list."""
    count = 0
    for name in listdir(folder):
        path = folder + "/" + name
        if os.stat(path)[0] & 0xF000 == _FOLDER:
            count += _count(path)
        elif name.rstrip(_TEMPORARY) not in _BESIDE:
            count += 1
    return count


def digest_of(path: str) -> bytes:
    """Return the SHA-256 of the file as hexadecimal digits."""
    digest = hashlib.sha256()
    buf = bytearray(_CHUNK)
    view = memoryview(buf)
    with open(path, "rb") as file:
        while True:
            size = file.readinto(buf)
            if not size:
                return hexlify(digest.digest())
            digest.update(view[:size])


def _may_try(slot: str) -> bool:
    """Return whether the slot on trial is sound, and not older than what was accepted."""
    if not is_whole(slot) or not is_sound(slot):
        return False
    if product[1] < counter("newest"):
        print("dianka: slot", slot, "is older than a product that was accepted")
        return False
    return True


def is_whole(slot: str) -> bool:
    """Return whether every file of the slot was written."""
    try:
        os.stat(slot + "/files")
    except OSError:
        return False
    return True


def _number(slot: str) -> int:
    return counter(slot + "/healthy")


def counter(name: str) -> int:
    """Return the number in the file, 0 without one."""
    text = _get(name)
    return int(text) if text.isdigit() else 0


def _limit_time() -> None:
    """Restart the board after DEADLINE_MS, on a port that has timers."""
    global _timer
    import machine

    if hasattr(machine, "Timer"):
        _timer = machine.Timer(0 if sys.platform == "esp32" else -1)
        _timer.init(
            mode=machine.Timer.ONE_SHOT, period=DEADLINE_MS, callback=lambda _: machine.reset()
        )


def _end_limit() -> None:
    global _timer
    if _timer is not None:
        _timer.deinit()
        _timer = None


def _get(name: str) -> str:
    """Return the text of the file, "" when it is missing, unreadable or no text."""
    try:
        with open(name) as file:
            text: str = file.read(_TEXT_LIMIT)
            return text
    except (OSError, ValueError):
        return ""


def put(name: str, text: str) -> bool:
    """Give the file new content, all or nothing; return false if the flash refused."""
    try:
        with open(name + _TEMPORARY, "w") as file:
            file.write(text)
        os.rename(name + _TEMPORARY, name)
    except OSError:
        return False
    return True


def _remove(name: str) -> bool:
    """Delete the file; return false if there was none."""
    try:
        os.remove(name)
    except OSError:
        return False
    return True


# MicroPython runs this file first; main.py and the product import it again as a module.
if __name__ == "__main__":
    import boot

    boot.choose()
