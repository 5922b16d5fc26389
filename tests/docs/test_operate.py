"""Goal: whoever types what docs/OPERATE.md says gets a village that sells, and finds it in order.

Method: the blocks marked as shell are run by one shell, in order, in an empty folder: once with
the concentrator on unix MicroPython, and at the same time once with it on the emulated board. The
shell stops at the first command that fails. Commands of the other parts are parsed here, and run
by test_operate_services.py; the services are read by systemd, and installed below another root.
"""

import configparser
import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from host.cli import cli, shown
from tools import image, micropython

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / name for name in ("OPERATE.md", "OPERATE.zh-CN.md")]
SERVICES = sorted((ROOT / "docs" / "services").glob("*.service"))
_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"^    (dianka (?:.*\\\n)*.*)$", re.MULTILINE)
# In sentences a command is named without what it needs.
_NAMED = re.compile(r"`dianka ((?:[a-z-]+ )*[a-z-]+)[^`]*`")


def blocks(page: Path) -> str:
    return "".join(_SHELL.findall(page.read_text("utf-8")))


def walk(folder: Path, commands: str) -> "subprocess.Popen[bytes]":
    """Start a shell that carries out the commands in a new folder, up to the first that fails."""
    dianka = folder / "bin" / "dianka"
    dianka.parent.mkdir(parents=True)
    dianka.write_text(f'#!/bin/sh\nexec {sys.executable} -m host.cli "$@"\n')
    dianka.chmod(0o755)
    village = folder / "village"
    village.mkdir()
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            ["/bin/sh", "-e", "-x", "-c", commands],
            cwd=village,
            env={
                **os.environ,
                "PATH": f"{dianka.parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "MICROPYTHON": str(micropython.ensure()),
                "COLUMNS": "200",
                "TZ": "CST-8",  # the zone of the station, for the simulated meters
            },
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def walks() -> dict[str, str]:
    """Return the page's commands for each board; on the emulated one, beside the other."""
    commands = blocks(PAGES[0])
    try:
        image.install_emulator()
    except image.ImageError as error:
        pytest.skip(str(error))
    run = f"concentrator run --image {image.build_emulated()}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    emulated = commands.replace("concentrator run", run).replace(":7645", f":{port}")
    emulated = emulated.replace("headend serve", f"headend serve --port {port}")
    return {"unix": commands, "emulated": emulated}


@pytest.mark.slow
@pytest.mark.xdist_group("console")
def test_a_newcomer_gets_a_village_that_sells_cuts_and_restores(tmp_path: Path) -> None:
    shells = {board: walk(tmp_path / board, text) for board, text in walks().items()}
    try:
        statuses = {board: shell.wait(420) for board, shell in shells.items()}
    finally:
        for shell in shells.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
    for board, status in statuses.items():
        village = tmp_path / board / "village"
        told = (tmp_path / board / "said").read_text()
        logs = "".join(path.read_text() for path in village.glob("*.log"))
        assert status == 0, told + logs
        assert "nothing to change" in told
        assert "balance_fen 5000" in told
        cut, restored = re.findall("^.*04000503 .*run status word 3.*$", told, re.MULTILINE)
        assert "relay open" in cut
        assert "relay open" not in restored
        assert "everything agrees, to the fen" in told
        assert "finding 1 is closed" in told
        assert "Traceback" not in told + logs


def test_both_languages_have_the_same_commands() -> None:
    english, chinese = (blocks(page) for page in PAGES)
    assert english == chinese
    assert commands(PAGES[0]) == commands(PAGES[1])


def commands(page: Path, heading: str = "") -> list[str]:
    """Return the commands that a page shows, under a heading alone, each as one line."""
    text = page.read_text("utf-8")
    if heading:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [found.replace("\\\n", " ") for found in _SHOWN.findall(text)]


@pytest.mark.parametrize("line", commands(PAGES[0]))
def test_what_needs_more_than_a_laptop_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = ("board.json", "village.toml", "uplink.toml", "firmware.elf", "cert.pem", "key.pem")
    for name in files:
        Path(name).touch()
    understood: list[str | None] = []
    monkeypatch.setattr(shown.Command, "invoke", lambda self, ctx: understood.append(self.name))
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert (done.exit_code, len(understood)) == (0, 1), done.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_sentence_names_is_there(page: Path) -> None:
    text = " ".join(page.read_text("utf-8").split())
    named = _NAMED.findall(text)
    assert len(named) > 10
    for words in named:
        command: click.Command = cli
        for word in words.split():
            assert isinstance(command, click.Group), words
            found = command.get_command(click.Context(command), word)
            assert found is not None, words
            command = found
            if not isinstance(command, click.Group):
                break


def test_a_head_end_gets_all_packages_that_it_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\\n", " ")
        line = re.search(r"^    pipx inject dianka (.*)$", text, re.MULTILINE)
        assert line
        named = {re.split("[<>=]", one)[0] for one in shlex.split(line[1])}
        wanted = project["optional-dependencies"]["station"]
        assert named == {re.split("[<>=]", one)[0] for one in wanted}


def test_make_has_what_the_pages_name() -> None:
    verbs = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page in PAGES:
        named = re.findall(r"\bmake ([a-z-]+) (?:&&|`)", page.read_text("utf-8"))
        assert set(named) <= set(verbs), page.name


def unit_of(file: Path) -> configparser.ConfigParser:
    """Return what a service's file says."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their capitals
    unit.read_string(file.read_text("utf-8"))
    return unit


@pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.name)
def test_a_service_starts_what_there_is(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = unit_of(file)
    assert {"Unit", "Service", "Install"} == set(unit.sections())
    command = unit["Service"]["ExecStart"].replace("%i", "ttyUSB0").replace("%I", "ttyUSB0")
    test_what_needs_more_than_a_laptop_is_understood(command, tmp_path, monkeypatch)
    for page in PAGES:
        assert f"(services/{file.name})" in page.read_text("utf-8")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs: apt install systemd")
@pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.name)
def test_systemd_has_no_word_against_a_service(file: Path, tmp_path: Path) -> None:
    unit = tmp_path / file.name.replace("@.", "@ttyUSB0.")
    unit.write_text(file.read_text("utf-8").replace("/usr/local/bin/dianka", "/bin/true"))
    for text, is_wrong in ((unit.read_text(), False), ("[Service]\nRestrat=no\n", True)):
        unit.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert bool(said or done.returncode) == is_wrong, said


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("systemctl", "useradd"))),
    reason="needs root, and: apt install systemd passwd",
)
def test_services_are_installed_by_the_words_of_the_page(tmp_path: Path) -> None:
    """Run the lines below a root of the test's own; pipx and a running systemd are not there."""
    root, here = tmp_path / "root", tmp_path / "here"
    for name in ("passwd", "group", "shadow", "gshadow", "systemd/system/"):
        path = root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(parents=True) if name.endswith("/") else path.touch()
    here.mkdir()
    (here / "docs").symlink_to(ROOT / "docs")
    (here / "village.db").touch()
    (here / "uplink.toml").touch()
    lines = PAGES[0].read_text("utf-8").partition("    useradd ")[1:]
    script = "".join(lines).partition("    systemctl reload")[0]
    assert script in PAGES[1].read_text("utf-8")
    for old, new in (
        ("useradd", f"useradd --prefix {root}"),
        ("-o dianka -g dianka", ""),
        ("/etc/systemd/system", f"{root}/etc/systemd/system"),
        (" /var/lib/dianka\n", f" {root}/var/lib/dianka\n"),
        ("systemctl enable --now", f"systemctl --root={root} enable"),
    ):
        assert old in script
        script = script.replace(old, new)
    subprocess.run(["/bin/sh", "-e", "-c", script], cwd=here, check=True, timeout=60)
    assert "dianka:" in (root / "etc/passwd").read_text()
    state = root / "var/lib/dianka"
    assert (state.stat().st_mode & 0o777, sorted(path.name for path in state.iterdir())) == (
        0o700,
        ["uplink.toml", "village.db"],
    )
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    assert sorted(os.listdir(wanted)) == [
        "dianka-concentrator@ttyUSB0.service",
        "dianka-headend.service",
    ]
