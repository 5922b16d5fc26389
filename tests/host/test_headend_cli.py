"""Goal: `dianka headend` says what it did, and a user's mistake ends with one clear line.

Method: the commands as a user types them, on a small village's database.
"""

import csv
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames.record import RecordKind
from host.headend import keys
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.uplink_world import KEYS, account_name, deliver, village_of


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Two households, 100 yuan each, of which 15 and 20 fen are charged."""
    path = tmp_path / "village.db"
    with Store(path) as store:
        for slot in range(2):
            store.sell(account_name(slot), 10000)
        deliver(Ingest(store, KEYS), village_of(2, 5))
    return path


def run(*words: object) -> Result:
    """`dianka headend WORDS`."""
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "120"})


def test_sell(db: Path) -> None:
    result = run("sell", "--db", db, "--account", account_name(0), "--amount", "49.95")
    assert (result.exit_code, result.output) == (
        0,
        "order 2 of account 000000000001: 49.95 yuan\n",
    )
    result = run("sell", "--db", db, "--account", account_name(0), "--amount", "50", "--json")
    assert json.loads(result.output) == {
        "account": "000000000001",
        "order": 3,
        "amount_fen": 5000,
    }


def test_sell_to_an_account_still_to_come(tmp_path: Path) -> None:
    words = ["sell", "--db", tmp_path / "new.db", "--account", "000000000005", "--amount", "1"]
    result = run(*words)
    assert result.exit_code == 1
    assert "there is no database" in result.output
    assert run(*words, "--new").exit_code == 0
    result = run(*words)
    assert result.exit_code == 1
    assert "no concentrator has account 000000000005" in result.output


@pytest.mark.parametrize(
    ("account", "amount", "said"),
    [
        ("000000000001", "1.234", "at most two decimals"),
        ("000000000001", "0", "0.01 to"),
        ("000000000001", "-5", "0.01 to"),
        ("000000000001", "99999999999", "0.01 to"),
        ("000000000001", "1e999999999", "give yuan like"),
        ("000000000001", "nan", "at most two decimals"),
        ("000000000001", "fifty", "give yuan like"),
        ("1", "50", "an account number has 12 digits"),
        ("00000000000A", "50", "an account number has 12 digits"),
    ],
)
def test_sell_mistakes(db: Path, account: str, amount: str, said: str) -> None:
    result = run("sell", "--db", db, "--account", account, f"--amount={amount}")
    assert result.exit_code == 2
    assert said in result.output
    with Store(db) as store:
        assert store.sell("000000000001", 1) == 2, "nothing was sold"


def test_show(db: Path) -> None:
    result = run("show", "--db", db)
    assert result.exit_code == 0
    (row,) = [line for line in result.output.splitlines() if account_name(1) in line]
    for cell in ("000000983765", "100.00", "0.20", "99.80", "0.400", "closed", "6", "2025-12-"):
        assert cell in row, cell


def test_reconcile(db: Path) -> None:
    result = run("reconcile", "--db", db)
    assert result.exit_code == 0
    assert "sold 200.00 = charged 0.35 + balances 199.65 + not yet redeemed 0.00" in result.output
    assert "12 readings taken, 12 stored, duplicates 0" in result.output
    assert "everything agrees" in result.output


def test_reconcile_differences(db: Path) -> None:
    with Store(db) as store, store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM readings WHERE seq = 9")
    result = run("reconcile", "--db", db)
    assert result.exit_code == 1
    assert "difference: 12 readings taken, 11 stored" in result.output
    result = run("reconcile", "--db", db, "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert (found["ok"], found["sold_fen"], found["charged_fen"]) == (False, 20000, 35)
    assert len(found["differences"]) == 1
    assert found["households"][0]["account"] == account_name(0)


@pytest.fixture
def told(db: Path) -> Path:
    """The first household's meter was asked twice, the second's once, in both standards."""
    village = village_of(2, 5)
    for slot, identifier, values in (
        (0, "0201FF00", [2198, None, None]),
        (0, "0201FF00", [2201, 2305, None]),
        (0, "04000501", [4]),
        (0, "04000507", [0]),
        (1, "0000B630", [12345]),
        (1, "00020000", [1230]),
        (1, "12345678", [-7]),
    ):
        fields = {"identifier": identifier, "count": len(values), "values": values}
        village.write(RecordKind.ITEM, fields, slot)
    with Store(db) as store:
        deliver(Ingest(store, KEYS), village)
    return db


def test_items_are_told_with_names_decimals_and_units(told: Path) -> None:
    result = run("items", "--db", told)
    assert result.exit_code == 0
    rows = [line for line in result.output.splitlines() if "0000000" in line]
    for row, cells in zip(
        rows,
        (
            (account_name(0), "0201FF00", "voltage", "220.1 V / 230.5 V / -"),
            ("04000501", "run status word 1", "clock battery low"),
            ("04000507", "nothing set"),
            (account_name(1), "B630", "1.2345 kW"),
            ("00020000", "reverse", "1.23 kWh"),
            ("12345678", "unknown", "-7 raw"),
        ),
        strict=True,
    ):
        assert all(cell in row for cell in cells), (row, cells)


def test_items_as_json_and_csv(told: Path) -> None:
    found = json.loads(run("items", "--db", told, "--json").output)["items"]
    assert len(found) == 6
    assert found[0]["identifier"] == "0201FF00"
    assert found[0]["items"][1:] == [
        {"value": "230.5", "unit": "V"},
        {"value": None, "unit": "V"},
    ]
    assert found[1]["items"][0]["flags"] == ["clock battery low"]
    words = ("--all", "--account", "1", "--identifier", "0201ff00", "--csv")
    rows = list(csv.DictReader(run("items", "--db", told, *words).output.splitlines()))
    values = [(row["place"], row["value"], row["unit"]) for row in rows]
    assert values == [
        *(("0", "219.8", "V"), ("1", "", "V"), ("2", "", "V")),
        *(("0", "220.1", "V"), ("1", "230.5", "V"), ("2", "", "V")),
    ]
    assert all(row["account"] == account_name(0) for row in rows)


def test_items_are_chosen(told: Path, db: Path) -> None:
    def count(*words: str) -> int:
        return len(json.loads(run("items", "--db", told, "--json", *words).output)["items"])

    assert count("--all") == 7
    assert count("--identifier", "b630") == 1
    assert count("--since", "2020-01-01") == 6
    assert count("--since", "2030-01-01") == 0
    assert "no meter has told any" in run("items", "--db", db, "--account", "9").output
    for words, said in (
        (("--identifier", "voltage"), "give 8 digits like 0201FF00"),
        (("--since", "tomorrow"), "give a day as YYYY-MM-DD"),
        (("--csv", "--json"), "not both"),
    ):
        result = run("items", "--db", db, *words)
        assert result.exit_code == 2
        assert said in result.output


@pytest.mark.parametrize("name", ["show", "items", "reconcile"])
def test_no_database(tmp_path: Path, name: str) -> None:
    result = run(name, "--db", tmp_path / "none.db")
    assert result.exit_code == 1
    assert "there is no database" in result.output
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("name", ["serve", "sell", "show", "reconcile"])
def test_help_has_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"dianka headend {name} --db" in result.output


GOOD_KEY = "00112233445566778899aabbccddeeff"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no [uplink] section"),
        ("[uplink]", "no [uplink] section"),
        ("uplink = 3", "no [uplink] section"),
        ("[uplink\n", "is not TOML"),
        (f'[uplink]\nseven = "{GOOD_KEY}"', "'seven' is not a concentrator number"),
        (f'[uplink]\n4294967296 = "{GOOD_KEY}"', "is not a concentrator number"),
        ('[uplink]\n7 = "xyz"', "concentrator 7 is not at least 32 hexadecimal digits"),
        ('[uplink]\n7 = "0011"', "concentrator 7 is not at least 32 hexadecimal digits"),
        ("[uplink]\n7 = 12345", "concentrator 7 is not at least 32 hexadecimal digits"),
    ],
)
def test_key_file_mistakes(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(content)
    result = run("serve", "--db", tmp_path / "x.db", "--keys", path)
    assert result.exit_code == 1
    assert said in result.output
    assert not (tmp_path / "x.db").exists()


def test_key_file_missing_or_not_text(tmp_path: Path) -> None:
    result = run("serve", "--db", tmp_path / "x.db", "--keys", tmp_path / "none.toml")
    assert result.exit_code == 1
    assert "cannot read" in result.output
    (tmp_path / "keys.toml").write_bytes(b"\xff\xfe")
    result = run("serve", "--db", tmp_path / "x.db", "--keys", tmp_path / "keys.toml")
    assert result.exit_code == 1
    assert "is not TOML" in result.output


def test_key_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(f'[uplink]\n7 = "{GOOD_KEY}"\n4294967295 = "{GOOD_KEY * 2}"\n')
    path.chmod(stat.S_IRUSR)
    found = keys.load(path)
    assert found[7] == bytes.fromhex(GOOD_KEY)
    assert len(found[4294967295]) == 32


def test_port_in_use(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "keys.toml"
    path.write_text(f'[uplink]\n7 = "{GOOD_KEY}"\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--db", tmp_path / "x.db", "--keys", path, "--port", port)
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.output
    assert "choose another --port" in result.output
