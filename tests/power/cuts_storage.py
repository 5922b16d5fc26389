"""Goal: after any power cut a file has the reported content, and a failing flash is
reported as such.

Method: a script of appends, replacements and removals runs again and again on a flash whose power
fails at its first, second, third, .. block operation, torn in three ways; after each the flash is
mounted again and compared with what the calls had answered until then. Then a full flash, one that
refuses every write, and one with foreign content are tried.
"""

from boards import BoardError
from boards.littlefs import LittleStorage, open_filesystem
from cut_flash import (
    BLOCK_SIZE,
    BLOCKS,
    TEARS,
    Flash,
    PowerCut,
    blank,
    cuts,
    erased,
    installed,
    mounted,
)
from harness import check, equal, raises
from ports import NOT_THERE, UNREADABLE

CHUNK = 64


def pattern(number: int, size: int) -> bytes:
    """Return bytes that differ for each number."""
    return bytes((number * 31 + index * 7 + (index >> 8)) & 0xFF for index in range(size))


class Script:
    """These calls of a storage know what each file may hold if the power fails now."""

    def __init__(self, storage: LittleStorage) -> None:
        self.storage = storage
        # This maps a name to its right contents: one between calls, two during a call.
        self.allowed: dict[str, list[bytes]] = {}
        # During an append the old content may have any part of the new bytes behind it.
        self.growing = ""

    def content(self, name: str) -> bytes:
        return self.allowed.get(name, [b""])[0]

    def append(self, name: str, data: bytes) -> None:
        old = self.content(name)
        self.allowed[name] = [old, old + data]
        self.growing = name
        check(self.storage.append(name, data, len(data)), name)
        self.growing = ""
        self.allowed[name] = [old + data]

    def replace(self, name: str, data: bytes) -> None:
        self.allowed[name] = [self.content(name), data]
        check(self.storage.replace(name, data, len(data)), name)
        self.allowed[name] = [data]

    def remove(self, name: str) -> None:
        self.allowed[name] = [self.content(name), b""]
        check(self.storage.remove(name), name)
        self.allowed[name] = [b""]

    def run(self) -> None:
        for number in range(10):
            self.append("j1", pattern(number, CHUNK))
            self.append("j2", pattern(number + 50, 9 * CHUNK))
            if number % 3 == 0:
                self.replace("small", pattern(number, 40))
                self.replace("large", pattern(number, 5000))
            if number == 6:
                self.remove("j1")
        self.remove("large")

    def verify(self, storage: LittleStorage, what: object) -> None:
        for name in self.allowed:
            found = whole(storage, name)
            fine = found in self.allowed[name]
            if name == self.growing:
                old, new = self.allowed[name]
                fine = new[: len(found)] == found and len(found) >= len(old)
            check(fine, (what, name, len(found)))
        for name in storage.names(""):
            check(name in self.allowed, (what, name))


def whole(storage: LittleStorage, name: str) -> bytes:
    size = storage.size(name)
    buf = bytearray(max(size, 0) + 8)
    equal(storage.read_into(name, 0, buf, len(buf)), size, name)
    return bytes(memoryview(buf)[: max(size, 0)])


def test_a_cut_at_every_operation() -> None:
    start = blank()
    mounted(Flash(start))
    rehearsal = Flash(bytearray(start))
    Script(mounted(rehearsal)).run()
    check(rehearsal.operations > 100, rehearsal.operations)
    for cut_at in cuts(rehearsal.operations):
        for tear in TEARS:
            data = bytearray(start)
            flash = Flash(data, cut_at, tear)
            script = Script(mounted(flash))
            raises(PowerCut, script.run)
            storage = mounted(Flash(data))
            script.verify(storage, (cut_at, tear))
            # The flash can then be used further.
            check(storage.replace("small", b"after", 5), cut_at)
            equal(whole(storage, "small"), b"after", cut_at)


def test_a_cut_while_it_is_made() -> None:
    rehearsal = Flash(erased())
    installed(rehearsal)
    for cut_at in cuts(rehearsal.operations):
        for tear in TEARS:
            data = erased()
            raises(PowerCut, installed, Flash(data, cut_at, tear))
            # Nothing was kept there yet; an installer erases a spoilt flash.
            try:
                storage = installed(Flash(data))
            except BoardError:
                storage = installed(Flash(erased()))
            check(storage.append("j1", b"new", 3), (cut_at, tear))


def write_in_parts(storage: LittleStorage) -> None:
    """Write a file of three blocks in parts, with records of another one between them."""
    check(storage.append("j1", pattern(0, CHUNK), CHUNK))
    check(storage.begin("k1"))
    for number in range(12):
        check(storage.put(pattern(number, 1024), 1024), number)
        check(storage.append("j1", pattern(number + 1, CHUNK), CHUNK), number)
    check(storage.remove("k0"))
    check(storage.finish())


def test_a_cut_of_a_file_written_across_steps() -> None:
    start = blank()
    check(mounted(Flash(start)).append("k0", b"before", 6))
    rehearsal = Flash(bytearray(start))
    write_in_parts(mounted(rehearsal))
    expected = b"".join(pattern(number, 1024) for number in range(12))
    for cut_at in cuts(rehearsal.operations):
        for tear in TEARS:
            data = bytearray(start)
            raises(PowerCut, write_in_parts, mounted(Flash(data, cut_at, tear)))
            storage = mounted(Flash(data))
            found = whole(storage, "k1") if storage.size("k1") != NOT_THERE else b""
            check(found in (b"", expected), (cut_at, tear, len(found)))
            records = whole(storage, "j1") if storage.size("j1") != NOT_THERE else b""
            for number in range(len(records) // CHUNK):
                at = number * CHUNK
                equal(records[at : at + CHUNK], pattern(number, CHUNK), (cut_at, tear))
            check(found == b"" or len(records) == 13 * CHUNK, (cut_at, tear))
    # Its blocks are filled one after the other, and none of their bytes is written twice.
    check(rehearsal.operations < 700, rehearsal.operations)


def test_a_file_that_was_begun_is_given_up() -> None:
    data = blank()
    storage = mounted(Flash(data))
    total, free = storage.blocks()
    equal(total, BLOCKS)
    check(0 < free < total, free)
    check(storage.begin("k1"))
    check(storage.put(pattern(1, 9000), 9000))
    check(storage.blocks()[1] < free)
    storage.give_up()
    equal(storage.size("k1"), NOT_THERE)
    equal(storage.blocks(), (total, free))
    check(not storage.put(b"more", 4))
    check(not storage.finish())
    check(storage.begin("k1"))
    check(storage.begin("k2"))
    equal(storage.names("k"), ["k2"])
    number = 0
    while storage.put(pattern(number, BLOCK_SIZE), BLOCK_SIZE):
        number += 1
        check(number < BLOCKS, number)
    equal(storage.names("k"), [])
    check(storage.failures > 0)


def test_a_flash_that_cannot_be_read() -> None:
    flash = Flash(blank())
    storage = mounted(flash)
    check(storage.append("j1", pattern(1, 9000), 9000))
    check(storage.append("j2", pattern(2, 9000), 9000))
    buf = bytearray(100)
    equal(storage.read_into("j1", 0, buf, 100), 100)
    flash.reads_fail = True
    # littlefs caches what it read last; another place is not in the cache.
    equal(storage.read_into("j2", 4500, buf, 100), UNREADABLE)
    equal(storage.size("j2"), UNREADABLE)
    equal(storage.names("j"), None)
    equal(storage.blocks(), (0, 0))
    check(storage.failures >= 4, storage.failures)
    flash.reads_fail = False
    equal(storage.read_into("j2", 4500, buf, 100), 100)
    equal(storage.names("j"), ["j1", "j2"])


def test_reading_a_part() -> None:
    storage = mounted(Flash(blank()))
    check(storage.append("j1", pattern(1, 300), 300))
    buf = bytearray(b"." * 20)
    equal(storage.read_into("j1", 290, buf, 20), 10)
    equal(bytes(buf), pattern(1, 300)[290:] + b"." * 10)
    equal(storage.read_into("j1", 0, buf, 3), 3)
    equal(storage.read_into("j1", 300, buf, 20), 0)
    equal(storage.read_into("j1", 999, buf, 20), 0)
    equal(storage.read_into("none", 0, buf, 20), NOT_THERE)
    equal(storage.size("none"), NOT_THERE)
    check(storage.remove("none"))
    equal(storage.failures, 0)


def test_names_are_those_asked_for_in_order() -> None:
    storage = mounted(Flash(blank()))
    for name in ("j10", "j02", "tariff", "j01"):
        check(storage.append(name, b"x", 1))
    equal(storage.names("j"), ["j01", "j02", "j10"])
    equal(storage.names("t"), ["tariff"])
    equal(storage.names("x"), [])


def test_a_folder_beside_a_program() -> None:
    flash = Flash(blank())
    filesystem = open_filesystem(flash, flash.page)
    file = filesystem.open("/main.mpy", "wb")
    file.write(b"program")
    file.close()
    raises(BoardError, LittleStorage, filesystem, "/journal")
    for new in (True, False):
        storage = LittleStorage(filesystem, "/journal", new)
        check(storage.replace("state", b"kept", 4))
    equal(storage.names(""), ["state"])
    equal(filesystem.stat("/main.mpy")[6], 7)


def test_a_full_flash_refuses_and_keeps() -> None:
    data = blank()
    storage = mounted(Flash(data))
    kept = 0
    while storage.append("j" + str(kept), pattern(kept, BLOCK_SIZE), BLOCK_SIZE):
        kept += 1
        check(kept < BLOCKS, kept)
    check(kept > BLOCKS // 2, kept)
    check(not storage.replace("large", pattern(0, BLOCK_SIZE), BLOCK_SIZE))
    check(storage.failures >= 2, storage.failures)
    for storage in (storage, mounted(Flash(data))):  # noqa: B020 - before and after
        for number in range(kept):
            equal(whole(storage, "j" + str(number)), pattern(number, BLOCK_SIZE), number)
        equal(storage.size("large"), -1)
    check(storage.remove("j0"))
    check(storage.append("j99", pattern(99, BLOCK_SIZE), BLOCK_SIZE))


def test_a_flash_that_refuses_writes() -> None:
    data = blank()
    flash = Flash(data)
    storage = mounted(flash)
    check(storage.append("j1", pattern(1, 100), 100))
    flash.fails = True
    check(not storage.append("j1", pattern(2, 100), 100))
    check(not storage.replace("j1", pattern(2, 100), 100))
    equal(whole(mounted(Flash(data)), "j1"), pattern(1, 100))
    check(storage.failures > 0)


def test_foreign_content_is_not_overwritten() -> None:
    data = erased()
    data[:16] = b"somebody's data!"
    before = bytes(data)
    for new in (False, True):
        why = refusal(data, new)
        check("something else" in why and "copy it" in why, why)
        equal(bytes(data), before)


def refusal(data: bytearray, new: bool = False) -> str:
    """Return the reason why a start refuses this flash, "" when it takes it."""
    flash = Flash(data)
    flash.blocks = len(data) // BLOCK_SIZE
    try:
        open_filesystem(flash, flash.page, new)
    except BoardError as error:
        return str(error)
    return ""


def test_a_start_formats_nothing() -> None:
    """It formats not even a flash that looks new: its first blocks may have been lost."""
    data = erased()
    before = bytes(data)
    check("flash is blank" in refusal(data) and "--format" in refusal(data), refusal(data))
    equal(bytes(data), before)


def test_a_file_system_of_another_size_is_named() -> None:
    data = blank()
    for blocks in (BLOCKS // 2, BLOCKS * 2):
        other = bytearray(b"\xff" * (blocks * BLOCK_SIZE))
        size = min(len(other), len(data))
        other[:size] = data[:size]
        before = bytes(other)
        for new in (False, True):
            why = refusal(other, new)
            made = "flash holds a littlefs made for 24 blocks of 4096 bytes, it has "
            equal(why, made + str(blocks))
        equal(bytes(other), before)


def test_a_damaged_file_system_is_named_and_kept() -> None:
    data = blank()
    for start in (0, BLOCK_SIZE):
        data[start + 40 : start + 80] = bytes(40)
    check("damaged" in refusal(data, True), refusal(data, True))
