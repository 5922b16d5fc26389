"""The acceptance test of a board: each part that board.json names, and a report to send in.

The program firmware/boards/selftest.py runs at the board's prompt, on the product's own drivers;
here a person is asked to wire and to watch, and the outcomes are collected. A product has short
names on its board, those of its version, and the program gets the same ones.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from host.flash import slots
from host.flash.names import shorten
from host.flash.product import known_of
from host.flash.prompt import BoardError, Prompt
from host.words import _, marked

OK, FAILED, NONE = "ok", "failed", "none"
# The outcomes in words.
WORDS = {OK: marked("good"), FAILED: marked("failed"), NONE: marked("not there")}
# Keys of board.json that are secret, wherever they stand.
_SECRETS = frozenset(("key", "psc"))

# The tests in order: what a person does before one, and is asked after it.
TESTS: dict[str, tuple[str, str]] = {
    "about": ("", ""),
    "pins": ("", ""),
    "lines": (
        marked(
            "Take the meters off. Wire tx to rx of each line, or, where RE of the transceiver is "
            "always on, leave it as it is: the board then hears itself."
        ),
        "",
    ),
    "flash": ("", ""),
    "clock": ("", ""),
    "entropy": ("", ""),
    "card": (marked("Insert a card of the shop into the board's reader."), ""),
    "lamps": (
        marked("Watch lamps, buzzer and display."),
        marked("Did each lamp light, one after the other, and the buzzer sound at the end?"),
    ),
    "network": (marked("Have the head-end run at the address in board.json."), ""),
}

_START = """\
import os, sys
sys.path.insert(0, os.getcwd().rstrip("/") + "/" + {slot!r})
"""


@dataclass
class Result:
    """The outcome of a test, what the board said of it, and lines that are no figures."""

    name: str
    outcome: str
    figures: dict[str, str] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)


@dataclass
class Report:
    """The outcomes of all tests, the board's own board.json without secrets, and versions."""

    port: str
    version: str
    board_json: Any
    results: list[Result] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Return the names of the tests that failed."""
        return [one.name for one in self.results if one.outcome == FAILED]

    def text(self) -> str:
        """Return the report as JSON, as it is sent in."""
        content = {
            "dianka": metadata.version("dianka"),
            "product": self.version,
            "port": self.port,
            "board_json": self.board_json,
            "results": [vars(one) for one in self.results],
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def program_of(firmware: Path) -> str:
    """Return the program of the tests, with the names that the product has on a board."""
    names = known_of(firmware).names
    text = shorten((firmware / "boards" / "selftest.py").read_text("utf-8"), names)
    # These two are called from here.
    return text + "".join(f"{name} = {names.short.get(name, name)}\n" for name in ("test", "fits"))


def begin(board: Prompt, program: str) -> Report:
    """Have the board restart with nothing started, and load the program of the tests."""
    text = slots.board_json(board).strip()
    if not text:
        raise BoardError(_("the board has no board.json: give one with --board FILE"))
    # A watchdog that the product has started would end the tests.
    slots.hold(board)
    now = slots.state(board)
    if not now.proven and not slots.facts(board).is_frozen:
        raise BoardError(_("the product is not on the board yet: install it, then test the board"))
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BoardError(
            _("board.json on the board is no JSON: {error}").format(error=error)
        ) from error
    board.run(_START.format(slot=now.proven))
    board.run(program)
    if board.run("fits()").strip() != OK:
        raise BoardError(
            _(
                "the product on the board is another version than this program: install it anew, "
                "or test it with the program that installed it"
            )
        )
    version = now.slots[now.proven].version if now.proven else "frozen"
    return Report(board.port, version, without_secrets(content))


def run(
    board: Prompt, report: Report, tell: Callable[[str], None], ask: Callable[[str], bool]
) -> Iterator[Result]:
    """Run each test and yield its result; `tell` has a person do something, `ask` answers."""
    for name, (before, after) in TESTS.items():
        if before and _has(report.board_json, name):
            tell(_(before))
        result = _result(name, board.run(f"test({name!r})"))
        if after and result.outcome == OK and not ask(_(after)):
            result.outcome = FAILED
            result.trouble.append(_("a person has not seen it"))
        report.results.append(result)
        yield result


def _has(content: Any, name: str) -> bool:
    """Return whether board.json has a part that the test concerns."""
    keys = {"card": ("card",), "network": ("uplink",), "lamps": ("lamps", "buzzer", "display")}
    return any(key in content for key in keys.get(name, ("lines",)))


def _result(name: str, printed: str) -> Result:
    """Return what the board printed as a result: figures, and at the end the outcome."""
    lines = [line for line in printed.splitlines() if line.strip(". ")]
    outcome = lines.pop() if lines and lines[-1] in (OK, FAILED, NONE) else FAILED
    result = Result(name, outcome)
    for line in lines:
        key, colon, value = line.partition(": ")
        if colon and " " not in key:
            result.figures[key] = value
        else:
            result.trouble.append(line)
    return result


def without_secrets(content: Any) -> Any:
    """Return a board.json without what opens a Wi-Fi or a card."""
    if isinstance(content, dict):
        return {
            key: "..." if key in _SECRETS else without_secrets(value)
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [without_secrets(one) for one in content]
    return content
