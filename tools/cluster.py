"""A PostgreSQL of its own, for tests and the bench: made in a folder, deleted when it ends.

PostgreSQL refuses to run as root, so root runs it as `postgres`, the user Debian's package makes.
"""

import os
import shutil
import subprocess
import tempfile
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
    sync = "on" if durable else "off"
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync={sync}"
    control = [str(bin_path / "pg_ctl"), "-D", str(data), "-w", "-s"]
    try:
        _run([str(bin_path / "initdb"), "-D", str(data), "-U", "dianka", "-A", "trust", "-N"])
        _run([*control, "-l", str(folder / "log"), "-o", options, "start"])
        try:
            yield f"postgres://dianka@/postgres?host={folder}"
        finally:
            _run([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cpu_s(address: str) -> float:
    """Return the processor time that all processes of a cluster have used so far."""
    folder = address.rpartition("host=")[2]
    pid = int((Path(folder) / "data/postmaster.pid").read_text(encoding="ascii").split()[0])
    total, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / ticks
        elif stat.parent.name == str(pid):
            # Its own time, and that of the children that have ended.
            total += sum(map(int, fields[11:15])) / ticks
    return total


def _run(command: list[str]) -> None:
    if os.getuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
