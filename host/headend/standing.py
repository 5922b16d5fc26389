"""The standings: the data of accounts that a concentrator needs when it has lost its books."""

from dataclasses import dataclass
from typing import Any

from host.frames.record import RecordKind, build_payload
from host.headend.posting import NO_ROW, STANDING_COLUMNS
from host.headend.store import Store

UNKNOWN_LINE = -1
_NO_MAC = "00" * 8
_REGISTERS = 8
# The fields of each payload that `account restore` takes, in order.
_SIZES = {RecordKind.STANDING: 48, RecordKind.STANDING_REGISTERS: 42, RecordKind.QUOTA: 16}


@dataclass(frozen=True, slots=True)
class Standing:
    """One account: the fields of its records, and the meter of its registers.

    `tariff` and `line` are those it had; `meter` "": it has none. `line` UNKNOWN_LINE: it came
    from another concentrator, and this one has not told of it yet.
    """

    account: str
    meter: str
    tariff: int
    line: int
    fields: dict[RecordKind, dict[str, Any]]

    @property
    def order(self) -> int:
        """Return the account's newest order."""
        return int(self.fields[RecordKind.STANDING]["order"])

    def told(self, meter: str) -> str:
        """Return what `account restore` takes, for an account that now has `meter`.

        The registers of another meter begin again.
        """
        fields = {kind: dict(of_kind) for kind, of_kind in self.fields.items()}
        for name in ("credit_fen", "debit_fen"):
            fields[RecordKind.STANDING][name] %= 1 << 32
        if meter != self.meter:
            anew = {"registers_wh": [0] * _REGISTERS, "read_t2000": 0}
            fields[RecordKind.STANDING_REGISTERS].update(anew)
        parts = (build_payload(kind, fields[kind])[:size] for kind, size in _SIZES.items())
        return b"".join(parts).hex()


def standings(store: Store, concentrator: int) -> list[Standing]:
    """The standing of each account that a concentrator has, as the head-end knows it."""
    rows = store.rows(_STANDINGS, (concentrator,))
    rows += store.rows(_MOVED_HERE, (UNKNOWN_LINE, concentrator, NO_ROW))
    return [_standing(row) for row in sorted(rows, key=lambda row: str(row["account"]))]


_STANDINGS = """
    SELECT accounts.*, meters.tariff, meters.line FROM accounts
    JOIN meters ON meters.concentrator = accounts.concentrator AND meters.row = accounts.row
    WHERE accounts.concentrator = ? AND meters.active = 1
"""
# The tariff is the one that the former concentrator told last.
_MOVED_HERE = """
    SELECT accounts.*, ? AS line, coalesce((
        SELECT tariff FROM meters WHERE meters.account = accounts.account
        AND meters.address = accounts.meter ORDER BY active DESC, seq DESC LIMIT 1
    ), 0) AS tariff FROM accounts WHERE accounts.concentrator = ? AND accounts."row" = ?
"""


def _standing(row: dict[str, Any]) -> Standing:
    fields = {name: row[name] for name in STANDING_COLUMNS}
    fields |= {
        "header_mac": row["header_mac"] or _NO_MAC,
        "marks": row["guard"] | row["stopped"] << 1,
        "source": 1,
        "state": row["policy"] or 0,
        "relay": row["relay_wanted"],
        "tariff": row["tariff"],
    }
    registers_wh = [*row["registers_wh"], *[0] * _REGISTERS][:_REGISTERS]
    counted = {name: row[name] for name in ("used_wh", "period", "quota", "free")}
    return Standing(
        account=row["account"],
        meter=row["meter"],
        tariff=row["tariff"],
        line=row["line"],
        fields={
            RecordKind.STANDING: fields,
            RecordKind.STANDING_REGISTERS: {
                "registers_wh": registers_wh,
                "read_t2000": row["read_t2000"],
                "power_limit_w": row["power_limit_w"],
                "debt_week": row["debt_week"],
            },
            RecordKind.QUOTA: counted,
        },
    )
