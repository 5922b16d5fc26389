"""Seeded worlds: the firmware core on CPython against `host.sim`, in the time of one seed."""

import host.device  # noqa: F401 - puts the device's modules on the path
