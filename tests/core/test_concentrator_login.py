"""Goal: nobody changes anything over the console without its key, and no answer works twice.

Method: right, wrong, replayed and late answers; the lock after guesses; the session's end.
"""

from binascii import hexlify, unhexlify

from card_world import hmac
from concentrator.login import (
    FAILURES_LIMIT,
    GOOD,
    LOCK_MS,
    LOCKED,
    NO_CHALLENGE,
    SESSION_MS,
    WRONG,
    Login,
)
from harness import check, equal

KEY = bytes(range(20))
TICKS = 0x1FFFFF00  # near the wrap


def make() -> Login:
    """A login whose random numbers count."""
    state = [0]

    def random() -> int:
        state[0] += 1
        return state[0] * 1234567 & 0x1FFFFFFF

    login = Login(random)
    login.key = KEY
    login.step(TICKS)
    return login


def respond(challenge: str, key: bytes = KEY) -> str:
    """The right answer."""
    mac = hmac(key, b"dianka/console/1\0" + unhexlify(challenge))
    return hexlify(mac[:8]).decode()


def test_without_a_key_everything_is_allowed() -> None:
    login = make()
    login.key = b""
    check(login.allows())
    equal(login.answer(respond(login.challenge(), b"")), NO_CHALLENGE)


def test_the_right_answer_opens() -> None:
    login = make()
    check(not login.allows())
    equal(login.answer(respond(login.challenge())), GOOD)
    check(login.allows())
    login.close()
    check(not login.allows())


def test_without_or_with_wrong_authentication() -> None:
    login = make()
    equal(login.answer(respond("00" * 8)), NO_CHALLENGE)
    for text in (
        respond(login.challenge(), b"another key"),
        "",
        "zz",
        "00" * 8,
        respond(login.challenge())[:-2],
        respond(login.challenge()) + "00",
    ):
        login = make()
        login.challenge()
        equal(login.answer(text), WRONG, text)
        check(not login.allows())


def test_replayed_challenge() -> None:
    login = make()
    response = respond(login.challenge())
    equal(login.answer(response), GOOD)
    login.close()
    equal(login.answer(response), NO_CHALLENGE)
    login.challenge()
    equal(login.answer(response), WRONG)
    first = login.challenge()
    check(first != login.challenge())
    equal(login.answer(respond(first)), WRONG, "only the newest challenge counts")


def test_an_answer_opens_once_also_while_it_is_open() -> None:
    login = make()
    response = respond(login.challenge())
    equal(login.answer(response), GOOD)
    equal(login.answer(response), NO_CHALLENGE)
    login = make()
    response = respond(login.challenge())
    equal(login.answer("00" * 8), WRONG)
    equal(login.answer(response), NO_CHALLENGE, "the first answer used the challenge up")


def test_closing_voids_the_challenge() -> None:
    login = make()
    response = respond(login.challenge())
    login.close()
    equal(login.answer(response), NO_CHALLENGE)


def test_guesses_are_locked_out_for_a_while() -> None:
    login = make()
    for _ in range(FAILURES_LIMIT):
        login.challenge()
        equal(login.answer("00" * 8), WRONG)
    equal(login.answer(respond(login.challenge())), LOCKED)
    login.step((TICKS + LOCK_MS - 1) & 0x1FFFFFFF)
    equal(login.answer(respond(login.challenge())), LOCKED)
    login.step((TICKS + LOCK_MS) & 0x1FFFFFFF)
    equal(login.answer(respond(login.challenge())), GOOD)
    equal(login.refused, FAILURES_LIMIT)


def test_an_idle_session_ends() -> None:
    login = make()
    login.answer(respond(login.challenge()))
    half = SESSION_MS // 2
    for step in range(1, 5):
        login.step((TICKS + step * half) & 0x1FFFFFFF)
        check(login.allows(), "used in between, it lasts")
    login.step((TICKS + 4 * half + SESSION_MS) & 0x1FFFFFFF)
    check(not login.allows())
