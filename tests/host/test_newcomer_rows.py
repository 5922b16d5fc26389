"""Goal: what a newcomer, a counter clerk and a technician once met cannot come back.

Method: ROWS names, for each mistake that was met, the tests that hold it; each of them is looked
up. ANSWERED says why something stays as it is. `test_headend_rows.py` has the rows of the
head-end. The tests of this file are those that fit nowhere else.
"""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cards import keystore
from host.cli import cli
from host.frames import write
from host.frames.card_results import CODES, OUTCOMES

TESTS = Path(__file__).resolve().parents[1]
TARIFF = TESTS.parent / "tariffs" / "zhejiang-tou.json"
ROWS = {
    # Money, data, strangers
    "two processes have one flash file": "host/boards_unix.a_flash_has e2e/setting_up.one_process",
    "a console stays open behind who logged in": "host/link_console.a_session_hides_keys",
    "looking keeps a session open": "core/concentrator_login.looking_does_not_keep",
    "a meter over the console needs an open session": "host/newcomer_rows.a_line_behind_a_console",
    "settings show the meters' password": "core/concentrator_commands.no_secret_is_shown",
    "an order number was used by a card": "host/headend_rows.no_order_takes_a_number",
    # Stuck, or wrong
    "a torn last line of the log stops the counter": "host/card_shop.a_torn_last_line",
    "a full disk tears the log": "host/card_shop.a_full_disk_leaves",
    "an aborted issue leaves an empty file": "host/newcomer_rows.an_issue_that_fails_leaves",
    "the help of a verb is refused": "host/cli.help_needs_nothing_else",
    "two programs use one port": "e2e/meter_cli.two_programs_cannot_use",
    "a written address is reported as a failure": "host/settle.a_new_address_is_looked_for",
    "a broadcast of the time ends with 1": "e2e/technician.the_time_of_all",
    "clocks take summer time, or that of a server": "host/headend_clock. e2e/technician.the_time",
    "a script ends with 0 though a line was refused": "e2e/setting_up.a_script_stops",
    "lines of input end with 0 though one was refused": "e2e/setting_up.input_goes_on",
    "a tariff changes the price of all unasked": "e2e/console.a_household_is_set_up",
    "a key stands on a command line": "host/secret_files.a_secret_on_the_command_line",
    "the key version is advanced twice": "host/card_keys.advance_asks_and_can_be_taken_back",
    "a file with secrets is open to others": "host/secret_files.a_command_warns",
    "the first command of the README is not found": "host/wheel.the_commands_of_the_readme",
    "a package is named that no registry has": "host/defaults.a_missing_package_is_added",
    "the documents do not suffice": "docs/operate.a_newcomer_gets_a_village",
    "a console is on a socket that nobody listens on": "e2e/setting_up.one_process_has",
    "no command sets address and speed": "e2e/meter_cli.a_meter_gets e2e/meter_cli.a_meter_is",
    # Friction
    "a relay's state is a word of bits": "e2e/meter_cli.a_relay_is_switched",
    "the values of a block have no names": "host/block_parts.each_value_has_its_part",
    "an operator's card is refused as a household's": "host/newcomer_rows.an_operators_card",
    "a second alarm is above the first": "host/newcomer_rows.alarms_are_in_their_order",
    "a card is made that is over": "host/newcomer_rows.a_card_that_is_over",
    "a wrong passphrase is not told": "host/newcomer_rows.a_wrong_passphrase",
    "any profile is taken": "host/mistakes.each_wrong_word",
    "a number out of range has wrong decimals": "host/newcomer_rows.a_number_out_of_range",
    "a number below 0 is an option": "host/newcomer_rows.a_number_below_0",
    "a port without a number ends in Python": "host/mistakes.each_wrong_file_and_port",
    "1997 meters are asked what they have not": "e2e/meter_cli.1997_is_told",
    "a search shows nothing before its end": "e2e/meter_cli.all_meters_are_found",
    "a search that is stopped loses what it has found": "sim/survey.a_search_that_is_stopped",
    "a lost answer loses those that came": "sim/survey.a_lost_answer_loses_no_other",
    "the mark of Notepad is no TOML and no JSON": "host/newcomer_rows.files_of_people",
    "Chinese files of Excel are no text": "host/newcomer_rows.files_of_people",
    "a terminal of ASCII ends in Python": "host/mistakes.a_terminal_without_chinese",
    "a day is played before a picture cannot be": "host/newcomer_rows.a_picture_that_cannot",
    "a vendor's log cannot be decoded": "host/decode_captures.a_log_of_many_lines",
    "no terminal ends in a warning of Python": "host/mistakes.a_question_without_a_terminal",
    "a reader that went away is a broken invariant": "host/mistakes.a_reader_that_went_away",
    "a port's error is told twice": "host/newcomer_rows.a_port_is_told_once",
    "a card that is read-only is to be made anew": "host/mistakes.a_folder_that_is_read",
    "there is no Chinese": "host/words.a_catalogue_has_all_texts",
    "Chinese pages lack what the English ones have": "docs/chinese.a_section_has_the_commands",
    "an account without items has the wrong reason": "host/newcomer_rows.an_unknown_account",
    # Lines and frames
    "b80 a relay moved, its answer was lost": "host/settle.what_became_of_an_order",
    "b81 a password changed, its answer was lost": "host/settle.what_became_of_an_order",
    "b82 a slow converter": "e2e/meter_cli.a_slow_converter e2e/technician.three_kinds",
    "b83 a meter answers with the wildcard": "core/dlt645_discovery.meters_that_give_back",
    "b84 the driver is let go too late": "host/boards_chip.the_direction_changes_soon",
    "b85 parity is not looked at": "host/boards_unix.bytes_of_wrong host/link_console.a_byte",
    "b86 a receive buffer is too small": "host/boards_chip.what_is_heard_while_the_pin",
    "b87 many frames are pasted": "host/decode_captures.all_frames_of_a_capture",
    "b88 a date that cannot be": "host/decode_captures.a_date_that_cannot_be",
    "b89 a port is in use": "e2e/meter_cli.two_programs_cannot_use",
    "b90 a search finds nothing": "e2e/meter_cli.a_search_that_finds_nobody",
    "b91 a listened line ends": "host/sniff.the_command_on_a_socket_that_closes",
}
ANSWERED = {
    "names of fields in JSON differ between `card show` and `card issue`": "`show` explains a"
    " card to people, `issue` gives the fields of SPEC.md to programs; scripts read both",
    '`card show --json` has "no limit" as the last day of a card': "`show` explains a card to"
    " people in every form; `issue --json` gives programs the number of SPEC.md",
    "an empty DIANKA_CARD_PASSPHRASE is asked for": "an empty variable is an unset one to most"
    " programs, and no key file is sealed with nothing",
    "`meter --console scan` blocks the line's questions": "the concentrator goes on asking the"
    " meters that it bills; the next question is told that `line answer` tells of it, and a search"
    " over --port is faster",
    "a search asks a hundred questions more for two meters": "answers that collide tell no digit,"
    " so every ending is asked for; a question without an answer takes the longest reply delay",
    "a card of another household is shown without its key": "who has no key sees what is on the"
    " card in clear, as any reader does, and is told that nothing of it is proved",
}


def names_of(place: str) -> set[str]:
    """Return the tests of a module, named as folder/module."""
    folder, _slash, module = place.partition("/")
    path = TESTS / folder / f"test_{module}.py"
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r"^def test_(\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_its_test(row: str) -> None:
    for one in ROWS[row].split():
        place, _dot, begins = one.partition(".")
        assert any(name.startswith(begins) for name in names_of(place)), one


def test_what_stays_has_a_reason() -> None:
    assert all(reason.count(" ") > 8 for reason in ANSWERED.values())


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a counter with its key file."""
    monkeypatch.chdir(tmp_path)
    keystore.save(tmp_path / "card-keys.toml", keystore.new(4711), None)
    return tmp_path


def run(*words: str, **variables: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, [*words], env=variables)
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, done.output


def test_a_line_behind_a_console_takes_a_key() -> None:
    for verb in ("read", "scan", "relay", "collect"):
        assert "--keys FILE" in run("meter", verb, "--help")[1]


def test_an_issue_that_fails_leaves_no_card_that_is_none(counter: Path) -> None:
    words = ("issue", "--account", "1", "--meter", "1", "--order", "1", "--amount", "5")
    assert run("card", *words, "--file", "n.bin", "--log", "/nowhere/log")[0] == 1
    assert run("card", *words, "--file", "n.bin")[0] == 0


def test_an_operators_card_is_refused_in_its_own_words(counter: Path) -> None:
    from host.cli.card import view
    from host.frames import card as frames

    assert run("card", "clear", "--all", "--file", "clear.bin")[0] == 0
    header = frames.parse((counter / "clear.bin").read_bytes()).header
    assert header is not None
    for name in ("USED", "ORDER_BEHIND"):
        with CliRunner().isolation() as streams:
            view.say_outcome(OUTCOMES[CODES[name]], header)
            told = streams[0].getvalue().decode()
        assert "make it anew" in told
        assert "buy again" not in told


def test_alarms_are_in_their_order(counter: Path) -> None:
    words = ("card", "preset", "--file", "p.bin", "--alarm-1", "10", "--alarm-2")
    assert run(*words, "30")[0] == 2
    assert run(*words, "5")[0] == 0


def test_a_card_that_is_over_is_told(counter: Path) -> None:
    words = ("issue", "--account", "1", "--meter", "1", "--order", "1", "--amount", "5")
    told = run("card", *words, "--file", "n.bin", "--valid-until", "2020-01-01")[1]
    assert "2020-01-01 is over" in told


def test_a_wrong_passphrase_is_told(counter: Path) -> None:
    words = ("issue", "--account", "1", "--meter", "1", "--order", "1", "--amount", "5")
    assert run("card", *words, "--file", "n.bin")[0] == 0
    keystore.save(counter / "sealed.toml", keystore.new(4711), "correct horse battery")
    told = run(
        *("card", "show", "--file", "n.bin", "--keys", "sealed.toml"),
        DIANKA_CARD_PASSPHRASE="another horse battery",
    )[1]
    assert "without its key: " in told
    assert "passphrase" in told


def test_a_number_out_of_range_is_told_its_range() -> None:
    found = write.find("04001001")
    with pytest.raises(write.WriteError, match=r"is at most 999999\.99"):
        write.encode(found, "99999999999", 4)
    with pytest.raises(write.WriteError, match="has 2 decimals"):
        write.encode(found, "1.005", 4)


@pytest.mark.parametrize(
    "words",
    [
        ("bill", str(TARIFF), "-5"),
        ("console", "--port", "/nowhere", "set", "interval_s", "-5"),
        ("meter", "--port", "/nowhere", "write", "1", "04001001", "-20"),
    ],
)
def test_a_number_below_0_is_no_unknown_option(words: tuple[str, ...]) -> None:
    status, told = run(*words)
    assert (status, f"{words[-1]} is read as an option: write it behind --" in told) == (2, True)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_files_of_people_are_read_in_each_encoding(counter: Path, encoding: str) -> None:
    text = TARIFF.read_text("utf-8")
    Path("tariff.json").write_text(text, encoding)
    assert run("bill", "check", "tariff.json")[0] == 0
    Path("meters.yaml").write_text("meters:\n- address: '17'\n  profile: 无\n", encoding)
    assert "there is no profile '无'" in run("sim", "meters", "--file", "meters.yaml")[1]
    Path("meters.txt").write_text("17 厨房\nx\n", encoding)
    told = run("meter", "--port", "/nowhere", "collect", "meters.txt", "00010000")[1]
    assert "line 2: x is no address" in told
    Path("village.toml").write_text("[concentrator]\nid = 7\n[settings]\n电 = 1\n", encoding)
    assert "is not TOML" in run("setup", "village.toml")[1]
    keys = Path("card-keys.toml").read_text("utf-8")
    Path("marked.toml").write_text(f"# 密钥\n{keys}", encoding)
    assert run("card", "clear", "--all", "--file", "c.bin", "--keys", "marked.toml")[0] == 0


def test_a_picture_that_cannot_be_written_is_told_before_the_day(counter: Path) -> None:
    Path("file").touch()
    status, told = run("demo", "--board", "cpython", "--plot", "file/day.png")
    assert status == 1
    assert "cannot write file/day.png" in told


def test_a_port_is_told_once() -> None:
    for words in (
        ("sim", "meters", "--port", "/nowhere"),
        ("meter", "--port", "/nowhere", "scan"),
    ):
        assert run(*words)[1].count("No such file or directory") == 1


def test_an_unknown_account_is_told_as_such(counter: Path) -> None:
    assert run("headend", "init", "--db", "v.db")[0] == 0
    status, told = run("headend", "items", "--db", "v.db", "--account", "7")
    assert (status, "account 000000000007 is not known here" in told) == (1, True)
    assert json.loads(run("headend", "items", "--db", "v.db", "--json")[1]) == {"items": []}
