"""Number the results of an inserted card: shown, kept in CARD records and written on the card.

The numbers up to 21 are common to card meters. A meter shows the family: Err-31 device, Err-32
card not genuine, Err-33 not for this place, Err-34 content, Err-35 contact, Err-36 limit. The
words for people, with the next step, are in host/frames/card_results.csv.
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from array import array

OK = const(0)
COMPLETED = const(1)  # credited earlier, or no money to credit: the card is marked now

# Err-31
STORAGE = const(2)
NO_KEY = const(3)
NO_CLOCK = const(29)
# Err-32
KEY_VERSION = const(6)
BLANK = const(7)
WRONG_TYPE = const(8)
MAC = const(10)
TOO_MANY = const(22)
# Err-33
METER = const(11)
ACCOUNT = const(12)
SERIAL = const(13)
DISTRICT = const(23)
# Err-34
FORMAT = const(14)
NOT_OPENED = const(15)
NOTHING_TO_REPLACE = const(16)
ORDER_AHEAD = const(17)
USED = const(18)
ORDER_BEHIND = const(24)
OPENED = const(25)
EXPIRED = const(26)
BOOKS_BEHIND = const(27)
NO_TARIFF = const(31)
OTHER_CARD = const(33)  # the newest order came with another card, or with another amount
NO_STANDING = const(34)  # the account's earlier purchases are unknown here
TOO_LATE = const(35)  # an order that this one supersedes was redeemed
# Err-35
COMMUNICATION = const(19)
PULLED = const(20)
NOT_MARKED = const(28)  # credited, but the card could not be marked
# Err-36
HOARDING = const(21)
OVERFLOW = const(30)
NOT_COVERED = const(32)  # a refund of more than there is

# Places in the counts of cards that are not genuine: all of them since an operator's card cleared
# the count, and those since the reader had a rest, see lockout.py.
ILLEGAL = const(0)
RECENT = const(1)

_U16_LIMIT = const(0xFFFF)


def is_illegal(code: int) -> bool:
    """Return whether a card with this result counts as not genuine."""
    return code in (KEY_VERSION, MAC, SERIAL)


def count_illegal(counts: "array[int]") -> None:
    """Count one card that is not genuine."""
    for place in (ILLEGAL, RECENT):
        counts[place] = min(counts[place] + 1, _U16_LIMIT)
