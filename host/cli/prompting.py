"""Lines that a person types, with history and completion where the system has readline."""

import atexit
import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from host.link.console import SECRETS

try:
    import readline
except ImportError:  # Windows
    readline = None  # type: ignore[assignment]  # looked at before it is used

_HISTORY_LINES = 1000
_WORD = re.compile("[a-z0-9][a-z0-9_-]*")
_LONG_HEX = re.compile("[0-9A-Fa-f]{16}")


def history_file() -> Path:
    """Return the file that keeps what was typed: $XDG_STATE_HOME/dianka/console."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "dianka" / "console"


def completions(text: str, line: str, commands: Sequence[str]) -> list[str]:
    """Return the words that may stand where `text` does, behind the words of `line` before it."""
    before = line[: len(line) - len(text)].split()
    found = set()
    for command in commands:
        words = command.split()
        if words[: len(before)] == before and len(words) > len(before):
            word = words[len(before)]
            # What a command takes is in capitals, and no command has characters of other kinds.
            if word.startswith(text) and _WORD.fullmatch(word):
                found.add(word)
    return sorted(found)


def typed(prompt: str, commands: Sequence[str]) -> Iterator[str]:
    """Yield each line that is typed, until Ctrl-D; `commands` are offered with the Tab key."""
    if readline is not None:
        _begin(commands)
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if readline is not None and _is_secret(line):
            # A key that was typed in full must not stay on the disk.
            readline.remove_history_item(readline.get_current_history_length() - 1)
        if line:
            yield line


def _is_secret(line: str) -> bool:
    """Return whether a line may hold a key, also one that is mistyped."""
    names_one = any(name in line.lower() for name in SECRETS) and not line.endswith(" -")
    return names_one or _LONG_HEX.search(line) is not None


def _begin(commands: Sequence[str]) -> None:
    def complete(text: str, state: int) -> str | None:
        found = completions(text, readline.get_line_buffer()[: readline.get_endidx()], commands)
        return f"{found[state]} " if state < len(found) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    readline.set_history_length(_HISTORY_LINES)
    file = history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    atexit.register(_keep, file)


def _keep(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # readline gives a new file the rights of the umask.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        readline.write_history_file(file)
        file.chmod(0o600)
