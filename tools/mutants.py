"""Break the product in one place at a time and see whether its tests notice: `make mutants`.

    .venv/bin/python -m tools.mutants [--file PART] [-j N] [--json]

A mutant is one deliberate fault: some text of a file is replaced by other text. The list is
tools/mutants.toml; it names the tests that belong to each file. The checkout, with what is not
committed yet, is copied once for each worker; there the fault is made, its tests run until the
first that fails, and the text is put back.

A mutant that no test notices is an error, unless the list says why: `equivalent` gives the reason
why no test can see a difference, `issue` names the issue that will bring the test. The command
ends with status 1 on any other survivor, on an excuse that is not needed, on text that does not
occur exactly once any more, and where the tests fail without any fault.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

from pydantic import BaseModel, ConfigDict, ValidationError

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")

KILLED = "killed"
EQUIVALENT = "equivalent"
OPEN = "open"
SURVIVED = "SURVIVED"
STALE = "STALE"
EXCUSED = "EXCUSED"
BROKEN = "BROKEN"
WRONG = {
    SURVIVED: "no test notices it",
    STALE: "its old text does not occur exactly once in the file",
    EXCUSED: "a test notices it, so the list must not excuse it",
    BROKEN: "its tests fail without it too",
}

# A mutant may run forever: its tests get this much more time than they take without it.
_LIMIT_FACTOR = 10
_LIMIT_LEAST_S = 60.0
_BASE_LIMIT_S = 600.0
_FAILED = re.compile(r"^(?:FAILED|ERROR) (?P<test>\S+)", re.MULTILINE)


class MutantsError(Exception):
    """The list or the command line cannot be used; the text says why."""


class _Row(BaseModel):
    """One mutant of the list."""

    model_config = ConfigDict(extra="forbid")
    name: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    equivalent: str = ""
    issue: int = 0


class _File(BaseModel):
    """The mutants of one file, and the tests that belong to it."""

    model_config = ConfigDict(extra="forbid")
    path: str
    tests: tuple[str, ...]
    mutant: tuple[_Row, ...]


class _Table(BaseModel):
    """The whole list."""

    model_config = ConfigDict(extra="forbid")
    file: tuple[_File, ...]


@dataclass(frozen=True)
class Mutant:
    """A fault in the file at `path`: `old`, which occurs there once, becomes `new`.

    tests       files or single tests that have to notice it
    excuse      EQUIVALENT or OPEN where it may survive, else ""; `reason` says why
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    excuse: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a mutant: one of the verdicts above, after `seconds` of tests.

    by      the test that noticed it, or that its time was over
    """

    mutant: Mutant
    verdict: str
    seconds: float = 0.0
    by: str = ""


def read_list(path: Path = LIST) -> list[Mutant]:
    """Return the mutants of a list, in its order."""
    try:
        table = _Table.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise MutantsError(f"{path.name} is no list of mutants: {error}") from error
    return [_mutant(file, row) for file in table.file for row in file.mutant]


def _mutant(file: _File, row: _Row) -> Mutant:
    """Return a row of the list with what its file adds to it."""
    excuse = EQUIVALENT if row.equivalent else OPEN if row.issue else ""
    reason = row.equivalent or (f"issue {row.issue}" if row.issue else "")
    return Mutant(row.name, file.path, row.old, row.new, row.tests or file.tests, excuse, reason)


def mutated(text: str, mutant: Mutant) -> str | None:
    """Return the file's text with the fault in it; None where the mutant is stale."""
    if text.count(mutant.old) != 1:
        return None
    return text.replace(mutant.old, mutant.new)


def copy_tree(root: Path, to: Path) -> None:
    """Copy what git knows or would add, as it stands in the checkout now."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in listed.split("\0"):
        if name and (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)


def failing_test(tree: Path, tests: Iterable[str], limit_s: float) -> str:
    """Return the first test that fails in the tree within the time limit, "" if all pass."""
    command = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests)
    # Faults come and go within a second: compiled files by date and size would hide them.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command,
            cwd=tree,
            env=environment,
            stdout=output,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            if process.wait(limit_s) == 0:
                return ""
        except subprocess.TimeoutExpired:
            return "the time limit"
        finally:
            # Also what the tests have started and left behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        found = _FAILED.search(output.read())
    return found["test"] if found else "pytest itself"


def base_seconds(tree: Path, tests: tuple[str, ...]) -> float | None:
    """Return how long the tests take without any fault; None where they fail."""
    started = time.monotonic()
    failing = failing_test(tree, tests, _BASE_LIMIT_S)
    return None if failing else time.monotonic() - started


def judge(tree: Path, mutant: Mutant, base_s: float | None) -> Result:
    """Make the fault in the tree, run its tests and put the text back."""
    path = tree / mutant.path
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    changed = mutated(text, mutant)
    if changed is None:
        return Result(mutant, STALE)
    if base_s is None:
        return Result(mutant, BROKEN)
    started = time.monotonic()
    path.write_text(changed, encoding="utf-8")
    try:
        by = failing_test(tree, mutant.tests, max(_LIMIT_LEAST_S, _LIMIT_FACTOR * base_s))
    finally:
        path.write_text(text, encoding="utf-8")
    return Result(mutant, verdict(mutant, noticed=by != ""), time.monotonic() - started, by)


def verdict(mutant: Mutant, noticed: bool) -> str:
    """Return what it means that a test noticed the fault, or that none did."""
    if not noticed:
        return mutant.excuse or SURVIVED
    return EXCUSED if mutant.excuse else KILLED


def run_all(root: Path, mutants: list[Mutant], workers: int) -> Iterator[Result]:
    """Judge the mutants, `workers` at a time; yield the results in the order of the list."""
    with trees(root, workers) as free, ThreadPoolExecutor(workers) as pool:

        def base(tests: tuple[str, ...]) -> float | None:
            with borrowed(free) as tree:
                return base_seconds(tree, tests)

        def judged(mutant: Mutant) -> Result:
            with borrowed(free) as tree:
                return judge(tree, mutant, bases[mutant.tests])

        groups = list(dict.fromkeys(mutant.tests for mutant in mutants))
        bases = dict(zip(groups, pool.map(base, groups), strict=True))
        yield from pool.map(judged, mutants)


@contextmanager
def trees(root: Path, count: int) -> Iterator["Queue[Path]"]:
    """Yield `count` copies of the checkout; they are deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free: Queue[Path] = Queue()
        for number in range(count):
            tree = Path(folder) / str(number)
            copy_tree(root, tree)
            free.put(tree)
        yield free


@contextmanager
def borrowed(free: "Queue[Path]") -> Iterator[Path]:
    """Yield a copy of the checkout that no other worker uses, and give it back."""
    tree = free.get()
    try:
        yield tree
    finally:
        free.put(tree)


def summary(results: list[Result]) -> dict[str, object]:
    """Return the figures and all rows, ready for JSON."""
    counts = Counter(result.verdict for result in results)
    rows = [
        {
            **asdict(result.mutant),
            "verdict": result.verdict,
            "seconds": round(result.seconds, 1),
            "by": result.by,
        }
        for result in results
    ]
    return {
        "mutants": len(results),
        "killed": counts[KILLED],
        "equivalent": counts[EQUIVALENT],
        "open": counts[OPEN],
        "survivors": counts[SURVIVED],
        "stale": counts[STALE],
        "excused": counts[EXCUSED],
        "broken": counts[BROKEN],
        "rows": rows,
    }


def line_of(result: Result) -> str:
    """Return the row of the table that tells of one mutant."""
    mutant = result.mutant
    why = WRONG.get(result.verdict, mutant.reason or result.by.rpartition("::")[2])
    seconds = f"{result.seconds:5.1f} s"
    return f"{result.verdict:<10}  {seconds}  {mutant.path}  {mutant.name}: {why}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--file", default="", help="only mutants of files with this in their path")
    parser.add_argument("-j", type=int, default=2, dest="workers", help="so many at a time")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, root: Path = ROOT, path: Path = LIST) -> int:
    """Run the list; return 1 if something is wrong."""
    options = _options(arguments)
    try:
        mutants = [mutant for mutant in read_list(path) if options.file in mutant.path]
        if not mutants:
            raise MutantsError(f"no mutant is in a file with {options.file!r} in its path")
    except MutantsError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    results = []
    for result in run_all(root, mutants, max(1, options.workers)):
        results.append(result)
        if not options.json:
            print(line_of(result), flush=True)
    told = summary(results)
    if options.json:
        print(json.dumps(told, indent=1))
    else:
        names = (KILLED, EQUIVALENT, OPEN, "survivors", "stale", "excused", "broken")
        print(", ".join([f"{told['mutants']} mutants"] + [f"{told[n]} {n}" for n in names]))
    return 1 if any(result.verdict in WRONG for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
