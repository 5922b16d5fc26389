"""Goal: a product goes on to other concentrators only where it is healthy, and never in the way.

Method: the head-end's own books of commands, with the answers and FIRMWARE records of made-up
concentrators; the real part of the device is in tests/e2e/test_update.py.
"""

import hashlib
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.flash import package
from host.flash.product import Product
from host.frames.batch import Outcome, Result
from host.headend import commands, rollouts
from host.headend.commands import Given, Target
from host.headend.deliveries import ProductDelivery
from host.headend.downlink import Downlink
from host.headend.errors import StoreError
from host.headend.rollouts import Package, Stages
from host.headend.store import Store

NAME = "00112233445566aa"
OTHER = "ff112233445566aa"
FILES = [b"1.1 2\nlist\n", b"x" * 200, b"", b"s" * 128]
PACKAGE = Package(NAME, "1.1", 2, [b64encode(one).decode() for one in FILES])
NOW = int(time.time())
GIVEN = Given("", "", NOW + 86_400)
HEALTHY, BACK = 3, 4


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a database with 20 concentrators."""
    with Store(tmp_path / "village.db", create=True) as store:
        with store.writing() as database:
            for number in range(1, 21):
                database.run("INSERT INTO concentrators (concentrator) VALUES (?)", (number,))
        yield store


def roll_out(store: Store, reach: tuple[int, ...] = (5, 25, 100)) -> int:
    return rollouts.roll_out(store, PACKAGE, range(1, 21), Stages(reach, 3600), GIVEN)


def due(store: Store, now: int = NOW) -> list[int]:
    """Return the concentrators that are due a command after a look."""
    with store.writing() as database:
        rollouts.look(database, now)
        return sorted(commands.due(database, now))


def answer(store: Store, concentrator: int, outcome: Outcome = Outcome.DONE) -> None:
    with store.writing() as database:
        (number,) = database.all(
            "SELECT max(number) FROM commands WHERE concentrator = ?", (concentrator,)
        )[0]
        assert commands.note_result(database, concentrator, number, outcome, "", NOW)


def tell(store: Store, concentrator: int, stage: int, name: str = NAME, at: int = NOW + 5) -> None:
    """Note what a concentrator says of the product that it runs."""
    with store.writing() as database:
        row = (concentrator, at, stage, name, at)
        columns = ("concentrator", "seq", "stage", "name", "told_at")
        database.insert_new("products", columns, [row])


def state(store: Store) -> tuple[str, str]:
    (job,) = commands.jobs(store)
    return job["state"], rollouts.why_text(job["why"])


def test_the_next_stage_waits_for_all_of_the_one_before(store: Store) -> None:
    roll_out(store)
    assert due(store) == [1]
    answer(store, 1)
    assert due(store) == [], "it is tried, and has not said how it is"
    tell(store, 1, 2)
    assert due(store) == []
    tell(store, 1, HEALTHY, at=NOW + 6)
    assert due(store) == [2, 3, 4, 5]
    answer(store, 2, Outcome.REFUSED)
    for one in (3, 4, 5):
        answer(store, one)
        tell(store, one, HEALTHY)
    assert due(store) == [*range(6, 21)], "one that takes no product is named and left alone"
    assert state(store) == ("running", "")


@pytest.mark.parametrize(
    ("told", "after_s", "why"),
    [
        ((BACK, OTHER), 0, "concentrator 1 is back at its earlier product"),
        ((), 3601, "concentrator 1 has not reported that it is healthy"),
        ((HEALTHY, OTHER), 3601, "concentrator 1 has not reported that it is healthy"),
    ],
)
def test_a_bad_product_stops_at_the_first_stage(
    store: Store, told: tuple[int, str], after_s: int, why: str
) -> None:
    roll_out(store)
    due(store)
    answer(store, 1)
    if told:
        tell(store, 1, *told)
    assert due(store, NOW + after_s) == []
    assert state(store) == ("stopped", why)
    states = [row["state"] for row in commands.commands_of(store)]
    assert states == ["done", *["stopped"] * 19]


def test_what_went_wrong_before_the_trial_does_not_count(store: Store) -> None:
    tell(store, 1, BACK, OTHER, at=NOW - 100)
    roll_out(store)
    due(store)
    answer(store, 1)
    assert due(store) == []
    assert state(store) == ("running", "")


def test_stopped_by_itself_it_goes_on_by_a_person(store: Store) -> None:
    job = roll_out(store)
    due(store)
    answer(store, 1)
    due(store, NOW + 3601)
    tell(store, 1, HEALTHY, at=NOW + 4000)
    assert commands.retry(store, job, GIVEN) == 19
    assert due(store, NOW + 4001) == [2, 3, 4, 5], "the stages are those of before"
    assert state(store) == ("running", "")


def test_money_does_not_wait_for_a_product(store: Store) -> None:
    """A product comes over days; what is given meanwhile goes first."""
    rollouts.roll_out(store, PACKAGE, [1], Stages((100,), 3600), GIVEN)
    downlink = Downlink(store.database)
    downlink.look()
    part = downlink.order_for(1)
    assert part is not None
    assert part.text == f"firmware need {NAME}"
    commands.give(store, "credit", [Target(1, "credit 1 1 5000 aabb")], GIVEN)
    downlink.look()
    first = downlink.order_for(1)
    assert first is not None
    assert first.text == "credit 1 1 5000 aabb"
    with store.writing():
        downlink.note(1, Result(first.number, Outcome.DONE, 0, b""), NOW)
    downlink.look()
    again = downlink.order_for(1)
    assert again is not None
    assert again.text == f"firmware need {NAME}"
    tries = [row for row in commands.commands_of(store) if row["text"].startswith("firmware")]
    assert tries[0]["number"] > first.number
    assert tries[0]["state"] == "waiting", "it can be given up until it is to be tried"


def test_parts_follow_what_is_missing() -> None:
    """A device that has some of it, forgets some of it, and repeats itself."""
    delivery = ProductDelivery(NAME, 0, FILES)
    held = {0: FILES[0], 1: FILES[1][:72]}
    seen = 0
    for turn in range(100):
        order = delivery.order
        if order is None:
            break
        words = order.text.split()
        if words[1] == "need":
            missing = [at for at, one in enumerate(FILES) if held.get(at, b"") != one]
            text = "\n".join(f"{at} {len(held.get(at, b''))}" for at in missing)
            outcome = Outcome.DONE
        else:
            place, offset, part = int(words[2]), int(words[3]), b64decode(words[4])
            seen += 1
            outcome = Outcome.DONE
            if turn == 2:
                held[place] = held.get(place, b"")[:10]  # it has started again
            if len(held.get(place, b"")) != offset and offset:
                outcome = Outcome.REFUSED
            else:
                held[place] = held.get(place, b"")[:offset] + part
            text = ""
        delivery.note(order.number, outcome, text)
        delivery.note(order.number, Outcome.REFUSED, "late")
    assert delivery.order is None
    assert {at: one for at, one in held.items() if one} == {
        at: one for at, one in enumerate(FILES) if one
    }
    assert seen < 10


def test_one_that_takes_no_product_is_told_the_command() -> None:
    delivery = ProductDelivery(NAME, 0, FILES)
    assert delivery.order is not None
    delivery.note(delivery.order.number, Outcome.REFUSED, "unknown command, `help` lists them")
    assert delivery.order is None


def test_it_is_shown_how_each_is(store: Store, tmp_path: Path) -> None:
    job = roll_out(store, (15, 100))
    due(store)
    for one in (1, 2):
        answer(store, one)
    tell(store, 1, HEALTHY)
    tell(store, 2, BACK, OTHER)
    assert rollouts.told_of(store, job) == {
        1: "healthy",
        2: "back at the earlier one",
        3: "not yet told",
    }
    words = ["headend", "job", "show", "--db", str(tmp_path / "village.db"), str(job), "--json"]
    rows = json.loads(CliRunner().invoke(cli, words).stdout)["commands"]
    assert [row["product"] for row in rows[:4]] == [
        "healthy",
        "back at the earlier one",
        "not yet told",
        "",
    ]


# --- the command --------------------------------------------------------------------------------


def run(store_path: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, ["headend", "job", "firmware", "--db", str(store_path), *words])
    return done.output if done.exit_code == 0 else f"{done.exit_code} {done.output}"


def test_the_command_takes_a_package(store: Store, tmp_path: Path) -> None:
    made = Product("1.1", {"main.py": b"1\n"}, 2)
    path = tmp_path / "1.1.dianka"
    package.write(path, made)
    village = tmp_path / "village.db"
    assert "1 commands" in run(village, str(path), "--unsigned", "--concentrator", "3")
    name = hashlib.sha256(made.listing).hexdigest()[:16]
    assert commands.commands_of(store)[0]["text"] == f"firmware try {name}"
    with store.writing() as database:
        assert rollouts.files_of(database, name) == [made.listing, b"1\n", b""]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --concentrator or --all, one of them"),
        (("--all", "--concentrator", "3"), "give --concentrator or --all, one of them"),
        (("--all",), "give --signer with the public key, or --unsigned"),
        (("--all", "--signer", "00" * 32), "the board takes signed products alone"),
        (("--all", "--unsigned", "--stages", "5,25"), "per cents that rise to 100"),
        (("--all", "--unsigned", "--stages", "0,100"), "per cents that rise to 100"),
        (("--all", "--unsigned", "--stages", "50,50,100"), "per cents that rise to 100"),
        (("--all", "--unsigned", "--stages", "x"), "per cents that rise to 100"),
        (("--concentrator", "99", "--unsigned"), "concentrator 99 has never called"),
    ],
)
def test_mistakes_are_told(
    store: Store, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "1.1.dianka"
    package.write(path, Product("1.1", {"main.py": b"1\n"}, 2))
    assert said in run(tmp_path / "village.db", str(path), *words)
    assert commands.jobs(store) == []


def test_nobody_to_give_it_to(tmp_path: Path) -> None:
    with (
        Store(tmp_path / "empty.db", create=True) as store,
        pytest.raises(StoreError, match="no concentrator has called yet"),
    ):
        rollouts.roll_out(store, PACKAGE, [], Stages((100,), 60), GIVEN)
