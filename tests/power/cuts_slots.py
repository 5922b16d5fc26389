"""Goal: boot.py always finds a slot to start if one is whole, gives up a product on trial after
its starts are used up, and keeps one that reported healthy; this holds for every power cut and
every damage.

Method: the real boot.py on a littlefs whose power fails at each block operation of choosing and of
confirming, torn in three ways, from every state; after each the board starts again until the trial
is over. Then files with foreign content, and a flash that refuses writes.
"""

import hashlib
import os
import sys
from binascii import hexlify

import boot
import vfs
from boards.littlefs import open_filesystem
from cut_flash import TEARS, Flash, PowerCut, blank
from harness import check, equal

PLACE = "/flash"

# Each case tells what was done to a flash before: files and their content.
A = {"a/files": "", "a/healthy": "1"}
A_NEW_B = {"a/files": "", "a/healthy": "1", "b/files": ""}
A_HALF_B = {"a/files": "", "a/healthy": "1", "b/main.mpy": "half"}
NEW_A_B = {"a/files": "", "b/files": "", "b/healthy": "2"}
BOTH = {"a/files": "", "a/healthy": "1", "b/files": "", "b/healthy": "2"}


def on(state: dict[str, str], trial: str) -> dict[str, str]:
    """Return the state with a trial."""
    more = state.copy()
    more["trial"] = trial
    return more


# Each row has the state, the slot that starts next, and the slot after a failed trial.
STATES: tuple[tuple[dict[str, str], str, str], ...] = (
    ({}, "", ""),
    ({"trial": "a 3"}, "", ""),
    ({"a/files": ""}, "a", "a"),
    ({"a/files": "", "trial": "a 3"}, "a", "a"),
    (A, "a", "a"),
    (A_HALF_B, "a", "a"),
    (on(A_HALF_B, "b 3"), "a", "a"),
    (A_NEW_B, "a", "a"),
    (on(A_NEW_B, "b 3"), "b", "a"),
    (on(A_NEW_B, "b 1"), "b", "a"),
    (on(A_NEW_B, "b 0"), "a", "a"),
    (BOTH, "b", "b"),
    (on(BOTH, "b 2"), "b", "b"),
    (on(BOTH, "a 3"), "a", "b"),
    (on(NEW_A_B, "a 3"), "a", "b"),
    ({"a/healthy": "9", "b/files": "", "b/healthy": "2"}, "b", "b"),
)
DAMAGES = ("", "b", "c 3", "b x", "b -1", "b 3 3", "\x00\xff\x80", "b 4", "b " + "9" * 99)


def mount(flash: Flash) -> None:
    """Mount the flash, as the port does before boot.py runs."""
    os.chdir("/")
    try:  # noqa: SIM105 - MicroPython has no contextlib
        vfs.umount(PLACE)
    except OSError:
        pass
    vfs.mount(open_filesystem(flash, flash.page), PLACE)
    os.chdir(PLACE)


def put(name: str, text: str) -> None:
    with open(name, "w") as file:
        file.write(text)


def made(state: dict[str, str]) -> bytearray:
    """Return a flash in that state."""
    data = blank()
    mount(Flash(data))
    for slot in boot.SLOTS:
        os.mkdir(slot)
    for name, text in state.items():
        put(name, text)
    return data


def choose() -> str:
    """Return the slot that starts; check that the path agrees and is otherwise as before."""
    before = list(sys.path)
    slot = boot.choose()
    equal(sys.path, ([PLACE + "/" + slot] if slot else []) + before)
    sys.path[:] = before
    return slot


def cut(data: bytearray, cut_at: int, tear: str, work: object) -> bool:
    """Start and do `work` until the power fails; return whether it failed."""
    flash = Flash(data, cut_at, tear)
    mount(flash)
    before = list(sys.path)
    try:  # noqa: SIM105 - MicroPython has no contextlib
        work()  # type: ignore[operator]  # any callable; no typing on the device
    except PowerCut:
        pass
    sys.path[:] = before
    return flash.operations > cut_at


def starts_until(data: bytearray, last: str, what: object) -> int:
    """Start until no trial is left; return the number of starts. The trial ends with `last`."""
    for count in range(boot.STARTS + 1):
        mount(Flash(data))
        slot, left = boot.trial()
        chosen = choose()
        if not (left and boot.is_whole(slot)):
            equal(chosen, last, what)
            return count
        equal(chosen, slot, what)
    raise AssertionError(str(what) + ": the trial does not end")


def test_each_state_starts_and_ends_as_it_should() -> None:
    for state, first, last in STATES:
        data = made(state)
        mount(Flash(data))
        left = boot.trial()[1]
        equal(choose(), first, state)
        check(starts_until(data, last, state) <= max(left - 1, 0), state)


def test_a_cut_while_it_chooses() -> None:
    count = 0
    for state, first, last in STATES:
        start = made(state)
        for tear in TEARS:
            cut_at = 0
            while True:
                data = bytearray(start)
                if not cut(data, cut_at, tear, boot.choose):
                    break
                what = (state, cut_at, tear)
                check(starts_until(bytearray(data), last, what) <= boot.STARTS, what)
                mount(Flash(data))
                check(choose() in (first, last), what)
                cut_at += 1
                count += 1
    check(count > 10, count)


def choose_and_confirm() -> None:
    boot.choose()
    boot.confirm()


def test_a_cut_while_it_confirms() -> None:
    count = 0
    for state, first, last in STATES:
        if not first:
            continue
        start = made(state)
        for tear in TEARS:
            cut_at = 0
            while cut(data := bytearray(start), cut_at, tear, choose_and_confirm):
                what = (state, cut_at, tear)
                mount(Flash(data))
                check(choose() in (first, last), what)
                mount(Flash(data))
                # One of the two slots is kept for good, whether the report was durable or not.
                proven = boot.proven()
                check(proven in (first, last), what)
                starts_until(data, proven, what)
                cut_at += 1
                count += 1
    check(count > 20, count)


def test_the_confirmed_one_stays() -> None:
    for state, first, _ in STATES:
        if first:
            data = made(state)
            mount(Flash(data))
            equal(choose(), first)
            check(boot.confirm(), state)
            for _ in range(boot.STARTS + 2):
                mount(Flash(data))
                equal(choose(), first, state)


def test_confirming_again_writes_nothing() -> None:
    data = made(on(A_NEW_B, "b 3"))
    for operations in (True, False):
        flash = Flash(data)
        mount(flash)
        choose()
        before = flash.operations
        check(boot.confirm())
        equal(flash.operations > before, operations)


def test_damaged_files_lead_to_what_is_proven() -> None:
    for damage in DAMAGES:
        data = made(on(A_NEW_B, damage))
        mount(Flash(data))
        equal(choose(), "a", damage)
        data = made(on(NEW_A_B, damage))
        mount(Flash(data))
        equal(choose(), "b", damage)
        data = made({"b/files": "", "b/healthy": damage})
        mount(Flash(data))
        equal(choose(), "b", damage)


def test_a_start_that_cannot_be_counted_is_not_made() -> None:
    flash = Flash(made(on(A_NEW_B, "b 3")))
    mount(flash)
    flash.fails = True
    equal(choose(), "a")
    check(not boot.is_whole("c"))


def test_a_flash_that_refuses_is_not_healthy() -> None:
    flash = Flash(made(on(A_NEW_B, "b 3")))
    mount(flash)
    equal(choose(), "b")
    flash.fails = True
    check(not boot.confirm())


def test_hold_is_for_one_start() -> None:
    data = made({"a/files": "", "hold": ""})
    mount(Flash(data))
    equal(choose(), "")
    mount(Flash(data))
    equal(choose(), "a")


class Machine:
    """This board counts its restarts and has no timers."""

    restarts = 0

    @staticmethod
    def reset() -> None:
        Machine.restarts += 1


def start_with(program: str) -> int:
    """Start a product on trial whose main.py is this; return how often it restarted the board."""
    digest = hexlify(hashlib.sha256(program.encode()).digest()).decode()
    listed = A_NEW_B.copy()
    listed["b/files"] = "0.2.0 7\n" + digest + " main.py\n"
    mount(Flash(made(on(listed, "b 3"))))
    put("b/main.py", program)
    before = list(sys.path)
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]  # a class plays one
    kept = modules.get("machine")
    modules["machine"] = Machine
    modules.pop("main", None)
    Machine.restarts = 0
    try:
        boot.choose()
        boot.start()
    finally:
        sys.path[:] = before
        del modules["machine"]
        if kept is not None:
            modules["machine"] = kept
    return Machine.restarts


def test_a_product_that_fails_on_trial_restarts_the_board() -> None:
    equal(start_with("1 // 0"), 1)
    equal(start_with("def main():\n    return 2"), 1)
    equal(start_with("def main():\n    raise OSError(5)"), 1)
    equal(start_with("def main():\n    return 0"), 0)
    equal(start_with("import boot\nboot.confirm()\n1 // 0"), 0)


class Timer:
    """This is the only timer of a board; `callback` is None after it was stopped."""

    ONE_SHOT = 0
    callback: object = None

    def __init__(self, number: int) -> None: ...

    def init(self, mode: int, period: int, callback: object) -> None:
        equal((mode, period), (Timer.ONE_SHOT, boot.DEADLINE_MS))
        Timer.callback = callback

    def deinit(self) -> None:
        Timer.callback = None


def test_a_silent_trial_is_restarted_where_there_are_timers() -> None:
    Machine.Timer = Timer  # type: ignore[attr-defined]  # of some boards only
    try:
        silent = "import machine\ndef main():\n    machine.Timer.callback(0)\n    return 0"
        equal(start_with(silent), 1)
        equal(Timer.callback, None)
        # There is no deadline after a report of health, or at the prompt.
        report = (
            "import boot\nboot.confirm()\nimport machine\nassert machine.Timer.callback is None"
        )
        equal(start_with(report + "\ndef main():\n    return 0"), 0)
        equal(start_with("def main():\n    return 0"), 0)
        equal(Timer.callback, None)
    finally:
        del Machine.Timer  # type: ignore[attr-defined]  # of some boards only
