"""Goal: a tariff image means the same at every moment, and a bad one is refused with a reason.

Method: periods, seasons, sets, day tables and holidays against dates worked out by hand, each at
the second before and the second itself; every number of the image out of range; the image cut at
every byte and with every bit flipped.
"""

from civil import day_number, month_of, weekday_of, year_of
from harness import check, equal, heap_locked
from prepay.tariff import FROM_REGISTERS, Tariff
from tariff_images import (
    ENDLESS,
    MONTHLY,
    YEARLY,
    flat,
    guangzhou,
    image,
    ladder,
    loaded,
    simple,
    terms,
    zhejiang,
)

DAY_S = 86400
RICH = image(
    2,
    2,
    (ladder((200000,), (10000, 20000, 30000, 40000)), ladder((260000,), (1, 2, 3, 4))),
    (
        terms(0, YEARLY, ((5, 1, 1, 1, 2), (11, 1, 0, 1, 1)), 5, 0x41),
        terms(day_number(26, 7, 1) * DAY_S, MONTHLY, ((1, 1, 0, 2, 2),)),
    ),
    (((0, 1), (480, 0), (1320, 1)), ((0, 1),)),
    ((day_number(26, 6, 19), 2),),
)


def at(year: int, month: int, day: int, hour: int = 0) -> int:
    """Return the time as t2000."""
    return day_number(year, month, day) * DAY_S + hour * 3600


def began(tariff: Tariff, t2000: int) -> int:
    """Return when the tier period of `t2000` began."""
    period_t2000 = tariff.period_at(t2000)
    return period_t2000 - period_t2000 % 4


def refusal(data: "bytes | bytearray") -> str:
    """Return the reason why the image is refused."""
    return Tariff().load(data, len(data))


def test_the_calendar() -> None:
    lengths = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    days = 0
    for year in range(100):
        for month in range(1, 13):
            equal(day_number(year, month, 1), days, (year, month))
            count = 29 if month == 2 and year % 4 == 0 else lengths[month - 1]
            for day in (days, days + count - 1):
                equal((year_of(day), month_of(year, day)), (year, month))
            days += count
    equal(day_number(26, 0, 5), day_number(25, 12, 5))
    equal(day_number(26, 13, 5), day_number(27, 1, 5))
    equal(weekday_of(day_number(26, 3, 1)), 0)
    equal(weekday_of(0), 6)


def test_fields() -> None:
    tariff = guangzhou()
    equal(
        (tariff.number, tariff.rates, tariff.tiers, tariff.cells, tariff.registers),
        (1, 3, 3, 9, 3),
    )
    equal(list(tariff.limits_wh), [260000, 600000, 0x3FFFFFFF])
    equal((tariff.prices_e4[1], tariff.prices_e8_low[1]), (5888, 6875))
    equal((tariff.prices_e4[8], tariff.prices_e8_low[8]), (5291, 4475))
    equal(tariff.rate, FROM_REGISTERS)


def test_no_period() -> None:
    tariff = flat(5000)
    for t2000 in (0, 1, at(26, 3, 2), at(80, 1, 1)):
        equal(began(tariff, t2000), 0)
    check(tariff.change_after(at(26, 1, 1)) > at(33, 1, 1))


def test_a_year_and_its_instants() -> None:
    tariff = simple((10,), (1, 2), (2, ((7, 1, 8), (1, 1, 0), (10, 28, 23))))
    expected = (
        at(25, 10, 28, 23),
        at(26, 1, 1),
        at(26, 7, 1, 8),
        at(26, 10, 28, 23),
        at(27, 1, 1),
    )
    for position in range(4):
        period = expected[position]
        following = expected[position + 1]
        for t2000 in (period, period + 1, following - 1):
            equal(began(tariff, t2000), period)
            equal(tariff.change_after(t2000), following)
    equal(began(zhejiang(), at(26, 12, 31, 23)), at(26, 1, 1))


def test_the_first_period_of_all() -> None:
    tariff = simple((10,), (1, 2), (2, ((7, 1, 8),)))
    equal(tariff.period_at(5), 2)
    equal(began(tariff, at(0, 7, 1, 8)), at(0, 7, 1, 8))


def test_a_month_and_its_day() -> None:
    tariff = simple((10,), (1, 2), (1, ((0, 28, 23),)))
    for month in range(1, 13):
        period = at(24, month, 28, 23)
        following = at(24, month + 1, 28, 23)
        for t2000 in (period, following - 1):
            equal(began(tariff, t2000), period)
            equal(tariff.change_after(t2000), following)


def test_seasons_go_around_the_year() -> None:
    tariff = Tariff()
    equal(tariff.load(RICH, len(RICH)), "")
    for year, month, day, number in (
        (25, 1, 1, 0),
        (25, 4, 30, 0),
        (25, 5, 1, 1),
        (25, 10, 31, 1),
        (25, 11, 1, 0),
        (25, 12, 31, 0),
        (26, 6, 30, 1),
        (26, 7, 1, 0),
    ):
        for hour in (0, 23):
            tariff.seek(at(year, month, day, hour))
            equal(tariff.row, number * 2, (year, month, day))


def test_a_new_set_with_another_period_settles() -> None:
    tariff = Tariff()
    tariff.load(RICH, len(RICH))
    equal(began(tariff, at(26, 7, 1) - 1), at(26, 1, 1))
    equal(tariff.standing_e7, 5)
    equal(began(tariff, at(26, 7, 1)), at(26, 7, 1))
    equal(tariff.standing_e7, 0)
    equal(began(tariff, at(26, 9, 3)), at(26, 9, 1))
    ladders = (ladder((5,), (1, 2)),)
    other = image(1, 2, ladders, (terms(0, MONTHLY), terms(at(26, 7, 9, 5), YEARLY)))
    equal(began(loaded(other), at(26, 7, 9, 4)), at(26, 7, 1))
    equal(began(loaded(other), at(26, 7, 9, 5)), at(26, 7, 9, 5))
    equal(began(loaded(other), at(27, 1, 1)), at(27, 1, 1))


def test_a_new_set_with_the_same_period_does_not() -> None:
    ladders = (ladder((5,), (1, 2)), ladder((5,), (3, 4)))
    sets = (terms(0, YEARLY), terms(at(26, 7, 9, 5), YEARLY, ((1, 1, 1, 0, 0),)))
    tariff = loaded(image(1, 2, ladders, sets))
    equal(began(tariff, at(26, 7, 9, 5)), at(26, 1, 1))
    equal(tariff.row, 2)


def test_sets_that_settle_alike_share_the_start_of_the_first() -> None:
    ladders = (ladder((5,), (1, 2)),)
    starts = (at(26, 1, 1, 2), at(26, 2, 1), at(27, 3, 1))
    sets = [terms(0, MONTHLY)]
    for start in starts:
        sets.append(terms(start, YEARLY))
    tariff = loaded(image(1, 2, ladders, tuple(sets)))
    equal(began(tariff, starts[0] - 1), at(26, 1, 1))
    for t2000 in (starts[0], starts[1] - 1, starts[1], at(26, 12, 31)):
        equal(began(tariff, t2000), starts[0])
    for t2000 in (at(27, 1, 1), starts[2], at(27, 12, 31)):
        equal(began(tariff, t2000), at(27, 1, 1))


def test_day_tables() -> None:
    tariff = Tariff()
    tariff.load(RICH, len(RICH))
    equal(tariff.registers, 1)
    # 2026-06-18 is a Thursday, the 19th a holiday, the 20th a Saturday, a rest day.
    for day, hour, rate, from_hour, until_hour in (
        (18, 0, 1, 0, 8),
        (18, 8, 0, 8, 22),
        (18, 21, 0, 8, 22),
        (18, 22, 1, 22, 24),
        (19, 8, 1, 0, 24),
        (20, 8, 1, 0, 24),
        (22, 8, 0, 8, 22),
    ):
        tariff.seek(at(26, 6, day, hour))
        equal(tariff.rate, rate, (day, hour))
        equal(tariff.from_t2000, at(26, 6, day, from_hour))
        equal(tariff.until_t2000, at(26, 6, day, until_hour))


def test_a_span_says_what_holds_all_through_it() -> None:
    tariff = Tariff()
    tariff.load(RICH, len(RICH))
    t2000 = at(25, 12, 30)
    while t2000 < at(26, 12, 30):
        tariff.seek(t2000)
        until_t2000 = tariff.until_t2000
        found = (tariff.row, tariff.standing_e7, tariff.period_t2000, tariff.rate)
        check(tariff.from_t2000 <= t2000 < until_t2000, t2000)
        for moment in (tariff.from_t2000, (t2000 + until_t2000) // 2, until_t2000 - 1):
            tariff.seek(moment)
            again = (tariff.row, tariff.standing_e7, tariff.period_t2000, tariff.rate)
            equal(again, found, moment)
        t2000 = until_t2000


def test_seeking_allocates_nothing() -> None:
    tariff = Tariff()
    tariff.load(RICH, len(RICH))
    with heap_locked():
        tariff.seek(805000000)
        tariff.seek(840000000)


def test_every_cut_and_every_wrong_byte() -> None:
    for size in range(len(RICH)):
        check(Tariff().load(RICH, size), size)
    check(Tariff().load(RICH, len(RICH) + 1))
    equal(Tariff().load(RICH + b"more", len(RICH)), "")
    equal(refusal(RICH + b"\0"), "bytes are left over")
    wrong = bytearray(RICH)
    for index in range(len(RICH)):
        for value in (0, 1, 0x7F, 0xFF):
            # Whatever the image now means, it is taken or refused, and no exception is raised.
            wrong[index] = value
            refusal(wrong)
        wrong[index] = RICH[index]


def test_what_cannot_be_honoured_is_named() -> None:
    one = (ladder((), (1,)),)
    two = (ladder((5,), (1, 2)),)
    good = (terms(0, ENDLESS),)
    for data, reason in (
        (image(1, 1, one, good, number=0), "number 0, can be 1 to 255"),
        (image(9, 1, (ladder((), (1,) * 9),), good), "rates 9, can be 1 to 8"),
        (image(1, 9, (ladder((5,) * 8, (1,) * 9),), good), "tiers 9, can be 1 to 8"),
        (
            image(1, 3, (ladder((5, 4), (1, 2, 3)),), good),
            "limit of a tier 4, can be 5 to 1073741821",
        ),
        (image(1, 1, one, (terms(5, ENDLESS),)), "sets do not start one after the other"),
        (image(1, 1, one, good + good), "sets do not start one after the other"),
        (image(1, 1, one, (terms(0, (3, ())),)), "tier period 3, can be 0 to 2"),
        (image(1, 2, two, (terms(0, (1, ())),)), "settlements 0, can be 1 to 1"),
        (image(1, 2, two, (terms(0, (2, ((1, 1, 0),) * 7)),)), "settlements 7, can be 1 to 6"),
        (
            image(1, 2, two, (terms(0, (2, ((0, 1, 0),))),)),
            "month of a settlement 0, can be 1 to 12",
        ),
        (
            image(1, 2, two, (terms(0, (2, ((2, 29, 0),))),)),
            "day of a settlement 29, can be 1 to 28",
        ),
        (
            image(1, 2, two, (terms(0, (2, ((2, 1, 24),))),)),
            "hour of a settlement 24, can be 0 to 23",
        ),
        (image(1, 1, one, (terms(0, ENDLESS, ()),)), "seasons 0, can be 1 to 16"),
        (
            image(1, 1, one, (terms(0, ENDLESS, ((2, 29, 0, 0, 0),)),)),
            "day of a season 29, can be 1 to 28",
        ),
        (
            image(1, 1, one, (terms(0, ENDLESS, ((1, 1, 1, 0, 0),)),)),
            "ladder of a season 1, can be 0 to 0",
        ),
        (
            image(1, 1, one, (terms(0, ENDLESS, ((1, 1, 0, 1, 0),)),)),
            "day table of a season 1, can be 0 to 0",
        ),
        (image(1, 1, one, good, (((0, 0),),)), "day table of a season 0, can be 1 to 1"),
    ):
        equal(Tariff().load(data, len(data)), reason)
    scheduled = (terms(0, ENDLESS, ((1, 1, 0, 1, 1),)),)
    for table, reason in (
        ((), "slots of a day table 0, can be 1 to 48"),
        (((1, 0),), "start of a slot 1, can be 0 to 0"),
        (((0, 0), (5, 0), (5, 0)), "start of a slot 5, can be 6 to 1439"),
        (((0, 0), (1440, 0)), "start of a slot 1440, can be 1 to 1439"),
        (((0, 1),), "rate of a slot 1, can be 0 to 0"),
    ):
        data = image(1, 1, one, scheduled, (table,))
        equal(Tariff().load(data, len(data)), reason)
    data = image(1, 1, one, scheduled, (((0, 0),),), ((5, 2),))
    equal(Tariff().load(data, len(data)), "day table of a holiday 2, can be 1 to 1")
    equal(refusal(b"DT\x01" + RICH[3:]), "no tariff of format 2")


def test_a_tariff_is_loaded_once() -> None:
    tariff = zhejiang()
    equal(tariff.load(RICH, len(RICH)), "it is loaded")
    equal((tariff.rates, tariff.tiers), (2, 3))
