"""Values that meters were asked for from here, kept beside those that concentrators ask by plan.

The concentrator's own plan is part of its firmware: voltages once a week. What is wanted more
often, or of some meters only, is asked by commands (`job voltage`, `job missed --profile`, `job
read`), and the answer of a watched identifier is kept in `items` as well. Its `seq` is the number
of the command, below 0, as no record of the concentrator's journal tells of it.
"""

import json
import re
from datetime import datetime
from typing import Any

from host.frames.describe import describe
from host.frames.line_outcomes import frame_behind
from host.headend.database import Database
from host.units import DAY_S, to_t2000

CURRENTS, NEUTRAL_CURRENT = "0202FF00", "02800001"
PROFILE = "06040001"
# Voltages, currents, powers; compliance, power-downs; energy of the load profile.
_WATCHED = ("0201", "0202", "0203", NEUTRAL_CURRENT, "0310", "0311", "0604")
_READ = 0x11
_QUESTION = re.compile(r"line ask \d+ (\d{12}) 11 ([0-9a-f]{8})([0-9a-f]*)")
_DATA = re.compile(r"^data ([0-9a-f]+)$", re.M)
_COLUMNS = ("day", "meter", "t2000", "identifier", "concentrator", "seq", "account", "values")


def keep_answer(
    database: Database, place: tuple[int, int, str], text: str, answer: str, now_t2000: int
) -> None:
    """Keep the values of an answered question to a meter, within a transaction.

    `place` is concentrator, number and account of the command; what is not watched, or makes no
    sense, is left to the command's own answer.
    """
    asked, told = _QUESTION.fullmatch(text), _DATA.search(answer)
    if asked is None or told is None:
        return
    meter = asked[1]
    identifier = bytes.fromhex(asked[2])[::-1].hex().upper()
    if not identifier.startswith(_WATCHED):
        return
    values = values_of(meter, bytes.fromhex(told[1]))
    t2000 = now_t2000
    if identifier == PROFILE and len(values) > 1:
        t2000, values = values[0] or now_t2000, values[1:2]
    if not values:
        return
    concentrator, number, account = place
    row = (t2000 // DAY_S, meter, t2000, identifier, concentrator, -number, account)
    database.insert_new("items", _COLUMNS, [(*row, json.dumps(values))])


def values_of(meter: str, data: bytes) -> list[int | None]:
    """Return the values of a meter's answer as items have them, [] where it is no such answer."""
    try:
        frame = frame_behind(meter, _READ, data, "ok", 0, False)
    except ValueError:
        return []
    items = describe(frame)["items"] if frame is not None else []
    if any(one.get("unit") == "raw" for one in items):
        return []
    return [_number(one) for one in items]


def _number(item: dict[str, Any]) -> int | None:
    """Return a value in units of its lowest digit, energy in Wh, a time as t2000."""
    value = item.get("value")
    if value is None:
        return None
    text = str(value)
    if re.match(r"\d{4}-\d\d-\d\d ", text):
        return to_t2000(datetime.fromisoformat(text))
    digits = re.sub("[^0-9]", "", text)
    if not digits:
        return None
    sign = -1 if text.startswith("-") else 1
    return sign * int(digits) * (10 if item.get("unit") == "kWh" else 1)
