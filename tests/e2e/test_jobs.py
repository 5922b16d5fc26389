"""Goal: every kind of job is carried out by a real concentrator, or refused by it in words.

Method: the firmware on a real MicroPython, a real head-end, and the commands as a station types
them, one after the other. The concentrator's line has no meters, so that a question to one ends
without an answer.
"""

import json
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.demo.processes import wait_for
from host.device import device_root
from host.headend.store import Store
from host.link.pty import PtyPort
from tests.host.serving import HeadEnd
from tests.host.uplink_world import CONCENTRATOR, KEY
from tools import micropython

pytestmark = pytest.mark.slow

ACCOUNT = "000000000001"
TARIFF = Path(__file__).resolve().parents[2] / "tariffs" / "zhejiang-tou.json"
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


@pytest.fixture
def headend(tmp_path: Path) -> Iterator[HeadEnd]:
    """Return a head-end with which a concentrator on a real MicroPython is connected."""
    made = HeadEnd(tmp_path)
    line, console = PtyPort(), PtyPort()
    words = ["--flash", str(tmp_path / "flash"), "--line", line.name, "--console", console.name]
    words += ["--uplink", f"127.0.0.1:{made.port}"]
    program = str(micropython.ensure())
    subprocess.run([program, "-c", _SET_UP, *words], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([program, str(device_root() / "main.py"), *words])
    try:
        wait_for("the concentrator", 60, lambda: value(made, "SELECT 1 FROM concentrators"))
        yield made
    finally:
        process.kill()
        process.wait()
        made.end(signal.SIGTERM)
        line.close()
        console.close()


def value(headend: HeadEnd, sql: str) -> object:
    with Store(headend.db) as store:
        return store.value(sql)


def job(headend: HeadEnd, *words: str) -> list[tuple[str, str]]:
    """Give a job; return state and answer of its commands, once all have ended."""
    told = ["headend", "job", words[0], "--db", str(headend.db), *words[1:], "--json"]
    done = CliRunner().invoke(cli, told)
    assert done.exit_code == 0, done.output
    number = json.loads(done.stdout)["job"]
    open_now = f"SELECT count(*) FROM commands WHERE job = {number} AND ended_at IS NULL"
    wait_for(" ".join(words), 60, lambda: value(headend, open_now) == 0)
    with Store(headend.db) as store:
        rows = store.rows(
            "SELECT state, answer FROM commands WHERE job = ? ORDER BY id", (number,)
        )
    return [(row["state"], row["answer"]) for row in rows]


def done(headend: HeadEnd, *words: str) -> str:
    """Give a job that has to succeed; return its first answer."""
    told = job(headend, *words)
    assert {state for state, _answer in told} == {"done"}, (words, told)
    return told[0][1]


def test_every_kind_of_job_reaches_a_real_concentrator(headend: HeadEnd) -> None:
    here = ("--concentrator", str(CONCENTRATOR))
    assert f"number {CONCENTRATOR}" in done(headend, "ask", "status", "--all")
    assert "records" in done(headend, "ask", "counters", *here)
    assert done(headend, "ask", "clock", *here)[:2] == "20"
    assert f"id {CONCENTRATOR}" in done(headend, "ask", "settings", *here)
    assert job(headend, "ask", "log", *here)[0][0] == "refused", "this board keeps no log"
    assert len(done(headend, "journal", "1", "2", *here).splitlines()[0]) == 128
    assert done(headend, "set", "interval_s=600", *here) == "interval_s 600"
    (bad,) = job(headend, "set", "interval_s=5", *here)
    assert bad[0] == "refused"
    assert bad[1]
    assert done(headend, "no-cut", "--days", "sat,sun", *here) == "no_cut_weekdays 65"
    assert done(headend, "no-cut", "--days", "none", *here) == "no_cut_weekdays 0"
    assert "tariff 1 in force" in done(headend, "tariff", str(TARIFF), "--number", "1", *here)
    assert done(headend, "ask", "tariffs", *here).splitlines()[1].startswith("1 ")
    done(headend, "give", f"meter add 000000000023 {ACCOUNT} 1 0 2007", *here)
    known = f"SELECT 1 FROM accounts WHERE account = '{ACCOUNT}'"
    wait_for("the account", 60, lambda: value(headend, known))
    assert ACCOUNT in done(headend, "ask", "meters", *here)
    done(headend, "give", "account new {account}", "--account", ACCOUNT)
    _act_on_account(headend)


def _act_on_account(headend: HeadEnd) -> None:
    """Protect the account, cut it, restore it and read its meter."""
    one = ("--account", ACCOUNT)
    told = datetime.now(ZoneInfo("Asia/Shanghai")) - timedelta(days=1)
    cut = ("cut", *one, "--notice", f"{told:%Y-%m-%d %H:%M}", "--reason", "arrears")
    assert done(headend, "guard", "on", *one, "--reason", "oxygen") == "guard 1"
    guarded = f"SELECT guard FROM accounts WHERE account = '{ACCOUNT}'"
    wait_for("the protection", 60, lambda: value(headend, guarded) == 1)
    words = ["headend", "job", cut[0], "--db", str(headend.db), *cut[1:]]
    refused = CliRunner().invoke(cli, words)
    assert "is protected" in refused.output
    assert done(headend, "guard", "off", *one) == "guard 0"
    wait_for("no protection", 60, lambda: value(headend, guarded) == 0)
    assert done(headend, *cut).startswith("state ")
    listed = headend.db.parent / "paid.csv"
    listed.write_text(f"account\n{ACCOUNT}\n")
    assert done(headend, "restore", "--file", str(listed)).startswith("state ")
    (read,) = job(headend, "read", "voltage", *one)
    assert read[0] in ("not done", "refused"), "nobody answers on this line"
