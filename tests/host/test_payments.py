"""Goal: whatever providers do, and whatever is killed, each payment is sold once to the fen.

Method: a simulated provider notifies twice, late, never, wrongly signed and with another amount,
and its statements are taken; scratch cards are sold, blocked and redeemed. Then a random run of
payments through five channels over HTTP, in which the head-end is killed also during a call, is
held against a model. The share in CI is small; `DIANKA_PAYMENTS=5000` does all (`make soak`).
"""

import hashlib
import hmac
import json
import os
import secrets
import signal
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import audit, channels, findings, orders, payments, recharge
from host.headend.channel_sales import Call
from host.headend.channels import Channel
from host.headend.errors import Declined, StoreError
from host.headend.ingest import Ingest
from host.headend.orders import Limits
from host.headend.provider_kinds import PROVIDERS
from host.headend.providers import SIMULATED, Access, Paid
from host.headend.store import Store
from tests.host.channel_client import Client, Told
from tests.host.serving import HeadEnd
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

PAYMENTS = int(os.environ.get("DIANKA_PAYMENTS", "300"))
ONE, OTHER = account_name(0), account_name(1)
DAY = date(2026, 7, 1)
NOON = int(datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp())
MOST_FEN = 99_000_000
SIM = PROVIDERS[SIMULATED]


def secret_of(name: str) -> str:
    return name.encode().hex().rjust(64, "0")


def furnish(store: Store, households: int) -> None:
    """Give a database households and five channels, two of them providers."""
    for row in range(households):
        orders.sell(store, account_name(row), 100)
    deliver(Ingest(store, KEYS), village_of(households, 2 * households))
    orders.set_limits(store, Limits(MOST_FEN, MOST_FEN, MOST_FEN))
    for name in ("bank", "pos", "machine", "sim-a", "sim-b"):
        kind = SIMULATED if name.startswith("sim") else "bank"
        rights = () if kind == SIMULATED else channels.RIGHTS
        wanted = Channel(name, kind, rights, MOST_FEN, MOST_FEN)
        channels.add_channel(store, wanted, secret_of(name))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as one:
        furnish(one, 3)
        yield one


def live(store: Store, account: str = ONE) -> list[tuple[int, str]]:
    """Return amount and channel of the orders that count, but the first one of the counter."""
    return [
        (row["amount_fen"], row["channel"])
        for row in orders.orders_of(store, account)
        if row["voided_at"] is None and row["channel"] != "counter"
    ]


def found(store: Store) -> list[str]:
    return [row["what"] for row in findings.findings(store, kind="payment")]


def begun(store: Store, fen: int = 5000) -> str:
    return payments.begin_payment(store, "sim-a", ONE, fen)


# --- a provider ---------------------------------------------------------------------------------


def test_a_payment_that_is_told_twice_is_sold_once(store: Store) -> None:
    paid = Paid("T1", begun(store), 5000, NOON)
    assert payments.take_notice(store, "sim-a", paid) == "sold"
    assert payments.take_notice(store, "sim-a", paid) == "sold"
    assert (live(store), found(store)) == ([(5000, "sim-a")], [])


def test_another_amount_is_sold_to_nobody(store: Store) -> None:
    reference = begun(store)
    paid = Paid("T1", reference, 500, NOON)
    assert payments.take_notice(store, "sim-a", paid) == "differs"
    assert payments.take_notice(store, "sim-a", Paid("T1", reference, 5000, NOON)) == "differs"
    assert live(store) == []
    assert len(found(store)) == 2, "the amount, and that it was told anew"


def test_what_is_no_payment_of_ours_is_a_finding(store: Store) -> None:
    mine = begun(store)
    assert payments.take_notice(store, "sim-b", Paid("T1", mine, 5000, NOON)) == "differs"
    assert payments.take_notice(store, "sim-a", Paid("T1", "nothing", 5000, NOON)) == "differs"
    assert (live(store), len(found(store))) == ([], 2)


def test_money_that_comes_twice_is_a_finding(store: Store) -> None:
    first, second = begun(store), begun(store)
    payments.take_notice(store, "sim-a", Paid("T1", first, 5000, NOON))
    assert payments.take_notice(store, "sim-a", Paid("T2", first, 5000, NOON)) == "sold"
    assert payments.take_notice(store, "sim-a", Paid("T1", second, 5000, NOON)) == "waiting"
    assert (live(store), len(found(store))) == ([(5000, "sim-a")], 2)


def test_what_cannot_be_sold_stays_paid_until_it_can(store: Store) -> None:
    reference = begun(store)
    orders.set_limits(store, Limits(1, 1, 1))
    assert payments.take_notice(store, "sim-a", Paid("T1", reference, 5000, NOON)) == "paid"
    assert payments.sell_waiting(store) == [reference]
    assert "is paid and not sold" in found(store)[0]
    db = ("--db", store.address)
    assert run("payment", "sell", *db).exit_code == 1
    assert reference in run("payment", "list", "--open", *db).output
    orders.set_limits(store, Limits(MOST_FEN, MOST_FEN, MOST_FEN))
    assert run("payment", "sell", *db).output == "all that was paid is sold\n"
    assert live(store) == [(5000, "sim-a")]


def test_a_head_end_that_ends_is_no_refusal(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(store: Store, reference: str) -> str:
        raise Declined("no_answer", "the head-end ended")

    reference = begun(store)
    with monkeypatch.context() as changed:
        changed.setattr(payments, "payment_sold", ended)
        with pytest.raises(Declined, match="ended"):
            payments.take_notice(store, "sim-a", Paid("T1", reference, 5000, NOON))
    assert payments.take_notice(store, "sim-a", Paid("T1", reference, 5000, NOON)) == "sold"
    assert (live(store), found(store)) == ([(5000, "sim-a")], [])


def test_a_forged_notification_is_refused() -> None:
    body = json.dumps({"state": "paid"}).encode()
    with pytest.raises(Declined, match="not of this provider"):
        SIM.notice_of(Access(secret_of("sim-a")), {"Provider-Signature": "é" * 64}, body)
    for told in ({"state": "paid"}, {"state": "paid", **fields("T1", "r", -5)}, []):
        with pytest.raises(Declined, match="cannot be read"):
            SIM.notice_of(Access(secret_of("sim-a")), *signed("sim-a", told))
    assert SIM.notice_of(Access(secret_of("sim-a")), *signed("sim-a", {"state": "closed"})) is None


def test_providers_begin_payments_within_limits(store: Store) -> None:
    with pytest.raises(StoreError, match="no provider"):
        payments.begin_payment(store, "bank", ONE, 100)
    with pytest.raises(Declined, match="sells at once"):
        begun(store, MOST_FEN + 1)
    with pytest.raises(Declined, match="check the number"):
        payments.begin_payment(store, "sim-a", "9" * 12, 100)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "250"})


def fields(number: str, reference: str, fen: int) -> dict[str, Any]:
    named = {"provider_id": number, "reference": reference}
    return {**named, "amount_fen": fen, "paid_at": NOON}


def signed(name: str, told: Any) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a notification of a provider."""
    body = json.dumps(told).encode()
    mac = hmac.new(bytes.fromhex(secret_of(name)), body, hashlib.sha256).hexdigest()
    return {"Provider-Signature": mac, "Content-Type": "application/json"}, body


# --- statements ---------------------------------------------------------------------------------


def test_a_statement_is_matched_line_by_line(store: Store, tmp_path: Path) -> None:
    told, untold, absent = begun(store), begun(store, 70), begun(store, 80)
    payments.take_notice(store, "sim-a", Paid("T1", told, 5000, NOON))
    payments.take_notice(store, "sim-a", Paid("T3", absent, 80, NOON))
    rows = [("T1", told, 5000), ("T2", untold, 70), ("T9", "stranger", 6)]
    path = tmp_path / "bill.csv"
    lines = [f"{number},{reference},{fen},{NOON}\n" for number, reference, fen in rows]
    path.write_text("provider_id,reference,amount_fen,paid_at\n" + "".join(lines))
    words = ("payment", "statement", path, "--provider", "sim-a", "--db", store.address)
    done = run(*words, "--day", DAY)
    assert (done.exit_code, done.output) == (1, "3 lines, 1 match, 3 differences\n")
    assert sorted(live(store)) == [(70, "sim-a"), (80, "sim-a"), (5000, "sim-a")]
    texts = " ".join(found(store))
    for part in (untold, "never told", "stranger", absent, "not in the statement"):
        assert part in texts
    assert len(found(store)) == 3
    assert run(*words, "--day", DAY).output == "3 lines, 2 match, 2 differences\n"
    assert len(found(store)) == 3, "the same differences"
    assert "was not paid on 2026-07-02" in run(*words, "--day", "2026-07-02").output
    path.write_text("provider_id,reference\nT1,r\n")
    assert "line 2 of the statement cannot be read" in run(*words, "--day", DAY).output
    bank = ("payment", "statement", path, "--provider", "bank", "--db", store.address)
    assert "is no provider" in run(*bank, "--day", DAY).output
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot read" in run(*words, "--day", DAY).output


# --- scratch cards ------------------------------------------------------------------------------


def redeem(store: Store, code: str, account: str = ONE, key: str = "") -> dict[str, Any]:
    call = Call("machine", key or secrets.token_hex(8), hashlib.sha256(code.encode()).hexdigest())
    return recharge.redeem_card(store, call, account, code)


def test_a_scratch_card_is_redeemed_once(store: Store) -> None:
    codes = recharge.new_codes(4)
    hashes = [recharge.hash_of(one) for one in codes]
    batch = recharge.make_batch(store, 5000, hashes, int(time.time()) + 60, "Li")
    serials = [recharge.serial_of(batch, at) for at in range(1, 5)]
    with pytest.raises(Declined, match="that was sold"):
        redeem(store, codes[0])
    assert recharge.sell_cards(store, serials[:3], "shop") == 15_000
    with pytest.raises(StoreError, match="sold before"):
        recharge.sell_cards(store, serials[3:] + serials[:1], "shop")
    first = redeem(store, codes[0], key="k")
    assert redeem(store, codes[0], key="k") == first, "a repeat has the same answer"
    for account in (ONE, OTHER):
        with pytest.raises(Declined, match="is used"):
            redeem(store, codes[0], account)
    recharge.block_cards(store, batch, serials[1], "Li", "torn")
    with pytest.raises(Declined, match="is blocked"):
        redeem(store, codes[1])
    recharge.block_cards(store, batch, "", "Li", "the box is lost")
    for code in codes[2:3]:
        with pytest.raises(Declined, match="is blocked"):
            redeem(store, code)
    with pytest.raises(StoreError, match="can be blocked"):
        recharge.block_cards(store, batch, serials[0], "Li", "torn")
    assert live(store) == [(5000, "recharge")]
    (told,) = recharge.batches(store)
    assert (told["sold"], told["redeemed"], told["outstanding_fen"]) == (3, 1, 10_000)
    with store.writing() as database:
        database.run("UPDATE recharge_batches SET blocked_at = NULL, expires_at = 1")
    with pytest.raises(Declined, match="not valid any more"):
        redeem(store, codes[2])
    assert not any(code in str(row) for code in codes for row in audit.entries(store))


def test_guessing_codes_becomes_slow(store: Store) -> None:
    for _again in range(5):
        recharge.try_code(store, ONE)
        with pytest.raises(Declined, match="no code"):
            redeem(store, "0" * 20)
    with pytest.raises(Declined, match="too many"):
        recharge.try_code(store, ONE)
    recharge.try_code(store, OTHER)


def test_cards_are_kept_by_commands(store: Store, tmp_path: Path) -> None:
    db = ("--db", store.address)
    out = tmp_path / "codes.csv"
    made = ("recharge", "make", "--amount", 50, "--count", 3, "--out", out, "--by", "Li", *db)
    assert "batch 1: 3 cards of 50.00 yuan" in run(*made).output
    assert "is there already" in run(*made).output
    assert out.stat().st_mode & 0o77 == 0
    serial, _yuan, code = out.read_text().splitlines()[1].split(",")
    assert "1 cards for 50.00" in run("recharge", "sell", serial, "--to", "shop", *db).output
    assert "no card 7" in run("recharge", "sell", "7", "--to", "shop", *db).output
    assert redeem(store, code.replace(" ", ""))["amount_fen"] == 5000
    block = ("recharge", "block", 1, "--by", "Li", "--reason", "lost", *db)
    assert run(*block).output == "2 cards are blocked\n"
    assert " 50.00 " in run("recharge", "list", *db).output


# --- the random run -----------------------------------------------------------------------------


class Run:
    """Payments through five channels, and what should have become of each."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = Random(seed)
        self.households = 20
        self.stock: list[tuple[str, int]] = []
        with Store(folder / "village.db", create=True) as store:
            furnish(store, self.households)
            for fen in (1000, 5000):
                codes = recharge.new_codes(PAYMENTS // 5 + 1)
                hashes = [recharge.hash_of(one) for one in codes]
                batch = recharge.make_batch(store, fen, hashes, 0, "Li")
                serials = [recharge.serial_of(batch, at + 1) for at in range(len(codes))]
                recharge.sell_cards(store, serials, "shop")
                self.stock += [(code, fen) for code in codes]
        self.random.shuffle(self.stock)
        self.head_end = HeadEnd(folder, "--page", "127.0.0.1:0")
        self.wanted: Counter[tuple[str, str]] = Counter()  # of account and channel, in fen
        self.late: list[Callable[[], None]] = []
        self.lines: dict[str, list[dict[str, Any]]] = {"sim-a": [], "sim-b": []}
        self.differences = 0
        self.kills = 0

    def client(self, name: str) -> Client:
        return Client(self.head_end.url, name, secret_of(name))

    def kill(self) -> None:
        self.kills += 1
        self.head_end.end(signal.SIGKILL)
        self.head_end.start()

    def surely(self, name: str, path: str, asked: dict[str, Any]) -> Told:
        """Call until there is an answer, at times through a kill, and at times again."""
        key = secrets.token_hex(8)
        if self.random.random() < 6 / PAYMENTS + 0.002:
            lost = threading.Thread(target=self.attempt, args=(name, path, asked, key))
            lost.start()
            time.sleep(self.random.random() * 0.04)
            self.kill()
            lost.join()
        told = self.client(name).post(path, asked, key=key)
        if self.random.random() < 0.3:
            assert self.client(name).post(path, asked, key=key) == told
        return told

    def attempt(self, name: str, path: str, asked: dict[str, Any], key: str) -> None:
        """Make a call that may get no answer."""
        try:
            self.client(name).post(path, asked, key=key)
        except (OSError, urllib.error.URLError):
            return

    def sale(self, name: str, account: str, fen: int) -> None:
        asked = {"account": account, "amount_fen": fen, "reference": secrets.token_hex(6)}
        cancel = {**asked, "reason": "no money"}
        if self.random.random() < 0.05:
            assert self.surely(name, "/cancellations", cancel).body["state"] == "never sold"
            assert self.surely(name, "/sales", asked).refused == "cancelled_before"
            return
        assert self.surely(name, "/sales", asked).body["state"] == "sold"
        if self.random.random() < 0.1:
            assert self.surely(name, "/cancellations", cancel).body["state"] == "cancelled"
            return
        self.wanted[account, name] += fen

    def card(self, account: str) -> None:
        code, fen = self.stock.pop()
        if self.random.random() < 0.1:
            wrong = {"account": account, "code": "0" * 20}
            told = self.client("machine").post("/recharges", wrong)
            assert told.refused == "no_such_card"
        done = self.surely("machine", "/recharges", {"account": account, "code": code})
        assert done.body["amount_fen"] == fen
        if self.random.random() < 0.1:
            told = self.client("pos").post("/recharges", {"account": account, "code": code})
            assert told.refused == "card_redeemed"
        self.wanted[account, "recharge"] += fen

    def provided(self, name: str, account: str, fen: int) -> None:
        asked = {"provider": name, "account": account, "amount_fen": fen}
        reference = self.client("bank").post("/payments", asked).body["reference"]
        told = fields(secrets.token_hex(8), reference, fen)
        fate = self.random.choice(
            ("once", "once", "twice", "late", "never", "forged", "another amount", "paid twice")
        )
        if fate == "another amount":
            told["amount_fen"] = fen + 1
            self.differences += 1
        else:
            self.wanted[account, name] += fen
        self.lines[name].append(told)
        if fate == "forged":
            headers, body = signed("bank", {"state": "paid", **told})
            assert self.notify(name, headers, body).refused == "bad_signature"
        if fate == "never":
            self.differences += 1
            return
        if fate == "late":
            self.late.append(lambda: self.tell(name, told))
            return
        self.tell(name, told)
        if fate == "twice":
            self.tell(name, told)
        if fate == "paid twice":
            again = {**told, "provider_id": secrets.token_hex(8)}
            self.tell(name, again)
            self.lines[name].append(again)
            self.differences += 1

    def tell(self, name: str, told: dict[str, Any]) -> None:
        """Notify as a provider does: again, until the notification is taken."""
        headers, body = signed(name, {"state": "paid", **told})
        if self.random.random() < 4 / PAYMENTS + 0.002:
            lost = threading.Thread(target=self.lose, args=(name, headers, body))
            lost.start()
            time.sleep(self.random.random() * 0.04)
            self.kill()
            lost.join()
        assert self.notify(name, headers, body).status == 200

    def lose(self, name: str, headers: dict[str, str], body: bytes) -> None:
        try:
            self.notify(name, headers, body)
        except (OSError, urllib.error.URLError):
            return

    def notify(self, name: str, headers: dict[str, str], body: bytes) -> Told:
        path = f"/providers/{name}/notifications"
        return self.client(name).send("POST", path, body, headers)

    def pay(self) -> None:
        """Make one payment."""
        account = account_name(self.random.randrange(self.households))
        fen = self.random.randrange(1, 20_000)
        name = self.random.choice(("bank", "pos", "machine", "sim-a", "sim-b"))
        if name == "machine":
            self.card(account)
        elif name.startswith("sim"):
            self.provided(name, account, fen)
        else:
            self.sale(name, account, fen)
        if self.late and self.random.random() < 0.2:
            self.late.pop(self.random.randrange(len(self.late)))()


@pytest.mark.slow
def test_each_of_many_payments_is_sold_once(tmp_path: Path) -> None:
    seen = Run(tmp_path, 19)
    try:
        for _one in range(PAYMENTS):
            seen.pay()
        for told in seen.late:
            told()
        assert seen.kills > 0
        with Store(tmp_path / "village.db") as store:
            check_statements(store, seen)
            sold: Counter[tuple[str, str]] = Counter()
            for row in store.rows("SELECT * FROM orders WHERE voided_at IS NULL"):
                if row["channel"] != "counter":
                    sold[row["account"], row["channel"]] += row["amount_fen"]
            assert sold == seen.wanted
            sent = store.rows("SELECT account, \"order\" FROM commands WHERE state <> 'stopped'")
            assert len(sent) == len({(one["account"], one["order"]) for one in sent})
            assert len(found(store)) == seen.differences
            assert not audit.verify(store).broken_at
    finally:
        seen.head_end.end(signal.SIGKILL)


def check_statements(store: Store, seen: Run) -> None:
    """Take the statements of both providers, and again: what was never told is sold then."""
    for name, told in seen.lines.items():
        lines = [Paid(*one.values()) for one in told]
        first = payments.take_statement(store, name, DAY, lines)
        again = payments.take_statement(store, name, DAY, lines)
        assert first.lines == len(lines)
        assert again.matched >= first.matched
        assert again.unsold == []
    rows = store.rows("SELECT channel, sum(amount_fen) AS fen FROM orders GROUP BY channel")
    assert {row["channel"] for row in rows} >= {"bank", "pos", "recharge", "sim-a", "sim-b"}
