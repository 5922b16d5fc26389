"""Live the same two days on every machine, and print what is on the flash behind them.

A tariff is loaded, every meter is read each hour and charged, those who have paid nothing are cut,
others top up, a checkpoint is written, and the concentrator starts anew between the days.
"""

from binascii import hexlify

from concentrator.app import App
from concentrator.console.commands import Commands
from memory_storage import Storage
from village import Village

_HOURS = 48
_RESTART_HOUR = 24
_TOP_UPS = 9  # hours between two of them
# This is more than the number of parts of a checkpoint.
_CHECKPOINT_STEPS = 200
_UID = bytes(8)
_MAC = bytes(8)


def live(count: int) -> None:
    """Print each file's name and content."""
    storage = Storage()
    village = Village(count, storage)
    for hour in range(_HOURS):
        if hour == _RESTART_HOUR:
            # What was open is lost, as when the power fails.
            files = storage.files
            storage = village.board.storage = Storage()
            storage.files = files
            village.app = App(village.board, count, 4)
            village._run = Commands(village.app).run
            village.rest()
        if hour % _TOP_UPS == _TOP_UPS - 1:
            order = 1 + hour // _TOP_UPS
            village.app.books.credit(hour % count, order, 700 + hour, _UID, 1, _MAC)
        village.round()
    village.app.keeper.begin()
    for _ in range(_CHECKPOINT_STEPS):
        village.app.wake()
        village.turn()
    for name in sorted(storage.files):
        print(name, hexlify(storage.files[name]).decode())
