"""The firmware core of this checkout on CPython: bills, a line of meters, a device as a process.

Importing this package puts the device's root on the path, so that `import dlt645` means the same
here as on a board.
"""

import sys
from pathlib import Path

_HOST = Path(__file__).resolve().parents[1]


def device_root() -> Path:
    """Return where the firmware lies: beside `host` in a checkout, inside it when installed."""
    installed = _HOST / "firmware"
    return installed if installed.is_dir() else _HOST.parent / "firmware"


for _folder in (device_root(), _HOST / "shim"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))
