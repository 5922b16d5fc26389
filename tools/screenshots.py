"""Take pictures of the station's pages for docs/img. `make screenshots` runs it.

    .venv/bin/python -m tools.screenshots

It serves the pages on a village with a past of two months, and Debian's Chromium looks at them:
light, dark, and on a phone.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tools import made_village

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "img"
_WIDE, _PHONE = (1440, 900), (390, 844)
_HOUSEHOLD = f"/households/{made_village.account_of(0)}"
_SALE = f"/sell?account={made_village.account_of(0)}"
# Name, address, colours, size, language, and a link that is opened first.
_PICTURES = (
    ("today", "/", "light", _WIDE, "zh-CN", ""),
    ("today-dark", "/", "dark", _WIDE, "zh-CN", ""),
    ("households", "/households", "light", _WIDE, "zh-CN", ""),
    ("household", _HOUSEHOLD, "light", _WIDE, "zh-CN", ""),
    ("household-dark-en", _HOUSEHOLD, "dark", _WIDE, "en", ""),
    ("household-phone", _HOUSEHOLD, "light", _PHONE, "zh-CN", ""),
    ("charges", _HOUSEHOLD, "light", (1440, 1500), "zh-CN", ".ledger th a >> nth=1"),
    ("desk", _SALE, "light", _WIDE, "zh-CN", ""),
    ("desk-phone", _SALE, "dark", _PHONE, "zh-CN", ""),
)


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve the pages of a village; give their address."""
    made_village.make(folder / "village.db")
    keys = folder / "keys.toml"
    keys.write_text(f'[uplink]\n{made_village.CONCENTRATOR} = "{made_village.KEY.hex()}"\n')
    keys.chmod(0o600)
    words = ["headend", "serve", "--db", str(folder / "village.db"), "--keys", str(keys)]
    words += ["--port", "0", "--page", "127.0.0.1:0", "--simple"]
    serving = subprocess.Popen(
        [sys.executable, "-m", "host.cli", "--lang", "en", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert serving.stdout is not None
        yield serving.stdout.readline().split()[-1]
    finally:
        serving.terminate()
        serving.wait()


def _take(browser: Browser, url: str) -> None:
    for name, path, scheme, (width, height), language, first in _PICTURES:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            locale=language,
        )
        page = context.new_page()
        page.goto(url + path)
        if first:
            page.click(first)
            page.wait_for_selector(".day")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=FOLDER / f"{name}.png")
        context.close()


def main() -> int:
    """Take all pictures; status 1 where there is no browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("screenshots: install chromium and fonts-noto-cjk with apt first\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="dianka-") as folder,
        _served(Path(folder)) as url,
        sync_playwright() as client,
    ):
        browser = client.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        _take(browser, url)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
