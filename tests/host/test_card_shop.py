"""Goal: the counter issues each order once, also after a jam, and its log lists all writes.

Method: batches are interrupted at every step and started again; orders are tried twice; cards are
damaged and repaired; lines of the log are changed. Operators' cards change a real concentrator.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, tzinfo
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from card import codes
from click.testing import Result
from concentrator.cards.operator import Operator

from host.cards import batch, issuing, keystore
from host.cards.audit import AuditError, AuditLog
from host.cards.issuing import Issuer
from host.frames import card as frames
from host.frames import tariff
from host.frames.card_keys import district_key
from host.link.card import CardIoError, FileCard
from host.sim.card import VirtualCard
from tests.host.card_desk import CARD_DESK_T2000, CardDesk, served
from tests.host.test_card_cli import ACCOUNT, METER, console_key_of, desk_for, issue, run, verify
from tests.host.test_card_frames import BASE

TARIFF = Path(__file__).resolve().parents[2] / "host" / "demo" / "tariff.json"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a key file in it; operator's cards are made before they are inserted."""
    monkeypatch.chdir(tmp_path)
    moments = count(CARD_DESK_T2000 - 3600)
    monkeypatch.setattr("host.cli.card.operator.now_t2000", lambda _zone: next(moments))
    assert run("keys", "new", "--district", 4711, "--unsealed").exit_code == 0
    return tmp_path


def orders_file(count: int, name: str = "orders.csv") -> Path:
    """Write a file with order 2 of each of `count` accounts."""
    rows = [f"{number:012d},{METER},2,{number}.50" for number in range(1, count + 1)]
    path = Path(name)
    path.write_text("\n".join(["account,meter,order,amount", *rows]) + "\n")
    return path


def issue_csv(*words: object) -> Result:
    return run("issue", "--csv", "orders.csv", "--folder", "cards", *words)


def issuer() -> Issuer:
    key_of = keystore.load(Path("card-keys.toml"), lambda: "").key_of
    return Issuer(key_of, AuditLog(Path("log"), key_of))


def card_of(path: Path) -> frames.Card:
    key = keystore.load(Path("card-keys.toml"), lambda: "").key_of(4711, 1)
    return frames.parse(path.read_bytes(), key)


# --- batches ------------------------------------------------------------------------------------


def test_a_batch(shop: Path) -> None:
    orders_file(7)
    done = issue_csv()
    assert (done.exit_code, done.output) == (
        0,
        "7 cards issued, 0 were issued before, 7 orders\n",
    )
    files = sorted(Path("cards").iterdir())
    assert len(files) == 7
    cards = [card_of(path) for path in files]
    assert all(card.genuine for card in cards)
    assert [card.header.amount_fen for card in cards if card.header] == [
        100 * number + 50 for number in range(1, 8)
    ]
    before = [path.read_bytes() for path in files]
    assert issue_csv().output == "0 cards issued, 7 were issued before, 7 orders\n"
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1.50", "60.00", "was issued with 1.50 yuan"),
        ("000000983764", "000000983799", "for meter 000000983799"),
        ("1.50", "-1.50", "amount '-1.50'"),
    ],
)
def test_a_list_that_differs_from_the_log_is_an_error(
    shop: Path, old: str, new: str, said: str
) -> None:
    orders_file(1)
    assert issue_csv().exit_code == 0
    before = [path.read_bytes() for path in sorted(Path("cards").iterdir())]
    path = Path("orders.csv")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    done = issue_csv()
    assert (done.exit_code, said in done.output) == (1, True), done.output
    assert [path.read_bytes() for path in sorted(Path("cards").iterdir())] == before


class Jam(Exception):
    """The printer has stopped."""


class JammingCard(FileCard):
    """A card that stops before the write of number `left`."""

    left = 0

    def write(self, offset: int, data: bytes) -> None:
        if JammingCard.left == 0:
            raise Jam
        JammingCard.left -= 1
        super().write(offset, data)


@pytest.mark.parametrize("writes", range(6))
def test_a_jammed_batch_goes_on_without_issuing_an_order_twice(
    shop: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    orders_file(5)
    orders = batch.read_orders(Path("orders.csv"))
    with monkeypatch.context() as patched:
        patched.setattr(batch, "FileCard", JammingCard)
        JammingCard.left = writes
        magazine = batch.Folder(Path("cards"))
        try:
            list(batch.issue_all(issuer(), orders, magazine, 4711, 1))
            assert writes == 5
        except Jam:
            pass
    one = issuer()
    written = list(batch.issue_all(one, orders, batch.Folder(Path("cards")), 4711, 1))
    assert len(written) == 5 - writes
    found = [card_of(path).header for path in Path("cards").iterdir()]
    assert sorted(header.account for header in found if header) == [
        f"{number:012d}" for number in range(1, 6)
    ]
    assert all(one.log.find(order.account, 2).done for order in orders)  # type: ignore[union-attr]  # a missing one fails as well


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no column account"),
        ("account,meter,order\n", "no column amount"),
        ("account,meter,order,amount\n", "has no rows below"),
        ("account,meter,order,amount\n17x,000000983764,1,5\n", "line 2: account '17x'"),
        ("account,meter,order,amount\n000000000017,x1,1,5\n", "line 2: meter 'x1'"),
        ("account,meter,order,amount\n000000000017,000000983764,0,5\n", "line 2: order '0'"),
        ("account,meter,order,amount\n000000000017,000000983764,1,5.001\n", "amount '5.001'"),
        ("account,meter,order,amount\n000000000017,000000983764,1,0\n", "out of range"),
        (
            "account,meter,order,amount\n000000000017,000000983764,1\n",
            "line 2: 3 cells, the first line has 4",
        ),
        (
            "account,meter,order,amount\n" + "000000000017,000000983764,1,5\n" * 2,
            "line 3: the same account and order as in line 2",
        ),
        ("account,meter,order,amount\n" + "x,y,z,w\n" * 20, "and 10 more"),
        ("\0\xff", "is no text in UTF-8"),
    ],
)
def test_a_wrong_list_issues_nothing(shop: Path, content: str, said: str) -> None:
    Path("orders.csv").write_text(content)
    done = issue_csv()
    assert done.exit_code == 1
    assert said in done.output
    assert not Path("cards").exists()
    assert not Path("card-log.jsonl").exists()


def test_a_batch_needs_a_place_for_its_cards(shop: Path) -> None:
    orders_file(1)
    done = run("issue", "--csv", "orders.csv")
    assert done.exit_code == 2
    assert "--folder cards, or --pcsc" in done.output


def test_500_cards_to_the_virtual_reader(shop: Path) -> None:
    """Each order is written on a card, read back and logged; `pytest -rP` prints the speed."""
    orders_file(500)
    begin_s = time.perf_counter()
    done = issue_csv()
    lasted_s = time.perf_counter() - begin_s
    assert "500 cards issued" in done.output
    print(f"{500 / lasted_s:.0f} cards a second")


# --- once ---------------------------------------------------------------------------------------


def test_an_order_is_not_issued_on_a_second_card(shop: Path) -> None:
    assert issue(5).exit_code == 0
    assert issue(5).exit_code == 0, "the same card may be written again"
    done = issue(5, file="other.bin")
    assert done.exit_code == 1
    assert "was issued on card" in done.output
    assert "`dianka card replace`" in done.output
    assert issue(5, "--force", file="other.bin").exit_code == 0


def test_a_begun_order_goes_on_with_its_card(shop: Path) -> None:
    one = issuer()
    order = batch.Order(ACCOUNT, METER, 5, 100)
    card = VirtualCard("00000000000000AA")
    card.tear_at_byte = 40
    with pytest.raises(OSError, match="pulled at byte"):
        list(batch.issue_all(one, [order], _Tray(card), 4711, 1))
    done = run(*issue_words(5), "--file", "other.bin", "--log", "log")
    assert done.exit_code == 1
    assert "was begun on card 00000000000000AA" in done.output
    card.insert()
    assert len(list(batch.issue_all(issuer(), [order], _Tray(card), 4711, 1))) == 1


class _Tray:
    """A tray with one card."""

    def __init__(self, card: VirtualCard) -> None:
        self._card = card

    def card_for(self, order: batch.Order, uid: str | None) -> VirtualCard:
        return self._card

    def put(self, order: batch.Order) -> None:
        pass


def issue_words(order: int) -> tuple[object, ...]:
    who = ("--account", ACCOUNT, "--meter", METER)
    return ("issue", *who, "--order", order, "--amount", "1")


@pytest.mark.parametrize("byte", range(0, 224, 37))
def test_torn_while_issued(shop: Path, byte: int) -> None:
    order = batch.Order(ACCOUNT, METER, 5, 100)
    card = VirtualCard("00000000000000AA")
    card.tear_at_byte = byte
    with pytest.raises(OSError, match="pulled"):
        list(batch.issue_all(issuer(), [order], _Tray(card), 4711, 1))
    card.insert()
    key = keystore.load(Path("card-keys.toml"), lambda: "").key_of(4711, 1)
    torn = frames.parse(bytes(card.memory), key)
    assert torn.genuine == (byte >= 88)
    assert len(list(batch.issue_all(issuer(), [order], _Tray(card), 4711, 1))) == 1
    assert frames.parse(bytes(card.memory), key).genuine


@pytest.mark.parametrize("kind", list(frames.CardKind))
def test_torn_write_of_each_kind_at_every_byte(kind: frames.CardKind) -> None:
    """A torn write leaves no genuine header, or the whole one; a second write repairs the card."""
    key = district_key(bytes(32), 4711, 1)
    content = frames.key_content(2, bytes(16)) if kind == frames.CardKind.KEY else bytes(32)
    header = replace(BASE, kind=kind, key_version=1, content=content)
    for byte in range(224):
        card = VirtualCard("00000000000000AA")
        card.tear_at_byte = byte
        with pytest.raises(OSError, match="pulled"):
            issuing.issue(card, header, key)
        card.insert()
        torn = frames.parse(bytes(card.memory), key)
        assert torn.genuine == (byte >= 88), byte
        assert not torn.write_back_genuine
        written = issuing.issue(card, header, key)
        mended = frames.parse(bytes(card.memory), key)
        assert (mended.genuine, mended.header) == (True, written)


# --- kinds --------------------------------------------------------------------------------------


def test_topup_takes_the_household_from_the_card(shop: Path) -> None:
    assert issue(1).exit_code == 0
    done = run("topup", "--file", "card.bin", "--amount", "20")
    assert done.exit_code == 1
    assert "bears order 1" in done.output
    with served(desk_for(shop)) as port:
        run("redeem", "--file", "card.bin", "--port", port)
        done = run("topup", "--file", "card.bin", "--amount", "20")
        assert "order 2 of account 000000000017, 20.00 yuan, purchase" in done.output
        done = run("redeem", "--file", "card.bin", "--port", port)
    assert "balance 70.00 yuan" in done.output
    done = run("topup", "--file", "none.bin", "--amount", "20")
    assert "there is no card" in done.output or "cannot use card" in done.output


def test_replace_a_lost_card(shop: Path) -> None:
    assert issue(5).exit_code == 0
    who = ("--account", ACCOUNT, "--meter", METER)
    done = run("replace", "--file", "new.bin", *who, "--order", 5, "--amount", "5")
    assert (done.exit_code, "was issued over 50.00 yuan, not 5.00" in done.output) == (1, True)
    done = run("replace", "--file", "new.bin", *who, "--order", 5, "--amount", "50")
    assert done.exit_code == 0, done.output
    desk = desk_for(shop, last=4)
    with served(desk) as port:
        assert run("redeem", "--file", "new.bin", "--port", port).exit_code == 0
        for file, code in (("card.bin", "Err-34.33"), ("new.bin", "Err-34.18")):
            done = run("redeem", "--file", file, "--port", port)
            assert (done.exit_code, code in done.output) == (1, True)
    assert desk.books.credits == [(5, 5000)]


class Settings:
    """The settings that a preset or key card changes."""

    def __init__(self) -> None:
        self.values = {"operator_order": "0"}

    def number(self, name: str) -> int:
        return int(self.values[name])

    def steps(
        self, pairs: list[tuple[str, str]], note: Callable[[list[Any]], bool]
    ) -> Iterator[str]:
        assert note([])
        yield ""
        self.values.update(pairs)
        yield ""


def with_operator(folder: Path) -> tuple[CardDesk, Settings]:
    desk, settings = desk_for(folder, last=4), Settings()
    desk.books.resume = lambda index: True
    desk.books.note_operator = lambda *told: True
    operator = Operator(settings, desk.books, lambda: None)  # type: ignore[arg-type]  # fakes of both
    desk.redemption._operator = operator
    return desk, settings


def test_preset_card(shop: Path) -> None:
    done = run("preset", "--file", "p.bin", "--alarm-1", "30", "--close", "0")
    assert done.exit_code == 0, done.output
    assert "30.00 yuan" in run("show", "--file", "p.bin").output
    desk, settings = with_operator(shop)
    with served(desk) as port:
        assert run("redeem", "--file", "p.bin", "--port", port).exit_code == 0
        assert "Err-34.18" in run("redeem", "--file", "p.bin", "--port", port).output
    assert settings.values["alarm_1_fen"] == "3000"
    assert settings.values["close_fen"] == "0"
    assert "alarm_2_fen" not in settings.values
    assert run("preset", "--file", "p.bin").exit_code == 2


def test_key_card(shop: Path) -> None:
    held = keystore.load(shop / "card-keys.toml", lambda: "")
    assert issue(5).exit_code == 0
    assert run("change-key", "--file", "k.bin").exit_code == 0
    assert held.key_of(4711, 2) not in Path("k.bin").read_bytes()
    assert held.key_of(4711, 2).hex() not in Path("card-log.jsonl").read_text()
    assert "for concentrators only" in run("show", "--file", "k.bin").output
    desk, settings = with_operator(shop)
    with served(desk) as port:
        assert run("redeem", "--file", "k.bin", "--port", port).exit_code == 0
    assert settings.values["card_key"] == held.key_of(4711, 2).hex()
    assert settings.values["card_key_version"] == "2"
    assert run("keys", "advance", "--yes").exit_code == 0
    assert verify(4)[1]["code"] == "Err-32.06", "the old card is dead"
    assert run("change-key", "--file", "k2.bin", "--new-version", 2).exit_code == 1
    assert issue(5, "--force").exit_code == 0
    assert verify(4)[0] == 0


def test_clear_inspect_and_test_cards(shop: Path) -> None:
    who = ("--account", ACCOUNT, "--meter", METER)
    assert run("clear", "--file", "c.bin", *who).exit_code == 0
    assert run("clear", "--file", "c2.bin", "--all").exit_code == 0
    assert run("clear", "--file", "c3.bin").exit_code == 2
    assert run("issue", "--file", "i.bin", "--kind", "inspect", *who).exit_code == 0
    assert run("issue", "--file", "t.bin", "--kind", "test").exit_code == 0
    desk, _ = with_operator(shop)
    desk.books.illegal[codes.ILLEGAL] = 3
    with served(desk) as port:
        for name in ("c.bin", "i.bin", "i.bin", "t.bin", "t.bin"):
            done = run("redeem", "--file", name, "--port", port)
            assert done.exit_code == 0, (name, done.output)
    assert desk.books.illegal[codes.ILLEGAL] == 0
    assert "newest order" in run("show", "--file", "i.bin").output
    assert desk.books.credits == []


def test_unlock(shop: Path) -> None:
    desk = desk_for(shop, last=4)
    assert issue(5).exit_code == 0
    Path("bad.bin").write_bytes(bytes(32) + Path("card.bin").read_bytes()[32:])
    desk.login.key = console_key_of(shop)
    with served(desk) as port:
        for _ in range(5):
            assert "Err-33.13" in run("redeem", "--file", "bad.bin", "--port", port).output
        assert "Err-32.22" in run("redeem", "--file", "bad.bin", "--port", port).output
        assert run("unlock", "--port", port).exit_code == 0
        assert run("redeem", "--file", "card.bin", "--port", port).exit_code == 0
    assert desk.books.illegal[codes.ILLEGAL] == 5
    assert [note[0] for note in desk.books.notes] == [codes.SERIAL] * 5


@pytest.mark.parametrize("suite", ["hmac", "aes", "sm4"])
def test_suites(shop: Path, suite: str) -> None:
    assert issue(5, "--suite", suite).exit_code == 0
    assert verify(4)[0] == 0
    image = bytearray(Path("card.bin").read_bytes())
    image[32 + 36] ^= 1
    Path("card.bin").write_bytes(image)
    assert verify(4)[1]["code"] == "Err-32.10"


def test_a_card_names_the_next_tariff(shop: Path) -> None:
    named = ("--next-tariff", TARIFF, "--next-number", 2)
    done = issue(5, *named)
    assert done.exit_code == 2
    assert "--next-from" in done.output
    done = issue(5, *named, "--next-from", "2027-01-01")
    assert done.exit_code == 0, done.output
    shown = run("show", "--file", "card.bin").output
    assert "2027-01-01 00:00:00" in shown
    header = card_of(Path("card.bin")).header
    assert header is not None
    name = tariff.image_name(tariff.build(tariff.load(TARIFF), 2))
    assert frames.parse_content(header)["sha256"] == name
    assert verify(4)[0] == 0
    desk = desk_for(shop, last=4)
    with served(desk) as port:
        done = run("redeem", "--file", "card.bin", "--port", port)
    assert "Err-34.31" in done.output
    assert "load the tariff" in done.output
    assert desk.books.credits == []


def test_a_card_in_the_reader_of_a_board(shop: Path) -> None:
    desk = desk_for(shop)
    memory = bytearray(256)
    desk.own.insert(memory, bytes.fromhex("00000000000000AB"))
    desk.login.key = console_key_of(shop)
    who = ("--account", ACCOUNT, "--meter", METER)
    with served(desk) as port:
        done = run("issue", "--port", port, *who, "--order", 5, "--amount", "1")
        assert done.exit_code == 0, done.output
        assert "card 00000000000000AB" in done.output
        assert "1.00 yuan" in run("show", "--port", port).output
        assert run("verify", "--port", port, *who, "--last-order", 4).exit_code == 0
        assert run("dump", "--port", port, "--out", "copy.bin").exit_code == 0
        assert Path("copy.bin").read_bytes() == memory
        desk.lose = 1
        assert run("verify", "--port", port, *who, "--last-order", 5).exit_code == 1
        desk.own.fail_writes = 99
        done = run("topup", "--port", port, "--amount", "1", "--force")
        assert "does not answer: clean its contacts" in done.output
        desk.own.pull()
        done = run("show", "--port", port)
        assert "no card in the reader: insert one" in done.output
        desk.own.insert(memory, bytes.fromhex("00000000000000AB"))
        desk.login.key = bytes(16)
        done = run("show", "--port", port)
    assert done.exit_code == 1
    assert "does not have this console key" in done.output


# --- repair, dump, diff, log --------------------------------------------------------------------


def test_repair(shop: Path) -> None:
    assert issue(5).exit_code == 0
    good = Path("card.bin").read_bytes()
    assert "nothing was changed" in run("repair", "--file", "card.bin").output
    for position in range(32, 120, 7):
        image = bytearray(good)
        image[position] ^= 0x55
        Path("card.bin").write_bytes(image)
        done = run("repair", "--file", "card.bin")
        assert "is as it was issued again" in done.output
        assert Path("card.bin").read_bytes() == good
    FileCard(Path("other.bin"), create=True)
    done = run("repair", "--file", "other.bin")
    assert done.exit_code == 1
    assert "does not know card" in done.output


def test_dump_and_diff(shop: Path) -> None:
    assert issue(5).exit_code == 0
    done = run("dump", "--file", "card.bin")
    assert "  32  44 4b 02 01 02 01" in done.output
    assert "header" in done.output
    assert run("dump", "--file", "card.bin", "--out", "copy.bin").exit_code == 0
    assert run("dump", "--file", "card.bin", "--out", "copy.bin").exit_code == 1
    done = run("diff", "card.bin", "copy.bin")
    assert (done.exit_code, "byte for byte" in done.output) == (0, True)
    with served(desk_for(shop, last=4)) as port:
        run("redeem", "--file", "card.bin", "--port", port)
    done = run("diff", "copy.bin", "card.bin")
    assert done.exit_code == 1
    for text in ("balance", "50.00 yuan", "redeemed", "bytes differ"):
        assert text in done.output, text


def test_the_log_tells_when_it_was_changed(shop: Path) -> None:
    for order in (5, 6):
        assert issue(order, "--force").exit_code == 0
    done = run("log")
    assert (done.exit_code, "4 lines, none of them changed" in done.output) == (0, True)
    assert "50.00" in done.output
    lines = Path("card-log.jsonl").read_text().splitlines()
    for changed in (
        [lines[0].replace("5000", "5001"), *lines[1:]],
        lines[1:],
        [lines[0], *lines[2:]],
    ):
        Path("card-log.jsonl").write_text("\n".join(changed) + "\n")
        done = run("log")
        assert done.exit_code == 1
        assert "was changed at or before line" in done.output
    Path("card-log.jsonl").write_text("{}\n")
    assert "line 1 is damaged" in run("log").output
    with pytest.raises(AuditError, match="damaged"):
        AuditLog(Path("card-log.jsonl"))


def test_who_has_no_key_cannot_write_the_log_anew(shop: Path) -> None:
    assert issue(5, "--force").exit_code == 0
    path = Path("card-log.jsonl")
    digest, forged = b"", []
    for line in path.read_bytes().splitlines():
        entry = {**json.loads(line), "amount_fen": 100}
        entry.pop("chain")
        content = json.dumps(entry, sort_keys=True).encode()
        entry["chain"] = hashlib.sha256(digest + content).hexdigest()
        forged.append(json.dumps(entry).encode() + b"\n")
        digest = hashlib.sha256(digest + forged[-1]).digest()
    path.write_bytes(b"".join(forged))
    done = run("log")
    assert (done.exit_code, "was changed at or before line 1" in done.output) == (1, True)


def test_the_head_tells_when_the_newest_lines_are_gone(shop: Path) -> None:
    heads = []
    for order in (5, 6):
        assert issue(order, "--force").exit_code == 0
        heads.append(run("log").output.rpartition("head ")[2].strip())
    assert [head.partition(":")[0] for head in heads] == ["2", "4"]
    path = Path("card-log.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert run("log").output.strip().endswith(heads[0])


def test_a_torn_last_line_is_no_line(shop: Path) -> None:
    assert issue(5).exit_code == 0
    path = Path("card-log.jsonl")
    whole = path.read_bytes()
    for kept in (len(whole) - 1, len(whole) - 20, whole.index(b"\n") + 2):
        path.write_bytes(whole[:kept])
        assert "1 lines, none of them changed" in run("log").output
        assert issue(5).exit_code == 0, "the same card once more"
        assert "3 lines, none of them changed" in run("log").output


def test_a_full_disk_leaves_the_log_as_it_was(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert issue(5).exit_code == 0
    path = Path("card-log.jsonl")
    whole, write = path.read_bytes(), os.write

    def half(file: int, data: bytes) -> int:
        return write(file, data[: len(data) // 2])

    with monkeypatch.context() as full:
        full.setattr(os, "write", half)
        done = issue(6, "--force")
    assert (done.exit_code, "No space left on device" in done.output) == (1, True)
    assert path.read_bytes() == whole
    assert issue(6, "--force").exit_code == 0


def test_a_log_without_its_keys_is_shown_and_not_vouched_for(shop: Path) -> None:
    assert issue(5).exit_code == 0
    Path("card-keys.toml").unlink()
    done = run("log")
    assert done.exit_code == 0
    assert "2 of 2 lines not checked: their keys are not in card-keys.toml" in done.output


# --- limits of a counter's key file --------------------------------------------------------------


@pytest.fixture
def counter(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hand a file down for 60 yuan a card and 100 yuan in all, to be used until 2027-06-30."""
    monkeypatch.setenv("DIANKA_CARD_PASSPHRASE", "correct horse battery")
    limits = ("--last-day", "2027-06-30", "--card-limit", 60, "--total-limit", 100)
    assert run("keys", "hand-down", "--out", "counter.toml", *limits).exit_code == 0
    monkeypatch.setenv("DIANKA_CARD_KEYS", "counter.toml")
    return Path("counter.toml")


def on_card(order: int, amount: object) -> Result:
    """Issue an order on a card of its own."""
    words = ("--account", ACCOUNT, "--meter", METER, "--order", order, "--amount", amount)
    return run("issue", "--file", f"{order}.bin", *words)


def test_a_counter_issues_within_its_limits(counter: Path) -> None:
    assert "district_key" not in counter.read_text(), "the limits are sealed with the key"
    assert "60.00 yuan on one card, not 60.01" in on_card(1, "60.01").output
    assert on_card(1, 60).exit_code == 0
    assert on_card(1, 60).exit_code == 0, "the same order once more takes nothing"
    done = on_card(2, "40.01")
    assert (done.exit_code, "60.00 are issued" in done.output) == (1, True)
    assert not Path("2.bin").exists() or not frames.parse(Path("2.bin").read_bytes()).header
    assert on_card(2, 40).exit_code == 0
    assert on_card(3, "0.01").exit_code == 1


def test_a_counters_file_ends(counter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        told = "2027-06-30"

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Later":
            return cls.fromisoformat(f"{cls.told}T23:59:59")

    monkeypatch.setattr("host.cards.issuing.datetime", Later)
    assert on_card(1, 10).exit_code == 0
    Later.told = "2027-07-01"
    done = on_card(2, 10)
    assert (done.exit_code, "ended on 2027-06-30: have a new one" in done.output) == (1, True)


def test_what_a_limited_counter_hands_down_is_as_limited(counter: Path) -> None:
    wider = ("--last-day", "2030-01-01", "--card-limit", 900, "--total-limit", 90_000)
    assert run("keys", "hand-down", "--out", "next.toml", *wider).exit_code == 0
    held = keystore.load(Path("next.toml"), lambda: "correct horse battery")
    assert held.limits == keystore.Limits(date(2027, 6, 30), 6000, 10_000)


@pytest.mark.parametrize(
    "line", ['last_day = "soon"', "card_limit_fen = -1", "total_limit_fen = 0"]
)
def test_a_limit_that_cannot_be_read_is_not_none(shop: Path, line: str) -> None:
    text = f'[card]\ndistrict = 1\nkey_version = 1\ndistrict_key = "{"00" * 16}"\n'
    Path("k.toml").write_text(f"{text}{line}\n")
    with pytest.raises(keystore.KeystoreError, match=line.split(" ")[0]):
        keystore.load(Path("k.toml"), lambda: "")


def test_two_counters_share_a_log(shop: Path) -> None:
    first, second = issuer(), issuer()
    orders = [batch.Order(f"{number:012d}", METER, 2, 100) for number in range(1, 5)]
    for at, order in enumerate(orders):
        one = (first, second)[at % 2]
        list(batch.issue_all(one, [order], batch.Folder(Path("cards")), 4711, 1))
    log = issuer().log
    assert (log.lines, log.unchecked, log.broken_at) == (8, 0, None)
    assert json.loads(Path("log").read_text().splitlines()[-1])["account"] == "000000000004"


def test_a_card_that_does_not_keep_what_is_written(shop: Path) -> None:
    class Worn(VirtualCard):
        def write(self, offset: int, data: bytes) -> None:
            super().write(offset, data[:-1] + bytes((data[-1] ^ 1,)))

    order = batch.Order(ACCOUNT, METER, 5, 100)
    with pytest.raises(CardIoError, match="clean its contacts"):
        list(batch.issue_all(issuer(), [order], _Tray(Worn("00000000000000AA")), 4711, 1))
    assert not AuditLog(Path("log")).find(ACCOUNT, 5).done  # type: ignore[union-attr]  # a missing one fails as well
