"""Goal: `dianka card` does the work of the counter and the technician, and says what is wrong.

Method: the commands run as a user types them, on card files; cards are redeemed by the firmware's
card desk on a socket; every option is given mistakes.
"""

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from card.keys import Keys
from click.testing import CliRunner, Result

from host.cards import keystore
from host.cli import cli
from host.frames import card as frames
from host.headend import orders
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.card_desk import CardDesk, served
from tests.host.test_card_frames import FakeBooks
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

ACCOUNT = "000000000017"
METER = "000000983764"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a key file in it."""
    monkeypatch.chdir(tmp_path)
    assert run("keys", "new", "--district", 4711, "--unsealed").exit_code == 0
    return tmp_path


def run(*words: object, given: str = "", **env: str) -> Result:
    """Run `dianka card WORDS`, with `given` typed."""
    environment = {"COLUMNS": "120", **env}
    return CliRunner().invoke(cli, ["card", *map(str, words)], input=given, env=environment)


def issue(order: int, *words: object, amount: str = "50.00", file: str = "card.bin") -> Result:
    who = ("--account", ACCOUNT, "--meter", METER)
    return run("issue", "--file", file, *who, "--order", order, "--amount", amount, *words)


def verify(last: int, *words: object) -> tuple[int, dict[str, Any]]:
    who = ("--account", ACCOUNT, "--meter", METER)
    done = run("verify", "--file", "card.bin", *who, "--last-order", last, "--json", *words)
    return done.exit_code, json.loads(done.output)


def desk_for(folder: Path, last: int = 0) -> CardDesk:
    held = keystore.load(folder / "card-keys.toml", lambda: "")
    books = FakeBooks(bytes.fromhex(ACCOUNT), bytes.fromhex(METER)[::-1], last)
    return CardDesk(books, Keys(4711, 1, held.key_of(4711, 1)))


def test_issue_redeem_show(shop: Path) -> None:
    done = issue(1)
    assert done.exit_code == 0
    assert "order 1 of account 000000000017, 50.00 yuan, open card" in done.output
    with served(desk_for(shop)) as port:
        done = run("redeem", "--file", "card.bin", "--port", port)
        assert (done.exit_code, "OK credited" in done.output) == (0, True), done.output
        assert "balance 50.00 yuan" in done.output
        done = run("redeem", "--file", "card.bin", "--port", port)
        assert done.exit_code == 1
        assert "Err-34.18 the card was used already" in done.output
        assert "next: buy again at the counter" in done.output
        assert issue(2, amount="0.01").exit_code == 0
        done = run("redeem", "--file", "card.bin", "--port", port, "--json")
    assert json.loads(done.output) == {
        "accepted": True,
        "credited": True,
        "code": "OK",
        "reason": "credited",
        "amount_fen": 1,
        "balance_fen": 5001,
    }
    done = run("show", "--file", "card.bin")
    for text in ("redeemed", "50.01 yuan", "genuine", "purchase", "2026-", METER):
        assert text in done.output, text


def test_verify(shop: Path) -> None:
    assert issue(5).exit_code == 0
    assert verify(4) == (0, {"accepted": True, "code": "OK", "reason": "would be credited"})
    for last, code in ((5, "Err-34.18"), (6, "Err-34.24"), (3, "Err-34.17"), (0, "Err-34.15")):
        status, answer = verify(last)
        assert (status, answer["accepted"], answer["code"]) == (1, False, code)
    status, answer = verify(4, "--uid", "0000000000000001")
    assert (status, answer["code"]) == (1, "Err-33.13")
    assert verify(4, "--district", "4712")[1]["code"] == "Err-33.23"
    assert verify(4, "--key-version", "2")[1]["code"] == "Err-32.06"
    done = run(
        "verify", "--file", "card.bin", "--account", "0" * 12, "--meter", METER, "--last-order", 4
    )
    assert done.exit_code == 1
    assert "Err-33.12" in done.output


def test_a_changed_image_is_refused(shop: Path) -> None:
    assert issue(5).exit_code == 0
    good = Path("card.bin").read_bytes()
    for bit in range(32 * 8, 120 * 8, 37):
        image = bytearray(good)
        image[bit // 8] ^= 1 << bit % 8
        Path("card.bin").write_bytes(image)
        status, answer = verify(4)
        assert (status, answer["accepted"]) == (1, False), bit
    for content in (bytes(256), b"\xff" * 256, bytes(65535)):
        Path("card.bin").write_bytes(content)
        assert verify(4)[1]["code"] == "Err-32.07"


def test_what_is_no_card_at_all_is_refused(shop: Path) -> None:
    for content in (b"", b"x", bytes(255), bytes(70_000)):
        Path("card.bin").write_bytes(content)
        status, answer = verify(4)
        assert (status, answer["accepted"], answer["code"]) == (1, False, "Err-32.08")


def test_numbers_may_be_short(shop: Path) -> None:
    who = ("--account", "17", "--meter", "983764")
    done = run("issue", "--file", "card.bin", *who, "--order", 5, "--amount", 50)
    assert "order 5 of account 000000000017" in done.output
    assert verify(4)[0] == 0


def test_an_unredeemed_order_is_not_overwritten(shop: Path) -> None:
    assert issue(5).exit_code == 0
    before = Path("card.bin").read_bytes()
    done = issue(6)
    assert done.exit_code == 1
    assert "bears order 5 of account 000000000017, 50.00 yuan, not redeemed yet" in done.output
    assert Path("card.bin").read_bytes() == before
    assert issue(6, "--force").exit_code == 0


def test_the_mark_stays_for_the_next_order(shop: Path) -> None:
    assert issue(1).exit_code == 0
    with served(desk_for(shop)) as port:
        run("redeem", "--file", "card.bin", "--port", port)
    assert issue(2).exit_code == 0
    held = keystore.load(shop / "card-keys.toml", lambda: "")
    card = frames.parse(Path("card.bin").read_bytes(), held.key_of(4711, 1))
    assert card.write_back_genuine
    assert card.write_back is not None
    assert (card.write_back.order, card.used) == (1, False)


def test_valid_until(shop: Path) -> None:
    assert issue(5, "--valid-until", "2020-01-01").exit_code == 0
    assert verify(4)[1]["code"] == "Err-34.26"
    assert issue(5, "--valid-until", "2099-12-31", "--force").exit_code == 0
    assert verify(4)[1]["accepted"]


def test_an_order_from_the_head_end(shop: Path) -> None:
    with Store(Path("village.db"), create=True) as store:
        for row in range(2):
            orders.sell(store, account_name(row), 10000)
        deliver(Ingest(store, KEYS), village_of(2, 5))
        orders.sell(store, account_name(0), 777)
    words = ("issue", "--file", "card.bin", "--account", account_name(0), "--db", "village.db")
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.output)
    assert (made["order"], made["amount_fen"], made["meter"]) == (2, 777, "000000983764")
    done = run("issue", "--file", "b.bin", "--account", account_name(1), "--db", "village.db")
    assert done.exit_code == 1
    assert "sell one with `dianka headend sell`" in done.output
    assert not Path("b.bin").exists()


def test_a_refund_of_the_head_end_is_never_a_purchase(shop: Path) -> None:
    with Store(Path("village.db"), create=True) as store:
        orders.sell(store, account_name(0), 10000)
        deliver(Ingest(store, KEYS), village_of(1, 5))
        assert orders.refund(store, account_name(0), 777) == 2
    who = ("--account", account_name(0))
    words = ("issue", "--file", "card.bin", *who, "--db", "village.db")
    assert run(*words, "--kind", "purchase").exit_code == 2
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.output)
    assert (made["order"], made["amount_fen"], made["kind"]) == (2, 777, 9)
    with Store(Path("village.db"), create=True) as store:
        assert orders.refund(store, account_name(0), 500) == 3, "a card may hold order 2"
        assert orders.refund(store, account_name(0), 0) == 4
    made = json.loads(run(*words, "--json").output)
    assert (made["order"], made["amount_fen"], made["kind"]) == (4, 0, 9), "given up"
    held = frames.parse(Path("card.bin").read_bytes()).header
    assert (held is not None, held and held.supersedes) == (True, 2)
    lost = (*who, "--meter", "000000983764", "--order", 2, "--amount", "7.77", "--force")
    done = run("replace", "--file", "new.bin", *lost)
    assert done.exit_code == 1
    assert "was issued as a refund" in done.output
    done = run("issue", "--file", "new.bin", *lost, "--kind", "refund")
    assert done.exit_code == 0, done.output


def test_keys_of_a_sealed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("keys", "new", "--district", 4711, given="correct horse\ncorrect horse\n")
    assert done.exit_code == 0, done.output
    content = Path("card-keys.toml").read_text()
    assert "issuer_key" not in content
    assert stat.S_IMODE(Path("card-keys.toml").stat().st_mode) == 0o600
    done = run("keys", "new", "--district", 4711, given="correct horse\ncorrect horse\n")
    assert done.exit_code == 1
    assert "exists and is not overwritten" in done.output
    who = ("--account", ACCOUNT, "--meter", METER, "--order", "1", "--amount", "1")
    done = run("issue", "--file", "card.bin", *who, given="wrong horse!\n")
    assert done.exit_code == 1
    assert "wrong passphrase" in done.output
    done = run("issue", "--file", "card.bin", *who, DIANKA_CARD_PASSPHRASE="correct horse")
    assert done.exit_code == 0, done.output


def console_key_of(shop: Path, number: int = 7, version: int = 1) -> bytes:
    """Return the console key of a concentrator by the issuer's file."""
    return keystore.load(shop / "card-keys.toml", lambda: "").console_key(4711, number, version)


def test_keys_install(shop: Path) -> None:
    one = desk_for(shop)
    one.settings["id"] = "0"
    with served(one) as port:
        done = run("keys", "install", "--port", port)
        assert (done.exit_code, "give it one with --id" in done.output) == (1, True)
        done = run("keys", "install", "--port", port, "--id", 7)
    assert done.exit_code == 0, done.output
    held = keystore.load(shop / "card-keys.toml", lambda: "")
    key = held.key_of(4711, 1).hex()
    console_key = console_key_of(shop)
    assert one.settings == {
        "id": "7",
        "card_key": key,
        "card_key_version": "1",
        "console_key": console_key.hex(),
    }
    assert not re.search("[0-9a-f]{32}", done.output), "no key is printed"
    # What says that it has no key gets none unless it is said to be new.
    with served(one) as port:
        done = run("keys", "install", "--port", port)
    assert (done.exit_code, "would travel in clear" in done.output) == (1, True)
    one.login.key = console_key
    with served(one) as port:
        assert run("keys", "install", "--port", port).exit_code == 0
        done = run("keys", "install", "--port", port, "--id", 8)
        assert (done.exit_code, "this is concentrator 7, not 8" in done.output) == (1, True)
        one.login.key = bytes(16)
        done = run("keys", "install", "--port", port)
    assert done.exit_code == 1
    assert "does not have this console key" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--account", "1234567890123"), "up to 12 digits are needed"),
        (("--account", "-17"), "up to 12 digits are needed"),
        (("--meter", "00000098376X"), "up to 12 digits are needed"),
        (("--amount", "1.234"), "at most two decimals"),
        (("--amount", "0"), "0.01 to"),
        (("--amount", "1e99"), "is not yuan like"),
        (("--amount", "x"), "is not yuan like"),
        (("--order", "0"), "0"),
        (("--order", "9999999999"), "9999999999"),
        (("--valid-until", "31.12."), "YYYY-MM-DD"),
        (("--kind", "gift"), "gift"),
        (("--district", "0"), "0"),
    ],
)
def test_mistakes_of_issue(shop: Path, words: tuple[str, str], said: str) -> None:
    done = issue(5, *words)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert not Path("card.bin").exists()


def test_a_database_that_is_not_there_is_told(shop: Path) -> None:
    done = issue(5, "--db", "none.db")
    assert done.exit_code == 1
    assert "there is no database none.db" in done.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no [card] section"),
        ("[card", "is not TOML"),
        ("[card]\ndistrict = 1\nkey_version = 1", "needs issuer_key or district_key"),
        ('[card]\ndistrict = 0\nkey_version = 1\nissuer_key = ""', "district must be a number"),
        ('[card]\ndistrict = 1\nkey_version = 1\nissuer_key = "00"', "64 hexadecimal digits"),
        ("[sealed]\nmemory_kib = 1", "damaged"),
    ],
)
def test_mistakes_of_the_key_file(shop: Path, content: str, said: str) -> None:
    Path("card-keys.toml").write_text(content)
    done = run(
        "issue",
        "--file",
        "card.bin",
        "--account",
        ACCOUNT,
        "--meter",
        METER,
        "--order",
        "1",
        "--amount",
        "1",
        DIANKA_CARD_PASSPHRASE="long enough",
    )
    assert done.exit_code == 1
    assert said in done.output
    assert not Path("card.bin").exists()


def test_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = issue(1)
    assert done.exit_code == 1
    assert "`dianka card keys new` makes one" in done.output
    Path("card.bin").write_bytes(bytes(32) + b"DK\2\1\2" + bytes(219))
    done = run("show", "--file", "card.bin")
    assert (done.exit_code, "not known without the key file" in done.output) == (0, True)


def test_a_district_s_counter_has_no_more_than_it_needs(tmp_path: Path) -> None:
    whole = keystore.new(4711)
    part = whole.handed_down(4711, 3)
    keystore.save(tmp_path / "part.toml", part, "some passphrase")
    loaded = keystore.load(tmp_path / "part.toml", lambda: "some passphrase")
    assert loaded.key_of(4711, 3) == whole.key_of(4711, 3)
    assert loaded.issuer_key == b""
    with pytest.raises(keystore.KeystoreError, match="holds only district 4711 in version 3"):
        loaded.key_of(4711, 4)


def test_a_short_passphrase(tmp_path: Path) -> None:
    with pytest.raises(keystore.KeystoreError, match="at least 8"):
        keystore.save(tmp_path / "k.toml", keystore.new(1), "short")


@pytest.mark.parametrize(
    "name", ["issue", "show", "verify", "redeem", "serial", "keys new", "keys install"]
)
def test_help_has_an_example(name: str) -> None:
    done = run(*name.split(), "--help")
    assert done.exit_code == 0
    assert f"dianka card {name} " in done.output
