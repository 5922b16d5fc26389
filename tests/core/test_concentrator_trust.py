"""Goal: what happens to a board outside its console is told, and its random numbers hold.

Method: the whole application on a board in memory is started again: with another product, after
changes at the prompt, with and without an installer's seed. Its records are read from the journal.
"""

from struct import pack

from concentrator.console.commands import Commands
from concentrator.console.console import Refusal
from concentrator.entropy import GUESSABLE_TROUBLE, Entropy
from concentrator.settings import Settings
from concentrator_world import Bench, lines_of
from harness import check, equal
from memory_storage import Storage
from technician import Technician
from uplink import record

KEY = bytes(range(16))
SEED = bytes(range(32))
OLD = (1, 11, b"11111111", b"1.0+11111111")
NEW = (2, 12, b"22222222", b"1.1+22222222")


def told(bench: Bench, kind: int) -> "list[bytes]":
    """Return the payloads of the records of this kind, without the zeros behind them."""
    journal = bench.app.journal
    check(journal.sync())
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(journal.first_seq, journal.durable_seq + 1):
        check(journal.read_into(seq, buf))
        if record.kind_at(buf, 0) == kind:
            found.append(bytes(buf[record.PAYLOAD : record.PAYLOAD + 32]))
    return found


def firmware(stage: int, product: "tuple[int, int, bytes, bytes]") -> bytes:
    """Return a FIRMWARE payload as docs/SPEC.md has it."""
    slot, counter, digest, version = product
    return pack("<BBHI", stage, slot, 0, counter) + digest + version + bytes(16 - len(version))


def test_another_product_is_told_once() -> None:
    """Proof: other firmware was put on a board, and no record told of it."""
    bench = Bench()
    for _ in range(2):
        bench.app.books.note_product(OLD, False)
    bench.app.books.note_healthy()
    for _ in range(2):
        check(bench.app.journal.sync())
        bench.restart()
        bench.app.books.note_product(NEW, True)
    bench.app.books.note_healthy()
    check(bench.save())
    bench.restart()
    bench.app.books.note_product(NEW, False)
    bench.app.books.note_healthy()
    equal(
        told(bench, record.FIRMWARE),
        [firmware(1, OLD), firmware(2, NEW), firmware(3, NEW)],
    )


def test_the_way_back_to_an_older_product_is_told_and_its_counter_does_not_fall() -> None:
    bench = Bench()
    for product, is_on_trial in ((OLD, False), (NEW, True), (OLD, False)):
        bench.app.books.note_product(product, is_on_trial)
        check(bench.app.journal.sync())
        bench.restart()
    equal(told(bench, record.FIRMWARE)[-1], firmware(4, OLD))
    equal(bench.app.books.product[1], 12, "boot.py gets it back from here")


def test_an_older_product_without_a_trial_is_told_as_a_way_back() -> None:
    bench = Bench()
    for product in (NEW, OLD):
        bench.app.books.note_product(product, False)
    equal(told(bench, record.FIRMWARE), [firmware(1, NEW), firmware(4, OLD)])


def test_what_was_set_at_the_prompt_is_told_by_the_next_start() -> None:
    """Proof: `dianka flash --set overdraft_fen=..` changed a limit, and no record told of it."""
    bench = Bench()
    bench.stop()
    # This is what host/flash/slots.py runs at the prompt.
    settings = Settings(bench.storage)  # type: ignore[arg-type]  # what it needs of one
    settings.load()
    equal(settings.change_all([("overdraft_fen", "5000")], settings.leave), "")
    equal(settings.change_all([("interval_s", "600")], settings.leave), "")
    for _ in range(2):
        bench.start()
    equal(
        told(bench, record.SETTING),
        [
            pack("<BBBBqq8s", 3, 66, 1, 0, 0, 5000, bytes(8)) + bytes(4),
            pack("<BBBBqq8s", 3, 8, 1, 0, 900, 600, bytes(8)) + bytes(4),
        ],
    )
    equal(bench.app.settings.number("overdraft_fen"), 5000)


def test_the_prompt_takes_nothing_that_it_cannot_leave_to_be_told() -> None:
    storage = Storage()
    settings = Settings(storage)  # type: ignore[arg-type]  # what it needs of one
    storage.append = lambda name, buf, size: False  # type: ignore[method-assign]  # a full flash
    check("flash full" in settings.change_all([("interval_s", "600")], settings.leave))
    equal(settings.number("interval_s"), 900)


def test_what_the_prompt_left_may_be_damaged() -> None:
    for size in (0, 1, 17, 19, 2000):
        bench = Bench()
        bench.storage.replace("untold", b"\xff" * size, size)
        bench.restart()
        check("untold" not in bench.storage.files)


def test_a_session_at_the_prompt_is_told() -> None:
    bench = Bench()
    bench.app.login.tell_prompt()
    check(bench.app.journal.count == 0, "the program ends now")
    equal(told(bench, record.LOGIN), [pack("<BBBBII", 1, 0, 1, 3, 0, 0) + bytes(20)])


def refusal(commands: Commands, text: str) -> str:
    """Return the reason why the command is refused, "" where it was carried out."""
    try:
        lines_of(commands.run(text))
    except Refusal as error:
        return str(error)
    return ""


def test_no_key_and_no_challenge_on_a_board_whose_numbers_can_be_guessed() -> None:
    """Proof: a board without a generator of random numbers made challenges from its timer."""
    bench = Bench()
    app = bench.app
    app.entropy.distrust()
    commands = Commands(app)
    for name in ("console_key", "card_key", "uplink_key"):
        equal(refusal(commands, "set " + name + " " + KEY.hex()), GUESSABLE_TROUBLE)
    equal(app.settings.change("console_key", KEY.hex()), "")
    app.configure()
    equal(refusal(commands, "login begin " + "00" * 16), GUESSABLE_TROUBLE)
    equal(app.settings.change("seed", SEED.hex()), "")
    equal(list(app.entropy.renew()), ["", ""])
    technician = Technician(KEY)
    technician.log_in(commands.run)
    equal(refusal(commands, technician.line("set interval_s 600")), "")


def test_the_seed_is_another_one_at_each_start() -> None:
    bench = Bench()
    equal(bench.app.settings.change("seed", SEED.hex()), "")
    seen = []
    for _ in range(4):
        bench.restart()
        bench.app.entropy.distrust()
        check(bench.app.entropy.is_good)
        seen.append(bench.app.settings.key("seed"))
        for _ in range(8):
            seen.append(pack("<I", bench.app.entropy.draw()))
    equal(len(set(seen)), len(seen), "the board itself always draws 7")
    check(SEED not in seen)
    equal(told(bench, record.SETTING), [], "a seed is nobody's business")


def test_a_seed_that_cannot_be_advanced_is_not_used() -> None:
    storage = Storage()
    settings = Settings(storage)  # type: ignore[arg-type]  # what it needs of one
    equal(settings.change("seed", SEED.hex()), "")
    storage.replace = lambda name, buf, size: False  # type: ignore[method-assign]  # a full flash
    entropy = Entropy(lambda: 7, settings)
    equal(list(entropy.renew()), [])
    entropy.distrust()
    check(not entropy.is_good)
    equal(entropy.draw(), 7)
