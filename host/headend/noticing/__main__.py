"""The process of the notices, which the head-end starts and which ends with it.

python -m host.headend.noticing DATABASE FILE
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from host.headend.audit import Who, acting
from host.headend.errors import StoreError
from host.headend.logs import TextFormatter
from host.headend.noticing import sending, settings
from host.headend.noticing.round import loop
from host.headend.store import Store

_PAUSE_S = 1.0


def main(database: str, path: str) -> None:
    """Send until the standard input ends; tell that it has begun, or why it cannot."""
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    # The first process decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        told = settings.read(Path(path))
        sending.check(told.ways)
        store = Store(database)
    except (settings.SettingsError, StoreError) as error:
        _say(str(error))
        return
    _say(f"ready {len(told.ways)}")
    with acting(Who("notices", "notices")):
        loop(store, told, _PAUSE_S)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
