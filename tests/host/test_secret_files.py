"""Goal: a file with a secret is its owner's alone, whatever was put in its way before.

Method: the ways of `cases` A21: a file with wide rights, and a link to another file, stand where
the new file is made; what others can read is warned of by the commands that use it.
"""

import atexit
import os
import readline
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host import secret_files
from host.cli import cli, prompting
from host.link.console import SECRETS


def mode_of(path: Path) -> int:
    """Return the rights of a file."""
    return path.stat().st_mode & 0o777


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    secret_files.write(path, "secret")
    assert (path.read_text(), mode_of(path)) == ("secret", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_put_in_its_way_is_not_used(tmp_path: Path) -> None:
    planted = tmp_path / "keys.toml.new"
    planted.write_text("")
    planted.chmod(0o666)
    with planted.open() as watched:
        secret_files.write(tmp_path / "keys.toml", "secret")
        assert watched.read() == ""
    assert mode_of(tmp_path / "keys.toml") == 0o600


def test_a_link_that_was_put_in_its_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    (tmp_path / "keys.toml.new").symlink_to(victim)
    secret_files.write(tmp_path / "keys.toml", "secret")
    assert victim.read_text() == "as it was"
    assert not (tmp_path / "keys.toml").is_symlink()


def test_what_is_there_stays_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("old")
    with pytest.raises(FileExistsError):
        secret_files.write(path, "new")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
    secret_files.write(path, "new", overwrite=True)
    assert (path.read_text(), mode_of(path)) == ("new", 0o600)


@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_command_warns_of_a_key_file_that_others_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, warns: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    made = runner.invoke(cli, ["card", "keys", "new", "--district", "1", "--unsealed"])
    assert made.exit_code == 0
    Path("card-keys.toml").chmod(mode)
    issue = ["card", "issue", "--kind", "test", "--file", "card.bin"]
    done = runner.invoke(cli, issue)
    assert done.exit_code == 0
    assert ("others may read card-keys.toml" in done.output) is warns


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_on_the_command_line_is_refused(name: str) -> None:
    digits = "00" * 16
    flash = ["flash", "/dev/null", "--set"]
    console = ["console", "--port", "/dev/null"]
    for words in (
        [*flash, f"{name}={digits}"],
        [*flash, f" {name} = {digits}"],
        [*console, "set", name, digits],
        [*console, f"set {name}  {digits}"],
        [*console, "set", f"{name} {digits}"],
        [*console, "set", name, *digits],
    ):
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 2
        assert "stays in its history" in done.output
        assert digits not in done.output


@pytest.mark.parametrize(
    ("line", "keeps"),
    [
        ("set card_key -", True),
        ("account 000000000017", True),
        ("meter add 983764 17 1", True),
        ("set card_key 00112233445566778899aabbccddeeff", False),
        ("set card_key 0011 2233", False),
        ("SET card_key=0011", False),
        ("set crad_key 00112233445566778899aabbccddeeff", False),
        ("card_key 0011", False),
    ],
)
def test_no_key_gets_into_the_history(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, keeps: bool
) -> None:
    """What is typed at `dianka console` is kept in a file, see `prompting`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    given = iter([line])

    def typed(_prompt: str) -> str:
        try:
            readline.add_history(text := next(given))
        except StopIteration:
            raise EOFError from None
        return text

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr(atexit, "register", lambda keep, file: keep_at_end.append((keep, file)))
    keep_at_end: list[Any] = []
    readline.clear_history()
    umask = os.umask(0)
    try:
        assert list(prompting.typed("> ", [])) == [line]
        ((keep, file),) = keep_at_end
        keep(file)
    finally:
        os.umask(umask)
        readline.clear_history()
    assert (line in file.read_text(), mode_of(file)) == (keeps, 0o600)


def test_what_a_stranger_calls_a_command_is_not_offered() -> None:
    commands = ["status", "s\x1b]0;x\x07", "st\u202eatus", "set NAME", "\x1b[2J"]
    assert prompting.completions("s", "s", commands) == ["set", "status"]
    assert prompting.completions("", "", commands) == ["set", "status"]
