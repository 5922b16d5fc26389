"""Goal: a value that could not be set is not taken from the flash either.

Method: files of settings as another build, or damage, may have left them.
"""

from concentrator.settings import Settings
from harness import equal
from memory_storage import Storage


def loaded(content: str) -> Settings:
    """The settings of a flash with this file."""
    storage = Storage()
    storage.files["settings"] = content.encode()
    settings = Settings(storage)
    settings.load()
    return settings


def test_values_out_of_range_keep_their_defaults() -> None:
    default = Settings(Storage())
    for name, values in (
        ("interval_s", ("59", "86401", "-900", "", "x", "9 0", "1e3")),
        ("clock_limit_s", ("2", "301")),
        ("relay_1997", ("2",)),
        ("hoarding_limit_fen", ("0", "100000000")),
        ("password", ("020000", "0200000000", "0200000x")),
        ("uplink_key", ("5a" * 15, "5a" * 65)),
    ):
        for value in values:
            settings = loaded("district=4711\n" + name + "=" + value + "\nid=7\n")
            equal(settings.text(name), default.text(name), name + "=" + value)
            equal((settings.number("district"), settings.number("id")), (4711, 7))


def test_values_at_their_limits_are_taken() -> None:
    settings = loaded("interval_s=60\nclock_limit_s=300\nuplink_key=" + "5a" * 64 + "\n")
    equal((settings.number("interval_s"), settings.number("clock_limit_s")), (60, 300))
    equal(settings.key("uplink_key"), b"\x5a" * 64)


def test_unknown_names_and_broken_lines_are_passed_over() -> None:
    settings = loaded("colour=blue\n=5\ninterval_s\n\nid=7")
    equal(settings.number("id"), 7)
    equal(settings.names(), Settings(Storage()).names())
