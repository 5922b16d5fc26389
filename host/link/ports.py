"""Serial ports of this computer that something is plugged into, and which of them fits a use."""

from dataclasses import dataclass

from serial.tools import list_ports

from host.words import _, marked

# Vendors of USB that make boards: Raspberry Pi, Espressif, STMicroelectronics, MicroPython.
_BOARDS = frozenset((0x2E8A, 0x303A, 0x0483, 0xF055))
BOARD = marked("board")
CONVERTER = marked("converter")


class NoPortError(Exception):
    """No port fits, or several; the message lists them."""


@dataclass(frozen=True, slots=True)
class Found:
    """A port: its name, what it says that it is, and its kind: BOARD or CONVERTER."""

    name: str
    text: str
    kind: str


def found() -> list[Found]:
    """Return the ports that a device of USB has, by their names."""
    ports = (one for one in list_ports.comports() if one.vid is not None)
    return sorted(
        (
            Found(
                one.device,
                str(one.product or one.description or ""),
                BOARD if one.vid in _BOARDS else CONVERTER,
            )
            for one in ports
        ),
        key=lambda one: one.name,
    )


def of_console() -> Found:
    """Return the only port that may be a concentrator's console; NoPortError.

    Where there are boards with USB of their own, converters are none.
    """
    ports = found()
    return _only([one for one in ports if one.kind == BOARD] or ports)


def of_meters() -> Found:
    """Return the only port that may be a line of meters: a converter's; NoPortError."""
    return _only([one for one in found() if one.kind == CONVERTER])


def _only(ports: list[Found]) -> Found:
    if len(ports) == 1:
        return ports[0]
    if not ports:
        raise NoPortError(_("no such device is plugged in: plug it in, or give --port"))
    names = ", ".join(f"{one.name} ({one.text})" for one in ports)
    raise NoPortError(
        _("several ports may be meant, give one by --port: {names}").format(names=names)
    )
