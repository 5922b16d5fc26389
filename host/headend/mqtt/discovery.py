"""The messages of an account: what Home Assistant discovers, and the state that it shows.

    homeassistant/device/dianka_000000000001/config    retained, once: a device with its entities
    dianka/account/000000000001/state                  retained, with each reading and each sale
    dianka/status                                      retained: online, or offline by the will

Home Assistant 2024.11 and later read the first form, a device with all its components in one
message, as its documentation of MQTT discovery has it.
"""

import json
from dataclasses import dataclass
from datetime import timedelta, timezone
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

from host.units import to_datetime
from host.words import _

PREFIX = "homeassistant"
ONLINE, OFFLINE = "online", "offline"
_KWH_WH = 1000
_YUAN_FEN = 100
# The least span in which registers of whole 10 Wh give a power that means something.
POWER_SPAN_S = 60
_OPEN = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """What is known of an account; -1 and None: it is not known."""

    account: str
    label: str
    meter: str
    concentrator: int
    balance_fen: int
    energy_wh: int
    power_w: int
    relay: int | None
    read_t2000: int


def config_topic(account: str) -> str:
    """Return the topic of the message by which a device is discovered."""
    return f"{PREFIX}/device/dianka_{account}/config"


def state_topic(topic: str, account: str) -> str:
    """Return the topic of an account's state."""
    return f"{topic}/account/{account}/state"


def status_topic(topic: str) -> str:
    """Return the topic that says whether the head-end is there."""
    return f"{topic}/status"


def config(shown: Shown, topic: str) -> str:
    """Return the message by which an account is discovered, in the language spoken."""
    return json.dumps(
        {
            "dev": {
                "ids": [f"dianka_{shown.account}"],
                "name": shown.label or _("account {account}").format(account=shown.account),
                "mf": "Dianka",
                "mdl": _("prepaid electricity meter"),
                "sn": shown.meter,
            },
            "o": {"name": "dianka", "sw": version("dianka")},
            "cmps": _components(shown.account),
            "state_topic": state_topic(topic, shown.account),
            "availability_topic": status_topic(topic),
            "payload_available": ONLINE,
            "payload_not_available": OFFLINE,
            "qos": 1,
        },
        ensure_ascii=False,
    )


def _components(account: str) -> dict[str, dict[str, Any]]:
    energy = {"device_class": "energy", "state_class": "total_increasing"}
    power = {"device_class": "power", "state_class": "measurement"}
    parts: dict[str, dict[str, Any]] = {
        "balance": {
            "name": _("balance"),
            "device_class": "monetary",
            "unit_of_measurement": "CNY",
            "suggested_display_precision": 2,
        },
        "energy": {"name": _("energy"), **energy, "unit_of_measurement": "kWh"},
        "power": {"name": _("mean power"), **power, "unit_of_measurement": "W"},
        "last_reading": {
            "name": _("last reading"),
            "device_class": "timestamp",
            "entity_category": "diagnostic",
        },
    }
    for name, part in parts.items():
        part["p"] = "sensor"
        part["value_template"] = f"{{{{ value_json.{name} }}}}"
    parts["supply"] = {
        "p": "binary_sensor",
        "name": _("supply"),
        "device_class": "power",
        "payload_on": "ON",
        "payload_off": "OFF",
        "value_template": "{{ value_json.supply }}",
    }
    for name, part in parts.items():
        part["unique_id"] = f"dianka_{account}_{name}"
    return parts


def state(shown: Shown, zone: ZoneInfo) -> str:
    """Return an account's state; what is not known is null."""
    is_read = shown.read_t2000 > 0
    return json.dumps(
        {
            "balance": _decimal(shown.balance_fen, _YUAN_FEN, 2),
            "energy": _decimal(shown.energy_wh, _KWH_WH, 3) if is_read else None,
            "power": shown.power_w if shown.power_w >= 0 else None,
            "supply": None if shown.relay is None else ("ON", "OFF")[shown.relay == _OPEN],
            "last_reading": _moment(shown.read_t2000, zone) if is_read else None,
        }
    )


def _decimal(value: int, unit: int, digits: int) -> float:
    """Return a whole number of small units as a number of large ones, exact in its digits."""
    return round(value / unit, digits)


def _moment(t2000: int, zone: ZoneInfo) -> str:
    """Return a moment of the station's clock, which knows no summer time, with its offset."""
    moment = to_datetime(t2000).replace(tzinfo=zone)
    offset = (moment.utcoffset() or timedelta()) - (moment.dst() or timedelta())
    return moment.replace(tzinfo=timezone(offset)).isoformat()
