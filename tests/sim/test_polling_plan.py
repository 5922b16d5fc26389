"""Goal: with any other work on a line, every meter is read in time, relays go first, missing days
are read later, and meters that are down cost little time.

Method: the whole concentrator runs on byte-accurate lines in virtual time. The bounds below are
those of the module docstring of concentrator/line/poller.py.
"""

from collections import defaultdict
from itertools import pairwise

import pytest

from host.frames.record import RecordKind
from host.sim.clock import DEFAULT_START_T2000
from host.sim.meter import Meter
from host.sim.profile import PROFILES
from host.units import DAY_S
from tests.sim.plan_world import US, Site, account, meter

# Before a relay's turn one transaction of another kind may be on the line, with all its requests:
# a reading has registers, status, and perhaps a freeze of two between them.
RELAY_WAITS = 4
TRIP, STATUS_3 = 0x1C, bytes.fromhex("03050004")


def village(count: int, **more: int) -> list[Meter]:
    """Return meters 1 to `count`."""
    return [meter(number, **more) for number in range(1, count + 1)]


def read_times(site: Site) -> dict[int, list[int]]:
    """Return when each account was read."""
    times = defaultdict(list)
    for one in site.records(RecordKind.READING):
        times[one.index].append(one.t2000)
    return times


def longest_gap(times: list[int], since: int, until: int) -> int:
    """Return the longest time without a reading, from `since` on."""
    marks = [since, *(time for time in times if time > since), until]
    return max(after - before for before, after in pairwise(marks))


# --- fairness ------------------------------------------------------------------------------------


def test_everybody_is_read_in_time_whatever_else_is_to_be_done() -> None:
    """64 meters get endless technician's requests and 30 relay orders; 8 are down and 8 slow."""
    meters = village(64)
    for one in meters[8:16]:
        one.reply_delay_ms = 450
    site = Site(meters, down=meters[:8], interval_s=300)
    site.live(60)  # at midnight
    exchange = site.app.pollers[0].exchange
    asked = 0
    for second in range(3600):
        if second % 60 == 30 and second < 1800:
            one = meters[20 + second // 60]
            site.run(f"supply {account(one)} cut")
        site.app.wake()
        if exchange.put(bytearray.fromhex(meters[30].address)[::-1], 0x11, b"\0\0\1\0"):
            asked += 1
        site.live(1)

    until = site.clock.now_t2000()
    times = read_times(site)
    gaps = [longest_gap(times[site.index(one)], until - 3600, until) for one in meters[8:]]
    assert max(gaps) <= 2 * 300
    assert asked > 1200
    assert all(one.relay.open for one in meters[20:50])
    frozen = {one.index for one in site.records(RecordKind.FREEZE)}
    assert frozen == {site.index(one) for one in meters[8:]}
    assert site.count("rounds unfinished") == 0
    assert site.app.books.refused == 0


def test_a_line_that_is_too_slow_starves_nobody() -> None:
    """No round fits into its interval: registers are read in turn, and freezes get their part."""
    meters = village(64, baud=600)
    site = Site(meters, start_s=3600, standard="auto", interval_s=60)
    site.app.pollers[0].identify._place = 4  # the line is known to run at 600 bps
    site.live(3600)

    until = site.clock.now_t2000()
    times = read_times(site)
    assert site.count("rounds unfinished") > 50
    # Two questions of 0.8 s each for 64 meters, and one turn in nine for the rest.
    assert max(longest_gap(times[index], until - 1800, until) for index in range(64)) < 240
    counts = [len(times[index]) for index in range(64)]
    assert max(counts) - min(counts) <= 2
    frozen = {one.index for one in site.records(RecordKind.FREEZE)}
    assert len(frozen) == 64


def test_meters_that_are_down_cost_little() -> None:
    meters = village(64)
    down = meters[::4]
    site = Site(meters, down=down, start_s=3600)
    site.live(4 * 3600)

    cost_us = site.busy_us(0, {one.address for one in down})
    # A quarter of all is down in the first hours, with a search for each: 3 % of the time.
    assert cost_us < 4 * 3600 * US * 3 // 100
    asked = site.lines[0].asked
    late = [one for one in asked if one.at_us > 3 * 3600 * US and one.address == down[0].address]
    assert 1 <= len(late) <= 2
    silent = [one for one in site.records(RecordKind.LINE) if one.fields["state"] == 1]
    assert len(silent) == len(down)


# --- relays --------------------------------------------------------------------------------------


def first_question(site: Site, one: Meter, since_us: int) -> int:
    """Return how many requests were sent before the first about the relay of this meter."""
    later = [asked for asked in site.lines[0].asked if asked.at_us >= since_us]
    for place, asked in enumerate(later):
        if asked.address == one.address and asked.data == STATUS_3:
            return place
    raise AssertionError("its relay is never asked for")


def test_a_relay_waits_for_few_transactions() -> None:
    """The order comes at any place in a round, while freezes and items are read as well."""
    meters = village(24)
    site = Site(meters, start_s=600, interval_s=60)
    for number, one in enumerate(meters):
        site.live(2.03 + number * 0.017)
        since_us = site.clock.now_us()
        site.run(f"supply {account(one)} cut")
        site.live(6)
        assert first_question(site, one, since_us) <= RELAY_WAITS
        assert one.relay.open
    trips = [asked for asked in site.lines[0].asked if asked.control == TRIP]
    assert len(trips) == len(meters)


@pytest.mark.parametrize("delay_s", [0, 4])
def test_many_relays_leave_the_line_to_readings_in_between(delay_s: int) -> None:
    """This holds for slow relays too, and other relays are switched during their wait."""
    meters = village(40, relay_delay_s=delay_s)
    site = Site(meters, start_s=3600, interval_s=60)
    site.live(120)
    for one in meters:
        site.run(f"supply {account(one)} cut")
    since = site.clock.now_t2000()
    site.live(150)

    assert all(one.relay.open for one in meters)
    times = read_times(site)
    read = [index for index, moments in times.items() if any(since <= t for t in moments)]
    assert len(read) == len(meters)
    until = site.clock.now_t2000()
    assert max(longest_gap(moments, since - 60, until) for moments in times.values()) <= 2 * 60
    confirmed = [one for one in site.records(RecordKind.RELAY) if one.fields["stage"] == 2]
    assert len(confirmed) == len(meters)
    # Each was sent to once, however long it took.
    trips = [asked for asked in site.lines[0].asked if asked.control == TRIP]
    assert len(trips) == len(meters)


def test_relays_that_do_not_move_are_waited_for_by_nobody() -> None:
    """Seven relays do not move; the last place serves all others, and no reading is late."""
    meters = village(24)
    for one in meters[:7]:
        one.faulty_relay = True
    site = Site(meters, start_s=3600, interval_s=60)
    site.live(120)
    for one in meters:
        site.run(f"supply {account(one)} cut")
    since = site.clock.now_t2000()
    site.live(60)
    assert all(one.relay.open for one in meters[7:])
    until = site.clock.now_t2000()
    gaps = [longest_gap(moments, since - 60, until) for moments in read_times(site).values()]
    assert max(gaps) <= 2 * 60
    failed = [one.index for one in site.records(RecordKind.RELAY) if one.fields["stage"] == 3]
    assert sorted(failed) == [site.index(one) for one in meters[:7]]
    sent = [asked.address for asked in site.lines[0].asked if asked.control == TRIP]
    assert [sent.count(one.address) for one in meters] == [3] * 7 + [1] * 17


def test_a_guarded_meter_is_not_sent_what_it_would_refuse() -> None:
    one = meter(1)
    one.relay.guard = True
    site = Site([one], start_s=3600, interval_s=60)
    site.live(30)
    site.run(f"supply {account(one)} cut")
    site.live(600)

    assert not [asked for asked in site.lines[0].asked if asked.control == TRIP]
    relays = site.records(RecordKind.RELAY)
    assert [record.fields["stage"] for record in relays] == [1, 3]
    assert relays[-1].fields["status"] & 0x1000
    one.relay.guard = False
    site.live(120)
    assert one.relay.open


# --- 1997 ----------------------------------------------------------------------------------------


def test_the_relay_of_a_1997_meter() -> None:
    one = meter(1, baud=1200, profile=PROFILES["relay-1997"])
    site = Site([one], start_s=3600, standard="auto", interval_s=60, relay_1997=1)
    site.live(60)
    assert site.app.books.credit(0, 1, 1000, bytes(8), 1, bytes(8))
    site.live(60)
    site.run(f"supply {account(one)} cut")
    site.live(60)
    assert one.relay.open
    site.run(f"supply {account(one)} restore")
    site.live(60)
    assert not one.relay.open

    # The first pair belongs to the opened account: its relay was closed already.
    stages = [record.fields["stage"] for record in site.records(RecordKind.RELAY)]
    assert stages == [1, 2, 1, 2, 1, 2]
    writes = [asked for asked in site.lines[0].asked if asked.control == 0x04]
    assert [asked.data.hex() for asked in writes] == [
        "28c0020000005533",
        "28c0020000006699",
    ]


@pytest.mark.parametrize(
    ("profile", "set_to", "sent"), [("plain-1997", 1, 1), ("relay-1997", 0, 0)]
)
def test_a_1997_meter_that_does_not_tell(profile: str, set_to: int, sent: int) -> None:
    """The move cannot be confirmed: the command is sent at most once and reported as failed."""
    one = meter(1, profile=PROFILES[profile])
    site = Site([one], start_s=3600, standard="1997", interval_s=60, relay_1997=set_to)
    site.live(30)
    site.run(f"supply {account(one)} cut")
    site.live(600)

    stages = [record.fields["stage"] for record in site.records(RecordKind.RELAY)]
    assert stages == [1, 3]
    assert len([asked for asked in site.lines[0].asked if asked.control == 0x04]) == sent
    assert len(read_times(site)[0]) > 9


# --- catching up ---------------------------------------------------------------------------------


def test_days_that_are_missing_are_caught_up_with() -> None:
    """The concentrator is off for three days and restarts on the same flash."""
    meters = village(8)
    site = Site(meters, start_s=12 * 3600)
    site.live(3600)
    site.clock.advance_us(3 * DAY_S * US)
    for line in site.lines:
        line.asked.clear()
    site.start()
    site.live(1800)

    first_day = DEFAULT_START_T2000 // DAY_S
    for index in range(len(meters)):
        days = [
            one.fields["frozen_t2000"] // DAY_S
            for one in site.records(RecordKind.FREEZE)
            if one.index == index
        ]
        assert days == list(range(first_day, first_day + 4))
    assert site.count("freezes not had") == 0


def test_freezes_come_from_five_past_on_also_where_readings_are_seldom() -> None:
    site = Site(village(4), start_s=0, interval_s=86400)
    site.live(290)
    assert not site.records(RecordKind.FREEZE)
    site.live(60)
    assert len(site.records(RecordKind.FREEZE)) == 4


# --- lines and speeds ----------------------------------------------------------------------------


def test_lines_do_not_wait_for_each_other() -> None:
    slow, quick = village(20), [meter(number) for number in range(101, 121)]
    site = Site(slow, quick, down=slow[:10], start_s=3600, interval_s=60)
    site.live(1800)

    times = read_times(site)
    for one in quick:
        assert len(times[site.index(one)]) >= 29
    for one in slow[10:]:
        assert len(times[site.index(one)]) >= 28


def test_standard_and_speed_are_found_and_remembered() -> None:
    """One line has meters of both standards and three speeds; then the concentrator restarts."""
    old = PROFILES["plain-1997"]
    kinds = [(2400, {}), (1200, {"profile": old}), (9600, {}), (9600, {"profile": old})]
    meters = [meter(number, baud=baud, **more) for number, (baud, more) in enumerate(kinds * 4, 1)]
    site = Site(meters, start_s=3600, standard="auto")
    site.live(600)

    times = read_times(site)
    assert all(times[site.index(one)] for one in meters)
    newest = {one.index: one.fields for one in site.records(RecordKind.METER)}
    for one in meters:
        fields = newest[site.index(one)]
        is_old = one.profile.standard == 1997
        assert (fields["standard"], fields["speed"]) == (
            int(is_old),
            (2400, 1200, 9600).index(one.baud),
        )
    site.lines[0].asked.clear()
    site.start()
    site.live(1800)
    bauds = {one.address: one.baud for one in meters}
    assert all(asked.baud == bauds[asked.address] for asked in site.lines[0].asked)
    assert all(len(site_times) >= 3 for site_times in read_times(site).values())
    assert site.count("failures") == 0


def test_a_meter_that_has_changed_its_speed_is_found_again() -> None:
    meters = village(3)
    site = Site(meters, start_s=3600, interval_s=60)
    site.live(120)
    meters[1].baud = 115200
    meters[1]._first_baud = 115200
    site.live(2 * 3600)

    assert "115200" in site.run("meter list")[2]
    until = site.clock.now_t2000()
    assert until - read_times(site)[1][-1] <= 60
    told = [one.fields["state"] for one in site.records(RecordKind.LINE)]
    assert told == [1, 2]  # silent, and answers again


# --- once a day ----------------------------------------------------------------------------------


def test_clocks_are_set_all_together() -> None:
    meters = village(8)
    meters[2].clock_offset_s = 40
    meters[5].clock_offset_s = -200
    meters[7].clock_offset_s = 7200
    site = Site(meters, start_s=9 * 3600 + 3000)
    site.live(1100)
    assert meters[2].clock_offset_s == 40, "it is too near to a whole hour"
    site.live(900)

    assert all(abs(one.clock_offset_s) <= 2 for one in meters[:7])
    broadcasts = [asked for asked in site.lines[0].asked if asked.control == 0x08]
    assert len(broadcasts) == 1
    wrong = [one for one in site.records(RecordKind.LINE) if one.fields["state"] == 3]
    assert [one.index for one in wrong] == [7]
    assert abs(wrong[0].fields["ahead_s"] - 7200) <= 2
    assert site.count("clocks wrong") == 1


def test_our_own_wrong_clock_is_not_spread() -> None:
    """Most meters agree on another time than the concentrator's."""
    meters = village(5)
    for one in meters[:4]:
        one.clock_offset_s = 120
    site = Site(meters, start_s=10 * 3600 + 600)
    site.live(900)

    assert site.count("clocks set") == 0
    assert meters[0].clock_offset_s == 120
    assert site.count("clocks wrong") == 4


def test_clocks_of_every_speed_and_standard_are_set() -> None:
    meters = [
        *(meter(number, baud=9600) for number in range(1, 6)),
        *(meter(number, profile=PROFILES["plain-1997"]) for number in range(6, 11)),
    ]
    meters[1].clock_offset_s = 60
    meters[7].clock_offset_s = -60
    site = Site(meters, start_s=10 * 3600, standard="auto")
    site.live(1800)

    assert site.count("clocks set") == 2
    assert all(abs(one.clock_offset_s) <= 2 for one in meters)
    assert site.count("clocks wrong") == 0


def test_other_items_go_up_once_a_day() -> None:
    site = Site(village(2), start_s=10 * 3600)
    site.live(DAY_S + 3600)

    items = site.records(RecordKind.ITEM)
    told = [one.fields["identifier"] for one in items if one.index == 0]
    assert told.count("04000501") == 2
    assert told.count("00020000") == 2
    assert told.count("0201FF00") <= 1
    voltages = next(one for one in items if one.fields["identifier"] == "0201FF00")
    assert voltages.fields["count"] == 3
