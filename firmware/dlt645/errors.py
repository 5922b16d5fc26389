"""Our own misuse as an exception. What a meter refuses is an outcome, never an exception."""


class LocalError(Exception):
    """We used the protocol wrongly: a start while busy, a field out of range."""
