"""Goal: 200 concentrators take a tariff while a tenth of them vanishes in the middle.

Each is done or named, and no tariff is put in force twice. The head-end is the real one with its
database; time is virtual.
"""

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.frames import tariff
from host.headend import commands
from host.headend.commands import Given
from host.headend.downlink import REPEAT_S, Downlink
from host.headend.gate import Message
from host.headend.ingest import Ingest
from host.headend.outcomes import DONE, EXPIRED, SENT
from host.headend.store import Store
from tests.host.fleet import KEY, Concentrator

TARIFFS = Path(__file__).resolve().parent.parent.parent / "tariffs"
COUNT = 200
VANISHING = 20
LOST = 0.03


class Station:
    """A head-end that talks with a fleet in virtual time; some messages are lost either way."""

    def __init__(self, path: Path, fleet: dict[int, Concentrator]) -> None:
        self.store = Store(path, create=True)
        self.random = Random(5)
        self.now_s = 0.0
        self.fleet = fleet
        self._ingest = Ingest(self.store, dict.fromkeys(fleet, KEY))
        self._newest: dict[int, Message] = {}
        self.start()
        for one in fleet.values():
            self.hear(one, restarts=False)

    def start(self) -> None:
        """Begin as a head-end that was started again: it remembers what its database has."""
        self._downlink = Downlink(self.store.database, steady_s=lambda: self.now_s)
        self._ingest.downlink = self._downlink

    def hear(self, one: Concentrator, restarts: bool) -> None:
        """Take the greeting of a concentrator."""
        message = self._ingest.open(one.restart() if restarts else one.greet(), "fleet")
        assert message is not None
        assert self._ingest.answer_all([message])[0]
        self._newest[one.number] = message

    def round(self) -> bool:
        """Send one command to each for which one is due; return whether any was."""
        self._downlink.look()
        waiting = self._downlink.waiting
        told = []
        for number in waiting:
            one = self.fleet[number]
            order = self._downlink.order_for(number) if one.here else None
            if order is None or self.random.random() < LOST:
                continue
            result = one.take(self._ingest.gate.give(self._newest[number], order))
            if result is not None and self.random.random() >= LOST:
                message = self._ingest.open(result, "fleet")
                assert message is not None
                told.append(message)
        if told:
            self._ingest.answer_all(told)
        self.now_s += REPEAT_S / 4
        return bool(waiting)


@pytest.fixture(scope="module", name="image")
def _image() -> bytes:
    return tariff.build(tariff.load(TARIFFS / "sichuan-2026.json"), 2)


def test_two_hundred_take_a_tariff_while_a_tenth_vanishes(tmp_path: Path, image: bytes) -> None:
    random = Random(17)
    parts = len(tariff.commands(image, 2))
    assert parts > 5
    fleet = {number: Concentrator(number) for number in range(1, COUNT + 1)}
    gone = random.sample(sorted(fleet), VANISHING)
    for number in gone:
        # Some before a part, some behind it, some at the very last.
        at = random.choice((random.randrange(parts), parts - 1))
        fleet[number] = Concentrator(number, at, random.random() < 0.5)
    path = tmp_path / "station.db"
    station = Station(path, fleet)
    arguments = ["headend", "job", "tariff", "--db", str(path), "--number", "2", "--all", "--json"]

    run = CliRunner().invoke(cli, [*arguments, str(TARIFFS / "sichuan-2026.json")])

    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["commands"] == COUNT
    for at in range(8 * parts):
        if at == parts // 2:
            station.start()  # the head-end itself is started again in the middle
        station.round()
    (job,) = commands.jobs(station.store)
    progress = job["progress"]
    assert progress == {DONE: COUNT - VANISHING, SENT: VANISHING}, "those that vanished are named"
    for number in gone[: VANISHING // 2]:
        station.hear(fleet[number], restarts=True)
    for _ in range(8 * parts):
        station.round()

    states = {row["concentrator"]: row["state"] for row in commands.commands_of(station.store)}
    assert Counter(states.values()) == {DONE: COUNT - VANISHING // 2, SENT: VANISHING // 2}
    assert {one for one, state in states.items() if state == SENT} == set(gone[VANISHING // 2 :])
    for number, one in fleet.items():
        expected = {image: 1} if states[number] == DONE else dict(one.in_force)
        assert one.in_force == expected, number
        assert one.in_force[image] <= 1, f"{number} put it in force twice"
    station.store.close()


def test_those_that_never_were_there_expire_and_are_given_again(
    tmp_path: Path, image: bytes
) -> None:
    fleet = {number: Concentrator(number) for number in (1, 2)}
    station = Station(tmp_path / "station.db", fleet)
    fleet[2].here = False
    text = tariff.commands(image, 2)[-1]
    targets = [commands.Target(number, text, image=image.hex()) for number in fleet]
    given = Given("Li", "prices of July", 1)
    assert commands.give(station.store, "tariff", targets, given) == 1
    station.round()
    assert commands.jobs(station.store)[0]["progress"] == {EXPIRED: 2}

    assert commands.retry(station.store, 1, Given("Li", "", given.at + 3600)) == 2
    while station.round():
        if station.now_s > 500:
            fleet[2].here = True

    assert commands.jobs(station.store)[0]["progress"] == {DONE: 2}
    assert [one.in_force[image] for one in fleet.values()] == [1, 1]
    station.store.close()
