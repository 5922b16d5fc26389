"""Goal: issuer and concentrator agree on every byte of a card, and on its result.

Method: hypothesis compares the host's builder with the firmware's reader and the other way round;
the host's judgement is compared with a redemption in the firmware, the table with the codes.
"""

import re
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from card import codes
from card.image import Image
from card.keys import Keys
from card.redemption import Redemption
from hypothesis import given, settings
from hypothesis import strategies as st

from host.cards.judging import BEHIND, UNTOLD, Place, judge
from host.frames import card as frames
from host.frames.card import CardKind, Header
from host.frames.card_keys import account_key, district_key, wrap_key
from host.frames.card_results import ACCEPTED, CODES, OUTCOMES

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

import card_world
from card_world import FakeBooks, FakeCarrier, finish
from concentrator.cards.operator import judge_number

ISSUER_KEY = bytes(range(32))
NOW = 820_000_000
UID = "04A1B2C3D4E5F600"
BASE = Header(
    kind=CardKind.PURCHASE,
    key_version=2,
    district=4711,
    account="000000000017",
    meter="000000983764",
    uid=UID,
    order=5,
    amount_fen=5000,
    issued_t2000=NOW - 1000,
)
KEY = district_key(ISSUER_KEY, 4711, 2)
PLACE = Place(
    district=4711,
    key_version=2,
    key=KEY,
    account=BASE.account,
    meter=BASE.meter,
    last_order=4,
    now_t2000=NOW,
    operator_order=3,
)
# These names of the module are no results.
NO_RESULTS = {"TYPE_CHECKING", "ILLEGAL", "RECENT"}

u32 = st.integers(0, 2**32 - 1)
digits12 = st.integers(0, 10**12 - 1).map(lambda number: f"{number:012d}")
headers = st.builds(
    Header,
    kind=st.sampled_from(list(CardKind)),
    key_version=st.integers(1, 255),
    district=st.integers(1, frames.DISTRICT_LIMIT),
    account=digits12,
    meter=digits12,
    uid=st.binary(min_size=8, max_size=8).map(lambda uid: uid.hex().upper()),
    order=st.integers(1, frames.ORDER_LIMIT),
    amount_fen=st.integers(0, frames.AMOUNT_LIMIT_FEN),
    issued_t2000=u32,
    valid_until_t2000=u32,
    flags=st.integers(0, 255),
    suite=st.sampled_from([1, 2, 3]),
    content=st.binary(min_size=32, max_size=32),
)


def memory(header: Header, key: bytes = KEY) -> bytearray:
    """Return a card's memory with this header and no mark."""
    return bytearray(bytes(32) + frames.build(header, key) + bytes(136))


def firmware_keys(place: Place) -> Keys:
    return Keys(place.district, place.key_version, place.key)


class Operator:
    """An operator that accepts every card of its time."""

    def __init__(self, number: int) -> None:
        self.number = number

    def operate(
        self, card: Image, index: int, keys: Keys, t2000: int
    ) -> Generator[None, None, int]:
        yield from ()
        return judge_number(card.order, t2000)


def redeemed(card: bytearray, uid: str, place: Place) -> str:
    """Return the name of the result that the firmware gives the card."""
    carrier = FakeCarrier()
    account, meter = bytes.fromhex(place.account), bytes.fromhex(place.meter)[::-1]
    books = FakeBooks(account, meter, place.last_order)
    books.hoarding_fen = place.room_fen
    books.cover_fen = place.cover_fen
    books.last_mac = place.last_header_mac or b""
    operator = Operator(place.operator_order)
    redemption = Redemption(carrier, books, firmware_keys(place), operator)
    carrier.insert(card, bytes.fromhex(uid))
    for _ in range(60):
        if redemption.poll(0, place.now_t2000):
            return OUTCOMES[redemption.code].name
    # The card waits for the time until it is pulled.
    carrier.pull()
    assert redemption.poll(0, place.now_t2000), "the redemption never ended"
    return OUTCOMES[redemption.code].name


def test_written_out_by_hand() -> None:
    key = card_world.DISTRICT_KEY
    head = card_world.header(order=5, amount_fen=5000)
    assert frames.build(BASE, key) == head
    card = frames.parse(bytes(card_world.memory(head)), key)
    assert (card.trouble, card.genuine, card.header) == ("", True, BASE)


@given(headers)
@settings(deadline=None)
def test_the_firmware_reads_what_the_issuer_wrote(header: Header) -> None:
    image = Image()
    image.buf[:] = memory(header)[32:256]
    keys = Keys(header.district, header.key_version, KEY)
    assert finish(image.load(keys, bytes.fromhex(header.uid))) == codes.OK
    assert (image.order, image.amount_fen) == (header.order, header.amount_fen)
    assert image.valid_until_t2000 == header.valid_until_t2000
    assert frames.parse(bytes(memory(header)), KEY).header == header


@given(st.integers(0, 2**31), st.integers(0, 65535), st.integers(-1, NOW))
@settings(deadline=None)
def test_the_issuer_reads_what_the_firmware_wrote(order: int, illegal: int, t2000: int) -> None:
    image = Image()
    image.buf[:] = memory(BASE)[32:256]
    keys = firmware_keys(PLACE)
    books = FakeBooks(last=order)
    books.fill_write_back(7, image.buf, 88)
    finish(image.seal_write_back(keys, codes.OK, illegal, t2000, 10_000))
    card = frames.parse(bytes(32) + bytes(image.buf), KEY)
    assert card.write_back_genuine
    mark = card.write_back
    assert mark is not None
    assert (mark.header_mac, mark.amount_fen) == (card.header_mac.hex().upper(), 10_000)
    assert (mark.order, mark.illegal, mark.t2000) == (order, illegal, max(0, t2000))
    assert (mark.key_version, mark.concentrator) == (2, 99)
    assert card.used == (order >= BASE.order)
    assert card.redeemed_fen == (10_000 if order == BASE.order else 0)
    assert frames.build_write_back(mark, BASE, KEY) == bytes(image.buf[88:164])


def test_a_mark_of_another_amount_proves_nothing() -> None:
    """Proof: a refund of 10 yuan was redeemed, its mark copied beside a header of 100 yuan with
    the same order, and the counter was told that 100 yuan were redeemed.
    """
    small = replace(BASE, kind=CardKind.REFUND, amount_fen=1000)
    image = Image()
    image.buf[:] = memory(small)[32:256]
    FakeBooks(last=small.order).fill_write_back(7, image.buf, 88)
    finish(image.seal_write_back(firmware_keys(PLACE), codes.OK, 0, NOW, small.amount_fen))
    mark = bytes(image.buf[88:164])
    genuine = frames.parse(bytes(32) + bytes(image.buf), KEY)
    assert (genuine.used, genuine.redeemed_fen) == (True, 1000)

    spliced = memory(replace(small, amount_fen=10_000))
    spliced[32 + 88 : 32 + 164] = mark
    card = frames.parse(bytes(spliced), KEY)

    assert (card.genuine, card.write_back_genuine) == (True, True)
    assert (card.used, card.redeemed_fen) == (False, 0)


CHANGES: list[dict[str, Any]] = [
    {},
    {"order": 6},
    {"order": 7},
    {"order": 1, "kind": CardKind.OPEN},
    {"kind": CardKind.REPLACEMENT},
    {"kind": CardKind.REFUND},
    {"kind": CardKind.REFUND, "amount_fen": 5400},
    {"kind": CardKind.REFUND, "order": 4, "amount_fen": 6000},
    {"kind": CardKind.OPEN},
    *(
        {"order": order, "flags": frames.FLAG_SUPERSEDES, "content": bytes([first]) + bytes(31)}
        | ({"kind": kind} if kind else {})
        for order, first, kind in (
            (6, 5, None),
            (7, 5, CardKind.REFUND),
            (6, 4, None),
            (2, 1, CardKind.OPEN),
            (6, 5, CardKind.REPLACEMENT),
        )
    ),
    {"account": "000000000018"},
    {"meter": "000000983765"},
    {"district": 1},
    {"key_version": 1},
    {"valid_until_t2000": NOW - 1},
    {"valid_until_t2000": NOW},
    {"amount_fen": 6000},
    {"suite": 2},
    {"suite": 3},
    {"suite": 3, "order": 4},
    {"kind": CardKind.TEST},
    {"kind": CardKind.INSPECT},
    {"kind": CardKind.INSPECT, "account": frames.NOBODY},
    {"kind": CardKind.PRESET},
    {"kind": CardKind.PRESET, "account": frames.NOBODY},
    {"kind": CardKind.PRESET, "account": frames.NOBODY, "order": NOW},
    {"kind": CardKind.PRESET, "account": frames.NOBODY, "order": NOW + 86401},
    {"kind": CardKind.CLEAR, "order": NOW - 31622401},
    {"kind": CardKind.CLEAR},
    {"kind": CardKind.CLEAR, "meter": "000000000001"},
    {"kind": CardKind.CLEAR, "account": frames.NOBODY, "order": 0},
    {"kind": CardKind.KEY, "account": frames.NOBODY, "order": 3},
]


@given(
    st.sampled_from(CHANGES),
    st.sampled_from([UNTOLD, BEHIND, 0, 1, 3, 4, 5, 6]),
    st.sampled_from([5000, 5500]),
    st.sampled_from([-1, NOW]),
    st.sampled_from([KEY, bytes(16)]),
    st.sampled_from([UID, "0000000000000001"]),
    st.one_of(st.none(), st.integers(0, 8 * 256 - 1)),
    st.one_of(st.none(), st.integers(0, 7)),
    st.booleans(),
)
@settings(deadline=None, max_examples=400)
def test_both_judge_alike(
    change: dict[str, Any],
    last: int,
    room_fen: int,
    now: int,
    key: bytes,
    uid: str,
    flip: int | None,
    marked: int | None,
    other_card: bool,
) -> None:
    header = replace(BASE, **change)
    card = memory(header, key)
    if marked is not None:
        image = Image()
        image.buf[:] = card[32:256]
        FakeBooks(last=marked).fill_write_back(7, image.buf, 88)
        finish(image.seal_write_back(firmware_keys(PLACE), 0, 0, 0, 0))
        card[32:256] = image.buf
    if flip is not None:
        card[flip // 8] ^= 1 << flip % 8
    limits = {"room_fen": room_fen, "cover_fen": 10_400 - room_fen}
    place = replace(PLACE, last_order=last, now_t2000=now, **limits)
    if other_card:
        place = replace(place, last_header_mac=b"of other")
    assert judge(bytes(card), uid, place) == redeemed(card, uid, place)


@pytest.mark.parametrize("bit", range(88 * 8))
def test_no_flipped_bit_is_taken(bit: int) -> None:
    card = memory(BASE)
    card[32 + bit // 8] ^= 1 << bit % 8
    assert judge(bytes(card), UID, PLACE) not in ("OK", "COMPLETED")


def test_keys_are_diversified() -> None:
    found = {
        district_key(ISSUER_KEY, 4711, 2),
        district_key(ISSUER_KEY, 4711, 3),
        district_key(ISSUER_KEY, 4712, 2),
        account_key(KEY, "000000000017"),
        account_key(KEY, "000000000018"),
    }
    assert len(found) == 5
    assert {len(key) for key in found} == {16}


def test_contents() -> None:
    limits = {"alarm_1_fen": 3000, "close_fen": 0}
    preset = replace(BASE, kind=CardKind.PRESET, content=frames.preset_content(limits))
    assert frames.parse_content(preset) == limits
    wrapped = wrap_key(KEY, bytes(range(16)), UID, 5, 3)
    card = replace(BASE, kind=CardKind.KEY, content=frames.key_content(3, wrapped))
    assert frames.parse_content(card) == {"version": 3, "wrapped": wrapped}
    image = Image()
    image.buf[:] = memory(card)[32:256]
    assert image.unwrap(firmware_keys(PLACE), 52) == bytes(range(16))
    content = frames.tariff_content("00112233445566FF", NOW)
    spare = replace(BASE, flags=frames.FLAG_SPARE_TARIFF, content=content)
    expected = {"sha256": "00112233445566FF", "from_t2000": NOW}
    assert frames.parse_content(spare) == expected
    assert frames.parse_content(BASE) == {}


def test_aes_cmac_of_a_published_key() -> None:
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.cmac import CMAC

    header = replace(BASE, suite=2)
    cmac = CMAC(AES(account_key(KEY, header.account)))
    built = frames.build(header, KEY)
    cmac.update(b"dianka/card/1\0I" + bytes.fromhex(UID) + built[:80])
    assert built[80:] == cmac.finalize()[:8]


def test_a_card_too_small_is_told() -> None:
    assert judge(bytes(255), UID, PLACE) == "WRONG_TYPE"
    assert judge(b"", UID, PLACE) == "WRONG_TYPE"
    assert judge(bytes(70000), UID, PLACE) == "BLANK"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"order": 2**31}, "order"),
        ({"amount_fen": 10**8}, "amount_fen"),
        ({"district": 2**24}, "district"),
        ({"key_version": 256}, "key_version"),
        ({"account": "17"}, "account"),
        ({"uid": "00"}, "uid"),
        ({"meter": "00000098376X"}, "make no card"),
    ],
)
def test_what_makes_no_card(change: dict[str, Any], said: str) -> None:
    with pytest.raises(frames.CardError, match=said):
        frames.build(replace(BASE, **change), KEY)


def test_one_table_of_results() -> None:
    named = {name: value for name, value in vars(codes).items() if name[0].isupper()}
    assert set(named) > NO_RESULTS
    assert {name: named[name] for name in set(named) - NO_RESULTS} == CODES
    assert all(outcome.shown[:5] in ("Good", "Err-3") for outcome in OUTCOMES.values())
    texts = [
        text
        for one in OUTCOMES.values()
        for text in (one.english, one.chinese, one.next_english, one.next_chinese)
    ]
    assert all(texts)


def test_the_table_in_the_documents_is_the_same() -> None:
    text = (Path(__file__).parents[2] / "docs" / "CARDS.md").read_text()
    for one in OUTCOMES.values():
        shown = "OK" if one.code in ACCEPTED else f"{one.shown}.{one.code:02d}"
        cells = (shown, f"{one.code} {one.name}", one.english, one.chinese)
        row = " | ".join((*cells, one.next_english, one.next_chinese))
        assert f"| {row} |" in text, one.name
    assert text.count("\n| Err-3") == len(OUTCOMES) - len(ACCEPTED)


def test_every_test_the_documents_name_is_there() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "CARDS.md").read_text()
    files = {path.stem: path.read_text() for path in (root / "tests").rglob("test_*.py")}
    names = set(re.findall(r"\btest_[a-z0-9_]+[a-z0-9]\b", text))
    assert len(names) > 20
    functions = "".join(files.values())
    assert [one for one in names if one not in files and f"def {one}(" not in functions] == []
