"""Goal: the PC reaches a device by serial line, pty or socket; an error is reported in one line.

Method: the firmware's link runs behind a socket and behind a pty; answers are lost, the device is
silent, a line disappears; a card is pulled at every byte while the firmware redeems it.
"""

import os
import termios
import threading
from pathlib import Path

import pytest
from concentrator.settings import TABLE, is_secret

from host.cards.keystore import ConsoleKeys
from host.frames import card as frames
from host.frames.card_results import CODES
from host.frames.session import read_key
from host.link import card as link_card
from host.link import reader
from host.link.card import CardIoError, FileCard
from host.link.console import SECRETS, Console, ConsoleError
from host.link.port import Port, PortError
from host.link.reader import CardReader, ReaderError
from host.sim.card import VirtualCard
from tests.host.card_desk import CardDesk, served
from tests.host.test_card_frames import BASE, KEY, PLACE, UID, FakeBooks, firmware_keys, memory


def desk(last: int = 4) -> CardDesk:
    return CardDesk(FakeBooks(last=last), firmware_keys(PLACE))


def test_a_command_and_its_answer() -> None:
    with served(desk()) as name, Port(name) as port:
        console = Console(port)
        assert console.command("set a 1") == []
        assert console.command("set b 2") == []
        assert console.command("settings")[3:] == ["a 1", "b 2"]
        with pytest.raises(ConsoleError, match="no command fly, try help"):
            console.command("fly")


def test_a_lost_answer_is_asked_again() -> None:
    one = desk()
    one.lose = 1
    with served(one) as name, Port(name) as port:
        assert Console(port, timeout_s=0.3).command("set a 1") == []
    assert one.commands == ["set a 1"] * 2


def test_silence_is_told() -> None:
    one = desk()
    one.lose = 99
    with (
        served(one) as name,
        Port(name) as port,
        pytest.raises(ConsoleError, match="is it the console of a running"),
    ):
        Console(port, timeout_s=0.1, tries=2).command("set a 1")


def test_too_long_a_command() -> None:
    with (
        served(desk()) as name,
        Port(name) as port,
        pytest.raises(ConsoleError, match="over 320"),
    ):
        Console(port).command("x" * 400)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("socket://127.0.0.1:1", "refused; does a program listen there"),
        ("/dev/none", "No such file or directory; is the cable in"),
        ("socket://nonsense", "cannot open socket://nonsense"),
        ("bogus://x", "cannot open bogus://x"),
    ],
)
def test_a_line_that_is_not_there(name: str, said: str) -> None:
    with pytest.raises(PortError, match=said):
        Port(name)


def test_a_line_that_goes_away() -> None:
    with served(desk()) as name:
        port = Port(name)
        Console(port).command("settings")
    with port, pytest.raises(PortError, match="was lost"):
        Console(port, timeout_s=0.2).command("settings")


def test_over_a_pty() -> None:
    one = desk()
    master, slave = os.openpty()
    stopping = threading.Event()

    def serve() -> None:
        os.set_blocking(master, False)
        while not stopping.wait(0.005):
            try:
                data = os.read(master, 4096)
            except BlockingIOError:
                data = b""
            answer = one.feed(data)
            if answer:
                os.write(master, answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        card = VirtualCard(UID)
        card.memory[32:] = memory(BASE)[32:]
        with Port(os.ttyname(slave)) as port:
            result = reader.redeem(port, card)
            assert Console(port).settings()["id"] == "7"
    finally:
        stopping.set()
        thread.join()
        os.close(master)
        os.close(slave)
    assert (result.code, result.credited, result.index) == (0, True, 7)
    assert frames.parse(bytes(card.memory), KEY).used


def insert(one: CardDesk, card: VirtualCard, insertion: int) -> int:
    """Return the code that a card in the PC's reader gets; -1: it was pulled. It may be torn."""
    far = CardReader(card, insertion)
    sent = far.present()
    for _ in range(200):
        sent = far.feed(one.feed(sent))
        if far.result or card.pulled:
            break
    one.feed(far.gone())
    one.feed(b"")
    return far.result.code if far.result else -1


@pytest.mark.parametrize("byte", range(64))
def test_pulled_out_of_the_pc_s_reader(byte: int) -> None:
    one = desk()
    card = VirtualCard(UID)
    card.memory[32:] = memory(BASE)[32:]
    card.tear_at_byte = byte
    assert insert(one, card, 1) == -1
    card.insert()
    assert insert(one, card, 2) == CODES["COMPLETED"]
    assert insert(one, card, 3) == CODES["USED"]
    assert one.books.credits == [(5, 5000)]


def test_a_bit_flipped_in_a_read_costs_one_insertion() -> None:
    one = desk()
    card = VirtualCard(UID)
    card.memory[32:] = memory(BASE)[32:]
    card.flip_bit = 300
    assert insert(one, card, 1) == CODES["MAC"]
    assert insert(one, card, 2) == CODES["OK"]


def test_no_concentrator_answers() -> None:
    one = desk()
    one.lose = 999
    card = VirtualCard(UID)
    with served(one) as name, Port(name) as port, pytest.raises(ReaderError, match="no result on"):
        reader.redeem(port, card, timeout_s=0.3)


def test_requests_beyond_the_card_are_refused() -> None:
    from host.frames.link import Kind, build

    far = CardReader(VirtualCard(UID), 1)
    for kind, body in (
        (Kind.CARD_READ, b"\xff\0\2\0"),
        (Kind.CARD_READ, b"\0\0\xff\xff"),
        (Kind.CARD_WRITE, b"\xff\0ab"),
    ):
        answer = far.feed(build(kind, 5, body))
        assert answer[3] == 1, "status bad"
    assert far.feed(build(Kind.CARD_READ, 5, b"\0")) == b""


def test_card_files(tmp_path: Path) -> None:
    path = tmp_path / "card.bin"
    with pytest.raises(CardIoError, match="`dianka card issue` makes one"):
        FileCard(path)
    card = FileCard(path, create=True)
    assert (card.size, len(card.uid)) == (256, 16)
    assert FileCard(path).uid == card.uid
    assert FileCard(tmp_path / "other.bin", create=True).uid != card.uid
    card.write(32, b"abc")
    assert FileCard(path).read(31, 5) == b"\xffabc\xff"
    with pytest.raises(CardIoError, match="outside a card of 256"):
        card.read(250, 7)
    path.write_bytes(bytes(255))
    with pytest.raises(CardIoError, match="it has 255 bytes"):
        FileCard(path)
    assert len(link_card.blank(512)) == 512


CONSOLE_KEY = bytes(range(16))
CONSOLE_KEYS = ConsoleKeys(4711, {7: (1, CONSOLE_KEY)})


def test_a_false_concentrator_gets_no_key() -> None:
    """It gives any answers and does not have the key, and the PC sends nothing to it."""
    false = desk()
    false.login.key = bytes(16)
    with (
        served(false) as name,
        Port(name) as port,
        Console(port) as console,
        pytest.raises(ConsoleError, match="does not have this console key: no command"),
    ):
        console.login(CONSOLE_KEYS)
    assert false.commands == ["settings"]


def test_a_session_hides_keys_and_ends_with_the_command() -> None:
    one = desk()
    one.login.key = CONSOLE_KEY
    with served(one) as name, Port(name) as port:
        with Console(port) as console:
            console.login(CONSOLE_KEYS)
            console.set_secret("card_key", KEY)
            assert one.settings["card_key"] == KEY.hex()
            assert not any(KEY.hex() in command for command in one.commands)
        assert one.commands[-1] == "logout"
        with pytest.raises(ConsoleError, match="log in with the console key first"):
            Console(port).command("set a 1")


def test_the_read_key_is_another() -> None:
    one = desk()
    one.login.key = CONSOLE_KEY
    with served(one) as name, Port(name) as port, Console(port) as console:
        console.login(ConsoleKeys(4711, {7: (1, read_key(CONSOLE_KEY))}, True))
        with pytest.raises(ConsoleError, match="log in"):
            console.command("set a 1")


def test_which_settings_are_secret_is_the_same_on_both_sides() -> None:
    assert {name for name in SECRETS if is_secret(name)} == set(SECRETS)
    assert [row[0] for row in TABLE if is_secret(row[0])] == [
        row[0] for row in TABLE if row[0] in SECRETS
    ]


def test_a_byte_of_wrong_parity_is_dropped_at_every_speed() -> None:
    """Without parity, the checksum of eight bits would have to find half of the wrong bytes."""
    master, slave = os.openpty()
    drop = termios.INPCK | termios.IGNPAR
    try:
        with Port(os.ttyname(slave), 2400, "E") as port:
            assert termios.tcgetattr(slave)[0] & drop == drop
            port.set_baud(9600)
            assert termios.tcgetattr(slave)[0] & drop == drop
        with Port(os.ttyname(slave)) as port:
            assert not termios.tcgetattr(slave)[0] & termios.INPCK, "a console has no parity"
    finally:
        os.close(master)
        os.close(slave)


def test_what_says_that_it_has_no_key_gets_no_secret() -> None:
    """A false concentrator need not guess a key: it may say that there is none."""
    false = desk()
    with served(false) as name, Port(name) as port, Console(port) as console:
        console.login(CONSOLE_KEYS)
        with pytest.raises(ConsoleError, match="would travel in clear"):
            console.set_secret("card_key", KEY)
        assert not any(KEY.hex() in command for command in false.commands)
        console.expects_new = True
        console.set_secret("card_key", KEY)
    assert false.settings["card_key"] == KEY.hex()
