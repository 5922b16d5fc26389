"""What happens in the demonstration, step by step, each step checked where it can be seen.

A relay is believed when the meter itself tells it, money when head-end, concentrator and card
agree, a refusal by its code. Any step that does not hold ends the story with a DemoError.

At whatever moment a meter is read, a relay moves or the concentrator dies, the day ends with the
same ledger: a supply is off until its account is open, and then each household needs so much
energy, all of the peak's before any of the valley's. What that costs, host.billing knows.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from host.billing.pricing import Account
from host.cards import issuing, keystore
from host.demo.processes import DemoError, wait_for
from host.demo.village import Village
from host.frames import card as frames
from host.frames import tariff
from host.frames.card import CardKind, Header
from host.frames.card_results import CODES, OUTCOMES, Outcome
from host.headend import commands, orders
from host.headend.commands import Given
from host.headend.orders import Till
from host.headend.reconcile import Household, Reconciliation, households, reconcile
from host.headend.store import Store
from host.link import reader, setup
from host.link.card import FileCard
from host.link.console import Console, ConsoleError
from host.link.reader import Redeemed
from host.units import DAY_S, to_datetime, to_t2000
from host.words import _, bilingual

HOUSEHOLDS = 8
DISTRICT = 4711
CONCENTRATOR = 7
START_T2000 = to_t2000(datetime(2026, 1, 2, 6, 0))
SPEED = 1800
INTERVAL_S = 3600

# What each household needs in Wh, of the peak and of the valley. Tiers end at 10 and 20 kWh.
NEEDS_WH = (
    *((3000, 400), (5000, 700), (12000, 9000), (9000, 1300)),
    *((11000, 1600), (13000, 1900), (15000, 2200), (17000, 2500)),
)

# The household that runs down: what it draws and buys.
POOR = 2
POOR_W = 1500
FIRST_FEN, POOR_FEN, SECOND_FEN, THIRD_FEN = 3000, 500, 2000, 500
ALARM_FEN = 400

_TARIFF = Path(__file__).with_name("tariff.json")
_STEP_LIMIT_S = 120.0
_CONFIRMED = 2


@dataclass(frozen=True, slots=True)
class Ledger:
    """An account's money and energy, to the last digit that is kept."""

    credit_fen: int
    debit_fen: int
    residue_e7: int
    residue_e11: int
    used_wh: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What the demonstration shows at its end; ledgers and tiers by account.

    told        ledgers as the concentrator tells them
    stored      ledgers as the head-end has them
    """

    households: list[Household]
    reconciliation: Reconciliation
    told: dict[str, Ledger]
    stored: dict[str, Ledger]
    tiers: dict[str, int]
    journal_records: int
    acked_records: int
    meters: list[dict[str, Any]]


class Story:
    """The story on a village; `say(text)` tells each step."""

    def __init__(self, village: Village, say: Callable[[str], None]) -> None:
        self._village = village
        self._say = say
        self._console = Console(village.console)
        self._keys = keystore.new(DISTRICT)
        self._uplink_key = secrets.token_hex(32)
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """Return the head-end's database, which the head-end itself made."""
        if self._store is None:
            self._store = Store(self._village.database)
        return self._store

    def close(self) -> None:
        """Close the database."""
        if self._store is not None:
            self._store.close()

    # --- the steps -----------------------------------------------------------------------------

    def run(self) -> Ending:
        """Play all steps and return how the day ended."""
        self.set_up()
        for number in range(HOUSEHOLDS):
            self.buy(number, POOR_FEN if number == POOR else FIRST_FEN)
            self._console.command(f"supply {account_of(number)} restore")
        self._say(
            _("{count} cards sold and redeemed, the supplies go on").format(count=HOUSEHOLDS)
        )
        self.run_down()
        self.top_up(POOR, SECOND_FEN)
        self.change_prices()
        self.refuse_command()
        card = self.buy(POOR, THIRD_FEN)
        self.refuse(card, "USED", _("the same card again"))
        self.refuse(self._forged(card), "MAC", _("a forged card"))
        self.lose_headend()
        return self.end()

    def set_up(self) -> None:
        """Start everything and tell the concentrator what it needs."""
        village = self._village
        keys = f'[uplink]\n{CONCENTRATOR} = "{self._uplink_key}"\n'
        port = village.start_headend(keys)
        village.start_meters(self.plan())
        village.start_concentrator(port)
        self._wait(_("concentrator"), lambda: self._ask("status"))
        self._say(_("head-end, meters and concentrator are up"))
        setup.send_settings(
            self._console,
            {
                "seed": secrets.token_hex(32),
                "id": str(CONCENTRATOR),
                "uplink_key": self._uplink_key,
                "district": str(DISTRICT),
                "card_key": self._keys.key_of(DISTRICT, 1).hex(),
                "interval_s": str(INTERVAL_S),
                "alarm_1_fen": str(ALARM_FEN),
            },
        )
        setup.send_tariff(self._console, 1, tariff.build(tariff.load(_TARIFF), 1))
        for number in range(HOUSEHOLDS):
            self._console.command(f"meter add {meter_of(number)} {account_of(number)} 1")
            self._console.command(f"account new {account_of(number)}")
        self._say(
            _("settings, tariff and {count} meters given over the console").format(
                count=HOUSEHOLDS
            )
        )
        self._wait(
            _("accounts at the head-end"),
            lambda: all(self.store.has_account(account_of(n)) for n in range(HOUSEHOLDS)),
        )
        accounts = [account_of(number) for number in range(HOUSEHOLDS)]
        self._wait(_("first readings"), lambda: all(map(self._is_read, accounts)))
        for account in accounts:
            self._console.command(f"supply {account} cut")
        self._wait(_("supplies that are off"), lambda: all(map(self._is_off, accounts)))
        self._say(_("every meter is read once; its supply stays off until the account is open"))

    def plan(self) -> str:
        """Return the meters as a file of `dianka sim meters`; JSON is YAML."""
        meters = []
        for number, needs_wh in enumerate(NEEDS_WH):
            load: dict[str, Any] = {"percent": 100 + 40 * number, "needs_wh": needs_wh}
            if number == POOR:
                load = {"watts_by_hour": [POOR_W] * 24, "needs_wh": needs_wh}
            meter = {"address": meter_of(number), "load": load, "supply_off": True}
            meters.append({**meter, "reply_delay_ms": 20})
        return json.dumps({"baud": 19200, "meters": meters})

    def buy(self, number: int, amount_fen: int) -> Path:
        """Sell an order, write it on the household's card, redeem it; return the card."""
        account, path = account_of(number), self._village.folder / f"card-{number}.bin"
        order = orders.sell(self.store, account, amount_fen)
        header = Header(
            kind=CardKind.OPEN if order == 1 else CardKind.PURCHASE,
            key_version=1,
            district=DISTRICT,
            account=account,
            meter=meter_of(number),
            uid="",
            order=order,
            amount_fen=amount_fen,
            issued_t2000=self._village.now_t2000(),
        )
        issuing.issue(FileCard(path, create=True), header, self._keys.key_of(DISTRICT, 1))
        result = self._redeem(path)
        if not result.credited or result.code != CODES["OK"]:
            raise DemoError(
                _("card of account {account}: {outcome}").format(
                    account=account, outcome=_told(OUTCOMES[result.code])
                )
            )
        if not frames.parse(path.read_bytes(), self._keys.key_of(DISTRICT, 1)).used:
            raise DemoError(
                _("card of account {account} was credited but is not marked as used").format(
                    account=account
                )
            )
        return path

    def run_down(self) -> None:
        """Let one household use up its money, and kill the concentrator meanwhile."""
        account = account_of(POOR)
        self._wait(_("alarm"), lambda: self._policy(account, 1))
        self._say(_("account {account} is low on money: alarm").format(account=account))
        self._say(_("the concentrator is killed (SIGKILL) and started again"))
        self._village.crash_concentrator()
        self._wait(_("concentrator after the kill"), lambda: self._ask("status"))
        self.expect_relay(POOR, True)
        self._wait(_("cut known at the head-end"), lambda: self._is_confirmed(account, 1))
        self._say(_("its money is used up: the supply is cut, the meter says so itself"))

    def top_up(self, number: int, amount_fen: int) -> None:
        """Sell without a card: the concentrator is told over the uplink, and the supply is on."""
        account = account_of(number)
        expires_at = int(time.time()) + DAY_S
        done = commands.top_up(self.store, account, amount_fen, "demo", Till(), expires_at)
        self._wait(_("top-up over the uplink"), lambda: self._state_of(done.number) == "done")
        self.expect_relay(number, False)
        self._say(_("a top-up without a card: the supply is on again, the meter says so itself"))

    def change_prices(self) -> None:
        """Send a tariff over the uplink, and have it put in force under another number."""
        image = tariff.build(tariff.load(_TARIFF), 2)
        given = Given("demo", "", int(time.time()) + DAY_S)
        text = tariff.commands(image, 2)[-1]
        target = commands.Target(CONCENTRATOR, text, image=image.hex())
        job = commands.give(self.store, "tariff", [target], given)
        rows = self._wait(
            _("tariff over the uplink"),
            lambda: [
                row for row in commands.commands_of(self.store, job=job) if row["state"] == "done"
            ],
        )
        self._say(_("a tariff came over the uplink: {answer}").format(answer=rows[0]["answer"]))

    def refuse_command(self) -> None:
        """Give a wrong command over the uplink, which is refused with its reason."""
        given = Given("demo", "", int(time.time()) + DAY_S)
        target = commands.Target(CONCENTRATOR, "set interval_s 5")
        job = commands.give(self.store, "set", [target], given)
        rows = self._wait(
            _("refusal over the uplink"),
            lambda: [
                row
                for row in commands.commands_of(self.store, job=job)
                if row["state"] == "refused"
            ],
        )
        self._say(_("a wrong command is refused: {answer}").format(answer=rows[0]["answer"]))

    def lose_headend(self) -> None:
        """Kill the head-end, start it again, and wait for readings to arrive as before."""
        self._say(_("the head-end is killed and started again"))
        before = self._readings()
        self._village.crash_headend()
        self._wait(_("readings after that"), lambda: self._readings() > before + HOUSEHOLDS)

    def refuse(self, path: Path, code: str, what: str) -> None:
        """Insert a card that must be refused with this code and bring no money."""
        before = self._balance_fen(POOR)
        result = self._redeem(path)
        outcome = OUTCOMES[result.code]
        if result.credited or outcome.name != code:
            raise DemoError(
                _("{what} was not refused with {code} but gave {name}").format(
                    what=what, code=code, name=outcome.name
                )
            )
        if self._balance_fen(POOR) > before:
            raise DemoError(_("{what} brought money").format(what=what))
        self._say(_("{what} is refused: {outcome}").format(what=what, outcome=_told(outcome)))

    def end(self) -> Ending:
        """Let the day end, bring everything to the head-end and compare."""
        village, store = self._village, self.store
        self._say(_("the day goes on"))
        # A household that could not draw all it needed while the peak lasted does so a day later.
        limit_s = _STEP_LIMIT_S + 2 * DAY_S / village.clock.speed
        end_t2000 = village.clock.start_t2000 + DAY_S
        self._wait(_("end of the day"), lambda: village.now_t2000() >= end_t2000, limit_s)
        self._wait(_("readings of all that was needed"), self._are_all_read, limit_s)
        self._console.command("save")
        status = self._wait(_("all records at the head-end"), self._drained)
        accounts = {
            account_of(number): self._ask(f"account {account_of(number)}")
            for number in range(HOUSEHOLDS)
        }
        village.stop_meters()
        return Ending(
            households(store),
            reconcile(store),
            {account: _ledger_of(fields) for account, fields in accounts.items()},
            {row["account"]: _ledger_of(row) for row in store.rows("SELECT * FROM accounts")},
            {account: int(fields["tier"]) for account, fields in accounts.items()},
            int(status["journal"].split()[1]),
            int(status["acked"]),
            village.meter_events("end"),
        )

    # --- looking -------------------------------------------------------------------------------

    def expect_relay(self, number: int, is_open: bool) -> None:
        """Wait until the household's meter itself says how its relay stands."""
        address = meter_of(number)

        def seen() -> bool:
            rows = [r for r in self._village.meter_events("relay") if r["meter"] == address]
            return bool(rows) and bool(rows[-1]["open"]) == is_open

        self._wait(_("relay of meter {address}").format(address=address), seen)

    def _wait(self, what: str, done: Callable[[], Any], limit_s: float = _STEP_LIMIT_S) -> Any:
        def checked() -> Any:
            self._village.check()
            try:
                return done()
            except ConsoleError:
                return None  # it is still starting, or has ended: the next look tells

        return wait_for(what, limit_s, checked)

    def _ask(self, command: str) -> dict[str, str]:
        return setup.fields_of(self._console.command(command))

    def _drained(self) -> dict[str, str] | None:
        status = self._ask("status")
        return status if status["acked"] == status["journal"].split()[1] else None

    def _is_read(self, account: str) -> bool:
        return self._ask(f"account {account}")["read"] != "unknown"

    def _is_off(self, account: str) -> bool:
        fields = self._ask(f"account {account}")
        return (fields["relay"], fields["relay_stage"]) == ("open", "idle")

    def _are_all_read(self) -> bool:
        for number, needs_wh in enumerate(NEEDS_WH):
            fields = self._ask(f"account {account_of(number)}")
            if any(int(fields[f"register_{rate}_wh"]) != wh for rate, wh in enumerate(needs_wh)):
                return False
        return True

    def _redeem(self, path: Path) -> Redeemed:
        return reader.redeem(self._village.console, FileCard(path))

    def _balance_fen(self, number: int) -> int:
        return int(self._ask(f"account {account_of(number)}")["balance_fen"])

    def _readings(self) -> int:
        return int(self.store.value("SELECT count(*) FROM readings"))

    def _policy(self, account: str, state: int) -> bool:
        query = "SELECT seq FROM policies WHERE account = ? AND new = ?"
        return self.store.value(query, (account, state)) is not None

    def _state_of(self, number: int) -> str:
        rows = commands.commands_of(self.store, concentrator=CONCENTRATOR, number=number)
        return str(rows[0]["state"])

    def _is_confirmed(self, account: str, desired: int) -> bool:
        """Whether the relay moved last to where `desired` says."""
        query = (
            "SELECT desired FROM relays WHERE account = ? AND stage = ? ORDER BY seq DESC LIMIT 1"
        )
        return bool(self.store.value(query, (account, _CONFIRMED)) == desired)

    def _forged(self, card: Path) -> Path:
        """Return the next order for nothing: amount and order changed, the MAC is the old one."""
        forged = card.with_name("forged.bin")
        memory = bytearray(card.read_bytes())
        order_at = frames.IMAGE_OFFSET + 32
        memory[order_at] += 1
        forged.write_bytes(memory)
        return forged


def _told(outcome: Outcome) -> str:
    return f"{outcome.shown} {bilingual(outcome.english, outcome.chinese)}"


def account_of(number: int) -> str:
    """Return the account number of a household."""
    return f"{31_0000_0001 + number:012d}"


def meter_of(number: int) -> str:
    """Return the address of a household's meter."""
    return f"{98_3764 + number:012d}"


def bill_of(number: int) -> tuple[Ledger, int]:
    """Return with which ledger a household's account must end, and in which tier."""
    bill, opened = Account(tariff.load(_TARIFF)), to_datetime(START_T2000)
    bill.start(opened, (0, 0))
    bill.read(opened, NEEDS_WH[number])
    debit_fen, rest = divmod(bill.charged_yuan * 100, 1)
    residue_e7, rest = divmod(rest * 100_000, 1)
    credit_fen = POOR_FEN + SECOND_FEN + THIRD_FEN if number == POOR else FIRST_FEN
    limits_kwh = bill.calendar.season_at(opened).ladders[0].limits_kwh
    tier = 1 + sum(limit_kwh * 1000 <= bill.used_wh for limit_kwh in limits_kwh)
    return Ledger(credit_fen, debit_fen, residue_e7, int(rest * 10_000), bill.used_wh), tier


def _ledger_of(values: Mapping[str, Any]) -> Ledger:
    return Ledger(*(int(values[one.name]) for one in fields(Ledger)))


def troubles_of(ending: Ending) -> list[str]:
    """Return what had to hold at the end and does not, a sentence each."""
    result = ending.reconciliation
    troubles = list(result.differences)
    sold, charged = result.total("sold_fen"), result.total("charged_fen")
    if sold != charged + result.total("balance_fen"):
        troubles.append(_("sold is not charged + balances"))
    if result.readings_taken != result.readings_stored or result.duplicates:
        troubles.append(_("readings taken are not readings stored"))
    if ending.journal_records != ending.acked_records or result.records_lost:
        troubles.append(_("not every record of the concentrator is at the head-end"))
    for number in range(HOUSEHOLDS):
        account = account_of(number)
        bill, tier = bill_of(number)
        if ending.told.get(account) != bill or ending.tiers.get(account) != tier:
            troubles.append(
                _("account {account} is not charged as computed apart from it").format(
                    account=account
                )
            )
    if ending.stored != ending.told:
        troubles.append(_("concentrator and head-end differ about a ledger"))
    is_open = {row["meter"]: row["open"] for row in ending.meters}
    for one in ending.households:
        if is_open.get(one.meter) is not bool(one.relay):
            troubles.append(
                _("meter {meter} and head-end differ about the relay").format(meter=one.meter)
            )
    return troubles
