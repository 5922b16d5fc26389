"""Goal: no account is charged by an image with a turned bit or a missing part; an image that
cannot be read costs no household anything, and is in force again when it can be read.

Method: an image in force on flash in memory; every bit of its file turned, every cut of it tried,
its reads failing; the whole application starts and goes on without it.
"""

from hashlib import sha256

from concentrator.books.tariffs import (
    MISSING,
    ROTTEN,
    UNREADABLE,
    Tariffs,
    file_name,
    name_of,
)
from concentrator.console.commands import Commands
from concentrator.lamps import LOOK
from concentrator_world import Bench
from harness import check, equal
from memory_storage import Storage
from prepay.accounts import STOPPED
from tariff_images import ENDLESS, image, ladder, terms

IMAGE = image(1, 2, (ladder((1000,), (50000000, 60000001)),), (terms(0, ENDLESS),))
NAME = name_of(IMAGE)
FILE = file_name(1, NAME)
INDEX = 0


def activated(data: bytes) -> bool:
    """Return whether tariff 1 can be used when its file has this content."""
    storage = Storage()
    storage.files[FILE] = data
    tariffs = Tariffs(storage)
    good = tariffs.activate(1, NAME)
    equal(tariffs.find(1) is not None, good)
    return good


def test_no_turned_bit_and_no_cut_counts() -> None:
    check(activated(IMAGE))
    for bit in range(8 * len(IMAGE)):
        data = bytearray(IMAGE)
        data[bit >> 3] ^= 1 << (bit & 7)
        check(not activated(bytes(data)), bit)
    for size in range(len(IMAGE)):
        check(not activated(IMAGE[:size]), size)


def test_an_image_that_did_not_arrive_whole_is_not_stored() -> None:
    storage = Storage()
    tariffs = Tariffs(storage)
    tariffs.begin(len(IMAGE))
    check(tariffs.put(0, IMAGE[:20]))
    check(not tariffs.put(21, IMAGE[21:]), "a part is missing")
    check(tariffs.store(1, NAME) != "")
    data = bytearray(IMAGE[20:])
    data[5] ^= 1
    check(tariffs.put(20, bytes(data)))
    check(tariffs.store(1, NAME) != "")
    equal(storage.names("t"), [])
    check(tariffs.put(20, IMAGE[20:]), "the last part may come again")
    equal((tariffs.store(1, NAME), storage.names("t")), ("", [FILE]))


def test_an_image_is_named_by_its_sha256() -> None:
    equal(NAME, sha256(IMAGE).digest()[:8])
    equal(FILE, "t01-" + NAME.hex()[:12])
    storage = Storage()
    tariffs = Tariffs(storage)
    tariffs.begin(len(IMAGE))
    check(tariffs.put(0, IMAGE))
    check("SHA-256" in tariffs.store(1, NAME[:7] + b"!"))
    equal(tariffs.store(1, NAME), "")
    check(tariffs.activate(1, NAME))
    equal((tariffs.number_of(NAME), tariffs.number_of(bytes(8))), (1, 0))
    equal((tariffs.name(1), tariffs.name(2)), (NAME, bytes(8)))


def test_what_is_wrong_is_told_and_tried_again() -> None:
    for trouble in (MISSING, UNREADABLE, ROTTEN):
        storage = Storage()
        if trouble != MISSING:
            storage.files[FILE] = IMAGE[:-1] + b"!" if trouble == ROTTEN else IMAGE
        storage.looks_fail = trouble == UNREADABLE
        tariffs = Tariffs(storage)
        check(not tariffs.activate(1, NAME))
        for _ in range(2):
            equal((tariffs.troubles[1], tariffs.is_troubled), (trouble, True))
            equal((tariffs.find(1), tariffs.number_of(NAME)), (None, 0))
            tariffs.load()
        storage.looks_fail = False
        storage.files[FILE] = IMAGE
        tariffs.load()
        equal((tariffs.troubles[1], tariffs.is_troubled, tariffs.number_of(NAME)), (0, False, 1))


def hidden(bench: Bench) -> bytes:
    """Take the image in force away; return it."""
    (name,) = bench.storage.names("t") or ()
    return bench.storage.files.pop(name)


def figures(bench: Bench) -> "tuple[int, ...]":
    """Return the account's money, energy and register; its period is found with the tariff."""
    one = bench.app.ledger
    return tuple([column[INDEX] for column in one.columns() if column is not one.period_t2000])


def test_readings_are_replayed_without_their_tariff() -> None:
    bench = Bench()
    bench.read_all()
    bench.insert(bench.card(1, 5000))
    bench.meters[0].wh[0] += 777
    bench.read_all()
    check(bench.app.journal.sync())
    before = figures(bench)
    check(before[1] > 0, "charged")
    data = hidden(bench)
    bench.restart()
    equal(figures(bench), before)
    app = bench.app
    equal((app.ledger.flags[INDEX] & STOPPED, app.tariffs.troubles[1]), (0, MISSING))
    check(app.signals() & LOOK, "a technician is needed")
    lines = Commands(app).run("tariff list")
    check("missing - -" in lines[1], lines[1])
    check("tariffs_unusable 1" in Commands(app).run("status"))
    # Nothing is charged until it is there again; then all is charged, and the account goes on.
    bench.meters[0].wh[0] += 200
    bench.read_all()
    equal(figures(bench), before)
    bench.storage.files[file_name(1, app.tariffs.name(1))] = data
    bench.run(60)
    equal(app.tariffs.troubles[1], 0)
    bench.read_all()
    equal(app.ledger.debit_fen[INDEX], before[1] + 10)


def test_a_read_that_fails_at_the_start_is_made_good_without_a_restart() -> None:
    bench = Bench()
    bench.read_all()
    check(bench.save())
    read_into = bench.storage.read_into
    failing = True

    def read(name: str, offset: int, buf: bytearray, size: int) -> int:
        return -2 if failing and name[0] == "t" else read_into(name, offset, buf, size)

    bench.storage.read_into = read  # type: ignore[method-assign]  # a fault
    bench.restart()
    equal(bench.app.tariffs.troubles[1], UNREADABLE)
    failing = False
    bench.run(60)
    check(bench.app.tariffs.find(1) is not None)
    equal(len(bench.storage.names("t") or ()), 1, "nothing was swept away")
