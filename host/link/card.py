"""A card that can be read and written, wherever it is: in a file, in a reader, in memory."""

import secrets
from pathlib import Path
from typing import Protocol

from host.frames.card import CARD_SIZE, SERIAL_OFFSET, UID_SIZE, serial_of
from host.words import _, system_reason

CARD_SIZE_LIMIT = 65_535


class CardIoError(OSError):
    """The card cannot be read or written; the message says why and what to try."""


class NoCardError(CardIoError):
    """What was found has not the size of a card."""


class CardMemory(Protocol):
    """A card within reach. Both methods raise CardIoError."""

    @property
    def uid(self) -> str:
        """Return its serial number, 16 hexadecimal digits."""

    @property
    def size(self) -> int:
        """Return bytes of memory."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`."""

    def write(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset`."""


class FileCard:
    """A card's memory in a file. Its serial number stands in the chip's part, bytes 8..15."""

    def __init__(self, path: Path, create: bool = False) -> None:
        self._path = path
        try:
            if create and not path.exists():
                path.write_bytes(blank(CARD_SIZE))
            self._memory = bytearray(path.read_bytes())
        except OSError as error:
            hint = (
                _("`dianka card issue` makes one") if not path.exists() else _("check its rights")
            )
            raise CardIoError(
                _("cannot use card {path}: {strerror}; {hint}").format(
                    path=path, strerror=system_reason(error), hint=hint
                )
            ) from error
        if not CARD_SIZE <= len(self._memory) <= CARD_SIZE_LIMIT:
            raise NoCardError(
                _("{path} is no card: it has {size} bytes, a card has {least} to {most}").format(
                    path=path, size=len(self._memory), least=CARD_SIZE, most=CARD_SIZE_LIMIT
                )
            )

    @property
    def uid(self) -> str:
        """Return the serial number in the memory."""
        return serial_of(self._memory)

    @property
    def size(self) -> int:
        """Return bytes of memory."""
        return len(self._memory)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the memory."""
        _check_range(self, offset, size)
        return bytes(self._memory[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """Change the memory, and the file with it."""
        _check_range(self, offset, len(data))
        self._memory[offset : offset + len(data)] = data
        try:
            with self._path.open("r+b") as file:
                file.seek(offset)
                file.write(data)
        except OSError as error:
            raise CardIoError(
                _("cannot write card {path}: {strerror}").format(
                    path=self._path, strerror=system_reason(error)
                )
            ) from error


def blank(size: int) -> bytes:
    """Return the memory of a new card, with a serial number of its own."""
    memory = bytearray(b"\xff" * size)
    memory[SERIAL_OFFSET : SERIAL_OFFSET + UID_SIZE] = secrets.token_bytes(UID_SIZE)
    return bytes(memory)


def _check_range(card: CardMemory, offset: int, size: int) -> None:
    if offset < 0 or offset + size > card.size:
        raise CardIoError(
            _("bytes {offset} to {end} are outside a card of {size}").format(
                offset=offset, end=offset + size, size=card.size
            )
        )
