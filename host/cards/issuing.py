"""Orders onto cards: written, read back, and never over money that was not redeemed."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from host.frames import card as frames
from host.frames.card import Header
from host.link.card import CardIoError, CardMemory

EPOCH = datetime(2000, 1, 1)
WRITE_TRIES = 3


class IssueError(Exception):
    """The card was not issued; the message says why and what to do."""


def to_t2000(moment: datetime) -> int:
    """Local standard time as seconds since 2000."""
    return int((moment - EPOCH).total_seconds())


def to_datetime(t2000: int) -> datetime:
    """Seconds since 2000 as local standard time."""
    return EPOCH + timedelta(seconds=t2000)


def issue(memory: CardMemory, header: Header, key: bytes, force: bool = False) -> Header:
    """Write `header`, bound to this card, and read it back; return it as it stands there.

    A mark of the same account stays: it tells the concentrator which order came before.
    IssueError: the card bears an order that was not redeemed, unless `force`.
    """
    header = replace(header, uid=memory.uid)
    image = memory.read(0, frames.CARD_SIZE)
    held = frames.parse(image, key)
    old = held.header if held.genuine else None
    if old and old.uid == header.uid and not held.used and old.order and not force:
        amount = f"{Decimal(old.amount_fen).scaleb(-2):.2f} yuan"
        what = f"order {old.order} of account {old.account}, {amount}"
        raise IssueError(
            f"the card bears {what}, not redeemed yet: redeem it first, or give it up with --force"
        )
    size = frames.IMAGE_SIZE - frames.WRITE_BACK_OFFSET
    rest = bytes(size)
    if old and held.write_back_genuine and (old.account, old.uid) == (header.account, header.uid):
        at = frames.IMAGE_OFFSET + frames.WRITE_BACK_OFFSET
        rest = image[at : at + size]
    write(memory, frames.IMAGE_OFFSET, frames.build(header, key) + rest)
    return header


def write(memory: CardMemory, offset: int, data: bytes) -> None:
    """Write and read back; CardIoError when the card does not keep it."""
    for _ in range(WRITE_TRIES):
        memory.write(offset, data)
        if memory.read(offset, len(data)) == data:
            return
    raise CardIoError("the card does not keep what is written: clean its contacts, or replace it")
