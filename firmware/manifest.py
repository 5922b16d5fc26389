"""Freeze the device side of the product into an image, without the files that LEFT_OUT names.

MicroPython's build runs this file in its folder, with `module` already defined. `dianka flash` and
tools/mpy.py read LEFT_OUT, so a board gets the same files on every way of installation.

What the port freezes itself comes first: without its _boot.py, its own module and asyncio a board
starts nothing. The emulated board's port has no such list: include(.., port=False) leaves it out.
"""

import os

LEFT_OUT = (
    "manifest.py",
    # boot.py is installed beside the slots that `dianka flash` makes, and starts one of them.
    "boot.py",
    # A process of a PC or a router needs no image.
    "boards/unix.py",
    # `dianka flash --selftest` sends it to a board's prompt.
    "boards/selftest.py",
    # Only a PC uses these, on a line of its own: see host/device/line.py.
    "dlt645/long_read.py",
    "dlt645/recharge.py",
    "dlt645/speed.py",
    # Tests and the fuzzer use the receiver without a master.
    "dlt645/frame.py",
)
# A product that is frozen, in ROMFS or put there by `mip` has no second slot to receive one in.
SLOTS_ONLY = ("update.py",)


def _files(folder):
    """Yield the programs in and below `folder`, "" or a name with / at its end."""
    for name in sorted(os.listdir(folder or ".")):
        path = folder + name
        if os.path.isdir(path):
            yield from _files(path + "/")
        elif name.endswith(".py") and path not in LEFT_OUT + SLOTS_ONLY:
            yield path


options.defaults(port=True)  # noqa: F821 - the build defines it
if options.port:  # noqa: F821 - the build defines it
    include("$(PORT_DIR)/boards/manifest.py")  # noqa: F821 - the build defines it
for _path in _files(""):
    module(_path)  # noqa: F821 - the build defines it
