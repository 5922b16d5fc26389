"""Goal: the flash of a world on littlefs and NOR does what the model of files promises, and no
power cut in a program or an erase leaves anything else than the old or the new file. Reading turns
bits only in files that may have one.

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
from host.world.world import World

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


def worn(seed: int) -> NorStorage:
    """Return a flash with files of which every written block was read too often."""
    storage = NorStorage(Random(seed))
    for number, name in enumerate(NAMES):
        assert storage.replace(name, Random(number).randbytes(9000), 9000)
    data, size = storage.chip.data, nor.BLOCK_SIZE
    blank = b"\xff" * size
    storage.chip.worn = {
        at // size for at in range(0, len(data), size) if data[at : at + size] != blank
    }
    return storage


def test_reading_turns_a_bit_of_a_file_which_a_restart_finds() -> None:
    names = set()
    for seed in range(8):
        storage = worn(seed)
        before = dict(storage.content)
        name = storage.spoil(Random(seed), lambda name, spoilt: True)
        changed = [one for one in before if before[one] != storage.content[one]]
        assert changed == [name]
        assert storage.reopened().content == storage.content
        buf = bytearray(9000)
        assert storage.read_into(name, 0, buf, 9000) == 9000
        assert bytes(buf) == storage.content[name]
        old, new = (int.from_bytes(one[name]) for one in (before, storage.content))
        assert (old & new, (old ^ new).bit_count()) == (new, 1)
        names.add(name)
    assert len(names) > 2


def test_no_bit_turns_that_may_not_or_that_ends_the_board() -> None:
    storage = worn(1)
    before = dict(storage.content)

    assert storage.spoil(Random(1), lambda name, spoilt: False) == ""
    assert not storage.chip.worn
    assert storage.reopened().content == before


def test_a_block_wears_by_reads_until_it_is_erased() -> None:
    storage = NorStorage(Random(3))
    storage.replace("k1", bytes(9000), 9000)
    storage.chip.worn.clear()
    for _ in range(200):
        storage.read_into("k1", 0, bytearray(9000), 9000)
    there = set(storage.chip.worn)
    assert there
    for block in there:
        storage.chip.ioctl(6, block)
    for block in there:
        storage.chip.readblocks(block, bytearray(16))
    assert storage.chip.worn == there


def test_a_world_on_a_nor_chip_has_bits_that_reading_turned() -> None:
    assert World(5, 1, 2, scenario="nor").run()["world"]["bits turned"] > 0


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
