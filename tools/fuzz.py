"""Mutated frames against every decoder: a value or a named refusal, never anything else.

    python -m tools.fuzz [--frames 10000000] [--seed 1] [--processes N]
    python -m tools.fuzz --guided SECONDS      coverage-guided, by atheris

Each case is one byte string, made from published frames and from frames of the catalogue's own
identifiers: bits flipped, parts cut, doubled and joined, often with the checksum put right again
so that the decoders behind the frame see nonsense too. What is stated of each:

- `describe_bytes` gives an object of its published shape, or a reason; `ok` exactly when an
  independent look at length, starts, sum and end says so;
- `read_value` tells the same address and value, or refuses the same bytes;
- the device's `decode` gives the same numbers and moments, or a refusal;
- `Reader` and the device's `Receiver`, fed whole and byte by byte, find the same frames, and a
  good frame behind any garbage is always found.

A finding is printed with the bytes that make it; the command then ends with status 1.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import host.device  # noqa: F401 - makes the device's modules importable
from host.units import to_t2000

# isort: split
from dlt645 import di, fast
from dlt645.frame import Receiver

from host.frames import catalogue
from host.frames.describe import describe_bytes
from host.frames.dlt645 import FrameError, Reader, build, parse
from host.frames.lean import read_value

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests" / "vectors"
BATCH = 20_000
# Feeding four receivers costs ten times the rest: one case of so many gets it.
STREAMS_EVERY = 10
KEYS: dict[str, type | tuple[type, ...]] = {
    "ok": bool,
    "standard": str,
    "direction": str,
    "address": str,
    "control": str,
    "function": str,
    "di": str,
    "name_en": str,
    "name_zh": str,
    "items": list,
    "more": bool,
    "error": (dict, type(None)),
}
READ_REPLY = "91"
DI_SIZE = 4
# Formats of firmware/dlt645/table.py: energy in 0.01 kWh is told in Wh.
FORMS_ENERGY = (1, 2)
FORM_BITS = 4
FORM_TIME = 6
FORMS_MOMENT = (5, 7, 8)
EXTRAS = {"name": str, "flags": list, "text": str, "weekday": int}
GOOD = build("000000000001", 0x91, bytes.fromhex("0000010056341200"), preamble=1)


def published() -> list[bytes]:
    """Return the published frames, good and bad."""
    found = []
    for path in sorted(VECTORS.glob("dlt645-*.jsonl")):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        found += [bytes.fromhex(row["hex"]) for row in rows]
    return found


class Maker:
    """Makes cases from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._published = published()
        self._patterns = catalogue.load().patterns
        self._changes: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._cut,
            self._double,
            self._join,
            self._put,
            self._echo,
        )

    def case(self) -> bytes:
        """Return one case."""
        pick = self.random.random()
        if pick < 0.05:
            return self.random.randbytes(self.random.randrange(64))
        octets = bytearray(
            self.random.choice(self._published) if pick < 0.45 else self._of_catalogue()
        )
        for _ in range(self.random.randrange(4)):
            self.random.choice(self._changes)(octets)
        if self.random.random() < 0.5:
            _put_right(octets)
        return bytes(octets)

    def _of_catalogue(self) -> bytes:
        """Return a frame of a function and an identifier that exist, with data that may not."""
        chance = self.random
        pattern = chance.choice(self._patterns)
        number = pattern.value
        for bracket in pattern.brackets:
            number |= chance.choice(bracket.held) << bracket.shift
        di = number.to_bytes(pattern.digits // 2, "little")
        control = chance.choice((0x91, 0x81) if chance.random() < 0.7 else range(256))
        size = chance.choice((1, 2, 3, 4, 5, 6, 7, 8, 14, 18, 20, 21, chance.randrange(200)))
        digits = bytes(chance.choice(_BCD) for _ in range(size))
        data = chance.choice((digits, chance.randbytes(size), b"\xff" * size, bytes(size)))
        return build(f"{chance.randrange(10**12):012d}", control, di + data, chance.randrange(5))

    def _flip(self, octets: bytearray) -> None:
        if octets:
            octets[self.random.randrange(len(octets))] ^= 1 << self.random.randrange(8)

    def _cut(self, octets: bytearray) -> None:
        at = self.random.randrange(len(octets) + 1)
        del octets[at : at + self.random.randrange(6)]

    def _double(self, octets: bytearray) -> None:
        at = self.random.randrange(len(octets) + 1)
        octets[at:at] = octets[at : at + self.random.randrange(1, 9)]

    def _join(self, octets: bytearray) -> None:
        octets += self.random.choice(self._published)[self.random.randrange(12) :]

    def _echo(self, octets: bytearray) -> None:
        """Return a frame with a false start: its first bytes come twice, or as an address."""
        octets[:0] = octets[: self.random.choice((1, 2, 7, 8, 10))]

    def _put(self, octets: bytearray) -> None:
        at = self.random.randrange(len(octets) + 1)
        octets[at : at + 1] = bytes((self.random.choice(b"\x68\x16\xfe\x00\xff\xaa\x33"),))


_BCD = [10 * (byte // 10) // 10 << 4 | byte % 10 for byte in range(100)]


def _put_right(octets: bytearray) -> None:
    """Give the frame that begins at the first 68 the length, checksum and end it should have."""
    start = octets.find(0x68)
    if start < 0 or len(octets) - start < 12 or len(octets) - start > 12 + 255:
        return
    octets[start + 7] = 0x68
    octets[start + 9] = len(octets) - start - 12
    octets[-1] = 0x16
    octets[-2] = sum(octets[start:-2]) & 0xFF


def is_frame(octets: bytes) -> bool:
    """Return whether `octets` is one frame and nothing but wake-up bytes before it."""
    at = 0
    while at < len(octets) and octets[at] == 0xFE:
        at += 1
    body = octets[at:]
    if len(body) < 12 or (body[0], body[7], body[-1]) != (0x68, 0x68, 0x16):
        return False
    total = 0
    for octet in body[: 10 + body[9]]:
        total += octet
    return len(body) == 12 + body[9] and total % 256 == body[-2]


def trouble(octets: bytes, streams: bool = True) -> str:
    """Return what is wrong with how the decoders take `octets`; "" is nothing."""
    said = describe_bytes(octets)
    found = _shape(said, octets) or _lean(said, octets) or _device(said, octets)
    return found or (_streams(octets) if streams else "")


def _shape(said: dict[str, Any], octets: bytes) -> str:
    if said["ok"] is not is_frame(octets):
        return f"ok is {said['ok']}"
    json.dumps(said)
    if not said["ok"]:
        good = set(said) == {"ok", "reason", "hex"} and said["reason"]
        return "" if good and said["hex"] == octets.hex().upper() else f"refusal {said}"
    for key, kind in KEYS.items():
        if not isinstance(said.get(key), kind):
            return f"{key} is {said.get(key)!r}"
    if set(said) - set(KEYS) - {"note"}:
        return f"keys {sorted(said)}"
    for item in said["items"]:
        if not isinstance(item["value"], (str, type(None))) or not isinstance(item["unit"], str):
            return f"item {item}"
        for key in set(item) - {"value", "unit"}:
            if not isinstance(item[key], EXTRAS[key]):
                return f"item {item}"
    return ""


def _lean(said: dict[str, Any], octets: bytes) -> str:
    for _ in range(2):
        try:
            address, value = read_value(octets)
        except FrameError:
            if said["ok"]:
                return "read_value refuses a frame"
            continue
        if not said["ok"]:
            return "read_value takes what is no frame"
        first = said["items"][0]["value"] if said["items"] else None
        wanted = int(first.replace(".", "")) if first and isinstance(value, int) else first
        if address != said["address"] or value != wanted:
            return f"read_value says {address} {value!r}, not {first!r}"
    return ""


def _device(said: dict[str, Any], octets: bytes) -> str:
    """Return the device's integers beside the items of a reading."""
    if said.get("control") != READ_REPLY or not said["di"]:
        return ""
    data = parse(octets).data
    number = int(said["di"], 16)
    out = array("i", bytes(4 * 64))
    count = di.decode(number, data, DI_SIZE, len(data), out)
    if count == 0 or count < di.UNKNOWN_DI:
        return f"the device answers {count}"
    if count < 0 or "note" in said:
        # It knows less, and takes as many numbers as there are whatever the identifier.
        return ""
    told = [None if one == di.NO_VALUE else one for one in out[:count]]
    wanted = [_as_device(fast.find_row(number) >> 8, item) for item in said["items"][:count]]
    return "" if told == wanted else f"the device reads {told}, not {wanted}"


def _as_device(form: int, item: dict[str, Any]) -> int | None:
    """Return an item as the integer the device makes of it, by the format in its table."""
    text = item["value"]
    if text is None:
        return None
    if form == FORM_BITS:
        return int(text, 16)
    if form == FORM_TIME:
        hours, minutes, seconds = map(int, text.split(":"))
        return hours * 3600 + minutes * 60 + seconds
    if form in FORMS_MOMENT:
        return to_t2000(datetime.fromisoformat(text))
    if text.endswith(":00"):  # a settlement day, DD hh
        text = text[:-3].replace(" ", "")
    return int(text.replace(".", "")) * (10 if form in FORMS_ENERGY else 1)


def _streams(octets: bytes) -> str:
    """Return both receivers, whole and byte by byte, with a good frame behind the case."""
    whole = _by_reader((octets, GOOD))
    if whole != _by_reader(octet.to_bytes() for octet in octets + GOOD):
        return "Reader sees other frames byte by byte"
    # A frame that verifies and reaches into the good one takes its place, as on any line.
    if not whole or (octets + GOOD).rfind(whole[-1]) + len(whole[-1]) <= len(octets):
        return "Reader lost the good frame behind it"
    if _by_receiver((octets, GOOD)) != whole:
        return "Receiver sees other frames than Reader"
    if _by_receiver(octet.to_bytes() for octet in octets + GOOD) != whole:
        return "Receiver sees other frames byte by byte"
    return ""


def _by_reader(parts: "Iterator[bytes] | tuple[bytes, ...]") -> list[bytes]:
    reader = Reader()
    found = [frame.raw for part in parts for frame in reader.feed(part)]
    return found + [frame.raw for frame in reader.silence()]


def _by_receiver(parts: "Iterator[bytes] | tuple[bytes, ...]") -> list[bytes]:
    receiver = Receiver()
    found = []

    def take() -> None:
        while receiver.poll():
            data = bytes(receiver.data[: receiver.data_size])
            address = bytes(receiver.address)[::-1].hex().upper()
            found.append(build(address, receiver.control, data, preamble=0))
            receiver.release()

    for part in parts:
        receiver.feed(part, len(part))
        take()
    while receiver.expire():
        take()
    return found


def run_batch(seed: int, count: int) -> str:
    """Try `count` cases of `seed`; return the first finding, or ""."""
    maker = Maker(seed)
    for number in range(count):
        octets = maker.case()
        try:
            found = trouble(octets, number % STREAMS_EVERY == 0)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        if found:
            return f"seed {seed}, case {number}: {found}: {octets.hex().upper()}"
    return ""


def run(frames: int, seed: int, processes: int) -> str:
    """Try `frames` cases in batches and print the progress; return the first finding, or ""."""
    seeds = range(seed, seed + -(-frames // BATCH))
    start = time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        for done, found in enumerate(pool.map(run_batch, seeds, [BATCH] * len(seeds)), 1):
            if found:
                pool.shutdown(cancel_futures=True)
                return found
            if done % 25 == 0 or done == len(seeds):
                rate = done * BATCH / (time.monotonic() - start)
                print(f"fuzz: {done * BATCH:,} frames, {rate:,.0f} per second", flush=True)
    return ""


def run_guided(seconds: int) -> int:
    """Let atheris look for a case by coverage; return the status it ends with."""
    from tools.libraries import ATHERIS, python_with

    corpus = ROOT / ".cache" / "fuzz"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, octets in enumerate(published()):
        (corpus / f"published-{number}").write_bytes(octets)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *packages])}
    script = (
        "import atheris, sys\n"
        "with atheris.instrument_imports(include=['host.frames']):\n"
        "    from tools import fuzz\n"
        "def one(octets):\n"
        "    found = fuzz.trouble(octets, sum(octets) % fuzz.STREAMS_EVERY == 0)\n"
        "    if found:\n"
        "        raise RuntimeError(found)\n"
        "atheris.Setup(sys.argv, one)\n"
        "atheris.Fuzz()\n"
    )
    options = [f"-max_total_time={seconds}", "-max_len=280", f"-artifact_prefix={corpus}/"]
    command = [str(python_with(ATHERIS)), "-c", script, *options, str(corpus)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Mutated frames against every decoder.")
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--guided", type=int, metavar="SECONDS", help="by coverage, with atheris")
    options = parser.parse_args()
    if options.guided:
        return run_guided(options.guided)
    found = run(options.frames, options.seed, options.processes)
    if found:
        print(f"fuzz: {found}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
