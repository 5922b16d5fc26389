"""Named worlds: the special conditions of each, one row a scenario.

Everything else is drawn from the seed as in every world. A share or a number a day is of the days
the world has, so that a scenario is the same thing in three days and in four hundred.
"""

from dataclasses import dataclass, replace
from random import Random

from host.world.faults import Faults

# Records after which a checkpoint is due, in worlds that are to see many.
_CHECKPOINT_RECORDS = (64, 64, 128, 256)


@dataclass(frozen=True)
class Scenario:
    """The special conditions of a world.

    text            one line about it
    uplink          false: there is no head-end
    station         the head-end is the real one with its database, not a stand-in
    away_share      the head-end is away for up to this share of the days, once
    blocks          number of blocks of 4096 bytes of the flash, least and most; 0: no limit
    replaced_a_day  the board's flash is replaced by an empty one, or by an old copy of it
    restored_a_day  the head-end's database is replaced by its last backup
    rot_a_day       a bit of a stored file turns; on a NOR chip, if a block was read too often
    lies_a_day      a meter's answers are wrong for a moment, or for up to two rounds
    unseen_parity   of this share of the replies two bits turn, which the checksum lets pass
    low_limits      half the accounts have too low a power limit, until a technician comes
    by_hand_a_day   a household closes its open relay itself
    invents         these answers are an attacker's, who replays and invents
    battery         false: a board has forgotten the time whenever it starts, and it is not typed
    tariffs         of how many kinds accounts are, 0: of all there are
    copied_a_day    a board with the same number calls: with a copied `board.json`, or flash
    foreign_a_day   another concentrator tells of an account that is not its own
    lent_a_day      an account is given to it by mistake, and comes back some hours later
    hostile_net     an attacker on the network does harm to a share of the frames
    commanded_a_day  the head-end gives a command
    nor             the flash is a NOR chip with littlefs and bad blocks, else a model of files
    """

    text: str
    uplink: bool = True
    station: bool = False
    away_share: float = 0.0
    blocks: tuple[int, int] = (0, 0)
    replaced_a_day: float = 0.0
    restored_a_day: float = 0.0
    rot_a_day: float = 0.0
    lies_a_day: float = 0.0
    unseen_parity: float = 0.0
    low_limits: bool = False
    by_hand_a_day: float = 0.0
    invents: bool = False
    battery: bool = True
    tariffs: int = 0
    copied_a_day: float = 0.0
    foreign_a_day: float = 0.0
    lent_a_day: float = 0.0
    hostile_net: bool = False
    commanded_a_day: float = 0.0
    nor: bool = False


ANY = "any"
SCENARIOS = {
    ANY: Scenario("every fault as the seed draws it"),
    "alone": Scenario("no head-end at all, and a small flash", uplink=False, blocks=(24, 48)),
    "away": Scenario(
        "the head-end is away for most of the time, then back; a small flash",
        away_share=0.8,
        blocks=(24, 48),
    ),
    "replaced": Scenario(
        "boards replaced empty or from an old copy, and restored from the head-end",
        station=True,
        replaced_a_day=1.0,
    ),
    "head-end-restored": Scenario(
        "the head-end's database goes back to its last backup", station=True, restored_a_day=1.0
    ),
    "others": Scenario(
        "copied boards, and another concentrator that tells of this one's accounts",
        station=True,
        copied_a_day=24.0,
        foreign_a_day=48.0,
        lent_a_day=6.0,
    ),
    "small-flash": Scenario("a flash that is small and soon full", blocks=(18, 28)),
    "glitches": Scenario(
        "meters whose valid answers are wrong now and then",
        lies_a_day=12.0,
        unseen_parity=0.02,
        low_limits=True,
    ),
    "attacker": Scenario(
        "an attacker on the line, who replays answers and invents some",
        lies_a_day=24.0,
        by_hand_a_day=12.0,
        invents=True,
    ),
    "hostile-net": Scenario(
        "an attacker on the network, who drops, replays, splices and poses",
        station=True,
        hostile_net=True,
    ),
    "commanded": Scenario(
        "a head-end that gives commands, which are lost, doubled, late and cut off",
        station=True,
        restored_a_day=0.5,
        commanded_a_day=1000.0,
    ),
    "forged-commands": Scenario(
        "a head-end that gives commands, and an attacker who replays and forges them",
        station=True,
        hostile_net=True,
        restored_a_day=0.5,
        commanded_a_day=1000.0,
    ),
    "no-battery": Scenario("boards that forget the time with each power cut", battery=False),
    "one-tariff": Scenario("every account on one tariff", tariffs=1),
    "nor": Scenario(
        "littlefs on a NOR flash with bad blocks, cut in its programs, and disturbed by reads",
        nor=True,
        rot_a_day=24.0,
    ),
    "rot": Scenario("bits that turn in stored files", station=True, rot_a_day=12.0),
}


def adapted(faults: Faults, scenario: Scenario) -> Faults:
    """Return the troubles of a world of this scenario."""
    if not scenario.battery:
        # A technician who sets a clock wrong would set it right as well.
        return replace(faults, clock_loss=1.0, clock_steps_a_day=0.0)
    line = replace(faults.line, unseen_parity=scenario.unseen_parity)
    return replace(faults, line=line, lies_a_day=scenario.lies_a_day, invents=scenario.invents)


@dataclass(frozen=True)
class Limits:
    """The storage of the device: drawn small, so that a short world reaches every limit.

    blocks              of the flash, 0: no limit
    checkpoint_records  after which a checkpoint is due
    """

    blocks: int
    checkpoint_records: int


def draw_limits(random: Random, scenario: Scenario) -> Limits:
    """Return the limits of one world."""
    least, most = scenario.blocks
    blocks = random.randint(least, most)
    return Limits(blocks, random.choice(_CHECKPOINT_RECORDS))
