"""The process of the notices, which the head-end starts and which ends with it.

python -m host.headend.noticing DATABASE FILE
"""

import sys
from pathlib import Path

from host import children
from host.headend.audit import Who, acting
from host.headend.errors import StoreError
from host.headend.logs import warn_as_text
from host.headend.noticing import sending, settings
from host.headend.noticing.round import loop
from host.headend.store import Store

_PAUSE_S = 1.0


def main(database: str, path: str) -> None:
    """Send until the standard input ends; tell that it has begun, or why it cannot."""
    warn_as_text()
    children.end_with_parent()
    try:
        told = settings.read(Path(path))
        sending.check(told.all_ways)
        store = Store(database)
    except (settings.SettingsError, StoreError) as error:
        children.say(str(error))
        return
    children.say(f"ready {len(told.ways)}")
    with acting(Who("notices", "notices")):
        loop(store, told, _PAUSE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
