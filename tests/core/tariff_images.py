"""Make tariff images for core tests, packed by the layout in prepay/tariff.py, and tariffs.

Prices are whole numbers of 1e-8 yuan, limits Wh.
"""

from struct import pack

from prepay.tariff import Tariff

YEARLY = (2, ((1, 1, 0),))
MONTHLY = (1, ((0, 1, 0),))
ENDLESS = (0, ())


def ladder(limits_wh: "tuple[int, ...]", prices_e8: "tuple[int, ...]") -> bytes:
    """Pack one ladder: tiers x rates prices, one limit fewer than tiers."""
    out = b""
    for limit_wh in limits_wh:
        out += pack("<I", limit_wh)
    for price_e8 in prices_e8:
        out += pack("<IH", price_e8 // 10000, price_e8 % 10000)
    return out


def terms(
    start_t2000: int,
    period: "tuple[int, tuple[tuple[int, int, int], ...]]",
    seasons: "tuple[tuple[int, ...], ...]" = ((1, 1, 0, 0, 0),),
    standing_e7: int = 0,
    rest_days: int = 0,
    standing_e4: int = 0,
) -> bytes:
    """Pack one set; seasons: (month, day, ladder, table, table of rest days[, uncounted])."""
    kind, settlements = period
    out = pack("<III", start_t2000, standing_e7, standing_e4)
    out += bytes((kind, len(settlements), len(seasons), rest_days))
    for row in settlements:
        out += bytes(row)
    for row in seasons:
        uncounted = row[5] if len(row) > 5 else 0
        out += bytes(row[:5]) + pack("<I", uncounted)[:3]
    return out


def image(
    rates: int,
    tiers: int,
    ladders: "tuple[bytes, ...]",
    sets: "tuple[bytes, ...]",
    tables: "tuple[tuple[tuple[int, int], ...], ...]" = (),
    holidays: "tuple[tuple[int, int], ...]" = (),
    households: int = 1,
    number: int = 1,
    rules: int = 0,
    free: "tuple[int, ...]" = (0, 0, 0, 0),
    free_wh: "tuple[int, ...]" = (),
) -> bytes:
    """Pack the whole image; tables are slots (minute, rate), holidays (day, table).

    `free` is the free period and its settlement, `free_wh` the free energy by kind of household.
    """
    count = len(ladders) // households
    head = (number, rates, tiers, households, count, len(sets), len(tables), len(holidays), rules)
    out = b"DT\x02" + bytes(head) + bytes(free)
    for wh in free_wh:
        out += pack("<I", wh)
    out += b"".join(ladders) + b"".join(sets)
    for table in tables:
        out += bytes((len(table),))
        for minute, rate in table:
            out += pack("<HB", minute, rate)
    for day, table_number in holidays:
        out += pack("<HB", day, table_number)
    return out


def loaded(data: bytes) -> Tariff:
    """Return the tariff of an image that must be good."""
    tariff = Tariff()
    trouble = tariff.load(data, len(data))
    if trouble:
        raise AssertionError(trouble)
    return tariff


def flat(price_e8: int) -> Tariff:
    """Return a tariff of one price that has no end."""
    return loaded(image(1, 1, (ladder((), (price_e8,)),), (terms(0, ENDLESS),)))


def simple(
    limits_wh: "tuple[int, ...]",
    prices_e8: "tuple[int, ...]",
    period: "tuple[int, tuple[tuple[int, int, int], ...]]" = YEARLY,
) -> Tariff:
    """Return a tariff of one ladder for the whole year."""
    tiers = len(limits_wh) + 1
    ladders = (ladder(limits_wh, prices_e8),)
    return loaded(image(len(prices_e8) // tiers, tiers, ladders, (terms(0, period),)))


def zhejiang() -> Tariff:
    """Return a tariff of three tiers a year, peak and valley."""
    prices = (56800000, 28800000, 61800000, 33800000, 86800000, 58800000)
    return simple((2760000, 4800000), prices)


def guangzhou() -> Tariff:
    """Return a tariff of three tiers a month, peak, flat and valley, eight decimals."""
    tier_1 = (99500875, 58886875, 22914475)
    tier_2 = (104500875, 63886875, 27914475)
    tier_3 = (129500875, 88886875, 52914475)
    return simple((260000, 600000), tier_1 + tier_2 + tier_3, MONTHLY)


def shandong() -> Tariff:
    """Return a tariff of three tiers a year, one price each."""
    return simple((2520000, 4800000), (54690000, 59690000, 84690000))
