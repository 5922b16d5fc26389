"""Goal: whatever the power does while settings, a tariff, readings and a checkpoint are written,
one between the other, nothing that was durable is lost and nothing counts twice.

Method: the whole application on a flash whose power fails at each block operation of such a life,
torn in three ways in turn. After each cut it starts again: every record that was durable is there,
the tables are those that the records alone make, and the settings are the old or the new ones.
"""

from array import array

from concentrator.books.tariffs import name_of
from concentrator.settings import GOOD
from concentrator_world import Bench
from cut_flash import TEARS, Flash, PowerCut, blank, cuts, mounted
from harness import check, equal
from memory_storage import Storage
from prepay.ledger import CHARGED
from tariff_images import ENDLESS, image, ladder, terms
from uplink.record import STATUS_UNKNOWN

METERS = 3
DEARER = image(2, 1, (ladder((), (60000000, 25000000)),), (terms(0, ENDLESS),))


class Life:
    """This is a bench on a flash; `durable_seq` is the newest record reported as durable."""

    def __init__(self) -> None:
        self.bench = bench = Bench(METERS)
        equal(bench.app.settings.change("console_key", "5a" * 16), "")
        bench.read_all()
        bench.insert(bench.card(1, 5000))
        check(bench.save())
        check(bench.app.journal.sync())
        self.wh = [list(meter.wh) for meter in bench.meters]
        self.start_t2000 = bench.app.books.t2000
        self.start = blank()
        storage = mounted(Flash(self.start))
        for name in bench.storage.files:
            data = bench.storage.files[name]
            check(storage.replace(name, data, len(data)), name)
        # The records that follow stand in another segment, so that this one can be deleted.
        check(storage.append((storage.names("j") or [])[-1], b"torn", 4))
        self.durable_seq = 0

    def begin(self, flash: Flash) -> None:
        """Start on this flash with the state that it had before."""
        for index in range(METERS):
            self.bench.meters[index].wh = list(self.wh[index])
        self.bench.storage = mounted(flash)  # type: ignore[assignment]  # another storage
        self.bench.restart()
        self.bench.app.books.t2000 = self.start_t2000
        self.durable_seq = self.bench.app.journal.durable_seq

    def charge(self, index: int, lasts: bool = False) -> None:
        """Charge a reading of the meter's later registers; `lasts` makes what waits durable."""
        bench = self.bench
        app = bench.app
        app.books.t2000 += 60
        wh = bench.meters[index].wh
        wh[0] += 37
        values = array("i", (sum(wh), wh[0], wh[1], 0, 0))
        equal(app.books.charge_reading(index, values, 5, STATUS_UNKNOWN), CHARGED)
        if lasts:
            check(app.journal.sync())
            self.durable_seq = app.journal.durable_seq

    def checkpoint(self, acked_seq: int = -1) -> None:
        """Write a checkpoint, charge between its parts; records up to `acked_seq` are acked."""
        app = self.bench.app
        check(app.keeper.begin())
        part = 0
        while app.checkpoint.busy:
            self.charge(part % 2, part in (3, 9))
            if part == 20:
                # It is the only one behind the record that the checkpoint begins as of.
                self.charge(2)
            app.keeper.step(self.bench.ticks, acked_seq)
            part += 1

    def live(self) -> None:
        """Make all the kinds of writes to the flash, one between the other."""
        app = self.bench.app
        self.charge(0)
        equal(app.settings.change_all([("interval_s", "1800"), ("district", "77")]), "")
        self.checkpoint()
        name = name_of(DEARER)
        app.tariffs.begin(len(DEARER))
        app.tariffs.put(0, DEARER)
        equal(app.tariffs.store(1, name), "")
        check(app.books.set_tariff(1, name, len(DEARER)))
        self.charge(1)
        self.checkpoint()
        check(app.books.set_behind(True))
        self.checkpoint(app.journal.durable_seq)
        self.charge(0)
        app.keeper.step(self.bench.ticks, app.journal.durable_seq)
        check(app.journal.first_seq > 1)
        equal(app.settings.change("interval_s", "900"), "")

    def verify(self, what: object) -> None:
        """Check that everything is there once, and that the records alone make the same tables."""
        app = self.bench.app
        check(app.journal.durable_seq >= self.durable_seq, what)
        equal(app.settings.health, GOOD, what)
        found = app.settings.number("interval_s"), app.settings.number("district")
        check(found in ((900, 4711), (1800, 77), (900, 77)), (what, found))
        check(not app.login.is_open, what)
        check(app.tariffs.find(1) is not None, what)
        tables = self.tables()
        storage = self.bench.storage
        # No checkpoint is used where all records are kept; elsewhere only the newest is left out.
        left_out = storage.names("k") or []
        if app.journal.first_seq > 1:
            left_out = left_out[-1:]
            check(app.checkpoint.older_seq >= app.journal.first_seq - 1, what)
        alone = Storage()
        for name in storage.names("") or ():
            if name not in left_out:
                buf = bytearray(storage.size(name))
                storage.read_into(name, 0, buf, len(buf))
                alone.files[name] = bytes(buf)
        behind = app.books.behind
        self.bench.storage = alone
        self.bench.restart()
        equal((self.tables(), self.bench.app.books.behind), (tables, behind), what)

    def tables(self) -> "list[bytes]":
        """Return money and meters."""
        app = self.bench.app
        columns = app.ledger.columns() + app.registry.columns()
        return [bytes(memoryview(c)) for c in columns if c is not app.registry.freeze_day]


def test_a_cut_at_every_operation() -> None:
    life = Life()
    rehearsal = Flash(bytearray(life.start))
    life.begin(rehearsal)
    first = rehearsal.operations
    life.live()
    operations = rehearsal.operations - first
    check(operations > 60, operations)
    count = 0
    for cut_at in cuts(operations):
        data = bytearray(life.start)
        flash = Flash(data)
        life.begin(flash)
        flash.cut_after(cut_at, TEARS[cut_at % len(TEARS)])
        try:
            life.live()
        except PowerCut:
            count += 1
        life.bench.storage = mounted(Flash(data))  # type: ignore[assignment]  # as after a start
        life.bench.restart()
        life.verify((cut_at, TEARS[cut_at % len(TEARS)]))
    equal(count, len(cuts(operations)))
