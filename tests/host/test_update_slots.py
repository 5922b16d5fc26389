"""Goal: a product is put on trial only where every file arrived, and every mistake is told.

Method: the real update.py and boot.py in a folder with two slots; the parts come in every order.
The whole way from the head-end is in tests/e2e/test_update.py.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boot
import pytest
import update
from concentrator.console.console import Refusal
from concentrator.settings import STORAGE_TROUBLE

from host.flash.product import Product

OLD = Product("1.0", {"main.py": b"1\n", "boards/same.py": b"s" * 9000}, 4)
NEW = Product("1.1", {"main.py": b"2\n" * 900, "boards/same.py": b"s" * 9000}, 5, "5" * 128)
NAME = hashlib.sha256(NEW.listing).hexdigest()[:16]
FILES = [NEW.listing, *NEW.files.values(), NEW.signature.encode()]
APP: Any = None


def put(folder: Path, product: Product) -> None:
    for name, data in {**product.files, "files": product.listing}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture(autouse=True)
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Slot a runs and is healthy; a product of counter 4 was. Slot b has remains of another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [])
    put(tmp_path / "a", OLD)
    (tmp_path / "a" / "healthy").write_text("1")
    put(tmp_path / "b", Product("0.9", {"main.py": b"0\n", "old/gone.py": b"0\n"}, 3))
    (tmp_path / "newest").write_text("4")
    assert boot.choose() == "a"
    monkeypatch.setattr(update, "_here", update._Receiver())
    update.commands_of(boot, SimpleNamespace(calm=lambda: None))  # type: ignore[arg-type]  # it is only calmed
    yield tmp_path
    monkeypatch.setattr(boot, "running", "")


def need(name: str = NAME) -> list[str]:
    return [line for line in update._firmware_need(APP, [name]) if line]


def send(place: int, offset: int, part: bytes) -> int:
    words = [str(place), str(offset), b64encode(part).decode()]
    return int(update._firmware_data(APP, words)[0])


def send_file(place: int, start: int = 0) -> None:
    data = FILES[place]
    for at in range(start, len(data), 72):
        assert send(place, at, data[at : at + 72]) == min(len(data), at + 72)


def refused(*words: str) -> str:
    commands: dict[str, Any] = {
        "need": lambda *told: list(update._firmware_need(*told)),
        "data": update._firmware_data,
        "try": update._firmware_try,
    }
    with pytest.raises(Refusal) as caught:
        commands[words[0]](APP, [*words[1:]])
    return str(caught.value)


def put_on_trial() -> None:
    answer = update._firmware_try(APP, [NAME])
    assert callable(answer)
    assert next(answer()) == "it starts on trial"


def deliver() -> None:
    """Send all that is missing."""
    assert need() == ["0 0"]
    send_file(0)
    assert need() == ["1 2", "3 0"], "what the running slot has is copied; the old file is short"
    send_file(1)
    send_file(3)
    assert need() == []


def test_a_product_arrives_and_is_tried(board: Path) -> None:
    deliver()
    assert not (board / "b" / "files").exists(), (
        "a start would take half a product for a whole one"
    )
    assert not (board / "b" / "old" / "gone.py").exists()
    put_on_trial()
    assert (board / "trial").read_text() == "b 3"
    assert boot.choose() == "b"
    assert boot.product == (2, 5, bytes.fromhex(NAME), b"1.1")
    assert boot.confirm()
    assert (board / "newest").read_text() == "5"


@pytest.mark.parametrize("cut", range(0, len(FILES[0]) + 72, 72))
def test_a_start_in_the_middle_loses_only_what_was_not_written(
    board: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    for at in range(0, min(cut, len(FILES[0])), 72):
        send(0, at, FILES[0][at : at + 72])
    monkeypatch.setattr(update, "_here", update._Receiver())
    update.commands_of(boot, SimpleNamespace(calm=lambda: None))  # type: ignore[arg-type]  # it is only calmed
    assert boot.choose() == "a"
    deliver()
    put_on_trial()
    assert boot.choose() == "b"


def test_a_part_that_comes_twice_or_early_changes_nothing(board: Path) -> None:
    assert send(0, 0, FILES[0][:72]) == 72
    assert send(0, 0, FILES[0][:72]) == 72
    assert send(0, 72, FILES[0][72:144]) == 144
    assert send(0, 72, FILES[0][72:144]) == 144
    assert refused("data", "0", "500", "AAAA") == "the file has 144 bytes: go on from there"


def test_a_wrong_file_is_asked_for_again(board: Path) -> None:
    deliver()
    wrong = bytearray(FILES[1])
    wrong[7] ^= 1
    (board / "b" / "main.py").write_bytes(wrong)
    assert need() == [f"1 {len(wrong)}"]
    assert refused("try", NAME) == "it is not whole: `firmware need` tells what is missing"
    send_file(1)
    assert need() == []
    put_on_trial()


def test_an_older_product_is_not_tried(board: Path) -> None:
    deliver()
    (board / "newest").write_text("6")
    assert refused("try", NAME) == "it is older than a product that was healthy here"
    assert boot.choose() == "a"


def test_tried_twice_it_is_the_product_that_runs(board: Path) -> None:
    """The power fails between its effect and its outcome, and the head-end repeats the command."""
    deliver()
    put_on_trial()
    assert boot.choose() == "b"
    assert update._firmware_try(APP, [NAME]) == ["it runs"]


def test_no_slot_is_written_while_the_running_one_is_on_trial(board: Path) -> None:
    deliver()
    put_on_trial()
    assert boot.choose() == "b"
    trial = "the product that runs is on trial: wait until it is healthy"
    assert refused("need", "0" * 16) == trial
    assert refused("data", "0", "0", "AAAA") == trial


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("need", "12"), "a product is named by the first 16 digits"),
        (("need", "x" * 16), "a product is named by the first 16 digits"),
        (("try", "0" * 16), "it is not whole"),
        (("data", "0", "0", "?"), "a part of a product is in base64"),
        (("data", "1000", "0", "AAAA"), "place is a number from 0 to 999"),
        (("data", "7", "0", "AAAA"), "the list has no such place: send it first"),
        (("data", "0", "-1", "AAAA"), "offset is a number from 0"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], said: str) -> None:
    assert refused(*words).startswith(said)


@pytest.mark.parametrize("name", ["../main.py", "/etc/passwd", "", "a/../../x"])
def test_a_list_cannot_name_what_is_outside_its_slot(board: Path, name: str) -> None:
    (board / "b" / "files~").write_text(f"1.1 5\n{'0' * 64} {name}\n")
    assert refused("data", "1", "0", "AAAA") == "the list names a file that is none"
    listing = (board / "b" / "files~").read_bytes()
    assert refused("need", hashlib.sha256(listing).hexdigest()[:16]).startswith("the list names")


def test_a_full_flash_is_told(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.statvfs", lambda _path: (4096, 4096, 100, 15, 15, *(0,) * 5))
    assert refused("data", "0", "0", "AAAA") == "there is no room for another product"


def test_a_flash_that_fails_is_told(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_words: object) -> None:
        raise OSError(5)

    send(0, 0, FILES[0][:72])
    monkeypatch.setattr(update, "_append", fail)
    assert refused("need", NAME) == STORAGE_TROUBLE
