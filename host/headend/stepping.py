"""Steps of pages: what a person has seen still holds when it is confirmed, or nothing is done.

A page shows the newest paper, approval, command or move of cash that there is. Whoever confirms
tells this number, so that an old page, a form that is sent twice, or two people at once change
nothing unseen.
"""

from typing import Any

from host.headend.desk import OPERATIONS, at_desk
from host.headend.errors import StoreError
from host.headend.store import Store
from host.words import _

# What a form is about, and the query of the newest number of it.
PAPERS, ASKED, GIVEN, DRAWER = "papers", "approvals", "commands", "drawer"
_NEWEST = {
    PAPERS: "SELECT max(id) FROM papers WHERE account = ?",
    ASKED: "SELECT max(id) FROM approvals WHERE account = ?",
    GIVEN: "SELECT max(id) FROM commands WHERE account = ?",
    DRAWER: (
        "SELECT max(cash_moves.id) FROM cash_moves JOIN shifts ON shifts.id = cash_moves.shift "
        "WHERE shifts.cashier = ? AND shifts.closed_at IS NULL"
    ),
}
_OPERATIONS = frozenset(
    (
        *("set_household", "exchange_meter", "replace_card", "transfer", "close_account", "undo"),
        *("ask", "give", "close_shift", "move_cash", "set_class"),
    )
)


def newest(store: Store, about: str, key: str) -> int:
    """Return the newest number of what a form is about, 0: there is none."""
    return int(store.value(_NEWEST[about], (key,)) or 0)


@at_desk
def step_seen(
    store: Store, about: str, key: str, seen: int, operation: str, told: dict[str, Any]
) -> Any:
    """Do what a form asks for, unless there is something newer than its page has shown.

    `told` has the values of the operation for JSON; its result is returned for JSON.
    """
    if operation not in _OPERATIONS:
        raise StoreError(_("this form is not one of ours: open the page again"))
    if newest(store, about, key) != seen:
        raise StoreError(
            _("{what} has changed since this page was shown: nothing was done, look again").format(
                what=key if about == DRAWER else _("account {account}").format(account=key)
            )
        )
    return OPERATIONS[operation].run(store, told)
