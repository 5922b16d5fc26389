"""Put the product into a board's ROMFS, from which it runs without a copy in the heap.

MicroPython 1.25 and later have ROMFS on boards whose image has a place for it in flash. It holds
one version, which is written whole: there is no way back to the version before, and a board whose
cable was pulled meanwhile starts nothing until the product is installed again. Journal, settings
and board.json are on another place of the flash and stay.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from host.flash.product import Product
from host.flash.prompt import BoardError, Prompt
from host.installed import how_to_add
from host.words import _

FOLDER = "/rom"

MAIN = b'''\
"""Start the product in ROMFS."""

import os
import sys

try:
    os.remove("hold")
except OSError:
    sys.path.insert(0, "/rom")
    import boot

    if boot.is_sound("/rom"):
        import main

        main.main()
'''

_CHUNK = 4096

# The place is memory, or a flash that is erased and written by blocks and can be read as memory.
_SIZE = """\
try:
    import vfs
    print(len(memoryview(vfs.rom_ioctl(2, 0))) if vfs.rom_ioctl(1) > 0 else 0)
except (ImportError, AttributeError, TypeError, OSError):
    print(0)
"""

_PREPARE = """\
import vfs
from binascii import a2b_base64
try:
    vfs.umount("/rom")
except OSError:
    pass
dev = vfs.rom_ioctl(2, 0)
if hasattr(dev, "ioctl"):
    size = dev.ioctl(5, 0)
    for block in range(-(-{size} // size)):
        dev.ioctl(6, block)
    def write(offset, buf):
        dev.writeblocks(offset // size, buf, offset % size)
    def complete():
        pass
else:
    if vfs.rom_ioctl(3, 0, {size}) < 0:
        raise OSError(5)
    def write(offset, buf):
        vfs.rom_ioctl(4, 0, offset, buf)
    def complete():
        vfs.rom_ioctl(5, 0)
"""

_CHECK = """\
import hashlib
from binascii import hexlify
complete()
print(str(hexlify(hashlib.sha256(memoryview(vfs.rom_ioctl(2, 0))[:{size}]).digest()), "ascii"))
"""


def size(board: Prompt) -> int:
    """Return the bytes of the board's ROMFS, 0 if it has none."""
    size: int = board.told(_SIZE, int)
    return size


def image(product: Product, boot: bytes) -> bytes:
    """Return the product as a ROMFS, with its list and `boot`, the boot.py that compares it."""
    try:
        from mpremote.romfs import VfsRomWriter
    except ImportError:
        raise BoardError(
            _("mpremote is missing: {install}").format(install=how_to_add("flash"))
        ) from None
    tree: dict[str, Any] = {}
    whole = Product(product.version, product.files | {"boot.py": boot})
    for name, data in (whole.files | {"files": whole.listing}).items():
        *folders, last = name.split("/")
        inside = tree
        for folder in folders:
            inside = inside.setdefault(folder, {})
        inside[last] = data
    writer = VfsRomWriter()
    _put(writer, tree)
    made: bytes = writer.finalise()
    return made


def install(board: Prompt, content: bytes, told: Callable[[int, int], None]) -> None:
    """Write a ROMFS and compare its SHA-256 on the board; BoardError if it differs."""
    padded = content + bytes(-len(content) % _CHUNK)
    board.run(_PREPARE.format(size=len(padded)))
    for offset in range(0, len(padded), _CHUNK):
        told(offset, len(padded))
        text = base64.b64encode(padded[offset : offset + _CHUNK])
        board.run(f"write({offset}, a2b_base64({text!r}))")
    told(len(padded), len(padded))
    if board.run(_CHECK.format(size=len(padded))).strip() != hashlib.sha256(padded).hexdigest():
        raise BoardError(_("the ROMFS did not arrive as it was sent: try again"))


def _put(writer: Any, tree: dict[str, Any]) -> None:
    for name, content in sorted(tree.items()):
        if isinstance(content, dict):
            writer.opendir(name)
            _put(writer, content)
            writer.closedir()
        else:
            writer.mkfile(name, content)
