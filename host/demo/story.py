"""What happens in the demonstration, step by step, each step checked where it can be seen.

A relay is believed when the meter itself tells it, money when head-end, concentrator and card
agree, a refusal by its code. Any step that does not hold ends the story with a DemoError.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from host.cards import issuing, keystore
from host.demo.processes import DemoError, Village, wait_for
from host.frames import card as frames
from host.frames import tariff
from host.frames.card import CardKind, Header
from host.headend import schema
from host.headend.reconcile import Household, Reconciliation, households, reconcile
from host.headend.store import Store
from host.link import reader, setup
from host.link.card import FileCard
from host.link.console import Console
from host.link.reader import Redeemed
from host.sim.clock import to_t2000

HOUSEHOLDS = 8
DISTRICT = 4711
CONCENTRATOR = 7
START_T2000 = to_t2000(datetime(2026, 1, 2, 6, 0))
SPEED = 1800
INTERVAL_S = 3600
DAY_S = 86_400

# The household that runs down: what it draws and buys.
POOR = 2
POOR_PERCENT = 450
FIRST_FEN, POOR_FEN, SECOND_FEN = 3000, 700, 2500
ALARM_FEN = 400

_TARIFF = Path(__file__).with_name("tariff.json")
_STEP_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """What the demonstration shows at its end."""

    households: list[Household]
    reconciliation: Reconciliation
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
        self._port = 0
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The head-end's database, which the head-end itself made."""
        if self._store is None:
            self._store = Store(self._village.database)
        return self._store

    def close(self) -> None:
        """Close the database."""
        if self._store is not None:
            self._store.close()

    # --- the steps -----------------------------------------------------------------------------

    def run(self) -> Ending:
        """Play it all."""
        self.set_up()
        for number in range(HOUSEHOLDS):
            self.buy(number, POOR_FEN if number == POOR else FIRST_FEN)
        self._say(f"{HOUSEHOLDS} cards sold and redeemed")
        self.run_down()
        card = self.buy(POOR, SECOND_FEN)
        self.expect_relay(POOR, False)
        self._say("a new card: the supply is on again, the meter says so itself")
        self.refuse(card, "USED", "the same card again")
        self.refuse(self._forged(card), "MAC", "a forged card")
        return self.end()

    def set_up(self) -> None:
        """Start everything and tell the concentrator what it needs."""
        village = self._village
        keys = f'[uplink]\n{CONCENTRATOR} = "{self._uplink_key}"\n'
        self._port = village.start_headend(keys)
        village.start_meters(_plan())
        village.start_concentrator(self._port)
        self._wait("concentrator", lambda: self._ask("status"))
        self._say("head-end, meters and concentrator are up")
        setup.send_settings(
            self._console,
            {
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
        self._say(f"settings, tariff and {HOUSEHOLDS} meters given over the console")
        self._wait(
            "accounts at the head-end",
            lambda: all(self.store.has_account(account_of(n)) for n in range(HOUSEHOLDS)),
        )

    def buy(self, number: int, amount_fen: int) -> Path:
        """Sell an order, write it on the household's card, redeem it; return the card."""
        account, path = account_of(number), self._village.folder / f"card-{number}.bin"
        order = self.store.sell(account, amount_fen)
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
        if not result.credited or result.code != frames.CODES["OK"]:
            raise DemoError(f"card of account {account}: {frames.OUTCOMES[result.code]}")
        if not frames.parse(path.read_bytes(), self._keys.key_of(DISTRICT, 1)).used:
            raise DemoError(f"card of account {account} was credited but is not marked as used")
        return path

    def run_down(self) -> None:
        """One household uses up its money; meanwhile the concentrator dies and comes back."""
        account = account_of(POOR)
        self._wait("first readings", lambda: self._readings() >= 3 * HOUSEHOLDS)
        self._say("the concentrator is killed (SIGKILL) and started again")
        self._village.crash_concentrator()
        self._wait("concentrator after the kill", lambda: self._ask("status"))
        self._wait("alarm", lambda: self._policy(account, 1))
        self._say(f"account {account} is low on money: alarm")
        self.expect_relay(POOR, True)
        self._wait("cut known at the head-end", lambda: self._is_confirmed(account, 1))
        self._say("its money is used up: the supply is cut, the meter says so itself")

    def refuse(self, path: Path, code: str, what: str) -> None:
        """Insert a card that must be refused with this code and bring no money."""
        before = self._balance_fen(POOR)
        result = self._redeem(path)
        outcome = frames.OUTCOMES[result.code]
        if result.credited or outcome.name != code:
            raise DemoError(f"{what} was not refused with {code} but gave {outcome.name}")
        if self._balance_fen(POOR) > before:
            raise DemoError(f"{what} brought money")
        self._say(f"{what} is refused: {outcome.shown} {outcome.english} {outcome.chinese}")

    def end(self) -> Ending:
        """Let the day end, bring everything to the head-end and compare."""
        end_t2000 = START_T2000 + DAY_S
        self._say("the day goes on")
        self._wait("end of the day", lambda: self._village.now_t2000() >= end_t2000, 90.0)
        self._console.command("save")
        status = self._wait("all records at the head-end", self._drained)
        tiers = {}
        for number in range(HOUSEHOLDS):
            fields = setup.fields_of(self._console.command(f"account {account_of(number)}"))
            tiers[account_of(number)] = int(fields["tier"])
        self._village.stop_meters()
        return Ending(
            households(self.store),
            reconcile(self.store),
            tiers,
            int(status["journal"].split()[1]),
            int(status["acked"]),
            self._village.meter_events("end"),
        )

    # --- looking -------------------------------------------------------------------------------

    def expect_relay(self, number: int, is_open: bool) -> None:
        """Wait until the household's meter itself says how its relay stands."""
        address = meter_of(number)

        def seen() -> bool:
            rows = [r for r in self._village.meter_events("relay") if r["meter"] == address]
            return bool(rows) and bool(rows[-1]["open"]) == is_open

        self._wait(f"relay of meter {address}", seen)

    def _wait(self, what: str, done: Callable[[], Any], limit_s: float = _STEP_LIMIT_S) -> Any:
        def checked() -> Any:
            self._village.check()
            return done()

        return wait_for(what, limit_s, checked)

    def _ask(self, command: str) -> dict[str, str]:
        return setup.fields_of(self._console.command(command))

    def _drained(self) -> dict[str, str] | None:
        status = self._ask("status")
        return status if status["acked"] == status["journal"].split()[1] else None

    def _redeem(self, path: Path) -> Redeemed:
        return reader.redeem(self._village.console, FileCard(path))

    def _balance_fen(self, number: int) -> int:
        return int(self._ask(f"account {account_of(number)}")["balance_fen"])

    def _readings(self) -> int:
        query = sa.select(sa.func.count().label("count")).select_from(schema.readings)
        return int(self.store.rows(query)[0]["count"])

    def _policy(self, account: str, state: int) -> bool:
        columns = schema.policies.c
        query = sa.select(columns.seq).where(columns.account == account, columns.new == state)
        return bool(self.store.rows(query))

    def _is_confirmed(self, account: str, desired: int) -> bool:
        columns = schema.relays.c
        query = sa.select(columns.seq).where(
            columns.account == account, columns.desired == desired, columns.stage == 2
        )
        return bool(self.store.rows(query))

    def _forged(self, card: Path) -> Path:
        """The next order for nothing: amount and order changed, the MAC is the old one."""
        forged = card.with_name("forged.bin")
        memory = bytearray(card.read_bytes())
        order_at = frames.IMAGE_OFFSET + 32
        memory[order_at] += 1
        forged.write_bytes(memory)
        return forged


def account_of(number: int) -> str:
    """Account number of a household."""
    return f"{31_0000_0001 + number:012d}"


def meter_of(number: int) -> str:
    """Address of its meter."""
    return f"{98_3764 + number:012d}"


def _plan() -> str:
    """The meters as a file of `dianka sim meters`; JSON is YAML."""
    meters = [
        {
            "address": meter_of(number),
            "load": {"percent": POOR_PERCENT if number == POOR else 60 + 20 * number},
            "reply_delay_ms": 20,
        }
        for number in range(HOUSEHOLDS)
    ]
    return json.dumps({"baud": 19200, "meters": meters})
