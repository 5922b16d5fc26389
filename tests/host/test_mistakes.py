"""Goal: whatever a person gets wrong, every command answers with one sentence and no traceback.

Method: each command is called as the first example of its help says, with one word at a time
replaced by each mistake that fits what it stands for: numbers, days, amounts, choices. All that
read a file or open a port get wrong ones. Full and read-only disks, closed pipes, no terminal,
another locale and a narrow window are tried in processes of their own.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from host.cards import keystore
from host.cli import cli, shown
from tests.host.test_cli import TREE
from tests.host.test_help_examples import BOARDS, ROOT, make_village

NUMBERS = ("x", "-5", "1e3", "5.5", "9" * 40)
DAYS = ("31.12.", "2026-13-45", "tomorrow")
AMOUNTS = ("x", "-5", "1e3", "5.001", "0x5", "９", "1_000")
DIGITS = ("x", "12345678901234567890", "1-2", "１２")
PORTS = (
    *("/nowhere/tty", "socket://127.0.0.1", "socket://127.0.0.1:1", "socket://127.0.0.1:99999"),
    *("tcp://127.0.0.1:1", str(ROOT / "README.md"), str(ROOT)),
)
FILES = ("missing.none", "folder", "binary.none", "empty.none", "cut.none")


def mistakes_of(parameter: click.Parameter) -> tuple[str, ...]:
    """Return what cannot stand for a parameter, whatever else is said."""
    kind = parameter.type
    if isinstance(kind, click.types.IntParamType):
        bounded = isinstance(kind, click.IntRange) and kind.max is not None
        return NUMBERS if bounded else NUMBERS[2:4]
    if isinstance(kind, click.types.FloatParamType):
        return ("x", "1,5")
    if kind.name == "day" or isinstance(kind, click.DateTime):
        return DAYS
    if isinstance(kind, click.Choice):
        return ("nosuch",)
    return {"yuan": AMOUNTS, "digits": DIGITS, "address": DIGITS, "zone": ("Mars/Base",)}.get(
        kind.name, ()
    )


def example_of(command: click.Command) -> list[str]:
    """Return the words behind `dianka` of the first example in a command's help."""
    text = (command.epilog or "").replace("\\\n", " ")
    lines = (" ".join(line.split()) for line in text.splitlines())
    example = next(line for line in lines if line.startswith("dianka "))
    return shlex.split(example.partition(" > ")[0])[1:]


def leaves() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for words, command in TREE.items():
        if not isinstance(command, click.Group) or words == ("bill",):
            yield words, command


LEAVES = dict(leaves())


def wrong_calls(words: tuple[str, ...], command: click.Command) -> Iterator[list[str]]:
    """Yield the example of a command with one word replaced by a mistake, each in turn."""
    example = example_of(command)
    for parameter in command.params:
        for mistake in mistakes_of(parameter):
            if isinstance(parameter, click.Option):
                yield _with_option(example, parameter.opts, mistake)
            elif (at := _place(words, command, example, parameter)) is not None:
                yield [*example[:at], mistake, *example[at + 1 :]]


def _with_option(example: list[str], names: list[str], mistake: str) -> list[str]:
    """Return the words with an option set to a mistake, in the place it has or at the end."""
    for at, word in enumerate(example[:-1]):
        if word in names:
            return [*example[: at + 1], mistake, *example[at + 2 :]]
    return [*example, names[0], mistake]


def _place(
    words: tuple[str, ...], command: click.Command, example: list[str], parameter: click.Parameter
) -> int | None:
    """Return where in the example an argument stands, if it is there."""
    context = click.Context(command, **command.context_settings)
    rest = [word for word in example if word not in words]
    values, _rest, _order = command.make_parser(context).parse_args(list(rest))
    value = values.get(parameter.name or "")
    value = value[0] if isinstance(value, tuple) and value else value
    return example.index(value) if isinstance(value, str) and value in example else None


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with what a counter has, and with files that are not what they should be."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "tariffs", folder / "tariffs")
    (folder / "folder").mkdir()
    (folder / "binary.none").write_bytes(bytes(range(256)) * 8)
    (folder / "empty.none").write_bytes(b"")
    (folder / "cut.none").write_text('[uplink\n7 = "', "utf-8")
    keystore.save(folder / "card-keys.toml", keystore.new(4711), None)
    make_village(folder / "village.db")
    shutil.copy(BOARDS / "esp32s3.json", folder / "board.json")
    return folder


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_each_wrong_word_of_each_command_is_told(
    words: tuple[str, ...], desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    carried_out: list[str | None] = []
    monkeypatch.setattr(shown.Command, "invoke", lambda self, ctx: carried_out.append(self.name))
    example = example_of(LEAVES[words])
    for wrong in ([*example, "--nosuch"], *wrong_calls(words, LEAVES[words])):
        done = CliRunner().invoke(cli, wrong)
        assert (done.exit_code, not carried_out) == (2, True), (wrong, done.output)
        assert "\nError: " in done.output, (wrong, done.output)


# What reads a file, and what opens a port; the mistake stands for {}.
READERS = """
bill {} 5
bill check {}
bill compare tariffs/zhejiang-tou.json --profile {}
explain {} 17
setup {} --check
console --port /nowhere/tty --tariff {}
console --port /nowhere/tty --script {}
card show --file card.bin --keys {}
card diff {} card.bin
card issue --csv {} --folder cards
card issue --file new.bin --account 1 --meter 1 --order 1 --amount 5 --keys {}
card redeem --file {} --port /nowhere/tty
headend show --db {}
headend sell --db village.db --file {}
headend serve --db village.db --keys {}
headend register import --db village.db {}
meter --port /nowhere/tty collect {} 00010000
sim meters --file {}
sim village {} --into new.db
flash /nowhere/tty --board {}
"""
OPENERS = """
meter read 1 00010000 --port {}
meter scan --console {}
sniff {}
console status --port {}
card redeem --file empty.none --port {}
card unlock --port {}
setup village.toml --port {}
flash {} --board board.json
sim meters --count 1 --port {}
"""


@pytest.mark.parametrize("call", [*READERS.split("\n")[1:-1], *OPENERS.split("\n")[1:-1]])
def test_each_wrong_file_and_port_is_told(
    call: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("DIANKA_CARD_PASSPHRASE", "correct horse battery")
    for mistake in PORTS if call in OPENERS else FILES:
        words = [mistake if word == "{}" else word for word in call.split()]
        done = CliRunner().invoke(cli, words)
        assert isinstance(done.exception, SystemExit), (words, done.exception)
        assert done.exit_code in (1, 2), (words, done.output)
        assert "Error: " in done.output, (words, done.output)


def test_what_is_no_card_is_described_and_a_log_begins_empty(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    shown_card = CliRunner().invoke(cli, ["card", "show", "--file", "binary.none"])
    assert (shown_card.exit_code, "Err-" in shown_card.output) == (0, True)
    assert CliRunner().invoke(cli, ["card", "log", "--log", "missing.none"]).exit_code == 0


def run(
    words: str, folder: Path, out: int | None = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "host.cli", *words.split()],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        timeout=60,
        check=False,
    )


PRINTERS = ("identifiers voltage", "decode 6864379800000068910633343435CC548A16", "card log")


@pytest.mark.parametrize("words", PRINTERS[:2])
def test_a_full_disk_is_one_sentence(words: str, desk: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(words, desk, full.fileno())
    told = done.stderr.decode()
    assert (done.returncode, told.count("\n")) == (1, 1), told
    assert "No space left on device" in told


@pytest.mark.parametrize("words", PRINTERS[:2])
def test_a_reader_that_went_away_is_no_mistake(words: str, desk: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run(words, desk, writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_without_chinese_and_a_narrow_one_are_no_mistakes(desk: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "COLUMNS": "20"}
    done = run("identifiers voltage", desk, PYTHONIOENCODING="ascii", **ascii_only)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"phase A voltage" in done.stdout
    assert "…".encode() not in done.stdout


def test_a_question_without_a_terminal_names_the_way_to_answer(desk: Path) -> None:
    sealed = desk / "sealed.toml"
    keystore.save(sealed, keystore.new(4711), "correct horse battery")
    for words in ("card keys advance --keys sealed.toml", "card keys advance"):
        done = run(words, desk, DIANKA_CARD_PASSPHRASE="")
        told = done.stderr.decode()
        assert (done.returncode, "Warning" in told, "Traceback" in told) == (1, False, False)
        assert "stopped at a question: without a terminal" in told


def test_what_is_no_image_is_not_started(desk: Path) -> None:
    """An emulator would wait for it until its time is over."""
    (desk / "notes.elf").write_text("no program")
    words = "concentrator run --flash flash.bin --line /dev/ptmx --image notes.elf"
    done = run(words, desk)
    assert done.returncode == 1
    assert "notes.elf is no image for it: `make image BOARD=qemu`" in done.stderr.decode()


# What writes into the folder it is in, and what only reads there.
WRITERS = """
card keys new --district 4711 --keys new.toml
card issue --file new.bin --account 1 --meter 1 --order 1 --amount 5
card keys hand-down --keys card-keys.toml --district 4711 --out counter.toml
headend init --db new.db
headend keys new --keys new.toml --concentrator 7
headend backup --db village.db --out copy.db
headend sell --db village.db --account 000000000001 --amount 5
concentrator run --flash flash.bin --line /dev/ptmx
sim meters --count 1 --link LINE
sim meters --count 1 --trace trace.jsonl
demo --plot day.png
"""
LOOKERS = ("headend show --db village.db", "card log")


@pytest.fixture(scope="module")
def sealed_desk(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a copy of the desk in which nothing can be written."""
    folder = tmp_path_factory.mktemp("sealed") / "desk"
    shutil.copytree(desk, folder)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def run_sealed(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command for which the bits of a folder count, also where the tests are root's."""
    bound = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*bound, sys.executable, "-m", "host.cli", *words.split()],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DIANKA_CARD_PASSPHRASE": "a long sentence"},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("words", WRITERS.split("\n")[1:-1])
def test_a_folder_that_is_read_only_is_one_sentence(words: str, sealed_desk: Path) -> None:
    done = run_sealed(words, sealed_desk)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: "), done.stderr
    assert re.search("Permission denied|read-?only", done.stderr), done.stderr


@pytest.fixture(scope="module")
def read_only_disk(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the words that run a command where the desk is on a file system that is read-only."""
    folder = tmp_path_factory.mktemp("disk") / "desk"
    shutil.copytree(desk, folder)
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"'
    bound = ["unshare", "--mount", "--map-root-user", "sh", "-c", mounted, str(folder)]
    if subprocess.run([*bound, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted read-only here")
    return bound


@pytest.mark.parametrize("words", [*WRITERS.split("\n")[1:-1], *LOOKERS])
def test_a_disk_that_is_read_only_is_one_sentence(words: str, read_only_disk: list[str]) -> None:
    """Not even root writes there, and no lock or log of a database can be made."""
    done = subprocess.run(
        [*read_only_disk, sys.executable, "-m", "host.cli", *words.split()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DIANKA_CARD_PASSPHRASE": "a long sentence"},
        timeout=60,
        check=False,
    )
    if words in LOOKERS:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: "), done.stderr
    assert re.search("[Rr]ead-?only", done.stderr), done.stderr


@pytest.mark.parametrize("words", LOOKERS)
def test_what_only_reads_works_in_a_folder_that_is_read_only(
    words: str, sealed_desk: Path
) -> None:
    done = run_sealed(words, sealed_desk)
    assert done.returncode == 0, done.stderr
