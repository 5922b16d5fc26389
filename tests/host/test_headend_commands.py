"""Goal: a command is given once, sent until it is answered, and its outcome is kept."""

import json
import signal
import sqlite3
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from click.testing import Result as Run

from host.cli import cli
from host.frames import link, tariff
from host.frames.batch import Outcome, Result
from host.headend import commands, orders
from host.headend.commands import Given, Target
from host.headend.downlink import REPEAT_S, Downlink
from host.headend.errors import StoreError
from host.headend.orders import Till, orders_of
from host.headend.outcomes import STOPPED
from host.headend.store import Store
from tests.host.serving import PATIENCE_S, HeadEnd, answers, converse
from tests.host.uplink_world import Device, village_of

ACCOUNT = "000000000001"
TARIFFS = Path(__file__).resolve().parent.parent.parent / "tariffs"
LATER = int(time.time()) + 86_400
TWO = [Target(7, "time"), Target(8, "time")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a database with two concentrators, of which one has an account."""
    path = tmp_path / "village.db"
    with Store(path, create=True) as store, store.writing() as database:
        for number in (7, 8):
            database.run("INSERT INTO concentrators (concentrator) VALUES (?)", (number,))
        database.run(
            "INSERT INTO accounts (account, concentrator, meter) VALUES (?, 7, '000000000023')",
            (ACCOUNT,),
        )
    return path


@pytest.fixture
def store(path: Path) -> Any:
    with Store(path) as store:
        yield store


def run(path: Path, *words: str) -> Run:
    return CliRunner().invoke(cli, ["headend", words[0], "--db", str(path), *words[1:]])


def run_job(path: Path, *words: str) -> Run:
    return CliRunner().invoke(cli, ["headend", "job", words[0], "--db", str(path), *words[1:]])


def states(store: Store, **told: Any) -> list[str]:
    return [row["state"] for row in commands.commands_of(store, **told)]


def answer(number: int, outcome: Outcome, text: bytes = b"", part: int = 0) -> Result:
    return Result(number, outcome, part, text)


def told(store: Store, downlink: Downlink, concentrator: int, result: Result) -> bool:
    with store.writing():
        return downlink.note(concentrator, result, int(time.time()))


def test_one_at_a_time_repeated_until_it_is_answered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    job = commands.give(
        store,
        "set",
        [Target(7, "set a 1"), Target(7, "set b 2"), Target(8, "time")],
        Given(expires_at=LATER),
    )
    downlink = Downlink(store.database)
    downlink.look()
    first = downlink.order_for(7)
    assert first is not None
    assert first.text == "set a 1"
    assert downlink.order_for(7) is None
    assert states(store, job=job, concentrator=7) == ["waiting", "waiting"]
    downlink.look()
    assert states(store, job=job, concentrator=7) == ["sent", "waiting"]
    now[0] += REPEAT_S
    assert downlink.order_for(7) == first, "it is repeated as it was"
    assert not told(store, downlink, 7, answer(first.number, Outcome.DONE, b"a ", 1))
    assert not told(store, downlink, 7, answer(first.number, Outcome.DONE, b"is ", 2))
    assert told(store, downlink, 7, answer(first.number, Outcome.DONE, b"1\n"))
    assert not told(store, downlink, 7, answer(first.number, Outcome.REFUSED)), "it has ended"
    (row, _) = commands.commands_of(store, job=job, concentrator=7)
    assert (row["state"], row["answer"]) == ("done", "a is 1")
    downlink.look()
    second = downlink.order_for(7)
    assert second is not None
    assert (second.text, second.number > first.number) == ("set b 2", True)
    downlink.look()
    assert commands.jobs(store, job)[0]["progress"] == {"done": 1, "sent": 1, "waiting": 1}


def test_the_image_of_a_tariff_goes_before_its_command(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    image = bytes(range(100))
    begin, first, second, third, commit = tariff.commands(image, 2)
    job = commands.give(
        store, "tariff", [Target(7, commit, image=image.hex())], Given(expires_at=LATER)
    )
    downlink = Downlink(store.database)
    downlink.look()

    def sends(text: str, outcome: Outcome | None = Outcome.DONE) -> int:
        order = downlink.order_for(7)
        assert order is not None
        assert order.text == text
        if outcome is not None:
            ended = told(store, downlink, 7, answer(order.number, outcome))
            assert ended == (text == commit)
        return order.number

    sends(begin)
    number = sends(first)
    assert not told(store, downlink, 7, answer(number, Outcome.DONE)), "its answer came twice"
    assert sends(second, None) == number + 1
    assert downlink.order_for(7) is None
    now[0] += REPEAT_S
    sends(second, Outcome.REFUSED)  # the concentrator has started again
    downlink.look()
    for text in (begin, first, second, third):
        sends(text)
    assert states(store, job=job) == ["sent"]
    downlink.look()
    sends(commit)
    assert states(store, job=job) == ["done"]


def test_a_tariff_that_was_stopped_on_its_way_is_in_nobodys_way(store: Store) -> None:
    *_, commit = tariff.commands(bytes(100), 2)
    target = Target(7, commit, image=bytes(100).hex())
    stopped = commands.give(store, "tariff", [target], Given(expires_at=LATER))
    downlink = Downlink(store.database)
    downlink.look()
    first = downlink.order_for(7)
    assert first is not None
    commands.set_job(store, stopped, STOPPED)
    job = commands.give(store, "time", [Target(7, "time")], Given(expires_at=LATER))
    downlink.look()
    order = downlink.order_for(7)
    assert order is not None
    assert order.text == "time"
    assert told(store, downlink, 7, answer(order.number, Outcome.DONE))
    assert states(store, job=job) == ["done"]


def test_an_image_that_never_arrives_ends(store: Store) -> None:
    *_, commit = tariff.commands(b"image", 2)
    job = commands.give(
        store, "tariff", [Target(7, commit, image=b"image".hex())], Given(expires_at=LATER)
    )
    downlink = Downlink(store.database)
    downlink.look()
    sent = []
    while states(store, job=job) == ["waiting"]:
        order = downlink.order_for(7)
        assert order is not None
        sent.append(order.text)
        assert len(sent) < 10
        told(store, downlink, 7, answer(order.number, Outcome.REFUSED, b"no"))
    assert states(store, job=job) == ["refused"]
    assert sent == [f"tariff begin {len(b'image')}"] * 4 + [commit]


def test_a_tariff_in_use_is_asked_about(path: Path, tmp_path: Path) -> None:
    with Store(path) as store, store.writing() as database:
        database.run(
            'INSERT INTO meters (concentrator, "row", address, account, tariff, active) '
            "VALUES (7, 0, '000000000023', ?, 1, 1)",
            (ACCOUNT,),
        )
    prices = str(TARIFFS / "zhejiang-tou.json")
    asked = run_job(path, "tariff", prices, "--number", "1", "--concentrator", "7")
    assert asked.exit_code == 1
    assert "1 meters are billed by tariff 1 now: change it?" in asked.output
    assert run_job(path, "list").output == "no job was given yet\n"
    assert run_job(path, "tariff", prices, "--number", "1", "--all", "--yes").exit_code == 0
    assert run_job(path, "tariff", prices, "--number", "2", "--concentrator", "8").exit_code == 0
    with Store(path) as store:
        assert states(store, concentrator=7) == ["waiting"]
    broken = tmp_path / "prices.json"
    broken.write_text("{}")
    wrong = run_job(path, "tariff", str(broken), "--number", "1", "--all")
    assert wrong.exit_code == 1
    assert wrong.output.startswith(f"Error: {broken}: ")


def test_parts_that_do_not_follow_are_dropped(store: Store) -> None:
    commands.give(store, "time", [Target(7, "time")], Given(expires_at=LATER))
    downlink = Downlink(store.database)
    downlink.look()
    order = downlink.order_for(7)
    assert order is not None
    for parts in ((2,), (1, 3), (1, 2, 4)):
        for part in parts:
            assert not told(store, downlink, 7, answer(order.number, Outcome.DONE, b"x", part))
    assert not told(store, downlink, 7, answer(order.number, Outcome.DONE, b"a", 1))
    assert not told(store, downlink, 7, answer(order.number, Outcome.DONE, b"b", 1)), "anew"
    assert told(store, downlink, 7, answer(order.number, Outcome.DONE, b"c"))
    assert commands.commands_of(store)[0]["answer"] == "bc"


def test_what_is_late_expires_and_what_was_sent_is_still_asked_for(store: Store) -> None:
    past = int(time.time()) - 1
    job = commands.give(
        store, "time", [Target(7, "time"), Target(8, "time")], Given(expires_at=past)
    )
    downlink = Downlink(store.database)
    number = commands.commands_of(store, concentrator=7)[0]["number"]
    with store.writing() as database:
        commands.note_sent(database, [(7, number)], past)
    downlink.look()
    assert states(store, job=job) == ["sent", "expired"]
    assert downlink.order_for(7) is not None
    assert downlink.order_for(8) is None


def test_a_job_is_paused_stopped_and_tried_again(store: Store) -> None:
    job = commands.give(
        store, "time", [Target(7, "time"), Target(8, "time")], Given(expires_at=LATER)
    )
    downlink = Downlink(store.database)
    commands.set_job(store, job, commands.PAUSED)
    downlink.look()
    assert downlink.order_for(7) is None
    commands.set_job(store, job, commands.RUNNING)
    downlink.look()
    order = downlink.order_for(7)
    assert order is not None
    downlink.look()
    commands.set_job(store, job, STOPPED)
    assert states(store, job=job) == ["sent", "stopped"]
    assert told(store, downlink, 7, answer(order.number, Outcome.NOT_DONE, b"flash full\n"))
    assert commands.retry(store, job, Given(expires_at=LATER)) == 2
    assert commands.retry(store, job, Given(expires_at=LATER)) == 0, "those wait already"
    assert commands.jobs(store, job)[0]["progress"] == {"waiting": 2}
    assert states(store, job=job) == ["not done", "stopped", "waiting", "waiting"]


def test_numbers_grow_behind_a_database_that_was_restored(store: Store) -> None:
    def given() -> int:
        commands.give(store, "time", [Target(7, "time")], Given(expires_at=LATER))
        return int(commands.commands_of(store, concentrator=7)[-1]["number"])

    numbers = [given() for _ in range(3)]
    assert numbers == sorted(set(numbers))
    with store.writing() as database:
        database.run("DELETE FROM commands")
    assert given() >= numbers[0], "they follow the clock, not the database alone"


def test_a_sale_without_a_card_takes_waiting_cards_along(store: Store) -> None:
    orders.sell(store, ACCOUNT, 3000)
    orders.set_carded(store, ACCOUNT, 1)
    till = Till("Li")
    done = commands.top_up(store, ACCOUNT, 5000, "R-1", till, LATER)
    assert (done.order, done.concentrator, done.before) == (2, 7, False)
    texts = [row["text"].split(" ") for row in commands.commands_of(store, account=ACCOUNT)]
    assert [one[:4] for one in texts] == [
        ["credit", ACCOUNT, "1", "3000"],
        ["credit", ACCOUNT, "2", "5000"],
    ]
    assert texts[0][4] != texts[1][4], "each has a name of its own"
    again = commands.top_up(store, ACCOUNT, 5000, "R-1", till, LATER)
    assert (again.order, again.number, again.before) == (2, done.number, True)
    assert len(commands.commands_of(store, account=ACCOUNT)) == 2
    with pytest.raises(StoreError):
        commands.top_up(store, ACCOUNT, 6000, "R-1", till, LATER)
    assert len(orders_of(store, ACCOUNT)) == 2


def test_a_sale_without_a_card_is_taken_back_only_before_it_is_sent(store: Store) -> None:
    sold = commands.top_up(store, ACCOUNT, 500, "r1", Till("Li"), LATER)
    orders.void(store, ACCOUNT, sold.order, "typo", Till("Li"))
    with store.writing() as database:
        assert commands.due(database, int(time.time())) == {}, "its command goes nowhere"
    sold = commands.top_up(store, ACCOUNT, 700, "r2", Till("Li"), LATER)
    with store.writing() as database:
        database.run("UPDATE commands SET state = 'sent' WHERE \"order\" = ?", (sold.order,))
    with pytest.raises(StoreError, match="on its way"):
        orders.void(store, ACCOUNT, sold.order, "typo", Till("Li"))
    assert [row["voided_at"] is None for row in orders_of(store, ACCOUNT)] == [False, True]


@pytest.mark.parametrize("text", ["", " ", "a\nb", "x" * 129, "\x1b[31mset", "价" * 43])
def test_a_text_that_is_no_command(store: Store, text: str) -> None:
    with pytest.raises(StoreError):
        commands.give(store, "x", [Target(7, text)], Given(expires_at=LATER))
    assert commands.commands_of(store) == []


def test_as_a_station_types_it(path: Path) -> None:
    done = run(path, "top-up", ACCOUNT, "50", "--reference", "R-1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) | {"command": 0} == {
        "account": ACCOUNT,
        "order": 1,
        "amount_fen": 5000,
        "concentrator": 7,
        "sold_before": False,
        "command": 0,
    }
    assert "sold before" in run(path, "top-up", ACCOUNT, "50", "--reference", "R-1").output
    done = run_job(path, "give", "set interval_s 600", "--all", "--by", "Wang", "--json")
    assert json.loads(done.output) == {"job": 1, "commands": 2}
    told = f"{datetime.now() - timedelta(days=2):%Y-%m-%d %H:%M}"
    done = run_job(path, "cut", "--account", "1", "--notice", told, "--reason", "arrears")
    assert done.exit_code == 0, done.output
    assert f"supply 000000000001 cut {told}:00" in run_job(path, "show", "2").output
    assert run_job(path, "restore", "--account", "1").exit_code == 0
    (first, *_) = json.loads(run_job(path, "list", "--json").output)["jobs"]
    assert (first["name"], first["progress"]) == ("set", {"waiting": 2})
    for words in (("pause", "1"), ("resume", "1"), ("stop", "1"), ("retry", "1")):
        assert run_job(path, *words).exit_code == 0
    assert "waiting 2" in run_job(path, "list").output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("top-up", "9", "50", "--reference", "R"), "no concentrator has account"),
        (("top-up", "1", "0", "--reference", "R"), "0.01"),
        (("top-up", "1", "50", "--reference", ""), "reference"),
        (("job", "give", "time"), "give --concentrator, --account, --file or --all"),
        (("job", "give", "time", "--concentrator", "99"), "has never called"),
        (("job", "give", "time", "--account", "99"), "no concentrator has account"),
        (("job", "cut", "--account", "1", "--notice", "yesterday", "--reason", "x"), "yesterday"),
        (("job", "cut", "--notice", "2026-11-28 09:00", "--reason", "x"), "name the accounts"),
        (("job", "show", "5"), "there is no job 5"),
        (("job", "stop", "5"), "there is no job 5"),
        (("job", "retry", "5"), "there is no job 5"),
    ],
)
def test_a_mistake_gives_one_clear_line(path: Path, words: tuple[str, ...], why: str) -> None:
    job = run_job if words[0] == "job" else run
    done = job(path, *(words[1:] if words[0] == "job" else words))
    assert done.exit_code in (1, 2)
    assert why in done.output
    assert "Traceback" not in done.output
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM commands").fetchall() == [(0,)]


def test_a_serving_head_end_sends_it_and_takes_the_answer(tmp_path: Path) -> None:
    """The command arrives over TCP at a session of the firmware; its result is stored."""
    head_end = HeadEnd(tmp_path)
    village = village_of(1, 2)
    device = Device(village)
    try:
        with head_end.connect() as sock:
            converse(device, sock, until_idle=True)
            with Store(head_end.db) as store:
                job = commands.give(store, "time", [Target(7, "time")], Given(expires_at=LATER))
            (order,) = answers(sock)
            device.hear(link.build(order.kind, order.seq, order.body))
            assert device.step() == b""
            told = device.session.order
            assert told[8:] == b"time"
            number = told[:4]
            device.session.order = b""
            for part in (b"\0\1one\n", b"\0\0two\n"):
                assert device.session.tell(number + part)
                sock.sendall(device.step())
            with Store(head_end.db) as store:
                until = time.monotonic() + PATIENCE_S
                while states(store, job=job) != ["done"] and time.monotonic() < until:
                    time.sleep(0.05)
                (row,) = commands.commands_of(store, job=job)
            assert (row["state"], row["answer"]) == ("done", "one\ntwo")
    finally:
        head_end.end(signal.SIGKILL)
