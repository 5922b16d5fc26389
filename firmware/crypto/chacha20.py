"""The ChaCha20 stream cipher.

On CPython `xor_into` is the one of host/shim/fast_chacha20.py, so that worlds and benches do not
pay for bytecode. Spec: RFC 8439 section 2.4.
"""

import micropython
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:

    class ptr8(bytearray):
        """A pointer to bytes, as viper has it."""

        def __init__(self, buf: object) -> None: ...

    class ptr32(bytearray):
        """A pointer to words of 32 bits."""

    uint = int

_CONSTANTS = b"expand 32-byte k"
_CHACHA_STATE_SIZE = const(64)
# Bits by which a quarter round turns words: 16, 12, 8 and 7.
_TURNS = const(0x3A190)

try:
    from fast_chacha20 import xor_into as xor_into
except ImportError:
    # The state of a block, and behind it the words that become its key stream.
    _words = bytearray(2 * _CHACHA_STATE_SIZE)

    def xor_into(
        key: "bytes | bytearray | memoryview",
        nonce: "bytes | bytearray",
        buf: "bytearray | memoryview",
        start: int,
        end: int,
    ) -> None:
        """Encrypt or decrypt `buf[start:end]` in place, from block 0 of the key stream on.

        `key` is 32 bytes, `nonce` 12, which are never used twice under one key.
        """
        state = _words
        for at in range(16):
            state[at] = _CONSTANTS[at]
        for at in range(32):
            state[16 + at] = key[at]
        for at in range(4):
            state[48 + at] = 0
        for at in range(12):
            state[52 + at] = nonce[at]
        _xor(state, buf, start, end)

    @micropython.viper
    def _xor(state: ptr32, buf: ptr8, at: int, end: int) -> int:
        """Return `end`. A block: ten double rounds over a copy of the state, added to it."""
        stream = ptr8(state)
        while at < end:
            i = 0
            while i < 16:
                state[16 + i] = state[i]
                i += 1
            step = 0
            while step < 80:
                # Four quarter rounds down the columns, then four along the diagonals. The first
                # half of each adds b to a and turns d, the second adds d to c and turns b.
                turn = step >> 2 & 1
                x = 16 + (step & 3)
                y = 20 + (step + turn & 3)
                other = 24 + (step + 2 * turn & 3)
                z = 28 + (step + 3 * turn & 3)
                turns = _TURNS
                while turns:
                    state[x] = state[x] + state[y]
                    word = uint(state[z] ^ state[x])
                    state[z] = int(word << (turns & 31) | word >> 32 - (turns & 31))
                    i = x
                    x = other
                    other = i
                    i = y
                    y = z
                    z = i
                    turns >>= 5
                step += 1
            i = 0
            while i < 16:
                state[16 + i] = state[16 + i] + state[i]
                i += 1
            state[12] = state[12] + 1
            i = 64
            while i < 128 and at < end:
                buf[at] = buf[at] ^ stream[i]
                at += 1
                i += 1
        return at
