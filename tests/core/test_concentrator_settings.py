"""Goal: a setting stays set or is reported as lost; no other value is ever in force, and no damage
opens the console.

Method: every bit of a usual file is turned, in one copy and in both, every size is cut off, each
read and each write fails, and the power is cut at each change. Files of settings that another
build may have left are loaded.
"""

import sys
from binascii import crc32

from concentrator.console.commands import Commands
from concentrator.console.console import Refusal
from concentrator.lamps import LOOK
from concentrator.settings import GOOD, LOCKED_TROUBLE, LOST, ONE_BAD, STORAGE_TROUBLE, Settings
from concentrator_world import START_T2000, Bench
from harness import check, equal
from memory_storage import PowerCut, Storage
from prepay.policy import Policy
from uplink import record
from uplink.record import PAYLOAD, RECORD_SIZE

A, B = "settings-a", "settings-b"
CONSOLE_KEY = "00112233445566778899aabbccddeeff"
USUAL = [
    ("id", "7"),
    ("console_key", CONSOLE_KEY),
    ("card_key", "0f" * 16),
    ("uplink_key", "0e" * 32),
    ("district", "330106"),
    ("overdraft_fen", "200"),
]
# An emulated board is slow: it turns only a few of the bits.
STEP = 97 if sys.maxsize < 1 << 32 else 1


def usual() -> Storage:
    """Return a flash with usual settings, set in two changes."""
    storage = Storage()
    settings = loaded(storage)
    equal(settings.change_all(USUAL), "")
    equal(settings.change("interval_s", "1800"), "")
    return storage


def loaded(storage: Storage) -> Settings:
    """Return the settings of a start from this flash."""
    settings = Settings(storage)
    settings.load()
    return settings


def values(settings: Settings) -> "list[str]":
    """Return all settings in force, secrets too."""
    return [
        settings.key(name).hex() if name.endswith("key") else settings.text(name)
        for name in settings.names()
    ]


def sealed(text: str) -> bytes:
    """Return a whole copy with these lines."""
    content = (text + "generation=5\n").encode()
    digits = hex(crc32(content))[2:].upper()
    return content + ("crc=" + "0" * (8 - len(digits)) + digits + "\n").encode()


def of(text: str) -> Settings:
    """Return the settings of a flash with these lines in both copies."""
    storage = Storage()
    storage.files[A] = storage.files[B] = sealed(text)
    return loaded(storage)


def test_a_new_device_has_defaults_and_an_open_console() -> None:
    storage = Storage()
    settings = loaded(storage)
    equal((settings.health, settings.key("console_key"), storage.files), (GOOD, b"", {}))
    equal(settings.policy().no_cut_weekdays, 0)


def test_what_was_set_comes_back() -> None:
    storage = usual()
    equal(sorted(storage.files), [A, B])
    equal(storage.files[A], storage.files[B])
    settings = loaded(storage)
    equal((settings.health, settings.number("interval_s")), (GOOD, 1800))
    equal(settings.key("console_key").hex(), CONSOLE_KEY)


def test_no_turned_bit_changes_a_value_or_opens_the_console() -> None:
    storage = usual()
    expected = values(loaded(storage))
    whole = dict(storage.files)
    for bit in range(0, 8 * len(whole[A]), STEP):
        for name in (A, B):
            storage.files = dict(whole)
            storage.turn_bit(name, bit)
            settings = loaded(storage)
            equal(settings.health, ONE_BAD, (name, bit))
            equal(values(settings), expected, (name, bit))
            # There are two copies again, and the next start has nothing to report.
            equal(storage.files, whole, (name, bit))
        storage.files = dict(whole)
        storage.turn_bit(A, bit)
        storage.turn_bit(B, bit)
        damaged = dict(storage.files)
        settings = loaded(storage)
        equal(settings.health, LOST, bit)
        equal(settings.change("interval_s", "900"), LOCKED_TROUBLE, bit)
        equal(storage.files, damaged, bit)


def test_no_size_that_is_left_changes_a_value() -> None:
    storage = usual()
    expected = values(loaded(storage))
    whole = dict(storage.files)
    for size in range(0, len(whole[A]), STEP):
        storage.files = {A: whole[A][:size], B: whole[B]}
        settings = loaded(storage)
        equal((settings.health, values(settings)), (ONE_BAD, expected), size)
        storage.files = {A: whole[A][:size]}
        equal(loaded(storage).health, LOST, size)


def test_whatever_bytes_there_are_loading_raises_nothing() -> None:
    noise = bytes(range(256)) * 9
    for content in (
        b"",
        b"\n",
        b"\xff" * 2048,
        noise,
        b"id=\xc3\x28\n",
        b"crc=00000000\n",
        b"\ngeneration=1\ncrc=",
        sealed("id=7\n")[:-1],
        sealed("id=7\n") + b"\n",
    ):
        storage = Storage()
        storage.files[A] = storage.files[B] = content
        equal(loaded(storage).health, LOST, content[:20])
    # In a whole copy, bytes that form no text are passed over.
    content = b"id=\xc3\x28\ndistrict=5\n\ngeneration=3\n"
    digits = hex(crc32(content))[2:].upper()
    storage = Storage()
    storage.files[A] = content + ("crc=" + "0" * (8 - len(digits)) + digits + "\n").encode()
    settings = loaded(storage)
    equal((settings.health, settings.number("id"), settings.number("district")), (GOOD, 0, 5))


def test_a_read_that_fails_makes_no_new_device() -> None:
    storage = usual()
    expected = values(loaded(storage))
    whole = dict(storage.files)
    for look in range(1, 7):
        storage.looks, storage.look_fails = 0, look
        settings = loaded(storage)
        equal((settings.health, values(settings)), (GOOD, expected), look)
    storage.looks_fail = True
    for look in range(1, 7):
        storage.looks, storage.look_fails = 0, look
        settings = loaded(storage)
        if settings.health == LOST:
            equal(look, 1)
            equal(settings.change("interval_s", "900"), LOCKED_TROUBLE)
        else:
            equal(values(settings), expected, look)
        equal(storage.files, whole, look)


def test_a_change_is_whole_or_not_at_all() -> None:
    for cut_at in range(3):
        for kept_percent in (0, 100):
            storage = usual()
            settings = loaded(storage)
            storage.cut, storage.kept_percent = cut_at, kept_percent
            trouble = ""
            try:
                trouble = settings.change_all([("id", "8"), ("interval_s", "60")])
            except PowerCut:
                trouble = "the power failed"
            equal(trouble == "", cut_at == 2)
            storage.cut = -1
            settings = loaded(storage)
            found = settings.number("id"), settings.number("interval_s")
            taken = cut_at > 0 or kept_percent > 0
            equal(found, (8, 60) if taken else (7, 1800), (cut_at, kept_percent))
            equal((settings.health, storage.files[A]), (GOOD, storage.files[B]))
            equal(settings.change("id", "9"), "")
            equal(loaded(storage).number("id"), 9)


def test_a_change_writes_once_in_a_step_and_two_changes_at_a_time_are_both_kept() -> None:
    for given_up in (False, True):
        storage = usual()
        settings = loaded(storage)
        noted: list[int] = []

        def note(
            changes: "list[tuple[int, int, bytes, bytes]]", noted: "list[int]" = noted
        ) -> bool:
            noted.append(len(changes))
            return True

        one = settings.steps([("id", "8")], note)
        equal((next(one), noted, settings.number("id")), ("", [1], 7), "it is only noted")
        equal(settings.change("interval_s", "60"), "")
        copies = [storage.files[name] for name in (A, B)]
        equal((next(one), settings.number("id")), ("", 8))
        equal([storage.files[name] == copies[0] for name in (A, B)].count(True), 1, "one write")
        equal(loaded_number(storage, "id"), 8)
        equal(settings.change("district", "5"), "", "and one between the two copies")
        if not given_up:
            equal((next(one), next(one, "end")), ("", "end"))
        for name in (A, B):
            other = Storage()
            other.files = {name: storage.files[name]}
            for setting, value in (("id", 8), ("interval_s", 60), ("district", 5)):
                equal(loaded_number(other, setting), value, (given_up, name))


def loaded_number(storage: Storage, name: str) -> int:
    """Return a setting of a start from a copy of this flash."""
    copy = Storage()
    copy.files = storage.files.copy()
    return loaded(copy).number(name)


def test_a_copy_that_is_not_taken_is_told_and_written_first_next_time() -> None:
    storage = usual()
    settings = loaded(storage)
    storage.failing = "settings"
    equal((settings.change("id", "8"), settings.number("id")), (STORAGE_TROUBLE, 7))
    for name, other in ((A, B), (B, A)):
        storage.failing = ""
        settings = loaded(storage)
        equal(settings.change("id", "5"), "")
        storage.failing = name
        trouble = settings.change("id", "6")
        equal((trouble, settings.health) in (("", ONE_BAD), (STORAGE_TROUBLE, GOOD)), True, name)
        storage.failing = ""
        equal(loaded(storage).number("id"), 5 if trouble else 6)
        equal(settings.change("id", "6"), "")
        equal((settings.health, storage.files[A]), (GOOD, storage.files[B]), other)


def test_where_settings_are_lost_the_console_is_locked_and_nobody_is_cut() -> None:
    bench = Bench()
    equal(bench.app.settings.change_all(USUAL), "")
    for name in (A, B):
        bench.storage.turn_bit(name, 300)
    damaged = [bench.storage.files[name] for name in (A, B)]
    bench.restart()
    app = bench.app
    equal((app.settings.health, app.login.is_open), (LOST, False))
    check(app.signals() & LOOK, "lamp 2 is lit")
    check(app.books.policy.no_cut_at(START_T2000), "nobody is cut")
    commands = Commands(app)
    check("settings lost" in commands.run("status"))
    for text in (
        "set overdraft_fen 99999999",
        "login begin 00",
        "login 0011",
        "account restore 1 00",
    ):
        try:
            commands.run(text)
            check(False, text)
        except Refusal as refusal:
            equal(str(refusal), LOCKED_TROUBLE)
    equal([bench.storage.files[name] for name in (A, B)], damaged)
    equal(start_health(bench), LOST)


def test_one_damaged_copy_is_told_and_changes_nothing() -> None:
    bench = Bench()
    equal(bench.app.settings.change_all(USUAL), "")
    bench.storage.turn_bit(B, 300)
    bench.restart()
    check("settings one_copy" in Commands(bench.app).run("status"))
    check(not bench.app.login.is_open, "it has its key")
    equal((bench.app.books.number, start_health(bench)), (7, ONE_BAD))


def start_health(bench: Bench) -> int:
    """Return what the newest START record reports of the settings."""
    journal = bench.app.journal
    check(journal.sync())
    buf = bytearray(RECORD_SIZE)
    health = -1
    for seq in range(journal.first_seq, journal.next_seq):
        if journal.read_into(seq, buf) and record.kind_at(buf, 0) == record.START:
            health = buf[PAYLOAD + 1]
    return health


def test_values_out_of_range_keep_their_defaults() -> None:
    default = Settings(Storage())
    for name, tried in (
        ("interval_s", ("59", "86401", "-900", "", "x", "9 0", "1e3")),
        ("clock_limit_s", ("2", "301")),
        ("relay_1997", ("2",)),
        ("hoarding_limit_fen", ("0", "100000000")),
        ("password", ("020000", "0200000000", "0200000x")),
        ("uplink_key", ("5a" * 15, "5a" * 65)),
    ):
        for value in tried:
            settings = of("district=4711\n" + name + "=" + value + "\nid=7\n")
            equal(settings.text(name), default.text(name), name + "=" + value)
            equal((settings.number("district"), settings.number("id")), (4711, 7))


def test_values_at_their_limits_are_taken() -> None:
    settings = of("interval_s=60\nclock_limit_s=300\nuplink_key=" + "5a" * 64 + "\n")
    equal((settings.number("interval_s"), settings.number("clock_limit_s")), (60, 300))
    equal(settings.key("uplink_key"), b"\x5a" * 64)


def test_unknown_names_and_broken_lines_are_passed_over() -> None:
    settings = of("colour=blue\n=5\ninterval_s\n\nid=7\n")
    equal(settings.number("id"), 7)
    equal(settings.names(), Settings(Storage()).names())


def test_a_week_without_cuts_is_nobodys_setting() -> None:
    policy = Policy()
    policy.no_cut_weekdays = 127
    check("no day to cut" in policy.check())
