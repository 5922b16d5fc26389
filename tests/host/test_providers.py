"""Goal: WeChat Pay and Alipay take a payment, and whatever they tell then, it counts once.

Method: stand-ins sign as the documents of both say, in code of their own. They notify twice, late,
never, wrongly signed, with another amount, another currency, an old moment and another key; their
statements are matched line by line; their settings are refused where they are no good.
"""

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.headend import channels, findings, orders, payments
from host.headend.channels import Channel
from host.headend.errors import Declined, StoreError
from host.headend.ingest import Ingest
from host.headend.provider_kinds import PROVIDERS
from host.headend.store import Store
from tests.host.channel_client import Client
from tests.host.provider_stand_in import DAY, AlipayStandIn, StandIn, WeChatStandIn
from tests.host.serving import HeadEnd
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

ONE = account_name(0)
STAND_INS = (WeChatStandIn, AlipayStandIn)
ON = date.fromisoformat(DAY)
HOUR_S = 3600


class Shop:
    """A store with one provider, and the stand-in behind it."""

    def __init__(self, folder: Path, stand_in: StandIn) -> None:
        self.far: Any = stand_in
        self.provider = PROVIDERS[stand_in.kind]
        self.store = Store(folder / "village.db", create=True)
        orders.sell(self.store, ONE, 100)
        deliver(Ingest(self.store, KEYS), village_of(1, 2))
        settings = str(stand_in.settings())
        wanted = Channel("pay-1", stand_in.kind, (), 100_000, 9_000_000, settings)
        channels.add_channel(self.store, wanted, "")

    def begin(self, fen: int = 5000) -> str:
        begun = payments.begin(self.store, "pay-1", ONE, fen)
        assert begun.code
        return begun.reference

    def paid(self, fen: int = 5000) -> str:
        reference = self.begin(fen)
        self.far.pay(reference)
        return reference

    def tell(self, headers: dict[str, str], body: bytes) -> str:
        """Take a notification as the interface does; return the state of the payment."""
        _channel, access = channels.provider_of(self.store, "pay-1")
        told = self.provider.notice_of(access, headers, body)
        return "" if told is None else payments.take_notice(self.store, "pay-1", told)

    def state(self, reference: str) -> str:
        told = payments.payment(self.store, reference)
        return str(told["state"]) if told else ""

    def sold(self) -> list[int]:
        rows = orders.orders_of(self.store, ONE)
        return [row["amount_fen"] for row in rows if row["channel"] == "pay-1"]

    def found(self) -> list[str]:
        return [row["what"] for row in findings.findings(self.store, kind="payment")]

    def ask(self, after_s: int) -> int:
        return payments.ask_waiting(self.store, int(time.time()) + after_s)


@pytest.fixture(params=STAND_INS, ids=lambda one: str(one.kind))
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    stand_in = request.param(tmp_path)
    made = Shop(tmp_path, stand_in)
    yield made
    made.store.close()
    stand_in.end()


# --- what a provider tells ----------------------------------------------------------------------


def test_a_payment_that_is_notified_twice_is_sold_once(shop: Shop) -> None:
    reference = shop.paid()
    notice = shop.far.notice(reference)
    assert shop.tell(*notice) == "sold"
    assert shop.tell(*notice) == "sold"
    assert shop.tell(*shop.far.notice(reference)) == "sold"
    assert (shop.sold(), shop.found()) == ([5000], [])
    assert shop.ask(HOUR_S) == 0, "nothing is left to be asked for"


def test_a_notification_that_is_late_sells(shop: Shop) -> None:
    reference = shop.paid()
    with shop.store.writing() as database:
        database.run("UPDATE payments SET expires_at = 5, state = 'over'")
    assert shop.tell(*shop.far.notice(reference)) == "sold"
    assert (shop.sold(), shop.found()) == ([5000], [])


def test_what_is_never_notified_is_asked_for(shop: Shop) -> None:
    reference, other = shop.paid(), shop.begin(70)
    assert shop.ask(30) == 0, "a notification has its minute"
    assert shop.ask(61) == 2
    assert sorted(shop.far.asked) == sorted((reference, other))
    assert (shop.sold(), shop.found()) == ([5000], [])
    assert shop.ask(90) == 0, "the other one was asked for just now"
    assert shop.ask(125) == 1
    assert shop.tell(*shop.far.notice(reference)) == "sold", "late, and nothing more"
    shop.far.trades[other]["state"] = "closed"
    assert shop.ask(HOUR_S) == 1
    assert shop.state(other) == "waiting"
    assert shop.ask(4 * HOUR_S) == 1
    assert shop.state(other) == "over"
    shop.far.pay(other)
    assert shop.tell(*shop.far.notice(other)) == "sold", "the money is there all the same"
    assert sorted(shop.sold()) == [70, 5000]


def test_a_provider_that_is_silent_is_asked_again(shop: Shop) -> None:
    shop.paid()
    shop.paid()
    shop.far.is_silent = True
    assert shop.ask(61) == 1, "the second one is not waited for"
    with pytest.raises(Declined, match="does not answer"):
        shop.begin()
    shop.far.is_silent = False
    assert shop.ask(125) == 3, "also for that of which the provider never heard"
    assert shop.sold() == [5000, 5000]


def test_an_answer_of_another_is_none(shop: Shop) -> None:
    reference = shop.paid()
    shop.far.signer = shop.far.stranger
    with pytest.raises(Declined, match="not one of this provider"):
        payments.ask(shop.store, reference, int(time.time()))
    with pytest.raises(Declined, match="not one of this provider"):
        shop.begin()
    assert shop.sold() == []


def test_another_amount_is_sold_to_nobody(shop: Shop) -> None:
    def change(told: dict[str, Any]) -> None:
        if "amount" in told:
            told["amount"]["total"] = 500
        else:
            told["total_amount"] = "5.00"

    assert shop.tell(*shop.far.notice(shop.paid(), change)) == "differs"
    assert (shop.sold(), len(shop.found())) == ([], 1)


def test_another_currency_is_sold_to_nobody(shop: Shop) -> None:
    def change(told: dict[str, Any]) -> None:
        if "amount" in told:
            told["amount"]["currency"] = "JPY"
        else:
            told["trans_currency"] = "JPY"

    reference = shop.paid()
    assert shop.tell(*shop.far.notice(reference, change)) == "differs"
    assert shop.tell(*shop.far.notice(reference, change)) == "differs"
    assert shop.tell(*shop.far.notice(reference)) == "differs", "a person looks first"
    assert shop.sold() == []
    assert "50.00 JPY in place of yuan" in shop.found()[0]


Notice = tuple[dict[str, str], bytes]


def wrongly_signed(far: Any, reference: str) -> Notice:
    far.signer = far.stranger
    notice: Notice = far.notice(reference)
    return notice


def changed_on_its_way(far: Any, reference: str) -> Notice:
    headers, body = far.notice(reference)
    return headers, body.replace(b"id", b"ID", 1)


def old(far: Any, reference: str) -> Notice:
    notice: Notice = far.notice(reference, at=int(time.time()) - 27 * HOUR_S)
    return notice


def early(far: Any, reference: str) -> Notice:
    notice: Notice = far.notice(reference, at=int(time.time()) + 27 * HOUR_S)
    return notice


def unsigned(far: Any, reference: str) -> Notice:
    _headers, body = far.notice(reference)
    return {"Wechatpay-Serial": getattr(far, "serial", "")}, body.partition(b"&sign=")[0]


def of_another_merchant(far: Any, reference: str) -> Notice:
    def change(told: dict[str, Any]) -> None:
        told["mchid" if "mchid" in told else "seller_id"] = "2088"

    notice: Notice = far.notice(reference, change)
    return notice


def without_a_number(far: Any, reference: str) -> Notice:
    def change(told: dict[str, Any]) -> None:
        del told["transaction_id" if "transaction_id" in told else "trade_no"]

    notice: Notice = far.notice(reference, change)
    return notice


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (wrongly_signed, "bad_signature"),
        (changed_on_its_way, "bad_signature"),
        (unsigned, "bad_signature"),
        (old, "expired"),
        (early, "expired"),
        (of_another_merchant, "other_merchant"),
        (without_a_number, "bad_field"),
    ],
)
def test_a_notification_is_refused_by_name(
    shop: Shop, make: Callable[[Any, str], Notice], name: str
) -> None:
    notice = make(shop.far, shop.paid())
    with pytest.raises(Declined) as refusal:
        shop.tell(*notice)
    assert refusal.value.name == name
    assert (shop.sold(), shop.found()) == ([], [])


def test_wechat_signs_with_a_key_that_is_known(tmp_path: Path) -> None:
    stand_in = WeChatStandIn(tmp_path)
    shop = Shop(tmp_path, stand_in)
    headers, body = stand_in.notice(shop.paid())
    with pytest.raises(Declined, match="do not have"):
        shop.tell({**headers, "Wechatpay-Serial": "7132D72A03E93CDDF8C03BBD1F37EEDF"}, body)
    moment = int(time.time()) - 301
    with pytest.raises(Declined, match="is old"):
        shop.tell(*stand_in.notice(next(iter(stand_in.trades)), at=moment))
    stand_in.key = "f" * 32  # signed, and encrypted for another
    with pytest.raises(Declined, match="not of this provider"):
        shop.tell(*stand_in.notice(next(iter(stand_in.trades))))
    assert shop.sold() == []
    stand_in.end()


# --- statements ---------------------------------------------------------------------------------


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "250"})


def test_a_statement_is_fetched_and_matched_line_by_line(shop: Shop, tmp_path: Path) -> None:
    told, untold, unpaid = shop.paid(), shop.paid(70), shop.begin(80)
    shop.tell(*shop.far.notice(told))
    shop.far.refunds.append((told, 1000))
    out = tmp_path / "bill"
    db = ("--db", shop.store.address)
    bill = ("payment", "bill", "--provider", "pay-1", *db)
    done = run(*bill, "--day", DAY, "--out", out)
    assert (done.exit_code, done.output) == (1, "3 lines, 1 match, 2 differences\n")
    assert sorted(shop.sold()) == [70, 5000]
    texts = " ".join(shop.found())
    for part in (untold, "never told", "10.00 yuan of the payment", "no refund of it"):
        assert part in texts
    assert unpaid not in texts
    again = ("payment", "statement", out, "--provider", "pay-1", *db, "--day", DAY)
    assert run(*again).output == "3 lines, 2 match, 1 differences\n"
    content = out.read_bytes()
    out.write_bytes(content[:-60])
    assert "cannot read" in run(*again).output or "is cut off" in run(*again).output
    assert sorted(shop.sold()) == [70, 5000]
    assert f"payment {unpaid}: waiting" in run("payment", "ask", unpaid, *db).output
    assert "no payment has" in run("payment", "ask", "none", *db).output


def test_a_line_that_is_none_is_named(shop: Shop) -> None:
    shop.paid()
    content = shop.far.bill()
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            content = file.read(file.namelist()[1])
    with pytest.raises(StoreError, match=r"line \d+ of the statement cannot be read"):
        shop.provider.lines_of(content.replace(b"50.00", b"5e1"))


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gateway": "http://pay.example"}, "is no https address"),
        ({"private_key": "none.pem"}, "cannot read"),
        ({"private_key": "pay.toml"}, "has no RSA key in PEM"),
        ({"private_key": "link.pem"}, "is a link"),
        ({"private_key": "open.pem"}, "others may read"),
        ({"notify_url": ""}, "has no line notify_url"),
    ],
)
def test_settings_that_are_no_good_are_refused(
    shop: Shop, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    (tmp_path / "link.pem").symlink_to(tmp_path / "station.pem")
    shop.far.write("open.pem", b"x").chmod(0o644)
    path = shop.far.settings(**changes)
    words = ("channel", "add", "pay-2", "--kind", shop.far.kind, "--sale=1", "--day=1")
    done = run(*words, "--db", shop.store.address, "--settings", path)
    assert (done.exit_code, said in done.output) == (1, True), done.output
    assert "PRIVATE" not in done.output


def test_a_provider_is_added_with_its_file(shop: Shop, tmp_path: Path) -> None:
    words = ("channel", "add", "pay-2", "--kind", shop.far.kind, "--sale=1", "--day=1")
    db = ("--db", shop.store.address)
    assert "give --settings" in run(*words, *db).output
    path = shop.far.settings()
    done = run(*words, *db, "--settings", path)
    assert (done.exit_code, "is reached with" in done.output) == (0, True), done.output
    path.chmod(0o640)
    with pytest.raises(StoreError, match="others may read"):
        shop.begin()
    stored = shop.store.rows("SELECT * FROM channels")
    assert "PRIVATE" not in str(stored)
    bank = ("channel", "add", "bank", "--kind", "bank", "--sale=1", "--day=1", *db)
    assert "has no settings" in run(*bank, "--settings", path).output


def test_a_certificate_has_its_serial(tmp_path: Path) -> None:
    stand_in = WeChatStandIn(tmp_path)
    path = stand_in.settings()
    path.write_text(path.read_text().replace("5157", "6157"))
    access = channels.access_of(Channel("p", "wechat", (), 1, 1, str(path)))
    with pytest.raises(StoreError, match="of another serial"):
        PROVIDERS["wechat"].check(access)
    stand_in.settings(api_v3_key="short")
    with pytest.raises(StoreError, match="has 32 characters"):
        PROVIDERS["wechat"].check(access)
    stand_in.end()


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_providers_notify_over_http(tmp_path: Path) -> None:
    secret = "ab" * 32
    shops: list[tuple[str, Any]] = []
    with Store(tmp_path / "village.db", create=True) as store:
        orders.sell(store, ONE, 100)
        deliver(Ingest(store, KEYS), village_of(1, 2))
        channels.add_channel(store, Channel("bank", "bank", channels.RIGHTS, 9999, 9999), secret)
        for number, kind in enumerate(STAND_INS):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            far = kind(folder)
            shops.append((f"pay-{number}", far))
            settings = str(far.settings())
            wanted = Channel(f"pay-{number}", kind.kind, (), 9999, 99999, settings)
            channels.add_channel(store, wanted, "")
    head_end = HeadEnd(tmp_path, "--page", "127.0.0.1:0")
    bank = Client(head_end.url, "bank", secret)
    for name, far in shops:
        begun = bank.post("/payments", {"account": ONE, "amount_fen": 70, "provider": name}).body
        reference = begun["reference"]
        assert (begun["state"], begun["code"][:5]) in (("waiting", "weixi"), ("waiting", "https"))
        far.pay(reference)
        headers, body = far.notice(reference)
        forged = far.notice(reference, at=5)
        assert bank.send("POST", f"/providers/{name}/notifications", *forged[::-1]).status == 401
        for _again in range(2):
            told = bank.send("POST", f"/providers/{name}/notifications", body, headers)
            assert told.status == 200
            assert told.body in ({"code": "SUCCESS"}, b"success")
        other = bank.post("/payments", {"account": ONE, "amount_fen": 9, "provider": name}).body
        far.pay(other["reference"])
        asked = bank.post(f"/payments/{other['reference']}/question", {})
        assert (asked.body["state"], asked.body["amount_fen"]) == ("sold", 9)
        far.is_silent = True
        told = bank.post("/payments", {"account": ONE, "amount_fen": 9, "provider": name})
        assert (told.status, told.refused) == (503, "provider_silent")
    head_end.process.kill()
    head_end.process.wait()
    with Store(tmp_path / "village.db") as store:
        sold = [row["amount_fen"] for row in orders.orders_of(store, ONE)]
        assert sorted(sold) == [9, 9, 70, 70, 100]
    for _name, far in shops:
        far.end()
