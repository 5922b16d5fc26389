"""Define the exception for misuse. A meter's refusal is an outcome, never an exception."""


class LocalError(Exception):
    """The caller misused the protocol: a start while busy, or a field out of range."""
