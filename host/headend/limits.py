"""The thresholds and weights of losses and clues: one table, found on villages made for tuning.

Docs/LOSS.md says on which villages they were found, and what they find on others.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What is judged by. Shares are in hundredths of a per cent, weights in per cent.

    past_days          days before the wanted ones that a place is compared with
    reach_days         the nearest freeze may be so far from a missing midnight
    open_growth        the most of a missing day, in per cent of the household's highest known day
    outlier_mads       deviations from the median that make a day an outlier
    mad_floor_e4       a deviation is taken to be at least this
    load_spread        the squared load of days has to vary so much, in per cent, for an estimate
    pair_days          days this near to each other are compared for the estimate
    typical_e4         the technical share where nothing tells it
    meter_wh           what a meter itself uses in a day
    """

    past_days: int = 42
    reach_days: int = 62
    open_growth: int = 150
    outlier_mads: float = 3.5
    mad_floor_e4: int = 30
    load_spread: int = 8
    pair_days: int = 10
    typical_e4: int = 600
    meter_wh: int = 24


LIMITS = Limits()
