"""The household that an address names."""

from typing import Any

from host.headend.web import meters
from host.headend.web.door import Trouble, Visit
from host.units import full_number
from host.words import _


def known(visit: Visit, account: str) -> dict[str, Any]:
    """Return a household by its number. Trouble: there is none."""
    try:
        number = full_number(account)
    except ValueError as error:
        raise Trouble(404, str(error)) from error
    row = meters.household(visit.store, number)
    if row is None:
        raise Trouble(
            404,
            _("there is no account {account}: search for it by name or meter").format(
                account=number
            ),
        )
    return row
