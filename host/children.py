"""What programs that are started here get to know, and how they begin and end with this one.

They get no passphrase and no password. One that runs beside a head-end says a line when it is
ready, and ends when its standard input does, however the head-end ends.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

# The password of the database, as PostgreSQL's own library takes it.
DATABASE_PASSWORD = "PGPASSWORD"


def environment(*, database: bool = False) -> dict[str, str]:
    """Return the variables for a program, without those that hold a secret.

    With `database` the program opens the head-end's database, and gets its password.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not _is_secret(name) and (database or name not in (DATABASE_PASSWORD, "DIANKA_DB"))
    }


def _is_secret(name: str) -> bool:
    return name.startswith("DIANKA_") and "PASS" in name


def _leave() -> None:
    os._exit(0)


def end_with_parent(end: Callable[[], None] = _leave) -> None:
    """Have this process end when the one that has started it does, and not at Ctrl-C.

    `end` is called then, from a thread; without one the process is gone at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_input, args=(end,), daemon=True).start()


def _end_with_input(end: Callable[[], None]) -> None:
    sys.stdin.read()
    end()


def say(line: str) -> None:
    """Tell the process that has started this one."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
