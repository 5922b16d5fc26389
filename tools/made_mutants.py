"""Faults that are made by rule in the files that hold money: `make made-mutants`.

    .venv/bin/python -m tools.made_mutants [--count N] [--file PART] [-j N] [--limit-s N] [--json]

tools/operators.py finds every place where a comparison, a bound, a constant, a condition, a
statement, the order of two writes or a write to flash can be wrong. Of these N are drawn, as many
from each file as it has of them, always the same. Each is made in a copy of the checkout, and the
tests that belong to the file have to fail (tools/made_mutants.toml); those of tests/core run on
MicroPython, which takes a tenth of the time.

What became of each stands in .cache/mutants.json until its file or its tests change, so that a run
that was stopped goes on. `--json` prints the summary of all that is known, and `--limit-s` begins
no test after so long.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Lock

from pydantic import BaseModel, ConfigDict, ValidationError

from tools import micropython
from tools.mutants import borrowed, failing_test, trees
from tools.operators import Change, changed, changes, compiles
from tools.proofs import commit_and_date

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")
KNOWN = ROOT / ".cache" / "mutants.json"

KILLED = "killed"
SURVIVED = "survived"
EQUIVALENT = "equivalent"

_COUNT = 450
# A mutant may run for ever.
_LIMIT_S = 120.0
_HEAP = "16M"


class MadeMutantsError(Exception):
    """The list cannot be used, or tests fail without any fault; the text says why."""


class _Equivalent(BaseModel):
    """A fault that nobody could notice: the stripped line, what it becomes, and why."""

    model_config = ConfigDict(extra="forbid")
    line: str
    becomes: str
    why: str


class _File(BaseModel):
    """A file, and the tests that belong to it."""

    model_config = ConfigDict(extra="forbid")
    path: str
    core: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    equivalent: tuple[_Equivalent, ...] = ()


class _Table(BaseModel):
    """The whole list."""

    model_config = ConfigDict(extra="forbid")
    file: tuple[_File, ...]


@dataclass(frozen=True)
class Made:
    """A fault in the text of a file; `key` changes with the file and its tests."""

    file: _File
    change: Change
    key: str
    text: str

    def why(self) -> str:
        """Return why nobody could notice it, "" where somebody could."""
        before = self.text.splitlines()[self.change.line - 1].strip()
        lines = changed(self.text, self.change).splitlines()
        after = lines[self.change.line - 1].strip() if self.change.line <= len(lines) else ""
        for one in self.file.equivalent:
            if (one.line, one.becomes) == (before, after):
                return one.why
        return ""

    def told(self) -> dict[str, object]:
        """Return what tells of a survivor."""
        one = self.change
        place = f"{self.file.path}:{one.line}"
        return {"place": place, "operator": one.operator, "old": one.old, "new": one.new}


def read_list(path: Path = LIST) -> tuple[_File, ...]:
    """Return the files and their tests."""
    try:
        return _Table.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).file
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise MadeMutantsError(f"{path.name} cannot be used: {error}") from error


def made(file: _File, root: Path = ROOT) -> list[Made]:
    """Return every fault of a file."""
    text = (root / file.path).read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode())
    for test in _test_paths(file):
        digest.update((root / test).read_bytes())
    of_file = digest.hexdigest()
    found = []
    for change in changes(text):
        named = f"{of_file} {change.start} {change.end} {change.new}"
        key = hashlib.sha256(named.encode()).hexdigest()[:16]
        found.append(Made(file, change, key, text))
    return found


def _test_paths(file: _File) -> list[str]:
    return [f"tests/core/{name}.py" for name in file.core] + [*file.tests]


def drawn(files: tuple[_File, ...], count: int, root: Path = ROOT) -> list[Made]:
    """Return `count` faults, the same each time, of each file in proportion to what it has."""
    every = [made(file, root) for file in files]
    total = sum(map(len, every))
    chosen = []
    for file, found in zip(files, every, strict=True):
        size = min(len(found), -(-count * len(found) // total))
        some = Random(file.path).sample(found, size)
        chosen += [one for one in some if compiles(changed(one.text, one.change))]
    # In another order than the files', so that a part of them tells of all.
    return Random(1).sample(chosen, min(count, len(chosen)))


def notice(tree: Path, file: _File, limit_s: float) -> str:
    """Return the first test of the file that fails in the tree, "" if all pass."""
    for name in file.core:
        failed = _fails_on_micropython(tree, name, limit_s)
        if failed:
            return failed
    return failing_test(tree, file.tests, limit_s) if file.tests else ""


def _fails_on_micropython(tree: Path, name: str, limit_s: float) -> str:
    command = [str(micropython.ensure()), "-X", f"heapsize={_HEAP}", "tests/core/run.py", name]
    process = subprocess.Popen(
        command,
        cwd=tree,
        env={**os.environ, "MICROPYPATH": ".frozen"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return name if process.wait(limit_s) else ""
    except subprocess.TimeoutExpired:
        return "the time limit"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def judge(tree: Path, one: Made, limit_s: float = _LIMIT_S) -> str:
    """Make the fault in the tree, run its tests, put the text back; return what noticed it."""
    path = tree / one.file.path
    text = path.read_text(encoding="utf-8")
    path.write_text(changed(text, one.change), encoding="utf-8")
    try:
        return notice(tree, one.file, limit_s)
    finally:
        path.write_text(text, encoding="utf-8")


def read_known(path: Path = KNOWN) -> dict[str, str]:
    """Return what noticed each fault that was tried, "" nothing, by its key."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def run_all(
    chosen: list[Made],
    workers: int,
    limit_s: float,
    root: Path = ROOT,
    known_path: Path = KNOWN,
    quiet: bool = False,
) -> None:
    """Try those that are not known yet, and note what noticed them; begin none after so long."""
    known = read_known(known_path)
    left = [one for one in chosen if one.key not in known]
    until_s = time.monotonic() + limit_s
    lock = Lock()
    with trees(root, workers) as free, ThreadPoolExecutor(workers) as pool:
        whole: dict[str, str] = {}

        def try_one(one: Made) -> None:
            if time.monotonic() > until_s:
                return
            with borrowed(free) as tree:
                if one.file.path not in whole:
                    whole[one.file.path] = notice(tree, one.file, 10 * _LIMIT_S)
                if whole[one.file.path]:
                    raise MadeMutantsError(
                        f"{whole[one.file.path]} fails without a fault in {one.file.path}"
                    )
                by = judge(tree, one)
            with lock:
                known[one.key] = by
                known_path.parent.mkdir(parents=True, exist_ok=True)
                known_path.write_text(json.dumps(known, indent=0), encoding="utf-8")
                if not quiet:
                    print(line_of(one, by), flush=True)

        list(pool.map(try_one, left))


def line_of(one: Made, by: str) -> str:
    """Return a line that tells of one fault."""
    told = one.told()
    old, new = (" ".join(str(told[name]).split())[:40] for name in ("old", "new"))
    return f"{by or 'SURVIVED':28} {told['place']} {told['operator']}: {old} -> {new}"


def _verdict(one: Made, by: str) -> str:
    if by:
        return KILLED
    return EQUIVALENT if one.why() else SURVIVED


def summary(chosen: list[Made], known: dict[str, str]) -> dict[str, object]:
    """Return what docs/reliability/mutants.json says of those that were tried."""
    tried = [one for one in chosen if one.key in known]
    verdicts = {
        one.key: KILLED if known[one.key] else EQUIVALENT if one.why() else SURVIVED
        for one in tried
    }
    counts = Counter(verdicts.values())
    killed = Counter(one.change.operator for one in tried if verdicts[one.key] == KILLED)
    operators = Counter(one.change.operator for one in tried)
    return {
        "mutants": len(tried),
        "drawn": len(chosen),
        "killed": counts[KILLED],
        "equivalent": counts[EQUIVALENT],
        "survivors": counts[SURVIVED],
        "operators": {
            name: {"mutants": operators[name], "killed": killed[name]}
            for name in sorted(operators)
        },
        "survived": [one.told() for one in tried if verdicts[one.key] == SURVIVED],
        **commit_and_date(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 where the tests cannot be used."""
    parser = argparse.ArgumentParser(
        prog="tools.made_mutants", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--count", type=int, default=_COUNT, help="so many are drawn")
    parser.add_argument("--file", default="", help="only of files with this in their path")
    parser.add_argument("-j", type=int, default=2, dest="workers", help="so many at a time")
    parser.add_argument("--limit-s", type=float, default=1e9, help="begin none after so long")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no lines")
    options = parser.parse_args(arguments)
    try:
        chosen = drawn(read_list(), options.count)
        some = [one for one in chosen if options.file in one.file.path]
        run_all(some, max(1, options.workers), options.limit_s, quiet=options.json)
    except MadeMutantsError as error:
        print(f"made mutants: {error}", file=sys.stderr)
        return 1
    told = summary(chosen, read_known())
    if options.json:
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        names = ("mutants", "drawn", "killed", "equivalent", "survivors")
        print(", ".join(f"{told[name]} {name}" for name in names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
