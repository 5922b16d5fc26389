"""The demonstration's village with its station's pages, kept open: its households go on living."""

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from host.demo.story import HOUSEHOLDS, Story, account_of, meter_of
from host.headend import registry
from host.headend.registry import Entry
from host.units import to_t2000
from host.words import _

PAGE = ("127.0.0.1", 8080)
_DAYS_AGO = 6
_LOOK_S = 0.5
_DISTRICT = "红榜 4 号"
# Name, persons and yuan that are bought at first; the third has little and runs down.
_PEOPLE = (
    *(("王小明", 5, 80), ("李芳", 3, 120), ("赵德福", 1, 9), ("周秀英", 4, 100)),
    *(("吴建国", 4, 150), ("郑美丽", 6, 150), ("冯大海", 5, 180), ("陈家小卖部", 2, 200)),
)


def start_t2000() -> int:
    """Return when the village begins: some days ago, so that it soon has a past."""
    return to_t2000(datetime.now().replace(hour=6, minute=0, second=0) - timedelta(_DAYS_AGO))


class Station(Story):
    """A village that has no end: it is set up, and lives until a person ends it."""

    def open(self) -> str:
        """Start everything, sell to each household once, and return where the pages are."""
        self.set_up()
        registry.take(self.store, [_entry(number) for number in range(HOUSEHOLDS)])
        for number, (_name, _persons, yuan) in enumerate(_PEOPLE):
            self.buy(number, yuan * 100)
            self._console.command(f"supply {account_of(number)} restore")
        self._say(_("{count} households have bought and are supplied").format(count=HOUSEHOLDS))
        return self._village.page_url

    def live(self, until: Callable[[], bool]) -> None:
        """Let the village live; DemoError when a part of it has ended by itself."""
        while not until():
            self._village.check()
            time.sleep(_LOOK_S)

    def plan(self) -> str:
        """Return the meters of households that never have drawn all they need."""
        meters: list[dict[str, Any]] = [
            {
                "address": meter_of(number),
                "load": {"percent": 60 + 30 * number},
                "supply_off": True,
                "reply_delay_ms": 20,
            }
            for number in range(HOUSEHOLDS)
        ]
        return json.dumps({"baud": 19200, "meters": meters})


def _entry(number: int) -> Entry:
    name, persons, _yuan = _PEOPLE[number]
    return Entry(
        account_of(number),
        f"C-{number + 1:03d}",
        name,
        address=f"东街 {number + 1} 号",
        persons=persons,
        district=_DISTRICT,
        meter=meter_of(number),
    )
