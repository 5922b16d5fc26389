"""A simulated meter: a load, registers, a relay, a clock, money, and what it answers.

Time comes with each call, as `t2000` of the world; the meter's own clock differs from it by
`clock_offset_s`. Energy is counted up to that moment before anything is answered, and only while
the relay is closed. Nothing here knows of frames: `responder` answers them for a meter. How meters
differ is in `profile`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from host.sim.clock import DEFAULT_START_T2000
from host.sim.esam import DEFAULT_KEY
from host.sim.history import Freeze, History
from host.sim.load import RATES, TWO_RATES, Load, Registers
from host.sim.parameters import PARAMETERS, PARAMETERS_1997
from host.sim.profile import PLAIN, Profile
from host.sim.wallet import Wallet
from host.units import DAY_S, HOUR_S
from host.words import _

FALL_BACK_US = 60_000_000
EVENTS_LIMIT = 10


@dataclass
class Relay:
    """The switch of the supply and all that decides about it."""

    open: bool = False
    commanded_open: bool = False
    permitted: bool = False  # closing is allowed, by the button
    alarm: bool = False
    guard: bool = False
    operations: int = 0

    def set(self, is_open: bool) -> bool:
        """Switch; a second command of the same kind moves nothing and returns false."""
        self.commanded_open = is_open
        self.permitted = False
        moves = self.open != is_open
        if moves:
            self.open = is_open
            self.operations += 1
        return moves


@dataclass
class Demand:
    """The highest power of an hour, and the hour."""

    power_w: int = 0
    t2000: int = 0


@dataclass
class Meter:
    """One meter.

    supply_off        it was switched off when it was installed
    faulty_relay      the relay stays where it is, whatever is commanded
    blank             its registers of energy cannot be read: it sends FF for them
    broken            it neither counts nor answers
    relay_delay_s     the relay moves and is reported this long after the command
    reply_delay_ms    from the end of the request to the first byte of the reply
    password          PA P0 P1 P2 as on the wire; other levels have none until 18H gives one
    button            a command only permits closing: the button has to be pressed then
    zero_expiry       a relay command whose expiry is all zero is accepted
    programming       the programming key is pressed: the address can be written
    complete          every identifier of the catalogue has a value, zeros if there is no other
    parameters        what can be read and written, by identifier
    records           what can only be read, by identifier; longer than a frame is followed up
    events            event records by the identifier's first six digits, newest first
    """

    address: str
    load: Load = field(default_factory=Load)
    start_t2000: int = DEFAULT_START_T2000
    start_wh: Sequence[int] = (0,) * RATES
    rate_of_hour: tuple[int, ...] = TWO_RATES
    clock_offset_s: int = 0
    reply_delay_ms: int = 60
    preamble: int = 4
    baud: int = 2400
    password: bytes = b"\x02\x00\x00\x00"
    button: bool = False
    zero_expiry: bool = False
    supply_off: bool = False
    faulty_relay: bool = False
    blank: bool = False
    broken: bool = False
    relay_delay_s: int = 0
    programming: bool = True
    complete: bool = False
    profile: Profile = PLAIN
    esam_key: bytes = DEFAULT_KEY
    wallet: Wallet = field(default_factory=Wallet)
    relay: Relay = field(default_factory=Relay)
    parameters: dict[int, bytes] = field(default_factory=dict)
    records: dict[int, bytes] = field(default_factory=dict)
    events: dict[int, list[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.address) != 12 or not self.address.isdecimal():
            raise ValueError(
                _("meter address {address!r}: 12 digits are needed").format(address=self.address)
            )
        self.registers = Registers(self.start_wh)
        if self.supply_off:
            self.relay = Relay(open=True, commanded_open=True)
        self.history = History()
        self.demand = Demand()
        self.passwords = {self.password[0]: self.password[1:]}
        self.time_set_day = -1
        self.authenticated_until_t2000 = -1
        self.key_info = bytes(4)  # of the security module: what its last key update said
        self.terminal_output = 0
        self.wallet.base_wh = sum(self.start_wh)
        self._first_baud = self.baud
        self._advanced_t2000 = self.start_t2000
        self._moves: list[tuple[int, bool]] = []  # of the relay: when, and whether it opens
        is_1997 = self.profile.standard == 1997
        defaults = PARAMETERS_1997 if is_1997 else PARAMETERS
        self.parameters = {**defaults, **self.parameters}

    # --- time and energy -----------------------------------------------------------------------

    def advance(self, t2000: int) -> None:
        """Count energy and keep the freezes up to `t2000` of the world; never back."""
        end_t2000 = t2000 + self.clock_offset_s
        while (clock_t2000 := self.clock_t2000) < end_t2000:
            self._move()
            keep_t2000 = self.history.next_t2000(clock_t2000)
            moves = [moves_t2000 + self.clock_offset_s for moves_t2000, _rate in self._moves]
            next_t2000 = min(end_t2000, keep_t2000, *moves)
            day, second = divmod(clock_t2000, DAY_S)
            self._draw(day, second // HOUR_S, next_t2000 - clock_t2000)
            self._advanced_t2000 += next_t2000 - clock_t2000
            if next_t2000 == keep_t2000:
                self.history.keep(self.snapshot())
        self._move()

    def _move(self) -> None:
        """Let the relay move where its time has come."""
        while self._moves and self._moves[0][0] <= self._advanced_t2000:
            self.relay.set(self._moves.pop(0)[1])

    def _draw(self, day: int, hour: int, duration_s: int) -> None:
        power_w, left_ws = self._power(day, hour)
        if not power_w or self.broken:
            return
        energy_ws = power_w * duration_s
        if left_ws is not None:
            energy_ws = min(energy_ws, left_ws)
        self.registers.add(self.rate_of_hour[hour], energy_ws)
        if power_w > self.demand.power_w:
            self.demand = Demand(power_w, day * DAY_S + hour * HOUR_S)

    def _power(self, day: int, hour: int) -> tuple[int, int | None]:
        """Return the watts drawn in that hour, and the watt-seconds left of it (None: no end)."""
        left_ws = self.load.left_ws(self.rate_of_hour[hour], self.registers.drawn_ws)
        if self.relay.open or left_ws == 0:
            return 0, 0
        return self.load.power_w(day, hour), left_ws

    def snapshot(self) -> Freeze:
        """Return the registers as they are."""
        return Freeze(self.clock_t2000, self.registers_wh, self.power_w)

    @property
    def clock_t2000(self) -> int:
        """Return what the meter's own clock shows, as of the last advance."""
        return self._advanced_t2000 + self.clock_offset_s

    @property
    def registers_wh(self) -> tuple[int, ...]:
        """Return what the meter shows for each rate, as of the last advance."""
        return self.registers.registers_wh

    @property
    def total_wh(self) -> int:
        """Return what the meter shows in all."""
        return sum(self.registers_wh)

    @property
    def power_w(self) -> int:
        """Return what is drawn now."""
        day, second = divmod(self.clock_t2000, DAY_S)
        return self._power(day, second // HOUR_S)[0]

    @property
    def authenticated(self) -> bool:
        """Return whether the utility has proven its identity, and that is still valid."""
        return self.clock_t2000 <= self.authenticated_until_t2000

    def set_clock(self, clock_t2000: int) -> None:
        """Set the meter's own clock."""
        self.clock_offset_s = clock_t2000 - self._advanced_t2000

    # --- the relay -----------------------------------------------------------------------------

    def press_button(self) -> None:
        """Press the button of the meter: the relay closes if that is permitted."""
        if self.relay.permitted:
            self.switch(False)

    def switch(self, is_open: bool) -> bool:
        """Open or close the supply; true where that moves the relay."""
        if not self.faulty_relay and not self.relay_delay_s:
            return self.relay.set(is_open)
        self.relay.commanded_open = is_open
        if self.faulty_relay:
            return False
        will_be_open = self._moves[-1][1] if self._moves else self.relay.open
        self._moves.append((self._advanced_t2000 + self.relay_delay_s, is_open))
        return will_be_open != is_open

    @property
    def status_3(self) -> int:
        """Return status word 3, 04000503."""
        relay = self.relay
        word = relay.open << 4 | relay.commanded_open << 6 | relay.alarm << 7 | relay.guard << 12
        word |= self.profile.prepay << 8 | self.authenticated << 13
        if self.profile.prepay and not self.wallet.customer:
            word |= 3 << 14  # neither a local nor a remote account is open
        return word

    @property
    def balance_fen(self) -> int:
        """Return the money in the meter, below 0: overdraft."""
        return self.wallet.balance_fen(self.total_wh)

    # --- what is kept, and the speed ------------------------------------------------------------

    def note(self, group: int, record: bytes) -> None:
        """Keep an event record under the identifier's first six digits."""
        self.events[group] = [record, *self.events.get(group, [])][:EVENTS_LIMIT]

    def unheard(self, duration_us: int) -> None:
        """Go back to the first speed, as nothing was heard at this one for so long."""
        if duration_us >= FALL_BACK_US:
            self.baud = self._first_baud
