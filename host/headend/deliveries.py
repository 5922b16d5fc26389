"""What goes to a concentrator before a command: the image of a tariff, a product.

It goes in commands of its own, which change nothing that is in force. They are numbered from 1 on,
far below all other commands. A part whose outcome is not `done` makes the concentrator say again
what it has, or has the image begin again.
"""

import logging
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Protocol

from host.frames import tariff
from host.frames.batch import Order, Outcome

# So often an image begins again before its command is sent all the same and refused.
_BEGINNINGS = 4
# So often a concentrator is asked anew what it lacks of a product.
_QUESTIONS = 200
# Bytes of a product in a part: base64 makes a third more of them.
_PART = 72


log = logging.getLogger("dianka.headend")


class Delivery(Protocol):
    """What has to be there before a command.

    key   what it is: the number of the command, or the name of a package
    """

    key: int | str

    @property
    def order(self) -> Order | None:
        """The next part, None: all is there."""

    def note(self, number: int, outcome: int, text: str) -> None:
        """Note the outcome of a part; those that came twice or late count for nothing."""


class ImageDelivery:
    """The image of a tariff, before the command `key`."""

    def __init__(self, key: int, expires_t2000: int, image: bytes) -> None:
        self.key: int | str = key
        *texts, _commit = tariff.commands(image, 0)
        self._orders = [Order(at + 1, expires_t2000, text) for at, text in enumerate(texts)]
        self._next = 0
        self._beginnings = 1

    @property
    def order(self) -> Order | None:
        """The next part, None: the image is there."""
        return self._orders[self._next] if self._next < len(self._orders) else None

    def note(self, number: int, outcome: int, text: str) -> None:
        """Note the outcome of a part; those that came twice or late count for nothing."""
        if self.order is None or self.order.number != number:
            return
        self._next += 1
        if outcome != Outcome.DONE:
            self._next = 0 if self._beginnings < _BEGINNINGS else len(self._orders)
            self._beginnings += 1


class ProductDelivery:
    """The product `key`: its list, each file in its order, and its signature.

    The concentrator is asked what it lacks, so a delivery goes on where an earlier one ended. It
    is over when nothing is missing, or when no more can be done: the command tells why then.
    """

    def __init__(self, key: str, expires_t2000: int, files: Sequence[bytes]) -> None:
        self.key: int | str = key
        self._files = files
        self._expires_t2000 = expires_t2000
        self._questions = 0
        self._number = 0
        self._parts: Iterator[str] = iter(())
        self.order: Order | None = None
        self._ask()

    def _ask(self) -> None:
        """Ask what is missing, unless that was asked too often."""
        self._questions += 1
        self._asks = True
        question = f"firmware need {self.key}"
        self._say(question if self._questions <= _QUESTIONS else "")

    def _say(self, text: str) -> None:
        self._number += 1
        self.order = Order(self._number, self._expires_t2000, text) if text else None

    def note(self, number: int, outcome: int, text: str) -> None:
        """Note the outcome of a part; those that came twice or late count for nothing."""
        if self.order is None or self.order.number != number:
            return
        if outcome != Outcome.DONE:
            if self._asks:
                log.warning("product %s is not taken: %s", self.key, text)
                self.order = None  # the command tells what is wrong
            else:
                self._ask()
            return
        if self._asks:
            self._asks = False
            needs = [*self._needs(text)]
            if not needs:
                self.order = None
                return
            self._parts = self._parts_of(needs)
        part = next(self._parts, "")
        if part:
            self._say(part)
        else:
            self._ask()

    def _needs(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the places of files that are missing, and from where on."""
        for line in text.splitlines():
            place, _, size = line.partition(" ")
            if not (place.isdecimal() and size.isdecimal() and int(place) < len(self._files)):
                continue
            length = len(self._files[int(place)])
            if length:
                yield int(place), int(size) if int(size) < length else 0

    def _parts_of(self, needs: Sequence[tuple[int, int]]) -> Iterator[str]:
        for place, start in needs:
            data = self._files[place]
            for at in range(start, len(data), _PART):
                part = b64encode(data[at : at + _PART]).decode()
                yield f"firmware data {place} {at} {part}"
