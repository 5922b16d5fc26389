"""A card in a PC/SC reader: a CPU card with a file for the image. Needs the extra `pcsc`.

    SELECT 3F00, DF01, 0081, then READ BINARY and UPDATE BINARY

61xx is answered with GET RESPONSE, 6Cxx by asking again, as T=0 wants it. The serial number is
the reader's (FF CA), or the last 8 historical bytes of the ATR.
"""

import contextlib
import time
from typing import Any

from host.frames.card import CARD_SIZE, UID_SIZE
from host.installed import how_to_add
from host.link.card import CardIoError
from host.words import _

PATH = (bytes.fromhex("3F00"), bytes.fromhex("DF01"), bytes.fromhex("0081"))
CHUNK = 128
ROUNDS_LIMIT = 8
WAIT_S = 30.0
_POLL_S = 0.05
_DONE = 0x9000


class PcscCard:
    """The card in a reader, connected; CardIoError when it does not answer any more."""

    def __init__(self, reader_name: str = "", wait_s: float = 0.0) -> None:
        """`reader_name`: a part of it, else the first reader with a card. Waits for a card."""
        self._uid = ""
        ends_s = time.monotonic() + wait_s
        while True:
            self._connection = _connect(reader_name)
            try:
                if self._connection is None:
                    raise CardIoError(_("no card in the reader: insert one"))
                self._open()
                return
            except _Refused:
                self.close()
                raise
            except CardIoError:
                # The service notices late that a card was pulled, or another one put in.
                self.close()
                if time.monotonic() >= ends_s:
                    raise
            time.sleep(_POLL_S)

    @property
    def uid(self) -> str:
        """Return the serial number, padded with zeros."""
        return self._uid

    @property
    def size(self) -> int:
        """Return how many bytes of the file are used."""
        return CARD_SIZE

    def read(self, offset: int, size: int) -> bytes:
        """Read with READ BINARY, as often as it takes."""
        data = b""
        while len(data) < size:
            count = min(CHUNK, size - len(data))
            at = offset + len(data)
            part = self._transmit(bytes((0x00, 0xB0, at >> 8, at & 0xFF, count)))
            if len(part) != count:
                raise CardIoError(
                    _("the card gave {part} bytes of {count} asked for").format(
                        part=len(part), count=count
                    )
                )
            data += part
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Write with UPDATE BINARY, as often as it takes."""
        for start in range(0, len(data), CHUNK):
            part = data[start : start + CHUNK]
            at = offset + start
            self._transmit(bytes((0x00, 0xD6, at >> 8, at & 0xFF, len(part))) + part)

    def close(self) -> None:
        """Let the card go."""
        if self._connection is not None:
            from smartcard.Exceptions import SmartcardException

            connection, self._connection = self._connection, None
            for let_go in (connection.disconnect, connection.release):
                with contextlib.suppress(SmartcardException):
                    let_go()

    def _open(self) -> None:
        """Select the file and learn the serial number."""
        for name in PATH:
            self._transmit(bytes((0x00, 0xA4, 0x00, 0x00, len(name))) + name)
        self._uid = self._read_uid()

    def _read_uid(self) -> str:
        try:
            uid = self._transmit(bytes.fromhex("FFCA000000"))
        except _Refused:
            uid = _historical(bytes(self._connection.getATR()))
        if not uid:
            raise CardIoError(_("the card has no serial number to bind an order to"))
        return uid[:UID_SIZE].ljust(UID_SIZE, b"\0").hex().upper()

    def _transmit(self, command: bytes) -> bytes:
        """Return the answer to one command; _Refused holds the card's status word."""
        from smartcard.Exceptions import SmartcardException

        answer = b""
        for _round in range(ROUNDS_LIMIT):
            try:
                data, high, low = self._connection.transmit(list(command))
            except SmartcardException as error:
                raise CardIoError(_("the card does not answer: was it pulled?")) from error
            answer += bytes(data)
            if high == 0x61:
                command = bytes((0x00, 0xC0, 0x00, 0x00, low))
            elif high == 0x6C:
                command = command[:4] + bytes((low,))
            elif high << 8 | low == _DONE:
                return answer
            else:
                raise _Refused(
                    _("the card refuses {command}: {high:02X}{low:02X}").format(
                        command=command[:4].hex(" "), high=high, low=low
                    )
                )
        raise CardIoError(_("the card does not come to an end"))


class _Refused(CardIoError):
    """The card answered with a status word that is no success."""


def _historical(atr: bytes) -> bytes:
    """Return the last 8 of the ATR's historical bytes, as far as there are."""
    count = atr[1] & 0x0F
    indicated = atr[1] >> 4
    at = 2
    has_check = False
    while indicated:
        at += (indicated & 1) + (indicated >> 1 & 1) + (indicated >> 2 & 1)
        if not indicated & 8 or at >= len(atr):
            break
        has_check = has_check or atr[at] & 0x0F != 0
        indicated = atr[at] >> 4
        at += 1
    return atr[at : at + count][-UID_SIZE:]


def _connect(reader_name: str) -> Any:
    """Return a connection to the first card found, None where there is none."""
    try:
        from smartcard.Exceptions import SmartcardException
        from smartcard.pcsc.PCSCExceptions import BaseSCardException
        from smartcard.System import readers
    except ImportError as error:
        raise CardIoError(
            _("PC/SC needs pyscard; install it with: {install}").format(install=how_to_add("pcsc"))
        ) from error
    try:
        found = readers()
    except (SmartcardException, BaseSCardException) as error:
        raise _Refused(
            _("PC/SC does not answer: {error}; is pcscd running?").format(error=error)
        ) from error
    wanted = [one for one in found if reader_name.lower() in str(one).lower()]
    if not wanted:
        names = ", ".join(map(str, found)) or _("none")
        raise _Refused(
            _("no reader {reader_name!r}; there are: {names}").format(
                reader_name=reader_name, names=names
            )
        )
    for one in wanted:
        connection = one.createConnection()
        try:
            connection.connect()
        except SmartcardException:
            continue
        return connection
    return None
