"""Goal: where many bring a backlog at once, each batch is acknowledged soon, who has begun can
end, who has little goes first, and who is told a time finds a place at that time.

Method: the line of those that wait, with a clock of the test and a writer that stores one record
a millisecond.
"""

import pytest

from host.headend import waiting
from host.headend.waiting import FEW, TURN_WAIT_S, WaitingLine

PACE_S = 0.049
BACKLOG = 500
ROOM = 25  # backlogs that may begin at this pace
ALL_ROOM = 37  # with turns that have come


def entered(line: WaitingLine, first: int, count: int, left: int = BACKLOG) -> list[int]:
    return [line.enter(one, left, 0.0, PACE_S, 0.0) for one in range(first, first + count)]


@pytest.fixture
def line() -> WaitingLine:
    """Give a line with as many as may begin, that knows how long a record takes."""
    line = WaitingLine()
    for _ in range(40):
        line.on_commit([], 1000, 1.0, 0.0)
    assert not any(entered(line, 1, ROOM))
    return line


def test_turns_follow_each_other_by_what_each_brings(line: WaitingLine) -> None:
    after_s = entered(line, 101, 60)
    begun_s = ROOM * BACKLOG / 1000
    expected = [0.75 * (begun_s + at * BACKLOG / 1000) for at in range(60)]
    assert after_s == pytest.approx(expected, abs=1.1)
    assert after_s == sorted(after_s)


def test_who_comes_early_keeps_its_turn_and_who_comes_in_time_has_it(line: WaitingLine) -> None:
    first, second = entered(line, 101, 2)
    assert entered(line, 101, 2) == [first, second]
    line.on_commit([], 16 * BACKLOG, 8.0, 8.0)
    assert entered(line, 102, 1) == [second - 6]
    line.on_commit([], 9 * BACKLOG, 4.5, 8.0)
    assert entered(line, 102, 1) != [0]  # all others are at it still, and 102 is early
    assert entered(line, 101, 1) == [0]


def test_a_place_that_is_free_goes_to_whoever_comes(line: WaitingLine) -> None:
    entered(line, 101, 60)
    line.on_commit([(1, 0), (2, BACKLOG - 100)], BACKLOG, 0.5, 0.5)
    assert entered(line, 160, 1) == [0]
    assert entered(line, 101, 1) != [0]
    assert entered(line, 2, 1) == [0]  # it has begun, and calls again


def test_who_has_little_or_nothing_does_not_wait_for_backlogs(line: WaitingLine) -> None:
    entered(line, 101, 60)
    assert entered(line, 201, 20, FEW) == [0] * (ALL_ROOM - ROOM) + [2] * 8
    assert entered(line, 301, 5, 0) == [0] * 5
    assert line.enter(301, FEW, TURN_WAIT_S + 0.1, PACE_S, 0.0) == 2


def test_the_silent_lose_their_places(line: WaitingLine) -> None:
    line.on_commit([(1, 400)], 100, 0.1, 6.0)
    assert line.enter(101, BACKLOG, 0.0, PACE_S, 9.9) > 0
    begun = [101 + at for at in range(40) if not line.enter(101 + at, BACKLOG, 0.0, PACE_S, 11.0)]
    assert len(begun) == ROOM - 1
    assert line.enter(1, 400, 0.0, PACE_S, 11.0) == 0


def test_lone_records_do_not_tell_how_long_a_crowd_takes(line: WaitingLine) -> None:
    before = entered(line, 101, 1)
    for _ in range(10_000):
        line.on_commit([], 1, 0.02, 0.0)
    assert entered(line, 101, 1) < before


def test_a_batch_without_room_gives_a_place_away_for_a_turn(line: WaitingLine) -> None:
    assert line.put_off(1, 3.4) == 3
    assert entered(line, 101, 1) == [0]
    assert entered(line, 102, 1) != [0]
    assert entered(line, 1, 1) == [0]
    assert line.put_off(2, 500.0) == waiting.AFTER_LIMIT_S
