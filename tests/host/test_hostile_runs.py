"""Goal: hostile commands, records and flash open no console and lose no money.

Method: each case is made from its number alone. CI runs a small share; `make soak` runs 10,000 of
each kind, DIANKA_HOSTILE=10000.
"""

import gc
import os
import sys
from binascii import crc32
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from host.frames import batch, packing, record
from host.frames.link import Kind, LinkReader
from host.headend.ingest import Ingest
from host.headend.reconcile import reconcile
from host.headend.store import Store
from tests.host.uplink_world import KEYS, deliver, frame, village_of

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

from concentrator.console.commands import Commands
from concentrator.console.console import Refusal
from concentrator_world import Bench
from ports import Unreadable
from technician import Technician

CASES = int(os.environ.get("DIANKA_HOSTILE", "40"))
CONSOLE_KEY = bytes(range(16))
# A bench is made anew after so many cases of it.
_LIFE = 250
_WORDS = (
    *("0", "1", "-1", "17", "255", "256", "65536", "4294967295", "4294967296", "99999999999999"),
    *(
        "0x10",
        "1.5",
        "1e9",
        "..",
        "/",
        "\0",
        "\x1b]0;x\x07",
        "%s",
        "=1+1",
        "[red]",
        "é",
        "中文",
        "٣",
    ),
    *("000000000017", "0000000000ff", "AAAAAAAAAAAA", "00" * 16, "zz", "a" * 250, "read", "any"),
    *("id", "district", "card_key", "console_key", "overdraft_fen", "operator_order", "password"),
    *("2026-11-30", "2026-02-30", "25:61:61", "household", "power_limit_w", "debt_fen", "guard"),
)


@pytest.fixture(autouse=True)
def _no_old_objects() -> Iterator[None]:
    """Leave what there is out of each collection: a concentrator collects when it starts."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def lived(meters: int = 2) -> Bench:
    """Return a concentrator with a console key, after three readings and a purchase."""
    bench = Bench(meters)
    bench.read_all()
    assert bench.insert(bench.card(1, 5000)) == (0, 1)
    for meter in bench.meters:
        meter.wh = [meter.wh[0] + 20_000, meter.wh[1]]
    bench.read_all()
    assert bench.app.settings.change("console_key", CONSOLE_KEY.hex()) == ""
    bench.app.configure()
    assert bench.save()
    bench.read_all()
    return bench


def money(bench: Bench) -> tuple[list[int], list[int], str]:
    ledger = bench.app.ledger
    return (
        list(ledger.credit_fen),
        list(ledger.debit_fen),
        bench.app.settings.text("overdraft_fen"),
    )


def hostile_command(rng: Random, names: list[str]) -> str:
    words = [rng.choice(names)] if rng.random() < 0.8 else []
    words += [rng.choice(_WORDS) for _one in range(rng.choice((0, 1, 2, 2, 3, 3, 4, 6, 20)))]
    text = " ".join(words)
    if rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + chr(rng.choice((0, 10, 27, 127, 255, 0x4E2D, 0x10FFFF))) + text[at:]
    if rng.random() < 0.1:
        text = f"{rng.randrange(1 << 34)} {text} {rng.randbytes(8).hex()}"
    return text[:320]


def run(commands: Commands, text: str) -> list[str]:
    """Carry a command out and take its whole answer; a refusal is an answer."""
    try:
        answer = commands.run(text)
        return list(answer() if callable(answer) else answer)
    except Refusal as refusal:
        return [str(refusal)]


def test_hostile_commands() -> None:
    """Half of them are said by a stranger, the other half in a session, by whoever mistypes."""
    bench = lived()
    for case in range(CASES):
        rng = Random(f"command {case}")
        if case % _LIFE == 0:
            bench = lived()
            commands = Commands(bench.app)
            names = [" ".join(row.split()[:2]) for row in run(commands, "help")]
            names += [name.split()[0] for name in names]
        text = hostile_command(rng, names)
        before = money(bench)
        if case % 2:
            technician = Technician(CONSOLE_KEY, bench.app.login.number)
            technician.log_in(commands.run)
            answer = run(commands, technician.line(text))
            bench.app.login.close()
            bench.app.settings.change("console_key", CONSOLE_KEY.hex())
            bench.app.configure()
        else:
            answer = run(commands, text)
            assert not bench.app.login.is_open, (case, text)
            assert money(bench) == before, (case, text)
        assert all(isinstance(line, str) for line in answer), (case, text)
        bench.run(1)


def hostile_record(rng: Random, seq: int, t2000: int) -> record.Record:
    """Return a record of any kind whose fields are any bytes, under a right CRC."""
    kind = rng.choice(list(record.RecordKind))
    payload = bytearray(48)
    for _one in range(rng.choice((1, 4, 12, 48))):
        payload[rng.randrange(48)] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    if rng.random() < 0.2:
        payload = bytearray(rng.randbytes(48))
    head = seq.to_bytes(4, "little") + (t2000 + rng.choice((0, 60, -(10**6), 10**8))).to_bytes(
        4, "little"
    )
    index = rng.choice((0, 1, 2, 255, 0xFFFF))
    body = head + bytes((kind, rng.choice((0, 0, 1, 2)))) + index.to_bytes(2, "little") + payload
    return record.parse(body + crc32(body).to_bytes(4, "little"))


@pytest.mark.slow
def test_hostile_records_at_a_start() -> None:
    """Whoever wrote them had the flash in hand: they are believed, and break nothing."""
    bench = lived()
    kept = dict(bench.storage.files)
    for case in range(CASES):
        rng = Random(f"record {case}")
        bench.storage.files = dict(kept)
        newest = max(name for name in kept if "/j" in name or name.startswith("j"))
        (last,) = packing.parse_segment(kept[newest], int(newest[-8:], 16)).groups[-1:]
        seq = last.next_seq
        for at in range(rng.choice((1, 1, 3))):
            group = packing.build_group([hostile_record(rng, seq + at, 820_545_000)])
            bench.storage.files[newest] += group
        started(bench, case)


def started(bench: Bench, case: int) -> None:
    """Start from the flash as it is, and work for a while: the console stays closed."""
    with suppress(Unreadable):  # it does not start, and says why
        bench.start()
    if bench.app is None:
        return
    assert not bench.app.login.is_open, case
    commands = Commands(bench.app)
    for text in ("status", "counters", "settings", "help", "set overdraft_fen 1"):
        run(commands, text)
    assert bench.app.settings.text("overdraft_fen") != "1", case
    bench.run(20)
    assert not bench.app.login.is_open, case


def test_hostile_records_at_the_head_end(tmp_path: Path) -> None:
    """They come under a right key, from a stolen concentrator: nothing breaks, no sale is lost.

    A record that cannot be is refused with its batch, and the next one gets its number.
    """
    village = village_of(2, 3)
    with Store(tmp_path / "village.db", create=True) as store:
        ingest = Ingest(store, KEYS)
        seq = deliver(ingest, village) + 1
        kept = refused = 0
        for case in range(CASES):
            one = hostile_record(Random(f"told {case}"), seq, 820_545_000)
            payload = batch.build_batch([one])
            answer = ingest.answer(frame(Kind.BATCH, case + 2, payload), "test")
            (told,) = LinkReader().feed(answer)
            kept += told.kind == Kind.ACK
            refused += told.kind == Kind.REFUSED
            seq += told.kind == Kind.ACK
        assert (kept + refused, kept > refused) == (CASES, True)
        reconcile(store)
        assert store.value("SELECT count(*) FROM records") == seq - 1


def flip(rng: Random, data: bytearray) -> None:
    for _one in range(rng.choice((1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def blank(rng: Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    size = min(len(data) - at, rng.choice((1, 16, 256)))
    data[at : at + size] = bytes((rng.choice((0, 0xFF)),)) * size


def cut(rng: Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def grow(rng: Random, data: bytearray) -> None:
    data += rng.randbytes(rng.choice((1, 7, 64)))


DAMAGES: list[Callable[[Random, bytearray], None]] = [flip, flip, blank, cut, grow]


# What a technician looks at in a session, beside the accounts.
_LOOKS = ("status", "counters", "settings", "meter list", "tariff list", "journal 1", "help")


def columns_of(checkpoint: bytes) -> list[tuple[int, int]]:
    """Return where each column of a checkpoint begins and ends, see docs/SPEC.md."""
    count = int.from_bytes(checkpoint[10:12], "little")
    places = []
    at = 20 + 6 * count
    for entry in range(20, at, 6):
        width, items = checkpoint[entry + 1 : entry + 3]
        size = width * items * int.from_bytes(checkpoint[entry + 4 : entry + 6], "little")
        places.append((at, at + size))
        at += size
    return places


@pytest.mark.slow
def test_starts_from_a_forged_column() -> None:
    """A value that cannot be, in a row of a table under a right CRC, breaks nothing later on."""
    bench = lived()
    kept = dict(bench.storage.files)
    name = max(name for name in kept if name.rpartition("/")[2].startswith("k"))
    places = columns_of(kept[name])
    for case in range(max(CASES, len(places))):
        rng = Random(f"column {case}")
        turn, column = divmod(case, len(places))
        start, end = places[column]
        forged = bytearray(kept[name])
        fill = (0xFF, 0x80, 0x7F, 0x01)[turn] if turn < 4 else None
        forged[start:end] = (
            rng.randbytes(end - start) if fill is None else bytes((fill,) * (end - start))
        )
        with_right_crc("k", forged)
        bench.storage.files = {**kept, name: bytes(forged)}
        with suppress(Unreadable):  # it does not start, and says why
            bench.start()
        if bench.app is None:
            continue
        assert not bench.app.login.is_open, case
        looked_at(bench)
        for meter in bench.meters:
            meter.wh = [one + 3000 for one in meter.wh]
        bench.read_all()
        bench.insert(bench.card(2, 1000))
        bench.run(60)


def looked_at(bench: Bench) -> None:
    """Look at all that a console shows, in a session."""
    commands = Commands(bench.app)
    technician = Technician(CONSOLE_KEY, bench.app.login.number)
    technician.log_in(commands.run)
    accounts = [bench.app.registry.account_text(index) for index in range(len(bench.meters))]
    for text in (*_LOOKS, *(f"account {account}" for account in accounts)):
        run(commands, technician.line(text))
    bench.app.login.close()


def with_right_crc(name: str, data: bytearray) -> None:
    """Put the right CRC behind what was changed, as who writes the flash on purpose does."""
    if name.startswith("settings") and b"\ncrc=" in data:
        end = data.rindex(b"\ncrc=") + 1
        data[end:] = b"crc=%08X\n" % crc32(data[:end])
    elif len(data) > 4:
        data[-4:] = crc32(data[:-4]).to_bytes(4, "little")


@pytest.mark.slow
@pytest.mark.parametrize("crc", ["raw", "right"])
def test_starts_from_damaged_flash(crc: str) -> None:
    """Rot below a CRC costs nothing or is told; what was forged with a right one opens nothing."""
    bench = lived()
    kept = dict(bench.storage.files)
    credit = list(bench.app.ledger.credit_fen)
    for case in range(CASES // 2):
        rng = Random(f"{crc} {case}")
        bench.storage.files = dict(kept)
        harmed = rng.sample(sorted(kept), rng.choice((1, 1, 2, 5)))
        for name in harmed:
            data = bytearray(kept[name] or b"\0")
            rng.choice(DAMAGES)(rng, data)
            if crc == "right":
                with_right_crc(name.rpartition("/")[2], data)
            bench.storage.files[name] = bytes(data)
        with suppress(Unreadable):  # it does not start, and says why
            bench.start()
        if bench.app is None:
            assert crc == "right", case
            continue
        # Settings with a right CRC are what somebody has set at the prompt.
        if crc == "raw" or not any(name.startswith("settings") for name in harmed):
            assert not bench.app.login.is_open, case
        if crc == "raw" and list(bench.app.ledger.credit_fen) != credit:
            app = bench.app
            told = app.journal.rotten + app.checkpoint.rotten
            assert told, (case, "money is lost in silence")
            assert max(app.ledger.credit_fen) <= max(credit), case
        bench.run(20)
