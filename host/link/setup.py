"""What a technician does when a concentrator is put up, over its console."""

from collections.abc import Mapping

from host.frames import tariff
from host.link.console import Console

PART_SIZE = 96


def send_settings(console: Console, settings: Mapping[str, str]) -> None:
    """Set every name to its value; ConsoleError says which one was refused and why."""
    for name, value in settings.items():
        console.command(f"set {name} {value}")


def send_tariff(console: Console, number: int, image: bytes) -> None:
    """Load a tariff's image and put it in force under `number`."""
    for text in tariff.commands(image, number, PART_SIZE):
        console.command(text)


def fields_of(lines: list[str]) -> dict[str, str]:
    """Return an answer of `name value` lines by name."""
    return dict(line.split(" ", 1) for line in lines if " " in line)
