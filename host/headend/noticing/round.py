"""A round of the notices: look for events, then send what is due, each by its ways in turn."""

import logging
import time
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from host.headend import household_links, notices
from host.headend.channel_sales import masked
from host.headend.errors import StoreError
from host.headend.notices import Contact, Then
from host.headend.noticing import texts
from host.headend.noticing.events import Look, is_stale
from host.headend.noticing.month_mail import MonthMail
from host.headend.noticing.sending import BUSY, Ended, Sender, url_of
from host.headend.noticing.settings import Settings, Way
from host.headend.store import Store
from host.units import DAY_S, t2000_of_unix
from host.words import marked

_LIMIT = 50  # notices of one round
# When all ways have failed, they are tried again after so long; then no more.
_PAUSES_S = (300, 1800, 7200)
_STALE_DAYS = 2
_CODE_S = 600
_WAIT_BUSY_S = 60

CLOSED = marked("the account is closed")
REFUSED = marked("the household does not want it")
NOT_SENT_HERE = marked("the station does not send this kind")
OVER_LIMIT = marked("the household was told enough on this day")
TOO_LATE = marked("it is too late to tell it")
PAID = marked("money has arrived since")
NO_ADDRESS = marked("no telephone and no e-mail by which a way reaches it")
FAILED_HERE = marked("the head-end has failed at it: its log says why")
OFFICE_TOLD = marked("no way has reached the household: the station was told")

log = logging.getLogger("dianka.headend")


class Rounds:
    """The rounds of one process."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._sender = Sender(settings.within_s)
        self._look = Look(store, settings.tier_percent)
        self._month = (
            MonthMail(store, self._sender, settings.month, settings.language)
            if settings.month is not None
            else None
        )
        notices.give_up_tries(store, int(time.time()) + 1)

    def go(self, now: int | None = None) -> int:
        """Make one round; return how many notices were handled."""
        at = int(time.time()) if now is None else now
        if self._month is not None:
            self._month.go(at)
        found = self._look.look(at)
        if found.events or found.marks:
            try:
                notices.take_events(self._store, found.events, found.marks)
            except StoreError:
                self._look.forget(found.events)
                raise
        waiting = notices.due(self._store, at, _LIMIT)
        for one in waiting:
            try:
                self._handle(one, at if now is not None else int(time.time()))
            except StoreError:
                raise
            except Exception:  # it must not hold up all others for ever
                log.exception("notice %d cannot be sent", one["id"])
                self._become(one, Then(notices.NOT_KNOWN, FAILED_HERE), at)
        return len(waiting)

    # --- one notice ------------------------------------------------------------------------------

    def _handle(self, notice: dict[str, Any], now: int) -> None:
        contact = notices.contact_of(self._store, notice["account"])
        why = self._why_not(notice, contact, now)
        if why or contact is None:
            self._become(notice, Then(notices.LEFT_OUT, why or CLOSED), now)
            return
        if notice["kind"] != notices.CODE and (at := self._quiet_until(now)) > now:
            self._become(notice, Then(notices.WAITING, "", at, notice["rounds"]), now)
            return
        tried = {one["way"] for one in notices.tried(self._store, notice)}
        ways = [way for way in self._settings.ways if self._fits(way, notice["kind"], contact)]
        if not any(not way.is_office for way in ways) and not tried:
            self._fail(notice, NO_ADDRESS, ways, tried, contact, now)
            return
        for way in ways:
            if way.is_office or self._key(way, notice) in tried:
                continue
            if self._sender.is_busy(way):
                then = Then(notices.WAITING, BUSY, now + _WAIT_BUSY_S, notice["rounds"])
                self._become(notice, then, now)
                return
            ended = self._try(notice, way, contact, now)
            if ended is None or ended.outcome != notices.NOT_DELIVERED:
                return
            tried.add(self._key(way, notice))
        said = notices.tried(self._store, notice)
        self._fail(notice, said[-1]["said"] if said else NO_ADDRESS, ways, tried, contact, now)

    def _key(self, way: Way, notice: dict[str, Any]) -> str:
        """Return under what a try is noted: a way is tried once in each round of all ways."""
        return f"{way.name} {notice['rounds'] + 1}" if notice["rounds"] else way.name

    def _fits(self, way: Way, kind: str, contact: Contact) -> bool:
        if way.kinds and kind not in way.kinds:
            return False
        return way.is_office or bool(url_of(way, contact))

    def _why_not(self, notice: dict[str, Any], contact: Contact | None, now: int) -> str:
        """Return why a notice is not sent at all, "": it is."""
        kind = notice["kind"]
        if contact is None:
            return CLOSED
        values = notice["told"]
        if kind == notices.CODE:
            return TOO_LATE if now - notice["made_at"] > _CODE_S else ""
        if now - notice["made_at"] > _STALE_DAYS * DAY_S:
            return TOO_LATE
        if kind == notices.CUT:
            return ""
        if kind not in self._settings.kinds:
            return NOT_SENT_HERE
        if kind in contact.refused:
            return REFUSED
        now_t2000 = t2000_of_unix(now, self._zone())
        # One that a person has given is not old by what it tells.
        if not notice["tries_before"] and is_stale(values, now_t2000, _STALE_DAYS):
            return TOO_LATE
        if kind in (notices.LOW, notices.USED_UP) and self._has_paid(notice):
            return PAID
        midnight = datetime.fromtimestamp(now, self._zone()).replace(hour=0, minute=0, second=0)
        sent = notices.sent_since(self._store, notice["account"], int(midnight.timestamp()))
        is_first = notice["sent_at"] is None
        return OVER_LIMIT if is_first and sent >= self._settings.a_day else ""

    def _has_paid(self, notice: dict[str, Any]) -> bool:
        _table, concentrator, seq = (*notice["event"].split(), "0", "0")[:3]
        if not (concentrator.isdecimal() and seq.isdecimal()):
            return False
        return bool(
            self._store.value(
                "SELECT count(*) FROM top_ups WHERE account = ? AND concentrator = ? "
                "AND seq > ? AND amount_fen > 0",
                (notice["account"], int(concentrator), int(seq)),
            )
        )

    def _zone(self) -> ZoneInfo:
        return self._store.zone()

    def _quiet_until(self, now: int) -> int:
        """Return when quiet hours end, `now`: it is not quiet."""
        begin, end = self._settings.quiet
        if begin == end:
            return now
        local = datetime.fromtimestamp(now, self._zone())
        minute = local.hour * 60 + local.minute
        is_over_midnight = begin > end
        inside = minute >= begin or minute < end if is_over_midnight else begin <= minute < end
        if not inside:
            return now
        day = local.replace(hour=end // 60, minute=end % 60, second=0, microsecond=0)
        if minute >= end:
            day += timedelta(days=1)
        return int(day.timestamp())

    def _try(
        self, notice: dict[str, Any], way: Way, contact: Contact, now: int, prefix: str = ""
    ) -> Ended | None:
        """Send by one way; None: the notice is not to be sent any more."""
        language = contact.language or self._settings.language
        kept, sent = self._texts(notice, language)
        title = sent[0]
        key = self._key(way, notice)
        number = notice["id"]
        attempt = notices.begin_sending(self._store, number, key, kept[0], kept[1], language, now)
        if not attempt:
            return None
        ended = self._sender.send(way, url_of(way, contact) or way.url, title, prefix + sent[1])
        then = self._then(notice, way, ended, now)
        notices.end_sending(
            self._store, number, attempt, ended.outcome, ended.said, then, int(time.time())
        )
        return ended

    def _then(self, notice: dict[str, Any], way: Way, ended: Ended, now: int) -> Then:
        """Return what becomes of a notice behind a try."""
        rounds = notice["rounds"]
        if way.is_office:
            return self._put_off(notice, OFFICE_TOLD, now)
        if ended.outcome == notices.DELIVERED:
            return Then(notices.DELIVERED, "", 0, rounds, way.name, way.proves)
        if ended.outcome == notices.NOT_KNOWN:
            return Then(notices.NOT_KNOWN, ended.said, 0, rounds, way.name)
        return Then(notices.WAITING, ended.said, now, rounds)

    def _fail(
        self,
        notice: dict[str, Any],
        why: str,
        ways: list[Way],
        tried: set[str],
        contact: Contact,
        now: int,
    ) -> None:
        """Tell the station of a notice that no way has delivered, and try again later."""
        for way in ways:
            is_last = notice["rounds"] >= len(_PAUSES_S) or why == NO_ADDRESS
            if way.is_office and is_last and notice["kind"] != notices.CODE:
                prefix = f"{notice['account']}: "
                if not self._sender.is_busy(way):
                    self._try(notice, way, contact, now, prefix)
                    return
        self._become(notice, self._put_off(notice, why, now), now)

    def _put_off(self, notice: dict[str, Any], why: str, now: int) -> Then:
        rounds = notice["rounds"]
        is_over = rounds >= len(_PAUSES_S) or why in (NO_ADDRESS, OFFICE_TOLD)
        if is_over or notice["kind"] == notices.CODE:
            return Then(notices.NOT_DELIVERED, why, 0, rounds)
        return Then(notices.WAITING, why, now + _PAUSES_S[rounds], rounds + 1)

    def _become(self, notice: dict[str, Any], then: Then, now: int) -> None:
        notices.set_notice(self._store, notice["id"], then, now)

    def _texts(
        self, notice: dict[str, Any], language: str
    ) -> tuple[tuple[str, str], tuple[str, str]]:
        """Return title and text as they are kept, and as they are sent: with the page's link."""
        account = notice["account"]
        station = household_links.station(self._store)
        link = household_links.link_of(self._store, account)
        common = {
            "account": account,
            "name": masked(household_links.name_of(self._store, account)),
            "hotline": station.hotline,
            "pay_at": station.pay_at,
            "page": station.page_url,
        }
        values = {**notice["told"], **{name: one for name, one in common.items() if one}}
        own = self._settings.own.get(language, {})
        kind = notice["kind"]
        kept = texts.render(kind, language, values, own)
        sent = texts.render(kind, language, {**values, "page": link}, own)
        return (kept if kind != notices.CODE else (kept[0], "")), sent


def loop(store: Store, settings: Settings, pause_s: float) -> None:
    """Make rounds for ever; a database that fails is asked again later."""
    rounds = Rounds(store, settings)
    while True:
        try:
            handled = rounds.go()
        except StoreError as error:
            log.warning("notices: %s", error)
            handled = 0
        time.sleep(0 if handled == _LIMIT else pause_s)
