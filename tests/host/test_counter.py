"""Goal: `dianka counter` gives its card reader to the pages of its station, and to nothing else.

Method: the service runs on a card in a file, and once on the virtual PC/SC reader. Requests come
as browsers make them, from other names, other sites, and with wrong keys; and a station's pages
hold the card against the books, and have it written.
"""

import http.client
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cards import keystore
from host.cards.audit import AuditLog
from host.cards.counter import HOST, KEY_HEADER, Counter, Service
from host.cards.issuing import Issuer
from host.cli import cli
from host.cli.card.desk import Desk
from host.cli.card.orders import new_header
from host.frames import card as frames
from host.headend import card_log, orders
from host.headend.store import Store
from host.link.card import FileCard
from host.sim.card import VirtualCard
from host.sim.cpu_card import CpuCard, VpcdSlot
from tests.host.page_station import ACCOUNT, served, signed_in
from tests.host.paging import Answer, Browser
from tests.host.serving import HeadEnd
from tests.host.uplink_world import account_name, meter_address

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))

import virtual_reader

ORIGIN = "http://127.0.0.1:8080"
KEY = "ABCDEF-GHIJKL-MNOPQR-STUVWX"
ORDER = {
    "account": ACCOUNT,
    "meter": meter_address(0),
    "order": 1,
    "amount_fen": 5000,
    "supersedes": 0,
    "heads": [],
}


class KeptDesk(Desk):
    """A desk whose keys are in memory."""

    held = keystore.new(4711)


@contextmanager
def running(folder: Path, opened: Any) -> Iterator[Service]:
    """Run the service on the cards that `opened` opens."""
    desk = KeptDesk(folder / "keys", folder / "log.jsonl", None, None)

    def issuer() -> Issuer:
        return Issuer(desk.held.key_of, AuditLog(desk.log_path, desk.held.key_of))

    def key_for(header: Any) -> bytes | None:
        return None if header is None else desk.held.key_of(header.district, header.key_version)

    def header(**told: Any) -> Any:
        return new_header(desk, **told)

    with Service(Counter(opened, key_for, issuer, header), ORIGIN, KEY, 0) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@contextmanager
def file_card(path: Path) -> Iterator[FileCard]:
    yield FileCard(path, create=True)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path, lambda: file_card(tmp_path / "card.bin")) as one:
        yield one


def ask(
    service: Service, method: str, path: str, told: Any = None, **changes: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Ask as a page does, with other headers where they are given; "": without that one."""
    headers = {"Host": service.names[0], "Origin": ORIGIN, KEY_HEADER: KEY}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    connection = http.client.HTTPConnection(HOST, service.server_port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    body = b"" if told is None else told if isinstance(told, bytes) else json.dumps(told).encode()
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found, dict(answer.headers)


def test_a_card_is_written_read_and_logged(service: Service) -> None:
    assert ask(service, "GET", "/card")[1]["trouble"] == "BLANK"
    status, told, headers = ask(service, "POST", "/write", ORDER)
    assert (status, told["order"], told["genuine"]) == (200, 1, True)
    assert told["log"]["lines"] == 2
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    again = ask(service, "GET", "/card")[1]
    names = ("account", "meter", "order", "amount_fen", "used", "has_key")
    assert [again[name] for name in names] == [ACCOUNT, meter_address(0), 1, 5000, False, True]
    other = {**ORDER, "account": account_name(1)}
    status, told, _headers = ask(service, "POST", "/write", other)
    assert status == 409
    assert told["error"] == (
        f"this is the card of account {ACCOUNT}: insert that of this household"
    )
    lost = {**ORDER, "heads": [{"log": again_log(service), "lines": 1, "digest": "0" * 16}]}
    told = ask(service, "POST", "/write", lost)[1]
    assert told["log"]["lost"] == {"lines": 1, "digest": "0" * 16}


def again_log(service: Service) -> str:
    return service.counter.issuer().log.name


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"Host": "evil.example"}, 403, "asked by its own address alone"),
        ({"Host": "127.0.0.1"}, 403, "asked by its own address alone"),
        ({"Host": ""}, 403, "asked by its own address alone"),
        ({"Origin": "http://evil.example"}, 403, "answers the pages of http://127.0.0.1:8080"),
        ({"Origin": "null"}, 403, "answers the pages of http://127.0.0.1:8080"),
        ({"Origin": ""}, 403, "answers the pages of http://127.0.0.1:8080"),
        ({"X_Dianka_Key": ""}, 401, "has not the key of this computer"),
        ({"X_Dianka_Key": "ABCDEF"}, 401, "has not the key of this computer"),
    ],
)
def test_others_get_nothing(
    service: Service, changes: dict[str, str], status: int, said: str
) -> None:
    for method, path in (("GET", "/card"), ("POST", "/write")):
        found, told, headers = ask(service, method, path, ORDER, **changes)
        assert (found, said in told["error"]) == (status, True)
        if "Origin" in changes:
            assert "Access-Control-Allow-Origin" not in headers
    assert not service.counter.issuer().log.lines


def test_a_browser_that_asks_first_is_told(service: Service) -> None:
    status, _told, headers = ask(service, "OPTIONS", "/write", X_Dianka_Key="")
    assert (status, headers["Access-Control-Allow-Private-Network"]) == (200, "true")
    assert ask(service, "OPTIONS", "/write", Origin="http://evil.example")[0] == 403


def test_guessing_the_key_ends(service: Service) -> None:
    for _try in range(20):
        assert ask(service, "GET", "/card", X_Dianka_Key="wrong")[0] == 401
    status, told, _headers = ask(service, "GET", "/card")
    assert (status, told["error"]) == (
        429,
        "too many wrong keys were tried: start `dianka counter` again",
    )


@pytest.mark.parametrize(
    "told",
    [
        *(b"", b"{", b"[]", b"\xff", b"{" * 9000),
        *({}, {**ORDER, "account": "../../etc/pw"}, {**ORDER, "meter": "1' OR 1=1"}),
        *({**ORDER, "order": True}, {**ORDER, "order": 0}, {**ORDER, "order": -1}),
        *({**ORDER, "amount_fen": 1 << 40}, {**ORDER, "amount_fen": "50"}),
        {**ORDER, "supersedes": None},
    ],
)
def test_a_bad_request_ends_in_one_sentence(service: Service, told: Any) -> None:
    status, answer, _headers = ask(service, "POST", "/write", told)
    assert (status, answer["error"]) == (400, "this request is not one of the station's pages")
    assert ask(service, "GET", "/nothing")[0] == 404


def test_it_speaks_the_language_of_the_page(service: Service) -> None:
    told = ask(service, "GET", "/nothing", Accept_Language="zh")[1]
    assert told["error"] == "有 /card 和 /write"


def test_the_card_in_a_pcsc_reader_is_written(tmp_path: Path) -> None:
    if virtual_reader.why_not():
        pytest.skip(virtual_reader.NEEDED)
    card = VirtualCard("00000000000000AA")

    @contextmanager
    def opened() -> Iterator[Any]:
        from host.link.pcsc import WAIT_S, PcscCard

        one = PcscCard("", WAIT_S)
        yield one
        one.close()

    with virtual_reader.pcsc_service(tmp_path / "log"):
        slot = VpcdSlot(lambda: CpuCard(card))
        try:
            with running(tmp_path, opened) as service:
                status, told, _headers = ask(service, "POST", "/write", ORDER)
                assert (status, told["uid"]) == (200, "00000000000000AA")
                assert ask(service, "GET", "/card")[1]["order"] == 1
        finally:
            slot.close()
    key = KeptDesk.held.key_of(4711, 1)
    assert frames.parse(bytes(card.memory), key).genuine


# --- with the station's pages -------------------------------------------------------------------


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadEnd]:
    with served(tmp_path_factory.mktemp("station"), "sqlite") as one:
        yield one


def told_of(station: HeadEnd, card: dict[str, Any], account: str = ACCOUNT) -> Answer:
    """Have the desk hold a card against the books."""
    clerk = signed_in(station, "cashier")
    token = clerk.get("/sell").fields["csrfmiddlewaretoken"]
    fields = {"csrfmiddlewaretoken": token, "card": json.dumps(card), "account": account}
    return clerk.post("/held", fields)


def test_a_sold_order_goes_on_the_card_and_the_card_is_held_against_the_books(
    station: HeadEnd, service: Service
) -> None:
    clerk = signed_in(station, "cashier")
    empty = ask(service, "GET", "/card")[1]
    assert "The card is empty or not of ours" in told_of(station, empty).text
    receipt = clerk.confirm(clerk.asked(ACCOUNT, "50"))
    fields = {**receipt.fields, "step": "begin"}
    begun = clerk.post(f"{receipt.url}/card", fields)
    order = json.loads(begun.text)
    assert (order["order"], order["amount_fen"], order["meter"]) == (2, 5000, meter_address(0))
    written = ask(service, "POST", "/write", order)[1]
    log = json.dumps(written["log"])
    assert clerk.post(f"{receipt.url}/card", {**fields, "step": "done", "log": log}).text == "{}"
    with Store(station.database, read_only=True) as store:
        assert card_log.heads(store)[0].lines == 2
        assert orders.orders_of(store, ACCOUNT)[-1]["carded_at"] is not None
    held = told_of(station, written)
    assert held.text.count("chip wrap ok") == 5, "account, signature, card, meter, order"
    assert "The card is what the books say: sell." in held.text
    other = told_of(station, written, account_name(1))
    assert "the card is of another household" in other.text
    assert "must not be written" in other.said


MARK = {
    "genuine": True,
    "state": 0,
    "relay": 0,
    "order": 2,
    "balance_fen": 100,
    "illegal": 0,
    "registers_wh": [1],
    "t2000": 1,
}
CARD = {
    "uid": "0" * 16,
    "trouble": "",
    "has_key": True,
    "genuine": True,
    "used": True,
    "account": ACCOUNT,
    "meter": meter_address(0),
    "order": 1,
    "amount_fen": 10000,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"order": 99}, "the books do not know the card&#39;s order"),
        ({"genuine": False}, "the card was changed, or is not of ours"),
        ({"has_key": False}, "the key of the card is not here"),
        ({"bound_uid": "F" * 16}, "copied from another card"),
        ({"meter": "0" * 12}, "the meter was exchanged"),
        ({"mark": {**MARK, "illegal": 2}}, "so many cards were refused there"),
        ({"mark": {**MARK, "relay": 1}}, "it was switched since"),
        ({"mark": {**MARK, "genuine": False}}, "what the concentrator wrote is damaged"),
        ({"mark": MARK}, " yuan since"),
        ({"mark": {**MARK, "t2000": 1 << 31}}, "the books are older than the card"),
        ({"mark": {**MARK, "registers_wh": [1 << 40]}}, "the register went back"),
    ],
)
def test_what_differs_is_said_in_words(
    station: HeadEnd, changes: dict[str, Any], said: str
) -> None:
    assert said in told_of(station, {**CARD, **changes}).text


@pytest.mark.parametrize(
    "changes",
    [
        *({"uid": "<b>"}, {"account": "1"}, {"order": "1"}, {"genuine": "yes"}, {"mark": []}),
        *({"order": 1 << 70}, {"mark": {**MARK, "registers_wh": [0] * 99}}),
    ],
)
def test_what_no_reader_tells_is_refused(station: HeadEnd, changes: dict[str, Any]) -> None:
    refused = told_of(station, {**CARD, **changes})
    assert (refused.status, refused.said) == (
        409,
        "the reader has told of no card: read it again",
    )


def test_a_redeemed_order_is_not_written(station: HeadEnd) -> None:
    clerk: Browser = signed_in(station, "cashier")
    token = clerk.get("/sell").fields["csrfmiddlewaretoken"]
    fields = {"csrfmiddlewaretoken": token, "step": "begin"}
    refused = clerk.post("/receipts/000000000003/1/card", fields)
    assert json.loads(refused.text) == {"error": "order 1 is redeemed: no card needs it"}


def test_the_key_is_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIANKA_CARD_PASSPHRASE", "correct horse")
    words = ["card", "keys", "new", "--keys", "card-keys.toml", "--district", "1"]
    made = CliRunner().invoke(cli, words)
    assert made.exit_code == 0, made.output
    monkeypatch.setattr(Service, "serve_forever", lambda _service: None)
    words = ["counter", "--file", "card.bin", "--service-port", "7647", "--counter-key", "key"]
    first = CliRunner().invoke(cli, words)
    assert first.exit_code == 0, first.output
    key = Path("key").read_text().strip()
    assert f"type this into the page once: 7647-{key}\n" in first.output
    assert Path("key").stat().st_mode & 0o777 == 0o600
    assert key not in CliRunner().invoke(cli, words).output
    assert key not in CliRunner().invoke(cli, [*words, "--new-key"]).output
    wrong = CliRunner().invoke(cli, [*words, "--page", "javascript:alert(1)"])
    assert "write the address of the pages, as https://station.example" in wrong.output
