"""Goal: no account is charged by an image of which a bit has turned, or of which a part is gone.

Method: an image in force on flash in memory; every bit of its file turned, every cut of it tried.
"""

from binascii import crc32

from concentrator.books.tariffs import Tariffs, file_name
from harness import check, equal
from memory_storage import Storage
from tariff_images import ENDLESS, image, ladder, terms

IMAGE = image(1, 2, (ladder((1000,), (50000000, 60000001)),), (terms(0, ENDLESS),))
CRC = crc32(IMAGE)
NAME = file_name(1, CRC)


def activated(data: bytes) -> bool:
    """Whether tariff 1 can be used when its file holds this."""
    storage = Storage()
    storage.files[NAME] = data
    tariffs = Tariffs(storage)
    good = tariffs.activate(1, CRC)
    equal(tariffs.find(1) is not None, good)
    return good


def test_no_turned_bit_and_no_cut_counts() -> None:
    check(activated(IMAGE))
    for bit in range(8 * len(IMAGE)):
        data = bytearray(IMAGE)
        data[bit >> 3] ^= 1 << (bit & 7)
        check(not activated(bytes(data)), bit)
    for size in range(len(IMAGE)):
        check(not activated(IMAGE[:size]), size)


def test_an_image_that_did_not_arrive_whole_is_not_stored() -> None:
    storage = Storage()
    tariffs = Tariffs(storage)
    tariffs.begin(len(IMAGE))
    check(tariffs.put(0, IMAGE[:20]))
    check(not tariffs.put(21, IMAGE[21:]), "a part is missing")
    check(tariffs.store(1, CRC) != "")
    data = bytearray(IMAGE[20:])
    data[5] ^= 1
    check(tariffs.put(20, bytes(data)))
    check(tariffs.store(1, CRC) != "")
    equal(storage.names("t"), [])
    check(tariffs.put(20, IMAGE[20:]), "the last part may come again")
    equal((tariffs.store(1, CRC), storage.names("t")), ("", [NAME]))
