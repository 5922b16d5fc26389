"""A concentrator in memory that is given commands, and the head-end's side of them."""

from struct import pack

from concentrator.console.commands import Commands
from concentrator_world import START_T2000, Bench
from harness import check, equal

MAC = "1122334455667788"
LATE = START_T2000 + 1000000


class Session:
    """This is what a session of the uplink has for its application."""

    def __init__(self) -> None:
        self.order = b""
        self.results: list[bytes] = []

    def tell(self, payload: bytes) -> bool:
        self.results.append(payload)
        return True


class Told:
    """The head-end's side: it gives a command and collects the answer."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.session = Session()
        self.commands = Commands(bench.app)

    def __call__(self, number: int, text: "str | bytes", expires: int = LATE) -> "tuple[int, str]":
        """Return the outcome and the text of the answer, -1 where there is none."""
        text = text if isinstance(text, bytes) else text.encode()
        self.session.order = pack("<II", number, expires) + text
        self.bench.app.books.t2000 = self.bench.t2000
        found, part = b"", -1
        outcome = -1
        while self.session.order:
            self.commands.serve(self.session)  # type: ignore[arg-type]  # what it needs of one
            if self.session.results:
                result = self.session.results.pop()
                equal(int.from_bytes(result[:4], "little"), number)
                equal(result[5] in (0, part + 1 if part >= 0 else 1), True)
                outcome, part = result[4], result[5]
                found += result[6:]
        return outcome, str(found, "utf-8").strip()


def opened() -> Bench:
    """Return a bench whose account has bought 50 yuan."""
    bench = Bench()
    bench.read_all()
    equal(bench.insert(bench.card(1, 5000)), (0, 1))
    check(bench.app.journal.sync())
    return bench
