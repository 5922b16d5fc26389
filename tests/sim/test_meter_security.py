"""Goal: function 03H of the simulated meter authenticates, opens accounts, takes top-ups and keys.

Method: a simulated key server of the utility builds the data, the meter's simulated security
module checks it; every rule has a request that keeps it and one that breaks it, and the money in
the meter is read back. A top-up is repeated in every way to which a lost reply can lead.
"""

import pytest

from host.frames import describe, dlt645
from host.sim.esam import Utility
from host.sim.load import Load
from host.sim.values import bcd, write_moment
from host.sim.wallet import Wallet
from host.units import DAY_S
from tests.sim.meter_world import (
    ADDRESS,
    AUTHORITY,
    NOON_T2000,
    OPERATOR,
    Master,
    Refused,
    master_of,
)

AUTH, VALIDITY, CANCEL = 0x070000FF, 0x070001FF, 0x070002FF
OPEN, TOP_UP, INIT = 0x070101FF, 0x070102FF, 0x070103FF
READ_BACK, STATUS = 0x078001FF, 0x078102FF
CUSTOMER = "000012345678"
OTHER, REPEATED, CHECK, IDENTITY = "0100", "0200", "0400", "0800"
CUSTOMERS, COUNT, HOARDING = "1000", "2000", "4000"


def secure(master: Master, di: int, blocks: bytes = b"") -> bytes:
    """Return the reply's data behind the identifier."""
    name = di.to_bytes(4, "little")
    reply = master.ask(0x03, name + OPERATOR + blocks)
    assert reply[:4] == name
    return reply[4:]


def authenticated(profile: str = "state-grid", **settings: object) -> tuple[Master, Utility]:
    master = master_of(profile, **settings)
    utility = Utility(ADDRESS, whole=master.meter.profile.whole_reversed)
    utility.on_reply(secure(master, AUTH, utility.authentication()))
    return master, utility


def opened(profile: str = "state-grid", **settings: object) -> tuple[Master, Utility]:
    """Return a meter with an account of 100.00 yuan, bought as count 1."""
    master, utility = authenticated(profile, **settings)
    assert secure(master, OPEN, utility.money(10_000, 1, CUSTOMER)) == b""
    return master, utility


def refused(master: Master, di: int, blocks: bytes = b"") -> str:
    with pytest.raises(Refused) as error:
        secure(master, di, blocks)
    return error.value.word.hex()


def balance_fen(master: Master) -> int:
    return master.number(0x00900200)


# --- identity ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "size"), [("state-grid", 12), ("southern-grid", 14)])
def test_the_reply_to_an_authentication_is_of_its_profile(profile: str, size: int) -> None:
    master = master_of(profile)
    assert len(secure(master, AUTH, Utility(ADDRESS).authentication())) == size
    assert master.read(0x04000503)[1] & 0x20


def test_an_authentication_of_another_meter_or_key_is_refused() -> None:
    master = master_of("state-grid")
    assert refused(master, AUTH, Utility("000000000018").authentication()) == IDENTITY
    assert refused(master, AUTH, Utility(ADDRESS, b"another key").authentication()) == CHECK
    assert refused(master, AUTH, bytes(23)) == OTHER
    assert not master.read(0x04000503)[1] & 0x20


@pytest.mark.parametrize(("profile", "word"), [("state-grid", "0800"), ("southern-grid", "0001")])
def test_fifteen_failures_lock_the_meter_for_the_day(profile: str, word: str) -> None:
    master = master_of(profile)
    utility = Utility(ADDRESS)
    for _ in range(15):
        assert refused(master, AUTH, Utility(ADDRESS, b"wrong").authentication()) == CHECK
    assert refused(master, AUTH, utility.authentication()) == word
    master.t2000 += DAY_S
    secure(master, AUTH, utility.authentication())


def test_an_authentication_ends_after_its_validity() -> None:
    master, utility = authenticated()
    master.t2000 += 300
    secure(master, INIT, utility.with_mac((0).to_bytes(4, "big")))
    master.t2000 += 1
    assert refused(master, INIT, utility.with_mac(bytes(4))) == IDENTITY


def test_the_validity_is_set_and_never_to_nothing() -> None:
    master, utility = authenticated()
    assert secure(master, VALIDITY, utility.with_mac(bytes.fromhex("0030"))) == b""
    master.t2000 += 1800
    assert refused(master, VALIDITY, utility.with_mac(bytes(2))) == OTHER
    assert refused(master, VALIDITY, bytes.fromhex("300000000000")) == CHECK
    secure(master, INIT, utility.with_mac(bytes(4)))


def test_a_cancelled_authentication_tells_the_account_and_is_over() -> None:
    master, utility = opened()
    told = secure(master, CANCEL)
    assert told == (
        bytes.fromhex(CUSTOMER)[::-1] + (10_000).to_bytes(4, "little") + b"\x01\0\0\0" + bytes(4)
    )
    assert refused(master, TOP_UP, utility.money(1, 2, CUSTOMER)) == IDENTITY


# --- money -------------------------------------------------------------------------------------


def test_an_account_is_opened_and_seen_everywhere() -> None:
    master, _ = authenticated()
    assert master.read(0x04000503)[1] & 0xC0 == 0xC0
    master, _ = opened()
    assert master.read(0x04000503)[1] == 0x22
    assert balance_fen(master) == 10_000
    assert master.read(0x03330201) == bcd(1, 2)
    assert master.read(0x03330301) == bcd(10_000, 4)
    assert master.read(0x03330101) == write_moment(NOON_T2000)[1:]


def test_a_top_up_is_booked_once_however_often_it_is_sent() -> None:
    master, utility = opened()
    command = utility.money(5_000, 2, CUSTOMER)
    assert secure(master, TOP_UP, command) == b""
    for _ in range(3):
        assert refused(master, TOP_UP, command) == REPEATED
        assert balance_fen(master) == 15_000
    # After another authentication, as after a pause, the count still shows it.
    utility.on_reply(secure(master, AUTH, utility.authentication(b"\x22" * 8)))
    assert refused(master, TOP_UP, utility.money(5_000, 2, CUSTOMER)) == REPEATED
    assert master.read(0x03330201) == bcd(2, 2)
    assert master.read(0x03330401) == bcd(10_000, 4)
    assert master.read(0x03330501) == master.read(0x03330601) == bcd(15_000, 4)
    assert master.read(0x03330302) == bcd(10_000, 4)


@pytest.mark.parametrize("count", [0, 3, 0xFFFFFFFF])
def test_a_count_out_of_order_is_refused(count: int) -> None:
    master, utility = opened()
    assert refused(master, TOP_UP, utility.money(5_000, count, CUSTOMER)) == COUNT
    assert balance_fen(master) == 10_000


def test_a_top_up_of_another_customer_or_without_an_account_is_refused() -> None:
    master, utility = opened()
    assert refused(master, TOP_UP, utility.money(5_000, 2, "000000000001")) == CUSTOMERS
    assert refused(master, OPEN, utility.money(5_000, 2, "000000000001")) == CUSTOMERS
    master, utility = authenticated()
    assert refused(master, TOP_UP, utility.money(5_000, 1, CUSTOMER)) == CUSTOMERS
    assert balance_fen(master) == 0


def test_a_refused_opening_opens_nothing() -> None:
    master, utility = authenticated()
    assert refused(master, OPEN, utility.money(5_000, 2, CUSTOMER)) == COUNT
    assert master.meter.wallet.customer == ""


def test_no_bit_of_a_top_up_can_be_turned() -> None:
    master, utility = opened()
    command = utility.money(5_000, 2, CUSTOMER)
    for bit in range(8 * len(command)):
        spoiled = bytearray(command)
        spoiled[bit >> 3] ^= 1 << (bit & 7)
        assert refused(master, TOP_UP, bytes(spoiled)) in (CHECK, CUSTOMERS)
    assert balance_fen(master) == 10_000


def test_a_purchase_above_the_hoarding_limit_is_refused() -> None:
    master, utility = opened(wallet=Wallet(hoarding_limit_fen=30_000))
    assert refused(master, TOP_UP, utility.money(20_001, 2, CUSTOMER)) == HOARDING
    assert secure(master, TOP_UP, utility.money(20_000, 2, CUSTOMER)) == b""


def test_money_is_used_up_and_then_overdrawn() -> None:
    steady = Load(watts_by_hour=(1000,) * 24)
    master, _ = opened(load=steady, wallet=Wallet(price_e4=5283))
    before_wh = master.meter.total_wh
    for days, overdrawn in ((1, False), (30, True)):
        master.t2000 = NOON_T2000 + days * DAY_S
        left_fen, over_fen = balance_fen(master), master.number(0x00900201)
        used_wh = master.meter.total_wh - before_wh
        # The first half day was drawn before the account was opened, at the same price.
        first_fen = before_wh * 5283 // 100_000
        assert abs(10_000 - first_fen - used_wh * 5283 // 100_000 - (left_fen - over_fen)) <= 1
        assert (over_fen > 0) is overdrawn
        assert left_fen == 0 or over_fen == 0


def test_the_wallet_is_initialised_and_the_count_begins_again() -> None:
    master, utility = opened()
    assert secure(master, INIT, utility.with_mac((2_500).to_bytes(4, "big"))) == b""
    assert balance_fen(master) == 2_500
    assert master.read(0x03330201) == bytes(2)
    assert secure(master, OPEN, utility.money(100, 1, CUSTOMER)) == b""
    assert refused(master, INIT, bytes(8)) == CHECK


# --- keys and reading back ---------------------------------------------------------------------


def test_status_and_read_back_tell_what_the_module_holds() -> None:
    master, _ = opened()
    status = secure(master, STATUS)
    assert len(status) == 26
    assert status[:4] == (10_000).to_bytes(4, "little")
    assert status[8:12] == b"\x01\0\0\0"
    assert status[16:22] == bytes.fromhex(CUSTOMER)[::-1]
    selector = bytes.fromhex("DF01000600000004")[::-1]
    back = secure(master, READ_BACK, selector)
    assert back[:8] == selector
    assert back[8:12] == status[:4]
    assert len(back) == 16
    assert refused(master, READ_BACK, bytes.fromhex("DF01000600000099")[::-1]) == OTHER


def test_the_catalogue_reads_the_status() -> None:
    master, _ = opened()
    name = STATUS.to_bytes(4, "little")
    frame = master.send(0x03, name + OPERATOR)
    assert frame is not None
    told = describe.describe(frame)
    assert [item["value"] for item in told["items"]][:1] == ["100.00"]


@pytest.mark.parametrize("di", [0x070201FF, 0x070202FF, 0x070203FF, 0x070204FF])
def test_keys_are_updated_under_a_mac(di: int) -> None:
    master, utility = authenticated()
    info = bytes.fromhex("01020304")
    assert secure(master, di, utility.new_key(info, bytes(range(32)))) == b""
    assert secure(master, STATUS)[-4:] == info[::-1]
    assert master.read(0x04000508) == info[::-1], "the key status is read like any item"
    assert refused(master, di, bytes(40)) == CHECK
    assert refused(master, di, bytes(39)) == OTHER


def test_what_is_no_security_command_is_refused_and_a_plain_meter_is_silent() -> None:
    master, _ = authenticated()
    assert refused(master, 0x070104FF) == OTHER
    assert refused(master, STATUS, b"\0") == OTHER
    with pytest.raises(Refused, match="0100"):
        master.ask(0x03, b"\0")
    assert master_of().send(0x03, STATUS.to_bytes(4, "little") + OPERATOR) is None


# --- sealed commands ---------------------------------------------------------------------------


def sealed_relay(utility: Utility, level: int, action: int, t2000: int) -> bytes:
    """Return the data of a sealed 1CH: PA 00 00 00, operator, N1 N2 YY MM DD hh mm ss ciphered."""
    plain = bytes((action, 0)) + write_moment(t2000)[::-1]
    return bytes((level, 0, 0, 0)) + OPERATOR + utility.sealed(plain)


@pytest.mark.parametrize(("profile", "level"), [("state-grid", 0x98), ("southern-grid", 0x96)])
def test_the_relay_obeys_a_sealed_command_only(profile: str, level: int) -> None:
    master, utility = authenticated(profile)
    command = sealed_relay(utility, level, 0x1A, NOON_T2000 + 60)
    assert len(command) == 0x1C
    assert master.ask(0x1C, command) == b""
    assert master.meter.relay.open
    with pytest.raises(Refused, match="04"):
        master.relay(0x1C)
    late = sealed_relay(utility, level, 0x1C, NOON_T2000 - 60)
    with pytest.raises(Refused, match="01"):
        master.ask(0x1C, late)
    for bit in range(0, 8 * 20, 7):
        spoiled = bytearray(sealed_relay(utility, level, 0x1C, NOON_T2000 + 60))
        spoiled[8 + (bit >> 3)] ^= 1 << (bit & 7)
        with pytest.raises(Refused, match="04"):
            master.ask(0x1C, bytes(spoiled))
    assert master.meter.relay.open


def test_a_sealed_command_needs_an_authentication_that_is_valid() -> None:
    master, utility = authenticated()
    master.t2000 += 301
    with pytest.raises(Refused, match="04"):
        master.ask(0x1C, sealed_relay(utility, 0x98, 0x1A, master.t2000 + 60))
    assert not master.meter.relay.open


def test_a_recorded_authentication_makes_no_recorded_order_count() -> None:
    """The meter chooses a new random number each time, and each order is sealed for one."""
    master, utility = authenticated()
    order = sealed_relay(utility, 0x98, 0x1A, NOON_T2000 + 60)
    secure(master, CANCEL)
    secure(master, AUTH, utility.authentication())
    assert master.meter.authenticated
    with pytest.raises(Refused, match="04"):
        master.ask(0x1C, order)
    assert not master.meter.relay.open


def test_parameters_are_written_under_a_mac_and_ciphered() -> None:
    master, utility = authenticated()
    name = (0x04001001).to_bytes(4, "little")
    value = bcd(4_321, 4)
    head = bytes.fromhex("99000000") + OPERATOR
    assert master.ask(0x14, name + head + utility.signed(value)) == b""
    assert master.read(0x04001001) == value
    head = bytes.fromhex("98000000") + OPERATOR
    assert master.ask(0x14, name + head + utility.sealed(bcd(1_234, 4)[::-1])) == b""
    assert master.read(0x04001001) == bcd(1_234, 4)
    with pytest.raises(Refused, match="04"):
        master.ask(0x14, name + head + bytes(20))
    with pytest.raises(Refused, match="01"):
        master.ask(0x14, name + head + utility.sealed(b"\x11" * 5))


def test_the_meter_is_cleared_by_a_sealed_command() -> None:
    master, utility = authenticated()
    head = bytes.fromhex("98000000") + OPERATOR
    moment = write_moment(NOON_T2000)[::-1]
    with pytest.raises(Refused, match="01"):
        master.ask(0x1A, head + utility.sealed(b"\x19\x00" + moment))
    assert master.ask(0x1A, head + utility.sealed(b"\x1a\x00" + moment)) == b""
    assert master.read(0x0001FF00) == bytes(20)


# --- private meters ----------------------------------------------------------------------------


def test_a_private_meter_takes_money_in_plain_text() -> None:
    master = master_of("private")
    master.write(0x04900000, bcd(1, 4) + bcd(5_000, 4))
    assert balance_fen(master) == 5_000
    for value in (bcd(1, 4) + bcd(5_000, 4), bcd(3, 4) + bcd(1, 4), b"\xff" * 8, bytes(7)):
        with pytest.raises(Refused, match="01"):
            master.write(0x04900000, value)
    wrong = bytes.fromhex("02000000") + OPERATOR
    with pytest.raises(Refused, match="04"):
        master.write(0x04900000, bcd(2, 4) + bcd(1, 4), wrong)
    assert secure(master, 0xABABAB01, bcd(2, 4) + bcd(700, 4)) == b""
    assert refused(master, 0xABABAB01, bcd(2, 4) + bcd(700, 4)) == REPEATED
    assert balance_fen(master) == 5_700


def test_the_catalogue_has_the_count_of_a_plain_top_up_first() -> None:
    """PMC340 reverses amount and count as one block of 8 bytes."""
    value = bytes.fromhex("0000500000000001")[::-1]
    request = dlt645.build(ADDRESS, 0x14, (0x04900000).to_bytes(4, "little") + AUTHORITY + value)
    items = describe.describe_bytes(request)["items"]
    assert [(one["value"], one["unit"]) for one in items[-2:]] == [
        ("1", "times"),
        ("50.00", "yuan"),
    ]


def test_another_profile_takes_no_money_in_plain_text() -> None:
    for profile in ("plain", "state-grid"):
        with pytest.raises(Refused, match="02"):
            master_of(profile).write(0x04900000, bcd(1, 4) + bcd(5_000, 4))
