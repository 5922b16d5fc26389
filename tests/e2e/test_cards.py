"""Goal: a card is issued, redeemed by the firmware, and shown with its write-back.

Method: the real command line runs with the firmware on a real MicroPython over a pseudo terminal.
The card is a file, then a virtual CPU card in a PC/SC reader. The device is killed and restarted.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import device
import pytest
import virtual_reader
from click.testing import CliRunner, Result
from device import Device

from host.cards import keystore
from host.cli import cli
from host.frames import card as frames
from host.frames.card_results import OUTCOMES
from host.headend import orders
from host.headend.ingest import Ingest
from host.headend.store import Store
from host.link.setup import fields_of
from host.sim.card import VirtualCard
from host.sim.cpu_card import CpuCard, VpcdSlot
from tests.host.uplink_world import KEYS, Village, account_name, deliver

pytestmark = pytest.mark.xdist_group("pcsc")

TARIFF = Path(__file__).resolve().parents[2] / "host" / "demo" / "tariff.json"
ACCOUNT = "000000000017"
METER = "000000983764"
WHO = ("--account", ACCOUNT, "--meter", METER)


def dianka(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], env={"COLUMNS": "120"})


def good(*words: object) -> str:
    done = dianka(*words)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    good("card", "keys", "new", "--district", 4711, "--unsealed")
    return tmp_path


@pytest.fixture
def home(shop: Path) -> Iterator[Device]:
    """Make a concentrator with one household and the keys of its district."""
    with device.running(shop / "flash.bin") as running:
        set_up(running)
        yield running


def set_up(running: Device) -> None:
    console = ("console", "--port", running.url)
    good(*console, "--tariff", TARIFF)
    good(*console, "meter", "add", METER, ACCOUNT, "1")
    good(*console, "account", "new", ACCOUNT)
    good("card", "keys", "install", "--port", running.url, "--id", 7)


def redeem(running: Device, *where: object) -> dict[str, object]:
    done = dianka("card", "redeem", *where, "--port", running.url, "--json")
    answer: dict[str, object] = json.loads(done.output)
    assert done.exit_code == (0 if answer["accepted"] else 1)
    return answer


def balance(running: Device) -> str:
    return good("console", "--port", running.url, "--keys", "card-keys.toml", "account", ACCOUNT)


def test_issued_redeemed_on_micropython_and_shown(home: Device) -> None:
    """`issue` -> `redeem` on the firmware over a pty -> `show` displays the write-back."""
    file = ("--file", "card.bin")
    good("card", "issue", *file, *WHO, "--order", 1, "--amount", "50.00")
    answer = redeem(home, *file)
    assert (answer["credited"], answer["balance_fen"], answer["code"]) == (True, 5000, "OK")
    shown = good("card", "show", *file)
    for text in ("50.00 yuan", "newest order", "redeemed", "genuine", "concentrator"):
        assert text in shown, text
    assert "balance_fen 5000" in balance(home)

    assert redeem(home, *file)["code"] == "Err-34.18"
    forged = bytearray(Path("card.bin").read_bytes())
    forged[32 + 36] ^= 1
    Path("forged.bin").write_bytes(forged)
    assert redeem(home, "--file", "forged.bin")["code"] == "Err-32.10"
    good("card", "topup", *file, "--amount", "0.01")
    assert redeem(home, *file)["balance_fen"] == 5001
    assert "order 2\n" in balance(home)


def test_the_same_through_pcsc(home: Device, tmp_path: Path) -> None:
    """The virtual CPU card is issued, redeemed and shown in a PC/SC reader."""
    card = VirtualCard("0102030405060708")
    with virtual_reader.pcsc_service(tmp_path / "pcscd.log"):
        slot = VpcdSlot(lambda: CpuCard(card))
        try:
            said = good("card", "issue", "--pcsc", *WHO, "--order", 1, "--amount", "50.00")
            assert "open card 0102030405060708" in said
            answer = redeem(home, "--pcsc")
            assert (answer["credited"], answer["balance_fen"]) == (True, 5000)
            shown = good("card", "show", "--pcsc", "Virtual")
            assert "50.00 yuan" in shown
            assert redeem(home, "--pcsc")["code"] == "Err-34.18"
        finally:
            slot.close()
    key = keystore.load(Path("card-keys.toml"), lambda: "").key_of(4711, 1)
    assert frames.parse(bytes(card.memory), key).used


def test_killed_and_started_again(shop: Path) -> None:
    """Credited money stays, redeemed orders stay redeemed, and the next order counts."""
    file = ("--file", "card.bin")
    flash = shop / "flash.bin"
    with device.running(flash) as running:
        set_up(running)
        good("card", "issue", *file, *WHO, "--order", 1, "--amount", "50.00")
        fresh = Path("card.bin").read_bytes()
        assert redeem(running, *file)["credited"]
        running.process.kill()
        running.process.wait()
    with device.running(flash) as running:
        assert redeem(running, *file)["code"] == "Err-34.18"
        Path("card.bin").write_bytes(fresh)
        assert redeem(running, *file) == {
            "accepted": True,
            "credited": False,
            "code": "OK",
            "reason": OUTCOMES[1].english,
            "amount_fen": 0,
            "balance_fen": 5000,
        }
        good("card", "topup", *file, "--amount", "1")
        assert redeem(running, *file)["balance_fen"] == 5100


def test_the_console_is_closed_to_strangers(home: Device) -> None:
    """With a console key installed, no change and no look at an account is possible without it."""
    console = ("console", "--port", home.url)
    good("card", "unlock", "--port", home.url)
    good(*console, "logout")
    good(*console, "status")
    for words in (
        ("set", "interval_s", "600"),
        ("meter", "remove", ACCOUNT),
        ("save",),
        ("account", ACCOUNT),
        ("journal", "1", "1"),
    ):
        done = dianka(*console, *words)
        assert done.exit_code == 1
        assert "log in with the console key first" in done.output
    assert dianka(*console, "login", "00" * 8).exit_code == 1
    assert "interval_s 600" in good(
        *console, "--keys", "card-keys.toml", "set", "interval_s", "600"
    )


def test_a_key_card_kills_old_cards(home: Device) -> None:
    good("card", "issue", "--file", "card.bin", *WHO, "--order", 1, "--amount", "50.00")
    good("card", "change-key", "--file", "key.bin")
    assert redeem(home, "--file", "key.bin")["code"] == "OK"
    assert redeem(home, "--file", "card.bin")["code"] == "Err-32.06"
    good("card", "keys", "advance", "--yes")
    good("card", "issue", "--file", "card.bin", *WHO, "--order", 1, "--amount", "50", "--force")
    assert redeem(home, "--file", "card.bin")["balance_fen"] == 5000
    good("card", "preset", "--file", "preset.bin", "--alarm-1", "30")
    assert redeem(home, "--file", "preset.bin")["code"] == "OK"
    assert "alarm_1_fen 3000" in good("console", "--port", home.url, "settings")


def test_a_replaced_concentrator_learns_from_the_head_end_what_its_accounts_are(
    shop: Path,
) -> None:
    """An empty one gets the whole account: 1000.00 paid, 950.00 charged, 1900 kWh used.

    Until then it takes no card of a meter that was registered again, and no old image of one.
    """
    name = account_name(0)
    file = ("--file", "card.bin")
    who = ("--account", name, "--meter", METER)
    good("card", "issue", *file, *who, "--order", 1, "--amount", "1000.00")
    village = Village()
    village.meter(0)
    village.reading(0, 0)
    header_mac = Path("card.bin").read_bytes()[112:120].hex().upper()
    village.top_up(0, 100000, header_mac=header_mac)
    village.reading(0, 95000)
    with Store("village.db", create=True) as store:
        orders.sell(store, name, 100000)
        deliver(Ingest(store, KEYS), village)
    with device.running(shop / "flash.bin") as running:
        console = ("console", "--port", running.url)
        good(*console, "--tariff", TARIFF)
        good("card", "keys", "install", "--port", running.url, "--id", 7)
        keys = ("--keys", "card-keys.toml")
        restore = ("headend", "restore", "--db", "village.db", "--port", running.url)
        number = next(iter(KEYS))
        refused = dianka(*restore, "--concentrator", 99)
        assert (refused.exit_code, "no account of concentrator 99" in refused.output) == (1, True)
        refused = dianka(*restore, "--concentrator", number, *keys)
        assert f"account {name}: no account {name}" in refused.output
        assert "0 of 1 accounts restored, no card is taken" in refused.output
        good(*console, *keys, "meter", "add", METER, name, "1")
        assert redeem(running, *file)["code"] == "Err-34.34"
        good(*console, "logout")
        refused = dianka(*restore, "--concentrator", number)
        assert (refused.exit_code, "log in with the console key" in refused.output) == (1, True)
        said = good(*restore, "--concentrator", number, *keys)
        assert "1 accounts restored, 0 were known, cards are taken again" in said
        is_so = fields_of(good(*console, *keys, "account", name).splitlines())
        expected = {
            "credit_fen": "100000",
            "debit_fen": "95000",
            "residue_e7": "12345",
            "residue_e11": "678",
            "balance_fen": "5000",
            "used_wh": "1900000",
            "order": "1",
            "register_0_wh": str(95000 * 15),
        }
        assert {name: is_so[name] for name in expected} == expected
        answer = redeem(running, *file)
        assert (answer["credited"], answer["balance_fen"]) == (False, 5000)
        good("card", "topup", *file, "--amount", "1")
        assert redeem(running, *file)["balance_fen"] == 5100
        said = good(*restore, "--concentrator", number, *keys)
        assert "kept, the books here know no less: their newest order is 2" in said
        assert "balance_fen 5100" in good(*console, *keys, "account", name)


def test_an_account_moves_to_another_concentrator_with_its_standing(home: Device) -> None:
    """`account standing` prints the command that restores the account; old images count once."""
    images = []
    for order, amount in ((1, "50"), (2, "30")):
        file = f"card-{order}.bin"
        good("card", "issue", "--file", file, *WHO, "--order", order, "--amount", amount)
        images.append(Path(file).read_bytes())
        assert redeem(home, "--file", file)["credited"]
    keys = ("--keys", "card-keys.toml")
    said = good("console", "--port", home.url, *keys, "account", "standing", ACCOUNT)
    with device.running(Path("other.bin").absolute()) as other:
        console = ("console", "--port", other.url)
        good(*console, "--tariff", TARIFF)
        good(*console, "meter", "add", METER, ACCOUNT, "1")
        good("card", "keys", "install", "--port", other.url, "--id", 8)

        def put_back() -> list[object]:
            found = []
            for image in images:
                Path("card.bin").write_bytes(image)
                found.append(redeem(other, "--file", "card.bin")["code"])
            return found

        assert put_back() == ["Err-34.34", "Err-34.34"]
        good(*console, *keys, *said.split())
        assert "balance_fen 8000" in good(*console, *keys, "account", ACCOUNT)
        assert put_back() == ["Err-34.24", "OK"]
        assert "balance_fen 8000" in good(*console, *keys, "account", ACCOUNT)
