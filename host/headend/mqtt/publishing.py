"""Rounds that tell a broker what has changed, and all of it after each new connection.

A broker that was started again may have forgotten everything that it was to retain. What was told
is known by its text, so nothing is told twice on one connection, and an account that is not here
any more is forgotten at the broker as well.
"""

import logging
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from host.headend.database import Database
from host.headend.mqtt import discovery
from host.headend.mqtt.broker import Broker
from host.headend.mqtt.discovery import POWER_SPAN_S, Shown
from host.headend.store import Store
from host.units import DAY_S, HOUR_S

_KEEPALIVE_S = 30
_RETRY_MOST_S = 60
_CHUNK = 200  # messages on their way at once
_TAKEN_WITHIN_S = 20
_POWER_WITHIN_S = 26 * HOUR_S  # readings that are further apart give no power

_ACCOUNTS = """
    SELECT accounts.account, coalesce(contracts.room, '') AS label, meter, concentrator,
        credit_fen - debit_fen AS balance_fen, registers_wh, multiplier, relay, read_t2000
    FROM accounts LEFT JOIN contracts ON contracts.account = accounts.account
    WHERE concentrator > 0 AND contracts.closed_at IS NULL
    AND accounts.account NOT IN (SELECT account FROM supply_meters)
    ORDER BY accounts.account
"""
_BEFORE = """
    SELECT t2000, registers_wh FROM readings
    WHERE day = ? AND meter = ? AND t2000 <= ? ORDER BY t2000 DESC LIMIT 1
"""
# Reasons for which a broker does not let a client in, and which no further try mends: its name,
# its user or password, its rights.
_FINAL = (133, 134, 135)

log = logging.getLogger("dianka.headend")


class Publisher:
    """One connection to a broker, which is made again for ever."""

    def __init__(self, store: Store, broker: Broker) -> None:
        """BrokerError: its password or certificate cannot be used."""
        self._store = store
        self._topic = broker.topic
        self._told: dict[str, str] = {}
        self._power: dict[str, tuple[int, int]] = {}  # of an account: its newest reading, and W
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._is_new = True
        self.refused, self.is_final = "", False
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        client.username_pw_set(broker.user or None, broker.secret() or None)
        context = broker.context()
        if context is not None:
            client.tls_set_context(context)
        client.will_set(self._status, discovery.OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(1, _RETRY_MOST_S)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client
        self._place = broker

    @property
    def _status(self) -> str:
        return discovery.status_topic(self._topic)

    def begin(self, within_s: float) -> bool:
        """Connect; return whether the broker has answered in time. `refused` says why it did not.

        Where it has not, the connection is tried again for ever.
        """
        self._client.connect_async(self._place.host, self._place.port, _KEEPALIVE_S)
        self._client.loop_start()
        return self._begun.wait(within_s)

    def end(self) -> None:
        """Say that the head-end is away, and close the connection."""
        if self._client.is_connected():
            info = self._client.publish(self._status, discovery.OFFLINE, qos=1, retain=True)
            info.wait_for_publish(1)
        self._client.disconnect()
        self._client.loop_stop()

    # --- in the thread of the connection ---------------------------------------------------------

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _more: Any
    ) -> None:
        if reason.is_failure:
            name = str(reason)
            if name != self.refused:
                log.warning("mqtt: the broker at %s refuses: %s", self._place.place, name)
            self.refused, self.is_final = name, reason.value in _FINAL
            self._begun.set()
            return
        with self._lock:
            self.refused, self.is_final, self._is_new = "", False, True
        client.publish(self._status, discovery.ONLINE, qos=1, retain=True)
        client.subscribe([(discovery.state_topic(self._topic, "+"), 1)])
        self._begun.set()

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _more: Any
    ) -> None:
        if reason.is_failure and not self.refused:
            log.warning("mqtt: the broker at %s is away: %s", self._place.place, reason)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        """Note an account of which the broker has retained a state."""
        found = re.fullmatch(r".*/account/([0-9]{12})/state", message.topic)
        if found is not None and message.payload:
            with self._lock:
                self._seen.add(found[1])

    # --- in the thread of the rounds -------------------------------------------------------------

    def go(self) -> int:
        """Tell what has changed; return how many messages were taken. StoreError."""
        if not self._client.is_connected():
            return 0
        with self._lock:
            if self._is_new:
                self._told.clear()
            self._is_new = False
        waiting: list[tuple[str, str, paho.MQTTMessageInfo]] = []
        taken = 0
        for topic, text in self._messages():
            if self._told.get(topic) == text:
                continue
            info = self._client.publish(topic, text or None, qos=1, retain=True)
            waiting.append((topic, text, info))
            if len(waiting) == _CHUNK:
                taken += self._taken(waiting)
                waiting = []
        return taken + self._taken(waiting)

    def _taken(self, waiting: list[tuple[str, str, paho.MQTTMessageInfo]]) -> int:
        """Wait until messages are taken, and return how many were."""
        until = time.monotonic() + _TAKEN_WITHIN_S
        count = 0
        for topic, text, info in waiting:
            try:
                info.wait_for_publish(max(0.0, until - time.monotonic()))
                is_taken = info.is_published()
            except (RuntimeError, ValueError):  # the connection is gone, or the queue is full
                is_taken = False
            if is_taken:
                self._told[topic] = text
                count += 1
        return count

    def _messages(self) -> Iterator[tuple[str, str]]:
        """Yield the topics and texts of now; "": the broker has to forget what it has there."""
        database = self._store.database
        with database.looking():
            rows = database.rows(_ACCOUNTS)
            here = [self._shown(database, row) for row in rows]
        zone = self._store.zone()
        for one in here:
            yield discovery.config_topic(one.account), discovery.config(one, self._topic)
            yield (
                discovery.state_topic(self._topic, one.account),
                discovery.state(one, zone),
            )
        with self._lock:
            gone = self._seen - {one.account for one in here}
        for account in sorted(gone):
            yield discovery.config_topic(account), ""
            yield discovery.state_topic(self._topic, account), ""

    def _shown(self, database: Database, row: dict[str, Any]) -> Shown:
        return Shown(
            account=row["account"],
            label=row["label"],
            meter=row["meter"],
            concentrator=row["concentrator"],
            balance_fen=row["balance_fen"],
            energy_wh=_total_wh(row) * row["multiplier"],
            power_w=self._power_of(database, row),
            relay=row["relay"],
            read_t2000=row["read_t2000"],
        )

    def _power_of(self, database: Database, row: dict[str, Any]) -> int:
        """Return the mean power since the reading before the newest one in W, -1: not known."""
        account, newest = row["account"], row["read_t2000"]
        known = self._power.get(account)
        if known is not None and known[0] == newest:
            return known[1]
        now_wh = _total_wh(row)
        power_w = -1
        for day in (newest // DAY_S, newest // DAY_S - 1):
            found = database.rows(_BEFORE, (day, row["meter"], newest - POWER_SPAN_S))
            if found:
                before = found[0]
                span_s = newest - before["t2000"]
                used_wh = now_wh - _total_wh(before)
                if span_s <= _POWER_WITHIN_S and used_wh >= 0:
                    power_w = used_wh * row["multiplier"] * HOUR_S // span_s
                break
        self._power[account] = (newest, power_w)
        return power_w


def _total_wh(row: dict[str, Any]) -> int:
    """Return the register of all energy, the first one; those of rates follow it."""
    registers_wh = row["registers_wh"]
    return registers_wh[0] if registers_wh else 0
