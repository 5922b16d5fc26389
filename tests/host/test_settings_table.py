"""Goal: the settings have the same numbers on both sides, and every setting has one.

Method: the tables of the device are compared with those of the host.
"""

from concentrator import settings as device
from prepay.policy import Policy

from host.frames import settings
from host.link.console import SECRETS


def test_numbers_of_settings() -> None:
    rows = {place: row[0] for place, row in enumerate(device.TABLE, 1)}
    policy = {64 + place: name for place, name in enumerate(device._OF_POLICY)}

    assert {**rows, **policy} == settings.NAMES
    assert sorted(policy.values()) == Policy().names()
    assert len(rows) < 64


def test_what_the_device_hides_is_what_the_host_hides() -> None:
    secrets = [name for name in settings.NAMES.values() if device.is_secret(name)]

    assert sorted(secrets) == sorted(SECRETS)
