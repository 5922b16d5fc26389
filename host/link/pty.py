"""A console line to a device that is a process on this machine: two ends of a pseudo terminal."""

import contextlib
import os
import select
import tty

from host.link.port import Port, PortError
from host.words import _

READ_SIZE = 4096


class PtyPort(Port):
    """Our end of the line, which outlives the device's restarts.

    name    what the device opens
    handle  our end, to wait for
    """

    def __init__(self) -> None:
        self._ours, self._far = os.openpty()
        self.handle = self._ours
        tty.setraw(self._far)
        os.set_blocking(self._ours, False)
        self.name = os.ttyname(self._far)

    def close(self) -> None:
        """Give both ends up."""
        for handle in (self._ours, self._far):
            with contextlib.suppress(OSError):
                os.close(handle)

    def write(self, data: bytes) -> None:
        """Send all of `data`; PortError when the device takes nothing for seconds."""
        while data:
            try:
                data = data[os.write(self._ours, data) :]
            except BlockingIOError:
                if not select.select([], [self._ours], [], 5.0)[1]:
                    raise PortError(
                        _("{name}: the device reads nothing").format(name=self.name)
                    ) from None

    def read(self, timeout_s: float) -> bytes:
        """Return what arrives within `timeout_s`, as soon as something does; empty: nothing."""
        if not select.select([self._ours], [], [], max(0.0, timeout_s))[0]:
            return b""
        return os.read(self._ours, READ_SIZE)
