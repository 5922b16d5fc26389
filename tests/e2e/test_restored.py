"""Goal: a household that runs low is told, pays by telephone, and has its supply again: no visit.

Method: the firmware on a real MicroPython with a simulated meter, a head-end with its pages and
its notices as processes, an SMS gateway and a provider that are stand-ins on this computer.
"""

import hashlib
import hmac
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.demo.processes import wait_for
from host.device import device_root
from host.headend import channels, notices, payments, registry
from host.headend.channels import Channel
from host.headend.registry import Entry
from host.headend.store import Store
from host.link.pty import PtyPort
from tests.host import gateways
from tests.host.channel_client import Client
from tests.host.gateways import Gateway
from tests.host.serving import HeadEnd
from tests.host.uplink_world import CONCENTRATOR, KEY
from tools import micropython

pytestmark = pytest.mark.slow

ACCOUNT, METER = "000000000001", "000000000001"
SECRET = "7" * 64
TARIFF = Path(__file__).resolve().parents[2] / "host" / "demo" / "tariff.json"
_SET_UP = f"""
import sys
sys.path.insert(0, "{device_root()}")
from boards.unix import Board
from concentrator.settings import Settings
settings = Settings(Board().storage)
settings.load()
pairs = [("id", "{CONCENTRATOR}"), ("uplink_key", "{KEY.hex()}")]
print(settings.change_all(pairs, settings.leave))
"""


@dataclass
class World:
    """All parts, as processes; `told` are the notices that have arrived."""

    head_end: HeadEnd
    sms: Gateway
    processes: list[subprocess.Popen[Any]] = field(default_factory=list)

    def value(self, sql: str, *values: Any) -> Any:
        with Store(self.head_end.db, read_only=True) as store:
            return store.value(sql, values)

    def until(self, what: str, condition: Callable[[], Any]) -> None:
        wait_for(what, 60, condition)

    def job(self, *words: str) -> None:
        told = ["headend", "job", words[0], "--db", str(self.head_end.db), *words[1:], "--json"]
        done = CliRunner().invoke(cli, told)
        assert done.exit_code == 0, done.output
        number = json.loads(done.stdout)["job"]
        query = "SELECT count(*) FROM commands WHERE job = ? AND state = 'done'"
        self.until(" ".join(words), lambda: self.value(query, number))

    def heard(self, part: str) -> bool:
        return any(part in one for one in self.sms.texts())

    def relay(self) -> Any:
        return self.value("SELECT relay FROM accounts WHERE account = ?", ACCOUNT)


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Iterator[World]:
    with gateways.sms() as sms:
        told = tmp_path / "notices.toml"
        told.write_text(
            f'language = "en"\na_day = 50\n[[ways]]\nname = "sms"\nurl = "{sms.url}"\n'
        )
        told.chmod(0o600)
        with Store(tmp_path / "village.db", create=True) as store:
            for name, kind in (("bank", "bank"), ("wallet", "simulated")):
                rights = channels.RIGHTS if name == "bank" else ()
                channels.add_channel(store, Channel(name, kind, rights, 10**6, 10**7), SECRET)
            registry.take(store, [Entry(ACCOUNT, "C-1", "王小明", "13800138000", meter=METER)])
        words = ("--page", "127.0.0.1:0", "--notices", str(told))
        made = World(HeadEnd(tmp_path, *words), sms)
        line, console = PtyPort(), PtyPort()
        try:
            _begin(made, tmp_path, console)
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.wait()
            made.head_end.end(signal.SIGTERM)
            line.close()
            console.close()


def _begin(world: World, folder: Path, console: PtyPort) -> None:
    """Start the meter and the concentrator, and open the account."""
    listed, link = folder / "meters.yaml", folder / "LINE"
    listed.write_text(f'meters:\n  - address: "{METER}"\n')
    main = "from host.cli import main; main()"
    meters = [sys.executable, "-c", main, "sim", "meters", "--file", str(listed)]
    with (folder / "meters.log").open("wb") as log:
        process = subprocess.Popen([*meters, "--link", str(link)], stdout=log, stderr=log)
    world.processes.append(process)
    world.until("the meter", link.exists)
    words = ["--flash", str(folder / "flash"), "--line", str(link), "--console", console.name]
    words += ["--uplink", f"127.0.0.1:{world.head_end.port}"]
    program = str(micropython.ensure())
    subprocess.run([program, "-c", _SET_UP, *words], check=True, stdout=subprocess.DEVNULL)
    world.processes.append(subprocess.Popen([program, str(device_root() / "main.py"), *words]))
    world.until("the concentrator", lambda: world.value("SELECT 1 FROM concentrators"))
    here = ("--concentrator", str(CONCENTRATOR))
    world.job("tariff", str(TARIFF), "--number", "1", *here)
    world.job("give", f"meter add {METER} {ACCOUNT} 1 0 2007", *here)
    world.until("the account", lambda: world.value("SELECT 1 FROM accounts"))
    world.job("give", "account new {account}", "--account", ACCOUNT)


def _pay(world: World, amount_fen: int) -> str:
    """Begin a payment and tell of it as the provider does; return its reference."""
    bank = Client(world.head_end.url, "bank", SECRET)
    asked = {"account": ACCOUNT, "amount_fen": amount_fen, "provider": "wallet"}
    begun = bank.post("/payments", asked)
    assert begun.status == 200, begun
    reference = str(begun.body["reference"])
    told = {"state": "paid", "provider_id": "W-1", "reference": reference}
    body = json.dumps({**told, "amount_fen": amount_fen, "paid_at": int(time.time())}).encode()
    mac = hmac.new(bytes.fromhex(SECRET), body, hashlib.sha256).hexdigest()
    headers = {"Provider-Signature": mac, "Content-Type": "application/json"}
    url = f"{world.head_end.url}/api/v1/providers/wallet/notifications"
    for _ in range(2):  # providers tell twice
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
    return reference


def test_a_household_that_runs_low_pays_and_has_its_supply_again(world: World) -> None:
    bank = Client(world.head_end.url, "bank", SECRET)
    world.until("notices", lambda: world.value("SELECT count(*) FROM notice_marks"))
    asked = {"account": ACCOUNT, "amount_fen": 500, "reference": "r-1"}
    assert bank.post("/sales", asked).status == 200
    world.until("the low balance", lambda: world.heard("Please top up"))
    world.until("the first order", lambda: world.heard("5.00 yuan arrived"))
    # All of it is paid back, which is quicker than to use it: what leaves nothing cuts.
    assert bank.post("/refunds", {**asked, "reference": "r-2"}).status == 200
    world.until("the cut", lambda: world.relay() == 1)
    world.until("the word of it", lambda: world.heard("was switched off"))
    reference = _pay(world, 5_000)
    world.until("the supply", lambda: world.relay() == 0)
    world.until("the receipt", lambda: world.heard("50.00 yuan arrived"))
    world.until("the word of it", lambda: world.heard("the supply is on again"))
    with Store(world.head_end.db, read_only=True) as store:
        one = payments.payment(store, reference)
        assert one is not None
        assert one["state"] == payments.SOLD
        told = notices.notices(store)
        balance = store.value("SELECT credit_fen - debit_fen FROM accounts")
    assert balance == 5_000
    assert {one["state"] for one in told} == {notices.DELIVERED}
    texts = world.sms.texts()
    for part in ("50.00 yuan arrived", "was switched off", "the supply is on again"):
        assert sum(part in one for one in texts) == 1, (part, texts)
