"""A stand-in for the program in front of a utility's key server, for simulated meters only.

It answers the lines of `host.link.key_server` with the open cipher of `host.sim.esam`, which has
the sizes of the real one and none of its secrecy: `python -m host.sim.key_server [KEY]`.
"""

import sys
from collections.abc import Iterable, Iterator

from host.sim.esam import DEFAULT_KEY, Esam

_RANDOM1 = b"\x11" * 8


def answers(lines: Iterable[str], key: bytes = DEFAULT_KEY) -> Iterator[str]:
    """Yield the answer to each line."""
    esam = Esam(key)
    for line in lines:
        verb, *words = line.split()
        try:
            blocks = [bytes.fromhex(word) for word in words]
            yield _answer(esam, verb, blocks)
        except ValueError:
            yield "error ?"


def _answer(esam: Esam, verb: str, blocks: list[bytes]) -> str:
    if verb == "identity":
        (factor,) = blocks
        return f"{esam.cipher1(_RANDOM1, factor).hex()} {_RANDOM1.hex()}"
    if verb == "check":
        _factor, random2, _serial, block, mac = blocks
        return "genuine" if esam.mac(random2, block) == mac else "wrong"
    if verb == "seal":
        _factor, random2, _serial, plain = blocks
        return esam.seal(random2, plain).hex()
    raise ValueError(verb)


if __name__ == "__main__":
    for answer in answers(sys.stdin, sys.argv[1].encode() if sys.argv[1:] else DEFAULT_KEY):
        print(answer, flush=True)
