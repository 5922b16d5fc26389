"""Goal: lists of customers are taken whole or not at all, come out as they went in, and what
differs from other lists and from the lines of concentrators is told.

Method: the commands get lists as power companies' programs write them, right and wrong ones.
"""

import csv
import io
import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import registry
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.uplink_world import KEYS, account_name, deliver, meter_address, village_of

HEAD = "account,customer,name,phone,persons,district,meter,multiplier\n"
TWO = "1,C-1,Wang Fang,138 0000,4,T-1,983764,1\n2,C-2,Li Na,,2,T-1,983765,40\n"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Make a database of a village of two meters."""
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        deliver(Ingest(store, KEYS), village_of(2, 1))
    return path


def run(*words: object, typed: str = "") -> Result:
    """Run `dianka headend register WORDS`."""
    words = ("headend", "register", *words)
    return CliRunner().invoke(cli, [str(word) for word in words], input=typed)


def listed(db: Path, text: str | bytes, name: str = "list.csv") -> Path:
    """Write a list beside the database."""
    path = db.with_name(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def taken(db: Path, text: str | bytes, *words: str, typed: str = "") -> Result:
    return run("import", listed(db, text), "--db", db, *words, typed=typed)


def exported(db: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run("export", "--db", db).output)))


def test_a_list_is_shown_before_it_is_taken(db: Path) -> None:
    refused = taken(db, HEAD + TWO, typed="n\n")
    assert (refused.exit_code, exported(db)) == (1, [])
    assert "2 accounts are new, 0 change, 0 stay as they are" in refused.output
    done = taken(db, HEAD + TWO, typed="y\n")
    assert done.exit_code == 0, done.output
    rows = exported(db)
    assert [(row["account"], row["name"], row["meter"]) for row in rows] == [
        (account_name(0), "Wang Fang", meter_address(0)),
        (account_name(1), "Li Na", meter_address(1)),
    ]
    again = taken(db, HEAD + TWO)
    assert again.output == "0 accounts are new, 0 change, 2 stay as they are\n"
    changed = taken(db, HEAD + TWO.replace("Li Na", "Li Nan"), "--yes")
    assert "name 'Li Na' becomes 'Li Nan'" in changed.output
    assert exported(db)[1]["name"] == "Li Nan"


def test_what_was_exported_is_taken_as_it_was(db: Path, tmp_path: Path) -> None:
    taken(db, HEAD + TWO, "--yes")
    other = tmp_path / "other.db"
    Store(other, create=True).close()
    whole = run("export", "--db", db).output
    assert taken(other, whole, "--yes").exit_code == 0
    assert run("export", "--db", other).output == whole


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_list_with_chinese_columns_is_taken(db: Path, encoding: str) -> None:
    text = "户号,户名,用电类别,台区,表号,倍率\r\n1,王芳,居民,东村1号,983764,1\r\n"
    done = taken(db, text.encode(encoding), "--yes")
    assert done.exit_code == 0, done.output
    (row,) = exported(db)
    assert (row["name"], row["kind"], row["district"]) == ("王芳", "resident", "东村1号")
    assert row["customer"] == account_name(0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\nWang\n", "no column account"),
        (HEAD + "x,C,Wang,,1,T,1,1\n", "line 2: account 'x'"),
        (HEAD + TWO + "3,C-3,,,1,T,1,1\n", "line 4: name '' has not 1 to 128 characters"),
        (HEAD + TWO + "3,C-3,Z,call me,1,T,1,1\n", "line 4: phone 'call me'"),
        (HEAD + TWO + "3,C-3,Z,,100,T,1,1\n", "line 4: persons '100'"),
        (HEAD + TWO + "3,C-3,Z,,1,T,1,0\n", "line 4: multiplier '0'"),
        (HEAD + TWO + "3,C-3,Z,,1,T,983764,1\n", "line 4: meter 000000983764 is at account"),
        (HEAD + TWO + "3,C-1,Other,,4,T,5,1\n", "line 4:"),
        (HEAD + TWO + "1,C-9,Z,,1,T,1,1\n", "line 4: the same account as in line 2"),
        (HEAD + TWO + "3,C-3,Z\n", "line 4: 3 cells, the first line has 8"),
        ("account,name,kind\n1,Z,palace\n", "line 2: kind 'palace' is none of"),
        (b"\x00\xff\xfe", "is no text in UTF-8"),
    ],
)
def test_a_wrong_list_changes_nothing_and_names_row_and_column(
    db: Path, text: str | bytes, said: str
) -> None:
    result = taken(db, text, "--yes")
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert exported(db) == []


def test_a_meter_moves_with_the_list_and_is_nowhere_twice(db: Path) -> None:
    taken(db, HEAD + TWO, "--yes")
    one = taken(db, HEAD + "2,C-2,Li Na,,2,T-1,983764,1\n", "--yes")
    assert "is at account 000000000001" in one.output
    both = HEAD + TWO.replace("983764", "5").replace("983765", "983764").replace(",5,", ",983765,")
    done = taken(db, both, "--yes")
    assert done.exit_code == 0, done.output
    assert [row["meter"] for row in exported(db)] == [meter_address(1), meter_address(0)]


def test_what_differs_from_another_list_is_told(db: Path) -> None:
    taken(db, HEAD + TWO, "--yes")
    other = listed(db, HEAD + TWO, "other.csv")
    same = run("compare", other, "--db", db)
    assert (same.exit_code, same.output) == (0, "both are the same\n")
    text = HEAD + "2,C-2,Li Nan,,2,T-1,77,1\n3,C-3,Zhao,,1,T-1,78,1\n"
    done = run("compare", listed(db, text, "other.csv"), "--db", db, "--json")
    assert done.exit_code == 1
    found = json.loads(done.output)["differences"]
    assert [(one["kind"], one["account"][-1], one["here"], one["there"]) for one in found] == [
        (registry.EXTRA, "1", "Wang Fang", ""),
        (registry.OTHER_METER, "2", meter_address(1), "000000000077"),
        (registry.OTHER_MULTIPLIER, "2", "40", "1"),
        (registry.OTHER_NAME, "2", "Li Na", "Li Nan"),
        (registry.MISSING, "3", "", "Zhao"),
    ]


def test_what_differs_from_the_lines_of_concentrators_is_told(db: Path) -> None:
    taken(db, HEAD + "1,C-1,Wang,,1,T,99,1\n3,C-3,Zhao,,1,T,98,1\n", "--yes")
    done = run("lines", "--db", db, "--csv")
    assert done.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(done.output)))
    assert [(row["kind"], row["account"][-1], row["there"]) for row in rows] == [
        (registry.OTHER_METER, "1", meter_address(0)),
        (registry.NOT_IN_REGISTER, "2", "7"),
        (registry.NOT_ON_A_LINE, "3", ""),
    ]


def test_a_price_is_held_against_other_lists_and_against_the_lines(db: Path) -> None:
    taken(db, HEAD + TWO.replace(",40\n", ",1\n"), "--yes")
    with Store(db, read_only=True) as store:
        mine = store.value("SELECT tariff FROM meters WHERE account = ?", (account_name(0),))
    text = "account,customer,name,phone,persons,district,meter,multiplier,tariff\n"
    rows = (
        f"1,C-1,Wang Fang,138 0000,4,T-1,983764,1,{mine + 1}\n2,C-2,Li Na,,2,T-1,983765,1,{mine}\n"
    )
    priced = listed(db, text + rows, "other.csv")
    done = run("compare", priced, "--db", db, "--json")
    wanted = [(registry.OTHER_PRICE, account_name(0), str(mine), str(mine + 1))]
    assert differences(done) == wanted, "the register does not say one: it is the concentrator's"
    assert differences(run("lines", "--db", db, "--json")) == []

    assert "tariff '0' becomes" in run("import", priced, "--db", db, "--yes").output
    assert differences(run("compare", priced, "--db", db, "--json")) == []
    kind, account, here, there = wanted[0]
    assert differences(run("lines", "--db", db, "--json")) == [(kind, account, there, here)]
    # A list that says no price leaves that of the register.
    taken(db, HEAD + TWO.replace(",40\n", ",1\n"), "--yes")
    assert [row["tariff"] for row in exported(db)] == [str(mine + 1), str(mine)]


def differences(done: Result) -> list[tuple[str, str, str, str]]:
    found = json.loads(done.output)["differences"]
    return [(one["kind"], one["account"], one["here"], one["there"]) for one in found]


PLATES = "account,name,meter,multiplier,ct,pt,type,manufacturer,installed,verified,due\n"
PLATE = "1,Wang,983764,,200/5,2,DTZ341,Hongye,2024-05-01,2024/4/2,2027年4月20日\n"


def test_the_ledger_of_meters_is_taken_and_an_empty_cell_leaves_what_is_known(db: Path) -> None:
    seen = taken(db, PLATES + PLATE, typed="n\n")
    assert (seen.exit_code, exported(db)) == (1, [])
    assert taken(db, PLATES + PLATE, "--yes").exit_code == 0
    told = {"multiplier": "80", "type": "DTZ341", "manufacturer": "Hongye"}
    told |= {"installed": "2024-05-01", "verified": "2024-04-02", "due": "2027-04-20"}
    (row,) = exported(db)
    assert {name: row[name] for name in told} == told
    same = taken(db, "account,name,meter,multiplier\n1,Wang,983764,80\n")
    assert same.output == "0 accounts are new, 0 change, 1 stay as they are\n"
    assert (row["ct"], row["pt"]) == ("200/5", "2")
    moved = taken(db, PLATES + PLATE.replace("2027年4月20日", "2035-04-20"), "--yes")
    assert "due '2027-04-20' becomes '2035-04-20'" in moved.output
    assert taken(db, "account,name,meter,multiplier\n1,Wu,983764,80\n", "--yes").exit_code == 0
    known = {"name": "Wu", "due": "2035-04-20", "ct": "200/5", "pt": "2", "multiplier": "80"}
    (row,) = exported(db)
    assert {name: row[name] for name in known} == known
    # Another product is told by a list without ratios: those that are known are of the old one.
    said = taken(db, "account,name,meter,multiplier\n1,Wu,983764,60\n", "--yes").output
    assert "ct '200/5' becomes ''" in said
    (row,) = exported(db)
    assert (row["ct"], row["pt"], row["multiplier"]) == ("", "", "60")


def test_a_sheet_has_days_and_ratios_as_programs_write_them(db: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["户号", "户名", "表号", "电流互感器变比", "电表类型", "检定有效期至"])
    book.active.append([1, "王芳", 983764, 40, "三相", datetime(2026, 3, 1)])
    book.save(db.with_name("list.xlsx"))
    done = run("import", db.with_name("list.xlsx"), "--db", db, "--yes")
    assert done.exit_code == 0, done.output
    (row,) = exported(db)
    assert (row["multiplier"], row["type"], row["due"]) == ("40", "三相", "2026-03-01")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (PLATE.replace("2024/4/2", "2024/2/30"), "line 2: verified '2024/2/30' is no day"),
        (PLATE.replace("2024-05-01", "May"), "line 2: installed 'May' is no day"),
        (PLATE.replace("200/5", "7/2"), "line 2: ct '7/2' is no whole ratio"),
        (PLATE.replace("200/5", "5/0"), "line 2: ct '5/0' is no whole ratio"),
        (PLATE.replace(",,200/5", ",40,200/5"), "line 2: multiplier '40': ct '200/5' times pt"),
        (PLATE.replace("200/5,2", "60000,2"), "is 120000, at most 65535"),
        (PLATE.replace("Hongye", "H" * 65), "line 2: manufacturer"),
    ],
    ids=["no such day", "no day", "no whole", "nothing", "contradiction", "too much", "too long"],
)
def test_a_wrong_plate_of_a_meter_is_refused_by_row_and_column(
    db: Path, wrong: str, said: str
) -> None:
    result = taken(db, PLATES + wrong, "--yes")
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert exported(db) == []


def test_meters_whose_verification_ends_are_listed(db: Path) -> None:
    rows = PLATE + "2,Li,983765,,,,,,,,2020-01-01\n3,Zhao,983766,,,,,,,,\n"
    assert taken(db, PLATES + rows, "--yes").exit_code == 0
    early = run("due", "--db", db, "--until", "2020-01-01", "--json")
    (one,) = json.loads(early.output)["due"]
    assert (one["meter"], one["name"], one["due"]) == (meter_address(1), "Li", "2020-01-01")
    later = run("due", "--db", db, "--until", "2027-04-20", "--csv")
    days = [row["due"] for row in csv.DictReader(io.StringIO(later.output))]
    assert days == ["2020-01-01", "2027-04-20"]
    none = run("due", "--db", db, "--until", "2019-12-31")
    assert none.output == "no meter is due\n"
    assert "give a day as YYYY-MM-DD" in run("due", "--db", db, "--until", "x").output


def test_meters_that_are_to_be_exchanged_are_listed_by_district_and_type(db: Path) -> None:
    head = "account,name,meter,district,type,due,exchange_due\n"
    rows = "1,Wang,983764,T-1,DDZY,2026-01-01,2026-02-01\n2,Li,983765,T-2,DTZ,,2026-01-15\n"
    assert taken(db, head + rows, "--yes").exit_code == 0

    def due(*words: str) -> list[tuple[str, str, str]]:
        output = run("due", "--db", db, "--until", "2026-03-01", *words, "--json").output
        return [(one["due"], one["what"], one["account"][-1]) for one in json.loads(output)["due"]]

    verified = ("2026-01-01", registry.VERIFICATION, "1")
    first, second = ("2026-01-15", registry.EXCHANGE, "2"), ("2026-02-01", registry.EXCHANGE, "1")
    assert due() == [verified, first, second]
    assert due("--transformer", "T-1") == [verified, second]
    assert due("--type", "DTZ") == [first]


def test_a_list_is_taken_once_all_of_its_parts_are_there(db: Path) -> None:
    """A part that did not arrive, and a meter that was taken meanwhile, leave all as it was."""
    with Store(db) as store:
        first = registry.Entry("000000000001", "C-1", "Wang", meter="000000000077")
        registry.stage_entries(store, "mine", [first])
        with pytest.raises(StoreError, match="1 of 2 rows have arrived"):
            registry.take_staged(store, "mine", 2)
        registry.take(store, [registry.Entry("000000000002", "C-2", "Li", meter=first.meter)])
        with pytest.raises(StoreError, match="meter 000000000077 is at account 000000000002"):
            registry.take_staged(store, "mine", 1)
        assert [one.name for one in registry.entries(store)] == ["Li"]
        assert store.value("SELECT count(*) FROM staged_entries") == 1
        store.database.run("UPDATE staged_entries SET staged_at = 0")
        registry.stage_entries(store, "other", [])
        assert store.value("SELECT count(*) FROM staged_entries") == 0


# How many rows a long list has: `make soak` takes 100,000.
ROWS = int(os.environ.get("DIANKA_ROWS", "20000"))


def test_a_long_list_is_taken_in_one_go(db: Path) -> None:
    """A list of many rows is refused whole for its last row, then taken, and comes out again."""
    rows = [f"{n},C-{n},Name {n},,1,T-{n % 50},{n},1" for n in range(1, ROWS + 1)]
    wrong = [*rows, f"{ROWS + 1},C,Z,,1,T,{ROWS},1"]
    refused = taken(db, HEAD + "\n".join(wrong) + "\n", "--yes")
    said = f"line {ROWS + 2}: meter {ROWS:012} is at account {ROWS:012}"
    assert (refused.exit_code, said in refused.output) == (1, True), refused.output
    assert exported(db) == []
    done = taken(db, HEAD + "\n".join(rows) + "\n", "--yes")
    assert done.exit_code == 0, done.output
    assert len(exported(db)) == ROWS
