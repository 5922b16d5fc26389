"""Goal: line loss is what was supplied less what was sold, and missing readings bound it.

Method: small districts whose freezes are written as ingest leaves them; the two rows of a real
station; missing midnights, exchanged meters, rolled registers, a feeder; what people enter.
"""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import life, losses, migrate, orders, registry, topology
from host.headend.errors import StoreError
from host.headend.losses import Amount, Loss
from host.headend.registry import Entry
from host.headend.store import Store
from host.headend.web import looks
from host.units import DAY_S
from tests.host.page_station import ENGINES
from tools.cluster import cluster

pytestmark = pytest.mark.slow

DAY = 9500
SUM_METER = "990000000001"


@pytest.fixture
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    if getattr(request, "param", "") == "postgres":
        with cluster() as address:
            migrate.make_postgres(address)
            with Store(address) as opened:
                yield opened
    else:
        with Store(tmp_path / "village.db", create=True) as opened:
            yield opened


def add(store: Store, account: str, multiplier: int = 1) -> None:
    """Make an account with a meter of the same number."""
    columns = ("account", "concentrator", "meter", "multiplier")
    with store.writing() as database:
        database.insert_new("accounts", columns, [(account, 7, account, multiplier)])


def freeze(store: Store, meter: str, registers: Mapping[int, int], account: str = "") -> None:
    """Write the freezes of a meter by day."""
    columns = ("day", "meter", "t2000", "concentrator", "seq", "account", "registers_wh")
    rows = [
        (day, meter, day * DAY_S, 7, 1000 * day, account or meter, f"[{wh}, 0, {wh}]")
        for day, wh in registers.items()
    ]
    with store.writing() as database:
        database.insert_new("freezes", columns, rows)


def village(store: Store, households: int, district: str = "R4", ratio: int = 40) -> list[str]:
    """Connect households to a district with a sum meter; return their accounts."""
    accounts = [f"{at + 1:012d}" for at in range(households)]
    registry.take(
        store,
        [Entry(one, one, f"name {one}", district=district, meter=one) for one in accounts],
    )
    for one in (*accounts, SUM_METER):
        add(store, one)
    topology.add_supply(store, SUM_METER, topology.DISTRICT, district, (ratio, 1), 0)
    return accounts


def only(store: Store, level: str = topology.DISTRICT) -> Loss:
    (found,) = [one for one in losses.day_losses(store, DAY, DAY + 1) if one.level == level]
    return found


@pytest.mark.parametrize("store", ENGINES, indirect=True)
def test_a_day_is_the_difference_of_its_two_midnights(store: Store) -> None:
    one, two = village(store, 2)
    freeze(store, SUM_METER, {DAY: 1000, DAY + 1: 1250})  # times 40: 10,000 Wh
    freeze(store, one, {DAY: 500, DAY + 1: 5500})
    freeze(store, two, {DAY: 999_999_000, DAY + 1: 3000})  # it went on at 0
    found = only(store)
    assert found.supplied == Amount(10_000, 10_000, 10_000)
    assert (found.sold.wh, found.lost_wh, found.rate_e4) == (9000, 1000, 1000)
    assert (found.members, found.missing, found.low_e4, found.high_e4) == (2, 0, 1000, 1000)
    alone = losses.day_losses(store, DAY, DAY + 1, "R4")
    assert alone == [found]


def test_a_missing_midnight_leaves_bounds(store: Store) -> None:
    one, two = village(store, 2, ratio=1)
    freeze(store, SUM_METER, {DAY: 0, DAY + 1: 20_000})
    freeze(store, one, {DAY: 0, DAY + 1: 10_000})
    freeze(store, two, {DAY - 1: 0, DAY + 2: 24_000})
    found = only(store)
    assert found.sold == Amount(18_000, 10_000, 34_000)
    assert (found.rate_e4, found.low_e4, found.high_e4) == (1000, -7000, 5000)
    assert found.missing == 1
    # A reading shortly before midnight narrows them.
    columns = (
        *("day", "meter", "t2000", "concentrator", "seq", "account", "debit_fen", "residue_e7"),
        *("residue_e11", "status", "used_wh", "registers_wh"),
    )
    row = (DAY, two, DAY * DAY_S + 60, 7, 1, two, 0, 0, 0, 0, 0, "[3000, 5000]")
    later = (DAY, two, (DAY + 1) * DAY_S - 60, 7, 2, two, 0, 0, 0, 0, 0, "[9000, 8000]")
    with store.writing() as database:
        database.insert_new("readings", columns, [row, later])
    found = only(store)
    assert (found.sold.low_wh, found.sold.high_wh) == (10_000 + 9000, 10_000 + 24_000)
    assert abs(found.sold.wh - 19_000) < 100


def test_nothing_known_of_a_household_is_between_nothing_and_the_most(store: Store) -> None:
    one, _two, _three = village(store, 3, ratio=1)
    freeze(store, SUM_METER, {DAY: 0, DAY + 1: 20_000})
    freeze(store, one, {DAY: 0, DAY + 1: 6000})
    found = only(store)
    assert (found.missing, found.sold) == (2, Amount(18_000, 6000, 18_000))


def test_without_its_supply_meter_no_loss_is_told(store: Store) -> None:
    one, two = village(store, 2)
    for account in (one, two):
        freeze(store, account, {DAY: 0, DAY + 1: 6000})
    found = only(store)
    assert (found.supplied, found.lost_wh, found.rate_e4, found.unsupplied) == (None,) * 3 + (1,)
    assert losses.sum_of([found])[0].days == 0


def test_an_exchanged_meter_counts_to_its_last_register(store: Store) -> None:
    (one,) = village(store, 1, ratio=1)
    zone = store.zone()
    at = int((DAY * DAY_S + DAY_S // 2) + 946_684_800 - 8 * 3600)
    assert str(zone) == "Asia/Shanghai"
    columns = ("account", "meter", "multiplier", "since_at", "until_at", "first_wh", "last_wh")
    with store.writing() as database:
        database.insert_new(
            "installations",
            columns,
            [
                (one, one, 1, 0, at, "[]", "[7000]"),
                (one, "000000000099", 2, at, None, "[100]", "[]"),
            ],
        )
    freeze(store, SUM_METER, {DAY: 0, DAY + 1: 10_000})
    freeze(store, one, {DAY: 2000}, one)
    freeze(store, "000000000099", {DAY + 1: 2100}, one)
    found = only(store)
    assert found.sold == Amount(9000, 9000, 9000)


def test_a_feeder_loses_what_its_districts_do_not_get(store: Store) -> None:
    village(store, 1)
    add(store, "990000000002")
    topology.add_supply(store, "990000000002", topology.FEEDER, "F1", (10, 100), 0)
    topology.feed(store, "R4", "F1", 0)
    freeze(store, SUM_METER, {DAY: 0, DAY + 1: 240})  # times 40
    freeze(store, "990000000002", {DAY: 5, DAY + 1: 15})  # times 1000
    found = only(store, topology.FEEDER)
    assert (found.lost_wh, found.rate_e4, found.target_e4, found.members) == (400, 400, 800, 1)


@pytest.mark.parametrize(
    ("supplied_wh", "sold_wh", "rate_e4"),
    [
        (226_450_000, 199_240_000, 1202),  # the 10 kV of a station, in thousands
        (214_730_000, 191_200_000, 1096),  # its 400 V, where its report prints 10.5
    ],
)
def test_the_two_rows_of_a_station(supplied_wh: int, sold_wh: int, rate_e4: int) -> None:
    supplied = Amount(supplied_wh, supplied_wh, supplied_wh)
    sold = Amount(sold_wh, sold_wh, sold_wh)
    one = Loss(topology.DISTRICT, "R4", "R4", DAY, supplied, sold, 1, 0, 0, 930)
    assert one.rate_e4 == rate_e4


def test_what_is_lost_in_wires_follows_from_the_load(store: Store) -> None:
    accounts = village(store, 4, ratio=1)
    supply, sold = {0: 0}, {0: 0}
    wires, theft = {}, {}
    for day in range(60):
        use = 20_000 + 4000 * (day * 7 % 5)
        # Half of the use is lost in proportion to its square; a theft begins on day 40.
        wires[day] = use * use // 400_000
        theft[day] = 3000 if day >= 40 else 0
        supply[day + 1] = supply[day] + use + wires[day] + theft[day] + 4 * 24
        sold[day + 1] = sold[day] + use // 4
    first = DAY - 59
    freeze(store, SUM_METER, {first + day: wh for day, wh in supply.items()})
    for one in accounts:
        freeze(store, one, {first + day: wh for day, wh in sold.items()})
    found = losses.with_technical(store, losses.day_losses(store, first, DAY + 1, "R4"))
    assert len(found) == 60
    for day, one in enumerate(found):
        assert one.supplied is not None
        assert one.technical_wh is not None
        off = abs(one.technical_wh - wires[day] - 96)
        assert off * 1000 < 15 * one.supplied.wh, (day, one.technical_wh, wires[day])
    assert found[-1].other_wh is not None
    assert abs(found[-1].other_wh - 3000) < 400
    topology.set_district(store, "R4", 100, 900, 500)
    entered = losses.with_technical(store, found)[-1]
    assert entered.technical_e4 == 500
    judged = {one.loss.place: one for one in losses.judged(found[:41], first + 40)}
    assert judged["R4"].is_outlier
    assert not losses.judged(found[:40], first + 39)[0].is_outlier


def test_nothing_is_sold_to_a_supply_meter(store: Store) -> None:
    village(store, 1)
    with pytest.raises(StoreError, match="supply meter of R4"):
        orders.sell(store, SUM_METER, 1000)
    orders.sell(store, "000000000001", 1000)
    with pytest.raises(StoreError, match="has bought"):
        topology.add_supply(store, "000000000001", topology.DISTRICT, "R4", (1, 1), DAY)
    rows, _more = looks.households(store, "", 1)
    assert [row.account for row in rows] == ["000000000001"]


def test_a_household_moves_from_one_line_to_another(store: Store) -> None:
    (one,) = village(store, 1, ratio=1)
    topology.connect(store, one, "R5", DAY, "B", 120)
    with pytest.raises(StoreError, match="later change"):
        topology.connect(store, one, "R4", DAY - 5)
    freeze(store, one, {DAY - 1: 0, DAY: 1000, DAY + 1: 3000})
    found = {(loss.place, loss.day): loss for loss in losses.day_losses(store, DAY - 1, DAY + 1)}
    assert found["R4", DAY - 1].sold.wh == 1000
    assert (found["R4", DAY].members, found["R5", DAY].sold.wh) == (0, 2000)
    # What the register says from now on holds from today.
    registry.take(store, [Entry(one, one, "name", district="R6", meter=one)])
    rows = store.rows("SELECT district, until_day FROM connections ORDER BY since_day")
    today = rows[1]["until_day"]
    assert [(row["district"], row["until_day"]) for row in rows] == [
        ("R4", DAY),
        ("R5", today),
        ("R6", None),
    ]
    assert abs(today - (int(time.time()) - 946_684_800) // DAY_S) <= 1


def test_a_closed_account_is_on_no_line_until_the_closing_is_undone(store: Store) -> None:
    (one,) = village(store, 1)
    query = "SELECT count(*) FROM connections WHERE account = ? AND until_day IS NULL"
    assert store.value(query, (one,)) == 1
    act = life.Act("Li", "moved away")
    number = life.close_account(store, one, [1000], act)
    assert store.value(query, (one,)) == 0
    life.undo(store, number, act)
    assert store.value(query, (one,)) == 1


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["headend", *map(str, words)])
    return result.exit_code, result.output


def test_commands_keep_the_net_and_print_the_losses(tmp_path: Path) -> None:
    path = tmp_path / "village.db"
    with Store(path, create=True) as store:
        accounts = village(store, 2, ratio=1)
        freeze(store, SUM_METER, {DAY: 0, DAY + 1: 20_000})
        for one in accounts:
            freeze(store, one, {DAY: 0, DAY + 1: 8000})
    day, told = "2026-01-04", ("--db", path)
    assert run("supply", "add", SUM_METER, "--district", "R4", "--since", day, *told)[0] == 0
    assert run("supply", "add", SUM_METER, "--since", day, *told)[0] == 2
    assert run("feed", "R4", "F1", "--since", day, *told)[0] == 0
    words = ("connect", accounts[0], "R4", "--phase", "A", "--since", day, *told)
    assert run(*words)[0] == 0
    code, text = run("connect", "17", "R4", "--since", day, *told)
    assert (code, "not in the register" in text) == (1, True)
    assert run("district", "R4", "--kva", 100, "--technical", 6.2, *told)[0] == 0
    code, text = run("district", "R9", *told)
    assert (code, "there is no district R9" in text) == (1, True)
    code, text = run("supply", "list", "--json", *told)
    assert [row["since"] for row in json.loads(text)["supply"]] == ["2000-01-01", day]
    code, text = run("losses", "--day", day, "--json", *told)
    (row,) = [one for one in json.loads(text)["losses"] if one["level"] == "district"]
    assert (row["rate_e4"], row["supplied_wh"], row["missing"]) == (2000, 20_000, 0)
    code, text = run("losses", "--month", "2026-01", "--district", "R4", "--json", *told)
    (row,) = json.loads(text)["losses"]
    assert (row["days"], row["rate_e4"], row["technical_wh"]) == (1, 2000, 1240)
    code, text = run("losses", "--day", day, *told)
    assert (code, "20.00" in text, "above target" in text) == (0, True, True)
    assert run("losses", *told)[0] == run("losses", "--month", "2026-13", *told)[0] == 2
