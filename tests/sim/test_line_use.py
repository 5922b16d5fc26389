"""Goal: polling 64 meters for five items each fills 97 % of what the line and the meters allow,
and meters that are down or replies that are lost cost little.

Method: the round of `make bench` runs on the byte-accurate line in virtual time, alone.
"""

from tools import bench_line

ITEMS = bench_line.METERS * len(bench_line.ITEMS)


def test_the_line_is_busy() -> None:
    one = bench_line.rounds_of(bench_line.poll_ours, False)

    assert one.answered == ITEMS
    assert one.busy_percent >= bench_line.BUSY_LEAST_PERCENT
    # Frames of 20 to 40 bytes and delays of 40 to 100 ms take about 0.3 s for each item.
    assert 80 < one.least_s < 110


def test_trouble_costs_little() -> None:
    quiet = bench_line.rounds_of(bench_line.poll_ours, False)
    troubled = bench_line.rounds_of(bench_line.poll_ours, True)

    assert troubled.answered == ITEMS - bench_line.DOWN * len(bench_line.ITEMS)
    assert troubled.duration_s < 1.05 * quiet.duration_s
