"""Use the card that a PN532 finds as memory: a tag, or a file on a CPU card."""

from micropython import const

from card.chips.outcome import OK, UNKNOWN
from card.chips.pn532 import ISO_DEP

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.cpu import CpuFile
    from card.chips.outcome import Bytes, Steps
    from card.chips.pn532 import Pn532
    from card.chips.tag import Tag


class Contactless:
    """A PN532 with the readers of its kinds of card; without `file` CPU cards are unknown."""

    def __init__(self, reader: "Pn532", tag: "Tag", file: "CpuFile | None" = None) -> None:
        self.uid = reader.uid
        self.size = 0
        self._reader = reader
        self._tag = tag
        self._file = file
        self._medium: Tag | CpuFile = tag

    def there(self) -> bool:
        """Return true: only an exchange shows that the card is gone."""
        return True

    def release(self) -> None:
        """Release the card."""
        self._reader.release()

    def connect(self) -> "Steps":
        """Find a card and open it according to its kind."""
        outcome = yield from self._reader.connect()
        if outcome != OK:
            return outcome
        if self._reader.kind == ISO_DEP:
            if self._file is None:
                return UNKNOWN
            self._medium = self._file
        else:
            self._medium = self._tag
        outcome = yield from self._medium.open()
        self.size = self._medium.size
        return outcome

    def read(self, offset: int, size: int, buf: bytearray) -> "Steps":
        """Fill buf[:size]."""
        return self._medium.read(offset, size, buf)

    def write(self, offset: int, size: int, buf: "Bytes") -> "Steps":
        """Write buf[:size]."""
        return self._medium.write(offset, size, buf)
