"""Goal: nobody changes anything over the console without its key, and no answer works twice.

Method: right, wrong, replayed and late answers; the lock after guesses; the session's end.
"""

from binascii import hexlify, unhexlify

from card_world import hmac
from concentrator.guard import (
    FAILURES_LIMIT,
    GOOD,
    LOCK_MS,
    LOCKED,
    NO_CHALLENGE,
    SESSION_MS,
    WRONG,
    Guard,
)
from harness import check, equal

KEY = bytes(range(20))
TICKS = 0x1FFFFF00  # near the wrap


def make() -> Guard:
    """A guard whose random numbers count."""
    state = [0]

    def random() -> int:
        state[0] += 1
        return state[0] * 1234567 & 0x1FFFFFFF

    guard = Guard(random)
    guard.key = KEY
    guard.step(TICKS)
    return guard


def respond(challenge: str, key: bytes = KEY) -> str:
    """The right answer."""
    mac = hmac(key, b"dianka/console/1\0" + unhexlify(challenge))
    return hexlify(mac[:8]).decode()


def test_without_a_key_everything_is_allowed() -> None:
    guard = make()
    guard.key = b""
    check(guard.allows())
    equal(guard.answer(respond(guard.challenge(), b"")), NO_CHALLENGE)


def test_the_right_answer_opens() -> None:
    guard = make()
    check(not guard.allows())
    equal(guard.answer(respond(guard.challenge())), GOOD)
    check(guard.allows())
    guard.close()
    check(not guard.allows())


def test_without_or_with_wrong_authentication() -> None:
    guard = make()
    equal(guard.answer(respond("00" * 8)), NO_CHALLENGE)
    for text in (
        respond(guard.challenge(), b"another key"),
        "",
        "zz",
        "00" * 8,
        respond(guard.challenge())[:-2],
        respond(guard.challenge()) + "00",
    ):
        guard = make()
        guard.challenge()
        equal(guard.answer(text), WRONG, text)
        check(not guard.allows())


def test_replayed_challenge() -> None:
    guard = make()
    response = respond(guard.challenge())
    equal(guard.answer(response), GOOD)
    guard.close()
    equal(guard.answer(response), NO_CHALLENGE)
    guard.challenge()
    equal(guard.answer(response), WRONG)
    first = guard.challenge()
    check(first != guard.challenge())
    equal(guard.answer(respond(first)), WRONG, "only the newest challenge counts")


def test_closing_voids_the_challenge() -> None:
    guard = make()
    response = respond(guard.challenge())
    guard.close()
    equal(guard.answer(response), NO_CHALLENGE)


def test_guesses_are_locked_out_for_a_while() -> None:
    guard = make()
    for _ in range(FAILURES_LIMIT):
        guard.challenge()
        equal(guard.answer("00" * 8), WRONG)
    equal(guard.answer(respond(guard.challenge())), LOCKED)
    guard.step((TICKS + LOCK_MS - 1) & 0x1FFFFFFF)
    equal(guard.answer(respond(guard.challenge())), LOCKED)
    guard.step((TICKS + LOCK_MS) & 0x1FFFFFFF)
    equal(guard.answer(respond(guard.challenge())), GOOD)
    equal(guard.refused, FAILURES_LIMIT)


def test_an_idle_session_ends() -> None:
    guard = make()
    guard.answer(respond(guard.challenge()))
    half = SESSION_MS // 2
    for step in range(1, 5):
        guard.step((TICKS + step * half) & 0x1FFFFFFF)
        check(guard.allows(), "used in between, it lasts")
    guard.step((TICKS + 4 * half + SESSION_MS) & 0x1FFFFFFF)
    check(not guard.allows())
