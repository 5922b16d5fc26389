"""A PostgreSQL of its own, for tests and the bench: made in a folder, deleted when it ends.

PostgreSQL refuses to run as root, so root runs it as `postgres`, the user Debian's package makes.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ClusterError(Exception):
    """There is no PostgreSQL, or it does not start; the text says what it said."""


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[str]:
    """Run a cluster that only this machine's sockets reach; give the address of its database.

    With `durable` a commit waits for the disk, as where money is kept; tests need not wait.
    """
    bin_path = programs()
    if bin_path is None:
        raise ClusterError("there is no PostgreSQL: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="dianka-pg-"))
    data = folder / "data"
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        _run([str(bin_path / "initdb"), "-D", str(data), "-U", "dianka", "-A", "trust", "-N"])
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "fsync": "on" if durable else "off",
        }
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        _control(folder, "start")
        try:
            yield f"postgres://dianka@/postgres?host={folder}"
        finally:
            _control(folder, "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _control(folder: Path, verb: str) -> None:
    bin_path = programs()
    assert bin_path is not None
    command = [str(bin_path / "pg_ctl"), "-D", str(folder / "data"), "-w", "-s"]
    _run([*command, "-l", str(folder / "log"), "-m", "immediate", verb])


def crash(address: str) -> None:
    """Kill all processes of a cluster with SIGKILL, and start it again."""
    folder = Path(address.rpartition("host=")[2])
    main = _main_pid(folder)
    pids = [main, *_children(main)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while any(map(_is_there, pids)):
        time.sleep(0.01)
    # Where nobody has buried the processes, a new server would believe that they run.
    for stale in (folder / "data/postmaster.pid", *folder.glob(".s.PGSQL.*")):
        stale.unlink(missing_ok=True)
    _control(folder, "start")


def _main_pid(folder: Path) -> int:
    return int((folder / "data/postmaster.pid").read_text(encoding="ascii").split()[0])


def _fields(pid: int | str) -> list[str]:
    """Return what the system tells about a process after its name; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return []


def _is_there(pid: int) -> bool:
    return _fields(pid)[:1] not in ([], ["Z"])


def _children(pid: int) -> list[int]:
    found = (one.name for one in Path("/proc").glob("[0-9]*"))
    return [int(name) for name in found if _fields(name)[1:2] == [str(pid)]]


def cpu_s(address: str) -> float:
    """Return the processor time that all processes of a cluster have used so far."""
    pid = _main_pid(Path(address.rpartition("host=")[2]))
    # Its own time, and that of the children that have ended; then that of those that run.
    spent = sum(map(int, _fields(pid)[11:15]))
    spent += sum(sum(map(int, _fields(one)[11:13])) for one in _children(pid))
    return spent / os.sysconf("SC_CLK_TCK")


def _run(command: list[str]) -> None:
    if os.getuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
