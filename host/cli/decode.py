"""`dianka decode`: DL/T 645 frames to JSON, one object a frame."""

import sys
from collections.abc import Iterator

import click

from host.cli import shown
from host.cli.options import json_option, profile_option, standard_option
from host.cli.output import print_json
from host.frames.describe import STANDARDS, describe_hex

# The shortest frame has 12 bytes; shorter arguments are the bytes of one frame.
_SHORTEST = 24

_EPILOG = """\b
Examples:
  dianka decode 684422940000006891083A333433333333330316
  dianka decode 68 44 22 94 00 00 00 68 D1 01 35 D1 16
  grep -o '68[0-9A-F]*16' line.log | dianka decode --json -
"""


@shown.command(epilog=_EPILOG)
@json_option
@standard_option("auto", *STANDARDS)
@profile_option()
@click.argument("frames", metavar="HEX...", nargs=-1, required=True)
def command(as_json: bool, standard: str, profile: str, frames: tuple[str, ...]) -> None:
    """Decode DL/T 645 frames (2007 and 1997), given in hexadecimal, to JSON objects.

    With - in place of HEX, each line of standard input is a frame. Ends with status 1 if a
    frame did not verify.
    """
    indent = None if as_json or not sys.stdout.isatty() else 2
    good = True
    for text in _texts(frames):
        said = describe_hex(text, standard, profile)
        good = good and said["ok"]
        print_json(said, indent=indent)
    if not good:
        sys.exit(1)


def _texts(frames: tuple[str, ...]) -> Iterator[str]:
    if frames == ("-",):
        for line in sys.stdin.buffer:
            if line.strip():
                yield line.decode("utf-8", "replace")
    elif len(frames) > 1 and all(len(text) < _SHORTEST for text in frames):
        yield "".join(frames)
    else:
        yield from frames
