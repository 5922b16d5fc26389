"""Goal: the month's report says what is true, on paper, in a sheet, and by mail on its day.

Method: a made village of two months, of which the simulator knows the truth; each figure of the
report is held against it. The PDF and the XLSX are opened and read.
"""

import email
import email.policy
import io
import json
import re
import zlib
from base64 import a85decode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import complaints, month, month_paper, voltage
from host.headend.complaints import Said
from host.headend.noticing.month_mail import MonthMail
from host.headend.noticing.sending import Sender
from host.headend.noticing.settings import Monthly, SettingsError, read
from host.headend.store import Store
from host.sim.village.plan import parse_village
from host.village.writing import truth_path, write
from tests.host import gateways

pytestmark = pytest.mark.slow

PLAN = """
start: 2026-01-01
collection_percent: 100
feeders:
  - name: 10 kV A
    districts:
      - {name: A 1, households: 8, shops: 1, thefts: 1, faults: 0, outages: 2}
      - {name: A 2, households: 7, shops: 1, thefts: 0, faults: 0, outages: 1}
"""
DAYS = 60
JANUARY, FEBRUARY = "2026-01", "2026-02"


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("village") / "village.db"
    write(parse_village(PLAN, "the village"), DAYS, 7, path, lambda _days: None)
    return path


@pytest.fixture
def store(village: Path) -> Iterator[Store]:
    with Store(village) as made:
        yield made


def truth_of(village: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(truth_path(village).read_text(encoding="utf-8"))
    return told


def noon(store: Store, text: str) -> int:
    return int(datetime.fromisoformat(f"{text} 12:00").replace(tzinfo=store.zone()).timestamp())


def test_the_report_agrees_with_the_truth_to_the_digit(store: Store, village: Path) -> None:
    truth = truth_of(village)
    told = month.figures(store, JANUARY, noon(store, "2026-02-03"))
    charged = owed = 0
    for books in truth["books"].values():
        debit_fen, credit_fen = books[JANUARY]
        charged += debit_fen
        owed += max(0, min(debit_fen, debit_fen - credit_fen))
    assert (told["charged_fen"], told["owed_fen"]) == (charged, owed)
    assert told["collection_e4"] == 10_000 * (charged - owed) // charged

    supplied = counted = 0
    for days in truth["districts"].values():
        supplied += sum(day["metered_wh"] for day in days[:31])
        counted += sum(day["counted_wh"] for day in days[:31])
    assert shown(told["supplied_wh"], 1000) == shown(supplied, 1000)
    assert shown(told["loss_400_e4"], 10) == shown(10_000 * (supplied - counted) / supplied, 10)
    given = sum(day["given_wh"] for day in truth["feeders"]["10 kV A"][:31])
    lost = sum(day["lost_wh"] for day in truth["feeders"]["10 kV A"][:31])
    assert told["loss_10k_e4"] is not None
    assert given > lost > 0

    on_day1 = by_day3 = meters = 0
    for rows in truth["success"].values():
        # The freeze at the end of a day is the first of the next one.
        for first, second, third, _later, count in rows[1:32]:
            on_day1, by_day3 = on_day1 + first, by_day3 + first + second + third
            meters += count
    assert told["read_day1_e4"] is not None
    assert abs(told["read_day1_e4"] - 10_000 * on_day1 // meters) <= 100

    # Meters that are asked count all minutes but those without supply.
    with_answer = {row["account"] for row in voltage.counted(store, *_span(JANUARY))}
    counted_minutes = [truth["voltage"][account][JANUARY] for account in with_answer]
    lit, high, low = (sum(one[place] for one in counted_minutes) for place in range(3))
    assert told["voltage_e4"] == 10_000 * (lit - high - low) // lit
    assert len(with_answer) >= 15


def _span(which: str) -> tuple[int, int]:
    days = month.days_of(which)
    return days[0], days[-1] + 1


def shown(value: float | None, per: int) -> int:
    assert value is not None
    return round(value / per)


def test_a_month_is_read_on_paper_and_in_a_sheet(village: Path, tmp_path: Path) -> None:
    paper, sheet = tmp_path / "m.pdf", tmp_path / "m.xlsx"
    words = ["headend", "month", FEBRUARY, "--db", str(village)]
    said = CliRunner().invoke(cli, [*words, "--pdf", str(paper), "--xlsx", str(sheet)])
    assert said.exit_code == 0, said.output
    told = json.loads(CliRunner().invoke(cli, [*words, "--json"]).output)
    figures = {one["name"]: one for one in told["figures"]}
    assert figures["charged_fen"]["last"] > 0, "January stands beside it"
    assert figures["charged_fen"]["year"] is None
    rows = [*openpyxl.load_workbook(sheet).active.iter_rows(values_only=True)]
    by_title = {row[0]: row for row in rows}
    assert by_title["charged"][1:3] == ("CNY", figures["charged_fen"]["value"] / 100)
    assert by_title["charged"][4] == figures["charged_fen"]["last"] / 100
    text = read_pdf(paper.read_bytes())
    fen = figures["charged_fen"]["value"]
    assert f"{fen // 100}.{fen % 100:02d} yuan" in text
    assert "2026-02" in text
    zh = CliRunner().invoke(cli, ["--lang", "zh", *words])
    assert "电费回收率" in zh.output
    assert CliRunner().invoke(cli, ["headend", "month", "2026-13", "--db", str(village)]).exit_code


def read_pdf(content: bytes) -> str:
    """Return the texts of a PDF's pages: its font's codes are UTF-16."""
    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
        try:
            page = zlib.decompress(a85decode(stream.strip().removesuffix(b"~>")))
        except (ValueError, zlib.error):
            continue
        for shown in re.findall(rb"\((.*?)(?<!\\)\) Tj", page, re.DOTALL):
            raw = re.sub(
                rb"\\([0-7]{3}|.)",
                lambda one: bytes([int(one[1], 8)]) if len(one[1]) == 3 else one[1],
                shown,
            )
            found.append(raw.decode("utf-16-be", "replace"))
    return "\n".join(found)


def test_what_was_kept_is_what_later_reports_compare_with(village: Path) -> None:
    with Store(village) as store:
        at = noon(store, "2026-03-02")
        complaints.enter_complaint(store, Said("supply", "no light", "east street"), "Li")
        first = month.report(store, JANUARY, now=at)
        assert month.keep_month(store, JANUARY, {**month.values_of(first), "overdue": 12})
        assert not month.keep_month(store, JANUARY, {"overdue": 13}), "once"
        lines = {one.name: one for one in month.report(store, FEBRUARY, now=at).lines}
        assert (lines["overdue"].last, lines["overdue"].value) == (12, 0)
        assert lines["overdue"].well
        with gateways.mail() as mailbox:
            _sent_by_mail(store, mailbox, at)


def _sent_by_mail(store: Store, mailbox: gateways.Mailbox, at: int) -> None:
    url = mailbox.url.replace("{email}", "boss@example.com")
    mail = MonthMail(store, Sender(5), Monthly(url, day=2, hour=8), "en")
    assert not mail.go(noon(store, "2026-03-01")), "it is not the day yet"
    assert mail.go(at)
    assert not mail.go(at + 7200), "once a month"
    (letter,) = mailbox.letters
    told = email.message_from_string(letter, policy=email.policy.default)
    files = {part.get_filename(): part.get_content() for part in told.iter_attachments()}
    assert set(files) == {"2026-02.pdf", "2026-02.xlsx"}
    assert "2026-02" in told["subject"]
    rows = openpyxl.load_workbook(io.BytesIO(files["2026-02.xlsx"])).active.iter_rows
    assert "devices overdue" in [row[0] for row in rows(values_only=True)]
    kept = month.kept(store, FEBRUARY)
    assert kept is not None
    assert month_paper.pdf(month.report(store, FEBRUARY, now=at))[:4] == b"%PDF"


def test_the_day_of_the_mail_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "notices.toml"
    ways = '[[ways]]\nname = "sms"\nurl = "json://127.0.0.1/{phone}"\n'
    path.write_text(f'{ways}[month]\nurl = "mailto://127.0.0.1?to=a@example.com"\nday = 3\n')
    told = read(path).month
    assert told is not None
    assert (told.day, told.hour, told.house) == (3, 8, False)
    path.write_text(f'{ways}[month]\nurl = "mailto://127.0.0.1?to=a@example.com"\nday = 31\n')
    with pytest.raises(SettingsError, match=r"month\.day"):
        read(path)
