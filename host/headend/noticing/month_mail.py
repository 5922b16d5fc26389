"""The mail of the month: the report of the month that is over, sent once on a day.

A try that fails is repeated after an hour. The month is kept before it is sent, so that the mail
and later reports say the same.
"""

import logging
import tempfile
from datetime import datetime
from pathlib import Path

from host.headend import month as months
from host.headend import month_paper, notices
from host.headend.notices import DELIVERED
from host.headend.noticing.sending import Sender
from host.headend.noticing.settings import Monthly
from host.headend.store import Store
from host.words import _, speaking

MARK = "month"
_MAIL_AGAIN_S = 3600

log = logging.getLogger("dianka.headend")


class MonthMail:
    """Sends the report of each month once."""

    def __init__(self, store: Store, sender: Sender, told: Monthly, language: str) -> None:
        self._store, self._sender = store, sender
        self._told, self._language = told, language
        self._not_before = 0

    def go(self, now: int) -> bool:
        """Send the report if it is due; return whether it was tried."""
        local = datetime.fromtimestamp(now, self._store.zone())
        if now < self._not_before or (local.day, local.hour) < (self._told.day, self._told.hour):
            return False
        which = months.last_month(self._store, now)
        number = int(which.replace("-", ""))
        if notices.marks(self._store).get(MARK, 0) >= number:
            return False
        self._not_before = now + _MAIL_AGAIN_S
        if self._send(which, now):
            notices.take_events(self._store, [], {MARK: number})
        return True

    def _send(self, which: str, now: int) -> bool:
        with speaking(self._language), tempfile.TemporaryDirectory(prefix="dianka-") as folder:
            title, text, files = self._made(which, now)
            paths = []
            for name, content in files.items():
                paths.append(str(Path(folder) / name))
                Path(paths[-1]).write_bytes(content)
            ended = self._sender.send(self._told.way, self._told.url, title, text, paths)
        if ended.outcome != DELIVERED:
            log.warning("the report of %s was not sent: %s", which, ended.said)
        return ended.outcome == DELIVERED

    def _made(self, which: str, now: int) -> tuple[str, str, dict[str, bytes]]:
        """Return title, text and files of the mail."""
        title = _("Electricity: the month {month}").format(month=which)
        if self._told.house:
            rows = months.house(self._store, which)
            text = "\n".join(" · ".join(row) for row in rows)
            return title, text, {f"{which}.pdf": month_paper.house_pdf(which, rows)}
        report = months.report(self._store, which, now=now)
        if report.kept_at is None and report.is_whole:
            months.keep_month(self._store, which, months.values_of(report))
        text = "\n".join(f"{row[0]}: {row[1]} ({row[3]})" for row in months.rows_of(report))
        files = {
            f"{which}.pdf": month_paper.pdf(report),
            f"{which}.xlsx": month_paper.xlsx(report),
        }
        return title, text, files
