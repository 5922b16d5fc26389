"""Credit accounts: what a redemption reads and writes, and the write-back of a card."""

from struct import pack_into

from card import codes
from card.redemption import BEHIND, UNTOLD
from micropython import const
from prepay import policy as rules
from prepay.accounts import MONEY_LIMIT_FEN, STOPPED
from uplink import record
from uplink.record import JOINED

from concentrator.books import registry as meters
from concentrator.books.supply import Supply

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from array import array

    Bytes = bytes | bytearray | memoryview

_NO_INDEX = const(0xFFFF)
_CARD_RATES = const(4)
_WEEK_S = const(604800)
_EVENTS_WINDOW = const(512)
_NOTES_RESERVES = const(4)  # CARD records leave this many of the journal's reserves free


class Credit(Supply):
    """The part of the books that credits accounts.

    illegal     the counts of cards that were not genuine: codes.ILLEGAL, codes.RECENT
    """

    illegal: "array[int]"
    behind: bool
    hoarding_limit_fen = 0

    def find_account(self, account: "Bytes") -> int:
        """Return the row of the account number, -1: it is unknown here."""
        return self.registry.find_account(account)

    def last_order(self, index: int) -> int:
        """Return the number of the newest order credited; BEHIND or UNTOLD: it is not known."""
        if self.behind:
            return BEHIND
        return self.ledger.order[index] if self.ledger.is_told(index) else UNTOLD

    def is_last_card(self, index: int, header_mac: "Bytes") -> bool:
        """Return whether the newest order credited came with the card of this header MAC."""
        return self.ledger.header_mac_of(index) == header_mac

    def meter_of(self, index: int) -> bytearray:
        """Return the address of the account's meter, wire order."""
        address = bytearray(meters.ADDRESS_SIZE)
        self.registry.address_into(index, address)
        return address

    def judge_credit(self, index: int, amount_fen: int) -> int:
        """Return codes.OK if the account may get `amount_fen`, below 0: if it has it; else why."""
        ledger = self.ledger
        if amount_fen < 0:
            # A residue counts as a whole fen. An account in doubt gets no refund.
            left_fen = ledger.balance_fen(index) + amount_fen
            if ledger.residue_e7[index] or ledger.residue_e11[index]:
                left_fen -= 1
            doubt = ledger.flags[index] & STOPPED
            return codes.NOT_COVERED if doubt or left_fen < 0 else codes.OK
        if ledger.balance_fen(index) + amount_fen > MONEY_LIMIT_FEN:
            return codes.OVERFLOW
        if amount_fen and ledger.balance_fen(index) + amount_fen > self.hoarding_limit_fen:
            return codes.HOARDING
        return codes.OK

    def credit(
        self,
        index: int,
        order: int,
        amount_fen: int,
        uid: "Bytes",
        key_version: int,
        header_mac: "Bytes",
        source: int = record.SOURCE_CARD,
    ) -> bool:
        """Credit an order, below 0 refund it, durable on return; return false if refused.

        `show_card` judges the account then, in another step, because it may write as well.
        """
        ledger = self.ledger
        offset = self._place()
        if offset < 0:
            return False
        # The relay may have been left open by the household before.
        opens = not ledger.order[index] and not self.registry.relay[index] & meters.DESIRED_OPEN
        if opens:
            closed = record.RELAY_CLOSED
            self._write_relay(index, closed, record.STAGE_INTENT, rules.R_TOP_UP, 0, JOINED)
            offset = self.journal.place()
        repaid_fen = self._repaid_fen(index, amount_fen)
        in_week = self._in_week(index, self._time())
        debt_week = ledger.debt_week[index] if in_week else self._time() // _WEEK_S
        debt_week_fen = (ledger.debt_week_fen[index] if in_week else 0) + repaid_fen
        buf = self.journal.buf
        record.put_top_up(
            buf, offset, order, abs(amount_fen), repaid_fen, uid, source, key_version, header_mac
        )
        credit_fen = ledger.credited_fen(index, amount_fen)
        balance_fen = ledger.balance_fen(index) + amount_fen - repaid_fen
        debt_fen = ledger.debt_fen[index] - repaid_fen
        record.put_top_up_result(
            buf, offset, credit_fen, balance_fen, debt_fen, debt_week, debt_week_fen
        )
        self.journal.add(self._time(), record.TOP_UP if amount_fen >= 0 else record.REFUND, index)
        if not self._settle(2 if opens else 1):
            return False
        if opens:
            self._want_relay(index, record.RELAY_CLOSED)
        ledger.top_up(index, order, amount_fen, repaid_fen)
        ledger.debt_week[index] = debt_week
        ledger.debt_week_fen[index] = debt_week_fen
        ledger.set_header_mac(index, header_mac)
        return True

    def tier_of(self, index: int) -> int:
        """Return the tier from 0 on that the account has reached; 0 also without a tariff."""
        tariff = self.tariffs.find(self.registry.tariff[index])
        return self.ledger.tier_of(index, tariff) if tariff is not None else 0

    def fill_write_back(self, index: int, buf: bytearray, offset: int) -> None:
        """Fill the account's fields of a write-back, whose layout is in card/image.py."""
        ledger = self.ledger
        balance_fen = ledger.balance_fen(index)
        relay = 1 if self.registry.relay[index] & meters.DESIRED_OPEN else 0
        pack_into("<BB", buf, offset + 2, ledger.state[index], relay)
        pack_into(
            "<IiI", buf, offset + 4, ledger.order[index], balance_fen, ledger.credit_fen[index]
        )
        pack_into("<II", buf, offset + 16, max(0, -balance_fen), ledger.used_wh[index])
        tariff = self.tariffs.find(self.registry.tariff[index])
        rates = min(tariff.registers, _CARD_RATES) if tariff is not None else 0
        pack_into("<BB", buf, offset + 24, self.tier_of(index), rates)
        for rate in range(_CARD_RATES):
            at = index * ledger.rates_limit + rate
            wh = ledger.registers_wh[at] if rate < rates else 0
            pack_into("<I", buf, offset + 28 + 4 * rate, wh)
        pack_into("<I", buf, offset + 48, self.number)

    def note_card(
        self,
        code: int,
        index: int,
        order: int,
        amount_fen: int,
        uid: "Bytes",
        account: "Bytes",
    ) -> None:
        """Record a refused card for the head-end and for the counts after a restart.

        It is left out while room is short, so that refused cards cannot fill the journal.
        """
        offset = self._place()
        if self.journal.room < _NOTES_RESERVES * self.journal.reserve_blocks or offset < 0:
            return
        buf = self.journal.buf
        record.put_card(buf, offset, code, order, amount_fen, uid, account, self.illegal)
        self.journal.add(self._time(), record.CARD, index & _NO_INDEX)

    def event_before(self, index: int, seq: int, buf: bytearray) -> int:
        """Read the account's newest record before `seq` into `buf`; return its seq, 0: none.

        It looks back over a few hundred records only.
        """
        journal = self.journal
        seq = min(seq, journal.durable_seq + 1)
        found = journal.find_before(index, seq, seq - _EVENTS_WINDOW)
        return found if found and journal.read_into(found, buf) else 0

    def _repaid_fen(self, index: int, amount_fen: int) -> int:
        """Return the part of a top-up that repays debt; a negative balance is covered first."""
        ledger = self.ledger
        amount_fen = max(0, amount_fen + min(0, ledger.balance_fen(index)))
        week_fen = ledger.debt_week_fen[index] if self._in_week(index, self._time()) else 0
        return self.policy.repaid_fen(amount_fen, ledger.debt_fen[index], week_fen)

    def _in_week(self, index: int, t2000: int) -> bool:
        """Return whether the week of the account's last repayment still counts.

        It also counts without a clock, and if the clock was set back into the week before.
        """
        return t2000 == 0 or 0 <= self.ledger.debt_week[index] - t2000 // _WEEK_S <= 1

    def _replay_card(self, buf: bytearray, index: int) -> None:
        self.illegal[codes.ILLEGAL], self.illegal[codes.RECENT] = record.card_at(buf, 0)

    def _replay_top_up(self, buf: bytearray, index: int) -> None:
        self.ledger.set_money(index, *record.top_up_at(buf, 0))
        self.ledger.set_header_mac(index, record.top_up_mac_at(buf, 0))
