"""Function 03H: authentication, the account, top-ups and keys, with the stand-in module's checks.

    request   DI 4 | operator 4 | blocks, each byte-reversed
    refused   SERR 2, low byte first (see `wallet`)

What needs an authentication is refused with SERR b3 without one. Fifteen that fail in a day lock
the meter until the next.
"""

from collections.abc import Callable

from host.sim import profile as kinds
from host.sim.esam import ESAM_MAC_SIZE, Esam, factor_of
from host.sim.meter import Meter
from host.sim.speaker import Refusal
from host.sim.values import bcd, unbcd
from host.sim.wallet import SERR_CHECK, SERR_CUSTOMER, SERR_IDENTITY, SERR_OTHER
from host.units import DAY_S

WRONG_MACS_LIMIT = 15
DEFAULT_VALIDITY_MIN = 5
_SERIAL = bytes.fromhex("0011223344556677")


class Security:
    """The state of one meter's security module."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._esam = Esam(meter.esam_key)
        self._validity_min = DEFAULT_VALIDITY_MIN
        self._random2 = bytes(4)
        self._count = 0
        self._failures = 0
        self._failures_day = -1
        self._actions: dict[str, Callable[[bytes], bytes]] = {
            kinds.AUTHENTICATE: self._authenticate,
            kinds.SET_VALIDITY: self._set_validity,
            kinds.CANCEL: self._cancel,
            kinds.OPEN_ACCOUNT: self._open_account,
            kinds.TOP_UP: self._top_up,
            kinds.INIT_WALLET: self._init_wallet,
            kinds.UPDATE_KEY: self._update_key,
            kinds.READ_BACK: self._read_back,
            kinds.QUERY_STATUS: self._query_status,
            kinds.PLAIN_TOP_UP: self._top_up_plain,
        }

    def perform(self, data: bytes) -> bytes:
        """Do what `data` asks; return the data of the reply. Raises Refusal."""
        action = self._meter.profile.security_actions.get(int.from_bytes(data[:4], "little"))
        if len(data) < 8 or action is None:
            raise _refused(SERR_OTHER)
        return data[:4] + self._actions[action](data[8:])

    def opened(self, body: bytes, *, ciphered: bool) -> bytes | None:
        """Return `body` of a sealed command without its seal; None where that is wrong."""
        if not self._meter.authenticated:
            return None
        if not ciphered:
            value, mac = body[:-ESAM_MAC_SIZE], body[-ESAM_MAC_SIZE:][::-1]
            return value if mac == self._esam.mac(self._random2, value) else None
        if self._meter.profile.whole_reversed:
            sealed = body[::-1]
        else:
            sealed = body[:-ESAM_MAC_SIZE][::-1] + body[-ESAM_MAC_SIZE:][::-1]
        return self._esam.unseal(self._random2, sealed)

    # --- identity ------------------------------------------------------------------------------

    def _authenticate(self, blocks: bytes) -> bytes:
        cipher1, random1, factor = _cut(blocks, 8, 8, 8)
        day = self._meter.clock_t2000 // DAY_S
        if day != self._failures_day:
            self._failures_day, self._failures = day, 0
        if self._failures >= WRONG_MACS_LIMIT:
            raise _refused(1 << self._meter.profile.lock_bit)
        right_meter = factor == factor_of(self._meter.address)
        if not right_meter or cipher1 != self._esam.cipher1(random1, factor):
            self._failures += 1
            raise _refused(SERR_CHECK if right_meter else SERR_IDENTITY)
        self._count += 1
        self._random2 = self._esam.random2(self._count)
        self._meter.authenticated_until_t2000 = self._meter.clock_t2000 + 60 * self._validity_min
        reply = self._random2[::-1] + _SERIAL[::-1]
        return reply + (bcd(self._validity_min, 2) if self._meter.profile.auth_validity else b"")

    def _set_validity(self, blocks: bytes) -> bytes:
        minutes, mac = _cut(blocks, 2, ESAM_MAC_SIZE)
        self._check(minutes, mac)
        number = unbcd(minutes[::-1])
        if not number:
            raise _refused(SERR_OTHER)
        self._validity_min = number
        self._meter.authenticated_until_t2000 = self._meter.clock_t2000 + 60 * number
        return b""

    def _cancel(self, blocks: bytes) -> bytes:
        _cut(blocks)
        self._meter.authenticated_until_t2000 = -1
        count = self._meter.wallet.count.to_bytes(4, "little")
        return self._customer() + self._money() + count + self._meter.key_info[::-1]

    def _check(self, data: bytes, mac: bytes) -> None:
        if not self._meter.authenticated:
            raise _refused(SERR_IDENTITY)
        if mac != self._esam.mac(self._random2, data):
            raise _refused(SERR_CHECK)

    # --- money ---------------------------------------------------------------------------------

    def _open_account(self, blocks: bytes) -> bytes:
        amount_fen, count, customer = self._purse(blocks)
        wallet = self._meter.wallet
        if wallet.customer and wallet.customer != customer:
            raise _refused(SERR_CUSTOMER)
        before = wallet.customer
        wallet.customer = customer
        try:
            self._book(count, amount_fen)
        except Refusal:
            wallet.customer = before
            raise
        return b""

    def _top_up(self, blocks: bytes) -> bytes:
        amount_fen, count, customer = self._purse(blocks)
        if customer != self._meter.wallet.customer:
            raise _refused(SERR_CUSTOMER)
        self._book(count, amount_fen)
        return b""

    def _purse(self, blocks: bytes) -> tuple[int, int, str]:
        """Return the amount, the count and the customer of a checked command."""
        amount, count, mac1, customer, mac2 = _cut(blocks, 4, 4, ESAM_MAC_SIZE, 6, ESAM_MAC_SIZE)
        self._check(amount + count, mac1)
        self._check(customer, mac2)
        return int.from_bytes(amount, "big"), int.from_bytes(count, "big"), customer.hex()

    def _book(self, count: int, amount_fen: int) -> None:
        meter = self._meter
        serr = meter.wallet.top_up(count, amount_fen, meter.total_wh, meter.clock_t2000)
        if serr:
            raise _refused(serr)

    def top_up_in_plain(self, value: bytes) -> int:
        """Book amount and count, BCD, of a private meter; return 0 or the bit of SERR."""
        meter = self._meter
        count, amount_fen = unbcd(value[:4]), unbcd(value[4:])
        if len(value) != 8 or count is None or amount_fen is None:
            return SERR_OTHER
        return meter.wallet.top_up(count, amount_fen, meter.total_wh, meter.clock_t2000)

    def _top_up_plain(self, blocks: bytes) -> bytes:
        serr = self.top_up_in_plain(blocks)
        if serr:
            raise _refused(serr)
        return b""

    def _init_wallet(self, blocks: bytes) -> bytes:
        money, mac = _cut(blocks, 4, ESAM_MAC_SIZE)
        self._check(money, mac)
        self._meter.wallet.init(int.from_bytes(money, "big"), self._meter.total_wh)
        return b""

    # --- keys and reading ----------------------------------------------------------------------

    def _update_key(self, blocks: bytes) -> bytes:
        info, mac, key = _cut(blocks, 4, ESAM_MAC_SIZE, 32)
        self._check(info + key, mac)
        self._meter.key_info = info
        return b""

    def _read_back(self, blocks: bytes) -> bytes:
        """Return a part of a file of the module: DF, file, offset and size, 2 bytes each."""
        (selector,) = _cut(blocks, 8)
        folder, _, offset, size = (selector[at : at + 2] for at in range(0, 8, 2))
        content = self._purse_file()
        part = content[int.from_bytes(offset, "big") :][: int.from_bytes(size, "big")]
        if folder != b"\xdf\x01" or len(part) != int.from_bytes(size, "big"):
            raise _refused(SERR_OTHER)
        return blocks + part[::-1] + self._esam.mac(self._random2, part)[::-1]

    def _query_status(self, blocks: bytes) -> bytes:
        """Return money 4 | MAC 4 | count 4 | MAC 4 | customer 6 | key information 4."""
        _cut(blocks)
        money, count = self._money(), self._meter.wallet.count.to_bytes(4, "little")
        macs = [self._esam.mac(self._random2, block[::-1])[::-1] for block in (money, count)]
        return money + macs[0] + count + macs[1] + self._customer() + self._meter.key_info[::-1]

    def _purse_file(self) -> bytes:
        count = self._meter.wallet.count.to_bytes(4, "big")
        return self._money()[::-1] + count + self._customer()[::-1]

    def _money(self) -> bytes:
        return max(0, self._meter.balance_fen).to_bytes(4, "little")

    def _customer(self) -> bytes:
        return bytes.fromhex(self._meter.wallet.customer.zfill(12))[::-1]


def _refused(serr: int) -> Refusal:
    return Refusal(serr, 2)


def _cut(data: bytes, *sizes: int) -> list[bytes]:
    """Return the blocks of `data` in reading order; refused where the sizes do not add up."""
    if len(data) != sum(sizes):
        raise _refused(SERR_OTHER)
    blocks = []
    at = 0
    for size in sizes:
        blocks.append(data[at : at + size][::-1])
        at += size
    return blocks
