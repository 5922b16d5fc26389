"""Measure the station's pages on 10,000 households and 2 M readings. `make bench-pages` runs it.

    .venv/bin/python -m tools.bench_pages

The pages are served as at a station, to people who have signed in. One browser asks for each page
in turn, the first time too, then fifty people at once ask for what clerks look at all day, each a
page every three seconds under a session of their own. Times are those of whole answers, in
milliseconds.
"""

import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host.headend import users
from host.headend.store import Store
from host.headend.web.door import SESSION_COOKIE
from host.headend.web.site import CSRF_COOKIE
from tools import bench_headend

ROOT = Path(__file__).resolve().parent.parent
_KEY = bytes(range(32)).hex()
_ACCOUNT = "000000004321"
_PAGES = {
    "today": "/",
    "households": "/households",
    "households, last page": "/households?page=100",
    "search by name": "/households q=wang",
    "search by number": "/households q=4321",
    "household": f"/households/{_ACCOUNT}",
    "use by month": f"/households/{_ACCOUNT}/use/month",
    "sale": f"/sell?account={_ACCOUNT}",
    "arrears": "/arrears",
    "audit": "/audit",
    "day": "/day",
}
_CSRF = "0" * 32  # any token will do, if the browser's cookie has it too
_TIMES = 5
# The pages load their modules and templates as soon as they stand.
_BEGUN_S = 5
_PEOPLE, _LOOKS, _EVERY_S = 50, 5, 3


def people(address: str, count: int) -> list[str]:
    """Add people who may do everything; return the token of the session of each."""
    tokens = [secrets.token_urlsafe(32) for _ in range(count)]
    password = users.hashed(secrets.token_hex(16))
    with Store(address) as store:
        for at, token in enumerate(tokens):
            users.add(store, f"clerk-{at}", "manager", password)
            users.open_session(store, f"clerk-{at}", "127.0.0.1", users.hash_of(token))
    return tokens


def ask(url: str, token: str) -> float:
    """Return how long a page takes, in ms; behind a blank stands what a form has."""
    url, _blank, form = url.partition(" ")
    cookie = f"{SESSION_COOKIE}={token}; {CSRF_COOKIE}={_CSRF}"
    body = f"csrfmiddlewaretoken={_CSRF}&{form}".encode() if form else None
    request = urllib.request.Request(url, body, headers={"Cookie": cookie})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
    if "sign-in" in answer.url:
        raise SystemExit("the bench was signed out: its figures would be those of another page")
    return 1000 * (time.perf_counter() - began)


def _crowd(url: str, tokens: list[str]) -> list[float]:
    """Return the times of what many people look at, each a page every few seconds, in order."""
    waits: list[float] = []

    def look(person: int) -> None:
        paths = ("/", "/households", f"/households/{person * 7:012d}", f"/sell?account={person}")
        time.sleep(_EVERY_S * person / _PEOPLE)
        for at in range(_LOOKS):
            took_ms = ask(url + paths[(person + at) % len(paths)], tokens[person])
            waits.append(took_ms)
            time.sleep(max(0, _EVERY_S - took_ms / 1000))

    crowd = [threading.Thread(target=look, args=(one,)) for one in range(_PEOPLE)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    return sorted(waits)


@contextmanager
def pages_of(address: str, folder: Path) -> Iterator[str]:
    """Serve the pages of a database; give where they are once they stand."""
    keys = folder / "keys.toml"
    keys.write_text(f'[uplink]\n1 = "{_KEY}"\n')
    keys.chmod(0o600)
    words = ["headend", "serve", "--db", address, "--keys", str(keys), "--port", "0"]
    words += ["--page", "127.0.0.1:0"]
    serving = subprocess.Popen(
        [sys.executable, "-m", "host.cli", "--lang", "en", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert serving.stdout is not None
    url = serving.stdout.readline().split()[-1]
    time.sleep(_BEGUN_S)
    try:
        yield url
    finally:
        serving.terminate()
        serving.wait()


def main() -> int:
    """Print what each page takes."""
    with tempfile.TemporaryDirectory(prefix="dianka-") as name:
        path = Path(name) / "village.db"
        bench_headend.grown(path, 10_000, 2_000_000)
        tokens = people(str(path), _PEOPLE)
        with pages_of(str(path), Path(name)) as url:
            for what, page in _PAGES.items():
                times = sorted(ask(url + page, tokens[0]) for _ in range(_TIMES))
                print(f"{what:<24} {times[0]:7.0f} ms at best, {times[-1]:.0f} ms at worst")
            waits = _crowd(url, tokens)
            print(
                f"{_PEOPLE} people signed in, a page every {_EVERY_S} s: "
                f"{waits[len(waits) // 2]:.0f} ms in the middle, "
                f"p95 {waits[len(waits) * 95 // 100]:.0f} ms"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
