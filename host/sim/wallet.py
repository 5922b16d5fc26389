"""Money in a prepaid meter: what was bought, what it is worth now, and the rules of a top-up.

    SERR      b0 other | b1 top-up repeated | b2 the module's check failed | b3 not authenticated
              b4 wrong customer | b5 wrong count | b6 above the hoarding limit

A top-up carries the meter's count + 1. The count itself again is a repetition and books nothing:
so a utility that missed the reply may send the same command once more.
"""

from dataclasses import dataclass, field

SERR_OTHER = 1 << 0
SERR_REPEATED = 1 << 1
SERR_CHECK = 1 << 2
SERR_IDENTITY = 1 << 3
SERR_CUSTOMER = 1 << 4
SERR_COUNT = 1 << 5
SERR_HOARDING = 1 << 6

PURCHASES_LIMIT = 10
AMOUNT_LIMIT_FEN = 99_999_999


@dataclass(frozen=True)
class Purchase:
    """One top-up that was booked."""

    t2000: int
    count: int
    amount_fen: int
    before_fen: int
    after_fen: int
    total_fen: int


@dataclass
class Wallet:
    """`price_e4` is 0.0001 yuan a kWh, 0: the meter itself charges nothing.

    customer    12 digits, empty: no account is open
    base_wh     the meter's total when the balance was last set
    """

    price_e4: int = 0
    hoarding_limit_fen: int = AMOUNT_LIMIT_FEN
    customer: str = ""
    count: int = 0
    credit_fen: int = 0
    total_fen: int = 0
    base_wh: int = 0
    purchases: list[Purchase] = field(default_factory=list)

    def balance_fen(self, used_wh: int) -> int:
        """Return what is left when the meter's total is `used_wh`; below 0: overdraft."""
        return self.credit_fen - (used_wh - self.base_wh) * self.price_e4 // 100_000

    def init(self, amount_fen: int, used_wh: int) -> None:
        """Set the balance, close the account and forget all purchases."""
        self.customer = ""
        self.count = 0
        self.credit_fen = amount_fen
        self.total_fen = 0
        self.base_wh = used_wh
        self.purchases = []

    def top_up(self, count: int, amount_fen: int, used_wh: int, t2000: int) -> int:
        """Book a top-up; return 0 or the bit of SERR that refuses it."""
        if count == self.count:
            return SERR_REPEATED
        if count != self.count + 1:
            return SERR_COUNT
        before_fen = self.balance_fen(used_wh)
        after_fen = before_fen + amount_fen
        if after_fen > min(self.hoarding_limit_fen, AMOUNT_LIMIT_FEN):
            return SERR_HOARDING
        self.count = count
        self.credit_fen += amount_fen
        self.total_fen += amount_fen
        made = Purchase(t2000, count, amount_fen, before_fen, after_fen, self.total_fen)
        self.purchases = [made, *self.purchases][:PURCHASES_LIMIT]
        return 0
