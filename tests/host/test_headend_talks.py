"""Goal: a meter is read through its concentrator, and sealed money arrives once, whatever is lost.

Method: a simulated meter behind the console's words `line ask` and `line answer`. Answers to
commands are lost, so that they come again; replies of the meter are lost too; another one's
question is under way.
"""

import json
from binascii import crc32
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from click.testing import Result as Run

from host.cli import cli
from host.frames.batch import Order, Outcome, Result
from host.frames.dlt645 import MORE
from host.headend import commands
from host.headend.downlink import Downlink
from host.headend.ingest import Ingest
from host.headend.store import Store
from host.headend.talks import PAY, Conversation, talk_of
from host.sim.esam import Utility
from tests.host.uplink_world import KEYS, deliver, meter_address, village_of
from tests.sim.meter_world import ADDRESS, OPERATOR, Master, master_of

AUTH, OPEN, TOP_UP = 0x070000FF, 0x070101FF, 0x070102FF
CUSTOMER = "000012345678"
ACCOUNT = "000000000001"
NO_LINE = "line is a number from 0 to 0"


class Console:
    """The words of a concentrator's console about its line 0, with one meter on it.

    `lost` says whether the meter's next reply is lost; it has acted then.
    """

    def __init__(self, master: Master) -> None:
        self.master = master
        self.lost: Callable[[], bool] = lambda: False
        self.asked = 0
        self.parts = b""
        self.sent: list[bytes] = []
        self._answer: list[str] = ["state none"]
        self._waits = 0

    def carry_out(self, text: str) -> tuple[int, str]:
        words = text.split(" ")
        if words[2] != "0":
            return Outcome.REFUSED, NO_LINE
        if words[1] == "data":
            at, part = int(words[3]), bytes.fromhex(words[4])
            if at > len(self.parts) or len(part) > 48:
                return Outcome.REFUSED, "offset is a number from 0 on"
            self.parts = self.parts[:at] + part
            return Outcome.DONE, str(len(self.parts))
        if words[1] == "answer":
            self._waits -= 1
            return Outcome.DONE, "state asked" if self._waits >= 0 else "\n".join(self._answer)
        if self._waits > 0:
            return Outcome.REFUSED, "another question is under way on this line"
        self._waits = 2
        self.asked += 1
        data = bytes.fromhex("".join(words[5:])) if "=" not in text else self.parts
        if "=" in text and words[5] != f"={crc32(self.parts)}":
            return Outcome.REFUSED, "the parts that came are others"
        self.sent.append(data)
        frame = self.master.send(int(words[4], 16), data, words[3])
        outcome, error, data, more = "timeout", 0, b"", 0
        if frame is not None and not self.lost():
            outcome, data, more = "ok", frame.data, int(bool(frame.control & MORE))
            if frame.abnormal:
                outcome, error, data = "abnormal", int.from_bytes(frame.data, "little"), b""
        lines = ["state done", f"outcome {outcome}", f"address {words[3]}", f"error {error}"]
        digits = data.hex()
        parts = [f"data {digits[at : at + 160]}" for at in range(0, len(digits), 160)]
        self._answer = [*lines, f"more {more}", *parts]
        return Outcome.DONE, ""

    def restart(self) -> None:
        self.parts = b""
        self._answer, self._waits = ["state none"], 0

    def talk(self, text: str, disturb: Callable[[], None] = lambda: None) -> tuple[int, str]:
        """Carry out a whole talk; return its outcome and answer."""
        talk = talk_of(text)
        assert talk is not None
        said = next(talk)
        for _ in range(1000):
            disturb()
            try:
                said = talk.send(self.carry_out(said))
            except StopIteration as ended:
                outcome: tuple[int, str] = ended.value
                return outcome
        raise AssertionError("it never ends")


@pytest.fixture(name="console")
def _console() -> Console:
    return Console(master_of("state-grid"))


def ask(di: str, control: int = 0x11, line: int = 0) -> str:
    return f"line ask {line} {ADDRESS} {control:02x} {bytes.fromhex(di)[::-1].hex()}"


def secured(console: Console, di: int, blocks: bytes = b"") -> str:
    """Return the digits of 03H's data."""
    return (di.to_bytes(4, "little") + OPERATOR + blocks).hex()


def opened(console: Console) -> Utility:
    """Open an account of 100 yuan as purchase 1, through the console."""
    utility = Utility(ADDRESS, whole=console.master.meter.profile.whole_reversed)
    first = f"line ask 0 {ADDRESS} 03 {secured(console, AUTH, utility.authentication())}"
    outcome, said = console.talk(first)
    assert outcome == Outcome.DONE, said
    utility.on_reply(bytes.fromhex(said.rpartition("data ")[2])[4:])
    money = secured(console, OPEN, utility.money(10_000, 1, CUSTOMER))
    outcome, said = console.talk(f"{PAY} 0 {ADDRESS} 1 {money}")
    assert (outcome, said.split("\n")[0]) == (Outcome.DONE, "booked")
    return utility


# --- questions -----------------------------------------------------------------------------------


def test_an_identifier_is_read_and_told_in_words(console: Console) -> None:
    outcome, said = console.talk(ask("00010000"))
    assert outcome == Outcome.DONE
    assert said.split("\n")[0].startswith("present total forward")
    assert said.split("\n")[-1].startswith("data 00000100")


def test_a_block_comes_whole_through_follow_ups() -> None:
    console = Console(master_of("state-grid"))
    di = "0001FF00"
    outcome, said = console.talk(ask(di))
    whole = bytes.fromhex(said.rpartition("data ")[2])
    assert outcome == Outcome.DONE
    assert whole[4:] == console.master.read(int(di, 16))


def test_what_the_meter_refuses_is_named(console: Console) -> None:
    outcome, said = console.talk(ask("0FFFFFFF"))
    assert outcome == Outcome.REFUSED
    assert said


def test_a_silent_meter_is_not_done(console: Console) -> None:
    console.lost = lambda: True
    outcome, said = console.talk(ask("00010000"))
    assert outcome == Outcome.NOT_DONE
    assert said.startswith("no answer")


def test_what_the_concentrator_refuses_is_told(console: Console) -> None:
    assert console.talk(ask("00010000", line=9)) == (Outcome.REFUSED, NO_LINE)


def test_a_question_of_another_and_a_restart_come_between(console: Console) -> None:
    random = Random(3)

    def disturb() -> None:
        if random.random() < 0.15:
            console.restart()
        elif random.random() < 0.15:
            console.carry_out(ask("00020000"))

    for _ in range(50):
        outcome, said = console.talk(ask("00010000"), disturb)
        assert outcome in (Outcome.DONE, Outcome.REFUSED, Outcome.NOT_DONE)
        if outcome == Outcome.DONE:
            assert "data 00000100" in said


# --- money ---------------------------------------------------------------------------------------


def test_sealed_money_arrives_once_whatever_is_lost() -> None:
    for seed in range(40):
        random = Random(seed)
        console = Console(master_of("state-grid"))
        utility = opened(console)
        console.lost = lambda random=random: random.random() < 0.3
        money = secured(console, TOP_UP, utility.money(5000, 2, CUSTOMER))
        text = f"{PAY} 0 {ADDRESS} 2 {money}"
        for _ in range(20):
            outcome, said = console.talk(text)
            if outcome == Outcome.DONE:
                break
            assert outcome in (Outcome.NOT_KNOWN, Outcome.NOT_DONE), said
        wallet = console.master.meter.wallet
        assert (wallet.count, wallet.credit_fen) == (2, 15_000), seed
        assert said.split("\n")[:2] == ["booked", "order 2"]
        console.lost = lambda: False
        assert console.talk(text)[0] == Outcome.DONE, "the same again pays nothing"
        assert wallet.credit_fen == 15_000


def test_an_order_that_is_not_the_next_pays_nothing(console: Console) -> None:
    utility = opened(console)
    money = secured(console, TOP_UP, utility.money(5000, 3, CUSTOMER))
    outcome, said = console.talk(f"{PAY} 0 {ADDRESS} 3 {money}")
    assert (outcome, said.split("\n")[2]) == (Outcome.REFUSED, "count 1")
    assert console.master.meter.wallet.credit_fen == 10_000


def test_what_was_sealed_for_another_meter_is_refused_by_name(console: Console) -> None:
    opened(console)
    other = Utility("000000000018")
    money = secured(console, TOP_UP, other.money(5000, 2, CUSTOMER))
    outcome, said = console.talk(f"{PAY} 0 {ADDRESS} 2 {money}")
    assert outcome == Outcome.REFUSED
    assert said.split("\n")[1:] == ["order 2", "count 1", "balance 100.00"]


def test_the_longest_block_comes_whole_in_parts_or_not_at_all(console: Console) -> None:
    block = bytes(range(200))
    text = f"line ask 0 {ADDRESS} 03 {block.hex()}"
    for seed in range(40):
        random = Random(seed)

        def disturb(random: Random = random) -> None:
            if random.random() < 0.05:
                console.restart()
            elif random.random() < 0.05:
                # Another's block, as long as this one.
                console.parts = bytes(len(console.parts))

        outcome, said = console.talk(text, disturb)
        assert outcome in (Outcome.REFUSED, Outcome.NOT_KNOWN, Outcome.NOT_DONE), said
    assert set(console.sent) == {block}
    assert len(console.sent) > 20


def test_other_commands_are_no_talks() -> None:
    for text in ("status", "supply 1 restore", "line answer 0", "line ask 0", "meter list"):
        assert talk_of(text) is None


# --- as a station types it -----------------------------------------------------------------------


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        deliver(Ingest(store, KEYS), village_of(2, 1))
    return path


def job(path: Path, *words: str) -> Run:
    return CliRunner().invoke(cli, ["headend", "job", words[0], "--db", str(path), *words[1:]])


def texts(path: Path, *words: str) -> list[str]:
    """Give a job; return the texts of its commands."""
    run = job(path, *words, "--json")
    assert run.exit_code == 0, run.output
    with Store(path) as store:
        number = json.loads(run.stdout)["job"]
        return [row["text"] for row in commands.commands_of(store, job=number)]


def test_each_kind_gives_its_commands(path: Path) -> None:
    to = ("--concentrator", "7")
    assert texts(path, "set", "interval_s=600", "alarm_1_fen=2000", *to) == [
        "set interval_s 600",
        "set alarm_1_fen 2000",
    ]
    asked = ("--hours-of-day", "22-6", "--days", "sat,sun", "--until", "2026-10-08")
    assert texts(path, "no-cut", *asked, *to) == [
        "set no_cut_from_hour 22",
        "set no_cut_to_hour 6",
        "set no_cut_weekdays 65",
        "set no_cut_until_yymmdd 261008",
    ]
    assert texts(path, "no-cut", "--days", "none", "--all") == ["set no_cut_weekdays 0"]
    assert texts(path, "guard", "on", "--account", "1") == [f"account set {ACCOUNT} guard 1"]
    assert texts(path, "ask", "clock", "--all") == ["time"]
    assert texts(path, "clock", *to) == ["clock"]
    assert texts(path, "clock", "--meters", "--all") == ["clock meters"]
    until = ("--until", "2026-12-24 10:00")
    assert texts(path, "text", " No power  8-10", *until, *to) == [
        "text 2026-12-24 10:00:00 No power 8-10"
    ]
    assert texts(path, "text", "", *until, *to) == ["text 2026-12-24 10:00:00"]
    assert texts(path, "journal", "100", "40", *to) == ["journal 100 32", "journal 132 8"]
    meter = meter_address(0)
    assert texts(path, "read", "00010000", "--account", "1") == [f"line ask 0 {meter} 11 00000100"]
    assert texts(path, "pay", "1", "5", "--hex", "FF 02 01 07") == [f"{PAY} 0 {meter} 5 ff020107"]
    long = "ab" * 200
    assert texts(path, "send", "1", "--hex", long) == [f"line ask 0 {meter} 03 {long}"]
    assert texts(path, "pay", "1", "5", "--hex", long) == [f"{PAY} 0 {meter} 5 {long}"]
    assert texts(path, "send", "1", "--hex", "FF 01 01 07") == [f"line ask 0 {meter} 03 ff010107"]


def test_what_changes_prices_asks_first_and_says_how_many(path: Path) -> None:
    words = ("give", "account set {account} multiplier 2", "--account", "1", "--account", "2")
    arguments = ["headend", "job", *words[:1], "--db", str(path), *words[1:]]
    run = CliRunner().invoke(cli, arguments, input="n\n")
    assert run.exit_code == 1
    assert "2 accounts pay other prices with it" in run.stderr
    assert len(texts(path, *words, "--yes")) == 2
    assert len(texts(path, "give", "account set 1 grade 2", "--concentrator", "7")) == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("set", "interval_s=600"), "give --concentrator or --all"),
        (("set", "tea=600", "--all"), "write NAME=VALUE of a setting"),
        (("set", "uplink_key=ab", "--all"), "the value is a whole number"),
        (("no-cut", "--all"), "give --hours-of-day, --days or --until"),
        (("no-cut", "--hours-of-day", "22-24", "--all"), "two hours from 0 to 23"),
        (("no-cut", "--days", "sat,caturday", "--all"), "--days: some of"),
        (("guard", "on"), "name the accounts"),
        (("read", "00010000"), "name the accounts"),
        (("read", "00010000", "--account", "99"), "no concentrator has account"),
        (("read", "teapot", "--account", "1"), "no identifier is called"),
        (("pay", "1", "5", "--hex", "0"), "pairs of hexadecimal digits"),
        (("send", "1", "--hex", "00" * 201), "one to 200 bytes"),
        (("text", "x" * 81, "--until", "2026-12-24 08:00", "--all"), "at most 80 letters"),
        (("text", "停电", "--until", "2026-12-24 08:00", "--all"), "letters, digits and signs"),
        (("text", "x", "--until", "tomorrow", "--all"), "tomorrow"),
        (("clock",), "give --concentrator or --all"),
    ],
)
def test_a_mistake_gives_one_clear_line(path: Path, words: tuple[str, ...], why: str) -> None:
    run = job(path, *words)
    assert run.exit_code in (1, 2)
    assert why in run.stderr
    assert "Traceback" not in run.stderr


def test_a_reading_goes_down_as_several_commands_and_ends_as_one(path: Path) -> None:
    """Answers come late and twice; the head-end is killed in the middle and begins again."""
    console = Console(master_of("state-grid"))
    console.master.meter.address = meter_address(0)
    texts(path, "read", "00010000", "--account", "1")
    with Store(path) as store:
        for number in rounds(store, console):
            assert number < 40
        (row,) = commands.commands_of(store)
    assert (row["state"], row["account"]) == ("done", ACCOUNT)
    assert row["answer"].startswith("present total forward")


def rounds(store: Store, console: Console) -> Iterator[int]:
    """Pass commands and answers on until none is due."""
    downlink = Downlink(store.database, steady_s=lambda: 0.0)
    late: list[Result] = []
    for number in range(100):
        if number == 3:
            downlink = Downlink(store.database, steady_s=lambda: 0.0)
        downlink.look()
        order = downlink.order_for(7)
        if order is None:
            return
        outcome, said = console.carry_out(order.text)
        result = Result(order.number, outcome, 0, said.encode())
        with store.writing():
            for one in (*late, result, result):
                downlink.note(7, one, 1)
        late = [result]
        yield number


_WORDS = (
    *("state done", "state asked", "state \x1b[2J", "outcome ok", "outcome abnormal", "outcome x"),
    *("error 0", "error -1", "error 99999", "error zz", "error \u00b2", "more 1", "more 0"),
    *(f"address {ADDRESS}", "address zz", "data 33333433", "data zz", "data " + "00" * 300),
    *("data 01023303123456", "data 010233030102", "data 00029000", "data 00029000zz", "", "\x1b"),
)


@pytest.mark.parametrize("text", [f"line ask 0 {ADDRESS} 11 01023303", f"{PAY} 0 {ADDRESS} 2 00"])
def test_whatever_a_concentrator_answers_ends_a_talk_with_an_outcome(text: str) -> None:
    """Who has stolen its key may answer anything: the head-end says so, and goes on."""
    ended = set()
    for turn in range(400):
        rng = Random(f"{text} {turn}")
        talk = talk_of(text)
        assert talk is not None
        conversation = Conversation(Order(1, 0, text), talk, 100)
        for _step in range(2000):
            order = conversation.order
            if conversation.ended is not None or order is None:
                break
            said = rng.sample(_WORDS, rng.choice((0, 1, 5, 12)))
            if rng.random() < 0.7:
                words = order.text.split(" ")
                data = words[5] if len(words) > 5 else ""
                said = ["state done", "outcome ok", f"address {ADDRESS}", f"data {data}", *said]
            conversation.note(order.number, rng.choice((0, 0, 0, 1, 2, 9)), "\n".join(said))
        assert conversation.ended is not None, turn
        ended.add(conversation.ended[0])
    assert Outcome.NOT_KNOWN in ended
