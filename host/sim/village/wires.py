"""The 0.4 kV line of a district as a radial model, its transformer, and the 10 kV line above.

A district has branches of poles in a row. Each account hangs at a pole on its phase, or on all
three. The current of a section is the sum of those behind it, for each phase; the neutral carries
their vector sum. Loss is I²R of every section, hour by hour, and voltage falls by I(R cos + X sin)
on the way, plus what the neutral is off.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any

NOMINAL_V = 220.0
POWER_FACTOR = 0.95
_SINE = (1 - POWER_FACTOR**2) ** 0.5
_REACTANCE_OHM_KM = 0.35
_ALUMINIUM_OHM_MM2_KM = 31.5
# Rated kVA: loss of the core and, at full load, of the windings, in W.
_SIZES_KVA = (30, 50, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630)
_CORE_W = (100, 130, 180, 200, 240, 280, 340, 400, 480, 570, 680, 810)
_WINDING_W = (630, 910, 1310, 1580, 1890, 2310, 2730, 3200, 3830, 4520, 5410, 6200)
TRANSFORMERS = dict(zip(_SIZES_KVA, zip(_CORE_W, _WINDING_W, strict=True), strict=True))
_IMPEDANCE = 0.04  # of a transformer, at full load
METER_W = 0.9  # what a meter takes for itself, on the line's side


def core_and_copper_w(kva: int) -> tuple[int, int]:
    """Return the losses of a transformer; one that is not in the list has those of the next."""
    known = min((size for size in TRANSFORMERS if size >= kva), default=max(TRANSFORMERS))
    return TRANSFORMERS[known]


@dataclass
class Flow:
    """What happens in a district in each of some hours.

    volts        at each account, on its phase
    line_w       loss of line and service drops
    head_a       current of each phase at the transformer
    head_v       voltage there
    """

    volts: Array
    line_w: Array
    head_a: Array
    head_v: Array


class Line:
    """The line of one district: who hangs where, and through how much wire."""

    def __init__(
        self, is_shop: Array, branches: int, span_m: float, wire_mm2: float, kva: int, random: Any
    ) -> None:
        count = len(is_shop)
        poles = max(2, round(count / branches / 2.2))
        nodes = branches * poles
        self.kva = kva
        self.node = (random.random_sample(count) ** 0.85 * nodes).astype(int)
        self._at = np.zeros((nodes, count))
        self._at[self.node, np.arange(count)] = 1
        # A section ends at the pole of its number; it carries all poles behind it on its branch.
        place = np.arange(nodes)
        branch, depth = place // poles, place % poles
        self._carries = (
            (branch[:, None] == branch[None, :]) & (depth[:, None] <= depth[None, :])
        ).astype(float)
        thin = np.where(depth > poles * 0.6, 0.7, 1.0)  # the ends are thinner
        self._ohm = _ALUMINIUM_OHM_MM2_KM / (wire_mm2 * thin) * span_m / 1000
        self._reactance = np.full(nodes, _REACTANCE_OHM_KM * span_m / 1000)
        weights = np.sort(random.random_sample(3) + 0.55)[::-1]
        bounds = np.cumsum(weights / weights.sum())
        drawn = np.searchsorted(bounds, random.random_sample(count)).clip(0, 2)
        self.phase = drawn
        three = is_shop & (random.random_sample(count) < 0.6)
        self.is_three = three
        self.shares = np.where(three[:, None], 1 / 3, np.eye(3)[drawn])
        self.service_m = 12 + 45 * random.random_sample(count)
        area = np.where(is_shop, 16.0, np.where(random.random_sample(count) < 0.3, 4.0, 10.0))
        self._service_ohm = 2 * _ALUMINIUM_OHM_MM2_KM / area * self.service_m / 1000
        self.distance_m = (self.node % poles + 1) * span_m + self.service_m

    def flow(self, watts: Array, source_v: Array, live: Array) -> Flow:
        """Return the flow of hours in which accounts draw so many watts.

        watts     accounts x hours, of every line of wire there is, counted or not
        source_v  of the transformer without load, by hour
        live      phases x hours: 1 where a phase has supply
        """
        rated_a = self.kva * 1000 / 3 / NOMINAL_V
        volts = np.full(watts.shape, 222.0)
        for _again in range(2):
            amps = watts / (np.maximum(volts, 150.0) * POWER_FACTOR)
            # accounts x phases x hours, then poles, then sections
            each = amps[:, None, :] * self.shares[:, :, None]
            poles = np.tensordot(self._at, each, axes=1)
            section = np.tensordot(self._carries, poles, axes=1)
            neutral = _neutral(section)
            head_a = poles.sum(axis=0)
            head_v = (source_v * (1 - _IMPEDANCE * 0.6 * head_a / rated_a)) * live
            along = self._ohm * POWER_FACTOR + self._reactance * _SINE
            others = section.sum(axis=1, keepdims=True) - section
            drop = section * along[:, None, None] + (section - others / 2) * (
                self._ohm[:, None, None] * POWER_FACTOR
            )
            pole_v = head_v - np.tensordot(self._carries.T, drop, axes=1)
            at_pole = (pole_v[self.node] * self.shares[:, :, None]).sum(axis=1)
            volts = at_pole - amps * self._service_ohm[:, None] * 0.9 * self._wires[:, None]
        wires_w = self._ohm[:, None, None] * section**2
        line_w = wires_w.sum(axis=(0, 1)) + (self._ohm[:, None] * neutral**2).sum(axis=0)
        line_w += (self._service_ohm[:, None] * self._wires[:, None] * amps**2).sum(axis=0)
        is_live = (live[None] * self.shares[:, :, None]).sum(axis=1) > 0
        return Flow(np.where(is_live, volts, 0.0), line_w, head_a, head_v)

    @property
    def _wires(self) -> Array:
        """Return the part of a service drop's resistance that counts: three phases share it."""
        return np.where(self.is_three, 1 / 6, 1.0)


def _neutral(section: Array) -> Array:
    a, b, c = section[:, 0], section[:, 1], section[:, 2]
    return np.sqrt(np.maximum(0.0, a * a + b * b + c * c - a * b - b * c - c * a))


def transformer_w(kva: int, low_w: Array) -> Array:
    """Return core and winding loss of a transformer that gives so many watts on its low side."""
    core, copper = core_and_copper_w(kva)
    return core + copper * (low_w / POWER_FACTOR / (kva * 1000)) ** 2


def high_line_w(high_w: Array, length_km: float) -> Array:
    """Return the loss of a 10 kV line whose load hangs along it: a third of one at the end."""
    amps = high_w / (3**0.5 * 10_000 * POWER_FACTOR)
    ohm = _ALUMINIUM_OHM_MM2_KM / 35 * length_km
    return 3 * amps**2 * ohm * 0.45
