"""The tariffs in force, each an image in a file named by its number and its CRC.

    t01-1a2b3c4d

An image arrives over the console in parts, is checked whole, stands in its file before the
journal says that it is in force, and is replaced by a file of another name: whatever record a
recovery ends at, the image it names is there.
"""

from array import array
from binascii import crc32

from micropython import const
from prepay.tariff import Tariff

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

NUMBER_LIMIT = const(8)
_PREFIX = "t"


def file_name(number: int, image_crc32: int) -> str:
    """Name of the file of tariff `number` with this image."""
    digits = hex(image_crc32)[2:]
    return _PREFIX + "0" + str(number) + "-" + "0" * (8 - len(digits)) + digits


class Tariffs:
    """Tariffs by number 1 to 8.

    crcs        of those in force, 0: none; their column
    changes     tariffs put in force since the start
    stored      the one stored last, until it is in force
    """

    def __init__(self, storage: "Storage") -> None:
        self.crcs = array("I", bytes(4 * (NUMBER_LIMIT + 1)))
        self.changes = 0
        self.stored = Tariff()
        self._storage = storage
        self._loaded: list[Tariff | None] = [None] * (NUMBER_LIMIT + 1)
        self._image = bytearray()
        self._received = 0

    def columns(self) -> "tuple[array[int], ...]":
        """What a checkpoint keeps."""
        return (self.crcs,)

    def find(self, number: int) -> "Tariff | None":
        """The tariff in force under `number`, None where there is none that can be used."""
        return self._loaded[number] if number <= NUMBER_LIMIT else None

    def begin(self, size: int) -> None:
        """Make room for an image of `size` bytes."""
        self._image = bytearray(size)
        self._received = 0

    def put(self, offset: int, part: bytes) -> bool:
        """Take a part of the image; parts come in order, the last one may come again."""
        end = offset + len(part)
        if offset > self._received or end > len(self._image):
            return False
        self._image[offset:end] = part
        self._received = max(self._received, end)
        return True

    def store(self, number: int, image_crc32: int) -> str:
        """Check the image received and put it into its file; return what is wrong, or ""."""
        image = self._image
        if self._received != len(image) or not image:
            return str(len(image) - self._received) + " bytes of the image are missing"
        if crc32(image) != image_crc32:
            return "the image does not have this CRC"
        self.stored = Tariff()
        trouble = self.stored.load(image, len(image))
        if trouble:
            return trouble
        if not self._storage.replace(file_name(number, image_crc32), image, len(image)):
            return "flash full or failing"
        return ""

    @property
    def stored_size(self) -> int:
        """Bytes of the image received last."""
        return len(self._image)

    def activate(self, number: int, image_crc32: int) -> bool:
        """Put the stored image in force; false where its file is not there or not usable."""
        self.changes += 1
        self.crcs[number] = image_crc32
        self.stored = Tariff()
        self._loaded[number] = None
        self._image = bytearray()
        name = file_name(number, image_crc32)
        size = self._storage.size(name)
        if size <= 0:
            return False
        image = bytearray(size)
        if self._storage.read_into(name, 0, image, size) != size or crc32(image) != image_crc32:
            return False
        tariff = Tariff()
        if tariff.load(image, size):
            return False
        self._loaded[number] = tariff
        return True

    def load(self) -> None:
        """After a checkpoint was read: load what its column names."""
        for number in range(1, NUMBER_LIMIT + 1):
            if self.crcs[number]:
                self.activate(number, self.crcs[number])

    def sweep(self) -> None:
        """Remove files of images no longer in force; only when no record kept can name them."""
        kept = []
        for number in range(1, NUMBER_LIMIT + 1):
            kept.append(file_name(number, self.crcs[number]))
        for name in self._storage.names(_PREFIX) or ():
            if name not in kept:
                self._storage.remove(name)
