"""Goal: a person runs a concentrator on this computer and sets it up by one file, again and again.

Method: the real commands, each a process: `concentrator run` finds MicroPython and serves the
console on a Unix socket or a port of loopback; `setup` shows a difference, carries it out, finds
nothing to do the second time, and ends with status 1 when something was refused.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cards import keystore
from host.cli import cli, prompting
from host.demo.processes import wait_for
from host.headend import keys as uplink
from host.link.pty import PtyPort
from tools import micropython

pytestmark = pytest.mark.xdist_group("console")

ROOT = Path(__file__).resolve().parents[2]
TARIFF = ROOT / "host" / "demo" / "tariff.json"
FILE = """\
[concentrator]
id = 7
port = "unix:{folder}/console"
card_keys = "keys.toml"
uplink_keys = "uplink.toml"

[settings]
interval_s = 600

[tariffs]
1 = "tariff.json"

[meters]
list = "meters.csv"
"""
METERS = "meter,account,tariff,new\n983764,17,1,yes\n983765,18,1,\n"


def run(folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "host.cli", "concentrator", "run", *words]
    return subprocess.Popen(
        [*command, "--flash", str(folder / "flash.bin")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "MICROPYTHON": str(micropython.ensure())},
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a concentrator, and make a village's files beside its flash."""
    made = tmp_path_factory.mktemp("village")
    (made / "village.toml").write_text(FILE.format(folder=made))
    (made / "meters.csv").write_text(METERS)
    (made / "tariff.json").write_bytes(TARIFF.read_bytes())
    keystore.save(made / "keys.toml", keystore.new(4711), None)
    uplink.new(made / "uplink.toml", 7)
    with PtyPort() as line:
        process = run(made, "--line", line.name, "--console", f"unix:{made}/console")
        wait_for("the console", 60, (made / "console").exists)
        yield made
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert "MicroPython is 3.4" in said
    assert f"dianka console --port unix:{made}/console status" in said
    assert "dianka: stopped" in said
    assert not (made / "console").exists()


def dianka(*words: object, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)], input=text)


def console(folder: Path, *words: str, text: str | None = None) -> Result:
    return dianka("console", "--port", f"unix:{folder}/console", *words, text=text)


def test_a_village_is_set_up_by_one_file_and_stays_as_it_is(folder: Path) -> None:
    file = folder / "village.toml"
    shown = dianka("setup", file, "--check")
    assert shown.exit_code == 1
    for line in ("set id 0 -> 7", "set interval_s 900 -> 600", "put tariff 1 in force"):
        assert line in shown.output
    assert "set card_key from its file" in shown.output
    assert dianka("setup", file, text="n\n").exit_code == 1
    assert "meters 0 of 512" in console(folder, "status").output, "nothing was changed"

    done = dianka("setup", file, "--yes")
    assert done.exit_code == 0, done.output
    assert "11 of 11 carried out" in done.output
    keys = (folder / "keys.toml").read_text()
    assert not any(word in done.output for word in keys.split('"') if len(word) > 30)

    again = dianka("setup", file, "--check")
    assert (again.exit_code, again.output.count("nothing to change")) == (0, 1), again.output
    # The console asks for its key now.
    assert console(folder, "set", "interval_s", "900").exit_code == 1


def test_a_change_is_shown_and_what_is_refused_ends_with_1(folder: Path) -> None:
    file = folder / "changed.toml"
    text = FILE.format(folder=folder).replace("600", "60")
    file.write_text(text.replace("meters.csv", "changed.csv"))
    (folder / "changed.csv").write_text(METERS.replace("983764", "983766") + "983767,19,4,\n")
    done = dianka("setup", file, "--yes")
    assert done.exit_code == 1
    assert "set interval_s 600 -> 60" in done.output
    assert "has meter 000000983764, the list has 000000983766" in done.output
    assert "there is no tariff 4, load it first" in done.output
    assert "1 of 3 carried out" in done.output
    assert "Error: 2 were refused, see above" in done.output


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id = 7", "id = 0", "concentrator.id: Input should be greater than or equal to 1"),
        ("id = 7", "id = 8", "uplink.toml has no key of concentrator 8"),
        ("interval_s", "intervall_s", "settings.intervall_s: no setting that stands here"),
        ("interval_s = 600", "card_key = 1", "settings.card_key: no setting that stands here"),
        ("1 =", "9 =", "tariffs.9"),
        ("[meters]", "[metres]", "metres: Extra inputs are not permitted"),
        ("[meters]", "[meters", "is not TOML"),
        ("meters.csv", "none.csv", "none.csv"),
        ("tariff.json", "none.json", "none.json"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_key(
    folder: Path, old: str, new: str, said: str
) -> None:
    file = folder / "wrong.toml"
    file.write_text(FILE.format(folder=folder).replace(old, new))
    done = dianka("setup", file)
    assert done.exit_code == 1
    assert said in done.output.replace("\n", " ")
    assert "Traceback" not in done.output


def test_a_script_stops_at_the_first_refusal(folder: Path) -> None:
    script = folder / "script.txt"
    script.write_text("# what a technician keeps\n\nstatus\nfoo\nhelp\n")
    done = console(folder, "--script", str(script))
    assert done.exit_code == 1
    assert "meters 2 of 512" in done.output
    assert "script.txt, line 4: unknown command" in done.output
    assert "meter add ADDRESS" not in done.output, "help was not carried out"
    assert "not both" in console(folder, "--script", str(script), "status").output
    script.write_text("status\n")
    assert console(folder, "--script", str(script)).exit_code == 0


def test_input_goes_on_after_a_refusal_and_ends_with_1(folder: Path) -> None:
    done = console(folder, text="foo\nstatus\n")
    assert done.exit_code == 1
    assert "meters 2 of 512" in done.output
    assert "1 commands were refused" in done.output


def test_one_process_has_a_flash_file_and_one_client_the_console(folder: Path) -> None:
    with PtyPort() as line:
        second = run(folder, "--line", line.name, "--console", "127.0.0.1:0")
        said = second.communicate(timeout=60)[0]
    assert second.returncode == 2, said
    assert "runs on it: stop that one first" in said
    assert "dianka console --port socket://127.0.0.1:" in said
    with PtyPort() as line:
        third = run(folder, "--line", line.name, "--console", f"unix:{folder}/console")
        said = third.communicate(timeout=60)[0]
    assert third.returncode == 1
    assert f"cannot listen at unix:{folder}/console" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--uplink", "http://a:1"), "write tcp://HOST:PORT"),
        (("--uplink", "tcp://a"), "write tcp://HOST:PORT"),
        (("--console", "0.0.0.0:7646"), "a console is for this computer alone"),
        (("--micropython", "/none"), "/none does not exist"),
        (("--micropython", "/bin/true"), "is no MicroPython that can run the firmware"),
    ],
)
def test_a_mistake_of_a_run_is_told(tmp_path: Path, words: tuple[str, str], said: str) -> None:
    way = ["--flash", tmp_path / "f", "--line", "/dev/none"]
    if words[0] == "--console":
        way += ["--micropython", micropython.ensure()]
    done = dianka("concentrator", "run", *way, *words)
    assert done.exit_code in (1, 2)
    assert said in done.output
    assert "Traceback" not in done.output


def test_words_are_completed_as_the_concentrator_takes_them() -> None:
    commands = ["help", "meter add ADDRESS ACCOUNT", "meter list", "set NAME VALUE", "status"]
    assert prompting.completions("s", "s", commands) == ["set", "status"]
    assert prompting.completions("", "meter ", commands) == ["add", "list"]
    assert prompting.completions("l", "meter l", commands) == ["list"]
    assert prompting.completions("", "set ", commands) == []
