"""Fetch packages of Debian's next release into a private folder, without touching the machine.

A private apt configuration has its own state, cache and package lists, so it needs no root and
changes nothing that is installed. The mirror is the one that this machine's own apt uses.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

SUITE = "trixie"

_RELEASE_URI = re.compile(r"^'(\S+?)/dists/([^/'\s]+)/InRelease'")

_CONFIG = """\
#clear APT::Update;
#clear DPkg::Post-Invoke;
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/none";
Dir::Etc::preferences "{folder}/none";
Dir::Etc::preferencesparts "{folder}/none";
APT::Sandbox::User "{user}";
APT::Default-Release "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
"""


class FetchError(Exception):
    """A package could not be had; the text says why, in one sentence."""


def mirrors() -> list[str]:
    """Return the archive addresses in this machine's own apt configuration, likeliest first."""
    listing = _run(["apt-get", "update", "--print-uris"])
    found: list[str] = []
    for line in listing.splitlines():
        match = _RELEASE_URI.match(line)
        if match and "-" not in match[2] and match[1] not in found:
            found.append(match[1])
    return sorted(found, key=lambda uri: not uri.rstrip("/").endswith("/debian"))


class PrivateApt:
    """An apt of our own in `folder`, for one suite of the machine's mirror.

    `folder` is created; it may be deleted at any time. `sources` asks for source packages too.
    """

    def __init__(self, folder: Path, sources: bool = False) -> None:
        self.folder = folder
        self.sources = sources
        self._config = folder / "apt.conf"

    def update(self) -> None:
        """Read the package lists of the first mirror that has the suite."""
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise FetchError("this machine has no apt-get and dpkg-deb")
        candidates = mirrors()
        if not candidates:
            raise FetchError("apt-get names no package mirror on this machine")
        reasons = []
        for mirror in candidates:
            try:
                self._configure(mirror)
                self._apt(["update"])
                self._apt(["show", "--quiet", "micropython"], program="apt-cache")
            except FetchError as error:
                reasons.append(str(error))
            else:
                return
        raise FetchError(f"no configured mirror serves {SUITE}: {reasons[-1]}")

    def download(self, packages: list[str], into: Path) -> list[Path]:
        """Download the binary packages and return their files."""
        into.mkdir(parents=True, exist_ok=True)
        self._apt(["download", *packages], cwd=into)
        return sorted(into.glob("*.deb"))

    def download_source(self, package: str, into: Path) -> Path:
        """Download a source package and return its .dsc file."""
        into.mkdir(parents=True, exist_ok=True)
        self._apt(["source", "--download-only", package], cwd=into)
        return next(into.glob("*.dsc"))

    def _configure(self, mirror: str) -> None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        user = "root" if os.getuid() == 0 else ""
        self._config.write_text(_CONFIG.format(folder=self.folder, user=user))
        keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
        option = f"[signed-by={keyring}] " if keyring.exists() else ""
        kinds = ["deb", "deb-src"] if self.sources else ["deb"]
        lines = [f"{kind} {option}{mirror} {SUITE} main\n" for kind in kinds]
        (self.folder / "sources.list").write_text("".join(lines))

    def _apt(self, arguments: list[str], cwd: Path | None = None, program: str = "apt-get") -> str:
        return _run([program, "-q", "-c", str(self._config), *arguments], cwd)


def unpack(package: Path, into: Path) -> None:
    """Unpack a binary package's files under `into`."""
    into.mkdir(parents=True, exist_ok=True)
    _run(["dpkg-deb", "-x", str(package), str(into)])


def _run(command: list[str], cwd: Path | None = None) -> str:
    """Run a command and return its standard output; FetchError carries its last error line."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise FetchError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        last = (lines or done.stderr.splitlines() or [f"exit status {done.returncode}"])[-1]
        raise FetchError(f"{command[0]} failed: {last}")
    return done.stdout
