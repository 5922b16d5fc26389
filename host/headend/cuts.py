"""What a cut by order needs before it is given: a reason, a delivered notice, no protection.

The concentrator judges the notice and the protection again, by its own clock and its own tables.
This is the head-end's part: the evidence is written down with the command, and a notice is not
good for ever.
"""

from datetime import datetime

from host.headend import notices
from host.headend.database import Database
from host.headend.errors import StoreError
from host.headend.store import Store, zone_of
from host.units import DAY_S, t2000_of_unix, to_datetime, to_t2000
from host.words import _

# A notice justifies a cut for so many days.
NOTICE_DAYS = 90


def lawful_cut(account: str, notice: datetime) -> str:
    """Return the command that cuts an account whose notice was delivered at that moment."""
    return f"supply {account} cut {notice:%Y-%m-%d %H:%M:%S}"


def recorded_notice(store: Store, account: str) -> datetime:
    """Return when the newest notice before a cut arrived, on the station's clock.

    StoreError: none has that is known of. One of which nobody knows whether it arrived has not.
    """
    with store.database.looking():
        ended_at, state = notices.proof_of(store.database, account)
    if ended_at is None and not state:
        raise StoreError(
            _(
                "account {account} was sent no notice before a cut: send one by `dianka headend "
                "notices tell`, or say when another one was delivered"
            ).format(account=account)
        )
    if ended_at is None:
        raise StoreError(
            _(
                "the notice before a cut to account {account} is no proof, it is: {state}. Send "
                "it again, or say when another one was delivered"
            ).format(account=account, state=_(state))
        )
    return to_datetime(t2000_of_unix(ended_at, store.zone()))


def doubt_of(store: Store, account: str) -> str:
    """Return what the record of deliveries lacks for a moment that a person has told, "": nothing.

    The person answers for it: the command keeps the moment, the name and the reason.
    """
    try:
        recorded_notice(store, account)
    except StoreError:
        return _(
            "account {account}: no notice before a cut is recorded as delivered; the reason has "
            "to say how it was"
        ).format(account=account)
    return ""


def expiry_of(database: Database, text: str, reason: str, at: int, expires_at: int) -> int:
    """Return when a command given `at` that moment expires: a cut with its notice at the latest.

    StoreError: the cut lacks what the law asks for.
    """
    words = text.split()
    if words[:1] != ["supply"] or words[2:3] != ["cut"]:
        return expires_at
    account = words[1].zfill(12)
    if not reason.strip():
        raise StoreError(
            _("a cut needs a reason: why, and how the notice was delivered (--reason)")
        )
    notice_t2000 = _notice_t2000(words[3:])
    is_guarded = database.value("SELECT guard FROM accounts WHERE account = ?", (account,))
    if is_guarded:
        raise StoreError(
            _("account {account} is protected: its supply is not cut").format(account=account)
        )
    age_s = t2000_of_unix(at, zone_of(database)) - notice_t2000
    left_s = NOTICE_DAYS * DAY_S - age_s
    if age_s < 0:
        raise StoreError(
            _("the notice to account {account} is still to come: deliver it first").format(
                account=account
            )
        )
    if left_s <= 0:
        raise StoreError(
            _("the notice to account {account} is {days} days old: deliver another one").format(
                account=account, days=age_s // DAY_S
            )
        )
    return min(expires_at, at + left_s)


def _notice_t2000(words: list[str]) -> int:
    try:
        return to_t2000(datetime.strptime(" ".join(words), "%Y-%m-%d %H:%M:%S"))
    except ValueError as error:
        raise StoreError(
            _("a cut needs its notice: supply ACCOUNT cut YYYY-MM-DD hh:mm:ss, when delivered")
        ) from error
