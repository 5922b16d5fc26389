"""Orders onto cards: noted before, written, read back; no order twice, no money overwritten."""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from host.cards.audit import AuditLog
from host.cards.keystore import NO_LIMITS, Limits
from host.frames import card as frames
from host.frames.card import MONEY_KINDS, Card, CardKind, Header
from host.frames.card_keys import wrap_key
from host.link.card import CardIoError, CardMemory
from host.units import yuan
from host.words import _

WRITE_TRIES = 3
NAMELESS = ("0" * 16, "F" * 16)
SERIAL_WAIT_S = 5.0


class IssueError(Exception):
    """The card was not issued; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Writes cards under `key_of(district, key_version)`, within `limits`; notes them in `log`."""

    key_of: Callable[[int, int], bytes]
    log: AuditLog
    limits: Limits = NO_LIMITS

    def issue(
        self, memory: CardMemory, header: Header, force: bool = False, again: bool = False
    ) -> Header:
        """Write a card as `issue` does, once; IssueError: the order is on another card.

        With `again` it stands in for a lost card, over the same amount.
        """
        self._check_limits(header)
        if header.kind in MONEY_KINDS:
            self._check_sign(header)
            if again and not force:
                self._check_same(header)
            elif not force:
                self._check_once(replace(header, uid=memory.uid))
        key = self.key_of(header.district, header.key_version)
        return issue(memory, header, key, force, self.log)

    def repair(self, memory: CardMemory) -> str:
        """Put back what was written last on this card where it is damaged; say what was done."""
        image = self.log.image_of(memory.uid)
        if image is None:
            raise IssueError(
                _(
                    "the log {path} does not know card {uid}, nothing to put back: `dianka card "
                    "replace` makes another card"
                ).format(path=self.log.path, uid=memory.uid)
            )
        at = frames.IMAGE_OFFSET
        if memory.read(at, len(image)) == image:
            return _("the header is as it was issued; nothing was changed")
        rest = memory.read(at + len(image), frames.IMAGE_SIZE - len(image))
        write(memory, at, image + rest)
        return _("the header was damaged and is as it was issued again")

    def _check_limits(self, header: Header) -> None:
        """Raise IssueError where the key file does not allow the card."""
        limits = self.limits
        if limits.last_day is not None and datetime.now().date() > limits.last_day:
            raise IssueError(
                _("the key file ended on {last_day}: have a new one handed down").format(
                    last_day=limits.last_day
                )
            )
        if header.kind not in MONEY_KINDS or header.kind == CardKind.REFUND:
            return
        if limits.card_fen and header.amount_fen > limits.card_fen:
            raise IssueError(
                _("the key file allows {most} yuan on one card, not {amount}").format(
                    most=yuan(limits.card_fen), amount=yuan(header.amount_fen)
                )
            )
        sold_fen = self.log.sold_fen(header.key_version, but=(header.account, header.order))
        if limits.total_fen and sold_fen + header.amount_fen > limits.total_fen:
            raise IssueError(
                _(
                    "the key file allows {most} yuan on all cards, and {sold} are issued: have a "
                    "new one handed down"
                ).format(most=yuan(limits.total_fen), sold=yuan(sold_fen))
            )

    def _check_sign(self, header: Header) -> None:
        """Raise IssueError where a lost refund would become a purchase, or a purchase a refund."""
        known = self.log.find(header.account, header.order)
        if known is not None and known.refunds != (header.kind == CardKind.REFUND):
            was, other = ("refund", "--kind refund") if known.refunds else ("purchase", "another")
            raise IssueError(
                _(
                    "order {order} of account {account} was issued as a {was} at {at}: use "
                    "`dianka card issue` with {other}"
                ).format(
                    order=header.order, account=header.account, was=was, at=known.at, other=other
                )
            )

    def _check_same(self, header: Header) -> None:
        """Raise IssueError where the lost card had another amount than the new one."""
        known = self.log.find(header.account, header.order)
        if known is not None and known.amount_fen != header.amount_fen:
            raise IssueError(
                _(
                    "order {order} of account {account} was issued over {was} yuan, not {now}: "
                    "look with `dianka card log`, or use --force"
                ).format(
                    order=header.order,
                    account=header.account,
                    was=yuan(known.amount_fen),
                    now=yuan(header.amount_fen),
                )
            )

    def _check_once(self, header: Header) -> None:
        known = self.log.find(header.account, header.order)
        if known is None or known.uid == header.uid:
            return
        what = _("order {order} of account {account}").format(
            order=header.order, account=header.account
        )
        if known.done:
            raise IssueError(
                _(
                    "{what} was issued on card {uid} at {at}: it is not issued twice; for a lost "
                    "card use `dianka card replace`"
                ).format(what=what, uid=known.uid, at=known.at)
            )
        raise IssueError(
            _(
                "{what} was begun on card {uid} at {at}: go on with that card, or give it up "
                "with --force"
            ).format(what=what, uid=known.uid, at=known.at)
        )


def issue(
    memory: CardMemory,
    header: Header,
    key: bytes,
    force: bool = False,
    log: AuditLog | None = None,
) -> Header:
    """Write `header`, bound to this card, and read it back; return it as it stands there.

    A mark of the same account stays: it tells the concentrator which order came before.
    IssueError: the card bears an order that was not redeemed, unless `force`.
    """
    header = replace(header, uid=memory.uid)
    if not force and header.uid in NAMELESS:
        raise IssueError(
            _(
                "the card has no serial number, so what is written could be copied to another: "
                "give it one with `dianka card serial`, or use --force where that does not "
                "matter"
            )
        )
    if header.kind == CardKind.KEY:
        header = _wrapped(header, key)
    held = frames.parse(memory.read(0, frames.CARD_SIZE), key)
    if not force:
        _check_unredeemed(held, header)
    image = frames.build(header, key)
    rest = bytes(frames.IMAGE_SIZE - frames.WRITE_BACK_OFFSET)
    old = held.header if held.genuine and held.write_back_genuine else None
    if old and (old.account, old.uid) == (header.account, header.uid):
        at = frames.IMAGE_OFFSET + frames.WRITE_BACK_OFFSET
        rest = memory.read(at, len(rest))
    if log is not None:
        log.begin(header, image)
    write(memory, frames.IMAGE_OFFSET, image + rest)
    if log is not None:
        log.finish(header, image)
    return header


def _wrapped(header: Header, key: bytes) -> Header:
    """Return the header with a key card's new key wrapped for this card; it came in the clear."""
    found = frames.parse_content(header)
    wrapped = wrap_key(key, found["wrapped"], header.uid, header.order, found["version"])
    return replace(header, content=frames.key_content(found["version"], wrapped))


def _check_unredeemed(held: Card, header: Header) -> None:
    """Raise IssueError where the card holds the money of another order, not yet redeemed."""
    old = held.header if held.genuine else None
    if old is None or old.kind not in MONEY_KINDS or held.used or old.uid != header.uid:
        return
    if (old.account, old.order) == (header.account, header.order) or not old.amount_fen:
        return
    if old.account == header.account and 0 < header.supersedes <= old.order < header.order:
        return
    amount = f"{yuan(old.amount_fen)} yuan"
    raise IssueError(
        _(
            "the card bears order {order} of account {account}, {amount}, not redeemed "
            "yet: redeem it first, or give it up with --force"
        ).format(order=old.order, account=old.account, amount=amount)
    )


def write(memory: CardMemory, offset: int, data: bytes) -> None:
    """Write and read back; CardIoError when the card does not keep it."""
    for _try in range(WRITE_TRIES):
        memory.write(offset, data)
        if memory.read(offset, len(data)) == data:
            return
    raise CardIoError(
        _("the card does not keep what is written: clean its contacts, or replace it")
    )


def give_serial(memory: CardMemory, reopen: Callable[[], CardMemory]) -> str:
    """Give a card without a serial number a random one, which it keeps for ever; return it.

    The reader sees the card as a new one afterwards: `reopen` returns that card.
    """
    if memory.uid not in NAMELESS:
        raise IssueError(
            _("the card has a serial number, {uid}, and keeps it").format(uid=memory.uid)
        )
    serial = secrets.token_bytes(frames.UID_SIZE)
    memory.write(frames.SERIAL_OFFSET, serial)
    ends_s = time.monotonic() + SERIAL_WAIT_S
    while time.monotonic() < ends_s:
        with contextlib.suppress(CardIoError):
            if reopen().uid == serial.hex().upper():
                return serial.hex().upper()
        time.sleep(SERIAL_WAIT_S / 20)
    raise CardIoError(_("the card does not keep a serial number: use cards that have one"))
