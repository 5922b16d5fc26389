"""Goal: a household is told once of each event, and nobody takes for delivered what may not be.

Method: a head-end's books with records of its concentrator, and rounds of the notices against
stand-ins for an SMS gateway over HTTP and for SMTP on this computer, which answer, refuse, hang,
answer late, cut off and redirect.
"""

import email
import email.policy
import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.frames.record import RecordKind
from host.headend import cuts, household_links, notices, persons, registry, rooms
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.noticing import round as rounds_of
from host.headend.noticing import settings, texts
from host.headend.noticing.round import Rounds
from host.headend.noticing.settings import Settings, Way
from host.headend.registry import Entry
from host.headend.store import Store
from host.units import now_t2000, to_datetime
from tests.host import gateways
from tests.host.gateways import Gateway, Mailbox
from tests.host.uplink_world import (
    KEYS,
    START_T2000,
    Village,
    account_name,
    deliver,
    meter_address,
)

ONE, OTHER = account_name(0), account_name(1)
PHONE = "13800138000"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what tests tell be of today: records of a village are of another year."""
    monkeypatch.setattr(rounds_of, "_STALE_DAYS", 100_000)


@pytest.fixture(name="sms")
def _sms() -> Iterator[Gateway]:
    with gateways.sms() as made:
        yield made


@pytest.fixture(name="mail")
def _mail() -> Iterator[Mailbox]:
    with gateways.mail() as made:
        yield made


class World:
    """A head-end with two households, and what sends their notices."""

    def __init__(self, folder: Path | str, *ways: Way, **told: Any) -> None:
        """`folder`: of a new file, or the address of a database."""
        place = folder if isinstance(folder, str) else folder / "village.db"
        self.store = Store(place, create=True)
        self.ingest = Ingest(self.store, KEYS)
        self.village = Village()
        for row in (0, 1):
            self.village.meter(row)
        self.number = 0
        names = ("王小明", "李华")
        entries = [
            Entry(account_name(row), f"C-{row}", names[row], PHONE, meter=meter_address(row))
            for row in (0, 1)
        ]
        self.bring()
        registry.take(self.store, entries)
        self.settings = Settings(ways, **{"language": "en", "within_s": 15, **told})
        self.rounds = Rounds(self.store, self.settings)
        self.rounds.go()

    def bring(self) -> None:
        """Bring the records of the village to the head-end."""
        self.number += 1
        told = Village(self.village.records, group_end=0)
        deliver(self.ingest, told, self.number)

    def go(self, now: int | None = None) -> None:
        self.rounds.go(now)

    def tell(self, kind: str = notices.OUTAGE, event: str = "e", **values: str) -> None:
        with self.store.writing() as database:
            notices.announce(database, kind, [ONE], event, values)

    def all(self) -> list[dict[str, Any]]:
        return notices.notices(self.store)[::-1]

    def states(self) -> list[str]:
        return [one["state"] for one in self.all()]


def way(gateway: Gateway, **told: Any) -> Way:
    return Way("sms", gateway.url, **told)


PLACE = {"place": "Well Lane", "since": "2026-12-01 08:00", "until": "2026-12-01 12:00"}


# --- what is told -------------------------------------------------------------------------------


def test_each_event_of_a_concentrator_is_told_once(tmp_path: Path, sms: Gateway) -> None:
    world = World(tmp_path, way(sms), a_day=100)
    village = world.village
    village.top_up(0, 5000)
    alarm = {"new": 1, "old": 0, "reason": 1, "balance_fen": 812}
    village.write(RecordKind.POLICY, alarm, 0)
    village.relay(0, 1)
    village.relay(0, 0, stage=1)
    village.relay(0, 0)
    village.write(
        RecordKind.ROLLOVER,
        {"old_period": 1, "new_period": 2, "used_wh": 123_450, "debit_fen": 1},
        0,
    )
    village.write(RecordKind.PLAN, {"tariff": 1, "from_t2000": START_T2000 + 86_400}, 0)
    world.bring()
    for _ in range(3):
        world.go()
    told = sms.texts()
    assert len(told) == 6, told
    for part in ("50.00 yuan arrived", "8.12 yuan", "switched off", "on again", "123.45 kWh"):
        assert sum(part in one for one in told) == 1, (part, told)
    assert all(one["to"] == PHONE for one in sms.heard)
    assert all(one["headers"]["Authorization"] == "Bearer TOPSECRET" for one in sms.heard)
    again = Rounds(world.store, world.settings)
    again.go()
    assert len(sms.heard) == 6
    assert set(world.states()) == {notices.DELIVERED}


def test_what_was_before_notices_began_is_not_told(tmp_path: Path, sms: Gateway) -> None:
    with Store(tmp_path / "old.db", create=True) as store:
        village = Village()
        village.meter(0)
        village.top_up(0, 5000)
        deliver(Ingest(store, KEYS), village)
        rounds = Rounds(store, Settings((way(sms),)))
        rounds.go()
        rounds.go()
        assert notices.notices(store) == []
    assert sms.heard == []


def test_a_put_in_tariff_and_a_tier_near_are_told(
    tmp_path: Path, sms: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, way(sms), a_day=9)

    class Near:
        used_wh, left_wh, number, next_price = 91_000, 9_000, 1, "0.5783"

    world.village.reading(0, 10)
    world.bring()
    from host.headend.noticing import events

    monkeypatch.setattr(
        events.meters, "terms_of", lambda store, row: row["account"] == ONE or None
    )
    monkeypatch.setattr(events.meters, "tier_of", lambda terms, row: Near)
    now = int(time.time())
    with world.store.writing() as database:
        database.run(
            "INSERT INTO commands (concentrator, number, text, state, ended_at) "
            "VALUES (7, 1, 'tariff commit 1 00', 'done', ?)",
            (now,),
        )
    world.go()
    world.go()
    told = sms.texts()
    (near,) = (one for one in told if "9.0 kWh before tier 2" in one)
    assert "Its price: 0.5783 yuan/kWh" in near
    assert sum("other prices are in force" in one for one in told) == 2, "both have tariff 1"


def test_texts_are_in_the_households_language_or_the_stations_own(
    tmp_path: Path, sms: Gateway
) -> None:
    own = {"zh": {notices.OUTAGE: "停电 {place}\n电话 {hotline}"}}
    world = World(tmp_path, way(sms), own=own)
    notices.choose_notices(world.store, ONE, "", "zh", [], "asked")
    world.tell(**PLACE)
    world.go()
    assert sms.texts() == ["停电 Well Lane"], "the line without a telephone is left out"
    household_links.set_station(world.store, None, "0571-8888", None)
    world.tell(event="f", **PLACE)
    world.go()
    assert sms.texts()[1] == "停电 Well Lane\n电话 0571-8888"
    assert {one["event"] for one in world.all()} == {"e", "f"}


def test_every_kind_has_its_texts_and_strange_names_are_refused() -> None:
    for kind in notices.KINDS:
        values = {name: f"<{name}>" for name in texts.names_of(kind)}
        for language in ("en", "zh"):
            title, text = texts.render(kind, language, values, {})
            assert title
            assert "{" not in text
            assert (language == "zh") == any("\u4e00" <= one <= "\u9fff" for one in text), kind
    assert "{balance.__class__}" not in texts.names_of(notices.LOW)
    for text in ("{balance.__class__}", "{nobody}", "{", "", "x" * 600):
        assert texts.trouble_with(notices.LOW, text), text
    assert not texts.trouble_with(notices.LOW, "余额 {balance}")


# --- whether it arrives -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mood", "state"),
    [
        ("refuses", notices.WAITING),
        ("moves", notices.WAITING),
        ("hangs", notices.NOT_KNOWN),
        ("late", notices.NOT_KNOWN),
        ("cuts", notices.NOT_KNOWN),
    ],
)
def test_a_gateway_that_misbehaves_has_not_delivered(
    tmp_path: Path, sms: Gateway, mood: str, state: str
) -> None:
    world = World(tmp_path, way(sms), within_s=1)
    sms.mood, sms.late_s = mood, 2.0
    world.tell(notices.CUT, debt="5.00", when="2026-12-09")
    world.go()
    assert world.states() == [state]
    assert sms.elsewhere == [], "no redirection is followed"
    with pytest.raises(StoreError, match="no proof"):
        cuts.recorded_notice(world.store, ONE)
    sms.mood = "fine"
    heard = len(sms.heard)
    world.go()
    assert len(sms.heard) == heard, "it is not sent again at once"


def test_what_has_failed_goes_another_way_and_later_again(
    tmp_path: Path, sms: Gateway, mail: Mailbox
) -> None:
    dead = Way("dead", f"json://127.0.0.1:{gateways.closed_port()}/?:to={{phone}}")
    world = World(tmp_path, dead, way(sms), Way("mail", mail.url))
    sms.mood = "refuses"
    world.tell(**PLACE)
    now = int(time.time())
    world.go(now)
    assert world.states() == [notices.WAITING], "there is no e-mail address"
    notices.choose_notices(world.store, ONE, "wang@example.com", "", [], "asked")
    world.go(now + 299)
    assert mail.letters == []
    world.go(now + 301)
    assert world.states() == [notices.DELIVERED]
    assert len(mail.letters) == 1
    (one,) = world.all()
    assert one["way"] == "mail"
    tried = notices.tries_of(world.store, one["number"])
    assert [one["outcome"] for one in tried] == [notices.NOT_DELIVERED] * 4 + [notices.DELIVERED]


def test_at_last_the_station_is_told_and_it_is_not_delivered(tmp_path: Path, sms: Gateway) -> None:
    with gateways.sms() as chat:
        office = Way("office", f"json://127.0.0.1:{chat.port}/send")
        world = World(tmp_path, way(sms), office)
        sms.mood = "refuses"
        world.tell(notices.CUT, debt="5.00", when="2026-12-09")
        now = int(time.time())
        for later in (0, 301, 301 + 1801, 301 + 1801 + 7201):
            assert chat.heard == []
            world.go(now + later)
        assert world.states() == [notices.NOT_DELIVERED]
        assert chat.texts()[0].startswith(f"{ONE}: Notice before a cut")
        world.go(now + 90_000)
        assert len(chat.heard) == 1
    with pytest.raises(StoreError, match="no proof"):
        cuts.recorded_notice(world.store, ONE)


def test_a_killed_process_leaves_what_nobody_knows_and_nothing_is_sent_twice(
    tmp_path: Path, sms: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, way(sms))
    world.tell(notices.CUT, debt="5.00", when="2026-12-09")

    class Killed(BaseException):
        """The end of a process, which nothing catches."""

    def killed(*_words: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(notices, "end_sending", killed)
        with pytest.raises(Killed):
            world.go()
    assert (len(sms.heard), world.states()) == (1, [notices.SENDING])
    time.sleep(1.1)
    Rounds(world.store, world.settings).go()
    assert (len(sms.heard), world.states()) == (1, [notices.NOT_KNOWN])
    with pytest.raises(StoreError, match="no proof"):
        cuts.recorded_notice(world.store, ONE)
    (one,) = world.all()
    notices.send_again(world.store, one["number"], "they called: nothing came")
    world.go()
    assert (len(sms.heard), world.states()) == (2, [notices.DELIVERED])
    with pytest.raises(StoreError, match="not sent again"):
        notices.send_again(world.store, one["number"], "once more")


def test_killed_before_it_was_sent_it_is_sent_once(
    tmp_path: Path, sms: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, way(sms))
    world.tell(**PLACE)

    def killed(*_words: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(notices, "begin_sending", killed)
        with pytest.raises(KeyboardInterrupt):
            world.go()
    Rounds(world.store, world.settings).go()
    assert (len(sms.heard), world.states()) == (1, [notices.DELIVERED])


# --- when, and whether at all -------------------------------------------------------------------


def at(world: World, text: str) -> int:
    zone = world.store.zone()
    moment = datetime.strptime(text, "%H:%M").replace(tzinfo=zone)
    today = datetime.now(zone) + timedelta(days=1)
    return int(moment.replace(today.year, today.month, today.day).timestamp())


def test_quiet_hours_hold_back_until_morning(tmp_path: Path, sms: Gateway) -> None:
    world = World(tmp_path, way(sms), quiet=(22 * 60, 7 * 60))
    world.tell(**PLACE)
    world.go(at(world, "23:30"))
    world.go(at(world, "23:59"))
    assert sms.heard == []
    world.go(at(world, "23:30") + 7 * 3600 + 1799)
    assert sms.heard == []
    world.go(at(world, "23:30") + 7 * 3600 + 1801)
    assert len(sms.heard) == 1


def test_limits_and_refusals_hold_back_all_but_what_is_owed(tmp_path: Path, sms: Gateway) -> None:
    world = World(tmp_path, way(sms), a_day=2)
    notices.choose_notices(world.store, ONE, "", "", [notices.PRICE], "asked")
    for number in range(3):
        world.tell(event=f"e {number}", **PLACE)
    world.tell(notices.PRICE, since="2026-12-01")
    world.tell(notices.CUT, debt="5.00", when="2026-12-09")
    world.go()
    expected = [notices.DELIVERED] * 2 + [notices.LEFT_OUT] * 2 + [notices.DELIVERED]
    assert world.states() == expected
    told = [one["why"] for one in world.all()]
    assert told[2:4] == [rounds_of.OVER_LIMIT, rounds_of.REFUSED]
    with pytest.raises(StoreError, match="cannot refuse"):
        notices.choose_notices(world.store, ONE, "", "", [notices.CUT], "asked")


def test_a_low_balance_is_not_told_behind_a_payment(tmp_path: Path, sms: Gateway) -> None:
    world = World(tmp_path, way(sms), kinds=(notices.LOW,))
    alarm = {"new": 1, "old": 0, "reason": 1, "balance_fen": 812}
    world.village.write(RecordKind.POLICY, alarm, 0)
    world.village.top_up(0, 5000)
    world.bring()
    world.go()
    states = {one["kind"]: one["why"] for one in world.all()}
    assert states == {notices.LOW: rounds_of.PAID, notices.RECEIPT: rounds_of.NOT_SENT_HERE}
    assert sms.heard == []


def test_an_old_event_and_a_closed_account_are_left_out(
    tmp_path: Path, sms: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, way(sms))
    monkeypatch.setattr(rounds_of, "_STALE_DAYS", 2)
    world.village.top_up(0, 5000)  # by a clock of January
    world.bring()
    world.go()
    world.tell(**PLACE)
    with world.store.writing() as database:
        database.run("UPDATE contracts SET closed_at = 1 WHERE account = ?", (ONE,))
    world.go()
    assert [one["why"] for one in world.all()] == [rounds_of.TOO_LATE, rounds_of.CLOSED]
    assert sms.heard == []


def test_a_tenant_is_told_and_not_the_landlord(tmp_path: Path, sms: Gateway) -> None:
    world = World(tmp_path, way(sms))
    with world.store.writing() as database:
        database.run(
            "INSERT INTO tenancies (tenancy, account, name, phone) VALUES (1, ?, 'T', '13900')",
            (ONE,),
        )
    assert rooms.rooms(world.store)[0]["phone"] == "13900"
    world.tell(**PLACE)
    world.go()
    assert [one["to"] for one in sms.heard] == ["13900"]


# --- attacks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["<b>x</b>", "x\r\nBcc: a@b.c", "{hotline}", "\u202ex\x00"])
def test_a_name_is_nothing_but_text(
    tmp_path: Path, sms: Gateway, mail: Mailbox, name: str
) -> None:
    own = {"en": {notices.OUTAGE: "{name} {place}"}}
    world = World(tmp_path, Way("mail", mail.url), own=own)
    notices.choose_notices(world.store, ONE, "wang@example.com", "", [], "asked")
    world.tell(**{**PLACE, "place": name})
    world.go()
    assert world.states() == [notices.DELIVERED]
    assert len(mail.recipients) == 1
    letter = email.message_from_string(mail.letters[0], policy=email.policy.default)
    assert letter["Bcc"] is None
    assert letter["Subject"] == "Electricity: planned outage"
    assert letter.get_content_type() == "text/plain"
    with pytest.raises(StoreError, match="no e-mail address"):
        notices.choose_notices(world.store, ONE, "a@b.cn\r\nBcc: x@y.cn", "", [], "asked")


@pytest.mark.parametrize("phone", ["138&:to=1", "13800138000,110", "x", "1?2", "+86\n1380013800"])
def test_a_telephone_that_is_none_is_not_put_into_an_address(
    tmp_path: Path, sms: Gateway, phone: str
) -> None:
    world = World(tmp_path, way(sms))
    with world.store.writing() as database:
        database.run("UPDATE customers SET phone = ?", (phone,))
    world.tell(**PLACE)
    world.go()
    assert (sms.heard, world.states()) == ([], [notices.NOT_DELIVERED])
    assert world.all()[0]["why"] == rounds_of.NO_ADDRESS


def test_no_secret_is_in_a_log_or_in_the_books(
    tmp_path: Path, sms: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world = World(tmp_path, way(sms))
    for mood in ("fine", "refuses", "cuts", "moves"):
        sms.mood = mood
        world.tell(event=mood, **PLACE)
        world.go()
    world.store.close()
    assert "TOPSECRET" not in caplog.text
    assert PHONE not in caplog.text
    assert b"TOPSECRET" not in (tmp_path / "village.db").read_bytes()


def test_a_file_that_cannot_be_used_says_where_and_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "notices.toml"
    good = 'name = "sms"\nurl = "json://gw.example/?:to={phone}&-key=TOPSECRET"\n'
    table = {
        "": "ways",
        "[[ways]]\n" + good.replace("{phone}", "{password}"): "a brace",
        "[[ways]]\n" + good + "[[ways]]\n" + good: "two ways",
        'quiet = "late"\n[[ways]]\n' + good: "22:00-07:00",
        "[[ways]]\n" + good.replace('"sms"', '"S M S"'): "ways.0.name",
        "[[ways]]\n" + good + "colour = 1\n": "colour",
        "[[ways]]\n" + good + 'kinds = ["all"]\n': "'all'",
        "[[ways]]\n" + good + '[texts.zh]\n"low balance" = "{key}"\n': "{key}",
        "[[ways]]\n" + good + '[texts.fr]\n"low balance" = "x"\n': "fr",
        "[[ways]]\n" + good.replace("json:", "nothing:"): "apprise does not know",
        "[[ways]\n" + good: "TOML",
    }
    for content, part in table.items():
        path.write_text(content)
        path.chmod(0o600)
        done = CliRunner().invoke(cli, ["headend", "notices", "check", str(path)])
        assert done.exit_code == 1, content
        assert part in done.output, (part, done.output)
        assert "TOPSECRET" not in done.output
    path.write_text("[[ways]]\n" + good)
    done = CliRunner().invoke(cli, ["headend", "notices", "check", str(path)])
    assert (done.exit_code, done.output) == (0, "sms: json, to households\n")
    assert settings.read(path).ways[0].kinds == ()


# --- the cut ------------------------------------------------------------------------------------


def test_a_cut_without_a_moment_needs_a_notice_that_arrived(tmp_path: Path, sms: Gateway) -> None:
    world = World(tmp_path, way(sms))
    db = str(tmp_path / "village.db")
    words = ["headend", "job", "cut", "--account", ONE, "--reason", "arrears", "--db", db]
    done = CliRunner().invoke(cli, words)
    assert "was sent no notice" in done.output
    assert "no notice before a cut is recorded as delivered" in cuts.doubt_of(world.store, ONE)
    told = ["headend", "notices", "tell", notices.CUT, "--account", "1", "--value", "debt=5.00"]
    told += ["--value", "when=2026-12-09", "--reason", "arrears", "--db", db]
    assert "1 notices are made, 0 had been" in CliRunner().invoke(cli, told).output
    assert "0 notices are made, 1 had been" in CliRunner().invoke(cli, told).output
    assert "no proof" in CliRunner().invoke(cli, words).output, "it was not sent yet"
    world.go()
    assert cuts.doubt_of(world.store, ONE) == ""
    assert CliRunner().invoke(cli, words).exit_code == 0
    (command,) = world.store.rows("SELECT text FROM commands")
    moment = datetime.strptime(command["text"].partition("cut ")[2], "%Y-%m-%d %H:%M:%S")
    assert abs((to_datetime(now_t2000(world.store.zone())) - moment).total_seconds()) < 60
    listed = ["headend", "notices", "list", "--account", "1", "--json", "--db", db]
    (row,) = json.loads(CliRunner().invoke(cli, listed).stdout)["notices"]
    assert (row["state"], row["way"]) == (notices.DELIVERED, "sms")


def test_a_way_that_proves_nothing_does_not_make_a_cut_lawful(
    tmp_path: Path, sms: Gateway
) -> None:
    world = World(tmp_path, way(sms, proves=False))
    world.tell(notices.CUT, debt="5.00", when="2026-12-09")
    world.go()
    assert world.states() == [notices.DELIVERED]
    with pytest.raises(StoreError, match="no proof"):
        cuts.recorded_notice(world.store, ONE)


def test_what_is_erased_is_gone_from_the_notices(tmp_path: Path, sms: Gateway) -> None:
    world = World(tmp_path, way(sms))
    notices.choose_notices(world.store, ONE, "wang@example.com", "", [], "asked")
    world.tell(**PLACE)
    world.go()
    numbers = [one["number"] for one in world.all()]
    with world.store.writing() as database:
        notices.forget_choices_within(database, ONE)
        persons.erase_notices_within(database, numbers)
    (one,) = world.all()
    assert (one["text"], one["title"], one["state"]) == ("", "", notices.DELIVERED)
    assert [one["said"] for one in notices.tries_of(world.store, one["number"])] == [""]
    assert world.store.rows("SELECT * FROM notice_choices") == []
