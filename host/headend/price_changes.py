"""How many accounts pay other prices once commands are carried out."""

from collections.abc import Sequence

from host.headend.commands import Target
from host.headend.store import Store

# Terms of an account by which its prices change.
_PRICED = (["household"], ["multiplier"])


def priced(store: Store, targets: Sequence[Target]) -> int:
    """Return how many accounts would pay other prices behind these commands."""
    return sum(_priced(store, one.concentrator, one.text.split()) for one in targets)


def _priced(store: Store, concentrator: int, words: list[str]) -> int:
    """Return how many accounts of the concentrator a command changes the prices of."""
    name, told = " ".join(words[:2]), words[2:]
    if name == "account set":
        return int(told[1:2] in _PRICED)
    if name == "account used":
        return 1
    if name == "meter add":
        return _moved(store, told)
    if name == "tariff commit" and told[:1] and told[0].isdecimal():
        return on_tariff(store, int(told[0]), concentrator)
    return 0


def _moved(store: Store, told: list[str]) -> int:
    """Return whether a registration gives an account another tariff, as 0 or 1."""
    if len(told) < 3:
        return 0
    query = "SELECT count(*) FROM meters WHERE account = ? AND active = 1 AND tariff <> ?"
    tariff = int(told[2]) if told[2].isdecimal() else 0
    return min(1, int(store.value(query, (told[1].zfill(12), tariff))))


def on_tariff(store: Store, number: int, concentrator: int) -> int:
    """Return how many meters of the concentrator are billed by a tariff."""
    query = "SELECT count(*) FROM meters WHERE tariff = ? AND active = 1 AND concentrator = ?"
    return int(store.value(query, (number, concentrator)))
