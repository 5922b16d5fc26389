"""Goal: a landlord's tenants move in and out, each begins and ends at zero, and every fen of
balance and deposit is where the books say.

Method: the commands and functions of rooms on a house of two rooms, which a concentrator reads.
"""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import approvals, audit, drawer, final_bill, life, orders, rooms, shifts, users
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.life import Act
from host.headend.reconcile import reconcile
from host.headend.rooms import Tenant
from host.headend.store import Store
from tests.host.paging import Browser
from tests.host.serving import HeadEnd, converse
from tests.host.uplink_world import KEYS, Device, Village, account_name, deliver

ROOM = account_name(0)
BY = "landlord"


class House:
    """Two rooms at a concentrator, and the landlord's database."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "house.db", create=True)
        self.village = Village()
        self.number = 0
        for row in range(2):
            self.village.meter(row)
            self.village.reading(row, 0)
        self.tell()

    def tell(self) -> None:
        self.number += 1
        deliver(Ingest(self.store, KEYS), self.village, self.number)

    def use(self, fen: int) -> None:
        """Use energy for so many fen; a fen is 20 Wh."""
        self.village.reading(0, fen)
        self.tell()

    def redeem(self) -> int:
        """Redeem the order that waits; return its amount."""
        order = orders.find_order(self.store, ROOM)
        assert order is not None
        self.village.top_up(0, order.amount_fen, order=order.order)
        self.tell()
        return order.amount_fen

    def register(self) -> tuple[int]:
        return (self.village.debit_fen[0] * 20,)

    def sell(self, fen: int) -> None:
        orders.sell(self.store, ROOM, fen)
        self.redeem()

    def state(self) -> tuple[int, int]:
        """Return balance and deposit of the room."""
        one = rooms.rooms(self.store)[0]
        return one["balance_fen"], one["deposit_fen"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.store.close()


def test_a_tenant_ends_at_zero_and_the_next_begins_there(house: House, tmp_path: Path) -> None:
    first = rooms.move_in(house.store, ROOM, Tenant("Wang", "138", 50000), (0,), BY)
    house.sell(10000)
    house.use(2500)
    assert house.state() == (7500, 50000)
    done = rooms.move_out(house.store, ROOM, house.register(), BY)
    assert (done.tenancy, done.returned_fen, done.refund_fen, done.set_off_fen) == (
        *(first, 50000, 7500, 0),
    )
    commands = house.store.rows("SELECT text FROM commands ORDER BY number")
    assert [one["text"].split()[:4] for one in commands] == [
        ["account", "used", ROOM, "0"],
        ["credit", ROOM, "2", "-7500"],
    ]
    with pytest.raises(StoreError, match="is not redeemed"):
        rooms.move_in(house.store, ROOM, Tenant("Li"), house.register(), BY)
    with pytest.raises(StoreError, match="pay out once its concentrator has told"):
        rooms.pay_back(house.store, first, BY)
    assert house.redeem() == -7500
    assert rooms.rooms(house.store)[0]["owed_back_fen"] == 7500
    assert rooms.pay_back(house.store, first, BY) == 7500
    with pytest.raises(StoreError, match="paid out before"):
        rooms.pay_back(house.store, first, BY)
    assert rooms.rooms(house.store)[0]["owed_back_fen"] == 0
    rooms.move_in(house.store, ROOM, Tenant("Li", "", 100), house.register(), BY)
    assert house.state() == (0, 100)
    bill = rooms.bill_of(house.store, first)
    assert (bill.paid_fen, bill.charged_fen, bill.balance_fen) == (10000, 2500, 7500)
    assert (bill.first_wh, bill.last_wh, bill.returned_fen) == (0, 50000, 50000)
    assert reconcile(house.store).differences == []
    assert not audit.verify(house.store).broken_at
    lines = dict(final_bill.lines_of(bill, house.store.zone()))
    assert (lines["used"], lines["paid back in all"]) == ("50.00 kWh", "575.00 yuan")
    assert final_bill.pdf(bill, house.store.zone()).startswith(b"%PDF")


def test_what_is_owed_comes_off_the_deposit(house: House) -> None:
    shifts.open_shift(house.store, BY, 0)
    rooms.move_in(house.store, ROOM, Tenant("Wang", "", 2000), (0,), BY)
    house.use(2500)
    with pytest.raises(StoreError, match=r"25.00 yuan are owed, the deposit is 20.00: sell 5.00"):
        rooms.move_out(house.store, ROOM, house.register(), BY)
    house.sell(1000)
    done = rooms.move_out(house.store, ROOM, house.register(), BY)
    assert (done.set_off_fen, done.returned_fen, done.refund_fen) == (1500, 500, 0)
    assert house.redeem() == 1500
    assert house.state() == (0, 0)
    with house.store.database.looking():
        shift = drawer.open_shift_of(house.store.database, BY)
        assert drawer.cash_within(house.store.database, shift) == 2000 - 500
    assert reconcile(house.store).differences == []


def test_an_empty_room_is_brought_to_zero_by_the_landlord(house: House) -> None:
    house.use(300)
    with pytest.raises(StoreError, match=r"has -3.00 yuan from before"):
        rooms.move_in(house.store, ROOM, Tenant("Wang"), house.register(), BY)
    order = rooms.clear(house.store, ROOM, BY)
    assert house.redeem() == 300
    assert rooms.clear(house.store, ROOM, BY) == 0
    rooms.move_in(house.store, ROOM, Tenant("Wang"), house.register(), BY)
    assert orders.orders_of(house.store, ROOM)[order - 1]["channel"] == orders.VACANT
    with pytest.raises(StoreError, match="somebody lives"):
        rooms.clear(house.store, ROOM, BY)


def test_doubtful_registers_and_wrong_steps_change_nothing(house: House) -> None:
    with pytest.raises(StoreError, match="nobody lives"):
        rooms.move_out(house.store, ROOM, (0,), BY)
    with pytest.raises(StoreError, match=r"the meter shows 2.00 kWh"):
        rooms.move_in(house.store, ROOM, Tenant("Wang"), (2000,), BY)
    with pytest.raises(StoreError, match="give the name"):
        rooms.move_in(house.store, ROOM, Tenant(" "), (0,), BY)
    rooms.move_in(house.store, ROOM, Tenant("Wang", "", 100), (999,), BY)
    with pytest.raises(StoreError, match="somebody lives"):
        rooms.move_in(house.store, ROOM, Tenant("Li", "", 100), (0,), BY)
    house.use(100)
    with pytest.raises(StoreError, match=r"the meter shows 1.99 kWh, its concentrator .* 2.00"):
        rooms.move_out(house.store, ROOM, (1990,), BY)
    orders.sell(house.store, ROOM, 500)
    with pytest.raises(StoreError, match="is not redeemed"):
        rooms.move_out(house.store, ROOM, (2000,), BY)
    assert house.state() == (-100, 100)
    with pytest.raises(StoreError, match="has ended"):
        rooms.bill_of(house.store, 1)
    with pytest.raises(StoreError, match="nothing is paid back"):
        rooms.pay_back(house.store, 1, BY)


def test_the_landlord_does_it_with_commands(house: House, tmp_path: Path) -> None:
    def said(*words: object) -> str:
        told = ["headend", "room", *map(str, words)]
        done = CliRunner().invoke(cli, told, env={"COLUMNS": "160"})
        assert done.exit_code == 0, done.output
        return done.output

    db = ("--db", house.store.address)
    assert "is Room 1" in said("name", ROOM, *db, "--room", "Room 1")
    assert "deposit 500.00" in said(
        "in", ROOM, *db, "--name", "Wang", "--deposit", 500, "--register", 0
    )
    house.sell(2000)
    house.use(500)
    (one, _other) = json.loads(said("list", *db, "--json"))["rooms"]
    assert (one["room"], one["name"], one["balance_fen"]) == ("Room 1", "Wang", 1500)
    out = tmp_path / "bill.pdf"
    told = said("out", ROOM, *db, "--register", 10, "--out", out)
    assert "pay 500.00 yuan of the deposit out now" in told
    assert "15.00 yuan are left" in told
    assert out.read_bytes().startswith(b"%PDF")
    house.redeem()
    assert "pay 15.00 yuan" in said("pay-back", 1, *db)
    assert "is at zero" in said("clear", ROOM, *db)
    said("bill", 1, *db, "--out", tmp_path / "again.pdf", "--language", "zh", "--paper", "58")
    house.use(100)
    assert "brings room" in said("clear", ROOM, *db)
    house.redeem()
    said("in", ROOM, *db, "--name", "Li", "--deposit", 5, "--register", 12)
    house.use(50)
    told = said("out", ROOM, *db, "--register", 13)
    assert "0.50 yuan of it were owed" in told
    assert json.loads(said("list", *db, "--json"))["rooms"][0]["order_fen"] == 50


# --- one person alone ---------------------------------------------------------------------------


def test_a_landlord_decides_alone_what_takes_two_elsewhere(tmp_path: Path) -> None:
    """Pages where nobody signs in have no second person; the command line and a role have one."""
    house = House(tmp_path)
    house.use(700)
    words = (house.store, approvals.WRITE_OFF, ROOM, 700, BY, "moved away")
    with audit.acting(audit.Who("page", BY)):
        number = approvals.ask(*words)
        life.write_off(house.store, ROOM, 700, Act(BY, "moved away"), number)
        with pytest.raises(StoreError, match="used"):
            life.write_off(house.store, ROOM, 700, Act(BY), number)
    log = {one["action"]: one["detail"] for one in audit.newest(house.store, {}, 1 << 40, 10)}
    assert (log["decide"]["alone"], log["decide"]["by"]) == (True, BY)
    assert log["written off"]["by"] == BY

    with pytest.raises(StoreError, match="not given yet"):  # the door of the command line
        life.write_off(house.store, ROOM, 700, Act(BY), approvals.ask(*words))
    with audit.acting(audit.Who("page", BY)):
        users.add(house.store, "second", "manager", users.hashed("correct horse"))
        number = approvals.ask(*words)
        with pytest.raises(StoreError, match="another person"):
            approvals.decide(house.store, number, BY, True)


@pytest.mark.slow
def test_a_house_of_eight_rooms_is_set_up_in_as_many_steps_as_the_manual_says(
    tmp_path: Path,
) -> None:
    """Every command of the manual is run or served, and every field of the page is filled once."""
    running = HeadEnd(tmp_path, "--page", "127.0.0.1:0", "--simple")
    try:
        village = Village()
        for row in range(8):
            village.meter(row)
            village.reading(row, 0)
        with running.connect() as sock:
            converse(Device(village, 1), sock, until_idle=True)
        page, fields = Browser(running.url), 0
        for row in range(8):
            for step, typed in (
                ("name", {"room": f"20{row}"}),
                ("in", {"name": f"T{row}", "deposit": "500", "register": "0", "sure": "1"}),
            ):
                told = {"step": step, "account": account_name(row), **typed}
                done = page.post("/rooms", {**page.get("/rooms").fields, **told})
                assert (done.status, done.url) == (200, f"/rooms?account={account_name(row)}")
                fields += len(typed)
        shown = page.get("/rooms").text
        assert all(f"20{row}" in shown and f"T{row}" in shown for row in range(8))
    finally:
        running.end(signal.SIGKILL)
    manual = (Path(__file__).resolve().parents[2] / "docs" / "HEADEND.md").read_text("utf-8")
    house = manual.partition("## A landlord's house")[2].partition("\n## ")[0]
    commands = [line.split()[2] for line in house.splitlines() if line.startswith("    dianka ")]
    assert commands == ["keys", "init", "serve"]
    assert f"{len(commands)} commands" in house
    assert f"That is {fields} fields" in " ".join(house.split())
