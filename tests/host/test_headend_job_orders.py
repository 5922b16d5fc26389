"""Goal: jobs reach the accounts of a file, ask before prices change, and never cut without right.

Method: the commands as a station types them, on a database with three accounts; moments are given
as relative to the one at which the test runs.
"""

import time
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import commands
from host.headend.commands import Given, Target
from host.headend.cuts import NOTICE_DAYS, lawful_cut
from host.headend.errors import StoreError
from host.headend.store import Store, zone_of
from host.units import DAY_S, HOUR_S, t2000_of_unix, to_datetime

ACCOUNTS = ["000000000001", "000000000002", "000000000003"]
NOW = int(time.time())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a database: accounts 1 and 2 of concentrator 7 on tariff 2, 3 of 8; 3 is guarded."""
    path = tmp_path / "village.db"
    with Store(path, create=True) as store, store.writing() as database:
        for number in (7, 8):
            database.run("INSERT INTO concentrators (concentrator) VALUES (?)", (number,))
        for row, account in enumerate(ACCOUNTS):
            where = 7 if row < 2 else 8
            database.run(
                "INSERT INTO accounts (account, concentrator, guard) VALUES (?, ?, ?)",
                (account, where, int(row == 2)),
            )
            database.run(
                'INSERT INTO meters (concentrator, "row", address, account, tariff, active) '
                "VALUES (?, ?, ?, ?, 2, 1)",
                (where, row, f"{row:012}", account),
            )
    return path


def run(path: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, ["headend", "job", words[0], "--db", str(path), *words[1:]])
    assert "Traceback" not in done.output
    return done.output if done.exit_code == 0 else f"{done.exit_code} {done.output}"


def texts(path: Path) -> list[str]:
    with Store(path) as store:
        return [row["text"] for row in commands.commands_of(store)]


def notice(path: Path, age_s: int) -> str:
    """Return a moment so long ago, on the station's clock."""
    with Store(path) as store:
        now_t2000 = t2000_of_unix(NOW, zone_of(store.database))
    return f"{to_datetime(now_t2000) - timedelta(seconds=age_s):%Y-%m-%d %H:%M:%S}"


# --- accounts of a file -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"account\n1\n000000000002\n",
        b"\xef\xbb\xbfname,account\r\nLi,1\r\n\r\nWang,2\r\n",
        "户号,户名\n1,李\n2,王\n".encode("gb18030"),
        "户号\n1\n2\n".encode("utf-16"),
    ],
)
def test_a_file_names_the_accounts(path: Path, content: bytes) -> None:
    listed = path.with_name("paid.csv")
    listed.write_bytes(content)
    assert "2 commands" in run(path, "restore", "--file", str(listed))
    assert texts(path) == [f"supply {account} restore" for account in ACCOUNTS[:2]]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"number\n1\n", "has no column account: its first line is account"),
        (b"account\n", "has no rows below its first line"),
        (b"account\n1\nx\n", "line 3: account 'x' is no number"),
        (b"account\n1\n01\n", "line 3: the same account as in line 2"),
        (b"account,name\n1\n", "line 2: 1 cells, the first line has 2"),
        (b"account\n1\n9\n", "line 3: no concentrator has account 000000000009"),
        (b"account\n1\n\xff\xff\n", "is no text in UTF-8 or GB18030"),
        (b'account\n"1\n', "is no CSV"),
    ],
)
@pytest.mark.parametrize(
    "words", [("restore",), ("give", "account {account}"), ("guard", "on"), ("read", "voltage")]
)
def test_a_file_is_taken_whole_or_not_at_all(
    path: Path, words: tuple[str, ...], content: bytes, why: str
) -> None:
    listed = path.with_name("paid.csv")
    listed.write_bytes(content)
    said = run(path, *words, "--file", str(listed))
    assert said.startswith("1 Error: ")
    assert why in said
    assert texts(path) == []


def test_accounts_are_named_in_one_way(path: Path) -> None:
    missing = str(path.with_name("none.csv"))
    assert "cannot read" in run(path, "restore", "--file", missing)
    assert "--account or --file, one" in run(path, "restore", "--account", "1", "--file", missing)
    assert "name the accounts" in run(path, "restore")
    assert "1 commands" in run(path, "restore", "--account", "1", "--account", "1")


# --- prices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("tariff commit 2 0011223344556677", "--concentrator", "7"), 2),
        (("tariff  commit 2 0011223344556677", "--all"), 3),
        (("account set {account} household 1", "--account", "1", "--account", "2"), 2),
        (("account set {account} multiplier 2", "--account", "1"), 1),
        (("account used {account} 100", "--account", "1"), 1),
        (("meter add 1 {account} 3", "--account", "1"), 1),
    ],
)
def test_what_changes_prices_asks_first(path: Path, words: tuple[str, ...], count: int) -> None:
    said = run(path, "give", *words)
    assert f"{count} accounts pay other prices with it: change it?" in said
    assert texts(path) == []
    assert "commands" in run(path, "give", *words, "--yes")
    assert texts(path)


@pytest.mark.parametrize(
    "words",
    [
        ("tariff commit 3 0011223344556677", "--concentrator", "7"),
        ("tariff list", "--all"),
        ("tariff commit", "--all"),
        ("account set {account} grade 1", "--account", "1"),
        ("meter add 1 {account} 2", "--account", "1"),
        ("meter add 9 000000000009 2", "--concentrator", "7"),
    ],
)
def test_what_changes_no_price_does_not_ask(path: Path, words: tuple[str, ...]) -> None:
    assert "change it?" not in run(path, "give", *words)
    assert texts(path)


# --- cuts ---------------------------------------------------------------------------------------

UNLAWFUL = {
    "no notice": ("supply 1 cut", "a cut needs its notice"),
    "no moment": ("supply 1 cut yesterday", "a cut needs its notice"),
    "guarded": ("supply 3 cut {notice}", "account 000000000003 is protected"),
    "guarded, blanks": ("supply   000000000003  cut {notice}", "000000000003 is protected"),
    "to come": ("supply 1 cut {future}", "the notice to account 000000000001 is still to come"),
    "old": ("supply 1 cut {old}", f"is {NOTICE_DAYS} days old: deliver another one"),
}


@pytest.mark.parametrize("name", UNLAWFUL)
def test_a_cut_without_right_is_not_given(path: Path, name: str) -> None:
    """Whichever way it is given, and the concentrator is not asked."""
    text, why = UNLAWFUL[name]
    moments = {"notice": DAY_S, "future": -HOUR_S, "old": NOTICE_DAYS * DAY_S}
    text = text.format(**{one: notice(path, age_s) for one, age_s in moments.items()})
    assert why in run(path, "give", text, "--concentrator", "8", "--reason", "arrears")
    with Store(path) as store, pytest.raises(StoreError, match=why):
        commands.give(store, "x", [Target(7, text)], Given("", "arrears", NOW + DAY_S, NOW))
    assert texts(path) == []


def test_a_cut_has_a_reason(path: Path) -> None:
    text = f"supply {{account}} cut {notice(path, DAY_S)}"
    assert "a cut needs a reason" in run(path, "give", text, "--account", "1")
    assert "a cut needs a reason" in run(
        path, "cut", "--account", "1", "--notice", notice(path, DAY_S), "--reason", " "
    )
    assert "1 commands" in run(path, "give", text, "--account", "1", "--reason", "arrears")
    said = run(
        path, "cut", "--account", "2", "--notice", notice(path, DAY_S), "--reason", "arrears"
    )
    assert "1 commands" in said
    assert "000000000002: no notice before a cut is recorded as delivered" in said


def test_one_of_a_list_that_is_protected_stops_all(path: Path) -> None:
    listed = path.with_name("told.csv")
    listed.write_text("account\n1\n3\n")
    told = ("--notice", notice(path, DAY_S), "--reason", "arrears")
    said = run(path, "cut", "--file", str(listed), *told)
    assert said == "1 Error: account 000000000003 is protected: its supply is not cut\n"
    assert texts(path) == []


def test_a_cut_ends_with_its_notice(path: Path) -> None:
    """It is not carried out later, and not given again then."""
    when = to_datetime(0)
    with Store(path) as store:
        zone = zone_of(store.database)
        when += timedelta(seconds=t2000_of_unix(NOW, zone) - NOTICE_DAYS * DAY_S + HOUR_S)
        text = lawful_cut(ACCOUNTS[0], when)
        given = Given("", "arrears", NOW + 30 * DAY_S, NOW)
        job = commands.give(store, "cut", [Target(7, text, ACCOUNTS[0])], given)
        (row,) = commands.commands_of(store, job=job)
        assert row["expires_at"] == NOW + HOUR_S
        with store.writing() as database:
            assert commands.due(database, NOW + HOUR_S + 1) == {}
        later = Given("", "arrears", NOW + 30 * DAY_S, NOW + 2 * HOUR_S)
        with pytest.raises(StoreError, match="days old"):
            commands.retry(store, job, later)
        (row,) = commands.commands_of(store, job=job)
        assert row["state"] == "expired"


def test_protection_that_came_behind_a_cut_holds_when_it_is_given_again(path: Path) -> None:
    with Store(path) as store:
        text = lawful_cut(ACCOUNTS[0], to_datetime(t2000_of_unix(NOW, zone_of(store.database))))
        given = Given("", "arrears", NOW + DAY_S, NOW)
        job = commands.give(store, "cut", [Target(7, text, ACCOUNTS[0])], given)
        commands.set_job(store, job, "stopped")
        with store.writing() as database:
            database.run("UPDATE accounts SET guard = 1")
        with pytest.raises(StoreError, match="is protected"):
            commands.retry(store, job, given)
