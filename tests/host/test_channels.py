"""Goal: a channel's program sells once what it asks for, and every call that is none is refused.

Method: `dianka headend serve --page` runs as a process, and channels call it with signatures of
their own. A table has each refusal: how the call is made, and the name under which it is refused;
the books are the same before and after.
"""

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import audit, channels, migrate, orders, registry
from host.headend.channels import Channel
from host.headend.ingest import Ingest
from host.headend.registry import Entry
from host.headend.store import Store
from tests.host.channel_client import Client, Told
from tests.host.serving import HeadEnd
from tests.host.uplink_world import KEYS, account_name, deliver, meter_address, village_of
from tools.cluster import cluster

pytestmark = pytest.mark.slow

HOUSEHOLDS = 12
ONE, OTHER = account_name(0), account_name(1)
CLOSED, LEASED, RICH, BUYER = (account_name(row) for row in (2, 3, 4, 5))
NOBODY = "999999999999"
LIMIT_FEN, DAY_FEN = 50_000, 400_000
PAYMENT = {"account": ONE, "amount_fen": 100}


class World:
    """A head-end with channels: a bank, a POS, one that may only look, one that may only sell."""

    def __init__(self, folder: Path, address: str) -> None:
        with Store(address, create=True) as store:
            for row in range(HOUSEHOLDS):
                orders.sell(store, account_name(row), 10000)
            deliver(Ingest(store, KEYS), village_of(HOUSEHOLDS, 40))
            entries = [
                Entry(account_name(row), f"C-{row}", "王小明", meter=meter_address(row))
                for row in range(HOUSEHOLDS)
            ]
            registry.take(store, entries)
            for name, rights, day_fen in (
                ("bank", channels.RIGHTS, DAY_FEN),
                ("pos", channels.RIGHTS, DAY_FEN),
                ("looker", (channels.LOOK,), DAY_FEN),
                ("seller", (channels.SELL,), DAY_FEN),
                ("small", channels.RIGHTS, LIMIT_FEN),
                ("big", channels.RIGHTS, 99_000_000),
                ("stopped", channels.RIGHTS, DAY_FEN),
                ("wallet", (), DAY_FEN),
            ):
                kind = "simulated" if name == "wallet" else "bank"
                sale_fen = 99_000_000 if name == "big" else LIMIT_FEN
                wanted = Channel(name, kind, rights, sale_fen, day_fen)
                channels.add_channel(store, wanted, secrets_of(name))
            channels.stop_channel(store, "stopped", "the key was seen")
            with store.writing() as database:
                database.run("UPDATE contracts SET closed_at = 1 WHERE account = ?", (CLOSED,))
                database.run("INSERT INTO leases (lease, counter, state) VALUES (1, 'pc', 'out')")
                database.run(
                    "INSERT INTO leased_orders (lease, account, first_order, last_order) "
                    "VALUES (1, ?, 5, 9)",
                    (LEASED,),
                )
        self.head_end = HeadEnd(folder, "--page", "127.0.0.1:0", database=address)
        self.references = 0

    def __getattr__(self, name: str) -> Client:
        return Client(self.head_end.url, name, secrets_of(name))

    def new(self) -> str:
        """Return a reference that no sale has had."""
        self.references += 1
        return f"r-{self.references}"

    def asked(self, account: str = ONE, fen: int = 100, **changes: Any) -> dict[str, Any]:
        return {"account": account, "amount_fen": fen, "reference": self.new(), **changes}

    def sold(self, account: str = ONE, by: str = "bank", fen: int = 100) -> dict[str, Any]:
        """Sell, and return what was asked for."""
        asked = self.asked(account, fen)
        told = getattr(self, by).post("/sales", asked)
        assert told.status == 200, told
        return asked

    def cancel(self, asked: dict[str, Any], by: str = "bank") -> Told:
        told: Told = getattr(self, by).post("/cancellations", {**asked, "reason": "typo"})
        return told

    def change(self, statement: str, *values: Any) -> None:
        """Change the database as a concentrator's records would."""
        with Store(self.head_end.database) as store:
            store.database.run(statement, values)

    def books(self) -> list[dict[str, Any]]:
        with Store(self.head_end.database, read_only=True) as store:
            return store.rows(
                'SELECT account, "order", amount_fen, voided_at FROM orders ORDER BY id'
            )


def secrets_of(name: str) -> str:
    return name.encode().hex().rjust(64, "0")


@pytest.fixture(
    scope="module",
    name="world",
    params=["sqlite", "postgres"],
)
def _world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Have the channels of each engine."""
    folder = tmp_path_factory.mktemp("channels")
    with ExitStack() as ends:
        database = str(folder / "village.db")
        if request.param == "postgres":
            database = ends.enter_context(cluster())
            migrate.make_postgres(database)
        made = World(folder, database)
        ends.callback(made.head_end.end, signal.SIGKILL)
        yield made


Call = Callable[[], Told]
REFUSED: list[Any] = []


def refused(name: str) -> Callable[[Callable[[World], Call]], None]:
    """Add a row to the table: what prepares a call, the call being what it returns."""

    def note(function: Callable[[World], Call]) -> None:
        REFUSED.append(pytest.param(name, function, id=function.__name__.strip("_")))

    return note


def row(name: str, label: str, call: Callable[[World], Told]) -> None:
    """Add a call that needs no preparation."""
    REFUSED.append(pytest.param(name, lambda world: lambda: call(world), id=label))


def changed(**headers: str | None) -> Callable[[World], Told]:
    """Return a sale of which headers were changed after it was signed."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda world: world.bank.post("/sales", world.asked(), changes=told)


def sale(**told: Any) -> Callable[[World], Told]:
    """Return a sale with fields that are changed before it is signed."""
    return lambda world: world.bank.post("/sales", {**world.asked(), **told})


# --- forged -------------------------------------------------------------------------------------

row("no_channel", "without a channel", changed(Dianka_Channel=None))
row("unknown_channel", "of a channel that is not there", changed(Dianka_Channel="bank-9"))
row("bad_signature", "in the name of another channel", changed(Dianka_Channel="pos"))
row("no_signature", "unsigned", changed(Dianka_Signature=None))
row("bad_signature", "signed with a word", changed(Dianka_Signature="signed"))
row("bad_signature", "signed with zeros", changed(Dianka_Signature="0" * 64))
row("bad_signature", "with another idempotency key", changed(Idempotency_Key="k2"))
row("bad_signature", "without its idempotency key", changed(Idempotency_Key=None))
row("bad_signature", "with a later moment", changed(Dianka_Moment="4102444800"))
row("bad_signature", "with another nonce", changed(Dianka_Nonce="n" * 20))
row(
    "bad_signature",
    "with the key of another",
    lambda world: Client(world.head_end.url, "bank", secrets_of("pos")).get("/sales/r"),
)
row(
    "bad_signature",
    "with another body",
    lambda world: world.bank.post("/sales", world.asked(), sent=b'{"amount_fen": 1}'),
)
row(
    "bad_signature",
    "at another address",
    lambda world: world.bank.post("/sales", world.asked(), to="/refunds"),
)
row(
    "bad_signature",
    "with another query",
    lambda world: world.bank.get("/sales/r/receipt.pdf?paper=58", to="/sales/r/receipt.pdf"),
)
row("channel_stopped", "of a stopped channel", lambda world: world.stopped.get("/sales/r"))


@refused("bad_signature")
def by_another_method(world: World) -> Call:
    headers = world.bank.headers("GET", "/api/v1/sales", b"")
    return lambda: world.bank.send("POST", "/sales", b"", headers)


# --- out of time --------------------------------------------------------------------------------

row("no_moment", "without a moment", changed(Dianka_Moment=None))
row("bad_moment", "at a moment in words", lambda world: world.bank.get("/sales/r", moment="now"))
row("bad_moment", "before 1970", lambda world: world.bank.get("/sales/r", moment="-1"))
row(
    "bad_moment",
    "at the end of time",
    lambda world: world.bank.get("/sales/r", moment="9" * 40),
)
row(
    "expired",
    "too late",
    lambda world: world.bank.get("/sales/r", moment=str(int(time.time()) - 320)),
)
row(
    "too_early",
    "by a clock that is fast",
    lambda world: world.bank.get("/sales/r", moment=str(int(time.time()) + 320)),
)

# --- replayed -----------------------------------------------------------------------------------

row("no_nonce", "without a nonce", changed(Dianka_Nonce=None))
row("bad_nonce", "with a short nonce", lambda world: world.bank.get("/sales/r", nonce="n1"))
row("bad_nonce", "with a long nonce", lambda world: world.bank.get("/sales/r", nonce="n" * 65))
row(
    "bad_nonce",
    "with a nonce of signs",
    lambda world: world.bank.get("/sales/r", nonce="' OR 1=1 -- or more"),
)
row(
    "no_idempotency_key",
    "a sale without a key",
    lambda world: world.bank.post("/sales", world.asked(), key=""),
)
row(
    "bad_idempotency_key",
    "a sale with a key of signs",
    lambda world: world.bank.post("/sales", world.asked(), key="a b"),
)


@refused("replayed")
def a_look_for_the_second_time(world: World) -> Call:
    nonce = secrets.token_hex(12)
    assert world.bank.post("/households", {"account": ONE}, nonce=nonce).status == 200
    return lambda: world.bank.post("/households", {"account": ONE}, nonce=nonce)


@refused("replayed")
def a_sale_for_the_second_time(world: World) -> Call:
    told = {"key": secrets.token_hex(8), "nonce": secrets.token_hex(12)}
    asked = world.asked()
    assert world.bank.post("/sales", asked, **told).status == 200
    return lambda: world.bank.post("/sales", asked, **told)


@refused("replayed")
def another_sale_with_a_used_nonce(world: World) -> Call:
    nonce = secrets.token_hex(12)
    assert world.bank.post("/sales", world.asked(), nonce=nonce).status == 200
    return lambda: world.bank.post("/sales", world.asked(), nonce=nonce)


@refused("replayed")
def a_refused_sale_for_the_second_time(world: World) -> Call:
    told = {"key": secrets.token_hex(8), "nonce": secrets.token_hex(12)}
    asked = world.asked(NOBODY)
    assert world.bank.post("/sales", asked, **told).refused == "unknown_account"
    return lambda: world.bank.post("/sales", asked, **told)


@refused("key_reused")
def another_amount_under_a_used_key(world: World) -> Call:
    asked = world.asked()
    assert world.bank.post("/sales", asked, key="twice").status == 200
    return lambda: world.bank.post("/sales", {**asked, "amount_fen": 200}, key="twice")


@refused("key_reused")
def a_refund_under_the_key_of_a_sale(world: World) -> Call:
    asked = world.asked()
    assert world.bank.post("/sales", asked, key="sale-and-refund").status == 200
    return lambda: world.bank.post("/refunds", asked, key="sale-and-refund")


# --- reordered ----------------------------------------------------------------------------------


@refused("cancelled_before")
def a_sale_that_comes_after_its_cancellation(world: World) -> Call:
    asked = world.asked()
    assert world.cancel(asked).body["state"] == "never sold"
    return lambda: world.bank.post("/sales", asked)


@refused("cancelled")
def a_sale_that_was_cancelled(world: World) -> Call:
    asked = world.sold()
    assert world.cancel(asked).body["state"] == "cancelled"
    assert world.cancel(asked).body["state"] == "cancelled", "as often as it is said"
    return lambda: world.bank.post("/sales", asked)


@refused("not_newest")
def a_cancellation_of_the_older_of_two(world: World) -> Call:
    older = world.sold(OTHER)
    world.sold(OTHER)
    return lambda: world.cancel(older)


@refused("order_waits")
def a_refund_of_what_is_not_redeemed(world: World) -> Call:
    world.sold(BUYER)
    return lambda: world.bank.post("/refunds", world.asked(BUYER, 50))


@refused("on_its_way")
def a_cancellation_of_what_was_sent(world: World) -> Call:
    account = account_name(6)
    asked = world.sold(account)
    world.change("UPDATE commands SET state = 'sent' WHERE account = ?", account)
    return lambda: world.cancel(asked)


@refused("redeemed")
def a_cancellation_of_what_is_redeemed(world: World) -> Call:
    account = account_name(7)
    asked = world.sold(account)
    world.change('UPDATE accounts SET "order" = 2 WHERE account = ?', account)
    return lambda: world.cancel(asked)


# --- of others ----------------------------------------------------------------------------------


@refused("other_account")
def a_cancellation_for_another_account(world: World) -> Call:
    asked = world.sold()
    return lambda: world.cancel({**asked, "account": OTHER})


@refused("other_amount")
def a_cancellation_of_another_amount(world: World) -> Call:
    asked = world.sold()
    return lambda: world.cancel({**asked, "amount_fen": 1})


@refused("other_account")
def a_sale_to_another_account_under_its_reference(world: World) -> Call:
    asked = world.sold()
    return lambda: world.bank.post("/sales", {**asked, "account": OTHER})


@refused("other_amount")
def a_sale_of_another_amount_under_its_reference(world: World) -> Call:
    asked = world.sold()
    return lambda: world.bank.post("/sales", {**asked, "amount_fen": 99})


@refused("no_such_sale")
def a_look_at_a_sale_of_another_channel(world: World) -> Call:
    asked = world.sold()
    return lambda: world.pos.get(f"/sales/{asked['reference']}")


@refused("no_such_sale")
def a_receipt_of_a_sale_of_another_channel(world: World) -> Call:
    asked = world.sold()
    return lambda: world.pos.get(f"/sales/{asked['reference']}/receipt.pdf")


@refused("not_sold_here")
def a_refund_of_what_another_channel_sold(world: World) -> Call:
    world.sold(account_name(8))
    return lambda: world.pos.post("/refunds", world.asked(account_name(8), 50))


@refused("reference_taken")
def a_refund_under_the_reference_of_a_sale(world: World) -> Call:
    asked = world.sold()
    return lambda: world.bank.post("/refunds", asked)


@refused("over_balance")
def a_refund_of_more_than_is_left(world: World) -> Call:
    world.sold(RICH, "big", 40_000)
    world.change('UPDATE accounts SET "order" = 2, credit_fen = 5 WHERE account = ?', RICH)
    return lambda: world.big.post("/refunds", world.asked(RICH, 30_000))


@refused("not_a_sale")
def a_cancellation_of_a_refund(world: World) -> Call:
    account = account_name(9)
    world.sold(account)
    world.change('UPDATE accounts SET "order" = 2 WHERE account = ?', account)
    asked = world.asked(account, 50)
    assert world.bank.post("/refunds", asked).body["state"] == "refund noted"
    assert world.bank.post("/refunds", asked).body["state"] == "refund noted", "once"
    return lambda: world.cancel(asked)


# --- without the right --------------------------------------------------------------------------

row(
    "no_right", "a sale of one who looks", lambda world: world.looker.post("/sales", world.asked())
)
row(
    "no_right",
    "a cancellation of one who looks",
    lambda world: world.cancel(world.asked(), "looker"),
)
row(
    "no_right",
    "a refund of one who looks",
    lambda world: world.looker.post("/refunds", world.asked()),
)
row(
    "no_right",
    "a statement of one who looks",
    lambda world: world.looker.get("/statements/2026-07-01"),
)
row(
    "no_right",
    "a look of one who sells",
    lambda world: world.seller.post("/households", {"account": ONE}),
)
row("no_right", "a sale's look of one who sells", lambda world: world.seller.get("/sales/r"))

# --- by scratch cards and at providers ----------------------------------------------------------

row(
    "no_such_card",
    "a code that is none",
    lambda world: world.bank.post("/recharges", {"account": ONE, "code": "0" * 20}),
)
row(
    "no_right",
    "a code of one who looks",
    lambda world: world.looker.post("/recharges", {"account": ONE, "code": "0" * 20}),
)
row(
    "no_right",
    "a payment of one who looks",
    lambda world: world.looker.post("/payments", {**PAYMENT, "provider": "wallet"}),
)
row(
    "no_provider",
    "a payment at a bank",
    lambda world: world.bank.post("/payments", {**PAYMENT, "provider": "pos"}),
)
row("no_such_payment", "a look at no payment", lambda world: world.bank.get("/payments/none"))
row(
    "no_provider",
    "a notification of a bank",
    lambda world: world.bank.send("POST", "/providers/bank/notifications", b"{}", {}),
)
row(
    "bad_signature",
    "a notification that is unsigned",
    lambda world: world.bank.send("POST", "/providers/wallet/notifications", b"{}", {}),
)
row("no_right", "a call of a provider", lambda world: world.wallet.get("/sales/r"))

# --- too much -----------------------------------------------------------------------------------

row("over_sale_limit", "a sale above its limit", sale(amount_fen=LIMIT_FEN + 1))
row(
    "over_sale_limit",
    "a quote above its limit",
    lambda world: world.bank.post("/quotes", {"account": ONE, "amount_fen": LIMIT_FEN + 1}),
)
row(
    "over_station_limit",
    "a sale above the station's",
    lambda world: world.big.post("/sales", world.asked(fen=10_000_001)),
)


@refused("over_day_limit")
def a_sale_above_the_limit_of_a_day(world: World) -> Call:
    world.sold(account_name(10), "small", LIMIT_FEN)
    return lambda: world.small.post("/sales", world.asked(account_name(10), 1))


@refused("over_account_day_limit")
def a_sale_above_what_an_account_buys(world: World) -> Call:
    account = account_name(11)
    world.sold(account, "big", 9_000_000)
    world.sold(account, "big", 9_000_000)
    return lambda: world.big.post("/sales", world.asked(account, 9_000_000))


# --- not in the books, or not of their form -----------------------------------------------------

row("unknown_account", "a sale to nobody", sale(account=NOBODY))
row(
    "unknown_account",
    "a look at nobody",
    lambda world: world.bank.post("/households", {"account": NOBODY}),
)
row("account_closed", "a sale to a closed account", sale(account=CLOSED))
row("leased", "a sale to a leased account", sale(account=LEASED))
row("no_such_sale", "a look at no sale", lambda world: world.bank.get("/sales/none"))
row(
    "missing_field",
    "a sale without an amount",
    lambda world: world.bank.post("/sales", {"account": ONE, "reference": "r"}),
)
row("bad_field", "a sale of a list", lambda world: world.bank.post("/sales", [1]))
row("unknown_field", "a sale with a field more", sale(yuan=5))
row("not_json", "a sale in words", lambda world: world.bank.post("/sales", b"fifty yuan"))
row("too_large", "a sale of 20 KB", lambda world: world.bank.post("/sales", b" " * 20_000))
for _label, _amount in (
    *(("nothing", 0), ("less than nothing", -5), ("a fraction", 10.5), ("a text", "100")),
    *(("a truth", True), ("no number", None), ("everything", 1 << 70)),
):
    row("bad_field", f"a sale of {_label}", sale(amount_fen=_amount))
for _label, _account in (
    *(("short", "1"), ("long", "0" * 13), ("Arabic", "٠" * 12), ("injected", "1' OR '1'='1")),
):
    row("bad_field", f"an account that is {_label}", sale(account=_account))
for _label, _reference in (
    ("empty", ""),
    ("long", "r" * 41),
    ("injected", "r'; DROP TABLE orders"),
):
    row("bad_field", f"a reference that is {_label}", sale(reference=_reference))
row("bad_field", "a day that is none", lambda world: world.bank.get("/statements/2026-02-30"))
row(
    "bad_field",
    "a paper that is none",
    lambda world: world.bank.get("/sales/r/receipt.pdf?paper=a0"),
)


def test_the_table_is_long() -> None:
    assert len(REFUSED) >= 40


@pytest.mark.parametrize(("name", "prepare"), REFUSED)
def test_a_call_is_refused_by_name(
    world: World, name: str, prepare: Callable[[World], Call]
) -> None:
    call = prepare(world)
    before = world.books()
    told = call()
    assert (told.refused, told.status // 100) == (name, 4), told
    assert len(told.body["text"]) > 10
    assert world.books() == before


# --- what is done -------------------------------------------------------------------------------


def test_a_sale_counts_once_also_behind_a_crash(world: World) -> None:
    asked = world.asked(fen=5000)
    before = len(world.books())
    first = world.bank.post("/sales", asked, key="crash")
    assert (first.status, first.body["state"]) == (200, "sold")
    world.head_end.end(signal.SIGKILL)
    world.head_end.start()
    assert world.bank.post("/sales", asked, key="crash") == first
    assert world.bank.post("/sales", asked, key="another-key") == first, "once under a reference"
    assert len(world.books()) == before + 1
    with Store(world.head_end.database) as store:
        (entry,) = audit.entries(store, account=ONE, action="sale")[-1:]
        assert (entry["door"], entry["person"], entry["amount_fen"]) == ("channel", "bank", 5000)
        order = first.body["order"]
        commands = store.rows('SELECT text FROM commands WHERE "order" = ?', (order,))
        texts = [one["text"] for one in commands if f" {ONE} " in one["text"]]
        assert [text.split()[:4] for text in texts] == [["credit", ONE, str(order), "5000"]]
        assert orders.sell(store, ONE, 100) == order + 1, "the numbers of cards go on"
        assert not audit.verify(store).broken_at


def test_a_payer_sees_who_it_is_and_what_it_does(world: World) -> None:
    account = account_name(4)
    told = world.bank.post("/households", {"account": account}).body
    assert told["name"] == "王**"
    quote = world.bank.post("/quotes", {"account": account, "amount_fen": 700}).body
    assert quote["balance_after_fen"] == told["balance_fen"] + 700
    assert quote["energy_wh"] is None, "no tariff has been told"


def test_a_channel_sees_its_own_sales_alone(world: World) -> None:
    account = account_name(1)
    asked = world.sold(account, "pos", 1234)
    assert world.cancel(asked, "bank").body["state"] == "never sold", "none of the bank's"
    one = world.pos.get(f"/sales/{asked['reference']}").body
    assert (one["state"], one["amount_fen"], one["account"]) == ("waiting", 1234, account)
    paper = world.pos.get(f"/sales/{asked['reference']}/receipt.pdf?paper=58")
    assert paper.body.startswith(b"%PDF")
    gone = world.sold(account, "pos", 66)
    assert world.cancel(gone, "pos").body["state"] == "cancelled"
    with Store(world.head_end.database, read_only=True) as store:
        today = datetime.now(store.zone()).date().isoformat()
    day = world.pos.get(f"/statements/{today}").body
    assert (day["sold_fen"], day["cancelled_fen"], day["sum_fen"]) == (1300, 66, 1234)
    assert [one["state"] for one in day["lines"]] == ["waiting", "cancelled"]


def test_the_interface_describes_itself(world: World) -> None:
    told = world.bank.send("GET", "/openapi.json", b"", {}).body
    assert "/api/v1/sales" in told["paths"]
    assert told["components"]["securitySchemes"]
    refusal = world.bank.call(
        "POST", "/households", {"account": NOBODY}, changes={"Accept-Language": "zh-CN"}
    )
    assert (refusal.refused, refusal.body["text"][:3]) == ("unknown_account", "没有集")


def test_channels_are_kept_by_commands(world: World) -> None:
    def run(*words: str) -> str:
        told = ["headend", "channel", *words, "--db", world.head_end.database]
        return CliRunner().invoke(cli, told, env={"COLUMNS": "200"}).output

    assert "no name of a channel" in run("add", "cash", "--kind", "bank", "--sale=1", "--day=1")
    assert "at most what a day" in run("add", "bb", "--kind", "bank", "--sale=9", "--day=1")
    made = run("add", "new-1", "--kind", "machine", "--sale", "20", "--day", "50")
    assert "new-1 may look, sell, cancel, statement, recharge, pay\n" in made
    client = Client(world.head_end.url, "new-1", made.split()[-1])
    assert client.post("/sales", world.asked(fen=2000)).status == 200
    assert "there was one" in run("add", "new-1", "--kind", "bank", "--sale=1", "--day=1")
    assert run("limit", "new-1").startswith("Usage")
    assert "10.00 yuan at once" in run("limit", "new-1", "--sale", "10", "--right", "sell")
    assert client.post("/sales", world.asked(fen=2000)).refused == "over_sale_limit"
    assert " 20.00 " in run("list")
    assert "is stopped" in run("stop", "new-1", "--reason", "seen")
    assert client.post("/sales", world.asked()).refused == "channel_stopped"
    assert "no channel new-1 is open" in run("stop", "new-1", "--reason", "seen")
    assert "no channel new-1 is open" in run("limit", "new-1", "--day", "90")
    with Store(world.head_end.database) as store:
        assert len(audit.entries(store, action="channel")) >= 10
