"""The real head-end in a world: its database and its server's code behind a simulated connection.

The connection is the simulated head-end's (host/sim/headend.py): messages and answers are lost,
late, doubled or broken. `host.headend` takes each message and answers it, on an SQLite file in
memory. The database is copied from time to time, and may be replaced by its last copy.
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from host.frames import batch, record
from host.frames.batch import UplinkError
from host.frames.link import Frame, Kind
from host.frames.record import PAYLOAD_SIZE, Record
from host.headend import commands, journals, ownership
from host.headend.downlink import Downlink
from host.headend.gate import Message
from host.headend.ingest import Ingest, Position
from host.headend.store import Store
from host.sim.clock import Clock
from host.sim.headend import HeadEnd, Inconsistent
from host.units import HOUR_S

# Another concentrator of the same head-end.
OTHER = 8
OTHER_KEY = b"another concentrator's own key.."
_MEMORY = Path("/dev/shm")
_UNIX_OF_2000 = 946_684_800
_ZONE_S = 8 * HOUR_S


# Tables of which each row is of the concentrator that told it.
_OWN_TABLES = ("accounts", "meters", "top_ups", "standings", "relays", "policies", "readings")


class Station(HeadEnd):
    """`host.headend` as the far end of the uplink.

    moved_back  how often the database was replaced by its last copy
    waits       another journal was refused, and a person has to say that it is taken
    wants       it asks for the standing of every account
    replaced    the board was replaced and not restored yet: it may number records as another did
    lent        accounts that a person has given to another concentrator, by mistake
    """

    def __init__(self, clock: Clock, concentrator: int, key: bytes, random: Random) -> None:
        super().__init__(clock, concentrator, key, random=random)
        folder = _MEMORY if _MEMORY.is_dir() else None
        self._folder = TemporaryDirectory(prefix="dianka-world-", dir=folder)
        self._path = Path(self._folder.name) / "station.db"
        self._copy = Path(self._folder.name) / "backup.db"
        self.moved_back = 0
        self.wants = self.replaced = self.waits = False
        self.lent: set[str] = set()
        self._base = 0
        self._newest: Message | None = None  # of this connection
        logging.getLogger("dianka.headend").setLevel(logging.CRITICAL)
        self._open()
        self.back_up()

    def _open(self) -> None:
        self.store = Store(self._path, create=True)
        keys = {self.concentrator: self.key, OTHER: OTHER_KEY}
        self._ingest = Ingest(self.store, keys)
        self._ingest.downlink = Downlink(
            self.store.database, self.unix_s, lambda: self.clock.now_us() / 1e6
        )
        self._update()

    def unix_s(self) -> int:
        """Return the world's time in seconds since 1970, for a station in China."""
        return self.clock.now_t2000() + _UNIX_OF_2000 - _ZONE_S

    def close(self) -> None:
        """Give the connection up."""
        super().close()
        self._newest = None

    def close_down(self) -> None:
        """Close the database and delete it."""
        self.store.close()
        self._folder.cleanup()

    def _answer(self, frame: Frame) -> bytes:
        ingest = self._ingest
        before = ingest.counters.copy()
        answer = b""
        if message := ingest.open(frame, "the world"):
            if ingest.is_new(message):
                self._newest = message
            answer = ingest.turn_away(message) or ingest.again(message)
            answer = answer or ingest.answer_all([message])[0]
            if message.kind == Kind.RESULT and self._happens("doubled_ack"):
                ingest.answer_all([message])
        self.counters.update(self._ingest.counters - before)
        if self._ingest.counters["conflict"] > before["conflict"] and not self.replaced:
            raise Inconsistent("the head-end has another record under a number that came now")
        self._update()
        if not answer and frame.kind != Kind.RESULT:
            raise UplinkError("unanswered", "the head-end refuses without a word")
        return answer

    def give_orders(self) -> None:
        """Send the command that is due, if there is one and the concentrator is connected."""
        downlink = self._ingest.downlink
        downlink.look()
        if self._newest is None:
            return
        order = downlink.order_for(self.concentrator)
        if order is not None and not self._happens("lost_ack"):
            self.counters["commands sent"] += 1
            self._send(self._ingest.gate.give(self._newest, order))

    def _update(self) -> None:
        """Take over the position of the database."""
        own = (self.concentrator,)
        rows = self.store.rows("SELECT * FROM concentrators WHERE concentrator = ?", own)
        self.acked_seq = rows[0]["acked_seq"] if rows else 0
        self.wants = bool(rows and rows[0]["wanted_seq"])
        self.waits = bool(rows and rows[0]["refused_journal"])
        self._base = rows[0]["base"] if rows else 0
        query = "SELECT * FROM gaps WHERE concentrator = ? AND first_seq > ?"
        gaps = self.store.rows(query, (*own, self._base))
        self.told_lost = [
            range(gap["first_seq"] - self._base, gap["last_seq"] + 1 - self._base) for gap in gaps
        ]

    def replace(self) -> None:
        """Take the journal that was refused, as a person says who has exchanged the board."""
        journals.replace(self.store, self.concentrator)
        self._update()

    # --- other boards ----------------------------------------------------------------------------

    def place(self) -> Position:
        """Return where the concentrator's journal is."""
        return self._ingest.positions.get(self.concentrator) or Position()

    def hear(self, kind: int, head: batch.Head, payload: bytes, key: bytes) -> bytes:
        """Take a message of another board; return the answer to it."""
        return self._ingest.answer(
            Frame(kind, head.number & 0xFF, batch.seal_up(kind, head, payload, key)), "another"
        )

    def accounts(self) -> list[str]:
        """Return the accounts that belong to the concentrator."""
        query = "SELECT account FROM accounts WHERE concentrator = ?"
        return [row["account"] for row in self.store.rows(query, (self.concentrator,))]

    def take_back(self, account: str) -> None:
        """Give a lent account back to the concentrator, and post what it told meanwhile."""
        if account in self.lent:
            moved = ownership.move(self.store, account, self.concentrator, "Li", "right")
            self.lent.discard(account)
            self.counters["accounts moved there and back"] += 1
            self.counters["records posted late"] += moved.taken

    def come_back(self) -> None:
        """Take connections again, and every account that was lent."""
        super().come_back()
        for account in sorted(self.lent):
            self.take_back(account)

    def fingerprint(self) -> list[list[tuple[Any, ...]]]:
        """Return all that another board may not change: rows of accounts, money and readings."""
        own = (self.concentrator,)
        return [
            self.store.database.all(f"SELECT * FROM {table} WHERE concentrator = ?", own)
            for table in _OWN_TABLES
        ]

    # --- backups ---------------------------------------------------------------------------------

    def back_up(self) -> None:
        """Copy the database."""
        self.store.close()
        shutil.copy(self._path, self._copy)
        self._open()

    def move_back(self) -> None:
        """Lose the database, put its last copy in its place, and break connections."""
        self.close()
        self.store.close()
        for path in self._path.parent.glob("station.db*"):
            path.unlink()
        shutil.copy(self._copy, self._path)
        self.moved_back += 1
        self._open()
        with self.store.writing(adopting=True) as database:
            commands.note_restored(database, self.unix_s())

    # --- the database ----------------------------------------------------------------------------

    def stored(self) -> Mapping[int, bytes]:
        found = {}
        query = "SELECT * FROM records WHERE concentrator = ? AND seq > ?"
        for row in self.store.rows(query, (self.concentrator, self._base)):
            payload = row["payload"].ljust(PAYLOAD_SIZE, b"\0")
            seq = row["seq"] - self._base
            place = (seq, row["t2000"], row["kind"], row["flags"], row["row"])
            found[seq] = record.build(Record(*place, payload, {}))
        return found

    def books(self) -> dict[int, tuple[int, int]]:
        """Return (credit in fen, debit in 1e-11 yuan) of each account, by its row."""
        found = {}
        query = "SELECT * FROM accounts WHERE concentrator = ?"
        for row in self.store.rows(query, (self.concentrator,)):
            debit_e11 = row["debit_fen"] * 10**9 + row["residue_e7"] * 10_000
            found[row["row"]] = (row["credit_fen"], debit_e11 + row["residue_e11"])
        return found
