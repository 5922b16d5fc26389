"""The head-end's tables.

`records` keeps every record as it came, by (concentrator, seq); all else is derived from it in
the same transaction. Times are t2000: seconds since 2000-01-01, local standard time, as the
device gave them; money is in fen, energy in Wh. `books_fen` is the balance that the records
before a top-up add up to, to be held against the balance the device reported. A refund is an order
and a top-up below 0.
"""

from typing import Any

import sqlalchemy as sa

from host.words import _

metadata = sa.MetaData()


def _key(name: str, kind: Any = sa.Integer) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, nullable=False)


def _later(name: str, kind: Any = sa.Integer, default: str = "0") -> sa.Column[Any]:
    """Return a column that databases of older versions lack; there it has the default."""
    return sa.Column(name, kind, nullable=False, server_default=default)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String, nullable=False)


concentrators = sa.Table(
    "concentrators",
    metadata,
    _key("concentrator"),
    _number("acked_seq"),
    _number("last_number"),
    # Records up to here are missing that no standing has made up for, 0: none are.
    _later("wanted_seq"),
)

records = sa.Table(
    "records",
    metadata,
    _key("concentrator"),
    _key("seq"),
    _number("t2000"),
    _number("kind"),
    _number("flags"),
    _number("row"),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Numbers without a record: host.frames.packing.Reason says why, 0: nobody has said.
gaps = sa.Table(
    "gaps",
    metadata,
    _key("concentrator"),
    _key("first_seq"),
    _number("last_seq"),
    _number("reasons"),
)

meters = sa.Table(
    "meters",
    metadata,
    _key("concentrator"),
    _key("row"),
    _text("address"),
    _text("account"),
    _number("tariff"),
    _number("line"),
    _number("standard"),
    _number("active"),
    _number("speed"),
    _number("seq"),
)

accounts = sa.Table(
    "accounts",
    metadata,
    _key("account", sa.String),
    _number("concentrator"),
    _number("row"),
    _text("meter"),
    _number("credit_fen"),
    _number("debit_fen"),
    _number("residue_e7"),
    _number("residue_e11"),
    _number("used_wh"),
    sa.Column("relay", sa.Integer),  # 0 closed, 1 open, none: not known yet
    sa.Column("policy", sa.Integer),
    _number("readings"),
    sa.Column("last_t2000", sa.Integer),
    # The rest of what a concentrator has to know again once its books are lost.
    _later("order"),
    _later("header_mac", sa.String, ""),
    _later("debt_fen"),
    _later("debt_week"),
    _later("debt_week_fen"),
    _later("household"),
    _later("grade"),
    _later("multiplier", default="1"),
    _later("guard"),
    _later("stopped"),
    _later("doubt"),  # reason of the newest FAULT, until a reading is believed or billing resumed
    _later("corrected_fen"),  # charged too much and put back
    _later("power_limit_w"),
    _later("period"),
    _later("quota"),
    _later("free"),
    _later("since_t2000"),
    _later("relay_wanted"),
    _later("registers_wh", sa.JSON, "[]"),
    _later("read_t2000"),
    _later("untold"),  # the concentrator does not know what it bought, and takes no card of it
)

# Standings as they were told and taken over, or came up.
standings = sa.Table(
    "standings",
    metadata,
    _key("concentrator"),
    _key("seq"),
    _number("t2000"),
    _text("account"),
    _number("source"),
    _number("order"),
    _text("header_mac"),
    _number("credit_fen"),
    _number("debit_fen"),
)

readings = sa.Table(
    "readings",
    metadata,
    _key("day"),
    _key("meter", sa.String),
    _key("t2000"),
    _number("concentrator"),
    _number("seq"),
    _text("account"),
    _number("debit_fen"),
    _number("residue_e7"),
    _number("residue_e11"),
    _number("status"),
    _number("used_wh"),
    sa.Column("registers_wh", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)

top_ups = sa.Table(
    "top_ups",
    metadata,
    _key("concentrator"),
    _key("seq"),
    _number("t2000"),
    _text("account"),
    _number("order"),
    _number("amount_fen"),
    _number("credit_fen"),
    _number("balance_fen"),
    _number("books_fen"),
    _text("uid"),
    _number("source"),
    _number("key_version"),
    _number("repaid_fen"),
    _later("header_mac", sa.String, ""),
)

# Registers as the meters froze them at midnight.
freezes = sa.Table(
    "freezes",
    metadata,
    _key("day"),
    _key("account", sa.String),
    _number("concentrator"),
    _number("seq"),
    _text("meter"),
    sa.Column("registers_wh", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)

relays = sa.Table(
    "relays",
    metadata,
    _key("concentrator"),
    _key("seq"),
    _number("t2000"),
    _text("account"),
    _number("desired"),
    _number("stage"),
    _number("reason"),
    _number("status"),
    _number("balance_fen"),
)

policies = sa.Table(
    "policies",
    metadata,
    _key("concentrator"),
    _key("seq"),
    _number("t2000"),
    _text("account"),
    _number("new"),
    _number("old"),
    _number("reason"),
    _number("balance_fen"),
)

# What meters tell beside their registers; values in units of their lowest digit, null: none.
items = sa.Table(
    "items",
    metadata,
    _key("concentrator"),
    _key("seq"),
    _number("t2000"),
    _text("account"),
    _text("identifier"),
    sa.Column("values", sa.JSON, nullable=False),
)

# Everything else a device reports: faults, cards refused, silent meters, starts, clock settings.
alarms = sa.Table(
    "alarms",
    metadata,
    _key("concentrator"),
    _key("seq"),
    _number("t2000"),
    _text("kind"),
    _text("account"),
    sa.Column("detail", sa.JSON, nullable=False),
)

# What does not fit together, noticed while storing; reconciliation lists it.
findings = sa.Table(
    "findings",
    metadata,
    _key("concentrator"),
    _key("seq"),
    _key("what", sa.String),
)

# Sales of a list by the reference its maker gave each: what was sold once is not sold again.
sales = sa.Table(
    "sales",
    metadata,
    _key("reference", sa.String),
    _text("account"),
    _number("order"),
)

orders = sa.Table(
    "orders",
    metadata,
    _key("account", sa.String),
    _key("order"),
    _number("amount_fen"),
    _text("sold_at"),
)

# What columns were called in databases of older versions.
_OLD_NAMES = {"slot": "row", "rates_wh": "registers_wh"}


def bring_up(connection: sa.Connection) -> None:
    """Make the tables and columns that are missing; give older columns today's names."""
    for table, old in _old_columns(connection):
        names = f"COLUMN {old} TO {_OLD_NAMES[old]}"
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME {names}")
    metadata.create_all(connection)
    for table, column in _missing_columns(connection):
        kind = column.type.compile(connection.dialect)
        default = getattr(column.server_default, "arg", 0)
        change = f"ADD COLUMN \"{column.name}\" {kind} NOT NULL DEFAULT '{default}'"
        connection.exec_driver_sql(f"ALTER TABLE {table} {change}")


def trouble(connection: sa.Connection) -> str:
    """Return why the database cannot be read as it is; "": it can."""
    there = set(sa.inspect(connection).get_table_names())
    if not there >= set(metadata.tables):
        return _("not a head-end's database")
    if any(_old_columns(connection)) or any(_missing_columns(connection)):
        return _("made by an older version: `dianka headend show` brings it up to date")
    return ""


def _old_columns(connection: sa.Connection) -> list[tuple[str, str]]:
    """Return table and name of each column that has an old name."""
    found = sa.inspect(connection)
    return [
        (table, column["name"])
        for table in found.get_table_names()
        if table in metadata.tables
        for column in found.get_columns(table)
        if column["name"] in _OLD_NAMES
    ]


def _missing_columns(connection: sa.Connection) -> list[tuple[str, sa.Column[Any]]]:
    """Return table and column of each column that came later than the database."""
    found = sa.inspect(connection)
    return [
        (name, column)
        for name, table in metadata.tables.items()
        for there in [{one["name"] for one in found.get_columns(name)}]
        for column in table.columns
        if column.name not in there
    ]
