"""Goal: lists of customers are taken whole or not at all, come out as they went in, and what
differs from other lists and from the lines of concentrators is told.

Method: the commands get lists as power companies' programs write them, right and wrong ones.
"""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import registry
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


def test_a_long_list_is_taken_in_one_go(db: Path) -> None:
    rows = [f"{number},C-{number},Name {number},,1,T,{number},1" for number in range(1, 3001)]
    done = taken(db, HEAD + "\n".join(rows) + "\n", "--yes")
    assert done.exit_code == 0, done.output
    assert len(exported(db)) == 3000
