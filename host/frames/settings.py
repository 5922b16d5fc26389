"""The settings of a concentrator as SETTING records name them, from docs/SPEC.md."""

from collections.abc import Mapping
from typing import Any

NAMES = {
    **dict(
        enumerate(
            (
                *("id", "uplink_key", "district", "card_key", "card_key_version"),
                *("operator_order", "console_key", "interval_s", "password", "operator"),
                *("relay_1997", "clock_limit_s", "power_limit_w", "doubt_cut_hours"),
                *("hoarding_limit_fen", "console_key_version", "seed"),
            ),
            1,
        )
    ),
    **dict(
        enumerate(
            (
                *("alarm_1_fen", "alarm_2_fen", "overdraft_fen", "emergency_fen", "close_fen"),
                *("permit_only", "notice_minutes", "no_cut_from_hour", "no_cut_to_hour"),
                *("no_cut_weekdays", "no_cut_from_mmdd", "no_cut_to_mmdd"),
                *("no_cut_until_yymmdd", "grace_1_hours", "grace_1_fen", "grace_2_hours"),
                *("grace_2_fen", "grace_3_hours", "grace_3_fen", "load_limit_w", "load_wait_s"),
                *("debt_percent", "debt_week_limit_fen"),
            ),
            64,
        )
    ),
}
# A greater value of these lets a household have more without paying, or hold more.
CREDITS = frozenset(
    (
        *("overdraft_fen", "emergency_fen", "hoarding_limit_fen", "grace_1_fen", "grace_2_fen"),
        *("grace_3_fen", "grace_1_hours", "grace_2_hours", "grace_3_hours"),
    )
)
# SETTING.form of a number; another value is a secret's hash.
_NUMBER = 1


def name_of(fields: Mapping[str, Any]) -> str:
    """Return the name of the setting that the fields of a SETTING record are about."""
    number = fields["number"]
    return NAMES.get(number, str(number))


def is_secret(fields: Mapping[str, Any]) -> bool:
    """Return whether the fields of a SETTING record are about a key or a password."""
    return bool(fields["form"] != _NUMBER)


def values_of(fields: Mapping[str, Any]) -> tuple[int | str | None, int | str | None]:
    """Return the old and the new value: numbers, or hexadecimal digits of a secret's hash.

    None: the secret is not set, or so short that it could be found from its hash.
    """
    return _value(fields["form"], fields["old"]), _value(fields["form"], fields["new"])


def _value(form: int, digits: str) -> int | str | None:
    octets = bytes.fromhex(digits)
    if form == _NUMBER:
        return int.from_bytes(octets, "little", signed=True)
    return digits if any(octets) else None
