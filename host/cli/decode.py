"""`dianka decode`: DL/T 645 frames to JSON, one object a frame."""

import re
import sys
from collections.abc import Iterator

import click

from host.cli import shown
from host.cli.options import json_option, profile_option, standard_option
from host.cli.output import echo, print_json
from host.frames.describe import STANDARDS, describe, describe_hex
from host.frames.dlt645 import WAKE_UP, Frame, Reader
from host.words import _

# The shortest frame has 12 bytes; shorter arguments are the bytes of one frame.
_SHORTEST = 24

_EPILOG = """\b
Examples:
  dianka decode 684422940000006891083A333433333333330316
  dianka decode 68 44 22 94 00 00 00 68 D1 01 35 D1 16
  dianka decode "0x68,0xAA,0xAA,0xAA,0xAA,0xAA,0xAA,0x68,0x13,0x00,0xDF,0x16"
  cat line.log | dianka decode --json -
"""
_BYTE = "(?:0[xX])?[0-9A-Fa-f]{2}"
_BYTE_RUN = re.compile(rf"(?<![0-9A-Za-z]){_BYTE}(?:[\s,;:-]*{_BYTE})*(?![0-9A-Za-z])")
_SEPARATORS = re.compile(r"0[xX]|[\s,;:-]")


@shown.command(epilog=_EPILOG)
@json_option
@standard_option("auto", *STANDARDS)
@profile_option()
@click.argument("frames", metavar="HEX...", nargs=-1, required=True)
def command(as_json: bool, standard: str, profile: str, frames: tuple[str, ...]) -> None:
    """Decode DL/T 645 frames (2007 and 1997), given in hexadecimal, to JSON objects.

    With - in place of HEX, each line of standard input is decoded: a frame, many frames, or a line
    of another tool's log with its bytes among other words. Ends with status 1 if a line has no
    frame that verifies; bytes beside frames are counted.
    """
    indent = None if as_json or not sys.stdout.isatty() else 2
    good, beside = True, 0
    for text in _texts(frames):
        said = describe_hex(_SEPARATORS.sub("", text), standard, profile)
        several = [] if said["ok"] else _frames_among(text)
        if several:
            for frame in several:
                print_json(describe(frame, standard, profile), indent=indent)
            left = _bytes_among(text)
            for frame in several:
                left = left.replace(frame.raw, b"", 1)
            beside += len(left.replace(bytes((WAKE_UP,)), b""))
            continue
        good = good and said["ok"]
        print_json(said, indent=indent)
    if beside:
        echo(_("{beside} bytes belong to no frame").format(beside=beside), err=True)
    if not good:
        sys.exit(1)


def _bytes_among(text: str) -> bytes:
    """Return the bytes that stand in a text in hexadecimal."""
    runs = (_SEPARATORS.sub("", run) for run in _BYTE_RUN.findall(text))
    return b"".join(map(bytes.fromhex, runs))


def _frames_among(text: str) -> list[Frame]:
    """Return the frames whose bytes stand in a text, whatever stands beside them."""
    reader = Reader()
    return [*reader.feed(_bytes_among(text)), *reader.silence()]


def _texts(frames: tuple[str, ...]) -> Iterator[str]:
    if frames == ("-",):
        for line in sys.stdin.buffer:
            if line.strip():
                yield line.decode("utf-8", "replace")
    elif len(frames) > 1 and all(len(text) < _SHORTEST for text in frames):
        yield "".join(frames)
    else:
        yield from frames
