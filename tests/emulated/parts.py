"""Count the instructions of each part: it is (prepare, act), of which `act` is counted.

The timer counts 40 instructions a tick on an emulator that counts; the cost of an empty act is
subtracted.
"""

import gc
from array import array
from struct import pack_into

import machine
from above import Above
from card_world import UID, header, memory
from dlt645 import di, fast
from dlt645.master import Master
from tariff_images import loaded
from uplink import link, record
from uplink.envelope import Envelope
from uplink.packing import Packer
from village import START_T2000, Village, tariff_image

_TICK_INSTRUCTIONS = 40
_TIMER = 0x40000000
_TOP = 0x3FFFFFFF
_COUNT = 20

ADDRESS = bytearray(b"\x64\x37\x98\x00\x00\x00")


def cost(name: str) -> int:
    """Return the instructions of the part called `name`, on average."""
    prepare, act = PARTS[name]()
    for register, value in ((0, 0), (8, _TOP), (4, _TOP), (0, 1)):
        machine.mem32[_TIMER + register] = value
    _ticks(prepare, act, 3)
    counted = _ticks(prepare, act, _COUNT)
    # This comes last, since a part may check that nothing was done.
    return (counted - _ticks(_nothing, _nothing, _COUNT)) // _COUNT


def _ticks(prepare, act, count: int) -> int:  # type: ignore[no-untyped-def]  # two functions
    memory32 = machine.mem32
    total = 0
    # This keeps a collection out of the count.
    gc.collect()
    for _ in range(count):
        prepare()
        before = memory32[_TIMER + 4]
        act()
        total += (before - memory32[_TIMER + 4]) & _TOP
    return total * _TICK_INSTRUCTIONS


def _nothing() -> None:
    pass


def reading():  # type: ignore[no-untyped-def]  # as all below: two functions
    """Decode an energy reply, from its first byte to the five values."""
    master = Master()
    values = array("i", bytes(4 * 5))
    data = bytearray((di.ENERGY_FORWARD & 0xFF, 0xFF, 1, 0)) + bytes.fromhex("00123400") * 5
    reply = bytearray(64)
    size = fast.encode_frame(reply, ADDRESS, 0x91, data, len(data))

    def prepare() -> None:
        master.busy = 0
        master.start_read(ADDRESS, di.ENERGY_FORWARD, 0)
        while not master.tx_size:
            master.poll(1000)
        master.sent(1000)

    # A closure over so many names would be on the heap, which the firmware does not pay for.
    def act(  # type: ignore[no-untyped-def]  # what it takes is made above
        master=master,
        reply=reply,
        size=size,
        decode=di.decode,
        identifier=di.ENERGY_FORWARD,
        data=master.data,
        values=values,
    ):
        master.feed(reply, size, 1100)
        if master.poll(1100) <= 1:
            raise ValueError("no reply")
        decode(identifier, data, master.data_offset, master.data_size, values)

    return prepare, act


def charge():  # type: ignore[no-untyped-def]  # two functions
    """Compute and apply the charge of one reading of peak and valley energy."""
    from prepay.ledger import Ledger

    ledger = Ledger(4)
    tariff = loaded(tariff_image())
    registers_wh = array("i", (100000, 50000))
    ledger.prepare(1, tariff, registers_wh, START_T2000)
    ledger.commit(1)
    t2000 = START_T2000 + 900

    def prepare() -> None:
        if ledger.registers_wh[4] != registers_wh[0]:
            raise ValueError("not charged")
        registers_wh[0] += 210
        registers_wh[1] += 90
        ledger.read_t2000[1] = START_T2000

    def act() -> None:
        ledger.prepare(1, tariff, registers_wh, t2000)
        ledger.commit(1)

    return prepare, act


def redemption():  # type: ignore[no-untyped-def]  # two functions
    """Redeem a card from its insertion to its mark; the credit becomes durable in between."""
    from card.keys import Keys
    from card.redemption import Redemption
    from card_world import DISTRICT, DISTRICT_KEY, VERSION, FakeCarrier

    village = Village(1)
    account = bytes(village.app.registry.accounts[:6])
    meter = bytes(village.app.registry.addresses[:6])
    carrier = FakeCarrier()
    redeemer = Redemption(carrier, village.app.books, Keys(DISTRICT, VERSION, DISTRICT_KEY))
    order = array("i", (0,))

    def prepare() -> None:
        order[0] += 1
        carrier.pull()
        redeemer.poll(0, START_T2000)
        carrier.shown.clear()
        kind = 1 if order[0] == 1 else 2
        carrier.insert(memory(header(order[0], 100, kind, account, meter)), UID)

    def act() -> None:
        for _ in range(60):
            if redeemer.poll(0, START_T2000):
                break

    return prepare, act


def judgement():  # type: ignore[no-untyped-def]  # two functions
    """Judge a genuine card of kind test, from its insertion to its result."""
    from card.keys import Keys
    from card.redemption import Redemption
    from card_world import DISTRICT, DISTRICT_KEY, VERSION, FakeCarrier

    carrier = FakeCarrier()
    books = Village(1).app.books
    redeemer = Redemption(carrier, books, Keys(DISTRICT, VERSION, DISTRICT_KEY))
    card = memory(header(0, 0, 8))

    def prepare() -> None:
        carrier.pull()
        redeemer.poll(0, START_T2000)
        carrier.shown.clear()
        carrier.insert(card, UID)

    def act() -> None:
        for _ in range(60):
            if redeemer.poll(0, START_T2000):
                break

    return prepare, act


def login():  # type: ignore[no-untyped-def]  # two functions
    """Prove the console key to a technician and judge the technician's proof, with a seed."""
    app = Village(1).app
    app.settings.change("seed", "5a" * 32)
    app.settings.change("console_key", "a5" * 16)
    app.configure()
    session = app.login
    session.note = None
    nonce = bytes(16)

    def prepare() -> None:
        session._failures = 0

    def act() -> None:
        session.begin(nonce, 1)
        session.answer(nonce)

    return prepare, act


def pack():  # type: ignore[no-untyped-def]  # two functions
    """Put a reading of two registers into a group."""
    packer = Packer(bytearray(1024))
    buf = bytearray(record.RECORD_SIZE)
    pack_into("<IIHHI", buf, record.PAYLOAD, 54321, 3456789, 0, 0xFFFF, 123450)
    pack_into("<II", buf, record.PAYLOAD + 16, 5000120, 2500060)
    seq = array("i", (0,))

    def prepare() -> None:
        seq[0] += 1
        if seq[0] % 8 == 1:
            packer.begin(0, 512, seq[0])

    def act() -> None:
        record.encode_into(buf, 0, seq[0], START_T2000, record.READING, 0, 7)
        if not packer.add(buf):
            raise ValueError("no room")

    return prepare, act


def seal():  # type: ignore[no-untyped-def]  # two functions
    """A batch of 570 bytes made a message: encrypted and authenticated."""
    sealer = Envelope(bytes(32), 7, b"journal!", 1)
    body = bytearray(600)

    def act() -> None:
        sealer.seal(link.BATCH, body, 570)

    return _nothing, act


def unseal():  # type: ignore[no-untyped-def]  # two functions
    """An acknowledgement verified and decrypted."""
    sealer = Envelope(bytes(32), 7, b"journal!", 1)
    above = Above(bytes(32), 7, b"journal!")
    above.epoch, above.number = 1, 1
    body = bytearray(above.seal(link.ACK, bytes(4)))
    sealed = bytes(body)

    def prepare() -> None:
        body[:] = sealed

    def act() -> None:
        if sealer.open(link.ACK, body, len(body)) != 4:
            raise ValueError("not genuine")

    return prepare, act


def idle_step():  # type: ignore[no-untyped-def]  # two functions
    """Run a step of a concentrator of 16 meters when nothing is due."""
    village = Village(16)
    village.round()
    app = village.app
    village.board.waiting = 0
    ticks = village.ticks
    t2000 = village.t2000

    def act(app=app, ticks=ticks, t2000=t2000):  # type: ignore[no-untyped-def]  # made above
        app.step(ticks, t2000)

    return _nothing, act


PARTS = {
    "reading": reading,
    "charge": charge,
    "redemption": redemption,
    "judgement": judgement,
    "login": login,
    "pack": pack,
    "seal": seal,
    "unseal": unseal,
    "idle_step": idle_step,
}
