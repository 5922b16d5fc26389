"""Take pictures of the station's pages for docs/img. `make screenshots` runs it.

    .venv/bin/python -m tools.screenshots

It serves the pages on a village with a past of two months, with a drawer, approvals and a card in
the counter's reader, and Debian's Chromium looks at them: light, dark, and on a phone.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from host.cards import keystore
from host.cards.audit import AuditLog
from host.cards.counter import Counter, Service
from host.cards.issuing import Issuer
from host.frames import card as frames
from host.frames.card import CardKind, Header, WriteBack
from host.headend import approvals, orders, shifts
from host.headend.orders import Till
from host.headend.selling import CHANNELS
from host.headend.store import Store
from host.link.card import FileCard
from host.units import DAY_S
from tools import made_village

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "img"
_WHO = "landlord"  # who is there where nobody signs in
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
    ("desk", f"{_SALE}#card", "light", _WIDE, "zh-CN", ""),
    ("desk-dark-en", f"{_SALE}#card", "dark", _WIDE, "en", ""),
    ("desk-phone", _SALE, "dark", _PHONE, "zh-CN", ""),
    ("drawer", "/drawer", "light", _WIDE, "zh-CN", ""),
    ("arrears", "/arrears", "light", _WIDE, "zh-CN", ""),
    ("arrears-dark", "/arrears", "dark", _WIDE, "zh-CN", ""),
    ("approvals", "/approvals", "light", _WIDE, "zh-CN", ""),
    ("audit", "/audit?verify=1", "light", _WIDE, "zh-CN", ""),
    ("lists", "/imports", "light", _WIDE, "zh-CN", ""),
    ("day-phone", "/day", "light", _PHONE, "zh-CN", ""),
)
_READER_KEY = "ABCDEF-GHIJKL-MNOPQR-STUVWX"


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve the pages of a village; give their address."""
    made_village.make(folder / "village.db")
    _worked(folder / "village.db")
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


def _worked(path: Path) -> None:
    """Have a cashier open the drawer and sell, and ask a second person."""
    account = made_village.account_of
    with Store(path) as store:
        shifts.open_shift(store, _WHO, 20_000)
        for row, fen in ((1, 5_000), (2, 2_000), (4, 20_000)):
            orders.sell(store, account(row), fen, Till(_WHO, CHANNELS[0]))
        shifts.move_cash(store, _WHO, -20_000, "存银行")
        approvals.ask(store, approvals.SALE, account(7), 5_000_000, "李", "小卖部年购电")
        number = approvals.ask(store, approvals.WRITE_OFF, account(2), 120, "李", "已故，无继承")
        approvals.decide(store, number, _WHO, False)


@contextlib.contextmanager
def _reader(folder: Path, url: str) -> Iterator[str]:
    """Run the counter's reader, in which a card with an order is; give what the page keeps."""
    keys, card = keystore.new(1), folder / "card.bin"

    @contextlib.contextmanager
    def opened() -> Iterator[FileCard]:
        yield FileCard(card, create=True)

    def issuer() -> Issuer:
        return Issuer(keys.key_of, AuditLog(folder / "log.jsonl", keys.key_of))

    account = made_village.account_of(0)
    with Store(folder / "village.db", read_only=True) as store:
        last = orders.orders_of(store, account)[-1]
        row = store.rows("SELECT * FROM accounts WHERE account = ?", (account,))[0]
    header = Header(
        *(CardKind.PURCHASE, 1, 1, account, row["meter"], "", last["order"], last["amount_fen"]),
        issued_t2000=row["last_t2000"],
    )
    with opened() as memory:
        written = issuer().issue(memory, header)
        _mark(memory, written, row, keys.key_of(1, 1))
    counter = Counter(opened, lambda _header: keys.key_of(1, 1), issuer, Header)
    with Service(counter, url, _READER_KEY, 0) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        try:
            yield f"{service.server_port}-{_READER_KEY}"
        finally:
            service.shutdown()
            thread.join()


def _mark(memory: FileCard, header: Header, row: dict[str, Any], key: bytes) -> None:
    """Write on the card what its concentrator wrote there two days ago."""
    held = frames.parse(memory.read(0, frames.CARD_SIZE), key)
    registers_wh = [max(0, one - 9_000) for one in row["registers_wh"]]
    mark = WriteBack(
        code=1,
        state=0,
        relay=0,
        order=header.order,
        balance_fen=row["credit_fen"] - row["debit_fen"] + 961,
        credit_fen=row["credit_fen"],
        overdraft_fen=0,
        used_wh=0,
        tier=1,
        rates=len(registers_wh),
        illegal=0,
        registers_wh=(*registers_wh, *[0] * 4)[:4],
        t2000=row["last_t2000"] - 2 * DAY_S,
        concentrator=made_village.CONCENTRATOR,
        key_version=1,
        header_mac=held.header_mac.hex().upper(),
        amount_fen=header.amount_fen,
    )
    at = frames.IMAGE_OFFSET + frames.WRITE_BACK_OFFSET
    memory.write(at, frames.build_write_back(mark, header, key))


def _take(browser: Browser, url: str, reader: str) -> None:
    for name, path, scheme, (width, height), language, first in _PICTURES:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            locale=language,
        )
        context.add_init_script(f"localStorage.setItem('dianka-counter', '{reader}')")
        page = context.new_page()
        page.goto(url + path)
        if path.endswith("#card"):
            page.wait_for_selector(".held")
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
        _reader(Path(folder), url) as reader,
        sync_playwright() as client,
    ):
        browser = client.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        _take(browser, url, reader)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
