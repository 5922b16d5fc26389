"""Goal: without a session the console shows no account, changes nothing and sends no question.

Method: each command runs with valid arguments on a concentrator with a console key: without a
session, in one for reading and in a full one. All state that it could change is compared.
"""

from hashlib import sha256
from struct import pack, unpack

from concentrator.books.tariffs import name_of
from concentrator.console.commands import Commands
from concentrator.console.console import Refusal
from concentrator_world import Bench, lines_of
from harness import check, equal
from ports import EVENT_DOOR, EVENT_SUPPLY
from tariff_images import ENDLESS, image, ladder, terms
from technician import Technician
from uplink import link, record
from uplink.record import RECORD_SIZE

KEY = b"\x11" * 16
# The account of the bench is 23, its meter 983764.
LOOKING = (
    "help",
    "login begin 00",
    "login 00",
    "logout",
    "status",
    "counters",
    "time",
    "settings",
    "tariff list",
    "card",
)
READING = (
    "journal 1 1",
    "meter list",
    "account 23",
    "account standing 23",
    "line answer 0",
)
CHANGING = (
    "time 2026-01-02 03:04:05",
    "set interval_s 600",
    "clock",
    "text 2026-12-24 08:00:00 x",
    "save",
    "meter add 5 6 1",
    "meter remove 23",
    "meter exchange 23 5 1 1",
    "account set 23 grade 1",
    "account used 23 100",
    "account moved 23",
    "account resume 23",
    "account new 23",
    "account restore 23 00",
    "supply 23 cut",
    "line ask 0 1 11",
    "freezes 23 2026-01-02",
    "line data 0 0 11",
    "line scan 0",
    "line speed 0 9600",
    "restored",
    "card unlock",
    "tariff begin 10",
    "tariff data 0 00",
    "tariff commit 1 0",
)
FROM_ABOVE = ("credit 23 1 5000 1122334455667788",)


def test_a_part_of_the_board_offers_a_command() -> None:
    bench = Bench()
    app = bench.app
    run = Commands(app).run
    app.offer("log", "BACK", False, lambda number: [str(number)])
    app.offer("prompt", "", True, lambda number: ["opens"])
    check("log [BACK]" in run("help"))
    equal((run("log"), run("log 7"), run("prompt")), (["0"], ["7"], ["opens"]))
    for command, why in (
        ("log x", "BACK is a number from 1 to 9999"),
        ("log 1 2", "usage: log [BACK]"),
        ("prompt 1", "usage: prompt"),
    ):
        try:
            run(command)
            check(False)
        except Refusal as refusal:
            equal(str(refusal), why)
    equal(app.balance_fen(0), app.ledger.balance_fen(0))
    app.settings.change("console_key", KEY.hex())
    app.configure()
    for command in ("log", "prompt"):
        try:
            run(command)
            check(False)
        except Refusal as refusal:
            equal(str(refusal), "log in with the console key first")


def test_a_long_answer_is_made_line_by_line_and_again_for_a_repeat() -> None:
    bench = Bench(3)
    app = bench.app
    got: list[tuple[int, bytes]] = []
    bench.console._answer = lambda kind, seq, body, now_ms: got.append((kind, body))  # type: ignore[method-assign]  # it is kept
    check(app.journal.sync())
    for command in ("meter list", "journal 1 2", "journal 99 1"):
        expected = [line.encode() for line in lines_of(Commands(app).run(command))]
        ran: list[str] = []
        run = app.console._run
        app.console._run = lambda text, run=run, ran=ran: ran.append(text) or run(text)  # type: ignore[misc]  # it is noted
        for _ in range(2):
            bench.console.say(link.COMMAND, 7, command.encode(), bench.now_ms)
            steps = len(got)
            while not got[steps:] or got[-1][0] != link.REPLY:
                bench.step()
                check(len(app.console._answer) <= 2, "not all of it is in memory")
            answer = got[steps:]
            equal([kind for kind, _ in answer[:-1]], [link.PART] * (len(answer) - 1))
            equal([body for _, body in answer[:-1]], expected[:-1])
            equal(answer[-1][1], b"\0" + (expected[-1] if expected else b""))
        equal(ran, [command], "it was carried out once")
        app.console._run = run


def test_a_long_command_changes_one_thing_on_flash_in_a_step() -> None:
    """A tariff is written to its file in one step, and put in force by a record in the next."""
    bench = Bench()
    got: list[bytes] = []
    bench.console._answer = lambda kind, seq, body, now_ms: got.append(body)  # type: ignore[method-assign]  # it is kept
    number = 0
    for why, answer in (("", b"\0tariff 1 in force"), ("j", b"\x01flash full or failing")):
        price = 70000000 + number
        data = image(2, 1, (ladder((), (price, 30000000)),), (terms(0, ENDLESS),))
        for text in (
            "tariff begin " + str(len(data)),
            "tariff data 0 " + data.hex(),
            "tariff commit 1 " + name_of(data).hex(),
        ):
            number += 1
            bench.console.say(link.COMMAND, number, text.encode(), bench.now_ms)
            got.clear()
            bench.storage.failing = why if "commit" in text else ""
            most = 0
            while not got:
                before = bench.storage.changes
                bench.step()
                most = max(most, bench.storage.changes - before)
        equal(got[0][: len(answer)], answer)
        check(most <= (2 if why else 1), most)
    bench.storage.failing = ""


def test_a_setting_is_changed_by_one_write_in_a_step() -> None:
    bench = Bench()
    got: list[bytes] = []
    bench.console._answer = lambda kind, seq, body, now_ms: got.append(body)  # type: ignore[method-assign]  # it is kept
    check(bench.app.journal.sync())
    for seq, (text, writes) in enumerate(
        (("set overdraft_fen 5", 3), ("set seed " + "5a" * 32, 4), ("set interval_s 600", 3))
    ):
        bench.console.say(link.COMMAND, seq, text.encode(), bench.now_ms)
        got.clear()
        changes = bench.storage.changes
        while not got:
            before = bench.storage.changes
            bench.step()
            check(bench.storage.changes - before <= 1, text)
        equal((got[0][0], bench.storage.changes - changes), (0, writes), text)
    equal(bench.app.books.policy.overdraft_fen, 5)


def test_a_long_command_ends_before_the_next_connection_is_served() -> None:
    bench = Bench()
    bench.console.say(link.COMMAND, 1, b"set overdraft_fen 5", bench.now_ms)
    while not bench.app.console.is_in_steps:
        bench.step()
    bench.console.connection += 1
    for _ in range(20):
        bench.step()
    check(not bench.app.console.is_in_steps)
    equal(bench.app.books.policy.overdraft_fen, 5)
    equal(bench.storage.files["settings-a"], bench.storage.files["settings-b"])
    equal(bench.app.console._connection, bench.console.connection)


def test_a_failing_supply_makes_everything_durable() -> None:
    bench = Bench()
    app = bench.app
    app.journal.sync()
    durable_seq = app.journal.durable_seq
    app.note_event(EVENT_DOOR, 1)
    equal(app.journal.durable_seq, durable_seq)
    app.note_event(EVENT_SUPPLY, 1)
    equal(app.journal.durable_seq, durable_seq + 2)
    buf = bytearray(RECORD_SIZE)
    for place in range(2):
        check(app.journal.read_into(durable_seq + 1 + place, buf))
        equal((record.kind_at(buf, 0), record.event_at(buf, 0)), (record.EVENT, (1 + place, 1, 0)))


def locked() -> Bench:
    """Return a bench with a console key and without a session."""
    bench = Bench()
    bench.read_all()
    equal(bench.app.settings.change("console_key", KEY.hex()), "")
    bench.app.configure()
    return bench


def refusal(commands: Commands, text: str) -> str:
    """Return the reason why the command is refused, "" where it was carried out."""
    try:
        lines_of(commands.run(text))
    except Refusal as error:
        return str(error)
    return ""


def state(bench: Bench) -> "list[object]":
    """Return all state that a command could change."""
    app = bench.app
    columns = app.ledger.columns() + app.registry.columns() + app.tariffs.columns()
    exchange = app.pollers[0].exchange
    return [
        bench.moved_s,
        dict(bench.storage.files),
        app.journal.next_seq,
        app.settings.text("interval_s"),
        (exchange.state, exchange.place, app.tariffs.stored_size),
        [bytes(memoryview(column)) for column in columns],
    ]


def test_without_a_login_nothing_is_changed() -> None:
    bench = locked()
    commands = Commands(bench.app)
    before = state(bench)
    for text in READING + CHANGING:
        check(refusal(commands, text).startswith("log in"), text)
        equal(state(bench), before, text)


def test_without_a_login_health_and_counters_can_be_looked_at() -> None:
    commands = Commands(locked().app)
    for text in LOOKING:
        check(not refusal(commands, text).startswith("log in"), text)


def test_the_read_key_shows_accounts_and_changes_nothing() -> None:
    bench = locked()
    commands = Commands(bench.app)
    technician = Technician(KEY)
    technician.log_in(commands.run, 2)
    for text in READING:
        check(not refusal(commands, technician.line(text)).startswith("log in"), text)
        check(refusal(commands, text).startswith("log in"), "without its number and MAC")
    before = state(bench)
    for text in CHANGING:
        check(refusal(commands, technician.line(text)).startswith("log in"), text)
        equal(state(bench), before, text)


def test_a_full_session_changes_and_its_lines_count_once() -> None:
    bench = locked()
    commands = Commands(bench.app)
    technician = Technician(KEY)
    technician.log_in(commands.run)
    line = technician.line("set interval_s 600")
    equal(lines_of(commands.run(line)), ["interval_s 600"])
    check("carried out already" in refusal(commands, line))
    check(refusal(commands, "set interval_s 700").startswith("log in"))
    check("not a line of this session" in refusal(commands, technician.line("save")[:-1] + "x"))
    for text in ("1", "1 ", "1 save", "1234567890 save 00", "9  save 0011223344556677"):
        check(refusal(commands, text), text)
    check(refusal(commands, technician.line("save")).startswith("the session is over"))
    bench.app.login._failures = 0
    technician.log_in(commands.run)
    hidden = technician.wrap(b"k" * 16)
    line = technician.line("set card_key " + hidden.hex())
    equal(lines_of(commands.run(line)), ["card_key (set)"])
    equal(bench.app.settings.key("card_key"), b"k" * 16)
    equal(commands.run(technician.line("logout")), ["logged out"])
    check(refusal(commands, technician.line("save")).startswith("the session is over"))


def test_nobody_makes_money_at_the_console() -> None:
    text = "credit 23 1 5000 1122334455667788"
    for bench in (Bench(), locked()):
        commands = Commands(bench.app)
        before = state(bench)
        equal(refusal(commands, text), "only the head-end says this, or a card")
        if bench.app.login.key:
            technician = Technician(KEY)
            technician.log_in(commands.run)
            equal(
                refusal(commands, technician.line(text)), "only the head-end says this, or a card"
            )
        equal(state(bench)[3:], before[3:], "but for the record of the login")


def test_every_command_is_one_of_these() -> None:
    names = []
    for line in Commands(locked().app).run("help"):
        words = [word for word in line.split() if word.isalpha() and word == word.lower()]
        names.append(" ".join(words[:2]))
    known = [" ".join(text.split()[:2]) for text in LOOKING + READING + CHANGING + FROM_ABOVE]
    for name in names:
        check(any(text == name or text.split()[0] == name for text in known), name)
    equal(len(names), len(LOOKING) + len(READING) + len(CHANGING) + len(FROM_ABOVE))


def test_no_secret_is_shown_with_or_without_a_login() -> None:
    bench = locked()
    secrets = {"password": "02a1b2c3", "operator": "0a0b0c0d", "card_key": "0f" * 16}
    for name in secrets:
        equal(bench.app.settings.change(name, secrets[name]), "")
    commands = Commands(bench.app)
    for _ in range(2):
        shown = "\n".join(commands.run("settings"))
        for name in secrets:
            check(name + " (set)" in shown, name)
            check(secrets[name] not in shown, name)
        bench.app.login.key = b""


def told(bench: Bench) -> "list[tuple[int, bytes]]":
    """Return kind and payload of the records of who did what."""
    app = bench.app
    app.journal.sync()
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(app.journal.first_seq, app.journal.durable_seq + 1):
        app.journal.read_into(seq, buf)
        kind = record.kind_at(buf, 0)
        if kind in (record.LOGIN, record.SETTING):
            equal(record.index_at(buf, 0), record.NO_INDEX)
            found.append((kind, bytes(buf[record.PAYLOAD : record.PAYLOAD + 28])))
    return found


def test_logins_and_settings_are_told() -> None:
    """Proof: whoever had the console changed limits and keys, and no record told of it."""
    bench = locked()
    run = Commands(bench.app).run
    old = sha256(bench.app.settings.key("card_key")).digest()[:8]
    technician = Technician(KEY)
    technician.log_in(run)
    lines_of(run(technician.line("set overdraft_fen 5000")))
    lines_of(run(technician.line("set overdraft_fen 5000")))
    lines_of(run(technician.line("set card_key " + technician.wrap(b"k" * 16).hex())))
    lines_of(run(technician.line("set password " + technician.wrap(b"1234").hex())))
    run(technician.line("logout"))
    nobody = bytes(8)
    key = sha256(b"k" * 16).digest()[:8]
    found = told(bench)
    session = unpack("<I", found[0][1][8:12])[0]
    equal(
        found,
        [
            (record.LOGIN, pack("<BBBBII", 1, 1, 1, 1, 0, session) + bytes(16)),
            (record.SETTING, pack("<BBBBqq8s", 1, 66, 1, 0, 0, 5000, nobody)),
            (record.SETTING, pack("<BBBB8s8s8s", 1, 4, 2, 0, old, key, nobody)),
            # A short secret could be found from its hash.
            (record.SETTING, pack("<BBBB8s8s8s", 1, 9, 2, 0, nobody, nobody, nobody)),
            (record.LOGIN, pack("<BBBBII", 3, 1, 1, 1, 0, session) + bytes(16)),
        ],
    )


def test_refused_logins_do_not_fill_the_journal() -> None:
    bench = locked()
    app = bench.app
    commands = Commands(app)
    for attempt in range(300):
        app.login.step(attempt * 30000)
        begun = commands.run("login begin " + "00" * 16)
        check(len(begun) == 1)
        check(refusal(commands, "login " + "00" * 16))
    refused = [payload for kind, payload in told(bench) if kind == record.LOGIN]
    check(2 <= len(refused) <= 3, len(refused))
    equal(refused[0][:8], pack("<BBBBI", 2, 0, 1, 1, 1))


def test_a_setting_that_cannot_be_told_is_not_changed() -> None:
    bench = Bench()
    app = bench.app
    app.books.note_settings = lambda *told: False  # type: ignore[method-assign]  # a full flash
    check("flash full" in refusal(Commands(app), "set interval_s 600"))
    equal(app.settings.text("interval_s"), "900")
