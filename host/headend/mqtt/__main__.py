"""The process that tells a broker of the accounts; the head-end starts it and ends it.

python -m host.headend.mqtt DATABASE BROKER
"""

import logging
import sys
import threading
import time

from host import children
from host.headend.errors import StoreError
from host.headend.logs import warn_as_text
from host.headend.mqtt.broker import BrokerError, broker_of
from host.headend.mqtt.publishing import Publisher
from host.headend.store import Store
from host.words import _

_PAUSE_S = 5.0
_FIRST_S = 5.0
# A large station is looked through less often: of the time at most a tenth.
_SHARE = 10

log = logging.getLogger("dianka.headend")


def main(database: str, words: str) -> None:
    """Tell until the standard input ends; say that it has begun, or why it cannot."""
    warn_as_text()
    ending = threading.Event()
    children.end_with_parent(ending.set)
    broker = broker_of(words)
    try:
        store = Store(database, read_only=True)
        publisher = Publisher(store, broker)
    except (BrokerError, StoreError) as error:
        children.say(str(error))
        return
    is_heard = publisher.begin(_FIRST_S)
    if publisher.is_final:
        publisher.end()
        text = _("the broker at {place} refuses: {why}; look at the user and --mqtt-password")
        children.say(text.format(place=broker.place, why=publisher.refused))
        return
    if not is_heard:
        log.warning("mqtt: the broker at %s is away: it is tried again", broker.place)
    children.say(f"ready {broker.place}")
    _rounds(publisher, ending)
    publisher.end()


def _rounds(publisher: Publisher, ending: threading.Event) -> None:
    pause_s = 0.0
    while not ending.wait(pause_s):
        took_s = 0.0
        try:
            began = time.monotonic()
            publisher.go()
            took_s = time.monotonic() - began
        except StoreError as error:
            log.warning("mqtt: %s", error)
        pause_s = max(_PAUSE_S, took_s * _SHARE)


if __name__ == "__main__":
    main(*sys.argv[1:])
