"""Goal: every example in the help of a command works.

Method: the commands parse all of them without carrying them out; those that need neither a port
nor a board are carried out as well, one after the other, at a counter with a small head-end.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from host.cards import keystore
from host.cli import cli, shown
from host.headend import orders
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.test_cli import walk
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

ROOT = Path(__file__).resolve().parents[2]
# Endings that the name of a file in an example may have.
_FILE = re.compile(
    r"[\w./-]+\.(bin|csv|toml|json|yaml|db|elf|log|lease|txt)|/usr/bin/\w+|journal/"
)
# Examples that only work with something that is missing here.
_NEEDS_MORE = re.compile(
    r"/dev/|socket://|--port|--pcsc|dianka (demo|sim|explain|concentrator|setup|ports)|serve|advance|postgres://"
)


def examples() -> Iterator[str]:
    """Yield each example once, in the order of the commands."""
    seen = set()
    for _path, command in walk(cli):
        text = (command.epilog or "").replace("\\\n", " ")
        for line in (" ".join(one.split()) for one in text.splitlines()):
            if line.startswith("dianka ") and line not in seen:
                seen.add(line)
                yield line


ALL = list(examples())


def words_of(example: str) -> list[str]:
    """Return the words behind `dianka`, without redirections and with names with * expanded."""
    words = shlex.split(example.partition(" > ")[0])[1:]
    found = [sorted(map(str, Path().glob(one))) if "*" in one else [one] for one in words]
    return [one for each in found for one in each]


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with the tariffs and a key file, in which the examples are typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIANKA_CARD_PASSPHRASE", "correct horse battery")
    # Every example opens the key file anew; a file says itself how costly that is made.
    monkeypatch.setattr(keystore, "MEMORY_KIB", 64)
    monkeypatch.setattr(keystore, "PASSES", 1)
    monkeypatch.setenv("DIANKA_PASSWORD", "correct horse battery")
    shutil.copytree(ROOT / "tariffs", tmp_path / "tariffs")
    return tmp_path


def test_there_are_examples() -> None:
    assert len(ALL) > 80


@pytest.mark.parametrize("example", ALL)
def test_an_example_is_understood(
    counter: Path, monkeypatch: pytest.MonkeyPatch, example: str
) -> None:
    understood: list[str] = []
    monkeypatch.setattr(shown.Command, "invoke", lambda self, ctx: understood.append(self.name))
    words = words_of(example)
    for at, word in enumerate(words):
        if _FILE.fullmatch(word) and not Path(word).exists():
            words[at] = word.lstrip("/")
            Path(words[at]).parent.mkdir(parents=True, exist_ok=True)
            Path(words[at]).mkdir() if word.endswith("/") else Path(words[at]).touch()
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert (result.exit_code, len(understood)) == (0, 1), result.output


def make_village(path: Path) -> None:
    """Make a head-end's database of two households, each with a redeemed purchase."""
    with Store(path, create=True) as store:
        for row in range(2):
            orders.sell(store, account_name(row), 10000)
        deliver(Ingest(store, KEYS), village_of(2, 5))


BOARDS = Path(__file__).parents[2] / "docs" / "boards"
SALES = "account,amount,reference\n000000000001,50.00,2026-07-0001\n"
# The example needs a typed key, a redeemed card, a finding or a sale of that number, a list, a
# channel, a signer, or no database.
_NEEDS_STATE = (
    "dianka sim village village.yaml",  # takes minutes, see test_village.py
    "dianka headend account",
    "dianka headend drawer",
    "dianka headend channel",
    "dianka headend payment",
    "dianka headend connect",
    "dianka headend planned-outage",
    "dianka headend complaint",
    "dianka headend load",
    "dianka headend person",
    "dianka headend tickets",
    "dianka headend month",
    "dianka headend notices",
    "dianka headend household-page",
    "dianka headend recharge",
    "dianka headend receipt",
    "dianka headend lease",
    "dianka headend district",
    "dianka headend approval",
    "dianka headend keys add",
    "dianka headend register",
    "dianka card topup",
    "dianka headend findings --db village.db --resolve",
    "dianka headend void",
    "dianka headend user change",
    "dianka headend user close",
    "dianka headend init",
    "dianka headend restore-db",
    "dianka headend replace",
    "dianka headend move",
    "dianka headend dismiss",
    "dianka firmware pack",
    "dianka headend job firmware",
    "dianka headend room",
    "dianka headend credit set",
    "dianka headend job cut",  # its notice is of this week
    "dianka sim shrink",  # a seed that fails
)


@pytest.mark.slow
def test_examples_without_a_port_work(counter: Path) -> None:
    make_village(counter / "village.db")
    Path("sales.csv").write_text(SALES)
    Path("log.txt").write_text("Traceback (most recent call last):\n")
    shutil.copy(BOARDS / "esp32s3.json", "board.json")
    done = 0
    for example in sorted(ALL, key=_order):
        if _NEEDS_MORE.search(example) or example.startswith(_NEEDS_STATE):
            continue
        if "headend job" in example and "--file" in example:  # a list of accounts
            continue
        if " issue " in example or " replace " in example:
            _take_new_cards()
        words = words_of(example)
        result = CliRunner().invoke(cli, words, catch_exceptions=False)
        # A card that would be refused and cards that differ end with status 1, and say so.
        told = words[:2] in (["card", "verify"], ["card", "diff"])
        works = result.exit_code == 0 or (told and "Error" not in result.output)
        assert works, (example, result.output)
        if Path("card.bin").exists():
            shutil.copy("card.bin", "before.bin")
            shutil.copy("card.bin", "after.bin")
        done += 1
    assert done > 30


def _take_new_cards() -> None:
    """Begin with empty cards and an empty log."""
    for path in (*Path().glob("*.bin"), *Path("cards").glob("*"), *Path().glob("card-log*")):
        path.unlink()


def _order(example: str) -> tuple[int, str]:
    """Return the place of an example: keys, sales, cards with orders, commands that read cards."""
    steps = ("keys new", "headend", "replace", "--csv", "--db", "issue", "card")
    return next((at for at, step in enumerate(steps) if step in example), len(steps)), example


def test_an_example_with_a_wrong_option_is_not_understood() -> None:
    result = CliRunner().invoke(cli, ["card", "show", "--fil", "card.bin"])
    assert result.exit_code == 2


def test_every_example_names_its_command() -> None:
    for path, command in walk(cli):
        if not isinstance(command, click.Group) and path:
            lines = [one for one in (command.epilog or "").splitlines() if "dianka " in one]
            assert any(f" {path[-1]}" in one or path[-1] == "price" for one in lines), path
