"""Use the board's own USB as the console, where a line and the uplink take the UARTs.

    "console": {"usb": true}

The port has its prompt there, so the prompt is locked, with or without a console key. ^C in the
second before board.json was read still gives it, and no port can give its USB another use while it
runs.

A port may wait half a second for a computer that does not read, so nothing is sent to one that
has sent nothing for five seconds.
"""

import select
import sys
import time

from micropython import const

from boards.prompt import Prompt

_CHUNK = const(64)
_HEARD_MS = const(5000)


class Usb(Prompt):
    """A `Channel` on the prompt's own stream."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = 1
        self.waiting = 0
        self._byte = bytearray(1)
        self._heard_ticks = time.ticks_add(time.ticks_ms(), -_HEARD_MS)
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self.lock_prompt(True)

    def look(self) -> None:
        """Update `waiting`; raise KeyboardInterrupt when the prompt was asked for."""
        self.waiting = self._has_byte()
        self.attend()

    def read_into(self, buf: bytearray) -> int:
        """Put the bytes that have arrived into `buf`; return how many."""
        count = 0
        byte = self._byte
        # A read of several bytes would wait for all of them.
        while count < len(buf) and self._has_byte():
            sys.stdin.buffer.readinto(byte)
            buf[count] = byte[0]
            count += 1
        self.waiting = self._has_byte()
        if count:
            self._heard_ticks = time.ticks_ms()
        return count

    def write(self, buf: memoryview) -> int:
        """Send bytes; return how many were accepted, all of them if no computer listens."""
        if time.ticks_diff(time.ticks_ms(), self._heard_ticks) >= _HEARD_MS:
            return len(buf)
        return sys.stdout.buffer.write(buf[:_CHUNK]) or 0

    def close(self) -> None:
        """Count a new connection on the same wires."""
        self.connection += 1

    def _has_byte(self) -> int:
        for _ in self._poll.ipoll(0):
            return 1
        return 0
