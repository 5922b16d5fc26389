"""The thresholds and weights of losses and clues: one table, found on villages made for tuning.

Docs/LOSS.md says on which villages they were found, and what they find on others.
"""

from dataclasses import dataclass

from host.words import marked


@dataclass(frozen=True, slots=True)
class Limits:
    """What is judged by. Shares are in hundredths of a per cent, weights in per cent.

    past_days          days before the wanted ones that a place is compared with
    reach_days         the nearest freeze may be so far from a missing midnight
    open_growth        the most of a missing day, in per cent of the household's highest known day
    outlier_mads       deviations from the median that make a day an outlier
    mad_floor_e4       a deviation is taken to be at least this
    load_spread        the squared load of days has to vary so much, in per cent, for an estimate
    best_days          the best one in so many days bounds what wires can lose of a load
    pair_days          days this near to each other are compared for the estimate
    typical_e4         the technical share where nothing tells it
    meter_wh           what a meter itself uses in a day
    drop_share         a household's use falls to below this share, in per cent, to be a drop
    drop_wh            and by so much a day
    match_share        the district's loss rises by at least this share of the drop, in per cent
    side_days          days on each side of a drop
    still_days         days in which registers stand still
    silent_days        days without any freeze while the neighbours have theirs
    phase_share        per cent of the neighbours' voltage below which a phase is lost
    current_ma         current that counts as some
    neutral_share      difference of neutral and phase current that counts, in per cent
    near_s             currents this near to each other are taken as of one moment
    clock_s            a clock that is so far off
    reverse_wh         energy in the other direction that counts, within a day
    least_score        a clue below it is left out
    """

    past_days: int = 42
    reach_days: int = 62
    open_growth: int = 150
    outlier_mads: float = 3.5
    mad_floor_e4: int = 30
    load_spread: int = 8
    pair_days: int = 10
    best_days: int = 10
    typical_e4: int = 600
    meter_wh: int = 24
    drop_share: int = 70
    drop_wh: int = 800
    match_share: int = 40
    side_days: int = 5
    still_days: int = 4
    silent_days: int = 3
    phase_share: int = 60
    current_ma: int = 100
    neutral_share: int = 25
    near_s: int = 120
    clock_s: int = 600
    reverse_wh: int = 100
    least_score: int = 20


LIMITS = Limits()
# How much each kind of evidence says by itself, in per cent; several are combined as chances are.
WEIGHTS = {
    marked("use fell"): 25,
    marked("loss rose as use fell"): 20,
    marked("stands still"): 20,
    marked("silent among neighbours"): 40,
    marked("cover opened"): 50,
    marked("terminal cover opened"): 42,
    marked("magnetic field"): 65,
    marked("reverse energy"): 60,
    marked("phase lost"): 65,
    marked("phase order reversed"): 25,
    marked("current without voltage"): 65,
    marked("neutral against phase"): 65,
    marked("currents out of balance"): 15,
    marked("relay closed by hand"): 70,
    marked("answers repeated"): 60,
    marked("register went back"): 60,
    marked("clock moved"): 55,
}
