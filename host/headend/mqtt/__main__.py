"""The process that tells a broker of the accounts; the head-end starts it and ends it.

python -m host.headend.mqtt DATABASE BROKER
"""

import logging
import signal
import sys
import threading
import time

from host.headend.errors import StoreError
from host.headend.logs import TextFormatter
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
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    # The first process decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    broker = broker_of(words)
    try:
        store = Store(database, read_only=True)
        publisher = Publisher(store, broker)
    except (BrokerError, StoreError) as error:
        _say(str(error))
        return
    is_heard = publisher.begin(_FIRST_S)
    if publisher.is_final:
        publisher.end()
        text = _("the broker at {place} refuses: {why}; look at the user and --mqtt-password")
        _say(text.format(place=broker.place, why=publisher.refused))
        return
    if not is_heard:
        log.warning("mqtt: the broker at %s is away: it is tried again", broker.place)
    _say(f"ready {broker.place}")
    ending = threading.Event()
    threading.Thread(target=_end_with_input, args=(ending,), daemon=True).start()
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


def _end_with_input(ending: threading.Event) -> None:
    sys.stdin.read()
    ending.set()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
