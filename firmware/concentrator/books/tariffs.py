"""Keep the tariffs in force, each an image in a file named by its number and its SHA-256.

    t01-1a2b3c4d5e6f

An image arrives over the console in parts and is checked as a whole. Its file is written before
the journal puts it in force, and a new image has a file of another name. So the image that a
record names exists at whatever record a recovery ends. If the file of an image in force cannot be
read, or is damaged, it is read again and again. Until then its accounts are read and not charged,
and the first reading afterwards is charged in full.

Spec: docs/SPEC.md, "Tariff image".
"""

from array import array
from hashlib import sha256

from micropython import const
from ports import NOT_THERE
from prepay.tariff import Tariff

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

NUMBER_LIMIT = const(8)
# Bytes of the SHA-256 that name an image in records, cards and commands.
NAME_SIZE = const(8)

# Troubles of an image in force.
MISSING = const(1)
UNREADABLE = const(2)
ROTTEN = const(3)  # the file does not have the image's SHA-256
TROUBLE_NAMES = ("good", "missing", "unreadable", "rotten")

_PREFIX = "t"
_FILE_NAME_SIZE = const(6)
_NO_NAME = bytes(NAME_SIZE)


def name_of(image: "bytes | bytearray") -> bytes:
    """Return the name of an image: the first 8 bytes of its SHA-256."""
    digest: bytes = sha256(image).digest()
    return digest[:NAME_SIZE]


def file_name(number: int, name: "bytes | bytearray") -> str:
    """Return the file name of tariff `number` with the image of this name."""
    return _PREFIX + "0" + str(number) + "-" + name[:_FILE_NAME_SIZE].hex()


class Tariffs:
    """The tariffs by their numbers 1 to 8.

    names       the names of the images in force, 8 bytes for each number, zeros: none
    changes     the count of tariffs put in force since the start
    stored      the tariff stored last, until it is in force
    troubles    the trouble of the image in force, by number, 0: none
    """

    def __init__(self, storage: "Storage") -> None:
        self.names = bytearray(NAME_SIZE * (NUMBER_LIMIT + 1))
        self.changes = 0
        self.stored = Tariff()
        self.troubles = bytearray(NUMBER_LIMIT + 1)
        self._storage = storage
        self._loaded: list[Tariff | None] = [None] * (NUMBER_LIMIT + 1)
        self._image = bytearray()
        self._received = 0
        self._stored_name = b""

    def columns(self) -> "tuple[array[int] | bytearray, ...]":
        """Return the columns of a checkpoint."""
        return (self.names,)

    def find(self, number: int) -> "Tariff | None":
        """Return the tariff in force under `number`, None if there is none that can be used."""
        return self._loaded[number] if number <= NUMBER_LIMIT else None

    def name(self, number: int) -> bytes:
        """Return the name of the image in force under `number`, zeros: none."""
        return bytes(self.names[NAME_SIZE * number : NAME_SIZE * (number + 1)])

    def number_of(self, name: "bytes | bytearray") -> int:
        """Return the number under which the image of this name is in force, 0: none."""
        for number in range(1, NUMBER_LIMIT + 1):
            if self._loaded[number] is not None and self.name(number) == name:
                return number
        return 0

    @property
    def is_troubled(self) -> bool:
        """Whether an image in force cannot be used."""
        return max(self.troubles) > 0

    def begin(self, size: int) -> None:
        """Make room for an image of `size` bytes."""
        self._image = bytearray(size)
        self._received = 0

    def put(self, offset: int, part: bytes) -> bool:
        """Copy a part of the image; return false unless it follows, or repeats, what is here."""
        end = offset + len(part)
        if offset > self._received or end > len(self._image):
            return False
        self._image[offset:end] = part
        self._received = max(self._received, end)
        return True

    def store(self, number: int, name: bytes) -> str:
        """Check the image received and write its file; return what is wrong, or ""."""
        image = self._image
        if self._received != len(image) or not image:
            return str(len(image) - self._received) + " bytes of the image are missing"
        if name_of(image) != name:
            return "the image does not have this SHA-256"
        self.stored = Tariff()
        trouble = self.stored.load(image, len(image))
        if trouble:
            return trouble
        if not self._storage.replace(file_name(number, name), image, len(image)):
            return "flash full or failing"
        self._stored_name = name
        return ""

    @property
    def stored_size(self) -> int:
        """The size in bytes of the image received last."""
        return len(self._image)

    def activate(self, number: int, name: bytes) -> bool:
        """Put the image of this name in force; return false if it cannot be used yet."""
        if number > NUMBER_LIMIT:
            return False
        self.changes += 1
        self.names[NAME_SIZE * number : NAME_SIZE * (number + 1)] = name
        self._loaded[number] = None
        if name == self._stored_name:
            self._loaded[number] = self.stored
            self.troubles[number] = 0
        else:
            self.troubles[number] = self._load(number)
        self.stored = Tariff()
        self._stored_name = b""
        self._image = bytearray()
        return self._loaded[number] is not None

    def load(self) -> None:
        """Load the images in force that are not loaded yet."""
        for number in range(1, NUMBER_LIMIT + 1):
            if self._loaded[number] is None and self.name(number) != _NO_NAME:
                self.troubles[number] = self._load(number)

    def _load(self, number: int) -> int:
        """Load the image in force under `number`; return its trouble, 0: none."""
        name = self.name(number)
        file = file_name(number, name)
        size = self._storage.size(file)
        if size < 0:
            return MISSING if size == NOT_THERE else UNREADABLE
        image = bytearray(size)
        if self._storage.read_into(file, 0, image, size) < 0:
            return UNREADABLE
        tariff = Tariff()
        if name_of(image) != name or tariff.load(image, size):
            return ROTTEN
        self._loaded[number] = tariff
        return 0

    def sweep(self) -> None:
        """Delete the files of images that are not in force and that no kept record names."""
        kept = []
        for number in range(1, NUMBER_LIMIT + 1):
            kept.append(file_name(number, self.name(number)))
        for name in self._storage.names(_PREFIX) or ():
            if name not in kept:
                self._storage.remove(name)
