"""The journals of a concentrator: which one is on record, and which took its place."""

from host.headend import audit
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store
from host.words import _

# A journal has fewer records than this: the next one of its concentrator is stored above them.
_NUMBERS = 1 << 32


@at_desk
def replace(store: Store, concentrator: int) -> str:
    """Take the journal that was refused last from now on; return its identity. StoreError.

    One that the concentrator had before goes on where it ended.
    """
    with store.writing() as database:
        rows = database.all(
            "SELECT journal, base, acked_seq, refused_journal FROM concentrators "
            "WHERE concentrator = ?",
            (concentrator,),
        )
        if not rows or not rows[0][3]:
            raise StoreError(
                _(
                    "concentrator {concentrator} has not called with another journal: connect "
                    "the new board and say this again"
                ).format(concentrator=concentrator)
            )
        journal, base, acked_seq, refused = rows[0]
        database.many(
            "INSERT INTO journals (concentrator, base, journal, acked_seq) VALUES (?, ?, ?, ?)",
            [(concentrator, base, journal, acked_seq)],
        )
        known = database.all(
            "SELECT base, acked_seq FROM journals WHERE concentrator = ? AND journal = ?",
            (concentrator, refused),
        )
        newest = database.value(
            "SELECT max(base) FROM journals WHERE concentrator = ?", (concentrator,)
        )
        new_base, new_acked_seq = known[0] if known else (newest + _NUMBERS, 0)
        database.many(
            "DELETE FROM journals WHERE concentrator = ? AND journal = ?",
            [(concentrator, refused)],
        )
        database.many(
            "UPDATE concentrators SET journal = ?, base = ?, acked_seq = ?, epoch = 0, "
            "last_number = 0, refused_journal = '', refused = '' WHERE concentrator = ?",
            [(refused, new_base, new_acked_seq, concentrator)],
        )
        audit.note(database, "replace", concentrator=concentrator, journal=refused)
    return str(refused)
