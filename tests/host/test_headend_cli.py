"""Goal: `dianka headend` prints what it did, and a user's mistake ends with one clear line.

Method: the commands run as a user types them, on a small village's database.
"""

import csv
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cards.batch import Order, read_orders
from host.cli import cli
from host.frames.link import Kind
from host.frames.record import RecordKind
from host.headend import keys, orders
from host.headend.ingest import Ingest
from host.headend.standing import standings
from host.headend.store import Store
from tests.host.uplink_world import (
    KEYS,
    Village,
    account_name,
    deliver,
    frame,
    meter_address,
    village_of,
)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Make two households with 100 yuan each, of which 15 and 20 fen are charged."""
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        for row in range(2):
            orders.sell(store, account_name(row), 10000)
        deliver(Ingest(store, KEYS), village_of(2, 5))
    return path


def run(*words: object) -> Result:
    """Run `dianka headend WORDS`."""
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
        "log_heads": [],
    }


def test_sell_to_an_account_still_to_come(tmp_path: Path) -> None:
    words = ["sell", "--db", tmp_path / "new.db", "--account", "000000000005", "--amount", "1"]
    result = run(*words)
    assert result.exit_code == 1
    assert "there is no database" in result.output
    assert run(*words, "--new").exit_code == 1, "selling makes no database"
    assert run("init", "--db", tmp_path / "new.db").exit_code == 0
    assert run(*words, "--new").exit_code == 0
    result = run(*words)
    assert result.exit_code == 1
    assert "no concentrator has account 000000000005" in result.output


@pytest.mark.parametrize(
    ("account", "amount", "said"),
    [
        ("000000000001", "1.234", "at most two decimals"),
        ("000000000001", "0", "0.01 to"),
        ("000000000001", "-5", "is not yuan like"),
        ("000000000001", "99999999999", "0.01 to"),
        ("000000000001", "1e999999999", "is not yuan like"),
        ("000000000001", "nan", "at most two decimals"),
        ("000000000001", "1_0", "is not yuan like"),
        ("000000000001", "５０", "is not yuan like"),
        ("00000000000A", "50", "up to 12 digits are needed"),
        ("1234567890123", "50", "up to 12 digits are needed"),
    ],
)
def test_sell_mistakes(db: Path, account: str, amount: str, said: str) -> None:
    result = run("sell", "--db", db, "--account", account, f"--amount={amount}")
    assert result.exit_code == 2
    assert said in result.output
    with Store(db) as store:
        assert orders.sell(store, "000000000001", 1) == 2, "nothing was sold"


def test_a_short_account_is_the_same_everywhere(db: Path, tmp_path: Path) -> None:
    """A short account number works on the command line, in a list of sales and for a statement."""
    sold = json.loads(run("sell", "--db", db, "--account", "1", "--amount", "5", "--json").output)
    assert sold.pop("log_heads") == []
    assert sold == {"account": "000000000001", "order": 2, "amount_fen": 500}
    path = sales_file(tmp_path, HEAD + "1,5,R-1\n")
    sold = json.loads(run("sell", "--db", db, "--file", path, "--json").output)
    assert [(one["account"], one["order"]) for one in sold["orders"]] == [("000000000001", 3)]
    assert "no concentrator has account" not in run("refund", "--db", db, "--account", "1").output


HEAD = "account,amount,reference\n"


def sales_file(tmp_path: Path, text: str | bytes) -> Path:
    """Write a list of sales."""
    path = tmp_path / "sales.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_list_is_sold_once_however_often_it_is_given(db: Path, tmp_path: Path) -> None:
    """The command writes its orders as a list that `dianka card issue --csv` takes."""
    lines = ["000000000001,50.00,R-1", "000000000002,0.01,R-2", "000000000001,7.5,R-3"]
    path = sales_file(tmp_path, HEAD + "\n".join(lines) + "\n")
    out = tmp_path / "orders.csv"
    words = ("sell", "--db", db, "--file", path, "--out", out)
    assert run(*words).output == "3 orders sold for 57.51 yuan, 0 were sold before, 3 rows\n"
    assert run("sell", "--db", db, "--account", account_name(0), "--amount", "1").exit_code == 0
    written = out.read_text()
    assert run(*words).output == "0 orders sold for 0.00 yuan, 3 were sold before, 3 rows\n"
    assert out.read_text() == written
    assert read_orders(out) == [
        Order(account_name(0), meter_address(0), 2, 5000),
        Order(account_name(1), meter_address(1), 2, 1),
        Order(account_name(0), meter_address(0), 3, 750),
    ]
    sales_file(tmp_path, HEAD + "\n".join([*lines, "000000000002,9,R-4"]))
    found = json.loads(run(*words[:-2], "--json").output)["orders"]
    assert [one["sold_before"] for one in found] == [True, True, True, False]
    assert found[3] == {
        "account": account_name(1),
        "meter": meter_address(1),
        "order": 3,
        "amount_fen": 900,
        "reference": "R-4",
        "sold_before": False,
        "supersedes": None,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column account: its first line is account,amount,reference"),
        ("account,amount\n", "has no column reference"),
        (HEAD, "has no rows below"),
        (HEAD + "x1,5,R\n", "line 2: account 'x1' is no number: up to 12 digits"),
        (HEAD + "000000000001,5,R\n000000000001,-5,S\n", "line 3: amount '-5' is not yuan"),
        (HEAD + "000000000001,9999999.99,R\n", "line 2: amount '9999999.99' is out of range"),
        (HEAD + "000000000001,1e3,R\n", "line 2: amount '1e3' is not yuan"),
        (HEAD + "000000000001,5\n", "line 2: 2 cells, the first line has 3"),
        (HEAD + "000000000001,5,\n", "line 2: reference ''"),
        (HEAD + "000000000001,5,R,x\n", "line 2: 4 cells, the first line has 3"),
        (HEAD + '"0000\n",5,R\nx1,5,S\n', "line 4: account 'x1'"),
        (HEAD + "000000000001,5,R\n" * 2, "line 3: the same reference as in line 2"),
        (HEAD + "000000000001,5,R\n000000000009,5,S\n", "line 3: account '000000000009' is known"),
        (HEAD + "000000000001,5,R\n" + "x,y,z\n" * 20, "and 10 more"),
        (b"account,amount,reference\n\xff\xfe,1,1\n", "is no text in UTF-8 or GB18030"),
        (HEAD + '"000000000001,5,R\n', "line 2 is no CSV"),
        (HEAD + "0" * 200_000 + ",5,R\n", "line 2 is no CSV"),
    ],
)
def test_a_wrong_list_sells_nothing(
    db: Path, tmp_path: Path, text: str | bytes, said: str
) -> None:
    result = run("sell", "--db", db, "--file", sales_file(tmp_path, text))
    assert result.exit_code == 1
    assert said in result.output
    with Store(db) as store:
        assert orders.sell(store, "000000000001", 1) == 2, "nothing was sold"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("000000000001,51,R-1", "line 2: amount differs: reference 'R-1' was order 2"),
        ("000000000002,50,R-1", "reference 'R-1' was order 2 of account 000000000001"),
    ],
)
def test_a_reference_stands_for_one_sale(db: Path, tmp_path: Path, row: str, said: str) -> None:
    path = sales_file(tmp_path, HEAD + "000000000001,50,R-1\n")
    assert run("sell", "--db", db, "--file", path).exit_code == 0
    sales_file(tmp_path, HEAD + row + "\n000000000002,5,R-2\n")
    result = run("sell", "--db", db, "--file", path)
    assert result.exit_code == 1
    assert said in result.output
    with Store(db) as store:
        assert orders.sell(store, "000000000002", 1) == 2, "R-2 was not sold"


def test_a_list_for_meters_still_to_come(tmp_path: Path) -> None:
    path = sales_file(tmp_path, HEAD + "000000000009,5,R-1\n")
    words = ("sell", "--db", tmp_path / "new.db", "--file", path, "--out", tmp_path / "o.csv")
    assert "there is no database" in run(*words).output
    assert run("init", "--db", tmp_path / "new.db").exit_code == 0
    result = run(*words, "--new")
    assert result.exit_code == 0
    assert "1 accounts have no meter yet: fill it in" in result.output
    result = run(*words[:-1], tmp_path / "none" / "o.csv", "--new")
    assert result.exit_code == 1
    assert "sells nothing twice" in result.output


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--account", "000000000001"),
        ("--amount", "5"),
        ("--account", "000000000001", "--amount", "5", "--file", "sales.csv"),
        ("--account", "000000000001", "--amount", "5", "--out", "orders.csv"),
    ],
)
def test_one_sale_or_a_list(db: Path, words: tuple[str, ...]) -> None:
    result = run("sell", "--db", db, *words)
    assert result.exit_code == 2
    assert "give --account and --amount, or --file" in result.output


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
    with Store(db) as store, store.writing() as database:
        database.run("DELETE FROM readings WHERE seq = 9")
    result = run("reconcile", "--db", db)
    assert result.exit_code == 1
    assert "difference: 12 readings taken, 11 stored" in result.output
    result = run("reconcile", "--db", db, "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert (found["ok"], found["sold_fen"], found["charged_fen"]) == (False, 20000, 35)
    assert len(found["differences"]) == 1
    assert found["households"][0]["account"] == account_name(0)


def test_a_refund_is_reconciled(db: Path) -> None:
    who = ("--db", db, "--account", account_name(0))
    result = run("refund", *who, "--amount", "40")
    assert result.output == "order 2 of account 000000000001: 40.00 yuan to pay back\n"
    result = run("reconcile", "--db", db)
    assert (
        "sold 160.00 = charged 0.35 + balances 199.65 + not yet redeemed -40.00" in result.output
    )
    assert run("sell", *who, "--amount", "1").exit_code == 0
    result = run("refund", *who, "--amount", "30")
    assert (result.exit_code, "take back order 3 first" in result.output) == (1, True)
    assert run("void", *who, "--order", "3", "--reason", "typo").exit_code == 0
    for amount, said in (
        ("199.00", None),
        ("0", "the refund of account 000000000001 is given up"),
        ("30", "order 4 of account 000000000001: 30.00 yuan to pay back"),
        ("40", "order 5 of account 000000000001: 40.00 yuan to pay back"),
    ):
        result = run("refund", *who, "--amount", amount)
        assert result.exit_code == int(not said)
        assert (said or "refund less") in result.output
        if said is not None:
            assert said in result.output
            left = f"not yet redeemed {-float(amount) or 0.0:.2f}"
            assert left in run("reconcile", "--db", db).output
    village = village_of(2, 5)
    known = len(village.records)
    refunded(village, 4000, order=5)
    with Store(db) as store:
        Ingest(store, KEYS).answer(frame(Kind.BATCH, 2, village.batch(known + 1)), "test")
        assert standings(store, 7)[0].fields[RecordKind.STANDING]["credit_fen"] == 6000
    result = run("reconcile", "--db", db)
    assert result.exit_code == 0, result.output
    assert "sold 160.00 = charged 0.35 + balances 159.65 + not yet redeemed 0.00" in result.output
    assert "orders: 3 sold, 3 redeemed" in result.output
    result = run("refund", *who, "--amount", "59.86", "--json")
    assert result.exit_code == 1
    assert "had 59.85 yuan when its concentrator told last" in result.output
    result = run("refund", *who, "--amount", "59.85", "--json")
    assert json.loads(result.output)["amount_fen"] == -5985
    refunded(village, 5000, order=6)
    with Store(db) as store:
        Ingest(store, KEYS).answer(frame(Kind.BATCH, 3, village.batch(known + 2)), "test")
    result = run("reconcile", "--db", db)
    assert result.exit_code == 1
    assert "order 6 of account 000000000001: -59.85 yuan sold, -50.00 redeemed" in result.output


def test_nothing_is_refunded_before_what_was_bought_is_redeemed(db: Path) -> None:
    who = ("--db", db, "--account", account_name(0))
    assert run("refund", *who, "--amount", "0").exit_code == 1
    assert run("sell", *who, "--amount", "1").exit_code == 0
    result = run("refund", *who, "--amount", "1")
    assert result.exit_code == 1
    assert "order 2 of account 000000000001 is not redeemed yet" in result.output


def refunded(village: Village, amount_fen: int, order: int) -> None:
    """Write a REFUND record of an order of the first household."""
    village.top_up(0, 0)
    fields = village.records.pop().fields
    left = {name: fields[name] - amount_fen for name in ("credit_fen", "balance_fen")}
    village.credit_fen[0] -= amount_fen
    left["order"] = order
    village.write(RecordKind.REFUND, {**fields, **left, "amount_fen": amount_fen})


@pytest.fixture
def told(db: Path) -> Path:
    """Store items: two of the first household's meter, one of the second's, in both standards."""
    village = village_of(2, 5)
    for row, identifier, values in (
        (0, "0201FF00", [2198, None, None]),
        (0, "0201FF00", [2201, 2305, None]),
        (0, "04000501", [4]),
        (0, "04000507", [0]),
        (1, "0000B630", [12345]),
        (1, "00020000", [1230]),
        (1, "12345678", [-7]),
    ):
        fields = {"identifier": identifier, "count": len(values), "values": values}
        village.write(RecordKind.ITEM, fields, row)
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
    assert (
        "account 000000000009 is not known here"
        in run("items", "--db", db, "--account", "9").output
    )
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
    (tmp_path / "keys.toml").write_bytes(b"\x80\xff")
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
