"""Numbers and names of a made village: accounts, meters, people."""

from typing import Any

_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建国志文海燕春梅德福永贵"
_SHOPS = ("小卖部", "餐馆", "理发店", "粮油店", "修理铺", "诊所", "农资店", "碾米坊")
# The range of supply meters, which nobody pays for.
_SUPPLY = 99_0000_000000


def account_of(district: int, place: int) -> str:
    """Return the account at a place of a district, both counted from 0."""
    return f"{33_0000_000000 + (district + 1) * 10_000 + place + 1:012d}"


def meter_of(district: int, place: int) -> str:
    """Return its meter."""
    return f"{21_0000_000000 + (district + 1) * 10_000 + place + 1:012d}"


def supply_account_of(number: int) -> str:
    """Return the account under which the supply meter of a concentrator is registered."""
    return f"{_SUPPLY + number:012d}"


def supply_meter_of(number: int) -> str:
    """Return the address of that meter."""
    return f"{29_0000_000000 + number:012d}"


def customer_of(district: int, place: int) -> str:
    """Return the customer of an account."""
    return f"V{district + 1:03d}-{place + 1:04d}"


def person(is_shop: bool, random: Any) -> str:
    """Return a name."""
    surname = _SURNAMES[random.randint(len(_SURNAMES))]
    if is_shop:
        return f"{surname}家{_SHOPS[random.randint(len(_SHOPS))]}"
    given = "".join(_GIVEN[random.randint(len(_GIVEN))] for _part in range(1 + random.randint(2)))
    return surname + given
