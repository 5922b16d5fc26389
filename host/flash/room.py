"""Compute what fits on a board from its flash and its heap, before anything is written.

A file takes whole blocks of the flash, and littlefs counts four for a folder. The product keeps
two versions, so both slots must have room, and the journal beside them if it is on the same flash.
Programs that are not frozen are copied to the heap, where the tables of the meters have to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from host.flash.product import Product
from host.flash.prompt import BoardError
from host.words import _

# The journal works on this many blocks of 4096 bytes, and not on fewer: tests/power/cuts_room.py.
JOURNAL_BLOCKS = 28
_JOURNAL_BLOCK = 4096
# Blocks of a folder, which littlefs counts twice.
_FOLDER = 4
# Bytes of heap that a program takes for each 100 of its file, loaded or in ROMFS, and those that
# the concentrator takes beside programs and tables: 29 KiB, and 16 KiB that have to stay free. All
# are the figures of the emulated board, rounded up; tests/host/test_flash.py measures them.
HEAP_PERCENT = 115
ROM_HEAP_PERCENT = 50
HEAP_FREE = 46080
# Bytes of heap for a meter and for each of its registers.
_METER = 75
_REGISTER = 4
CAPACITY = (256, 4)


@dataclass(frozen=True)
class Facts:
    """The facts of a board: MicroPython's port and version, its machine code, the board's name.

    flash_free, block_size, heap_size   bytes
    """

    platform: str
    version: tuple[int, ...]
    arch: str
    flash_free: int
    block_size: int
    is_frozen: bool
    can_replace: bool
    name: str
    heap_size: int


@dataclass(frozen=True)
class Taken:
    """The bytes of flash that each slot takes, and the journal, 0 if it is on another flash."""

    slots: dict[str, int]
    journal: int


def slot_size(product: Product, block: int) -> int:
    """Return the bytes of flash that a slot with this product takes."""
    blocks = sum(-(-len(data) // block) for data in product.files.values())
    folders = {parent for name in product.files for parent in PurePosixPath(name).parents}
    return (blocks + _FOLDER * len(folders)) * block


def heap_size(product: Product, capacity: Sequence[int], percent: int = HEAP_PERCENT) -> int:
    """Return the bytes of heap that this product takes with so many meters and registers."""
    programs = sum(len(data) for data in product.files.values()) * percent // 100
    meters, registers = capacity
    return programs + meters * (_METER + _REGISTER * registers) + HEAP_FREE


def check(
    found: Facts, taken: Taken, product: Product, slot: str, board_json: dict[str, Any]
) -> None:
    """Raise BoardError when the board cannot hold two slots, fill `slot`, or run this product."""
    needed = slot_size(product, found.block_size)
    # An STM32 and the emulated board keep the journal on another flash.
    has_journal = found.platform in ("rp2", "esp32") and "flash" not in board_json
    least = JOURNAL_BLOCKS * _JOURNAL_BLOCK if has_journal else 0
    there = found.flash_free + sum(taken.slots.values()) + taken.journal
    if 2 * needed + least > there:
        raise BoardError(
            _(
                "{name} cannot hold two versions: each takes {needed} KiB of its flash, the "
                "journal {least} at least, and it has {there}. Freeze the product into an image "
                "(make image), or use a board with a larger flash"
            ).format(
                name=found.name, needed=needed // 1024, least=least // 1024, there=there // 1024
            )
        )
    free = found.flash_free + taken.slots[slot]
    if needed > free:
        raise BoardError(
            _(
                "the flash of {name} has {free} KiB free, the product takes {needed}: remove "
                "files that are not needed"
            ).format(name=found.name, free=free // 1024, needed=needed // 1024)
        )
    check_heap(found, product, board_json, HEAP_PERCENT)


def check_heap(found: Facts, product: Product, board_json: dict[str, Any], percent: int) -> None:
    """Raise BoardError when the heap has no room for programs, of which `percent` are loaded."""
    capacity = board_json.get("capacity", CAPACITY)
    heap = heap_size(product, capacity, percent)
    if heap > found.heap_size:
        raise BoardError(
            _(
                "{name} has {there} KiB of heap, the product takes {heap} with {meters} meters of "
                "{registers} registers: lower capacity in board.json, or freeze the product into "
                "an image (make image), which leaves the programs in flash"
            ).format(
                name=found.name,
                there=found.heap_size // 1024,
                heap=heap // 1024,
                meters=capacity[0],
                registers=capacity[1],
            )
        )
