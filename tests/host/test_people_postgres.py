"""Goal: notices to households, and personal data, are on PostgreSQL as they are on SQLite.

Method: a cluster in a folder has the households of both tests: an event is told once by a gateway,
also by a second process; a person is exported, erased, and what is too old goes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.frames.record import RecordKind
from host.headend import audit, household_links, life, migrate, notices, persons, retention
from host.headend.noticing import round as rounds_of
from host.headend.noticing.round import Rounds
from host.headend.store import Store
from host.units import DAY_S
from tests.host import gateways, test_persons
from tests.host.gateways import Gateway
from tests.host.test_notices import ONE, PLACE, World, way
from tools.cluster import cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", name="address")
def _address() -> Iterator[str]:
    with cluster() as made:
        migrate.make_postgres(made)
        yield made


@pytest.fixture(name="sms")
def _sms() -> Iterator[Gateway]:
    with gateways.sms() as made:
        yield made


def test_each_event_is_told_once_and_its_end_is_known(
    address: str, sms: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_of, "_STALE_DAYS", 100_000)  # a village's records are older
    world = World(address, way(sms), a_day=100)
    world.village.top_up(0, 5000)
    world.village.relay(0, 1)
    world.village.write(
        RecordKind.POLICY, {"new": 1, "old": 0, "reason": 1, "balance_fen": 812}, 0
    )
    world.bring()
    notices.choose_notices(world.store, ONE, "", "zh", ["next tier"], "asked")
    for _ in range(2):
        world.go()
        world.tell(**PLACE)
    Rounds(world.store, world.settings).go()
    assert len(sms.texts()) == 4
    assert set(world.states()) == {notices.DELIVERED}
    assert "50.00" in "".join(sms.texts())
    assert len(world.store.rows("SELECT * FROM notice_tries WHERE outcome = 'delivered'")) == 4
    household_links.set_station(world.store, "https://power.example", None, None)
    link = household_links.link_of(world.store, ONE).rpartition("/")[2]
    opened = household_links.opened(world.store, link)
    assert opened is not None
    assert opened.account == ONE
    world.store.close()


def test_a_person_is_exported_erased_and_forgotten_in_time(address: str, tmp_path: Path) -> None:
    with Store(address) as store:
        test_persons.lived(store)
        told: dict[str, Any] = persons.export(store, "C-71")
        text = str(told)
        assert [mark for mark in test_persons.MARKS if mark not in text] == []
        assert "QIAN-SAYS" not in text
        assert len(told["complaints"]) == 2
        life.close_account(store, test_persons.ONE, [0], test_persons.LI)
        later = retention.run(store, "cron", test_persons.NOW + 366 * DAY_S)
        assert later["notices"] > 0
        done = persons.erase(store, "C-71", "Li", "asked", anyway=False)
        assert {"papers", "complaints"} <= {*done}
        tables = "customers notices notice_tries complaints tickets papers staged_entries audit"
        for table in tables.split():
            rows = str(store.rows(f"SELECT * FROM {table}"))
            assert [mark for mark in test_persons.MARKS if mark in rows] == [], table
        assert retention.run(store, "cron", test_persons.NOW + 1100 * DAY_S)["customers"] == 1
        assert not audit.verify(store).broken_at
