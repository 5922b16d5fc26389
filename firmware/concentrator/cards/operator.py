"""Carry out an operator's cards: set limits, clear stopped accounts, change the district's key.

The number of the card is kept together with its changes, so no card works twice. An account is
cleared before the number is kept: after a power cut between the two the card works again, which
has no further effect. A card and what it changes are recorded before that is done. The number is
the second in which the card was made: one that is far from the time at the concentrator is
refused, so that no card can stop those that are made later.
"""

from struct import unpack_from

from card import codes, image
from micropython import const

from concentrator.settings import STORAGE_TROUBLE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from card.image import Image
    from card.keys import Keys

    from concentrator.books.books import Books
    from concentrator.settings import Settings

# The settings in the order of the image; a value of FFFFFFFF does not change the setting.
_LIMITS = ("alarm_1_fen", "alarm_2_fen", "overdraft_fen", "hoarding_limit_fen", "close_fen")
_KEEP = const(0xFFFFFFFF)
# The longest time from making a card to inserting it, and the most its maker's clock is ahead.
_OLD_S = const(31622400)
_AHEAD_S = const(86400)


def judge_number(number: int, t2000: int) -> int:
    """Return codes.OK if a card of this number may be carried out at `t2000`, -1: unknown."""
    if t2000 < 0:
        return codes.NO_CLOCK
    if number > t2000 + _AHEAD_S:
        return codes.ORDER_AHEAD
    return codes.EXPIRED if number < t2000 - _OLD_S else codes.OK


class Operator:
    """The Operator of card/redemption.py; it calls `changed` after a change of settings."""

    def __init__(
        self, settings: "Settings", books: "Books", changed: "Callable[[], object]"
    ) -> None:
        self._settings = settings
        self._books = books
        self._changed = changed

    @property
    def number(self) -> int:
        """The order number of the newest operator's card that was accepted."""
        return self._settings.number("operator_order")

    def operate(
        self, card: "Image", index: int, keys: "Keys", t2000: int
    ) -> "Generator[None, None, int]":
        """Carry out the card at the time `t2000`, -1: unknown; return a code of card/codes.py."""
        code = judge_number(card.order, t2000)
        if code != codes.OK:
            return code
        changes = [("operator_order", str(card.order))]
        buf = card.buf
        if card.kind == image.PRESET:
            values = unpack_from("<IIIII", buf, image.LIMITS)
            for position in range(len(_LIMITS)):
                if values[position] != _KEEP:
                    changes.append((_LIMITS[position], str(values[position])))
        elif card.kind == image.KEY:
            version = buf[image.NEW_VERSION]
            if version <= keys.version:
                return codes.FORMAT
            key = card.unwrap(keys, image.WRAPPED_KEY)
            changes.append(("card_key", key.hex()))
            changes.append(("card_key_version", str(version)))
        elif index >= 0:
            if not self._books.resume(index):
                return codes.STORAGE
            yield
        uid = bytes(buf[image.UID : image.UID + 8])
        note = self._books.note_operator
        for trouble in self._settings.steps(
            changes, lambda told: note(card.kind, keys.version, card.order, uid, told)
        ):
            if trouble:
                return codes.STORAGE if trouble == STORAGE_TROUBLE else codes.FORMAT
            self._changed()
            yield
        return codes.OK
