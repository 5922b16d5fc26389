"""Goal: the flash of a world on littlefs and NOR does what the model of files promises, and no
power cut in a program or an erase leaves anything else than the old or the new file.

Method: the same changes, drawn at random, go to both storages; then each life of one chip ends
with a cut, torn in the three ways. tests/sim/test_scenarios.py runs worlds on it.
"""

from collections.abc import Callable
from random import Random

from boards.littlefs import LittleStorage, open_filesystem
from littlefs import LittleFS
from littlefs.context import UserContext

from host.sim import nor
from host.sim.storage import PowerCut, Storage
from host.world.nor_flash import NorStorage, new_chip

NAMES = ("j00000041", "j00001041", "k1", "settings", "t1")
CUTS = 60


def draw_change(random: Random) -> tuple[str, Callable[[Storage], bool]]:
    """Return a name and a change of the file, the same for every storage."""
    name = random.choice(NAMES)
    data = random.randbytes(random.choice((3, 300, 2500)))
    parts = random.randrange(1, 4)

    def in_parts(storage: Storage) -> bool:
        done = storage.begin(name)
        for _ in range(parts):
            done = storage.put(data, len(data)) and done
        return storage.finish() and done

    changes = (
        lambda storage: storage.append(name, data, len(data)),
        lambda storage: storage.replace(name, data, len(data)),
        lambda storage: storage.remove(name),
        in_parts,
    )
    return name, random.choice(changes)


def test_both_flashes_hold_the_same() -> None:
    random = Random(5)
    model, real = Storage(), NorStorage(Random(5))
    for number in range(120):
        _name, change = draw_change(random)
        if len(model.content.get("j00000041", b"")) > 20000:
            break
        assert change(model) == change(real)
        assert real.content == model.content, number
    assert real.reopened().content == model.content
    assert model.content


def test_a_cut_leaves_the_old_or_the_new_file() -> None:
    random = Random(6)
    real = NorStorage(Random(6))
    cuts = 0
    while cuts < CUTS:
        name, change = draw_change(random)
        before = dict(real.content)
        after = Storage(dict(before))
        change(after)
        real.plan_cut(random.randrange(3), random.randrange(100))
        try:
            change(real)
        except PowerCut:
            cuts += 1
            real = real.reopened()
            # A file that was opened and got nothing yet is there, as the port allows.
            allowed = before.get(name), after.content.get(name), b"" if name not in before else 0
            assert real.content.get(name) in allowed
            others = {other: data for other, data in real.content.items() if other != name}
            assert others == {other: before[other] for other in before if other != name}
    assert real.counters["power_cut"] == CUTS


def test_a_chip_has_bad_blocks_of_every_kind() -> None:
    kinds = {kind for seed in range(5) for kind in new_chip(Random(seed)).bad.values()}
    assert kinds == set(nor.BAD)


def grown(data: bytes, blocks: int) -> bytes:
    """Return the content of a larger chip, as docs/HARDWARE.md makes it."""
    context = UserContext(buffer=bytearray(data.ljust(blocks * nor.BLOCK_SIZE, b"\xff")))
    made = len(data) // nor.BLOCK_SIZE
    sizes = {"block_size": nor.BLOCK_SIZE, "prog_size": nor.PAGE, "read_size": 64}
    LittleFS(context, block_count=made, **sizes).fs_grow(blocks)
    return bytes(context.buffer)


def test_a_file_system_can_be_grown_for_a_larger_chip() -> None:
    small = nor.Nor(bytearray(b"\xff" * (32 * nor.BLOCK_SIZE)))
    LittleStorage(open_filesystem(small, nor.PAGE, True)).append("k1", b"money", 5)

    larger = nor.Nor(bytearray(grown(bytes(small.data), 64)))
    storage = LittleStorage(open_filesystem(larger, nor.PAGE))
    back = bytearray(5)
    assert storage.read_into("k1", 0, back, 5) == 5
    assert back == b"money"
    assert storage.blocks()[0] == 64
