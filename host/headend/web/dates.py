"""Days in the addresses of pages."""

from datetime import date

from host.headend.web.door import Trouble
from host.units import EPOCH
from host.words import _


def day_of(text: str) -> int:
    """Return a day of the address as days since 2000. Trouble: it is none."""
    try:
        return (date.fromisoformat(text) - EPOCH.date()).days
    except ValueError as error:
        raise Trouble(400, _("{text}: give a day as YYYY-MM-DD").format(text=text)) from error
