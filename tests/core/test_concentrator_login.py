"""Goal: without the key no data can be read or changed, and no message works twice.

Method: right, wrong, replayed, reflected and late proofs; commands forged, repeated, reordered and
taken into another session; the lock after guesses; idle and absolute ends; hidden keys.
"""

from concentrator.login import (
    FAILURES_LIMIT,
    FULL,
    GOOD,
    IDLE_MS,
    LOCK_MS,
    LOCKED,
    NO_SESSION,
    NOTHING,
    READ,
    REPEATED,
    SESSION_MS,
    WRONG,
    Login,
)
from harness import check, equal
from technician import NONCE, Technician

KEY = bytes(range(20))
NUMBER = 7
TICKS = 0x1FFFFF00  # near the wrap


def make(first: int = 0) -> Login:
    """Return a login with random numbers that count up."""
    state = [first]

    def random() -> int:
        state[0] += 1
        return state[0] * 1234567 & 0x1FFFFFFF

    login = Login(random)
    login.key = KEY
    login.number = NUMBER
    login.step(TICKS)
    return login


def begun(login: Login, right: int = FULL, key: bytes = KEY) -> Technician:
    """Return a technician who has the concentrator's nonce."""
    technician = Technician(key, NUMBER)
    technician.begin(login.begin(NONCE, right)[:16], right)
    return technician


def opened(login: Login, right: int = FULL) -> Technician:
    """Return a technician with an open session."""
    technician = begun(login, right)
    equal(login.answer(technician.proof()), GOOD)
    return technician


def said(login: Login, technician: Technician, command: str, counter: int) -> int:
    """Judge one numbered command; its permission ends with it."""
    outcome = login.verify(counter, command.encode(), technician.mac(counter, command))
    granted = login.granted
    login.granted = NOTHING
    check((outcome == GOOD) == (granted != NOTHING))
    return outcome


def test_without_a_key_everything_is_allowed() -> None:
    login = make()
    login.key = b""
    check(login.allows(FULL) and login.allows(READ) and login.is_open)
    login.locked = True
    check(not login.allows(FULL) and not login.allows(READ) and not login.is_open)


def test_both_sides_prove_the_key() -> None:
    login = make()
    check(not login.allows(FULL) and login.allows(NOTHING))
    technician = Technician(KEY, NUMBER)
    answer = login.begin(NONCE, FULL)
    technician.begin(answer[:16])
    equal(answer[16:], technician.proof(b"concentrator"))
    check(not login.is_open, "not before the technician's own proof")
    equal(login.answer(technician.proof()), GOOD)
    check(login.is_open)
    check(not login.allows(FULL), "only what bears a MAC may change something")
    login.close()
    check(not login.is_open)


def test_wrong_proofs() -> None:
    for key, number in ((b"another key of 20 by", NUMBER), (KEY, NUMBER + 1)):
        login = make()
        technician = Technician(key, number)
        technician.begin(login.begin(NONCE, FULL)[:16])
        equal(login.answer(technician.proof()), WRONG)
    for proof in (b"", bytes(16), bytes(15), bytes(17)):
        login = make()
        begun(login)
        equal(login.answer(proof), WRONG)
        check(not login.is_open)
    login = make()
    technician = begun(login)
    equal(login.answer(technician.proof(b"concentrator")), WRONG, "its own proof comes back")
    equal(make().answer(bytes(16)), NO_SESSION)


def test_a_proof_is_worth_nothing_later_or_elsewhere() -> None:
    login = make()
    technician = begun(login)
    proof = technician.proof()
    equal(login.answer(proof), GOOD)
    equal(login.answer(proof), NO_SESSION, "a session is opened once")
    login.close()
    equal(login.answer(proof), NO_SESSION)
    login.begin(NONCE, FULL)
    equal(login.answer(proof), WRONG, "another nonce of the concentrator")
    other = make(100)
    other.number = NUMBER + 1
    other.begin(NONCE, FULL)
    equal(other.answer(proof), WRONG, "another concentrator with the same key")
    login = make()
    reader = begun(login, READ)
    login = make()
    login.begin(NONCE, FULL)
    equal(login.answer(reader.proof()), WRONG, "a proof for looking opens nothing more")


def test_commands_bear_a_number_and_a_mac() -> None:
    login = make()
    technician = opened(login)
    equal(said(login, technician, "set id 7", 1), GOOD)
    equal(said(login, technician, "set id 7", 1), REPEATED)
    equal(said(login, technician, "save", 5), GOOD, "some may be lost on the way")
    equal(said(login, technician, "save", 4), REPEATED)
    mac = technician.mac(6, "set id 7")
    for counter, command, given in (
        (6, b"set id 8", mac),
        (7, b"set id 7", mac),
        (6, b"set id 7", mac[:7]),
        (6, b"set id 7", bytes(8)),
    ):
        login = make()
        technician = opened(login)
        equal(login.verify(counter, command, given), WRONG)
        equal(login.granted, NOTHING)


def test_a_command_is_worth_nothing_in_another_session() -> None:
    login = make()
    technician = opened(login)
    mac = technician.mac(1, "save")
    login.close()
    equal(login.verify(1, b"save", mac), NO_SESSION)
    opened(login)
    equal(login.verify(1, b"save", mac), WRONG)


def test_the_read_key_looks_and_changes_nothing() -> None:
    login = make()
    technician = opened(login, READ)
    check(not login.is_open)
    equal(login.verify(1, b"account 17", technician.mac(1, "account 17")), GOOD)
    check(login.allows(READ) and not login.allows(FULL))


def test_guesses_are_locked_out_for_a_while() -> None:
    login = make()
    for _ in range(FAILURES_LIMIT):
        begun(login)
        equal(login.answer(bytes(16)), WRONG)
    equal(login.answer(begun(login).proof()), LOCKED)
    login.step((TICKS + LOCK_MS - 1) & 0x1FFFFFFF)
    equal(login.answer(begun(login).proof()), LOCKED)
    login.step((TICKS + LOCK_MS) & 0x1FFFFFFF)
    equal(login.answer(begun(login).proof()), GOOD)
    equal(login.refused, FAILURES_LIMIT)


def test_forged_commands_end_the_session() -> None:
    login = make()
    opened(login)
    for _ in range(FAILURES_LIMIT):
        equal(login.verify(1, b"save", bytes(8)), WRONG)
    equal(login.verify(1, b"save", bytes(8)), NO_SESSION)
    equal(login.answer(begun(login).proof()), LOCKED)


def test_looking_does_not_keep_a_session() -> None:
    login = make()
    technician = opened(login)
    half = IDLE_MS // 2
    for step in range(1, 4):
        login.step((TICKS + step * half) & 0x1FFFFFFF)
        equal(login.verify(step, b"save", technician.mac(step, "save")), GOOD)
        check(login.allows(FULL))
        login.granted = NOTHING
    for step in (4, 5):
        login.step((TICKS + step * half) & 0x1FFFFFFF)
        outcome = login.verify(step, b"account 17", technician.mac(step, "account 17"))
        equal(outcome, GOOD if step == 4 else NO_SESSION, step)
        equal(login.allows(READ), step == 4)
        login.granted = NOTHING


def test_a_session_has_an_end_however_busy() -> None:
    login = make()
    technician = opened(login)
    step_ms = 60000
    for step in range(1, SESSION_MS // step_ms):
        login.step((TICKS + step * step_ms) & 0x1FFFFFFF)
        equal(login.verify(step, b"save", technician.mac(step, "save")), GOOD)
        check(login.allows(FULL))
        login.granted = NOTHING
    login.step((TICKS + SESSION_MS) & 0x1FFFFFFF)
    equal(said(login, technician, "save", 1000), NO_SESSION)


def test_keys_travel_hidden() -> None:
    login = make()
    technician = opened(login)
    for size in (16, 32, 64):
        secret = bytes(range(size))
        hidden = technician.wrap(secret)
        check(hidden != secret)
        technician.counter += 1
        command = "set card_key"
        mac = technician.mac(technician.counter, command)
        equal(login.verify(technician.counter, command.encode(), mac), GOOD)
        equal(login.unwrap(hidden), secret)
        check(login.unwrap(technician.wrap(secret)) != secret, "only with its own command")
        login.granted = NOTHING
    equal(login.unwrap(b"as it is"), b"as it is")
