"""Write records into the journal, and those that only the head-end needs.

The writer joins the records of a group. `_place` makes room for a whole group, and `_settle` makes
it durable or takes it back.
"""

from array import array
from hashlib import sha256
from struct import unpack

from micropython import const
from uplink import record

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from prepay.ledger import Ledger
    from prepay.policy import Policy

    from concentrator.books.registry import Registry
    from concentrator.books.tariffs import Tariffs
    from concentrator.storage.journal import Journal

_JOINED_LIMIT = const(5)
# A greater change of the clock restarts the waits of all accounts.
_STEP_S = const(60)


class Entries:
    """The journal and the tables that its records change.

    t2000       the time in seconds since 2000, -1: unknown; each step of the app sets it
    number      the number of this concentrator, 0: not set
    refused     the count of readings, freezes and items that found no room
    product     stage, greatest counter and SHA-256 (two numbers) of the product recorded last
    """

    def __init__(
        self,
        journal: "Journal",
        registry: "Registry",
        ledger: "Ledger",
        tariffs: "Tariffs",
        policy: "Policy",
    ) -> None:
        self.journal = journal
        self.registry = registry
        self.ledger = ledger
        self.tariffs = tariffs
        self.policy = policy
        self.t2000 = -1
        self.number = 0
        self.refused = 0
        self.product = array("I", bytes(16))
        self._product = (0, 0, b"", b"")
        # The newest command of the head-end, see concentrator/console/remote.py.
        self.commands = array("I", (0, 0, 0))

    def note_line(self, index: int, state: int, failures: int, ahead_s: int = 0) -> None:
        """Record that a meter fell silent, or answers again, or that its clock is wrong."""
        offset = self._place()
        if offset >= 0:
            record.put_line(self.journal.buf, offset, state, failures, ahead_s)
            self.journal.add(self._time(), record.LINE, index)

    def note_item(self, index: int, identifier: int, values: "array[int]", count: int) -> None:
        """Record an item of a meter, unless room is short."""
        offset = self._place()
        if self.journal.is_short or offset < 0:
            self.refused += 1
            return
        record.put_item(self.journal.buf, offset, identifier, values, count)
        self.journal.add(self._time(), record.ITEM, index)

    def set_clock(self, new_t2000: int, source: int) -> None:
        """Set the time to `new_t2000`, from a source of concentrator/timekeeper.py."""
        old_t2000 = self._time()
        offset = self._place()
        if offset >= 0:
            record.put_clock(self.journal.buf, offset, old_t2000, new_t2000, source)
            self.journal.add(new_t2000, record.CLOCK, 0)
            self.journal.sync()
        self.t2000 = new_t2000
        self._apply_clock(old_t2000, new_t2000)

    def _apply_clock(self, old_t2000: int, new_t2000: int) -> None:
        """Restart the waits of the policy, so that a step of the clock does not end them."""
        stepped = old_t2000 > 0 and abs(new_t2000 - old_t2000) > _STEP_S
        since_t2000 = self.ledger.since_t2000
        for index in range(self.registry.count):
            if stepped or not 0 < since_t2000[index] <= new_t2000:
                since_t2000[index] = new_t2000

    def note_start(self, lost: int, settings: int, reset_cause: int) -> None:
        """Record that the concentrator has started; `settings` is the health of the settings.

        `lost` is the count of records that neither the journal nor a checkpoint has.
        """
        offset = self._place()
        if offset >= 0:
            journal = self.journal
            record.put_start(
                journal.buf,
                offset,
                journal.first_seq,
                lost,
                journal.rotten,
                settings,
                reset_cause,
            )
            self.journal.add(self._time(), record.START, 0)

    def note_event(self, what: int, state: int, value: int = 0) -> None:
        """Record an EVENT, unless only money and relays may take room."""
        journal = self.journal
        offset = self._place()
        if offset >= 0 and not journal.is_short:
            record.put_event(journal.buf, offset, what, state, value)
            journal.add(self._time(), record.EVENT, record.NO_INDEX)

    def note_product(self, product: "tuple[int, int, bytes, bytes]", is_on_trial: bool) -> None:
        """Record the product that has started, if it is another one than before.

        `product` is slot, counter, 8 bytes of SHA-256 and version, as in FIRMWARE; without a
        SHA-256 it is known by its version.
        """
        slot, counter, digest, version = product
        digest = digest or sha256(version).digest()[:8]
        self._product = (slot, counter, digest, version)
        stage, _, low, high = self.product
        if (low, high) == unpack("<II", digest):
            return
        if is_on_trial:
            self._put_product(record.FIRMWARE_ON_TRIAL)
        elif stage == record.FIRMWARE_ON_TRIAL or counter < self.product[1]:
            self._put_product(record.FIRMWARE_BACK)
        else:
            self._put_product(record.FIRMWARE_INSTALLED)

    def note_healthy(self) -> None:
        """Record that the product which was on trial is healthy."""
        if self.product[0] == record.FIRMWARE_ON_TRIAL:
            self._put_product(record.FIRMWARE_HEALTHY)

    def _put_product(self, stage: int) -> None:
        offset = self._place()
        if offset >= 0:
            journal = self.journal
            record.put_firmware(journal.buf, offset, stage, self._product)
            self._apply_product(record.firmware_at(journal.buf, offset))
            journal.add(self._time(), record.FIRMWARE, record.NO_INDEX)

    def _replay_firmware(self, buf: bytearray, index: int) -> None:
        self._apply_product(record.firmware_at(buf, 0))

    def _apply_product(self, told: "tuple[int, int, int, int]") -> None:
        """Keep the product that was recorded; its counter never falls."""
        product = self.product
        greatest = max(product[1], told[1])
        for place in range(len(told)):
            product[place] = told[place]
        product[1] = greatest

    def note_login(
        self,
        result: int,
        right: int,
        version: int,
        failures: int,
        session: int,
        channel: int,
    ) -> None:
        """Record that a session was opened or ended, or a login refused."""
        offset = self._place()
        if offset >= 0:
            put = record.put_login
            put(self.journal.buf, offset, result, right, version, channel, failures, session)
            self.journal.add(self._time(), record.LOGIN, record.NO_INDEX)
        if channel == record.OF_PROMPT:
            self.journal.sync()  # the program ends now

    def note_settings(
        self,
        changes: "list[tuple[int, int, bytes, bytes]]",
        source: int = record.OF_CONSOLE,
        uid: bytes = bytes(8),
    ) -> bool:
        """Record changes of settings before they are made; return whether that is durable.

        A change is number, form, and 8 bytes each of the old and the new value.
        """
        if self.journal.place(len(changes)) < 0:
            return False
        self._put_settings(changes, source, uid)
        return self._settle(len(changes))

    def note_left(self, changes: "list[tuple[int, int, bytes, bytes]]") -> bool:
        """Record changes that were made at the prompt, as note_settings."""
        return self.note_settings(changes, record.OF_PROMPT)

    def _put_settings(
        self, changes: "list[tuple[int, int, bytes, bytes]]", source: int, uid: bytes
    ) -> None:
        """Add records of the changes; there is room for them."""
        journal = self.journal
        for change in changes:
            record.put_setting(journal.buf, journal.place(), source, change, uid)
            journal.add(self._time(), record.SETTING, record.NO_INDEX)

    def note_operator(
        self,
        kind: int,
        version: int,
        number: int,
        uid: bytes,
        changes: "list[tuple[int, int, bytes, bytes]]",
    ) -> bool:
        """Record an operator's card with its changes before they are made, as note_settings."""
        if self.journal.place(len(changes) + 1) < 0:
            return False
        record.put_operator_card(
            self.journal.buf, self.journal.place(), kind, version, number, uid
        )
        self.journal.add(self._time(), record.OPERATOR_CARD, record.NO_INDEX)
        self._put_settings(changes, record.OF_OPERATOR_CARD, uid)
        return self._settle(len(changes) + 1)

    def note_command(self, fields: "tuple[int, int, int, int]", name: bytes, text: bytes) -> bool:
        """Record a command of the head-end, durable on return; return false if refused.

        `fields` are its number, stage, outcome and t2000 of expiry, `name` is its SHA-256.
        """
        offset = self._place()
        if offset < 0:
            return False
        record.put_command(self.journal.buf, offset, fields, name, text)
        self.journal.add(self._time(), record.COMMAND, record.NO_INDEX)
        if not self._settle(1):
            return False
        number, stage, outcome, _ = fields
        self._set_command(number, stage, outcome, record.u32_at(name, 0))
        return True

    def _set_command(self, number: int, stage: int, outcome: int, name: int) -> None:
        self.commands[0] = number
        self.commands[1] = stage | outcome << 8
        self.commands[2] = name

    def _replay_command(self, buf: bytearray, index: int) -> None:
        self._set_command(*record.command_at(buf, 0))

    def _time(self) -> int:
        return max(self.t2000, 0)

    def _place(self) -> int:
        """Return the offset of a group's first record, -1: no room for the whole group."""
        return self.journal.place(_JOINED_LIMIT)

    def _settle(self, count: int) -> bool:
        """Make the newest `count` records durable; if that fails, take them back, return false."""
        if self.journal.sync():
            return True
        # Joined records become durable together: either all of them wait, or none.
        if self.journal.count < count:
            return True
        self.journal.withdraw(count)
        return False
