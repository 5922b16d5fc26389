"""Goal: what once went wrong at a station's counter or at its head-end cannot come back.

Method: ROWS names, for each mistake that was met, the tests that hold it; each of them is looked
up. The tests of this file are those that fit nowhere else.
"""

import csv
import io
import json
import re
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames import batch
from host.frames.link import Kind, LinkReader
from host.frames.record import RecordKind
from host.headend import database, keys, orders
from host.headend.ingest import Ingest
from host.headend.store import Store
from host.link.card import CARD_SIZE
from host.units import t2000_of_unix
from host.words import speak
from tests.host.uplink_world import (
    JOURNAL,
    KEYS,
    account_name,
    deliver,
    frame,
    hello,
    meter_address,
    village_of,
)

NAME = account_name(0)
HERE = Path(__file__).parent
ROWS = {
    "a plain copy of a running database is empty": "counter.a_backup_is_whole_while",
    "an empty or foreign database agrees": "counter.nothing_to_compare database.another_file",
    "an order number is given out twice after a restore": "standing.orders_are_numbered_above_all",
    "after a restore it sells before it knows": "counter.nothing_is_sold_after_a_restore",
    "an order that a card has used is sold again": "rows.an_order_that_was_never_sold_here",
    "a mistyped sale blocks the account": "counter.a_mistyped_sale supersede.a_void_before",
    "a voided card still brings its money": "supersede.the_old_card_first supersede.the_new_card",
    "a refund that is changed has two amounts": "supersede.a_refund_that_is_changed",
    "a repeated sale sells twice": "counter.a_sale_under_a_reference desk.killed_while_it_sells",
    "amounts like 1e3, 1_000 or full width are taken": "cli.sell_mistakes rows.amounts_are_plain",
    "any amount is sold without a question": "counter.much_money_is_asked counter.the_limits",
    "a list of cards that differs is called issued": "card_shop.a_list_that_differs",
    "a replacement is typed by hand": "supersede.a_lost_card_is_replaced",
    "nothing lists the orders of an account": "counter.a_mistyped_sale",
    "the day begins eight hours off": "counter.a_day_is_the_stations rows.a_day_by_cashier",
    "an old database is a traceback": "database.a_database_of_each_schema database.another_file",
    "a reader needs write access": "database.readers_take_no_lock database.a_copy_on_a_medium",
    "a report waits for a writer": "store.looking_does_not_wait",
    "a locked database is a traceback": "rows.a_locked_database",
    "a full disk sells": "database.without_room",
    "tables cut figures in a pipe": "counter.lists_have_whole_figures rows.a_pipe_cuts_no_figure",
    "no list has --json or --csv": "rows.every_list_has_every_form",
    "an account's history is nowhere": "rows.the_history_of_an_account",
    "findings and gaps stay for ever": "findings. counter.findings_are_open",
    "nobody says who is online, how far behind, why refused": "counter.who_is_there",
    "the keys are read once; SIGHUP kills": "server.serve_stops rows.a_key_for_the_uplink",
    "nothing makes the key file, none looks at its mode": "rows.a_key_for_the_uplink",
    "the database is open to others": "database.a_new_database_says",
    "a short account number is refused": "cli.a_short_account explain_cli.one_file_and_a",
    "a list in GB18030, or of Notepad, is refused": "rows.a_list_of_any_program",
    "a wrong list is taken in part": "cli.a_wrong_list rows.a_list_that_is_wrong",
    "two meters of one second make a difference for ever": "store.two_readings_in_one_second",
    "refunded before it was redeemed": "cli.nothing_is_refunded_before",
    "a card made alone has the number of the next sale": "rows.no_order_takes_a_number",
    "a list of cards is not known to the counter": "rows.a_list_of_cards_is_noted",
    "a new board is taken unseen, or never": "rows.a_new_board ingest.another_journal",
    "no version, clock or journal of a concentrator is told": "rows.who_is_there_has_version",
    "a line that is silent is shown nowhere": "rows.a_line_that_is_silent",
    "a sale fails while another program writes": "rows.a_sale_waits",
    "a server in UTC puts clocks eight hours off": "clock.a_greeting_is_told clock.a_command",
    "the log of cards has neither --json nor --csv": "card_log.the_log_is_listed",
    "the log repeats a refusal every three seconds": "gate.a_flood_is_one_line",
    "an old database is served": "database.another_file_is_not_served",
}


def names_of(module: str) -> set[str]:
    """Return the tests of a module of this folder."""
    path = HERE / f"test_headend_{module}.py"
    if not path.exists():
        path = HERE / f"test_{module}.py"
    return set(re.findall(r"^def test_(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_its_test(row: str) -> None:
    for place in ROWS[row].split():
        module, _dot, begins = place.partition(".")
        assert any(name.startswith(begins) for name in names_of(module)), place


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Make two households without differences."""
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        for row in range(2):
            orders.sell(store, account_name(row), 10000, orders.Till("Li", "counter"))
        deliver(Ingest(store, KEYS), village_of(2, 5))
    return path


def run(*words: object, lang: str = "en", typed: str = "") -> Result:
    """Run `dianka headend WORDS`."""
    try:
        return CliRunner().invoke(cli, ["--lang", lang, "headend", *map(str, words)], input=typed)
    finally:
        speak("en")


def test_an_order_that_was_never_sold_here_is_not_sold_again(db: Path) -> None:
    with Store(db) as store, store.writing() as database:
        database.run('DELETE FROM orders WHERE "order" = 1')
    told = json.loads(run("sell", "--db", db, "--account", "1", "--amount", "3", "--json").output)
    assert told["order"] == 2


@pytest.mark.parametrize(
    "amount",
    [
        "1e3",
        "1_000",
        "1,000",
        "１００",
        " 100",
        "100 ",
        "+100",
        "-100",
        "0x64",
        "",
        "١٠٠",
        "1.",
        ".5",
    ],
)
@pytest.mark.parametrize("command", ["sell", "refund", "limits"])
def test_amounts_are_plain_digits(db: Path, amount: str, command: str) -> None:
    option = "--sale" if command == "limits" else "--amount"
    who = () if command == "limits" else ("--account", NAME)
    result = run(command, "--db", db, *who, f"{option}={amount}")
    assert (result.exit_code, "is not yuan like 50 or 49.95" in result.output) == (2, True)


def test_a_day_by_cashier_and_channel(db: Path) -> None:
    sell = ("sell", "--db", db, "--account", NAME)
    run(*sell, "--amount", "30", "--cashier", "Wang", "--channel", "pos")
    run(*sell, "--amount", "5", "--cashier", "Wang", "--channel", "pos")
    void = ("void", "--db", db, "--account", NAME, "--order", "3", "--reason", "typo")
    run(*void, "--cashier", "Li")
    day = ("day", "--db", db)
    rows = json.loads(run(*day, "--json").output)["day"]
    told = [(one["cashier"], one["channel"], one["sold_fen"], one["taken_fen"]) for one in rows]
    assert told == [
        ("Li", "counter", 20000, 20000),
        ("Li", "pos", 0, -500),
        ("Wang", "pos", 3500, 3500),
    ]
    assert [one["voids"] for one in rows] == [0, 1, 0]
    (only,) = json.loads(run(*day, "--cashier", "Wang", "--json").output)["day"]
    assert only["sales"] == 2
    each = list(csv.DictReader(io.StringIO(run(*day, "--each", "--csv").output)))
    assert [row["amount_fen"] for row in each] == ["10000", "10000", "3000", "500"]
    said = run(*day).output
    assert "3 cashiers and channels, 230.00 yuan taken, 0.00 to pay back" in said
    assert "收" in run(*day, lang="zh").output
    assert run(*day, "--date", "2026-02-30").exit_code == 2


LISTS = (
    *(("show",), ("concentrators",), ("findings",), ("orders", NAME), ("history", NAME)),
    *(("day",), ("day", "--each"), ("items",)),
)


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_every_list_has_every_form(db: Path, words: tuple[str, ...]) -> None:
    for form in ("--json", "--csv", None):
        told = run(*words, "--db", db, *([form] if form else []))
        assert told.exit_code == 0, told.output
        if form == "--json":
            assert isinstance(json.loads(told.output), dict)
        if form == "--csv":
            assert list(csv.reader(io.StringIO(told.output)))
    assert run(*words, "--db", db, "--json", "--csv").exit_code == 2
    assert run(*words, "--db", db, lang="zh").exit_code == 0


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_a_pipe_cuts_no_figure(
    db: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert "…" not in run(*words, "--db", db).output


def test_the_history_of_an_account_has_its_records(db: Path) -> None:
    run("void", "--db", db, "--account", NAME, "--order", "9", "--reason", "none")
    run("sell", "--db", db, "--account", NAME, "--amount", "7", "--cashier", "Li")
    run("void", "--db", db, "--account", NAME, "--order", "2", "--reason", "typo")
    words = ("history", NAME, "--db", db)
    rows = json.loads(run(*words, "--json").output)["history"]
    assert [row["what"] for row in rows] == ["redeemed", "sale", "sale", "taken back"]
    redeemed = rows[0]
    assert (redeemed["amount_fen"], redeemed["concentrator"]) == (10000, 7)
    with Store(db) as store:
        payload = store.value("SELECT payload FROM records WHERE seq = ?", (redeemed["seq"],))
    assert redeemed["record"] == bytes(payload).hex()
    assert rows[-1]["detail"]["why"] == "typo"
    read = json.loads(run(*words, "--readings", "--json").output)["history"]
    assert [row["what"] for row in read].count("reading") == 6
    day = redeemed["time"][:10]
    only = json.loads(run(*words, "--since", day, "--until", day, "--json").output)["history"]
    assert [row["what"] for row in only] == ["redeemed"]
    assert "nothing is known" in run("history", "77", "--db", db).output


def test_a_key_for_the_uplink_is_made_and_its_file_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "uplink.toml"
    for number in (7, 8):
        made = run("keys", "new", "--keys", path, "--concentrator", number)
        assert made.exit_code == 0, made.output
        assert keys.load(path)[number].hex() not in made.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    again = run("keys", "new", "--keys", path, "--concentrator", "7")
    assert (again.exit_code, "has a key of concentrator 7" in again.output) == (1, True)
    assert path.read_text() == before
    path.write_text('\ufeff[uplink]\n7 = "' + "ab" * 32 + '"\n\n[more]\nx = 1', encoding="utf-8")
    assert run("keys", "new", "--keys", path, "--concentrator", "9").exit_code == 0
    assert sorted(keys.load(path)) == [7, 9]
    path.write_text("[uplink", encoding="utf-8")
    assert run("keys", "new", "--keys", path, "--concentrator", "9").exit_code == 1


def test_a_locked_database_is_told_in_one_line(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0)
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for words in (
            ("sell", "--account", NAME, "--amount", "5"),
            ("void", "--account", NAME, "--order", "1", "--reason", "typo"),
            ("limits", "--sale", "5"),
            ("retain",),
        ):
            result = run(*words, "--db", db)
            assert result.exit_code == 1
            assert len(result.output.strip().splitlines()) == 1, result.output
            assert "locked" in result.output


HEAD = "account,amount,reference\n"
ROW = '000000000001,5.00,"一月\n电费"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_of_any_program_is_taken(db: Path, encoding: str, end: str) -> None:
    text = HEAD + "1,5.00,一月电费-1\n\n 2 , 6.50 ,二月电费-2\n"
    path = db.with_name("sales.csv")
    path.write_bytes(text.replace("\n", end).encode(encoding))
    told = json.loads(run("sell", "--db", db, "--file", path, "--json").output)["orders"]
    assert [(one["amount_fen"], one["reference"]) for one in told] == [
        (500, "一月电费-1"),
        (650, "二月电费-2"),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROW + "1,x,R-2\n", "line 4: amount 'x'"),
        ("1,5,R-1\n1,5\n", "line 3: 2 cells, the first line has 3"),
        ("1,5,R-1\n1,5,R-2,9\n", "line 3: 4 cells, the first line has 3"),
        ("1,5,R-1\n1,1e3,R-2\n", "line 3: amount '1e3'"),
        ("1,5,R-1\n=1+1,5,R-2\n", "line 3: account '=1+1'"),
        ('1,5,R-1\n1,5,"R-2\n', "line 3 is no CSV"),
    ],
)
def test_a_list_that_is_wrong_names_row_and_column_and_sells_nothing(
    db: Path, rows: str, said: str
) -> None:
    path = db.with_name("sales.csv")
    path.write_text(HEAD + rows, encoding="utf-8")
    result = run("sell", "--db", db, "--file", path)
    assert (result.exit_code, said in result.output) == (1, True), result.output
    with Store(db) as store:
        assert store.value("SELECT count(*) FROM orders") == 2


def test_a_topup_is_sold_where_the_head_end_knows_of_it(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(db.parent)

    def card(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, ["card", *words])
        assert done.exit_code == code, done.output
        return done.output

    card("keys", "new", "--district", "4711", "--unsealed")
    who = ("--account", NAME, "--meter", meter_address(0))
    card("issue", "--file", "c.bin", *who, "--order", "1", "--amount", "100")
    refused = card("topup", "--file", "c.bin", "--amount", "20", "--db", str(db), code=1)
    assert "nothing is sold" in refused
    run("sell", "--db", db, "--account", NAME, "--amount", "9")
    told = card("topup", "--file", "c.bin", "--amount", "20", "--db", str(db), "--force")
    assert "order 3 of account 000000000001, 20.00 yuan" in told
    alone = card("topup", "--file", "c.bin", "--amount", "20", "--force")
    assert "noted in the log of cards alone" in alone
    (newest,) = [
        one
        for one in json.loads(run("orders", "1", "--db", db, "--json").output)["orders"]
        if one["order"] == 3
    ]
    assert (newest["amount_fen"], newest["carded_at"] is not None) == (2000, True)
    assert len(Path("c.bin").read_bytes()) == CARD_SIZE


def card(*words: object) -> Result:
    """Run `dianka card WORDS`."""
    return CliRunner().invoke(cli, ["card", *map(str, words)])


@pytest.mark.parametrize("how", ["sell", "list", "refund"])
def test_no_order_takes_a_number_that_a_card_has_used(
    db: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Order 2 was made by `card topup` alone; whatever comes next can be put on a card."""
    monkeypatch.chdir(db.parent)
    village = village_of(2, 5)
    village.top_up(0, 2000)
    with Store(db) as store:
        deliver(Ingest(store, KEYS), village, 2)
    assert "never sold" in run("reconcile", "--db", db).output
    Path("sales.csv").write_text(HEAD + "1,33,R-1\n", encoding="utf-8")
    words: dict[str, tuple[str, ...]] = {
        "sell": ("sell", "--account", "1", "--amount", "33"),
        "list": ("sell", "--file", "sales.csv"),
        "refund": ("refund", "--account", "1", "--amount", "33"),
    }
    assert run(*words[how], "--db", db).exit_code == 0
    assert card("keys", "new", "--district", "4711", "--unsealed").exit_code == 0
    done = card("issue", "--db", db, "--account", "1", "--file", "c.bin", "--json")
    made = json.loads(done.stdout)
    assert (made["order"], made["amount_fen"]) == (3, 3300)


@pytest.mark.parametrize("verb", ["replace", "topup"])
def test_an_order_of_the_head_end_has_its_number_from_there(
    db: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(db.parent)
    assert card("keys", "new", "--district", "4711", "--unsealed").exit_code == 0
    who = ("--account", "1") if verb == "replace" else ()
    words = (verb, "--file", "c.bin", *who, "--order", "3", "--amount", "5", "--db", db)
    done = card(*words)
    assert (done.exit_code, "from --db" in done.output) == (2, True), done.output
    done = card("replace", "--file", "c.bin", "--account", "9", "--db", db)
    assert (done.exit_code, "has not an order of account 000000000009" in done.output) == (1, True)
    assert not Path("c.bin").exists()


def test_a_list_of_cards_is_noted_where_it_was_sold(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is taken back after its card was made is superseded, and the card is worth nothing."""
    monkeypatch.chdir(db.parent)
    assert card("keys", "new", "--district", "4711", "--unsealed").exit_code == 0
    Path("sales.csv").write_text(HEAD + "1,33,R-1\n2,34,R-2\n", encoding="utf-8")
    assert run("sell", "--db", db, "--file", "sales.csv", "--out", "orders.csv").exit_code == 0
    done = card("issue", "--csv", "orders.csv", "--folder", "cards", "--db", db)
    assert done.exit_code == 0, done.output
    gone = run("void", "--db", db, "--account", "1", "--order", "2", "--reason", "typo", "--json")
    assert json.loads(gone.output)["superseded_by"] == 3


def test_a_new_board_is_refused_until_somebody_says_that_it_is_new(db: Path) -> None:
    new = {"journal": b"another!"}
    with Store(db) as store:
        ingest = Ingest(store, KEYS)
        for number, is_taken in ((2, False), (3, True)):
            answer = ingest.answer(frame(Kind.HELLO, number, hello(1, 4), **new), "test")
            (one,) = LinkReader().feed(answer)
            assert (one.kind == Kind.WELCOME) is is_taken
            told = run("concentrators", "--db", db, "--json").output
            assert ("dianka headend replace" in told) is not is_taken
            if not is_taken:
                done = run("replace", "--db", db, "--concentrator", 7)
                assert (done.exit_code, new["journal"].hex() in done.output) == (0, True)
    for number in (7, 99):
        done = run("replace", "--db", db, "--concentrator", number)
        assert done.exit_code == 1
        assert len(done.output.splitlines()) == 1, done.output


def test_who_is_there_has_version_clock_and_journal(db: Path) -> None:
    with Store(db) as store:
        now = t2000_of_unix(int(time.time()), store.zone())
        greeting = batch.build_hello(batch.Hello(1, 17, t2000=now - 3600, version="0.2.1"))
        Ingest(store, KEYS).answer(frame(Kind.HELLO, 2, greeting), "10.0.0.9:1")
        assert store.value("SELECT count(*) FROM records WHERE received_at IS NULL") == 0

    def told(*words: str) -> list[dict[str, object]]:
        found = json.loads(run("concentrators", "--db", db, "--json", *words).output)
        return list(found["concentrators"])

    (one,) = told()
    assert (one["firmware"], one["journal"], one["refused"]) == ("0.2.1", JOURNAL.hex(), "")
    assert abs(int(str(one["clock_offset_s"])) + 3600) < 60
    assert (one["behind"], one["acked_seq"]) == (0, 16)
    assert str(one["received_at"])[:2] == "20"
    assert (len(told("--silent", "0")), told("--silent", "2")) == (1, [])
    assert (len(told("--concentrator", "7")), told("--concentrator", "8")) == (1, [])
    assert "0.2.1" in run("concentrators", "--db", db).output


def test_a_line_that_is_silent_is_in_the_history(db: Path) -> None:
    village = village_of(2, 5)
    village.write(RecordKind.LINE, {"state": 1, "failures": 9}, 1)
    with Store(db) as store:
        deliver(Ingest(store, KEYS), village, 2)
    rows = json.loads(run("history", "2", "--db", db, "--json").output)["history"]
    (line,) = [row for row in rows if row["what"] == "line"]
    assert (line["detail"]["state"], line["detail"]["failures"]) == (1, 9)


def test_a_sale_waits_for_who_is_writing(db: Path) -> None:
    with closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        freed = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
        freed.start()
        result = run("sell", "--db", db, "--account", NAME, "--amount", "5")
        freed.join()
    assert result.exit_code == 0, result.output
