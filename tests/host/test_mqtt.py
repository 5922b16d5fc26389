"""Goal: who has Home Assistant and a broker sees balance, energy, power and relay of each account.

Method: a head-end tells a real mosquitto with passwords, an ACL and TLS; mosquitto's own client
reads what Home Assistant would. The broker dies and starts again empty, an account closes, the
head-end is killed. Addresses and files that cannot be used are refused in one sentence.
"""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend.mqtt import discovery
from host.headend.mqtt.broker import BrokerError, broker_of, parse_broker
from host.headend.mqtt.discovery import Shown
from tests.host.mosquitto import PASSWORD, Mosquitto, messages_until
from tests.host.serving import HeadEnd, converse
from tests.host.uplink_world import Device, Village, village_of

ZONE = ZoneInfo("Asia/Shanghai")
CONFIG = "homeassistant/device/dianka_000000000001/config"
STATE = "dianka/account/000000000001/state"
OTHER = "dianka/account/000000000002/state"
STATUS = "dianka/status"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "broker"
    folder.mkdir()
    running = Mosquitto(folder)
    yield running
    running.kill()


def options(folder: Path, broker: Mosquitto, password: str = PASSWORD) -> list[str]:
    secret = folder / "password"
    secret.write_text(f"{password}\n")
    secret.chmod(0o600)
    url = f"mqtts://dianka@127.0.0.1:{broker.port}"
    words = ["--mqtt", url, "--mqtt-password", str(secret)]
    return [*words, "--mqtt-ca", str(broker.authority)]


def bring(head_end: HeadEnd, village: Village, epoch: int) -> None:
    with head_end.connect() as sock:
        converse(Device(village, epoch), sock, until_idle=True)


@pytest.mark.slow
def test_a_foreign_client_sees_what_home_assistant_documents(
    tmp_path: Path, broker: Mosquitto
) -> None:
    village = village_of(2, 2)
    watching = broker.watch("homeassistant/#", "dianka/#")
    head_end = HeadEnd(tmp_path, *options(tmp_path, broker))
    try:
        assert PASSWORD.encode() not in b"".join(
            one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if one.exists()
        ).replace(b"-P\0" + PASSWORD.encode(), b"")
        bring(head_end, village, 1)
        found = messages_until(watching, CONFIG, STATE, OTHER, STATUS)
        assert found[STATUS] == "online"
        assert json.loads(found[STATE]) == {
            "balance": 99.94,
            "energy": 0.09,
            "power": 1350,
            "supply": "ON",
            "last_reading": "2025-12-25T17:55:40+08:00",
        }
        check_discovery(json.loads(found[CONFIG]))

        broker.kill()
        watching.communicate()
        village.reading(0, 1)
        bring(head_end, village, 2)
        broker.start()
        watching = broker.watch("homeassistant/#", "dianka/#")
        found = messages_until(watching, CONFIG, STATE, OTHER, STATUS)
        assert json.loads(found[STATE])["balance"] == 99.93

        close_account(head_end.db, "000000000002")
        while messages_until(watching, OTHER)[OTHER]:
            pass  # what was told before

        head_end.end(signal.SIGTERM)
        assert messages_until(watching, STATUS)[STATUS] == "offline"
    finally:
        watching.kill()
        watching.communicate()
        if head_end.process.poll() is None:
            head_end.end(signal.SIGKILL)


def check_discovery(told: dict[str, object]) -> None:
    """Hold a message against what Home Assistant's documentation asks of a device."""
    device, origin, parts = told["dev"], told["o"], told["cmps"]
    assert isinstance(device, dict)
    assert isinstance(origin, dict)
    assert isinstance(parts, dict)
    assert device["ids"] == ["dianka_000000000001"]
    assert origin["name"] == "dianka"
    assert {"balance", "energy", "power", "supply", "last_reading"} == set(parts)
    assert len({part["unique_id"] for part in parts.values()}) == len(parts)
    assert {part["p"] for part in parts.values()} == {"sensor", "binary_sensor"}
    energy = parts["energy"]
    assert (energy["device_class"], energy["state_class"]) == ("energy", "total_increasing")
    assert energy["unit_of_measurement"] == "kWh"
    assert energy["value_template"] == "{{ value_json.energy }}"
    assert told["state_topic"] == STATE
    assert told["availability_topic"] == STATUS


def close_account(path: Path, account: str) -> None:
    with sqlite3.connect(path, timeout=20) as line:
        line.execute(
            "INSERT OR REPLACE INTO contracts (account, customer, closed_at) VALUES (?, 'C', 1)",
            (account,),
        )
    line.close()


@pytest.mark.slow
def test_a_broker_that_refuses_is_named_and_the_will_tells_of_a_killed_one(
    tmp_path: Path, broker: Mosquitto
) -> None:
    head_end = HeadEnd(tmp_path, *options(tmp_path, broker))
    watching = broker.watch(STATUS)
    try:
        assert messages_until(watching, STATUS)[STATUS] == "online"
        own = head_end.process.pid
        (child,) = Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii").split()

        os.kill(int(child), signal.SIGKILL)
        assert messages_until(watching, STATUS)[STATUS] == "offline"
        assert messages_until(watching, STATUS)[STATUS] == "online"  # it is started again
    finally:
        head_end.end(signal.SIGKILL)
        watching.kill()
        watching.communicate()
    words = ["--db", str(head_end.db), "--keys", str(head_end.keys), "--port", "0"]
    told = CliRunner().invoke(
        cli, ["headend", "serve", *words, *options(tmp_path, broker, "wrong")]
    )
    assert told.exit_code == 1
    assert f"the broker at 127.0.0.1:{broker.port} refuses:" in told.output
    assert "Traceback" not in told.output


def test_what_is_not_known_is_null_and_summer_time_is_none_of_the_station() -> None:
    shown = Shown("000000000001", "", "", 7, -5, 0, -1, None, 0)
    assert json.loads(discovery.state(shown, ZONE)) == {
        "balance": -0.05,
        "energy": None,
        "power": None,
        "supply": None,
        "last_reading": None,
    }
    open_one = Shown("000000000001", "101", "", 7, 12_345_678_901, 1, 0, 1, 836_000_000)
    told = json.loads(discovery.state(open_one, ZoneInfo("Europe/Berlin")))
    assert told["balance"] == 123_456_789.01
    assert (told["supply"], told["power"], told["energy"]) == ("OFF", 0, 0.001)
    assert told["last_reading"] == "2026-06-28T22:13:20+01:00"
    assert json.loads(discovery.config(open_one, "x"))["dev"]["name"] == "101"


def test_addresses_are_taken_or_refused_in_one_sentence(tmp_path: Path) -> None:
    broker = parse_broker("mqtt://dianka@broker.example", topic="home/power")
    assert (broker.host, broker.port, broker.tls) == ("broker.example", 1883, False)
    assert broker.is_open_to_others
    assert broker_of(broker.words()) == broker
    assert parse_broker("mqtts://127.0.0.1").port == 8883
    for url, said in (
        ("mqtt://dianka:secret@broker.example", "--mqtt-password"),
        ("http://broker.example", "mqtt://USER@HOST:PORT"),
        ("mqtt://broker.example:99999", "mqtt://USER@HOST:PORT"),
        ("mqtt://", "mqtt://USER@HOST:PORT"),
        ("mqtt://broker.example/topic", "mqtt://USER@HOST:PORT"),
    ):
        with pytest.raises(BrokerError, match=said) as caught:
            parse_broker(url)
        assert "secret" not in str(caught.value)
    with pytest.raises(BrokerError, match="topic"):
        parse_broker("mqtt://broker.example", topic="a/#")
    with pytest.raises(BrokerError, match="user"):
        parse_broker("mqtt://broker.example", password="file")
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o644)
    with pytest.raises(BrokerError, match="chmod 600"):
        parse_broker("mqtt://dianka@broker.example", str(secret)).secret()
    with pytest.raises(BrokerError, match="not a certificate"):
        parse_broker("mqtts://broker.example", authority=str(secret)).context()
