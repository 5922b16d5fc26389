"""Check the head-end's records of a simulated world, at the end and after each reconnection.

journal     what it was given is what stands in the journal, number for number
let go      what the concentrator may let go before the head-end has it: never money, and
            nothing at all while its flash has room and tells what is stored
books       credit and debit of each account are those of the concentrator, to 1e-11 yuan
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from host.frames.record import MONEY_KINDS, Record, RecordKind
from host.sim.headend import HeadEnd
from host.world.checks.account import Account, Order, Violation
from host.world.station import Station

if TYPE_CHECKING:
    from concentrator.app import App

_KIND_AT = 8


class Above:
    """The comparison of `headend` with the concentrator; None: there is no head-end.

    acked_seq   the newest record that was ever acknowledged
    short       the flash has little room: records may be let go, and are told
    """

    def __init__(self, headend: HeadEnd | None, short: bool) -> None:
        self.acked_seq = 0
        self._headend = headend
        self._short = short
        self._compared_seq = 0
        self._newest_seq: dict[int, int] = {}
        self._was_restored = False

    def look(self, first_seq: int) -> None:
        """Check after a step that no record was deleted which the head-end lacks."""
        headend = self._headend
        if headend is None:
            return
        if headend.acked_seq > self.acked_seq:
            self.acked_seq = headend.acked_seq
        if first_seq > self.acked_seq + 1 and not self._short:
            raise Violation(
                "head-end",
                f"the journal begins at {first_seq}, the head-end has {self.acked_seq}",
            )

    def note(self, one: Record) -> None:
        """Note a record that became durable."""
        if one.kind == RecordKind.READING:
            self._newest_seq[one.index] = one.seq

    def begin_anew(self) -> None:
        """Note that the board was replaced and restored: the next readings tell the debits."""
        self._was_restored = True
        self._newest_seq.clear()

    def compare(self, app: "App", accounts: Mapping[int, Account]) -> None:
        """Compare the head-end's books with the concentrator's, once it has every record."""
        headend = self._headend
        if not isinstance(headend, Station) or app.journal.count or headend.wants or headend.lent:
            return  # it has asked for the records that it lacks, or they wait
        acked_seq = headend.acked_seq
        if acked_seq == self._compared_seq or acked_seq != app.journal.durable_seq:
            return
        self._compared_seq = acked_seq
        books = headend.books()
        told_lost = {seq for told in headend.told_lost for seq in told}
        for index, account in accounts.items():
            newest_seq = self._newest_seq.get(index)
            if newest_seq in told_lost or (self._was_restored and newest_seq is None):
                continue  # the next reading has it
            right = (account.credit_fen, account.debit_e11)
            if books.get(index, (0, 0)) != right:
                raise Violation(
                    "books",
                    f"after record {acked_seq} the head-end has credit and debit "
                    f"{books.get(index)} of account {index}, the concentrator {right}",
                )

    def has_all(self, app: "App") -> bool:
        """Return whether the head-end has all that is durable, and the concentrator knows it."""
        wants = isinstance(self._headend, Station) and self._headend.wants
        return not wants and app.uplink.acked_seq == app.journal.durable_seq

    def finish(self, app: "App", raw: Mapping[int, bytes], rotten: set[int]) -> None:
        """Check at the end that it has every record but those that were rightly let go."""
        headend = self._headend
        if headend is None:
            return
        durable_seq = app.journal.durable_seq
        if headend.acked_seq != durable_seq:
            raise Violation("head-end", f"it has {headend.acked_seq} of {durable_seq} records")
        if isinstance(headend, Station) and headend.wants:
            raise Violation("books", "the head-end still lacks the standing of accounts")
        told_lost = {seq for told in headend.told_lost for seq in told}
        stored = headend.stored()
        for seq, one in raw.items():
            if seq in stored:
                if stored[seq] != one:
                    raise Violation("head-end", f"its record {seq} is not the journal's")
            elif seq not in told_lost:
                raise Violation("head-end", f"it lacks record {seq}, and was not told so")
            elif not self._may_lack(seq, one, rotten):
                raise Violation("head-end", f"record {seq} was let go: {one.hex()}")

    def _may_lack(self, seq: int, raw: bytes, rotten: set[int]) -> bool:
        """Return whether the concentrator may have let the record go unsent."""
        if seq <= self.acked_seq and isinstance(self._headend, Station):
            return self._headend.moved_back > 0  # it had it, and lost it
        return seq in rotten or (self._short and raw[_KIND_AT] not in MONEY_KINDS)

    def finish_money(
        self, accounts: Mapping[int, Account], sold: Mapping[tuple[int, int], Order]
    ) -> None:
        """Check that the head-end has all money that was paid at the counter and redeemed."""
        if not isinstance(self._headend, Station):
            return
        paid_fen = sum(
            order.amount_fen
            for (index, number), order in sold.items()
            if number <= accounts[index].order
        )
        credit_fen = sum(credit for credit, _ in self._headend.books().values())
        paid_fen += sum(account.corrected_fen for account in accounts.values())
        if credit_fen != paid_fen:
            raise Violation("books", f"{paid_fen} fen were paid, the head-end has {credit_fen}")
        debit_e11 = sum(debit for _, debit in self._headend.books().values())
        right_e11 = sum(account.debit_e11 for account in accounts.values())
        if debit_e11 != right_e11:
            raise Violation(
                "books", f"the head-end has charged {debit_e11} e-11 yuan, not {right_e11}"
            )
