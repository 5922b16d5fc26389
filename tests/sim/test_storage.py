"""Goal: a storage that loses power keeps one of the contents that the port allows.

Method: every kind of change is cut with every part kept, and the result is compared with the
contents that the port's docstring allows; the room is filled up, and failures are switched on.
"""

from random import Random

import pytest

from host.sim.storage import (
    BLOCK_SIZE,
    NOT_THERE,
    UNLIMITED_BLOCKS,
    UNREADABLE,
    PowerCut,
    Storage,
    StorageFaults,
)


def read(storage: Storage, name: str, offset: int = 0, size: int = 100) -> bytes:
    buf = bytearray(size)
    return bytes(buf[: max(0, storage.read_into(name, offset, buf, size))])


def test_files_grow_are_replaced_and_removed() -> None:
    storage = Storage()
    assert storage.size("a") == storage.read_into("a", 0, bytearray(1), 1) == NOT_THERE
    assert storage.append("a", bytearray(b"one.."), 3)
    assert storage.append("a", memoryview(b"two"), 3)
    assert read(storage, "a") == b"onetwo"
    assert read(storage, "a", 4, 100) == b"wo"
    assert read(storage, "a", 9) == b""
    assert storage.replace("b", b"new", 2)
    assert storage.names("") == ["a", "b"]
    assert storage.names("b") == ["b"]
    assert (storage.size("a"), storage.size("b")) == (6, 2)
    assert storage.remove("a")
    assert storage.remove("a")
    assert storage.size("a") == NOT_THERE
    assert storage.changes == 5


@pytest.mark.parametrize("kept_percent", range(0, 101, 10))
def test_a_cut_append_leaves_a_part_of_its_own_bytes(kept_percent: int) -> None:
    storage = Storage({"a": b"old"})
    storage.plan_cut(0, kept_percent)
    with pytest.raises(PowerCut):
        storage.append("a", b"0123456789", 10)
    assert storage.content["a"] == b"old" + b"0123456789"[: kept_percent // 10]


@pytest.mark.parametrize(
    ("kept_percent", "left"), [(0, b"old"), (49, b"old"), (50, b"new"), (100, b"new")]
)
def test_a_cut_replacement_leaves_the_old_or_the_new(kept_percent: int, left: bytes) -> None:
    storage = Storage({"a": b"old"})
    storage.plan_cut(0, kept_percent)
    with pytest.raises(PowerCut):
        storage.replace("a", b"new", 3)
    assert storage.content == {"a": left}


@pytest.mark.parametrize(("kept_percent", "left"), [(0, {"a": b"old"}), (100, {})])
def test_a_cut_removal_is_done_or_not(kept_percent: int, left: dict[str, bytes]) -> None:
    storage = Storage({"a": b"old"})
    storage.plan_cut(0, kept_percent)
    with pytest.raises(PowerCut):
        storage.remove("a")
    assert storage.content == left


def test_the_cut_comes_in_the_change_it_is_planned_for() -> None:
    storage = Storage()
    storage.append("a", b"1", 1)
    storage.plan_cut(2, 0)
    storage.append("a", b"2", 1)
    storage.append("a", b"3", 1)
    with pytest.raises(PowerCut):
        storage.append("a", b"4", 1)
    again = storage.reopened()
    assert read(again, "a") == b"123"
    assert again.append("a", b"4", 1)
    assert storage.content["a"] == b"123"


def test_a_full_flash_refuses_and_keeps_what_it_has() -> None:
    storage = Storage(limit_blocks=2)
    assert storage.append("a", bytes(BLOCK_SIZE), BLOCK_SIZE)
    assert storage.append("b", b"1", 1)
    assert not storage.append("a", b"1", 1)
    assert not storage.replace("c", b"", 0)
    assert storage.append("b", bytes(BLOCK_SIZE - 1), BLOCK_SIZE - 1)
    assert not storage.append("b", b"1", 1)
    assert storage.counters["full"] == 3
    assert storage.used_blocks == 2
    assert storage.remove("a")
    assert storage.replace("c", b"", 0)


def test_a_cut_on_a_full_flash_leaves_what_was_there() -> None:
    storage = Storage({"a": bytes(BLOCK_SIZE)}, limit_blocks=1)
    storage.plan_cut(0, 100)
    with pytest.raises(PowerCut):
        storage.append("a", b"1", 1)
    assert storage.content == {"a": bytes(BLOCK_SIZE)}


def test_operations_fail_while_they_are_told_to() -> None:
    storage = Storage({"a": b"old"}, failing={"read", "append", "replace", "remove"})
    assert storage.read_into("a", 0, bytearray(3), 3) == UNREADABLE
    assert not storage.append("a", b"1", 1)
    assert not storage.replace("a", b"1", 1)
    assert not storage.remove("a")
    storage.failing.clear()
    assert read(storage, "a") == b"old"
    assert storage.counters["append_failed"] == 1


def test_operations_fail_by_chance_and_the_same_for_a_seed() -> None:
    def outcomes(seed: int) -> list[bool]:
        storage = Storage(faults=StorageFaults(append=0.5), random=Random(seed))
        return [storage.append("a", b"1", 1) for _ in range(50)]

    assert outcomes(1) == outcomes(1)
    assert 10 < sum(outcomes(1)) < 40


def test_a_torn_append_leaves_any_part_of_its_bytes_and_says_that_it_failed() -> None:
    storage = Storage(faults=StorageFaults(torn_append=1.0), random=Random(1))
    left = set()
    for _ in range(200):
        storage.content["a"] = b"old"
        assert not storage.append("a", b"0123", 4)
        left.add(storage.content["a"])
    assert left == {b"old" + b"0123"[:size] for size in range(5)}
    assert storage.counters["append_torn"] == 200


@pytest.mark.parametrize("name", ["", "eighteen_character", "a/b"])
def test_a_name_that_the_port_forbids_is_a_mistake_of_the_device(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        Storage().append(name, b"", 0)


def begun(storage: Storage) -> Storage:
    assert storage.begin("k")
    assert storage.put(bytearray(b"0123.."), 4)
    assert storage.put(memoryview(b"4567"), 4)
    return storage


def test_a_file_written_across_steps_counts_when_it_is_finished() -> None:
    storage = begun(Storage({"k": b"old"}))
    assert storage.append("a", b"meanwhile", 9)
    assert storage.content["k"] == b""
    assert storage.finish()
    assert storage.content == {"k": b"01234567", "a": b"meanwhile"}
    assert not storage.put(b"8", 1)
    assert not storage.finish()
    begun(storage).give_up()
    assert "k" not in storage.content


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("kept_percent", [0, 50, 100])
def test_a_cut_file_is_missing_or_a_part_of_itself(after: int, kept_percent: int) -> None:
    storage = Storage()
    storage.plan_cut(after, kept_percent)
    with pytest.raises(PowerCut):
        begun(storage).finish()
    assert b"01234567".startswith(storage.content.get("k", b""))
    assert storage.reopened().begin("k")


def test_a_file_that_does_not_fit_is_given_up() -> None:
    storage = Storage({"a": b"1"}, limit_blocks=2)
    assert storage.begin("k")
    assert storage.put(bytes(BLOCK_SIZE), BLOCK_SIZE)
    assert storage.blocks() == (2, 0)
    assert not storage.put(b"1", 1)
    assert storage.blocks() == (2, 1)
    assert not storage.finish()
    assert Storage().blocks() == (UNLIMITED_BLOCKS, UNLIMITED_BLOCKS)


def test_looks_fail_once_or_from_one_on() -> None:
    storage = Storage({"a": b"old"})
    storage.plan_look_failure(1)
    assert storage.names("") == ["a"]
    assert storage.names("") is None
    assert read(storage, "a") == b"old"
    storage.plan_look_failure(1, stays=True)
    assert storage.size("a") == 3
    assert storage.size("a") == storage.read_into("a", 0, bytearray(3), 3) == UNREADABLE
    assert storage.names("a") is None
    assert storage.reopened().size("a") == 3


def test_a_bit_turns_without_a_word() -> None:
    storage = Storage({"a": b"old"})
    storage.turn_bit("a", 8)
    assert read(storage, "a") == b"omd"
